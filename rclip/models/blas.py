"""How many threads numpy's matrix products may use.

The limit is one for the whole process, which may be another program's. So it is set only while somebody needs it, and
after the last wish has ended it is what it was before the first.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from rclip.cores import CORES

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_wishes: list[list[int]] = []
_original: Any = None


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Inside, BLAS uses so many threads; where several wish something else at once, the latest wish counts."""
    global _original
    wish = [threads]
    with _lock:
        _wishes.append(wish)
        limiter = _controller("torch" in sys.modules).limit(limits=threads, user_api="blas")
        if len(_wishes) == 1:
            _original = limiter
    try:
        yield
    finally:
        with _lock:
            _wishes[:] = [other for other in _wishes if other is not wish]
            if _wishes:
                _controller("torch" in sys.modules).limit(limits=_wishes[-1][0], user_api="blas")
            else:
                _original.restore_original_limits()
                _original = None


def idle_cores() -> int:
    """How many nothing else runs on at this moment, at least 1.

    Threads for the others would be in the way: each product waits, spinning, for the one that has no core.
    """
    try:
        with open("/proc/loadavg", encoding="ascii") as file:
            running = int(file.read().split()[3].partition("/")[0]) - 1  # this thread
    except (OSError, ValueError, IndexError):
        running = 0
    of_late = round(os.getloadavg()[0] - 0.5)  # other programs may just pause, and queries that came before were ours
    return max(1, CORES - max(running, of_late))


@cache
def _controller(has_torch: bool) -> "ThreadpoolController":
    """Of all libraries that are loaded, which takes a millisecond to find out; torch brings some of its own."""
    from threadpoolctl import ThreadpoolController  # the command has no use for it in a query

    return ThreadpoolController()
