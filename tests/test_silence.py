"""A terminal shows what is going on when it takes more than a second, on a drive that the kernel slows down."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.gallery import Draw
from tests.support.index import index_of
from tests.support.slow_disk import SlowDisk, folders_of_one_photo

SPINNER = re.compile(r"\r\x1b\[K[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] ([^\r\n]*)")
TTY = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"


def start_on_tty(rclip: Command, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """Gives out what a terminal of its own is sent."""
    command = [sys.executable, "-c", TTY, *prefix, sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model)]
    env = rclip.env | {"TERM": "xterm-256color"}
    return subprocess.Popen(
        [*command, *arguments], cwd=rclip.cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )


def on_tty(rclip: Command, *arguments: str, prefix: tuple[str, ...] = ()) -> str:
    """The whole of it."""
    run = start_on_tty(rclip, *arguments, prefix=prefix)
    out, _ = run.communicate(timeout=120)
    assert run.returncode == 0, out
    return out.decode()


def test_listing_that_takes_long_is_shown_with_counts(rclip: Command, draw: Draw, tmp_path: Path) -> None:
    folders = folders_of_one_photo(draw("photo.jpg"), 16)
    rclip("--index")
    shown = on_tty(rclip, "red", prefix=SlowDisk(tmp_path / "calls", 300, *folders).prefix)
    counts = [
        int(count) for count in re.findall(r"looking for changes: (\d+) photos", "\n".join(SPINNER.findall(shown)))
    ]
    assert counts
    assert counts == sorted(counts)
    results = shown.rpartition("\x1b[K")[2]  # all of the spinner is erased before the first result
    assert "photo.jpg" in results
    assert not set(results) & set("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")


@pytest.mark.slow
def test_after_ten_seconds_of_listing_a_line_says_how_to_do_without(rclip: Command, draw: Draw, tmp_path: Path) -> None:
    draw("photo.jpg")
    rclip("--index")
    line = "rclip: looking for new photos takes long here; -n searches the photos that are indexed without it"
    disk = SlowDisk(tmp_path / "calls", 6000, rclip.cwd)
    assert on_tty(rclip, "red", prefix=disk.prefix).count(line) == 1
    assert line not in on_tty(rclip, "--index", prefix=disk.prefix)  # which cannot do without


def test_nothing_is_shown_where_nobody_looks_or_nothing_takes_long(rclip: Command, draw: Draw, tmp_path: Path) -> None:
    folders = folders_of_one_photo(draw("photo.jpg"), 40)
    rclip("--index")
    done = rclip("red", prefix=SlowDisk(tmp_path / "calls", 100, *folders).prefix)
    assert (done.code, done.err) == (0, "")
    assert "\x1b[K" not in on_tty(rclip, "--after", "2000")


def test_other_work_that_takes_long_is_shown(rclip: Command, gallery: Path) -> None:
    """SQLite waits for a lock that somebody has."""
    rclip("--index")
    (gallery / "stars/red.jpg").unlink()
    rclip("--index")
    holder = sqlite3.connect(index_of(rclip), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    run = start_on_tty(rclip, "--prune", "0")
    assert run.stdout
    shown = b""
    while b"pruning" not in shown and (part := run.stdout.read(1)):
        shown += part
    holder.execute("ROLLBACK")
    holder.close()
    shown += run.communicate(timeout=60)[0]
    assert "pruning" in SPINNER.findall(shown.decode())
    assert shown.decode().rpartition("\x1b[K")[2].startswith("rclip: index pruned: 1 forgotten")
