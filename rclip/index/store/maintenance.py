"""Looking through an index for faults, and giving back the space it has no use for."""

from collections.abc import Iterator
from typing import Any

from rclip.index.store.connections import BUSY_TIMEOUT_S
from rclip.index.store.database import CHUNK_ROWS, Database
from rclip.index.store.metadata import METADATA_COLUMNS
from rclip.photo.validation import are_valid

_READERS_TIMEOUT_MS = 3000  # for those who read what has been rewritten; whoever is last shortens the file anyway


def integrity_errors(database: Database) -> list[str]:
    """What is wrong with the file, its table and indexes, in SQLite's words; nothing when they are sound.

    Reads the whole file. Raises `StoreError` when that cannot even be begun.
    """
    with database.errors():
        found = _at_length(database, "PRAGMA integrity_check")
    lines = [line for (text,) in found for line in text.splitlines() if not line.startswith("***")]
    return [] if lines == ["ok"] else lines


def invalid_paths(database: Database) -> list[bytes]:
    """Paths that are not absolute, as bytes, in their plain form."""
    sql = """
        SELECT CAST(path AS BLOB) FROM images INDEXED BY images_listing
        WHERE typeof(path) <> 'blob' OR substr(path, 1, 1) NOT IN (x'2F', x'00') OR instr(path, x'2F2F')
        OR instr(path, x'2F2E2F') OR instr(path, x'2F2E2E2F')
    """  # what has been displaced starts with NUL
    with database.errors():
        return [path for (path,) in database.connection.execute(sql)]


def stored_vectors(database: Database) -> Iterator[list[tuple[int, bytes, bytes]]]:
    """Ids, paths and vectors of all photos and moments as they lie there, sound or not, by id.

    Some thousands at a time.
    """
    sql = """
        SELECT id, CAST(path AS BLOB), CAST(vector AS BLOB) FROM images WHERE vector IS NOT NULL
        UNION ALL
        SELECT moments.id, coalesce(CAST(path AS BLOB), x''), CAST(moments.vector AS BLOB)
        FROM moments LEFT JOIN images ON images.id = film
        ORDER BY 1
    """
    with database.errors():
        cursor = database.connection.execute(sql)
        while rows := cursor.fetchmany(CHUNK_ROWS):
            yield [(id_, database.root + path, vector) for id_, path, vector in rows]


def invalid_metadata(database: Database) -> tuple[int, list[bytes]]:
    """How many photos have metadata, and the paths of those whose metadata cannot have been stored like that."""
    sql = """
        SELECT CAST(path AS BLOB), coalesce(maker, iif(camera IS NULL, '', x'')), coalesce(model, ''),
               captured_s, offset_min, latitude, longitude, camera, metadata.width, metadata.height, keywords, rating,
               missing_percent, captured_from, lens, title, headline, caption
        FROM metadata JOIN images ON images.id = metadata.id LEFT JOIN cameras ON cameras.id = metadata.camera
        ORDER BY metadata.id
    """
    names = ("path", "maker", "model", *METADATA_COLUMNS)
    count, wrong = 0, []
    with database.errors():
        cursor = database.connection.execute(sql)
        while rows := cursor.fetchmany(CHUNK_ROWS):
            count += len(rows)
            if not are_valid(names, rows):
                wrong += [database.root + row[0] for row in rows if not are_valid(names, [row])]
    return count, wrong


def invalid_films(database: Database) -> tuple[int, int, list[bytes]]:
    """How many films and moments there are, and the paths of the films that cannot have been stored like that.

    A moment without its film has an empty path, as has a film without its photo.
    """
    films = """
        SELECT coalesce(CAST(path AS BLOB), x''), at_ms, duration_ms, resume_ms, films.failure,
               iif(moment_count = 1 + (SELECT count(*) FROM moments WHERE film = films.id), moment_count, NULL)
        FROM films LEFT JOIN images ON images.id = films.id AND vector IS NOT NULL
    """
    moments = """
        SELECT coalesce(CAST(path AS BLOB), x''), film, moments.at_ms
        FROM moments LEFT JOIN films ON films.id = film LEFT JOIN images ON images.id = films.id
    """
    counts, wrong = [], set()
    with database.errors():
        for sql, names in (
            (films, ("at_ms", "duration_ms", "resume_ms", "film_failure", "moment_count")),
            (moments, ("film", "at_ms")),
        ):
            cursor, count = database.connection.execute(sql), 0
            while rows := cursor.fetchmany(CHUNK_ROWS):
                count += len(rows)
                wrong |= {database.root + row[0] for row in rows if not row[0] or not are_valid(names, [row[1:]])}
            counts.append(count)
    return counts[0], counts[1], sorted(wrong)


def is_worth_compacting(database: Database) -> bool:
    """Whether rows were forgotten since that was last done, or a twentieth of the file or more holds nothing."""
    with database.errors():
        if database.value("SELECT count(*) FROM meta WHERE key = 'has_gaps'"):
            return True
        return 20 * database.value("PRAGMA freelist_count") >= database.value("PRAGMA page_count")


def compact(database: Database) -> bool:
    """Gives the disk back what the file has no use for; False when others, still reading, put that off.

    Meanwhile it takes the index's size twice over, and others can read. Raises `StoreError`; all is then as before.
    """
    with database.errors():
        _at_length(database, "VACUUM")
        database.connection.execute("DELETE FROM meta WHERE key = 'has_gaps'")
        database.connection.execute(f"PRAGMA busy_timeout = {_READERS_TIMEOUT_MS}")
        ((was_busy, _, _),) = _at_length(database, "PRAGMA wal_checkpoint(TRUNCATE)")
        database.connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
    return not was_busy


def _at_length(database: Database, sql: str) -> list[tuple[Any, ...]]:
    """Runs what may take minutes within SQLite, so that Ctrl-C can end it."""
    from concurrent.futures import ThreadPoolExecutor

    connection = database.connection

    def run() -> list[tuple[Any, ...]]:
        with database.errors():  # whose limits hold for the thread that asks
            return connection.execute(sql).fetchall()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            return running.result()
        except BaseException:
            connection.interrupt()
            raise
