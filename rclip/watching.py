"""Waits until something happens in folders: by the system's own notifications and, where none come, by looking again.

Notifications say where to look and nothing else. A folder that vanishes, as its drive is unplugged, is waited for; what
is mounted, or put in a folder's place, is noticed, and then everything is looked at.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from rclip import signals
from rclip.errors import plain_reason
from rclip.files import FileStat
from rclip.mounts import is_remote, mounted

SETTLED_S = 2.0
"""A file that has not changed for so long is complete."""

_TICK_MS = 500
_QUIET_MS = 200
_LONGEST_MS = 5_000
"""What happens is gathered until nothing does for a while, or for so long."""
_MOUNTS_EVERY_S = 2.0
_RETRY_S = 60.0
_MOST_UNSETTLED = 100_000


class Changed(NamedTuple):
    """Where something may have happened."""

    folders: list[str]
    """Those of the folders watched that are there."""
    paths: list[bytes] | None
    """Where in them; None for anywhere."""


class FolderWatch:
    """Watches folders and what is below them."""

    def __init__(self, folders: Sequence[str], recheck_s: float, report: Callable[[str, str], None]):
        """Looks again every `recheck_s` at folders without notifications.

        `report` is called with a folder that is not there, or the reason why there are no notifications at all, as
        second argument. Raises ImportError where the package that brings them is missing.
        """
        import watchfiles

        self._watch = watchfiles.watch
        self._folders = folders
        self._recheck_s = recheck_s
        self._report = report
        self._notifications: Iterator[set[tuple[Any, str]]] | None = None
        self._later: dict[bytes, float] = {}
        self._state: object = None
        self._state_at_s = 0.0
        self._all_at_s = 0.0
        self._is_reported = False
        self._away: set[str] = set()

    def close(self) -> None:
        notifications, self._notifications = self._notifications, None
        if notifications is not None:
            notifications.close()  # type: ignore[attr-defined]

    def look_again(self, paths: Iterable[bytes]) -> None:
        """At these, soon."""
        due_s = time.monotonic() + SETTLED_S
        self._later.update(dict.fromkeys(paths, due_s))

    def look_again_at_all(self) -> None:
        """In a while, as it did not work now."""
        self._all_at_s = min(self._all_at_s, time.monotonic() + _RETRY_S)

    def wait(self) -> Changed:
        """Returns when there is something to look at; the first time at once, for all. Raises `Interrupted`."""
        while True:
            signals.raise_if_interrupted()  # one that came while an object was deleted has been lost
            now_s = time.monotonic()
            if now_s >= self._state_at_s + _MOUNTS_EVERY_S:
                self._state_at_s = now_s
                state = (mounted(), [_identity(folder) for folder in self._folders])
                if state != self._state:
                    self._state = state
                    self._restart()
                    self._all_at_s = now_s
            if now_s >= self._all_at_s:
                self._all_at_s = now_s + self._recheck_s if self._needs_rechecks() else float("inf")
                self._later.clear()
                return Changed(self._there(), None)
            due = [path for path, due_s in self._later.items() if due_s <= now_s]
            for path in due:
                del self._later[path]
            paths = due or self._notified()
            if paths:
                return Changed(self._there(), paths)

    def _there(self) -> list[str]:
        there = [folder for folder in self._folders if os.path.isdir(folder)]
        away = set(self._folders).difference(there)
        for folder in sorted(away - self._away):
            self._report(folder, "")
        self._away = away
        return there

    def _needs_rechecks(self) -> bool:
        if self._notifications is None:
            return True
        kinds = mounted()
        return any(is_remote(os.fsencode(os.path.join(os.path.realpath(each), "")), kinds) for each in self._folders)

    def _restart(self) -> None:
        self.close()
        there = [os.path.realpath(folder) for folder in self._folders if os.path.isdir(folder)]
        if there:
            self._notifications = self._watch(
                *there,
                watch_filter=None,
                debounce=_LONGEST_MS,
                step=_QUIET_MS,
                rust_timeout=_TICK_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            )
            first = self._notified()  # from here on nothing is missed
            self._later.update(dict.fromkeys(first, 0.0))

    def _notified(self) -> list[bytes]:
        """Where something has happened in the next moments."""
        if self._notifications is None:
            time.sleep(_TICK_MS / 1000)
            return []
        try:
            return [os.fsencode(path) for _, path in next(self._notifications)]
        except KeyboardInterrupt:
            signals.raise_if_interrupted()
            raise
        except (OSError, RuntimeError, UnicodeError, StopIteration) as error:
            signals.raise_if_interrupted()
            self.close()
            self._all_at_s = min(self._all_at_s, time.monotonic() + self._recheck_s)
            if not self._is_reported and not isinstance(error, FileNotFoundError):
                self._is_reported = True
                self._report("", plain_reason(error))
            return []


def _identity(folder: str) -> tuple[int, int] | None:
    """Which folder is at this path; None for none."""
    with suppress(OSError):
        status = os.stat(folder)
        return status.st_dev, status.st_ino
    return None


class Settling:
    """Tells files that are complete from those that are still being written: they have not changed for a while."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[FileStat, float]] = {}
        """Files that were not complete, and since when they have been as they are."""

    def is_settled(self, path: bytes, stat: FileStat) -> bool:
        """The file's own times say so or, as clocks differ, what was seen of it before."""
        age_s = time.time() - max(stat.mtime_ns, stat.ctime_ns) / 1e9
        now_s = time.monotonic()
        before, since_s = self._seen.get(path, (None, now_s))
        if age_s >= SETTLED_S or (before == stat and now_s - since_s >= SETTLED_S):
            self._seen.pop(path, None)
            return True
        if before != stat:
            if len(self._seen) >= _MOST_UNSETTLED:
                self._seen.clear()
            self._seen[path] = stat, now_s
        return False
