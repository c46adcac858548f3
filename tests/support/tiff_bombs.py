"""TIFFs and JPEGs 2000 for the decoders of the extra `deep`, that ask for much, or lead in circles or nowhere."""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import imagecodecs
import numpy as np

from tests.support import bombs

_BYTE_FORMATS = {2: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}
_ENTRY_BYTES = 20


class Elsewhere(NamedTuple):
    """So many values, at that place in the file, whatever is there."""

    values: int
    at: int


class Data(NamedTuple):
    """The place of what follows the directory, so many times."""

    times: int


Tag = tuple[int, int, int | bytes | Sequence[int] | Elsewhere | Data]


def tiff(tags: Sequence[Tag], data: bytes = b"", next_at: int = 0) -> bytes:
    """A big-endian BigTIFF, which Pillow does not read: a directory at byte 16, then values, then data.

    See <https://www.awaresystems.be/imaging/tiff/bigtiff.html>.
    """
    values_at = 16 + 8 + _ENTRY_BYTES * len(tags) + 8
    packed = {tag: _packed(kind, value, 0) for tag, kind, value in tags}
    data_at = values_at + sum(len(value) for value in packed.values() if value and len(value) > 8)
    entries, values = b"", b""
    for tag, kind, value in sorted(tags, key=lambda each: each[0]):
        if isinstance(value, Elsewhere):
            entries += struct.pack(">HHQQ", tag, kind, *value)
            continue
        content = _packed(kind, value, data_at)
        entries += struct.pack(">HHQ", tag, kind, len(content) // struct.calcsize(_BYTE_FORMATS[kind]))
        if len(content) <= 8:
            entries += content.ljust(8, b"\0")
        else:
            entries += struct.pack(">Q", values_at + len(values))
            values += content
    head = b"MM\0+" + struct.pack(">HHQQ", 8, 0, 16, len(tags))
    return head + entries + struct.pack(">Q", next_at) + values + data


def _packed(kind: int, value: object, data_at: int) -> bytes:
    if isinstance(value, Elsewhere):
        return b""
    if isinstance(value, bytes):
        return value
    numbers = [data_at] * value.times if isinstance(value, Data) else [value] if isinstance(value, int) else value
    assert isinstance(numbers, list | tuple)
    return struct.pack(f">{len(numbers)}{_BYTE_FORMATS[kind]}", *numbers)


def picture(
    size: tuple[int, int] = (64, 64), bits: int = 16, samples: int = 3, compression: int = 1, rows: int = 0
) -> list[Tag]:
    """The tags that each needs, but for where its pixels are."""
    width, height = size
    photometric = 2 if samples >= 3 else 1
    tags: list[Tag] = [(256, 4, width), (257, 4, height), (258, 3, [bits] * min(samples, 4)), (259, 3, compression)]
    return [*tags, (262, 3, photometric), (277, 3, samples), (278, 4, rows or height)]


def strips(count: int, size_bytes: int) -> list[Tag]:
    """All of them the same bytes."""
    return [(273, 16, Data(count)), (279, 16, [size_bytes] * count)]


def packed(content: bytes, compression: int, bits: int = 16) -> bytes:
    """A small picture of what a codec makes of this."""
    return tiff([*picture(bits=bits, compression=compression), *strips(1, len(content))], content)


def tiled(size: tuple[int, int], tile: tuple[int, int], content: bytes) -> bytes:
    """In gray, of tiles that are all the same bytes, packed by Deflate."""
    count = -(-size[0] // tile[0]) * -(-size[1] // tile[1])
    tags = [tag for tag in picture(size, samples=1, compression=8) if tag[0] != 278]
    tags += [(322, 4, tile[0]), (323, 4, tile[1]), (324, 16, Data(count)), (325, 16, [len(content)] * count)]
    return tiff(tags, content)


def _whole(*more: Tag, next_at: int = 0, then: bytes = b"") -> bytes:
    pixels = bytes(64 * 64 * 6)
    return tiff([*picture(), *strips(1, len(pixels)), *more], pixels + then, next_at)


def chain_of_directories(count: int = 100_000) -> bytes:
    first_at = len(_whole())
    places = range(first_at, first_at + 36 * count, 36)
    chain = b"".join(
        struct.pack(">QHHQQQ", 1, 254, 4, 1, 0, at + 36 if at != places[-1] else first_at) for at in places
    )
    return _whole(next_at=first_at, then=chain)


def jpeg_2000(size: tuple[int, int], tile: tuple[int, int]) -> bytes:
    """Of 16 bits; there is one small tile of it (ISO/IEC 15444-1, A.5.1)."""
    content = bytearray(imagecodecs.jpeg2k_encode(np.zeros((64, 64), np.uint16), codecformat="j2k", level=0))
    at = content.index(b"\xff\x51")
    struct.pack_into(">II", content, at + 6, *size)
    struct.pack_into(">II", content, at + 22, *tile)
    return bytes(content)


def jpeg_2000_of_components(count: int = 16_384) -> bytes:
    content = jpeg_2000((64, 64), (64, 64))
    at = content.index(b"\xff\x51")
    head = struct.pack(">HHIIIIIIIIH", 38 + 3 * count, 0, 64, 64, 0, 0, 64, 64, 0, 0, count) + b"\x0f\1\1" * count
    (length,) = struct.unpack_from(">H", content, at + 2)
    return content[: at + 2] + head + content[at + 2 + length :]


def jpeg_in_each_row(rows: int = 1000) -> bytes:
    """The same one, which is much larger than a row."""
    content = bytes(imagecodecs.jpeg8_encode(np.zeros((8000, 8000), np.uint8)))
    return tiff([*picture((64, rows), 8, 1, _JPEG, rows=1), *strips(rows, len(content))], content)


_JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 7, 8, 32946, 32773
_JPEG_2000, _LZMA, _PNG, _ZSTD = 34712, 34925, 34933, 50000
_LONG_TAGS = (270, 700, 34377, 33723, 34675, 320, 338, 274, 306, 34853, 34665, 330)

REFUSED: dict[str, Callable[[], bytes]] = {
    "deflate.tif": lambda: packed(bombs._packed_zeros(2000), _DEFLATE),
    "old deflate.tif": lambda: packed(bombs._packed_zeros(1000), _OLD_DEFLATE),
    "zstd.tif": lambda: packed(bytes(imagecodecs.zstd_encode(bytes(1 << 28))), _ZSTD),
    "packbits.tif": lambda: packed(b"\x81\0" * (1 << 20), _PACKBITS),
    "huge JPEG.tif": lambda: packed(bombs.jpeg(), _JPEG, bits=8),
    "huge PNG.tif": lambda: packed(bombs.png(), _PNG, bits=8),
    "huge JPEG 2000.tif": lambda: packed(bombs.jpeg_2000(), _JPEG_2000, bits=8),
    "samples.tif": lambda: tiff([*picture((1000, 1000), samples=65_535, compression=8), *strips(1, 9)], bytes(9)),
    "depth of tiles.tif": lambda: tiff(
        [
            *(tag for tag in picture(compression=8) if tag[0] != 278),
            *((32997, 4, 1), (32998, 4, 1 << 20), (322, 4, 64), (323, 4, 64), (324, 16, Data(1)), (325, 16, 9)),
        ],
        bytes(9),
    ),
    "wide.tif": lambda: tiff([*picture(((1 << 32) - 1, 1)), *strips(1, 99)], bytes(99)),
    "huge tiles.tif": lambda: tiled((64, 64), (1 << 31, 1 << 31), b""),
    "strips.tif": lambda: tiff(
        [*picture(rows=1), (273, 16, Elsewhere(1 << 31, 100)), (279, 16, Elsewhere(1 << 31, 100))], bytes(1000)
    ),
    "beyond its end.tif": lambda: tiff([*picture(), (273, 16, 1 << 50), (279, 16, 1 << 50)]),
    "before its start.tif": lambda: tiff([*picture(), (273, 16, (1 << 64) - 1), (279, 16, (1 << 64) - 1)]),
    "a strip of terabytes.tif": lambda: tiff(
        [*picture(compression=8), (273, 16, 500), (279, 16, 1 << 42)], bytes(1000)
    ),
    "tags.tif": lambda: b"MM\0+" + struct.pack(">HHQQ", 8, 0, 16, 1 << 63) + bytes(1000),
    "no bits.tif": lambda: tiff([*picture(bits=0), *strips(1, 999)], bytes(999)),
    "too many bits.tif": lambda: tiff([*picture(bits=65_535), *strips(1, 999)], bytes(999)),
    "huge.j2k": lambda: jpeg_2000((60_000, 60_000), (60_000, 60_000)),
    "a hundred million tiles.j2k": lambda: jpeg_2000((9000, 9000), (1, 1)),
    "components.j2k": jpeg_2000_of_components,
}
"""Those of which no picture is made."""

SHOWN: dict[str, Callable[[], bytes]] = {
    "lzma.tif": lambda: packed(bytes(imagecodecs.lzma_encode(bytes(1 << 24))), _LZMA),
    "directories.tif": chain_of_directories,
    "circle of directories.tif": lambda: _whole(next_at=16),
    "circle of tags.tif": lambda: _whole(*((tag, 16, 16) for tag in (34665, 34853, 40965, 330))),
    "long tags.tif": lambda: _whole(*((tag, 7, Elsewhere(1 << 60, 16)) for tag in _LONG_TAGS)),
    "tags of the whole file.tif": lambda: _whole(
        *((tag, 7, Elsewhere(20_000_000, 16)) for tag in range(40_000, 42_000)), then=bytes(20_000_000)
    ),
    "dimensions.tif": lambda: _whole((270, 2, b'{"shape": [100000, 100000, 100000]}\0')),
    "stack.tif": lambda: _whole((270, 2, b"ImageJ=1.53\nimages=1000000000\nhyperstack=true\n\0")),
    "entities.tif": lambda: _whole(
        (270, 2, b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><OME>&x;</OME>\0')
    ),
    "many tiles.j2k": lambda: jpeg_2000((64, 64), (1, 1)),
}
"""Those that have a small picture, whatever else they say."""

SLOW: dict[str, Callable[[], bytes]] = {
    "a million tiles.tif": lambda: tiled((16_000, 16_000), (16, 16), zlib.compress(bytes(16 * 16 * 2))),
    "the same JPEG a thousand times.tif": jpeg_in_each_row,
}
"""Those over which a decoder would think for minutes."""
