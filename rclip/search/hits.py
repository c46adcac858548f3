"""A photo that a search has found, as front ends get it."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rclip import argument_checks
from rclip.errors import SortNeedsQuery, UsageError
from rclip.index.location import Folder
from rclip.photo.metadata import NO_METADATA, Origin, PhotoMetadata, captured_at
from rclip.search.scored_photo import Kind, ScoredPhoto

if TYPE_CHECKING:
    from datetime import datetime


class HitCopy(NamedTuple):
    """A photo that is part of a hit's result."""

    path: str
    kind: Kind
    """`exact` where it has the same bytes as the hit's photo, `pair` for another file of that shot, else `alike`."""
    score: float | None
    size_bytes: int
    id: str
    """That of its own `Hit`."""


class Hit(NamedTuple):
    """A photo found. `path` is spelled as reached from the directory given.

    `score` is a cosine, or None where there was no query.
    """

    path: str
    score: float | None
    size_bytes: int
    mtime_ns: int
    metadata: PhotoMetadata = NO_METADATA
    id: str = ""
    """Names the photo, or the moment of a film, within its library, for as long as its bytes do not change."""
    at_ms: int | None = None
    """Of a film, the time of the moment found, from its start; None for a photo."""
    rank: int | None = None
    """Its place among all that a search has found, from 1; None where it was not searched for."""
    copies: tuple[HitCopy, ...] = ()
    """The photos that are the same picture and so no hits of their own."""

    @property
    def at(self) -> str:
        """That time as players write it, `0:02:05`; empty for a photo."""
        return "" if self.at_ms is None else clock(self.at_ms)

    @property
    def place(self) -> str:
        """The city that it was taken in or near, `Lisbon, Portugal`.

        Empty where none is known to be near, or the gazetteer, which is an extra, is not installed.
        """
        if self.metadata.latitude is None or self.metadata.longitude is None:
            return ""
        from rclip import places

        city = places.city_at(self.metadata.latitude, self.metadata.longitude)
        return city.label if city else ""

    @property
    def captured(self) -> "datetime":
        """When it was taken, on the camera's clock; the file's time here where that is not known."""
        if self.metadata.captured_s is not None:
            return captured_at(self.metadata.captured_s, self.metadata.offset_min)
        from datetime import UTC, datetime, timedelta

        in_utc = datetime.fromtimestamp(0, UTC) + timedelta(seconds=self.mtime_ns // 1_000_000_000)
        try:
            return in_utc.astimezone()
        except (ValueError, OverflowError):  # beyond what the platform's clock knows
            return in_utc


def hit_of(found: ScoredPhoto, folders: Sequence[Folder], rank: int | None = None) -> Hit:
    row = found.row
    path = spelled(row.path, folders)
    copies = tuple(_copy_of(copy.photo, copy.kind, folders) for copy in found.copies)
    return Hit(path, found.score, row.size_bytes, row.mtime_ns, found.metadata, found.id, row.at_ms, rank, copies)


def _copy_of(photo: ScoredPhoto, kind: Kind, folders: Sequence[Folder]) -> HitCopy:
    return HitCopy(spelled(photo.path, folders), kind, photo.score, photo.row.size_bytes, photo.id)


def clock(time_ms: int) -> str:
    """`0:02:05` or, from ten hours on, `12:00:00`."""
    minutes, seconds = divmod(time_ms // 1000, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def copies_told(hit: Hit) -> str:
    """In a few letters: `+CR2, +3 copies, +1 alike`. Nothing where there are none."""
    exact, alike = (sum(copy.kind == kind for copy in hit.copies) for kind in ("exact", "alike"))
    endings = [copy.path.rpartition(".")[2].upper() for copy in hit.copies if copy.kind == "pair"]
    told = [f"+{ending}" if endings.count(ending) == 1 else f"+{endings.count(ending)} {ending}"
            for ending in dict.fromkeys(endings)]  # fmt: skip
    told += [f"+{exact:,} {'copy' if exact == 1 else 'copies'}"] if exact else []
    told += [f"+{alike:,} alike"] if alike else []
    return ", ".join(told)


def absolute(path: str) -> str:
    """`abspath` takes `link/..` for the folder that the link lies in; it is that which the link's target lies in."""
    if os.pardir in path.split(os.sep):
        folder, name = os.path.split(path)
        return os.path.join(os.path.realpath(folder), name)
    return os.path.abspath(path)


def as_json(hit: Hit) -> dict[str, object]:
    """Path (absolute), score, rank, size, times, and what else is known of the photo, for `json.dumps`.

    Of a film also `at`, as a person reads it, and `at_s`, in seconds.
    `path_b64` stands for a name that is no UTF-8. Without a query there is no score, without
    copies no `copies`. Times have the form of ISO 8601
    with seconds and offset; that of a camera's clock is null where it is not known, and then the time ends before it.
    """
    named = _named(hit.path)
    score = None if hit.score is None else round(hit.score, 6)
    at_s = None if hit.at_ms is None else hit.at_ms / 1000
    ranked = {"score": score, "rank": hit.rank, "at": hit.at or None, "at_s": at_s}
    captured, offset = captured_texts(hit)
    place = {"place": hit.place} if hit.place else {}
    times = {"modified": modified(hit).isoformat(timespec="seconds"), "captured": captured, "captured_offset": offset}
    known = (
        {name: value for name, value in found.items() if value is not None} for found in (ranked, told_metadata(hit))
    )
    first, last = known
    copies = [_named(copy.path) | {"kind": copy.kind, "size": copy.size_bytes} for copy in hit.copies]
    folded = {"copies": copies} if copies else {}
    return named | first | {"size": hit.size_bytes} | times | last | place | folded


def _named(path: str) -> dict[str, object]:
    """The absolute path, in base 64 where it is no UTF-8."""
    from base64 import b64encode

    path = absolute(path)
    try:
        path.encode()
    except UnicodeEncodeError:
        return {"path_b64": b64encode(os.fsencode(path)).decode()}
    return {"path": path}


def captured_texts(hit: Hit) -> tuple[str, str | None]:
    """`2019-02-03T11:20:29+01:00` and `+01:00`; no offset, and None, where it is not known."""
    captured = hit.captured.isoformat(timespec="seconds")
    return captured, captured[len("2019-02-03T11:20:29") :] or None


_DEGREE_DIGITS = 6
"""0.1 m, as RFC 7946 advises; a camera's hundredths of a second of arc are 0.3 m, and floats would show more digits."""


def _degrees(value: float | None) -> float | None:
    return None if value is None else round(value, _DEGREE_DIGITS)


def told_metadata(hit: Hit) -> dict[str, object]:
    """None for what is not known."""
    metadata = hit.metadata
    return {
        "captured_from": captured_from(hit),
        "latitude": _degrees(metadata.latitude),
        "longitude": _degrees(metadata.longitude),
        "camera": metadata.camera or None,
        "width": metadata.width,
        "height": metadata.height,
        "keywords": list(metadata.keywords) or None,
        "rating": metadata.rating,
        "lens": metadata.lens or None,
        "title": metadata.title or None,
        "headline": metadata.headline or None,
        "caption": metadata.caption or None,
    }


def captured_from(hit: Hit) -> str:
    """What `captured` comes from: `metadata`, `sidecar`, `name`, or `file` where only the file's own time is known."""
    known = hit.metadata
    return "file" if known.captured_s is None else Origin.NAMES[known.captured_from]


def modified(hit: Hit) -> "datetime":
    """In UTC, to the microsecond."""
    from datetime import UTC, datetime, timedelta

    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=hit.mtime_ns // 1000)


def spelled(path: bytes, folders: Sequence[Folder]) -> str:
    """As reached from the first of the folders that it lies in; never like an option."""
    folder = next(folder for folder in folders if path.startswith(folder.real))
    written = folder.spelled + path[len(folder.real) :]
    return os.fsdecode(b"./" + written if written.startswith(b"-") else written)


def worst_last(found: ScoredPhoto) -> float:
    """The order of photos found for a query."""
    assert found.score is not None
    return -found.score


def oldest_last(found: ScoredPhoto) -> float:
    """The order of photos found without one: by the time that a camera's clock, or one here, had shown."""
    return _oldest_last(Hit("", None, 0, found.row.mtime_ns, found.metadata))


def _oldest_last(hit: Hit) -> float:
    from datetime import UTC

    return -hit.captured.replace(tzinfo=UTC).timestamp()


def _path_of(found: ScoredPhoto) -> bytes:
    return found.row.path


SORTS: Mapping[str, Callable[[ScoredPhoto], float | bytes]] = {
    "score": worst_last,
    "date": oldest_last,
    "path": _path_of,
}
"""The orders that photos can be given in, by the key of each."""


def in_order(hits: Sequence[Hit], order: str) -> list[Hit]:
    """By "date" or "path", as `SORTS` has them."""
    return sorted(hits, key=_oldest_last if order == "date" else lambda hit: os.fsencode(hit.path))


class Page:
    """Which of the photos found are given, and in which order.

    With a query the best make the page and are then put in the order. Without one, the order says which come first. Not
    a NamedTuple: making one takes longer than a query may.
    """

    __slots__ = ("number", "sort", "top")

    def __init__(self, top: int, number: int = 1, sort: str | None = None):
        """`sort` is one of `SORTS`; None is "score" with a query and "date" without."""
        self.top = top
        self.number = number
        self.sort = sort

    @classmethod
    def of(cls, top: int | None, number: int, sort: str | None) -> "Page":
        """Checks what callers give; `top` None is for all. Raises `UsageError`, and TypeError for wrong types."""
        number = argument_checks.count("page", number)
        if sort is not None and argument_checks.text("sort", sort) not in SORTS:
            raise UsageError(f"sort must be one of {', '.join(SORTS)}, not {sort}")
        if top is None and number > 1:
            raise UsageError("page must be 1 where top is None: all photos make one page")
        return cls(sys.maxsize if top is None else argument_checks.count("top", top), number, sort)

    @property
    def end(self) -> int:
        """How many photos there are up to the end of this page."""
        return min(self.top * self.number, sys.maxsize)

    @property
    def order_without_query(self) -> str:
        """Raises `SortNeedsQuery`."""
        if self.sort == "score":
            raise SortNeedsQuery
        return self.sort or "date"

    def hits(self, found: Sequence[ScoredPhoto], folders: Sequence[Folder]) -> list[Hit]:
        """Those of this page, with their ranks, of the best that were found, best first."""
        start = min(self.top * (self.number - 1), len(found))
        ranked = list(enumerate(found, 1))[start : self.end]
        if self.sort and self.sort != "score":
            key = SORTS[self.sort]
            ranked.sort(key=lambda each: key(each[1]))
        return [hit_of(photo, folders, rank) for rank, photo in ranked]
