"""The lines of the interface: the terms of the query, the status, a question in its place, and the keys."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.style import Style
from textual.widgets import Input, Label, Static

from rclip.terminal.text import printable, shortened
from rclip.tui import texts

if TYPE_CHECKING:
    from rclip.explore import AskedTerm
    from rclip.search.hits import Hit

_MOST_COLUMNS = 40
"""Of a term."""


class Terms(Static):
    """What a query of several terms, or of photos, consists of; a click takes a term away."""

    def __init__(self) -> None:
        super().__init__(id="terms")
        self.display = False
        self._names: dict[str, str] = {}
        """Of the photos that a query may name, by their ids."""

    def note_names(self, hits: "Iterable[Hit]") -> None:
        """Of photos that may come to be terms."""
        self._names |= {hit.id: hit.path.rpartition("/")[2] for hit in hits}

    def show(self, terms: "Sequence[AskedTerm]") -> None:
        is_shown = len(terms) > 1 or any(term.kind != "text" for term in terms)
        if self.display != is_shown:
            self.display = is_shown
        parts: list[Content] = []
        for number, term in enumerate(terms):
            sign, color = ("−", "$text-error") if term.weight < 0 else ("+", "$text-success")
            weight = "" if abs(term.weight) == 1 else f"{abs(term.weight):g} × "
            shown = shortened(printable(self._shown_name(term)), _MOST_COLUMNS)
            chip = Content.styled(f" {sign} {weight}{shown} ✕ ", f"{color} on $surface")
            parts += [chip.stylize(Style.from_meta({"@click": f"screen.drop_term({number})"})), Content("  ")]
        self.update(Content("").join(parts), layout=False)

    def _shown_name(self, term: "AskedTerm") -> str:
        return {"photo": self._names.get(term.value, "a photo"), "picture": "a picture"}.get(term.kind, term.value)


class Status(Static):
    """Where the user is, what goes on, and the last message."""

    def __init__(self) -> None:
        super().__init__(id="status")
        self._message = Content(texts.OPENING)

    def say(self, message: str, is_error: bool = False) -> None:
        """A line that stays until the next."""
        self._message = Content.styled(printable(message), "$text-error" if is_error else "$text-accent")

    def show(self, place: str, progress: str, selected: int, why_empty: str) -> None:
        """Which photo of how many, how far the update is, and why there are no photos; each may be empty."""
        parts = [Content.styled(part, "$foreground-muted") for part in (place, progress) if part]
        if selected:
            parts.insert(0, Content.styled(f"✓ {selected:,} selected", "bold $text-success"))
        if self._message:
            parts.append(self._message)
        elif why_empty:
            parts.append(Content.styled(why_empty, "$foreground-muted"))
        self.update(Content("   ").join(parts), layout=False)


class Prompt(Horizontal):
    """A question with a field for the answer, in place of the status."""

    class Ended(Message):
        """It was answered, or left."""

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self.display = False
        self._then: Callable[[str], None] | None = None

    def compose(self) -> ComposeResult:
        yield Label("", id="prompt-label", markup=False)
        yield Input(id="answer", compact=True, select_on_focus=False)

    def ask(self, question: str, answer: str, then: Callable[[str], None]) -> None:
        """`then` is called with what the user makes of the `answer`, unless that is empty."""
        self._then = then
        self.query_one("#prompt-label", Label).update(question)
        field = self.query_one("#answer", Input)
        field.value = answer
        self.display = True
        field.focus()

    def end(self) -> None:
        self.display = False
        self._then = None
        self.post_message(self.Ended())

    @on(Input.Submitted, "#answer")
    def _on_answer(self, event: Input.Submitted) -> None:
        then, text = self._then, event.value.strip()
        self.end()
        if then and text:
            then(text)


class Hints(Static):
    """The keys for where the user is; a click does what the key does."""

    def __init__(self) -> None:
        super().__init__(id="hints")

    def show(self, hints: Iterable[tuple[str, str, str]]) -> None:
        """Keys, their meanings and actions."""
        parts = []
        for key, meaning, action in hints:
            hint = Content.assemble((key, "bold $accent"), " ", (meaning, "$foreground-muted"))
            parts.append(hint.stylize(Style.from_meta({"@click": action})) if action else hint)
        self.update(Content("   ").join(parts), layout=False)
