"""Reads pending files in threads: their digest and, if their bytes are new, their pixels.

Bytes that are known, because a photo was moved or copied, are never decoded; where the file system itself says that a
file is one we know under another name, they are not even read.
"""

import io
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

import numpy as np

from rclip import formats, image
from rclip.changes import CANNOT_OPEN, Pending
from rclip.errors import plain_reason
from rclip.store import Stamp, Store, digest_of
from rclip.walk import stamp, suffix

WORKERS = os.cpu_count() or 1

_IN_MEMORY_BYTES = 64 << 20
"""Files up to this size are read once, for digest and decoder both; larger ones twice, and but for RAW never whole."""


class Decoded(NamedTuple):
    """New bytes, ready for the model."""

    pending: Pending
    stamp: Stamp
    digest: bytes
    pixels: np.ndarray
    """(S, S, 3) uint8"""


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
                pool.shutdown(wait=False, cancel_futures=True)

    def release(self, digests: Iterable[bytes | None]) -> None:
        """These are stored, or will not be: the next file with such bytes is looked up, or decoded, again."""
        self._claimed.difference_update(digests)

    def _read(self, pending: Pending) -> Outcome:
        stamp = Stamp(*pending.file[1:])
        if self._is_known_file(stamp):
            return SameFile(pending, stamp)
        try:
            with open(self._folder + pending.file.path, "rb") as file:
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
        stamp = _stamp(file)
        stream: BinaryIO = io.BytesIO(file.read()) if stamp.size_bytes <= _IN_MEMORY_BYTES else file
        digest = digest_of(stream)
        stream.seek(0)
        if not self._claim(digest):
            return Copy(pending, stamp, digest)
        outcome = self._decode(pending, stamp, digest, stream)
        if _stamp(file) != stamp:
            return Failed(pending, stamp, digest, "it changed while it was read", is_lasting=False)
        return outcome

    def _claim(self, digest: bytes) -> bool:
        """Whether these bytes are new; if so, they are now this thread's to decode."""
        with self.lock:
            if digest in self._claimed or self._store.find_content(digest, b""):
                return False
            self._claimed.add(digest)
            return True

    def _decode(self, pending: Pending, stamp: Stamp, digest: bytes, stream: BinaryIO) -> Outcome:
        try:
            pixels = image.pixels(stream, suffix(pending.file.path), self._resolution, self._max_pixels)
        except image.NeedsExtra as error:
            return Lacking(pending, stamp, digest, error.extra)
        except image.Unreadable as error:
            return Failed(pending, stamp, digest, str(error), is_lasting=not isinstance(error, image.NotNow))
        return Decoded(pending, stamp, digest, pixels)


def _stamp(file: BinaryIO) -> Stamp:
    return Stamp(*stamp(os.fstat(file.fileno())))
