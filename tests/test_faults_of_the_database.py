"""Faults of the index's own file: cut short, flipped, from the future, not ours, left in the middle of a migration.

A query gives the right answer or says in one line what is wrong and what to do; `--rebuild` mends it and deletes
nothing.
"""

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rclip.files import FileStat
from rclip.index.location import default_location
from rclip.index.photo_index import PREPROCESSING_VERSION
from rclip.index.store import Store, schema
from rclip.maintenance.recovery import rebuild
from tests.support.command import Command, Result, one_line
from tests.support.gallery import GALLERY, Draw
from tests.support.index import Table, index_of, integrity, kill_while_writing
from tests.support.many_runs import ManyRuns
from tests.support.tiers import few

ASKED = ("-n", "--json", "-t", "999", "a red star")


def answer(found: Result) -> list[tuple[str, int]]:
    """Paths, best first, and scores in thousandths: rounding is not what is looked for here."""
    return [(hit["path"], round(hit["score"], 3)) for hit in map(json.loads, found.lines)]


def assert_told(done: Result) -> None:
    """One line that says what is wrong with the index, and what to do."""
    assert (done.code, done.out) == (2, ""), done
    assert re.fullmatch(r"rclip: /.*\.db.*(rclip --rebuild|move it away|move the file away).*", one_line(done.err))


def put(path: Path, content: bytes | bytearray) -> None:
    """The index with this content, as it lies on a disk that nobody is at work with."""
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.write_bytes(content)


@pytest.fixture
def many_photos(draw: Draw) -> None:
    for number in range(5):
        for color, shape in GALLERY:
            draw(f"{shape}s/{color} {number}.png", f"{color} {shape}")


@pytest.mark.parametrize(("flips", "rebuilds"), few([(64, 1), (160, 8)]))
def test_flipped_bits_are_told_or_harmless_and_can_be_mended(
    rclip: Command, many_photos: None, flips: int, rebuilds: int
) -> None:
    """At each place in turn: the right answer, or an error that says what to do.

    Bits of a vector itself shift a score, as long as it stays a unit vector, and nothing tells. A photo that has
    dropped out of one part of the file and not of the others is missed where a query compares them; should it not
    be, it is at least SQLite's own check that finds it.
    """
    rng = random.Random(5)
    rclip("--index", "-v")
    path = index_of(rclip)
    sound = path.read_bytes()
    told = mended = differing = 0
    with ManyRuns(rclip) as run:
        expected = answer(run(*ASKED))
        assert len(expected) == 60
        for number in range(flips):
            # Half of them where they hurt: the file's header and the schema, the heads of pages.
            place = rng.randrange(len(sound)) if number % 2 else rng.randrange(len(sound) // 8192) * 8192
            place += 0 if number % 2 else rng.randrange(28)
            damaged = bytearray(sound)
            damaged[place] ^= 1 << rng.randrange(8)
            put(path, damaged)
            done = run(*ASKED)
            if done.code == 2:
                assert_told(done)
                told += 1
            elif answer(done) != expected:
                assert done.code in (0, 1)
                differing += 1
                assert done.err in ("", "rclip: no photo is indexed here yet; run it once without -n\n")
                is_same_photos = sorted(hit[0] for hit in answer(done)) == sorted(hit[0] for hit in expected)
                assert is_same_photos or integrity(path) != "ok", f"bit flipped at {place}"
            put(path, damaged)
            updated = run("--index", "-v")
            assert updated.code in (0, 2), updated
            assert "Traceback" not in updated.err
            if updated.code == 2:
                assert_told(updated)
            if done.code == 2 and mended < rebuilds:
                put(path, damaged)
                assert_mended(run, path, bytes(damaged), expected)
                mended += 1
    assert differing <= 4
    assert told >= flips // 40
    assert mended == rebuilds


def assert_mended(run: ManyRuns, path: Path, damaged: bytes, expected: list[tuple[str, int]]) -> None:
    done = run("--rebuild")
    assert done.code == 0, done
    (aside,) = path.parent.glob(f"{path.name}.damaged-*")
    assert aside.read_bytes() == damaged
    aside.unlink()
    assert integrity(path) == "ok"
    # A file whose stat or digest was hit is looked at again, and a vector's own bits may have been.
    assert sorted(hit[0] for hit in answer(run(*ASKED))) == sorted(hit[0] for hit in expected)
    assert not list(path.parent.glob(".rclip-*"))


@pytest.mark.parametrize(
    "arguments",
    few(
        [
            ["-n", "a red star"],
            ["-n", "a red star", "--type", "png"],
            ["-n", "a red star", "--path", "stars"],
            ["-n", "a red star", "--min-score", "-1"],
            ["-n", "--after", "2000"],
            ["--stats"],
            ["--prune", "0"],
        ]
    ),
)
def test_a_page_that_has_lost_a_row_is_told(rclip: Command, gallery: Path, arguments: list[str]) -> None:
    rclip("--index")
    path = index_of(rclip)
    connection = sqlite3.connect(path)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'images_listing'").fetchone()
    connection.close()
    damaged = bytearray(path.read_bytes())
    page = (root - 1) * 8192
    assert (damaged[page], damaged[page + 4]) == (10, 12)  # a leaf, and how many rows it has
    damaged[page + 4] = 11
    put(path, damaged)
    assert_told(rclip(*arguments))


@pytest.mark.parametrize("size_bytes", few([20_000, 99, 100, 4096, 8192, -8192, -5000, -1]))
def test_a_truncated_index(rclip: Command, gallery: Path, size_bytes: int) -> None:
    rclip("--index", "-v")
    path = index_of(rclip)
    sound = path.read_bytes()
    with ManyRuns(rclip) as run:
        expected = answer(run(*ASKED))
        put(path, sound[:size_bytes])
        done = run(*ASKED)
        if done.code != 2:
            assert answer(done) == expected  # what was cut off was free
        else:
            assert_told(done)
        put(path, sound[:size_bytes])
        assert_mended(run, path, sound[:size_bytes], expected)


def test_a_rebuilt_index_keeps_what_can_be_read(rclip: Command, many_photos: None, photos: Path) -> None:
    """Photos are not even opened again, but for those that were on the page that is gone."""
    rclip("--index", "-v")
    path = index_of(rclip)
    table = Table(rclip)
    before = dict(table("SELECT path, vector FROM images"))
    content = bytearray(path.read_bytes())
    leaf = next(
        start
        for start in range(8192, len(content), 8192)
        if content[start] == 13 and content[start : start + 8192].count(b"/photos/") > 3  # of the table
    )
    lost = content[leaf : leaf + 8192].count(b"/photos/")
    content[leaf : leaf + 8192] = bytes(8192)
    put(path, content)
    assert_told(rclip("-n", "star"))
    done = rclip("--rebuild")
    assert done.code == 0
    first, second = done.err.splitlines()
    assert first.startswith(
        f"rclip: index rebuilt, with {60 - lost} files known; the damaged one is kept as {path}.dam"
    )
    assert second == f"rclip: index updated: found {lost} new photos"
    after = dict(table("SELECT path, vector FROM images"))
    assert after.keys() == before.keys()
    assert sum(after[path] == before[path] for path in before) >= 60 - lost
    assert len(rclip("-n", "-t", "99", "star").lines) == 60


def test_facts_that_are_lost_are_looked_for_in_the_photos_again(rclip: Command, gallery: Path) -> None:
    """The page that has them all is gone; the model has no part in it."""
    rclip("--index", "-v")
    path = index_of(rclip)
    table = Table(rclip)
    before = table("SELECT * FROM metadata ORDER BY id")
    ((page,),) = table("SELECT rootpage FROM sqlite_schema WHERE name = 'metadata'")
    content = bytearray(path.read_bytes())
    content[(page - 1) * 8192 : page * 8192] = bytes(8192)
    put(path, content)
    done = rclip("--rebuild")
    assert done.code == 0
    assert done.err.splitlines()[1] == "rclip: index updated: found dates and places of 12 older photos"
    assert table("SELECT * FROM metadata ORDER BY id") == before


def test_the_path_of_a_copied_photo_that_is_none_is_told(rclip: Command, gallery: Path) -> None:
    """It is only come upon when the same bytes are found elsewhere."""
    rclip("--index", "-v")
    connection = sqlite3.connect(index_of(rclip))
    connection.execute("UPDATE images SET path = 'text' WHERE instr(path, CAST('stars/red.jpg' AS BLOB))")
    connection.commit()
    connection.close()
    assert_told(rclip("--index"))
    assert rclip("--rebuild").code == 0
    assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]


def test_a_sound_index_is_rebuilt_into_the_same(rclip: Command, gallery: Path) -> None:
    (gallery / "broken.jpg").write_bytes(b"no picture")
    rclip("--index", "-v")
    (gallery / "stars/red.jpg").unlink()
    rclip("--index", "-v")
    table = Table(rclip)
    before = table("SELECT * FROM images ORDER BY id")
    done = rclip("--rebuild")
    assert one_line(done.err).startswith("rclip: index rebuilt, with 13 files known; the damaged one is kept as")
    assert table("SELECT * FROM images ORDER BY id") == before


def test_what_several_runs_of_one_second_set_aside_is_all_kept(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    path = index_of(rclip)
    place = default_location(str(rclip.data_dir))
    asides = [rebuild(str(path), path.stem, PREPROCESSING_VERSION, place).aside for _ in range(12)]
    assert len(set(asides)) == 12
    assert all(map(os.path.exists, asides))


def test_a_log_that_a_killed_run_left_is_rebuilt_from_too(rclip: Command, gallery: Path) -> None:
    rclip("--index", "-v")
    path = index_of(rclip)
    kill_while_writing(path, "UPDATE images SET missing_ns = 7 WHERE id = 3")
    done = rclip("--rebuild", "stars")
    assert done.code == 0, done.err
    assert Table(rclip)("SELECT missing_ns FROM images WHERE id = 3") == [(7,)]
    (aside,) = [path for path in rclip.data_dir.glob("*.damaged-*") if path.suffix.endswith("wal")]
    assert aside.stat().st_size > 0


def test_an_index_at_work_is_not_rebuilt(rclip: Command, gallery: Path) -> None:
    rclip("--index", "-v")
    path = index_of(rclip)
    at_work = Store(str(path), path.stem, 1)
    done = rclip("--rebuild")
    at_work.close()
    assert (done.code, done.out) == (2, "")
    assert one_line(done.err) == f"rclip: another program is using {path}; wait for that program, or end it"
    assert rclip("--rebuild").code == 0


def test_there_is_nothing_to_rebuild(rclip: Command, gallery: Path) -> None:
    done = rclip("--rebuild")
    assert done.code == 2
    assert "there is no index at" in one_line(done.err)


def test_a_deleted_index_whose_log_was_left_is_made_anew(rclip: Command, gallery: Path) -> None:
    """SQLite would play the old log into the new file."""
    rclip("--index", "-v")
    path = index_of(rclip)
    kill_while_writing(path, "UPDATE images SET path = x'61' || id")
    path.unlink()
    assert rclip("-t", "1", "a red star").lines == ["stars/red.jpg"]
    assert integrity(path) == "ok"
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "damage",
    few(
        [
            "vector = zeroblob(4)",
            "vector = 'text'",
            "vector = x'007e' || substr(vector, 3)",  # NaN
            "vector = x'007c' || substr(vector, 3)",  # infinite
            "vector = x'0078' || substr(vector, 3)",  # 32768
            "path = 'text'",
            "mtime_ns = 'text'",
            "size = x'00'",
        ]
    ),
)
def test_content_that_was_never_stored_so_is_told(rclip: Command, gallery: Path, damage: str) -> None:
    rclip("--index", "-v")
    path = index_of(rclip)
    connection = sqlite3.connect(path)
    (photo,) = connection.execute("SELECT id FROM images WHERE instr(path, CAST('stars/red.jpg' AS BLOB))").fetchone()
    connection.execute(f"UPDATE images SET {damage} WHERE id = ?", (photo,))
    connection.commit()
    connection.close()
    done = rclip("-n", "a red star")
    if damage.startswith("path"):
        assert "stars/red.jpg" not in done.lines  # and sorts among no folder's
    else:
        assert_told(done)
    assert rclip("--rebuild").code == 0
    assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]


# --- migrations -------------------------------------------------------------------------------------------------------


def old_index(path: Path, version: int, key: str, rows: int) -> None:
    """As an rclip that knew only the first `version` migrations wrote it."""
    current = schema.MIGRATIONS
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA journal_mode = WAL")
    for script in current[:version]:
        connection.executescript(script)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    if version:
        connection.executemany("INSERT INTO meta VALUES (?, ?)", {"model": key, "preprocessing": "1"}.items())
        vector = np.full(64, 1 / 8, np.float16).tobytes()
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO images (path, mtime_ns, size, device, inode, digest, vector) VALUES (?, 1, 1, 1, ?, ?, ?)",
            ((b"/p/%05d" % number, number, b"%016d" % number, vector) for number in range(rows)),
        )
        connection.execute("COMMIT")
    connection.close()


MIGRATED_ROWS = 3000
OPEN = "import sys; from rclip.index.store import Store; Store(sys.argv[1], 'm', 1).close()"


@pytest.mark.parametrize("version", few(range(len(schema.MIGRATIONS))))
def test_a_migration_that_is_killed_is_done_again(tmp_path: Path, version: int) -> None:
    """The process dies at its first, second, third ... write or sync of the file, until it gets through."""
    path = tmp_path / "index.db"
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("no strace to kill a process at a given write")
    old_index(path, version, "m", MIGRATED_ROWS)
    content = path.read_bytes()
    killed = 0
    for call in (1, 2, 3, 5, 8, 13, 21, 34):
        put(path, content)
        inject = f"inject=pwrite64,fdatasync,fsync:signal=KILL:when={call}"
        trace = [strace, "-f", "-qq", "-e", "trace=pwrite64,fdatasync,fsync", "-e", inject, "-o", "/dev/null"]
        done = subprocess.run([*trace, sys.executable, "-c", OPEN, path], check=False, capture_output=True)
        if done.returncode not in (0, -signal.SIGKILL, 128 + signal.SIGKILL):
            pytest.skip(f"strace cannot trace here: {os.fsdecode(done.stderr)[:100]}")
        killed += done.returncode != 0
        assert integrity(path) == "ok"
        assert_migrated(path, version)
    assert killed >= 2


def assert_migrated(path: Path, version: int) -> None:
    opened = Store(str(path), "m", 1)
    with opened.transaction():
        opened.files.add(b"/q", FileStat(1, 1, 1, 1), b"d" * 16, np.full(64, 1 / 8, np.float32))
    assert opened.files.count(b"/") == ((MIGRATED_ROWS if version else 0) + 1, 0)
    opened.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    connection.close()
    assert integrity(path) == "ok"


def test_a_newer_index_is_neither_read_nor_touched(rclip: Command, gallery: Path) -> None:
    rclip("--index", "-v")
    path = index_of(rclip)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = path.read_bytes()
    for arguments in (("-n", "star"), ("--index",), ("--stats",)):
        done = rclip(*arguments)
        assert done.code == 2
        assert "was written by a newer rclip; update rclip" in one_line(done.err)
    assert path.read_bytes() == before
