"""From samples as a file has them to RGB of 8 bits: palettes, depths, colour spaces, and what shines through."""

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np  # most pictures do without, and a decoding process starts in half the time


def resizable(image: Image.Image) -> Image.Image:
    """The picture in a mode whose pixels can be averaged: L, RGB, CMYK, or with an alpha channel, 8 bits each."""
    mode = image.mode
    if mode in ("L", "RGB", "CMYK", "LA", "RGBA") and "transparency" not in image.info:
        image.load()
        return image
    if mode.startswith("I") or mode == "F":
        return _in_8_bits(image)
    if mode in ("P", "PA", "La", "RGBa") or "transparency" in image.info:
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


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A picture in RGB whose colours are those of an ICC profile, in sRGB; a profile that makes no sense is ignored."""
    if not profile:
        return image
    from PIL import ImageCms

    try:
        converted = ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        )
    except (ImageCms.PyCMSError, OSError, ValueError):  # such as one for grey or CMYK, which is RGB by now
        return image
    return converted or image


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


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only None when asked to work in place
    return converted
