"""Lists folders for a walk, several at a time where each has to be waited for, as on a network drive.

Elsewhere one thread is as fast: it only waits for its own processor.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any

Entry = tuple[bytes, Any]
"""A path, which ends in a slash for a folder, and what is known of it: None for a folder to go into."""

_AT_ONCE = 16
_SLOW_S = 0.0005
"""A call that takes so long on average, beyond its own processor time, goes to another machine or a cold disk."""
_SEEN_FOR_S = 0.1
_LOOKED_AT = 8  # of a folder's files, to see how long that takes
_STATS_TOGETHER = 32
_MOST_HELD = 256
"""Listings that nobody has asked for yet."""


class Lister:
    """Gives the entries of one folder after the other, in the order of a walk, and has others listed meanwhile."""

    def __init__(self, list_folder: Callable[[bytes], list[Entry]]):
        """`list_folder` returns the entries of a folder, the last one in path order first."""
        self._list_folder = list_folder
        self._waited_s = 0.0
        self._calls = 0
        self._is_slow = False
        self._changed = threading.Condition()
        """Around what follows."""
        self._tasks: list[tuple[bytes, Sequence[os.DirEntry[bytes]]]] = []
        """A heap: folders to be listed, and files of which the stat is wanted, in the order of the walk."""
        self._queued: set[bytes] = set()
        self._listed: dict[bytes, list[Entry] | BaseException | None] = {}
        """None while a thread is at it; what it has raised, if it has."""
        self._is_closed = False

    def entries(self, folder: bytes) -> list[Entry]:
        """What `list_folder` returns for it; the stats of the files may have been fetched already."""
        return self._entries_in_turn(folder) if not self._is_slow else self._entries_from_threads(folder)

    def close(self) -> None:
        """Threads end when what they wait for comes."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _entries_in_turn(self, folder: bytes) -> list[Entry]:
        started_s, worked_s = time.perf_counter(), time.thread_time()
        entries = self._list_folder(folder)
        files = [entry for _, entry in entries[-_LOOKED_AT:] if isinstance(entry, os.DirEntry)]
        _fetch_stats(files)
        self._waited_s += (time.perf_counter() - started_s) - (time.thread_time() - worked_s)
        self._calls += 1 + len(files)
        if self._waited_s > max(_SEEN_FOR_S, _SLOW_S * self._calls):
            self._is_slow = True
            for _ in range(_AT_ONCE):
                threading.Thread(target=self._work, name="rclip-list", daemon=True).start()
            with self._changed:
                self._queue(entries)
        return entries

    def _entries_from_threads(self, folder: bytes) -> list[Entry]:
        with self._changed:
            self._queued.discard(folder)
            while folder in self._listed:
                entries = self._listed[folder]
                if entries is not None:
                    del self._listed[folder]
                    self._changed.notify_all()
                    if isinstance(entries, BaseException):
                        raise entries
                    return entries
                self._changed.wait()
        entries = self._list_folder(folder)
        with self._changed:
            self._queue(entries)
        return entries

    def _queue(self, entries: Sequence[Entry]) -> None:
        files = [(path, entry) for path, entry in reversed(entries) if isinstance(entry, os.DirEntry)]
        for start in range(0, len(files), _STATS_TOGETHER):
            part = files[start : start + _STATS_TOGETHER]
            heappush(self._tasks, (part[0][0], [entry for _, entry in part]))
        for path, entry in entries:
            if entry is None:
                self._queued.add(path)
                heappush(self._tasks, (path, ()))
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._has_task())
                if self._is_closed:
                    return
                path, files = heappop(self._tasks)
                if not files:
                    self._queued.discard(path)
                    self._listed[path] = None
            if files:
                _fetch_stats(files)
                continue
            listed: list[Entry] | BaseException
            try:
                listed = entries = self._list_folder(path)
            except BaseException as error:  # or whoever needs this folder would wait for ever
                listed, entries = error, []
            with self._changed:
                self._listed[path] = listed
                self._queue(entries)

    def _has_task(self) -> bool:
        while self._tasks and not self._tasks[0][1] and self._tasks[0][0] not in self._queued:
            heappop(self._tasks)  # the walk could not wait for it
        return bool(self._tasks) and (bool(self._tasks[0][1]) or len(self._listed) < _MOST_HELD)


def _fetch_stats(files: Sequence[os.DirEntry[bytes]]) -> None:
    """Each entry keeps what it is told; an error it tells again."""
    for entry in files:
        with suppress(OSError):
            entry.stat()
