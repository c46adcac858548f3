"""How the photos on disk differ from the index: a merge of the walk with the table, both in path order."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from rclip import formats
from rclip.errors import Failure, UnlistedFolder
from rclip.store import AWAY, Row
from rclip.walk import Empty, File, Skip, Unlisted, suffix

CANNOT_OPEN = "cannot open it: "
"""Failures that start so are the file system's, not the file's, and are tried again by each run."""

TOO_SLOW = "it takes longer than "
"""Those that start so are tried again when a time limit is given."""

TIME_LIMIT_VARIABLE = "RCLIP_PHOTO_TIMEOUT_S"


@dataclass
class Summary:
    """What a run found and did."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    copied: int = 0
    returned: int = 0
    gone: int = 0
    described: int = 0
    """Photos indexed by an older rclip that were looked through for what they say of themselves."""
    failures: list[Failure] = field(default_factory=list)
    """Files that could not be read, those found unreadable by earlier runs not among them."""
    postponed: list[Failure] = field(default_factory=list)
    """Files that could not be read for a reason that is not their own; the next run tries them again."""
    unlisted: list[Failure] = field(default_factory=list)
    """Folders that could not be listed. What the index knows of them is kept."""
    missing_extras: Counter[formats.Extra] = field(default_factory=Counter)
    """How many files wait for a package that is not installed."""

    def __iadd__(self, other: "Summary") -> "Summary":
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))
        return self

    @property
    def has_changes(self) -> bool:
        counts = (self.added, self.changed, self.moved, self.copied, self.returned, self.gone, self.described)
        return any(counts) or bool(self.failures or self.postponed)


class Pending(NamedTuple):
    """A file to be read, and the row of the photo that was at its path before."""

    file: File
    before: Row | None


@dataclass
class Plan:
    """How the disk differs from the table."""

    pending: list[Pending] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    away: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unlisted: list[Failure] = field(default_factory=list)
    missing_extras: Counter[formats.Extra] = field(default_factory=Counter)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be written."""
        return not (self.pending or self.gone or self.away or self.returned or self.failures)


def compare(
    found: Iterable[File | Failure | Unlisted | Empty],
    rows: Iterator[Row],
    folder: bytes,
    skip: Skip,
    to_retry: Set[bytes] = frozenset(),
) -> Plan:
    """Merges a walk of `folder` with the rows below it, both in path order.

    A row is gone only if the walk listed the folder it was in and would have come to it. Raises `UnlistedFolder` when
    `folder` itself cannot be listed.
    """
    plan = Plan()
    row = next(rows, None)
    for item in found:
        path = folder + item.path
        while row and row.path < path:
            _miss(plan, row, folder, skip)
            row = next(rows, None)
        if row and row.path == path:
            if isinstance(item, Failure):
                if row.gone_ns is None and (
                    row.mtime_ns or row.size_bytes
                ):  # else it is that failure that is known of it
                    plan.away.append(row.id)
            elif isinstance(item, File):
                if item.mtime_ns != row.mtime_ns or item.size_bytes != row.size_bytes or path in to_retry:
                    _plan_to_read(plan, Pending(item, row))
                elif row.gone_ns is not None:
                    plan.returned.append(row.id)
            row = next(rows, None)
        elif isinstance(item, Unlisted | Empty):
            while row and row.path.startswith(path):
                if isinstance(item, Empty) and row.gone_ns is None:
                    plan.away.append(row.id)
                row = next(rows, None)
            if isinstance(item, Unlisted) and item.reason:
                _note_unlisted(plan, path, item)
        elif isinstance(item, Failure):
            plan.failures.append(Failure(path, item.reason))
        else:
            _plan_to_read(plan, Pending(item, None))
    while row:
        _miss(plan, row, folder, skip)
        row = next(rows, None)
    return plan


def _note_unlisted(plan: Plan, path: bytes, item: Unlisted) -> None:
    assert item.reason
    if not item.path:
        raise UnlistedFolder(f"cannot list {os.fsdecode(path)}: {item.reason}")
    plan.unlisted.append(Failure(path, item.reason))


def _miss(plan: Plan, row: Row, folder: bytes, skip: Skip) -> None:
    """The walk did not come to this row."""
    if (row.gone_ns is None or row.gone_ns <= AWAY) and not skip.path(row.path[len(folder) :]):
        plan.gone.append(row.id)


def _plan_to_read(plan: Plan, pending: Pending) -> None:
    extra = formats.missing_extra(suffix(pending.file.path))
    if extra:
        plan.missing_extras[extra] += 1
    else:
        plan.pending.append(pending)
