"""Finds photos of one index: the best for each query, or the newest that pass the filters."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rclip.index.photo_index import PhotoIndex
from rclip.index.scope import Scope
from rclip.index.store import Store
from rclip.search.best import BestSearch
from rclip.search.folding import COPIES, Folding, together
from rclip.search.lookup import Lookup, photos_of
from rclip.search.query_encoder import EncodedQuery
from rclip.search.scored_photo import ScoredPhoto
from rclip.search.selection import Selection

if TYPE_CHECKING:
    from rclip.filters import Filters
    from rclip.search.all_photos import AllPhotos


class Searcher:
    """Finds photos of one index in one scope."""

    def __init__(self, index: PhotoIndex, scope: Scope, number: int = 0):
        """`number` is that of the index among those of a library, and part of its photos' ids."""
        self._index = index
        self._scope = scope
        self._number = number
        self._ranges = scope.ranges()

    @property
    def store(self) -> Store:
        """The index's database."""
        return self._index.store

    @property
    def ranges(self) -> list[bytes]:
        """The scope's folders without those that lie inside another of them."""
        return self._ranges

    def has_photos(self) -> bool:
        """Whether anything is indexed in the scope's folders."""
        if not self._index.exists():
            return False
        has_some = self.has_photos_in(self._ranges)
        if not has_some:
            self.store.check_counts(self._ranges)
        return has_some

    def has_photos_in(self, ranges: Sequence[bytes]) -> bool:
        """The same for some of the folders."""
        return self._index.exists() and self.store.ids(ranges, most=0) is None

    # --- searches ----------------------------------------------------------------------------------------------------

    def search(
        self, filters: "Filters | None", fold: float | None = COPIES, moments: int = 1
    ) -> Callable[[Sequence[EncodedQuery], int], Iterator[list[ScoredPhoto]]]:
        """A function that finds the best photos for each query, in the index as it is when the first is asked.

        Photos with a cosine of at least `fold` are one result, as exact copies always are; with None, each is its own,
        and of a film the best `moments` are results.
        """
        search = BestSearch(self._index, self._number, lambda version: self._selection(filters, version), fold, moments)
        self._prepare(filters)
        return search.find

    def newest(self, top: int, filters: "Filters", fold: float | None = COPIES) -> list[ScoredPhoto]:
        """The photos that pass the filters, the one taken last first; `fold` as in `search`."""
        from rclip.search import newest

        self._prepare(filters)
        with self.store.snapshot() as version:
            selection = self._selection(filters, version)
            return newest.newest(self.store, self._number, selection, filters, top, fold)

    def _prepare(self, filters: "Filters | None") -> None:
        """What cannot be done within a snapshot."""
        if filters and filters.text:
            self._index.catch_up_words()

    def _selection(self, filters: "Filters | None", version: int | None) -> Selection:
        """Without filters it is kept for as long as the database does not change."""
        if filters is not None:
            return Selection(self._index, self._scope, filters)
        folders = tuple(self._ranges)
        selection: Selection = self._index.kept(folders, version) or Selection(self._index, self._scope, None)
        self._index.keep(folders, version, selection)
        return selection

    # --- photos that are known ---------------------------------------------------------------------------------------

    def photo(self, id_: int) -> ScoredPhoto | None:
        """The photo of this id if a search could find it."""
        found = self.photos_of([id_])
        with self.store.snapshot() as version:
            selection = self._selection(None, version)
            if not found or not selection.allows_path(found[0].path):
                return None
            return Folding(Lookup(self.store, self._number, selection), COPIES).with_copies(found[0])

    def photos_of(self, ids: Sequence[int]) -> list[ScoredPhoto]:
        """Those of the photos that are still present."""
        return photos_of(self.store, self._number, ids)

    def all_photos(self) -> "AllPhotos":
        """Those that may be found."""
        from rclip.search.all_photos import AllPhotos

        return AllPhotos(self._index, self._scope)


def merged(
    parts: Sequence[list[ScoredPhoto]],
    top: int,
    order: Callable[[ScoredPhoto], float | bytes],
    fold: float | None,
) -> list[ScoredPhoto]:
    """The first of the photos that several indexes have found, each in that order; a photo that two hold comes once."""
    if len(parts) == 1:
        return parts[0]
    return together(sorted((found for part in parts for found in part), key=order), fold, top)
