"""How little of a file need be decoded for a thumbnail: a fraction of a JPEG's size, or a preview within the file."""

import io
from typing import BinaryIO, NamedTuple

from PIL import Image, MpoImagePlugin

from rclip.photo.image.geometry import EXIF_ORIENTATION, orientation_of

_JPEG_MARK = b"\xff\xd8\xff"
_SHAPES_DIFFER_BY = 0.02
"""Of two pictures that are one: previews are of whole pixels, and some of whole blocks."""


class Source(NamedTuple):
    """What to decode in place of a whole file."""

    stream: BinaryIO
    resolution: int
    """What `opening.opened` is to be asked for."""
    orientation: int | None = None
    """EXIF's, where the stream itself has none; None where it has."""
    profile: bytes | None = None
    """The colour profile, where the stream itself has none."""


def source_for(stream: BinaryIO, long_side: int) -> Source:
    """The least that has a long side of so many pixels. The stream is at its start, and is left there.

    Opening a JPEG decodes at no less than one and a half times the resolution on both sides. A camera's own file shall
    be content with a smaller preview: to develop it takes a second.
    """
    head = stream.read(len(_JPEG_MARK))
    stream.seek(0)
    if head != _JPEG_MARK:
        return Source(stream, max(1, long_side // 2))
    image = Image.open(stream, formats=["JPEG"])
    size = image.size
    resolution = max(1, long_side * min(size) * 2 // (3 * max(size)))
    preview = _preview(image, stream, long_side) if isinstance(image, MpoImagePlugin.MpoImageFile) else None
    stream.seek(0)
    return preview._replace(resolution=resolution) if preview else Source(stream, resolution)


def _preview(image: MpoImagePlugin.MpoImageFile, stream: BinaryIO, long_side: int) -> Source | None:
    """The smallest preview after the picture that is large enough and has its shape.

    Cameras put one of about 640 or 1920 pixels there (CIPA DC-007). Most have no orientation of their own.
    """
    assert image.mpinfo
    size, orientation, profile = image.size, orientation_of(image), image.info.get("icc_profile")
    found = []
    for number, entry in enumerate(image.mpinfo[0xB002]):
        if entry["Attribute"]["MPType"].startswith("Large Thumbnail"):
            image.seek(number)
            if max(image.size) >= long_side and _have_one_shape(size, image.size):
                found.append((max(image.size), image.offset, entry["Size"], EXIF_ORIENTATION in image.getexif()))
    if not found:
        return None
    _, offset, size_bytes, is_turned = min(found)
    stream.seek(offset)
    preview = io.BytesIO(stream.read(size_bytes))
    return Source(preview, 1, None if is_turned else orientation, profile)


def _have_one_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) < _SHAPES_DIFFER_BY
