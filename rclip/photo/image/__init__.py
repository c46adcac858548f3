"""From a file's bytes to the pixels a model looks at: upright, RGB, square, 8 bits a channel.

The geometry is the model's (`resizing`). By default it is that of `clip.load`'s preprocessing: the short side is
resized to the model's resolution with Pillow's antialiased bicubic filter and the middle is cut out. We differ from it
on purpose where a person would:

- pictures are turned upright by their EXIF orientation first;
- transparent pixels are shown on white, not on whatever colour the file happens to hide under them;
- colours of an embedded ICC profile, such as Display P3, are converted to sRGB after resizing;
- palettes and 1-bit pictures are expanded before they are resized (Pillow would fall back on nearest-neighbour);
- 16-bit, 32-bit and float samples are brought to 8 bits by scaling, where clip's conversion cuts them off at 255.

Two shortcuts change pixels by less than a level on average, and vectors by 3e-5 in cosine: JPEGs are decoded at 1/2,
1/4 or 1/8 of their size while that is at least one and a half times the resolution (`Image.draft`), and other large
pictures are first reduced by an integer factor.

A change here that gives other pixels for whole formats must raise `photo_index.PREPROCESSING_VERSION`. One that gives
other pixels for some files, such as those that were refused before, needs a migration that marks them as `is_outdated`.
"""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from PIL import Image

from rclip.formats import RAW, is_common
from rclip.photo.failures import DecodeError, needs_extra
from rclip.photo.image import geometry, headers, metadata_blocks, opening, previews, samples
from rclip.photo.image.guard import decoders_errors
from rclip.photo.image.opened import Opened, Room
from rclip.photo.metadata import PhotoMetadata
from rclip.resizing import CLIP_RESIZING, Resizing

if TYPE_CHECKING:
    import numpy as np  # most pictures do without, and a decoding process starts in half the time


class DecodedImage(NamedTuple):
    """What a file shows, and what it says of itself."""

    square: Image.Image
    """RGB"""
    metadata: PhotoMetadata


def decode(
    stream: BinaryIO,
    suffix: str,
    resolution: int,
    max_pixels: int,
    reserve: Callable[[int], None] = lambda pixels: None,
    resizing: Resizing = CLIP_RESIZING,
) -> DecodedImage:
    """The square of the upright picture that `resizing` gives, `resolution` pixels wide and high, and its metadata.

    `suffix` (lower case, without the dot) matters for RAW files only; all others are known by their content.
    Raises `DecodeError` for whatever is wrong with the file; `max_pixels` bounds what is decoded at once.
    `reserve` is called with a number of pixels before so many are decoded, and may wait until there is memory for them.
    """
    with decoders_errors():
        opened = _opened(stream, suffix, resolution, Room(max_pixels, reserve))
        size = geometry.upright_size(opened.size, opened.orientation)
        metadata = opened.metadata or metadata_blocks.metadata(opened.image, size)
        opened = opening.loaded(opened, resolution)
        upright = geometry.turned(samples.resizable(opened.image), opened.orientation)
        square = geometry.model_square(upright, size, resolution, resizing)
        square = samples.on_white(samples.in_srgb(square, opened.image.info.get("icc_profile")))
        return DecodedImage(square, metadata._replace(missing_percent=opened.missing_percent or None))


def read_metadata(
    stream: BinaryIO, suffix: str, max_pixels: int, reserve: Callable[[int], None] = lambda pixels: None
) -> PhotoMetadata:
    """The metadata of `decode`, for which most formats need not be decoded. Takes and raises what that does."""
    with decoders_errors():
        opened = _opened(stream, suffix, _SMALLEST, Room(max_pixels, reserve))
        size = geometry.upright_size(opened.size, opened.orientation)
        return opened.metadata or metadata_blocks.metadata(opened.image, size)


_SMALLEST = 1  # any preview will do


def thumbnail(
    stream: BinaryIO,
    suffix: str,
    box: tuple[int, int],
    max_pixels: int,
    step: tuple[int, int] = (1, 1),
    reserve: Callable[[int], None] = lambda pixels: None,
) -> Image.Image:
    """The whole upright picture in RGB, as large as `box` (width, height in pixels) takes it.

    Only one pixel of each `step` (width, height) is made, for a screen that shows no more. The others are as in
    `decode`, as is what is raised.
    """
    with decoders_errors():
        opened = opening.loaded(_opened(stream, suffix, min(box), Room(max_pixels, reserve)), min(box))
        image = geometry.turned(samples.resizable(opened.image), opened.orientation)
        made = geometry.largest_in(box, geometry.upright_size(opened.size, opened.orientation), step)
        small = image.resize(made, Image.Resampling.BICUBIC, reducing_gap=3.0)
        return samples.on_white(samples.in_srgb(small, opened.image.info.get("icc_profile")))


def thumbnail_file(
    stream: BinaryIO,
    suffix: str,
    long_side: int,
    max_pixels: int,
    reserve: Callable[[int], None] = lambda pixels: None,
) -> bytes:
    """A JPEG of the whole upright picture, in sRGB, its long side of so many pixels; a smaller one keeps its size.

    It says nothing of the photo but its pixels. Takes and raises what `decode_square` does.
    """
    with decoders_errors():
        source = previews.source_for(stream, long_side)
        room = Room(max_pixels, reserve)
        opened = opening.loaded(_opened(source.stream, suffix, source.resolution, room), source.resolution)
        image, orientation = opened.image, source.orientation or opened.orientation
        profile = image.info.get("icc_profile") or source.profile
        side = min(long_side, max(image.size))
        made = geometry.largest_in((side, side), geometry.upright_size(opened.size, orientation), (1, 1))
        upright = geometry.turned(samples.resizable(image), orientation)
        small = upright.resize(made, Image.Resampling.BICUBIC, reducing_gap=3.0)
        shown = samples.on_white(samples.in_srgb(small, profile))
        shown.info = {}  # a comment would be written, too
        return jpeg_file(shown)


def _opened(stream: BinaryIO, suffix: str, resolution: int, room: Room) -> Opened:
    head = stream.read(headers.HEAD_BYTES)
    stream.seek(0)
    if not head:
        raise DecodeError("the file is empty")
    if suffix in RAW.suffixes and not is_common(head):
        if not RAW.installed():
            raise needs_extra(RAW)
        from rclip.photo.image import raw

        opened = raw.opened(stream, resolution, room)
        if opened:
            return opened
    return opening.opened(stream, head, resolution, room)


def jpeg_file(thumbnail: Image.Image) -> bytes:
    """The file of a thumbnail."""
    return _jpeg(thumbnail, quality=85)


def as_jpeg(pixels: "np.ndarray") -> bytes:
    """A JPEG file with these pixels. (h, w, 3) uint8"""
    return _jpeg(Image.fromarray(pixels), quality=90)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def in_few_colors(pixels: "np.ndarray", colors: int) -> "tuple[np.ndarray, np.ndarray]":
    """The pixels dithered to colours chosen for them, 2 to 256. (h, w, 3) uint8 -> (h, w) uint8, (colors, 3) uint8"""
    import numpy as np

    image = Image.fromarray(pixels)
    chosen = image.quantize(colors)
    dithered = image.quantize(palette=chosen, dither=Image.Dither.FLOYDSTEINBERG)
    palette = np.zeros((256, 3), np.uint8)
    stored = np.array(dithered.getpalette(), np.uint8).reshape(-1, 3)
    palette[: len(stored)] = stored
    return np.asarray(dithered), palette[:colors]
