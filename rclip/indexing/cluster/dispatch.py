"""Gives photos to workers, and takes care of workers that differ, vanish, hang or answer nonsense.

A worker gets work once it has shown that it sees the same files and makes the same vectors. Each has a few batches at a
time, so that none waits for another and a slow one takes fewer. What a worker had when it vanished goes to others, in
smaller pieces that have a worker for themselves: so a photo that kills its worker is soon alone with it. A batch that
takes far longer than others is given to one more worker, too, and the first answer is taken.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from statistics import median

from rclip import signals
from rclip.errors import NoUsableWorker, NoWorkerYet, RclipError, WorkerNotUsed, plain_reason
from rclip.indexing.cluster import wire
from rclip.indexing.cluster.interface import Engine, Facts, Job, Result, UnreadPhoto
from rclip.photo.failures import DecodeError, FailureKind

MOST_IN_BATCH, _FEWEST_IN_BATCH = 64, 8
_BATCHES_EACH = 3
"""That a worker has at a time: one is read while another is encoded and a third is on its way."""

_LOOKED_EVERY_S = 0.5
_WAITED_S = 0.2
_WORKERS_WITHIN_S = 30.0
"""When there is none for so long, the run ends."""

_CHECKED_WITHIN_S = 900.0
"""A worker may have to download the model first."""

_SAYS_AFTER_S = 2.0
"""Somebody may wait for the first in vain."""

_SLOW_TIMES, _SLOW_S = 10, 10.0
"""A batch is given to one more worker after so many times the median, and so many seconds."""
_SLOW_AT_FIRST_S = 60.0
"""That many seconds, as long as no batch has been done."""
_TIMES_KEPT = 101

_DIVIDED_BY = 8
"""Into so many pieces goes a batch whose worker has vanished. Each step may cost a worker: eighths take two steps from
64 photos to one, halves would take six."""

_MOST_REFUSALS = 3
"""Of different workers to work on a batch at all, before its photos are left to the next run."""

_DIED = DecodeError("its worker died over it", FailureKind.PASSING)

Results = Sequence[tuple[bytes, Result]]


class _Batch:
    """Photos that are read together."""

    def __init__(self, paths: list[bytes], is_suspect: bool = False, refusals: int = 0):
        self.paths = paths
        self.is_suspect = is_suspect
        """Whether a worker has vanished that had them: they get one for themselves."""
        self.refusals = refusals
        self.began_s = 0.0
        self.numbers: set[int] = set()
        """Of the requests for it that are under way."""
        self.is_done = False

    def divided(self) -> "list[_Batch]":
        size = -(-len(self.paths) // _DIVIDED_BY)
        starts = range(0, len(self.paths), size)
        return [_Batch(self.paths[start : start + size], True, self.refusals) for start in starts]


class _Worker:
    """A worker as we know it."""

    def __init__(self, address: str):
        self.address = address
        self.name = address
        """For people."""
        self.host = ""
        self.is_usable = False
        self.check: int | None = None
        """The number of the request that is to show whether it can be used."""
        self.check_began_s = 0.0
        self.batches: dict[int, _Batch] = {}
        """What it has, by the numbers of the requests; also what another one has done in the meantime."""
        self.usable_since_s = 0.0

    @property
    def is_refused(self) -> bool:
        return not self.is_usable and self.check is None

    @property
    def has_room(self) -> bool:
        """For a batch beside those that it has."""
        return len(self.batches) < _BATCHES_EACH and not any(batch.is_suspect for batch in self.batches.values())


class Dispatcher:
    """`PhotoReaders`, over an `Engine`."""

    def __init__(
        self,
        engine: Engine,
        job: Job,
        samples: Sequence[bytes],
        difference: Callable[[Facts], str],
        notify: Callable[[RclipError], None],
        checked_within_s: float = _CHECKED_WITHIN_S,
    ):
        """`samples` are paths of files to compare, `difference` says how a worker differs, empty where it does not.

        `notify` is given an error for each worker that is not used, as is one that does not show what it has in time.
        """
        self._engine, self._job, self._samples = engine, job, samples
        self._difference, self._notify = difference, notify
        self._checked_within_s = checked_within_s
        self._workers: dict[str, _Worker] = {}
        self._left = 0
        self._again: deque[_Batch] = deque()
        """What another worker has refused to do."""
        self._suspects: deque[_Batch] = deque()
        """What workers had that have vanished."""
        self._times_s: deque[float] = deque(maxlen=_TIMES_KEPT)
        """That a photo of a batch has taken, of the last ones."""
        self._done_by: dict[str, tuple[int, float]] = {}
        """By host, the photos that it has read, and when it began."""
        self._looked_s = self._last_usable_s = float("-inf")
        self._has_said = False
        """That there is no worker."""
        self._ready: list[tuple[bytes, Result]] = []

    def read(self, paths: Iterable[bytes], count: int) -> Iterator[Results]:
        """See `PhotoReaders`. Raises `ClusterLost` and `NoUsableWorker`."""
        self._left = count
        fresh = iter(paths)
        self._last_usable_s = time.monotonic()
        is_exhausted = False
        while True:
            self._look_for_workers()
            is_exhausted = self._give_out(fresh) or is_exhausted
            if is_exhausted and not (self._again or self._suspects or self._unfinished()):
                break
            for number, answer in self._engine.answers(_WAITED_S):
                self._take(number, answer)
            signals.raise_if_interrupted()
            self._give_slow_ones_again()
            yield from self._take_ready()
        yield from self._take_ready()

    def rates(self) -> Mapping[str, float]:
        """Photos a second by the names of machines, since each of them began."""
        now_s = time.monotonic()
        return {host: photos / max(now_s - began_s, 0.001) for host, (photos, began_s) in self._done_by.items()}

    def _take_ready(self) -> Iterator[Results]:
        """What has come in the meantime, together: while it is stored, more comes."""
        ready, self._ready = self._ready, []
        if ready:
            yield ready

    def _unfinished(self) -> list[_Batch]:
        found = (batch for worker in self._workers.values() for batch in worker.batches.values())
        return list({id(batch): batch for batch in found if not batch.is_done}.values())

    def _usable(self) -> list[_Worker]:
        return [each for each in self._workers.values() if each.is_usable]

    # --- workers -----------------------------------------------------------------------------------------------------

    def _look_for_workers(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOKED_EVERY_S:
            return
        self._looked_s = now_s
        there = self._engine.workers()
        for address in self._workers.keys() - there.keys():
            self._bury(self._workers.pop(address))
        for address in there.keys() - self._workers.keys():
            self._workers[address] = _Worker(address)
            self._check(self._workers[address])
        self._refuse_silent_ones(now_s)
        self._require_workers(now_s)

    def _check(self, worker: _Worker) -> None:
        worker.is_usable = False
        request = wire.request(self._job, self._samples, self._left)
        worker.check = self._engine.submit(worker.address, "check", request)
        worker.check_began_s = time.monotonic()

    def _refuse_silent_ones(self, now_s: float) -> None:
        for worker in self._workers.values():
            if worker.check is not None and now_s - worker.check_began_s > self._checked_within_s:
                self._engine.forget(worker.check)
                self._refuse(worker, f"it has not shown what it has for {self._checked_within_s:g} s")

    def _require_workers(self, now_s: float) -> None:
        """Raises `NoUsableWorker` where there is none, and none may soon be."""
        if any(not each.is_refused for each in self._workers.values()):
            self._last_usable_s = now_s
        elif self._workers:
            raise NoUsableWorker(address=self._engine.address, reason="none of its workers can be used")
        elif now_s - self._last_usable_s > _WORKERS_WITHIN_S:
            raise NoUsableWorker(address=self._engine.address, reason="it has no workers")
        elif now_s - self._last_usable_s > _SAYS_AFTER_S and not self._has_said:
            self._has_said = True
            self._notify(NoWorkerYet(address=self._engine.address))

    def _bury(self, worker: _Worker) -> None:
        """Gives what a worker had that has vanished to others."""
        if worker.check is not None:
            self._engine.forget(worker.check)
        for number, batch in worker.batches.items():
            self._engine.forget(number)
            batch.numbers.discard(number)
            if batch.is_done or batch.numbers:
                continue
            if not batch.is_suspect or len(batch.paths) > 1:
                self._suspects.extend(batch.divided())
            else:
                self._finish(batch, [UnreadPhoto(str(_DIED), _DIED.kind)])

    def _refuse(self, worker: _Worker, difference: str) -> None:
        """Uses the worker no more; what it has goes to others."""
        worker.is_usable, worker.check = False, None
        self._notify(WorkerNotUsed(worker=worker.name, difference=difference))
        batches, worker.batches = worker.batches, {}
        for number, batch in batches.items():
            self._engine.forget(number)
            batch.numbers.discard(number)
            if batch.is_done or batch.numbers:
                continue
            batch.refusals += 1
            if batch.refusals < _MOST_REFUSALS:
                (self._suspects if batch.is_suspect else self._again).append(batch)
            else:
                self._finish(batch, [UnreadPhoto(difference)] * len(batch.paths))

    # --- batches -----------------------------------------------------------------------------------------------------

    def _give_out(self, fresh: Iterator[bytes]) -> bool:
        """Gives workers with room what is waiting. Returns whether there are no fresh paths any more."""
        for worker in self._usable():
            if self._suspects and not worker.batches:
                self._give(worker, self._suspects.popleft())
        usable = self._usable()[1:] if self._suspects else self._usable()  # the first is kept free for a suspect
        while hungry := [each for each in usable if each.has_room]:
            batch = self._next(fresh)
            if batch is None:
                return True
            self._give(min(hungry, key=lambda each: len(each.batches)), batch)
        return False

    def _next(self, fresh: Iterator[bytes]) -> _Batch | None:
        if self._again:
            return self._again.popleft()
        size = self._left // (2 * _BATCHES_EACH * max(1, len(self._usable())))
        paths = list(islice(fresh, max(_FEWEST_IN_BATCH, min(size, MOST_IN_BATCH))))
        self._left = max(0, self._left - len(paths))
        return _Batch(paths) if paths else None

    def _give(self, worker: _Worker, batch: _Batch) -> None:
        request = wire.request(self._job, batch.paths, self._left)
        number = self._engine.submit(worker.address, "work", request)
        worker.batches[number] = batch
        batch.numbers.add(number)
        batch.began_s = time.monotonic()

    def _give_slow_ones_again(self) -> None:
        """Several workers may hang, as those do whose network drive is gone; so each may get a batch."""
        now_s = time.monotonic()
        for batch in self._unfinished():
            if batch.numbers and now_s - batch.began_s > self._patience_s(batch):
                free = [
                    each
                    for each in self._usable()
                    if each.has_room and batch not in each.batches.values() and not (batch.is_suspect and each.batches)
                ]
                if free:
                    self._give(min(free, key=lambda each: len(each.batches)), batch)

    def _patience_s(self, batch: _Batch) -> float:
        """How long a worker may take for it before another gets it, too."""
        if not self._times_s:
            return _SLOW_AT_FIRST_S
        return max(_SLOW_S, _SLOW_TIMES * median(self._times_s) * len(batch.paths))

    # --- answers -----------------------------------------------------------------------------------------------------

    def _take(self, number: int, answer: bytes | Exception) -> None:
        for worker in self._workers.values():
            if worker.check == number:
                self._take_check(worker, answer)
                return
            if number in worker.batches:
                self._take_results(worker, number, answer)
                return

    def _take_check(self, worker: _Worker, answer: bytes | Exception) -> None:
        try:
            if isinstance(answer, Exception):
                raise answer
            facts = wire.read_facts(answer)
            worker.host = facts.host
            worker.name = f"{facts.host} ({worker.address})"
            difference = self._difference(facts)
        except wire.Unsound as error:
            difference = f"its answer is not one of rclip's ({error})"
        except Exception as error:  # whatever a foreign machine has raised
            difference = _said_of(error)
        if difference:
            self._refuse(worker, difference)
            return
        worker.check, worker.is_usable = None, True
        worker.usable_since_s = time.monotonic()

    def _take_results(self, worker: _Worker, number: int, answer: bytes | Exception) -> None:
        batch = worker.batches[number]
        if batch.is_done:
            del worker.batches[number]
            return
        try:
            if isinstance(answer, Exception):
                raise answer
            results = wire.read_results(answer, len(batch.paths), self._job.dimensions)
        except wire.Unsound as error:
            self._refuse(worker, f"its answer is not one of rclip's ({error})")
            return
        except Exception as error:  # whatever a foreign machine has raised
            self._refuse(worker, _said_of(error))
            return
        if results is None:  # it was started anew at its old address
            self._bury(worker)
            worker.batches = {}
            self._check(worker)
            return
        del worker.batches[number]
        batch.numbers.discard(number)
        self._times_s.append((time.monotonic() - batch.began_s) / len(batch.paths))
        photos, began_s = self._done_by.get(worker.host, (0, worker.usable_since_s))
        self._done_by[worker.host] = (photos + len(batch.paths), began_s)
        self._finish(batch, results)

    def _finish(self, batch: _Batch, results: Sequence[Result]) -> None:
        batch.is_done = True
        self._ready += zip(batch.paths, results, strict=True)


def _said_of(error: Exception) -> str:
    """What a worker that raised this has to say."""
    if isinstance(error, ImportError | AttributeError):
        return f"it has another rclip, or none ({plain_reason(error)})"
    return plain_reason(error)
