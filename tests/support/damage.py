"""Damaged picture files, the same ones for the same seed."""

import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from tests.support import pictures

_TELLING = (0, 1, 0x7F, 0x80, 0xFF)
_REACHES = (32, 200, 1000, 1 << 30, 1 << 30)  # bytes from the start, where headers are; mostly anywhere


def damaged(suffix: str, seed: int) -> bytes:
    """One of the format's files with some bits, bytes, numbers or stretches changed, repeated or cut out.

    Checksums of a PNG are nearly always set right again, or nothing behind them would ever be reached.
    """
    chance = random.Random(f"{suffix} {seed}")
    data = bytearray(chance.choice(whole_files(suffix)))
    for _ in range(chance.choice([1, 1, 2, 3, 8, 30])):
        if data:
            chance.choice(_CHANGES)(data, chance.randrange(min(len(data), chance.choice(_REACHES))), chance)
    if chance.random() < 0.1:
        del data[chance.randrange(len(data) + 1) :]
    return _with_right_checksums(bytes(data)) if chance.random() < 0.9 else bytes(data)


def _flip(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] ^= 1 << chance.randrange(8)


def _set(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] = chance.choice(_TELLING)


def _set_number(data: bytearray, at: int, chance: random.Random) -> None:
    size = chance.choice([2, 4, 8])
    most = 1 << 8 * size
    number = chance.choice([0, 1, most - 1, most // 2, most // 2 - 1, 0x10000 % most, chance.randrange(most)])
    data[at : at + size] = number.to_bytes(size, chance.choice(["big", "little"]))


def _cut_out(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at : at + chance.choice([1, 2, 4, 16, 100])]


def _repeat(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = data[at : at + chance.choice([1, 4, 16, 100])]


def _insert_noise(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = chance.randbytes(chance.choice([1, 4, 20]))


def _overwrite_with_another_part(data: bytearray, at: int, chance: random.Random) -> None:
    source, size = chance.randrange(len(data)), chance.choice([4, 16, 64])
    data[at : at + size] = data[source : source + size]


_CHANGES: list[Callable[[bytearray, int, random.Random], None]] = [
    *(_flip, _flip, _flip, _set, _set_number),
    *(_cut_out, _repeat, _insert_noise, _overwrite_with_another_part),
]


def _with_right_checksums(data: bytes) -> bytes:
    if not data.startswith(b"\x89PNG"):
        return data
    chunks, at = [data[:8]], 8
    while at + 12 + (size := int.from_bytes(data[at : at + 4], "big")) <= len(data):
        body = data[at + 4 : at + 8 + size]
        chunks.append(data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + size
    return b"".join(chunks) + data[at:]


@cache
def whole_files(suffix: str) -> list[bytes]:
    """The format's usual file, and those of its kinds that take other ways through a decoder."""
    return [pictures.encode(pictures.drawn(64, 48), suffix), *(make() for make in _OTHER_KINDS.get(suffix, ()))]


def _saved(format_name: str, mode: str = "RGB", **options: Any) -> Callable[[], bytes]:
    return lambda: pictures.saved(pictures.drawn(64, 48).convert(mode), format_name, **options)


def _animated(format_name: str) -> Callable[[], bytes]:
    return lambda: pictures.first_of_two(pictures.drawn(64, 48), format_name)


_TURNED: dict[str, Any] = {"exif": pictures.exif(6)}
_OTHER_KINDS: dict[str, list[Callable[[], bytes]]] = {
    "jpg": [_saved("JPEG", progressive=True), _saved("JPEG", "CMYK"), _saved("JPEG", **_TURNED), _saved("JPEG", "L")],
    "png": [
        _saved("PNG", "P"),
        _saved("PNG", "1"),
        _saved("PNG", "RGBA", **_TURNED),
        lambda: pictures.png(np.zeros((9, 9, 3), np.uint16)),
    ],
    "tif": [
        *(
            _saved("TIFF", compression=name)
            for name in ("raw", "tiff_adobe_deflate", "jpeg", "packbits", "zstd", "lzma")
        ),
        *(_saved("TIFF", "1", compression=name) for name in ("group3", "group4")),
        *(_saved("TIFF", mode) for mode in ("F", "I", "I;16", "CMYK", "P")),
        _saved("TIFF", "YCbCr", compression="tiff_lzw"),
        _animated("TIFF"),
    ],
    "webp": [_saved("WEBP", lossless=True), _saved("WEBP", "RGBA", **_TURNED), _animated("WEBP")],
    "gif": [_animated("GIF"), _saved("GIF", "L", interlace=1)],
    "avif": [_animated("AVIF"), _saved("AVIF", "RGBA", **_TURNED)],
    "heic": [_animated("HEIF"), _saved("HEIF", "RGBA", **_TURNED)],
    "jxl": [
        _saved("JXL", quality=50),
        _saved("JXL", "RGBA", use_container=True),
        lambda: pictures.jxl_of_jpeg(pictures.drawn(64, 48), 6, keeps_jpeg=True),
    ],
    "jp2": [_saved("JPEG2000", irreversible=True), _saved("JPEG2000", "RGBA", tile_size=(16, 16))],
    "bmp": [_saved("BMP", "P"), _saved("BMP", "1")],
    "nef": [
        lambda: pictures.dng(pictures.drawn(64, 48)),
        lambda: pictures.dng(pictures.drawn(64, 48), 6, pictures.drawn(64, 48)),
    ],
    "ppm": [lambda: b"P3\n4 4\n255\n" + b" ".join(b"%d" % number for number in range(48))],
}
