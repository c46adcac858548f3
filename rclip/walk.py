"""Lists the photos below a folder in the order in which the index keeps them.

The order is that of whole paths compared as bytes, so that a walk and the table can be merged in one pass. A folder's
entries are sorted with a slash behind the names of folders, because that is how they compare inside longer paths:
`a.jpg` < `a/b.jpg` although `a` < `a.jpg`.
"""

import os
import stat
from collections.abc import Iterator, Set
from operator import itemgetter
from typing import NamedTuple

from rclip import places
from rclip.errors import Failure, plain_reason

SEPARATOR = os.fsencode(os.sep)

# Folders that programs keep for themselves: Synology's thumbnails, packages, version control, Windows' own.
HOUSEKEEPING = frozenset({b"@eaDir", b"node_modules", b".git", b"System Volume Information"})


class File(NamedTuple):
    """A regular file, or a link to one, with what its stat says; `path` is relative to the folder walked."""

    path: bytes
    size_bytes: int
    mtime_ns: int
    device: int
    inode: int


class Unlisted(NamedTuple):
    """A folder (path relative, with a slash behind it) of whose photos this walk says nothing.

    `reason` is None for a folder left out on purpose, else why it could not be listed.
    """

    path: bytes
    reason: str | None


class Empty(NamedTuple):
    """A folder without a single entry: emptied by its owner, or a mount point whose drive is away."""

    path: bytes


class Skip(NamedTuple):
    """Which names a walk passes over; where indexes lie it never goes."""

    exclude_dirs: frozenset[bytes] = frozenset()
    include_hidden: bool = False

    def folder(self, name: bytes) -> bool:
        if self.include_hidden:
            return name in self.exclude_dirs or name == places.NAME
        return name[:1] == b"." or name in HOUSEKEEPING or name in self.exclude_dirs

    def file(self, name: bytes) -> bool:
        return not self.include_hidden and name[:1] == b"."

    def path(self, path: bytes) -> bool:
        """Whether a walk would not have come to the file `path`, which is relative to the folder walked."""
        *folders, name = path.split(SEPARATOR)
        return self.file(name) or any(map(self.folder, folders))


USUAL = Skip()


def suffix(name: bytes) -> str:
    """What comes after the last dot of a file's name, in lower case."""
    _, dot, ending = name.rpartition(b".")
    return ending.lower().decode("ascii", "replace") if dot else ""


def stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    """Size, mtime_ns, device and inode, each as a signed 64-bit number: file systems have inodes and times beyond."""
    return (
        status.st_size,
        max(-_MOST, min(_MOST, status.st_mtime_ns)),
        status.st_dev if status.st_dev <= _MOST else status.st_dev - (1 << 64),
        status.st_ino if status.st_ino <= _MOST else status.st_ino - (1 << 64),
    )


_MOST = (1 << 63) - 1


class _Folder(NamedTuple):
    """A folder that the walk has still to go into; the path ends in a slash."""

    path: bytes


def walk(root: bytes, suffixes: Set[str], skip: Skip = USUAL) -> Iterator[File | Failure | Unlisted | Empty]:
    """All files below `root` whose name ends in one of `suffixes` (lower case, without the dot), in path order.

    Links to files are files; links to folders are not followed, so there are no loops. What cannot be read is yielded,
    never raised; an unreadable `root` is an `Unlisted` with an empty path.
    """
    endings = frozenset(suffix.encode() for suffix in suffixes)
    depths = [iter(_look_into(root, b"", endings, skip))]  # not recursive: folders may be nested a thousand deep
    while depths:
        for item in depths[-1]:
            if isinstance(item, _Folder):
                depths.append(iter(_look_into(root, item.path, endings, skip)))
                break
            yield item
        else:
            depths.pop()


def _look_into(
    root: bytes, folder: bytes, endings: Set[bytes], skip: Skip
) -> list[File | Failure | Unlisted | Empty | _Folder]:
    """What one folder holds, in path order."""
    try:
        with os.scandir(os.path.join(root, folder)) as scan:
            entries = [(folder + entry.name + (SEPARATOR if _is_folder(entry) else b""), entry) for entry in scan]
    except OSError as error:
        return [Unlisted(folder, plain_reason(error))]
    if not entries:
        return [Empty(folder)]
    entries.sort(key=itemgetter(0))
    found: list[File | Failure | Unlisted | Empty | _Folder] = []
    for path, entry in entries:
        if path.endswith(SEPARATOR):
            found.append(Unlisted(path, None) if skip.folder(entry.name) else _Folder(path))
        elif path[path.rfind(b".") + 1 :].lower() in endings and b"." in entry.name and not skip.file(entry.name):
            item = _stat(path, entry)
            if item:
                found.append(item)
    return found


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    """Without following links; a name whose kind cannot be told is left to `_stat` to report."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _stat(path: bytes, entry: os.DirEntry[bytes]) -> File | Failure | None:
    """The file; None for what has no bytes to read: pipes, devices, sockets, links to folders."""
    try:
        status = entry.stat()
    except OSError as error:
        return Failure(path, "broken link" if entry.is_symlink() else plain_reason(error))
    if not stat.S_ISREG(status.st_mode):
        return None
    return File(path, *stamp(status))
