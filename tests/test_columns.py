"""The columns beside the matrix: what passes a filter is the same with them, without them, and with wrong ones."""

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from math import asin, cos, radians, sin, sqrt
from pathlib import Path

import numpy as np
import pytest

from rclip.errors import StoreError
from rclip.files import FileStat
from rclip.filters import Filters, Near, parse_types
from rclip.index import vector_cache
from rclip.index.columns import Columns
from rclip.index.store import Store, filterable
from rclip.index.store.filterable import Filterable
from rclip.index.vector_cache import RowSelection, VectorCache
from rclip.photo.metadata import PhotoMetadata
from tests.support.tiers import few

ROWS = vector_cache.APPEND_FROM_ROWS + 500
DAY_S = 86_400


def path_of(number: int) -> bytes:
    return f"/p/{number % 7}/{number:06}.{('jpg', 'png', 'NEF')[number % 3]}".encode()


def facts_of(number: int) -> PhotoMetadata:
    """Every fifth photo says nothing."""
    if number % 5 == 0:
        return PhotoMetadata()
    latitude, longitude = (number * 7 % 181 - 90, number * 13 % 361 - 180) if number % 4 else (None, None)
    captured_s = 1_000_000_000 + number * 7919 % 4000 * DAY_S
    return PhotoMetadata(captured_s, 60, latitude, longitude, f"Maker{number % 3}", f"Model {number % 11}")


def fill(store: Store, start: int, end: int) -> None:
    with store.transaction():
        for number in range(start, end):
            stat = FileStat(1, (1_200_000_000 + number * DAY_S // 4) * 10**9, 1, number)
            vector = np.array([1, number % 100, 3, 4], np.float32)
            store.add(path_of(number), stat, b"%d" % number, vector / np.linalg.norm(vector), facts_of(number))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "index.db"), "model", 1)
    fill(opened, 0, ROWS)
    yield opened
    opened.close()


def caught_up(store: Store) -> Columns:
    """As a search that filters opens them."""
    vectors = VectorCache(store)
    vectors.catch_up()
    columns = Columns(store, vectors)
    columns.catch_up()
    return columns


@pytest.fixture
def folder(store: Store) -> Path:
    return Path(store.cache_folder)


def file(folder: Path) -> Path:
    (path,) = folder.glob("columns-*")
    return path


FILTERS: list[tuple[Filters, Callable[[Filterable], bool]]] = [
    (Filters(), lambda row: True),
    (Filters(after=datetime(2010, 3, 4, 5, 6)), lambda row: taken(row) >= datetime(2010, 3, 4, 5, 6)),
    (Filters(before=datetime(2008, 7, 1)), lambda row: taken(row) < datetime(2008, 7, 1)),
    (Filters(camera="MODEL maker2"), lambda row: "Maker2" in camera(row)),
    (Filters(camera="nothing"), lambda row: False),
    (Filters(types=parse_types("png,raw")), lambda row: row.path.lower().endswith((b"png", b"nef"))),
    (Filters(near=Near(48.8, 2.3, 900)), lambda row: distance_km(row, 48.8, 2.3) <= 900),
    (Filters(near=Near(-89.9, 0, 2000)), lambda row: distance_km(row, -89.9, 0) <= 2000),
    (Filters(near=Near(10, -179.5, 700)), lambda row: distance_km(row, 10, -179.5) <= 700),
    (
        Filters(after=datetime(2005, 1, 1), camera="maker1", types=parse_types("jpg")),
        lambda row: taken(row) >= datetime(2005, 1, 1) and "Maker1" in camera(row) and row.path.endswith(b"jpg"),
    ),
]


def taken(row: Filterable) -> datetime:
    if row.captured_s is None:
        return datetime.fromtimestamp(row.mtime_ns / 1e9)
    return datetime(1970, 1, 1) + timedelta(seconds=row.captured_s)


NAMES: dict[int, str] = {}


def camera(row: Filterable) -> str:
    return NAMES.get(row.camera or 0, "")


def distance_km(row: Filterable, latitude: float, longitude: float) -> float:
    """The haversine once more, slowly, in double precision."""
    if row.latitude is None or row.longitude is None:
        return float("inf")
    here, there = radians(row.latitude), radians(latitude)
    across = radians(row.longitude - longitude)
    chord = sin((here - there) / 2) ** 2 + cos(here) * cos(there) * sin(across / 2) ** 2
    return 2 * 6371.0088 * asin(sqrt(min(1.0, chord)))


def ids_of(columns: Columns, chosen: RowSelection) -> list[int]:
    stored = columns._matrix.ids[chosen.mask].tolist() if chosen.mask is not None else []
    return stored + chosen.tail_ids.tolist()


def assert_right(store: Store, columns: Columns) -> None:
    """Every filter lets those pass that the table's rows say, in ids' order and in that of their times."""
    NAMES.update({id_: " ".join(names) for id_, names in store.metadata.cameras().items()})
    rows = {row.id: row for rows in filterable.above(store, 0) for row in rows}
    for filters, passes in FILTERS:
        expected = [id_ for id_, row in rows.items() if passes(row)]
        chosen = columns.chosen(filters)
        found = [id_ for id_ in ids_of(columns, chosen) if id_ in rows]  # deleted ones may pass: the table tells
        assert found == expected, filters
        newest = [id_ for id_ in columns.newest_first(chosen).tolist() if id_ in rows]
        assert newest == sorted(expected, key=lambda id_: (taken(rows[id_]), id_), reverse=True), filters


def test_with_columns_the_answers_are_the_tables(store: Store, folder: Path) -> None:
    assert_right(store, Columns(store, VectorCache(store)))
    assert not folder.exists()
    columns = caught_up(store)
    assert file(folder).stat().st_size == 22 * ROWS
    assert columns.chosen(Filters()).mask is not None
    assert_right(store, columns)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns"])
def test_times_of_files_are_those_of_clocks_here(store: Store, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a day apart, some on either side of the hours that summer time gives and takes."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert_right(store, caught_up(store))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_only_some_are_put_in_order(store: Store) -> None:
    columns = caught_up(store)
    fill(store, ROWS, ROWS + 20)
    chosen = columns.chosen(Filters(camera="maker1"))
    only = np.array([3, 5, 900, ROWS + 2, ROWS + 3, ROWS + 999])
    found = columns.newest_first(chosen, only).tolist()
    assert sorted(found) == sorted(set(ids_of(columns, chosen)) & set(only.tolist()))
    assert len(found) >= 2


def test_new_photos_come_from_the_table_until_they_are_many(store: Store, folder: Path) -> None:
    caught_up(store)
    before = file(folder)
    fill(store, ROWS, ROWS + 100)
    assert_right(store, caught_up(store))
    assert file(folder) == before
    fill(store, ROWS + 100, 2 * ROWS)
    assert_right(store, caught_up(store))
    assert file(folder) != before
    assert file(folder).stat().st_size == 22 * 2 * ROWS


def test_what_changes_is_taken_from_the_table_until_it_is_much(store: Store, folder: Path) -> None:
    caught_up(store)
    before = file(folder)
    with store.transaction():
        for number in range(1, 400, 3):
            store.move(number, b"/q/%d.png" % number, FileStat(1, 1_600_000_000 * 10**9, 1, number))
        for number in range(2, 400, 9):
            store.metadata.describe(number, PhotoMetadata(1_500_000_000, None, 48.8, 2.3, "Maker2", "Model new"))
    assert_right(store, caught_up(store))
    assert file(folder) == before
    with store.transaction():
        for number in range(1, ROWS):
            store.move(number, b"/r/%d.nef" % number, FileStat(1, 1_700_000_000 * 10**9, 1, number))
    assert_right(store, caught_up(store))
    assert file(folder) != before
    assert filterable.restated_count(store) == 0


def test_deleted_rows_do_not_shift_the_others(store: Store) -> None:
    caught_up(store)
    with store.transaction():
        store.connection.execute("DELETE FROM images WHERE id % 10 = 3")
    assert_right(store, caught_up(store))
    assert store.connection.execute("SELECT count(*) FROM metadata WHERE id % 10 = 3").fetchone() == (0,)
    fill(store, ROWS, 2 * ROWS)
    assert_right(store, caught_up(store))


@pytest.mark.parametrize(
    "damage", few(["missing", "truncated", "flipped", "empty", "no seal", "torn seal", "other list"])
)
def test_damaged_columns_are_passed_over_and_made_anew(store: Store, folder: Path, damage: str) -> None:
    caught_up(store)
    path, contents = file(folder), folder / "columns.json"
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 3] ^= 0x04
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no seal":
        contents.unlink()
    elif damage == "torn seal":
        contents.write_bytes(contents.read_bytes()[:30])
    else:  # of an rclip that knew other endings
        told = json.loads(contents.read_bytes())
        contents.write_text(json.dumps(told | {"suffixes": told["suffixes"][1:]}))
    columns = Columns(store, VectorCache(store))
    assert columns.chosen(Filters()).mask is None
    assert_right(store, columns)
    columns = caught_up(store)
    assert columns.chosen(Filters()).mask is not None
    assert_right(store, columns)
    assert len(list(folder.glob("columns-*"))) == 1


def test_a_copied_data_folder_keeps_its_columns(store: Store, folder: Path) -> None:
    caught_up(store)
    path = file(folder)
    shutil.copyfile(path, folder / "aside")
    os.replace(folder / "aside", path)
    assert Columns(store, VectorCache(store)).chosen(Filters()).mask is not None
    assert file(folder) == path


def test_a_table_from_a_backup_does_not_get_newer_columns(store: Store, folder: Path, tmp_path: Path) -> None:
    caught_up(store)
    backup = tmp_path / "backup.db"
    connection = sqlite3.connect(backup)
    store.connection.backup(connection)
    connection.close()
    with store.transaction():
        for number in range(1, ROWS):
            store.move(number, b"/r/%d.nef" % number, FileStat(1, 1_700_000_000 * 10**9, 1, number))
    caught_up(store)
    store.close()
    for suffix in ("-wal", "-shm"):
        Path(store.path + suffix).unlink(missing_ok=True)
    shutil.copy(backup, store.path)
    restored = Store(store.path, "model", 1)
    assert_right(restored, Columns(restored, VectorCache(restored)))
    assert_right(restored, caught_up(restored))
    restored.close()


def test_what_cannot_be_written_is_done_without(store: Store, folder: Path) -> None:
    """A folder stands where the seal should be written, which stops root, too."""
    vectors = VectorCache(store)
    vectors.catch_up()
    columns = Columns(store, vectors)
    (folder / "columns.json").mkdir()
    with pytest.raises(StoreError, match="cannot write"):
        columns.catch_up()
    assert_right(store, Columns(store, VectorCache(store)))
    assert_right(store, columns)


def test_the_scores_of_the_chosen_are_those_of_all(store: Store) -> None:
    columns = caught_up(store)
    fill(store, ROWS, ROWS + 30)
    vectors = VectorCache(store)
    query = np.array([0.5, 0.5, 0.5, 0.5], np.float32)
    every_id, every_score = vectors.scores(query)
    score_of = dict(zip(every_id.tolist(), every_score.tolist(), strict=True))
    for filters, _ in FILTERS:
        chosen = columns.chosen(filters)
        ids, scores = vectors.scores(query, chosen=chosen)
        assert ids.tolist() == ids_of(columns, chosen)
        assert scores.tolist() == [score_of[id_] for id_ in ids.tolist()]
        only = np.arange(1, ROWS + 40, 7)
        ids, scores = vectors.scores(query, only, chosen)
        assert ids.tolist() == sorted(set(ids_of(columns, chosen)) & set(only.tolist()))
        assert scores.tolist() == [score_of[id_] for id_ in ids.tolist()]
        ids, together = vectors.scores(np.stack([-query, query]), only, chosen)
        np.testing.assert_allclose(together, np.stack([-scores, scores]), atol=1e-5)


def test_another_run_may_write_while_this_one_searches(store: Store) -> None:
    caught_up(store)
    vectors = VectorCache(store)
    fill(store, ROWS, 2 * ROWS)
    VectorCache(store).catch_up()
    for write_columns in (False, True):
        if write_columns:
            caught_up(store)
        columns = Columns(store, vectors)
        columns.catch_up()
        chosen = columns.chosen(Filters(camera="maker1"))
        assert chosen.mask is None or len(chosen.mask) == vectors.rows
        ids, _ = vectors.scores(np.array([0.5, 0.5, 0.5, 0.5], np.float32), chosen=chosen)
        assert ids.tolist() == ids_of(columns, chosen)
        assert_right(store, columns)
