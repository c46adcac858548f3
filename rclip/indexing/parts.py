"""Which folders to look at after something has happened at some paths, for an update that need not look at all."""

import os
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial

from rclip import formats
from rclip.files import SEPARATOR, suffix
from rclip.ignoring import IgnoreRules, TreeRules
from rclip.indexing.ignore_files import MARKS, on_disk
from rclip.photo.sidecar_names import SIDECAR_ENDINGS

_MOST_PARTS = 100
"""Each is looked at on its own, which takes a few milliseconds."""


def parts_around(changed: Collection[bytes], root: bytes, rules: IgnoreRules) -> list[bytes]:
    """Folders at or below `root`, none inside another, that need to be listed; they end in a slash.

    A path with a slash at its end is, or was, a folder's. Where something has gone it may have been moved, so that all
    are looked at together, in the folder around them.
    """
    tree = on_disk(root, rules)
    reached = cache(partial(_reached, root=root, tree=tree))  # many paths are in one folder
    inside = [path for path in changed if (path + SEPARATOR).startswith(root)]
    found = {part for path in inside if (part := _part(path, root, tree, reached)) is not None}
    if len(found) > _MOST_PARTS or (len(found) > 1 and not all(map(_is_there, inside))):
        return [_around(found)]
    return list(_outermost(found))


def _part(path: bytes, root: bytes, tree: TreeRules, reached: Callable[[bytes], bytes | None]) -> bytes | None:
    """The folder to list for one path; None where that is of no concern."""
    if len(path) <= len(root):
        return root
    if path.endswith(SEPARATOR) or _is_folder(path):
        return reached(path.rstrip(SEPARATOR) + SEPARATOR)
    folder, _, name = path.rpartition(SEPARATOR)
    around = reached(folder + SEPARATOR)
    if around is None or not os.path.lexists(path):
        return around
    is_ignored = not matters(name) or (name not in MARKS and tree.ignores_path(path[len(root) :]))
    return None if is_ignored else around


def matters(name: bytes) -> bool:
    """Whether a file of this name may be a photo, or say something of photos."""
    ending = suffix(name)
    return ending in formats.SUFFIXES or f".{ending}".encode() in SIDECAR_ENDINGS or name in MARKS


def _reached(folder: bytes, root: bytes, tree: TreeRules) -> bytes | None:
    """This folder, or that around it to which a walk comes where it is gone, a link or behind one.

    None where it is passed over.
    """
    if tree.ignores_folder(folder[len(root) :]):
        return None
    end = len(root)
    while end < len(folder):
        below = folder.index(SEPARATOR, end) + 1
        if not _is_folder(folder[: below - 1]):
            break
        end = below
    return folder[:end]


def _is_folder(path: bytes) -> bool:
    """And no link to one."""
    return os.path.isdir(path) and not os.path.islink(path)


def _is_there(path: bytes) -> bool:
    return _is_folder(path.rstrip(SEPARATOR)) if path.endswith(SEPARATOR) else os.path.lexists(path)


def _outermost(folders: Collection[bytes]) -> Iterator[bytes]:
    last: bytes | None = None
    for folder in sorted(folders):
        if last is None or not folder.startswith(last):
            last = folder
            yield folder


def _around(folders: Collection[bytes]) -> bytes:
    """The innermost folder that holds them all."""
    return os.path.join(os.path.commonpath(folders), b"")
