"""Variants of formats that real programs write and that Pillow refuses, or shows as what they are not.

Each file holds a drawn picture, which is what has to be seen. ImageMagick and libvips show all of them like this that
they can read.
"""

import io
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageChops, ImageCms

from rclip.photo import image
from rclip.photo.failures import DecodeError
from rclip.photo.image import isobmff
from tests.support import pictures

RESOLUTION = 64
NO_LIMIT = 10**9
DRAWN = pictures.drawn(96, 64)
GRAY = DRAWN.convert("L")
ALPHA = Image.linear_gradient("L").rotate(90).resize(DRAWN.size)


def shown(data: bytes, suffix: str = "tif") -> np.ndarray:
    return np.asarray(image.decode(io.BytesIO(data), suffix, RESOLUTION, NO_LIMIT).square).astype(int)


def difference(data: bytes, picture: Image.Image, suffix: str = "tif") -> float:
    """Mean absolute, in levels of 255, from what is seen of the same picture in a PNG."""
    return float(np.abs(shown(data, suffix) - shown(pictures.saved(picture.convert("RGB"), "PNG"), "png")).mean())


def on_white(picture: Image.Image) -> Image.Image:
    return Image.composite(picture.convert("RGB"), Image.new("RGB", picture.size, "white"), ALPHA)


# --- Photoshop -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_large", [False, True], ids=["PSD", "PSB"])
@pytest.mark.parametrize("compression", [0, 1, 2, 3], ids=["raw", "PackBits", "ZIP", "ZIP of differences"])
@pytest.mark.parametrize(
    ("mode", "depth"),
    [
        *(("1", 1), ("L", 8), ("L", 16), ("L", 32), ("P", 8), ("RGB", 8), ("RGB", 16), ("RGB", 32)),
        *(("CMYK", 8), ("CMYK", 16), ("LAB", 8)),
    ],
)
def test_photoshop_documents_of_each_mode_and_depth(mode: str, depth: int, compression: int, is_large: bool) -> None:
    made = {"P": lambda: DRAWN.quantize(16), "LAB": lambda: pictures.lab(DRAWN)}
    picture = made.get(mode, lambda: DRAWN.convert(mode))()
    if (mode, compression) == ("1", 3):
        pytest.skip("single bits have no differences")
    expected = DRAWN if mode == "LAB" else picture.convert("L") if mode == "1" else picture
    data = pictures.psd(picture, max(depth, 8), compression, is_large)
    assert difference(data, expected, "psd") <= (1.5 if mode == "LAB" else 0.3)


@pytest.mark.parametrize("depth", [8, 16, 32])
@pytest.mark.parametrize("compression", [0, 1])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_saved_selection_is_no_transparency(mode: str, compression: int, depth: int) -> None:
    picture = DRAWN.convert(mode)
    data = pictures.psd(picture, depth, compression, extra=[ALPHA, ALPHA])
    assert difference(data, picture, "psd") <= 0.3


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("depth", [8, 16, 32])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparency_is_what_a_negative_number_of_layers_says(mode: str, depth: int, is_large: bool) -> None:
    """Photoshop stores it on white; what other programs leave under what is transparent is not seen."""
    picture = DRAWN.convert(mode)
    blended = on_white(picture).convert(mode)
    hidden = Image.composite(blended, Image.new(mode, picture.size), ALPHA.point(lambda alpha: 255 if alpha else 0))
    for stored in (blended, hidden, picture):  # the last as ImageMagick writes it
        data = pictures.psd(stored, depth, is_large=is_large, extra=[ALPHA], layer_count=-1)
        assert difference(data, blended, "psd") <= 0.6
    data = pictures.psd(picture, depth, is_large=is_large, extra=[ALPHA], layer_count=1)
    assert difference(data, picture, "psd") <= 0.3


@pytest.mark.parametrize("compression", [0, 1, 2])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_photoshop_document_that_is_cut_off(compression: int, share: float) -> None:
    data = pictures.psd(DRAWN, 16, compression)
    with pytest.raises(DecodeError, match="cut off"):
        shown(data[: int(share * len(data))], "psd")


def test_a_photoshop_document_tells_of_itself() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Canon"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    resource = b"8BIM" + struct.pack(">HBxI", 0x0422, 0, len(block)) + block + b"\0" * (len(block) % 2)
    data = pictures.psd(DRAWN, 16, resources=resource)
    assert image.read_metadata(io.BytesIO(data), "psd", NO_LIMIT).maker == "Canon"


# --- TIFF ------------------------------------------------------------------------------------------------------------


def tiff(values: np.ndarray, planar: str = "contig", **options: Any) -> bytes:
    file = io.BytesIO()
    values = np.moveaxis(values, -1, 0) if planar == "separate" and values.ndim == 3 else values
    if values.ndim == 3:
        options["planarconfig"] = planar
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


def of_type(picture: Image.Image | np.ndarray, dtype: str) -> np.ndarray:
    """Its samples on the whole scale of the type; floats go up to 1."""
    values = np.asarray(picture).astype(np.float64) / 255
    return (values if dtype[0] == "f" else values * np.iinfo(dtype).max).astype(dtype)


LAYOUTS = [
    {"byteorder": "<", "compression": None},
    {"byteorder": ">", "compression": None, "tile": (32, 32)},
    {"byteorder": "<", "compression": "lzw"},
    {"byteorder": ">", "compression": "zlib", "predictor": True},
    {"byteorder": ">", "compression": None, "bigtiff": True},
    {"byteorder": "<", "compression": "zlib", "bigtiff": True, "tile": (16, 32)},
    {"byteorder": "<", "compression": "zstd", "rowsperstrip": 7},
]
TYPES = ["u1", "u2", "u4", "f2", "f4", "f8"]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(map(str, layout.values())))
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", TYPES)
def test_tiffs_of_each_type_and_layout(dtype: str, planar: str, layout: dict[str, Any]) -> None:
    data = tiff(of_type(DRAWN, dtype), planar, photometric="rgb", **layout)
    assert difference(data, DRAWN) <= 1
    for photometric, picture in (("minisblack", GRAY), ("miniswhite", ImageChops.invert(GRAY))):
        data = tiff(of_type(picture, dtype), photometric=photometric, **layout)
        assert difference(data, GRAY) <= 1


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparency_of_tiffs(mode: str, kind: str, dtype: str, planar: str) -> None:
    picture = DRAWN.convert(mode)
    bands = [ImageChops.multiply(band, ALPHA) if kind == "assocalpha" else band for band in picture.split()]
    values = of_type(np.dstack([np.asarray(band) for band in (*bands, ALPHA)]), dtype)
    photometric = "rgb" if mode == "RGB" else "minisblack"
    data = tiff(values, planar, photometric=photometric, extrasamples=[kind])
    assert difference(data, picture if kind == "unspecified" else on_white(picture)) <= 1


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_cmyk_tiffs(dtype: str, planar: str) -> None:
    cmyk = DRAWN.convert("CMYK")
    assert difference(tiff(of_type(cmyk, dtype), planar, photometric="separated"), cmyk) <= 1


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("scale", [1, 257], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_a_color_map_may_be_of_8_bits(compression: str | None, scale: int, byteorder: str) -> None:
    picture = DRAWN.quantize(64)
    colors = np.frombuffer(bytes(picture.getpalette() or ()).ljust(768, b"\0"), np.uint8).reshape(256, 3).T
    data = tiff(
        np.asarray(picture),
        photometric="palette",
        colormap=colors.astype(np.uint16) * scale,
        compression=compression,
        byteorder=byteorder,
    )
    assert difference(data, picture) <= 0.3


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_tiff_that_pillow_does_not_read_is_turned_and_tells_of_itself(bigtiff: bool, orientation: int) -> None:
    stored = pictures.as_stored(DRAWN, orientation)
    tags = [(274, "H", 1, orientation, True), (271, "s", 0, "Canon", True), (700, "B", len(XMP), XMP, True)]
    data = tiff(
        of_type(stored, "u4"),
        photometric="rgb",
        bigtiff=bigtiff,
        byteorder=">",
        extratags=tags,
        datetime="2011:05:06 07:08:09",
    )
    assert difference(data, DRAWN) <= 0.3
    found = image.read_metadata(io.BytesIO(data), "tif", NO_LIMIT)
    assert (found.width, found.height, found.maker, found.rating) == (*DRAWN.size, "Canon", 4)
    assert found.captured_s == 1_304_665_689  # date -u -d '2011-05-06 07:08:09' +%s


def test_lab_of_floats() -> None:
    """Of D50, in which sRGB's red is 54.29, 80.81, 69.89; libvips writes such files."""
    lab = np.full((64, 96, 3), (100, 0, 0), np.float32)
    lab[16:48, 24:72] = 54.29, 80.81, 69.89
    data = tiff(lab, photometric="rgb")
    at = data.index(struct.pack("<HHI", 262, 3, 1)) + 8
    expected = Image.new("RGB", (96, 64), "white")
    expected.paste("red", (24, 16, 72, 48))
    assert difference(data[:at] + b"\x08\0" + data[at + 2 :], expected) <= 4


def test_whole_numbers_of_32_bits_reach_up_to_16_or_to_32() -> None:
    assert difference(pictures.saved(Image.fromarray(np.asarray(GRAY).astype(np.int32) * 257), "TIFF"), GRAY) <= 0.3
    assert difference(tiff(of_type(GRAY, "u4"), photometric="minisblack"), GRAY) <= 0.3


# --- BMP -------------------------------------------------------------------------------------------------------------


def bmp(depth: int, masks: tuple[int, ...], header_bytes: int = 40, is_top_down: bool = False) -> bytes:
    """Of the drawn picture and, where there is a fourth mask, of its transparency."""
    fields = [*np.asarray(DRAWN).transpose(2, 0, 1), np.asarray(ALPHA)][: len(masks)]
    pixels = np.zeros(DRAWN.size[::-1], np.uint32)
    for values, mask in zip(fields, masks, strict=True):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            pixels |= (values / 255 * (mask >> shift)).round().astype(np.uint32) << np.uint32(shift)
    rows = pixels if is_top_down else pixels[::-1]
    data = rows.astype("<u2" if depth == 16 else "<u4").tobytes()
    height = -DRAWN.height if is_top_down else DRAWN.height
    compression = 6 if header_bytes == 40 and len(masks) == 4 else 3
    header = struct.pack(
        "<IiiHHIIiiII", header_bytes, DRAWN.width, height, 1, depth, compression, len(data), 0, 0, 0, 0
    )
    rest = struct.pack(f"<{len(masks)}I", *masks)
    rest = rest.ljust(header_bytes - 40, b"\0") if header_bytes > 40 else rest
    start = 14 + len(header) + len(rest)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + rest + data


@pytest.mark.parametrize("is_top_down", [False, True])
@pytest.mark.parametrize("header_bytes", [40, 52, 108, 124])
@pytest.mark.parametrize(
    ("depth", "masks", "within"),
    [
        (32, (0x3FF00000, 0x000FFC00, 0x000003FF), 0.5),  # 10 bits a color
        (32, (0x000000FF, 0x0000FF00, 0x00FF0000), 0.5),
        (32, (0x0000FF00, 0x00FF0000, 0xFF000000), 0.5),
        (32, (0xFF000000, 0x0000FF00, 0x00FF0000), 0.5),
        (32, (0x00FF0000, 0x0000FF00, 0x000000FF), 0.5),
        (16, (0xF800, 0x07E0, 0x001F), 3),
        (16, (0x7C00, 0x03E0, 0x001F), 3),
        (16, (0x001F, 0x07E0, 0xF800), 3),
        (16, (0x0F00, 0x00F0, 0x000F), 6),
    ],
)
def test_bit_fields_of_bmps(
    depth: int, masks: tuple[int, ...], within: float, header_bytes: int, is_top_down: bool
) -> None:
    assert difference(bmp(depth, masks, header_bytes, is_top_down), DRAWN, "bmp") <= within


@pytest.mark.parametrize("header_bytes", [40, 56, 124])
@pytest.mark.parametrize(
    ("depth", "masks", "within"),
    [
        (32, (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000), 0.6),
        (32, (0xFF000000, 0x00FF0000, 0x0000FF00, 0x000000FF), 0.6),
        (32, (0x3FF00000, 0x000FFC00, 0x000003FF, 0xC0000000), 40),  # four steps of transparency
        (16, (0x0F00, 0x00F0, 0x000F, 0xF000), 8),
    ],
)
def test_a_bmps_bit_field_of_transparency(depth: int, masks: tuple[int, ...], within: float, header_bytes: int) -> None:
    assert difference(bmp(depth, masks, header_bytes), on_white(DRAWN), "bmp") <= within


def test_a_bmp_whose_transparency_was_never_set_is_opaque() -> None:
    data = bmp(32, (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000), 124)
    pixels = np.frombuffer(data[138:], "<u4") & 0x00FFFFFF
    assert difference(data[:138] + pixels.tobytes(), DRAWN, "bmp") <= 0.5


def test_a_bmp_of_bit_fields_that_is_cut_off() -> None:
    data = bmp(32, (0x3FF00000, 0x000FFC00, 0x000003FF))
    for length in (60, 200, len(data) - 1):
        with pytest.raises(DecodeError, match=r"cut off|not a picture"):
            shown(data[:length], "bmp")


# --- JPEG 2000 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_jpeg_2000_of_more_than_8_bits(bands: int, bits: int, codec: str) -> None:
    """White stays white, as in ImageMagick."""
    picture = Image.new("RGB", (96, 64), "white")
    picture.paste(DRAWN.resize((48, 32)), (24, 16))
    picture = picture.convert("L") if bands == 1 else picture
    values = np.asarray(picture) if bands < 4 else np.dstack([np.asarray(picture), np.asarray(ALPHA)])
    scaled = (values.astype(np.float64) / 255 * (2**bits - 1)).round().astype(np.uint16)
    options: dict[str, Any] = {
        "level": 0,
        "reversible": True,
        "mct": False,
        "bitspersample": bits,
        "codecformat": codec,
    }
    data = bytes(imagecodecs.jpeg2k_encode(scaled, **options))
    assert difference(data, on_white(picture) if bands == 4 else picture, "jp2") <= 1


# --- PNG -------------------------------------------------------------------------------------------------------------


def noisy() -> np.ndarray:
    rng = np.random.default_rng(3)
    values = np.asarray(pictures.drawn(200, 150)).astype(int) + rng.integers(-20, 20, (150, 200, 3))
    return values.clip(0, 255).astype(np.uint8)


def chunks_of(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        found.append((kind, png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_of(chunks: list[tuple[bytes, bytes]], damaged: bytes = b"") -> bytes:
    """The checksum of the chunks of the kind that is `damaged` is wrong."""
    parts = []
    for kind, content in chunks:
        chunk = pictures.png_chunk(kind, content)
        parts.append(chunk[:-1] + bytes([chunk[-1] ^ 1]) if kind == damaged else chunk)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def interlaced(values: np.ndarray) -> bytes:
    """Adam7 (ISO/IEC 15948, 8.2), without filters."""
    passes = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
    rows = b"".join(
        b"\0" + row.tobytes() for x, dx, y, dy in passes for row in values[y::dy, x::dx] if values[y::dy, x::dx].size
    )
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 8, 2, 0, 0, 1)
    return png_of([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


@pytest.mark.parametrize("write", [pictures.png, interlaced], ids=["rows", "interlaced"])
@pytest.mark.parametrize("kind", ["cut", "hole", "hole with a right checksum", "short", "short, and an end"])
def test_a_png_of_which_rows_are_missing_is_damaged(kind: str, write: Any) -> None:
    data = write(noisy())
    middle = len(data) // 2
    (header, content), *_ = [chunk for chunk in chunks_of(data) if chunk[0] == b"IDAT"]
    half = content[: len(content) // 2]
    damaged = {
        "cut": data[:middle],
        "hole": data[:middle] + b"\0" * 64 + data[middle + 64 :],
        "hole with a right checksum": png_of(
            [
                (k, c[: len(c) // 2] + b"\xff" * 64 + c[len(c) // 2 + 64 :] if k == header else c)
                for k, c in chunks_of(data)
            ]
        ),
        "short": png_of([(k, half if k == header else c) for k, c in chunks_of(data)][:-1]),
        "short, and an end": png_of([(k, half if k == header else c) for k, c in chunks_of(data)]),
    }[kind]
    with pytest.raises(DecodeError, match=r"^damaged: \d\d % of the picture is missing$"):
        shown(damaged, "png")


@pytest.mark.parametrize("write", [pictures.png, interlaced], ids=["rows", "interlaced"])
def test_a_png_is_whole_that_lacks_its_end_or_has_a_wrong_checksum(write: Any) -> None:
    data = write(noisy())
    expected = shown(data, "png")
    for other in (data[:-12], data[:-16], png_of(chunks_of(data), damaged=b"IDAT"), data + b"junk"):
        assert (shown(other, "png") == expected).all()


def test_a_black_or_transparent_end_of_a_png_is_no_damage() -> None:
    values = noisy()
    values[100:] = 0
    for data in (pictures.png(values), interlaced(values), pictures.saved(Image.new("RGBA", (9, 9)), "PNG")):
        shown(data, "png")


ANCILLARY = {
    b"gAMA": struct.pack(">I", 45455),
    b"pHYs": struct.pack(">IIB", 2835, 2835, 1),
    b"tEXt": b"Comment\0a lake",
    b"zTXt": b"Comment\0\0" + zlib.compress(b"a lake"),
    b"iTXt": b"Comment\0\0\0\0\0a lake",
    b"iCCP": b"sRGB\0\0" + zlib.compress(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    b"eXIf": pictures.exif(1).removeprefix(b"Exif\0\0"),
    b"tIME": b"\x07\xdb\5\6\7\x08\x09",
    b"prVt": b"private",
}


@pytest.mark.parametrize("kind", ANCILLARY, ids=bytes.decode)
@pytest.mark.parametrize("damage", ["checksum", "content", "emptied", "length", "huge length"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_damaged_ancillary_chunk_costs_no_more_than_what_it_says(place: str, damage: str, kind: bytes) -> None:
    values = np.asarray(DRAWN)
    content = ANCILLARY[kind]
    chunk = pictures.png_chunk(kind, content)
    damaged = {
        "checksum": chunk[:-1] + bytes([chunk[-1] ^ 1]),
        "content": pictures.png_chunk(kind, bytes(byte ^ 0xAA for byte in content)),
        "emptied": pictures.png_chunk(kind, b""),
        "length": struct.pack(">I", len(content) - 1) + chunk[4:],
        "huge length": struct.pack(">I", 1 << 30) + chunk[4:],
    }[damage]
    rating = (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    whole = pictures.png(values, rating)
    at = whole.index(b"IDAT") - 4 if place == "before" else len(whole) - 12
    data = whole[:at] + damaged + whole[at:]
    assert difference(data, DRAWN, "png") <= 0.3
    if damage == "checksum":
        assert image.read_metadata(io.BytesIO(data), "png", NO_LIMIT).rating == 4


XMP = (
    b'<r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<r:Description xmlns:x="http://ns.adobe.com/xap/1.0/" x:Rating="4"/></r:RDF>'
)


# --- HEIC and AVIF ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
def test_heic_is_turned_by_its_exif_where_the_container_does_not_turn_it(orientation: int) -> None:
    stored = pictures.as_stored(DRAWN, orientation)
    data = pictures.saved(stored, "HEIF", quality=95, exif=pictures.exif(orientation))
    without = data.replace(b"irot", b"free").replace(b"imir", b"free")
    assert isobmff.primary_properties(io.BytesIO(without))
    assert difference(data, DRAWN, "heic") <= 5
    assert difference(without, DRAWN, "heic") <= 5
    found = image.read_metadata(io.BytesIO(without), "heic", NO_LIMIT)
    assert (found.width, found.height) == DRAWN.size


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
def test_an_avif_whose_alpha_channel_does_not_tell_its_size(orientation: int) -> None:
    """Its items' properties end in `ispe pixi av1C auxC`; the first becomes one more `pixi`. libvips reads it."""
    picture = DRAWN.copy()
    picture.putalpha(ALPHA)
    stored = pictures.as_stored(picture, orientation)
    data = pictures.saved(stored, "AVIF", quality=95, exif=pictures.exif(orientation))
    found = re.compile(rb"\x00\x02[\x04-\x07]\x01(.)", re.DOTALL).search(data, data.index(b"ipma"))
    assert found
    broken = data[: found.start() + 3] + found[1] + data[found.start() + 4 :]
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(broken))
    assert difference(broken, on_white(DRAWN), "avif") <= 5


@pytest.mark.parametrize(("quarters", "axis"), [(q, a) for q in range(4) for a in (None, 0, 1)])
def test_the_containers_turns_in_exifs_terms(quarters: int, axis: int | None) -> None:
    """`irot` turns against the clock, then `imir` 0 swaps top and bottom, 1 left and right (ISO/IEC 23008-12)."""
    properties = [isobmff.Property(b"irot", bytes([quarters]))]
    turned = DRAWN.rotate(90 * quarters, expand=True)
    if axis is not None:
        properties.append(isobmff.Property(b"imir", bytes([axis])))
        turned = turned.transpose((Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_LEFT_RIGHT)[axis])
    orientation = isobmff.orientation(properties)
    assert pictures.as_stored(turned, orientation).tobytes() == DRAWN.tobytes()


def test_containers_that_make_no_sense_tell_nothing() -> None:
    data = pictures.saved(DRAWN, "HEIF")
    for length in range(0, 400, 7):
        isobmff.primary_properties(io.BytesIO(data[:length]))
    assert isobmff.primary_properties(io.BytesIO(b"\0\0\0\x08free" * 100_000)) == []
    assert isobmff.primary_properties(io.BytesIO(b"\0\0\0\x00")) == []


@pytest.mark.parametrize(
    ("numbers", "box"),
    [
        ((48, 1, 32, 1, 0, 1, 0, 1), (24, 16, 72, 48)),
        ((40, 1, 20, 1, -28, 1, 22, 1), (0, 44, 40, 64)),
        ((96, 2, 64, 2, 1, 2, -1, 2), (24, 16, 72, 48)),
        ((96, 1, 64, 1, 0, 1, 0, 1), (0, 0, 96, 64)),
        ((97, 1, 64, 1, 0, 1, 0, 1), None),
        ((48, 0, 32, 1, 0, 1, 0, 1), None),
        ((0, 1, 32, 1, 0, 1, 0, 1), None),
    ],
)
def test_the_clean_aperture(numbers: tuple[int, ...], box: tuple[int, int, int, int] | None) -> None:
    properties = [isobmff.Property(b"clap", struct.pack(">8i", *numbers))]
    assert isobmff.clean_aperture(properties, (96, 64)) == box


# --- colours ---------------------------------------------------------------------------------------------------------

DISPLAY_P3 = ((0.6797, 0.3203), (0.2656, 0.6895), (0.1504, 0.0605))
ADOBE_RGB = ((0.6399, 0.33), (0.21, 0.71), (0.15, 0.06))
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))


def matrix_profile(primaries: tuple[tuple[float, float], ...], gamma: float, white: tuple[float, float]) -> bytes:
    """An ICC profile of such a colour space (ICC.1:2001-04), its colours adapted to D50 by Bradford's method."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white_xyz = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    d50 = np.array([0.9642, 1, 0.8249])
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    adapted = np.linalg.inv(bradford) @ np.diag((bradford @ d50) / (bradford @ white_xyz)) @ bradford
    columns = adapted @ (xyz * np.linalg.solve(xyz, white_xyz))

    def fixed(values: Any) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    name = b"desc\0\0\0\0" + struct.pack(">I", 6) + b"tests\0" + bytes(78)
    tags = {b"desc": name, b"wtpt": fixed(d50), b"rXYZ": fixed(columns[:, 0]), b"gXYZ": fixed(columns[:, 1])}
    tags |= {
        b"bXYZ": fixed(columns[:, 2]),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
        b"cprt": b"text\0\0\0\0-\0\0\0",
    }
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        padded = content.ljust(-(-len(content) // 4) * 4, b"\0")
        table += struct.pack(">4sII", tag, 132 + 12 * len(tags) + len(body), len(content))
        body += padded
    header = struct.pack(
        ">I4xI4s4s4s12x4s40x", 132 + len(table) - 4 + len(body), 0x02100000, b"mntr", b"RGB ", b"XYZ ", b"acsp"
    )
    header = header[:68] + struct.pack(">3i", *(round(value * 65536) for value in d50)) + header[80:]
    return header.ljust(128, b"\0") + table + body


@pytest.mark.parametrize(
    ("primaries", "gamma", "white", "stored", "expected"),
    [
        (DISPLAY_P3, 2.2, (0.3127, 0.329), (200, 100, 50), (216, 93, 24)),
        (ADOBE_RGB, 2.2, (0.3127, 0.329), (120, 180, 90), (81, 181, 83)),
        (PROPHOTO, 1.8, (0.3457, 0.3585), (150, 120, 80), (197, 131, 90)),
    ],
    ids=["Display P3", "Adobe RGB", "ProPhoto"],
)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP", "HEIF", "AVIF", "PSD"])
def test_colors_of_a_profile_are_seen_in_srgb(
    format_name: str, primaries: Any, gamma: float, white: tuple[float, float], stored: Any, expected: Any
) -> None:
    """libvips gives these of the PNGs, by `vips icc_transform --embedded`, and ImageMagick within a level."""
    profile = matrix_profile(primaries, gamma, white)
    picture = Image.new("RGB", (64, 64), stored)
    if format_name == "PSD":
        resource = b"8BIM" + struct.pack(">HBxI", 1039, 0, len(profile)) + profile + b"\0" * (len(profile) % 2)
        data = pictures.psd(picture, resources=resource)
    else:
        options: dict[str, Any] = {"quality": 95} if format_name in ("JPEG", "WEBP", "HEIF", "AVIF") else {}
        data = pictures.saved(picture, format_name, icc_profile=profile, **options)
    got = shown(data, {"HEIF": "heic", "PSD": "psd"}.get(format_name, "png"))
    assert np.abs(got.mean(axis=(0, 1)) - expected).max() <= (3 if format_name not in ("PNG", "TIFF", "PSD") else 1.5)


@pytest.mark.parametrize("profile", [b"", b"junk", b"\0" * 4000, matrix_profile(ADOBE_RGB, 2.2, (0.3127, 0.329))[:300]])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_profile_that_makes_no_sense_is_ignored(mode: str, profile: bytes) -> None:
    data = pictures.saved(DRAWN.convert(mode), "PNG", icc_profile=profile)
    assert difference(data, DRAWN.convert(mode), "png") <= 0.3


def test_a_profile_of_other_colors_than_the_pictures_is_ignored() -> None:
    profile = matrix_profile(ADOBE_RGB, 2.2, (0.3127, 0.329))
    for mode in ("L", "CMYK"):
        picture = DRAWN.convert(mode)
        data = pictures.saved(picture, "JPEG", quality=95, icc_profile=profile)
        assert difference(data, picture, "jpg") <= 2.5


# --- without the packages --------------------------------------------------------------------------------------------


_WITHOUT = """
import importlib.util as found, sys
find_spec = found.find_spec
found.find_spec = lambda name, *more: None if name == "imagecodecs" else find_spec(name, *more)
from rclip.photo import image
from rclip.photo.failures import DecodeError
for path in sys.argv[1:]:
    try:
        image.decode(open(path, "rb"), "tif", 9, 10**9)
        print("seen")
    except DecodeError as error:
        print(error, "|", error.kind.name, "|", error.extra.name)
"""


def test_the_packages_are_named_where_they_are_missing(tmp_path: Path) -> None:
    deep_jp2 = imagecodecs.jpeg2k_encode(of_type(DRAWN, "u2"), level=0, bitspersample=16, codecformat="jp2")
    files = [
        tiff(of_type(DRAWN, "f4"), photometric="rgb"),
        tiff(of_type(DRAWN, "u2"), "separate", photometric="rgb"),
        deep_jp2,
        pictures.saved(DRAWN, "TIFF"),
        tiff(of_type(GRAY, "f4"), photometric="minisblack"),
    ]
    paths = []
    for number, data in enumerate(files):
        paths.append(tmp_path / f"{number}.tif")
        paths[-1].write_bytes(data)
    done = subprocess.run([sys.executable, "-c", _WITHOUT, *paths], capture_output=True, text=True, check=True)
    reason = "uncommon TIFF or JPEG 2000 needs the packages imagecodecs and tifffile"
    missing = f"{reason} | NEEDS_EXTRA | uncommon TIFF or JPEG 2000"
    assert done.stdout.splitlines() == [missing, missing, missing, "seen", "seen"]
