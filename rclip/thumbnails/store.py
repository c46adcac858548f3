"""Thumbnails of files, by the digests of their bytes: from the cache or, made by a decoding process, into it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from rclip import isolation
from rclip.cores import CORES
from rclip.files import digest_of, file_stat, suffix
from rclip.photo.decode_pool import DecodePool, default_max_pixels
from rclip.photo.file_sizes import require_plausible
from rclip.thumbnails.file_cache import FileCache

SIDES = (480, 2048)
"""The long sides that there are, in pixels: for a grid, and for a view of one."""

MAX_BYTES = 512 << 20
"""What the cache may take on disk, some fifteen thousand small ones."""

FOLDER = "thumbnails"
"""Its name in the data folder."""

_START, _END = b"\xff\xd8", b"\xff\xd9"


class Thumbnails:
    """For any number of threads at once. As many are made at the same time as there are cores."""

    def __init__(self, data_dir: str, max_pixels: int | None = None, max_bytes: int = MAX_BYTES):
        """Nothing is started or written before it is needed. `max_pixels` None is for a limit by the memory."""
        self.files = FileCache(os.path.join(data_dir, FOLDER), max_bytes)
        self._decoders = DecodePool(0, max_pixels or default_max_pixels())
        self._cores = threading.Semaphore(CORES)
        self._lock = threading.Lock()
        self._in_work: dict[str, threading.Lock] = {}

    def close(self) -> None:
        self._decoders.close()

    def get(self, digest: bytes, long_side: int, at_ms: int | None = None) -> bytes | None:
        """A JPEG file with the picture in the file of that digest, if there is one; of a film, that of the moment."""
        content = self.files.get(_name(digest, long_side, at_ms))
        is_whole = content is not None and content.startswith(_START) and content.endswith(_END)
        return content if is_whole else None

    def make(self, digest: bytes, long_side: int, file: BinaryIO, suffix: str, at_ms: int | None = None) -> bytes:
        """The same, decoded from the open file where there is none, and kept. Raises `DecodeError`.

        Of several threads that ask for one, the first makes it.
        """
        name = _name(digest, long_side, at_ms)
        with self._alone(name):
            made = self.get(digest, long_side, at_ms)
            if made is None:
                with self._cores:
                    made = self._decoders.thumbnail_file(file, suffix, long_side, at_ms)
                self.files.put(name, made)
            return made

    def of_file(
        self, path: bytes, known: tuple[int, int], digest: bytes | None, long_side: int, at_ms: int | None = None
    ) -> bytes:
        """The same of a file on disk that had this size, modification time (in ns) and digest, if that is known.

        Where it has changed since, it is the picture that is there now. Raises OSError and `DecodeError`.
        """
        kept = self.get(digest, long_side, at_ms) if digest else None
        if kept:
            return kept
        with open(path, "rb", opener=isolation.open_regular) as file:
            now = file_stat(os.fstat(file.fileno()))
            if digest is None or (now.size_bytes, now.mtime_ns) != known:
                require_plausible(file, suffix(path))
                digest = digest_of(file)
            return self.make(digest, long_side, file, suffix(path), at_ms)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        with self._lock:
            mine = self._in_work.setdefault(name, threading.Lock())
        try:
            with mine:
                yield
        finally:
            with self._lock:
                if self._in_work.get(name) is mine and not mine.locked():
                    del self._in_work[name]


def _name(digest: bytes, long_side: int, at_ms: int | None) -> str:
    moment = "" if at_ms is None else f"{at_ms}-"
    return f"{digest.hex()}-{moment}{long_side}.jpg"
