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

from rclip import isolation
from rclip.errors import plain_reason
from rclip.files import SEPARATOR
from rclip.ignoring import DEFAULT_RULES, FolderRules
from rclip.indexing.ignore_files import MARKS, IgnoreFiles
from rclip.indexing.listing import Entry, Lister, Look
from rclip.indexing.sidecar_files import SidecarFiles
from rclip.photo.sidecar_names import SIDECAR_ENDINGS


class FoundFile(Protocol):
    """What has a photo's name: a file or a link to one, if its `stat` does not say otherwise.

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
    sidecars: SidecarFiles | None = None,
) -> Iterator[tuple[bytes, Found]]:
    """Paths below `root` and what is there, in path order: all whose name ends in one of `suffixes`, and some folders.

    `root` and the paths of folders end in a slash; suffixes are in lower case, without the dot. No folder is listed
    through a link, also where one takes a folder's place meanwhile, so there are no loops. What cannot be read is
    yielded, never raised. `listed` is called for each folder with the number of files in it. `ignore_files` say what is
    passed over, and learn of those that are found.
    `sidecars` notes the files beside photos that say more of them.
    """
    ignore_files = ignore_files or IgnoreFiles(root, DEFAULT_RULES)
    endings = frozenset(b"." + suffix.encode() for suffix in suffixes)
    lister = Lister(partial(_list, root=root, endings=endings, ignore_files=ignore_files, sidecars=sidecars))
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


def _list(
    folder: bytes,
    look: Look,
    root: bytes,
    endings: Set[bytes],
    ignore_files: IgnoreFiles,
    sidecars: SidecarFiles | None,
) -> list[Entry]:
    """The folder's own entries, the last one in path order first; what is of no concern takes no memory.

    Where it has an ignore file, which may also take back what counts above it, the folder is listed once more.
    """
    descriptor = None
    try:
        descriptor = isolation.open_folder_below(root, folder)
        entries, marks, beside, is_empty = _scan(descriptor, folder, endings, ignore_files.tree.at(folder))
        if ignore_files.note(folder, marks):
            if ignore_files.tree.is_cache(folder):
                return [(folder, Unlisted(None))]
            entries, _, beside, _ = _scan(descriptor, folder, endings, ignore_files.tree.at(folder))
        if is_empty:
            return [(folder, Empty())]
        entries.sort(key=itemgetter(0), reverse=True)
        if sidecars:
            sidecars.note(folder, (path[len(folder) :] for path, _ in entries), beside)
        look(entries)
        return entries
    except OSError as error:
        return [(folder, Unlisted(plain_reason(error)))]
    finally:
        if descriptor is not None:
            os.close(descriptor)


class _Scanned(NamedTuple):
    """What is in a folder."""

    entries: list[Entry]
    """In any order."""
    marks: list[bytes]
    """The names of files that say what is to be passed over."""
    beside: "list[os.DirEntry[str]]"
    """Files that may say more of photos."""
    is_empty: bool


def _scan(descriptor: int, folder: bytes, endings: Set[bytes], rules: FolderRules) -> _Scanned:
    """What is in a folder. Entries ask the open folder for their stats. Raises OSError."""
    entries: list[Entry] = []
    marks: list[bytes] = []
    beside: list[os.DirEntry[str]] = []
    has_patterns = rules.has_patterns
    entry = None
    with os.scandir(descriptor) as scan:
        for entry in scan:
            name = os.fsencode(entry.name)
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:  # its kind cannot be found, which is left to `stat` to report
                is_folder = False
            if is_folder:
                entries.append((folder + name + SEPARATOR, Unlisted(None) if rules.ignores_folder(name) else None))
            elif (ending := name[name.rfind(b".") :].lower()) in endings:
                if not ((name[0] == _DOT or has_patterns) and rules.ignores_file(name)):
                    entries.append((folder + name, entry))
            elif name in MARKS:
                marks.append(name)
            elif ending in SIDECAR_ENDINGS:
                beside.append(entry)
    return _Scanned(entries, marks, beside, entry is None)


_DOT = ord(b".")
