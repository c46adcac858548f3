"""Which photos a search may find: taken then, there, by this camera, named so. What each filter takes, and means."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from rclip import formats


class Near(NamedTuple):
    """All within so many kilometres of a place, in degrees, north and east positive."""

    latitude: float
    longitude: float
    km: float


@dataclass(frozen=True)
class Filters:
    """What all photos found must be. None and empty ask for nothing."""

    after: datetime | None = None
    """Taken then or later: on the camera's clock or, where no time is noted, by the file's local time. Has no zone."""
    before: datetime | None = None
    """Taken earlier than that."""
    near: Near | None = None
    camera: str = ""
    """Words that maker and model contain, in any case and order."""
    paths: tuple[str, ...] = ()
    """Globs of paths from the directory searched, or absolute ones; what matches one behind a `!` is left out.

    See `Paths` and `glob_regex`.
    """
    types: frozenset[str] = frozenset()
    """Endings of file names, in lower case."""
    min_score: float | None = None
    is_relevant: bool = False
    """Whether they must stand out for the query, by `ranking.relevance_cutoff`."""

    @property
    def need_columns(self) -> bool:
        """Whether any but paths and scores are asked for."""
        return bool(self.after or self.before or self.near or self.camera or self.types)


# --- times -----------------------------------------------------------------------------------------------------------

TAKES_TIME = "takes a time like 2023, 2023-07, 2023-07-14 or 2023-07-14T18:30"
_PERIOD = re.compile(r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d))?)?)?)?", re.ASCII)


def parse_time(text: str) -> datetime:
    """The start of a year, month, day, minute or second: `2023`, `2023-07`, `2023-07-14`, `2023-07-14 18:30`.

    Raises ValueError, saying what is taken.
    """
    found = _PERIOD.fullmatch(text.strip())
    try:
        if not found:
            raise ValueError
        year, month, day, hour, minute, second = map(int, found.groups(default="1")[:3] + found.groups(default="0")[3:])
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        raise ValueError(f"{TAKES_TIME}, not {text!r}") from None


# --- places ----------------------------------------------------------------------------------------------------------

TAKES_PLACE = "takes LAT,LON or LAT,LON,KM: degrees up to ±90,±180 and kilometres above 0"
_USUAL_KM = 10.0


def parse_near(text: str) -> Near:
    """`48.8584,2.2945` or, with kilometres, `48.8584,2.2945,0.5`. Raises ValueError, saying what is taken."""
    try:
        latitude, longitude, km = [*map(float, text.split(",")), _USUAL_KM][:3]
        if text.count(",") > 2 or not (abs(latitude) <= 90 and abs(longitude) <= 180 and 0 < km < float("inf")):
            raise ValueError
    except ValueError:
        raise ValueError(f"{TAKES_PLACE}, not {text!r}") from None
    return Near(latitude, longitude, km)


# --- kinds of files --------------------------------------------------------------------------------------------------

TAKES_TYPES = "takes endings of photos, like jpg, heic or png, or raw, divided by commas"
_ALIKE = [
    {"jpg", "jpeg", "jpe", "jfif"},
    {"tif", "tiff"},
    {"png", "apng"},
    {"bmp", "dib"},
    {"jp2", "j2k", "jpf", "jpx"},
    {"heic", "heif", "hif"},
    {"pnm", "pbm", "pgm", "ppm", "pfm"},
]
"""Endings that stand for one format, and are asked for together."""


def parse_types(text: str) -> frozenset[str]:
    """`jpg,raw` -> the endings meant. Raises ValueError for what is no photo's."""
    found: set[str] = set()
    for word in text.lower().split(","):
        name = word.strip().removeprefix(".")
        alike = formats.RAW.suffixes if name == "raw" else next((group for group in _ALIKE if name in group), {name})
        if name != "raw" and name not in formats.SUFFIXES:
            raise ValueError(f"{TAKES_TYPES}, not {text!r}")
        found |= alike
    return frozenset(found)


# --- paths -----------------------------------------------------------------------------------------------------------


def words_of_camera(text: str) -> list[str]:
    return text.lower().split()
