"""Brings the index up to date with the photos on disk.

First `changes` merges the walk with the table: an unchanged file costs its stat and nothing else. Then only what is new
or changed is read, in threads (`reading`), encoded in batches and stored, one transaction a batch.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np

from rclip import formats, image
from rclip.changes import Pending, Plan, compare
from rclip.errors import Failure
from rclip.models import ImageEncoder, Model
from rclip.reading import CANNOT_OPEN, WORKERS, Copy, Decoded, Failed, Lacking, Outcome, Reader, SameFile
from rclip.store import AWAY, Match, Stamp, Store
from rclip.walk import USUAL, Skip, walk

_STORED_TOGETHER = 1000
"""Files in one transaction at most, where few or none of them need the model."""

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
    missing_extras: Counter[formats.Extra] = field(default_factory=Counter)
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
    found = walk(folder, formats.SUFFIXES, options.skip)
    plan = compare(found, store.rows(folder), folder, options.skip, _to_retry(store.failures(folder), options))
    summary += _store_plan(store, plan)
    if plan.pending:
        _read_pending(store, model, folder, options, plan, summary, progress)
    if store.has_displaced():
        with store.transaction():
            store.drop_displaced()


def _to_retry(failures: dict[bytes, str], options: Options) -> set[bytes]:
    """The unreadable files that are tried again although they are unchanged."""
    return {path for path, reason in failures.items() if options.max_pixels or reason.startswith(CANNOT_OPEN)}


def _read_pending(
    store: Store, model: Model, folder: bytes, options: Options, plan: Plan, summary: Summary, progress: Progress
) -> None:
    encoder = model.image_encoder(options.device, options.batch_size)
    reader = Reader(store, folder, model.resolution, options.max_pixels or image.default_max_pixels())
    writer = _Writer(store, reader, encoder, folder, plan.gone)
    pending = plan.pending
    while pending:
        total = left = len(pending)
        progress(0, total)
        with closing(reader.read(pending, lambda: 2 * encoder.batch_size + WORKERS)) as outcomes:
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


class _Writer:
    """Takes outcomes, batch by batch, through the model into the store."""

    def __init__(self, store: Store, reader: Reader, encoder: ImageEncoder, folder: bytes, gone: Iterable[int]):
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
