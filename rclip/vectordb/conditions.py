"""Which photos pass filters, in the SQL of PostgreSQL: all that pass, and few others.

Text is compared by its letters in ASCII, as no two programs agree on other letters' lower case; `Filter.matches` has
the last word on each photo.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from rclip.filters import ALL_TIMES, ORIENTATIONS, NearPlace, time_range
from rclip.vectordb.interface import Conditions

if TYPE_CHECKING:
    from rclip.filters import Filters, Size

_LARGEST = (1 << 63) - 1


class Where(NamedTuple):
    """A condition with `%(name)s` in it, and the values by these names."""

    sql: str
    values: dict[str, object]


def where(conditions: Conditions) -> Where:
    """What belongs after WHERE."""
    values: dict[str, object] = {}
    parts = [*_by_path(conditions, values)]
    if conditions.filters is not None:
        parts += _by_filters(conditions.filters, values)
    return Where(" AND ".join(f"({part})" for part in parts) or "true", values)


def after(prefix: bytes) -> bytes | None:
    """The first path that comes after all that start so; None where there is none."""
    plain = prefix.rstrip(b"\xff")
    return plain[:-1] + bytes([plain[-1] + 1]) if plain else None


def _by_path(conditions: Conditions, values: dict[str, object]) -> Iterator[str]:
    if conditions.folders:
        yield " OR ".join(_starts_with(start, f"folder_{n}", values) for n, start in enumerate(conditions.folders))
    if conditions.like:
        yield " OR ".join(
            f"{_starts_with(start, f'like_{n}', values)} AND {_contains(part, f'part_{n}', values)}"
            for n, (start, part) in enumerate(conditions.like)
        )


def _starts_with(prefix: bytes, name: str, values: dict[str, object]) -> str:
    values[name] = prefix
    end = after(prefix)
    if end is None:
        return f"path >= %({name})s"
    values[f"{name}_end"] = end
    return f"path >= %({name})s AND path < %({name}_end)s"


def _contains(part: bytes, name: str, values: dict[str, object]) -> str:
    if not part:
        return "true"
    values[name] = part
    return f"position(%({name})s::bytea IN path) > 0"


def _by_filters(filters: "Filters", values: dict[str, object]) -> Iterator[str]:
    if filters.after or filters.before:
        times = time_range(filters)
        for name, (first, end) in (("clock", times.clock_s), ("file", times.mtime_ns)):
            is_open = end == ALL_TIMES.clock_s[1]
            values |= {f"{name}_first": first, f"{name}_end": _LARGEST if is_open else end}
        yield (
            "captured_s >= %(clock_first)s AND captured_s < %(clock_end)s"
            " OR captured_s IS NULL AND mtime_ns >= %(file_first)s AND mtime_ns < %(file_end)s"
        )
    if filters.near:
        names = ("south", "north", "west", "east")
        values |= dict(zip(names, NearPlace(filters.near).clause().parameters, strict=True))
        yield "latitude BETWEEN %(south)s AND %(north)s"
        yield " OR ".join(
            f"longitude + {turn} BETWEEN %(west)s AND %(east)s" for turn in ("0::float8", "360::float8", "-360::float8")
        )
    yield from _by_words("camera", filters.camera, "maker || ' ' || model", values)
    yield from _by_words("lens", filters.lens, "lens", values)
    if filters.size:
        yield from _by_size(filters.size, values)
    if filters.orientation:
        yield f"width {ORIENTATIONS[filters.orientation]} height"
    if filters.types:
        values["types"] = sorted(filters.types)
        yield "suffix = ANY(%(types)s)"
    if filters.rating:
        values["rating"] = filters.rating
        yield "rating >= %(rating)s"
    for number, keyword in enumerate(filters.keywords):
        if keyword.isascii():
            values[f"keyword_{number}"] = keyword.lower()
            words = 'SELECT lower(keyword COLLATE "C") FROM unnest(keywords) AS each_one(keyword)'
            yield f"%(keyword_{number})s IN ({words})"


def _by_words(name: str, text: str, column: str, values: dict[str, object]) -> Iterator[str]:
    for number, word in enumerate(text.lower().split()):
        if word.isascii():
            values[f"{name}_{number}"] = word
            yield f'position(%({name}_{number})s IN lower(({column}) COLLATE "C")) > 0'


_MEASURED = {"pixels": ("width * height",), "sides": ("width", "height"), "bytes": ("size_bytes",)}


def _by_size(size: "Size", values: dict[str, object]) -> Iterator[str]:
    for name, sign, bound in (("least", ">=", size.least), ("most", "<=", size.most)):
        for number, column in enumerate(_MEASURED[size.kind] if bound else ()):
            values[f"{name}_{number}"] = bound[number] if bound else 0
            yield f"{column} {sign} %({name}_{number})s::numeric"
