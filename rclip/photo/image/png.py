"""PNGs with damage: an ancillary chunk costs no more than what it says, missing rows cost the picture.

Pillow refuses a file for any damaged chunk of metadata, and takes rows that are missing for black ones.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from rclip.photo.failures import DecodeError

_MARK = b"\x89PNG\r\n\x1a\n"
_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_SHOWN = _CRITICAL | {b"tRNS"}
_KNOWN = re.compile(rb"PLTE|IDAT|IEND")
_MOST_DAMAGED = 100


class _Chunk(NamedTuple):
    """A part of a PNG (ISO/IEC 15948, 5.3)."""

    kind: bytes
    content: bytes
    is_sound: bool


def repaired(contents: bytes) -> Iterator[bytes]:
    """The file without the chunks that are damaged, then without all but its pixels."""
    chunks = list(_chunks(contents))
    for kept in (
        [chunk for chunk in chunks if chunk.is_sound or chunk.kind == b"IDAT"],
        [chunk for chunk in chunks if chunk.kind in _SHOWN and (chunk.is_sound or chunk.kind == b"IDAT")],
    ):
        data = b"".join(chunk.content for chunk in kept if chunk.kind == b"IDAT")
        first = next((place for place, chunk in enumerate(kept) if chunk.kind == b"IDAT"), len(kept))
        before, after = (
            [chunk for chunk in some if chunk.kind not in (b"IDAT", b"IEND")] for some in (kept[:first], kept[first:])
        )
        parts = [*before, _Chunk(b"IDAT", data, is_sound=True), *after, _Chunk(b"IEND", b"", is_sound=True)]
        yield _MARK + b"".join(map(_written, parts))


def require_all_rows(stream: BinaryIO, is_suspect: bool) -> None:
    """Raises `DecodeError` where the data end before the picture does.

    They are read once more only where a checksum is wrong, or when asked to.
    """
    stream.seek(0)
    chunks = list(_chunks(stream.read()))
    data = [chunk for chunk in chunks if chunk.kind == b"IDAT"]
    if not is_suspect and all(chunk.is_sound for chunk in data):
        return
    passes = list(_passes(chunks[0].content))
    expected = passes[-1].end
    present = _present_bytes((chunk.content for chunk in data), passes)
    if present < expected:
        raise DecodeError(f"damaged: {100 - 100 * present // expected} % of the picture is missing")


def _chunks(contents: bytes) -> Iterator[_Chunk]:
    """What follows each other there. A length that leads nowhere is passed over up to a name that every PNG has.

    Of damaged ones only so many are looked at, as the length of each may be that of all the rest.
    """
    at = len(_MARK)
    damaged = 0
    while at + 8 <= len(contents) and damaged < _MOST_DAMAGED:
        length, kind = struct.unpack_from(">I4s", contents, at)
        start, end = at + 8, at + 8 + length
        content = contents[start:end]
        is_sound = contents[end : end + 4] == struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
        at = end + 4
        damaged += not is_sound
        if not is_sound and not contents[at + 4 : at + 8].isalpha():
            found = _KNOWN.search(contents, start)
            at = found.start() - 4 if found else len(contents)
            content = contents[start : at - 4 if found else at]
        yield _Chunk(kind, content, is_sound)


def _written(chunk: _Chunk) -> bytes:
    checksum = zlib.crc32(chunk.content, zlib.crc32(chunk.kind))
    return struct.pack(">I", len(chunk.content)) + chunk.kind + chunk.content + struct.pack(">I", checksum)


# --- how many rows there are -----------------------------------------------------------------------------------------

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By the color type."""
_PASSES = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
"""Of an interlaced picture: first column, step, first row, step."""


class _Pass(NamedTuple):
    """The rows of one pass among the bytes that all of them take. Each starts with the number of its filter."""

    start: int
    row_bytes: int
    end: int


def _passes(header: bytes) -> Iterator[_Pass]:
    """Seven of an interlaced picture, those without a row not among them, and one of any other."""
    width, height, depth, color_type, _, _, is_interlaced = struct.unpack(">IIBBBBB", header[:13])
    bits = depth * _CHANNELS[color_type]
    start = 0
    for left, column_step, top, row_step in _PASSES if is_interlaced else ((0, 1, 0, 1),):
        columns, rows = -(-(width - left) // column_step), -(-(height - top) // row_step)
        if columns > 0 and rows > 0:
            row_bytes = 1 + (columns * bits + 7) // 8
            yield _Pass(start, row_bytes, start + rows * row_bytes)
            start += rows * row_bytes


def _present_bytes(parts: Iterator[bytes], passes: list[_Pass]) -> int:
    """How many come out before the data end or make no sense: that shows in filters that there are none of, too."""
    inflater, count = zlib.decompressobj(), 0
    try:
        for part in parts:
            rest = part
            while rest and count < passes[-1].end and not inflater.eof:
                rows = inflater.decompress(rest, min(passes[-1].end - count, _INFLATED_AT_ONCE))
                rest = inflater.unconsumed_tail
                sense = _bytes_before_bad_filter(rows, count, passes)
                count += sense
                if sense < len(rows):
                    return count
    except zlib.error:
        pass
    return count


_INFLATED_AT_ONCE = 1 << 20
_LAST_FILTER = 4


def _bytes_before_bad_filter(rows: bytes, at: int, passes: list[_Pass]) -> int:
    """Of bytes that come after `at` others."""
    for each in passes:
        if at < each.end and at + len(rows) > each.start:
            first = each.start - at if at <= each.start else -(at - each.start) % each.row_bytes
            filters = rows[first : each.end - at : each.row_bytes]
            if filters and max(filters) > _LAST_FILTER:
                row = next(row for row, number in enumerate(filters) if number > _LAST_FILTER)
                return first + row * each.row_bytes
    return len(rows)
