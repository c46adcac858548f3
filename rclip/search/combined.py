"""Several indexes searched as one: those of the directories of a library."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rclip.errors import NeedsQuery, RclipError, UnknownPhoto
from rclip.index.location import Folder
from rclip.index.photo_index import PhotoIndex
from rclip.index.scope import Scope
from rclip.search.hits import SORTS, Hit, Page, worst_last
from rclip.search.query import IndexedPhoto, Query, Vector
from rclip.search.query_encoder import QueryEncoder, unit_vector
from rclip.search.scored_photo import ScoredPhoto
from rclip.search.searcher import Searcher, merged

if TYPE_CHECKING:
    from rclip.filters import Filters

Part = tuple[PhotoIndex, Scope]
"""An index, and the folders that are asked of it."""

Answer = tuple[Query | RclipError, list[Hit] | RclipError]
"""A query, and what was found for it."""


class CombinedSearch:
    """Finds photos of several indexes; one that two of them hold comes once."""

    def __init__(self, parts: Sequence[Part], folders: Sequence[Folder], encoder: QueryEncoder):
        """`folders` say how paths are spelled."""
        self._parts = parts
        self._folders = folders
        self._encoder = encoder

    def searchers(self) -> list[Searcher]:
        """For each index that has photos in its folders."""
        self.warn_unless_adopted()
        return [searcher for searcher in self.all_searchers() if searcher.has_photos()]

    def all_searchers(self) -> list[Searcher]:
        """For each index."""
        return [Searcher(index, scope, number) for number, (index, scope) in enumerate(self._parts)]

    def warn_unless_adopted(self) -> None:
        for index, _ in self._parts:
            index.warn_unless_adopted()

    def answers(
        self,
        blocks: Iterable[Sequence[Query | RclipError]],
        wanted: Page,
        filters: "Filters | None",
        fold: float | None,
        moments: int = 1,
    ) -> Iterator[Answer]:
        """See `Library.search_blocks`."""
        fold = fold if moments == 1 else None
        searchers = self.searchers()
        stores = [searcher.store for searcher in searchers]
        finders = [searcher.search(filters, fold, moments) for searcher in searchers]
        for block in blocks:
            if not searchers:
                yield from ((asked, asked if isinstance(asked, RclipError) else []) for asked in block)
                continue
            encoded = self._encoder.encode([self._with_vectors(query) for query in block], stores)
            queries = [query for query in encoded if not isinstance(query, RclipError)]
            found = zip(*(find(queries, wanted.end) for find in finders), strict=True)
            for asked, query in zip(block, encoded, strict=True):
                best = query if isinstance(query, RclipError) else merged(next(found), wanted.end, worst_last, fold)
                yield asked, best if isinstance(best, RclipError) else wanted.hits(best, self._folders)

    def without_query(self, wanted: Page, filters: "Filters | None", fold: float | None) -> list[Hit]:
        """The photos that pass the filters, the one taken last first if no other order is wanted."""
        from rclip.filters import Filters

        filters = filters or Filters()
        if filters.min_score is not None or filters.is_relevant:
            raise NeedsQuery
        order = wanted.order_without_query
        top = wanted.end if order == "date" else sys.maxsize
        parts = [searcher.newest(top, filters, fold) for searcher in self.searchers()]
        if not parts:
            return []
        found = merged(parts, top, SORTS[order], fold)
        if order == "path":
            found = sorted(found, key=SORTS[order])
        return Page(wanted.top, wanted.number).hits(found, self._folders)

    def version(self) -> tuple[int, ...] | None:
        """See `Library.version`."""
        versions = []
        for index, _ in self._parts:
            if not index.exists():
                versions.append(-1)
                continue
            with index.store.snapshot() as version:
                if version is None:
                    return None
                versions.append(version)
        return tuple(versions)

    # --- single photos -----------------------------------------------------------------------------------------------

    def photo(self, photo_id: str) -> tuple[Searcher, ScoredPhoto] | None:
        """The photo of that `Hit.id`, and the searcher of its index; None for one that no search could find."""
        number, _, row = photo_id.partition("-")
        if not (_is_number(number) and _is_number(row) and int(number) < len(self._parts)):
            return None
        searcher = Searcher(*self._parts[int(number)], int(number))
        found = searcher.photo(int(row)) if searcher.has_photos() else None
        return (searcher, found) if found else None

    def _with_vectors(self, query: Query | RclipError) -> Query | RclipError:
        """The query with the stored vectors of indexed photos in their place, or an error for one that is not here."""
        if isinstance(query, RclipError) or not any(isinstance(term.what, IndexedPhoto) for term in query.terms):
            return query
        terms = []
        for term in query.terms:
            if isinstance(term.what, IndexedPhoto):
                found = self.photo(term.what.value)
                if found is None:
                    return UnknownPhoto(id=term.what.value)
                row = found[1].row
                term = term._replace(what=Vector(unit_vector(row.vector), row.path))
            terms.append(term)
        return query._replace(terms=tuple(terms))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19
