"""The Python interface, as the README shows it."""

import shutil
from pathlib import Path

import pytest

import rclip
from rclip import Hit, Library, ModelError, RclipError, UsageError
from tests.conftest import GALLERY


@pytest.fixture
def library(gallery: Path, prepared_data: Path, tiny_checkpoint: Path, tmp_path: Path):
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
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
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
