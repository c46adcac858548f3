"""Runs the command many times over, each time in a process of its own, without paying for its imports each time.

Reads commands from stdin, one JSON list of arguments a line, and answers each with `[status, stdout, stderr]`.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path

from tests.support.command import Command, Result

_ENDS_WITHIN_S = 120
"""A run that does not is ended, and its status tells of it."""


class ManyRuns:
    """The command as `rclip` runs it, a hundred times as often."""

    def __init__(self, rclip: Command, **env: str):
        self._model = rclip.model
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.many_runs"],
            cwd=rclip.cwd,
            env=rclip.env | env | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "ManyRuns":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=_ENDS_WITHIN_S + 60)
        finally:
            self._process.kill()

    def __call__(self, *arguments: str) -> Result:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(["--model", str(self._model), *arguments]) + "\n")
        self._process.stdin.flush()
        return Result(*json.loads(self._process.stdout.readline()))


def _run(arguments: list[str]) -> tuple[int, str, str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as imported:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            _become_command(arguments, imported.fileno())
        _, status = os.waitpid(child, 0)
        for file in (out, err, imported):
            file.seek(0)
        _import_for_the_next(imported.read().decode().split())
        return os.waitstatus_to_exitcode(status), os.fsdecode(out.read()), os.fsdecode(err.read())


def _import_for_the_next(names: list[str]) -> None:
    """Nothing of torch, which starts threads that a fork would not have."""
    if not any(name.partition(".")[0] == "torch" for name in names):
        for name in names:
            with suppress(ImportError):  # an alias, which is imported as something else
                importlib.import_module(name)


def _become_command(arguments: list[str], imported: int) -> None:
    signal.alarm(_ENDS_WITHIN_S)
    before = set(sys.modules)
    from rclip.cli import main

    code = 99
    try:
        code = main.main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os.write(imported, " ".join(sys.modules.keys() - before).encode())
        os._exit(code)


def main() -> None:
    from rclip.indexing import writer  # noqa: F401 - what a run imports

    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
