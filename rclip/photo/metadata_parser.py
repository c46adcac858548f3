"""From the EXIF, XMP and IPTC blocks of a photo's file to its `PhotoMetadata`.

Metadata is written by thousands of programs, and much of it is broken. What makes no sense is passed over piece by
piece: nothing here raises. Where blocks disagree, the one that programs for sorting photos write last goes first: XMP
for ratings; EXIF for what the camera itself knows.

Sources: Exif 3.0 (CIPA DC-008), XMP Specification Part 1 and 2, IPTC-IIM 4.2, and the Metadata Working Group's
Guidelines for Handling Image Metadata 2.0.
"""

import math
import re
import xml.parsers.expat as expat
from calendar import timegm
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from rclip.photo.metadata import PhotoMetadata

Tags = Mapping[int, Any]
"""One directory of EXIF, by tag number. Values are of whatever type the file claims."""

_MOST_BYTES = 4 << 20  # of XMP and IPTC: more is an editor's history
_MOST_TEXT = 200  # characters of one keyword or name
_MOST_KEYWORDS = 100


_NO_TAGS: Tags = MappingProxyType({})


class Blocks(NamedTuple):
    """The metadata of a file as it lies there."""

    main: Tags = _NO_TAGS
    """EXIF's first directory, which is also a TIFF's own."""
    photo: Tags = _NO_TAGS
    """The one that EXIF itself has defined."""
    gps: Tags = _NO_TAGS
    xmp: bytes = b""
    iptc: bytes = b""


def parse(blocks: Blocks, width: int, height: int) -> PhotoMetadata:
    """What the blocks of an upright picture of this size tell. Never raises."""
    xmp, iptc = _xmp(blocks.xmp), _iptc(blocks.iptc)
    captured_s, offset_min = _captured(blocks, xmp, iptc) or (None, None)
    latitude, longitude = _position(blocks.gps, xmp) or (None, None)
    return PhotoMetadata(
        captured_s=captured_s,
        offset_min=offset_min,
        latitude=latitude,
        longitude=longitude,
        maker=_text(blocks.main.get(_MAKER)) or _first_text(xmp["maker"]),
        model=_text(blocks.main.get(_MODEL)) or _first_text(xmp["model"]),
        width=width,
        height=height,
        keywords=_keywords([*xmp["keywords"], *iptc["keywords"], *_windows_keywords(blocks.main)]),
        rating=_rating([*xmp["rating"], blocks.main.get(_RATING)]),
    )


_MAKER, _MODEL, _RATING, _WINDOWS_KEYWORDS, _DATE_TIME = 0x010F, 0x0110, 0x4746, 0x9C9E, 0x0132
MAIN_TAGS = (_MAKER, _MODEL, _RATING, _WINDOWS_KEYWORDS, _DATE_TIME)
"""All of `Blocks.main` that is looked at."""


# --- texts -----------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    """One line without what would steer a terminal, blanks at its ends and doubled ones."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    line = value.partition("\0")[0]
    plain = "".join(character if character.isprintable() else " " for character in line[: 4 * _MOST_TEXT])
    return " ".join(plain.split())[:_MOST_TEXT].rstrip()


def _first_text(values: Iterable[Any]) -> str:
    return next(filter(None, map(_text, values)), "")


def _keywords(values: Iterable[Any]) -> tuple[str, ...]:
    """Each once, in the order in which they are found."""
    return tuple(dict.fromkeys(filter(None, map(_text, values))))[:_MOST_KEYWORDS]


def _windows_keywords(main: Tags) -> list[str]:
    """Windows' own, in UTF-16 and divided by semicolons."""
    value = main.get(_WINDOWS_KEYWORDS)
    if isinstance(value, tuple) and all(isinstance(byte, int) and 0 <= byte < 256 for byte in value):
        value = bytes(value)
    return value.decode("utf-16-le", "replace").rstrip("\0").split(";") if isinstance(value, bytes) else []


def _rating(values: Iterable[Any]) -> int | None:
    numbers = (_number(value) for value in values)
    return next((round(number) for number in numbers if number is not None and -1 <= number <= 5), None)


def _number(value: Any) -> float | None:
    """A finite number; fractions come as objects that may divide by zero, or in XMP as "12/5"."""
    try:
        if isinstance(value, str | bytes) and len(value) > _MOST_TEXT:
            return None
        if isinstance(value, str) and "/" in value:
            above, below = value.split("/")
            value = float(above) / float(below)
        number = float(value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return number if math.isfinite(number) else None


# --- when ------------------------------------------------------------------------------------------------------------

_TAKEN, _DIGITIZED, _CHANGED = (0x9003, 0x9011), (0x9004, 0x9012), (_DATE_TIME, 0x9010)
"""Tags of a time and of its offset from UTC."""

PHOTO_TAGS = (*_TAKEN, *_DIGITIZED, _CHANGED[1])
"""All of `Blocks.photo` that is looked at."""

_TIME = re.compile(
    r"\s*(\d{4})(?:[-:/.](\d\d)(?:[-:/.](\d\d)(?:[T ]+(\d\d):(\d\d)(?::(\d\d))?(?:\.\d+)?\s*(Z|[-+]\d\d:?\d\d)?)?)?)?"
    r"[\s\0]*",
    re.ASCII,
)
_OFFSET = re.compile(r"\s*(?:Z|([-+])(\d\d):?(\d\d))[\s\0]*", re.ASCII)
_FIRST_YEAR = 1800  # there is no older photo


def _captured(
    blocks: Blocks, xmp: Mapping[str, list[Any]], iptc: Mapping[str, list[Any]]
) -> tuple[int, int | None] | None:
    """The time at which the picture was taken or, by and by, whatever is known to be near that."""
    for value, offset in (
        _exif_time(blocks.photo, blocks.photo, _TAKEN),
        *((value, None) for value in (*xmp["taken"], *iptc["created"], *xmp["created"])),
        _exif_time(blocks.photo, blocks.photo, _DIGITIZED),
        *((value, None) for value in xmp["digitized"]),
        _exif_time(blocks.main, blocks.photo, _CHANGED),
    ):
        time = _time(value, offset)
        if time:
            return time
    return None


def _exif_time(times: Tags, offsets: Tags, tags: tuple[int, int]) -> tuple[Any, Any]:
    return times.get(tags[0]), offsets.get(tags[1])


def _time(value: Any, offset: Any) -> tuple[int, int | None] | None:
    """Seconds of the camera's clock and minutes that it is ahead of UTC."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    found = _TIME.fullmatch(text[:_MOST_TEXT]) if isinstance(text, str) else None
    if not found:
        return None
    year, month, day, hour, minute, second, zone = found.groups()
    try:
        when = datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0))
    except ValueError:
        return None
    return (timegm(when.timetuple()), _offset_min(zone or offset)) if when.year >= _FIRST_YEAR else None


def _offset_min(value: Any) -> int | None:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    found = _OFFSET.fullmatch(text[:_MOST_TEXT]) if isinstance(text, str) else None
    if not found:
        return None
    sign, hours, minutes = found.groups(default="0")
    total_min = int(hours) * 60 + int(minutes)
    return (-total_min if sign == "-" else total_min) if total_min < 24 * 60 else None


# --- where -----------------------------------------------------------------------------------------------------------


GPS_TAGS = (1, 2, 3, 4)  # latitude's side and degrees, and longitude's


def _position(gps: Tags, xmp: Mapping[str, list[Any]]) -> tuple[float, float] | None:
    latitude, longitude = _degrees(gps.get(2), gps.get(1)), _degrees(gps.get(4), gps.get(3))
    if latitude is None or longitude is None:
        latitude, longitude = (next(iter(map(_xmp_degrees, xmp[key])), None) for key in ("latitude", "longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return (latitude, longitude) if latitude or longitude else None  # 0, 0: a receiver that has seen no satellite


def _degrees(value: Any, side: Any) -> float | None:
    """EXIF's degrees, minutes, seconds, and "N", "S", "E" or "W"."""
    parts = [_number(part) for part in value[:3]] if isinstance(value, tuple | list) else [_number(value)]
    if not parts or None in parts:
        return None
    degrees = sum(part / 60**power for power, part in enumerate(parts) if part is not None)
    return -degrees if _text(side).upper() in ("S", "W") else degrees


_XMP_DEGREES = re.compile(r"\s*(\d+)(?:,(\d+(?:\.\d+)?))?(?:,(\d+(?:\.\d+)?))?([NSEW])\s*", re.ASCII)


def _xmp_degrees(value: str) -> float | None:
    """XMP's "48,51.49N" or "48,51,29N"."""
    found = _XMP_DEGREES.fullmatch(value[:_MOST_TEXT])
    if not found:
        return _number(value)
    *parts, side = found.groups()
    return _degrees([part or 0 for part in parts], side)


# --- XMP -------------------------------------------------------------------------------------------------------------

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
_EXIF = "http://ns.adobe.com/exif/1.0/ "
_TIFF = "http://ns.adobe.com/tiff/1.0/ "
_BASIC = "http://ns.adobe.com/xap/1.0/ "
_PROPERTIES = {
    _EXIF + "DateTimeOriginal": "taken",
    "http://ns.adobe.com/photoshop/1.0/ DateCreated": "created",
    _EXIF + "DateTimeDigitized": "digitized",
    _BASIC + "CreateDate": "digitized",
    _EXIF + "GPSLatitude": "latitude",
    _EXIF + "GPSLongitude": "longitude",
    _TIFF + "Make": "maker",
    _TIFF + "Model": "model",
    _BASIC + "Rating": "rating",
    "http://purl.org/dc/elements/1.1/ subject": "keywords",
}


class _Properties:
    """Collects the properties of a packet's subject, written as attributes, as elements, or as lists of them."""

    def __init__(self) -> None:
        self.found: defaultdict[str, list[str]] = defaultdict(list)
        self._open: list[str] = []
        self._texts: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._open.append(name)
        self._texts = []
        if self._open[-2:] == [_RDF + "RDF", _RDF + "Description"]:
            for attribute, value in attributes.items():
                self._note(attribute, value)

    def text(self, text: str) -> None:
        self._texts.append(text)

    def end(self, name: str) -> None:
        property_at = self._open.index(_RDF + "RDF") + 2 if _RDF + "RDF" in self._open else len(self._open)
        if len(self._open) == property_at + 1 or name == _RDF + "li":
            self._note(self._open[property_at] if len(self._open) > property_at else "", "".join(self._texts))
        self._texts = []
        self._open.pop()

    def _note(self, name: str, value: str) -> None:
        if name in _PROPERTIES and value.strip():
            self.found[_PROPERTIES[name]].append(value)


def _xmp(packet: bytes) -> Mapping[str, list[Any]]:
    """The properties wanted here, each with its values, up to where the packet is broken."""
    properties = _Properties()
    start = packet.find(b"<")
    if start < 0 or len(packet) > _MOST_BYTES:
        return properties.found
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = properties.start
    parser.EndElementHandler = properties.end
    parser.CharacterDataHandler = properties.text
    parser.EntityDeclHandler = _refuse_entity
    with suppress(expat.ExpatError, ValueError, LookupError):  # LookupError: an encoding of another world
        parser.Parse(packet[start:].rstrip(b"\0 "), True)
    return properties.found


def _refuse_entity(*_: object) -> None:
    """Entities within entities can fill any memory."""
    raise ValueError("an entity")


# --- IPTC ------------------------------------------------------------------------------------------------------------

_UTF_8_ANNOUNCED = b"\x1b%G"


def _iptc(block: bytes) -> Mapping[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    sets = defaultdict(list)
    for number, content in _iptc_sets(block[:_MOST_BYTES]):
        sets[number].append(content)
    is_utf_8 = sets[(1, 90)][:1] == [_UTF_8_ANNOUNCED]
    found["keywords"] = [_iptc_text(content, is_utf_8) for content in sets[(2, 25)]]
    if sets[(2, 55)]:
        found["created"] = [_iptc_time(sets[(2, 55)][0], (sets[(2, 60)] or [b""])[0])]
    return found


def _iptc_sets(block: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Each data set's record and number, and its content."""
    at = 0
    while block[at : at + 1] == b"\x1c" and at + 5 <= len(block):
        size_bytes = int.from_bytes(block[at + 3 : at + 5], "big")
        if size_bytes > 0x7FFF:  # an extended one: nothing that is wanted is that long
            return
        yield (block[at + 1], block[at + 2]), block[at + 5 : at + 5 + size_bytes]
        at += 5 + size_bytes


def _iptc_text(content: bytes, is_utf_8: bool) -> str:
    """Most programs write UTF-8 and do not say so."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("utf-8" if is_utf_8 else "latin-1", "replace")


def _iptc_time(day: bytes, time: bytes) -> str:
    """`20230714`, `183000+0200` -> `2023-07-14T18:30:00+0200`"""
    date, clock = day.decode("ascii", "replace"), time.decode("ascii", "replace")
    written = f"{date[:4]}-{date[4:6]}-{date[6:8]}".replace("-00", "")
    return f"{written}T{clock[:2]}:{clock[2:4]}:{clock[4:6]}{clock[6:11]}" if len(clock) >= 6 else written
