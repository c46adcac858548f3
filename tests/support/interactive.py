"""The command on a pseudo-terminal, at which one types and looks while it runs."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.command import Command
from tests.support.terminals import LEADING, PLAIN

_OUTER = ("COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "STY", "TERM_PROGRAM", "TMUX", "TMUX_PANE", "DISPLAY")


class Session:
    """A running command, the keys that it is sent, and all that it has written to its terminal."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int, answers: Mapping[bytes, bytes]):
        self._process = process
        self._master = master
        self._answers = dict(answers)
        self.out = b""

    def type(self, keys: str | bytes) -> int:
        """Returns where what is written from now on starts in `out`."""
        self._read(0)
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)
        return len(self.out)

    def wait_for(self, what: bytes | Callable[[bytes], bool], start: int = 0) -> bytes:
        """Reads until that was written, or a condition on all of it is met."""
        is_met = what if callable(what) else lambda out: what in out
        until = time.monotonic() + 60
        while not is_met(self.out[start:]):
            assert time.monotonic() < until, (what, self.out[-3000:])
            assert self._read(0.1) or self._process.poll() is None, (what, self.out[-3000:])
        return self.out[start:]

    def settle(self, quiet_s: float = 0.5) -> None:
        """Reads until nothing more has been written for so long."""
        while self._read(quiet_s):
            pass

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._master], [], [], wait_s)[0]:
            return False
        try:
            read = os.read(self._master, 1 << 16)
        except OSError:  # all its ends are closed
            return False
        self.out += read
        asked = sorted((question for question in self._answers if question in self.out), key=self.out.index)
        os.write(self._master, b"".join(map(self._answers.pop, asked)))
        return bool(read)

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, bytes, bytes]:
        """Waits for its end; the exit status, stdout and stderr."""
        until = time.monotonic() + 60
        while self._process.poll() is None:
            assert time.monotonic() < until, self.out[-3000:]
            self._read(0.05)
        while self._read(0):
            pass
        assert self._process.stdout
        assert self._process.stderr
        return self._process.returncode, self._process.stdout.read(), self._process.stderr.read()


@contextmanager
def interactive(
    rclip: Command,
    *arguments: str | Path,
    answers: Mapping[bytes, bytes] = PLAIN,
    size: tuple[int, int] = (100, 40),
    env: Mapping[str, str] | None = None,
) -> Iterator[Session]:
    """`rclip -i` on a terminal of `size` (columns, lines) that answers questions; stdout and stderr are pipes."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    plain = {name: value for name, value in rclip.env.items() if name not in _OUTER}
    process = subprocess.Popen(
        [*LEADING, sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "-i", *map(str, arguments)],
        cwd=rclip.cwd,
        env=plain | {"TERM": "xterm-256color"} | dict(env or {}),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Session(process, master, answers)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream
            stream.close()
        os.close(master)
