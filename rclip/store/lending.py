"""What one index knows of photos is taken over by another, a new one that lies with them."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from rclip.errors import DamagedIndex
from rclip.facts import Facts
from rclip.store.domains import is_unit, may_hold
from rclip.store.photos import Stamp, Store

_LENT_ROWS = 512
_LENT_COLUMNS = ("id", "path", "size", "mtime_ns", "device", "inode", "digest", "vector", "described")


class Loan(NamedTuple):
    """What one index tells another of a photo."""

    path: bytes
    stamp: Stamp
    digest: bytes
    vector: bytes
    """D float16"""
    facts: Facts | None
    """None when its file has to be looked through."""


def lend(store: Store, folder: bytes) -> Iterator[list[Loan]]:
    """What it knows of the photos below `folder` that are there, in path order, some hundreds at a time.

    What was never stored so is left out. Raises `StoreError` where reading ends.
    """
    described = "described" if store.has_facts else "0"
    sql = f"""
        SELECT id, path, size, mtime_ns, device, inode, digest, vector, {described}
        FROM images INDEXED BY images_listing
        WHERE path >= ? AND path < ? AND vector IS NOT NULL AND gone_ns IS NULL ORDER BY path
    """  # noqa: S608 - one of two columns
    with store.reading():
        cursor = store.connection.execute(sql, store.range_of(folder))
        while rows := cursor.fetchmany(_LENT_ROWS):
            yield [_loan(store, row) for row in rows if may_hold(_LENT_COLUMNS, [row]) and is_unit(row[7])]


def _loan(store: Store, row: tuple[Any, ...]) -> Loan:
    id_, path, *stamp, digest, vector, is_described = row
    try:
        facts = store.facts.of([id_])[0] if is_described else None
    except DamagedIndex:
        facts = None
    return Loan(store.outer(path), Stamp(*stamp), digest, vector, facts)


def adopt(store: Store, loans: Iterable[Loan]) -> None:
    """Takes over what another index has lent. Of paths that both have this one's own word counts.

    Belongs inside a transaction.
    """
    sql = """
        INSERT OR IGNORE INTO images (path, size, mtime_ns, device, inode, digest, vector, described)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    """
    for path, stamp, digest, vector, facts in loans:
        row = (store.inner(path), *stamp, digest, vector, facts is not None)
        added = store.connection.execute(sql, row)
        if added.rowcount and added.lastrowid and facts:
            store.facts.add(added.lastrowid, facts)


def note_adopted(store: Store) -> None:
    """All that another index could lend has been taken over. Belongs inside a transaction."""
    store.connection.execute("INSERT OR REPLACE INTO meta VALUES ('has_adopted', '')")


def has_adopted(store: Store) -> bool:
    """Whether that has been noted."""
    with store.errors():
        return bool(store.value("SELECT count(*) FROM meta WHERE key = 'has_adopted'"))
