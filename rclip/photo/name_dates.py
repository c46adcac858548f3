"""The time in a file's name, as cameras, telephones and messengers write it: `PXL_20230101_120000123.jpg`.

It counts where nothing better is known. A number that only looks like a date must not become one: a telephone number,
a serial number, a timestamp in seconds. So a date without separators counts at the start of a name or after the word
that such programs write before it, and everywhere if a time of day comes after it.
"""

import re
from calendar import timegm
from datetime import datetime
from typing import NamedTuple


class NameTime(NamedTuple):
    """The time that a name has."""

    captured_s: int
    """As in `PhotoMetadata`. Midnight where there is only a day."""
    offset_min: int | None


_DAY = r"(?P<year>(?:19|20)\d\d)(?P<sep>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=sep)(?P<day>0[1-9]|[12]\d|3[01])"
_HOUR = r"(?P<hour>[01]?\d|2[0-3])(?P<colon>[-_.:h]?)(?P<minute>[0-5]\d)(?P=colon)(?P<second>[0-5]\d)"
_BETWEEN = r"(?:[-_ T.]|_-_|, | (?:at|um|à|a las|alle|kl\.|klo|om|às) )?"
_AFTER = r"(?:[-_.]?\d{3})?(?!\d)(?:[ \u202f]?(?P<half>[AP])\.?M\b)?"
_TIME = re.compile(rf"(?<![\d+]){_DAY}(?!\d{{1,5}}(?!\d)){_BETWEEN}{_HOUR}{_AFTER}", re.IGNORECASE)
_WRITTEN_OUT = re.compile(
    r"(?<![^\W_])(?P<year>(?:19|20)\d\d)(?P<sep>[-_.])(?P<month>0[1-9]|1[0-2])(?P=sep)(?P<day>0[1-9]|[12]\d|3[01])(?![^\W_])"
)
_NUMBER = re.compile(
    r"(?:(?:IMG|MVIMG|PANO|VID|VIDEO|PXL|BURST|DSC[FN]?|DJI|GOPR|WP|WIN|CIMG|SAM|SCREENSHOT|SCREENRECORDER|SIGNAL|WHATSAPP|"
    r"TELEGRAM|PHOTO|PICTURE|IMAGE|FOTO|BILD|SNAPCHAT|INSTAGRAM|STK|AUD|PTT|SCAN)[-_ ]*)?"
    r"(?P<year>19[89]\d|20\d\d)(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])(?![^\W_])",
    re.IGNORECASE,
)
_MOST_CHARACTERS = 255
_IN_UTC = ("pxl_", "pxl-")
"""Pixel telephones name photos by the time in Greenwich; all others by the clock that they show."""


def time_in_name(name: str) -> NameTime | None:
    """The time in a file's name, None where there is none. Takes linear time."""
    name = name[:_MOST_CHARACTERS]
    return _first_time(name) or _day_in(_WRITTEN_OUT.search(name)) or _day_in(_NUMBER.match(name))


def _first_time(name: str) -> NameTime | None:
    found = _TIME.search(name)
    if not found:
        return None
    hour = int(found["hour"])
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (found["half"].upper() == "P")
    elif len(found["hour"]) == 1:  # a time of day without AM or PM has two digits
        return None
    in_utc = name[:4].lower() in _IN_UTC
    return _time(found, hour, int(found["minute"]), int(found["second"]), 0 if in_utc else None)


def _day_in(found: re.Match[str] | None) -> NameTime | None:
    return _time(found) if found else None


def _time(
    found: re.Match[str], hour: int = 0, minute: int = 0, second: int = 0, offset_min: int | None = None
) -> NameTime | None:
    try:
        when = datetime(int(found["year"]), int(found["month"]), int(found["day"]), hour, minute, second)
    except ValueError:  # the 31st of June
        return None
    return NameTime(timegm(when.timetuple()), offset_min)
