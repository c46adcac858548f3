"""The index's file looked at from outside, and written to as no rclip would."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rclip.files import FileStat
from rclip.index.store import Store
from tests.support.command import Command


def index_of(rclip: Command) -> Path:
    (path,) = rclip.data_dir.glob("*.db")
    return path


class Table:
    """The images table, looked at from outside."""

    def __init__(self, rclip: Command):
        self._rclip = rclip

    def __call__(self, sql: str) -> list[tuple[Any, ...]]:
        (path,) = self._rclip.data_dir.glob("*.db")
        connection = sqlite3.connect(path)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def vector(self, path: Path) -> tuple[int, bytes]:
        """Id and vector of a photo that is there."""
        ((id_, vector),) = self(
            f"SELECT id, vector FROM images WHERE path = x'{os.fsencode(path).hex()}' AND missing_ns IS NULL"
        )
        return id_, vector

    def count(self) -> int:
        try:
            return self("SELECT count(*) FROM images")[0][0]
        except sqlite3.OperationalError:  # not made yet
            return 0

    def paths(self) -> list[str]:
        """Names of all photos that are there."""
        rows = self("SELECT path FROM images WHERE missing_ns IS NULL AND vector IS NOT NULL ORDER BY path")
        return [os.path.basename(os.fsdecode(path)) for (path,) in rows]


def path_is(name: str) -> str:
    return f"instr(path, CAST('{name}' AS BLOB))"


def vectors(rclip: Command) -> dict[str, np.ndarray]:
    """Of the photos that are there, by their paths from where the command runs."""
    (path,) = rclip.data_dir.glob("*.db")
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT path, vector FROM images WHERE vector IS NOT NULL AND missing_ns IS NULL"
    ).fetchall()
    connection.close()
    return {os.path.relpath(os.fsdecode(path), rclip.cwd): np.frombuffer(vector, np.float16) for path, vector in rows}


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()


def kill_while_writing(path: Path, sql: str) -> None:
    """Leaves what was committed in the log beside the file."""
    code = "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit(); os.abort()"
    subprocess.run([sys.executable, "-c", code, path, sql], check=False, stderr=subprocess.DEVNULL)
    assert Path(f"{path}-wal").stat().st_size > 0


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".rclip-")]


def store_many(rclip: Command, rows: int) -> np.ndarray:
    """An index with so many photos that it takes a matrix; their vectors."""
    rclip("--index", "-v")
    path = index_of(rclip)
    (dimensions,) = {len(vector) // 2 for (vector,) in Table(rclip)("SELECT vector FROM images")}
    vectors = np.random.default_rng(5).standard_normal((rows, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = Store(str(path), path.stem, 1)
    with store.transaction():
        for number, vector in enumerate(vectors):
            store.files.add(
                b"%s/many/%06d.jpg" % (os.fsencode(rclip.cwd), number),
                FileStat(1, 1, 1, number),
                b"%d" % number,
                vector,
            )
    store.close()
    return vectors
