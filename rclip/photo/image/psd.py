"""Photoshop documents: the flattened picture that Photoshop stores after the layers, of any depth and mode.

Pillow reads 8 bits a sample only, and takes saved selections for transparency. The format is described in "Adobe
Photoshop File Formats Specification" (2019).
"""

import struct
import zlib
from typing import BinaryIO, NamedTuple

from PIL import Image, ImageChops

from rclip.photo.failures import DecodeError
from rclip.photo.image import metadata_blocks, samples
from rclip.photo.image.opened import Opened, Room

_HEADER = struct.Struct(">4sH6xHIIHH")
_LARGE = 2
"""The version of PSB files, for more than 30,000 pixels a side, in which lengths take twice as many bytes."""

_BITMAP, _GRAY, _INDEXED, _RGB, _CMYK, _MULTICHANNEL, _DUOTONE, _LAB = 0, 1, 2, 3, 4, 7, 8, 9
_MODES = {_BITMAP: "L", _GRAY: "L", _INDEXED: "P", _RGB: "RGB", _CMYK: "CMYK", _DUOTONE: "L", _LAB: "LAB"}
_CHANNELS = {"L": 1, "P": 1, "RGB": 3, "CMYK": 4, "LAB": 3}
_MOST_SIDES = 300_000
_MOST_CHANNELS = 56
_ICC_PROFILE = 1039


class _Header(NamedTuple):
    """What the file says of its picture."""

    is_large: bool
    channels: int
    width: int
    height: int
    depth: int
    """Bits a sample."""
    mode: int

    @property
    def row_bytes(self) -> int:
        """Of one channel."""
        return (self.width * self.depth + 7) // 8


def opened(stream: BinaryIO, room: Room) -> Opened:
    """The flattened picture. Raises `DecodeError` for what is damaged."""
    header = _header(stream.read(_HEADER.size))
    room.claim(header.width, header.height)
    palette = _section(stream, "I")
    resources = metadata_blocks.photoshop_resources(_section(stream, "I"))
    layers = _section(stream, "Q" if header.is_large else "I")
    mode = _MODES.get(header.mode, "CMYK" if header.channels >= _CHANNELS["CMYK"] else "L")
    colors = _CHANNELS[mode]
    if header.channels < colors:
        raise DecodeError("damaged: it lacks channels")
    has_alpha = header.channels > colors and _is_transparent(layers, header)
    planes = _planes(stream, header, colors + has_alpha)
    image = _picture(planes[:colors], mode, header, palette)
    if has_alpha:
        image = _on_white(image, _bands(planes[colors:], header)[0])
    image.format = "PSD"
    image.info |= {name: value for name, value in metadata_blocks.info_of_resources(resources).items() if value}
    if _ICC_PROFILE in resources:
        image.info["icc_profile"] = resources[_ICC_PROFILE]
    return Opened(image, 1, image.size)


def _header(block: bytes) -> _Header:
    if len(block) < _HEADER.size:
        raise DecodeError("damaged: it is cut off")
    _, version, channels, height, width, depth, mode = _HEADER.unpack(block)
    is_possible = 0 < width <= _MOST_SIDES and 0 < height <= _MOST_SIDES and 0 < channels <= _MOST_CHANNELS
    if version not in (1, _LARGE) or not is_possible or depth not in (1, 8, 16, 32):
        raise DecodeError("damaged, or a kind of Photoshop document that is not known here")
    return _Header(version == _LARGE, channels, width, height, depth, mode)


def _section(stream: BinaryIO, kind: str) -> bytes:
    """The next one, whose length comes first."""
    length = struct.calcsize(">" + kind)
    size_bytes = int.from_bytes(stream.read(length), "big")
    content = stream.read(size_bytes) if size_bytes < 1 << 40 else b""
    if len(content) < size_bytes:
        raise DecodeError("damaged: it is cut off")
    return content


def _is_transparent(layers: bytes, header: _Header) -> bool:
    """Whether the first channel after the colors is the transparency of the whole, and no saved selection.

    Then the number of layers is negative. Of more than 8 bits, layers lie in a block of their own.
    """
    length_bytes = 8 if header.is_large else 4
    size_bytes = int.from_bytes(layers[:length_bytes], "big")
    if size_bytes >= 2:
        return int.from_bytes(layers[length_bytes : length_bytes + 2], "big", signed=True) < 0
    for key in (b"Lr16", b"Lr32"):
        at = layers.find(b"8BIM" + key)
        if at >= 0:
            at += 8 + length_bytes
            return int.from_bytes(layers[at : at + 2], "big", signed=True) < 0
    return layers.find(b"8BIMMtrn") >= 0 or layers.find(b"8BIMMt16") >= 0 or layers.find(b"8BIMMt32") >= 0


# --- samples ---------------------------------------------------------------------------------------------------------


def _planes(stream: BinaryIO, header: _Header, count: int) -> list[bytes]:
    """The samples of the first channels, as they are stored: row by row, the high byte first."""
    compression = int.from_bytes(stream.read(2), "big")
    plane_bytes = header.row_bytes * header.height
    if compression == 0:
        planes = [stream.read(plane_bytes) for _ in range(count)]
    elif compression == 1:
        planes = _packed_planes(stream, header, count)
    elif compression in (2, 3):
        data = zlib.decompressobj().decompress(stream.read(), plane_bytes * count)
        planes = [data[at : at + plane_bytes] for at in range(0, plane_bytes * count, plane_bytes)]
        if compression == 3:
            planes = [_summed_up(plane, header) for plane in planes if len(plane) == plane_bytes]
    else:
        raise DecodeError("damaged, or compressed in a way that is not known here")
    if len(planes) < count or any(len(plane) < plane_bytes for plane in planes):
        raise DecodeError("damaged: it is cut off")
    return planes


def _packed_planes(stream: BinaryIO, header: _Header, count: int) -> list[bytes]:
    """Of rows compressed by PackBits, each for itself; their lengths come first."""
    length_bytes = 4 if header.is_large else 2
    table = stream.read(length_bytes * header.height * header.channels)
    dtype = f">u{length_bytes}"
    import numpy as np

    lengths = np.frombuffer(table[: len(table) // length_bytes * length_bytes], dtype).astype(np.int64)
    planes = []
    for channel in range(count):
        size_bytes = int(lengths[channel * header.height : (channel + 1) * header.height].sum())
        data = stream.read(size_bytes)
        if len(data) < size_bytes:
            raise DecodeError("damaged: it is cut off")
        rows = Image.frombytes("L", (header.row_bytes, header.height), data, "packbits", "L")
        planes.append(rows.tobytes())
    return planes


def _summed_up(plane: bytes, header: _Header) -> bytes:
    """Of rows that hold the difference of each sample from the one before it."""
    import numpy as np

    if header.depth == 32:  # bytes of all samples sorted by their weight, and then as differences
        rows = np.frombuffer(plane, np.uint8).reshape(header.height, -1).cumsum(axis=1, dtype=np.uint8)
        return rows.reshape(header.height, 4, header.width).transpose(0, 2, 1).tobytes()
    dtype = ">u2" if header.depth == 16 else "u1"
    differences = np.frombuffer(plane, dtype).reshape(header.height, -1).astype(dtype[-2:])
    return differences.cumsum(axis=1, dtype=dtype[-2:]).astype(dtype).tobytes()


def _picture(planes: list[bytes], mode: str, header: _Header, palette: bytes) -> Image.Image:
    size = header.width, header.height
    if header.depth == 1:
        return Image.frombytes("1", size, planes[0], "raw", "1;I").convert("L")  # a bit that is set is black
    if mode == "P":
        image = Image.frombytes("P", size, planes[0])
        colors = [palette[at : at + 256].ljust(256, b"\0") for at in (0, 256, 512)]
        image.putpalette(bytes(part for color in zip(*colors, strict=True) for part in color))
        return image
    bands = _bands(planes, header)
    if mode == "CMYK":
        bands = [ImageChops.invert(band) for band in bands]  # where 255 is no ink
    return Image.merge(mode, bands) if len(bands) > 1 else bands[0]


def _bands(planes: list[bytes], header: _Header) -> list[Image.Image]:
    """The channels in 8 bits."""
    if header.depth == 8:
        return [Image.frombytes("L", (header.width, header.height), plane) for plane in planes]
    import numpy as np

    dtype, bits = (">u2", 16) if header.depth == 16 else (">f4", None)
    values = np.stack([np.frombuffer(plane, dtype).reshape(header.height, header.width) for plane in planes], axis=-1)
    eight = samples.in_8_bits(values, bits)
    return [Image.fromarray(eight[..., band].copy()) for band in range(len(planes))]


def _on_white(image: Image.Image, alpha: Image.Image) -> Image.Image:
    """Photoshop stores the picture on white already; what a program hid under transparent pixels is not shown.

    Other programs store it as it is, which shows where that is darker than it could be on white.
    """
    if image.mode == "CMYK":
        return Image.merge("CMYK", [ImageChops.darker(band, alpha) for band in image.split()])
    rgb = image if image.mode in ("L", "RGB") else samples.resizable(image).convert("RGB")
    white = ImageChops.invert(alpha)
    is_seen = alpha.point([0] + 255 * [255])
    lacking = [ImageChops.darker(ImageChops.subtract(white, band), is_seen) for band in rgb.split()]
    if any(any(each.histogram()[_ROUNDED + 1 :]) for each in lacking):
        return Image.composite(rgb, Image.new(rgb.mode, rgb.size, "white"), alpha)
    bands = [ImageChops.lighter(band, white) for band in rgb.split()]
    return Image.merge(rgb.mode, bands) if len(bands) > 1 else bands[0]


_ROUNDED = 3
"""Levels that a program's own arithmetic may be off."""
