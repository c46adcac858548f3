"""What a run does with photos that are new, unchanged, changed, moved, copied, gone, back, or cannot be read.

That a photo was not read is shown by forbidding it: a run that may not open it still ends well.
"""

import os
import pty
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from rclip import formats
from rclip.models.hardware import has_bf16
from tests.support import pictures
from tests.support.command import Command, start, unchanged, update
from tests.support.gallery import Draw, many_photos
from tests.support.index import Table
from tests.support.many_runs import ManyRuns
from tests.support.tiers import few
from tests.tiny_clip import scenes

# --- the usual life of a photo ---------------------------------------------------------------------------------------


def test_an_unchanged_folder_is_neither_written_nor_spoken_of(rclip: Command, gallery: Path) -> None:
    assert update(rclip) == "12 new photos"
    (index,) = rclip.data_dir.glob("*.db")
    before = index.stat(), index.read_bytes()
    assert update(rclip) == ""
    after = index.stat()
    assert (after.st_mtime_ns, index.read_bytes()) == (before[0].st_mtime_ns, before[1])
    assert not list(rclip.data_dir.glob("*-wal"))


def test_an_unchanged_photo_is_not_opened(rclip: Command, gallery: Path, drop_root: tuple[str, ...]) -> None:
    update(rclip)
    for path in gallery.rglob("*.jpg"):
        path.chmod(0)
    done = rclip("--index", "-v", prefix=drop_root)
    assert (done.code, done.err) == (0, unchanged(12))


def test_a_new_photo_is_added(rclip: Command, gallery: Path, draw: Draw) -> None:
    update(rclip)
    draw("new.png", "green star")
    assert update(rclip) == "1 new photo"
    assert rclip("-n", "-t", "2", "a green star").lines[:2] in (
        ["new.png", "stars/green.jpg"],
        ["stars/green.jpg", "new.png"],
    )


def test_a_changed_photo_is_seen_anew(rclip: Command, draw: Draw, table: Table) -> None:
    photo = draw("a.jpg", "red circle")
    draw("b.jpg", "blue star")
    update(rclip)
    before = table.vector(photo)
    draw("a.jpg", "green square")
    assert update(rclip) == "1 changed"
    after = table.vector(photo)
    assert after[1] != before[1]
    assert after[0] > before[0]  # what is derived from the table can tell by the id
    assert rclip("-n", "-t", "1", "a green square").lines == ["a.jpg"]


def test_a_touched_photo_keeps_its_vector(rclip: Command, draw: Draw, table: Table) -> None:
    photo = draw("a.jpg")
    update(rclip)
    before = table.vector(photo)
    os.utime(photo, ns=(1, 1_234_567_890_123_456_789))
    assert update(rclip) == ""
    assert table.vector(photo) == before
    assert table("SELECT mtime_ns FROM images") == [(1_234_567_890_123_456_789,)]


def test_a_deleted_photo_is_not_found(rclip: Command, gallery: Path) -> None:
    update(rclip)
    (gallery / "stars/red.jpg").unlink()
    assert update(rclip) == "1 missing"
    assert "stars/red.jpg" not in rclip("-n", "-t", "99", "a red star").lines
    assert update(rclip) == ""


def test_a_photo_that_comes_back_is_not_read(
    rclip: Command, gallery: Path, table: Table, tmp_path: Path, drop_root: tuple[str, ...]
) -> None:
    update(rclip)
    photo = gallery / "stars/red.jpg"
    before = table.vector(photo)
    shutil.move(photo, tmp_path / "aside.jpg")
    assert update(rclip) == "1 missing"
    shutil.move(tmp_path / "aside.jpg", photo)
    photo.chmod(0)
    done = rclip("--index", "-v", prefix=drop_root)
    assert done.err == "rclip: index updated: found 1 back\n"
    assert table.vector(photo) == before


def test_a_deleted_only_photo_leaves_nothing_to_find(rclip: Command, draw: Draw) -> None:
    photo = draw("a.jpg")
    update(rclip)
    photo.unlink()
    found = rclip("red")
    assert (found.code, found.out) == (1, "")


def test_a_renamed_photo_is_neither_decoded_nor_read(
    rclip: Command, gallery: Path, table: Table, drop_root: tuple[str, ...]
) -> None:
    update(rclip)
    old = gallery / "stars/red.jpg"
    before = table.vector(old)
    new = old.rename(gallery / "stars/rouge.jpg")
    new.chmod(0)
    done = rclip("--index", "-v", prefix=drop_root)
    assert done.err == "rclip: index updated: found 1 moved file\n"
    assert table.vector(new) == before


def test_a_renamed_folder_moves_its_photos(
    rclip: Command, gallery: Path, table: Table, drop_root: tuple[str, ...]
) -> None:
    update(rclip)
    before = table.vector(gallery / "stars/red.jpg")
    (gallery / "stars").rename(gallery / "étoiles")
    for path in gallery.rglob("*.jpg"):
        path.chmod(0)
    done = rclip("--index", "-v", prefix=drop_root)
    assert done.err == "rclip: index updated: found 4 moved files\n"
    assert table.vector(gallery / "étoiles/red.jpg") == before
    assert rclip("-n", "-t", "1", "a red star").lines == ["étoiles/red.jpg"]


def test_photos_moved_out_of_a_folder_that_is_empty_now_are_not_gone(rclip: Command, draw: Draw, photos: Path) -> None:
    draw("a/1.png")
    draw("b/2.png")
    update(rclip)
    (photos / "a/1.png").rename(photos / "b/1.png")
    assert update(rclip) == "1 moved file"


def test_a_photo_moved_to_another_disk_keeps_its_vector(rclip: Command, draw: Draw, table: Table, photos: Path) -> None:
    old = draw("a.jpg")
    draw("b.jpg", "blue star")
    update(rclip)
    before = table.vector(old)
    new = photos / "sub/c.jpg"
    new.parent.mkdir()
    shutil.copyfile(old, new)  # another inode and another time, as on another disk
    old.unlink()
    assert update(rclip) == "1 moved file"
    assert table.vector(new) == before


def test_an_inode_used_again_within_a_second_is_not_taken_for_the_old_photo(
    rclip: Command, draw: Draw, table: Table, photos: Path
) -> None:
    """Unpacking an archive gives times in whole seconds, and burst shots may even have one size."""
    old = draw("a.bmp", "red circle")
    draw("stays.bmp", "blue star")
    os.utime(old, ns=(10**18, 10**18))
    update(rclip)
    before = table.vector(old)
    new = photos / "b.bmp"
    picture = draw("c.bmp", "green square").read_bytes()
    old.write_bytes(picture)  # same inode, same size
    old.rename(new)
    (photos / "c.bmp").unlink()
    os.utime(new, ns=(10**18, 10**18))
    assert update(rclip) == "1 new photo, 1 missing"
    assert table.vector(new)[1] != before[1]


def test_a_copied_photo_is_found_twice_and_seen_once(rclip: Command, draw: Draw, table: Table, photos: Path) -> None:
    first = draw("a.jpg")
    draw("b.jpg", "blue star")
    update(rclip)
    shutil.copyfile(first, photos / "z.jpg")
    assert update(rclip) == "1 copy"
    assert table.vector(photos / "z.jpg")[1] == table.vector(first)[1]
    assert sorted(rclip("-n", "--all", "-t", "2", "a red circle").lines) == ["a.jpg", "z.jpg"]


def test_copies_that_are_all_new_are_seen_once(rclip: Command, draw: Draw, photos: Path) -> None:
    first = draw("0.jpg")
    for number in range(1, 40):
        shutil.copyfile(first, photos / f"{number}.jpg")
    assert update(rclip) == "1 new photo, 39 copies"
    assert len(rclip("-n", "--all", "-t", "99", "red").lines) == 40


def test_a_hard_link_is_a_copy(rclip: Command, draw: Draw, photos: Path) -> None:
    first = draw("a.jpg")
    update(rclip)
    os.link(first, photos / "b.jpg")
    assert update(rclip) == "1 copy"


def test_two_photos_that_swap_names_keep_their_vectors(rclip: Command, draw: Draw, table: Table, photos: Path) -> None:
    a, b = draw("a.jpg", "red circle"), draw("b.jpg", "blue star")
    update(rclip)
    red, blue = table.vector(a)[1], table.vector(b)[1]
    a.rename(photos / "aside")
    b.rename(a)
    (photos / "aside").rename(b)
    update(rclip)
    assert (table.vector(a)[1], table.vector(b)[1]) == (blue, red)


def test_a_photo_replaced_by_a_copy_of_another(rclip: Command, draw: Draw, table: Table) -> None:
    a, b = draw("a.jpg", "red circle"), draw("b.jpg", "blue star")
    update(rclip)
    shutil.copyfile(a, b)
    update(rclip)
    assert table.vector(a)[1] == table.vector(b)[1]


# --- nothing lost ----------------------------------------------------------------------------------------------------


def test_an_unplugged_drive_forgets_nothing(
    rclip: Command, gallery: Path, table: Table, tmp_path: Path, drop_root: tuple[str, ...]
) -> None:
    """Its mount point is an empty folder; when it is back, not a photo is read."""
    update(rclip)
    before = table.vector(gallery / "stars/red.jpg")
    (gallery / "stars").rename(tmp_path / "drive")
    (gallery / "stars").mkdir()
    update(rclip)
    assert not any(line.startswith("stars") for line in rclip("-n", "-t", "99", "a star").lines)
    (gallery / "stars").rmdir()
    (tmp_path / "drive").rename(gallery / "stars")
    for path in gallery.rglob("*.jpg"):
        path.chmod(0)
    assert rclip("--index", "-v", prefix=drop_root).err == "rclip: index updated: found 4 back\n"
    assert table.vector(gallery / "stars/red.jpg") == before


def test_a_folder_that_cannot_be_listed_keeps_its_photos(
    rclip: Command, gallery: Path, drop_root: tuple[str, ...]
) -> None:
    update(rclip)
    (gallery / "stars").chmod(0)
    found = rclip("-t", "1", "a red star", prefix=drop_root)
    (gallery / "stars").chmod(0o755)
    assert (found.code, found.lines) == (0, ["stars/red.jpg"])
    expected = f"rclip: cannot list {gallery}/stars/: Permission denied; the index keeps its photos\n"
    assert found.err == expected


def test_a_root_that_cannot_be_listed_is_an_error(rclip: Command, gallery: Path, drop_root: tuple[str, ...]) -> None:
    update(rclip)
    (gallery / "stars").chmod(0)
    done = rclip("a red star", "stars", prefix=drop_root)
    (gallery / "stars").chmod(0o755)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"rclip: cannot list {gallery}/stars/: Permission denied\n"


def test_excluding_a_folder_hides_its_photos_and_forgets_nothing(rclip: Command, gallery: Path) -> None:
    update(rclip)
    assert update(rclip, "--exclude-dir", "stars") == ""
    with_all = rclip("-n", "-t", "99", "a star").lines
    without = rclip("-n", "-t", "99", "--exclude-dir", "stars", "a star").lines
    assert len(with_all) == 12
    assert without == [line for line in with_all if not line.startswith("stars/")]
    assert rclip("-n", "-t", "3", "--exclude-dir", "stars", "a star").lines == without[:3]


def test_an_index_of_a_folder_leaves_the_rest_alone(rclip: Command, gallery: Path) -> None:
    update(rclip)
    shutil.rmtree(gallery / "circles")
    assert update(rclip, "stars") == ""
    assert update(rclip) == "4 missing"


# --- what cannot be read ---------------------------------------------------------------------------------------------


def test_an_unreadable_file_is_reported_once_and_ends_nothing(rclip: Command, gallery: Path, table: Table) -> None:
    (gallery / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    assert update(rclip) == "12 new photos, 1 unreadable (rclip --stats lists them)"
    assert update(rclip) == ""
    assert "broken.jpg" not in table.paths()


def test_a_mended_file_is_seen(rclip: Command, draw: Draw, photos: Path) -> None:
    (photos / "a.jpg").write_bytes(b"no picture")
    assert update(rclip) == "1 unreadable (rclip --stats lists them)"
    draw("a.jpg", "green star")
    assert update(rclip) == "1 changed"
    assert rclip("-n", "a green star").lines == ["a.jpg"]


def test_a_photo_that_breaks_is_not_found_any_more(rclip: Command, gallery: Path) -> None:
    update(rclip)
    (gallery / "stars/red.jpg").write_bytes(b"no picture")
    assert update(rclip) == "1 unreadable (rclip --stats lists them)"
    assert "stars/red.jpg" not in rclip("-n", "-t", "99", "a red star").lines


def test_copies_of_a_broken_file_are_all_listed(rclip: Command, photos: Path) -> None:
    for name in "abc":
        (photos / f"{name}.jpg").write_bytes(b"no picture")
    assert update(rclip) == "3 unreadable (rclip --stats lists them)"
    assert update(rclip) == ""


def test_a_forbidden_file_is_tried_again(rclip: Command, draw: Draw, drop_root: tuple[str, ...]) -> None:
    photo = draw("a.jpg")
    photo.chmod(0)
    done = rclip("--index", "-v", prefix=drop_root)
    assert done.err == "rclip: index updated: found 1 unreadable (rclip --stats lists them)\n"
    assert "a.jpg: Permission denied" in rclip("--stats").out
    assert rclip("--index", "-v", prefix=drop_root).err == unchanged(0)
    photo.chmod(0o644)
    assert update(rclip) == "1 changed"


def test_a_picture_above_the_limit_is_refused_and_tried_again_under_another(rclip: Command, draw: Draw) -> None:
    draw("a.png", "green star")
    assert update(rclip, "--max-image-megapixels", "0.01") == "1 unreadable (rclip --stats lists them)"
    assert (
        "a.png: 160×120 is more than 0.01 megapixels (--max-image-megapixels raises the limit)" in rclip("--stats").out
    )
    assert update(rclip) == ""
    assert update(rclip, "--max-image-megapixels", "1") == "1 changed"


def test_without_a_limit_given_the_machines_memory_sets_one(rclip: Command, photos: Path) -> None:
    """A PNG of a few bytes whose header announces forty gigapixels."""
    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(header)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (photos / "bomb.png").write_bytes(png + b"\0\0\0\x04IDAT" + bytes(8))
    assert update(rclip) == "1 unreadable (rclip --stats lists them)"
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = f"{memory_bytes / 8 / 8 / 1e6:.3g}"  # an eighth of it, at 8 bytes a pixel
    expected = f"bomb.png: 200000×200000 is more than {limit} megapixels (--max-image-megapixels raises the limit)"
    assert expected in rclip("--stats").out


def test_broken_links_pipes_and_folders_named_like_photos(rclip: Command, draw: Draw, photos: Path) -> None:
    draw("a.jpg")
    (photos / "link.jpg").symlink_to(photos / "a.jpg")
    (photos / "broken.jpg").symlink_to(photos / "nothing")
    (photos / "loop.jpg").symlink_to(photos / "loop.jpg")
    (photos / "folder.jpg").mkdir()
    draw("folder.jpg/inside.jpg", "blue star")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "up").symlink_to(photos)
    assert update(rclip) == "2 new photos, 1 copy, 2 unreadable (rclip --stats lists them)"
    assert update(rclip) == ""
    assert "broken.jpg: broken link" in rclip("--stats").out


def test_a_link_whose_photo_is_gone_is_not_found(rclip: Command, draw: Draw, photos: Path, tmp_path: Path) -> None:
    draw("stays.jpg", "blue star")
    target = draw(tmp_path / "elsewhere.jpg")
    (photos / "link.jpg").symlink_to(target)
    assert update(rclip) == "2 new photos"
    target.rename(tmp_path / "aside.jpg")
    assert update(rclip) == "1 missing"
    assert rclip("-n", "red").lines == ["stays.jpg"]
    assert update(rclip) == ""
    (tmp_path / "aside.jpg").rename(target)
    assert update(rclip) == "1 back"


def test_a_broken_decoder_is_not_the_photos_fault(rclip: Command, draw: Draw, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/pillow_heif.py").write_text("raise ImportError('libheif.so.1 is missing')\n")
    broken = {"PYTHONPATH": f"{tmp_path / 'broken'}{os.pathsep}{Path(__file__).parent.parent}"}
    (photos / "a.heic").write_bytes(pictures.encode(Image.new("RGB", (90, 90), "red"), "heic"))
    for _ in range(2):
        assert (
            rclip("--index", "-v", env=broken).err
            == "rclip: index updated: found 1 to be tried again by the next run\n"
        )
    assert update(rclip) == "1 new photo"


def test_copies_of_a_photo_that_cannot_be_read_now_are_read_once(rclip: Command, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    asked = tmp_path / "asked"
    code = f"open({str(asked)!r}, 'a').write('x')\nraise ImportError('libheif.so.1 is missing')\n"
    (tmp_path / "broken/pillow_heif.py").write_text(code)
    broken = {"PYTHONPATH": f"{tmp_path / 'broken'}{os.pathsep}{Path(__file__).parent.parent}"}
    content = pictures.encode(Image.new("RGB", (90, 90), "red"), "heic")
    for number in range(12):
        (photos / f"{number}.heic").write_bytes(content)
    assert (
        rclip("--index", "-v", env=broken).err == "rclip: index updated: found 12 to be tried again by the next run\n"
    )
    assert len(asked.read_text()) == 1
    assert update(rclip) == "1 new photo, 11 copies"


# --- which files -----------------------------------------------------------------------------------------------------


PASSED_OVER = [
    ".hidden",
    "$RECYCLE.BIN",
    "@eaDir",
    "node_modules",
    ".git",
    "System Volume Information",
    "$Recycle.Bin",
    "RECYCLER",
    "#recycle",
    "@Recycle",
    "#snapshot",
    "@Recently-Snapshot",
    "~snapshot",
    ".Trash-1000",
    ".zfs",
    "lost+found",
]


@pytest.mark.parametrize("folder", few(PASSED_OVER))
def test_hidden_and_housekeeping_folders_are_passed_over(rclip: Command, draw: Draw, folder: str) -> None:
    draw("seen.jpg")
    draw(f"{folder}/deep/unseen.jpg", "blue star")
    assert update(rclip) == "1 new photo"
    assert update(rclip, "--include-hidden") == "1 new photo"
    assert len(rclip("-n", "--include-hidden", "star").lines) == 2
    assert rclip("-n", "star").lines == ["seen.jpg"]
    assert update(rclip) == ""


def test_hidden_files_are_passed_over(rclip: Command, draw: Draw) -> None:
    draw(".hidden.jpg")
    draw("._resource.jpg", "blue star")
    assert update(rclip) == ""
    assert update(rclip, "--include-hidden") == "2 new photos"


def test_a_hidden_directory_that_is_named_is_searched(rclip: Command, draw: Draw) -> None:
    draw(".hidden/a.jpg")
    assert rclip("red", ".hidden").lines == [".hidden/a.jpg"]


def test_exclude_dir_may_be_repeated_and_goes_with_include_hidden(rclip: Command, draw: Draw) -> None:
    draw("a/1.jpg")
    draw("b/c/2.jpg", "blue star")
    draw(".d/3.jpg", "green star")
    assert update(rclip, "--exclude-dir", "a", "--exclude-dir", "c") == ""
    assert update(rclip, "--exclude-dir", "a", "--include-hidden") == "2 new photos"


def test_a_hidden_folder_that_is_named_beside_the_one_around_it(rclip: Command, draw: Draw) -> None:
    draw("a.jpg")
    draw(".hidden/b.jpg", "blue star")
    assert rclip("-t", "9", "star", ".", ".hidden").lines == ["./.hidden/b.jpg", "./a.jpg"]


def test_exclude_dir_takes_a_name_with_a_slash_behind(rclip: Command, draw: Draw) -> None:
    draw("a/1.jpg")
    assert update(rclip, "--exclude-dir", "a/") == ""


def test_other_files_are_no_photos(rclip: Command, draw: Draw, photos: Path) -> None:
    draw("a.jpg")
    for name in ("notes.txt", "jpg", "sound.mp3", "a.jpg.bak", "page.pdf", "drawing.eps"):
        (photos / name).write_bytes((photos / "a.jpg").read_bytes())
    assert update(rclip) == "1 new photo"


def test_a_run_sees_several_directories(rclip: Command, draw: Draw, tmp_path: Path) -> None:
    draw("a.jpg")
    other = tmp_path / "other"
    draw(other / "b.jpg", "blue star")
    found = rclip("-t", "2", "star", ".", str(other))
    assert found.lines == [f"{other}/b.jpg", "./a.jpg"]
    assert found.err == "rclip: index updated: found 2 new photos\n"


# --- formats that need a package --------------------------------------------------------------------------------------


@pytest.fixture
def without_extras(tmp_path: Path) -> dict[str, str]:
    """An environment in which the packages for HEIC, JPEG XL and RAW are not installed, as Python sees it."""
    folder = tmp_path / "startup"
    folder.mkdir()
    code = "import sys\nsys.modules.update(pillow_heif=None, pillow_jxl=None, rawpy=None)\n"
    (folder / "sitecustomize.py").write_text(code)
    decoders = f"sys.path.remove({str(folder)!r})\ndel sys.modules['PIL']\nimport PIL\n"  # which heed no environment
    (folder / "PIL.py").write_text(code + decoders)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parent.parent)])}


def test_files_that_need_a_package_are_counted_and_the_command_named(
    rclip: Command, draw: Draw, photos: Path, without_extras: dict[str, str]
) -> None:
    draw("a.jpg")
    for name in ("b.heic", "c.HEIC", "d.nef", "e.jxl"):
        (photos / name).write_bytes(pictures.encode(Image.open(photos / "a.jpg").copy(), name.split(".")[1].lower()))
    done = rclip("--index", "-v", env=without_extras)
    lines = done.err.splitlines()
    assert lines[0] == "rclip: index updated: found 1 new photo"
    assert lines[1].startswith(
        "rclip: 2 HEIC, 1 JPEG XL and 1 RAW files cannot be opened yet; to install what they need: "
    )
    assert lines[1].endswith(f"{sys.executable} -P -m pip install pillow-heif pillow-jxl-plugin rawpy")
    assert len(lines) == 2
    assert (
        rclip("--index", "-v").err == "rclip: index updated: found 3 new photos, 1 copy\n"
    )  # two files have one content
    assert rclip("--index", "-v", env=without_extras).err == unchanged(5)  # known ones need nothing


def test_one_that_needs_a_package_is_a_line_but_where_nobody_looks(
    rclip: Command, draw: Draw, photos: Path, without_extras: dict[str, str]
) -> None:
    (photos / "b.heic").write_bytes(pictures.encode(Image.open(draw("a.jpg")).copy(), "heic"))
    assert rclip("--index", env=without_extras) == (0, "", "")
    assert "rclip: 1 HEIC file cannot be opened yet; " in rclip("red", env=without_extras).err


def test_a_heic_called_jpg_waits_for_its_package_too(
    rclip: Command, draw: Draw, photos: Path, without_extras: dict[str, str]
) -> None:
    draw("a.png").rename(photos / "a.aside")
    (photos / "a.jpg").write_bytes(pictures.encode(Image.open(photos / "a.aside"), "heic"))
    shutil.copy(photos / "a.jpg", photos / "b.jpg")
    assert rclip("--index", "-v", env=without_extras).err.startswith("rclip: 2 HEIC files cannot be opened yet")
    assert rclip("--index", "-v").err == "rclip: index updated: found 1 new photo, 1 copy\n"


SUFFIXES = sorted(formats.PHOTO_SUFFIXES)


@pytest.mark.parametrize("names", few([SUFFIXES[:4], SUFFIXES[4:]]), ids=["four", "others"])
def test_every_format_is_found(rclip: Command, photos: Path, names: list[str]) -> None:
    rng = random.Random(5)
    for name in names:
        (photos / name).mkdir()
        for color, shape in (("red", "circle"), ("green", "star")):
            scene = scenes.Scene(color, shape, 1, "white", "plain")
            picture = scenes.draw(scene, (320, 240), rng)
            (photos / name / f"{color}.{name}").write_bytes(pictures.encode(picture, name))
    assert rclip("--index").code == 0
    with ManyRuns(rclip) as ask:
        for name in names:
            is_grey = name in ("pbm", "pgm", "pfm")
            found = ask("-n", "-t", "1", "a star" if is_grey else "a green star", name)
            assert found.lines == [f"{name}/green.{name}"], found


# --- while it runs ----------------------------------------------------------------------------------------------------


def stopped_on_the_way(rclip: Command, table: Table, number: signal.Signals) -> tuple[int, str]:
    """Starts an update, sends it the signal when it has stored something, and returns its status and last words."""
    run = start(rclip, "--index", stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (list(rclip.data_dir.glob("*.db")) and table.count() >= 16):
        time.sleep(0.01)
    run.send_signal(number)
    _, err = run.communicate(timeout=30)
    return run.returncode, err.decode()


@pytest.mark.parametrize(("number", "status"), few([(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]))
def test_a_stopped_run_keeps_what_it_did_and_goes_on(
    rclip: Command, draw: Draw, table: Table, number: signal.Signals, status: int
) -> None:
    many_photos(draw, 900)
    code, err = stopped_on_the_way(rclip, table, number)
    assert code == status, err
    done = table.count()
    assert 16 <= done < 900
    assert err in (
        f"rclip: stopped after {done} of 900 files; the finished ones are kept\n",
        "rclip: stopped in the middle of a long step; everything stored is kept\n",  # a slow disk, and torch on its way
    )
    assert update(rclip) == f"{900 - done} new photos"


@pytest.mark.skipif(not has_bf16(), reason="torch is not started without")
@pytest.mark.parametrize("module", few([b"torch._C", b"torch.autograd.profiler", b"torch._meta_registrations"]))
def test_a_signal_while_torch_is_imported_ends_the_run_in_order(rclip: Command, draw: Draw, module: bytes) -> None:
    many_photos(draw, 300)
    env = rclip.env | {"PYTHONPROFILEIMPORTTIME": "1"}
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "--index"]
    run = subprocess.Popen(command, cwd=rclip.cwd, env=env, stderr=subprocess.PIPE)
    assert run.stderr is not None
    while (line := run.stderr.readline()) and line.rpartition(b"|")[2].strip() != module:
        pass
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=30)
    assert run.returncode == 143, err
    assert re.search(rb"rclip: stopped (after \d+ of 300 files|in the middle of a long step); .* kept\n$", err), err


@pytest.mark.parametrize("arguments", few([["-b", "1"], ["-b", "3", "--device", "cpu"], ["--device", "auto"]]))
def test_batches_and_devices_change_no_answer(rclip: Command, gallery: Path, arguments: list[str]) -> None:
    assert update(rclip, *arguments) == "12 new photos"
    assert rclip("-n", "-t", "1", "a green circle").lines == ["circles/green.jpg"]


def test_a_device_that_is_not_there_is_one_line(rclip: Command, gallery: Path) -> None:
    done = rclip("--index", "-v", "--device", "cuda:77")
    assert done.code == 2
    assert re.search(r"^rclip: .*cuda:77", done.err.splitlines()[-1])
    assert "Traceback" not in done.err


def test_two_runs_at_once_lose_nothing(rclip: Command, draw: Draw, table: Table) -> None:
    many_photos(draw, 60)
    runs = [start(rclip, "--index", stderr=subprocess.PIPE) for _ in range(3)]
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
    assert table.paths() == [f"{number:04}.png" for number in range(60)]
    assert update(rclip) == ""


def test_a_terminal_shows_count_rate_and_time_left(rclip: Command, draw: Draw) -> None:
    many_photos(draw, 40)
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    run = start(rclip, "--index", stderr=slave)
    run.communicate(timeout=60)
    os.close(slave)
    shown = b""
    with open(master, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(65536):
                shown += part
        except OSError:  # Linux's end of a pseudo-terminal
            pass
    assert run.returncode == 0
    assert re.search(rb"indexing:\s+\d+%.*\| \d+/40 \[\d\d:\d\d<.*photo/s\]", shown), shown
    assert shown.rstrip().endswith(b"rclip: index updated: found 40 new photos")
