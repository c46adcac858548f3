"""Folders that hurt: what cannot be listed, comes and goes, leads in circles or elsewhere, is deep or full."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.support.command import Command, start, update
from tests.support.gallery import Draw
from tests.support.tiers import few


def lines(rclip: Command, query: str = "red", *directories: str) -> list[str]:
    return sorted(rclip("-n", "--all", "-t", "99", query, *directories).lines)


def test_an_unreadable_folder_is_said_and_the_others_are_indexed(
    rclip: Command, gallery: Path, drop_root: tuple[str, ...]
) -> None:
    (gallery / "stars").chmod(0)
    done = rclip("--index", "-v", prefix=drop_root)
    assert done.code == 0
    assert done.err.splitlines() == [
        f"rclip: cannot list {gallery}/stars/: Permission denied; the index keeps its photos",
        "rclip: index updated: found 8 new photos",
    ]
    (gallery / "stars").chmod(0o755)
    assert update(rclip) == "4 new photos"


def test_a_named_folder_that_cannot_be_listed_keeps_no_other_from_being_indexed(
    rclip: Command, gallery: Path, drop_root: tuple[str, ...]
) -> None:
    rclip("--init", "squares")
    folders = [gallery / name for name in ("circles", "stars", "squares")]
    for folder in (folders[0], gallery / "broken"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0)
    done = rclip("--index", "-v", "broken", *map(str, folders), prefix=drop_root)
    for folder in (folders[0], gallery / "broken"):
        folder.chmod(0o755)
    assert (done.code, done.out) == (2, "")
    assert sorted(done.err.splitlines()) == [
        f"rclip: cannot list {gallery}/broken/: Permission denied",
        f"rclip: cannot list {gallery}/circles/: Permission denied",
        "rclip: index updated: found 8 new photos",
    ]
    assert lines(rclip, "red", "stars", "squares")[0] == "squares/blue.jpg"


def test_an_unreadable_folder_whose_name_would_steer_the_terminal(
    rclip: Command, photos: Path, drop_root: tuple[str, ...]
) -> None:
    folder = photos / "evil\x1b[2J\nname"
    folder.mkdir()
    folder.chmod(0)
    done = rclip("--index", "-v", prefix=drop_root)
    folder.chmod(0o755)
    assert done.err.count("\n") == 1
    assert "evil\\x1b[2J\\nname/: Permission denied" in done.err


def test_folders_that_come_and_go_during_the_walk_lose_nothing(rclip: Command, draw: Draw, photos: Path) -> None:
    """Photos that stay are found after every run, whatever becomes of the folders beside them."""
    for number in range(6):
        draw(f"stays {number}/a.jpg")
        draw(f"template/{number}.jpg")
    update(rclip, "--exclude-dir", "template")
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            for number in range(6):
                shutil.copytree(photos / "template", photos / f"stays {number}" / "passing")
            for number in range(6):
                shutil.rmtree(photos / f"stays {number}" / "passing")

    mischief = threading.Thread(target=come_and_go)
    mischief.start()
    try:
        for _ in range(6):
            done = rclip("--index", "-v", "--exclude-dir", "template")
            assert done.code == 0, done.err
            assert "Traceback" not in done.err
    finally:
        stop.set()
        mischief.join()
    update(rclip, "--exclude-dir", "template")
    assert lines(rclip) == [f"stays {number}/a.jpg" for number in range(6)]
    assert update(rclip, "--exclude-dir", "template") == ""


def test_a_folder_that_is_renamed_during_the_run_is_found_under_its_new_name(
    rclip: Command, draw: Draw, photos: Path
) -> None:
    for number in range(100):
        draw(f"before/{number:03}.png")
    run = start(rclip, "--index", "-v", stderr=subprocess.PIPE)
    while not list(rclip.data_dir.glob("*.db")) and run.poll() is None:
        time.sleep(0.002)
    (photos / "before").rename(photos / "after")
    _, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    update(rclip)
    assert sorted(rclip("-n", "-t", "999", "red").lines) == [f"after/{number:03}.png" for number in range(100)]
    assert update(rclip) == ""


def test_links_that_lead_in_circles_or_outside_are_not_followed(
    rclip: Command, draw: Draw, photos: Path, tmp_path: Path
) -> None:
    draw("a/b/1.jpg")
    draw(tmp_path / "outside/2.jpg", "blue star")
    (photos / "a/b/up").symlink_to(photos)
    (photos / "a/itself").symlink_to(photos / "a/itself")
    (photos / "ping").symlink_to(photos / "pong")
    (photos / "pong").symlink_to(photos / "ping")
    (photos / "root").symlink_to("/")
    (photos / "out").symlink_to(tmp_path / "outside")
    (photos / "up.jpg").symlink_to("..")  # a folder under a photo's name
    assert update(rclip) == "1 new photo"
    assert lines(rclip) == ["a/b/1.jpg"]


def test_a_link_to_a_photo_outside_is_a_photo(rclip: Command, draw: Draw, photos: Path, tmp_path: Path) -> None:
    (photos / "link.jpg").symlink_to(draw(tmp_path / "outside/2.jpg"))
    assert update(rclip) == "1 new photo"
    assert lines(rclip) == ["link.jpg"]


@pytest.mark.parametrize("spelled", few(["a link", "a link to a link", "a link with a slash", "dots"]))
def test_a_root_that_is_a_link_is_the_folder_that_it_leads_to(
    rclip: Command, gallery: Path, tmp_path: Path, spelled: str
) -> None:
    (tmp_path / "link").symlink_to(gallery)
    (tmp_path / "link to link").symlink_to("link")
    root = {
        "a link": f"{tmp_path}/link",
        "a link to a link": f"{tmp_path}/link to link",
        "a link with a slash": f"{tmp_path}/link/",
        "dots": f"{tmp_path}/link/stars/..",
    }[spelled]
    assert update(rclip, root) == "12 new photos"
    assert update(rclip) == ""  # nothing is known twice
    assert rclip("-n", "-t", "1", "a red star", root).lines == [os.path.join(root, "stars/red.jpg")]


def test_a_root_that_is_a_link_in_a_circle_or_to_nothing_is_one_line(rclip: Command, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nothing").symlink_to("gone")
    for name in ("circle", "nothing"):
        done = rclip("--index", "-v", f"{tmp_path}/{name}")
        assert (done.code, done.out) == (2, "")
        assert done.err == f"rclip: there is no folder {tmp_path}/{name}\n"


def test_the_same_folder_reached_twice_is_indexed_once(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(gallery)
    twice = (".", str(gallery), f"{tmp_path}/link", "stars", "../photos")
    assert update(rclip, *twice) == "12 new photos"
    assert len(rclip("-n", "-t", "99", "star", *twice).lines) == 12


def test_an_empty_mount_point_hides_its_photos_until_the_drive_is_back(
    rclip: Command, gallery: Path, tmp_path: Path, drop_root: tuple[str, ...]
) -> None:
    """The root itself this time: `rclip` is run in the empty mount point."""
    update(rclip)
    stars = gallery / "stars"
    stars.rename(tmp_path / "drive")
    stars.mkdir()
    done = rclip("a red star", "stars")
    assert (done.code, done.out) == (1, "")
    assert done.err == "rclip: index updated: found 4 missing\nrclip: no photos here\n"
    stars.rmdir()
    (tmp_path / "drive").rename(stars)
    for path in stars.iterdir():
        path.chmod(0)  # which shows that none is read again
    done = rclip("-t", "1", "a red star", "stars", prefix=drop_root)
    assert (done.lines, done.err) == (["stars/red.jpg"], "rclip: index updated: found 4 back\n")


def test_a_drive_that_is_unmounted_for_good_with_its_mount_point_is_no_folder(rclip: Command, gallery: Path) -> None:
    update(rclip)
    shutil.rmtree(gallery / "stars")
    done = rclip("--index", "-v", "stars")
    assert (done.code, done.err) == (2, "rclip: there is no folder stars\n")
    assert len(rclip("-n", "-t", "99", "a star").lines) == 12  # nothing was forgotten by asking


def test_photos_a_thousand_folders_deep_are_found(rclip: Command, draw: Draw, photos: Path) -> None:
    """Their paths stay within what the system takes at once: 4,096 bytes."""
    photo = draw("top.jpg")
    folder = photos
    for _ in range(1000):
        folder /= "d"
        folder.mkdir()
    shutil.copy(photo, folder / "deep.jpg")
    assert update(rclip) == "1 new photo, 1 copy"
    assert lines(rclip) == ["d/" * 1000 + "deep.jpg", "top.jpg"]
    assert update(rclip) == ""
    subprocess.run(["rm", "-r", photos / "d"], check=True)  # Python's own way to remove it is recursive


def test_a_path_that_is_too_long_for_the_system_is_said(rclip: Command, draw: Draw, photos: Path) -> None:
    draw("a.jpg")
    script = 'for i in $(seq 30); do mkdir "$0" && cd -P "$0" 2>/dev/null || exit; done; cp "$1" deep.jpg'
    subprocess.run(["bash", "-c", script, "d" * 200, photos / "a.jpg"], cwd=photos, check=True)
    done = rclip("--index", "-v")
    assert done.code == 0
    *said, last = done.err.splitlines()
    assert last == "rclip: index updated: found 1 new photo"
    assert len(said) == 1
    assert "File name too long" in said[0]
    subprocess.run(["rm", "-r", photos / ("d" * 200)], check=True)


@pytest.mark.parametrize("count", [3_000, pytest.param(200_000, marks=pytest.mark.soak)])
def test_very_many_files_in_one_folder(rclip: Command, draw: Draw, photos: Path, count: int) -> None:
    """All of them names of one photo, which is decoded once."""
    photo = draw(f"{0:06}.jpg")
    for number in range(1, count):
        names = number // 30_000  # a file may have no more than 65,000 names
        if number % 30_000 == 0:
            shutil.copy(photo, photos / f"{number:06}.jpg")
        else:
            os.link(photos / f"{names * 30_000:06}.jpg", photos / f"{number:06}.jpg")
    assert update(rclip) == f"1 new photo, {count - 1:,} copies"
    assert update(rclip) == ""
    assert len(rclip("-n", "--all", "-t", str(count), "red").lines) == count


def test_folders_that_differ_in_case_only_are_two(rclip: Command, draw: Draw, photos: Path) -> None:
    draw("Photos/a.jpg")
    if (photos / "photos").exists():
        pytest.skip("this file system does not tell them apart")
    draw("photos/a.jpg", "blue star")
    assert update(rclip) == "2 new photos"
    assert lines(rclip, "red", "photos") == ["photos/a.jpg"]
    assert lines(rclip, "red", "Photos") == ["Photos/a.jpg"]
    (photos / "photos/a.jpg").unlink()
    draw("photos/b.jpg", "green star")
    assert update(rclip) == "1 new photo, 1 missing"
    assert lines(rclip) == ["Photos/a.jpg", "photos/b.jpg"]
