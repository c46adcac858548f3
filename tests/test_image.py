"""Files of every format in, pixels out: compared with what clip's own preprocessing makes of the same picture."""

import io
import random
import struct
from functools import cache

import clip.clip
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from rclip import formats
from rclip.photo import image
from rclip.photo.failures import DecodeError
from tests.support import pictures

RESOLUTION = 112
NO_LIMIT = 10**9

# Mean absolute differences, in levels of 0…255, between what we show the model and what clip would.
EXACT = 0.1  # now and then a pixel is rounded the other way
NEAR = 0.3  # colours averaged before they are converted, or converted before they are averaged
LOSSY = 2.5  # what the encoder threw away
DITHERED = 3.5
DEVELOPED = 16.0  # LibRaw brightens until the lightest hundredth is white

MEAN = np.array((0.48145466, 0.4578275, 0.40821073))
SPREAD = np.array((0.26862954, 0.26130258, 0.27577711))


def as_clip_sees(upright: Image.Image, resolution: int = RESOLUTION) -> np.ndarray:
    """The pixels that clip's own preprocessing gives its model, with its normalization undone."""
    return _preprocessed_by_clip(upright.convert("RGB").tobytes(), upright.size, resolution)


@cache  # most tests compare with the same picture
def _preprocessed_by_clip(rgb: bytes, size: tuple[int, int], resolution: int) -> np.ndarray:
    normalized = clip.clip._transform(resolution)(Image.frombytes("RGB", size, rgb)).numpy().transpose(1, 2, 0)
    return ((normalized * SPREAD + MEAN) * 255).round().clip(0, 255).astype(np.uint8)


@cache
def drawn_as(suffix: str) -> bytes:
    return pictures.encode(pictures.drawn(), suffix)


def decode(data: bytes, suffix: str = "jpg", resolution: int = RESOLUTION, max_pixels: int = NO_LIMIT) -> np.ndarray:
    got = np.asarray(image.decode(io.BytesIO(data), suffix, resolution, max_pixels).square)
    assert got.shape == (resolution, resolution, 3)
    assert got.dtype == np.uint8
    return got


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(got.astype(int) - expected.astype(int)).mean())


def assert_shows(data: bytes, upright: Image.Image, within: float, suffix: str = "jpg") -> None:
    assert difference(decode(data, suffix), as_clip_sees(upright)) <= within


def unreadable(data: bytes, suffix: str = "jpg", resolution: int = RESOLUTION, max_pixels: int = NO_LIMIT) -> str:
    """The reason for which this is refused; it must be one line."""
    with pytest.raises(DecodeError) as refusal:
        image.decode(io.BytesIO(data), suffix, resolution, max_pixels)
    reason = str(refusal.value)
    assert reason
    assert reason == " ".join(reason.split())
    return reason


def on_white(picture: Image.Image) -> Image.Image:
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


# Pillow warns of much that it finds in damaged files and goes on; pytest would make errors of its warnings.
tolerates_warnings = pytest.mark.filterwarnings("ignore::UserWarning")

NOT_LOSSLESS = (
    formats.RAW.suffixes | formats.HEIF.suffixes | {"jpg", "jpeg", "jpe", "jfif", "insp", "mpo", "webp", "avif", "gif"}
)


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", sorted(formats.PHOTO_SUFFIXES))
def test_a_file_of_each_suffix_shows_its_picture(suffix: str) -> None:
    picture = pictures.drawn()
    held = picture.convert({"pgm": "L", "pfm": "L", "pbm": "1"}.get(suffix, "RGB"))
    within = EXACT if suffix not in NOT_LOSSLESS else DITHERED if suffix == "gif" else LOSSY
    assert_shows(pictures.encode(picture, suffix), held, within, suffix)


def test_a_gif_shows_the_colors_of_its_palette() -> None:
    data = drawn_as("gif")
    assert_shows(data, Image.open(io.BytesIO(data)).convert("RGB"), EXACT)


@pytest.mark.parametrize("format_name", ["GIF", "PNG", "WEBP", "AVIF", "TIFF", "MPO", "HEIF"])
def test_an_animation_shows_its_first_frame(format_name: str) -> None:
    picture = pictures.drawn()
    within = DITHERED if format_name == "GIF" else LOSSY
    assert_shows(pictures.first_of_two(picture, format_name), picture, within)


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"hevm", b"mif1", b"msf1"])
def test_heic_is_known_by_any_of_its_brands(brand: bytes) -> None:
    data = drawn_as("heic")
    assert_shows(data[:8] + brand + data[12:], pictures.drawn(), LOSSY, "heic")


def test_avif_under_the_brand_that_it_shares_with_heic() -> None:
    data = drawn_as("avif")
    assert data[8:12] == b"avif"
    assert_shows(data[:8] + b"mif1" + data[12:], pictures.drawn(), LOSSY, "avif")


@pytest.mark.parametrize(
    ("true_suffix", "named"),
    [("png", "jpg"), ("jpg", "png"), ("heic", "jpg"), ("jxl", "jpg"), ("avif", "heic"), ("webp", "jxl")]
    + [(true, "arw") for true in ("jpg", "png", "webp", "gif", "heic", "jxl", "avif", "bmp")]
    + [(true, "dng") for true in ("tif", "jpg", "jp2", "psd")],
)
def test_content_counts_and_not_the_suffix(true_suffix: str, named: str) -> None:
    within = DITHERED if true_suffix == "gif" else LOSSY
    assert_shows(drawn_as(true_suffix), pictures.drawn(), within, named)


# --- RAW -------------------------------------------------------------------------------------------------------------


def as_jpeg(picture: Image.Image, longest_side: int) -> bytes:
    smaller = picture.copy()
    smaller.thumbnail((longest_side, longest_side))
    return pictures.saved(smaller, "JPEG", quality=95)


@pytest.mark.parametrize("suffix", sorted(formats.RAW.suffixes))
def test_raw_without_a_preview_is_developed(suffix: str) -> None:
    got = decode(pictures.dng(pictures.red_and_blue()), suffix)
    assert difference(got, as_clip_sees(pictures.red_and_blue())) <= DEVELOPED
    dark, red, blue = (got[rows, columns].mean(axis=(0, 1)) for rows, columns in _PARTS_OF_RED_AND_BLUE)
    assert dark.max() < 60
    assert red[0] > 180 > 80 > red[1:].max()
    assert blue[2] > 180 > 80 > blue[:2].max()


_PARTS_OF_RED_AND_BLUE = (
    (slice(0, 20), slice(None)),
    (slice(40, None), slice(0, 50)),
    (slice(40, None), slice(62, None)),
)


def test_the_developed_picture_is_the_one_photographed() -> None:
    assert_shows(pictures.dng(pictures.drawn()), pictures.drawn(), DEVELOPED, "dng")


def test_a_large_preview_is_shown_in_place_of_the_sensors_samples() -> None:
    preview = as_jpeg(pictures.drawn(), 200)
    assert_shows(pictures.dng(pictures.red_and_blue(), preview=preview), pictures.drawn(), LOSSY, "nef")


def test_a_preview_smaller_than_the_model_needs_is_passed_over() -> None:
    preview = as_jpeg(pictures.drawn(), RESOLUTION)  # its short side is shorter
    assert_shows(pictures.dng(pictures.red_and_blue(), preview=preview), pictures.red_and_blue(), DEVELOPED, "nef")


@pytest.mark.parametrize("kind", ["missing", "half of it is missing", "overwritten"])
def test_a_lost_preview_does_not_cost_the_picture(kind: str) -> None:
    preview = as_jpeg(pictures.drawn(), 200)
    samples_only = pictures.dng(pictures.red_and_blue(), preview=preview)[: -len(preview)]
    rest = {
        "missing": b"",
        "half of it is missing": preview[: len(preview) // 2],
        "overwritten": b"lost" * len(preview),
    }
    assert_shows(samples_only + rest[kind], pictures.red_and_blue(), DEVELOPED, "nef")


def test_a_cut_off_raw_file_never_shows_the_preview_of_the_one_before() -> None:
    """LibRaw hands out what its memory holds for what the file lacks; a preview decoded before, as it happens."""
    preview = as_jpeg(pictures.drawn(), 200)
    whole = pictures.dng(pictures.red_and_blue(), preview=preview)
    for _ in range(20):
        assert_shows(whole, pictures.drawn(), LOSSY, "nef")
        assert_shows(whole[: -len(preview)], pictures.red_and_blue(), DEVELOPED, "nef")


def test_the_limit_counts_the_previews_pixels() -> None:
    data = pictures.dng(pictures.red_and_blue(64, 48), preview=pictures.saved(pictures.drawn(), "JPEG"))
    assert unreadable(data, "nef", max_pixels=320 * 240 - 1).startswith("320×240 is more than")


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
@pytest.mark.parametrize("preview_kind", ["none", "JPEG", "JPEG with EXIF", "uncompressed"])
def test_raw_is_turned_upright_once(preview_kind: str, orientation: int) -> None:
    stored = pictures.as_stored(pictures.drawn(), orientation)
    preview = {
        "none": None,
        "JPEG": pictures.saved(stored, "JPEG", quality=95),
        "JPEG with EXIF": pictures.saved(stored, "JPEG", quality=95, exif=pictures.exif(orientation)),
        "uncompressed": stored,
    }[preview_kind]
    within = LOSSY if preview else DEVELOPED
    assert_shows(pictures.dng(stored, orientation, preview), pictures.drawn(), within, "dng")


def as_cameras_write(stored: Image.Image, orientation: int) -> bytes:
    """A JPEG that begins with EXIF, and is no JFIF; to another, LibRaw gives EXIF of its own."""
    jpeg = pictures.saved(stored, "JPEG", quality=95, exif=pictures.exif(orientation))
    assert jpeg[2:4] == b"\xff\xe0"
    return jpeg[:2] + jpeg[4 + int.from_bytes(jpeg[4:6], "big") :]


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
@pytest.mark.parametrize(
    "preview_kind", ["as the sensor's", "upright", "upright, with EXIF copied from the file", "turned by its own EXIF"]
)
def test_a_raws_preview_may_be_upright_though_the_sensors_data_are_not(preview_kind: str, orientation: int) -> None:
    """Its shape tells; where the picture is only mirrored or upside down, it is taken for what the file says."""
    stored = pictures.as_stored(pictures.drawn(), orientation)
    upright = pictures.drawn() if orientation >= 5 else stored
    preview = {
        "as the sensor's": lambda: pictures.saved(stored, "JPEG", quality=95),
        "upright": lambda: pictures.saved(upright, "JPEG", quality=95),
        "upright, with EXIF copied from the file": lambda: as_cameras_write(upright, orientation),
        "turned by its own EXIF": lambda: as_cameras_write(pictures.as_stored(pictures.drawn(), 6), 6),
    }[preview_kind]()
    assert_shows(pictures.dng(stored, orientation, preview), pictures.drawn(), LOSSY, "dng")


@pytest.mark.parametrize("cut", ["the end", "half"])
def test_a_raws_preview_without_its_end_is_shown_and_one_of_which_half_is_missing_is_not(cut: str) -> None:
    preview = as_jpeg(pictures.drawn(), 200)
    kept = preview[:-2] if cut == "the end" else preview[: len(preview) // 2] + b"\xff\xd9"
    shown = pictures.drawn() if cut == "the end" else pictures.red_and_blue()
    within = LOSSY if cut == "the end" else DEVELOPED
    assert_shows(pictures.dng(pictures.red_and_blue(), preview=kept), shown, within, "nef")


# --- orientation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO"])
def test_exif_orientation_is_obeyed_once(format_name: str, orientation: int) -> None:
    stored = pictures.as_stored(pictures.drawn(), orientation)
    data = pictures.saved(stored, format_name, exif=pictures.exif(orientation))
    assert_shows(data, pictures.drawn(), EXACT if format_name in ("PNG", "TIFF") else LOSSY)


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_a_compressed_tiff_which_pillow_reads_by_another_way_is_turned_once_too(
    compression: str, orientation: int
) -> None:
    stored = pictures.as_stored(pictures.drawn(), orientation)
    data = pictures.saved(stored, "TIFF", compression=compression, exif=pictures.exif(orientation))
    assert_shows(data, pictures.drawn(), LOSSY)


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
@pytest.mark.parametrize("keeps_jpeg", [True, False])
def test_a_jpeg_repacked_as_jpeg_xl_is_turned_once(keeps_jpeg: bool, orientation: int) -> None:
    """Its decoder gives the JPEG back as it was, but turns what it decodes itself."""
    stored = pictures.as_stored(pictures.drawn(), orientation)
    assert_shows(pictures.jxl_of_jpeg(stored, orientation, keeps_jpeg), pictures.drawn(), LOSSY, "jxl")


@pytest.mark.parametrize("use_container", [True, False])
def test_jpeg_xl_goes_by_its_own_header_and_not_by_exif(use_container: bool) -> None:
    """So says its standard; pillow_jxl writes an EXIF block without minding what is in it."""
    data = pictures.saved(pictures.drawn(), "JXL", lossless=True, use_container=use_container, exif=pictures.exif(6))
    assert_shows(data, pictures.drawn(), EXACT, "jxl")


def test_orientation_of_a_png_is_obeyed_behind_its_pixels_too() -> None:
    stored = pictures.as_stored(pictures.drawn(), 6)
    data = pictures.png(np.asarray(stored))
    end = data.index(b"IEND") - 4
    block = pictures.png_chunk(b"eXIf", pictures.exif(6).removeprefix(b"Exif\0\0"))
    assert_shows(data[:end] + block + data[end:], pictures.drawn(), EXACT, "png")


def exif_entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    """An EXIF block with one entry, true or not."""
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4sI", tag, kind, count, value, 0)


UPSIDE_DOWN = pictures.exif(3)
BROKEN_EXIF = {
    "empty": b"Exif\0\0",
    "noise": b"Exif\0\0" + random.Random(0).randbytes(200),
    "cut off": UPSIDE_DOWN[:-5],
    "directory outside": b"Exif\0\0MM\0*\xff\xff\xff\xff",
    "65535 entries": UPSIDE_DOWN[:14] + b"\xff\xff" + UPSIDE_DOWN[16:],
    "orientation 0": pictures.exif(0),
    "orientation 9": pictures.exif(9),
    "orientation as text": exif_entry(pictures.ORIENTATION, 2, 4, b"six\0"),
    "two orientations": exif_entry(pictures.ORIENTATION, 3, 2, b"\3\0\3\0"),
    "half a billion orientations": exif_entry(pictures.ORIENTATION, 3, 1 << 29, b"\x08\0\0\0"),
    "orientation of an unknown type": exif_entry(pictures.ORIENTATION, 99, 1, b"\3\0\0\0"),
}


@tolerates_warnings
@pytest.mark.parametrize("block", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_does_not_cost_the_picture(format_name: str, block: bytes) -> None:
    """It is shown as stored, or upside down where a 3 can still be made out."""
    got = decode(pictures.saved(pictures.drawn(), format_name, exif=block))
    as_it_may_be = [as_clip_sees(pictures.as_stored(pictures.drawn(), orientation)) for orientation in (1, 3)]
    assert min(difference(got, expected) for expected in as_it_may_be) <= LOSSY


# --- modes -----------------------------------------------------------------------------------------------------------


def gray() -> Image.Image:
    return pictures.drawn().convert("L")


def gray_samples(dtype: type[np.generic], white: float) -> Image.Image:
    return Image.fromarray((np.asarray(gray()) / 255 * white).astype(dtype))


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "GIF", "BMP", "PPM", "JPEG2000", "JPEG", "WEBP", "AVIF"])
def test_gray(format_name: str) -> None:
    assert_shows(pictures.saved(gray(), format_name), gray(), LOSSY)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "GIF", "BMP", "PPM"])
def test_black_and_white_is_shown_in_grays(format_name: str) -> None:
    picture = gray().convert("1")
    data = pictures.saved(picture, format_name)
    assert_shows(data, picture, EXACT)
    assert len(np.unique(decode(data))) > 100


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "GIF", "BMP"])
def test_a_palette_is_expanded(format_name: str) -> None:
    picture = pictures.drawn().quantize(16)
    assert_shows(pictures.saved(picture, format_name), picture, EXACT)


@pytest.mark.parametrize("format_name", ["PNG", "GIF"])
def test_the_transparent_color_of_a_palette_is_white(format_name: str) -> None:
    picture = pictures.drawn().quantize(16)
    transparent = picture.getpixel((160, 100))
    data = pictures.saved(picture, format_name, transparency=transparent)
    picture.info["transparency"] = transparent
    assert_shows(data, on_white(picture), NEAR)
    assert difference(decode(data), as_clip_sees(picture)) > 1


def test_a_palette_of_half_transparent_colors() -> None:
    picture = pictures.drawn().quantize(64)
    data = pictures.saved(picture, "PNG", transparency=bytes(range(0, 256, 4)))
    assert_shows(data, on_white(Image.open(io.BytesIO(data))), NEAR)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "HEIF", "JXL"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_shines_through_is_white(format_name: str, mode: str) -> None:
    picture = pictures.drawn().convert(mode)
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    assert_shows(pictures.saved(picture, format_name), on_white(picture), LOSSY)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_color_hidden_under_full_transparency_is_never_shown(format_name: str) -> None:
    picture = pictures.red_and_blue()
    opaque_right = Image.new("L", picture.size, 0)
    opaque_right.paste(255, (160, 0, 320, 240))
    picture.putalpha(opaque_right)
    got = decode(pictures.saved(picture, format_name))
    assert (got[:, :54] == 255).all()
    assert difference(got, as_clip_sees(on_white(picture))) <= NEAR


@pytest.mark.parametrize(
    ("samples", "transparent"),
    [(np.uint8, (200, 30, 40)), (np.uint8, 20), (np.uint16, 20 * 257)],
    ids=["RGB", "gray", "16-bit gray"],
)
def test_a_png_may_have_one_transparent_color(samples: type, transparent: int | tuple[int, ...]) -> None:
    """In 16-bit gray it once made the whole picture white."""
    picture = pictures.red_and_blue()
    if isinstance(transparent, tuple):
        picture.paste(transparent, (0, 120, 160, 240))
        values = np.asarray(picture)
    else:
        picture.paste((20, 20, 20), (0, 120, 160, 240))
        values = np.asarray(picture.convert("L")).astype(samples) * (257 if samples is np.uint16 else 1)
    chunk = struct.pack(">3H", *transparent) if isinstance(transparent, tuple) else struct.pack(">H", transparent)
    expected = picture if isinstance(transparent, tuple) else picture.convert("L").convert("RGB")
    expected.paste("white", (0, 120, 160, 240))
    assert_shows(pictures.png(values, (b"tRNS", chunk)), expected, NEAR)


@pytest.mark.parametrize(("format_name", "options"), [("JPEG", {"quality": 95}), ("TIFF", {})])
def test_cmyk(format_name: str, options: dict[str, int]) -> None:
    data = pictures.saved(pictures.drawn().convert("CMYK"), format_name, **options)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert_shows(data, pictures.drawn(), LOSSY)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_lab(compression: str) -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(pictures.drawn(), to_lab)
    assert lab is not None
    assert_shows(pictures.saved(lab, "TIFF", compression=compression), pictures.drawn(), LOSSY)


def test_ycbcr() -> None:
    assert_shows(
        pictures.saved(pictures.drawn().convert("YCbCr"), "TIFF", compression="tiff_lzw"), pictures.drawn(), LOSSY
    )


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "JPEG2000", "PPM", "HEIF"])
def test_16_bit_gray(format_name: str) -> None:
    assert_shows(pictures.saved(gray_samples(np.uint16, 0xFFFF), format_name), gray(), LOSSY)


def test_16_bit_gray_with_the_high_byte_first() -> None:
    samples = np.asarray(gray()).astype(">u2") * 257
    picture = Image.frombytes("I;16B", gray().size, samples.astype(">u2").tobytes())
    assert_shows(pictures.saved(picture, "TIFF"), gray(), EXACT)


@pytest.mark.parametrize("write", [pictures.png, pictures.tiff_of_16_bits], ids=["PNG", "TIFF"])
def test_16_bit_color(write) -> None:  # type: ignore[no-untyped-def]
    samples = np.asarray(pictures.drawn()).astype(np.uint16) * 257
    assert_shows(write(samples), pictures.drawn(), EXACT)


def test_32_bit_integers_are_taken_for_16_bit_ones() -> None:
    assert_shows(pictures.saved(gray_samples(np.int32, 0xFFFF), "TIFF"), gray(), LOSSY)


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floats_reach_up_to_one_or_to_their_maximum(white: float) -> None:
    picture = gray()
    picture.putpixel((160, 120), 255)
    floats = Image.fromarray((np.asarray(picture) / 255 * white).astype(np.float32))
    assert_shows(pictures.saved(floats, "TIFF"), picture, EXACT)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, -5.0])
def test_floats_that_are_no_brightness_are_black(special: float) -> None:
    samples, expected = np.asarray(gray()).astype(np.float32) / 255, gray()
    samples[100:130, 150:170] = special
    expected.paste(0, (150, 100, 170, 130))
    assert_shows(pictures.saved(Image.fromarray(samples), "TIFF"), expected, EXACT)


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(4000, 60), (60, 4000), (1, 1), (2, 1), (3, 7), (111, 113), (112, 112), (777, 333)])
def test_any_size(size: tuple[int, int]) -> None:
    assert_shows(pictures.saved(pictures.drawn(*size), "PNG"), pictures.drawn(*size), EXACT)


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1)])
def test_a_strip_shows_its_middle(size: tuple[int, int]) -> None:
    """At 112 clip itself would make 112×1,120,000 pixels of it, so the comparison with it is at 8."""
    strip = pictures.drawn(*size)
    data = pictures.saved(strip, "PNG")
    assert difference(decode(data, resolution=8), as_clip_sees(strip, 8)) <= EXACT
    two_in_the_middle = np.asarray(strip).reshape(10_000, 3)[4_999:5_001]
    assert np.abs(decode(data)[56, 56] - two_in_the_middle.mean(axis=0)).max() <= 2


@pytest.mark.parametrize(("format_name", "options"), [("JPEG", {"quality": 90}), ("PNG", {"compress_level": 1})])
def test_the_shortcuts_for_large_pictures_change_less_than_a_level(format_name: str, options: dict[str, int]) -> None:
    data = pictures.saved(pictures.drawn(2001, 1503), format_name, **options)
    assert_shows(data, Image.open(io.BytesIO(data)), 0.7)


def ramps(width: int, height: int) -> Image.Image:
    """Red grows to the right and green downwards, so that colours tell places."""
    down, right = np.mgrid[0:height, 0:width]
    red, green = 255 * right / max(1, width - 1), 255 * down / max(1, height - 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 99)], axis=-1).round().astype(np.uint8))


sides = st.integers(1, 5) | st.integers(1, 400)


@settings(max_examples=200, deadline=None)
@given(width=sides, height=sides, resolution=st.integers(8, 64))
@example(width=1, height=400, resolution=64)
@example(width=400, height=399, resolution=9)  # reduced by an integer first
def test_the_middle_square_is_the_one_of_torchvision(width: int, height: int, resolution: int) -> None:
    """To within 2 levels; a shift by a pixel would be 4 at least."""
    picture = ramps(width, height)
    steps = Compose([Resize(resolution, InterpolationMode.BICUBIC), CenterCrop(resolution)])
    got = decode(pictures.saved(picture, "PPM"), resolution=resolution)
    assert np.abs(got.astype(int) - np.asarray(steps(picture)).astype(int)).max() <= 2


# --- what cannot be read ---------------------------------------------------------------------------------------------


@tolerates_warnings
@pytest.mark.parametrize("suffix", ["jpg", "heic", "jxl", "dng", "cr3"])
@pytest.mark.parametrize(
    "content",
    [b"\xff", b"Dear diary,\n" * 50, random.Random(1).randbytes(5000), b"\0" * 5000, b"<!DOCTYPE html><html></html>"],
    ids=["one byte", "text", "noise", "zeros", "a web page"],
)
def test_what_is_no_picture(content: bytes, suffix: str) -> None:
    assert "not a picture" in unreadable(content, suffix)


@pytest.mark.parametrize("suffix", sorted(formats.PHOTO_SUFFIXES))
def test_an_empty_file_says_so(suffix: str) -> None:
    assert unreadable(b"", suffix) == "the file is empty"


@tolerates_warnings
@pytest.mark.parametrize("suffix", sorted(formats.PHOTO_SUFFIXES))
@pytest.mark.parametrize("share", [0.01, 0.4, 0.85])
def test_a_file_that_is_cut_off(suffix: str, share: float) -> None:
    if suffix in ("jpg", "jpeg", "jpe", "jfif", "insp", "mpo") and share > 0.01:
        pytest.skip("what is there is shown: see test_incomplete_pictures.py")
    data = drawn_as(suffix)
    reason = unreadable(data[: int(share * len(data))], suffix)
    assert not reason.startswith("b'")
    assert "please build" not in reason.lower()


@tolerates_warnings
@settings(max_examples=300, deadline=None, derandomize=True)
@given(suffix=st.sampled_from(sorted(formats.PHOTO_SUFFIXES)), seed=st.integers(0, 10**6), changes=st.integers(1, 20))
def test_damage_gives_pixels_or_a_reason_and_nothing_else(suffix: str, seed: int, changes: int) -> None:
    data = bytearray(pictures.encode(pictures.drawn(64, 48), suffix))
    chance = random.Random(seed)
    for _ in range(changes):
        data[chance.randrange(min(len(data), chance.choice([40, 400, len(data)])))] = chance.choice([0, 127, 128, 255])
    try:
        decode(bytes(data), suffix, resolution=32, max_pixels=10**6)
    except DecodeError as error:
        reason = str(error)
    else:
        reason = "none"
    assert reason == " ".join(reason.split()) != ""


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", sorted(formats.PHOTO_SUFFIXES))
def test_the_limit_counts_pixels(suffix: str) -> None:
    data = drawn_as(suffix)
    assert unreadable(data, suffix, max_pixels=320 * 240 - 1).startswith("320×240 is more than 0.0768 megapixels")
    decode(data, suffix, max_pixels=320 * 240)


def test_the_limit_counts_the_sensors_pixels() -> None:
    assert unreadable(pictures.dng(pictures.drawn()), "dng", max_pixels=320 * 240 - 1).startswith("320×240 is more")


def test_a_small_file_that_claims_to_be_huge_is_refused_before_it_is_decoded() -> None:
    data = pictures.png(np.zeros((1, 1), np.uint8), size=(100_000, 100_000))
    assert unreadable(data).startswith("100000×100000 is more than 1e+03 megapixels")


def test_jpeg_xl_that_claims_to_be_huge_is_refused_before_it_is_decoded() -> None:
    data = pictures.jxl_header(1 << 30, 1 << 29)
    assert unreadable(data, "jxl").startswith("1073741824×536870912 is more than")


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 120), height=st.integers(1, 120), use_container=st.booleans())
@example(width=512, height=512, use_container=True)
@example(width=520, height=400, use_container=False)
@example(width=640, height=360, use_container=True)
@example(width=9000, height=1, use_container=False)
def test_the_size_of_jpeg_xl_is_read_from_its_header(width: int, height: int, use_container: bool) -> None:
    picture = Image.new("L", (width, height))
    data = pictures.saved(picture, "JXL", lossless=True, effort=1, use_container=use_container)
    assert unreadable(data, "jxl", max_pixels=width * height - 1).startswith(f"{width}×{height} is more than")
    decode(data, "jxl", resolution=8, max_pixels=width * height)


def test_a_large_jpeg_is_judged_by_its_scaled_decoding() -> None:
    data = pictures.saved(Image.new("RGB", (4000, 3000), "teal"), "JPEG")
    decode(data, resolution=56, max_pixels=500 * 375)
    assert unreadable(data, resolution=56, max_pixels=500 * 375 - 1).startswith("500×375 is more than")


# --- thumbnails ------------------------------------------------------------------------------------------------------


def thumbnail(data: bytes, box: tuple[int, int], suffix: str = "jpg", max_pixels: int = NO_LIMIT) -> np.ndarray:
    got = np.asarray(image.thumbnail(io.BytesIO(data), suffix, box, max_pixels))
    assert got.dtype == np.uint8
    return got


def resized(upright: Image.Image, width: int, height: int) -> np.ndarray:
    return np.asarray(upright.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("orientation", pictures.ORIENTATIONS)
@pytest.mark.parametrize("suffix", ["jpg", "heic", "dng", "png"])
def test_a_thumbnail_is_the_whole_upright_picture(suffix: str, orientation: int) -> None:
    stored = pictures.as_stored(pictures.drawn(), orientation)
    if suffix == "dng":
        data = pictures.dng(stored, orientation, pictures.saved(stored, "JPEG", quality=95))
    else:
        name = {"jpg": "JPEG", "heic": "HEIF", "png": "PNG"}[suffix]
        data = pictures.saved(stored, name, exif=pictures.exif(orientation))
    got = thumbnail(data, (100, 90), suffix)
    assert got.shape == (75, 100, 3)
    assert difference(got, resized(pictures.drawn(), 100, 75)) <= LOSSY


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((320, 240), (160, 120), (160, 120)),
        ((320, 240), (1000, 120), (160, 120)),
        ((320, 240), (80, 1000), (80, 60)),
        ((20, 10), (200, 200), (200, 100)),
        ((1, 4000), (200, 200), (1, 200)),
        ((4000, 1), (200, 200), (200, 1)),
    ],
)
def test_a_thumbnail_fills_its_box_one_way(
    size: tuple[int, int], box: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert thumbnail(pictures.saved(Image.new("RGB", size), "PNG"), box, "png").shape[1::-1] == expected


def test_a_thumbnail_of_half_blocks_has_a_pixel_for_each() -> None:
    data = pictures.saved(pictures.drawn(), "PNG")
    got = np.asarray(image.thumbnail(io.BytesIO(data), "png", (160, 120), NO_LIMIT, step=(10, 20)))
    assert got.shape == (6, 16, 3)
    assert difference(got, resized(pictures.drawn(), 16, 6)) <= 2


def test_a_thumbnail_of_a_large_jpeg_is_decoded_small() -> None:
    data = pictures.saved(pictures.drawn(4000, 3000), "JPEG", quality=95)
    got = thumbnail(data, (200, 150), max_pixels=500 * 375)
    assert difference(got, resized(pictures.drawn(4000, 3000), 200, 150)) <= 1
    with pytest.raises(DecodeError, match="500×375 is more than"):
        thumbnail(data, (200, 150), max_pixels=500 * 375 - 1)


def test_a_thumbnail_shows_what_shines_through_as_white() -> None:
    hidden = Image.new("RGBA", (40, 30), (200, 30, 40, 0))
    assert (thumbnail(pictures.saved(hidden, "PNG"), (20, 20), "png") == 255).all()


def test_what_is_no_picture_has_no_thumbnail() -> None:
    with pytest.raises(DecodeError, match="not a picture in a format known here"):
        thumbnail(b"no picture", (20, 20))
