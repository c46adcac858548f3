"""Pictures that another part of the program holds in Pillow, as files for `decode_pool`.

Only Pillow's own functions are called, and nothing of it is changed: it is that program's.
"""

from typing import BinaryIO

from PIL import Image, ImageOps

_LOSSLESS = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "F")
"""Modes that TIFF keeps as they are; others become RGB, which is what the model sees of them."""


def write(image: Image.Image, file: BinaryIO) -> None:
    """Writes the upright picture without loss. Raises what Pillow does for one that cannot be loaded."""
    upright = ImageOps.exif_transpose(image)
    has_alpha = upright.mode in ("PA", "La", "RGBa")
    kept = upright if upright.mode in _LOSSLESS else upright.convert("RGBA" if has_alpha else "RGB")
    kept.info = {name: value for name, value in kept.info.items() if name == "transparency"}
    kept.save(file, "PNG" if kept.mode in ("1", "P", "L", "RGB") and "transparency" in kept.info else "TIFF")
