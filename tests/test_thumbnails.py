"""Thumbnails: what they show, how they are kept, and what no damage may do to them."""

import io
import os
import signal
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from rclip import Library
from rclip.errors import UnreadablePicture, UsageError
from rclip.photo import image
from rclip.photo.decode_pool import DecodePool
from rclip.photo.failures import DecodeError
from rclip.thumbnails.file_cache import FileCache
from tests.support import pictures
from tests.support.gallery import Draw
from tests.support.libraries import opened
from tests.support.tiers import few

MAX_PIXELS = 100_000_000


def thumbnail(data: bytes, suffix: str = "", long_side: int = 480) -> Image.Image:
    made = Image.open(io.BytesIO(image.thumbnail_file(io.BytesIO(data), suffix, long_side, MAX_PIXELS)))
    assert (made.format, made.mode) == ("JPEG", "RGB")
    return made


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean of all levels."""
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other.convert("RGB"), np.float32)).mean())


# --- what they show ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", few(["jpg", "png", "heic", "jxl", "tif", "webp", "gif", "avif", "jp2", "dng"], 5))
def test_of_every_format(suffix: str) -> None:
    picture = pictures.drawn()
    shown = thumbnail(pictures.encode(picture, suffix), suffix, long_side=100)
    assert max(shown.size) == 100
    expected = picture.convert("RGB").resize(shown.size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    assert difference(shown, expected) < (25 if suffix == "dng" else 8)


@pytest.mark.parametrize(
    ("size", "long_side", "expected"),
    [
        ((4000, 3000), 480, (480, 360)),
        ((3000, 4000), 480, (360, 480)),
        ((3000, 3000), 480, (480, 480)),
        ((8000, 200), 480, (480, 12)),
        ((100, 50), 480, (100, 50)),
        ((10_000, 1), 480, (480, 1)),
        ((5000, 4000), 2048, (2048, 1638)),
    ],
)
def test_their_proportions(size: tuple[int, int], long_side: int, expected: tuple[int, int]) -> None:
    assert thumbnail(pictures.saved(Image.new("RGB", size, "red"), "JPEG"), long_side=long_side).size == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_they_are_upright(orientation: int) -> None:
    stored = Image.new("RGB", (800, 600), "white")
    stored.paste("red", (0, 0, 400, 300))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = pictures.saved(stored, "JPEG", quality=95, exif=exif.tobytes())
    upright = Image.open(io.BytesIO(data))
    shown = thumbnail(data, long_side=200)
    assert difference(shown, ImageOps.exif_transpose(upright).resize(shown.size)) < 3


def test_they_say_nothing_of_the_photo() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret description"
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 29.0)}
    data = pictures.saved(Image.new("RGB", (800, 600), "red"), "JPEG", exif=exif.tobytes(), comment=b"a secret comment")
    made = image.thumbnail_file(io.BytesIO(data), "jpg", 480, MAX_PIXELS)
    assert b"secret" not in made
    assert not Image.open(io.BytesIO(made)).getexif()


def swapped_profile() -> bytes:
    """An ICC profile (ICC.1:2001) of a space like sRGB in which the first number is green and the second red."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    gamma = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(2.2 * 256))
    text = b"text\0\0\0\0none"
    described = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"s\0" + bytes(12 + 67 + 3)
    tags = {b"rXYZ": xyz(*green), b"gXYZ": xyz(*red), b"bXYZ": xyz(*blue), b"wtpt": xyz(0.9642, 1, 0.8249)}
    tags |= {b"rTRC": gamma, b"gTRC": gamma, b"bTRC": gamma, b"cprt": text, b"desc": described}
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 128 + 4 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    white = fixed(0.9642) + fixed(1) + fixed(0.8249)
    head = struct.pack(">I4xI", 128 + len(table) + len(body), 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    return (head + bytes(28) + white).ljust(128, b"\0") + table + body


def test_colours_of_a_profile_are_shown_in_srgb() -> None:
    red = Image.new("RGB", (600, 400), (200, 30, 30))
    assert thumbnail(pictures.saved(red, "PNG", icc_profile=swapped_profile())).getpixel((50, 50)) == pytest.approx(
        (30, 200, 30), abs=12
    )
    srgb, lab = (ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes() for name in ("sRGB", "LAB"))
    for profile in (srgb, lab, b"no profile", swapped_profile()[:200]):
        shown = thumbnail(pictures.saved(red, "PNG", icc_profile=profile))
        assert shown.getpixel((50, 50)) == pytest.approx((200, 30, 30), abs=4)


# --- previews within a file -------------------------------------------------------------------------------------------


def with_preview(picture: Image.Image, preview: Image.Image, kind: int = 0x010002, **options: object) -> bytes:
    """A JPEG with another one after it, of a kind that CIPA DC-007 has a number for."""
    data = bytearray(pictures.saved(picture, "MPO", save_all=True, append_images=[preview], **options))
    second = second_entry(data)
    data[second : second + 4] = kind.to_bytes(4, "little")
    return bytes(data)


def second_entry(data: bytearray) -> int:
    """Where the entry of the second picture is: behind the mark, three tags, and the first."""
    return data.index(b"MPF\0") + 4 + 50 + 16


RED, BLUE = (200, 30, 30), (30, 30, 200)


def shows(data: bytes, long_side: int = 480) -> str:
    shown = thumbnail(data, "jpg", long_side)
    assert shown.size == (long_side, long_side * 3 // 4)
    pixel = shown.getpixel((10, 10))
    assert isinstance(pixel, tuple)
    return "preview" if pixel[2] > pixel[0] else "picture"


@pytest.mark.parametrize(
    ("size", "kind", "shown"),
    [
        ((640, 480), 0x010001, "preview"),
        ((1440, 1080), 0x010002, "preview"),
        ((320, 240), 0x010001, "picture"),
        ((640, 360), 0x010001, "picture"),
        ((480, 640), 0x010001, "picture"),
        ((1440, 1080), 0x020002, "picture"),
        ((1440, 1080), 0x000000, "picture"),
    ],
    ids=["VGA", "full HD", "too small", "another shape", "on its side", "a stereo pair's other half", "unknown"],
)
def test_a_preview_serves_where_it_is_large_enough(size: tuple[int, int], kind: int, shown: str) -> None:
    data = with_preview(Image.new("RGB", (2000, 1500), RED), Image.new("RGB", size, BLUE), kind)
    assert shows(data) == shown
    assert shows(data, 2048 if size == (0, 0) else 1600) == "picture"


def test_a_preview_is_turned_like_its_picture() -> None:
    upright = pictures.drawn(1500, 2000)
    stored = pictures.as_stored(upright, 6)
    data = with_preview(stored, stored.resize((640, 480)), 0x010001, exif=pictures.exif(6))
    shown = thumbnail(data, "jpg")
    assert shown.size == (360, 480)
    assert difference(shown, upright.resize(shown.size)) < 12


def test_a_preview_of_which_too_little_is_there_is_reported() -> None:
    data = with_preview(Image.new("RGB", (2000, 1500), RED), Image.new("RGB", (640, 480), BLUE), 0x010001)
    with pytest.raises(DecodeError):
        thumbnail(data[: data.rindex(b"\xff\xda") + 20], "jpg")


def test_a_preview_that_is_not_where_it_should_be_is_reported() -> None:
    data = bytearray(with_preview(Image.new("RGB", (2000, 1500), RED), Image.new("RGB", (640, 480), BLUE), 0x010001))
    entry = second_entry(data)
    data[entry + 8 : entry + 12] = b"\xff\xff\xff\x7f"
    with pytest.raises(DecodeError):
        thumbnail(bytes(data), "jpg")


# --- how they are made ------------------------------------------------------------------------------------------------


def test_decoders_make_squares_and_thumbnails_in_turns(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(pictures.saved(pictures.drawn(900, 600), "PNG"))
    pool = DecodePool(32, MAX_PIXELS)
    try:
        for _ in range(2):
            with open(path, "rb") as file:
                assert Image.open(io.BytesIO(pool.thumbnail_file(file, "png", 480))).size == (480, 320)
            with open(path, "rb") as file:
                assert pool.decode(file, "png").pixels.shape == (32, 32, 3)
    finally:
        pool.close()


@pytest.fixture
def library(gallery: Path, prepared_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> Iterator[Library]:
    with opened([gallery], prepared_data, tiny_checkpoint, tmp_path / "data") as library:
        yield library


def id_of(library: Library, path: Path) -> str:
    (found,) = [hit.id for hit in library.search(None, top=None) if hit.path == str(path)]
    return found


def kept(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "data/thumbnails").rglob("*") if path.is_file()]


def test_a_thumbnail_is_made_once(library: Library, gallery: Path, tmp_path: Path) -> None:
    star = gallery / "stars/red.jpg"
    made = library.thumbnail(id_of(library, star))
    (file,) = kept(tmp_path)
    assert file.read_bytes() == made
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    star.rename(gallery / "elsewhere.jpg")  # it is not even looked for
    assert library.thumbnail(id_of(library, star)) == made
    library.update()
    assert library.thumbnail(id_of(library, gallery / "elsewhere.jpg")) == made
    assert kept(tmp_path) == [file]
    with pytest.raises(UsageError, match="480, 2048, not 7"):
        library.thumbnail(id_of(library, gallery / "elsewhere.jpg"), 7)


def test_many_ask_for_one_and_it_is_made_once(library: Library, draw: Draw, tmp_path: Path) -> None:
    library.update()
    photo_id = library.search("a star", top=1)[0].id
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: library.thumbnail(photo_id), range(64)))) == 1
    assert len(kept(tmp_path)) == 1
    assert not library.thumbnails._in_work


def test_a_file_that_has_changed_is_not_kept_under_its_old_digest(
    library: Library, gallery: Path, draw: Draw, tmp_path: Path
) -> None:
    photo_id = id_of(library, gallery / "stars/red.jpg")
    digest = library._parts[0][0].store.digest(int(photo_id.partition("-")[2]))
    assert digest
    draw("stars/red.jpg", "blue circle")
    assert library.thumbnail(photo_id)
    assert library.thumbnails.get(digest, 480) is None
    (file,) = kept(tmp_path)
    assert not file.name.startswith(digest.hex())


@pytest.mark.parametrize("content", [b"", b"\xff\xd8 half", b"no picture \xff\xd9"])
def test_a_damaged_one_is_made_again(library: Library, gallery: Path, tmp_path: Path, content: bytes) -> None:
    photo_id = id_of(library, gallery / "stars/red.jpg")
    made = library.thumbnail(photo_id)
    (file,) = kept(tmp_path)
    file.write_bytes(content)
    assert library.thumbnail(photo_id) == made
    assert file.read_bytes() == made


def test_a_link_in_the_cache_is_not_followed(library: Library, gallery: Path, tmp_path: Path) -> None:
    photo_id = id_of(library, gallery / "stars/red.jpg")
    made = library.thumbnail(photo_id)
    (file,) = kept(tmp_path)
    file.unlink()
    target = tmp_path / "target"
    target.write_bytes(made[:-2] + b"other\xff\xd9")
    file.symlink_to(target)
    assert library.thumbnail(photo_id) == made
    assert target.read_bytes().endswith(b"other\xff\xd9")


def test_without_room_they_are_made_each_time(library: Library, gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "data/thumbnails").write_bytes(b"in the way")
    assert library.thumbnail(id_of(library, gallery / "stars/red.jpg")).startswith(b"\xff\xd8")
    assert (tmp_path / "data/thumbnails").read_bytes() == b"in the way"


def test_a_killed_decoder_costs_no_thumbnail(library: Library, gallery: Path, draw: Draw) -> None:
    photo_id = id_of(library, gallery / "stars/red.jpg")
    library.thumbnail(photo_id)
    (process,) = library.thumbnails._decoders._idle
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    other = id_of(library, gallery / "stars/blue.jpg")
    assert library.thumbnail(other).startswith(b"\xff\xd8")  # by another one


def test_a_photo_that_is_damaged_now(library: Library, gallery: Path) -> None:
    photo_id = id_of(library, gallery / "stars/red.jpg")
    (gallery / "stars/red.jpg").write_bytes(b"no picture")
    with pytest.raises(UnreadablePicture, match="damaged, or not a picture"):
        library.thumbnail(photo_id)
    (gallery / "stars/red.jpg").unlink()
    with pytest.raises(UnreadablePicture, match="No such file"):
        library.thumbnail(photo_id)


# --- the room they take -----------------------------------------------------------------------------------------------


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = FileCache(str(tmp_path), 1000)
    for number in range(9):
        cache.put(f"{number}0", b"x" * 100)
        os.utime(tmp_path / f"{number}0" / f"{number}0", (number, number))
    assert cache.get("00") == b"x" * 100  # used now, though it was made first
    cache.put("90", b"x" * 150)
    left = [number for number in range(10) if cache.get(f"{number}0")]
    assert left == [0, 3, 4, 5, 6, 7, 8, 9]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 900


def test_what_other_processes_have_kept_counts(tmp_path: Path) -> None:
    FileCache(str(tmp_path), 10_000).put("00", b"x" * 900)
    os.utime(tmp_path / "00/00", (1, 1))
    cache = FileCache(str(tmp_path), 1000)
    cache.put("10", b"y" * 200)
    assert cache.get("00") is None
    assert cache.get("10") == b"y" * 200


def test_one_that_is_too_large_for_all_the_room_is_not_kept(tmp_path: Path) -> None:
    cache = FileCache(str(tmp_path), 100)
    cache.put("00", b"x" * 200)
    assert cache.get("00") is None
