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

Look = Callable[[list[Entry]], None]
"""Looks at the files among a folder's entries while the folder is open, and replaces those whose stat it leaves."""

_AT_ONCE = 16
_SLOW_S = 0.0005
"""A call that takes so long on average, beyond its own processor time, goes to another machine or a cold disk."""
_SEEN_FOR_S = 0.1
_STATS_TOGETHER = 32
_MOST_HELD = 256
"""Listings that nobody has asked for yet."""
_MOST_LOOKED_UP = 10_000
"""Of the files of one folder, so many are held together with their stats."""


class FileByPath:
    """A file whose folder is not open any more."""

    __slots__ = ("_is_symlink", "_path", "_stat")

    def __init__(self, path: bytes, is_symlink: bool):
        self._path = path
        self._is_symlink = is_symlink
        self._stat: os.stat_result | None = None

    def stat(self) -> os.stat_result:
        """It is kept; an error is told again. Raises OSError."""
        if self._stat is None:
            self._stat = os.stat(self._path)
        return self._stat

    def is_symlink(self) -> bool:
        return self._is_symlink


class _Waits:
    """How long a thread waits for the system's answers, beyond its own processor time."""

    def __init__(self) -> None:
        self._waited_s = self._started_s = 0.0
        self._calls = 0

    def begin(self) -> None:
        self._started_s = time.perf_counter() - time.thread_time()

    def add(self, calls: int) -> None:
        """So many calls were made since it began, or since the last ones."""
        before = self._started_s
        self.begin()
        self._waited_s += self._started_s - before
        self._calls += calls

    @property
    def are_long(self) -> bool:
        return self._waited_s > max(_SEEN_FOR_S, _SLOW_S * self._calls)


class Lister:
    """Gives the entries of one folder after the other, in the order of a walk, and has others listed meanwhile."""

    def __init__(self, list_folder: Callable[[bytes, Look], list[Entry]]):
        """`list_folder` returns the entries of a folder, the last one in path order first, files as `os.DirEntry`."""
        self._list_folder = list_folder
        self._waits = _Waits()
        self._is_slow = False
        self._changed = threading.Condition()
        """Around what follows."""
        self._tasks: list[tuple[bytes, Sequence[FileByPath]]] = []
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
        self._waits.begin()
        entries = self._list_folder(folder, self._look)
        self._waits.add(1)
        if self._waits.are_long:
            self._is_slow = True
            for _ in range(_AT_ONCE):
                threading.Thread(target=self._work, name="rclip-list", daemon=True).start()
            with self._changed:
                self._queue(entries)
        return entries

    def _look(self, entries: list[Entry]) -> None:
        """From an open folder, stats are told sooner than by whole paths; where they take long, threads are to ask."""
        end = len(entries)
        while end and len(entries) - end < _MOST_LOOKED_UP and not self._waits.are_long:
            start = max(0, end - _STATS_TOGETHER)
            self._waits.add(_look_up(entries, start, end))
            end = start
        by_path(entries, 0, end)

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
        entries = self._list_folder(folder, by_path)
        with self._changed:
            self._queue(entries)
        return entries

    def _queue(self, entries: Sequence[Entry]) -> None:
        files = [(path, entry) for path, entry in reversed(entries) if isinstance(entry, FileByPath)]
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
                listed = entries = self._list_folder(path, by_path)
            except BaseException as error:  # or whoever needs this folder would wait for ever
                listed, entries = error, []
            with self._changed:
                self._listed[path] = listed
                self._queue(entries)

    def _has_task(self) -> bool:
        while self._tasks and not self._tasks[0][1] and self._tasks[0][0] not in self._queued:
            heappop(self._tasks)  # the walk could not wait for it
        return bool(self._tasks) and (bool(self._tasks[0][1]) or len(self._listed) < _MOST_HELD)


def by_path(entries: list[Entry], start: int = 0, end: int | None = None) -> None:
    """Has the stats of the files among these entries looked up by their paths, when they are asked for."""
    for number in range(start, len(entries) if end is None else end):
        path, entry = entries[number]
        if isinstance(entry, os.DirEntry):
            entries[number] = path, FileByPath(path, _is_symlink(entry))


def _look_up(entries: list[Entry], start: int, end: int) -> int:
    """Has the files among these entries keep their stats, and returns how many there are."""
    files = 0
    for number in range(start, end):
        entry = entries[number][1]
        if isinstance(entry, os.DirEntry):
            files += 1
            try:
                entry.stat()
            except OSError:
                by_path(entries, number, number + 1)
    return files


def _is_symlink(entry: "os.DirEntry[str]") -> bool:
    with suppress(OSError):
        return entry.is_symlink()
    return False


def _fetch_stats(files: Sequence[FileByPath]) -> None:
    for file in files:
        with suppress(OSError):
            file.stat()
