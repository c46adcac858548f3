"""Vectors of texts are remembered: a repeated query runs no model, and a bad cache costs nothing but that."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from rclip.index.text_vectors import TextVector, TextVectors
from tests.support.command import Command, imported_by

VECTOR = np.array([0.6, 0.8, 0], np.float32)


def test_a_text_is_found_again_for_its_model_only(tmp_path: Path) -> None:
    cache = TextVectors(str(tmp_path))
    assert cache.find("m", ["a"]) == {}
    cache.add("m", {"a": TextVector(VECTOR, False), "ü": TextVector(-VECTOR, True)})
    found = TextVectors(str(tmp_path)).find("m", ["a", "ü", "b"])
    assert found.keys() == {"a", "ü"}
    np.testing.assert_array_equal(found["a"].vector, VECTOR)
    assert (found["a"].is_cut, found["ü"].is_cut) == (False, True)
    assert cache.find("n", ["a"]) == {}


def test_the_words_are_not_kept(tmp_path: Path) -> None:
    TextVectors(str(tmp_path)).add("m", {"a secret wish": TextVector(VECTOR, False)})
    (path,) = tmp_path.iterdir()
    assert b"secret" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


def test_the_latest_texts_are_kept(tmp_path: Path) -> None:
    cache = TextVectors(str(tmp_path))
    cache.add("m", {f"{number}": TextVector(VECTOR, False) for number in range(10_000)})
    cache.add("m", {"more": TextVector(VECTOR, False), "and more": TextVector(VECTOR, False)})
    assert cache.find("m", ["0", "1", "2", "more"]).keys() == {"2", "more"}


@pytest.mark.parametrize("damage", ["zeros", "text", "empty", "another table", "a folder", "a link", "read-only"])
def test_a_cache_that_is_damaged_is_begun_again_or_left(tmp_path: Path, damage: str) -> None:
    cache, path = TextVectors(str(tmp_path)), tmp_path / "texts.cache"
    cache.add("m", {"a": TextVector(VECTOR, False)})
    if damage == "zeros":
        path.write_bytes(bytes(10_000))
    elif damage == "text":
        path.write_text("hello " * 1000)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "another table":
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE texts (a)")
        connection.close()
    elif damage == "read-only":
        path.chmod(0o400)
    else:
        path.unlink()
        if damage == "a folder":
            path.mkdir()
        else:
            path.symlink_to(tmp_path / "elsewhere")
    cache.find("m", ["a"])
    cache.add("m", {"b": TextVector(VECTOR, False)})
    assert not (tmp_path / "elsewhere").exists()
    if damage in ("zeros", "text", "empty"):
        assert cache.find("m", ["a", "b"]).keys() == {"b"}


@pytest.mark.parametrize("stored", [b"", b"abc", bytes(12), np.array([np.nan, 1], np.float32).tobytes(), "text", 5])
def test_what_is_no_vector_of_length_1_is_not_used(tmp_path: Path, stored: object) -> None:
    cache = TextVectors(str(tmp_path))
    cache.add("m", {"a": TextVector(VECTOR, False)})
    connection = sqlite3.connect(tmp_path / "texts.cache")
    with connection:
        connection.execute("UPDATE texts SET vector = ?", (stored,))
    connection.close()
    assert cache.find("m", ["a"]) == {}


def test_a_locked_cache_holds_nobody_up(tmp_path: Path) -> None:
    cache = TextVectors(str(tmp_path))
    cache.add("m", {"a": TextVector(VECTOR, False)})
    connection = sqlite3.connect(tmp_path / "texts.cache")
    connection.execute("BEGIN EXCLUSIVE")
    assert cache.find("m", ["a"]) == {}
    cache.add("m", {"b": TextVector(VECTOR, False)})
    connection.close()
    assert cache.find("m", ["a", "b"]).keys() == {"a"}


def test_a_repeated_query_cleans_no_text(rclip: Command, gallery: Path) -> None:
    """What the tokenizer imports for words that are not plain ASCII is not needed again."""
    assert rclip("étoile rouge").code == 0
    assert not imported_by(rclip, "-n", "étoile rouge") & {"ftfy", "regex"}
    assert {"ftfy", "regex"} <= imported_by(rclip, "-n", "étoile verte")
