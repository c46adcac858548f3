"""The sketch of the matrix: it decides which vectors are read, and no answer depends on it."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rclip import manifest
from rclip.errors import DamagedIndex
from rclip.index.sketch import APPEND_FROM_ROWS, Contenders, Quantizer, Sketch
from rclip.index.store import Store
from rclip.index.vector_cache import VectorCache
from rclip.index.vector_search import ExactVectorSearch
from rclip.vectors import dot, top_k
from tests.support.tiers import few
from tests.support.vectors import clustered, fill, random, unit

ROWS = 6000
DIMENSIONS = 48


def constant(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    return unit(np.broadcast_to(rng.standard_normal(dimensions), (count, dimensions)))


def one_hot(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """In most coordinates the sample may have nothing but zeros."""
    return np.eye(dimensions, dtype=np.float16)[rng.integers(dimensions, size=count)]


def with_outliers(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """One coordinate far larger than the others, and a few rows on the other side."""
    vectors = rng.standard_normal((count, dimensions))
    vectors[:, 0] = 30
    vectors[:: max(1, count // 3), 0] = -30
    return unit(vectors)


def clipped(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """The first half alike, the second, which the sample does not have, anywhere."""
    vectors = rng.standard_normal((count, dimensions))
    half = count // 2
    vectors[:half] = vectors[0] + 1e-3 * vectors[:half]
    return unit(vectors)


KINDS = [random, clustered, constant, one_hot, with_outliers, clipped]
Kind = Callable[[np.random.Generator, int, int], np.ndarray]


def queries_for(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of length 1 float32: anywhere, a photo's own, its opposite, the middle, along one coordinate."""
    exact = vectors.astype(np.float64)
    middle = exact.mean(axis=0) + 1e-9
    all_of = [rng.standard_normal(exact.shape[1]), exact[-1], -exact[0], middle, np.eye(exact.shape[1])[0]]
    return np.array([each / np.linalg.norm(each) for each in all_of], np.float32)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 400),
    dimensions=st.sampled_from([1, 2, 7, 48, 512]),
    k=st.integers(1, 30),
)
def test_no_score_is_off_by_more_than_the_error(kind: Kind, seed: int, count: int, dimensions: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = kind(rng, count, dimensions)
    quantizer = Quantizer.of(vectors[: count // 2 + 1])
    rows = quantizer.encode(vectors)
    queries = queries_for(vectors, rng)
    scores, errors = quantizer.prepare(queries).bounds(rows)
    right = dot(vectors, queries)
    assert (np.abs(scores.astype(np.float64) - right) <= errors).all()
    for of_query, error, exact in zip(scores, errors, right, strict=True):
        contenders = Contenders(k)
        for start in range(0, count, 64):
            part = slice(start, start + 64)
            contenders.add(np.arange(count)[part], of_query[part], error[part])
        found = contenders.rows()
        assert found[top_k(exact[found], k)].tolist() == top_k(exact, k).tolist()


def test_few_rows_of_many_have_to_be_read() -> None:
    rng = np.random.default_rng(1)
    vectors = random(rng, 20_000, 256)
    quantizer = Quantizer.of(vectors[:2000])
    scores, errors = quantizer.prepare(random(rng, 2, 256).astype(np.float32)).bounds(quantizer.encode(vectors))
    for of_query, error in zip(scores, errors, strict=True):
        contenders = Contenders(10)
        contenders.add(np.arange(20_000), of_query, error)
        assert 10 <= len(contenders.rows()) < 500


def test_a_vector_that_is_no_vector_is_always_looked_at() -> None:
    vectors = random(np.random.default_rng(1), 100, 8)
    quantizer = Quantizer.of(vectors)
    vectors[7, 3], vectors[8, 2] = np.nan, np.inf
    query = random(np.random.default_rng(2), 1, 8).astype(np.float32)
    _, errors = quantizer.prepare(query).bounds(quantizer.encode(vectors))
    assert np.flatnonzero(np.isinf(errors[0])).tolist() == [7, 8]


# --- the file --------------------------------------------------------------------------------------------------------


def write_caches(store: Store) -> VectorCache:
    cache = VectorCache(store)
    cache.catch_up(sketch_from_rows=1000)
    return VectorCache(store)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """With a matrix and no sketch yet."""
    opened = Store(str(tmp_path / "index.db"), "model", 1)
    fill(opened, clustered(np.random.default_rng(3), ROWS, DIMENSIONS))
    yield opened
    opened.close()


def sketch_file(store: Store) -> Path:
    (path,) = Path(store.cache_folder).glob("sketch-*")
    return path


QUERIES = random(np.random.default_rng(4), 4, DIMENSIONS).astype(np.float32)
ALLOWED = np.arange(1, ROWS + 5000, 2)


def answers(store: Store) -> list[np.ndarray]:
    """Ids and scores, of all photos and of those allowed, several at once and one alone."""
    search = ExactVectorSearch(store, VectorCache(store))
    found: list[np.ndarray] = []
    for k in (1, 10, 100):
        found += search.search(QUERIES, k)
        found += search.search(QUERIES[:1], k)
        found += search.search(QUERIES, k, ALLOWED)
        found += search.search(QUERIES, k, ALLOWED[:300])
    return found


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours, theirs)  # to the last bit, and ties in the same order


@pytest.mark.parametrize("kind", few(KINDS))
def test_a_search_answers_as_it_does_without_a_sketch(tmp_path: Path, kind: Kind) -> None:
    store = Store(str(tmp_path / "index.db"), "model", 1)
    fill(store, kind(np.random.default_rng(5), ROWS, DIMENSIONS))
    VectorCache(store).catch_up()
    expected = answers(store)
    cache = write_caches(store)
    assert cache.sketch.rows == ROWS
    assert_same(answers(store), expected)
    quantiles = ExactVectorSearch(store, cache).score_quantiles(QUERIES, [0.02, 0.5, 0.98])
    exact = dot(cache.vectors_of(cache.ids), QUERIES)
    np.testing.assert_allclose(quantiles, np.quantile(exact, [0.02, 0.5, 0.98], axis=1).T, atol=6e-3)
    store.close()


def test_vectors_that_no_candidate_needs_are_not_read(store: Store) -> None:
    """Or it would be of no use. Whoever reads the spoilt ones raises."""
    cache = write_caches(store)
    expected = answers(store)
    search = ExactVectorSearch(store, cache)
    needed = np.unique(search.search(QUERIES, 2000)[0])
    (path,) = Path(store.cache_folder).glob("vectors-*")
    content = np.fromfile(path, np.float16).reshape(-1, DIMENSIONS)
    spoilt = np.isin(cache.ids, needed, invert=True)
    assert spoilt.sum() > 500
    content[spoilt] = np.nan
    with path.open("r+b") as file:
        file.write(content.tobytes())
    assert np.array_equal(search.search(QUERIES, 10)[0], expected[8])
    with pytest.raises(DamagedIndex):
        search.search(QUERIES, 5000)


def test_it_is_made_when_the_matrix_is_large_and_then_appended_to(store: Store) -> None:
    VectorCache(store).catch_up()
    assert not Path(store.cache_folder, "sketch.json").exists()
    assert write_caches(store).sketch.rows == ROWS
    path, size = sketch_file(store), sketch_file(store).stat().st_size
    fill(store, clustered(np.random.default_rng(3), 100, DIMENSIONS), ROWS)
    VectorCache(store).catch_up(append_from_rows=1)
    assert (VectorCache(store).rows, VectorCache(store).sketch.rows) == (ROWS + 100, ROWS)
    with_tail = answers(store)
    fill(store, clustered(np.random.default_rng(3), APPEND_FROM_ROWS, DIMENSIONS), ROWS + 100)
    VectorCache(store).catch_up()
    assert VectorCache(store).sketch.rows == ROWS + 100 + APPEND_FROM_ROWS
    assert sketch_file(store) == path
    assert path.stat().st_size - size == (100 + APPEND_FROM_ROWS) * (DIMENSIONS + 4)
    whole = answers(store)
    VectorCache(store).sketch.discard()
    assert_same(answers(store), whole)
    assert with_tail[0].max() <= ROWS + 100


def test_rows_far_from_the_sample_have_it_made_anew(store: Store) -> None:
    write_caches(store)
    before = sketch_file(store)
    fill(store, random(np.random.default_rng(6), APPEND_FROM_ROWS, DIMENSIONS), ROWS)
    cache = write_caches(store)
    assert cache.sketch.rows == ROWS + APPEND_FROM_ROWS
    assert sketch_file(store) != before
    with_sketch = answers(store)
    cache.sketch.discard()
    assert_same(answers(store), with_sketch)


# --- attacks ---------------------------------------------------------------------------------------------------------


def _truncate(store: Store) -> None:
    os.truncate(sketch_file(store), sketch_file(store).stat().st_size // 2)


def _flip(store: Store) -> None:
    content = bytearray(sketch_file(store).read_bytes())
    content[len(content) // 3] ^= 0x40
    sketch_file(store).write_bytes(content)


def _swap_for_another(store: Store) -> None:
    """Another index's sketch, whole and sealed, in place of this one."""
    other = Store(str(Path(store.path).with_name("other.db")), "model", 1)
    fill(other, random(np.random.default_rng(7), ROWS, DIMENSIONS))
    write_caches(other)
    sketch_file(store).unlink()
    for path in (sketch_file(other), Path(other.cache_folder, "sketch.json")):
        shutil.copy2(path, store.cache_folder)
    other.close()


def _link(store: Store) -> None:
    path = sketch_file(store)
    elsewhere = path.rename(Path(store.path).with_name("elsewhere"))
    path.symlink_to(elsewhere)


def _pipe(store: Store) -> None:
    path = sketch_file(store)
    path.unlink()
    os.mkfifo(path)


def _delete(store: Store) -> None:
    sketch_file(store).unlink()


def _empty_manifest(store: Store) -> None:
    Path(store.cache_folder, "sketch.json").write_text("[]")


def _manifest_with(**changed: object) -> Callable[[Store], None]:
    def write(store: Store) -> None:
        path = Path(store.cache_folder, "sketch.json")
        path.write_text(json.dumps(json.loads(path.read_bytes()) | changed))

    return write


ATTACKS = {
    "truncated": _truncate,
    "flipped": _flip,
    "swapped": _swap_for_another,
    "linked": _link,
    "a pipe": _pipe,
    "missing": _delete,
    "a path for a token": _manifest_with(token="../../etc/passwd"),
    "more rows than the matrix": _manifest_with(rows=10**9),
    "no dimensions": _manifest_with(dimensions=0),
    "no number": _manifest_with(residual="nan"),
    "another matrix": _manifest_with(matrix="0123456789abcdef"),
    "no manifest": _empty_manifest,
}


@pytest.mark.parametrize("attack", few(ATTACKS))
def test_a_sketch_that_is_not_what_was_written_is_not_used(store: Store, attack: str) -> None:
    VectorCache(store).catch_up()
    expected = answers(store)
    assert write_caches(store).sketch.rows
    ATTACKS[attack](store)
    cache = VectorCache(store)
    assert (cache.rows, cache.sketch.rows) == (ROWS, 0)
    assert_same(answers(store), expected)
    assert not cache.sketch.is_sound()
    assert write_caches(store).sketch.rows == ROWS
    assert VectorCache(store).sketch.is_sound()
    assert_same(answers(store), expected)


def test_what_is_linked_there_is_neither_read_nor_written(store: Store, tmp_path: Path) -> None:
    write_caches(store)
    _link(store)
    before = (tmp_path / "elsewhere").read_bytes()
    fill(store, random(np.random.default_rng(6), APPEND_FROM_ROWS, DIMENSIONS), ROWS)
    assert write_caches(store).sketch.rows == ROWS + APPEND_FROM_ROWS
    assert (tmp_path / "elsewhere").read_bytes() == before
    assert not sketch_file(store).is_symlink()


def test_one_that_went_bad_by_itself_is_found_by_the_check(store: Store) -> None:
    write_caches(store)
    _flip(store)
    path = Path(store.cache_folder, "sketch.json")
    content = json.loads(path.read_bytes()) | {"stat": manifest.identity(sketch_file(store).stat())}
    path.write_text(json.dumps(content))
    sketch = VectorCache(store).sketch
    assert sketch.rows == ROWS
    assert not sketch.is_sound()


def test_it_goes_with_its_matrix(store: Store) -> None:
    write_caches(store)
    VectorCache(store).discard()
    VectorCache(store).catch_up()
    assert not list(Path(store.cache_folder).glob("sketch*"))
    write_caches(store)
    with store.transaction():
        VectorCache(store).remove()
    assert not list(Path(store.cache_folder).iterdir())


def test_a_sketch_deleted_under_a_search_costs_time_only(store: Store) -> None:
    cache = write_caches(store)
    expected = answers(store)
    assert cache.sketch.rows
    sketch_file(store).unlink()
    assert np.array_equal(ExactVectorSearch(store, cache).search(QUERIES, 10)[0], expected[8])


def test_no_sketch_without_a_matrix(store: Store) -> None:
    assert not Sketch(store.cache_folder, "", 0).is_behind(1000)
    assert Sketch(store.cache_folder, "", 0).rows == 0
