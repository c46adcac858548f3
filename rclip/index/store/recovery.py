"""Putting rows that were read out of a damaged index into a new one. What writes belongs inside a transaction."""

import sqlite3
from collections.abc import Mapping, Sized

from rclip.formats import VIDEO
from rclip.index.store.database import Database


def table_columns(database: Database) -> dict[str, list[str]]:
    """Those that hold what has been indexed, and their columns."""
    sql = """
        SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name <> 'meta' ORDER BY t.name, c.cid
    """
    found: dict[str, list[str]] = {}
    with database.errors():
        for table, column in database.connection.execute(sql):
            found.setdefault(table, []).append(column)
    return found


def reserve_ids(database: Database, last_id: int) -> None:
    """No id up to this one will be given to a new photo: something may still stand under it."""
    database.connection.execute("DELETE FROM sqlite_sequence WHERE name = 'images'")
    database.connection.execute("INSERT INTO sqlite_sequence VALUES ('images', ?)", (last_id,))


def insert_row(database: Database, table: str, row: Mapping[str, object]) -> bool:
    """Puts a row back that was read out of another file, unless it breaks the table's rules.

    It replaces those that it cannot stand beside.
    """
    columns, places = ", ".join(row), ", ".join("?" * len(row))
    sql = f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({places})"  # noqa: S608 - names of this very schema
    try:
        database.connection.execute(sql, tuple(row.values()))
    except sqlite3.IntegrityError:
        return False
    return True


def forget_torn_films(database: Database) -> None:
    """Has films looked at once more of which a moment, or all that was known of them as films, was lost on the way."""
    endings = tuple(f".{suffix}"[-4:] for suffix in VIDEO.suffixes)
    torn = f"""
        DELETE FROM images WHERE vector IS NOT NULL AND lower(CAST(substr(path, -4) AS TEXT)) IN ({_marks(endings)})
        AND id NOT IN (
            SELECT id FROM films WHERE moment_count = 1 + (SELECT count(*) FROM moments WHERE film = films.id)
        )
    """  # noqa: S608 - question marks
    database.connection.execute(torn, endings)
    database.connection.execute("DELETE FROM films WHERE id NOT IN (SELECT id FROM images WHERE vector IS NOT NULL)")
    database.connection.execute("DELETE FROM moments WHERE film NOT IN (SELECT id FROM films)")


def _marks(values: Sized) -> str:
    return ", ".join("?" * len(values))


def clear_lost_metadata(database: Database) -> None:
    """Has photos read once more whose metadata, or whose camera, was lost on the way here."""
    for sql in (
        "DELETE FROM metadata WHERE camera > 0 AND camera NOT IN (SELECT id FROM cameras)",
        "DELETE FROM own_metadata WHERE camera > 0 AND camera NOT IN (SELECT id FROM cameras)",
    ):
        database.connection.execute(sql)
    database.connection.execute("""
        UPDATE images SET has_metadata = 0 WHERE vector IS NOT NULL AND (
            id NOT IN (SELECT id FROM metadata)
            OR (id IN (SELECT id FROM own_metadata)) <> (id IN (SELECT id FROM sidecars))
        )
    """)
    database.connection.execute("""
        UPDATE images SET has_capture_time = NOT has_capture_time WHERE vector IS NOT NULL
        AND has_capture_time <> (id IN (SELECT id FROM metadata WHERE captured_s IS NOT NULL))
    """)
