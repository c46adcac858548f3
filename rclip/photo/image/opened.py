"""What all that open files give, and the memory that they ask for."""

from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from PIL import Image

from rclip.photo.failures import DecodeError, FailureKind
from rclip.photo.metadata import PhotoMetadata


class Room:
    """The memory that a picture may take, to be asked for before it is decoded."""

    def __init__(self, max_pixels: int, reserve: Callable[[int], None]):
        """`reserve` is called with the number of pixels, and returns when there is memory for them."""
        self.max_pixels = max_pixels
        self._reserve = reserve

    def claim(self, width: int, height: int, pictures: int = 1) -> None:
        """For so many of that size. Raises `DecodeError` for a picture above the limit."""
        if width * height > self.max_pixels:
            limit = f"{self.max_pixels / 1e6:.3g} megapixels"
            raise DecodeError(f"{width}×{height} is more than {limit}", FailureKind.TOO_LARGE)
        self._reserve(width * height * pictures)


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
