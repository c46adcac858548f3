"""Files opened by Pillow: read as far as that goes without decoding, and only where the picture may be so large."""

import io
import re
import struct
from contextlib import suppress
from functools import cache
from typing import BinaryIO

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    QoiImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from rclip.cores import CORES
from rclip.formats import DEEP, HEIF, Extra
from rclip.photo.failures import DecodeError, needs_extra
from rclip.photo.image import headers, isobmff, jpeg, metadata_blocks
from rclip.photo.image.geometry import orientation_of
from rclip.photo.image.opened import Opened, Room

# Named one by one: opening an unknown file must neither load every plugin nor start Ghostscript.
_FORMATS = [
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.DibImageFile,
        Jpeg2KImagePlugin.Jpeg2KImageFile,
        AvifImagePlugin.AvifImageFile,
        PpmImagePlugin.PpmImageFile,
        QoiImagePlugin.QoiImageFile,
    )
]


MOST_THREADS = 4
"""Of one decoder. AVIF's and JPEG XL's would start one for each core, each with memory of its own."""


def lift_limits() -> None:
    """Sets Pillow's own limits for the whole process, which must be rclip's, before anything is opened."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = min(MOST_THREADS, CORES)
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 << 20  # editors store whole histories
    Image.MAX_IMAGE_PIXELS = None  # `Room` has a limit of its own, which also knows about scaled decoding


def opened(stream: BinaryIO, head: bytes, resolution: int, room: Room) -> Opened:
    """The picture in a file that starts with `head`. Raises `DecodeError`, or whatever a decoder does."""
    extra = headers.extra_for(head)
    formats = [_teach_pillow(extra)] if extra else _FORMATS
    size = headers.size_before_opening(head, stream)
    if size:
        room.claim(*size)
    stream.seek(0)
    if head.startswith(_PLAIN_PNM):
        stream = _without_comments(stream)
    if head.startswith(b"8BPS"):
        from rclip.photo.image import psd

        return psd.opened(stream, room)
    if head.startswith(_TIFF_MARKS):
        return _opened_tiff(stream, head, room)
    if head.startswith(b"BM"):
        return _opened_bmp(stream, room)
    try:
        image = _opened_png(stream, room) if head.startswith(_PNG_MARK) else Image.open(stream, formats=formats)
    except UnidentifiedImageError:
        properties = isobmff.primary_properties(stream)
        if any(each.kind == b"av1C" for each in properties):
            return _lax_avif(stream, properties, room)
        raise
    size = image.size
    if image.format in ("JPEG", "MPO"):
        has_many_scans = _has_many_scans(image, stream)
        draft(image, resolution)
        if has_many_scans:
            room.claim(*size)
    room.claim(*image.size)
    if image.format == "JPEG2000" and image.mode in _SEVERAL_BANDS and (bits := headers.jpeg_2000_bits(stream)) > 8:
        image = _deep_jpeg_2000(stream, bits, image)
    metadata_blocks.note_blocks_around(stream, image)
    orientation = orientation_of(image)
    if image.format in ("HEIF", "AVIF"):
        properties = isobmff.primary_properties(stream)
        if image.format == "HEIF" and not any(each.kind in (b"irot", b"imir") for each in properties):
            orientation = _exif_orientation(image.info.get("original_orientation"))  # which its decoder leaves alone
        clean = isobmff.clean_aperture(properties, size) if image.format == "AVIF" else None
        if clean:
            image = image.crop(clean)
            size = image.size
    return Opened(image, orientation, size, jpeg=stream if image.format in ("JPEG", "MPO") else None)


def _lax_avif(stream: BinaryIO, properties: list[isobmff.Property], room: Room) -> Opened:
    """An AVIF that breaks a rule over which Pillow stumbles: its alpha channel does not tell its own size."""
    if not DEEP.installed():
        raise needs_extra(DEEP)
    from rclip.photo.image import by_imagecodecs

    room.claim(*isobmff.stored_size(properties))
    image = by_imagecodecs.avif(stream)
    clean = isobmff.clean_aperture(properties, image.size)
    image = image.crop(clean) if clean else image
    return Opened(image, isobmff.orientation(properties), image.size)


def _exif_orientation(value: object) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_PLAIN_PNM = (b"P1", b"P2", b"P3")
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]?")


def _without_comments(stream: BinaryIO) -> BinaryIO:
    """A plain PNM as Pillow reads it, which would copy all that follows for each comment."""
    return io.BytesIO(_COMMENT.sub(b"", stream.read()))


# --- PNG -------------------------------------------------------------------------------------------------------------

_PNG_MARK = b"\x89PNG"


def _opened_png(stream: BinaryIO, room: Room) -> Image.Image:
    """Decoded, as some of its metadata may lie after the pixels."""
    from rclip.photo.image import png

    try:
        image = _decoded_png(stream, room)
        is_suspect = _ends_in_zeros(image)
    except DecodeError:
        raise
    except (OSError, SyntaxError, ValueError, IndexError, struct.error) as error:
        with suppress(struct.error, KeyError, IndexError):  # of one without a header
            png.require_all_rows(stream, is_suspect=True)
        image, is_suspect = _repaired_png(stream, room, error), False
    png.require_all_rows(stream, is_suspect)
    metadata_blocks.note_raw_profiles(image.info)
    return image


def _decoded_png(stream: BinaryIO, room: Room) -> Image.Image:
    image = Image.open(stream, formats=["PNG"])
    room.claim(*image.size)
    image.load()
    return image


def _repaired_png(stream: BinaryIO, room: Room, error: Exception) -> Image.Image:
    """Raises the error where no repair helps."""
    from rclip.photo.image import png

    stream.seek(0)
    for contents in png.repaired(stream.read()):
        with suppress(OSError, SyntaxError, ValueError, IndexError, struct.error):
            return _decoded_png(io.BytesIO(contents), room)
    raise error


def _ends_in_zeros(image: Image.Image) -> bool:
    """Whether the last two rows, of which an interlaced picture has one in its last pass, are black or transparent."""
    last = image.crop((0, max(0, image.height - 2), image.width, image.height))
    return any(not any(last.crop((0, row, last.width, row + 1)).tobytes()) for row in range(last.height))


# --- TIFF ------------------------------------------------------------------------------------------------------------

_BIG_ENDIAN_BIG_TIFF = b"MM\0+"
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", _BIG_ENDIAN_BIG_TIFF)
_PLANAR, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _COLOR_MAP = 284, 338, 339, 320
_BLACK_IS_ZERO, _SEPARATE, _UNCOMPRESSED, _FLOAT = 1, 2, 1, 3


def _opened_tiff(stream: BinaryIO, head: bytes, room: Room) -> Opened:
    """By Pillow where that is known to be right, else by tifffile."""
    try:
        image = None if head.startswith(_BIG_ENDIAN_BIG_TIFF) else Image.open(stream, formats=["TIFF"])
    except UnidentifiedImageError:
        image = None
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or not _is_read_rightly(image):
        if not DEEP.installed():
            raise needs_extra(DEEP)
        from rclip.photo.image import tiff

        return tiff.opened(stream, room)
    size = image.size
    room.claim(*size)
    room.claim(*_tile_size(image))
    metadata_blocks.note_blocks_around(stream, image)
    colors = image.tag_v2.get(_COLOR_MAP)
    if image.mode == "P" and colors and max(colors) < 256:  # which should be of 16 bits, and would be black
        image.putpalette(bytes(part for color in zip(*_thirds(colors), strict=True) for part in color))
    return Opened(image, orientation_of(image), size)


def _is_read_rightly(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether Pillow has been found to read such files as others do; it takes some for what they are not."""
    tags = image.tag_v2
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    kinds = set(tags.get(_SAMPLE_FORMAT, (1,)))
    is_black_zero = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _BLACK_IS_ZERO
    if bits > 16:
        is_plain = (
            len(image.getbands()) == tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
            and tags.get(TiffImagePlugin.COMPRESSION, 1) == _UNCOMPRESSED
            and is_black_zero
        )
        return is_plain and image.mode in ("I", "F") and kinds != {1}
    if kinds - {1, 4}:  # 4: unknown
        return False
    if tags.get(_PLANAR) == _SEPARATE and tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > 1:
        return bits == 8 and not tags.get(_EXTRA_SAMPLES) and image.mode in ("RGB", "CMYK")
    return bits <= 8 or image.mode not in ("I;16", "I;16B", "I;16L") or is_black_zero


def _thirds(values: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    count = len(values) // 3
    return values[:count], values[count : 2 * count], values[2 * count : 3 * count]


def _tile_size(tiff: TiffImagePlugin.TiffImageFile) -> tuple[int, int]:
    """Width and height of what is decoded at once, which may be larger than the picture; 0 where it has no tiles."""
    sides = [tiff.tag_v2.get(tag) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)]
    width, height = (side if isinstance(side, int) else 0 for side in sides)
    return width, height


# --- BMP and JPEG 2000 -----------------------------------------------------------------------------------------------


def _opened_bmp(stream: BinaryIO, room: Room) -> Opened:
    try:
        image = Image.open(stream, formats=["BMP"])
    except OSError as error:
        if "BMP" not in str(error):
            raise
        from rclip.photo.image import bmp

        return bmp.opened(stream, room)
    room.claim(*image.size)
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return Opened(image.convert("RGB"), 1, image.size)  # programs that know of no alpha channel leave it zero
    return Opened(image, 1, image.size)


_SEVERAL_BANDS = ("LA", "RGB", "RGBA", "CMYK")


def _deep_jpeg_2000(stream: BinaryIO, bits: int, image: Image.Image) -> Image.Image:
    if not DEEP.installed():
        raise needs_extra(DEEP)
    from rclip.photo.image import by_imagecodecs

    decoded = by_imagecodecs.jpeg_2000(stream, bits)
    decoded.format, decoded.info = image.format, image.info
    return decoded


# --- JPEG ------------------------------------------------------------------------------------------------------------


def loaded(opened: Opened, resolution: int) -> Opened:
    """The picture decoded, as far as the file goes. Raises `DecodeError`, or whatever a decoder does."""
    if opened.jpeg:
        image, missing_percent = jpeg.loaded(opened.image, opened.jpeg, _draft_side(resolution))
        return opened._replace(image=image, missing_percent=missing_percent, jpeg=None)
    opened.image.load()
    return opened


def draft(image: Image.Image, resolution: int) -> None:
    """Has JPEG's decoder compute no more of each block than is wanted, which takes a fraction of the time."""
    side = _draft_side(resolution)
    image.draft(None, (side, side))


def _draft_side(resolution: int) -> int:
    return resolution * 3 // 2


def _has_many_scans(image: Image.Image, stream: BinaryIO) -> bool:
    """Whether libjpeg has to keep the coefficients of the whole picture until the last scan, also for a draft of it."""
    # Pillow has stopped after the first scan's marker.
    return "progressive" in image.info or headers.components_in_next_scan(stream) < len(image.getbands())


@cache
def _teach_pillow(extra: Extra) -> str:
    """Registers the format and returns Pillow's name for it. Raises `DecodeError` without the package."""
    if not extra.installed():
        raise needs_extra(extra)
    if extra == HEIF:
        import pillow_heif

        pillow_heif.register_heif_opener()
        return "HEIF"
    from pillow_jxl import JpegXLImagePlugin  # registers itself

    JpegXLImagePlugin.DECODE_THREADS = min(MOST_THREADS, CORES)
    return "JXL"
