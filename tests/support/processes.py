"""A running command looked at from outside: what it has started, what it reads, which signals it handles."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            found += map(int, (thread / "children").read_text(encoding="ascii").split())
    return found


def is_decoder(pid: int) -> bool:
    """Just forked, it still has its parent's command line."""
    try:
        return b"rclip.photo.decode_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended
        return False


def decodes(pid: int, path: Path) -> bool:
    """Whether it is a decoder that has the file open, or one in that folder."""
    try:
        return is_decoder(pid) and any(
            Path(os.readlink(link)).is_relative_to(path) for link in Path(f"/proc/{pid}/fd").iterdir()
        )
    except OSError:  # it has ended, or has just closed something
        return False


@contextmanager
def decoder_held(path: Path, run: subprocess.Popen[bytes]) -> Iterator[int]:
    """Waits until a process that the run has started decodes the file, and holds it there meanwhile."""
    while run.poll() is None:
        for pid in children(run.pid):
            if decodes(pid, path):
                with held(pid):
                    if decodes(pid, path):  # still
                        yield pid
                        return
        time.sleep(0.002)
    raise AssertionError(f"ended before it read {path}")


@contextmanager
def traced(pid: int) -> Iterator[None]:
    """Halts a process as a system call that does not return would: it is not stopped, and takes no signal but KILL."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    attach, detach = 16, 17
    if libc.ptrace(attach, pid, None, None):
        pytest.skip("no process may be traced here")
    try:
        yield
    finally:
        libc.ptrace(detach, pid, None, None)


@contextmanager
def held(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        stat = Path(f"/proc/{pid}/stat")
        while stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "TZ":
            pass
        yield
    finally:
        with suppress(ProcessLookupError):  # it was killed while held
            os.kill(pid, signal.SIGCONT)


def wait_until_it_listens(run: subprocess.Popen[bytes]) -> None:
    """Until then it is Python that starts, and dies of a signal like any other program."""
    status = Path(f"/proc/{run.pid}/status")
    if not status.exists():
        pytest.skip("the system does not tell which signals a process handles")
    while run.poll() is None:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return


def wait_until_it_sleeps(run: subprocess.Popen[bytes]) -> None:
    """As SQLite does between two tries for a lock that another connection has."""
    waits_in = Path(f"/proc/{run.pid}/wchan")
    if not waits_in.exists():
        pytest.skip("the system does not tell what a process waits for")
    while run.poll() is None:
        if "nanosleep" in waits_in.read_text(encoding="ascii"):
            return
        time.sleep(0.002)
    raise AssertionError("ended without having slept")
