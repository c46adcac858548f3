"""What one index knows of photos is taken over by another, a new one that lies with them."""

import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from rclip.errors import DamagedIndex
from rclip.files import FileStat
from rclip.index.store.films import StoredFilm
from rclip.index.store.photos import Store
from rclip.photo.metadata import PhotoMetadata
from rclip.photo.validation import are_valid, has_unit_length

_LENT_ROWS = 512
_LENT_COLUMNS = ("id", "path", "size", "mtime_ns", "device", "inode", "ctime_ns", "digest", "vector", "has_metadata")


class ImportedRow(NamedTuple):
    """What one index tells another of a photo."""

    path: bytes
    stat: FileStat
    digest: bytes
    vector: bytes
    """D float16"""
    metadata: PhotoMetadata | None
    """None when its file has to be looked through."""
    film: StoredFilm | None = None
    """None for a photo."""


def exported_rows(store: Store, folder: bytes) -> Iterator[list[ImportedRow]]:
    """What it knows of the photos below `folder` that are there, in path order, some hundreds at a time.

    What was never stored so is left out, and what is to be read again. Raises `StoreError` where reading ends.
    """
    sql = """
        SELECT id, path, size, mtime_ns, device, inode, ctime_ns, digest, vector, has_metadata
        FROM images INDEXED BY images_listing
        WHERE path >= ? AND path < ? AND vector IS NOT NULL AND missing_ns IS NULL AND is_outdated = 0 ORDER BY path
    """
    with store.reading():
        cursor = store.connection.execute(sql, store.range_of(folder))
        while rows := cursor.fetchmany(_LENT_ROWS):
            yield [_loan(store, row) for row in rows if are_valid(_LENT_COLUMNS, [row]) and has_unit_length(row[8])]


def _loan(store: Store, row: tuple[Any, ...]) -> ImportedRow:
    id_, path, *stat, digest, vector, has_metadata = row
    try:
        metadata = store.metadata.own(id_) if has_metadata else None
    except DamagedIndex:
        metadata = None
    film = store.films.of(id_)
    return ImportedRow(store.outer(path), FileStat(*stat), digest, vector, metadata, film)


def import_rows(store: Store, rows: Iterable[ImportedRow]) -> None:
    """Takes rows of another index over. Of paths that both have, this index's own row counts.

    Belongs inside a transaction.
    """
    sql = """
        INSERT OR IGNORE INTO images
        (path, size, mtime_ns, device, inode, ctime_ns, digest, vector, has_metadata, has_capture_time)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    """
    for path, stat, digest, vector, metadata, film in rows:
        has_time = metadata is not None and metadata.captured_s is not None
        row = (store.inner(path), *stat, digest, vector, metadata is not None, has_time)
        added = store.connection.execute(sql, row)
        if added.rowcount and added.lastrowid:
            if metadata:
                store.metadata.add(added.lastrowid, os.path.basename(path), metadata)
            if film:
                store.films.add(added.lastrowid, film)


def note_imported(store: Store) -> None:
    """Notes that everything has been imported. Belongs inside a transaction."""
    store.connection.execute("INSERT OR REPLACE INTO meta VALUES ('has_imported', '')")


def has_imported(store: Store) -> bool:
    """Whether that has been noted."""
    with store.errors():
        return bool(store.value("SELECT count(*) FROM meta WHERE key = 'has_imported'"))
