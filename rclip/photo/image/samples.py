"""From samples as a file has them to RGB of 8 bits: palettes, depths, colour spaces, and what shines through."""

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

if TYPE_CHECKING:
    import numpy as np  # most pictures do without, and a decoding process starts in half the time
    from PIL import ImageCms


def resizable(image: Image.Image) -> Image.Image:
    """The picture in a mode whose pixels can be averaged: L, RGB, CMYK, or with an alpha channel, 8 bits each."""
    mode = image.mode
    if mode in ("L", "RGB", "CMYK", "LA", "RGBA") and "transparency" not in image.info:
        image.load()
        return image
    if mode.startswith("I") or mode == "F":
        return _in_8_bits(image)
    if mode == "La":
        return image.convert("LA")
    if mode in ("P", "PA", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if mode == "1":
        return image.convert("L")
    if mode == "LAB":
        return _from_lab(image)
    return image.convert("RGB")


def on_white(image: Image.Image) -> Image.Image:
    """The picture in RGB, with white behind its transparent pixels."""
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def in_srgb(image: Image.Image, profile: object) -> Image.Image:
    """A `resizable` picture whose colours are those of an ICC profile, in sRGB.

    One that makes no sense, or is of other colours than the picture's, is ignored.
    """
    if not isinstance(profile, bytes) or not profile:
        return image
    mode = image.mode.removesuffix("A")
    transform = (_known_to_srgb if len(profile) <= _KEPT_BYTES else _to_srgb)(profile, mode)
    if transform is None:
        return image
    converted = transform.apply(image if image.mode == mode else image.convert(mode))
    if image.mode != mode:
        converted.putalpha(image.getchannel("A"))
    return converted


def _to_srgb(profile: bytes, mode: str) -> "ImageCms.ImageCmsTransform | None":
    """None where the colours are sRGB's already, or the profile is of no use."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        is_srgb = "sRGB" in ImageCms.getProfileDescription(source)
        if is_srgb or source.profile.xcolor_space.strip() != _COLOR_SPACES.get(mode):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return None


_known_to_srgb = lru_cache(maxsize=16)(_to_srgb)  # cameras write the same one into all files
_KEPT_BYTES = 1 << 20
"""Larger ones would be kept at the cost of the memory that other files may take; a printer's has half of it."""

_COLOR_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


def _in_8_bits(image: Image.Image) -> Image.Image:
    """Integers are taken for 16-bit ones, floats for 0…1 or, when some are larger, for 0…their maximum.

    Bit by bit, because numpy makes several copies on the way.
    """
    import numpy as np

    image.load()
    strips = [
        (0, top, image.width, min(top + _STRIP_ROWS, image.height)) for top in range(0, image.height, _STRIP_ROWS)
    ]
    white = 65535.0
    if image.mode == "F":
        white = max(1.0, *(float(_finite(np.asarray(image.crop(strip))).max()) for strip in strips))
    transparent = image.info.get("transparency")
    result = Image.new("L", image.size)
    for strip in strips:
        samples = _finite(np.asarray(image.crop(strip)))
        if transparent is not None:
            samples = np.where(samples == transparent, white, samples)
        result.paste(Image.fromarray(_to_8_bits(samples, white)), strip)
    return result


_STRIP_ROWS = 256


def _finite(samples: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0) if samples.dtype.kind == "f" else samples


def _to_8_bits(samples: "np.ndarray", white: float) -> "np.ndarray":
    """Samples of 0…`white`; what lies outside is cut off."""
    import numpy as np

    if samples.dtype.kind in "iu":
        return (np.clip(samples, 0, 0xFFFF) // 257).astype(np.uint8)
    return (np.clip(samples / white, 0.0, 1.0) * 255).round().astype(np.uint8)


def in_8_bits(values: "np.ndarray", bits: int | None) -> "np.ndarray":
    """Whole numbers of so many bits, or floats of 0…1 or, when some are larger, of 0…their maximum. -> uint8"""
    import numpy as np

    if values.dtype == np.uint8 and bits == 8:
        return values
    if bits is None:
        white = max([1.0, *(float(_finite(row).max()) for row in values)])
    else:
        white = float(2 ** (bits - (values.dtype.kind == "i")) - 1)
    result = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _STRIP_ROWS):
        strip = _finite(values[top : top + _STRIP_ROWS]).astype(np.float64)
        result[top : top + _STRIP_ROWS] = (np.clip(strip / white, 0.0, 1.0) * 255).round()
    return result


def palette_in_8_bits(colors: "np.ndarray") -> "np.ndarray":
    """Of a TIFF, (3, N) of 16 bits; some programs have written 8 of them."""
    import numpy as np

    return (colors if colors.max() < 256 else colors >> 8).astype(np.uint8)


def of_lab(values: "np.ndarray") -> Image.Image:
    """A TIFF's lightness and its two axes, which are signed, of 8 or 16 bits each or as they are. (H, W, 3) -> LAB"""
    import numpy as np

    if values.dtype.kind == "f":
        scaled = _finite(values) * (2.55, 1, 1) + (0, 128, 128)
        bands = scaled.round().clip(0, 255).astype(np.uint8)
        return Image.merge("LAB", [Image.fromarray(bands[..., band].copy()) for band in range(3)])
    high = values if values.dtype.itemsize == 1 else values.astype(np.uint16) >> 8
    bands = high.astype(np.uint8)
    bands[..., 1:] ^= 0x80
    return Image.merge("LAB", [Image.fromarray(bands[..., band].copy()) for band in range(3)])


def premultiplied_on_white(image: Image.Image, alpha: Image.Image) -> Image.Image:
    """Colours that have been multiplied by the alpha channel, with white behind them."""
    if image.mode == "CMYK":  # no ink is white
        return image.convert("RGB")
    rgb = image if image.mode in ("L", "RGB") else image.convert("RGB")
    white = ImageChops.invert(alpha)
    bands = [ImageChops.add(band, white) for band in rgb.split()]
    return Image.merge(rgb.mode, bands) if len(bands) > 1 else bands[0]


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only None when asked to work in place
    return converted
