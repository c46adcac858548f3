"""Vectors of texts are remembered: a repeated query runs no model, and a bad cache costs nothing but that."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from rclip.index.text_vectors import TextVector, TextVectors
from tests.support.command import Command, imported_by
from tests.support.disks import Mount

VECTOR = np.array([0.6, 0.8, 0], np.float32)


def test_a_text_is_found_again_for_its_model_only(tmp_path: Path) -> None:
    cache = TextVectors(str(tmp_path))
    assert cache.find("m", ["a"], 3) == {}
    cache.add("m", {"a": TextVector(VECTOR, False), "ü": TextVector(-VECTOR, True)})
    found = TextVectors(str(tmp_path)).find("m", ["a", "ü", "b"], 3)
    assert found.keys() == {"a", "ü"}
    np.testing.assert_array_equal(found["a"].vector, VECTOR)
    assert (found["a"].is_cut, found["ü"].is_cut) == (False, True)
    assert cache.find("n", ["a"], 3) == {}


def test_the_words_are_not_kept(tmp_path: Path) -> None:
    TextVectors(str(tmp_path)).add("m", {"a secret wish": TextVector(VECTOR, False)})
    (path,) = tmp_path.iterdir()
    assert b"secret" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


def test_the_latest_texts_are_kept(tmp_path: Path) -> None:
    cache = TextVectors(str(tmp_path))
    cache.add("m", {f"{number}": TextVector(VECTOR, False) for number in range(10_000)})
    cache.add("m", {"more": TextVector(VECTOR, False), "and more": TextVector(VECTOR, False)})
    assert cache.find("m", ["0", "1", "2", "more"], None).keys() == {"2", "more"}


OLD = """CREATE TABLE texts
(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, vector BLOB NOT NULL, is_cut INTEGER NOT NULL)"""
"""The table of an rclip that kept no checksums."""


def another_table(path: Path) -> None:
    path.unlink()
    in_database(path, "CREATE TABLE texts (a)")


def old_table(path: Path) -> None:
    path.unlink()
    in_database(path, OLD)


def view(path: Path) -> None:
    """It has an answer to everything, of which the search would never hear the end."""
    in_database(
        path,
        "ALTER TABLE texts RENAME TO kept",
        "CREATE VIEW texts AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) "
        "SELECT n AS id, zeroblob(16) AS hash, zeroblob(n) AS vector, 0 AS is_cut, x'' AS checksum FROM c",
    )


def trigger(path: Path) -> None:
    in_database(path, "CREATE TRIGGER t AFTER INSERT ON texts BEGIN DELETE FROM texts WHERE id < NEW.id; END")


def one_more_table(path: Path) -> None:
    in_database(path, "CREATE TABLE more (a)")


def circle(path: Path) -> None:
    """The first page of the table's own tree is made a page whose children are itself."""
    in_database(path, "PRAGMA journal_mode = DELETE")
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    at = size  # page 2, the table's
    data[at : at + 12] = bytes([5, 0, 0, 0, 0, 0, 0, 0]) + (2).to_bytes(4, "big")
    path.write_bytes(data)


def in_database(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "elsewhere")


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


REPLACED = {
    "zeros": lambda path: path.write_bytes(bytes(10_000)),
    "text": lambda path: path.write_text("hello " * 1000),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, 5000),
    "another table": another_table,
    "old table": old_table,
    "view": view,
    "trigger": trigger,
    "one more table": one_more_table,
    "circle": circle,
}
LEFT = {"folder": folder, "pipe": pipe, "link": link, "endless": endless}


@pytest.mark.parametrize("damage", [*REPLACED, *LEFT])
def test_a_cache_that_is_damaged_is_begun_again_or_left(tmp_path: Path, damage: str) -> None:
    cache, path = TextVectors(str(tmp_path)), tmp_path / "texts.cache"
    cache.add("m", {"a": TextVector(VECTOR, False)})
    (REPLACED | LEFT)[damage](path)
    assert cache.find("m", ["a"], 3) == {}
    cache.add("m", {"b": TextVector(VECTOR, False)})
    assert not (tmp_path / "elsewhere").exists()
    assert cache.find("m", ["a", "b"], 3).keys() == ({"b"} if damage in REPLACED else set())


STORED: dict[str, object] = {
    "empty": b"",
    "odd": b"abc",
    "zeros": bytes(12),
    "not a number": np.array([np.nan, 1], np.float32).tobytes(),
    "endless": np.array([np.inf, 1], np.float32).tobytes(),
    "beyond all measure": np.full(3, 3e38, np.float32).tobytes(),
    "another length": np.array([0.6, 0.8], np.float32).tobytes(),
    "another vector": np.array([0.8, 0.6, 0], np.float32).tobytes(),
    "large": bytes(100_000),
    "giant": bytes(20_000_000),
    "text": "text",
    "number": 5,
    "fraction": 0.5,
}


@pytest.mark.parametrize("column", ["vector", "is_cut", "checksum"])
@pytest.mark.parametrize("stored", STORED.values(), ids=STORED.keys())
def test_what_was_never_stored_so_is_not_used(tmp_path: Path, stored: object, column: str) -> None:
    cache = TextVectors(str(tmp_path))
    cache.add("m", {"a": TextVector(VECTOR, False)})
    connection = sqlite3.connect(tmp_path / "texts.cache")
    with connection:
        connection.execute(f"UPDATE texts SET {column} = ?", (stored,))
    connection.close()
    assert cache.find("m", ["a"], 3) == {}
    cache.add("m", {"a": TextVector(VECTOR, False)})
    assert cache.find("m", ["a"], 3).keys() == {"a"}


@pytest.mark.parametrize("vector", [[0.6, 0.8], [0.6, 0.8, 0, 0], [np.nan, 0, 0], [3e38, 3e38, 0], [0, 0, 0], []])
def test_a_row_with_a_right_checksum_is_used_for_vectors_of_the_models_length_only(
    tmp_path: Path, vector: list[float]
) -> None:
    cache = TextVectors(str(tmp_path))
    cache.add("m", {"a": TextVector(np.array(vector, np.float32), False)})
    assert cache.find("m", ["a"], 3) == {}


def test_no_flipped_bit_of_a_vector_is_searched_with(tmp_path: Path) -> None:
    """Most of them, those of the signs among them, leave it a length of 1."""
    cache, path = TextVectors(str(tmp_path)), tmp_path / "texts.cache"
    cache.add("m", {"a": TextVector(VECTOR, False)})
    sound = path.read_bytes()
    stored = VECTOR.tobytes()
    at = sound.index(stored)
    for bit in range(8 * len(stored)):
        flipped = bytearray(sound)
        flipped[at + bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert cache.find("m", ["a"], 3) == {}, bit


@pytest.mark.parametrize("damage", ["view", "circle", "pipe", "old table", "zeros", "read-only", "full", "locked"])
def test_a_query_is_answered_whatever_its_cache_is(
    rclip: Command, gallery: Path, damage: str, drop_root: tuple[str, ...], mount: Mount
) -> None:
    right = rclip("a red star").lines
    assert right[0] == "stars/red.jpg"
    path = rclip.data_dir / "texts.cache"
    writer = None
    if damage == "read-only":
        path.chmod(0o400)
        rclip.data_dir.chmod(0o500)
    elif damage == "full":
        mount(rclip.data_dir, 32 << 20)
        with open(rclip.data_dir / "filler", "wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
    elif damage == "locked":
        writer = sqlite3.connect(path)
        writer.execute("BEGIN EXCLUSIVE")
    else:
        (REPLACED | LEFT)[damage](path)
    try:
        for query in ("a red star", "a red star", "something red like a star"):
            done = rclip("-n", query, prefix=drop_root)
            assert (done.code, done.err, done.lines[0]) == (0, "", "stars/red.jpg")
            assert query != "a red star" or done.lines == right
    finally:
        rclip.data_dir.chmod(0o700)
        if writer:
            writer.close()


def test_a_locked_cache_holds_nobody_up(tmp_path: Path) -> None:
    cache = TextVectors(str(tmp_path))
    cache.add("m", {"a": TextVector(VECTOR, False)})
    connection = sqlite3.connect(tmp_path / "texts.cache")
    connection.execute("BEGIN EXCLUSIVE")
    assert cache.find("m", ["a"], 3) == {}
    cache.add("m", {"b": TextVector(VECTOR, False)})
    connection.close()
    assert cache.find("m", ["a", "b"], 3).keys() == {"a"}


def test_a_repeated_query_cleans_no_text(rclip: Command, gallery: Path) -> None:
    """What the tokenizer imports for words that are not plain ASCII is not needed again."""
    assert rclip("étoile rouge").code == 0
    assert not imported_by(rclip, "-n", "étoile rouge") & {"ftfy", "regex"}
    assert {"ftfy", "regex"} <= imported_by(rclip, "-n", "étoile verte")
