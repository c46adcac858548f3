"""How the photos on disk differ from the index: a merge of the walk with the table, both in path order."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from rclip import formats
from rclip.errors import UnlistedFolder
from rclip.files import IgnoreRules, suffix
from rclip.index.store import FileRow
from rclip.indexing.walk import Empty, File, Unlisted
from rclip.photo.failures import FailedPhoto


class PendingFile(NamedTuple):
    """A file to be read, and the row of the photo that was at its path before."""

    file: File
    before: FileRow | None


@dataclass
class Plan:
    """How the disk differs from the table."""

    pending: list[PendingFile] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    offline: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    failures: list[FailedPhoto] = field(default_factory=list)
    unlisted: list[FailedPhoto] = field(default_factory=list)
    missing_extras: Counter[formats.Extra] = field(default_factory=Counter)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to be written."""
        return not (self.pending or self.missing or self.offline or self.returned or self.failures)


def plan_update(
    found: Iterable[File | FailedPhoto | Unlisted | Empty],
    rows: Iterator[FileRow],
    folder: bytes,
    rules: IgnoreRules,
    to_retry: Set[bytes] = frozenset(),
) -> Plan:
    """Merges a walk of `folder` with the rows below it, both in path order.

    A row is missing only if the walk listed its folder and would have come to it. Raises `UnlistedFolder` when `folder`
    itself cannot be listed.
    """
    plan = Plan()
    row = next(rows, None)
    for item in found:
        path = folder + item.path
        while row and row.path < path:
            _miss(plan, row, folder, rules)
            row = next(rows, None)
        if row and row.path == path:
            if isinstance(item, FailedPhoto):
                if row.missing_ns is None and (
                    row.mtime_ns or row.size_bytes
                ):  # else it is that failure that is known of it
                    plan.offline.append(row.id)
            elif isinstance(item, File):
                if item.mtime_ns != row.mtime_ns or item.size_bytes != row.size_bytes or path in to_retry:
                    _plan_to_read(plan, PendingFile(item, row))
                elif row.missing_ns is not None:
                    plan.returned.append(row.id)
            row = next(rows, None)
        elif isinstance(item, Unlisted | Empty):
            while row and row.path.startswith(path):
                if isinstance(item, Empty) and row.missing_ns is None:
                    plan.offline.append(row.id)
                row = next(rows, None)
            if isinstance(item, Unlisted) and item.reason:
                _note_unlisted(plan, path, item)
        elif isinstance(item, FailedPhoto):
            plan.failures.append(item._replace(path=path))
        else:
            _plan_to_read(plan, PendingFile(item, None))
    while row:
        _miss(plan, row, folder, rules)
        row = next(rows, None)
    return plan


def _note_unlisted(plan: Plan, path: bytes, item: Unlisted) -> None:
    assert item.reason
    if not item.path:
        raise UnlistedFolder(folder=os.fsdecode(path), reason=item.reason)
    plan.unlisted.append(FailedPhoto(path, item.reason))


def _miss(plan: Plan, row: FileRow, folder: bytes, rules: IgnoreRules) -> None:
    """The walk did not come to this row."""
    if (row.missing_ns is None or row.is_offline) and not rules.ignores_path(row.path[len(folder) :]):
        plan.missing.append(row.id)


def _plan_to_read(plan: Plan, pending: PendingFile) -> None:
    extra = formats.missing_extra(suffix(pending.file.path))
    if extra:
        plan.missing_extras[extra] += 1
    else:
        plan.pending.append(pending)
