"""The grid of thumbnails: as many tiles as the screen takes, which show one part of all photos found."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from textual import events
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import var
from textual.widget import Widget

from rclip.terminal.drawing import Box
from rclip.terminal.text import printable, shortened
from rclip.terminal.text import width as text_width
from rclip.tui.pictures import Drawing, PictureArea

if TYPE_CHECKING:
    from rclip.search.hits import Hit
    from rclip.terminal.probe import Screen

_CAPTION_LINES = 2
_GAP_LINES = 1
_BAR_COLUMNS, _GAP_COLUMNS, _RIGHT_COLUMNS = 1, 1, 1
_AROUND_COLUMNS = _BAR_COLUMNS + _GAP_COLUMNS + _RIGHT_COLUMNS
_ASPECT = 4 / 3  # of most photos, or 3 / 2
_USUAL_LINES = 13
"""Of a tile, where there is room for several."""


class Layout(NamedTuple):
    """How the grid is divided."""

    columns: int
    """Tiles in a row."""
    rows: int
    box: Box
    """The cells of a picture."""

    @property
    def tile_lines(self) -> int:
        return self.box.rows + _CAPTION_LINES + _GAP_LINES

    @property
    def tile_columns(self) -> int:
        return self.box.columns + _AROUND_COLUMNS


def layout_of(width: int, height: int, cell: tuple[int, int]) -> Layout:
    """For a grid of so many columns and lines, with cells of so many pixels."""
    rows = max(1, round(height / _USUAL_LINES))
    lines = max(1, height // rows - _CAPTION_LINES - _GAP_LINES)
    wished = max(10, round(lines * cell[1] * _ASPECT / cell[0])) + _AROUND_COLUMNS
    columns = max(1, round(width / wished))
    return Layout(columns, rows, Box(max(4, width // columns - _AROUND_COLUMNS), lines))


class Tile(PictureArea):
    """A thumbnail over the name of its photo."""

    def __init__(self, number: int, box: Box):
        super().__init__(number + 1)
        self.number = number
        self._box = box
        self.hit: Hit | None = None
        self._is_focused = self._is_selected = False
        self._reason = ""

    @property
    def box(self) -> Box:
        return self._box

    def offset_in_box(self, box: Box, size: Box) -> tuple[int, int]:
        """Flush with the caption below it."""
        return _BAR_COLUMNS + _GAP_COLUMNS, max(0, box.rows - size.rows)

    @property
    def needs_picture(self) -> bool:
        return self.hit is not None and self.drawing is None and not self._reason

    def show(self, hit: "Hit | None", is_focused: bool, is_selected: bool) -> None:
        is_new = (hit and hit.id) != (self.hit and self.hit.id)
        is_changed = is_new or (is_focused, is_selected) != (self._is_focused, self._is_selected) or hit != self.hit
        self.hit, self._is_focused, self._is_selected = hit, is_focused, is_selected
        if is_new:
            self.drawing, self._reason = None, ""
            self.refresh()
        elif is_changed:
            width, height = self.size
            self.refresh(Region(0, 0, _BAR_COLUMNS, height), Region(0, self._box.rows, width, _CAPTION_LINES))

    def draw(self, drawing: Drawing) -> None:
        """Puts the picture in its place."""
        self.drawing = drawing
        self.refresh()

    def explain(self, reason: str) -> None:
        """Puts a reason in the picture's place."""
        self._reason = reason
        self.refresh()

    def render(self) -> Content:
        width = max(1, self._box.columns)
        bar = (" ", "on $accent") if self._is_focused else (" ", "")
        gap = " " * _GAP_COLUMNS
        lines = [Content.styled(line, "$foreground-muted") for line in self._picture_lines(width)]
        return Content("\n").join([Content.assemble(bar, gap, line) for line in [*lines, *self._caption(width)]])

    def _picture_lines(self, width: int) -> list[str]:
        """Blank, or a reason in the middle."""
        import textwrap

        rows = self._box.rows
        told = textwrap.wrap(printable(self._reason), width, max_lines=rows, placeholder="…") if self._reason else []
        above = (rows - len(told)) // 2
        return [*[""] * above, *(line.center(width) for line in told), *[""] * (rows - above - len(told))]

    def _caption(self, width: int) -> list[Content]:
        if self.hit is None:
            return [Content("")] * _CAPTION_LINES
        mark = "✓ " if self._is_selected else ""
        name = shortened(printable(self.hit.path.rpartition("/")[2]), max(1, width - len(mark)))
        style = "bold $text-success" if self._is_selected else ("bold" if self._is_focused else "")
        score = "" if self.hit.score is None else f"{self.hit.score:.3f}  "
        date = self.hit.at or self.hit.captured.date().isoformat()
        if len(score) + len(date) > width:
            date = ""
        copies = _copies(self.hit, width - len(score) - len(date))
        said = Content.assemble((f"{score}{date}", "$foreground-muted"), (copies, "$accent"))
        return [Content.assemble((mark, style), (name, style)), said]


def _copies(hit: "Hit", room: int) -> str:
    """`  +3 copies`, or the number alone, or nothing."""
    from rclip.search.hits import copies_told

    told = [f"  {printable(copies_told(hit))}", f"  +{len(hit.copies)}"] if hit.copies else []
    return next((text for text in told if text_width(text) <= room), "")


class Grid(Widget, can_focus=True):
    """The photos found; one is focused, and any number are selected."""

    class Moved(Message):
        """Another photo is focused, or others are shown."""

    class Marked(Message):
        """The focused photo was selected, or no longer."""

    class Opened(Message):
        """The focused photo was chosen."""

    cursor: var[int] = var(0, init=False)

    def __init__(self, screen: "Screen", selected: "dict[str, Hit]"):
        """`selected` has the photos that are selected, by their ids, and is kept up to date."""
        super().__init__(id="grid")
        self._terminal = screen
        self.hits: list[Hit] = []
        self.selected = selected
        self._top_row = 0
        self.arrangement = Layout(1, 1, Box(10, 5))

    # --- what is shown -----------------------------------------------------------------------------------------------

    def show(self, hits: "Sequence[Hit]", is_new: bool) -> None:
        """`is_new`: whether they are those of another request, so that the best come into view."""
        self.hits = list(hits)
        if is_new:
            self._top_row = 0
            self.set_reactive(Grid.cursor, 0)
        else:
            self.set_reactive(Grid.cursor, self._within(self.cursor))
        self.update_tiles()

    @property
    def focused_hit(self) -> "Hit | None":
        return self.hits[self.cursor] if self.cursor < len(self.hits) else None

    @property
    def first(self) -> int:
        """The number of the first photo on the screen."""
        return self._top_row * self.arrangement.columns

    @property
    def count(self) -> int:
        """Of tiles on the screen."""
        return self.arrangement.columns * self.arrangement.rows

    def filled(self) -> "list[tuple[Tile, Hit]]":
        return [(tile, tile.hit) for tile in self.tiles if tile.hit]

    @property
    def tiles(self) -> list[Tile]:
        return list(self.query_children(Tile))

    def update_tiles(self) -> None:
        """Scrolls as far as the focused photo asks for, and gives each tile its photo."""
        row = self.cursor // self.arrangement.columns
        self._top_row = max(min(self._top_row, row), row - self.arrangement.rows + 1)
        for tile in self.tiles:
            number = self.first + tile.number
            hit = self.hits[number] if number < len(self.hits) else None
            tile.show(hit, number == self.cursor and hit is not None, hit is not None and hit.id in self.selected)
        self.post_message(self.Moved())

    # --- what is selected --------------------------------------------------------------------------------------------

    def toggle_focused(self) -> None:
        """Selects the focused photo, or no longer."""
        hit = self.focused_hit
        if hit:
            if self.selected.pop(hit.id, None) is None:
                self.selected[hit.id] = hit
            self.update_tiles()

    def select_all(self) -> None:
        self.selected |= {hit.id: hit for hit in self.hits}
        self.update_tiles()

    def select_none(self) -> None:
        self.selected.clear()
        self.update_tiles()

    def chosen(self) -> "list[Hit]":
        """The selected photos or, where there are none, the focused one."""
        return list(self.selected.values()) or ([self.focused_hit] if self.focused_hit else [])

    # --- its size ----------------------------------------------------------------------------------------------------

    async def on_resize(self, event: events.Resize) -> None:
        found = layout_of(event.size.width, event.size.height, self._terminal.cell)
        if found == self.arrangement and self.tiles:
            return
        self.arrangement = found
        self.styles.grid_size_columns = found.columns
        self.styles.grid_columns = str(found.tile_columns)
        self.styles.grid_rows = str(found.tile_lines)
        async with self.batch():
            await self.remove_children(Tile)
            await self.mount_all([Tile(number, found.box) for number in range(found.columns * found.rows)])
        self.update_tiles()

    # --- moving ------------------------------------------------------------------------------------------------------

    def watch_cursor(self) -> None:
        self.update_tiles()

    def _within(self, number: int) -> int:
        return max(0, min(number, len(self.hits) - 1))

    def move(self, by: int) -> None:
        """Left and right go on in the next row."""
        self.cursor = self._within(self.cursor + by)

    def move_rows(self, by: int) -> None:
        columns = self.arrangement.columns
        wished = self.cursor + by * columns
        last_row = max(0, len(self.hits) - 1) // columns
        if 0 <= wished < len(self.hits):
            self.cursor = wished
        elif wished >= len(self.hits) and self.cursor // columns < last_row:
            self.cursor = len(self.hits) - 1
        elif wished < 0:
            self.cursor = self.cursor % columns

    def scroll_rows(self, by: int) -> None:
        """As a mouse's wheel does: the focused photo goes along where it would leave the screen."""
        columns, rows = self.arrangement.columns, self.arrangement.rows
        last = max(0, -(-len(self.hits) // columns) - rows)
        top = max(0, min(self._top_row + by, last))
        if top == self._top_row:
            return
        self._top_row = top
        row = max(top, min(self.cursor // columns, top + rows - 1))
        self.set_reactive(Grid.cursor, self._within(row * columns + self.cursor % columns))
        self.update_tiles()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_rows(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_rows(-1)

    def on_click(self, event: events.Click) -> None:
        tile = event.widget
        if not isinstance(tile, Tile) or tile.hit is None:
            return
        self.focus()
        number = self.first + tile.number
        was_focused = number == self.cursor
        self.cursor = number
        if event.button == 3 or event.ctrl:
            self.post_message(self.Marked())
        elif event.chain > 1 or was_focused:
            self.post_message(self.Opened())
