"""The database file: what it is opened as, what it refuses, what it keeps."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rclip.errors import StoreError
from rclip.files import FileStat, file_stat
from rclip.index.location import IndexLocation
from rclip.index.store import Store, importing
from rclip.index.store.schema import APPLICATION_ID
from rclip.index.store.unread_metadata import without_metadata
from rclip.photo.failures import FailedPhoto
from rclip.photo.metadata import PhotoMetadata
from tests.support.command import Command, one_line
from tests.support.index import index_of

STAMP = FileStat(size_bytes=1, mtime_ns=2, device=3, inode=4)
VECTOR = np.array([0.6, 0.8], np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "index.db"), "model", 1)
    yield opened
    opened.close()


def test_vectors_come_back_as_half_precision(store: Store) -> None:
    with store.transaction():
        store.files.add(b"/a/1.jpg", STAMP, b"digest", VECTOR)
    ((ids, vectors),) = store.vectors.above(0)
    assert ids.tolist() == [1]
    assert vectors.dtype == np.float16
    np.testing.assert_allclose(vectors, [VECTOR], atol=1e-3)


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(AttributeError), store.transaction():
        add_twice_the_second_without_a_vector(store)
    assert list(store.files.rows(b"/")) == []
    with store.transaction():  # and can be followed by another
        store.files.add(b"/a/2.jpg", STAMP, b"digest", VECTOR)
    assert [row.path for row in store.files.rows(b"/")] == [b"/a/2.jpg"]


def add_twice_the_second_without_a_vector(store: Store) -> None:
    store.files.add(b"/a/1.jpg", STAMP, b"digest", VECTOR)
    store.files.add(b"/a/2.jpg", STAMP, b"digest", None)  # type: ignore[arg-type]


def test_an_id_is_never_used_again(store: Store) -> None:
    with store.transaction():
        store.files.add(b"/a", STAMP, b"digest", VECTOR)
        store.files.add(b"/a", STAMP, b"other", VECTOR)
        store.files.delete_orphaned()
        store.files.add_failure(FailedPhoto(b"/a", "broken"), STAMP)
        store.files.add(b"/a", STAMP, b"third", VECTOR)
    assert [row.id for row in store.files.rows(b"/")] == [4]


def test_replaced_content_can_be_found_until_the_run_ends(store: Store) -> None:
    with store.transaction():
        store.files.add(b"/a", STAMP, b"first", VECTOR)
        store.files.add(b"/a", STAMP, b"second", VECTOR)
    match = store.files.find_content(b"first", b"/a")
    assert match is not None
    assert match.missing
    with store.transaction():
        store.files.delete_orphaned()
    assert store.files.find_content(b"first", b"/a") is None
    assert store.files.count(b"/") == (1, 0)


def test_rows_are_in_byte_order_and_of_the_folder_only(store: Store) -> None:
    paths = [b"/p/a.jpg", b"/p/a/b.jpg", b"/p/\xff.jpg", b"/p0", b"/p", b"/P/a.jpg", b"/p/A.jpg"]
    with store.transaction():
        for path in paths:
            store.files.add(path, STAMP, path, VECTOR)
    assert [row.path for row in store.files.rows(b"/p/")] == [b"/p/A.jpg", b"/p/a.jpg", b"/p/a/b.jpg", b"/p/\xff.jpg"]
    assert len(list(store.files.rows(b"/"))) == 7


def test_the_whole_table_is_compared_without_touching_vectors(store: Store) -> None:
    plan = store.connection.execute(
        "EXPLAIN QUERY PLAN SELECT id, path, mtime_ns, size, missing_ns, is_offline, ctime_ns "
        "FROM images INDEXED BY images_listing WHERE path >= ? AND path < ? ORDER BY path",
        (b"", b"\xff"),
    ).fetchall()
    assert len(plan) == 1
    assert "COVERING INDEX images_listing" in plan[0][3]


def test_numbers_beyond_sqlites_are_kept(store: Store) -> None:
    """Union file systems have inodes of 64 bits, damaged ones times of any century."""
    fields = (0o100644, (1 << 64) - 5, (1 << 64) - 7, 1, 0, 0, 10, 0, 1 << 62, 0)
    status = os.stat_result(fields, {"st_mtime_ns": 10**9 << 62, "st_ctime_ns": -(10**9 << 62)})
    kept = file_stat(status)
    assert kept == FileStat(size_bytes=10, mtime_ns=(1 << 63) - 1, device=-7, inode=-5, ctime_ns=1 - (1 << 63))
    with store.transaction():
        store.files.add(b"/a", kept, b"digest", VECTOR)
    assert store.files.find_identity(kept) is not None


def test_four_processes_may_make_an_index_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from rclip.index.store import Store; [Store(f'{sys.argv[1]}/{n}.db', 'm', 1) for n in range(40)]"
    )
    makers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(4)]
    assert [maker.wait() for maker in makers] == [0] * 4
    assert len(list(tmp_path.glob("*.db"))) == 40
    assert not list(tmp_path.glob(".rclip-*"))


def test_two_stores_write_in_turn(store: Store) -> None:
    with Store(store.path, "model", 1).transaction():
        pass
    other = Store(store.path, "model", 1)
    with store.transaction():
        store.files.add(b"/a", STAMP, b"a", VECTOR)
    with other.transaction():
        other.files.add(b"/b", STAMP, b"b", VECTOR)
    assert store.files.count(b"/") == (2, 0)
    other.close()


# --- files that are not what they should be ---------------------------------------------------------------------------


def refused(rclip: Command) -> str:
    done = rclip("red")
    assert (done.code, done.out) == (2, "")
    return one_line(done.err)


def test_a_database_of_another_program_is_left_alone(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    path = index_of(rclip)
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE images (a)")
    connection.close()
    before = path.read_bytes()
    assert "is a database of another program; move it away, or set RCLIP_DATADIR" in refused(rclip)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    index_of(rclip).write_bytes(b"something else entirely" * 100)
    assert "is damaged (file is not a database); rclip --rebuild" in refused(rclip)


def test_an_index_of_a_newer_rclip(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    connection = sqlite3.connect(index_of(rclip))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "was written by a newer rclip; update rclip" in refused(rclip)


def test_an_index_under_another_models_name(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    path = index_of(rclip)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = 'other' WHERE key = 'model'")
    connection.commit()
    connection.close()
    assert "was made by another model" in refused(rclip)


def test_an_empty_file_becomes_an_index(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    path = index_of(rclip)
    path.write_bytes(b"")
    assert rclip("a red star", "-t", "1").lines == ["stars/red.jpg"]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_read_only_index_is_searched(rclip: Command, gallery: Path, drop_root: tuple[str, ...]) -> None:
    rclip("--index")
    index_of(rclip).chmod(0o400)
    rclip.data_dir.chmod(0o500)
    try:
        assert rclip("-n", "-t", "1", "a red star", prefix=drop_root).lines == ["stars/red.jpg"]
        (gallery / "stars/red.jpg").unlink()
        done = rclip("a red star", prefix=drop_root)
        assert (done.code, done.out) == (2, "")
        assert "fix its permissions, or set RCLIP_DATADIR, or search what is indexed with -n" in one_line(done.err)
    finally:
        rclip.data_dir.chmod(0o700)


def test_a_transaction_reports_a_database_that_went_bad(store: Store) -> None:
    store.connection.execute("DROP TABLE images")
    with pytest.raises(StoreError, match="no such table"), store.transaction():
        store.files.add(b"/a", STAMP, b"digest", VECTOR)


def test_what_an_index_lends_comes_in_parts_that_stand_alone(store: Store, tmp_path: Path) -> None:
    """One that is stopped in between has kept what it took, and the next takes it all."""
    with store.transaction():
        for number in range(700):
            metadata = PhotoMetadata(1_500_000_000 + number, 60, 48.8, 2.3, "Maker", "Model", 4, 3, ("word",), 5)
            store.files.add(b"/a/b/%03d.jpg" % number, STAMP, b"%d" % number, VECTOR, metadata)
        store.files.add(b"/a/b0.jpg", STAMP, b"digest", VECTOR)
    folder = tmp_path / ".rclip"
    folder.mkdir()
    borrower = Store(
        str(folder / "index.db"), "model", 1, IndexLocation(str(folder), b"/a/b", is_default=False, caches=str(folder))
    )
    try:
        for loans in importing.exported_rows(store, b"/a/b/"):
            with borrower.transaction():
                importing.import_rows(borrower, loans)
            break
        assert 0 < borrower.files.count(b"/a/b/")[0] < 700
        assert not importing.has_imported(borrower)
        for loans in importing.exported_rows(store, b"/a/b/"):
            with borrower.transaction():
                importing.import_rows(borrower, loans)
        with borrower.transaction():
            importing.note_imported(borrower)
        assert importing.has_imported(borrower)
        assert [row.path for row in borrower.files.rows(b"/a/b/")] == [row.path for row in store.files.rows(b"/a/b/")]
        ids = [row.id for row in borrower.files.rows(b"/a/b/")]
        assert borrower.metadata.of(ids) == store.metadata.of(range(1, 701))
        assert without_metadata(borrower, b"/a/b/") == []
    finally:
        borrower.close()
