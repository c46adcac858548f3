"""The side panel: a field for each filter, and below them what there is to choose from."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Checkbox, Input, Label, OptionList
from textual.widgets.option_list import Option

from rclip.terminal.text import printable, shortened
from rclip.tui.jobs import Job
from rclip.tui.workers import Workers

if TYPE_CHECKING:
    from rclip.search.facets import Facets

FIELDS = {
    "after": ("From", "2023, 2023-07, 2023-07-14"),
    "before": ("Before", "2024"),
    "camera": ("Camera", "words of its name"),
    "types": ("Type", "jpg, png, raw"),
    "rating": ("Stars", "1 to 5, or more"),
    "keywords": ("Keywords", "beach, lisbon"),
    "text": ("Words", "of caption or file name"),
    "lens": ("Lens", "words of its name"),
    "size": ("Size", "12mp, 1920x1080, ..1mb"),
    "orientation": ("Shape", "landscape, portrait, square"),
    "folder": ("Folder", "/home/me/2023"),
    "paths": ("Path", "2019/** or !IMG_*"),
    "near": ("Near", "Lisbon, or LAT,LON,KM"),
    "min_score": ("Min. score", "0.25"),
    "fold": ("One from", "0.95: photos so alike"),
    "sort": ("Order", "date or path"),
}
"""The filters that are typed, by their names in a request, each with its label and an example."""

_CHECKS = {"is_relevant": "Only what stands out", "all": "Each copy by itself"}
"""Those that are on or off."""

_BAR_COLUMNS = 8
_MOST = 12
"""Values shown of each kind."""


class FilterPanel(VerticalScroll, can_focus=False):
    """What photos must be like."""

    class Changed(Message):
        """Another filter is wanted."""

        def __init__(self, texts: dict[str, str]):
            super().__init__()
            self.texts = texts

    def __init__(self, texts: Mapping[str, str]):
        super().__init__(id="filters")
        self._initial = texts
        self._choices: list[tuple[str, str]] = []
        """The filter and its text of each line of the list that can be chosen."""

    def compose(self) -> ComposeResult:
        yield Label("Filters", classes="heading", markup=False)
        for name, label in _CHECKS.items():
            yield Checkbox(label, value=name in self._initial, id=name, compact=True)
        for name, (label, example) in FIELDS.items():
            with Horizontal():
                yield Label(label, markup=False)
                value = self._initial.get(name, "").replace("\n", " | ")
                yield Input(value, placeholder=example, id=name, compact=True, select_on_focus=False)
        yield Label("In these photos", classes="heading", markup=False)
        yield OptionList(id="facets", compact=True, markup=False)

    def texts(self) -> dict[str, str]:
        """As a request takes them."""
        found = {name: self.query_one(f"#{name}", Input).value.strip() for name in FIELDS}
        found["paths"] = "\n".join(part.strip() for part in found["paths"].split("|"))
        found |= {name: "1" if self.query_one(f"#{name}", Checkbox).value else "" for name in _CHECKS}
        return {name: text for name, text in found.items() if text}

    def clear(self) -> None:
        """Asks for nothing."""
        with self.prevent(Input.Changed, Checkbox.Changed):
            for name in FIELDS:
                self.query_one(f"#{name}", Input).value = ""
            for box in self.query(Checkbox):
                box.value = False
        self._tell()

    def mark_wrong(self, name: str) -> None:
        """The field whose text makes no sense; none for an empty name."""
        for each in FIELDS:
            self.query_one(f"#{each}", Input).set_class(each == name, "wrong")

    @on(Input.Changed)
    @on(Checkbox.Changed)
    def _tell(self) -> None:
        self.post_message(self.Changed(self.texts()))

    # --- what there is to choose from --------------------------------------------------------------------------------

    def offer_facets(self, workers: Workers, show_failure: Callable[[Exception], None]) -> None:
        """When a thread has counted them."""

        def done(outcome: "Facets | Exception") -> None:
            if isinstance(outcome, Exception):
                show_failure(outcome)
            else:
                self.offer(outcome)

        workers.errands.want([Job("facets", lambda: workers.opened.explorer().facets(), done)])

    def offer(self, facets: "Facets") -> None:
        """Lists the values that photos have; the years as a histogram."""
        choices = self.query_one("#facets", OptionList)
        width = max(10, choices.size.width - 2) if choices.size.width else 30
        choices.clear_options()
        self._choices = []
        for heading, filter_name, values in _kinds(facets):
            if values:
                choices.add_option(Option(Content.styled(heading, "$foreground-muted"), disabled=True))
                self._choices.append(("", ""))
                most = max(count for _, count, _ in values)
                for shown, count, text in values:
                    choices.add_option(Option(_line(shown, count, most, width)))
                    self._choices.append((filter_name, text))

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        """A value that is chosen already is taken away."""
        event.stop()
        name, text = self._choices[event.option_index]
        if name == "year":
            is_chosen = self.query_one("#after", Input).value == text
            self.query_one("#after", Input).value = "" if is_chosen else text
            self.query_one("#before", Input).value = "" if is_chosen else f"{int(text) + 1:04}"
        elif name:
            field = self.query_one(f"#{name}", Input)
            field.value = "" if field.value == text else text


def _kinds(facets: "Facets") -> "Iterable[tuple[str, str, list[tuple[str, int, str]]]]":
    """Heading, filter, and of each value: how it is shown, its count, and the filter's text."""

    def listed(counts: "Mapping[str, int]") -> list[tuple[str, int, str]]:
        return [(str(value), count, str(value)) for value, count in list(counts.items())[:_MOST]]

    years = dict(sorted(facets.years.items(), reverse=True))
    yield "Years", "year", [(str(year), count, f"{year:04}") for year, count in years.items() if 1 <= year < 9999]
    yield "Cameras", "camera", listed(facets.cameras)
    yield "Types", "types", listed({kind: count for kind, count in facets.types.items() if kind})
    yield "Stars", "rating", [("★" * stars, count, str(stars)) for stars, count in facets.ratings.items() if stars > 0]
    yield "Keywords", "keywords", listed({word: count for word, count in facets.keywords.items() if "," not in word})
    yield "Folders", "folder", listed(facets.folders)


def _line(shown: str, count: int, most: int, width: int) -> Content:
    bar = "━" * max(1, round(_BAR_COLUMNS * count / most))
    number = f"{count:,}"
    room = max(4, width - _BAR_COLUMNS - len(number) - 2)
    name = Content(shortened(printable(shown), room))
    gap = " " * max(1, room - name.cell_length + 1)
    return Content.assemble(name, gap, (bar.ljust(_BAR_COLUMNS), "$accent"), " ", (number, "$foreground-muted"))
