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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from rclip.photo.metadata import NO_METADATA, PhotoMetadata

Tags = Mapping[int, Any]
"""One directory of EXIF, by tag number. Values are of whatever type the file claims."""

_MOST_BYTES = 4 << 20  # of XMP and IPTC: more is an editor's history
_MOST_TEXT = 200  # characters of one keyword or name
_MOST_CAPTION = 2000
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
    creation_time: str = ""
    """A PNG's text of that name, in whatever form."""


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
        keywords=keywords_of([*xmp["keywords"], *iptc["keywords"], *_windows_keywords(blocks.main), *_in_paths(xmp)]),
        rating=_rating([*xmp["rating"], blocks.main.get(_RATING), *xmp["other rating"]]),
        lens=_text(blocks.photo.get(_LENS)) or _first_text([*xmp["lens"], *xmp["other lens"]]),
        title=_first_text([*xmp["title"], *iptc["title"]]),
        headline=_first_text([*xmp["headline"], *iptc["headline"]]),
        caption=_caption([*xmp["caption"], *iptc["caption"], blocks.main.get(_DESCRIPTION), *xmp["other caption"]]),
    )


class Layers(NamedTuple):
    """What a sidecar says of a photo."""

    over: PhotoMetadata = NO_METADATA
    """Counts more than what the photo itself says."""
    under: PhotoMetadata = NO_METADATA
    """Counts where the photo says nothing of it."""


def parse_sidecar(packet: bytes) -> Layers:
    """What an XMP sidecar tells. Never raises.

    Programs for sorting photos write there what they would not write into the photo, which is then older. Of the
    camera and its lens the photo itself knows best, and a time of digitizing need not be that of taking.
    """
    xmp = _xmp(packet)
    known = parse(Blocks(xmp=packet), 0, 0)._replace(width=None, height=None)
    under = PhotoMetadata(maker=known.maker, model=known.model, lens=known.lens)
    over = known._replace(maker="", model="", lens="")
    if known.captured_s is not None and not (xmp["taken"] or xmp["created"]):
        over = over._replace(captured_s=None, offset_min=None)
        under = under._replace(captured_s=known.captured_s, offset_min=known.offset_min)
    return Layers(over, under)


_MAKER, _MODEL, _RATING, _WINDOWS_KEYWORDS, _DATE_TIME = 0x010F, 0x0110, 0x4746, 0x9C9E, 0x0132
_DESCRIPTION, _LENS = 0x010E, 0xA434
_TAKEN, _DIGITIZED, _CHANGED = (0x9003, 0x9011), (0x9004, 0x9012), (_DATE_TIME, 0x9010)
"""Tags of a time and of its offset from UTC."""

_TIMES = (*_TAKEN, *_DIGITIZED, *_CHANGED)
PHOTO_TAGS = (_LENS, *_TIMES)
"""All of `Blocks.photo` that is looked at."""

MAIN_TAGS = (_DESCRIPTION, _MAKER, _MODEL, _RATING, _WINDOWS_KEYWORDS, *_TIMES)
"""All of `Blocks.main` that is looked at; TIFF/EP (ISO 12234-2) has the times of taking in it."""


# --- texts -----------------------------------------------------------------------------------------------------------


def _text(value: Any, most: int = _MOST_TEXT) -> str:
    """One line without what would steer a terminal, blanks at its ends and doubled ones."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    line = value.partition("\0")[0]
    plain = "".join(character if character.isprintable() else " " for character in line[: 4 * most])
    return " ".join(plain.split())[:most].rstrip()


def _first_text(values: Iterable[Any]) -> str:
    return next(filter(None, map(_text, values)), "")


def _caption(values: Iterable[Any]) -> str:
    """The first that is not a camera's own."""
    texts = (_text(value, _MOST_CAPTION) for value in values)
    return next((text for text in texts if text and not _BY_CAMERA.fullmatch(text)), "")


_BY_CAMERA = re.compile(r"(?:[A-Z]+ )?DIGITAL CAMERA|(?:SONY )?DSC|DCIM\S*|default|Screenshot|\W*", re.ASCII)
"""What cameras and systems write as the description of every picture."""


def keywords_of(values: Iterable[Any]) -> tuple[str, ...]:
    """Each once, in the order in which they are found."""
    return tuple(dict.fromkeys(filter(None, map(_text, values))))[:_MOST_KEYWORDS]


def caption_of(value: Any) -> str:
    """One line of what somebody wrote of a photo."""
    return _caption([value])


def _in_paths(xmp: Mapping[str, list[Any]]) -> Iterator[str]:
    """The keywords of hierarchies, each with those above it: `Places|Portugal|Lisbon` are three."""
    for path in xmp["keyword paths"]:
        names = re.split(r"[|/]", path[: 8 * _MOST_TEXT])
        if names[0] != _OF_DARKTABLE:
            yield from names[:_MOST_KEYWORDS]
    for text in xmp["categories"]:
        yield from _categories(text)


_OF_DARKTABLE = "darktable"  # what it notes for itself of each photo


def _categories(text: str) -> list[str]:
    """ACDSee's: a document of its own, of elements within elements, of which those assigned are meant."""
    found: list[str] = []
    assigned: list[bool] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        assigned.append(name == "Category" and attributes.get("Assigned") == "1")

    def end(name: str) -> None:
        assigned.pop()

    def said(words: str) -> None:
        if assigned and assigned[-1] and len(found) < _MOST_KEYWORDS:
            found.append(words)

    _parse_xml(text.encode(), start, end, said)
    return found


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

_DATE = re.compile(r"(\d{4})(?:[-:/. ](\d\d?|  )(?:[-:/. ](\d\d?|  ))?)?(?!\d)", re.ASCII)
_CLOCK = re.compile(r"[T:, ]*(\d\d?):(\d\d)(?::(\d\d))?(?:[.,]\d+)?\s*(Z|[-+]\d\d:?\d\d)?", re.ASCII)
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:[T ]?(\d\d)(\d\d)(\d\d)?)?(Z|[-+]\d\d:?\d\d)?", re.ASCII)
_OFFSET = re.compile(r"\s*(?:Z|([-+])(\d\d):?(\d\d))[\s\0]*", re.ASCII)
_FIRST_YEAR = 1800  # there is no older photo


def _captured(
    blocks: Blocks, xmp: Mapping[str, list[Any]], iptc: Mapping[str, list[Any]]
) -> tuple[int, int | None] | None:
    """The time at which the picture was taken or, by and by, whatever is known to be near that."""
    main, photo = blocks.main, blocks.photo
    for value, offset in (
        _exif_time(photo, _TAKEN, photo),
        _exif_time(main, _TAKEN, main, photo),
        *((value, None) for value in (*xmp["taken"], *iptc["created"], *xmp["created"])),
        _exif_time(photo, _DIGITIZED, photo),
        _exif_time(main, _DIGITIZED, main, photo),
        *((value, None) for value in xmp["digitized"]),
        (_iso_time(blocks.creation_time), None),
        _exif_time(main, _CHANGED, photo, main),
        _exif_time(photo, _CHANGED, photo),
    ):
        time = _time(value, offset)
        if time:
            return time
    return None


def _exif_time(times: Tags, tags: tuple[int, int], *offsets: Tags) -> tuple[Any, Any]:
    """A time of one directory, and its offset, which may stand in another."""
    return times.get(tags[0]), next((found[tags[1]] for found in offsets if tags[1] in found), None)


def _time(value: Any, offset: Any) -> tuple[int, int | None] | None:
    """Seconds of the camera's clock and minutes that it is ahead of UTC. What is known in part starts that part.

    A month or a day that is blank or zero is unknown, and so is what follows it; a clock that makes no sense is, too.
    """
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    text = text[:_MOST_TEXT].partition("\0")[0].strip() if isinstance(text, str) else ""
    if compact := _COMPACT.fullmatch(text):
        *date, hour, minute, second, zone = compact.groups()
    elif found := _DATE.match(text):
        date = [*found.groups()]
        clock = _CLOCK.match(text, found.end())
        hour, minute, second, zone = clock.groups() if clock else (None,) * 4
    else:
        return None
    year, month, day = (int((part or "").strip() or 0) for part in date)
    clock_s = _clock_s(hour, minute, second) if month and day else None
    try:
        when = datetime(year, month or 1, (day or 1) if month else 1)
    except ValueError:
        return None
    if year < _FIRST_YEAR:
        return None
    return timegm(when.timetuple()) + (clock_s or 0), None if clock_s is None else _offset_min(zone or offset)


def _clock_s(hour: str | None, minute: str | None, second: str | None) -> int | None:
    """Seconds from midnight, which some cameras call 24:00; None for what no clock shows."""
    numbers = [int(part or 0) for part in (hour, minute, second)]
    if hour is None or numbers[0] > 24 or numbers[1] > 59 or numbers[2] > 60:
        return None
    return numbers[0] % 24 * 3600 + numbers[1] * 60 + numbers[2]


_ZONE_AT_END = re.compile(r"(?:[-+]\d{4}|\b[A-Z]{1,4})\s*(?:\([^()]*\))?\s*\Z", re.ASCII)


def _iso_time(text: str) -> str:
    """A time as e-mails have it (RFC 1123), which PNG recommends, in ISO's form; any other text as it is."""
    if not text[:1].isalpha() and "," not in text and not re.match(r"\d\d? [A-Za-z]", text):
        return text
    from email.utils import parsedate_tz  # few files have such

    found = parsedate_tz(text[:_MOST_TEXT])
    if not found:
        return text
    year, month, day, hour, minute, second, *_, offset_s = found
    offset_min = abs(offset_s or 0) // 60
    sign = "-" if (offset_s or 0) < 0 else "+"
    zone = f"{sign}{offset_min // 60:02}{offset_min % 60:02}" if _ZONE_AT_END.search(text) else ""
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}"


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
        latitude, longitude = (_xmp_degrees(xmp[key], xmp[key + " side"]) for key in ("latitude", "longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return (latitude, longitude) if latitude or longitude else None  # 0, 0: a receiver that has seen no satellite


def _degrees(value: Any, side: Any) -> float | None:
    """EXIF's degrees, minutes, seconds, and "N", "S", "E" or "W"."""
    parts = [_number(part) for part in value[:3]] if isinstance(value, tuple | list) else [_number(value)]
    if not parts or None in parts:
        return None
    degrees = sum(part / 60**power for power, part in enumerate(parts) if part is not None)
    return -abs(degrees) if _SOUTH_OR_WEST.match(_text(side).upper()) else degrees


_SOUTH_OR_WEST = re.compile("S|W|OESTE|OUEST|OVEST")
"""Their letters, and words for them: "South", "Sud", "West", "Ouest"."""

_XMP_DEGREES = re.compile(
    r"\s*(\d+(?:\.\d+)?)(?:,(\d+(?:\.\d+)?))?(?:,(\d+(?:\.\d+)?))?\s*([NSEWO][A-Z]*)\s*", re.ASCII | re.IGNORECASE
)


def _xmp_degrees(values: list[str], sides: list[str]) -> float | None:
    """XMP's "48,51.49N" or "48,51,29N"; some write a number, and its side as EXIF does."""
    if not values:
        return None
    found = _XMP_DEGREES.fullmatch(values[0][:_MOST_TEXT])
    if not found:
        return _degrees(values[0], sides[0] if sides else "")
    *parts, side = found.groups()
    return _degrees([part or 0 for part in parts], side)


# --- XMP -------------------------------------------------------------------------------------------------------------

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
_EXIF = "http://ns.adobe.com/exif/1.0/ "
_TIFF = "http://ns.adobe.com/tiff/1.0/ "
_BASIC = "http://ns.adobe.com/xap/1.0/ "
_DC = "http://purl.org/dc/elements/1.1/ "
_ACDSEE = "http://ns.acdsee.com/iptc/1.0/ "
_PROPERTIES = {
    _EXIF + "DateTimeOriginal": "taken",
    "http://ns.adobe.com/photoshop/1.0/ DateCreated": "created",
    _EXIF + "DateTimeDigitized": "digitized",
    _BASIC + "CreateDate": "digitized",
    _EXIF + "GPSLatitude": "latitude",
    _EXIF + "GPSLongitude": "longitude",
    _EXIF + "GPSLatitudeRef": "latitude side",
    _EXIF + "GPSLongitudeRef": "longitude side",
    _TIFF + "Make": "maker",
    _TIFF + "Model": "model",
    _BASIC + "Rating": "rating",
    _DC + "subject": "keywords",
    "http://ns.adobe.com/lightroom/1.0/ hierarchicalSubject": "keyword paths",
    "http://www.digikam.org/ns/1.0/ TagsList": "keyword paths",
    "http://ns.microsoft.com/photo/1.0/ LastKeywordXMP": "keyword paths",
    _DC + "title": "title",
    _DC + "description": "caption",
    "http://ns.adobe.com/photoshop/1.0/ Headline": "headline",
    "http://cipa.jp/exif/1.0/ LensModel": "lens",
    "http://ns.adobe.com/exif/1.0/aux/ Lens": "other lens",
    _ACDSEE + "categories": "categories",
    _ACDSEE + "keywords": "keywords",
    _ACDSEE + "rating": "other rating",
    _ACDSEE + "caption": "other caption",
}


class _Properties:
    """Collects the properties of a packet's subject, written as attributes, as elements, or as lists of them."""

    def __init__(self) -> None:
        self.found: defaultdict[str, list[str]] = defaultdict(list)
        self._open: list[str] = []
        self._rdf_at: int | None = None
        """Where the outermost `RDF` stands among the open elements."""
        self._texts: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == _RDF + "RDF" and self._rdf_at is None:
            self._rdf_at = len(self._open)
        self._open.append(name)
        self._texts = []
        if self._open[-2:] == [_RDF + "RDF", _RDF + "Description"]:
            for attribute, value in attributes.items():
                self._note(attribute, value)

    def text(self, text: str) -> None:
        self._texts.append(text)

    def end(self, name: str) -> None:
        property_at = len(self._open) if self._rdf_at is None else self._rdf_at + 2
        if len(self._open) == property_at + 1 or name == _RDF + "li":
            self._note(self._open[property_at] if len(self._open) > property_at else "", "".join(self._texts))
        self._texts = []
        self._open.pop()
        if self._rdf_at == len(self._open):
            self._rdf_at = None

    def _note(self, name: str, value: str) -> None:
        if name in _PROPERTIES and value.strip():
            self.found[_PROPERTIES[name]].append(value)


def _xmp(packet: bytes) -> Mapping[str, list[Any]]:
    """The properties wanted here, each with its values, up to where the packet is broken."""
    properties = _Properties()
    start = packet.find(b"<")
    if start < 0 or len(packet) > _MOST_BYTES:
        return properties.found
    _parse_xml(packet[start:].rstrip(b"\0 "), properties.start, properties.end, properties.text)
    return properties.found


def _parse_xml(
    document: bytes,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
) -> None:
    """Up to where the document is broken."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartNamespaceDeclHandler = _refuse_long_namespace
    with suppress(expat.ExpatError, ValueError, LookupError):  # LookupError: an encoding of another world
        parser.Parse(document, True)


def _refuse_doctype(*_: object) -> None:
    """XMP has none. Entities within entities fill any memory; default attributes come with each of many elements."""
    raise ValueError("a document type")


def _refuse_long_namespace(_: str | None, uri: str | None) -> None:
    """It would come with the name of each of many elements."""
    if uri and len(uri) > _MOST_TEXT:
        raise ValueError("a long namespace")


# --- IPTC ------------------------------------------------------------------------------------------------------------

_UTF_8_ANNOUNCED = b"\x1b%G"


def is_whole_iptc(block: bytes) -> bool:
    """Whether its data sets go on to its end, or to zeros that fill up the last number of a block of 32-bit ones."""
    end = 0
    for _, content in _iptc_sets(block):
        end += 5 + len(content)
    return end > 0 and not block[end:].strip(b"\0")


def _iptc(block: bytes) -> Mapping[str, list[Any]]:
    found: defaultdict[str, list[Any]] = defaultdict(list)
    sets = defaultdict(list)
    for number, content in _iptc_sets(block[:_MOST_BYTES]):
        sets[number].append(content)
    is_utf_8 = sets[(1, 90)][:1] == [_UTF_8_ANNOUNCED]
    for name, data_set in (("keywords", 25), ("title", 5), ("headline", 105), ("caption", 120)):
        found[name] = [_iptc_text(content, is_utf_8) for content in sets[(2, data_set)]]
    if sets[(2, 55)]:
        found["created"] = [_iptc_time(sets[(2, 55)][0], (sets[(2, 60)] or [b""])[0])]
    return found


def _iptc_sets(block: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Each data set's record and number, and its content."""
    if block[3:4] == b"\x1c" != block[:1]:  # written as 32-bit numbers of the wrong order
        block = b"".join(block[at : at + 4][::-1] for at in range(0, len(block), 4))
    at = 0
    while block[at : at + 1] == b"\x1c" and at + 5 <= len(block):
        size_bytes = int.from_bytes(block[at + 3 : at + 5], "big")
        if size_bytes > 0x7FFF or at + 5 + size_bytes > len(block):
            return  # an extended one, as nothing that is wanted is that long, or one that is cut off
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
