"""Folders on a slow drive, or with very much else in them."""

import os
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from rclip.indexing.listing import Entry, Lister, Look
from rclip.indexing.walk import walk
from tests.support.command import Command, unchanged
from tests.support.gallery import Draw
from tests.support.slow_disk import SlowDisk, folders_of_one_photo
from tests.support.tiers import few


@pytest.mark.parametrize("folders", few([60, 400]))
def test_folders_of_a_slow_drive_are_listed_several_at_a_time(
    rclip: Command, draw: Draw, tmp_path: Path, folders: int
) -> None:
    listed = folders_of_one_photo(draw("photo.jpg"), folders)
    disk = SlowDisk(tmp_path / "calls", 20, *listed)
    done = rclip("--index", "-v", prefix=disk.prefix)
    assert done.err == f"rclip: index updated: found 1 new photo, {folders} copies\n"
    assert disk.at_once() >= 8
    disk = SlowDisk(tmp_path / "calls", 20, *listed)
    assert rclip("--index", "-v", prefix=disk.prefix).err == unchanged(folders + 1)  # found in the table's order
    assert rclip("--index", "-v").err == unchanged(folders + 1)


def test_folders_of_a_drive_that_is_not_slow_are_listed_one_by_one(rclip: Command, draw: Draw, tmp_path: Path) -> None:
    """Threads would only take the processor from one another."""
    folders = folders_of_one_photo(draw("photo.jpg"), 60)
    disk = SlowDisk(tmp_path / "calls", 0, *folders)
    assert rclip("--index", "-v", prefix=disk.prefix).code == 0
    assert disk.at_once() <= 1


def test_a_slow_drive_whose_folders_cannot_be_listed_or_come_and_go(
    rclip: Command, draw: Draw, tmp_path: Path, drop_root: tuple[str, ...]
) -> None:
    folders = folders_of_one_photo(draw("photo.jpg"), 60)
    for name in ("0", "3"):
        (rclip.cwd / name).chmod(0)
    disk = SlowDisk(tmp_path / "calls", 20, *folders)
    done = rclip("--index", "-v", prefix=(*disk.prefix, *drop_root))
    for name in ("0", "3"):
        (rclip.cwd / name).chmod(0o700)
    assert [line.partition(":")[2] for line in done.err.splitlines()[:2]] == [
        f" cannot list {rclip.cwd}/{name}/: Permission denied; the index keeps its photos" for name in ("0", "3")
    ]
    assert done.code == 0


def test_what_a_thread_raises_is_raised_to_who_waits_for_it() -> None:
    """Who would wait for ever otherwise."""
    folders = [b"/%02d/" % number for number in range(40)]
    below = [b"/39/%02d/" % number for number in range(40)]

    def list_folder(folder: bytes, look: Look) -> list[Entry]:
        time.sleep(0.005)
        if threading.current_thread().name == "rclip-list":
            raise MemoryError
        return [(each, None) for each in below] if folder == folders[-1] else []

    raised: list[BaseException] = []

    def list_all() -> None:
        lister = Lister(list_folder)
        try:
            for folder in (*folders, *below):
                lister.entries(folder)
        except MemoryError as error:
            raised.append(error)
        finally:
            lister.close()

    lists = threading.Thread(target=list_all, daemon=True)
    lists.start()
    lists.join(60)
    assert len(raised) == 1


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_files_that_are_no_photos_take_no_memory(photos: Path, draw: Draw, count: int) -> None:
    draw("a.jpg")
    for number in range(count):
        if number % 30_000 == 0:  # a file may have no more than 65,000 names
            first = photos / f"{number:07}.txt"
            first.touch()
        else:
            os.link(first, photos / f"{number:07}.txt")
    tracemalloc.start()
    try:
        found = [path for path, _ in walk(os.fsencode(photos) + b"/", {"jpg"})]
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [os.fsencode(photos / "a.jpg")]
    assert peak_bytes < 200_000
