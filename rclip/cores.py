"""How many cores this process may use, and calls on several of them."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Those that it has been given, by a batch system, a container or `taskset`: the machine may have more."""

_MOST = 4
"""Threads that read memory: more of them wait for it."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def on_cores(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """The function's results for the items, in their order. It is called on several threads, this one among them.

    Raises what it raises. Like `ThreadPoolExecutor.map`, but a search takes less time than its module to import.
    """
    calls = _Calls(function, items)
    threads = [threading.Thread(target=calls.run, daemon=True) for _ in items[1 : min(_MOST, CORES)]]
    try:
        with suppress(RuntimeError):  # the system allows no more of them
            for thread in threads:
                thread.start()
        for number in range(len(items)):
            yield calls.result(number)
    finally:
        calls.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


class _Calls(Generic[_Item, _Result]):
    """Calls of which several threads each take the next."""

    def __init__(self, function: Callable[[_Item], _Result], items: Sequence[_Item]):
        self._function = function
        self._items = items
        self._changed = threading.Condition()
        """Around what follows."""
        self._begun = 0
        self._ended: dict[int, list[_Result] | BaseException] = {}
        """One result, or what was raised, of each call that has ended and was not asked for."""

    def run(self) -> None:
        while self._run_next():
            pass

    def result(self, number: int) -> _Result:
        """Of the call of that number, to be asked for in turn; until it has ended, this thread makes others."""
        while number not in self._ended and self._run_next():
            pass
        with self._changed:
            self._changed.wait_for(lambda: number in self._ended)
            ended = self._ended.pop(number)
        if isinstance(ended, BaseException):
            raise ended
        return ended[0]

    def stop(self) -> None:
        """No other call begins."""
        with self._changed:
            self._begun = len(self._items)

    def _run_next(self) -> bool:
        with self._changed:
            number = self._begun
            if number == len(self._items):
                return False
            self._begun += 1
        ended: list[_Result] | BaseException
        try:
            ended = [self._function(self._items[number])]
        except BaseException as error:  # or whoever asks for it would wait for ever
            ended = error
        with self._changed:
            self._ended[number] = ended
            self._changed.notify_all()
        return True
