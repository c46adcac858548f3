"""Reads pending files in threads: their digest and, if their bytes are new, their pixels (`decode_pool`).

Bytes that are known, because a photo was moved or copied, are never decoded; where the file system itself says that a
file is one we know under another name, they are not even read. A film has an outcome for each of its parts.
"""

import io
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from stat import S_ISREG
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rclip import formats
from rclip.cores import CORES
from rclip.errors import plain_reason
from rclip.files import FileStat, digest_of, file_stat, suffix
from rclip.index.store import Store
from rclip.indexing.claims import Claims
from rclip.indexing.diff import PendingFile
from rclip.photo.decode_pool import DecodePool, FilmPart
from rclip.photo.failures import DecodeError, FailedPhoto, FailureKind
from rclip.photo.file_sizes import require_plausible
from rclip.photo.metadata import PhotoMetadata
from rclip.resizing import CLIP_RESIZING, Resizing

WORKERS = CORES


class NewPhoto(NamedTuple):
    """New bytes, ready for the model."""

    pending: PendingFile
    stat: FileStat
    digest: bytes
    pixels: np.ndarray
    """(S, S, 3) uint8"""
    metadata: PhotoMetadata


class NewMoments(NamedTuple):
    """A part of a film with new bytes, ready for the model."""

    pending: PendingFile
    stat: FileStat
    digest: bytes
    part: FilmPart
    resumed_id: int | None
    """The film's id, where an earlier run has stored its first moments."""

    @property
    def is_last(self) -> bool:
        return self.part.resume_ms is None


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


Outcome = NewPhoto | NewMoments | KnownContent | KnownFile | NoPhoto


def pixels_of(outcome: Outcome) -> np.ndarray:
    """The squares that the model is to look at. (n, S, S, 3) uint8, or (0,)"""
    if isinstance(outcome, NewPhoto):
        return outcome.pixels[np.newaxis]
    return outcome.part.pixels if isinstance(outcome, NewMoments) else _NO_PIXELS


_NO_PIXELS = np.empty(0, np.uint8)


def ends_file(outcome: Outcome) -> bool:
    """Whether nothing more comes of its file."""
    return not isinstance(outcome, NewMoments) or outcome.is_last


class Reader:
    """Turns pending files into outcomes, in threads, in order."""

    def __init__(
        self,
        store: Store,
        claims: Claims,
        folder: bytes,
        resolution: int,
        max_pixels: int,
        resizing: Resizing = CLIP_RESIZING,
    ):
        self._store = store
        self._claims = claims
        self._folder = folder
        self._resolution, self._resizing = resolution, resizing
        self._max_pixels = max_pixels

    def read(self, pending: Iterable[PendingFile], ahead: Callable[[], int]) -> Generator[Outcome, None, None]:
        """The outcomes, but for films in order; at most `ahead()` files beyond those yielded are being read or held."""
        self._decoders = DecodePool(self._resolution, self._max_pixels, self._resizing)
        self._is_stopped = False
        self._films = _FilmOutcomes(lambda: self._is_stopped)
        files: deque[Future[Outcome | None]] = deque()
        with ThreadPoolExecutor(WORKERS, "rclip-decode") as pool:
            try:
                for item in pending:
                    if len(files) >= ahead():
                        yield from self._films.until_done(files.popleft())
                    is_film = suffix(item.file.path) in formats.VIDEO.suffixes
                    files.append(pool.submit(self._read_film if is_film else self._read, item))
                while files:
                    yield from self._films.until_done(files.popleft())
            finally:
                self._is_stopped = True  # or leaving the pool would wait for what the threads are at
                pool.shutdown(wait=False, cancel_futures=True)
                self._decoders.close()

    def _read(self, pending: PendingFile) -> Outcome:
        (outcome,) = self._outcomes(pending, self._photo)
        return outcome

    def _read_film(self, pending: PendingFile) -> None:
        with closing(self._outcomes(pending, self._film)) as outcomes:  # which ends its decoder
            for outcome in outcomes:
                if not self._films.put(outcome):
                    return

    def _outcomes(self, pending: PendingFile, decode: "_Decode") -> Generator[Outcome, None, None]:
        stat = pending.file.stat
        if self._claims.knows_file(pending):
            yield KnownFile(pending, stat)
            return
        try:
            with open(self._folder + pending.file.path, "rb", opener=open_without_waiting) as file:
                yield from self._of_open(pending, file, decode)
        except FileNotFoundError:
            yield self._failed(pending, stat, None, DecodeError(VANISHED, FailureKind.PASSING))
        except OSError as error:
            yield self._failed(pending, stat, None, DecodeError(plain_reason(error), FailureKind.CANNOT_OPEN))

    def _of_open(self, pending: PendingFile, file: BinaryIO, decode: "_Decode") -> Iterator[Outcome]:
        status = os.fstat(file.fileno())
        stat = file_stat(status)
        if not S_ISREG(status.st_mode):
            yield self._failed(pending, stat, None, DecodeError(NOT_REGULAR, FailureKind.PASSING))
            return
        try:
            require_plausible(file, suffix(pending.file.path))
        except DecodeError as error:
            yield self._failed(pending, stat, None, error)
            return
        digest = digest_of(UntilStopped(file, stat.size_bytes, lambda: self._is_stopped))
        if not self._claims.claim(digest):
            yield KnownContent(pending, stat, digest)
            return
        for outcome in decode(pending, stat, digest, file):
            if file_stat(os.fstat(file.fileno())) != stat:
                with self._claims.lock:
                    self._claims.release([digest])  # copies that wait for these bytes are read again
                yield self._failed(pending, stat, None, DecodeError(CHANGED, FailureKind.PASSING))
                return
            yield outcome

    def _photo(self, pending: PendingFile, stat: FileStat, digest: bytes, file: BinaryIO) -> Iterator[Outcome]:
        try:
            yield NewPhoto(pending, stat, digest, *self._decoders.decode(file, suffix(pending.file.path)))
        except DecodeError as error:
            yield self._failed(pending, stat, digest, error)

    def _film(self, pending: PendingFile, stat: FileStat, digest: bytes, file: BinaryIO) -> Iterator[Outcome]:
        """From where an earlier run has stopped, if that film was here or is missing from where it was."""
        path = self._folder + pending.file.path
        with self._claims.lock:
            unfinished = [film for film in self._store.films.unfinished(digest) if film.is_missing or film.path == path]
        resumed_id, from_ms = (unfinished[0].id, unfinished[0].resume_ms) if unfinished else (None, 0)
        try:
            for part in self._decoders.film(file, suffix(pending.file.path), from_ms):
                yield NewMoments(pending, stat, digest, part, resumed_id)
        except DecodeError as error:
            yield self._failed(pending, stat, digest, error)

    def _failed(self, pending: PendingFile, stat: FileStat, digest: bytes | None, error: DecodeError) -> NoPhoto:
        failure = FailedPhoto(self._folder + pending.file.path, str(error), error.kind, error.extra)
        return NoPhoto(pending, stat, digest, failure)


_Decode = Callable[[PendingFile, FileStat, bytes, BinaryIO], Iterator[Outcome]]


class _FilmOutcomes:
    """What is found of films, a part at a time, on its way from the threads that read to the one that stores.

    That takes parts of whatever film while it waits for a file: a film holds its decoder's memory until it is read to
    its end, and the file waited for may need that memory.
    """

    def __init__(self, is_stopped: Callable[[], bool]):
        self._is_stopped = is_stopped
        self._found: queue.Queue[Outcome | None] = queue.Queue()
        """None only wakes who waits."""
        self._room = threading.Semaphore(_PARTS_AHEAD)

    def put(self, outcome: Outcome) -> bool:
        """Waits as long as too many are left to be taken. Whether anybody still takes them."""
        while not self._room.acquire(timeout=_LOOKED_EVERY_S):
            if self._is_stopped():
                return False
        self._found.put(outcome)
        return True

    def until_done(self, file: Future[Outcome | None]) -> Iterator[Outcome]:
        """All that is found of films until the file has been read, and then its own outcome."""
        file.add_done_callback(lambda _: self._found.put(None))
        is_last = False
        while not is_last or not self._found.empty():
            outcome = self._found.get()
            is_last = is_last or file.done()
            if outcome:
                self._room.release()
                yield outcome
        own = file.result()
        if own:
            yield own


_PARTS_AHEAD = 2 * WORKERS
_LOOKED_EVERY_S = 0.2


VANISHED = "it vanished before it could be read"
NOT_REGULAR = "it is not a regular file any more"
CHANGED = "it changed while it was read"


class UntilStopped(io.RawIOBase):
    """A file that ends with an OSError when the run does: it may be large, and its disk slow.

    It ends by itself soon after its size: it may grow faster than it is read, or have no end at all.
    """

    def __init__(self, file: BinaryIO, size_bytes: int, is_stopped: Callable[[], bool]):
        self._file = file
        self._left = size_bytes + _MOST_BYTES_MORE
        self._is_stopped = is_stopped

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._is_stopped():
            raise OSError("the run has ended")
        if self._left <= 0:
            return 0
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._left -= count
        return count


_MOST_BYTES_MORE = 64 << 20  # of a file system that tells no sizes


def open_without_waiting(path: str, flags: int) -> int:
    """What was a file when the folder was listed may be a pipe by now, which would wait for someone to write to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
