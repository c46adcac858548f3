"""Textual on a given terminal: it would read stdin and write to stderr, which may be pipes."""

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App

    from rclip.terminal.probe import Tty


class _Display(io.TextIOWrapper):
    """What is written for a terminal that has gone is lost; the signal that it sent ends the program."""

    def __init__(self, stream: BinaryIO):
        super().__init__(stream, "utf-8", errors="replace", newline="")

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return 0

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def driver_on(tty: "Tty") -> type[LinuxDriver]:
    """A driver whose keyboard and display are that terminal's."""

    class TtyDriver(LinuxDriver):
        """Reads and writes the terminal itself."""

        def __init__(self, app: "App[Any]", **options: Any):
            if sys.__stdin__ is None:  # closed before the start, and asked for its number
                sys.__stdin__ = open(os.devnull)  # type: ignore[misc]  # noqa: SIM115 - as long as the program lives
            super().__init__(app, **options)
            self._file = _Display(open(tty.display, "wb", buffering=1 << 16, closefd=False))  # noqa: SIM115
            self.fileno = tty.keyboard
            self.input_tty = True

        def _get_terminal_size(self) -> tuple[int, int]:
            try:
                columns, lines = os.get_terminal_size(tty.display)
            except OSError:
                columns = lines = 0
            return columns or 80, lines or 24

    return TtyDriver
