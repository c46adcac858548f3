"""Photos that were edited while their size and time were kept, and those that only seem to be.

`exiftool -P` does the former, with times in whole seconds as archives have them; `chmod`, hard links, restored backups
and copied libraries do the latter.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rclip.indexing.touched import _FileSystems
from tests.support.command import Command, update
from tests.support.gallery import Draw
from tests.support.index import Table
from tests.support.tiers import few

SECOND = 10**18


@pytest.fixture(autouse=True)
def change_times(tmp_path: Path) -> None:
    if not _FileSystems().keep_change_times(os.fsencode(tmp_path) + b"/", tmp_path.stat().st_dev):
        pytest.skip("the file system of the tests has none to rely on")


def replaced(path: Path, content: bytes) -> None:
    """By another file, as most programs do that write one."""
    beside = path.with_name("beside")
    beside.write_bytes(content)
    beside.rename(path)


def overwritten(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


Edit = Callable[[Path, bytes], None]


def edit_keeping_time(path: Path, content: bytes, how: Edit) -> None:
    before = path.stat()
    assert len(content) == before.st_size
    how(path, content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("how", [replaced, overwritten])
@pytest.mark.parametrize("mtime_ns", few([SECOND, SECOND + 123_456_789]))
def test_an_edited_photo_of_the_same_size_and_time_is_seen(
    rclip: Command, draw: Draw, table: Table, how: Edit, mtime_ns: int
) -> None:
    photo = draw("a.bmp", "red circle")
    draw("b.bmp", "blue star")
    os.utime(photo, ns=(mtime_ns, mtime_ns))
    assert update(rclip) == "2 new photos"
    red = table.vector(photo)[1]
    content = draw("aside.bmp", "green square").read_bytes()
    (rclip.cwd / "aside.bmp").unlink()
    edit_keeping_time(photo, content, how)
    assert update(rclip) == "1 changed"
    assert table.vector(photo)[1] != red
    assert rclip("-n", "-t", "1", "a green square").lines == ["a.bmp"]
    assert update(rclip) == ""


@pytest.mark.parametrize("how", [replaced, overwritten])
def test_an_edited_photo_is_not_asked_with_as_it_was(rclip: Command, draw: Draw, how: Edit) -> None:
    photo = draw("a.bmp", "red circle")
    for number in range(3):
        draw(f"{number}.bmp", "green square")
    update(rclip)
    edit_keeping_time(photo, draw("../aside.bmp", "green square").read_bytes(), how)
    assert float(rclip("-n", "--format", "{score}\n", "-t", "1", "./a.bmp").out) > 0.95


def test_a_date_edited_in_place_of_another_is_seen(rclip: Command, photos: Path) -> None:
    """The pixels are the same, and so is the vector."""
    exif = Image.Exif()
    exif[0x0132] = "2019:05:06 07:08:09"
    Image.new("RGB", (90, 60), "red").save(photos / "a.jpg", exif=exif)
    update(rclip)
    content = (photos / "a.jpg").read_bytes()
    assert content.count(b"2019:05:06") == 1
    edit_keeping_time(photos / "a.jpg", content.replace(b"2019:05:06", b"2020:05:06"), replaced)
    assert update(rclip) == "1 changed"
    assert rclip("-n", "--after", "2020-05", "--before", "2020-06").lines == ["a.jpg"]


def test_a_repaired_photo_of_the_same_size_and_time_is_seen(rclip: Command, draw: Draw) -> None:
    photo = draw("a.bmp", "red circle")
    sound = photo.read_bytes()
    photo.write_bytes(b"x" * len(sound))
    assert update(rclip) == "1 unreadable (rclip --stats lists them)"
    edit_keeping_time(photo, sound, replaced)
    assert update(rclip) == "1 changed"
    photo.chmod(0o600)
    assert update(rclip) == ""


def chmod(path: Path) -> None:
    path.chmod(0o600)


def link(path: Path) -> None:
    os.link(path, path.with_suffix(".aside"))


def restore(path: Path) -> None:
    """From a backup, which keeps times."""
    shutil.copy2(path, path.with_suffix(".backup"))
    path.unlink()
    path.with_suffix(".backup").rename(path)


@pytest.mark.parametrize("what", few([restore, chmod, link]))
def test_what_changes_nothing_of_the_bytes_is_not_spoken_of(
    rclip: Command, gallery: Path, table: Table, what: Callable[[Path], None]
) -> None:
    update(rclip)
    before = table("SELECT id, vector FROM images ORDER BY id")
    for path in gallery.rglob("*.jpg"):
        what(path)
    assert update(rclip) == ""
    assert table("SELECT id, vector FROM images ORDER BY id") == before
    (index,) = rclip.data_dir.glob("*.db")
    content = index.read_bytes()
    assert update(rclip) == ""
    assert index.read_bytes() == content  # what has been looked at is not looked at again


def test_one_that_was_edited_among_many_restored_ones(rclip: Command, gallery: Path, draw: Draw) -> None:
    edited = draw("edited.bmp")
    update(rclip)
    for path in gallery.rglob("*.*"):
        restore(path)
    edit_keeping_time(edited, edited.read_bytes()[:-3] + b"xyz", overwritten)
    assert update(rclip) == "1 changed"


def many(photos: Path, draw: Draw) -> list[Path]:
    """So many that not all are read when only their change times are others."""
    content = draw("0000.bmp").read_bytes()
    for number in range(1, 150):
        (photos / f"{number:04}.bmp").write_bytes(content + number.to_bytes(2, "big"))
    (photos / "0000.bmp").write_bytes(content + b"\0\0")
    return sorted(photos.iterdir())


@pytest.mark.parametrize("what", few([restore, chmod]))
def test_a_restored_library_is_not_read_as_a_whole(
    rclip: Command, photos: Path, draw: Draw, drop_root: tuple[str, ...], what: Callable[[Path], None]
) -> None:
    """Shown by forbidding most of it: every third is read, as it may be any of them."""
    paths = many(photos, draw)
    update(rclip)
    for path in paths:
        what(path)
    for path in set(paths) - set(paths[::3]):
        path.chmod(0)
    assert rclip("--index", "-v", prefix=drop_root).err == "rclip: nothing has changed; photos here: 150\n"
    for path in paths:
        path.chmod(0)
    assert rclip("--index", "-v", prefix=drop_root).err == "rclip: nothing has changed; photos here: 150\n"


def test_a_library_that_was_edited_as_a_whole_is_read(rclip: Command, photos: Path, draw: Draw) -> None:
    paths = many(photos, draw)
    update(rclip)
    for path in paths[10:]:
        edit_keeping_time(path, path.read_bytes()[:-2] + b"xx", replaced)
    for path in paths[:10]:
        restore(path)
    assert update(rclip) == "1 changed, 139 copies"


def test_a_touched_photo_that_may_not_be_read_now_stays(
    rclip: Command, gallery: Path, drop_root: tuple[str, ...]
) -> None:
    update(rclip)
    for path in gallery.rglob("*.jpg"):
        path.chmod(0)
    assert rclip("--index", "-v", prefix=drop_root).err == "rclip: nothing has changed; photos here: 12\n"
    assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]


def test_what_the_system_keeps_in_memory_has_no_change_times_to_rely_on() -> None:
    assert not _FileSystems().keep_change_times(b"/proc/1/", os.stat("/proc/1").st_dev)
