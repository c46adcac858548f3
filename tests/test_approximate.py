"""The approximate search: how much it finds, how it grows, and what it does where its files are not as they were."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rclip import datadir, manifest
from rclip.index.approximate import MIN_ROWS, TARGET_RECALL, ApproximateVectorSearch, InvertedFile
from rclip.index.photo_index import PREPROCESSING_VERSION
from rclip.index.store import Store
from rclip.index.vector_cache import VectorCache
from rclip.index.vector_search import ExactVectorSearch
from rclip.vectors import dot
from tests.support.command import Command, one_line
from tests.support.index import index_of
from tests.support.tiers import few
from tests.support.vectors import clustered, fill, random, unit

pytest.importorskip("faiss")

ROWS = 6000
DIMENSIONS = 48
PART_ROWS = 2500


def texts(seed: int, count: int) -> np.ndarray:
    """(count, D) float32 of length 1, across a gap from the photos: half of each has nothing to do with them."""
    rng = np.random.default_rng(seed)
    near = clustered(np.random.default_rng(3), ROWS, DIMENSIONS)[rng.integers(ROWS, size=count)].astype(np.float32)
    return unit(near + random(rng, count, DIMENSIONS).astype(np.float32)).astype(np.float32)


def ignore(done: int, total: int) -> None:
    pass


class Opened:
    """An index's searches as they are on disk now."""

    def __init__(self, store: Store):
        self.cache = VectorCache(store)
        self.exact = ExactVectorSearch(store, self.cache)
        self.lists = InvertedFile(self.cache)
        self.search = ApproximateVectorSearch(self.exact, self.cache, self.lists)

    def sort(self, progress: Callable[[int, int], None] = ignore, append_from_rows: int = 1000) -> "Opened":
        self.lists.catch_up(self.exact, lambda: texts(8, 60), progress, append_from_rows, PART_ROWS)
        return self


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """With a matrix."""
    opened = Store(str(tmp_path / "index.db"), "model", 1)
    fill(opened, clustered(np.random.default_rng(3), ROWS, DIMENSIONS))
    VectorCache(opened).catch_up()
    yield opened
    opened.close()


@pytest.fixture
def folder(store: Store) -> Path:
    return Path(store.cache_folder)


def recall(opened: Opened, allowed: np.ndarray | None = None, seed: int = 9) -> float:
    """With other queries than those by which it was measured."""
    queries = texts(seed, 50)
    right, _ = opened.exact.search(queries, 10, allowed)
    found, _ = opened.search.search(queries, 10, allowed)
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(right, found, strict=True)]))


def test_it_finds_what_it_promises(store: Store) -> None:
    opened = Opened(Opened(store).sort().cache._store)
    promised = opened.lists.recall
    assert promised
    assert promised.rows == ROWS
    assert promised.queries == 60
    assert promised.probes < promised.lists
    assert TARGET_RECALL <= promised.recall <= 1
    assert recall(opened) >= TARGET_RECALL - 0.05


def test_scores_are_the_exact_ones(store: Store) -> None:
    opened = Opened(store).sort()
    queries = texts(9, 5)
    ids, scores = opened.search.search(queries, 20)
    assert (np.diff(scores, axis=1) <= 0).all()
    for query, found, of_query in zip(queries, ids, scores, strict=True):
        assert len(set(found.tolist())) == 20
        vectors = opened.cache.vectors_of(np.sort(found))
        assert np.array_equal(dot(vectors, query)[np.argsort(np.argsort(found))], of_query)


def test_what_an_approximation_cannot_do_is_done_exactly(store: Store) -> None:
    opened = Opened(store).sort()
    queries = texts(9, 3)
    few_allowed = np.arange(1, ROWS, 7)
    for k, allowed in ((5000, None), (10, few_allowed), (10, np.empty(0, np.int64))):
        for ours, right in zip(
            opened.search.search(queries, k, allowed), opened.exact.search(queries, k, allowed), strict=True
        ):
            assert np.array_equal(ours, right)
    levels = [0.1, 0.5, 0.9]
    assert np.array_equal(opened.search.score_quantiles(queries, levels), opened.exact.score_quantiles(queries, levels))
    assert opened.search.count(few_allowed) == len(few_allowed)


def test_filters_that_leave_many_are_kept_to(store: Store) -> None:
    opened = Opened(store).sort()
    allowed = np.arange(1, ROWS + 1, 2)
    ids, _ = opened.search.search(texts(9, 20), 10, allowed)
    assert np.isin(ids, allowed).all()
    assert recall(opened, allowed) >= 0.85


# --- growing ---------------------------------------------------------------------------------------------------------


def files(folder: Path) -> dict[str, os.stat_result]:
    return {path.name: path.stat() for path in folder.iterdir() if path.name.startswith(("trained-", "part-"))}


def test_new_photos_are_found_without_being_sorted_and_then_sorted_without_the_others(
    store: Store, folder: Path
) -> None:
    Opened(store).sort()
    before = files(folder)
    assert len(before) == 1 + 3
    new = texts(10, 100).astype(np.float16)
    fill(store, new, ROWS)
    opened = Opened(store).sort()
    assert (opened.lists.rows, opened.cache.rows, files(folder)) == (ROWS, ROWS, before)
    assert opened.search.search(new[7:8].astype(np.float32), 3)[0][0, 0] == ROWS + 8
    fill(store, texts(11, 1000).astype(np.float16), ROWS + 100)
    VectorCache(store).catch_up(append_from_rows=1)
    opened = Opened(store).sort()
    assert opened.lists.rows == ROWS + 1100
    after = files(folder)
    assert len(after) == len(before)
    assert len(before.items() & after.items()) == len(before) - 1  # the last part was written again
    assert opened.search.search(new[7:8].astype(np.float32), 3)[0][0, 0] == ROWS + 8
    assert recall(opened) >= TARGET_RECALL - 0.05


def test_deleted_photos_need_no_other_lists(store: Store, folder: Path) -> None:
    Opened(store).sort()
    before = files(folder)
    with store.transaction():
        store.connection.execute("DELETE FROM images WHERE id % 3 = 0")
    opened = Opened(store).sort()
    assert (opened.lists.rows, files(folder)) == (ROWS, before)


class Ended(Exception):
    """What a signal raises."""


def test_an_interrupted_run_is_gone_on_with(store: Store, folder: Path) -> None:
    calls = []

    def end_in_the_second_part(done: int, total: int) -> None:
        calls.append((done, total))
        if done == PART_ROWS and calls.count((done, total)) == 2:  # the first part's end, the second's begin
            raise Ended

    expected = Opened(store).exact.search(texts(9, 3), 10)
    with pytest.raises(Ended):
        Opened(store).sort(end_in_the_second_part)
    opened = Opened(store)
    assert opened.lists.rows == 0
    assert opened.lists.is_sound()
    assert np.array_equal(opened.search.search(texts(9, 3), 10)[0], expected[0])
    before = files(folder)
    opened.sort(lambda done, total: calls.append((done, total)))
    assert Opened(store).lists.rows == ROWS
    assert len(files(folder).items() & before.items()) == 2  # what was trained, and the first part
    assert (calls[0], calls[-1]) == ((0, ROWS), (ROWS, ROWS))


def test_two_runs_do_not_sort_at_once(store: Store, folder: Path) -> None:
    lock = datadir.claim(str(folder))
    assert Opened(store).sort().lists.rows == 0
    os.close(lock)
    assert Opened(store).sort().lists.rows == ROWS


def test_another_matrix_needs_other_lists(store: Store, folder: Path) -> None:
    Opened(store).sort()
    VectorCache(store).discard()
    VectorCache(store).catch_up()
    assert not files(folder)
    assert not (folder / "approximate.json").exists()
    assert Opened(store).sort().lists.rows == ROWS


# --- attacks ---------------------------------------------------------------------------------------------------------


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x40
    path.write_bytes(content)


def _link(path: Path) -> None:
    path.symlink_to(path.rename(path.parent.parent / "elsewhere"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("kind", few(["part-", "trained-", "approximate.json"], fast=2))
@pytest.mark.parametrize("attack", few([_flip, _truncate, _link, _pipe, Path.unlink]))
def test_files_that_are_not_what_was_written_are_not_used(
    store: Store, folder: Path, kind: str, attack: Callable[[Path], None]
) -> None:
    Opened(store).sort()
    attack(next(path for path in folder.iterdir() if path.name.startswith(kind)))
    opened = Opened(store)
    assert opened.lists.rows == 0
    assert not opened.lists.is_sound()
    for ours, right in zip(opened.search.search(texts(9, 3), 10), opened.exact.search(texts(9, 3), 10), strict=True):
        assert np.array_equal(ours, right)
    assert opened.sort().lists.rows == ROWS
    assert Opened(store).lists.is_sound()


@pytest.mark.parametrize(
    "changed",
    few(
        [
            {"token": "../../../etc/passwd"},
            {"parts": [["../../x", 0, ROWS]]},
            {"parts": [["0123456789abcdef", 5, ROWS]]},
            {"parts": 7},
            {"probes": -1},
            {"lists": 10**9},
            {"matrix": "0123456789abcdef"},
            {"recall": "high"},
        ],
        fast=8,
    ),
)
def test_a_manifest_that_was_never_written_is_not_believed(
    store: Store, folder: Path, changed: dict[str, object]
) -> None:
    Opened(store).sort()
    path = folder / "approximate.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changed))
    assert Opened(store).lists.rows == 0


def test_lists_that_went_bad_by_themselves_are_found_by_the_check(store: Store, folder: Path) -> None:
    Opened(store).sort()
    path = folder / "approximate.json"
    contents = json.loads(path.read_bytes())
    part = folder / f"part-{contents['parts'][1][0]}"
    _flip(part)
    contents["stats"][2] = manifest.identity(part.stat())
    path.write_text(json.dumps(contents))
    opened = Opened(store)
    assert opened.lists.rows == ROWS
    assert not opened.lists.is_sound()


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(rclip: Command, gallery: Path) -> Command:
    """The gallery's index with so many photos that it can be searched approximately."""
    rclip("--index")
    path = index_of(rclip)
    connection = sqlite3.connect(path)
    ((size,),) = connection.execute("SELECT max(length(vector)) FROM images")
    ((model,),) = connection.execute("SELECT value FROM meta WHERE key = 'model'")
    connection.close()
    store = Store(str(path), model, PREPROCESSING_VERSION)
    fill(store, random(np.random.default_rng(1), MIN_ROWS, size // 2))
    store.close()
    return rclip


def test_the_command_sorts_searches_and_tells(filled: Command, gallery: Path, tmp_path: Path) -> None:
    exact = filled("-n", "a red star").lines
    done = filled("-n", "--approximate", "a red star")
    assert done.lines == exact
    assert done.err == (
        f"rclip: searching exactly: the photos of {index_of(filled)} are not sorted for an approximate search yet; "
        "rclip --index --approximate does that\n"
    )
    done = filled("--index", "--approximate", "-v")
    assert done.code == 0
    told = next(line for line in done.err.splitlines() if "approximate" in line)
    found = told.removeprefix("rclip: approximate search: ")
    assert found.startswith(f"{MIN_ROWS + 12:,} photos in 250 lists, of which a query reads ")
    assert f"approximate {found}" in filled("--stats").lines
    done = filled("-n", "--approximate", "-t", "3", "a red star")
    assert (done.lines[0], done.err) == (exact[0], "")
    config = tmp_path / "config.toml"
    config.write_text(f"approximate-from = {MIN_ROWS}\n")
    assert filled("-n", "-t", "3", "a red star", env={"RCLIP_CONFIG": str(config)}).lines[0] == exact[0]
    assert "sound" in next(line for line in filled("--check").lines if line.startswith("approximate"))


def test_a_small_index_is_searched_exactly(rclip: Command, gallery: Path) -> None:
    done = rclip("--approximate", "-t", "1", "a red star")
    assert (done.code, done.lines) == (0, ["stars/red.jpg"])


def test_without_faiss_it_says_what_to_install(filled: Command, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text("import sys; sys.modules['faiss'] = None")
    done = filled("-n", "--approximate", "a red star", env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert done.code == 2
    assert one_line(done.err).startswith(
        "rclip: approximate search needs the package faiss-cpu, which is not installed; to install it: "
    )
