"""The update of the index that goes on beside the interface: how far it has come, and the photos that are new."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclip.tui import texts
from rclip.tui.jobs import Job, Jobs
from rclip.tui.opened import Opened

if TYPE_CHECKING:
    from rclip.explore import UpdateState

_WAIT_S = 0.5
_REFRESH_EVERY = 4
"""While photos are indexed, every so many states of the update the search is repeated."""


class IndexUpdate:
    """Watches it from its start to its end."""

    def __init__(
        self,
        opened: Opened,
        jobs: Jobs,
        repeat_search: Callable[[], None],
        show: "Callable[[UpdateState | Exception], None]",
    ):
        """`show` is given each new state, or the exception that ended the watch."""
        self._opened = opened
        self._jobs = jobs
        self._repeat_search = repeat_search
        self._show = show
        self.progress = ""
        """What it is at, and how far; empty where it is not running."""

    def start(self) -> None:
        """Unless one is running elsewhere in this process. For an explorer that is open."""
        if self._opened.explorer().updates.start():
            self._watch(0)

    def _watch(self, number: int) -> None:
        """Waits for a state after the one with this number."""
        updates = self._opened.explorer().updates

        def done(outcome: Any) -> None:
            if isinstance(outcome, Exception):
                self._show(outcome)
            else:
                self._take(outcome, number)

        self._jobs.want([Job(("update", number), lambda: updates.wait(number, _WAIT_S), done)])

    def _take(self, state: "UpdateState", number: int) -> None:
        self.progress = _progress(state) if state.is_running else ""
        is_due = state.number != number and state.stage == "reading" and state.number % _REFRESH_EVERY == 0
        if is_due if state.is_running else state.changes and not state.error:
            self._repeat_search()
        self._show(state)
        if state.is_running:
            self._watch(state.number)


def _progress(state: "UpdateState") -> str:
    stage = texts.UPDATE_STAGES.get(state.stage, "")
    if not stage or not state.total:
        return f"{stage} …" if stage else ""
    return f"{stage} {state.done:,} of {state.total:,}"
