"""Films: which moments of one are looked at, and the picture of each.

A moment is every key frame, but for those less than two seconds after the last that was looked at. It is kept where it
shows a new scene, or where five seconds have passed and the picture has changed; a stretch without change has one, and
a frame of one colour, as between scenes, is kept only by a film that has nothing else. Where key frames are rare, the
frames between them are decoded, too.

Pictures are turned upright, of square pixels, in sRGB: one field of interlaced frames, and high dynamic range brought
to that of a photo. Then they go the way of all pictures (`photo.image`).
"""

from collections.abc import Callable
from typing import BinaryIO

from PIL import Image

from rclip.photo.image import geometry, jpeg_file
from rclip.photo.image.guard import decoders_errors
from rclip.photo.image.opened import Room
from rclip.photo.metadata import PhotoMetadata
from rclip.photo.video.container import Film, opened
from rclip.photo.video.frames import upright
from rclip.photo.video.sampling import Look, looks
from rclip.resizing import Resizing

__all__ = [
    "Film",
    "Look",
    "Room",
    "decoders_errors",
    "looks",
    "opened",
    "picture",
    "square",
    "thumbnail",
    "thumbnail_file",
]


def picture(
    stream: BinaryIO, at_ms: int | None, least_side: int, max_pixels: int, reserve: Callable[[int], None]
) -> tuple[Image.Image, PhotoMetadata]:
    """The upright picture of a moment, and what the film says of itself; None asks for the first that would be kept.

    Its shorter side has `least_side` pixels or more if the film has them. Raises `DecodeError`.
    """
    with decoders_errors(), opened(stream, Room(max_pixels, reserve)) as film:
        if at_ms is not None:
            return upright(film.frame_at(at_ms), film, least_side), film.metadata
        first = next(look for look in looks(film, 0, least_side) if look.image)
        assert first.image
        return first.image, film.metadata


def square(image: Image.Image, resolution: int, resizing: Resizing) -> Image.Image:
    """What the model looks at."""
    return geometry.model_square(image, image.size, resolution, resizing)


def thumbnail(image: Image.Image, box: tuple[int, int], step: tuple[int, int]) -> Image.Image:
    """The picture as large as `box` (width, height) takes it, one pixel of each `step`."""
    return image.resize(geometry.largest_in(box, image.size, step), Image.Resampling.BICUBIC, reducing_gap=3.0)


def thumbnail_file(image: Image.Image, long_side: int) -> bytes:
    """A JPEG of it, its long side of so many pixels; a smaller one keeps its size."""
    side = min(long_side, max(image.size))
    return jpeg_file(thumbnail(image, (side, side), (1, 1)))
