"""Reads the ignore files that a walk comes across, and those above its folder; the index remembers them for searches.

They may be anybody's: links are not followed, and nothing is read but regular files, of which not too much.
"""

import os
from collections.abc import Sequence

from rclip import isolation
from rclip.errors import plain_reason
from rclip.files import SEPARATOR
from rclip.ignoring import CACHE_SIGNATURE, CACHE_TAG, IGNORE_FILE, IgnoreRules, TreeRules, count_wildcards
from rclip.index.store import Store
from rclip.photo.failures import FailedPhoto

MARKS = frozenset({IGNORE_FILE, CACHE_TAG})
"""Names of files that say what is to be passed over."""

_MOST_BYTES = 1 << 16
_MOST_BYTES_IN_ALL = 1 << 20
_BYTES_FOR_EACH = 256
"""So much more counts for each, as it is kept in memory."""
_MOST_WILDCARDS_IN_ALL = 2_000
"""Names and paths without them cost nothing."""


class IgnoreFiles:
    """The ignore files that count in one walk."""

    def __init__(self, root: bytes, rules: IgnoreRules, store: Store | None = None):
        """Reads those above `root`, up to where the index's paths begin, that the user or the owner of `root` has put.

        Raises `StoreError`.
        """
        self._rules = rules
        self._root = root
        self._content: dict[bytes, bytes] = {}
        self._known = store.ignore_files.around(root) if store else {}
        """Those that the index remembers, in the root and below it and above it."""
        self._gone: set[bytes] = set()
        self._bytes_left, self._wildcards_left = _MOST_BYTES_IN_ALL, _MOST_WILDCARDS_IN_ALL
        self.failures: list[FailedPhoto] = []
        """Those that cannot be used as they are now."""
        self.tree = TreeRules(root, rules)
        """The rules that hold in and below the root, as far as they are known."""
        self._read_above(store.root if store else b"")

    def note_between(self, folder: bytes) -> None:
        """Takes in those of the folders from the root to one below it, which itself is left to the walk."""
        end = len(self._root)
        while end < len(folder):
            self.note(folder[:end], [name for name in MARKS if os.path.lexists(folder[:end] + name)])
            end = folder.index(SEPARATOR, end) + 1

    def note(self, folder: bytes, marks: Sequence[bytes]) -> bool:
        """Takes in those of a folder, by their names. Returns whether any of them counts."""
        found = self._of(folder, marks) if marks else None
        if found is not None:
            if not self._content:
                self.tree = TreeRules(self._root, self._rules, self._content.get)
            self._content[folder] = found
        elif folder in self._known:
            self._gone.add(folder)
        return found is not None

    def content(self, folder: bytes) -> bytes | None:
        """What counts of the ignore file in a folder that was noted."""
        return self._content.get(folder)

    def changes(self) -> dict[bytes, bytes | None]:
        """What the index does not know yet: folders, and the content of their ignore files, None where it has gone."""
        new = {folder: content for folder, content in self._content.items() if self._known.get(folder) != content}
        return new | dict.fromkeys(self._gone)

    def _read_above(self, top: bytes) -> None:
        trusted = {0, os.geteuid(), _owner(self._root)}
        folder = self._root.rstrip(SEPARATOR)
        while len(folder) > len(top):
            folder = folder.rpartition(SEPARATOR)[0]
            path = folder + SEPARATOR
            is_there = _owner(path + IGNORE_FILE) in trusted
            self.note(path, [IGNORE_FILE] if is_there else [])

    def _of(self, folder: bytes, marks: Sequence[bytes]) -> bytes | None:
        """The content of a folder's ignore file, after the mark of a cache where it is one; None for neither."""
        tag = CACHE_SIGNATURE + b"\n" if CACHE_TAG in marks and _is_tag(folder + CACHE_TAG) else b""
        if IGNORE_FILE not in marks:
            return tag or None
        try:
            return (tag + self._content_of(folder + IGNORE_FILE)) or None
        except OSError as error:
            self.failures.append(FailedPhoto(folder + IGNORE_FILE, plain_reason(error)))
            return self._known.get(folder)

    def _content_of(self, path: bytes) -> bytes:
        """Raises OSError."""
        if os.path.islink(path):
            raise OSError("it is a link")
        with open(path, "rb", opener=isolation.open_itself) as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise OSError(f"it has more than {_MOST_BYTES:,} bytes")
        if b"\0" in content:
            raise OSError("it is not text")
        self._bytes_left -= len(content) + _BYTES_FOR_EACH
        self._wildcards_left -= count_wildcards(content)
        if self._bytes_left < 0:
            raise OSError(f"with the files before it, it has more than {_MOST_BYTES_IN_ALL:,} bytes")
        if self._wildcards_left < 0:
            raise OSError(f"with the files before it, it has more than {_MOST_WILDCARDS_IN_ALL:,} wildcards")
        return content


def _is_tag(path: bytes) -> bool:
    """Whether it is the mark of a cache."""
    try:
        with open(path, "rb", opener=isolation.open_itself) as file:
            return file.read(len(CACHE_SIGNATURE)) == CACHE_SIGNATURE
    except OSError:
        return False


def _owner(path: bytes) -> int:
    """-1 where there is nothing, or it cannot be seen."""
    try:
        return os.lstat(path).st_uid
    except OSError:
        return -1


def on_disk(root: bytes, rules: IgnoreRules) -> TreeRules:
    """The rules in and below a folder, with ignore files read as they are asked for."""
    files = IgnoreFiles(root, rules)
    seen: set[bytes] = set()

    def content(folder: bytes) -> bytes | None:
        if folder not in seen and folder.startswith(root):
            seen.add(folder)
            files.note(folder, [name for name in MARKS if os.path.lexists(folder + name)])
        return files.content(folder)

    return TreeRules(root, rules, content)
