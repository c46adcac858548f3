"""Files opened by Pillow: read as far as that goes without decoding, and only where the picture may be so large."""

import io
import os
import re
from collections.abc import Callable
from functools import cache
from typing import BinaryIO, NamedTuple

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    PsdImagePlugin,
    QoiImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from rclip.formats import HEIF, Extra
from rclip.photo.failures import DecodeError, FailureKind, needs_extra
from rclip.photo.image import headers, jpeg, metadata_blocks
from rclip.photo.image.geometry import orientation_of
from rclip.photo.metadata import PhotoMetadata

# Named one by one: opening an unknown file must neither load every plugin nor start Ghostscript.
_FORMATS = [
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        TiffImagePlugin.TiffImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.BmpImageFile,
        BmpImagePlugin.DibImageFile,
        Jpeg2KImagePlugin.Jpeg2KImageFile,
        AvifImagePlugin.AvifImageFile,
        PpmImagePlugin.PpmImageFile,
        PsdImagePlugin.PsdImageFile,
        QoiImagePlugin.QoiImageFile,
    )
]


MOST_THREADS = 4
"""Of one decoder. AVIF's and JPEG XL's would start one for each core, each with memory of its own."""


def lift_limits() -> None:
    """Sets Pillow's own limits for the whole process, which must be rclip's, before anything is opened."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = min(MOST_THREADS, os.cpu_count() or 1)
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 << 20  # editors store whole histories
    Image.MAX_IMAGE_PIXELS = None  # `Room` has a limit of its own, which also knows about scaled decoding


class Room:
    """The memory that a picture may take, to be asked for before it is decoded."""

    def __init__(self, max_pixels: int, reserve: Callable[[int], None]):
        """`reserve` is called with the number of pixels, and returns when there is memory for them."""
        self._max_pixels = max_pixels
        self._reserve = reserve

    def claim(self, width: int, height: int) -> None:
        """Raises `DecodeError` for a picture above the limit."""
        if width * height > self._max_pixels:
            limit = f"{self._max_pixels / 1e6:.3g} megapixels"
            raise DecodeError(f"{width}×{height} is more than {limit}", FailureKind.TOO_LARGE)
        self._reserve(width * height)


class Opened(NamedTuple):
    """A picture, not yet decoded where Pillow can wait."""

    image: Image.Image
    orientation: int
    """EXIF's; 1 when upright."""
    size: tuple[int, int]
    """Width and height as stored, which scaled decoding rounds up to a whole fraction."""
    metadata: PhotoMetadata | None = None
    """None where `metadata_blocks.metadata` finds it in the picture."""
    missing_percent: int = 0
    """Of a picture that is decoded: how much of it, from below, the file lacks."""
    jpeg: BinaryIO | None = None
    """What holds a JPEG that is still to be decoded."""


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
    image = Image.open(stream, formats=formats)
    size = image.size
    if image.format in ("JPEG", "MPO"):
        has_many_scans = _has_many_scans(image, stream)
        draft(image, resolution)
        if has_many_scans:
            room.claim(*size)
    room.claim(*image.size)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        room.claim(*_tile_size(image))
    if image.format == "PNG":
        image.load()  # some of its metadata may lie after the pixels
        metadata_blocks.note_raw_profiles(image.info)
    metadata_blocks.note_blocks_around(stream, image)
    return Opened(image, orientation_of(image), size, jpeg=stream if image.format in ("JPEG", "MPO") else None)


_PLAIN_PNM = (b"P1", b"P2", b"P3")
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]?")


def _without_comments(stream: BinaryIO) -> BinaryIO:
    """A plain PNM as Pillow reads it, which would copy all that follows for each comment."""
    return io.BytesIO(_COMMENT.sub(b"", stream.read()))


def _tile_size(tiff: TiffImagePlugin.TiffImageFile) -> tuple[int, int]:
    """Width and height of what is decoded at once, which may be larger than the picture; 0 where it has no tiles."""
    sides = [tiff.tag_v2.get(tag) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)]
    width, height = (side if isinstance(side, int) else 0 for side in sides)
    return width, height


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

    JpegXLImagePlugin.DECODE_THREADS = min(MOST_THREADS, os.cpu_count() or 1)
    return "JXL"
