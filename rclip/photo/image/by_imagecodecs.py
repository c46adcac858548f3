"""What imagecodecs decodes and Pillow does not: JPEG 2000 of more than 8 bits a color, AVIFs that break a rule.

Apart from the rest because its package is an extra.
"""

from typing import BinaryIO

import imagecodecs
import numpy as np
from PIL import Image

from rclip.photo.image import samples


def jpeg_2000(stream: BinaryIO, bits: int) -> Image.Image:
    """The picture in gray or RGB, or with an alpha channel: Pillow turns white of more than 8 bits into black.

    Raises whatever the decoder does.
    """
    stream.seek(0)
    return _picture(imagecodecs.jpeg2k_decode(stream.read()), bits)


def avif(stream: BinaryIO) -> Image.Image:
    """The picture as stored, not turned. Raises whatever the decoder does."""
    stream.seek(0)
    values = imagecodecs.avif_decode(stream.read(), index=0, numthreads=1)
    return _picture(values, 8 * values.dtype.itemsize)


def _picture(values: np.ndarray, bits: int) -> Image.Image:
    bands = samples.in_8_bits(values, bits)
    return Image.fromarray(bands[..., 0] if bands.ndim == 3 and bands.shape[-1] == 1 else bands)
