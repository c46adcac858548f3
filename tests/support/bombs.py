"""Small files that ask for much: pixels, memory, or time."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.support import pictures

SIDE = 65_500
"""The most pixels that a side of a JPEG may have; squared, 17 GB of colours."""


def _patched(data: bytes, *changes: tuple[bytes, bytes]) -> bytes:
    for before, after in changes:
        assert before in data, before
        data = data.replace(before, after)
    return data


def _size(form: str, side: int = SIDE) -> bytes:
    return struct.pack(form, side, side)


def _small(format_name: str, mode: str = "RGB", **options: Any) -> bytes:
    return pictures.saved(pictures.drawn(64, 64).convert(mode), format_name, **options)


def jpeg(**options: Any) -> bytes:
    return _patched(_small("JPEG", **options), (struct.pack(">HH", 64, 64), _size(">HH")))


def jpeg_of_many_scans(side: int = 3000, scans: int = 3000) -> bytes:
    """A blank progressive JPEG whose last scan, of a few hundred bytes, comes again and again."""
    data = pictures.saved(Image.new("L", (side, side)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def png() -> bytes:
    return pictures.png(np.zeros((1, 1), np.uint8), size=(SIDE, SIDE))


def _packed_zeros(megabytes: int) -> bytes:
    """What zlib makes of so many zeros, put together from a packed megabyte that can be repeated."""
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = ((megabytes << 20) % 65521) << 16 | 1
    return b"\x78\xda" + packed * megabytes + b"\3\0" + struct.pack(">I", checksum)


def png_with_text() -> bytes:
    """Compressed text of a gigabyte, and as much of a colour profile."""
    chunks = ((b"zTXt", b"Comment\0\0" + _packed_zeros(1024)), (b"iCCP", b"profile\0\0" + _packed_zeros(1024)))
    return pictures.png(np.full((64, 64, 3), 99, np.uint8), *chunks)


def tiff() -> bytes:
    data = _small("TIFF")
    for tag in (256, 257):
        at = data.index(struct.pack("<HH", tag, 4 if struct.pack("<HHI", tag, 4, 1) in data else 3))
        data = data[: at + 2] + struct.pack("<HII", 4, 1, SIDE) + data[at + 12 :]
    return data


def tiff_of_one_huge_tile() -> bytes:
    """64×64 pixels, in a tile of 20,000×20,000 that unpacks to 1.2 GB of zeros."""
    side = 20_000
    packed = _packed_zeros(1145)
    tags = [(256, 3, 64), (257, 3, 64), (258, 3, 8), (259, 3, 8), (262, 3, 2), (277, 3, 3)]
    tags += [(322, 4, side), (323, 4, side), (324, 4, 8 + 2 + 12 * 10 + 4), (325, 4, len(packed))]
    entries = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I" if kind == 4 else "<HH", *([v] if kind == 4 else [v, 0]))
        for tag, kind, v in tags
    )
    return struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + packed


def gif() -> bytes:
    return _patched(_small("GIF"), (struct.pack("<HH", 64, 64), _size("<HH")))


def webp() -> bytes:
    """An extended file whose canvas is as large as one may be, with a small lossless picture."""
    packed = _small("WEBP", lossless=True)[12:]
    canvas = b"VP8X" + struct.pack("<II", 10, 0) + 2 * (SIDE - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(packed)) + b"WEBP" + canvas + packed


def webp_lossless() -> bytes:
    data = _small("WEBP", lossless=True)
    return data[:21] + struct.pack("<I", 0x3FFF | 0x3FFF << 14) + data[25:]


def _iso_media(format_name: str) -> bytes:
    return _patched(_small(format_name), (b"ispe" + bytes(4) + _size(">II", 64), b"ispe" + bytes(4) + _size(">II")))


def jpeg_2000(**options: Any) -> bytes:
    return _patched(_small("JPEG2000", **options), (_size(">II", 64), _size(">II")))


def bmp(format_name: str = "BMP") -> bytes:
    return _patched(_small(format_name), (_size("<ii", 64), _size("<ii")))


def psd() -> bytes:
    return _patched(pictures.psd(pictures.drawn(64, 64)), (_size(">II", 64), _size(">II")))


def qoi() -> bytes:
    return b"qoif" + _size(">II") + b"\3\0" + bytes(64)


def dng() -> bytes:
    """A RAW file whose sensor has a side of 65,500 samples."""
    data = pictures.dng(pictures.drawn(64, 64))
    for tag in (256, 257):
        data = _patched(data, (struct.pack("<HHIHH", tag, 3, 1, 64, 0), struct.pack("<HHIHH", tag, 3, 1, SIDE, 0)))
    return data


def with_endless_exif(picture: Image.Image) -> bytes:
    """A JPEG whose EXIF block says of each of its four thousand entries that it has half a billion values."""
    entries = b"".join(struct.pack("<HHII", tag, 5, 1 << 29, 8) for tag in range(4000))
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 4000) + entries
    return pictures.saved(picture, "JPEG", exif=block)


HUGE: dict[str, Callable[[], bytes]] = {
    "baseline.jpg": jpeg,
    "progressive.jpg": lambda: jpeg(progressive=True, subsampling=0),
    "huge.png": png,
    "huge.tif": tiff,
    "huge.gif": gif,
    "canvas.webp": webp,
    "lossless.webp": webp_lossless,
    "huge.avif": lambda: _iso_media("AVIF"),
    "huge.heic": lambda: _iso_media("HEIF"),
    "huge.jxl": lambda: pictures.jxl_header(SIDE, SIDE),
    "huge.jp2": jpeg_2000,
    "huge.j2k": lambda: jpeg_2000(no_jp2=True),
    "huge.bmp": bmp,
    "huge.dib": lambda: bmp("DIB"),
    "huge.psd": psd,
    "huge.qoi": qoi,
    "huge.ppm": lambda: b"P6\n%d %d\n255\n" % (SIDE, SIDE) + bytes(64),
    "huge.pfm": lambda: b"Pf\n%d %d\n-1.0\n" % (SIDE, SIDE) + bytes(64),
    "huge.nef": dng,
}
"""Pictures that are not there, of 65,500×65,500 pixels or what comes near it."""

GREEDY: dict[str, Callable[[], bytes]] = {
    "text.png": png_with_text,
    "tile.tif": tiff_of_one_huge_tile,
}
"""Small pictures that ask for a gigabyte beside their pixels."""


def _png_with_xmp(packet: bytes) -> bytes:
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
    return pictures.png(np.full((64, 64, 3), 99, np.uint8), (b"iTXt", text))


_RDF = b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description>'
_MANY = 200_000


def ppm_of_comments() -> bytes:
    return b"P3\n64 64\n255\n" + b"#\n" * 4 * _MANY + b"99 " * (64 * 64 * 3)


def jxl_in_parts(width: int, height: int, first_bytes: int) -> bytes:
    """A JPEG XL of this size in boxes, of which the first has so few bytes of its header."""
    stream = pictures.jxl_header(width, height)
    parts = (stream[:first_bytes], stream[first_bytes:])
    boxes = [(b"JXL ", b"\r\n\x87\n"), (b"ftyp", b"jxl \0\0\0\0jxl ")]
    boxes += [(b"jxlp", struct.pack(">I", number) + part) for number, part in enumerate(parts)]
    return b"".join(struct.pack(">I4s", 8 + len(content), kind) + content for kind, content in boxes)


def _png_with(*chunks: bytes, after: bytes = b"") -> bytes:
    """With chunks before the pixels, and bytes after them."""
    plain = pictures.encode(pictures.drawn(), "png")
    end = len(plain) - 12
    return plain[:33] + b"".join(chunks) + plain[33:end] + after + plain[end:]


def _chunk(kind: bytes, content: bytes = b"", checksum: int | None = None) -> bytes:
    whole = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", whole)


def png_with_profile_of_blanks() -> bytes:
    """A text in the form that holds EXIF in older files, of which only the first lines are there, and blank."""
    return _png_with(_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\n" * (4 << 20))))


def _jpeg_with_end(end: bytes) -> bytes:
    """Without the marker that ends it, but with this in its place."""
    return pictures.encode(pictures.drawn(), "jpg").removesuffix(b"\xff\xd9") + end


LONG_WORK: dict[str, Callable[[], bytes]] = {
    "nested.png": lambda: _png_with_xmp(b"<a>" * 2 * _MANY + b"</a>" * 2 * _MANY),
    "nested in RDF.png": lambda: _png_with_xmp(_RDF + b"<a>" * 2 * _MANY + b"</a>" * 2 * _MANY),
    "namespace.png": lambda: _png_with_xmp(_RDF + b'<b xmlns="' + b"u" * 8 * _MANY + b'">' + b"<a/>" * _MANY),
    "attribute.png": lambda: _png_with_xmp(
        b"<!DOCTYPE a [<!ATTLIST a "
        + b"".join(b' b%d CDATA "x"' % number for number in range(_MANY // 4))
        + b"]><a>"
        + b"<a/>" * _MANY
    ),
    "keywords.png": lambda: _png_with_xmp(
        _RDF
        + b'<subject xmlns="http://purl.org/dc/elements/1.1/">'
        + b"".join(b"<rdf:li>%d</rdf:li>" % number for number in range(_MANY // 2))
        + b"</subject></rdf:Description></rdf:RDF>"
    ),
    "comments.ppm": ppm_of_comments,
    "blank profile.png": png_with_profile_of_blanks,
    "chunks.png": lambda: _png_with(_chunk(b"tIME", b"1234567", checksum=0), _chunk(b"prVt") * (_MANY // 2)),
    "lengths.png": lambda: _png_with(after=struct.pack(">I4s", 1 << 20, b"IDAT") * (_MANY // 2) + bytes(1 << 20)),
    "marks.jpg": lambda: _jpeg_with_end(b"\xff" * (1 << 20)),
    "zeros.jpg": lambda: _jpeg_with_end(bytes(1 << 20) + b"."),
    "comments.pbm": lambda: b"P1\n64 64\n" + b"#\n" * 4 * _MANY + b"1" * (64 * 64),
}
"""Sound pictures of a megabyte or two, over which a decoder or a parser may think for minutes."""


def slow_qoi(number: int = 0) -> bytes:
    """A megapixel that Pillow decodes in Python, for half a second or more; each number gives other bytes."""
    return pictures.qoi(pictures.drawn(1200, 800)) + number.to_bytes(4)
