"""A folder of small files that can be made again: so many bytes, of which the longest unused go first."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from rclip import datadir, isolation

_KEPT_SHARE = 0.9
"""Of the bytes allowed, so many are left when room is made, so that it is not made again at once."""

_FRESH_S = 86_400
"""A file's time says to the day when it was last used."""


class _Kept(NamedTuple):
    used_s: float
    size_bytes: int
    path: str


class FileCache:
    """Files by name, for any number of threads and processes at once. Nothing that fails here is an error."""

    def __init__(self, folder: str, max_bytes: int):
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        """Around the making of room."""
        self._size_bytes: int | None = None
        """As far as this process knows; None until it has looked."""

    def get(self, name: str) -> bytes | None:
        path = self._path(name)
        try:
            with open(path, "rb", opener=isolation.open_itself) as file:
                content = file.read()
                used_s = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        if time.time() - used_s > _FRESH_S:
            with suppress(OSError):
                os.utime(path)
        return content

    def put(self, name: str, content: bytes) -> None:
        """Whole or not at all, unless the machine stops just then: nothing waits for the disk."""
        path = self._path(name)
        temporary = os.path.join(self._folder, f"{datadir.TEMPORARY}{os.urandom(8).hex()}")
        with suppress(OSError):
            datadir.make_private(os.path.dirname(path))
            try:
                descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                with open(descriptor, "wb") as file:
                    file.write(content)
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
            self._count(len(content))

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name[:2], name)

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            if self._size_bytes is None:
                datadir.sweep(self._folder)
                self._size_bytes = sum(kept.size_bytes for kept in self._files())
            else:
                self._size_bytes += size_bytes
            if self._size_bytes > self._max_bytes:
                self._size_bytes = self._make_room()

    def _make_room(self) -> int:
        """Deletes the longest unused, and returns the bytes of the others."""
        files = sorted(self._files())
        left = sum(kept.size_bytes for kept in files)
        for kept in files:
            if left <= _KEPT_SHARE * self._max_bytes:
                break
            with suppress(OSError):
                os.unlink(kept.path)
            left -= kept.size_bytes
        return left

    def _files(self) -> Iterator[_Kept]:
        with suppress(OSError), os.scandir(self._folder) as folders:
            for folder in folders:
                if folder.is_dir(follow_symlinks=False):
                    yield from _files_in(folder.path)


def _files_in(folder: str) -> Iterator[_Kept]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                yield _Kept(status.st_mtime, status.st_size, entry.path)
