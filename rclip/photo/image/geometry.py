"""Which way up a picture is, and which square of it the model looks at."""

from PIL import Image

from rclip.resizing import Resizing

EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})


def orientation_of(image: Image.Image) -> int:
    """EXIF's, of pixels that are still as they are stored; 1 when they are upright."""
    is_jpeg_in_jxl = image.format == "JXL" and getattr(image, "jpeg", False)
    if image.format in ("HEIF", "JXL", "TIFF") and not is_jpeg_in_jxl:
        return 1  # their decoders turn the picture themselves
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # broken EXIF must not cost the picture
        return 1


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height once a picture stored at this size has been turned."""
    width, height = size
    return (height, width) if orientation in _ON_ITS_SIDE else (width, height)


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Before the middle is cut out: where that cannot be halved, sides matter."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def model_square(image: Image.Image, size: tuple[int, int], resolution: int, resizing: Resizing) -> Image.Image:
    """The square that the model looks at; `size` is the whole picture's before it was decoded smaller."""
    box = _middle_square(image, size, resolution) if resizing.mode == "crop" else None
    return image.resize((resolution, resolution), _FILTERS[resizing.interpolation], box=box, reducing_gap=3.0)


def _middle_square(image: Image.Image, size: tuple[int, int], resolution: int) -> tuple[float, float, float, float]:
    """The part of the picture that is left after its short side was resized to `resolution` and the middle cut out.

    Same arithmetic as torchvision's `Resize` and `CenterCrop`, but the sides that would be cut off are never computed:
    a strip of 1×10,000 pixels would else become 224×2,240,000. It is done on the `size` that the picture has in full:
    where it was decoded smaller, rounding again would shift the square by half a pixel, which CLIP notices.
    """
    width, height = size
    shrunk = round(width / image.width)  # 1, 2, 4 or 8
    short, long = sorted((width, height))
    resized_long = int(resolution * long / short)
    scale = long / resized_long
    start = round((resized_long - resolution) / 2.0) * scale
    box = (start, 0.0, start + resolution * scale, float(short))
    if height > width:
        box = (box[1], box[0], box[3], box[2])
    if shrunk > 1:
        left, top, right, bottom = (part / shrunk for part in box)
        box = (left, top, min(right, image.width), min(bottom, image.height))
    return box


def largest_in(box: tuple[int, int], size: tuple[int, int], step: tuple[int, int]) -> tuple[int, int]:
    """Width and height, in steps, of a picture of this size that fills the box one way."""
    width, height = size
    scale = min(box[0] / width, box[1] / height)
    return max(1, round(width * scale / step[0])), max(1, round(height * scale / step[1]))
