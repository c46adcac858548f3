"""Forgets files that have been missing for long, and on demand excluded ones, and frees their space.

No other file that is there is forgotten, whatever the table says of it: a drive may have been plugged in since the last
run.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rclip.errors import StoreError, plain_reason
from rclip.index.photo_index import PhotoIndex
from rclip.index.scope import Scope
from rclip.index.store import Store, maintenance
from rclip.index.vector_cache import VectorCache

_EVER_NS = (1 << 63) - 1


class Pruned(NamedTuple):
    """What was done."""

    forgotten: int
    kept_offline: int
    """Files of empty folders that would have been forgotten, had that been asked."""
    freed_bytes: int = 0
    blocked_by: str | None = None
    """Why not all of the space could be given back."""


NOTHING = Pruned(forgotten=0, kept_offline=0)


def prune_index(
    index: PhotoIndex,
    folders: Sequence[bytes],
    older_than_s: float,
    with_offline: bool,
    is_excluded: Callable[[bytes], bool] | None = None,
) -> Pruned:
    """Forgets files below the folders that have been missing for so long, and gives their space back to the disk.

    What an empty folder held, whose drive may only be unplugged, is forgotten only `with_offline`, and then also the
    files that no run has looked for and that are absent. Files that are there are only forgotten where `is_excluded`
    is given and says so of their path. Raises `StoreError`.
    """
    index.require_adopted()
    if not index.exists():
        return NOTHING
    index.store.check_counts(folders)
    before_bytes = index.size_bytes()
    pruned = forget(index.store, folders, older_than_s, with_offline)
    if is_excluded:
        forgotten = _forget_excluded(index.store, folders, is_excluded)
        pruned = pruned._replace(forgotten=pruned.forgotten + forgotten)
    blocked_by = give_space_back(index.store)
    return pruned._replace(freed_bytes=max(before_bytes - index.size_bytes(), 0), blocked_by=blocked_by)


def forget(store: Store, folders: Iterable[bytes], older_than_s: float, with_offline: bool) -> Pruned:
    """Deletes the rows of files that have been missing for so long and are absent now. Raises `StoreError`.

    `with_offline` also offline ones, and those that no run has come to look for yet: they count as missing from now on.
    """
    folders = list(folders)
    before_ns = time.time_ns() - round(older_than_s * 1e9) if older_than_s else _EVER_NS  # clocks are put back, too
    before_ns = max(before_ns, 1)  # where the time is unknown it is 1
    if with_offline:
        _mark_absent_offline(store, folders)
    missing = [row for folder in folders for row in store.files.missing(folder, before_ns, with_offline=True)]
    due = [row for row in missing if with_offline or not row.is_offline]
    absent = [row for row in due if _is_absent(row.path)]
    forgotten = 0
    if absent:
        with store.transaction():
            forgotten = store.files.forget(absent)
    if store.files.has_orphaned():
        with store.transaction():
            store.files.delete_orphaned()
    return Pruned(forgotten, kept_offline=len(missing) - len(due))


def _forget_excluded(store: Store, folders: Iterable[bytes], is_excluded: Callable[[bytes], bool]) -> int:
    """Deletes the rows of all files that are excluded, and returns how many that were."""
    excluded = [row for folder in folders for row in store.files.rows(folder) if is_excluded(row.path)]
    if not excluded:
        return 0
    with store.transaction():
        return store.files.forget(excluded)


def prune_all(
    parts: Iterable[tuple[PhotoIndex, Scope]],
    older_than_s: float,
    with_offline: bool,
    is_excluded_of: Callable[[PhotoIndex, Scope], Callable[[bytes], bool]] | None,
) -> Pruned:
    """The same for several indexes and their folders; None where what is excluded is not to be forgotten."""
    several = [
        prune_index(
            *(index, scope.ranges(), older_than_s, with_offline),
            is_excluded_of(index, scope) if is_excluded_of and index.exists() else None,
        )
        for index, scope in parts
    ]
    forgotten, kept_offline, freed_bytes, blocked_by = zip(*several, strict=True)
    return Pruned(sum(forgotten), sum(kept_offline), sum(freed_bytes), next(filter(None, blocked_by), None))


def _mark_absent_offline(store: Store, folders: Iterable[bytes]) -> None:
    unnoticed = [
        row.id
        for folder in folders
        for row in store.files.rows(folder)
        if row.missing_ns is None and _is_absent(row.path)
    ]
    if unnoticed:
        with store.transaction():
            store.files.mark_offline(unnoticed)


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
    if not maintenance.is_worth_compacting(store):
        return None
    matrix = VectorCache(store)
    try:
        if matrix.rows > store.vectors.count():
            with store.transaction():
                matrix.remove()
        is_all = maintenance.compact(store)
        matrix.catch_up()
    except StoreError as error:
        return str(error)
    except OSError as error:
        return plain_reason(error)
    return None if is_all else "another rclip is reading"
