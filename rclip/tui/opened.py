"""The photos that the interface shows: opened by the first thread that asks, as that takes its time."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rclip.errors import RclipError

if TYPE_CHECKING:
    from rclip.explore import Explorer
    from rclip.tui.setup import Setup


class Opened:
    """The explorer of the photos, for any number of threads."""

    def __init__(self, setup: "Setup", notify: Callable[[str | RclipError], None]):
        """`notify` is called in any thread."""
        self._setup = setup
        self._notify = notify
        self._lock = threading.Lock()
        self._opened: Explorer | None = None

    def explorer(self) -> "Explorer":
        """Not for the interface's own thread before it `is_open`. Raises `RclipError`."""
        with self._lock:
            if self._opened is None:
                from rclip.explore import Explorer

                self._opened = Explorer(self._setup.open_library(self._notify), allow_links=True)
            return self._opened

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    def close(self) -> None:
        with self._lock:
            if self._opened:
                self._opened.close()
                self._opened.library.close()
