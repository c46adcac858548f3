"""Pictures distorted as in ImageNet-C and as photos are on their way through the web, at five severities.

The fifteen kinds of ImageNet-C (Hendrycks and Dietterich, 2019) are drawn by `imagecorruptions`, with the parameters of
that paper: `pip install --group quality`. They are meant for pictures of 224 pixels, so pictures are scaled first.
"""

import importlib.util
import io
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

SIDE = 256
"""Of the shorter side, in pixels, before a picture is distorted; large pictures only."""

MIN_SIDE = 32
"""Smaller pictures are enlarged: `imagecorruptions` takes no others."""

SEVERITIES = (1, 2, 3, 4, 5)

IMAGENET_C = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)


def require(kinds: Sequence[str]) -> None:
    """Exits with a line that says what to install for some of these kinds."""
    if any(kind in IMAGENET_C for kind in kinds) and not importlib.util.find_spec("imagecorruptions"):
        raise SystemExit(f"{kinds[0]} needs imagecorruptions: pip install --group quality; or give --kinds {OURS[0]} …")


def scaled(picture: Image.Image) -> Image.Image:
    """Upright RGB, its shorter side `MIN_SIDE` to `SIDE` pixels."""
    picture = ImageOps.exif_transpose(picture).convert("RGB")
    shorter = min(picture.size)
    factor = max(MIN_SIDE / shorter, min(1, SIDE / shorter))
    if factor == 1:
        return picture
    size = [max(MIN_SIDE, round(side * factor)) for side in picture.size]
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def write(source: Path, kind: str, severity: int, path: Path) -> Path:
    """A file of the distorted picture, whose ending is chosen here. -> its path"""
    with Image.open(source) as file:
        picture = file.convert("RGB")
    if kind in FILES:
        path = path.with_suffix(".jpg")
        path.write_bytes(FILES[kind](picture, severity))
        return path
    path = path.with_suffix(".png")
    picture = PICTURES[kind](picture, severity) if kind in PICTURES else _by_package(picture, kind, severity)
    picture.save(path, compress_level=1)
    return path


def _by_package(picture: Image.Image, kind: str, severity: int) -> Image.Image:
    from imagecorruptions import corrupt

    np.random.seed(zlib.crc32(picture.tobytes()))
    return Image.fromarray(np.asarray(corrupt(np.asarray(picture), severity=severity, corruption_name=kind), np.uint8))


# --- pictures --------------------------------------------------------------------------------------------------------


def tiny(picture: Image.Image, severity: int) -> Image.Image:
    """A thumbnail: the longer side has 96, 64, 48, 32 or 16 pixels."""
    side = (96, 64, 48, 32, 16)[severity - 1]
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def rotated(picture: Image.Image, severity: int) -> Image.Image:
    """By 5, 15, 45, 90 or 180 degrees, on black."""
    angle = (5, 15, 45, 90, 180)[severity - 1]
    return picture.rotate(angle, Image.Resampling.BICUBIC, expand=True)


def watermarked(picture: Image.Image, severity: int) -> Image.Image:
    """White words across the middle, ever larger and less transparent; at 5 all over the picture."""
    share, opacity, rows = ((0.3, 0.3, 1), (0.5, 0.4, 1), (0.7, 0.5, 1), (0.9, 0.7, 1), (0.9, 0.8, 5))[severity - 1]
    width, height = picture.size
    words = "SAMPLE PHOTO"
    size = 10.0
    length = ImageFont.load_default(size).getlength(words)
    font = ImageFont.load_default(max(4.0, size * share * width / length))
    layer = Image.new("L", picture.size)
    pen = ImageDraw.Draw(layer)
    for row in range(rows):
        pen.text((width / 2, height * (row + 1) / (rows + 1)), words, fill=round(255 * opacity), font=font, anchor="mm")
    return Image.composite(Image.new("RGB", picture.size, "white"), picture, layer)


PICTURES: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "tiny": tiny,
    "rotated": rotated,
    "watermarked": watermarked,
}


# --- files -----------------------------------------------------------------------------------------------------------


def truncated(picture: Image.Image, severity: int) -> bytes:
    """The first 95, 80, 60, 40 or 20 % of a JPEG."""
    content = _jpeg(picture, 90)
    return content[: math.ceil(len(content) * (0.95, 0.8, 0.6, 0.4, 0.2)[severity - 1])]


def recompressed(picture: Image.Image, severity: int) -> bytes:
    """Saved 1, 2, 4, 8 or 16 times at quality 40, each time a pixel smaller, as by one program after another."""
    times = (1, 2, 4, 8, 16)[severity - 1]
    width, height = picture.size
    content = _jpeg(picture, 40)
    for number in range(1, times):
        size = max(8, width - number), max(8, height - number)
        content = _jpeg(Image.open(io.BytesIO(content)).resize(size, Image.Resampling.BICUBIC), 40)
    return content


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


FILES: dict[str, Callable[[Image.Image, int], bytes]] = {"truncated": truncated, "recompressed": recompressed}

OURS = (*FILES, *PICTURES)
KINDS = (*IMAGENET_C, *OURS)
