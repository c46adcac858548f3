"""Indexes that earlier versions made are taken over without a look at a photo: the files here are not even pictures."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from rclip.index.store.schema import APPLICATION_ID, MIGRATIONS, VERSION, expected, of_file
from rclip.models import Model
from tests.support import pictures
from tests.support.command import Command

DUMP = Path(__file__).parent / "data/index-2.sql"
PRESENT = {"a.jpg", "c.webp", "sub/b.png"}
FAILED = {"broken.jpg": 1, "locked.jpg": 2, "slow.jpg": 3}
PLAIN = {
    "cannot open it: Permission denied": "Permission denied",
    "it takes longer than 60 s to decode (RCLIP_PHOTO_TIMEOUT_S)": "it takes longer than 60 s to decode",
}
"""Reasons that began or ended with what the kind of a failure says now."""

PHOTO = "id, path, size, mtime_ns, device, inode, digest, vector, failure"

LAYOUT_1 = f"""
    CREATE TABLE aside AS SELECT {PHOTO}, gone_ns FROM images;
    DROP TABLE images; DROP TABLE facts; DROP TABLE cameras; DROP TABLE restated; DROP TABLE meta;
    {MIGRATIONS[0]}
    INSERT INTO images ({PHOTO}, gone_ns) SELECT * FROM aside ORDER BY id;
    DROP TABLE aside;
"""


def test_the_migrations_end_in_the_schema_of_a_new_index() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for script in MIGRATIONS:
        connection.executescript(script)
    assert of_file(connection) == expected(VERSION)
    connection.close()


@pytest.fixture
def old(rclip: Command, photos: Path, request: pytest.FixtureRequest) -> Path:
    """The index of that version, and at each photo's path a file of its size and time."""
    key = Model(str(rclip.model), str(rclip.data_dir), print).key
    path = rclip.data_dir / f"{key}.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(DUMP.read_text().replace(b"/PHOTOS".hex().upper(), os.fsencode(photos).hex()))
    if request.param == 1:
        connection.executescript(LAYOUT_1)
        connection.execute("INSERT INTO meta VALUES ('preprocessing', '1')")
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('model', ?)", (key,))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {request.param}")
    for name, size, mtime_ns in connection.execute("SELECT path, size, mtime_ns FROM images").fetchall():
        file = Path(os.fsdecode(name))
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.name not in ("missing.jpg", "offline.jpg"):
            file.write_bytes(b"?" * size)
            os.utime(file, ns=(0, mtime_ns))
    (photos / "locked.jpg").chmod(0)
    connection.close()
    return path


def rows(path: Path, what: str = "id, path, size, mtime_ns, digest, vector, failure") -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT {what} FROM images ORDER BY id").fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("old", [2], indirect=True)
def test_the_last_version(rclip: Command, old: Path, drop_root: tuple[str, ...]) -> None:
    before = rows(old)
    assert len(before) == 8
    done = rclip("--index", "-v", prefix=drop_root)
    assert (done.code, done.err.count("\n")) == (0, 1)
    assert "dates and places of 3 older photos" in done.err  # as more is read of them now
    assert rows(old, "is_outdated") == [(0,)] * 8
    assert rows(old) == [(*row[:-1], PLAIN.get(row[-1], row[-1])) for row in before]
    states = {Path(os.fsdecode(path)).name: state for path, *state in rows(old, "path, missing_ns, is_offline")}
    assert states["missing.jpg"] == [1795637529217412618, 0]
    assert states["offline.jpg"] == [1795637529217448842, 1]
    assert all(state == [None, 0] for name, state in states.items() if name not in ("missing.jpg", "offline.jpg"))
    kinds = dict(rows(old, "path, failure_kind"))
    assert {Path(os.fsdecode(path)).name: kind for path, kind in kinds.items() if kind} == FAILED
    assert_found(rclip)
    assert rclip("--check").code == 0
    connection = sqlite3.connect(old)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()


@pytest.mark.parametrize("old", [2], indirect=True)
@pytest.mark.parametrize("version", [2, 4])
def test_what_an_earlier_version_could_not_decode_or_decoded_wrongly_is_read_again(
    rclip: Command, old: Path, photos: Path, version: int, drop_root: tuple[str, ...]
) -> None:
    """A JPEG that lacks its end, and a TIFF; once, and without touching others, whose files are no pictures here."""
    connection = sqlite3.connect(old, isolation_level=None)
    for script in MIGRATIONS[2:version]:
        connection.executescript(script)
    connection.execute(f"PRAGMA user_version = {version}")
    tiff = photos / "sub/b.tif"
    (photos / "sub/b.png").rename(tiff)
    connection.execute(
        "UPDATE images SET path = ? WHERE path = ?", (os.fsencode(tiff), os.fsencode(photos / "sub/b.png"))
    )
    for path, data in (
        (photos / "broken.jpg", pictures.saved(pictures.drawn(), "JPEG")[:-2]),
        (tiff, pictures.saved(pictures.drawn(), "TIFF")),
    ):
        path.write_bytes(data)
        os.utime(path, ns=(0, 1600000000000000000))
        change = "UPDATE images SET size = ?, mtime_ns = ? WHERE path = ?"
        connection.execute(change, (len(data), 1600000000000000000, os.fsencode(path)))
    before = dict(rows(old, "path, vector"))
    connection.close()
    read_once_more = "dates and places of 2 older photos"  # more is read of these now
    done = rclip("--index", "-v", prefix=drop_root)
    assert (done.code, done.err) == (0, f"rclip: index updated: found 2 changed, {read_once_more}\n")
    after = dict(rows(old, "path, vector"))
    changed = {os.path.basename(path) for path in before if before[path] != after[path]}
    assert changed == {b"broken.jpg", b"b.tif"}
    assert "nothing has changed" in rclip("--index", "-v", prefix=drop_root).err


@pytest.mark.parametrize("old", [1], indirect=True)
def test_the_first_version(rclip: Command, old: Path, drop_root: tuple[str, ...]) -> None:
    """It kept no dates, cameras or places: files are looked through for these, and have none here."""
    before = rows(old)
    done = rclip("--index", "-v", prefix=drop_root)
    assert (done.code, done.err.count("\n")) == (0, 1)
    assert rows(old) == [(*row[:-1], PLAIN.get(row[-1], row[-1])) for row in before]
    assert set(rclip("-n", "-t", "9", "a star").lines) == PRESENT
    assert rclip("-n", "--before", "2020-09-13T13:00").code == 0  # by their files' times
    assert len(rclip("-n", "--after", "2020-09-13").lines) == 3


@pytest.mark.parametrize("old", [2], indirect=True)
def test_one_that_may_only_be_read(rclip: Command, old: Path, drop_root: tuple[str, ...]) -> None:
    before = old.read_bytes()
    old.chmod(0o400)
    rclip.data_dir.chmod(0o500)
    try:
        assert_found(rclip, drop_root)
    finally:
        rclip.data_dir.chmod(0o700)
    assert old.read_bytes() == before


def assert_found(rclip: Command, prefix: tuple[str, ...] = ()) -> None:
    found = [json.loads(line) for line in rclip("-n", "--json", "-t", "9", "a star", prefix=prefix).lines]
    cameras = {os.path.relpath(hit["path"], rclip.cwd): hit.get("camera") for hit in found}
    assert cameras == {"a.jpg": "Canon EOS R5", "c.webp": "NIKON D850", "sub/b.png": None}
    assert rclip("-n", "--after", "2020-01", "--before", "2021", prefix=prefix).lines == ["sub/b.png", "a.jpg"]
    assert rclip("-n", "--camera", "nikon", prefix=prefix).lines == ["c.webp"]
    assert rclip("-n", "--near", "48.8,2.12,1", prefix=prefix).lines == ["c.webp"]
