"""From a decoded frame to a picture: upright, with square pixels, in sRGB, 8 bits a channel."""

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rclip.photo.image import geometry, samples

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from rclip.photo.video.container import Film

_HD_LINES = 720
"""From here on colours that nobody names are those of HDTV (BT.709), as players have it."""

_BT709, _BT601, _UNNAMED = 1, 6, 2
_PQ, _HLG = 16, 18
"""Numbers of ITU-T H.273."""


def upright(frame: "VideoFrame", film: "Film", least_side: int) -> Image.Image:
    """The frame's picture in RGB, its shorter side of `least_side` pixels or more if the frame has them.

    Also tells the film its upright size.
    """
    orientation = _orientation(frame)
    size = round(frame.width * film.pixel_ratio), frame.height
    film.describe(geometry.upright_size((max(1, size[0]), size[1]), orientation))
    smaller = max(1, min(frame.width, frame.height) // (2 * max(1, least_side)))
    picture = _in_rgb(frame, smaller)
    made = max(1, round(size[0] / smaller)), max(1, round(size[1] / smaller))
    if picture.size != made:
        picture = picture.resize(made, Image.Resampling.BICUBIC)
    return geometry.turned(picture, orientation)


def _in_rgb(frame: "VideoFrame", smaller: int) -> Image.Image:
    """The frame `smaller` times as small, each way; of an interlaced one every second line only."""
    size = {"width": max(1, frame.width // smaller), "height": max(1, frame.height // smaller)}
    if frame.interlaced_frame:
        size["height"] = frame.height  # or its two moments would be mixed
    is_wide = frame.color_trc in (_PQ, _HLG)
    has_alpha = any(component.is_alpha for component in frame.format.components)
    kind = "rgb48le" if is_wide else "rgba" if has_alpha else "rgb24"
    named = frame.colorspace if frame.colorspace != _UNNAMED else _BT709 if frame.height >= _HD_LINES else _BT601
    converted = frame.reformat(
        **size,
        format=kind,
        src_colorspace=_SWSCALE.get(named),
        interpolation="AREA" if smaller > 1 else "BICUBIC",
        dst_color_range="JPEG",
        threads=1,
    )
    pixels = converted.to_ndarray()
    if frame.interlaced_frame:
        pixels = pixels[::2]
    if is_wide:
        return Image.fromarray(_in_standard_range(pixels, frame.color_trc))
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return samples.on_white(picture) if has_alpha else picture


_SWSCALE = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "SMPTE170M", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
"""Its names of the matrices of H.273."""


def _orientation(frame: "VideoFrame") -> int:
    """EXIF's, of the matrix by which the frame is to be shown (ISO/IEC 14496-12, 8.3.2)."""
    from av.sidedata.sidedata import Type

    side_data: Mapping[Any, Any] = frame.side_data  # its own type says less
    try:
        matrix = bytes(side_data[Type.DISPLAYMATRIX])
    except KeyError:
        return 1
    if len(matrix) < 36:
        return 1
    a, b, _, c, d = struct.unpack_from("<5i", matrix)
    largest = max(abs(each) for each in (a, b, c, d))
    signs = [0 if 2 * abs(each) < largest or not each else each // abs(each) for each in (a, b, c, d)]
    return _ORIENTATIONS.get((signs[0], signs[1], signs[2], signs[3]), 1)


_ORIENTATIONS = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


# --- high dynamic range ----------------------------------------------------------------------------------------------

_WHITE_NITS = 203.0
"""What white paper has in such a film (ITU-R BT.2408)."""
_HLG_PEAK_NITS = 1000.0
_KNEE = 0.7
"""Of white: brighter light is compressed, up to the sun."""

_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
"""Of linear colours in BT.2020 (ITU-R BT.2087)."""


def _in_standard_range(pixels: np.ndarray, transfer: int) -> np.ndarray:
    """(h, w, 3) uint16 by PQ or HLG, in BT.2020 -> (h, w, 3) uint8 in sRGB"""
    signal = pixels.astype(np.float32) / 65535
    light = (_pq_nits(signal) if transfer == _PQ else _hlg_nits(signal)) / _WHITE_NITS
    light = np.maximum(light @ _TO_BT709.T, 0)
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    above = (brightest - _KNEE) / (1 - _KNEE)
    compressed = np.where(above > 0, _KNEE + (1 - _KNEE) * above / (1 + above), brightest)
    light = np.clip(light * (compressed / brightest), 0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    standard: np.ndarray = np.round(255 * encoded).astype(np.uint8)
    return standard


def _pq_nits(signal: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084."""
    root = signal ** (32 / 2523)
    fraction = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    nits: np.ndarray = 10_000 * fraction ** (8192 / 1305)
    return nits


def _hlg_nits(signal: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100, on a display of 1000 nits."""
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    luminance = np.maximum(scene @ np.array([0.2627, 0.678, 0.0593], np.float32), 1e-6)[..., np.newaxis]
    nits: np.ndarray = _HLG_PEAK_NITS * scene * luminance**0.2
    return nits
