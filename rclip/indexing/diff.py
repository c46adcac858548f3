"""How the photos on disk differ from the index: a merge of the walk with the table, both in path order."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from rclip import formats
from rclip.errors import UnlistedFolder, plain_reason
from rclip.files import FileStat, file_stat, suffix
from rclip.index.store.files import FileRow, RowTuple
from rclip.indexing.walk import Empty, Found, FoundFile, Unlisted
from rclip.photo.failures import FailedPhoto


class File(NamedTuple):
    """A regular file, or a link to one."""

    path: bytes
    """Relative to the folder walked."""
    stat: FileStat


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
    unsettled: list[bytes] = field(default_factory=list)
    """Paths of files that are still being written."""

    touched: list[PendingFile] = field(default_factory=list)
    """Files of unchanged size and time whose change time is another: they may have been edited, or only be copies."""
    undated: list[PendingFile] = field(default_factory=list)
    """The same where none is known, because an older rclip has indexed them."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that must be written."""
        return not (self.pending or self.missing or self.offline or self.returned or self.failures)


def plan_update(
    found: Iterable[tuple[bytes, Found]],
    rows: Iterator[RowTuple],
    folder: bytes,
    ignores_path: Callable[[bytes], bool],
    to_retry: Set[bytes] = frozenset(),
    is_settled: Callable[[bytes, FileStat], bool] = lambda path, stat: True,
) -> Plan:
    """Merges a walk of `folder` with the rows below it, both in path order.

    A row is missing only if the walk listed its folder and would have come to it, which `ignores_path` says of paths
    relative to `folder`, when the walk has come so far. `is_settled` is that of `UpdateOptions`. Raises
    `UnlistedFolder` when `folder` itself cannot be listed.

    Nearly all files are unchanged, a million of them in large libraries: they are done with in a few steps.
    """
    plan = Plan()
    row = next(rows, None)
    for path, item in found:
        while row and row[1] < path:
            _miss(plan, FileRow._make(row), folder, ignores_path)
            row = next(rows, None)
        if type(item) is Unlisted or type(item) is Empty:  # `isinstance` takes a tenth of the whole time
            while row and row[1].startswith(path):
                if isinstance(item, Empty) and row[4] is None:
                    plan.offline.append(row[0])
                row = next(rows, None)
            if isinstance(item, Unlisted) and item.reason:
                _note_unlisted(plan, path, folder, item.reason)
            continue
        before = None
        if row and row[1] == path:
            before, row = row, next(rows, None)
        try:
            status = item.stat()
        except OSError as error:
            _fail(plan, path, item, error, before)
            continue
        if (
            before
            and status.st_mtime_ns == before[2]
            and status.st_size == before[3]
            and status.st_ctime_ns == before[6]
            and before[4] is None
            and path not in to_retry
        ):
            continue
        if stat.S_ISREG(status.st_mode):
            file = File(path[len(folder) :], file_stat(status))
            if not is_settled(path, file.stat):
                plan.unsettled.append(path)
                continue
            _compare(plan, PendingFile(file, FileRow._make(before) if before else None), path in to_retry)
        elif before:
            _miss(plan, FileRow._make(before), folder, ignores_path)
    while row:
        _miss(plan, FileRow._make(row), folder, ignores_path)
        row = next(rows, None)
    return plan


def _fail(plan: Plan, path: bytes, item: FoundFile, error: OSError, before: RowTuple | None) -> None:
    """The file system refuses the stat of the file."""
    if not before:
        plan.failures.append(FailedPhoto(path, "broken link" if item.is_symlink() else plain_reason(error)))
        return
    row = FileRow._make(before)
    is_known_to_fail = not row.mtime_ns and not row.size_bytes
    if row.missing_ns is None and not is_known_to_fail:
        plan.offline.append(row.id)


def _compare(plan: Plan, pending: PendingFile, is_to_retry: bool) -> None:
    """A file that differs from its row, or has none, or has only one by the change time."""
    (_, now), before = pending
    if before is None or (now.size_bytes, now.mtime_ns) != (before.size_bytes, before.mtime_ns) or is_to_retry:
        _plan_to_read(plan, pending)
        return
    if before.missing_ns is not None:
        plan.returned.append(before.id)
    if not before.ctime_ns:
        plan.undated.append(pending)
    elif now.ctime_ns != before.ctime_ns:
        plan.touched.append(pending)


def _note_unlisted(plan: Plan, path: bytes, folder: bytes, reason: str) -> None:
    if path == folder:
        raise UnlistedFolder(folder=os.fsdecode(path), reason=reason)
    plan.unlisted.append(FailedPhoto(path, reason))


def _miss(plan: Plan, row: FileRow, folder: bytes, ignores_path: Callable[[bytes], bool]) -> None:
    """The walk did not come to this row."""
    if (row.missing_ns is None or row.is_offline) and not ignores_path(row.path[len(folder) :]):
        plan.missing.append(row.id)


def _plan_to_read(plan: Plan, pending: PendingFile) -> None:
    extra = formats.missing_extra(suffix(pending.file.path))
    if extra:
        plan.missing_extras[extra] += 1
    else:
        plan.pending.append(pending)
