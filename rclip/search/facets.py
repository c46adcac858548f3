"""What there is to choose from among all photos: years, cameras, types, folders, keywords and ratings, with counts."""

import os
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from rclip.files import suffix
from rclip.index.store import facets as stored
from rclip.photo.metadata import PhotoMetadata, captured_at
from rclip.search.searcher import Searcher

_MOST_KEYWORDS = 500
_FOLDER_LEVELS = 3


class Facets(NamedTuple):
    """How many photos have each value that a filter can ask for."""

    photos: int
    years: dict[int, int]
    """Ascending: of the camera's clock or, without one, of the file's local time."""
    cameras: dict[str, int]
    """As filters take them, the most frequent first; so are the others."""
    types: dict[str, int]
    folders: dict[str, int]
    """Absolute, three levels deep, in path order; those whose name is no UTF-8 are left out."""
    keywords: dict[str, int]
    """The five hundred most frequent."""
    ratings: dict[int, int]


class _Counts:
    """The counts so far."""

    def __init__(self, searcher: Searcher):
        self.photos = 0
        self.years: Counter[int] = Counter()
        self.cameras: Counter[int] = Counter()
        self.types: Counter[str] = Counter()
        self.folders: Counter[bytes] = Counter()
        self.keywords: Counter[str] = Counter()
        self.ratings: Counter[int] = Counter()
        self._starts = searcher.ranges

    def add(self, row: stored.FacetRow) -> None:
        self.photos += 1
        self.years[_year(row)] += 1
        self.types[suffix(row.path)] += 1
        if row.camera is not None:
            self.cameras[row.camera] += 1
        if row.keywords:
            self.keywords.update(row.keywords.split("\n"))
        if row.rating is not None:
            self.ratings[row.rating] += 1
        self._add_folders(row.path)

    def _add_folders(self, path: bytes) -> None:
        start = next(start for start in self._starts if path.startswith(start))
        end = len(start)
        for _ in range(_FOLDER_LEVELS):
            end = path.find(b"/", end) + 1
            if not end:
                return
            self.folders[path[: end - 1]] += 1


def facets_of(searchers: Iterable[Searcher]) -> Facets:
    """Those of all photos that may be found. Raises `StoreError`."""
    return _merged([_of_one(searcher) for searcher in searchers])


def _of_one(searcher: Searcher) -> Facets:
    counts = _Counts(searcher)
    for row in searcher.all_photos().facet_rows():
        counts.add(row)
    names = searcher.store.metadata.cameras()
    cameras: Counter[str] = Counter()
    for camera, count in counts.cameras.items():
        cameras[PhotoMetadata(maker=names[camera][0], model=names[camera][1]).camera] += count
    folders = {os.fsdecode(folder): count for folder, count in counts.folders.items() if _is_text(folder)}
    return Facets(
        counts.photos, dict(counts.years), cameras, counts.types, folders, counts.keywords, dict(counts.ratings)
    )


def _merged(parts: "list[Facets]") -> Facets:
    """In the order in which they are shown; a photo of two indexes counts twice."""

    def total(name: str) -> Counter[Any]:
        return sum((Counter(getattr(part, name)) for part in parts), Counter())

    def ascending(name: str) -> dict[int, int]:
        return dict(sorted(total(name).items()))

    return Facets(
        photos=sum(part.photos for part in parts),
        years=ascending("years"),
        cameras=dict(total("cameras").most_common()),
        types=dict(total("types").most_common()),
        folders=dict(sorted(total("folders").items())),
        keywords=dict(total("keywords").most_common(_MOST_KEYWORDS)),
        ratings=ascending("ratings"),
    )


def _year(row: stored.FacetRow) -> int:
    if row.captured_s is not None:
        return captured_at(row.captured_s, None).year
    try:
        return time.localtime(row.mtime_ns // 10**9).tm_year
    except (ValueError, OverflowError, OSError):  # beyond the years that the platform's clock knows
        return time.gmtime(0).tm_year


def _is_text(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
