"""A camera's own files: pixels through LibRaw, and the metadata around them, of which LibRaw tells too little.

Apart from the rest because LibRaw takes time to load.
"""

import io
from calendar import timegm
from typing import Any, BinaryIO

import rawpy
from PIL import Image

from rclip.photo import metadata_parser
from rclip.photo.failures import DecodeError
from rclip.photo.image import metadata_blocks
from rclip.photo.image.geometry import EXIF_ORIENTATION, orientation_of, upright_size
from rclip.photo.image.opened import Opened, Room
from rclip.photo.image.opening import draft, loaded
from rclip.photo.metadata import PhotoMetadata
from rclip.photo.metadata_parser import Blocks

_ORIENTATION_OF_FLIP = {1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}  # LibRaw's `flip` in EXIF's terms


def opened(stream: BinaryIO, resolution: int, room: Room) -> Opened | None:
    """The camera's own preview where it is large enough, else the sensor's data developed at half size.

    None for what LibRaw does not know: it may be an ordinary TIFF under a camera's suffix.
    """
    contents = stream.read()
    try:
        raw = rawpy.imread(io.BytesIO(contents))
    except rawpy.LibRawError:
        stream.seek(0)
        return None
    with raw:
        metadata = _metadata(raw, contents)
        preview = _preview(raw, contents, resolution, room)
        if preview:
            return preview._replace(metadata=metadata)
        room.claim(raw.sizes.raw_width, raw.sizes.raw_height)
        developed = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)  # turned upright by LibRaw
    image = Image.fromarray(developed)
    return Opened(image, 1, image.size, metadata)


def _preview(raw: rawpy.RawPy, contents: bytes, resolution: int, room: Room) -> Opened | None:
    """The picture that the camera stored beside the sensor's data, if it is whole and large enough."""
    try:
        thumbnail = raw.extract_thumb()
    except (rawpy.LibRawError, rawpy.NotSupportedError):  # there is none, or it is broken or of a kind unknown
        return None
    data = thumbnail.data
    if not isinstance(data, bytes):
        if data.nbytes > len(contents) or data.tobytes() not in contents:
            return None  # not all of it, or nothing like it, is in the file: LibRaw would hand out what is in memory
        image = Image.fromarray(data)
        return None if min(image.size) < resolution else Opened(image, _orientation(raw, image), image.size)
    if data[len(data) // 2 :] not in contents:
        return None  # the file is cut off, and LibRaw fills up with what its memory held: another file's preview
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    size = image.size
    orientation = _orientation(raw, image)
    draft(image, resolution)
    if min(size) < resolution:
        return None
    room.claim(*image.size)
    try:
        preview = loaded(Opened(image, orientation, size, jpeg=io.BytesIO(data)), resolution)
    except (DecodeError, OSError):
        return None
    return None if preview.missing_percent else preview


def _orientation(raw: rawpy.RawPy, preview: Image.Image) -> int:
    """Of the preview: its own, or that of the sensor's data, unless it is stored upright though these lie on a side."""
    upright = upright_size((raw.sizes.width, raw.sizes.height), _ORIENTATION_OF_FLIP.get(raw.sizes.flip, 1))
    possible = [_ORIENTATION_OF_FLIP.get(raw.sizes.flip, 1), 1]
    if EXIF_ORIENTATION in preview.getexif():
        possible.insert(0, orientation_of(preview))
    return next((each for each in possible if _are_alike(upright_size(preview.size, each), upright)), possible[0])


def _are_alike(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether both are wide or both are high; where one is nearly square, that tells nothing."""
    (width, height), (other_width, other_height) = size, other
    is_square = max(width, height) <= _NEARLY * min(width, height) or max(other) <= _NEARLY * min(other)
    return is_square or (width > height) == (other_width > other_height)


_NEARLY = 1.05


# --- what the file says of itself ------------------------------------------------------------------------------------


def _metadata(raw: rawpy.RawPy, contents: bytes) -> PhotoMetadata:
    stored_size = raw.sizes.width, raw.sizes.height
    found = metadata_parser.parse(
        blocks_of(contents), *upright_size(stored_size, _ORIENTATION_OF_FLIP.get(raw.sizes.flip, 1))
    )
    taken = raw.other.timestamp  # all that there is of formats that are no TIFFs, as Canon's first and Sigma's
    if found.captured_s is None and taken and taken.year > _NO_YEAR:
        return found._replace(captured_s=timegm(taken.timetuple()))
    return found


_NO_YEAR = 1970  # which is what an unknown time is, or one of a camera whose clock was never set


_RAF_PREVIEW_AT = 84
_CR3_BOXES = (b"CMT1", b"CMT2", b"CMT4")  # main, photo, GPS
_CR3_BOXES_WITHIN_BYTES = 1 << 16


def blocks_of(contents: bytes) -> Blocks:
    """Nearly all are TIFFs, if under marks of their own; Fuji's hold a JPEG, Canon's newest the blocks in boxes."""
    if contents.startswith(b"\0MRM"):  # Minolta's: a TIFF among its blocks
        contents = contents[contents.find(b"\0TTW", 0, _CR3_BOXES_WITHIN_BYTES) + 8 :]
    if contents[:2] in (b"II", b"MM"):
        return metadata_blocks.of_exif(lambda: _exif_of_tiff(contents))
    if contents.startswith(b"FUJIFILM"):
        at = int.from_bytes(contents[_RAF_PREVIEW_AT : _RAF_PREVIEW_AT + 4], "big")
        try:
            return metadata_blocks.of_info(Image.open(io.BytesIO(contents[at:]), formats=["JPEG"]).info)
        except Exception:  # the picture may be readable all the same
            return Blocks()
    main, photo, gps = (_directory_in_box(contents, name) for name in _CR3_BOXES)
    return Blocks(main, photo, gps)


def _directory_in_box(contents: bytes, name: bytes) -> dict[int, Any]:
    at = contents.find(name, 0, _CR3_BOXES_WITHIN_BYTES)
    size_bytes = int.from_bytes(contents[at - 4 : at], "big") if at >= 4 else 0
    try:
        return dict(metadata_blocks.loaded_exif(contents[at + 4 : at - 4 + size_bytes]))
    except Exception:
        return {}


def _exif_of_tiff(contents: bytes) -> Image.Exif:
    """Told where the first directory is, Pillow does not ask for TIFF's own mark."""
    exif = Image.Exif()
    exif.endian = "<" if contents.startswith(b"II") else ">"
    exif.load_from_fp(io.BytesIO(contents), int.from_bytes(contents[4:8], "little" if exif.endian == "<" else "big"))
    return exif
