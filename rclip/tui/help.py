"""The screen that lists the keys."""

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from rclip.tui import texts

_KEY_COLUMNS = 28


class HelpScreen(Screen[None]):
    """Any of its keys leads back."""

    BINDINGS = [Binding("escape,q,question_mark,enter,space", "dismiss", "back")]  # noqa: RUF012 - Textual's way

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Static(self._text())

    def _text(self) -> Content:
        lines = []
        for heading, keys in texts.HELP:
            lines += [Content.styled(heading, "bold $accent"), Content("")]
            lines += [Content.assemble((f"  {key:{_KEY_COLUMNS}}", "bold"), said) for key, said in keys]
            lines.append(Content(""))
        lines.append(Content.styled(texts.SELECTION_NOTE, "$foreground-muted"))
        return Content("\n").join(lines)
