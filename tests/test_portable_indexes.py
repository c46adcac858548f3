"""Indexes that lie with the photos: which is used, what they ask of a drive, and that they go wherever it goes."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rclip.index.location import IndexLocation, create, location_of
from rclip.index.photo_index import PREPROCESSING_VERSION
from rclip.maintenance.recovery import rebuild
from tests.support import spare_file_system
from tests.support.command import Command, imported_by, one_line, start, unchanged, update
from tests.support.disks import Mount, fill_up, remount_read_only
from tests.support.gallery import Draw, many_photos
from tests.support.index import Table, integrity, path_is
from tests.support.tiers import few


def index_in(folder: Path) -> Path:
    (path,) = (folder / ".rclip").glob("*.db")
    return path


def rows_in(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(index_in(folder))
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def stored_in(folder: Path) -> int:
    """How many photos a run at work has stored so far."""
    try:
        return rows_in(folder, "SELECT count(*) FROM images")[0][0]
    except (ValueError, sqlite3.OperationalError):  # not made yet, or just written to
        return 0


def paths_in(folder: Path) -> list[bytes]:
    return [path for (path,) in rows_in(folder, "SELECT path FROM images WHERE missing_ns IS NULL ORDER BY path")]


def own_indexes(rclip: Command) -> list[Path]:
    return list(rclip.data_dir.glob("*.db"))


@pytest.fixture
def kept(rclip: Command, gallery: Path) -> Path:
    """The gallery with an index of its own, up to date."""
    done = rclip("--init")
    assert (done.code, done.out) == (0, "")
    assert one_line(done.err).startswith(f"rclip: created {gallery}/.rclip: ")
    assert update(rclip) == "12 new photos"
    return gallery


# --- which index ------------------------------------------------------------------------------------------------------


def test_searches_in_and_below_use_it_and_those_above_do_not(rclip: Command, kept: Path) -> None:
    assert rclip("-n", "-t", "1", "a red star", cwd=kept / "stars").lines == ["red.jpg"]
    assert not own_indexes(rclip)
    assert paths_in(kept)[:2] == [b"/circles/blue.jpg", b"/circles/green.jpg"]
    assert update(rclip, str(kept.parent)) == "12 new photos"
    assert len(own_indexes(rclip)) == 1
    assert rclip("-n", "-t", "1", "a red star", cwd=kept.parent).lines == ["photos/stars/red.jpg"]


def test_the_nearest_one_above_counts(rclip: Command, kept: Path) -> None:
    assert rclip("--init", "stars").code == 0
    assert update(rclip, "stars") == "4 new photos"
    assert paths_in(kept / "stars") == [b"/blue.jpg", b"/green.jpg", b"/red.jpg", b"/yellow.jpg"]
    told = rclip("--stats", "stars").out
    assert str(index_in(kept / "stars")) in told
    assert str(index_in(kept)) not in told
    assert update(rclip) == ""  # the outer one holds all that is below, as before


def test_a_link_leads_to_the_index_of_what_it_leads_to(rclip: Command, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(kept / "stars")
    assert rclip("-n", "-t", "1", "a red star", str(tmp_path / "link")).lines == [f"{tmp_path}/link/red.jpg"]


def test_it_is_never_indexed_itself(rclip: Command, kept: Path) -> None:
    shutil.copytree(kept / "stars", kept / ".rclip" / "pictures")
    shutil.copytree(kept / "stars", kept / ".hidden")
    assert update(rclip, "--include-hidden") == "4 copies"
    assert not [path for path in paths_in(kept) if b".rclip" in path]


def test_each_directory_is_answered_by_its_own_index(rclip: Command, kept: Path, draw: Draw, tmp_path: Path) -> None:
    other = tmp_path / "other"
    draw(other / "red.png", "red star")
    draw(other / "blue.png", "blue square")
    found = rclip("-t", "14", "--json", "a red star", ".", str(other))
    assert found.err == "rclip: index updated: found 2 new photos\n"
    hits = [json.loads(line) for line in found.lines]
    assert {hit["path"] for hit in hits[:2]} == {str(kept / "stars/red.jpg"), str(other / "red.png")}
    assert len(hits) == 14
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    told = rclip("--stats", ".", str(other)).out
    assert "photos      14\n" in told
    for index in (index_in(kept), *own_indexes(rclip)):
        assert f"  {index}\n" in told
    checked = rclip("--check", cwd=kept)
    assert (checked.code, checked.err) == (0, "")
    assert "sound: 12 photos" in checked.out


def test_a_photo_in_two_indexes_is_found_once(rclip: Command, kept: Path) -> None:
    above = str(kept.parent)
    assert update(rclip, above) == "12 new photos"
    found = rclip("-n", "-t", "99", "a red star", above, str(kept)).lines
    assert len(found) == len(set(found)) == 12
    assert found[0] == f"{kept}/stars/red.jpg"


def test_a_picture_in_one_index_is_a_query_to_another(rclip: Command, kept: Path, draw: Draw, tmp_path: Path) -> None:
    other = tmp_path / "other"
    draw(other / "red.png", "red star")
    assert rclip("--index", str(other)).code == 0
    found = rclip("-n", "-t", "1", "./stars/red.jpg", str(other), ".").lines
    assert found == [f"{other}/red.png"]


def test_a_place_that_a_stranger_has_made_is_passed_over(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    folder = tmp_path / "above" / ".rclip"
    inside = tmp_path / "above" / "photos"
    inside.mkdir(parents=True)
    folder.mkdir()
    own = str(tmp_path / "own")

    def found() -> IndexLocation:
        return location_of(os.fsencode(inside), own)

    assert (found().folder, found().is_adopted) == (str(folder), False)
    os.chown(folder, 12345, 12345)
    assert found().is_default
    assert create(os.fsencode(folder.parent), own) == (str(folder), False)
    assert (found().folder, found().is_adopted) == (str(folder), True)  # who names it trusts it
    shutil.rmtree(own)
    os.chown(folder, 0, 0)
    os.chown(folder.parent, 12345, 12345)  # could put another one there
    assert found().is_default
    os.chown(folder.parent, 0, 0)
    os.chown(inside, 12345, 12345)  # above somebody else's folder nothing is looked for
    assert found().is_default
    os.chown(inside, 0, 0)
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path)
    assert found().is_default


def test_another_drive_in_the_place_of_one_adopted_is_not(tmp_path: Path) -> None:
    root, own = tmp_path / "drive", str(tmp_path / "own")
    root.mkdir()
    create(os.fsencode(root), own)
    before = location_of(os.fsencode(root), own)
    assert before.is_adopted
    root.rename(tmp_path / "unplugged")
    (root / ".rclip").mkdir(parents=True)
    assert not location_of(os.fsencode(root), own).is_adopted
    (root / ".rclip" / "mark").write_text("0" * 32)
    assert not location_of(os.fsencode(root), own).is_adopted
    shutil.rmtree(root)
    (tmp_path / "unplugged").rename(root)
    assert location_of(os.fsencode(root), own) == before


# --- making one -------------------------------------------------------------------------------------------------------


def test_making_it_again_changes_nothing(rclip: Command, kept: Path) -> None:
    before = index_in(kept).read_bytes()
    done = rclip("--init", str(kept))
    assert (done.code, done.out) == (0, "")
    assert f"{kept}/.rclip exists already" in one_line(done.err)
    assert index_in(kept).read_bytes() == before


def test_where_it_cannot_be_made(rclip: Command, gallery: Path, drop_root: tuple[str, ...]) -> None:
    (gallery / "stars").chmod(0o500)
    (gallery / "circles" / ".rclip").touch()
    try:
        for folder, reason in (("stars", "Permission denied"), ("circles", "File exists")):
            done = rclip("--init", folder, prefix=drop_root)
            assert (done.code, done.out) == (2, "")
            assert one_line(done.err) == f"rclip: cannot create {gallery}/{folder}/.rclip: {reason}"
    finally:
        (gallery / "stars").chmod(0o700)


@pytest.mark.parametrize("mode", few([0o700, 0o755, 0o775]))
def test_it_is_as_open_to_others_as_the_photos(rclip: Command, gallery: Path, mode: int) -> None:
    gallery.chmod(mode)
    assert rclip("--init").code == 0
    assert rclip("--index", prefix=("sh", "-c", 'umask 0; exec "$@"', "sh")).code == 0
    assert (gallery / ".rclip").stat().st_mode & 0o777 == mode
    assert index_in(gallery).stat().st_mode & 0o777 == mode & 0o666


def fill_to_a_matrix(folder: Path) -> None:
    """Photos that are not there, enough for a matrix."""
    connection = sqlite3.connect(index_in(folder))
    connection.execute(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000)"
        " INSERT INTO images (path, mtime_ns, size, device, inode, digest, vector, has_metadata)"
        " SELECT CAST('/filled/' || x AS BLOB), 1, 1, 1, x, randomblob(16), vector, 1 FROM n, images WHERE id = 1"
    )
    connection.commit()
    connection.close()


def caches_of(rclip: Command) -> list[Path]:
    """The folders of what is derived from portable indexes."""
    return list(rclip.data_dir.glob("portable/*/*.matrix"))


def test_what_is_made_from_it_lies_in_the_users_own_folder(rclip: Command, kept: Path) -> None:
    fill_to_a_matrix(kept)
    assert rclip("-n", "--after", "2000", "a red star").code == 0
    (folder,) = caches_of(rclip)
    made = sorted(path.name.split("-")[0] for path in folder.iterdir())
    assert made == ["ids", "seal.json", "vectors"]
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent, folder.parent.parent)} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert names_in(kept / ".rclip") == {index_in(kept).name, "mark"}
    assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]
    assert rclip("--check").code == 0


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_is_never_for_all_to_write(rclip: Command, gallery: Path) -> None:
    gallery.chmod(0o777)
    assert rclip("--init").code == 0
    assert rclip("--index", prefix=("sh", "-c", 'umask 0; exec "$@"', "sh")).code == 0
    assert rclip("--rebuild").code == 0
    for path in (gallery / ".rclip", *(gallery / ".rclip").iterdir()):
        assert not path.stat().st_mode & 0o002


def test_what_the_users_own_index_knows_is_taken_over(
    rclip: Command, gallery: Path, draw: Draw, drop_root: tuple[str, ...]
) -> None:
    draw("../elsewhere.jpg")
    assert update(rclip, "..") == "13 new photos"
    assert rclip("--init").code == 0
    for photo in gallery.rglob("*.jpg"):
        photo.chmod(0)
    assert rclip("--index", "-v", prefix=drop_root) == (0, "", unchanged(12))
    assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]
    sql = f"SELECT vector FROM images WHERE {path_is('/stars/red.jpg')}"
    assert len(rows_in(gallery, sql)) == 1
    assert rows_in(gallery, sql) == Table(rclip)(sql)
    assert len(paths_in(gallery)) == 12
    (gallery / "stars/red.jpg").unlink()
    assert update(rclip) == "1 missing"
    assert update(rclip) == ""  # once is enough


def test_of_a_damaged_index_of_the_users_own_is_taken_over_what_can_be_read(
    rclip: Command, gallery: Path, drop_root: tuple[str, ...]
) -> None:
    """One page of its table is gone; indexing goes on, and the one that is damaged is named."""
    assert update(rclip) == "12 new photos"
    (own,) = own_indexes(rclip)
    run_in(own, f"UPDATE images SET vector = zeroblob(length(vector)) WHERE {path_is('circles/red')}")
    content = bytearray(own.read_bytes())
    photo = os.fsencode(gallery / "stars/red.jpg")
    leaf = next(
        start
        for start in range(8192, len(content), 8192)
        if content[start] == 13 and photo in content[start : start + 8192]  # of the table
    )
    content[leaf : leaf + 8192] = bytes(8192)
    own.write_bytes(content)
    assert rclip("--init").code == 0
    done = rclip("--index")
    assert (done.code, done.out) == (0, "")
    assert one_line(done.err) == (
        f"rclip: {own} cannot be read to its end; what can be read is taken over into {gallery}; "
        f"rclip --rebuild, run outside {gallery}, repairs it"
    )
    assert len(paths_in(gallery)) == 12
    assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]
    assert rclip("-n", "-t", "1", "a red circle").lines == ["circles/red.jpg"]
    assert rclip("--check").code == 0
    assert rclip("--index") == (0, "", "")  # it is said once


def test_what_was_never_stored_so_is_not_taken_over(rclip: Command, gallery: Path, drop_root: tuple[str, ...]) -> None:
    """All else is: photos that may not be opened are known."""
    assert update(rclip) == "12 new photos"
    (own,) = own_indexes(rclip)
    run_in(own, f"UPDATE images SET vector = zeroblob(length(vector)) WHERE {path_is('circles/red')}")
    run_in(own, f"UPDATE images SET mtime_ns = 'text' WHERE {path_is('circles/blue')}")
    run_in(
        own, f"UPDATE metadata SET captured_s = 'text' WHERE id IN (SELECT id FROM images WHERE {path_is('s/green')})"
    )
    assert rclip("--init").code == 0
    for photo in (gallery / "stars").glob("*.jpg"):
        photo.chmod(0)
    (gallery / "stars/green.jpg").chmod(0o644)  # is looked through for dates
    done = rclip("--index", "-v", prefix=drop_root)
    assert done.err == "rclip: index updated: found 2 new photos, dates and places of 3 older photos\n"
    assert len(paths_in(gallery)) == 12
    assert rclip("--check").code == 0


def test_what_an_older_index_that_may_not_be_written_knows_is_taken_over(
    rclip: Command, gallery: Path, drop_root: tuple[str, ...]
) -> None:
    assert update(rclip) == "12 new photos"
    (own,) = own_indexes(rclip)
    for statement in (
        *(
            "DROP TRIGGER images_delete",
            "DROP INDEX images_without_metadata",
            "DROP TABLE metadata",
            "DROP TABLE cameras",
            "DROP TABLE films",
            "DROP TABLE moments",
            "DROP TABLE ignore_files",
            *("DROP TABLE own_metadata", "DROP TABLE sidecars", "DROP TABLE reworded"),
        ),
        *("DROP INDEX images_suffix", "DROP INDEX images_file_time", "DROP INDEX images_listing"),
        *("DROP INDEX images_outdated", "ALTER TABLE images DROP COLUMN is_outdated"),
        "ALTER TABLE images DROP COLUMN ctime_ns",
        *("ALTER TABLE images DROP COLUMN has_metadata", "ALTER TABLE images DROP COLUMN has_capture_time"),
        *("ALTER TABLE images DROP COLUMN is_offline", "ALTER TABLE images DROP COLUMN failure_kind"),
        "ALTER TABLE images RENAME COLUMN missing_ns TO gone_ns",
        "CREATE INDEX images_listing ON images (path, mtime_ns, size, gone_ns)",
        "PRAGMA user_version = 1",
    ):
        run_in(own, statement)
    own.chmod(0o400)
    assert rclip("--init").code == 0
    for photo in (gallery / "stars").glob("*.jpg"):
        photo.chmod(0)
    done = rclip("--index", "-v", prefix=drop_root)
    assert (done.code, done.err) == (0, "rclip: index updated: found dates and places of 8 older photos\n")
    assert len(paths_in(gallery)) == 12


def run_in(index: Path, sql: str) -> None:
    """Runs it and leaves no log."""
    connection = sqlite3.connect(index, isolation_level=None)
    connection.execute(sql)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def test_a_rebuilt_index_is_as_open_to_others_as_it_was(rclip: Command, kept: Path) -> None:
    run_in(index_in(kept), "INSERT INTO meta VALUES ('has_adopted', '')")
    for mode in (0o644, 0o660, 0o600):
        index_in(kept).chmod(mode)
        assert rclip("--rebuild").code == 0
        assert index_in(kept).stat().st_mode & 0o777 == mode
        next((kept / ".rclip").glob("*.damaged-*")).unlink()
    assert rows_in(kept, "SELECT count(*) FROM meta WHERE key = 'has_imported'") == [(1,)]
    assert rclip("--index", "-v") == (0, "", unchanged(12))


def test_a_rebuilt_index_keeps_no_log(rclip: Command, kept: Path) -> None:
    """Not even until it is next opened: on the drive it lies on there may be no locks to do so."""
    path = index_in(kept)
    rebuild(
        str(path),
        path.stem,
        PREPROCESSING_VERSION,
        IndexLocation(str(path.parent), os.fsencode(kept), is_default=False, caches=str(path.parent)),
    )
    assert path.read_bytes()[18:20] == b"\1\1"  # of the header: no write-ahead log
    assert not [left for left in path.parent.iterdir() if left.name.endswith(("-wal", "-journal"))]


# --- going elsewhere --------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(rclip: Command, prepared_data: Path, tmp_path: Path) -> Command:
    """Another machine's rclip."""
    data_dir = shutil.copytree(prepared_data, tmp_path / "other machine" / "data")
    home = tmp_path / "other machine" / "home"
    home.mkdir()
    return Command(home, data_dir, rclip.model, rclip.cwd)


def test_a_folder_is_moved_and_carried_to_another_machine(
    kept: Path, elsewhere: Command, tmp_path: Path, drop_root: tuple[str, ...]
) -> None:
    """No photo may be opened there."""
    moved = tmp_path / "other machine" / "a mount"
    kept.rename(moved)
    for photo in moved.rglob("*.jpg"):
        photo.chmod(0)
    assert elsewhere("--init", cwd=moved, prefix=drop_root).code == 0
    assert elsewhere("--index", "-v", cwd=moved, prefix=drop_root) == (0, "", unchanged(12))
    assert elsewhere("-t", "1", "a red star", cwd=moved / "stars", prefix=drop_root).lines == ["red.jpg"]
    assert not own_indexes(elsewhere)


def test_a_copy_with_new_files_all_over_is_the_same(kept: Path, elsewhere: Command, tmp_path: Path) -> None:
    """Other devices and inodes, the same sizes and times."""
    copied = shutil.copytree(kept, tmp_path / "copied")
    shutil.rmtree(kept)
    assert elsewhere("--init", cwd=copied).code == 0
    assert elsewhere("--index", "-v", cwd=copied) == (0, "", unchanged(12))
    assert elsewhere("-n", "-t", "1", "a green circle", cwd=copied).lines == ["circles/green.jpg"]


def test_times_an_hour_off_cost_no_model(rclip: Command, kept: Path) -> None:
    """FAT keeps local time to two seconds: each photo looks changed when summer begins."""
    before = rows_in(kept, "SELECT id, path, vector FROM images ORDER BY id")
    for photo in kept.rglob("*.jpg"):
        seconds = photo.stat().st_mtime_ns // 2_000_000_000 * 2 - 3600
        os.utime(photo, ns=(seconds * 10**9, seconds * 10**9))
    assert not imported_by(rclip, "--index") & {"torch", "clip", "PIL"}
    assert rows_in(kept, "SELECT id, path, vector FROM images ORDER BY id") == before
    assert update(rclip) == ""


def test_numbers_of_devices_and_files_prove_nothing_on_another_machine(rclip: Command, kept: Path, draw: Draw) -> None:
    """Another photo has the number, size and time that a known one had."""
    (kept / "stars/red.jpg").unlink()
    status = draw("other.jpg", "blue circle").stat()
    connection = sqlite3.connect(index_in(kept))
    connection.execute(
        "UPDATE images SET device = ?, inode = ?, mtime_ns = ?, size = ? WHERE path = ?",
        (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, b"/stars/red.jpg"),
    )
    connection.commit()
    connection.close()
    assert status.st_mtime_ns % 1_000_000_000
    assert update(rclip) == "1 new photo, 1 missing"


# --- drives that can do little ----------------------------------------------------------------------------------------


@pytest.fixture
def spare() -> tuple[str, ...]:
    """What to put before a command so that there are no locks, links and modes for it."""
    script = (sys.executable, "-S", str(Path(spare_file_system.__file__)))
    if subprocess.run([*script, "true"], check=False, capture_output=True).returncode:
        pytest.skip("the kernel takes no filter here")
    return script


def test_without_locks_links_and_modes(rclip: Command, gallery: Path, draw: Draw, spare: tuple[str, ...]) -> None:
    assert rclip("--init", prefix=spare).code == 0
    assert rclip("--index", "-v", prefix=spare).err == "rclip: index updated: found 12 new photos\n"
    draw("new.jpg", "green star")
    found = rclip("-t", "1", "a red star", prefix=spare)
    assert (found.lines, found.err) == (["stars/red.jpg"], "rclip: index updated: found 1 new photo\n")
    assert names_in(gallery / ".rclip") == {index_in(gallery).name, "mark"}
    assert integrity(index_in(gallery)) == "ok"


def test_without_locks_two_runs_at_once_lose_nothing(
    rclip: Command, gallery: Path, draw: Draw, spare: tuple[str, ...]
) -> None:
    many_photos(draw, 60)
    assert rclip("--init").code == 0
    command = [*spare, sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "--index", "-b", "4"]
    runs = [subprocess.Popen(command, cwd=gallery, env=rclip.env, stderr=subprocess.PIPE) for _ in range(2)]
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert (run.returncode, err) == (0, b"")
    assert len(paths_in(gallery)) == 72
    assert integrity(index_in(gallery)) == "ok"


def test_a_lock_that_a_killed_run_has_left_is_lifted(rclip: Command, kept: Path, spare: tuple[str, ...]) -> None:
    lock = Path(f"{index_in(kept)}.lock")
    lock.mkdir()
    os.utime(lock, (time.time() - 7200,) * 2)
    assert rclip("-n", "-t", "1", "a red star", prefix=spare).lines == ["stars/red.jpg"]
    assert not lock.exists()


def test_no_log_is_kept(kept: Path) -> None:
    assert rows_in(kept, "PRAGMA journal_mode") == [("delete",)]
    assert names_in(kept / ".rclip") == {index_in(kept).name, "mark"}


def test_four_runs_may_make_it_at_once(rclip: Command, gallery: Path) -> None:
    assert rclip("--init").code == 0
    runs = [start(rclip, "--index", stderr=subprocess.PIPE) for _ in range(4)]
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert (run.returncode, err) == (0, b"")
    assert len(paths_in(gallery)) == 12


def test_a_killed_run_leaves_what_it_stored(rclip: Command, draw: Draw, photos: Path) -> None:
    many_photos(draw, 80)
    assert rclip("--init").code == 0
    run = start(rclip, "--index", "-b", "2", stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and stored_in(photos) < 8:
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    assert run.returncode == -signal.SIGKILL
    assert rclip("-n", "-t", "1", "a star").code == 0
    assert rclip("--index").code == 0
    assert len(paths_in(photos)) == 80
    assert rclip("--check").code == 0


def test_a_full_drive_keeps_what_it_has(rclip: Command, draw: Draw, photos: Path, mount: Mount) -> None:
    draw("0.jpg", "green star")
    mount(photos, 32 << 20)
    assert rclip("--init").code == 0
    assert update(rclip) == "1 new photo"
    many_photos(draw, 60)
    ballast = fill_up(photos, 60_000)
    done = rclip("--index", "-b", "1")
    assert (done.code, done.out) == (2, "")
    assert "make room on that disk and run again; everything stored is kept" in one_line(done.err)
    assert rclip("-n", "-t", "1", "a green star").code == 0
    ballast.unlink()
    assert rclip("--index") == (0, "", "")
    assert len(paths_in(photos)) == 61


def test_upkeep_knows_where_its_photos_are(rclip: Command, kept: Path, tmp_path: Path) -> None:
    (kept / "stars/red.jpg").unlink()
    assert update(rclip) == "1 missing"
    moved = kept.rename(tmp_path / "moved")
    assert rclip("--init", cwd=moved).code == 0
    assert "1 forgotten" in one_line(rclip("--prune", "0", cwd=moved).err)
    damaged = rclip("--rebuild", cwd=moved)
    assert damaged.code == 0
    assert "with 11 files known" in one_line(damaged.err)
    assert rows_in(moved, "PRAGMA journal_mode") == [("delete",)]
    assert rclip("--index", "-v", cwd=moved) == (0, "", unchanged(11))
    assert rclip("-n", "-t", "1", "a blue star", cwd=moved).lines == ["stars/blue.jpg"]
    assert rclip("--check", cwd=moved).code == 0


def test_who_has_a_damaged_one_is_told_to_rebuild_just_that(rclip: Command, gallery: Path) -> None:
    drive = gallery / "my stars"
    (gallery / "stars").rename(drive)
    assert rclip("--init", str(drive)).code == 0
    assert rclip("--index", ".", str(drive)).code == 0
    index = index_in(drive)
    command = f"rclip --rebuild '{drive}', with the same --model"
    connection = sqlite3.connect(index)
    connection.execute("UPDATE images SET vector = zeroblob(length(vector)) WHERE id = 2")
    connection.commit()
    connection.close()
    checked = rclip("--check", str(drive))
    assert checked.code == 2
    assert f"1 of 4 damaged; {command}" in checked.out
    assert f"is damaged (it holds values that rclip never writes); {command}" in one_line(
        rclip("-n", "a red star", str(drive)).err
    )
    index.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    told = one_line(rclip("--index", str(drive)).err)
    assert command in told
    assert rclip("--rebuild", str(drive)).code == 0
    assert rclip("-n", "-t", "1", "a red star", str(drive)).lines == [f"{drive}/red.jpg"]


def test_who_has_one_that_is_another_programs_is_told_of_no_other_folder(rclip: Command, gallery: Path) -> None:
    assert rclip("--init").code == 0
    assert rclip("--index").code == 0
    index = index_in(gallery)
    index.unlink()
    connection = sqlite3.connect(index)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    assert one_line(rclip("--index").err) == f"rclip: {index} is a database of another program; move it away"


def test_one_that_may_not_be_written_is_not_rebuilt_and_no_other_folder_is_spoken_of(
    rclip: Command, kept: Path, mount: Mount, drop_root: tuple[str, ...]
) -> None:
    locked_by_mode(kept, mount)
    done = rclip("--rebuild", prefix=drop_root)
    assert (done.code, done.out) == (2, "")
    expected = f"cannot rebuild {index_in(kept)} (Permission denied); nothing was changed; fix that, and run it again"
    assert one_line(done.err) == f"rclip: {expected}"


def test_nothing_is_rebuilt_where_one_of_several_is_not_there(rclip: Command, kept: Path) -> None:
    assert rclip("--init", "stars").code == 0
    done = rclip("--rebuild", ".", "stars")
    assert (done.code, done.out) == (2, "")
    assert f"rclip --index {kept}/stars makes one" in one_line(done.err)
    assert not list((kept / ".rclip").glob("*.damaged-*"))


# --- read-only --------------------------------------------------------------------------------------------------------


def locked_by_mode(folder: Path, mount: Mount) -> None:
    index_in(folder).chmod(0o400)
    (folder / ".rclip").chmod(0o500)


def mounted_read_only(folder: Path, mount: Mount) -> None:
    mount(folder, 32 << 20)
    remount_read_only(folder)


@pytest.mark.parametrize("lock", few([locked_by_mode, mounted_read_only]))
def test_a_drive_that_may_only_be_read_is_searched(
    rclip: Command, kept: Path, lock: Callable[[Path, Mount], None], mount: Mount, drop_root: tuple[str, ...]
) -> None:
    (kept / "stars/red.jpg").rename(kept / "stars/scarlet.jpg")
    update(rclip)
    lock(kept, mount)
    assert rclip("-t", "1", "a red star", prefix=drop_root) == (0, "stars/scarlet.jpg\n", "")
    assert rclip("--index", prefix=drop_root) == (0, "", "")
    assert rclip("--stats", prefix=drop_root).code == 0


@pytest.mark.parametrize("lock", few([locked_by_mode, mounted_read_only]))
def test_photos_that_changed_on_a_read_only_drive_are_a_line(
    rclip: Command, kept: Path, draw: Draw, lock: Callable[[Path, Mount], None], mount: Mount,
    drop_root: tuple[str, ...],
) -> None:  # fmt: skip
    draw("new.jpg", "green star")
    lock(kept, mount)
    line = f"rclip: {index_in(kept)} is read-only, and photos have changed; it is searched as it is\n"
    assert rclip("-t", "1", "a red star", prefix=drop_root) == (0, "stars/red.jpg\n", line)
    assert rclip("--index", prefix=drop_root) == (2, "", line)


def leave_work(index: Path) -> None:
    """A photo that is to be looked through for facts, and one that was replaced."""
    connection = sqlite3.connect(index)
    connection.execute("UPDATE images SET has_metadata = 0 WHERE id = 3")
    connection.execute(
        "INSERT INTO images (path, mtime_ns, size, device, inode, digest, vector, missing_ns)"
        " SELECT CAST(char(0) || 99 AS BLOB), mtime_ns, size, device, inode, digest, vector, 0 FROM images WHERE id = 4"
    )
    connection.commit()
    connection.close()


@pytest.mark.parametrize("lock", few([locked_by_mode, mounted_read_only]))
def test_work_that_was_left_does_not_keep_a_read_only_drive_from_being_searched(
    rclip: Command, kept: Path, lock: Callable[[Path, Mount], None], mount: Mount, drop_root: tuple[str, ...]
) -> None:
    leave_work(index_in(kept))
    lock(kept, mount)
    assert rclip("-t", "1", "a red star", prefix=drop_root) == (0, "stars/red.jpg\n", "")
    assert rclip("--index", prefix=drop_root) == (0, "", "")


def test_nor_does_it_in_ones_own_index(rclip: Command, gallery: Path, drop_root: tuple[str, ...]) -> None:
    update(rclip)
    (index,) = own_indexes(rclip)
    leave_work(index)
    index.chmod(0o400)
    rclip.data_dir.chmod(0o500)
    try:
        assert rclip("-t", "1", "a red star", prefix=drop_root) == (0, "stars/red.jpg\n", "")
    finally:
        rclip.data_dir.chmod(0o700)


def test_a_read_only_drive_without_locks(rclip: Command, kept: Path, mount: Mount, spare: tuple[str, ...]) -> None:
    mounted_read_only(kept, mount)
    assert rclip("-t", "1", "a red star", prefix=spare) == (0, "stars/red.jpg\n", "")


# --- for cron ---------------------------------------------------------------------------------------------------------


def test_index_is_silent_when_all_is_well(rclip: Command, gallery: Path) -> None:
    assert rclip("--index") == (0, "", "")
    assert len(Table(rclip).paths()) == 12
    assert rclip("--index") == (0, "", "")
    assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]


def test_index_says_each_problem_in_a_line_and_once(rclip: Command, gallery: Path) -> None:
    (gallery / "broken.jpg").write_bytes(b"no picture")
    line = "damaged, or not a picture in a format known here; it is left out until it changes"
    assert rclip("--index") == (0, "", f"rclip: cannot read {gallery}/broken.jpg: {line}\n")
    assert rclip("--index") == (0, "", "")
    for number in range(7):
        (gallery / f"broken{number}.jpg").write_bytes(b"no picture either %d" % number)
    told = rclip("--index").err.splitlines()
    assert len(told) == 6
    assert told[5] == "rclip: … and 2 more files; rclip --stats lists the unreadable ones"
