"""The tables of an index, and how a file that is empty or an older rclip's comes to have them."""

import sqlite3
from collections.abc import Iterator

APPLICATION_ID = 0x72636C70  # "rclp" in SQLite's file header, which tells our files from others'

# Each entry takes the file from its number to the next; together with the number in one transaction.
MIGRATIONS = [
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE images (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path BLOB NOT NULL UNIQUE,
        mtime_ns INTEGER NOT NULL,
        size INTEGER NOT NULL,
        device INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        digest BLOB,
        vector BLOB,
        failure TEXT,
        gone_ns INTEGER,
        CHECK ((vector IS NULL) <> (failure IS NULL))
    );
    -- Everything a run compares, in path order, without touching the pages that hold vectors.
    CREATE INDEX images_listing ON images (path, mtime_ns, size, gone_ns);
    CREATE INDEX images_failure ON images (path) WHERE failure IS NOT NULL;
    CREATE INDEX images_digest ON images (digest) WHERE vector IS NOT NULL;
    CREATE INDEX images_inode ON images (inode) WHERE vector IS NOT NULL;
    """,
    """
    CREATE TABLE cameras (id INTEGER PRIMARY KEY, maker TEXT NOT NULL, model TEXT NOT NULL, UNIQUE (maker, model));
    CREATE TABLE facts (
        id INTEGER PRIMARY KEY,
        captured_s INTEGER,
        offset_min INTEGER,
        latitude REAL,
        longitude REAL,
        camera INTEGER REFERENCES cameras (id),
        width INTEGER,
        height INTEGER,
        keywords TEXT,
        rating INTEGER
    );
    CREATE TABLE restated (id INTEGER PRIMARY KEY);
    ALTER TABLE images ADD COLUMN described INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX images_undescribed ON images (path) WHERE described = 0 AND vector IS NOT NULL AND gone_ns IS NULL;
    CREATE TRIGGER images_forget AFTER DELETE ON images BEGIN
        DELETE FROM facts WHERE id = OLD.id;
        DELETE FROM restated WHERE id = OLD.id;
    END;
    """,
]

VERSION = len(MIGRATIONS)
WITH_FACTS = 2
"""The first version that has facts."""


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Takes a file from its `version` to this one's, inside a transaction."""
    for number in range(version, VERSION):
        for statement in _statements(MIGRATIONS[number]):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number + 1}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _statements(script: str) -> Iterator[str]:
    """One by one, because `executescript` would commit first. A trigger holds semicolons of its own."""
    statement = ""
    for part in script.split(";")[:-1]:
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
