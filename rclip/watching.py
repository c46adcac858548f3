"""Waits until something happens in folders: by the system's own notifications and, where none come, by looking again.

Notifications say where to look and nothing else. A folder that vanishes, as its drive is unplugged, is waited for; what
is mounted, or put in a folder's place, is noticed, and then everything is looked at, as it is where notifications have
been lost.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple, Protocol

from rclip import signals
from rclip.errors import plain_reason
from rclip.files import FileStat
from rclip.inotify import Inotify
from rclip.mounts import is_remote, mounted, near

SETTLED_S = 2.0
"""A file that has not changed for so long is complete."""

_TICK_S = 0.5
_QUIET_S = 0.2
_MOST_QUIET_S = 1.0
_LONGEST_S = 5.0
"""What happens is gathered until nothing does for a while, or for so long."""
_MOUNTS_EVERY_S = 2.0
_RETRY_S = 60.0
_RESTS = 9
"""So many times as long as the last look took, before all is looked at because notifications were lost."""
_MOST_UNSETTLED = 100_000
_GONE_S = 60.0


class Changed(NamedTuple):
    """Where something may have happened."""

    folders: list[str]
    """Those of the folders watched that are there."""
    paths: list[bytes] | None
    """Where in them; None for anywhere."""


class _Notifications(Protocol):
    """What tells of changes."""

    def changes(self, wait_s: float, quiet_s: float, longest_s: float) -> set[bytes] | None:
        """See `Inotify`. Raises OSError, RuntimeError or UnicodeError where it does not work."""

    def close(self) -> None: ...


class FolderWatch:
    """Watches folders and what is below them."""

    def __init__(
        self,
        folders: Sequence[str],
        recheck_s: float,
        report: Callable[[str, str], None],
        matters: Callable[[bytes], bool] = lambda name: True,
    ):
        """Looks again every `recheck_s` at folders without notifications, or with some that may be lost unnoticed.

        `report` is called with a folder that is not there, or the reason why there are no notifications at all, as
        second argument. `matters` says of a file's name whether to wake for it, where the system tells files from
        folders. Raises ImportError where the package that brings notifications is missing.
        """
        self._notifier, self._are_complete = _notifier(matters)
        self._folders = folders
        self._recheck_s = recheck_s
        self._report = report
        self._notifications: _Notifications | None = None
        self._later: dict[bytes, float] = {}
        self._state: object = None
        self._state_at_s = 0.0
        self._all_at_s = 0.0
        self._look_began_s: float | None = None
        self._look_took_s = 0.0
        self._is_reported = False
        self._away: set[str] = set()

    def close(self) -> None:
        notifications, self._notifications = self._notifications, None
        if notifications is not None:
            notifications.close()

    def look_again(self, paths: Iterable[bytes]) -> None:
        """At these, soon."""
        due_s = time.monotonic() + SETTLED_S
        self._later.update(dict.fromkeys(paths, due_s))

    def look_again_at_all(self) -> None:
        """In a while, as it did not work now."""
        self._look_at_all_in(_RETRY_S)

    def wait(self) -> Changed:
        """Returns when there is something to look at; the first time at once, for all. Raises `Interrupted`."""
        if self._look_began_s is not None:
            self._look_took_s, self._look_began_s = time.monotonic() - self._look_began_s, None
        while True:
            signals.raise_if_interrupted()  # one that came while an object was deleted has been lost
            now_s = time.monotonic()
            if now_s >= self._state_at_s + _MOUNTS_EVERY_S:
                self._state_at_s = now_s
                state = (self._mounts(), [_identity(folder) for folder in self._folders])
                if state != self._state:
                    self._state = state
                    self.close()
                    self._all_at_s = now_s
            if now_s >= self._all_at_s:
                if self._notifications is None:
                    self._start()  # from here on nothing is missed
                self._all_at_s = now_s + self._recheck_s if self._needs_rechecks() else float("inf")
                self._later.clear()
                return self._looking(None)
            due = [path for path, due_s in self._later.items() if due_s <= now_s]
            for path in due:
                del self._later[path]
            paths = due or self._notified()
            if paths:
                return self._looking(paths)

    def _looking(self, paths: list[bytes] | None) -> Changed:
        self._look_began_s = time.monotonic()
        return Changed(self._there(), paths)

    def _look_at_all_in(self, seconds: float) -> None:
        self._all_at_s = min(self._all_at_s, time.monotonic() + seconds)

    def _there(self) -> list[str]:
        there = [folder for folder in self._folders if os.path.isdir(folder)]
        away = set(self._folders).difference(there)
        for folder in sorted(away - self._away):
            self._report(folder, "")
        self._away = away
        return there

    def _mounts(self) -> dict[bytes, bytes]:
        """What is mounted where it matters; elsewhere things come and go."""
        kinds = mounted()
        return {point: kind for folder in self._folders for point, kind in near(_real(folder), kinds).items()}

    def _needs_rechecks(self) -> bool:
        if self._notifications is None or not self._are_complete:
            return True
        kinds = mounted()
        return any(is_remote(_real(folder), kinds) for folder in self._folders)

    def _start(self) -> None:
        there = [_real(folder) for folder in self._folders if os.path.isdir(folder)]
        if there:
            with self._failing():
                self._notifications = self._notifier(there)

    def _notified(self) -> list[bytes]:
        """Where something has happened in the next moments."""
        if self._notifications is None:
            time.sleep(_TICK_S)
            return []
        with self._failing():
            quiet_s = max(_QUIET_S, min(self._look_took_s, _MOST_QUIET_S))  # half of the time is rest
            paths = self._notifications.changes(_TICK_S, quiet_s, _LONGEST_S)
            if paths is not None:
                return list(paths)
            self.close()  # some were lost
            self._look_at_all_in(min(_RESTS * self._look_took_s, _RETRY_S))
        return []

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Does without notifications where there are none."""
        try:
            yield
        except (OSError, RuntimeError, UnicodeError) as error:
            signals.raise_if_interrupted()
            self.close()
            self._look_at_all_in(self._recheck_s)
            if not self._is_reported and not isinstance(error, FileNotFoundError):
                self._is_reported = True
                self._report("", plain_reason(error))


def _notifier(matters: Callable[[bytes], bool]) -> tuple[Callable[[Sequence[bytes]], _Notifications], bool]:
    """What this system has, and whether it says when it has lost some. Raises ImportError."""
    if sys.platform == "linux":
        return partial(Inotify, matters=matters), True
    import watchfiles  # noqa: F401 - may be missing

    return Watchfiles, False


class Watchfiles:
    """Of macOS and others."""

    def __init__(self, folders: Sequence[bytes]):
        """Raises OSError, RuntimeError and UnicodeError."""
        import watchfiles

        self._found = watchfiles.watch(
            *map(os.fsdecode, folders),
            watch_filter=None,
            debounce=round(_LONGEST_S * 1000),
            step=round(_QUIET_S * 1000),
            rust_timeout=round(_TICK_S * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        self._first = self._next()

    def close(self) -> None:
        self._found.close()

    def changes(self, wait_s: float, quiet_s: float, longest_s: float) -> set[bytes]:
        """After the times that it was started with."""
        first, self._first = self._first, set()
        return first or self._next()

    def _next(self) -> set[bytes]:
        try:
            return {os.fsencode(path) for _, path in next(self._found)}
        except KeyboardInterrupt:
            signals.raise_if_interrupted()
            raise
        except StopIteration as error:
            raise OSError("it has ended") from error


def _real(folder: str) -> bytes:
    """Without links, and with a slash at the end."""
    return os.fsencode(os.path.join(os.path.realpath(folder), ""))


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
        """Files that were not complete, and since when they have been as they are, in this order."""

    def is_settled(self, path: bytes, stat: FileStat) -> bool:
        """The file's own times say so or, as clocks differ, what was seen of it before."""
        age_s = time.time() - max(stat.mtime_ns, stat.ctime_ns) / 1e9
        now_s = time.monotonic()
        before, since_s = self._seen.get(path, (None, now_s))
        if age_s >= SETTLED_S or (before == stat and now_s - since_s >= SETTLED_S):
            self._seen.pop(path, None)
            return True
        if before != stat:
            self._seen.pop(path, None)
            if len(self._seen) >= _MOST_UNSETTLED and not self._has_forgotten_one(now_s):
                return True  # it is read again when it changes
            self._seen[path] = stat, now_s
        return False

    def _has_forgotten_one(self, now_s: float) -> bool:
        """The oldest, if it has been as it was for so long that it must have gone."""
        path, (_, since_s) = next(iter(self._seen.items()))
        if now_s - since_s < _GONE_S:
            return False
        del self._seen[path]
        return True
