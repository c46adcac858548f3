"""JPEGs that lack their end, or a part of their picture: what is there is shown, and how much is missing is told.

Cameras' panoramas end without the marker that ends a JPEG, at times with a trailer of the maker's after the last scan.
Of a file that was cut off libjpeg decodes what is there and fills up with gray, as all viewers show it.
"""

import io
import random
import re
from typing import BinaryIO

from PIL import Image

from rclip.photo.failures import DecodeError

_LEAST_PERCENT = 25
"""Of a picture that is to be shown at all."""


def loaded(image: Image.Image, stream: BinaryIO, side: int) -> tuple[Image.Image, int]:
    """The picture that Pillow has opened in `stream`, decoded, and how many percent of it, from below, are missing.

    `side` is what `draft` was asked for. Raises `DecodeError` where next to nothing is there, or what Pillow does.
    """
    try:
        image.load()
        is_suspect = _is_filled_up(stream) or _gray_rows(image)
    except OSError:
        if (end := _end_of_scans(_contents(stream))) is None:
            raise
        is_suspect = True
    if not is_suspect:
        return image, 0
    contents = _contents(stream)
    end = _end_of_scans(contents) or len(contents)
    image = _opened(contents[:end] + _END, side)
    image.load()
    gray = _gray_rows(image)
    if not gray or _is_gray_by_itself(contents[:end], side, gray):
        return image, 0
    missing_percent = round(100 * gray / image.height)
    if 100 - missing_percent < _LEAST_PERCENT:
        raise DecodeError(f"damaged: {missing_percent} % of the picture is missing")
    return image, missing_percent


def _is_filled_up(stream: BinaryIO) -> bool:
    """Whether the file ends in zeros, which a decoder takes for data: one color to the end."""
    stream.seek(0, io.SEEK_END)
    stream.seek(max(0, stream.tell() - _FILLED_UP_BYTES))
    return not any(stream.read())


def _contents(stream: BinaryIO) -> bytes:
    stream.seek(0)
    return stream.read()


def _opened(contents: bytes, side: int) -> Image.Image:
    image = Image.open(io.BytesIO(contents), formats=["JPEG"])
    image.draft(None, (side, side))
    return image


# --- where it ends ---------------------------------------------------------------------------------------------------

_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a stuffed zero and restarts belong to a scan
_BETWEEN_SCANS = frozenset({0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_FILLED_UP_BYTES = 1024


def _end_of_scans(contents: bytes) -> int | None:
    """Where the last scan ends: at the end's marker, or before what belongs to no JPEG. None without any scan."""
    at = _first_scan(contents)
    while at is not None:
        found = _MARKER_IN_SCAN.search(contents, at)
        if found is None:
            return max(at, _before_zeros(contents))
        next_at = _after_segment(contents, found.end() - 1)
        if next_at is None:
            return found.start()
        at = next_at
    return None


def _before_zeros(contents: bytes) -> int:
    """Where the zeros start by which a file system or a download made room for the rest; else the end."""
    end = len(contents.rstrip(b"\0"))
    return end if len(contents) - end >= _FILLED_UP_BYTES else len(contents)


def _first_scan(contents: bytes) -> int | None:
    """Where the data of the first scan start (ITU-T T.81, B.1.1.4)."""
    at = 2
    while contents[at : at + 1] == b"\xff":
        marker = contents[at + 1 : at + 2]
        if marker == b"\xff":  # any number of them may fill up
            at += 1
            continue
        if at + 4 > len(contents):
            return None
        at += 2 + int.from_bytes(contents[at + 2 : at + 4], "big")
        if marker == bytes([_START_OF_SCAN]):
            return at
    return None


def _after_segment(contents: bytes, marker_at: int) -> int | None:
    """Where a segment between two scans ends, whose marker's second byte is there; None if it can be none."""
    if contents[marker_at] not in _BETWEEN_SCANS:
        return None
    end = marker_at + 1 + int.from_bytes(contents[marker_at + 1 : marker_at + 3], "big")
    is_followed = contents[marker_at] == _START_OF_SCAN or contents[end : end + 1] == b"\xff"
    return end if is_followed and marker_at + 3 <= end < len(contents) else None


# --- what is missing -------------------------------------------------------------------------------------------------

_GRAYS = ((127, 127), (128, 128))  # inks are stored the other way round


def _gray_rows(image: Image.Image) -> int:
    """How many rows at the bottom are nothing but the gray that libjpeg fills up with."""
    low, high = 0, image.height  # as the gray is in one piece, rows need not be looked at one by one
    if not _is_gray(image, image.height - 1):
        return 0
    while high - low > 1:
        middle = (low + high) // 2
        if _is_gray(image, image.height - 1 - middle):
            low = middle
        else:
            high = middle
    return low + 1


def _is_gray(image: Image.Image, first_row: int) -> bool:
    """From this row on."""
    bands = image.crop((0, first_row, image.width, image.height)).split()
    return all(band.getextrema() in _GRAYS for band in bands)


def _is_gray_by_itself(scans: bytes, side: int, gray_rows: int) -> bool:
    """Whether these rows are gray in the picture: data after the end would else be taken for what is missing there."""
    width = Image.open(io.BytesIO(scans + _END), formats=["JPEG"]).width
    image = _opened(scans + _noise(width) + _END, side)
    try:
        image.load()
    except OSError:
        return False
    return _gray_rows(image) >= gray_rows


def _noise(width: int) -> bytes:
    """Data for any coding table, and for more than a row of blocks: of the one in which the data end, that row is left.

    Then with each restart, in case one is what is waited for, of which there may be one after each block.
    """
    noise = random.Random(0).randbytes(64 * width).replace(b"\xff", b"\x55")  # noqa: S311 - which would be a marker's first
    restarts = b"".join(bytes([0xFF, 0xD0 + number]) + noise[:256] for number in range(8))
    return noise + restarts * (2 + width // 64)
