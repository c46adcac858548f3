"""TIFFs that Pillow does not read, or not rightly, by tifffile: many bits, floats, planes, big-endian BigTIFF.

Apart from the rest because its packages are an extra, and take time to load.
"""

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import tifffile
from PIL import Image

from rclip.photo import metadata_parser
from rclip.photo.image import metadata_blocks, samples
from rclip.photo.image.geometry import EXIF_ORIENTATION, upright_size
from rclip.photo.image.opened import Opened, Room
from rclip.photo.metadata import PhotoMetadata
from rclip.photo.metadata_parser import Blocks

if TYPE_CHECKING:
    from tifffile import TiffPage

_WHITE_IS_ZERO, _RGB, _PALETTE, _CMYK, _LAB = 0, 2, 3, 5, 8
_COLORS = {_RGB: 3, _CMYK: 4, _LAB: 3, 6: 3}  # 6: YCbCr, which its decoder makes RGB of
_ASSOCIATED, _UNASSOCIATED = 1, 2
_ICC_PROFILE = 34675


def opened(stream: BinaryIO, room: Room) -> Opened:
    """The first picture. Raises whatever the decoder does."""
    stream.seek(0)
    with tifffile.TiffFile(stream) as tiff:
        page = tiff.pages.first
        room.claim(page.imagewidth, page.imagelength)
        if page.is_tiled:
            room.claim(page.tilewidth, page.tilelength)
        image = _picture(page)
        profile = page.tags.valueof(_ICC_PROFILE)
        if isinstance(profile, bytes):
            image.info["icc_profile"] = profile
        orientation = page.tags.valueof(EXIF_ORIENTATION, 1)
        orientation = orientation if isinstance(orientation, int) else 1
        return Opened(image, orientation, image.size, _metadata(page, upright_size(image.size, orientation)))


def _picture(page: "TiffPage") -> Image.Image:
    planes, _, height, width, channels = page.shaped
    values = page.asarray(maxworkers=1).reshape(planes, -1, height, width, channels)[:, 0]  # (P, H, W, C)
    values = np.moveaxis(values, 0, -1).reshape(height, width, -1) if planes > 1 else values[0]
    colors = _COLORS.get(page.photometric, 1)
    if page.photometric == _PALETTE and page.colormap is not None:
        return Image.fromarray(samples.palette_in_8_bits(page.colormap).T[values[..., 0]])
    if page.photometric == _LAB:
        image = samples.of_lab(values[..., :colors])
    else:
        bands = samples.in_8_bits(values[..., :colors], _bits(page))
        bands = 255 - bands if page.photometric == _WHITE_IS_ZERO else bands
        image = (
            Image.fromarray(bands[..., 0]) if colors == 1 else Image.fromarray(bands, "CMYK" if colors == 4 else "RGB")
        )
    kinds = [int(kind) for kind in page.extrasamples]
    if not kinds or kinds[0] not in (_ASSOCIATED, _UNASSOCIATED) or values.shape[-1] <= colors:
        return image
    alpha = Image.fromarray(samples.in_8_bits(values[..., colors], _bits(page)))
    if kinds[0] == _ASSOCIATED:
        return samples.premultiplied_on_white(image, alpha)
    image = image.convert("RGB") if image.mode not in ("L", "RGB") else image
    image.putalpha(alpha)
    return image


def _bits(page: "TiffPage") -> int | None:
    """Of a whole number; None for floats."""
    return None if page.dtype is None or page.dtype.kind == "f" else int(page.bitspersample)


# --- what the file says of itself ------------------------------------------------------------------------------------

_EXIF_TAGS = {"DateTimeOriginal": 0x9003, "DateTimeDigitized": 0x9004, "OffsetTime": 0x9010}
_EXIF_TAGS |= {"OffsetTimeOriginal": 0x9011, "OffsetTimeDigitized": 0x9012}
_GPS_TAGS = {"GPSLatitudeRef": 1, "GPSLatitude": 2, "GPSLongitudeRef": 3, "GPSLongitude": 4}


_PHOTO, _GPS, _IPTC, _PHOTOSHOP, _XMP = 0x8769, 0x8825, 0x83BB, 0x8649, 0x02BC
_KNOWN_TAGS = frozenset((*metadata_parser.MAIN_TAGS, _PHOTO, _GPS, _IPTC, _PHOTOSHOP, _XMP))
"""Each that is asked for is read whole, and a file has thousands, which may all be its megabytes."""


def _metadata(page: "TiffPage", size: tuple[int, int]) -> PhotoMetadata:
    """What Pillow's own way to it would give, which knows no big-endian BigTIFFs."""
    try:
        blocks = _blocks({tag.code: tag.value for tag in page.tags if tag.code in _KNOWN_TAGS})
    except Exception:  # what is broken there must not cost the picture
        blocks = Blocks()
    return metadata_parser.parse(blocks, *size)


def _blocks(tags: dict[int, Any]) -> Blocks:
    photo, gps = (value if isinstance(value, dict) else {} for value in (tags.get(_PHOTO), tags.get(_GPS)))
    iptc = metadata_blocks.iptc_of(_as_bytes(tags.get(_IPTC)), _as_bytes(tags.get(_PHOTOSHOP)))
    return Blocks(
        main={tag: value for tag, value in tags.items() if tag in metadata_parser.MAIN_TAGS},
        photo={_EXIF_TAGS[name]: value for name, value in photo.items() if name in _EXIF_TAGS},
        gps={_GPS_TAGS[name]: _fractions(value) for name, value in gps.items() if name in _GPS_TAGS},
        xmp=_as_bytes(tags.get(_XMP)),
        iptc=iptc,
    )


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode(errors="replace")
    return value if isinstance(value, bytes) else np.asarray(value).tobytes() if isinstance(value, tuple) else b""


def _fractions(value: Any) -> Any:
    """Numerators and denominators in turn."""
    if not isinstance(value, tuple) or len(value) != 6:
        return value
    return tuple(above / below for above, below in zip(value[::2], value[1::2], strict=True))
