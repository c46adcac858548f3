"""Files of unchanged size and time that may have been edited all the same, because their change time is another.

No program can set that time, so it betrays those that put a file's own time back, such as `exiftool -P`. But it also
changes with a restored backup, a copied library, `chmod` or a hard link, of which a whole library may have had one. So
of many such files some are read first, and when all of these are what they were, so are the others.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from rclip import isolation
from rclip.cores import CORES
from rclip.files import FileStat, digest_of, file_stat
from rclip.index.store import Store
from rclip.indexing.diff import PendingFile, Plan
from rclip.mounts import mounted

_READ_FIRST = 64
_WORKERS = CORES

_KEEPS_CHANGE_TIMES = frozenset(
    {b"bcachefs", b"btrfs", b"ext2", b"ext3", b"ext4", b"f2fs", b"jfs", b"nilfs2", b"overlay", b"tmpfs", b"xfs", b"zfs"}
)
"""File systems that store them, and number files for good: FAT and exFAT do not, network drives may not."""


def settle(store: Store, plan: Plan, folder: bytes, progress: Callable[[int, int | None], None]) -> None:
    """Moves those of the plan's files that have been edited to what is pending, and confirms the others.

    A file that cannot be read now stays as it is known. `progress` is called with files read and their total, if these
    are many. Raises `StoreError`.
    """
    file_systems = _FileSystems()
    touched, undated = (
        [each for each in files if file_systems.keep_change_times(folder + each.file.path, each.file.stat.device)]
        for files in (plan.touched, plan.undated)
    )
    same = [_as_seen(each) for each in undated]
    for group in _by_inode(store, touched):
        edited, confirmed = _sorted_out(group, folder, progress)
        plan.pending += edited
        same += [_as_seen(each) for each in confirmed]
    plan.pending.sort(key=lambda pending: pending.file.path)
    if same:
        with store.transaction():
            store.files.confirm(same)


_Known = tuple[PendingFile, bytes | None]
"""A file, and the digest of the bytes that it had."""


def _by_inode(store: Store, files: Sequence[PendingFile]) -> list[list[_Known]]:
    """Those in the place of others, and those that are still the same: what has happened to them differs."""
    groups: dict[bool, list[_Known]] = {}
    for file, known in zip(files, store.files.contents([_row_id(file) for file in files]), strict=True):
        if known:
            digest, inode = known
            groups.setdefault(inode == file.file.stat.inode, []).append((file, digest))
    return list(groups.values())


def _sorted_out(
    group: Sequence[_Known], folder: bytes, progress: Callable[[int, int | None], None]
) -> tuple[list[PendingFile], list[PendingFile]]:
    """The edited ones and the others; what could not be read when it was known is in neither."""
    step = -(-len(group) // _READ_FIRST)
    are_same = [_is_same(known, folder) for known in group[::step]]
    if step > 1:
        if False not in are_same:
            return [], [file for file, _ in group]
        with ThreadPoolExecutor(_WORKERS, "rclip-compare") as pool:
            are_same = []
            for is_same in pool.map(lambda known: _is_same(known, folder), group):
                are_same.append(is_same)
                progress(len(are_same), len(group))
    found = list(zip(are_same, (file for file, _ in group), strict=True))
    return [file for is_same, file in found if is_same is False], [file for is_same, file in found if is_same]


def _is_same(known: _Known, folder: bytes) -> bool | None:
    """Whether it has the bytes that it had; None where that cannot be told now."""
    pending, digest = known
    if digest is None:  # it could not be decoded, which may be otherwise now
        return False
    with suppress(OSError), open(folder + pending.file.path, "rb", opener=isolation.open_regular) as file:
        if file_stat(os.fstat(file.fileno())) == pending.file.stat:
            return digest_of(file) == digest
    return None


def _as_seen(pending: PendingFile) -> tuple[int, FileStat]:
    return _row_id(pending), pending.file.stat


def _row_id(pending: PendingFile) -> int:
    assert pending.before
    return pending.before.id


class _FileSystems:
    """What this machine has mounted where, as far as it tells; looked up once for each device."""

    def __init__(self) -> None:
        self._kinds = mounted()
        self._known: dict[int, bool] = {}

    def keep_change_times(self, path: bytes, device: int) -> bool:
        """Whether change times and inodes tell something of the file at this path, on this device."""
        if device not in self._known:
            within = [point for point in self._kinds if path.startswith(point)]
            self._known[device] = bool(within) and self._kinds[max(within, key=len)] in _KEEPS_CHANGE_TIMES
        return self._known[device]
