"""Makers of picture files: real bytes of every format that rclip reads, made in memory.

`encode` writes a picture under any suffix; what Pillow cannot write (RAW, PSD, QOI, 16-bit RGB) is put together here
byte by byte. All of it is deterministic.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageDraw

from rclip import formats

ORIENTATION = 0x0112
"""The EXIF tag that says how a stored picture is to be turned."""

_STORED_BY_TURNING = {
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}
ORIENTATIONS = tuple(_STORED_BY_TURNING)


# --- pictures --------------------------------------------------------------------------------------------------------


@cache
def drawn(width: int = 320, height: int = 240) -> Image.Image:
    """An RGB picture with gradients, edges and every kind of colour, that looks different from each side."""
    down, right = np.mgrid[0:height, 0:width].astype(np.float32)
    right /= max(1, width - 1)
    down /= max(1, height - 1)
    ground = np.stack([235 * right + 10, 220 * down + 20, 225 - 190 * right * down], axis=-1)
    picture = Image.fromarray(ground.round().astype(np.uint8))
    pen = ImageDraw.Draw(picture)

    def box(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return left * width, top * height, right * width, bottom * height

    pen.ellipse(box(0.15, 0.1, 0.5, 0.55), fill=(200, 30, 40))
    pen.rectangle(box(0.55, 0.2, 0.8, 0.4), fill=(250, 240, 90), outline=(20, 20, 20))
    pen.polygon([(0.5 * width, 0.9 * height), (0.7 * width, 0.5 * height), (0.8 * width, 0.95 * height)], fill="navy")
    pen.line([(0.2 * width, 0.95 * height), (0.45 * width, 0.6 * height)], fill="white", width=max(1, width // 60))
    return picture


def red_and_blue(width: int = 320, height: int = 240) -> Image.Image:
    """Red on the left, blue on the right, and a dark band along the top that tells upright from upside down."""
    picture = Image.new("RGB", (width, height), (220, 20, 20))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((width // 2, 0, width, height), fill=(20, 20, 220))
    pen.rectangle((0, 0, width, height // 4), fill=(15, 15, 15))
    return picture


def as_stored(upright: Image.Image, orientation: int) -> Image.Image:
    """The picture as a camera stores it that notes `orientation` beside it; the inverse of turning it upright."""
    for turn in _STORED_BY_TURNING[orientation]:
        upright = upright.transpose(turn)
    return upright


def exif(orientation: int) -> bytes:
    """An EXIF block that says no more than this."""
    block = Image.Exif()
    block[ORIENTATION] = orientation
    return block.tobytes()


# --- files that Pillow and its plugins write -------------------------------------------------------------------------


def encode(picture: Image.Image, suffix: str) -> bytes:
    """A file with this picture in the format that `suffix`, one of `formats.PHOTO_SUFFIXES`, stands for."""
    return _ENCODERS[suffix](picture)


def saved(picture: Image.Image, format_name: str, **options: object) -> bytes:
    """What Pillow, or a plugin of it, writes."""
    if format_name == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    elif format_name == "JXL":
        import pillow_jxl  # noqa: F401 - registers itself
    file = io.BytesIO()
    picture.save(file, format_name, **options)
    return file.getvalue()


def _by_pillow(format_name: str, mode: str | None = None, **options: object) -> Callable[[Image.Image], bytes]:
    return lambda picture: saved(picture.convert(mode) if mode else picture, format_name, **options)


def jxl_of_jpeg(stored: Image.Image, orientation: int, keeps_jpeg: bool) -> bytes:
    """A JPEG with an orientation, repacked as JPEG XL; `keeps_jpeg` if the very JPEG can be unpacked again.

    The orientation stands in its EXIF block and in the codestream's header too.
    """
    import pillow_jxl

    jpeg = saved(stored, "JPEG", quality=95, exif=exif(orientation))
    packed = pillow_jxl.Encoder(mode="RGB", lossless=True)(  # type: ignore[call-arg] # its stub lags behind
        jpeg, *stored.size, jpeg_encode=True
    )
    return packed if keeps_jpeg else b"".join(box for kind, box in _boxes(packed) if kind != b"jbrd")


def _boxes(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of a file in the ISO media format: each one's kind, and the whole of it."""
    start = 0
    while start < len(file):
        size, kind = struct.unpack_from(">I4s", file, start)
        end = start + size if size else len(file)
        yield kind, file[start:end]
        start = end


def jxl_header(width: int, height: int) -> bytes:
    """The start of a JPEG XL that claims this size, up to 2**30 a side, and has no pixels."""
    bits, length = 0, 0
    for value, count in ((0, 1), (3, 2), (height - 1, 30), (0, 3), (3, 2), (width - 1, 30)):
        bits, length = bits | value << length, length + count
    return b"\xff\x0a" + bits.to_bytes(16, "little")


def first_of_two(picture: Image.Image, format_name: str, **options: object) -> bytes:
    """An animation, or whatever the format calls it, that starts with `picture` and goes on with a grey frame."""
    other = Image.new(picture.mode, picture.size, "gray")
    return saved(picture, format_name, save_all=True, append_images=[other], **options)


def lab(picture: Image.Image) -> Image.Image:
    """The same colours as lightness and two axes."""
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    assert converted is not None
    return converted


# --- files put together here -----------------------------------------------------------------------------------------


PSD_MODES = {"1": 0, "L": 1, "P": 2, "RGB": 3, "CMYK": 4, "LAB": 9}


def psd(
    picture: Image.Image,
    depth: int = 8,
    compression: int = 0,
    is_large: bool = False,
    extra: Iterable[Image.Image] = (),
    layer_count: int = 0,
    resources: bytes = b"",
) -> bytes:
    """A Photoshop document (PSB if large) of the picture's mode: the flattened picture, plane by plane.

    `extra` channels follow the colours. `layer_count` is what the section of layers, which is else empty, says.
    """
    mode, (width, height) = picture.mode, picture.size
    bands = [picture] if mode in ("1", "P") else list(picture.split())
    bands = [ImageChops.invert(band) for band in bands] if mode == "CMYK" else bands
    bands += extra
    planes = [_psd_plane(band, 1 if mode == "1" else depth) for band in bands]
    header = struct.pack(
        ">4sH6xHIIHH", b"8BPS", 1 + is_large, len(bands), height, width, 1 if mode == "1" else depth, PSD_MODES[mode]
    )
    colors = bytes(picture.getpalette() or ()).ljust(768, b"\0") if mode == "P" else b""
    palette = b"".join(colors[band::3] for band in range(3))
    length = ">Q" if is_large else ">I"
    layers = struct.pack(">h", layer_count) if layer_count else b""
    if layers and depth > 8:
        layers = struct.pack(length + "I", 0, 0) + b"8BIMLr%d" % depth + struct.pack(length, len(layers)) + layers
    elif layers:
        layers = struct.pack(length, len(layers)) + layers
    data = struct.pack(">H", compression) + _psd_data(planes, height, compression, depth, is_large)
    sections = struct.pack(">I", len(palette)) + palette + struct.pack(">I", len(resources)) + resources
    return header + sections + struct.pack(length, len(layers)) + layers + data


def _psd_plane(band: Image.Image, depth: int) -> bytes:
    if depth == 1:
        return ImageChops.invert(band.convert("1")).tobytes()
    values = np.asarray(band)
    if depth == 32:
        return (values / 255).astype(">f4").tobytes()
    return (values.astype(">u2") * 257).tobytes() if depth == 16 else values.tobytes()


def _psd_data(planes: list[bytes], height: int, compression: int, depth: int, is_large: bool) -> bytes:
    if compression == 1:
        rows = [_packed(plane[at : at + len(plane) // height]) for plane in planes for at in _row_starts(plane, height)]
        return struct.pack(f">{len(rows)}{'I' if is_large else 'H'}", *map(len, rows)) + b"".join(rows)
    if compression == 3:
        planes = [_differences(plane, height, depth) for plane in planes]
    return zlib.compress(b"".join(planes)) if compression in (2, 3) else b"".join(planes)


def _row_starts(plane: bytes, height: int) -> range:
    return range(0, len(plane), len(plane) // height)


def _packed(row: bytes) -> bytes:
    """By PackBits: runs of 3 and more as such, others as they are."""
    packed = b""
    for run in re.finditer(rb"(.)\1{2,127}|(?:(?!(.)\2\2).){1,128}", row, re.DOTALL):
        part = run[0]
        packed += bytes([257 - len(part), part[0]]) if run[1] else bytes([len(part) - 1]) + part
    return packed


def _differences(plane: bytes, height: int, depth: int) -> bytes:
    if depth == 32:
        by_weight = np.frombuffer(plane, np.uint8).reshape(height, -1, 4).transpose(0, 2, 1).reshape(height, -1)
        return np.diff(by_weight, axis=1, prepend=np.zeros((height, 1), np.uint8)).tobytes()
    dtype = np.dtype(">u2" if depth == 16 else "u1")
    rows = np.frombuffer(plane, dtype).reshape(height, -1).astype(dtype.newbyteorder("="))
    return np.diff(rows, axis=1, prepend=np.zeros((height, 1), rows.dtype)).astype(dtype).tobytes()


def qoi(picture: Image.Image) -> bytes:
    """A "Quite OK Image" that spells out each pixel."""
    width, height = picture.size
    rgb = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    pixels = np.insert(rgb, 0, 0xFE, axis=1)
    return struct.pack(">4sIIBB", b"qoif", width, height, 3, 0) + pixels.tobytes() + 7 * b"\0" + b"\1"


def pfm(gray: np.ndarray) -> bytes:
    """A portable float map of (H, W) samples; its rows go from the bottom up."""
    height, width = gray.shape
    return b"Pf\n%d %d\n-1.0\n" % (width, height) + gray[::-1].astype("<f4").tobytes()


def png(samples: np.ndarray, *chunks: tuple[bytes, bytes], size: tuple[int, int] | None = None) -> bytes:
    """A PNG of (H, W) gray or (H, W, 3) RGB samples, uint8 or uint16, with further `chunks` before the pixels.

    `size` is what its header claims, if not the truth.
    """
    height, width = samples.shape[:2]
    width, height = size or (width, height)
    color_type = 2 if samples.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, color_type, 0, 0, 0)
    rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(len(samples), -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    body = (png_chunk(kind, content) for kind, content in [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")])
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


class _Directory(NamedTuple):
    """One picture in a TIFF: its tags as numpy arrays of the type they have in the file, and its pixels."""

    tags: dict[int, np.ndarray]
    strip: bytes


def _shorts(*values: int) -> np.ndarray:
    return np.array(values, "<u2")


def _longs(*values: int) -> np.ndarray:
    return np.array(values, "<u4")


def _octets(values: bytes) -> np.ndarray:
    return np.frombuffer(values, np.uint8)


def _text(value: str) -> np.ndarray:
    return np.frombuffer(value.encode() + b"\0", "S1")


def _rationals(values: Iterable[float]) -> np.ndarray:
    """Signed fractions, as (n, 2) whole numbers."""
    return np.array([(round(value * 10_000), 10_000) for value in values], "<i4")


_TIFF_TYPES = {"|u1": 1, "|S1": 2, "<u2": 3, "<u4": 4, "<i4": 10}
_TIFF_HEADER = struct.Struct("<2sHI")
_STRIP_OFFSETS, _STRIP_BYTE_COUNTS, _SUB_DIRECTORIES = 273, 279, 330


def _tiff(main: _Directory, *others: _Directory) -> bytes:
    """A TIFF file with `main` as its first picture and the others as sub-directories of it; pixels come last."""
    directories = [main, *others]
    placed = [tags | {_STRIP_OFFSETS: _longs(0), _STRIP_BYTE_COUNTS: _longs(len(strip))} for tags, strip in directories]
    if others:
        placed[0][_SUB_DIRECTORIES] = _longs(*range(len(others)))
    *starts, strip_start = accumulate((len(_directory_bytes(tags, 0)) for tags in placed), initial=_TIFF_HEADER.size)
    if others:
        placed[0][_SUB_DIRECTORIES] = _longs(*starts[1:])
    for tags, (_, strip) in zip(placed, directories, strict=True):
        tags[_STRIP_OFFSETS] = _longs(strip_start)
        strip_start += len(strip)
    blocks = [_directory_bytes(tags, start) for tags, start in zip(placed, starts, strict=True)]
    return _TIFF_HEADER.pack(b"II", 42, starts[0]) + b"".join(blocks + [strip for _, strip in directories])


def _directory_bytes(tags: dict[int, np.ndarray], start: int) -> bytes:
    """A directory that lies at `start` in its file, with the values that do not fit into it behind it."""
    behind = start + 2 + 12 * len(tags) + 4
    entries, values_behind = b"", b""
    for tag, values in sorted(tags.items()):
        content = values.tobytes()
        if len(content) > 4:
            content, values_behind = struct.pack("<I", behind + len(values_behind)), values_behind + content
            values_behind += b"\0" * (len(values_behind) % 2)
        entries += struct.pack("<HHI4s", tag, _TIFF_TYPES[values.dtype.str], len(values), content)
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + values_behind


def _tiff_tags(
    width: int, height: int, bits: int, channels: int, photometric: int, compression: int = 1
) -> dict[int, np.ndarray]:
    return {
        256: _shorts(width),
        257: _shorts(height),
        258: _shorts(*[bits] * channels),
        259: _shorts(compression),
        262: _shorts(photometric),
        277: _shorts(channels),
        278: _shorts(height),  # rows per strip: there is one strip
    }


def tiff_of_16_bits(rgb: np.ndarray) -> bytes:
    """A TIFF of (H, W, 3) uint16 RGB samples, which Pillow reads but does not write."""
    height, width, channels = rgb.shape
    return _tiff(_Directory(_tiff_tags(width, height, 16, channels, photometric=2), rgb.astype("<u2").tobytes()))


_XYZ_TO_LINEAR_SRGB = (3.2405, -1.5371, -0.4985, -0.9693, 1.8760, 0.0416, 0.0556, -0.2040, 1.0572)
_WHITE_LEVEL = 16_000


def dng(stored: Image.Image, orientation: int = 1, preview: bytes | Image.Image | None = None) -> bytes:
    """A camera's RAW file: the sensor's samples of `stored`, 16 bits each behind a Bayer filter, uncompressed.

    The camera it names sees linear sRGB under daylight. `preview` is put beside the samples, pixel by pixel or, when it
    is bytes, as the JPEG that they are.
    """
    width, height = stored.size
    tags = _tiff_tags(width, height, 16, channels=1, photometric=32803) | {
        254: _longs(0),
        271: _text("Tests"),
        272: _text("Pinhole"),
        274: _shorts(orientation),
        33421: _shorts(2, 2),  # the filter's pattern repeats every 2×2
        33422: _octets(bytes([0, 1, 1, 2])),  # red, green; green, blue
        50706: _octets(bytes([1, 4, 0, 0])),  # DNG's version
        50708: _text("Tests Pinhole"),
        50717: _longs(_WHITE_LEVEL),
        50721: _rationals(_XYZ_TO_LINEAR_SRGB),
        50728: _rationals([1, 1, 1]),  # what is neutral as shot
        50778: _shorts(21),  # daylight, D65
    }
    others = () if preview is None else (_preview_directory(preview),)
    return _tiff(_Directory(tags, _bayer_samples(stored).tobytes()), *others)


def _bayer_samples(stored: Image.Image) -> np.ndarray:
    """What a sensor sees of it: linear light, one colour a pixel. -> (H, W) uint16"""
    srgb = np.asarray(stored.convert("RGB"), np.float32) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4) * _WHITE_LEVEL
    seen = linear[..., 1].copy()
    seen[0::2, 0::2] = linear[0::2, 0::2, 0]
    seen[1::2, 1::2] = linear[1::2, 1::2, 2]
    return seen.round().astype("<u2")


def _preview_directory(preview: bytes | Image.Image) -> _Directory:
    if isinstance(preview, bytes):
        strip, compression, photometric = preview, 7, 6
        width, height = Image.open(io.BytesIO(preview)).size
    else:
        strip, compression, photometric = preview.tobytes(), 1, 2
        width, height = preview.size
    return _Directory(_tiff_tags(width, height, 8, 3, photometric, compression) | {254: _longs(1)}, strip)


def _dng_with_preview(picture: Image.Image) -> bytes:
    return dng(picture, preview=saved(picture, "JPEG", quality=95))


# --- one of each -----------------------------------------------------------------------------------------------------

_JPEG = _by_pillow("JPEG", quality=95)
_TIFF = _by_pillow("TIFF", compression="tiff_lzw")
_JPEG_2000 = _by_pillow("JPEG2000")
_HEIC = _by_pillow("HEIF", quality=90)

_ENCODERS: dict[str, Callable[[Image.Image], bytes]] = {
    "jpg": _JPEG,
    "jpeg": _JPEG,
    "jpe": _JPEG,
    "jfif": _JPEG,
    "mpo": lambda picture: first_of_two(picture, "MPO", quality=95),
    "png": _by_pillow("PNG"),
    "apng": lambda picture: first_of_two(picture, "PNG"),
    "webp": _by_pillow("WEBP", quality=95),
    "avif": _by_pillow("AVIF", quality=90),
    "tif": _TIFF,
    "tiff": _TIFF,
    "gif": _by_pillow("GIF"),
    "bmp": _by_pillow("BMP"),
    "dib": _by_pillow("DIB"),
    "jp2": _JPEG_2000,
    "jpf": _JPEG_2000,
    "jpx": _JPEG_2000,
    "j2k": _by_pillow("JPEG2000", no_jp2=True),
    "pnm": _by_pillow("PPM"),
    "ppm": _by_pillow("PPM"),
    "pgm": _by_pillow("PPM", "L"),
    "pbm": _by_pillow("PPM", "1"),
    "pfm": lambda picture: pfm(np.asarray(picture.convert("L"), np.float32) / 255),
    "psd": psd,
    "psb": lambda picture: psd(picture, is_large=True),
    "insp": _JPEG,
    "j2c": _by_pillow("JPEG2000", no_jp2=True),
    "qoi": qoi,
    "heic": _HEIC,
    "heics": _HEIC,
    "heif": _HEIC,
    "hif": _HEIC,
    "jxl": _by_pillow("JXL", lossless=True),
    **dict.fromkeys(formats.RAW.suffixes, _dng_with_preview),
}
