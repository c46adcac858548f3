"""The update of a library while its photos are looked at: one at a time, in a thread, with a state to be watched."""

import threading
from typing import TYPE_CHECKING, NamedTuple

from rclip.errors import RclipError

if TYPE_CHECKING:
    from rclip.indexing.progress import Progress
    from rclip.indexing.summary import Summary
    from rclip.library import Library


class UpdateState(NamedTuple):
    """How far an update is, or how the last one ended."""

    number: int = 0
    """Rises with each change of the state."""
    is_running: bool = False
    stage: str = ""
    """That of `Progress`; empty before the first and after the last."""
    done: int = 0
    total: int | None = None
    rate: float = 0.0
    changes: dict[str, int] = {}  # noqa: RUF012 - is never written to
    """What the last update found, by the names of `Summary`; those that are 0 are left out."""
    error: RclipError | None = None
    """What ended the last update, or kept a folder from it."""


class _Cancelled(Exception):
    pass


class BackgroundUpdate:
    """Updates a library in a thread of its own."""

    def __init__(self, library: "Library"):
        self._library = library
        self._changed = threading.Condition()
        self._state = UpdateState()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def state(self) -> UpdateState:
        return self._state

    def start(self) -> bool:
        """Starts an update, unless one is running. Returns whether it did."""
        with self._changed:
            if self._state.is_running or self._is_closed:
                return False
            self._set(UpdateState(is_running=True))
            self._thread = threading.Thread(target=self._run, name="rclip-update", daemon=True)
            self._thread.start()
            return True

    def wait(self, after: int, timeout_s: float) -> UpdateState:
        """The state when it has another number than `after`, or when the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.number != after or self._is_closed, timeout_s)
            return self._state

    def close(self) -> None:
        """Ends a running update, where its next step begins; what it has stored stays."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join(_GRACE_S)

    def _run(self) -> None:
        from rclip.indexing.summary import Summary

        summary, error = Summary(), None
        try:
            self._library.update(self._report, summary)
            self._library.prepare_search()
        except RclipError as caught:
            error = caught
        except _Cancelled:
            pass
        except Exception as caught:
            error = RclipError(f"the update stopped by a fault of rclip itself ({type(caught).__name__}: {caught})")
        with self._changed:
            self._set(UpdateState(changes=_changes(summary), error=error))

    def _report(self, progress: "Progress") -> None:
        if self._is_closed:
            raise _Cancelled
        with self._changed:
            stage, done, total, rate = progress[:4]
            self._set(UpdateState(is_running=True, stage=stage, done=done, total=total, rate=rate))

    def _set(self, state: UpdateState) -> None:
        self._state = state._replace(number=self._state.number + 1)
        self._changed.notify_all()


_GRACE_S = 1.0


def _changes(summary: "Summary") -> dict[str, int]:
    counts = {
        "added": summary.added,
        "changed": summary.changed,
        "copied": summary.copied,
        "moved": summary.moved,
        "returned": summary.returned,
        "missing": summary.missing,
        "unreadable": len(summary.failures),
    }
    return {name: count for name, count in counts.items() if count}
