"""The matrix beside the table: the same answers with it, without it, and with a wrong one in its place."""

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rclip.files import FileStat
from rclip.index import vector_cache
from rclip.index.store import Store
from rclip.index.vector_cache import VectorCache
from rclip.index.vector_search import ExactVectorSearch
from rclip.photo.failures import FailedPhoto
from rclip.vectors import MAX_ERROR, dot, exact_dot, top_k
from tests.support.tiers import few

DIMENSIONS = 64
ROWS = 3 * vector_cache.APPEND_FROM_ROWS // 2


def unit_vectors(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def fill(store: Store, vectors: np.ndarray, start: int = 0) -> None:
    with store.transaction():
        for number, vector in enumerate(vectors, start):
            store.files.add(
                f"/p/{number % 7}/{number:07}.jpg".encode(), FileStat(1, 1, 1, number), b"%d" % number, vector
            )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "index.db"), "model", 1)
    fill(opened, unit_vectors(ROWS, seed=1))
    yield opened
    opened.close()


@pytest.fixture
def folder(store: Store) -> Path:
    return Path(store.cache_folder)


def files(folder: Path) -> dict[str, Path]:
    return {path.name.split("-")[0]: path for path in folder.iterdir()}


QUERY = unit_vectors(1, seed=2)[0].astype(np.float32)


def scores_of(store: Store, queries: np.ndarray, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """All ids (N,), ascending, and their scores (Q, N), whichever way they are looked for."""
    search = ExactVectorSearch(store, VectorCache(store))
    found_ids, found_scores = search.search(queries, sys.maxsize, allowed)
    assert np.array_equal(found_ids.shape, (len(queries), search.count(allowed)))
    order = np.argsort(found_ids, axis=1)
    ids, scores = (np.take_along_axis(found, order, axis=1) for found in (found_ids, found_scores))
    assert (ids == ids[:1]).all()
    for k in (1, 10, 3000):
        best_ids, best_scores = search.search(queries, k, allowed)
        assert np.array_equal(best_ids, found_ids[:, :k])
        np.testing.assert_allclose(best_scores, found_scores[:, :k], atol=1e-6)
    if allowed is None and len(ids[0]):
        np.testing.assert_allclose(search.score_quantiles(queries, [0.2, 0.5]), np.quantile(scores, [0.2, 0.5], 1).T)
    return ids[0], scores


def assert_right(store: Store, vectors: np.ndarray) -> None:
    """All rows, in the order they were added, with the scores they should have."""
    ids, (scores,) = scores_of(store, QUERY[np.newaxis])
    assert ids.tolist() == list(range(1, len(vectors) + 1))
    np.testing.assert_allclose(scores, vectors.astype(np.float32) @ QUERY, atol=MAX_ERROR)


def test_without_a_matrix_the_table_answers(store: Store, folder: Path) -> None:
    assert_right(store, unit_vectors(ROWS, seed=1))
    assert not folder.exists()


def test_with_a_matrix_the_answers_are_the_same(store: Store, folder: Path) -> None:
    VectorCache(store).catch_up()
    assert files(folder)["vectors"].read_bytes() == unit_vectors(ROWS, seed=1).tobytes()
    assert_right(store, unit_vectors(ROWS, seed=1))


def test_a_few_new_rows_are_read_from_the_table(store: Store, folder: Path) -> None:
    VectorCache(store).catch_up()
    before = files(folder)["vectors"].stat()
    fill(store, unit_vectors(10, seed=3), start=ROWS)
    VectorCache(store).catch_up()
    assert files(folder)["vectors"].stat() == before
    assert_right(store, np.concatenate([unit_vectors(ROWS, seed=1), unit_vectors(10, seed=3)]))


def test_many_new_rows_are_appended(store: Store, folder: Path) -> None:
    VectorCache(store).catch_up()
    before = files(folder)["vectors"]
    fill(store, unit_vectors(ROWS, seed=3), start=ROWS)
    VectorCache(store).catch_up()
    assert files(folder)["vectors"] == before
    assert before.stat().st_size == 2 * ROWS * DIMENSIONS * 2
    assert_right(store, np.concatenate([unit_vectors(ROWS, seed=1), unit_vectors(ROWS, seed=3)]))


def test_only_what_is_asked_for_is_scored(store: Store) -> None:
    VectorCache(store).catch_up()
    fill(store, unit_vectors(10, seed=3), start=ROWS)
    only = np.array([2, 5, ROWS, ROWS + 3, ROWS + 999])
    ids, (scores,) = scores_of(store, QUERY[np.newaxis], only)
    assert ids.tolist() == [2, 5, ROWS, ROWS + 3]
    vectors = np.concatenate([unit_vectors(ROWS, seed=1), unit_vectors(10, seed=3)])
    np.testing.assert_allclose(scores, vectors[ids - 1].astype(np.float32) @ QUERY, atol=MAX_ERROR)


@pytest.mark.parametrize("has_matrix", few([False, True]))
@pytest.mark.parametrize("only", few([None, [], [2, 5, ROWS, ROWS + 3, ROWS + 999], range(1, ROWS, 2)]))
def test_several_queries_score_as_each_does_alone(store: Store, has_matrix: bool, only: list[int] | None) -> None:
    """Of all, none, some and most of the rows, with a few behind the matrix."""
    if has_matrix:
        VectorCache(store).catch_up()
    fill(store, unit_vectors(10, seed=3), start=ROWS)
    queries = unit_vectors(7, seed=2).astype(np.float32)
    wanted = None if only is None else np.array(only, np.int64)
    ids, scores = scores_of(store, queries, wanted)
    assert scores.shape == (7, len(ids))
    for query, of_query in zip(queries, scores, strict=True):
        ids_alone, (scores_alone,) = scores_of(store, query[np.newaxis], wanted)
        assert ids.tolist() == ids_alone.tolist()
        np.testing.assert_allclose(of_query, scores_alone, atol=1e-5)


def test_a_matrix_that_is_mostly_waste_is_made_anew(store: Store, folder: Path) -> None:
    VectorCache(store).catch_up()
    before = set(folder.iterdir())
    with store.transaction():
        store.connection.execute("DELETE FROM images WHERE id > 100")
    fill(store, unit_vectors(vector_cache.APPEND_FROM_ROWS, seed=3), start=ROWS)
    with store.transaction():
        store.connection.execute("DELETE FROM images WHERE id < ?", (ROWS + vector_cache.APPEND_FROM_ROWS - 500,))
    VectorCache(store).catch_up()
    assert set(folder.iterdir()) & before == {folder / "seal.json"}
    assert files(folder)["vectors"].stat().st_size < 1000 * DIMENSIONS * 2


@pytest.mark.parametrize("kind", few(["vectors", "ids", "seal.json"]))
@pytest.mark.parametrize("damage", few(["missing", "truncated", "flipped", "empty", "swapped"]))
def test_a_damaged_matrix_is_passed_over_and_made_anew(store: Store, folder: Path, kind: str, damage: str) -> None:
    VectorCache(store).catch_up()
    path = files(folder)[kind]
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
    else:
        path.write_bytes(content[::-1])
    assert_right(store, unit_vectors(ROWS, seed=1))
    VectorCache(store).catch_up()
    assert json.loads((folder / "seal.json").read_bytes())["rows"] == ROWS
    assert_right(store, unit_vectors(ROWS, seed=1))


def test_an_append_that_did_not_end_is_not_read(store: Store, folder: Path) -> None:
    VectorCache(store).catch_up()
    for kind in ("vectors", "ids"):
        with open(files(folder)[kind], "ab") as file:
            file.write(b"\x7f" * 3000)
    assert_right(store, unit_vectors(ROWS, seed=1))
    fill(store, unit_vectors(ROWS, seed=3), start=ROWS)
    VectorCache(store).catch_up()
    assert_right(store, np.concatenate([unit_vectors(ROWS, seed=1), unit_vectors(ROWS, seed=3)]))


def test_a_table_from_a_backup_does_not_get_the_newer_matrix(store: Store, tmp_path: Path) -> None:
    """Its next photos will have ids that the matrix knows as other photos'."""
    VectorCache(store).catch_up()
    backup = tmp_path / "backup.db"
    connection = sqlite3.connect(backup)
    store.connection.backup(connection)
    connection.close()
    fill(store, unit_vectors(ROWS, seed=3), start=ROWS)
    VectorCache(store).catch_up()
    store.close()
    for suffix in ("-wal", "-shm"):
        Path(store.path + suffix).unlink(missing_ok=True)
    shutil.copy(backup, store.path)
    restored = Store(store.path, "model", 1)
    fill(restored, unit_vectors(ROWS, seed=4), start=ROWS)
    assert_right(restored, np.concatenate([unit_vectors(ROWS, seed=1), unit_vectors(ROWS, seed=4)]))
    restored.close()


def test_nothing_but_unreadable_files_needs_no_matrix(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "failures.db"), "model", 1)
    with store.transaction():
        for number in range(vector_cache.APPEND_FROM_ROWS + 10):
            store.files.add_failure(FailedPhoto(b"/%d" % number, "broken"), FileStat(1, 1, 1, 1))
    VectorCache(store).catch_up()
    assert not Path(store.cache_folder).exists()
    ids, (scores,) = scores_of(store, QUERY[np.newaxis])
    assert (len(ids), len(scores)) == (0, 0)
    store.close()


def test_unreadable_files_behind_the_photos_do_not_have_it_written_again(store: Store, folder: Path) -> None:
    with store.transaction():
        for number in range(vector_cache.APPEND_FROM_ROWS + 10):
            store.files.add_failure(FailedPhoto(b"/%d" % number, "broken"), FileStat(1, 1, 1, 1))
    VectorCache(store).catch_up()
    before = (folder / "seal.json").stat()
    VectorCache(store).catch_up()
    assert (folder / "seal.json").stat() == before


def test_a_copied_data_folder_keeps_its_matrix(store: Store, folder: Path) -> None:
    """Other inodes and times: the bytes are compared once, and then trusted again."""
    VectorCache(store).catch_up()
    for path in list(folder.iterdir()):
        shutil.copyfile(path, path.with_suffix(".copy"))
        os.replace(path.with_suffix(".copy"), path)
    before = json.loads((folder / "seal.json").read_bytes())["stats"]
    assert_right(store, unit_vectors(ROWS, seed=1))
    assert json.loads((folder / "seal.json").read_bytes())["stats"] != before
    assert files(folder)["vectors"].stat().st_size == ROWS * DIMENSIONS * 2


def test_the_best_ten_are_those_of_full_precision() -> None:
    """Recall at ten, through the whole search: half-precision scores only choose what is looked up."""
    vectors = unit_vectors(20_000, seed=5)
    exact_vectors = vectors.astype(np.float32)
    missed = 0
    for query in unit_vectors(100, seed=6).astype(np.float32):
        expected = set(top_k(exact_vectors @ query, 10).tolist())
        looked_up = top_k(dot(vectors, query), 10 + 16)
        exact = [exact_dot(vectors[row].tobytes(), query) for row in looked_up]
        found = {int(looked_up[place]) for place in np.argsort(exact)[::-1][:10]}
        missed += len(expected - found)
    assert missed == 0
