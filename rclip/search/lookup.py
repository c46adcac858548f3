"""Photos of one index by their ids, as a search finds them."""

from collections.abc import Iterator, Sequence

from rclip.index.store import PhotoRow, Store
from rclip.photo.metadata import NO_METADATA, PhotoMetadata
from rclip.search.query_encoder import EncodedQuery
from rclip.search.scored_photo import ScoredPhoto
from rclip.search.selection import Selection
from rclip.vectors import exact_dot


class Lookup:
    """What one search may find of the photos of these ids. Methods raise `StoreError`."""

    def __init__(self, store: Store, number: int, selection: Selection, query: EncodedQuery | None = None):
        """`number` is that of the index among those of a library; `query` gives the photos their scores."""
        self._store = store
        self._number = number
        self._selection = selection
        self._query = query

    def passing(self, ids: Sequence[int]) -> Iterator[ScoredPhoto]:
        """The photos of these ids that are present and pass, but for the pictures that the query was made of.

        They come without their metadata where no filter asks for it: most of them are only looked up to be ranked.
        """
        selection, query = self._selection, self._query
        found = self._store.records(ids)
        if any(selection.is_missing(row and row.path) for row in found):
            raise self._store.damage()
        rows = [row for row in found if row and (query is None or row.path not in query.pictures)]
        metadata = _metadata_of(self._store, rows) if selection.needs_metadata else [NO_METADATA] * len(rows)
        for row, known in zip(rows, metadata, strict=True):
            photo = _photo(self._number, row, known, exact_dot(row.vector, query.vector) if query else None)
            if selection.passes(photo):
                yield photo

    def passing_among(self, ids: Sequence[int]) -> Iterator[ScoredPhoto]:
        """The same for ids of which some are known to be left out."""
        return self.passing(self._selection.among(ids))

    def with_metadata(self, photos: Sequence[ScoredPhoto]) -> list[ScoredPhoto]:
        """What `passing` gave, with the metadata that was left out."""
        if self._selection.needs_metadata:
            return list(photos)
        metadata = _metadata_of(self._store, [photo.row for photo in photos])
        return [photo._replace(metadata=known) for photo, known in zip(photos, metadata, strict=True)]

    def relatives(self, photos: Sequence[ScoredPhoto]) -> list[list[int]]:
        """Ids of the exact copies of each, and of those that may be files of the same shot."""
        return self._store.relatives(photo.row for photo in photos)


def photos_of(store: Store, number: int, ids: Sequence[int]) -> list[ScoredPhoto]:
    """Those of the photos that are still present, with their metadata and without scores."""
    rows = [row for row in store.records(ids) if row]
    return [_photo(number, *each) for each in zip(rows, _metadata_of(store, rows), strict=True)]


def _metadata_of(store: Store, rows: Sequence[PhotoRow]) -> list[PhotoMetadata]:
    return store.metadata.of([row.photo_id for row in rows])


def _photo(number: int, row: PhotoRow, metadata: PhotoMetadata, score: float | None = None) -> ScoredPhoto:
    return ScoredPhoto(score, row, metadata, f"{number}-{row.id}")
