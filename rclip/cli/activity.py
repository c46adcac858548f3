"""What the command is at, on a terminal: a spinner in the last line as soon as anything takes more than a second."""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

_AFTER_S = 1.0
_EVERY_S = 0.1
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ERASE = "\r\x1b[K"
_HINT_AFTER_S = 10.0

Item = TypeVar("Item")


class _Spinner:
    def __init__(self) -> None:
        self._lock = threading.RLock()
        """Around what follows, and what is written to the terminal."""
        self._text = ""
        self._hint = ""
        self._since_s = 0.0
        self._is_drawn = False
        self._thread: threading.Thread | None = None

    def show(self, text: str, hint: str = "") -> None:
        """What is going on from now on, or how far it has come. The `hint` is a line for who has waited ten seconds."""
        if self._text:
            self._text = text
            return
        if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return
        with self._lock:
            self._text, self._hint, self._since_s = text, hint, time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._spin, name="rclip-spinner", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Nothing more is going on."""
        if self._text:
            with self._lock:
                self._text = ""
                self.erase()

    def erase(self) -> None:
        """Makes room for a line, after which the spinner goes on."""
        with self._lock:
            if self._is_drawn:
                self._write(_ERASE)
                self._is_drawn = False

    def _spin(self) -> None:
        time.sleep(_AFTER_S)
        number = 0
        while True:
            with self._lock:
                if not self._text:
                    self._thread = None
                    return
                shown_for_s = time.monotonic() - self._since_s
                if self._hint and shown_for_s > _HINT_AFTER_S:
                    self.erase()
                    self._write(f"rclip: {self._hint}\n")
                    self._hint = ""
                if shown_for_s > _AFTER_S and not _has_bar():
                    frame = _FRAMES[number % len(_FRAMES)]
                    self._write(f"{_ERASE}{frame} {self._text}"[: len(_ERASE) + _columns() - 1])
                    self._is_drawn = True
            number += 1
            time.sleep(_EVERY_S)

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody looks, or the terminal has no such characters
            sys.stderr.write(text)
            sys.stderr.flush()


def _has_bar() -> bool:
    """Whether there is a progress bar, as of a download, which shows more."""
    bars = sys.modules.get("tqdm.std")
    return bars is not None and bool(getattr(bars.tqdm, "_instances", ()))


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


_spinner = _Spinner()
show = _spinner.show
stop = _spinner.stop
erase = _spinner.erase


@contextmanager
def shown(text: str) -> Iterator[None]:
    """Shows it as long as the block runs."""
    show(text)
    try:
        yield
    finally:
        stop()


def during(text: str, items: Iterable[Item]) -> Iterator[Item]:
    """The items; shows the text while each is waited for."""
    remaining = iter(items)
    while True:
        with shown(text):
            try:
                item = next(remaining)
            except StopIteration:
                return
        yield item
