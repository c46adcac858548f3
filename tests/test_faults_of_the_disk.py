"""Faults of the disk and its clock: full, read-only, slow, files gone or wrong beside the index, times of any century.

A full disk is a small one of memory where the tests may mount one; a limit on the size of files is one everywhere.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rclip.files import FileStat
from rclip.index import vector_cache
from rclip.index.store import Store
from tests.support.command import Command, Result, one_line, unchanged, update
from tests.support.disks import Mount, fill_up, remount_read_only
from tests.support.gallery import Draw, many_photos
from tests.support.index import Table, index_of, integrity, kill_while_writing, leftovers, store_many
from tests.support.tiers import few


def size_limit(kilobytes: int) -> tuple[str, ...]:
    return ("bash", "-c", f'trap "" XFSZ; ulimit -f {kilobytes}; exec "$@"', "limit")


def assert_told(done: Result, line: str) -> None:
    assert (done.code, done.out) == (2, ""), done
    assert line in one_line(done.err.replace("rclip: preparing the model", "").split(", once\n")[-1])


ROWS = 3 * vector_cache.APPEND_FROM_ROWS // 2


# --- full -------------------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_while_indexing(rclip: Command, draw: Draw, mount: Mount) -> None:
    many_photos(draw, 60)
    mount(rclip.data_dir, 64 << 20)
    draw("0.jpg", "green star")
    rclip("--index", "-v", "-b", "1")
    draw("1.jpg", "blue circle")
    shutil.copytree(rclip.cwd, rclip.cwd / "more")
    for number, path in enumerate((rclip.cwd / "more").iterdir()):
        with path.open("ab") as file:
            file.write(b"%d" % number)  # other bytes
    before = Table(rclip).count()
    ballast = fill_up(rclip.data_dir, 300_000)
    done = rclip("--index", "-v", "-b", "1")
    assert_told(done, "make room on that disk and run again; everything stored is kept")
    assert rclip("-n", "-t", "1", "a green star").lines == ["0.jpg"]
    assert Table(rclip).count() >= before
    assert integrity(index_of(rclip)) == "ok"
    assert not leftovers(rclip.data_dir)
    ballast.unlink()
    kept = Table(rclip).count()
    assert update(rclip) == f"{124 - kept} new photos"


def test_files_that_may_not_grow_while_indexing(rclip: Command, draw: Draw) -> None:
    """The same wherever the tests run."""
    draw("0.jpg", "green star")
    rclip("--index", "-v")
    many_photos(draw, 70)
    done = rclip("--index", "-v", "-b", "1", prefix=size_limit(200))
    assert done.code == 2
    assert re_run_hint(one_line(done.err))
    assert integrity(index_of(rclip)) == "ok"
    assert rclip("-n", "-t", "1", "a green star").lines == ["0.jpg"]
    kept = Table(rclip).count()
    assert 1 <= kept < 71
    assert update(rclip) == f"{71 - kept} new photos"


def re_run_hint(line: str) -> bool:
    return line.startswith("rclip: cannot ") and "run again" in line


@pytest.mark.parametrize(
    "rooms", few([(0, 200_000, 350_000), range(4096, 700_000, 32_768)]), ids=lambda rooms: f"{len(rooms)} sizes"
)
def test_no_room_to_make_the_index(rclip: Command, gallery: Path, mount: Mount, rooms: Sequence[int]) -> None:
    """Wherever the disk is full, what is left is sound or nothing, and the next run with room goes on."""
    mount(rclip.data_dir, 64 << 20)
    for room in rooms:
        ballast = fill_up(rclip.data_dir, room)
        done = rclip("--index", "-v", "-b", "1")
        ballast.unlink()
        assert_told(done, "make room on that disk and run again; everything stored is kept")
        assert not leftovers(rclip.data_dir)
        indexes = list(rclip.data_dir.glob("*.db"))
        assert [integrity(path) for path in indexes] == ["ok"] * len(indexes)
        kept = Table(rclip).count() if indexes else 0
        assert update(rclip) == f"{12 - kept} new photos"
        index_of(rclip).unlink()


@pytest.mark.parametrize("rooms", few([(0, 150_000, 200_000), range(4096, 400_000, 32_768)]), ids=len)
def test_no_room_to_make_a_portable_index(rclip: Command, gallery: Path, mount: Mount, rooms: Sequence[int]) -> None:
    mount(gallery, 64 << 20)
    rclip("--init", gallery)
    for room in rooms:
        ballast = fill_up(gallery, room)
        done = rclip("--index", "-v", "-b", "1", gallery)
        ballast.unlink()
        index = next((gallery / ".rclip").glob("*.db"))
        assert integrity(index) == "ok"
        if done.code:
            assert_told(done, "make room on that disk and run again; everything stored is kept")
        assert rclip("--index", "-v", gallery).code == 0
        assert len(rclip("-n", "-t", "99", "star", gallery).lines) == 12
        assert integrity(index) == "ok"
        index.unlink()


@pytest.mark.parametrize("rooms", few([(0, 250_000), range(4096, 500_000, 32_768)]), ids=len)
def test_no_room_to_rebuild_the_index(rclip: Command, gallery: Path, mount: Mount, rooms: Sequence[int]) -> None:
    """The one that there is keeps its place until the new one is whole."""
    rclip("--index", "-v")
    mount(rclip.data_dir, 64 << 20)
    for room in rooms:
        ballast = fill_up(rclip.data_dir, room)
        done = rclip("--rebuild")
        assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]
        ballast.unlink()
        if done.code:
            assert_told(done, "make room on that disk and run again; everything stored is kept")
        assert integrity(index_of(rclip)) == "ok"
        assert not leftovers(rclip.data_dir)
        assert update(rclip) == ""


def test_a_full_disk_is_searched(rclip: Command, gallery: Path, draw: Draw, mount: Mount) -> None:
    """SQLite has no room for the files that it makes beside the index even for reading."""
    rclip("--index", "-v")
    expected = rclip("-n", "a red star")
    mount(rclip.data_dir, 64 << 20)
    ballast = fill_up(rclip.data_dir, 0)
    assert rclip("-n", "a red star") == expected
    assert rclip("a red star") == expected  # nothing is new, so nothing has to be written
    draw("new.jpg")
    done = rclip("a red star")
    assert_told(done, "the disk is full; make room on that disk and run again; everything stored is kept")
    ballast.unlink()
    assert update(rclip) == "1 new photo"


@pytest.mark.parametrize("kilobytes", few([4, 100, 140, 144, 148, 160]))
def test_no_file_may_be_made_for_the_index(rclip: Command, gallery: Path, kilobytes: int) -> None:
    done = rclip("--index", "-v", "-b", "1", prefix=size_limit(kilobytes))
    assert done.code == 2
    assert one_line(done.err).startswith("rclip: ")
    assert not leftovers(rclip.data_dir)
    indexes = list(rclip.data_dir.glob("*.db"))
    assert [integrity(path) for path in indexes] == ["ok"] * len(indexes)
    kept = Table(rclip).count() if indexes else 0
    assert update(rclip) == f"{12 - kept} new photos"


def test_no_room_for_the_matrix(rclip: Command, draw: Draw, mount: Mount) -> None:
    draw("0.jpg", "green star")
    store_many(rclip, ROWS)
    mount(rclip.data_dir, 64 << 20)
    shutil.rmtree(index_of(rclip).with_suffix(".matrix"), ignore_errors=True)
    expected = rclip("-n", "-t", "20", "a green star")
    shutil.rmtree(index_of(rclip).with_suffix(".matrix"))
    Table(rclip)("SELECT 1")
    ballast = fill_up(rclip.data_dir, 100_000)
    folder = index_of(rclip).with_suffix(".matrix")
    found = rclip("-n", "-t", "20", "a green star")  # without one it takes a little longer
    assert (found.code, found.out) == (0, expected.out)
    assert "make room" in one_line(found.err)
    assert not list(folder.glob("*-*"))
    (rclip.cwd / "many").mkdir()
    (rclip.cwd / "many/0.txt").touch()
    done = rclip("--index", "-v", "--exclude-dir", "many")
    assert_told(done, "make room")
    assert not list(folder.glob("*-*"))
    assert not leftovers(rclip.data_dir)
    ballast.unlink()
    assert rclip("-n", "-t", "20", "a green star") == Result(0, expected.out, "")
    assert list(folder.glob("vectors-*"))


def test_the_matrix_may_not_be_written(rclip: Command, draw: Draw) -> None:
    draw("0.jpg", "green star")
    store_many(rclip, ROWS)
    folder = index_of(rclip).with_suffix(".matrix")
    found = rclip("-n", "-t", "1", "a green star", prefix=size_limit(100))
    assert found.code == 0
    assert "make room" in one_line(found.err)
    assert not list(folder.glob("*-*"))
    assert rclip("-n", "-t", "1", "a green star") == Result(0, found.out, "")


@pytest.mark.slow
def test_no_room_for_the_weights(rclip: Command, gallery: Path, mount: Mount) -> None:
    for room in (0, 100_000, 4_000_000):
        data_dir = rclip.home / f"data{room}"
        data_dir.mkdir()
        mount(data_dir, 8 << 20)
        fill_up(data_dir, room)
        done = rclip("a cat", env={"RCLIP_DATADIR": str(data_dir)})
        assert_told(done, "make room, or set RCLIP_DATADIR")
        assert not leftovers(data_dir)


@pytest.mark.slow
def test_weights_that_may_not_be_written_are_not_a_matter_of_room(
    rclip: Command, gallery: Path, drop_root: tuple[str, ...]
) -> None:
    forbidden = rclip.home / "forbidden"
    forbidden.mkdir(mode=0o500)
    done = rclip("a cat", env={"RCLIP_DATADIR": str(forbidden)}, prefix=drop_root)
    assert_told(done, "Permission denied; fix that, or set RCLIP_DATADIR")


# --- read-only --------------------------------------------------------------------------------------------------------


def test_a_data_folder_on_a_read_only_disk(rclip: Command, gallery: Path, draw: Draw, mount: Mount) -> None:
    rclip("--index", "-v")
    expected = rclip("-n", "a red star")
    mount(rclip.data_dir, 64 << 20)
    remount_read_only(rclip.data_dir)
    assert rclip("-n", "a red star") == expected
    assert rclip("a red star") == expected  # nothing is new, so nothing has to be written
    assert rclip("--stats").code == 0
    draw("new.jpg")
    done = rclip("a red star")
    assert_told(done, "fix its permissions, or set RCLIP_DATADIR, or search")


def test_a_killed_runs_log_on_a_read_only_disk_is_read(rclip: Command, gallery: Path, mount: Mount) -> None:
    """What was stored last lies in the log alone; SQLite would pass over it where it cannot write beside it."""
    rclip("--index", "-v")
    path = index_of(rclip)
    kill_while_writing(path, "UPDATE images SET missing_ns = 5 WHERE instr(path, CAST('stars' AS BLOB))")
    Path(f"{path}-shm").unlink()
    mount(rclip.data_dir, 64 << 20)
    remount_read_only(rclip.data_dir)
    found = rclip("-n", "-t", "99", "a red star")
    assert (found.code, found.err) == (0, "")
    assert len(found.lines) == 8
    assert not any(line.startswith("stars") for line in found.lines)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_forbidden_folder_or_file(
    rclip: Command, gallery: Path, draw: Draw, drop_root: tuple[str, ...], what: str
) -> None:
    rclip("--index", "-v")
    path = rclip.data_dir if what == "folder" else index_of(rclip)
    path.chmod(0o500 if what == "folder" else 0o400)
    try:
        assert rclip("-n", "-t", "1", "a red star", prefix=drop_root) == Result(0, "stars/red.jpg\n", "")
        assert rclip("-t", "1", "a red star", prefix=drop_root) == Result(0, "stars/red.jpg\n", "")
        draw("new.jpg")
        assert_told(rclip("--index", "-v", prefix=drop_root), "fix its permissions")
    finally:
        path.chmod(0o700)


# --- the files beside the index ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_queries_whose_matrix_and_weights_are_deleted_under_them(rclip: Command, draw: Draw) -> None:
    draw("0.jpg", "green star")
    store_many(rclip, ROWS)
    expected = rclip("-n", "-t", "20", "a green star").out
    folder = index_of(rclip).with_suffix(".matrix")
    ended = threading.Event()

    def delete() -> None:
        while not ended.wait(0.15):
            for path in (*folder.glob("*"), *(rclip.data_dir / "models").glob("*/text.safetensors.seal")):
                path.unlink(missing_ok=True)

    deleting = threading.Thread(target=delete)
    deleting.start()
    try:
        command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "-n", "-t", "20", "a green star"]
        for _ in range(2):
            runs = [subprocess.Popen(command, cwd=rclip.cwd, env=rclip.env, stdout=-1, stderr=-1) for _ in range(3)]
            for run in runs:
                out, err = run.communicate(timeout=120)
                assert (run.returncode, out.decode()) == (0, expected), err
                assert b"Traceback" not in err
    finally:
        ended.set()
        deleting.join()


def test_a_matrix_that_may_not_be_read_is_passed_over(rclip: Command, draw: Draw, drop_root: tuple[str, ...]) -> None:
    draw("0.jpg", "green star")
    store_many(rclip, ROWS)
    expected = rclip("-n", "-t", "20", "a green star").out
    for path in index_of(rclip).with_suffix(".matrix").iterdir():
        if path.name != "seal.json":
            path.chmod(0)
    assert rclip("-n", "-t", "20", "a green star", prefix=drop_root) == Result(0, expected, "")


def test_weights_that_may_not_be_read_are_made_again(rclip: Command, gallery: Path, drop_root: tuple[str, ...]) -> None:
    rclip("--index", "-v")
    for path in (rclip.data_dir / "models").glob("*/text.safetensors"):
        path.chmod(0)
    found = rclip("-n", "-t", "1", "a red star", prefix=drop_root)
    assert found.lines == ["stars/red.jpg"]
    assert one_line(found.err).startswith("rclip: preparing the model")


def test_a_matrix_of_another_model(rclip: Command, draw: Draw) -> None:
    draw("0.jpg", "green star")
    vectors = store_many(rclip, ROWS)
    expected = rclip("-n", "-t", "20", "a green star").out
    folder = index_of(rclip).with_suffix(".matrix")
    other = Store(str(rclip.home / "other.db"), "other", 1)
    with other.transaction():
        for number, vector in enumerate(vectors[::-1]):
            other.files.add(b"/%d" % number, FileStat(1, 1, 1, number), b"%d" % number, vector)
    vector_cache.VectorCache(other).catch_up()
    other.close()
    shutil.rmtree(folder)
    shutil.copytree(other.cache_folder, folder)
    assert rclip("-n", "-t", "20", "a green star") == Result(0, expected, "")


def test_what_killed_runs_have_left_is_swept_up(rclip: Command, gallery: Path) -> None:
    rclip("--index", "-v")
    folder = index_of(rclip).with_suffix(".matrix")
    folder.mkdir()
    models = next((rclip.data_dir / "models").iterdir())
    cache = rclip.home / ".cache/clip"
    cache.mkdir(parents=True)
    stale, fresh = [], []
    for place in (rclip.data_dir, folder, models):
        stale += [place / ".rclip-a1b2", place / ".rclip-x.db-wal"]
        fresh += [place / ".rclip-of-a-run-at-work", place / "photo.jpg"]
    for path in (*stale, *fresh):
        path.write_bytes(b"half")
    (rclip.data_dir / ".rclip-folder").mkdir()
    (rclip.data_dir / ".rclip-folder/index.db").write_bytes(b"half")
    stale.append(rclip.data_dir / ".rclip-folder")
    for path in stale:
        os.utime(path, (1, 1))
    assert update(rclip) == ""
    assert not [path for path in stale if path.exists()]
    assert all(path.exists() for path in fresh)


# --- times ------------------------------------------------------------------------------------------------------------

CENTURIES = {
    "the epoch itself": 0,
    "before 1970": -1_234_567_890_123_456_789,
    "a nanosecond before 1970": -1,
    "whole seconds": 10**18,
    "with nanoseconds": 10**18 + 123_456_789,
    "in the future": 4 * 10**18 + 1,
    "at the end of what can be told": (1 << 63) - 1,
    "at its start": -(1 << 63),
}


@pytest.mark.parametrize("mtime_ns", few(CENTURIES.values(), fast=2), ids=CENTURIES)
def test_photos_of_any_time_are_found_and_not_read_again(
    rclip: Command, draw: Draw, mtime_ns: int, drop_root: tuple[str, ...]
) -> None:
    photo = draw("a.jpg", "green star")
    draw("b.jpg", "red circle")
    try:
        os.utime(photo, ns=(mtime_ns, mtime_ns))
    except OSError:
        pytest.skip("the file system has no such time")
    assert update(rclip) == "2 new photos"
    photo.chmod(0)
    assert rclip("--index", "-v", prefix=drop_root) == (0, "", unchanged(2))
    photo.chmod(0o644)
    hit = json.loads(rclip("-n", "--json", "-t", "1", "a green star").out)
    assert hit["path"] == str(photo)
    assert hit["modified"].startswith(year_of(photo.stat().st_mtime_ns))
    aside = photo.rename(photo.with_name("c.jpg"))
    assert update(rclip) == "1 moved file"
    aside.unlink()
    assert update(rclip) == "1 missing"


def year_of(mtime_ns: int) -> str:
    return str(np.datetime64(mtime_ns // 1000, "us"))[:4]


def test_a_photo_that_is_put_back_to_an_older_state_is_seen(rclip: Command, draw: Draw) -> None:
    """Time goes backwards for the file: what counts is that it differs."""
    photo = draw("a.jpg", "green star")
    old = photo.read_bytes()
    os.utime(photo, (10**9, 10**9))
    update(rclip)
    draw("a.jpg", "red circle")
    assert update(rclip) == "1 changed"
    photo.write_bytes(old)
    os.utime(photo, (10**9 - 5, 10**9 - 5))
    assert update(rclip) == "1 changed"
    assert rclip("-n", "a green star").lines == ["a.jpg"]


def test_a_linked_photo_of_the_epoch_is_hidden_when_its_target_goes(
    rclip: Command, draw: Draw, photos: Path, tmp_path: Path
) -> None:
    """A time of 0 is a time, not the lack of one."""
    draw("stays.jpg", "blue star")
    target = draw(tmp_path / "elsewhere.jpg")
    os.utime(target, (0, 0))
    (photos / "link.jpg").symlink_to(target)
    assert update(rclip) == "2 new photos"
    target.rename(tmp_path / "aside.jpg")
    assert update(rclip) == "1 missing"
    assert rclip("-n", "red").lines == ["stays.jpg"]


def test_what_has_been_gone_since_the_future_comes_back(
    rclip: Command, gallery: Path, tmp_path: Path, drop_root: tuple[str, ...]
) -> None:
    """The clock was ahead when the photo went, has been set back since, or stood where clocks without a battery do."""
    update(rclip)
    photo = gallery / "stars/red.jpg"
    shutil.move(photo, tmp_path / "aside.jpg")
    assert update(rclip) == "1 missing"
    for missing_ns in ((1 << 63) - 1, 5):
        connection = sqlite3.connect(index_of(rclip))
        connection.execute("UPDATE images SET missing_ns = ? WHERE missing_ns IS NOT NULL", (missing_ns,))
        connection.commit()
        connection.close()
        assert update(rclip) == ""
        shutil.move(tmp_path / "aside.jpg", photo)
        photo.chmod(0)
        assert rclip("--index", "-v", prefix=drop_root).err == "rclip: index updated: found 1 back\n"
        photo.chmod(0o644)
        assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]
        shutil.move(photo, tmp_path / "aside.jpg")
        assert update(rclip) == "1 missing"
