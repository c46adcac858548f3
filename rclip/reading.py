"""Reads pending files in threads: their digest and, if their bytes are new, their pixels (`decoding`).

Bytes that are known, because a photo was moved or copied, are never decoded; where the file system itself says that a
file is one we know under another name, they are not even read.
"""

import io
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rclip import formats, walk
from rclip.changes import CANNOT_OPEN, Pending
from rclip.decoding import Decoders, Refusal
from rclip.errors import plain_reason
from rclip.facts import Facts
from rclip.store import Stamp, Store, digest_of

WORKERS = os.cpu_count() or 1


class Decoded(NamedTuple):
    """New bytes, ready for the model."""

    pending: Pending
    stamp: Stamp
    digest: bytes
    pixels: np.ndarray
    """(S, S, 3) uint8"""
    facts: Facts


class Copy(NamedTuple):
    """Bytes that are stored already, or on their way there under another name."""

    pending: Pending
    stamp: Stamp
    digest: bytes


class SameFile(NamedTuple):
    """A photo that the file system itself says we know; its bytes were not read."""

    pending: Pending
    stamp: Stamp


class Failed(NamedTuple):
    """A file that cannot be read. It `is_lasting` when that will be so until the file changes."""

    pending: Pending
    stamp: Stamp
    digest: bytes | None
    reason: str
    is_lasting: bool = True
    is_torn: bool = False
    """Whether the bytes that were read may never have been the file's, nor those of the digest."""


class Lacking(NamedTuple):
    """A file that could be read with a package that is not installed."""

    pending: Pending
    stamp: Stamp
    digest: bytes
    extra: formats.Extra


Outcome = Decoded | Copy | SameFile | Failed | Lacking


class Reader:
    """Turns pending files into outcomes, in threads, in order."""

    def __init__(self, store: Store, folder: bytes, resolution: int, max_pixels: int):
        self._store = store
        self._folder = folder
        self._resolution = resolution
        self._max_pixels = max_pixels
        self.lock = threading.Lock()
        """Around the store and what is claimed."""
        self._claimed: set[bytes] = set()
        """Digests of new bytes on their way through decoder and model; other files with them are copies."""

    def read(self, pending: Iterable[Pending], ahead: Callable[[], int]) -> Generator[Outcome, None, None]:
        """The outcomes in order; at most `ahead()` files beyond the one yielded are being read or held."""
        self._decoders = Decoders(self._resolution, self._max_pixels)
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

    def _read(self, pending: Pending) -> Outcome:
        stamp = Stamp(*pending.file[1:])
        if self._is_known_file(stamp):
            return SameFile(pending, stamp)
        try:
            with open(self._folder + pending.file.path, "rb", opener=open_without_waiting) as file:
                return self._read_open(pending, file)
        except FileNotFoundError:
            return Failed(pending, stamp, None, "it vanished before it could be read", is_lasting=False)
        except OSError as error:
            return Failed(pending, stamp, None, CANNOT_OPEN + plain_reason(error))

    def _is_known_file(self, stamp: Stamp) -> bool:
        """Whether this is a photo we know, renamed or linked to.

        A time in whole seconds proves nothing: archives and copying tools set such times, and inodes are used again.
        """
        if stamp.mtime_ns % 1_000_000_000 == 0:
            return False
        with self.lock:
            return self._store.find_identity(stamp) is not None

    def _read_open(self, pending: Pending, file: BinaryIO) -> Outcome:
        status = os.fstat(file.fileno())
        stamp = Stamp(*walk.stamp(status))
        if not stat.S_ISREG(status.st_mode):
            return Failed(pending, stamp, None, "it is no regular file any more", is_lasting=False)
        digest = digest_of(_UntilStopped(file, lambda: self._is_stopped))
        if not self._claim(digest):
            return Copy(pending, stamp, digest)
        outcome = self._decode(pending, stamp, digest, file)
        if Stamp(*walk.stamp(os.fstat(file.fileno()))) != stamp:
            return Failed(pending, stamp, digest, "it changed while it was read", is_lasting=False, is_torn=True)
        return outcome

    def _claim(self, digest: bytes) -> bool:
        """Whether these bytes are new; if so, they are now this thread's to decode."""
        with self.lock:
            if digest in self._claimed or self._store.find_content(digest, b""):
                return False
            self._claimed.add(digest)
            return True

    def _decode(self, pending: Pending, stamp: Stamp, digest: bytes, file: BinaryIO) -> Outcome:
        answer = self._decoders.decode(file, walk.suffix(pending.file.path))
        if not isinstance(answer, Refusal):
            return Decoded(pending, stamp, digest, *answer)
        if answer.extra:
            return Lacking(pending, stamp, digest, answer.extra)
        return Failed(pending, stamp, digest, answer.reason, answer.is_lasting)


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
