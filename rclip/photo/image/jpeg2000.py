"""JPEG 2000 of more than 8 bits a color, by OpenJPEG through imagecodecs: Pillow turns what is white in them black.

Apart from the rest because its package is an extra.
"""

from typing import BinaryIO

import imagecodecs
from PIL import Image

from rclip.photo.image import samples


def decoded(stream: BinaryIO, bits: int) -> Image.Image:
    """The picture in RGB, or with an alpha channel. Raises whatever the decoder does."""
    stream.seek(0)
    values = imagecodecs.jpeg2k_decode(stream.read())
    bands = samples.in_8_bits(values, bits)
    if bands.ndim == 2:
        return Image.fromarray(bands)
    return Image.fromarray(bands[..., 0]) if bands.shape[-1] == 1 else Image.fromarray(bands)
