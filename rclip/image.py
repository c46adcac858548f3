"""From a file's bytes to the pixels a model looks at: upright, RGB, square, 8 bits a channel.

The geometry is that of `clip.load`'s preprocessing: the short side is resized to the model's resolution with Pillow's
antialiased bicubic filter and the middle is cut out. We differ from it on purpose where a person would:

- pictures are turned upright by their EXIF orientation first;
- transparent pixels are shown on white, not on whatever colour the file happens to hide under them;
- palettes and 1-bit pictures are expanded before they are resized (Pillow would fall back on nearest-neighbour);
- 16-bit, 32-bit and float samples are brought to 8 bits by scaling, where clip's conversion cuts them off at 255.

Two shortcuts change pixels by less than a level on average, and vectors by 3e-5 in cosine: JPEGs are decoded at 1/2,
1/4 or 1/8 of their size while that is at least one and a half times the resolution (`Image.draft`), and other large
pictures are first reduced by an integer factor.

A change here that gives other pixels for the same file must raise `shelf.PREPROCESSING`.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    PsdImagePlugin,
    QoiImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from rclip import metadata
from rclip.errors import plain_reason
from rclip.facts import Facts
from rclip.formats import HEIF, JXL, RAW, Extra

if TYPE_CHECKING:
    import numpy as np  # most pictures do without, and a decoding process starts in half the time
    import rawpy

# Named one by one: opening an unknown file must neither load every plugin nor start Ghostscript.
_FORMATS = [
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        TiffImagePlugin.TiffImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.BmpImageFile,
        BmpImagePlugin.DibImageFile,
        Jpeg2KImagePlugin.Jpeg2KImageFile,
        AvifImagePlugin.AvifImageFile,
        PpmImagePlugin.PpmImageFile,
        PsdImagePlugin.PsdImageFile,
        QoiImagePlugin.QoiImageFile,
    )
]
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 << 20  # editors store whole histories
Image.MAX_IMAGE_PIXELS = None  # `_open` has a limit of its own, which also knows about scaled decoding

_EXIF_ORIENTATION = 0x0112
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
_ORIENTATION_OF_RAW_FLIP = {1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}  # LibRaw's `flip` in EXIF's terms


class Unreadable(Exception):
    """This file is no picture we can show the model; `str()` says why, in a few words."""


class NotNow(Unreadable):
    """This file cannot be read now, for a reason that is not its own; another time it may."""


class Picture(NamedTuple):
    """What a file shows, and what it says of itself."""

    square: Image.Image
    """RGB"""
    facts: Facts


def pixels(stream: BinaryIO, suffix: str, resolution: int, max_pixels: int) -> "np.ndarray":
    """The middle square of the upright picture. -> (resolution, resolution, 3) uint8

    Takes and raises what `square` does.
    """
    import numpy as np

    return np.asarray(square(stream, suffix, resolution, max_pixels))


def square(
    stream: BinaryIO,
    suffix: str,
    resolution: int,
    max_pixels: int,
    wait_for_turn: Callable[[], None] = lambda: None,
) -> Image.Image:
    """The middle square of the upright picture, in RGB, `resolution` pixels wide and high.

    `suffix` (lower case, without the dot) matters for RAW files only; all others are known by their content.
    Raises `Unreadable` for whatever is wrong with the file; `max_pixels` bounds what is decoded at once.
    `wait_for_turn` is called, once at most, before a large picture is decoded.
    """
    return look(stream, suffix, resolution, max_pixels, wait_for_turn).square


def look(
    stream: BinaryIO,
    suffix: str,
    resolution: int,
    max_pixels: int,
    wait_for_turn: Callable[[], None] = lambda: None,
) -> Picture:
    """What `square` gives, and the facts of the whole picture. Takes and raises what that does."""
    with _decoders_errors():
        image, orientation, size, facts = _open(stream, suffix, resolution, _Room(max_pixels, wait_for_turn))
        info, is_told_late = image.info, _is_told_late(image)
        upright_size = _upright(size, orientation)
        if facts is None and not is_told_late:
            facts = _facts(image, upright_size)
        square = _on_white(_middle_square(_turned(_resizable(image), orientation), upright_size, resolution))
        return Picture(square, facts or metadata.facts(_blocks_of_info(info), *upright_size))


def describe(stream: BinaryIO, suffix: str, max_pixels: int, wait_for_turn: Callable[[], None] = lambda: None) -> Facts:
    """The facts of `look`, for which most formats need not be decoded. Takes and raises what that does."""
    with _decoders_errors():
        image, orientation, size, facts = _open(stream, suffix, _SMALLEST, _Room(max_pixels, wait_for_turn))
        if facts is None:
            if _is_told_late(image):
                image.load()
            facts = _facts(image, _upright(size, orientation))
        return facts


_SMALLEST = 1  # any preview will do


def thumbnail(
    stream: BinaryIO, suffix: str, box: tuple[int, int], max_pixels: int, step: tuple[int, int] = (1, 1)
) -> "np.ndarray":
    """The whole upright picture, as large as `box` (width, height in pixels) takes it. -> (h, w, 3) uint8

    Only one pixel of each `step` (width, height) is made, for a screen that shows no more. `suffix`, `max_pixels` and
    what is raised are as in `square`.
    """
    import numpy as np

    with _decoders_errors():
        image, orientation, size, _ = _open(stream, suffix, min(box), _Room(max_pixels, lambda: None))
        image = _turned(_resizable(image), orientation)
        width, height = _upright(size, orientation)
        scale = min(box[0] / width, box[1] / height)
        made = max(1, round(width * scale / step[0])), max(1, round(height * scale / step[1]))
        return np.asarray(_on_white(image.resize(made, Image.Resampling.BICUBIC, reducing_gap=3.0)))


def as_jpeg(pixels: "np.ndarray") -> bytes:
    """A JPEG file with these pixels. (h, w, 3) uint8"""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def in_few_colors(pixels: "np.ndarray", colors: int) -> "tuple[np.ndarray, np.ndarray]":
    """The pixels dithered to colours chosen for them, 2 to 256. (h, w, 3) uint8 -> (h, w) uint8, (colors, 3) uint8"""
    import numpy as np

    image = Image.fromarray(pixels)
    chosen = image.quantize(colors)
    dithered = image.quantize(palette=chosen, dither=Image.Dither.FLOYDSTEINBERG)
    palette = np.zeros((256, 3), np.uint8)
    stored = np.array(dithered.getpalette(), np.uint8).reshape(-1, 3)
    palette[: len(stored)] = stored
    return np.asarray(dithered), palette[:colors]


def _upright(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    width, height = size
    return (height, width) if orientation in _ON_ITS_SIDE else (width, height)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    """Before the middle is cut out: where that cannot be halved, sides matter."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


@contextmanager
def _decoders_errors() -> Iterator[None]:
    """The per-photo guard: decoders raise anything at all on damaged files."""
    try:
        yield
    except Unreadable:
        raise
    except MemoryError:
        raise Unreadable("it takes too much memory to decode (--max-image-megapixels)") from None
    except ImportError as error:
        raise NotNow(f"a decoder does not work here: {plain_reason(error)}") from error
    except Exception as error:
        is_the_systems = isinstance(error, OSError) and error.errno is not None
        raise (NotNow if is_the_systems else Unreadable)(_reason(error)) from error


class _Room:
    """The memory that a picture may take, to be asked for before it is decoded."""

    def __init__(self, max_pixels: int, wait_for_turn: Callable[[], None]):
        self._max_pixels = max_pixels
        self._wait_for_turn = wait_for_turn
        self._has_waited = False

    def claim(self, width: int, height: int) -> None:
        """Raises `Unreadable` for a picture above the limit."""
        if width * height > self._max_pixels:
            limit = f"{self._max_pixels / 1e6:.3g} megapixels"
            raise Unreadable(f"{width}×{height} is more than {limit} (--max-image-megapixels)")
        if width * height > _LARGE_PIXELS and not self._has_waited:
            self._has_waited = True
            self._wait_for_turn()


_LARGE_PIXELS = 32_000_000
"""Beyond so many, memory would grow with the number of those who decode at the same time."""


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "damaged, or not a picture in a format known here"
    if str(error).startswith("Generic Error"):  # pillow_jxl's word for everything, with advice for developers
        return "damaged JPEG XL"
    if error.args and isinstance(error.args[0], bytes):  # rawpy's, and some of Pillow's with what it met in the file
        return plain_reason(Exception(error.args[0].decode(errors="replace")))
    if isinstance(error, OSError | SyntaxError | RuntimeError) or type(error).__module__ != "builtins":
        return plain_reason(error)
    return f"damaged ({plain_reason(error)})"  # an error of a decoder's own, like "division by zero"


class NeedsExtra(Unreadable):
    """The file could be read with a package that is not installed."""

    def __init__(self, extra: Extra):
        super().__init__(f"{extra.name} needs the package {extra.package}")
        self.extra = extra


# --- opening ---------------------------------------------------------------------------------------------------------


class _Opened(NamedTuple):
    """A picture, not yet decoded where Pillow can wait."""

    image: Image.Image
    orientation: int
    """EXIF's; 1 when upright."""
    size: tuple[int, int]
    """Width and height as stored, which scaled decoding rounds up to a whole fraction."""
    facts: Facts | None = None
    """None where `_facts` finds them in the picture."""


def _open(stream: BinaryIO, suffix: str, resolution: int, room: _Room) -> _Opened:
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    if not head:
        raise Unreadable("the file is empty")
    if suffix in RAW.suffixes and not _is_plain_picture(head):
        opened = _open_raw(stream, resolution, room)
        if opened:
            return opened
    extra = _extra_for(head)
    formats = [_teach_pillow(extra)] if extra else _FORMATS
    size = _size_before_opening(head, stream, extra)
    if size:
        room.claim(*size)
    stream.seek(0)
    image = Image.open(stream, formats=formats)
    size = image.size
    if image.format in ("JPEG", "MPO"):
        has_many_scans = _has_many_scans(image, stream)
        _draft(image, resolution)
        if has_many_scans:
            room.claim(*size)
    room.claim(*image.size)
    return _Opened(image, _orientation(image), size)


def _size_before_opening(head: bytes, stream: BinaryIO, extra: Extra | None) -> tuple[int, int] | None:
    """Of the formats for which opening a file takes the memory of decoding it."""
    if extra == JXL:
        return _jxl_size(stream)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp_size(head)
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height as a WebP's header has them (RFC 9649)."""
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None


def _has_many_scans(jpeg: Image.Image, stream: BinaryIO) -> bool:
    """Whether libjpeg has to keep the coefficients of the whole picture until the last scan, also for a draft of it."""
    if "progressive" in jpeg.info:
        return True
    at = stream.tell()
    _, _, components_in_scan = stream.read(3).ljust(3, b"\0")  # Pillow has stopped behind the scan's marker
    stream.seek(at)
    return components_in_scan < len(jpeg.getbands())


def _draft(jpeg: Image.Image, resolution: int) -> None:
    """Has the decoder compute no more of each block than is wanted, which takes a fraction of the time."""
    side = resolution * 3 // 2
    jpeg.draft(None, (side, side))


def _orientation(image: Image.Image) -> int:
    is_jpeg_in_jxl = image.format == "JXL" and getattr(image, "jpeg", False)
    if image.format in ("HEIF", "JXL", "TIFF") and not is_jpeg_in_jxl:
        return 1  # their decoders turn the picture themselves
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # broken EXIF must not cost the picture
        return 1


def _is_plain_picture(head: bytes) -> bool:
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8"))


_JXL_ASPECT_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def _jxl_size(stream: BinaryIO) -> tuple[int, int]:
    """Width and height as a JPEG XL's header has them (ISO/IEC 18181-1, SizeHeader)."""
    bits = int.from_bytes(_jxl_codestream_start(stream)[2:], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    in_eights = take(1)

    def side() -> int:
        return (take(5) + 1) * 8 if in_eights else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = _JXL_ASPECT_RATIOS.get(take(3))
    width = height * ratio[0] // ratio[1] if ratio else side()
    return width, height


def _jxl_codestream_start(stream: BinaryIO) -> bytes:
    """Its first 16 bytes, which may lie in a box behind others. Empty when there is none."""
    start = stream.read(16)
    if start.startswith(b"\xff\x0a"):
        return start
    box_at = 0
    while len(start) >= 8:
        size, kind, content_at = int.from_bytes(start[:4], "big"), start[4:8], box_at + 8
        if size == 1:
            size, content_at = int.from_bytes(start[8:16], "big"), box_at + 16
        if kind in (b"jxlc", b"jxlp"):
            stream.seek(content_at + (4 if kind == b"jxlp" else 0))  # a part is numbered first
            return stream.read(16)
        if size < 8:  # 0: up to the end
            break
        box_at += size
        stream.seek(box_at)
        start = stream.read(16)
    return b""


def _open_raw(stream: BinaryIO, resolution: int, room: _Room) -> _Opened | None:
    """The camera's own preview where it is large enough, else the sensor's data developed at half size.

    None for what LibRaw does not know: it may be an ordinary TIFF under a camera's suffix.
    """
    import rawpy

    contents = stream.read()
    try:
        raw = rawpy.imread(io.BytesIO(contents))
    except rawpy.LibRawError:
        stream.seek(0)
        return None
    with raw:
        facts = _facts_of_raw(raw, contents)
        preview = _raw_preview(raw, contents, resolution, room)
        if preview:
            return preview._replace(facts=facts)
        room.claim(raw.sizes.raw_width, raw.sizes.raw_height)
        developed = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)  # turned upright by LibRaw
    image = Image.fromarray(developed)
    return _Opened(image, 1, image.size, facts)


def _raw_preview(raw: "rawpy.RawPy", contents: bytes, resolution: int, room: _Room) -> _Opened | None:
    import rawpy

    try:
        thumbnail = raw.extract_thumb()
    except (rawpy.LibRawError, rawpy.NotSupportedError):  # there is none, or it is broken or of a kind unknown
        return None
    orientation = _ORIENTATION_OF_RAW_FLIP.get(raw.sizes.flip, 1)
    data = thumbnail.data
    if isinstance(data, bytes):  # a JPEG
        if data[len(data) // 2 :] not in contents:
            return None  # the file is cut off, and LibRaw fills up with what its memory held: another file's preview
        image: Image.Image = Image.open(io.BytesIO(data), formats=["JPEG"])
        if _EXIF_ORIENTATION in image.getexif():
            orientation = _orientation(image)
        size = image.size
        _draft(image, resolution)
    else:
        if data.nbytes > len(contents) or data.tobytes() not in contents:
            return None  # not all of it, or nothing like it, is in the file: LibRaw would hand out what is in memory
        image = Image.fromarray(data)
        size = image.size
    if min(size) < resolution:
        return None
    room.claim(*image.size)
    return _Opened(image, orientation, size)


# --- what a file says of itself --------------------------------------------------------------------------------------

_EXIF_BLOCK, _GPS_BLOCK, _XMP_TAG, _IPTC_TAG = 0x8769, 0x8825, 0x02BC, 0x83BB
_PHOTOSHOP_IPTC, _PHOTOSHOP_EXIF, _PHOTOSHOP_XMP = 0x0404, 0x0422, 0x0424


def _is_told_late(image: Image.Image) -> bool:
    """Whether metadata may lie behind the pixels, where many programs put it into PNGs."""
    return image.format == "PNG"


def _facts(image: Image.Image, upright_size: tuple[int, int]) -> Facts:
    if image.format == "TIFF":
        blocks = _blocks_of_exif(image.getexif)
    else:
        blocks = _blocks_of_info(_photoshop_info(image) if image.format == "PSD" else image.info)
    return metadata.facts(blocks, *upright_size)


def _blocks_of_info(info: dict[Any, Any]) -> metadata.Blocks:
    """Of what most of Pillow's plugins note: blocks of EXIF and XMP, and Photoshop's with IPTC's."""
    exif = info.get("exif")
    blocks = _blocks_of_exif(lambda: _loaded_exif(exif)) if isinstance(exif, bytes) else metadata.Blocks()
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


def _blocks_of_exif(load: Callable[[], Image.Exif]) -> metadata.Blocks:
    """The directories wanted of what `load` gives; broken ones must not cost the picture, nor one the others."""
    try:
        exif = load()
        main = {tag: exif[tag] for tag in (*metadata.MAIN_TAGS, _XMP_TAG, _IPTC_TAG) if tag in exif}
    except Exception:
        return metadata.Blocks()
    xmp, iptc = main.get(_XMP_TAG), main.get(_IPTC_TAG)
    if isinstance(iptc, tuple) and all(isinstance(number, int) for number in iptc):  # some write them as 32-bit numbers
        iptc = b"".join((number & 0xFFFFFFFF).to_bytes(4, "little" if exif.endian == "<" else "big") for number in iptc)
    return metadata.Blocks(
        main=main,
        photo=_directory(exif, _EXIF_BLOCK, metadata.PHOTO_TAGS),
        gps=_directory(exif, _GPS_BLOCK, metadata.GPS_TAGS),
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


def _loaded_exif(block: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(block)
    return exif


def _facts_of_raw(raw: "rawpy.RawPy", contents: bytes) -> Facts:
    stored_size = raw.sizes.width, raw.sizes.height
    upright_size = _upright(stored_size, _ORIENTATION_OF_RAW_FLIP.get(raw.sizes.flip, 1))
    return metadata.facts(_blocks_of_raw(contents), *upright_size)


_RAF_PREVIEW_AT = 84
_CR3_BOXES_WITHIN_BYTES = 1 << 16


def _blocks_of_raw(contents: bytes) -> metadata.Blocks:
    """Nearly all are TIFFs, if under marks of their own; Fuji's hold a JPEG, Canon's newest the blocks in boxes."""
    if contents[:2] in (b"II", b"MM"):
        return _blocks_of_exif(lambda: _exif_of_tiff(contents))
    if contents.startswith(b"FUJIFILM"):
        at = int.from_bytes(contents[_RAF_PREVIEW_AT : _RAF_PREVIEW_AT + 4], "big")
        try:
            return _blocks_of_info(Image.open(io.BytesIO(contents[at:]), formats=["JPEG"]).info)
        except Exception:  # the picture may be readable all the same
            return metadata.Blocks()
    main, photo, gps = (_directory_in_box(contents, name) for name in _CR3_BOXES)
    return metadata.Blocks(main, photo, gps)


_CR3_BOXES = (b"CMT1", b"CMT2", b"CMT4")  # main, photo, GPS


def _directory_in_box(contents: bytes, name: bytes) -> dict[int, Any]:
    at = contents.find(name, 0, _CR3_BOXES_WITHIN_BYTES)
    size_bytes = int.from_bytes(contents[at - 4 : at], "big") if at >= 4 else 0
    try:
        return dict(_loaded_exif(contents[at + 4 : at - 4 + size_bytes]))
    except Exception:
        return {}


def _exif_of_tiff(contents: bytes) -> Image.Exif:
    """Told where the first directory is, Pillow does not ask for TIFF's own mark."""
    exif = Image.Exif()
    exif.endian = "<" if contents.startswith(b"II") else ">"
    exif.load_from_fp(io.BytesIO(contents), int.from_bytes(contents[4:8], "little" if exif.endian == "<" else "big"))
    return exif


# --- to a square of RGB ----------------------------------------------------------------------------------------------


def _middle_square(image: Image.Image, size: tuple[int, int], resolution: int) -> Image.Image:
    """Resize the short side to `resolution` and cut out the middle, in one step.

    Same arithmetic as torchvision's `Resize` and `CenterCrop`, but the sides that would be cut off are never computed:
    a strip of 1×10,000 pixels would else become 224×2,240,000. It is done on the `size` that the picture has in full:
    where it was decoded smaller, rounding anew would shift the square by half a pixel, which CLIP notices.
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
    return image.resize((resolution, resolution), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)


def _resizable(image: Image.Image) -> Image.Image:
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


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


# --- formats that need a package of their own ------------------------------------------------------------------------

_HEAD_BYTES = 64
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_SHARED_BRANDS = (b"mif1", b"msf1")


def _extra_for(head: bytes) -> Extra | None:
    """What a file that starts with `head` (`_HEAD_BYTES`) needs, whatever it is called. RAW files look like TIFFs."""
    if head[4:8] == b"ftyp" and _is_heic(head[8:12], head[16 : int.from_bytes(head[:4], "big")]):
        return HEIF
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return JXL
    return None


def _is_heic(brand: bytes, other_brands: bytes) -> bool:
    """AVIF comes in the same container, and at times under the brand of both."""
    return brand in _HEIC_BRANDS or (
        brand in _SHARED_BRANDS and b"avif" not in other_brands and b"avis" not in other_brands
    )


@cache
def _teach_pillow(extra: Extra) -> str:
    """Registers the format and returns Pillow's name for it. Raises `NeedsExtra` without the package."""
    if not extra.installed():
        raise NeedsExtra(extra)
    if extra == HEIF:
        import pillow_heif

        pillow_heif.register_heif_opener()
        return "HEIF"
    import pillow_jxl  # noqa: F401 - registers itself

    return "JXL"
