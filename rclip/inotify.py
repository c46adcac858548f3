"""What happens in folders and below them, as Linux tells it.

It says when it has lost something, spells every name, and follows no link, which the libraries for it do not.
"""

import ctypes
import os
import select
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Set
from errno import EMFILE, ENOMEM, ENOSPC

from rclip.files import INDEX_FOLDER, SEPARATOR

_MODIFIED, _ATTRIBUTES, _CLOSED = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATED, _DELETED = 0x40, 0x80, 0x100, 0x200
_UNMOUNTED, _OVERFLOWN, _IGNORED = 0x2000, 0x4000, 0x8000
_IS_FOLDER = 0x40000000
_ONLY_FOLDERS, _NO_LINKS, _NOT_DELETED = 0x1000000, 0x2000000, 0x4000000
_WATCHED = _MODIFIED | _ATTRIBUTES | _CLOSED | _MOVED_FROM | _MOVED_TO | _CREATED | _DELETED
_HOW = _ONLY_FOLDERS | _NO_LINKS | _NOT_DELETED
"""Flags of inotify(7)."""

_HEADER = struct.Struct("iIII")
_BUFFER_BYTES = 1 << 16
_BETWEEN_READS_S = 0.02
"""The kernel keeps what comes in between, and one like the last is none."""
_MOST_PATHS = 20_000
"""Told at once; the kernel keeps the others, so far as it goes."""


class Inotify:
    """Watches folders and all below them."""

    def __init__(self, folders: Iterable[bytes], matters: Callable[[bytes], bool]):
        """Absolute paths, and which names of files count. Raises OSError where the system allows no more watches."""
        self._matters = matters
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._paths: dict[int, bytes] = {}
        """Of what is watched; they end in a slash."""
        self._watches: dict[bytes, int] = {}
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise _error()
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)
        try:
            for folder in folders:
                self._watch(os.path.join(folder, b""))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    def changes(self, wait_s: float, quiet_s: float, longest_s: float) -> set[bytes] | None:
        """Where something has happened in the next moments: paths, those of folders with a slash at the end.

        Waits for the first, and then until it is quiet, or for the longest. None where some have been lost: then
        anything may have happened, and what is new is not watched. Raises OSError as at the start.
        """
        paths: set[bytes] = set()
        come: set[bytes] = set()
        gone: set[bytes] = set()
        end_s = None
        while self._poll.poll((quiet_s if end_s else wait_s) * 1000):
            if not self._take(paths, come, gone):
                return None
            end_s = end_s or time.monotonic() + longest_s
            if time.monotonic() >= end_s or len(paths) >= _MOST_PATHS:
                break
            time.sleep(_BETWEEN_READS_S)
        if gone:
            self._forget_below(gone)
        for folder in come:
            if not _is_within(folder[: folder.rindex(SEPARATOR, 0, -1) + 1], come):
                self._watch(folder)
        return paths

    def _take(self, paths: set[bytes], come: set[bytes], gone: set[bytes]) -> bool:
        """Adds where something has happened by now, and which folders have come and gone. False if some was lost."""
        for watch, what, name in self._read():
            if what & (_OVERFLOWN | _UNMOUNTED):
                return False
            folder = self._paths.get(watch)
            if what & _IGNORED:
                self._forget(watch)
            elif folder is not None and name and (what & _IS_FOLDER or self._matters(name)):
                path = folder + name + (SEPARATOR if what & _IS_FOLDER else b"")
                if what & _IS_FOLDER and what & _ATTRIBUTES and path in self._watches:
                    continue  # it need not be listed for that
                paths.add(path)
                if what & _MOVED_FROM:
                    gone.add(path)
                elif what & _IS_FOLDER and not what & _DELETED:
                    come.add(path)
        return True

    def _read(self) -> Iterator[tuple[int, int, bytes]]:
        """Watches, what has happened there, and the name of what it has happened to."""
        try:
            data = os.read(self._descriptor, _BUFFER_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            watch, what, _, length = _HEADER.unpack_from(data, at)
            at += _HEADER.size + length
            yield watch, what, data[at - length : at].rstrip(b"\0")

    def _watch(self, top: bytes) -> None:
        """And all below. Folders that may not be listed, or are gone or something else by now, are left out."""
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            watch = self._libc.inotify_add_watch(self._descriptor, folder[:-1] or folder, _WATCHED | _HOW)
            if watch < 0:
                if ctypes.get_errno() in (EMFILE, ENOMEM, ENOSPC):
                    raise _error()
                continue
            self._forget(watch)  # it is at another path
            self._paths[watch] = folder
            self._watches[folder] = watch
            try:
                with os.scandir(folder) as entries:
                    waiting += [
                        entry.path + SEPARATOR
                        for entry in entries
                        if entry.name != INDEX_FOLDER and entry.is_dir(follow_symlinks=False)
                    ]
            except OSError:
                continue

    def _forget(self, watch: int) -> None:
        path = self._paths.pop(watch, None)
        if path is not None and self._watches.get(path) == watch:
            del self._watches[path]

    def _forget_below(self, folders: Set[bytes]) -> None:
        """These have been moved: what happens in them would be told with their old paths."""
        for watch, path in list(self._paths.items()):
            if _is_within(path, folders):
                self._libc.inotify_rm_watch(self._descriptor, watch)
                self._forget(watch)


def _is_within(path: bytes, folders: Set[bytes]) -> bool:
    """Whether it is one of these, or lies in one."""
    end = len(path)
    while end > 0:
        if path[:end] in folders:
            return True
        end = path.rfind(SEPARATOR, 0, end - 1) + 1
    return False


def _error() -> OSError:
    number = ctypes.get_errno()
    if number == ENOSPC:  # whose usual text is of disks
        return OSError("fs.inotify.max_user_watches allows no more folders")
    return OSError(number, os.strerror(number))
