"""Lists the photos below a folder in the order in which the index keeps them.

The order is that of whole paths compared as bytes, so that a walk and the table can be merged in one pass. A folder's
entries are sorted with a slash after the names of folders, because that is how they compare inside longer paths:
`a.jpg` < `a/b.jpg` although `a` < `a.jpg`.
"""

import os
from collections.abc import Callable, Iterator, Set
from functools import partial
from operator import itemgetter
from typing import NamedTuple, Protocol, final

from rclip.errors import plain_reason
from rclip.files import SEPARATOR
from rclip.ignoring import DEFAULT_RULES, FolderRules
from rclip.indexing.ignore_files import MARKS, IgnoreFiles
from rclip.indexing.listing import Entry, Lister


class FoundFile(Protocol):
    """What has a photo's name: a file or a link to one, if its `stat` does not say otherwise. An `os.DirEntry` is one.

    `stat` follows links, and raises OSError.
    """

    def stat(self) -> os.stat_result: ...

    def is_symlink(self) -> bool: ...


@final
class Unlisted(NamedTuple):
    """A folder of whose photos this walk says nothing."""

    reason: str | None
    """None for a folder left out on purpose, else why it could not be listed."""


@final
class Empty(NamedTuple):
    """A folder without a single entry: emptied by its owner, or a mount point whose drive is unplugged."""


Found = FoundFile | Unlisted | Empty


def walk(
    root: bytes,
    suffixes: Set[str],
    ignore_files: IgnoreFiles | None = None,
    listed: Callable[[int], None] = lambda files: None,
) -> Iterator[tuple[bytes, Found]]:
    """Paths below `root` and what is there, in path order: all whose name ends in one of `suffixes`, and some folders.

    `root` and the paths of folders end in a slash; suffixes are in lower case, without the dot. Links to folders are
    not followed, so there are no loops. What cannot be read is yielded, never raised. `listed` is called for each
    folder with the number of files in it. `ignore_files` say what is passed over, and learn of those that are found.
    """
    ignore_files = ignore_files or IgnoreFiles(root, DEFAULT_RULES)
    endings = frozenset(b"." + suffix.encode() for suffix in suffixes)
    lister = Lister(partial(_list, endings=endings, ignore_files=ignore_files))
    try:
        depths = [lister.entries(root)]  # not recursive: folders may be nested a thousand deep
        listed(len(depths[0]))
        while depths:
            entries = depths[-1]
            while entries:
                path, found = entries.pop()  # and its stat need not be kept
                if found is None:
                    below = lister.entries(path)
                    depths.append(below)
                    listed(len(below))
                    break
                yield path, found
            else:
                depths.pop()
    finally:
        lister.close()


def _list(folder: bytes, endings: Set[bytes], ignore_files: IgnoreFiles) -> list[Entry]:
    """The folder's own entries, the last one in path order first; what is of no concern takes no memory.

    Where it has an ignore file, which may also take back what counts above it, the folder is listed once more.
    """
    try:
        entries, marks, is_empty = _scan(folder, endings, ignore_files.tree.at(folder))
        if ignore_files.note(folder, marks):
            if ignore_files.tree.is_cache(folder):
                return [(folder, Unlisted(None))]
            entries, _, _ = _scan(folder, endings, ignore_files.tree.at(folder))
    except OSError as error:
        return [(folder, Unlisted(plain_reason(error)))]
    if is_empty:
        return [(folder, Empty())]
    entries.sort(key=itemgetter(0), reverse=True)
    return entries


def _scan(folder: bytes, endings: Set[bytes], rules: FolderRules) -> tuple[list[Entry], list[bytes], bool]:
    """Entries in any order, the names of files that say what is to be passed over, and whether there is nothing."""
    entries: list[Entry] = []
    marks: list[bytes] = []
    has_patterns = rules.has_patterns
    entry = None
    with os.scandir(folder) as scan:
        for entry in scan:
            name = entry.name
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:  # its kind cannot be found, which is left to `stat` to report
                is_folder = False
            if is_folder:
                entries.append((folder + name + SEPARATOR, Unlisted(None) if rules.ignores_folder(name) else None))
            elif name[name.rfind(b".") :].lower() in endings:
                if not ((name[0] == _DOT or has_patterns) and rules.ignores_file(name)):
                    entries.append((folder + name, entry))
            elif name in MARKS:
                marks.append(name)
    return entries, marks, entry is None


_DOT = ord(b".")
