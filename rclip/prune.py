"""Forgets files that have been gone for long, and gives the disk back what they took.

No file that is there is forgotten, whatever the table says of it: a drive may have been plugged in since the last run.
"""

import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from rclip.errors import StoreError, plain_reason
from rclip.matrix import Matrix
from rclip.store import AWAY, Row, Store, upkeep

_EVER_NS = (1 << 63) - 1


class Pruned(NamedTuple):
    """What was done."""

    forgotten: int
    kept_away: int
    """Files of empty folders that would have been forgotten, had that been asked."""
    freed_bytes: int = 0
    blocked_by: str | None = None
    """Why not all of the space could be given back."""


NOTHING = Pruned(forgotten=0, kept_away=0)


def forget(store: Store, folders: Iterable[bytes], older_than_s: float, with_away: bool) -> Pruned:
    """Deletes what has been gone from the folders for so long and is not there now. Raises `StoreError`.

    `with_away` also what is `AWAY`, and what has not been missed yet because no run came to look for it: that counts as
    gone from now on.
    """
    folders = list(folders)
    before_ns = time.time_ns() - round(older_than_s * 1e9) if older_than_s else _EVER_NS  # clocks are put back, too
    before_ns = max(before_ns, 0)
    if with_away:
        _mark_away_what_is_not_there(store, folders)
    missing = [row for folder in folders for row in store.missing(folder, before_ns, with_away=True)]
    due = [row for row in missing if with_away or not _is_away(row)]
    absent = [row for row in due if _is_absent(row.path)]
    forgotten = 0
    if absent:
        with store.transaction():
            forgotten = store.forget(absent)
    if store.has_displaced():
        with store.transaction():
            store.drop_displaced()
    return Pruned(forgotten, kept_away=len(missing) - len(due))


def together(several: Iterable[Pruned]) -> Pruned:
    """What was done to several indexes."""
    forgotten, kept_away, freed_bytes, blocked_by = zip(*several, strict=True)
    return Pruned(sum(forgotten), sum(kept_away), sum(freed_bytes), next(filter(None, blocked_by), None))


def _is_away(row: Row) -> bool:
    assert row.gone_ns is not None
    return row.gone_ns <= AWAY


def _mark_away_what_is_not_there(store: Store, folders: Iterable[bytes]) -> None:
    unnoticed = [
        row.id for folder in folders for row in store.rows(folder) if row.gone_ns is None and _is_absent(row.path)
    ]
    if unnoticed:
        with store.transaction():
            store.mark_away(unnoticed)


def _is_absent(path: bytes) -> bool:
    """Only where the file system says just that: what cannot be looked at may be there, and a broken link is."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def give_space_back(store: Store) -> str | None:
    """Rewrites the index without its gaps, if it has any to speak of; why that cannot be now, else None.

    The matrix goes first, which may be the very room that this needs, and is made again from what is left.
    """
    if not upkeep.is_worth_compacting(store):
        return None
    matrix = Matrix(store)
    try:
        if matrix.rows > store.vector_count():
            with store.transaction():
                matrix.remove()
        is_all = upkeep.compact(store)
        matrix.catch_up()
    except StoreError as error:
        return str(error)
    except OSError as error:
        return plain_reason(error)
    return None if is_all else "another rclip is reading"
