"""The Python interface."""

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import rclip
from rclip import Filters, Hit, Library, ModelError, RclipError, UsageError
from rclip.files import FileStat
from rclip.index.vector_cache import APPEND_FROM_ROWS, VectorCache
from rclip.search import query
from tests.support.gallery import GALLERY
from tests.support.tiers import few


@pytest.fixture
def library(gallery: Path, prepared_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> Iterator[Library]:
    data_dir = shutil.copytree(prepared_data, tmp_path / "library-data")
    with Library(gallery, model=str(tiny_checkpoint), data_dir=data_dir) as library:
        yield library


def test_update_and_search(library: Library, gallery: Path) -> None:
    summary = library.update()
    assert (summary.added, summary.changed, summary.failures) == (len(GALLERY), 0, [])
    hits = library.search("a red star", top=5)
    assert len(hits) == 5
    assert isinstance(hits[0], Hit)
    assert hits[0].path == str(gallery / "stars/red.jpg")
    assert hits[0].size_bytes == (gallery / "stars/red.jpg").stat().st_size
    assert hits[0].mtime_ns == (gallery / "stars/red.jpg").stat().st_mtime_ns
    scores = [hit.score for hit in hits if hit.score is not None]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert not library.update().has_changes


def test_progress_is_told(library: Library) -> None:
    told: list[tuple[int, int]] = []
    library.update(progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, len(GALLERY))
    assert told[-1] == (len(GALLERY), len(GALLERY))


def test_searching_before_updating_finds_nothing(library: Library) -> None:
    assert library.search("a red star") == []


def test_stats(library: Library, gallery: Path) -> None:
    (gallery / "broken.jpg").write_bytes(b"no picture")
    library.update()
    stats = library.stats()
    assert stats.photos == len(GALLERY)
    assert stats.unreadable == {str(gallery / "broken.jpg"): "damaged, or not a picture in a format known here"}
    assert stats.index_bytes > 0
    assert stats.weights_bytes > 10_000_000


def test_a_long_query_is_a_warning(library: Library) -> None:
    library.update()
    with pytest.warns(UserWarning, match="77 tokens"):
        library.search("star " * 100)


def add_made_up(library: Library, folder: Path, start: int, end: int) -> None:
    """Photos that are not there, a JPEG after two PNGs, with random vectors."""
    store = library._parts[0][0].store
    (_, vectors) = next(store.vectors_above(0))
    made_up = np.random.default_rng(start).standard_normal((end - start, vectors.shape[1])).astype(np.float32)
    with store.transaction():
        for number, vector in enumerate(made_up / np.linalg.norm(made_up, axis=1, keepdims=True), start):
            path = folder / f"made up/{number}.{'png' if number % 3 else 'jpg'}"
            seen = FileStat(1, number * 500_000 * 10**9, 1, number)
            store.add(str(path).encode(), seen, b"%d" % number, vector)


ASKED = ["a red star", "./stars/gone.jpg", "a blue circle", "nothing like it", "a red star - red", "a green square"]
FILTERS = [
    None,
    Filters(types=frozenset({"png"})),
    Filters(before=datetime(2000, 1, 1), min_score=0.01),
    Filters(paths=("stars",)),
    Filters(paths=("made up/*.jpg",), types=frozenset({"jpg"})),
    Filters(is_relevant=True),
    Filters(is_relevant=True, types=frozenset({"jpg"})),
]


@pytest.mark.parametrize("highest_id", few([None, 8_000_000]))
def test_queries_that_share_a_pass_find_what_each_finds_alone(
    library: Library, gallery: Path, highest_id: int | None
) -> None:
    """In the matrix and behind it, with gone photos, in a folder and in all; with so high an id two share a pass."""
    library.update()
    add_made_up(library, gallery, 0, APPEND_FROM_ROWS)
    store = library._parts[0][0].store
    with store.transaction():
        store.connection.execute(
            "UPDATE images SET missing_ns = 1 WHERE id % 5 = 0 OR instr(path, CAST('stars/blue' AS BLOB))"
        )
        if highest_id:
            store.connection.execute("UPDATE images SET id = ? WHERE id = 2000", (highest_id,))
    VectorCache(store).catch_up()
    assert VectorCache(store).rows == len(GALLERY) + APPEND_FROM_ROWS
    add_made_up(library, gallery, APPEND_FROM_ROWS, APPEND_FROM_ROWS + 40)
    asked = [query.parse(text) for text in ASKED]
    for folder in (gallery, gallery / "stars", gallery / "made up"):
        folder.mkdir(exist_ok=True)
        with Library(folder, model=library._model.name, data_dir=library._model._data_dir) as asked_of:
            for filters in FILTERS:
                together = list(asked_of.search_all([asked[:1], asked, []], 5, filters))
                alone = [next(asked_of.search_all([[each]], 5, filters)) for each in (asked[0], *asked)]
                assert_alike(together, alone)
                answers = [found for found in together if not isinstance(found, RclipError)]
                assert len(answers) == len(asked)  # all but the one that cannot be answered, and the first once more
                assert filters or all(len(found) >= 2 for found in answers)


def assert_alike(together: list[list[Hit] | RclipError], alone: list[list[Hit] | RclipError]) -> None:
    for one, other in zip(together, alone, strict=True):
        if isinstance(one, RclipError) or isinstance(other, RclipError):
            assert str(one) == str(other)
        else:
            assert [hit.path for hit in one] == [hit.path for hit in other]
            assert [hit.score for hit in one] == pytest.approx([hit.score for hit in other], abs=1e-5)


def test_errors_have_one_root(gallery: Path, tmp_path: Path) -> None:
    assert issubclass(UsageError, RclipError)
    with pytest.raises(UsageError, match="does not exist"):
        Library(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="no model"):
        Library(gallery, model="ViT-Z/1", data_dir=tmp_path)


def test_public_names() -> None:
    for name in rclip.__all__:
        assert getattr(rclip, name) is not None
    with pytest.raises(AttributeError):
        _ = rclip.nonsense
