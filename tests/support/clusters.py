"""Real Dask clusters on this machine: a scheduler and workers, each a process that can be hurt."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.networks import Host
from tests.support.processes import children

PACKAGE = Path(__file__).parents[2] / "rclip"


class Cluster:
    """A scheduler, and the workers that are started."""

    def __init__(
        self, folder: Path, rclip: Command, *options: str, host: Host | None = None, env: dict[str, str] | None = None
    ):
        """`options` and `env` are those of the scheduler, and `host` is where it runs."""
        self._folder = folder
        self._env = rclip.env
        self.processes: list[subprocess.Popen[bytes]] = []
        known = folder / "scheduler.json"
        arguments = ("--port", "0", "--scheduler-file", str(known), "--no-dashboard", *options)
        self.scheduler = self._start("scheduler", *arguments, env=env, host=host)
        wait_for(lambda: known.exists() and b"}" in known.read_bytes())
        self.address: str = json.loads(known.read_bytes())["address"]

    def worker(
        self,
        *options: str,
        env: dict[str, str] | None = None,
        in_place_of: tuple[Path, Path] | None = None,
        is_restarted: bool = False,
        host: Host | None = None,
    ) -> subprocess.Popen[bytes]:
        """Starts one, on a host.

        For it, a second path may stand in place of the first; it may be started anew when it dies.
        """
        prefix: tuple[str, ...] = ()
        if in_place_of:
            prefix = seen_elsewhere(*in_place_of)
        nanny = ("--nanny",) if is_restarted else ("--no-nanny",)
        arguments = (self.address, *nanny, "--no-dashboard", "--nthreads", "2", *options)
        return self._start("worker", *arguments, prefix=prefix, env=env, host=host)

    def workers(self, count: int) -> list[subprocess.Popen[bytes]]:
        """Starts so many, and waits until they are there."""
        started = [self.worker() for _ in range(count)]
        self.wait_for_workers(count)
        return started

    def wait_for_workers(self, count: int) -> None:
        """Until the scheduler knows so many."""
        log = self._folder / "scheduler-0.log"
        wait_for(lambda: log.read_bytes().count(b"Register worker") - log.read_bytes().count(b"Remove worker") == count)

    def _start(
        self,
        what: str,
        *arguments: str,
        prefix: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        host: Host | None = None,
    ) -> subprocess.Popen[bytes]:
        log = (self._folder / f"{what}-{len(self.processes)}.log").open("wb")
        place = ("--host", host.address if host else "127.0.0.1")
        scratch = ("--local-directory", str(self._folder)) if what == "worker" else ()
        before = (*(host.prefix if host else ()), *prefix)
        with log:
            process = subprocess.Popen(
                [*before, sys.executable, "-P", "-m", f"distributed.cli.dask_{what}", *arguments, *place, *scratch],
                env=self._env | {"TMPDIR": str(self._folder)} | (env or {}),
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)


def seen_elsewhere(path: Path, other: Path) -> tuple[str, ...]:
    """What to put before a command so that, for it, the one path is the other: another machine's disk."""
    unshare = shutil.which("unshare")
    prefix = (unshare or "", "-m" if os.geteuid() == 0 else "-rm")
    if unshare is None or subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no process may have mounts of its own here")
    return (*prefix, "sh", "-c", f'mount --bind "{other}" "{path}" && exec "$@"', "sh")


def other_rclip(folder: Path, module: str, old: str, new: str) -> dict[str, str]:
    """Variables by which a process has an rclip in which that text is another."""
    shutil.copytree(PACKAGE, folder / "rclip", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "rclip" / module
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def descendants(pid: int) -> list[int]:
    """All that a process has started, and what those have."""
    try:
        own = children(pid)
    except OSError:  # it has ended
        return []
    return [*own, *(other for child in own for other in descendants(child))]


def has_open(pid: int, path: Path) -> bool:
    """Whether the process has the file open."""
    try:
        return any(os.readlink(link) == str(path) for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has ended, or has just closed something
        return False
