"""Photos and vectors in files for other programs, read back by these programs' own packages."""

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from rclip import Library, UsageError
from rclip.files import FileStat
from rclip.index.vector_cache import APPEND_FROM_ROWS
from tests.support.command import Command
from tests.support.gallery import GALLERY, Draw

ENDINGS = ("npz", "parquet", "jsonl")


@pytest.fixture
def library(gallery: Path, rclip: Command, tiny_checkpoint: Path) -> Iterator[Library]:
    odd = gallery / os.fsdecode(b"not utf-8 \xff.jpg")
    odd.write_bytes((gallery / "stars/red.jpg").read_bytes())
    with Library(gallery, model=str(tiny_checkpoint), data_dir=rclip.data_dir) as library:
        library.update()
        yield library


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Vectors by path, and the model's identity."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            vectors = dict(zip(arrays["path"].tolist(), arrays["vectors"], strict=True))
            return vectors, json.loads(str(arrays["model_identity"]))
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        rows = table.to_pylist()
        names = [os.fsdecode(row["path_bytes"] or row["path"].encode()) for row in rows]
        vectors = {name: np.array(row["vector"]) for name, row in zip(names, rows, strict=True)}
        return vectors, json.loads(table.schema.metadata[b"rclip.model"])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {line["path"]: np.array(line["vector"]) for line in lines}, lines[0]["model"] if lines else {}


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_export_is_read_back(library: Library, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"photos.{ending}"
    assert library.export(path) == len(GALLERY) + 1
    found, model = read(path)
    expected = library.vectors()
    assert set(found) == set(expected.paths)
    for name, vector in zip(*expected, strict=True):
        assert (found[name].astype(np.float16) == vector).all()
    assert model == json.loads(json.dumps(library.model_identity()._asdict()))
    assert (model["dimensions"], len(model["digest"])) == (expected.vectors.shape[1], 64)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_export_takes_several_chunks_and_leaves_nothing_else(library: Library, tmp_path: Path, ending: str) -> None:
    store = library._parts[0][0].store
    (ids, _) = next(store.vectors.above(0))
    with store.transaction():
        for number in range(APPEND_FROM_ROWS + 10):
            row = store.records([int(ids[0])])[0]
            assert row
            stat_of = FileStat(1, number, 1, number)
            store.files.copy(row.id, b"%s/made up/%d.jpg" % (os.path.dirname(row.path), number), stat_of)
    folder = tmp_path / "out"
    folder.mkdir()
    count = library.export(folder / f"photos.{ending}")
    assert count == len(GALLERY) + 1 + APPEND_FROM_ROWS + 10
    found, _ = read(folder / f"photos.{ending}")
    assert len(found) == count
    assert [path.name for path in folder.iterdir()] == [f"photos.{ending}"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_export_of_nothing_is_a_file_too(
    rclip: Command, gallery: Path, tiny_checkpoint: Path, tmp_path: Path, ending: str
) -> None:
    with Library(gallery, model=str(tiny_checkpoint), data_dir=rclip.data_dir) as library:
        assert library.export(tmp_path / f"photos.{ending}") == 0
        assert read(tmp_path / f"photos.{ending}")[0] == {}
        assert library.vectors().vectors.shape == (0, library.model_identity().dimensions)


def test_files_that_cannot_be_read_have_no_vectors(rclip: Command, photos: Path, tiny_checkpoint: Path) -> None:
    (photos / "half.jpg").write_bytes(b"half a photo")
    with Library(photos, model=str(tiny_checkpoint), data_dir=rclip.data_dir) as library:
        library.update()
        found = library.vectors()
        assert (found.paths, found.vectors.shape) == ([], (0, library.model_identity().dimensions))


def test_the_metadata_are_exported(rclip: Command, draw: Draw, tiny_checkpoint: Path, tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "FUJIFILM", "X-T4"
    photo = draw("a.jpg", exif=exif)
    with Library(photo.parent, model=str(tiny_checkpoint), data_dir=rclip.data_dir) as library:
        library.update()
        for ending in ENDINGS:
            library.export(tmp_path / f"a.{ending}")
    (line,) = map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())
    (row,) = pq.read_table(tmp_path / "a.parquet").to_pylist()
    with np.load(tmp_path / "a.npz") as arrays:
        for name, expected in {
            "maker": "FUJIFILM",
            "width": 160,
            "height": 120,
            "size_bytes": photo.stat().st_size,
        }.items():
            assert line[name] == row[name] == arrays[name][0] == expected
        assert "latitude" not in line
        assert row["latitude"] is None
        assert np.isnan(arrays["latitude"][0])


def test_a_file_is_replaced_whole_and_keeps_its_mode(library: Library, tmp_path: Path) -> None:
    path, link = tmp_path / "photos.jsonl", tmp_path / "link.jsonl"
    path.write_text("before")
    path.chmod(0o640)
    link.symlink_to(path)
    library.export(link)
    assert link.is_symlink()
    assert len(read(path)[0]) == len(GALLERY) + 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_cannot_be_exported_to(library: Library, tmp_path: Path) -> None:
    (tmp_path / "folder.npz").mkdir()
    for name, reason in {
        "photos.csv": "its name must end with",
        "folder.npz": "it is not a file",
        "nowhere/photos.npz": "No such file",
    }.items():
        with pytest.raises(UsageError, match=reason):
            library.export(tmp_path / name)
    assert [path.name for path in tmp_path.glob("photos.*")] == []


def test_a_file_that_may_not_be_written_stays(rclip: Command, gallery: Path, drop_root: tuple[str, ...]) -> None:
    assert rclip("--index").code == 0
    path = rclip.home / "photos.jsonl"
    path.write_text("mine")
    path.chmod(0o400)
    done = rclip("-n", "--export", path, prefix=drop_root)
    assert done.code == 2
    assert done.err == f"rclip: cannot export to {path}: it may not be written; delete it, or choose another name\n"
    assert path.read_text() == "mine"


def test_without_pyarrow_one_line_says_what_to_install(library: Library, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match="needs the package pyarrow; install it with pip install pyarrow"):
        library.export(tmp_path / "photos.parquet")


def test_the_command_updates_and_exports(rclip: Command, gallery: Path) -> None:
    done = rclip("--export", rclip.home / "photos.jsonl", gallery / "stars")
    assert done.code == 0, done.err
    assert done.out == ""
    assert done.err.endswith(f"4 photos exported to {rclip.home / 'photos.jsonl'}\n")
    assert set(read(rclip.home / "photos.jsonl")[0]) == {str(path) for path in (gallery / "stars").iterdir()}
    assert rclip("--export", "photos.jsonl", "--after", "2020").code == 2
