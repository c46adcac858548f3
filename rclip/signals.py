"""Being stopped: Ctrl-C, SIGTERM and SIGHUP end the program in order, and in any case within two seconds.

The first signal raises `Interrupted` in the main thread, so that what is half done is cleaned up; later ones change
nothing. Python raises it between two steps of its own, and one call into SQLite or to a tired disk may take a minute.
So a thread waits for the same signals and ends the process when the way out takes too long, which `allow` may make
longer: what is stored survives even that.
"""

import _thread
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

CRASHES = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS}
)
"""Those by which a process ends for a fault of its own."""

_grace_s = 1.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_is_ending = False
_is_held = False
_arrived: int | None = None
_stop_softly: Callable[[], None] | None = None


class Interrupted(BaseException):
    """Somebody ends the program."""

    def __init__(self, signal_number: int):
        self.signal_number = signal_number
        self.is_reported = False
        """Whether the user has seen how far the run got."""


def listen() -> None:
    """From here on the signals raise `Interrupted`, but for those that the parent wants ignored, as `nohup` does."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _thread.start_new_thread(_enforce, (reading,))
    sys.unraisablehook = _unraisable
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def allow(seconds: float) -> None:
    """Lets the way out take so long: a process of low priority may have to wait for each step of it."""
    global _grace_s
    _grace_s = seconds


def close() -> None:
    """The program ends by itself; a signal that comes now changes nothing, unless the end takes too long."""
    global _is_ending
    _is_ending = True


def block_crashes() -> None:
    """From here on a crash ends the process, but nobody who only sends the signal of one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, CRASHES)


def raise_if_interrupted() -> None:
    """Raises `Interrupted` if that has been raised before: C code, while it is imported, makes an ImportError of it."""
    if _arrived is not None:
        raise Interrupted(_arrived)


@contextmanager
def handled(stop: Callable[[], None]) -> Iterator[None]:
    """Has the first signal call `stop`, where an exception would be lost among those of an event loop.

    `Interrupted` is raised when the block ends.
    """
    global _stop_softly
    _stop_softly = stop
    try:
        yield
    finally:
        _stop_softly = None
    raise_if_interrupted()


@contextmanager
def deferred() -> Iterator[None]:
    """Defers signals: `Interrupted` is raised when the block ends.

    For importing C++ that calls Python: an exception it does not expect ends the process with its own words.
    """
    global _is_held
    _is_held = True
    try:
        yield
    finally:
        _is_held = False
    raise_if_interrupted()


def _unraisable(lost: "sys.UnraisableHookArgs") -> None:
    """An exception among objects that are being deleted. `raise_if_interrupted` knows of ours."""
    if not isinstance(lost.exc_value, Interrupted):
        sys.__unraisablehook__(lost)


def _stop(signal_number: int, _: object) -> None:
    global _arrived
    if not _is_ending:
        close()
        _arrived = signal_number
        if _stop_softly:
            _stop_softly()
        elif not _is_held:
            raise Interrupted(signal_number)


def _enforce(descriptor: int) -> NoReturn:
    while (number := os.read(descriptor, 1)[0]) not in _SIGNALS:
        pass
    time.sleep(_grace_s)
    os.write(2, b"rclip: stopped in the middle of a long step; everything stored is kept\n")
    os._exit(128 + number)
