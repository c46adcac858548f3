"""The real command in a subprocess, and the words it closes with."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

from tests.support import starter

PEAK = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, file=sys.stderr)
sys.exit(status)
"""
"""Runs a command and says, behind its last line on stderr, how many MB the largest of its processes took."""


class Result(NamedTuple):
    """What a finished command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Changes(TypedDict, total=False):
    """What a single run may have otherwise."""

    cwd: Path | bytes | None
    env: dict[str, str] | None
    prefix: tuple[str, ...]
    model: str | Path | None


class Command:
    """The installed command, run as a user would, with a home and a data folder of its own."""

    def __init__(self, home: Path, data_dir: Path, model: Path, cwd: Path):
        self.home = home
        self.data_dir = data_dir
        self.model = model
        self.cwd = cwd

    def __call__(self, *arguments: str | bytes | Path, **changes: Unpack[Changes]) -> Result:
        done = self.raw(*arguments, **changes)
        return Result(done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))

    def raw(
        self,
        *arguments: str | bytes | Path,
        cwd: Path | bytes | None = None,
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        model: str | Path | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        words = ["--model", model or self.model, *arguments]
        given_env = self.env | (env or {})
        done: subprocess.CompletedProcess[bytes] | None = None
        if not prefix:
            done = starter.run(words, cwd or self.cwd, given_env)
        return done or subprocess.run(
            [*prefix, sys.executable, "-P", "-m", "rclip", *words],
            cwd=cwd or self.cwd,
            env=given_env,
            capture_output=True,
            timeout=600,
            check=False,
        )

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RCLIP_", "XDG_"))}
        return kept | {"HOME": str(self.home), "RCLIP_DATADIR": str(self.data_dir)}


def unchanged(photos: int) -> str:
    """What `--index -v` says where nothing has changed."""
    return f"rclip: nothing has changed; photos here: {photos:,}\n"


def update(rclip: Command, *arguments: str) -> str:
    """The line an update closes with, without its start; nothing when nothing changed."""
    done = rclip("--index", "-v", *arguments)
    assert done.code == 0, done.err
    assert done.out == ""
    return "" if is_unchanged(done.err) else done.err.strip().removeprefix("rclip: index updated: found ")


def is_unchanged(told: str) -> bool:
    return re.fullmatch("rclip: nothing has changed; photos here: [0-9,]+\n", told) is not None


def start(rclip: Command, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), *arguments]
    return subprocess.Popen(command, cwd=rclip.cwd, env=rclip.env, stdout=subprocess.PIPE, **options)


def one_line(text: str) -> str:
    """The only line of `text`, which must not be a traceback."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


def imported_by(rclip: Command, *arguments: str, cwd: Path | None = None) -> set[str]:
    """The modules that the command imported, as told by the interpreter."""
    done = rclip(*arguments, env={"PYTHONPROFILEIMPORTTIME": "1"}, cwd=cwd)
    assert done.code == 0, done.err
    lines = [line for line in done.err.splitlines() if line.startswith("import time:")]
    assert len(lines) > 50
    return {line.rpartition("|")[2].strip() for line in lines}
