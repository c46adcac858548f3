"""Work for threads, so that typing never waits: what is wanted last comes first, and what nobody wants is not begun."""

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple


class Job(NamedTuple):
    """Something to be done once."""

    key: Hashable
    """Of two jobs with the same key, the second is the first."""
    work: Callable[[], Any]
    """Called in a thread."""
    done: Callable[[Any], None]
    """Called with what the work has returned or, in its place, the exception that it raised."""


class Jobs:
    """Some threads that do the jobs wanted at the moment."""

    def __init__(self, threads: int, deliver: Callable[[Callable[[], None]], None]):
        """`deliver` has a function called where the caller lives."""
        self._threads = threads
        self._deliver = deliver
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._running: set[Hashable] = set()
        self._is_closed = False
        self._started = 0

    def want(self, jobs: Sequence[Job]) -> None:
        """In this order, in place of all that has not been begun; what is running goes on."""
        with self._changed:
            self._waiting = [job for job in jobs if job.key not in self._running]
            self._start()

    def add(self, job: Job) -> None:
        """Puts it behind the jobs that wait, none of which is dropped. No other may have its key."""
        with self._changed:
            self._waiting.append(job)
            self._start()

    @property
    def is_busy(self) -> bool:
        with self._changed:
            return bool(self._waiting or self._running)

    def _start(self) -> None:
        while self._started < min(self._threads, len(self._waiting) + len(self._running)):
            self._started += 1
            threading.Thread(target=self._run, name="rclip-tui", daemon=True).start()
        self._changed.notify_all()

    def close(self) -> None:
        """Begins nothing more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while job := self._next():
            outcome = _outcome(job.work)
            with self._changed:
                self._running.discard(job.key)
                if self._is_closed:
                    return
            self._deliver(lambda job=job, outcome=outcome: job.done(outcome))  # type: ignore[misc]

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if self._is_closed:
                return None
            job = self._waiting.pop(0)
            self._running.add(job.key)
            return job


def _outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        return error
