"""Pictures among Textual's widgets, which know only text: each is drawn over the blank cells of its widget.

Whenever Textual has written to these cells, the picture in them is drawn again. A picture is never covered in part:
nothing here scrolls by less than a picture or stands over another widget.
"""

import io
from typing import TYPE_CHECKING, NamedTuple

from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.widget import Widget

from rclip.terminal import drawing
from rclip.terminal.drawing import Box

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rclip.terminal.probe import Screen


class Drawing(NamedTuple):
    """A picture ready to be drawn."""

    sequence: str
    size: Box
    """The cells that it takes."""


def drawing_of(file: bytes, box: Box, screen: "Screen", image_id: int) -> Drawing:
    """The picture in a thumbnail's file, as large as the box takes it. Raises `DecodeError`."""
    import numpy as np

    from rclip.photo import image

    largest = drawing.pixels_in(box, screen)
    small = image.thumbnail(io.BytesIO(file), "jpg", largest, _MOST_PIXELS, drawing.step(screen))
    pixels = np.asarray(small)
    return Drawing(drawing.drawn(pixels, box, screen, image_id).decode(), drawing.cells_of(pixels, box, screen))


_MOST_PIXELS = 2048 * 2048
"""Of any thumbnail that there is."""


class PictureArea(Widget):
    """A widget that has a picture in the upper part of it, or all over."""

    def __init__(self, image_id: int, id: str | None = None):  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.image_id = image_id
        self.drawing: Drawing | None = None

    @property
    def box(self) -> Box:
        """The room for the picture."""
        raise NotImplementedError

    def picture_region(self) -> Region:
        """On the screen."""
        assert self.drawing
        x, y = self.offset_in_box(self.box, self.drawing.size)
        return Region(self.region.x + x, self.region.y + y, *self.drawing.size)

    def offset_in_box(self, box: Box, size: Box) -> tuple[int, int]:
        """Where a picture of that size starts within the widget, in columns and lines: in the middle."""
        return max(0, box.columns - size.columns) // 2, max(0, box.rows - size.rows) // 2


class Painter:
    """Draws the pictures of the areas that are in sight."""

    def __init__(self, screen: "Screen"):
        self._screen = screen
        self._shown: set[int] = set()
        """The ids of pictures that stand on the screen."""
        self._overwritten: set[int] = set()
        """Those whose cells were written to since they were drawn."""

    def note(self, areas: "Iterable[PictureArea]", update: object) -> bool:
        """Remembers which pictures an update has written over. Returns whether there is anything to do."""
        shown = _in_sight(areas)
        self._overwritten |= {area.image_id for area in shown if _has_written(update, area.picture_region())}
        return bool(self._overwritten or self._shown - {area.image_id for area in shown})

    def sequence(self, areas: "Iterable[PictureArea]") -> str:
        """What draws all pictures that were written over, and takes away those that are gone."""
        shown = _in_sight(areas)
        ids = {area.image_id for area in shown}
        gone = [drawing.erased(self._screen, image_id).decode() for image_id in self._shown - ids]
        drawn = [self._drawn(area) for area in shown if area.image_id in self._overwritten]
        self._shown = ids
        self._overwritten.clear()
        return "".join([*gone, *drawn])

    def _drawn(self, area: PictureArea) -> str:
        assert area.drawing
        place = area.picture_region()
        return f"\x1b7\x1b[{place.y + 1};{place.x + 1}H{area.drawing.sequence}\x1b8"


def _in_sight(areas: "Iterable[PictureArea]") -> list[PictureArea]:
    return [area for area in areas if area.drawing and area.region.area > 0]


def _has_written(update: object, place: Region) -> bool:
    """Whether an update of Textual's has written to cells of that place."""
    if isinstance(update, ChopsUpdate):
        lines = range(place.y, place.bottom)
        return any(y in lines and first < place.right and end > place.x for y, first, end in update.spans)
    return isinstance(update, LayoutUpdate)
