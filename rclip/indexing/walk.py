"""Lists the photos below a folder in the order in which the index keeps them.

The order is that of whole paths compared as bytes, so that a walk and the table can be merged in one pass. A folder's
entries are sorted with a slash after the names of folders, because that is how they compare inside longer paths:
`a.jpg` < `a/b.jpg` although `a` < `a.jpg`.
"""

import os
import stat
from collections.abc import Iterator, Set
from operator import itemgetter
from typing import NamedTuple

from rclip.errors import plain_reason
from rclip.files import DEFAULT_RULES, SEPARATOR, IgnoreRules, stat_fields
from rclip.photo.failures import FailedPhoto


class File(NamedTuple):
    """A regular file, or a link to one, with what its stat says; `path` is relative to the folder walked."""

    path: bytes
    size_bytes: int
    mtime_ns: int
    device: int
    inode: int


class Unlisted(NamedTuple):
    """A folder (path relative, with a slash at its end) of whose photos this walk says nothing.

    `reason` is None for a folder left out on purpose, else why it could not be listed.
    """

    path: bytes
    reason: str | None


class Empty(NamedTuple):
    """A folder without a single entry: emptied by its owner, or a mount point whose drive is unplugged."""

    path: bytes


class _Folder(NamedTuple):
    """A folder that the walk has still to go into; the path ends in a slash."""

    path: bytes


def walk(
    root: bytes, suffixes: Set[str], rules: IgnoreRules = DEFAULT_RULES
) -> Iterator[File | FailedPhoto | Unlisted | Empty]:
    """All files below `root` whose name ends in one of `suffixes` (lower case, without the dot), in path order.

    Links to files are files; links to folders are not followed, so there are no loops. What cannot be read is yielded,
    never raised; an unreadable `root` is an `Unlisted` with an empty path.
    """
    endings = frozenset(suffix.encode() for suffix in suffixes)
    depths = [iter(_look_into(root, b"", endings, rules))]  # not recursive: folders may be nested a thousand deep
    while depths:
        for item in depths[-1]:
            if isinstance(item, _Folder):
                depths.append(iter(_look_into(root, item.path, endings, rules)))
                break
            yield item
        else:
            depths.pop()


def _look_into(
    root: bytes, folder: bytes, endings: Set[bytes], rules: IgnoreRules
) -> list[File | FailedPhoto | Unlisted | Empty | _Folder]:
    """What one folder holds, in path order."""
    try:
        with os.scandir(os.path.join(root, folder)) as scan:
            entries = [(folder + entry.name + (SEPARATOR if _is_folder(entry) else b""), entry) for entry in scan]
    except OSError as error:
        return [Unlisted(folder, plain_reason(error))]
    if not entries:
        return [Empty(folder)]
    entries.sort(key=itemgetter(0))
    found: list[File | FailedPhoto | Unlisted | Empty | _Folder] = []
    for path, entry in entries:
        if path.endswith(SEPARATOR):
            found.append(Unlisted(path, None) if rules.ignores_folder(entry.name) else _Folder(path))
        elif (
            path[path.rfind(b".") + 1 :].lower() in endings
            and b"." in entry.name
            and not rules.ignores_file(entry.name)
        ):
            item = _stat(path, entry)
            if item:
                found.append(item)
    return found


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    """Without following links; a name whose kind cannot be found is left to `_stat` to report."""
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _stat(path: bytes, entry: os.DirEntry[bytes]) -> File | FailedPhoto | None:
    """The file; None for what has no bytes to read: pipes, devices, sockets, links to folders."""
    try:
        status = entry.stat()
    except OSError as error:
        return FailedPhoto(path, "broken link" if entry.is_symlink() else plain_reason(error))
    if not stat.S_ISREG(status.st_mode):
        return None
    return File(path, *stat_fields(status))
