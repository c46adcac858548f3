"""The interface from its start to the photos that were selected in it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rclip.errors import NoTerminal
from rclip.terminal import probe
from rclip.terminal.probe import Tty
from rclip.tui.setup import Setup

if TYPE_CHECKING:
    from rclip.search.hits import Hit

_TERMINAL = "/dev/tty"
_ANSWER_TIME_S = 1.0
"""Longer than a preview waits: what a slow terminal answers later would be taken for keys."""


def browse(setup: Setup) -> "list[Hit] | None":
    """Shows the photos until the user leaves, and returns those selected; None if it was left by Ctrl-C.

    Draws on the terminal even where stdout is a pipe. Raises `NoTerminal`, and what ended the interface.
    """
    from rclip.tui.app import Interface
    from rclip.tui.driver import driver_on

    with _terminal() as tty:
        with probe.screen(setup.pictures, tty=tty, answer_time_s=_ANSWER_TIME_S) as screen:
            pass
        app = Interface(setup, screen, driver_on(tty))
        return app.browse()


@contextmanager
def _terminal() -> Iterator[Tty]:
    """The one that the command was started from, whatever its streams are."""
    if os.environ.get("TERM") == "dumb":
        raise NoTerminal(reason="TERM is dumb")
    try:
        descriptor = os.open(_TERMINAL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise NoTerminal(reason=f"{_TERMINAL}: {error.strerror}") from None
    try:
        yield Tty(descriptor, descriptor)
    finally:
        sys.stdout.flush()
        os.close(descriptor)
