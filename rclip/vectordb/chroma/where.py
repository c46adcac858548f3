"""Which photos pass filters, in Chroma's language for metadata: all that pass, and others where it cannot say it.

It compares whole texts and numbers and knows the elements of lists; `Filter.matches` has the last word on each photo.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rclip.filters import NearPlace, time_range
from rclip.vectordb.chroma.records import folder_name
from rclip.vectordb.interface import Conditions

if TYPE_CHECKING:
    from rclip.filters import Filters, Size

Where = dict[str, Any]

_LARGEST = (1 << 63) - 1
_ZONES_S = 16 * 3600
"""By so much no clock differs from UTC, by which the files' times are stored."""


def where(conditions: Conditions) -> Where | None:
    """None where all photos may pass."""
    parts = [*_by_path(conditions)]
    if conditions.filters is not None:
        parts += _by_filters(conditions.filters)
    return _joined("$and", parts)


def _joined(operator: str, parts: list[Where]) -> Where | None:
    return {operator: parts} if len(parts) > 1 else parts[0] if parts else None


def _by_path(conditions: Conditions) -> Iterator[Where]:
    yield from _below(conditions.folders)
    yield from _below(tuple(start[: start.rfind(b"/") + 1] for start, _ in conditions.like))


def _below(folders: tuple[bytes, ...]) -> Iterator[Where]:
    names = {folder_name(folder) for folder in folders}
    if names and "/" not in names:
        either = _joined("$or", [{"folders": {"$contains": name}} for name in sorted(names)])
        assert either
        yield either


def _by_filters(filters: "Filters") -> Iterator[Where]:
    times = time_range(filters)
    if filters.after:
        first = min(int(times.clock_s[0]), int(times.mtime_ns[0]) // 10**9 - _ZONES_S)
        yield {"taken_s": {"$gte": first}}
    if filters.before:
        end = max(int(times.clock_s[1]), int(times.mtime_ns[1]) // 10**9 + _ZONES_S)
        yield {"taken_s": {"$lte": end}}
    if filters.near:
        box: Any = NearPlace(filters.near).clause().parameters
        south, north, west, east = map(float, box)
        yield {"latitude": {"$gte": south}}
        yield {"latitude": {"$lte": north}}
        turns = [
            {"$and": [{"longitude": {"$gte": west - turn}}, {"longitude": {"$lte": east - turn}}]}
            for turn in (0.0, 360.0, -360.0)
        ]
        yield {"$or": turns}
    if filters.types:
        yield {"suffix": {"$in": sorted(filters.types)}}
    if filters.rating:
        yield {"rating": {"$gte": filters.rating}}
    if filters.size:
        yield from _by_size(filters.size)
    for keyword in filters.keywords:
        if keyword.isascii():
            yield {"keywords_lower": {"$contains": keyword.lower()}}


_MEASURED = {"sides": ("width", "height"), "bytes": ("size_bytes",)}


def _by_size(size: "Size") -> Iterator[Where]:
    """But for pixels, as no product is stored."""
    for operator, bound in (("$gte", size.least), ("$lte", size.most)):
        for name, number in zip(_MEASURED.get(size.kind, ()), bound or (), strict=False):
            yield {name: {operator: min(int(number), _LARGEST)}}
