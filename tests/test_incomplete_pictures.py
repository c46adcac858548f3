"""Pictures that lack their end or a part: what is there is shown, and how much is missing is noted and told."""

import io

import numpy as np
import pytest
from PIL import Image

from rclip.photo import image
from rclip.photo.failures import DecodeError
from tests.support import pictures
from tests.support.command import Command, update
from tests.support.gallery import Draw

RESOLUTION = 112
NO_LIMIT = 10**9
END = b"\xff\xd9"
KINDS: dict[str, dict[str, object]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "a restart after each block": {"restart_marker_blocks": 1},
    "own coding tables": {"optimize": True},
    "whole colors": {"subsampling": 0},
}
MODES = ["RGB", "L", "CMYK"]


def jpeg(kind: str = "baseline", mode: str = "RGB", size: tuple[int, int] = (320, 240)) -> bytes:
    return pictures.saved(pictures.drawn(*size).convert(mode), "JPEG", quality=90, **KINDS[kind])


def decoded(data: bytes, suffix: str = "jpg") -> image.DecodedImage:
    return image.decode(io.BytesIO(data), suffix, RESOLUTION, NO_LIMIT)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decoded(data).square).astype(int)


def missing(data: bytes) -> int | None:
    return decoded(data).metadata.missing_percent


TRAILER = (
    b"\0\0\x01\x08\x0e\0\0\0Panorama_Shot_Info"
    + b"\xff\xc0\xff\xd8\xff\xe1\0\x10junk"
    + jpeg()[:400]
    + b"SEFHe\0\0\0SEFT"
)
"""As a maker puts one after the picture: bytes that look like markers, and the start of another picture, are in it."""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "end",
    [b"", b"\xff", TRAILER, b"\0" * 5000, END + TRAILER, END + b"\0" * 5000, b"\xff\xfe\0\x06note" + TRAILER],
    ids=["none", "half", "trailer", "zeros", "trailer after the end", "zeros after the end", "comment, trailer"],
)
def test_a_jpeg_without_its_end_is_whole(kind: str, mode: str, end: bytes) -> None:
    whole = jpeg(kind, mode)
    assert whole.endswith(END)
    assert (pixels(whole[:-2] + end) == pixels(whole)).all()
    assert missing(whole[:-2] + end) is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "progressive"])
@pytest.mark.parametrize("rest", [b"", END, TRAILER, b"\0" * 5000], ids=["nothing", "the end", "trailer", "zeros"])
def test_of_half_a_jpeg_the_upper_half_is_shown(kind: str, mode: str, rest: bytes) -> None:
    """`djpeg` and ImageMagick show the lower one gray, as here."""
    whole = jpeg(kind, mode)
    half = whole[: len(whole) // 2] + rest
    assert 35 <= (missing(half) or 0) <= 50
    got, expected = pixels(half), pixels(whole)
    assert np.abs(got[:50] - expected[:50]).max() <= 2
    assert np.abs(got[-30:] - (64 if mode == "CMYK" else 128)).max() <= 1  # half of each ink, black on the others


@pytest.mark.parametrize("size", [(2000, 1500), (1500, 2000)])
@pytest.mark.parametrize("kind", ["baseline", "a restart after each block"])
def test_how_much_is_missing_is_known_of_a_large_jpeg_that_is_decoded_small(kind: str, size: tuple[int, int]) -> None:
    whole = jpeg(kind, size=size)
    assert missing(whole) is None
    assert missing(whole[:-2]) is None
    assert 40 <= (missing(whole[: len(whole) // 2]) or 0) <= 50


def test_a_progressive_jpeg_is_whole_as_soon_as_its_first_scan_is() -> None:
    """The later ones only sharpen it."""
    whole = jpeg("progressive")
    assert missing(whole[: len(whole) // 5]) is None
    assert np.abs(pixels(whole[: len(whole) // 5]) - pixels(whole)).mean() < 12
    first_scan = whole.index(b"\xff\xda")
    second_scan = whole.index(b"\xff\xda", first_scan + 2)
    assert 20 <= (missing(whole[: (first_scan + second_scan) // 2]) or 0) <= 75


def test_a_jpeg_of_which_next_to_nothing_is_there_is_damaged() -> None:
    whole = jpeg()
    with pytest.raises(DecodeError, match=r"^damaged: 8\d % of the picture is missing$"):
        decoded(whole[: len(whole) // 7])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", [END, b"", TRAILER, END + bytes(5000)])
def test_a_picture_that_is_gray_itself_is_whole(kind: str, mode: str, end: bytes) -> None:
    picture = Image.new("RGB", (320, 240), (128, 128, 128))
    picture.paste((200, 30, 40), (0, 0, 320, 100))
    for each in (picture, picture.crop((0, 110, 320, 240))):
        data = pictures.saved(each.convert(mode), "JPEG", **KINDS[kind])
        assert missing(data[:-2] + end) is None


def test_a_hole_that_is_no_data_ends_the_picture_there() -> None:
    whole = jpeg()
    middle = len(whole) // 2
    assert 30 <= (missing(whole[:middle] + b"\xff\x01\xff\x02" * 20 + whole[middle + 80 :]) or 0) <= 50


def test_an_mpo_of_which_the_first_picture_lacks_its_end() -> None:
    mpo = pictures.first_of_two(pictures.drawn(), "MPO", quality=90)
    at = mpo.index(END + b"\xff\xd8")
    assert (pixels(mpo[:at] + mpo[at + 2 :]) == pixels(mpo)).all()


@pytest.mark.parametrize("cut", [1, 2, 200])
def test_a_thumbnail_of_a_jpeg_without_its_end(cut: int) -> None:
    got = image.thumbnail(io.BytesIO(jpeg()[:-cut]), "jpg", (80, 60), NO_LIMIT)
    assert got.size == (80, 60)


def test_stats_names_photos_of_which_a_part_is_missing(rclip: Command, draw: Draw) -> None:
    path = draw("half.jpg", "red circle")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    draw("whole.jpg", "red circle")
    endless = draw("endless.jpg", "red circle")
    endless.write_bytes(endless.read_bytes()[:-2])
    assert update(rclip) == "3 new photos"
    path.rename(path.with_name("moved.jpg"))
    assert update(rclip) == "1 moved file"
    lines = rclip("--stats").out.splitlines()
    at = lines.index("incomplete  1")
    assert lines[at + 1].startswith("            moved.jpg: the lower ")
    assert lines[at + 1].endswith(" % is missing")
    assert rclip("--check").code == 0
    path.with_name("moved.jpg").unlink()
    update(rclip)
    assert "incomplete" not in rclip("--stats").out
