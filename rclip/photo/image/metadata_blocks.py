"""Where Pillow has the blocks of metadata that lie in a file: EXIF, XMP, and Photoshop's with IPTC's.

What they mean is for `metadata_parser` to say. A broken block must cost neither the picture nor the other blocks.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from PIL import Image, TiffImagePlugin

from rclip.photo import metadata_parser
from rclip.photo.metadata import PhotoMetadata
from rclip.photo.metadata_parser import Blocks

_EXIF_BLOCK, _GPS_BLOCK, _XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG = 0x8769, 0x8825, 0x02BC, 0x83BB, 0x8649
_PHOTOSHOP_IPTC, _PHOTOSHOP_EXIF, _PHOTOSHOP_XMP = 0x0404, 0x0422, 0x0424


def metadata(image: Image.Image, upright_size: tuple[int, int]) -> PhotoMetadata:
    """What the blocks tell of a picture that has been opened."""
    if image.format == "TIFF":
        return metadata_parser.parse(of_exif(image.getexif), *upright_size)
    return metadata_of_info(image.info, upright_size)


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
        xmp=xmp.encode(errors="replace") if isinstance(xmp, str) else xmp or blocks.xmp,
        iptc=iptc if isinstance(iptc, bytes) and iptc else blocks.iptc,
        creation_time=_creation_time(info),
    )


# --- PNG -------------------------------------------------------------------------------------------------------------

_RAW_PROFILE = "Raw profile type "
_XMP_IN_APP1 = b"http://ns.adobe.com/xap/1.0/\0"
_CREATION_TIMES = ("creation time", "creationtime", "exif:datetimeoriginal")


def note_raw_profiles(info: dict[Any, Any]) -> None:
    """Has EXIF, XMP and IPTC of a PNG that hold texts of ImageMagick's form stand where Pillow has its own.

    Programs write them so that are older than PNG's own EXIF (Exiv2, and with it darktable and digiKam; GIMP).
    """
    for key in [key for key in info if isinstance(key, str) and key.startswith(_RAW_PROFILE)]:
        profile = _raw_profile(info[key])
        if profile.startswith((b"Exif\0\0", b"II*\0", b"MM\0*")):
            info.setdefault("exif", profile)
        elif profile.startswith((_XMP_IN_APP1, b"<")):
            info.setdefault("xmp", profile.removeprefix(_XMP_IN_APP1))
        elif profile.startswith(b"\x1c"):
            info.setdefault("photoshop", {_PHOTOSHOP_IPTC: profile})
        elif profile.startswith(b"8BIM"):
            info.setdefault("photoshop", photoshop_resources(profile))


def _raw_profile(text: Any) -> bytes:
    """A line with a name, one with the number of bytes, and then these in hexadecimal; empty where it is not so."""
    found = _PROFILE.match(text) if isinstance(text, str) else None
    try:
        return bytes.fromhex(text[found.end() :])[: int(found[1])] if found else b""
    except ValueError:
        return b""


_PROFILE = re.compile(r"\s*+[^\n]*+\n\s*+(\d{1,9})\s", re.ASCII)


def _creation_time(info: dict[Any, Any]) -> str:
    for key, value in info.items():
        if isinstance(key, str) and key.lower() in _CREATION_TIMES and isinstance(value, str):
            return value
    return ""


# --- Photoshop -------------------------------------------------------------------------------------------------------


def photoshop_resources(block: bytes) -> dict[int, bytes]:
    """Adobe's image resources by their numbers, up to where the block is broken."""
    found: dict[int, bytes] = {}
    at = 0
    while block[at : at + 4] in (b"8BIM", b"MeSa", b"AgHg", b"PHUT", b"DCSR"):
        number = int.from_bytes(block[at + 4 : at + 6], "big")
        content_at = at + 6 + (block[at + 6] // 2 + 1) * 2 + 4 if at + 6 < len(block) else len(block)
        size_bytes = int.from_bytes(block[content_at - 4 : content_at], "big")
        content = block[content_at : content_at + size_bytes]
        if len(content) == size_bytes:
            found.setdefault(number, content)
        at = content_at + size_bytes + size_bytes % 2
    return found


def info_of_resources(resources: dict[int, bytes]) -> dict[Any, Any]:
    """A Photoshop document's resources, named as Pillow's plugins name those of other files."""
    return {
        "exif": resources.get(_PHOTOSHOP_EXIF),
        "xmp": resources.get(_PHOTOSHOP_XMP),
        "photoshop": resources,
    }


# --- JPEG 2000 and GIF -----------------------------------------------------------------------------------------------

_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IPTC_BOX = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_EXIF_BOX = b"JpgTiffExif->JP2"
_XMP_IN_GIF = b"\x21\xff\x0bXMP DataXMP"
_MOST_BYTES = 4 << 20


def note_blocks_around(stream: BinaryIO, image: Image.Image) -> None:
    """Has what Pillow passes over in JPEG 2000s and GIFs stand where it has the same of other files."""
    if not isinstance(image.info.get("xmp", b""), bytes):
        del image.info["xmp"]  # of a TIFF, in numbers or text, over which Pillow would stumble; `of_exif` has it, too
    if image.format == "JPEG2000":
        for identity, content in _uuid_boxes(stream):
            if identity == _EXIF_BOX:
                image.info.setdefault("exif", content)
            elif identity == _XMP_BOX:
                image.info.setdefault("xmp", content)
            elif identity == _IPTC_BOX:
                image.info.setdefault("photoshop", {_PHOTOSHOP_IPTC: content})
    elif image.format == "GIF" and "xmp" not in image.info:
        stream.seek(0)
        contents = stream.read()
        at = contents.find(_XMP_IN_GIF)
        if at >= 0:
            image.info["xmp"] = contents[at + len(_XMP_IN_GIF) :][:_MOST_BYTES].partition(b"\x01\xff\xfe")[0]


def _uuid_boxes(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of JPEG 2000 (ISO/IEC 15444-1, I.7.2) that hold what others have defined: their identities and data."""
    at = 0
    for _ in range(_MOST_BOXES):
        stream.seek(at)
        header = stream.read(16)
        size, kind, content_at = int.from_bytes(header[:4], "big"), header[4:8], at + 8
        if size == 1:
            size, content_at = int.from_bytes(header[8:], "big"), at + 16
        if kind == b"uuid":
            stream.seek(content_at)
            yield stream.read(16), stream.read(min(max(size - (content_at - at) - 16, 0), _MOST_BYTES) if size else -1)
        if len(header) < 8 or size < 8:  # 0: up to the end
            return
        at += size


_MOST_BOXES = 1000


# --- EXIF ------------------------------------------------------------------------------------------------------------


def of_exif(load: Callable[[], Image.Exif]) -> Blocks:
    """The directories wanted of what `load` gives; broken ones must not cost the picture, nor one the others."""
    try:
        exif = load()
        main = {tag: exif[tag] for tag in metadata_parser.MAIN_TAGS if tag in exif}
        xmp, iptc, photoshop = (_as_written(exif, tag) for tag in (_XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG))
    except Exception:
        return Blocks()
    return Blocks(
        main={tag: _single(value) for tag, value in main.items()},
        photo=_directory(exif, _EXIF_BLOCK, metadata_parser.PHOTO_TAGS),
        gps=_directory(exif, _GPS_BLOCK, metadata_parser.GPS_TAGS),
        xmp=xmp,
        iptc=iptc_of(iptc, photoshop),
    )


def iptc_of(iptc: bytes, photoshop: bytes) -> bytes:
    """IPTC's block of a TIFF: that of its own tag or, where that is damaged or missing, of Photoshop's."""
    if photoshop and not metadata_parser.is_whole_iptc(iptc):
        return photoshop_resources(photoshop).get(_PHOTOSHOP_IPTC, iptc)
    return iptc


def _as_written(exif: Image.Exif, tag: int) -> bytes:
    """The bytes of a tag, whatever type it claims to have: XMP and IPTC come as numbers of 8 or 32 bits, too."""
    directory = exif._info  # what `exif[tag]` reads from; it keeps the values as they are in the file
    return bytes(directory._tagdata.get(tag, b"")) if directory is not None else b""


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
