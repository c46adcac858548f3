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
    """
    DROP TRIGGER images_forget;
    DROP INDEX images_undescribed;
    ALTER TABLE facts RENAME TO metadata;
    ALTER TABLE images RENAME COLUMN described TO has_metadata;
    ALTER TABLE images RENAME COLUMN gone_ns TO missing_ns;
    ALTER TABLE images ADD COLUMN is_offline INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE images ADD COLUMN failure_kind INTEGER;
    UPDATE images SET is_offline = 1, missing_ns = max(1, -missing_ns)
        WHERE id IN (SELECT id FROM images INDEXED BY images_listing WHERE missing_ns <= 0);
    UPDATE images SET
        failure_kind = CASE
            WHEN failure LIKE 'cannot open it: %' THEN 2
            WHEN failure LIKE 'it takes longer than %' THEN 3
            WHEN failure LIKE '%(--max-image-megapixels)' THEN 4 ELSE 1 END,
        failure = replace(replace(replace(
            failure, 'cannot open it: ', ''), ' (RCLIP_PHOTO_TIMEOUT_S)', ''), ' (--max-image-megapixels)', '')
        WHERE id IN (SELECT id FROM images INDEXED BY images_failure WHERE failure IS NOT NULL);
    ALTER TABLE images ADD COLUMN has_capture_time INTEGER NOT NULL DEFAULT 1;
    UPDATE images SET has_capture_time = 0 WHERE id IN (
        SELECT id FROM images INDEXED BY images_digest
        WHERE vector IS NOT NULL AND id NOT IN (SELECT id FROM metadata WHERE captured_s IS NOT NULL)
    );
    UPDATE meta SET key = 'has_imported' WHERE key = 'has_adopted';
    DELETE FROM meta WHERE key = 'columns';
    DROP TABLE restated;
    DROP INDEX images_listing;
    CREATE INDEX images_listing ON images (path, mtime_ns, size, missing_ns, is_offline);
    CREATE INDEX images_without_metadata ON images (path)
        WHERE has_metadata = 0 AND vector IS NOT NULL AND missing_ns IS NULL;
    -- What filters ask for. A photo was taken when its camera noted or, without that, at its file's time.
    CREATE INDEX metadata_captured ON metadata (captured_s) WHERE captured_s IS NOT NULL;
    CREATE INDEX metadata_place ON metadata (latitude, longitude) WHERE latitude IS NOT NULL;
    CREATE INDEX metadata_camera ON metadata (camera) WHERE camera IS NOT NULL;
    CREATE INDEX images_file_time ON images (mtime_ns) WHERE has_capture_time = 0 AND vector IS NOT NULL;
    CREATE INDEX images_suffix ON images (lower(CAST(substr(path, -4) AS TEXT))) WHERE vector IS NOT NULL;
    CREATE TRIGGER images_delete AFTER DELETE ON images BEGIN
        DELETE FROM metadata WHERE id = OLD.id;
    END;
    """,
    """
    CREATE INDEX metadata_rating ON metadata (rating) WHERE rating IS NOT NULL;
    CREATE INDEX metadata_keywords ON metadata (keywords) WHERE keywords IS NOT NULL;
    """,
    # Files that could not be decoded, and formats of which some were decoded wrongly, are read again.
    """
    ALTER TABLE metadata ADD COLUMN missing_percent INTEGER;
    ALTER TABLE images ADD COLUMN is_outdated INTEGER NOT NULL DEFAULT 0;
    UPDATE images SET is_outdated = 1
        WHERE id IN (SELECT id FROM images INDEXED BY images_failure WHERE failure IS NOT NULL AND failure_kind = 1);
    UPDATE images SET is_outdated = 1 WHERE id IN (
        SELECT id FROM images INDEXED BY images_suffix
        WHERE vector IS NOT NULL AND lower(CAST(substr(path, -4) AS TEXT)) IN (
            '.psd', '.tif', 'tiff', '.jp2', '.j2k', '.jpf', '.jpx', 'heic', 'heif', '.hif', 'avif',
            '.arw', '.cr2', '.cr3', '.dng', '.nef', '.nrw', '.orf', '.pef', '.raf', '.rw2', '.srw'
        )
    );
    UPDATE images SET has_metadata = 0 WHERE id IN (
        SELECT id FROM images INDEXED BY images_file_time WHERE has_capture_time = 0 AND vector IS NOT NULL
    );
    CREATE INDEX images_outdated ON images (path) WHERE is_outdated = 1;
    CREATE INDEX metadata_incomplete ON metadata (missing_percent) WHERE missing_percent IS NOT NULL;
    """,
    """
    ALTER TABLE images ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0;
    DROP INDEX images_listing;
    CREATE INDEX images_listing ON images (path, mtime_ns, size, missing_ns, is_offline, ctime_ns);
    """,
    """
    CREATE TABLE ignore_files (folder BLOB PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
    """,
    # Moments of films have ids of their own, which `images` gives out.
    """
    CREATE TABLE films (
        id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        moment_count INTEGER NOT NULL,
        duration_ms INTEGER,
        resume_ms INTEGER,
        failure TEXT
    );
    CREATE TABLE moments (
        id INTEGER PRIMARY KEY,
        film INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        vector BLOB NOT NULL
    );
    CREATE INDEX moments_film ON moments (film);
    DROP TRIGGER images_delete;
    CREATE TRIGGER images_delete AFTER DELETE ON images BEGIN
        DELETE FROM metadata WHERE id = OLD.id;
        DELETE FROM films WHERE id = OLD.id;
        DELETE FROM moments WHERE film = OLD.id;
    END;
    """,
    # More is read of photos than was: which ones lack it, their metadata says, whose table is small.
    """
    ALTER TABLE metadata ADD COLUMN captured_from INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE metadata ADD COLUMN lens TEXT;
    ALTER TABLE metadata ADD COLUMN title TEXT;
    ALTER TABLE metadata ADD COLUMN headline TEXT;
    ALTER TABLE metadata ADD COLUMN caption TEXT;
    ALTER TABLE metadata ADD COLUMN is_outdated INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX metadata_lens ON metadata (lens) WHERE lens IS NOT NULL;
    CREATE INDEX metadata_size ON metadata (width * height, width, height) WHERE width IS NOT NULL;
    CREATE INDEX metadata_outdated ON metadata (id) WHERE is_outdated = 1;
    CREATE TABLE own_metadata (
        id INTEGER PRIMARY KEY,
        captured_s INTEGER,
        offset_min INTEGER,
        latitude REAL,
        longitude REAL,
        camera INTEGER REFERENCES cameras (id),
        width INTEGER,
        height INTEGER,
        keywords TEXT,
        rating INTEGER,
        missing_percent INTEGER,
        captured_from INTEGER NOT NULL DEFAULT 0,
        lens TEXT,
        title TEXT,
        headline TEXT,
        caption TEXT
    );
    CREATE TABLE sidecars (id INTEGER PRIMARY KEY, state BLOB NOT NULL);
    CREATE TABLE reworded (number INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL UNIQUE);
    DROP TRIGGER images_delete;
    CREATE TRIGGER images_delete AFTER DELETE ON images BEGIN
        DELETE FROM metadata WHERE id = OLD.id;
        DELETE FROM films WHERE id = OLD.id;
        DELETE FROM moments WHERE film = OLD.id;
        DELETE FROM own_metadata WHERE id = OLD.id;
        DELETE FROM sidecars WHERE id = OLD.id;
        DELETE FROM reworded WHERE id = OLD.id;
    END;
    """,
]

FORMER_NAMES = {"metadata": "facts", "has_metadata": "described", "missing_ns": "gone_ns"}
"""Tables and columns that earlier versions named otherwise."""

VERSION = len(MIGRATIONS)

SCHEMA = """
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
        missing_ns INTEGER,
        has_metadata INTEGER NOT NULL DEFAULT 0,
        is_offline INTEGER NOT NULL DEFAULT 0,
        failure_kind INTEGER,
        has_capture_time INTEGER NOT NULL DEFAULT 1,
        is_outdated INTEGER NOT NULL DEFAULT 0,
        ctime_ns INTEGER NOT NULL DEFAULT 0,
        CHECK ((vector IS NULL) <> (failure IS NULL))
    );
    CREATE INDEX images_listing ON images (path, mtime_ns, size, missing_ns, is_offline, ctime_ns);
    CREATE INDEX images_failure ON images (path) WHERE failure IS NOT NULL;
    CREATE INDEX images_digest ON images (digest) WHERE vector IS NOT NULL;
    CREATE INDEX images_inode ON images (inode) WHERE vector IS NOT NULL;
    CREATE INDEX images_without_metadata ON images (path)
        WHERE has_metadata = 0 AND vector IS NOT NULL AND missing_ns IS NULL;
    CREATE INDEX images_file_time ON images (mtime_ns) WHERE has_capture_time = 0 AND vector IS NOT NULL;
    CREATE INDEX images_outdated ON images (path) WHERE is_outdated = 1;
    CREATE INDEX images_suffix ON images (lower(CAST(substr(path, -4) AS TEXT))) WHERE vector IS NOT NULL;
    CREATE TABLE cameras (id INTEGER PRIMARY KEY, maker TEXT NOT NULL, model TEXT NOT NULL, UNIQUE (maker, model));
    CREATE TABLE metadata (
        id INTEGER PRIMARY KEY,
        captured_s INTEGER,
        offset_min INTEGER,
        latitude REAL,
        longitude REAL,
        camera INTEGER REFERENCES cameras (id),
        width INTEGER,
        height INTEGER,
        keywords TEXT,
        rating INTEGER,
        missing_percent INTEGER,
        captured_from INTEGER NOT NULL DEFAULT 0,
        lens TEXT,
        title TEXT,
        headline TEXT,
        caption TEXT,
        is_outdated INTEGER NOT NULL DEFAULT 1
    );
    CREATE INDEX metadata_captured ON metadata (captured_s) WHERE captured_s IS NOT NULL;
    CREATE INDEX metadata_place ON metadata (latitude, longitude) WHERE latitude IS NOT NULL;
    CREATE INDEX metadata_camera ON metadata (camera) WHERE camera IS NOT NULL;
    CREATE INDEX metadata_rating ON metadata (rating) WHERE rating IS NOT NULL;
    CREATE INDEX metadata_keywords ON metadata (keywords) WHERE keywords IS NOT NULL;
    CREATE INDEX metadata_incomplete ON metadata (missing_percent) WHERE missing_percent IS NOT NULL;
    CREATE INDEX metadata_lens ON metadata (lens) WHERE lens IS NOT NULL;
    CREATE INDEX metadata_size ON metadata (width * height, width, height) WHERE width IS NOT NULL;
    CREATE INDEX metadata_outdated ON metadata (id) WHERE is_outdated = 1;
    CREATE TABLE ignore_files (folder BLOB PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE films (
        id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        moment_count INTEGER NOT NULL,
        duration_ms INTEGER,
        resume_ms INTEGER,
        failure TEXT
    );
    CREATE TABLE moments (
        id INTEGER PRIMARY KEY,
        film INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        vector BLOB NOT NULL
    );
    CREATE INDEX moments_film ON moments (film);
    -- The photo's own, where its sidecars add to that in `metadata`.
    CREATE TABLE own_metadata (
        id INTEGER PRIMARY KEY,
        captured_s INTEGER,
        offset_min INTEGER,
        latitude REAL,
        longitude REAL,
        camera INTEGER REFERENCES cameras (id),
        width INTEGER,
        height INTEGER,
        keywords TEXT,
        rating INTEGER,
        missing_percent INTEGER,
        captured_from INTEGER NOT NULL DEFAULT 0,
        lens TEXT,
        title TEXT,
        headline TEXT,
        caption TEXT
    );
    CREATE TABLE sidecars (id INTEGER PRIMARY KEY, state BLOB NOT NULL);
    CREATE TABLE reworded (number INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL UNIQUE);
    CREATE TRIGGER images_delete AFTER DELETE ON images BEGIN
        DELETE FROM metadata WHERE id = OLD.id;
        DELETE FROM films WHERE id = OLD.id;
        DELETE FROM moments WHERE film = OLD.id;
        DELETE FROM own_metadata WHERE id = OLD.id;
        DELETE FROM sidecars WHERE id = OLD.id;
        DELETE FROM reworded WHERE id = OLD.id;
    END;
"""
"""All that the migrations end in: each opening of an index compares with it, and they would take four times as long."""


def of_file(connection: sqlite3.Connection) -> set[tuple[str, ...]]:
    """What a file says of its tables, indexes and triggers. What it raises is SQLite's own."""
    found = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema").fetchall()
    return {(*map(str, kind_and_names), "".join(str(sql).replace('"', "").split())) for *kind_and_names, sql in found}


def expected(version: int) -> set[tuple[str, ...]]:
    """The same of a file that an rclip of this version has made. One that says otherwise may not answer for itself."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        upgrade(connection, 0, version)
        return of_file(connection)
    finally:
        connection.close()


def is_sound(connection: sqlite3.Connection) -> bool:
    """Whether a file has the very schema that its version says. What it raises is SQLite's own."""
    return of_file(connection) == expected(connection.execute("PRAGMA user_version").fetchone()[0])


def repair(path: str) -> None:
    """Writes the tables that rclip makes into a file's schema, at the pages where it has them. For reading them only.

    They are told by their names and, of those that have lost them, by their order. What it raises is SQLite's own.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA writable_schema = ON")  # what is there is read whatever it says
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = _tables(version if 0 < version <= VERSION else VERSION)
        sql = """
            SELECT CAST(name AS BLOB), rootpage FROM sqlite_schema
            WHERE type NOT IN ('index', 'trigger') ORDER BY rowid
        """
        found = [((name or b"").decode(errors="replace"), page) for name, page in connection.execute(sql)]
        pages = {name: page for name, page in found if name in tables}
        nameless = [page for name, page in found if name not in tables]
        pages |= zip((name for name in tables if name not in pages), nameless, strict=False)
        connection.execute("BEGIN")
        connection.execute("DELETE FROM sqlite_schema")
        rows = [(name, name, pages[name], tables[name]) for name in tables if isinstance(pages.get(name), int)]
        connection.executemany("INSERT INTO sqlite_schema VALUES ('table', ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    finally:
        connection.close()


def _tables(version: int) -> dict[str, str]:
    """Names to SQL, in the order in which they are made; without what would need an index to be there."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        upgrade(connection, 0, version)
        found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
        return {name: _without_indexes(sql) for name, sql in found}
    finally:
        connection.close()


def _without_indexes(sql: str) -> str:
    return sql.replace(" UNIQUE,", ",").replace(" UNIQUE)", ")").replace(", UNIQUE (maker, model)", "")


def upgrade(connection: sqlite3.Connection, version: int, to: int = VERSION) -> None:
    """Takes a file from its `version` to this one's, inside a transaction."""
    scripts = [SCHEMA] if (version, to) == (0, VERSION) else MIGRATIONS[version:to]
    for script in scripts:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {to}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _statements(script: str) -> Iterator[str]:
    """One by one, because `executescript` would commit first. A trigger holds semicolons of its own."""
    statement = ""
    for part in script.split(";")[:-1]:
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
