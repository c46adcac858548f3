"""Brings the index up to date with the photos on disk.

First `compare` merges the walk with the table, both in path order: an unchanged file costs its stat and nothing else.
Then only what is new or changed is read. Bytes that are known already, because a photo was moved or copied, keep their
vector; the others are decoded in threads, encoded in batches and stored, one transaction a batch.
"""

import hashlib
import io
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, fields
from typing import BinaryIO, NamedTuple

import numpy as np

from rclip import image
from rclip.errors import Failure, StoreError, plain_reason
from rclip.models import ImageEncoder, Model
from rclip.store import AWAY, Match, Row, Stamp, Store
from rclip.walk import USUAL, Empty, File, Skip, Unlisted, walk

_IN_MEMORY_BYTES = 64 << 20
"""Files up to this size are read once, for digest and decoder both; larger ones twice, but never held whole."""

_DIGEST_BYTES = 16
_WORKERS = os.cpu_count() or 1
_STORED_TOGETHER = 1000
"""Files in one transaction at most, where few or none of them need the model."""

_CANNOT_OPEN = "cannot open it: "
"""Failures that start so are the file system's, not the file's, and are tried again by each run."""
_LISTED_SUFFIXES = frozenset(suffix.encode() for suffix in image.SUFFIXES)

Progress = Callable[[int, int], None]
"""Called with the number of files done and of all that are to be read."""


class Options(NamedTuple):
    """How photos are found, read and encoded."""

    skip: Skip = USUAL
    device: str | None = None
    batch_size: int | None = None
    max_pixels: int | None = None
    """None for a limit drawn from the machine's memory. One given also tries unreadable files again."""


@dataclass
class Summary:
    """What a run found and did."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    copied: int = 0
    returned: int = 0
    gone: int = 0
    failures: list[Failure] = field(default_factory=list)
    """Files that could not be read, those found unreadable by earlier runs not among them."""
    unlisted: list[Failure] = field(default_factory=list)
    """Folders that could not be listed. What the index knows of them is kept."""
    missing_extras: Counter[image.Extra] = field(default_factory=Counter)
    """How many files wait for a package that is not installed."""

    def __iadd__(self, other: "Summary") -> "Summary":
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))
        return self

    @property
    def has_changes(self) -> bool:
        counts = (self.added, self.changed, self.moved, self.copied, self.returned, self.gone)
        return any(counts) or bool(self.failures)


def update(store: Store, model: Model, folder: bytes, options: Options, summary: Summary, progress: Progress) -> None:
    """Updates the index of everything below `folder`, an absolute path that ends in a slash.

    Adds to `summary` as it goes, so that an interrupted run can say how far it got; what is counted there is stored.
    Raises `StoreError` and `ModelError`; unreadable photos and folders are no errors.
    """
    found = walk(folder, _LISTED_SUFFIXES, options.skip)
    plan = compare(found, store.rows(folder), folder, options.skip, _to_retry(store.failures(folder), options))
    summary += _store_plan(store, plan)
    if plan.pending:
        _read_pending(store, model, folder, options, plan, summary, progress)
    if store.has_displaced():
        with store.transaction():
            store.drop_displaced()


def _to_retry(failures: dict[bytes, str], options: Options) -> set[bytes]:
    """The unreadable files that are tried again although they are unchanged."""
    return {path for path, reason in failures.items() if options.max_pixels or reason.startswith(_CANNOT_OPEN)}


def _read_pending(
    store: Store, model: Model, folder: bytes, options: Options, plan: "Plan", summary: Summary, progress: Progress
) -> None:
    encoder = model.image_encoder(options.device, options.batch_size)
    reader = _Reader(store, folder, model.resolution, options.max_pixels or image.default_max_pixels())
    writer = _Writer(store, reader, encoder, folder, plan.gone)
    pending = plan.pending
    while pending:
        total = left = len(pending)
        progress(0, total)
        with closing(reader.read(pending, lambda: 2 * encoder.batch_size + _WORKERS)) as outcomes:
            for batch in _batches(outcomes, encoder):
                left -= len(batch)
                summary += writer.write(batch, left)
                progress(total - left, total)
        pending = writer.take_unresolved()


def _batches(outcomes: Iterable[Outcome], encoder: ImageEncoder) -> Iterator[list[Outcome]]:
    """As many as make a batch of pictures for the model, or a transaction's worth of others."""
    batch: list[Outcome] = []
    pictures = 0
    for outcome in outcomes:
        batch.append(outcome)
        pictures += isinstance(outcome, Decoded)
        if pictures >= encoder.batch_size or len(batch) >= _STORED_TOGETHER:
            yield batch
            batch, pictures = [], 0
    if batch:
        yield batch


# --- what to do ------------------------------------------------------------------------------------------------------


class Pending(NamedTuple):
    """A file to be read, and the row of the photo that was at its path before."""

    file: File
    before: Row | None


@dataclass
class Plan:
    """How the disk differs from the table."""

    pending: list[Pending] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    away: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unlisted: list[Failure] = field(default_factory=list)
    missing_extras: Counter[image.Extra] = field(default_factory=Counter)


def compare(
    found: Iterable[File | Failure | Unlisted | Empty],
    rows: Iterator[Row],
    folder: bytes,
    skip: Skip,
    to_retry: Set[bytes] = frozenset(),
) -> Plan:
    """Merges a walk of `folder` with the rows below it, both in path order.

    A row is gone only if the walk listed the folder it was in and would have come to it. Raises `StoreError` when
    `folder` itself cannot be listed.
    """
    plan = Plan()
    row = next(rows, None)
    for item in found:
        path = folder + item.path
        while row and row.path < path:
            _miss(plan, row, folder, skip)
            row = next(rows, None)
        if isinstance(item, Unlisted | Empty):
            while row and row.path.startswith(path):
                if isinstance(item, Empty) and row.gone_ns is None:
                    plan.away.append(row.id)
                row = next(rows, None)
            if isinstance(item, Unlisted) and item.reason:
                _note_unlisted(plan, path, item)
        elif row and row.path == path:
            _meet(plan, item, row, path in to_retry)
            row = next(rows, None)
        elif isinstance(item, Failure):
            plan.failures.append(Failure(path, item.reason))
        else:
            _plan_to_read(plan, Pending(item, None))
    while row:
        _miss(plan, row, folder, skip)
        row = next(rows, None)
    return plan


def _note_unlisted(plan: Plan, path: bytes, item: Unlisted) -> None:
    assert item.reason
    if not item.path:
        raise StoreError(f"cannot list {os.fsdecode(path)}: {item.reason}")
    plan.unlisted.append(Failure(path, item.reason))


def _miss(plan: Plan, row: Row, folder: bytes, skip: Skip) -> None:
    """The walk did not come to this row."""
    if row.gone_ns in (None, AWAY) and not skip.path(row.path[len(folder) :]):
        plan.gone.append(row.id)


def _meet(plan: Plan, item: File | Failure, row: Row, retry: bool) -> None:
    """Something is where this row was. A file that cannot be stat'ed now keeps what is known of it."""
    if isinstance(item, Failure):
        return
    if (item.size_bytes, item.mtime_ns) != (row.size_bytes, row.mtime_ns) or retry:
        _plan_to_read(plan, Pending(item, row))
    elif row.gone_ns is not None:
        plan.returned.append(row.id)


def _plan_to_read(plan: Plan, pending: Pending) -> None:
    extra = image.missing_extra(_suffix(pending.file.path))
    if extra:
        plan.missing_extras[extra] += 1
    else:
        plan.pending.append(pending)


def _store_plan(store: Store, plan: Plan) -> Summary:
    """Writes what the comparison alone has shown, if anything."""
    if plan.gone or plan.away or plan.returned or plan.failures:
        with store.transaction():
            store.mark_gone(plan.gone)
            store.mark_gone(plan.away, AWAY)
            store.mark_there(plan.returned)
            for failure in plan.failures:
                store.add_failure(failure.path, Stamp(0, 0, 0, 0), failure.reason)
    return Summary(
        gone=len(plan.gone) + len(plan.away),
        returned=len(plan.returned),
        failures=plan.failures,
        unlisted=plan.unlisted,
        missing_extras=plan.missing_extras,
    )


def _suffix(path: bytes) -> str:
    return path.rpartition(b".")[2].lower().decode("ascii", "replace")


# --- reading, in the decoding threads --------------------------------------------------------------------------------


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
    extra: image.Extra


Outcome = Decoded | Copy | SameFile | Failed | Lacking


class _Reader:
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
        with ThreadPoolExecutor(_WORKERS, "rclip-decode") as pool:
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
            return Failed(pending, stamp, None, _CANNOT_OPEN + plain_reason(error))

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
        digest = hashlib.file_digest(stream, _new_digest).digest()  # type: ignore[arg-type]
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
            pixels = image.pixels(stream, _suffix(pending.file.path), self._resolution, self._max_pixels)
        except image.NeedsExtra as error:
            return Lacking(pending, stamp, digest, error.extra)
        except image.Unreadable as error:
            return Failed(pending, stamp, digest, str(error))
        return Decoded(pending, stamp, digest, pixels)


def _stamp(file: BinaryIO) -> Stamp:
    status = os.fstat(file.fileno())
    return Stamp(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)


def _new_digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)


# --- encoding and storing --------------------------------------------------------------------------------------------


class _Writer:
    """Takes outcomes, batch by batch, through the model into the store."""

    def __init__(self, store: Store, reader: _Reader, encoder: ImageEncoder, folder: bytes, gone: Iterable[int]):
        self._store = store
        self._reader = reader
        self._encoder = encoder
        self._folder = folder
        self._gone_now = set(gone)
        self._known_failures = store.failures(folder)
        self._copies: list[Copy] = []
        """Those whose row to copy from is not stored yet."""
        self._unresolved: list[Pending] = []
        self._fruitless: dict[bytes, Failed | Lacking] = {}
        """What became of new bytes that did not reach the model, for copies of them."""

    def write(self, batch: Sequence[Outcome], left: int) -> Summary:
        """Stores a batch in one transaction; `left` files at most are still to come."""
        decoded = [outcome for outcome in batch if isinstance(outcome, Decoded)]
        vectors = self._encoder(np.stack([outcome.pixels for outcome in decoded]), left) if decoded else ()
        done = Summary()
        with self._reader.lock, self._store.transaction():
            for fresh, vector in zip(decoded, vectors, strict=True):
                self._add(fresh, vector, done)
            for outcome in batch:
                if isinstance(outcome, Failed | Lacking):
                    self._note(outcome, done)
            waiting, self._copies = self._copies, []
            for outcome in (*waiting, *batch):
                if isinstance(outcome, Copy | SameFile):
                    self._link(outcome, done)
            self._reader.release(outcome.digest for outcome in batch if not isinstance(outcome, Copy | SameFile))
        return done

    def take_unresolved(self) -> list[Pending]:
        """Files whose match was gone when it was wanted, because another run is at work here: to be read once more."""
        unresolved, self._unresolved = self._unresolved, []
        unresolved += (copy.pending for copy in self._copies)
        self._copies = []
        return unresolved

    def _path(self, outcome: Outcome) -> bytes:
        return self._folder + outcome.pending.file.path

    def _add(self, outcome: Decoded, vector: np.ndarray, done: Summary) -> None:
        self._store.add(self._path(outcome), outcome.stamp, outcome.digest, vector)
        if outcome.pending.before is None:
            done.added += 1
        else:
            done.changed += 1

    def _note(self, outcome: Failed | Lacking, done: Summary) -> None:
        """Remembers why a file cannot be read, unless that was known or may be otherwise the next time."""
        if outcome.digest:
            self._fruitless[outcome.digest] = outcome
        if isinstance(outcome, Lacking):
            done.missing_extras[outcome.extra] += 1
            return
        path, before = self._path(outcome), outcome.pending.before
        is_unchanged = before is not None and (before.size_bytes, before.mtime_ns) == outcome.stamp[:2]
        if is_unchanged and self._known_failures.get(path) == outcome.reason:
            return
        if outcome.is_lasting:
            self._store.add_failure(path, outcome.stamp, outcome.reason)
        done.failures.append(Failure(path, outcome.reason))

    def _link(self, outcome: Copy | SameFile, done: Summary) -> None:
        """Gives the file the vector of the photo that has the same bytes."""
        path = self._path(outcome)
        if isinstance(outcome, SameFile):
            match = self._store.find_identity(outcome.stamp)
        else:
            match = self._store.find_content(outcome.digest, path)
            if match is None and outcome.digest in self._fruitless:
                fate = self._fruitless[outcome.digest]
                self._note(fate._replace(pending=outcome.pending, stamp=outcome.stamp), done)
            elif match is None:
                self._copies.append(outcome)
        if match is None:
            if isinstance(outcome, SameFile):
                self._unresolved.append(outcome.pending)
            return
        if match.path == path or match.gone:
            self._store.move(match.id, path, outcome.stamp)
        else:
            self._store.copy(match.id, path, outcome.stamp)
        self._count_link(match, path, done)

    def _count_link(self, match: Match, path: bytes, done: Summary) -> None:
        if not match.gone:
            done.copied += match.path != path
        elif match.path == path:
            done.returned += 1
        else:
            done.moved += 1
            done.gone -= match.id in self._gone_now
