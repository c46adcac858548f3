"""Filters: which photos a search may find.

Each kind of filter is one class: its options with their help, SQL for the photos that may pass, and the test of one
photo. To add a filter, add a class and `@register` it; the command line and the search take it from `FILTERS`.
"""

import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from rclip import formats
from rclip.errors import EmptyTimeRange, MissingGazetteer
from rclip.files import suffix

if TYPE_CHECKING:
    from rclip.places import City


class Near(NamedTuple):
    """All within so many kilometres of a place, in degrees, north and east positive."""

    latitude: float
    longitude: float
    km: float
    text: str = ""
    """As it was written, where that was the name of a place."""

    @classmethod
    def of(cls, text: str) -> "Near":
        """From degrees or the name of a place, and kilometres: `38.72,-9.14`, `Paris, Texas, 5`.

        Raises ValueError for what is neither, and `MissingGazetteer` where the extra `places` is not installed.
        """
        return parse_near(text)


class Size(NamedTuple):
    """From `least` to `most`, both included; a side without a bound is None. All bounds are of one kind."""

    kind: str
    """`pixels`, `sides` or `bytes`."""
    least: tuple[int, ...] | None
    """The number of pixels or bytes; or width and height, both of which count."""
    most: tuple[int, ...] | None
    text: str = ""
    """As it was written."""


class FilterOption(NamedTuple):
    """An option of the command line."""

    name: str
    """With its dashes."""
    field: str
    """The keyword argument of the filter's class that takes the value."""
    parse: Callable[[str], Any]
    """Raises ValueError with a sentence that says what the option takes."""
    metavar: str
    help: str


class Photo(Protocol):
    """A photo as filters see it."""

    @property
    def path(self) -> bytes:
        """Absolute."""

    @property
    def mtime_ns(self) -> int: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def metadata(self) -> Any:
        """Its `photo.metadata.PhotoMetadata`."""


class Clause(NamedTuple):
    """A SELECT of ids, each once, from the tables `images` and `metadata`, and its parameters."""

    sql: str
    parameters: tuple[object, ...] = ()


class Filter(ABC):
    """One condition that photos must meet. It is made of the values of its options, by their `field`s."""

    options: ClassVar[tuple[FilterOption, ...]] = ()

    @abstractmethod
    def clause(self) -> Clause:
        """All photos that pass; others may be among them, missing ones too."""

    @abstractmethod
    def matches(self, photo: Photo) -> bool:
        """Whether a photo passes: this decides."""


FILTERS: list[type[Filter]] = []
"""All kinds of filters, in the order in which the command's help lists them."""


def register(kind: type[Filter]) -> type[Filter]:
    """Adds a kind of filter to those that the command line offers."""
    FILTERS.append(kind)
    return kind


class Filters(NamedTuple):
    """The conditions that all photos found must meet. None and empty values demand nothing."""

    after: datetime | None = None
    """Taken then or later: on the camera's clock or, without one, by the file's local time. Has no zone."""
    before: datetime | None = None
    """Taken earlier than that."""
    near: Near | None = None
    camera: str = ""
    """Words that maker and model contain, in any case and order."""
    paths: tuple[str, ...] = ()
    """Globs of paths from the directory searched, or absolute ones; a `!` before one leaves out the photos it matches.

    See `globs`.
    """
    types: frozenset[str] = frozenset()
    """Endings of file names, in lower case."""
    rating: int | None = None
    """So many stars or more."""
    keywords: tuple[str, ...] = ()
    """All of which the photo must have, in any case."""
    size: Size | None = None
    orientation: str = ""
    """`portrait`, `landscape` or `square`."""
    lens: str = ""
    """Words that its name contains, in any case and order."""
    text: str = ""
    """Words, and phrases between quotation marks, of its file name, title, headline, caption and keywords."""
    min_score: float | None = None
    is_relevant: bool = False
    """Whether they must stand out for the query, by `ranking.relevance_cutoff`."""
    others: tuple[Filter, ...] = ()
    """Filters that have no field here."""

    @classmethod
    def of_options(cls, values: Mapping[str, Any]) -> Self:
        """From the values of options by their fields, whether fields of this class or of a registered filter.

        Raises `EmptyTimeRange`.
        """
        others = {name: value for name, value in values.items() if name not in cls._fields}
        own = {name: value for name, value in values.items() if name in cls._fields}
        after, before = own.get("after"), own.get("before")
        if after and before and after >= before:
            raise EmptyTimeRange(after=_period(after), before=_period(before))
        return cls(**own, others=tuple(_built(others)))


def by_row(filters: Filters) -> list[Filter]:
    """The filters that judge each photo by its row: all but paths, scores and relevance."""
    return [*_built(filters._asdict()), *filters.others]


def texts_of(filters: Filters | None) -> dict[str, str]:
    """The texts that say the same as options, by the options' fields, with a line for each glob.

    Filters that have no field of `Filters` are left out.
    """
    if filters is None:
        return {}
    texts = {
        "after": _period(filters.after),
        "before": _period(filters.before),
        "near": _near_text(filters.near) if filters.near else "",
        "camera": filters.camera,
        "types": ",".join(sorted(filters.types)),
        "rating": str(filters.rating or ""),
        "keywords": ",".join(filters.keywords),
        "size": filters.size.text if filters.size else "",
        "orientation": filters.orientation,
        "lens": filters.lens,
        "text": filters.text,
        "paths": "\n".join(filters.paths),
        "min_score": "" if filters.min_score is None else f"{filters.min_score:.12g}",
        "is_relevant": "1" if filters.is_relevant else "",
    }
    return {name: text for name, text in texts.items() if text}


def _period(when: datetime | None) -> str:
    return "" if when is None else when.isoformat().removesuffix("T00:00:00")


_NOTHING: tuple[object, ...] = (None, "", (), frozenset())


def _built(values: Mapping[str, Any]) -> list[Filter]:
    """A filter of each registered kind that has a value."""
    given = {name: value for name, value in values.items() if value not in _NOTHING}
    chosen = [(kind, {o.field: given[o.field] for o in kind.options if o.field in given}) for kind in FILTERS]
    return [kind(**arguments) for kind, arguments in chosen if arguments]


# --- times -----------------------------------------------------------------------------------------------------------

_NEEDS_TIME = "must be a time like 2023, 2023-07, 2023-07-14 or 2023-07-14T18:30"
_PERIOD = r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d))?)?)?)?"
_MAX_NS = (1 << 63) - 1


def parse_time(text: str) -> datetime:
    """The start of a year, month, day, minute or second: `2023`, `2023-07`, `2023-07-14`, `2023-07-14 18:30`.

    Raises ValueError, saying what it must be.
    """
    found = re.fullmatch(_PERIOD, text.strip(), re.ASCII)
    try:
        if not found:
            raise ValueError
        year, month, day, hour, minute, second = map(int, found.groups(default="1")[:3] + found.groups(default="0")[3:])
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        raise ValueError(f"{_NEEDS_TIME}, not {text!r}") from None


def clock_s(when: datetime) -> int:
    """Seconds from 1970 to that time on the clock that shows it. `when` has no zone."""
    since = when - datetime(1970, 1, 1)
    return since.days * 86_400 + since.seconds


def utc_s(when: datetime) -> int:
    """Seconds from 1970 in UTC to when clocks here show that. `when` has no zone."""
    try:
        return int(when.timestamp())
    except (ValueError, OverflowError, OSError):  # beyond the years that the platform's clock knows
        return clock_s(when)


def shown_here_s(time_s: int) -> int:
    """What clocks here showed at that time in UTC, both in seconds from 1970."""
    try:
        return time_s + time.localtime(time_s).tm_gmtoff
    except (ValueError, OverflowError, OSError):  # beyond the years that the platform's clock knows
        return time_s


class TimeRange(NamedTuple):
    """A half-open range of times, on a camera's clock and in UTC, which is what files have."""

    clock_s: tuple[int, int | bytes]
    mtime_ns: tuple[int, int | bytes]


_OPEN = b""  # comes after all numbers and, so that a damaged value is found and reported, after words, too
ALL_TIMES = TimeRange((-_MAX_NS, _OPEN), (-_MAX_NS - 1, _OPEN))


@register
class Taken(Filter):
    """Taken from one time on and before another: on the camera's clock or, without that, by the file's local time."""

    options = (
        FilterOption("--after", "after", parse_time, "TIME", "taken then or later: 2023, 2023-07, 2023-07-14T18:30"),
        FilterOption("--before", "before", parse_time, "TIME", "taken earlier than that"),
    )

    def __init__(self, after: datetime | None = None, before: datetime | None = None):
        self._after = after
        self._before = before

    @property
    def range(self) -> TimeRange:
        (first_s, end_s), (first_ns, end_ns) = ALL_TIMES
        if self._after:
            first_s, first_ns = clock_s(self._after), _within_64_bits(utc_s(self._after) * 10**9)
        if self._before:
            end_s, end_ns = clock_s(self._before), _within_64_bits(utc_s(self._before) * 10**9)
        return TimeRange((first_s, end_s), (first_ns, end_ns))

    def clause(self) -> Clause:
        sql = """
            SELECT id FROM metadata WHERE captured_s >= ? AND captured_s < ?
            UNION ALL
            SELECT id FROM images
            WHERE has_capture_time = 0 AND vector IS NOT NULL AND mtime_ns >= ? AND mtime_ns < ?
        """
        return Clause(sql, (*self.range.clock_s, *self.range.mtime_ns))

    def matches(self, photo: Photo) -> bool:
        if photo.metadata.captured_s is None:
            taken_s, shown = photo.mtime_ns // 10**9, utc_s
        else:
            taken_s, shown = photo.metadata.captured_s, clock_s
        is_late_enough = self._after is None or taken_s >= shown(self._after)
        return is_late_enough and (self._before is None or taken_s < shown(self._before))


def time_range(filters: Filters) -> TimeRange:
    """The times that `after` and `before` allow."""
    return Taken(filters.after, filters.before).range


def _within_64_bits(number: int) -> int:
    return max(-_MAX_NS, min(_MAX_NS, number))


# --- places ----------------------------------------------------------------------------------------------------------

_NEEDS_PLACE = "must be LAT,LON or LAT,LON,KM: degrees up to ±90,±180 and kilometres above 0"
_NEEDS_NAME = "must be LAT,LON or LAT,LON,KM, or the name of a place like Lisbon or 'Paris, Texas, 5'"
_LONGEST_NAME = 200
_DEFAULT_KM = 10.0


def parse_near(text: str) -> Near:
    """`48.8584,2.2945` or the name of a place, `Lisbon` or `Portland, Oregon`; each also with kilometres after it.

    Raises ValueError, saying what it must be, and `MissingGazetteer`.
    """
    if any(map(str.isalpha, text)) and not _is_number(text.partition(",")[0]):
        return _near_city(text)
    try:
        latitude, longitude, km = [*map(float, text.split(",")), _DEFAULT_KM][:3]
        if text.count(",") > 2 or not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 < km < float("inf")):
            raise ValueError
    except ValueError:
        raise ValueError(f"{_NEEDS_PLACE}, not {text!r}") from None
    return Near(latitude, longitude, km)


def _near_city(text: str) -> Near:
    """Raises as `parse_near` does."""
    found = cities_meant(text)
    if not found:
        raise ValueError(f"{_NEEDS_NAME}, not {text!r}{_suggested(text)}")
    _, _, km = _named(text)
    return Near(found[0].latitude, found[0].longitude, km, text.strip())


def cities_meant(text: str) -> "list[City]":
    """All places that a text like `Paris, Texas, 5` may mean, the likeliest first; none where it names none.

    Raises ValueError, saying what it must be, and `MissingGazetteer`.
    """
    from rclip import places

    name, regions, km = _named(text)
    if not 0 < km < float("inf"):
        raise ValueError(f"{_NEEDS_NAME}, not {text!r}")
    if not places.is_available():
        raise MissingGazetteer(name=name, package=places.PACKAGE)
    return places.cities_called(name, regions)


def _named(text: str) -> tuple[str, list[str], float]:
    """Name, regions and kilometres."""
    name, *regions = (part.strip() for part in text[:_LONGEST_NAME].split(","))
    km = float(regions.pop()) if regions and _is_number(regions[-1]) else _DEFAULT_KM
    return name, regions, km


def _suggested(text: str) -> str:
    from rclip import places

    name, _, _ = _named(text)
    likely = [city.label for city in places.cities_called(name)][:3] or places.similar_names(name)
    return f"; did you mean {' or '.join(likely)}?" if likely else ""


def _near_text(near: Near) -> str:
    return near.text or ",".join(f"{number:.12g}" for number in (near.latitude, near.longitude, near.km))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_EARTH_RADIUS_KM = 6371.0088  # the mean one
_TOLERANCE = 1e-6  # degrees, far below a metre


@register
class NearPlace(Filter):
    """Within a distance of a place, by the haversine, which is right to half a percent: the earth is no sphere."""

    options = (
        FilterOption("--near", "near", parse_near, "PLACE[,KM]", "within 10 km, or KM, of 38.72,-9.14 or of Lisbon"),
    )

    def __init__(self, near: Near):
        self._near = near
        self._angle = min(near.km / _EARTH_RADIUS_KM, math.pi)

    def clause(self) -> Clause:
        """The box around the circle, also where it lies across the date line or a pole."""
        sql = """
            SELECT id FROM metadata WHERE latitude BETWEEN ?1 AND ?2
            AND (longitude BETWEEN ?3 AND ?4 OR longitude + 360 BETWEEN ?3 AND ?4 OR longitude - 360 BETWEEN ?3 AND ?4)
        """
        north, east = math.degrees(self._angle) + _TOLERANCE, self._degrees_east()
        latitude, longitude = self._near.latitude, self._near.longitude
        return Clause(sql, (latitude - north, latitude + north, longitude - east, longitude + east))

    def _degrees_east(self) -> float:
        """How far the circle reaches east and west of its centre."""
        latitude = math.radians(self._near.latitude)
        if abs(latitude) + self._angle >= math.pi / 2 - 1e-9:  # it holds a pole, and so all longitudes
            return 360.0
        return math.degrees(math.asin(math.sin(self._angle) / math.cos(latitude))) + _TOLERANCE

    def matches(self, photo: Photo) -> bool:
        if photo.metadata.latitude is None:
            return False
        latitude, here = math.radians(photo.metadata.latitude), math.radians(self._near.latitude)
        across = math.radians(photo.metadata.longitude - self._near.longitude)
        half_chord = (
            math.sin((latitude - here) / 2) ** 2 + math.cos(latitude) * math.cos(here) * math.sin(across / 2) ** 2
        )
        return half_chord <= math.sin(self._angle / 2) ** 2


# --- cameras ---------------------------------------------------------------------------------------------------------


def parse_camera(text: str) -> str:
    """Words of a camera's name. Raises ValueError where there are none."""
    if not text.strip():
        raise ValueError(f"must be words of a camera's name, not {text!r}")
    return text


@register
class Camera(Filter):
    """Taken by a camera whose maker and model contain all the words, in any case and order."""

    options = (
        FilterOption("--camera", "camera", parse_camera, "TEXT", "words in the names of the camera's maker and model"),
    )

    def __init__(self, camera: str):
        self._words = camera.lower().split()

    def clause(self) -> Clause:
        """By the words in ASCII, as SQLite knows no other letters' lower case."""
        words = [word for word in self._words if word.isascii()]
        conditions = "".join(" AND instr(lower(maker || ' ' || model), ?)" for _ in words)
        sql = f"SELECT id FROM metadata WHERE camera IN (SELECT id FROM cameras WHERE 1{conditions})"  # noqa: S608
        return Clause(sql, tuple(words))

    def matches(self, photo: Photo) -> bool:
        name = f"{photo.metadata.maker} {photo.metadata.model}".lower()
        return name != " " and all(word in name for word in self._words)


def parse_lens(text: str) -> str:
    """Words of a lens's name. Raises ValueError where there are none."""
    if not text.strip():
        raise ValueError(f"must be words of a lens's name, not {text!r}")
    return text


@register
class Lens(Filter):
    """Taken through a lens whose name contains all the words, in any case and order."""

    options = (FilterOption("--lens", "lens", parse_lens, "TEXT", "words in the name of the lens: '50mm f1.8'"),)

    def __init__(self, lens: str):
        self._words = lens.lower().split()

    def clause(self) -> Clause:
        """By the words in ASCII, as SQLite knows no other letters' lower case."""
        words = [word for word in self._words if word.isascii()]
        conditions = "".join(" AND instr(lower(lens), ?)" for _ in words)
        sql = f"SELECT id FROM metadata INDEXED BY metadata_lens WHERE lens IS NOT NULL{conditions}"  # noqa: S608
        return Clause(sql, tuple(words))

    def matches(self, photo: Photo) -> bool:
        name = photo.metadata.lens.lower()
        return name != "" and all(word in name for word in self._words)


# --- sizes -----------------------------------------------------------------------------------------------------------

_NEEDS_SIZE = "must be a size like 12mp, 1920x1080, 500kb or 5mb, or a range like 2mp..12mp or ..1mb"
_SIZE = r"(\d{1,9}(?:\.\d{1,6})?)\s*(mp|kb|mb|gb)|(\d{1,9})\s*[x×]\s*(\d{1,9})"
_UNITS = {"mp": 10**6, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def parse_size(text: str) -> Size:
    """`12mp`, `1920x1080` or `5mb` and more; `..1mb` and less; `2mp..12mp`. Raises ValueError that says so."""
    first, _, last = text.strip().partition("..")
    bounds = [_bound(part) for part in (first, last)]
    kinds = {kind for kind, _ in bounds if kind}
    if len(kinds) != 1 or "wrong" in kinds:
        raise ValueError(f"{_NEEDS_SIZE}, not {text!r}")
    (_, least), (_, most) = bounds
    if least and most and any(one > other for one, other in zip(least, most, strict=True)):
        raise ValueError(f"{_NEEDS_SIZE}, not {text!r}: nothing is that large and that small")
    return Size(kinds.pop(), least, most, text.strip())


def _bound(text: str) -> tuple[str, tuple[int, ...] | None]:
    """Its kind and numbers; empty for no text."""
    if not text.strip():
        return "", None
    found = re.fullmatch(_SIZE, text.strip(), re.IGNORECASE)
    if not found:
        return "wrong", (0,)
    number, unit, width, height = found.groups()
    if width:
        return "sides", (int(width), int(height))
    return "pixels" if unit.lower() == "mp" else "bytes", (round(float(number) * _UNITS[unit.lower()]),)


@register
class OfSize(Filter):
    """With a picture of so many pixels, or of such sides, or with a file of so many bytes."""

    options = (FilterOption("--size", "size", parse_size, "SIZE", "12mp, 1920x1080 or 5mb and more; 1mp..8mp, ..1mb"),)

    _COLUMNS: ClassVar = {"pixels": ("width * height",), "sides": ("width", "height"), "bytes": ("size",)}

    def __init__(self, size: Size):
        self._size = size

    def clause(self) -> Clause:
        columns = self._COLUMNS[self._size.kind]
        bounds = ((">=", self._size.least), ("<=", self._size.most))
        numbers = tuple(number for _, bound in bounds for number in bound or ())
        conditions = "".join(f" AND {column} {sign} ?" for sign, bound in bounds if bound for column in columns)
        if self._size.kind == "bytes":
            sql = f"""
                SELECT id FROM images INDEXED BY images_listing
                WHERE id NOT IN (SELECT id FROM images INDEXED BY images_failure WHERE failure IS NOT NULL){conditions}
            """  # noqa: S608 - question marks
        else:
            sql = f"SELECT id FROM metadata INDEXED BY metadata_size WHERE width IS NOT NULL{conditions}"  # noqa: S608
        return Clause(sql, numbers)

    def matches(self, photo: Photo) -> bool:
        numbers = self._numbers(photo)
        least, most = self._size.least or numbers, self._size.most or numbers
        return bool(numbers) and all(
            low <= number <= high for low, number, high in zip(least, numbers, most, strict=True)
        )

    def _numbers(self, photo: Photo) -> tuple[int, ...]:
        if self._size.kind == "bytes":
            return (photo.size_bytes,)
        width, height = photo.metadata.width, photo.metadata.height
        if width is None or height is None:
            return ()
        return (width, height) if self._size.kind == "sides" else (width * height,)


ORIENTATIONS = {"portrait": "<", "landscape": ">", "square": "="}


def parse_orientation(text: str) -> str:
    """Raises ValueError, saying what there is."""
    if text.strip().lower() not in ORIENTATIONS:
        raise ValueError(f"must be portrait, landscape or square, not {text!r}")
    return text.strip().lower()


@register
class Orientation(Filter):
    """Higher than wide, wider than high, or as wide as high, as it is seen upright."""

    options = (FilterOption("--orientation", "orientation", parse_orientation, "WAY", "portrait, landscape or square"),)

    def __init__(self, orientation: str):
        self._orientation = orientation

    def clause(self) -> Clause:
        sign = ORIENTATIONS[self._orientation]
        sql = f"""
            SELECT id FROM metadata INDEXED BY metadata_size WHERE width IS NOT NULL AND width {sign} height
        """  # noqa: S608 - a sign
        return Clause(sql)

    def matches(self, photo: Photo) -> bool:
        width, height = photo.metadata.width, photo.metadata.height
        if width is None or height is None:
            return False
        return self._orientation == ("portrait" if width < height else "landscape" if width > height else "square")


# --- kinds of files --------------------------------------------------------------------------------------------------

_NEEDS_TYPES = "must be endings of photos, like jpg, heic or png, or raw or video, separated by commas"
_ALIKE = [
    {"jpg", "jpeg", "jpe", "jfif", "insp"},
    {"tif", "tiff"},
    {"psd", "psb"},
    {"png", "apng"},
    {"bmp", "dib"},
    {"jp2", "j2k", "j2c", "jpf", "jpx"},
    {"heic", "heics", "heif", "hif"},
    {"pnm", "pbm", "pgm", "ppm", "pfm"},
    {"mpg", "mpeg"},
    {"mts", "m2ts", "m2t"},
]
"""Endings that stand for one format, and are asked for together."""

_FAMILIES = {"raw": formats.RAW.suffixes, "video": formats.VIDEO.suffixes}


def parse_types(text: str) -> frozenset[str]:
    """`jpg,raw` -> the endings meant. Raises ValueError for an ending that no photo or film has."""
    found: set[str] = set()
    for word in text.lower().split(","):
        name = word.strip().removeprefix(".")
        alike = _FAMILIES.get(name) or next((group for group in _ALIKE if name in group), {name})
        if name not in _FAMILIES and name not in formats.SUFFIXES:
            raise ValueError(f"{_NEEDS_TYPES}, not {text!r}")
        found |= alike
    return frozenset(found)


_INDEXED_BYTES = 4  # of a path's end, by the index `images_suffix`: a dot and three letters, or four letters


@register
class Suffix(Filter):
    """With one of these endings of file names."""

    options = (
        FilterOption("--type", "types", parse_types, "TYPES", "endings, raw or video, separated by commas: jpg,raw"),
    )

    def __init__(self, types: frozenset[str]):
        self._types = types

    def clause(self) -> Clause:
        """By the expression of the index `images_suffix`."""
        ends = sorted({f".{name}"[-_INDEXED_BYTES:] for name in self._types})
        marks = ", ".join("?" * len(ends))
        sql = f"""
            SELECT id FROM images WHERE lower(CAST(substr(path, -4) AS TEXT)) IN ({marks}) AND vector IS NOT NULL
        """  # noqa: S608 - question marks
        return Clause(sql, tuple(ends))

    def matches(self, photo: Photo) -> bool:
        return suffix(photo.path) in self._types


# --- ratings and keywords --------------------------------------------------------------------------------------------


def parse_rating(text: str) -> int:
    """1 to 5. Raises ValueError, saying what it must be."""
    if text.strip() not in ("1", "2", "3", "4", "5"):
        raise ValueError(f"must be a number of stars from 1 to 5, not {text!r}")
    return int(text)


@register
class Rated(Filter):
    """With so many stars or more."""

    options = (FilterOption("--rating", "rating", parse_rating, "N", "rated with N stars or more, from 1 to 5"),)

    def __init__(self, rating: int):
        self._rating = rating

    def clause(self) -> Clause:
        return Clause("SELECT id FROM metadata WHERE rating >= ?", (self._rating,))

    def matches(self, photo: Photo) -> bool:
        return photo.metadata.rating is not None and photo.metadata.rating >= self._rating


def parse_keywords(text: str) -> tuple[str, ...]:
    """`beach, Lisbon` -> both. Raises ValueError where there is none."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    if not found:
        raise ValueError(f"must be keywords, separated by commas, not {text!r}")
    return found


@register
class Keywords(Filter):
    """With all of these keywords, in any case."""

    options = (
        FilterOption("--keyword", "keywords", parse_keywords, "WORDS", "photos with these keywords: beach,lisbon"),
    )

    def __init__(self, keywords: tuple[str, ...]):
        self._keywords = keywords

    def clause(self) -> Clause:
        """By the letters in ASCII, as SQLite knows no other letters' lower case."""
        words = [word.lower() for word in self._keywords if word.isascii()]
        conditions = "".join(" AND instr(lower(keywords), ?)" for _ in words)
        sql = f"SELECT id FROM metadata WHERE keywords IS NOT NULL{conditions}"  # noqa: S608 - question marks
        return Clause(sql, tuple(words))

    def matches(self, photo: Photo) -> bool:
        return set(map(_folded, self._keywords)) <= set(map(_folded, photo.metadata.keywords))


def parse_words(text: str) -> str:
    """Words. Raises ValueError where there are none."""
    from rclip.words import wanted

    if not wanted(text).phrases:
        raise ValueError(f"must be words of a caption, a keyword or a file name, not {text!r}")
    return text


@register
class Words(Filter):
    """With all of these words, or starts of words, in its file name, title, headline, caption or keywords."""

    options = (FilterOption("--words", "text", parse_words, "TEXT", "words of the caption, keywords or file name"),)

    def __init__(self, text: str):
        from rclip.words import wanted

        self._wanted = wanted(text)

    def clause(self) -> Clause:
        """All photos: the cache of words knows better (`index.word_index`)."""
        return Clause("SELECT id FROM images INDEXED BY images_digest WHERE vector IS NOT NULL")

    def matches(self, photo: Photo) -> bool:
        name = photo.path.rpartition(b"/")[2].decode(errors="replace")
        known = photo.metadata
        return self._wanted.are_in(name, known.title, known.headline, known.caption, *known.keywords)


def _folded(word: str) -> tuple[bool, str]:
    """The same for two words that differ in case. No other letter is taken for one in ASCII, as SQLite takes none."""
    return word.isascii(), word.casefold()
