"""The photos found: the grid or, in its place, one photo as large as the screen takes it."""

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal

from rclip.tui.detail import Detail, LargePicture
from rclip.tui.grid import Grid
from rclip.tui.thumbnails import Pictures

if TYPE_CHECKING:
    from rclip.search.hits import Hit
    from rclip.terminal.probe import Screen


class Gallery(Horizontal):
    """The grid and the large view of the photo that is focused in it, of which one is shown."""

    def __init__(self, screen: "Screen", selected: "dict[str, Hit]", pictures: Pictures):
        super().__init__(id="gallery")
        self._selected = selected
        self._pictures = pictures
        self.grid = Grid(screen, selected)
        self.detail = Detail(id="detail")
        self.detail.display = False

    def compose(self) -> ComposeResult:
        yield self.grid
        yield self.detail

    @property
    def is_large(self) -> bool:
        """Whether one photo is shown."""
        return self.detail.display

    def focus_shown(self) -> None:
        (self.detail if self.is_large else self.grid).focus()

    # --- one photo ---------------------------------------------------------------------------------------------------

    def open_detail(self, place: str) -> None:
        """Shows the focused photo, if there is any; `place` says which of how many it is."""
        if self.grid.focused_hit:
            self.grid.display = False
            self.detail.display = True
            self.detail.focus()
            self.show_detail(place)

    def close_detail(self) -> None:
        """Back to the grid."""
        if self.is_large:
            self.detail.display = False
            self.grid.display = True
            self.grid.focus()

    def show_detail(self, place: str) -> None:
        """The photo that is focused now, if one is shown."""
        hit = self.grid.focused_hit
        if self.is_large and hit and self.detail.show(hit, place, hit.id in self._selected):
            self._pictures.want_large(self.detail, hit)

    @on(LargePicture.Resized)
    def _on_large_resized(self) -> None:
        if self.is_large and self.detail.hit:
            self._pictures.want_large(self.detail, self.detail.hit)

    # --- the grid ----------------------------------------------------------------------------------------------------

    def draw_remembered(self) -> None:
        """The pictures in sight that are remembered."""
        self._pictures.draw_remembered(self.grid)

    def draw(self) -> None:
        """The others, too, as they are made."""
        self._pictures.draw(self.grid)

    def move_rows(self, by: int) -> bool:
        """To another row or, where one photo is shown, to the next one; False up from the first row."""
        if self.is_large:
            self.grid.move(by)
        elif by < 0 and self.grid.cursor < self.grid.arrangement.columns:
            return False
        else:
            self.grid.move_rows(by)
        return True
