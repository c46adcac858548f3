"""Stores what has been read and encoded, batch by batch."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

import numpy as np

from rclip import signals
from rclip.index.store import Store
from rclip.index.store.files import KnownRow
from rclip.index.store.films import Moment, StoredFilm
from rclip.indexing.claims import Claims
from rclip.indexing.diff import PendingFile, Plan
from rclip.indexing.reader import KnownContent, KnownFile, NewMoments, NewPhoto, NoPhoto, Outcome, ends_file, pixels_of
from rclip.indexing.source import Source
from rclip.indexing.summary import Summary
from rclip.photo.failures import FailedPhoto


def write_pending(
    store: Store,
    source: Source,
    folder: bytes,
    plan: Plan,
    summary: Summary,
    progress: Callable[[int, int | None], None],
) -> None:
    """Stores what becomes of all that the plan has pending; adds to `summary` what has been stored."""
    writer = _Writer(store, source.claims, folder, [*plan.missing, *plan.offline])
    pending = plan.pending
    while pending:
        total = left = len(pending)
        progress(0, total)
        with closing(source.batches(pending)) as batches:
            for outcomes, vectors in batches:
                with signals.deferred():  # what is stored is also counted
                    summary += writer.write(outcomes, vectors)
                    left -= sum(map(ends_file, outcomes))
                    progress(total - left, total)
        pending = writer.take_unresolved()


class _Writer:
    """Takes outcomes, batch by batch, into the store."""

    def __init__(self, store: Store, claims: Claims, folder: bytes, missing: Iterable[int]):
        self._store = store
        self._claims = claims
        self._folder = folder
        self._missing_now = set(missing)
        self._known_failures = set(store.files.failures(folder))
        self._copies: list[KnownContent] = []
        """Those whose row to copy from is not stored yet."""
        self._unresolved: list[PendingFile] = []
        self._film_ids: dict[bytes, int] = {}
        """Films of which parts are still to come, by the digests of their bytes."""
        self._fruitless: dict[bytes, NoPhoto] = {}
        """What became of new bytes that did not reach the model, for copies of them."""

    def write(self, outcomes: Sequence[Outcome], vectors: np.ndarray) -> Summary:
        """Stores a batch, with the vectors (N, D) of all pictures in it, in one transaction."""
        done = Summary()
        first = 0
        with self._claims.lock, self._store.transaction():
            for outcome in outcomes:
                own = vectors[first : first + len(pixels_of(outcome))]
                first += len(own)
                if isinstance(outcome, NewPhoto):
                    self._add(outcome, own[0], done)
                elif isinstance(outcome, NewMoments):
                    self._add_moments(outcome, own, done)
                elif isinstance(outcome, NoPhoto):
                    self._note(outcome, done)
            waiting, self._copies = self._copies, []
            for outcome in (*waiting, *outcomes):
                if isinstance(outcome, KnownContent | KnownFile):
                    self._link(outcome, done)
            self._claims.release(
                outcome.digest
                for outcome in outcomes
                if not isinstance(outcome, KnownContent | KnownFile) and ends_file(outcome)
            )
        return done

    def take_unresolved(self) -> list[PendingFile]:
        """Files whose match had disappeared when it was wanted, because another run is at work: to be read again."""
        unresolved, self._unresolved = self._unresolved, []
        unresolved += (copy.pending for copy in self._copies)
        self._copies = []
        return unresolved

    def _path(self, outcome: Outcome) -> bytes:
        return self._folder + outcome.pending.file.path

    def _add(self, outcome: NewPhoto, vector: np.ndarray, done: Summary) -> None:
        self._store.files.add(self._path(outcome), outcome.stat, outcome.digest, vector, outcome.metadata)
        self._count(outcome, done)

    def _count(self, outcome: NewPhoto | NewMoments, done: Summary) -> None:
        if outcome.pending.before is None:
            done.added += 1
        else:
            done.changed += 1

    def _add_moments(self, outcome: NewMoments, vectors: np.ndarray, done: Summary) -> None:
        """A film's first part becomes its row; what follows, and what an earlier run had left, is added to that."""
        part, digest, path = outcome.part, outcome.digest, self._path(outcome)
        moments = [
            Moment(at_ms, vector.astype("<f2").tobytes()) for at_ms, vector in zip(part.at_ms, vectors, strict=True)
        ]
        failure = part.failure or None
        id_ = self._film_ids.get(digest, outcome.resumed_id)
        if id_ is None and moments:
            id_ = self._store.files.add(path, outcome.stat, digest, vectors[0], part.metadata)
            self._store.films.add(
                id_, StoredFilm(part.at_ms[0], part.duration_ms, failure, moments[1:]), part.resume_ms
            )
            self._count(outcome, done)
        elif id_ is not None:
            self._store.films.extend(id_, moments, part.resume_ms, failure)
            if digest not in self._film_ids:
                self._store.files.move(id_, path, outcome.stat)
                done.added += 1  # the run that began it was stopped, and has not reported it
        if failure:
            done.broken_films.append(FailedPhoto(path, failure))
        if id_ is not None and not outcome.is_last:
            self._film_ids[digest] = id_
        else:
            self._film_ids.pop(digest, None)

    def _note(self, outcome: NoPhoto, done: Summary) -> None:
        """Remembers why a file cannot be read, unless that was known or may be otherwise the next time."""
        failure, before = outcome.failure, outcome.pending.before
        if outcome.digest:
            self._fruitless[outcome.digest] = outcome
        if failure.extra:
            done.missing_extras[failure.extra] += 1
            return
        if not failure.kind.is_stored:
            done.postponed.append(failure)
            return
        is_unchanged = before is not None and (before.size_bytes, before.mtime_ns) == outcome.stat[:2]
        if before and is_unchanged and failure in self._known_failures:
            self._store.files.mark_current(before.id)
            if before.ctime_ns != outcome.stat.ctime_ns:
                self._store.files.confirm([(before.id, outcome.stat)])
            return
        self._store.files.add_failure(failure, outcome.stat)
        done.failures.append(failure)

    def _link(self, outcome: KnownContent | KnownFile, done: Summary) -> None:
        """Gives the file the vector of the photo that has the same bytes."""
        path = self._path(outcome)
        if isinstance(outcome, KnownFile):
            match = self._store.files.find_identity(outcome.stat)
        else:
            match = self._store.files.find_content(outcome.digest, path)
            if match is None and outcome.digest in self._fruitless:
                fate = self._fruitless[outcome.digest]
                failure = fate.failure._replace(path=path)
                self._note(NoPhoto(outcome.pending, outcome.stat, outcome.digest, failure), done)
            elif match is None:
                self._copies.append(outcome)
        if match is None:
            if isinstance(outcome, KnownFile):
                self._unresolved.append(outcome.pending)
            return
        if match.path == path or match.missing:
            self._store.files.move(match.id, path, outcome.stat)
        else:
            self._store.files.copy(match.id, path, outcome.stat)
        self._count_link(match, path, done)

    def _count_link(self, match: KnownRow, path: bytes, done: Summary) -> None:
        if not match.missing:
            done.copied += match.path != path
        elif match.path == path:
            done.returned += 1
        else:
            done.moved += 1
            done.missing -= match.id in self._missing_now
