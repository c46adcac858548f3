"""Reads pending files in threads: their digest and, if their bytes are new, their pixels (`decode_pool`).

Bytes that are known, because a photo was moved or copied, are never decoded; where the file system itself says that a
file is one we know under another name, they are not even read.
"""

import io
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from stat import S_ISREG
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rclip.errors import plain_reason
from rclip.files import FileStat, digest_of, file_stat, suffix
from rclip.index.store import Store
from rclip.indexing.diff import PendingFile
from rclip.photo.decode_pool import DecodePool
from rclip.photo.failures import DecodeError, FailedPhoto, FailureKind
from rclip.photo.metadata import PhotoMetadata
from rclip.resizing import CLIP_RESIZING, Resizing

WORKERS = os.cpu_count() or 1


class NewPhoto(NamedTuple):
    """New bytes, ready for the model."""

    pending: PendingFile
    stat: FileStat
    digest: bytes
    pixels: np.ndarray
    """(S, S, 3) uint8"""
    metadata: PhotoMetadata


class KnownContent(NamedTuple):
    """Bytes that are stored already, or on their way there under another name."""

    pending: PendingFile
    stat: FileStat
    digest: bytes


class KnownFile(NamedTuple):
    """A photo that the file system itself says we know; its bytes were not read."""

    pending: PendingFile
    stat: FileStat


class NoPhoto(NamedTuple):
    """A file that cannot be read."""

    pending: PendingFile
    stat: FileStat
    digest: bytes | None
    """Of bytes that cannot be decoded; None where they were not read, or may never have been the file's."""
    failure: FailedPhoto


Outcome = NewPhoto | KnownContent | KnownFile | NoPhoto


class Reader:
    """Turns pending files into outcomes, in threads, in order."""

    def __init__(
        self, store: Store, folder: bytes, resolution: int, max_pixels: int, resizing: Resizing = CLIP_RESIZING
    ):
        self._store = store
        self._folder = folder
        self._resolution, self._resizing = resolution, resizing
        self._max_pixels = max_pixels
        self.lock = threading.Lock()
        """Around the store and what is claimed."""
        self._claimed: set[bytes] = set()
        """Digests of new bytes on their way through decoder and model; other files with them are copies."""

    def read(self, pending: Iterable[PendingFile], ahead: Callable[[], int]) -> Generator[Outcome, None, None]:
        """The outcomes in order; at most `ahead()` files beyond the one yielded are being read or held."""
        self._decoders = DecodePool(self._resolution, self._max_pixels, self._resizing)
        self._is_stopped = False
        futures: deque[Future[Outcome]] = deque()
        with ThreadPoolExecutor(WORKERS, "rclip-decode") as pool:
            try:
                for item in pending:
                    if len(futures) >= ahead():
                        yield futures.popleft().result()
                    futures.append(pool.submit(self._read, item))
                while futures:
                    yield futures.popleft().result()
            finally:
                self._is_stopped = True  # or leaving the pool would wait for what the threads are at
                pool.shutdown(wait=False, cancel_futures=True)
                self._decoders.close()

    def release(self, digests: Iterable[bytes | None]) -> None:
        """These are stored, or will not be: the next file with such bytes is looked up, or decoded, again."""
        self._claimed.difference_update(digests)

    def _read(self, pending: PendingFile) -> Outcome:
        stat = pending.file.stat
        if self._is_known_file(pending):
            return KnownFile(pending, stat)
        try:
            with open(self._folder + pending.file.path, "rb", opener=open_without_waiting) as file:
                return self._read_open(pending, file)
        except FileNotFoundError:
            return self._failed(pending, stat, None, DecodeError(_VANISHED, FailureKind.PASSING))
        except OSError as error:
            return self._failed(pending, stat, None, DecodeError(plain_reason(error), FailureKind.CANNOT_OPEN))

    def _is_known_file(self, pending: PendingFile) -> bool:
        """Whether this is a photo we know, renamed or linked to.

        A time in whole seconds proves nothing: archives and copying tools set such times, and inodes are used again.
        Nor does one that the photo at this path had when it was read: it is here because there is doubt about that.
        """
        stat, before = pending.file.stat, pending.before
        if stat.mtime_ns % 1_000_000_000 == 0 or (before and before.mtime_ns == stat.mtime_ns):
            return False
        with self.lock:
            return self._store.find_identity(stat) is not None

    def _read_open(self, pending: PendingFile, file: BinaryIO) -> Outcome:
        status = os.fstat(file.fileno())
        stat = file_stat(status)
        if not S_ISREG(status.st_mode):
            return self._failed(pending, stat, None, DecodeError(_NOT_REGULAR, FailureKind.PASSING))
        digest = digest_of(_UntilStopped(file, lambda: self._is_stopped))
        if not self._claim(digest):
            return KnownContent(pending, stat, digest)
        outcome = self._decode(pending, stat, digest, file)
        if file_stat(os.fstat(file.fileno())) != stat:
            with self.lock:
                self.release([digest])  # copies that wait for these bytes are read again
            return self._failed(pending, stat, None, DecodeError(_CHANGED, FailureKind.PASSING))
        return outcome

    def _claim(self, digest: bytes) -> bool:
        """Whether these bytes are new; if so, they are now this thread's to decode."""
        with self.lock:
            if digest in self._claimed or self._store.find_content(digest, b""):
                return False
            self._claimed.add(digest)
            return True

    def _decode(self, pending: PendingFile, stat: FileStat, digest: bytes, file: BinaryIO) -> Outcome:
        try:
            return NewPhoto(pending, stat, digest, *self._decoders.decode(file, suffix(pending.file.path)))
        except DecodeError as error:
            return self._failed(pending, stat, digest, error)

    def _failed(self, pending: PendingFile, stat: FileStat, digest: bytes | None, error: DecodeError) -> NoPhoto:
        failure = FailedPhoto(self._folder + pending.file.path, str(error), error.kind, error.extra)
        return NoPhoto(pending, stat, digest, failure)


_VANISHED = "it vanished before it could be read"
_NOT_REGULAR = "it is not a regular file any more"
_CHANGED = "it changed while it was read"


class _UntilStopped(io.RawIOBase):
    """A file that ends with an OSError when the run does: it may be large, and its disk slow."""

    def __init__(self, file: BinaryIO, is_stopped: Callable[[], bool]):
        self._file = file
        self._is_stopped = is_stopped

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._is_stopped():
            raise OSError("the run has ended")
        return self._file.readinto(buffer)  # type: ignore[attr-defined]


def open_without_waiting(path: str, flags: int) -> int:
    """What was a file when the folder was listed may be a pipe by now, which would wait for someone to write to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
