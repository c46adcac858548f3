"""Where Pillow has the blocks of metadata that lie in a file: EXIF, XMP, and Photoshop's with IPTC's.

What they mean is for `metadata` to say. A broken block must cost neither the picture nor the other blocks.
"""

from collections.abc import Callable
from typing import Any

from PIL import Image, TiffImagePlugin

from rclip.photo import metadata_parser
from rclip.photo.metadata import PhotoMetadata
from rclip.photo.metadata_parser import Blocks

_EXIF_BLOCK, _GPS_BLOCK, _XMP_TAG, _IPTC_TAG = 0x8769, 0x8825, 0x02BC, 0x83BB
_PHOTOSHOP_IPTC, _PHOTOSHOP_EXIF, _PHOTOSHOP_XMP = 0x0404, 0x0422, 0x0424


def are_told_late(image: Image.Image) -> bool:
    """Whether some may lie after the pixels, where many programs put them into PNGs."""
    return image.format == "PNG"


def metadata(image: Image.Image, upright_size: tuple[int, int]) -> PhotoMetadata:
    """What the blocks tell of a picture that has been opened, or decoded where they `are_told_late`."""
    if image.format == "TIFF":
        return metadata_parser.parse(of_exif(image.getexif), *upright_size)
    return metadata_of_info(_photoshop_info(image) if image.format == "PSD" else image.info, upright_size)


def metadata_of_info(info: dict[Any, Any], upright_size: tuple[int, int]) -> PhotoMetadata:
    """The same of what most of Pillow's plugins note in a picture's `info`."""
    return metadata_parser.parse(of_info(info), *upright_size)


def of_info(info: dict[Any, Any]) -> Blocks:
    """The blocks among what most of Pillow's plugins note."""
    exif = info.get("exif")
    blocks = of_exif(lambda: loaded_exif(exif)) if isinstance(exif, bytes) else Blocks()
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    photoshop = info.get("photoshop")
    iptc = photoshop.get(_PHOTOSHOP_IPTC) if isinstance(photoshop, dict) else b""
    return blocks._replace(
        xmp=xmp.encode() if isinstance(xmp, str) else xmp or blocks.xmp,
        iptc=iptc if isinstance(iptc, bytes) else b"",
    )


def _photoshop_info(image: Image.Image) -> dict[Any, Any]:
    """A Photoshop document's resources, named as other plugins name them."""
    resources = {number: content for number, _, content in getattr(image, "resources", ())}
    return {
        "exif": resources.get(_PHOTOSHOP_EXIF),
        "xmp": resources.get(_PHOTOSHOP_XMP),
        "photoshop": resources,
    }


def of_exif(load: Callable[[], Image.Exif]) -> Blocks:
    """The directories wanted of what `load` gives; broken ones must not cost the picture, nor one the others."""
    try:
        exif = load()
        main = {tag: exif[tag] for tag in (*metadata_parser.MAIN_TAGS, _XMP_TAG, _IPTC_TAG) if tag in exif}
    except Exception:
        return Blocks()
    xmp, iptc = main.get(_XMP_TAG), main.get(_IPTC_TAG)
    if isinstance(iptc, tuple) and all(isinstance(number, int) for number in iptc):  # some write them as 32-bit numbers
        iptc = b"".join((number & 0xFFFFFFFF).to_bytes(4, "little" if exif.endian == "<" else "big") for number in iptc)
    return Blocks(
        main=main,
        photo=_directory(exif, _EXIF_BLOCK, metadata_parser.PHOTO_TAGS),
        gps=_directory(exif, _GPS_BLOCK, metadata_parser.GPS_TAGS),
        xmp=xmp if isinstance(xmp, bytes) else b"",
        iptc=iptc if isinstance(iptc, bytes) else b"",
    )


def _directory(exif: Image.Exif, tag: int, wanted: tuple[int, ...]) -> dict[int, Any]:
    """What `Exif.get_ifd` gives, of these tags alone: it would make sense of all the others, too."""
    try:
        if tag not in exif:
            return {}
        directory = TiffImagePlugin.ImageFileDirectory_v2(exif.head, group=tag)
        exif.fp.seek(exif[tag])
        directory.load(exif.fp)
        return {tag: _single(directory[tag]) for tag in wanted if tag in directory}
    except Exception:
        return {}


def _single(value: Any) -> Any:
    """Some tags come as a list of one."""
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def loaded_exif(block: bytes) -> Image.Exif:
    """Raises anything where the block is broken."""
    exif = Image.Exif()
    exif.load(block)
    return exif
