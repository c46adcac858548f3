"""BMPs whose pixels are divided into bit fields that Pillow does not know: 10 bits a color, 4, other orders."""

import struct
from typing import BinaryIO

import numpy as np
from PIL import Image

from rclip.photo.failures import DecodeError
from rclip.photo.image.opened import Opened, Room

_FILE_HEADER_BYTES, _INFO_HEADER_BYTES = 14, 40
_BIT_FIELDS, _ALPHA_BIT_FIELDS = 3, 6
_DTYPES = {16: "<u2", 32: "<u4"}


def opened(stream: BinaryIO, room: Room) -> Opened:
    """The picture in RGB, or with an alpha channel. Raises `DecodeError` for what is no such file, or cut off."""
    stream.seek(0)
    start = stream.read(_FILE_HEADER_BYTES + _INFO_HEADER_BYTES + 16)
    if len(start) < _FILE_HEADER_BYTES + _INFO_HEADER_BYTES + 16:
        raise DecodeError("damaged: it is cut off")
    pixels_at, header_bytes, width, height, _, depth, compression = struct.unpack_from("<IIiiHHI", start, 10)
    if compression not in (_BIT_FIELDS, _ALPHA_BIT_FIELDS) or depth not in _DTYPES or width <= 0 or not height:
        raise DecodeError("damaged, or a kind of BMP that is not known here")
    has_alpha = compression == _ALPHA_BIT_FIELDS or header_bytes >= _INFO_HEADER_BYTES + 16
    masks = struct.unpack_from("<4I", start, _FILE_HEADER_BYTES + _INFO_HEADER_BYTES)[: 3 + has_alpha]
    room.claim(width, abs(height))
    row_bytes = -(-width * depth // 32) * 4
    stream.seek(pixels_at)
    data = stream.read(row_bytes * abs(height))
    if len(data) < row_bytes * abs(height):
        raise DecodeError("damaged: it is cut off")
    rows = np.frombuffer(data, np.uint8).reshape(abs(height), row_bytes)[:, : width * depth // 8]
    pixels = np.ascontiguousarray(rows).view(_DTYPES[depth])[:: -1 if height > 0 else 1]
    bands = [Image.fromarray(_field(pixels, mask)) for mask in masks if mask or len(masks) == 3]
    image = Image.merge("RGBA" if len(bands) == 4 else "RGB", bands)
    image.format = "BMP"
    return Opened(image, 1, image.size)


def _field(pixels: np.ndarray, mask: int) -> np.ndarray:
    """(H, W) of whole pixels -> (H, W) uint8, of the bits in the mask alone."""
    if not mask:
        return np.zeros(pixels.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    most = mask >> shift
    return (((pixels & mask) >> shift).astype(np.float64) * 255 / most).round().astype(np.uint8)
