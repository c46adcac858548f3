"""The pictures of the photos in sight: made by threads, remembered, and put into the widgets that show them."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclip.tui.detail import Detail
from rclip.tui.grid import Grid, Tile
from rclip.tui.jobs import Job
from rclip.tui.pictures import Drawing, drawing_of
from rclip.tui.workers import Workers

if TYPE_CHECKING:
    from rclip.search.hits import Hit
    from rclip.terminal.drawing import Box
    from rclip.terminal.probe import Screen

_SMALL, _LARGE = 480, 2048
"""Long sides of thumbnails."""
_REMEMBERED_DRAWINGS = 400


class Pictures:
    """Has pictures made for the grid and for the large view."""

    def __init__(
        self,
        workers: Workers,
        screen: "Screen",
        sentence_of: Callable[[Exception], str],
    ):
        """`sentence_of` says why a picture cannot be shown, or raises its error."""
        self._workers = workers
        self._terminal = screen
        self._sentence_of = sentence_of
        self._drawings: OrderedDict[tuple[object, ...], Drawing] = OrderedDict()

    # --- small ones --------------------------------------------------------------------------------------------------

    def draw_remembered(self, grid: Grid) -> list[Job]:
        """Puts what is remembered into tiles; the jobs for those in sight that lack one, then for the next screen's."""
        jobs = [
            self._small(tile, hit)
            for tile, hit in grid.filled()
            if tile.needs_picture and not self._draw_remembered(tile, hit)
        ]
        ahead = grid.hits[grid.first + grid.count : grid.first + 2 * grid.count]
        for tile, hit in zip(grid.tiles, ahead, strict=False):
            if self._key(hit, tile) not in self._drawings:
                jobs.append(self._small(tile, hit))
        return jobs

    def draw(self, grid: Grid) -> None:
        """Those in sight that are remembered at once, the others and those of the next screen when they are made."""
        self._workers.drawing.want(self.draw_remembered(grid))

    def _draw_remembered(self, tile: Tile, hit: "Hit") -> bool:
        found = self._drawings.get(self._key(hit, tile))
        if found:
            tile.draw(found)
        return found is not None

    def _small(self, tile: Tile, hit: "Hit") -> Job:
        key = self._key(hit, tile)

        def done(outcome: Any) -> None:
            if isinstance(outcome, Drawing):
                self._remember(key, outcome)
            if tile.hit is not hit and (tile.hit is None or tile.hit.id != hit.id):
                return
            if isinstance(outcome, Drawing):
                tile.draw(outcome)
            else:
                tile.explain(self._sentence_of(outcome))

        return Job(key, lambda: self._drawn(hit, _SMALL, tile.box, tile.image_id), done)

    def _drawn(self, hit: "Hit", long_side: int, box: "Box", image_id: int) -> Drawing:
        file = self._workers.opened.explorer().thumbnail(hit.id, long_side)
        return drawing_of(file, box, self._terminal, image_id)

    def _key(self, hit: "Hit", tile: Tile) -> tuple[object, ...]:
        return hit.id, tile.box, tile.image_id if self._terminal.kind == "kitty" else 0

    def _remember(self, key: tuple[object, ...], drawing: Drawing) -> None:
        self._drawings[key] = drawing
        while len(self._drawings) > _REMEMBERED_DRAWINGS:
            self._drawings.popitem(last=False)

    # --- the large one -----------------------------------------------------------------------------------------------

    def want_large(self, detail: Detail, hit: "Hit") -> None:
        """The small one until the large one is made."""
        picture = detail.picture
        box, image_id = picture.box, picture.image_id

        def done(outcome: Any) -> None:
            if detail.hit is None or detail.hit.id != hit.id or picture.box != box:
                return
            if isinstance(outcome, Drawing):
                picture.draw(outcome)
            else:
                picture.draw(None, self._sentence_of(outcome))

        def work(side: int) -> Callable[[], Drawing]:
            return lambda: self._drawn(hit, side, box, image_id)

        self._workers.enlarging.want([Job((hit.id, box, side), work(side), done) for side in (_SMALL, _LARGE)])
