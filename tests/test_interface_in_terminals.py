"""The full-screen interface in real terminals: tmux, and xterm with Sixel on a virtual display. Driven by keys."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import xterm
from tests.support.command import Command

COLUMNS, LINES = 110, 36


def command_line(rclip: Command, out: Path, *arguments: str) -> str:
    """For a shell: the command, its stdout in a file, which tells its exit status at the end."""
    env = {name: rclip.env[name] for name in ("HOME", "RCLIP_DATADIR")} | {"COLORTERM": "truecolor"}
    words = ["env", *(f"{name}={value}" for name, value in env.items())]
    words += [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "-i", "-n", *arguments]
    return f"cd {shlex.quote(str(rclip.cwd))} && {shlex.join(words)} >{out}; echo status $? >>{out}; sleep 60"


def until(is_met: Callable[[], bool], seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not is_met():
        assert time.monotonic() < deadline, seen()
        time.sleep(0.1)


# --- tmux -------------------------------------------------------------------------------------------------------------


class Tmux:
    """A tmux of its own with one pane."""

    def __init__(self, socket: Path, command: str):
        self._socket = socket
        self.run("-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), command)

    def run(self, *arguments: str) -> str:
        env = {name: value for name, value in os.environ.items() if name not in ("TMUX", "TMUX_PANE")}
        done = subprocess.run(
            ["tmux", "-S", self._socket, *arguments], env=env, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def screen(self) -> str:
        return self.run("capture-pane", "-p")

    def colors(self) -> list[tuple[int, int, int]]:
        """Of the upper halves of all half-blocks."""
        return [
            (int(r), int(g), int(b))
            for r, g, b in re.findall(r"38;2;(\d+);(\d+);(\d+)[^▀\n]*▀", self.run("capture-pane", "-p", "-e"))
        ]


@contextmanager
def in_tmux(tmp_path: Path, command: str) -> Iterator[Tmux]:
    tmux = Tmux(tmp_path / "tmux", command)
    try:
        yield tmux
    finally:
        tmux.run("kill-server")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="left out: there is no tmux")
def test_in_tmux_photos_are_found_looked_at_and_selected(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    rclip("--index")
    out = tmp_path / "out"
    with in_tmux(tmp_path, command_line(rclip, out, "-0")) as tmux:
        until(lambda: "1 of 12" in tmux.screen(), tmux.screen)
        tmux.run("send-keys", "a red star")
        until(lambda: bool(re.search(r"red\.jpg +.*\n +0\.\d{3}  \d{4}-", tmux.screen())), tmux.screen)
        tmux.run("send-keys", "Enter")
        tmux.run("send-keys", "Enter")
        until(lambda: "Folder" in tmux.screen() and is_seen(tmux.colors(), "red"), tmux.screen)
        assert is_seen(tmux.colors(), "blue") is False
        tmux.run("send-keys", "Space")
        until(lambda: "✓ 1 selected" in tmux.screen(), tmux.screen)
        tmux.run("send-keys", "Escape")
        until(lambda: is_seen(tmux.colors(), "blue"), tmux.screen)
        tmux.run("send-keys", "Right", "Space", "q")
        until(lambda: "status" in out.read_text(), out.read_text)
        first, second, rest = out.read_text().split("\0")
        assert first == "stars/red.jpg"
        assert second != first
        assert (gallery / second).is_file()
        assert rest == "status 0\n"


def is_seen(colors: Sequence[tuple[int, ...]], name: str) -> bool:
    """Whether some of them are of that colour."""
    strong, weak = {"red": (0, (1, 2)), "blue": (2, (0, 1))}[name]
    return sum(color[strong] > 140 and all(color[other] < 100 for other in weak) for color in colors) > 5


# --- xterm ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(shutil.which, xterm.PROGRAMS)), reason=f"left out: it needs {', '.join(xterm.PROGRAMS)}"
)
def test_in_xterm_the_right_pictures_stand_in_their_places(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    rclip("--index")
    out = tmp_path / "out"
    with xterm.showing(command_line(rclip, out, "a red star"), COLUMNS, LINES) as terminal:
        until(lambda: is_seen(terminal.colors_in(0, 0.25), "red"), out.read_text)
        assert not is_seen(terminal.colors_in(0, 0.25), "blue")
        terminal.key("slash", "ctrl+u")
        terminal.type("a blue circle")
        until(
            lambda: is_seen(terminal.colors_in(0, 0.25), "blue") and not is_seen(terminal.colors_in(0, 0.25), "red"),
            out.read_text,
        )
        terminal.key("Return", "question")
        until(lambda: not is_seen(terminal.colors_in(0, 1), "blue"), out.read_text)
        terminal.key("q")
        until(lambda: is_seen(terminal.colors_in(0, 0.25), "blue"), out.read_text)
        terminal.key("space", "q")
        until(lambda: "status" in out.read_text(), out.read_text)
        assert out.read_text() == "circles/blue.jpg\nstatus 0\n"
