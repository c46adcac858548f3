"""One photo, as large as the screen takes it, beside its facts."""

from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from rclip.terminal.drawing import Box
from rclip.terminal.text import printable
from rclip.tui.facts import facts
from rclip.tui.pictures import Drawing, PictureArea

if TYPE_CHECKING:
    from rclip.search.hits import Hit

_IMAGE_ID = 0xF00000
"""Above those of tiles."""


class LargePicture(PictureArea):
    """The picture, or why it cannot be shown."""

    class Resized(Message):
        """It must be drawn anew."""

    def __init__(self) -> None:
        super().__init__(_IMAGE_ID, id="large")
        self.message = ""

    @property
    def box(self) -> Box:
        return Box(max(1, self.size.width), max(1, self.size.height))

    def draw(self, drawing: Drawing | None, message: str = "") -> None:
        self.drawing, self.message = drawing, message
        self.refresh()

    def render(self) -> Content:
        return Content.styled(printable(self.message), "$foreground-muted")

    def on_resize(self, event: events.Resize) -> None:
        self.drawing = None
        self.post_message(self.Resized())


class Detail(Horizontal, can_focus=True):
    """The photo that is focused in the grid."""

    hit: "Hit | None" = None

    def compose(self) -> ComposeResult:
        yield LargePicture()
        with VerticalScroll(id="facts", can_focus=False):
            yield Static(id="facts-text")

    @property
    def picture(self) -> LargePicture:
        return self.query_one(LargePicture)

    def show(self, hit: "Hit", place: str, is_selected: bool) -> bool:
        """`place` says which of how many it is. Returns whether a picture is needed."""
        is_new = self.hit is None or self.hit.id != hit.id
        self.hit = hit
        head = Content.styled(f"✓ selected   {place}\n\n", "$text-success") if is_selected else Content(f"{place}\n\n")
        self.query_one("#facts-text", Static).update(head + facts(hit))
        if is_new:
            self.picture.draw(None)
        return self.picture.drawing is None
