"""Which folders to look at after something has happened at some paths, for an update that need not look at all."""

import os
from collections.abc import Collection, Iterator

from rclip import formats
from rclip.files import SEPARATOR, suffix
from rclip.ignoring import IgnoreRules, TreeRules
from rclip.indexing.ignore_files import MARKS, on_disk


def parts_around(changed: Collection[bytes], root: bytes, rules: IgnoreRules) -> list[bytes]:
    """Folders at or below `root`, none inside another, that need to be listed; they end in a slash.

    Where something has gone it may have been moved, so that all are looked at together, in the folder around them.
    """
    tree = on_disk(root, rules)
    inside = [path for path in changed if (path + SEPARATOR).startswith(root)]
    found = {part for path in inside if (part := _part(path, root, tree)) is not None}
    if len(found) > 1 and not all(map(os.path.lexists, inside)):
        return [_around(found)]
    return list(_outermost(found))


def _part(path: bytes, root: bytes, tree: TreeRules) -> bytes | None:
    """The folder to list for one path; None where that is of no concern."""
    path = path.rstrip(SEPARATOR)
    if path == root.rstrip(SEPARATOR):
        return root
    is_folder = os.path.isdir(path) and not os.path.islink(path)
    folder = path + SEPARATOR if is_folder else path[: path.rindex(SEPARATOR) + 1]
    if tree.ignores_folder(folder[len(root) :]):
        return None
    if not is_folder:
        name = path[len(folder) :]
        is_there = os.path.lexists(path)
        if name not in MARKS and is_there and suffix(name) not in formats.SUFFIXES:
            return None
        if is_there and name not in MARKS and tree.ignores_path(path[len(root) :]):
            return None
    while folder != root and not os.path.isdir(folder):
        folder = folder[: folder.rindex(SEPARATOR, 0, -1) + 1]
    return folder


def _outermost(folders: Collection[bytes]) -> Iterator[bytes]:
    last: bytes | None = None
    for folder in sorted(folders):
        if last is None or not folder.startswith(last):
            last = folder
            yield folder


def _around(folders: Collection[bytes]) -> bytes:
    """The innermost folder that holds them all."""
    return os.path.join(os.path.commonpath(folders), b"")
