"""Starts commands as `python -P -m rclip` does, but for what Python and NumPy do until rclip's own first line.

That is two thirds of the time of a short command. A process that has done it once is forked for each command; rclip
itself has not been imported there, so each run does all of its own work anew, with arguments, an environment, a folder
and streams of its own. `make test-all` starts each command as a user does.
"""

import contextlib
import json
import os
import runpy
import select
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC", "OPENBLAS", "OMP_", "NPY")
"""How variables begin that Python, NumPy or the C library obey before rclip's first line."""
_ENVIRONMENT = dict(os.environ)
"""Before any test has changed it."""
_MOST_BYTES = 100_000
"""Of a request: what a socket takes at once."""

is_wanted = hasattr(os, "pidfd_open")
"""Commands are started otherwise where it is False; `--fresh` sets it."""


def run(arguments: Sequence[str | bytes | Path], cwd: Path | bytes, env: dict[str, str]) -> Any:
    """As `subprocess.run` with its output captured; None where this command must be started otherwise."""
    words = [os.fsdecode(word) for word in arguments]
    request = json.dumps({"arguments": words, "cwd": os.fsdecode(cwd), "env": env}).encode()
    if not is_wanted or len(request) > _MOST_BYTES or _read_at_start(env) != _read_at_start(_ENVIRONMENT):
        return None
    with _Run(_server(), request) as running:
        out, err = running.read()
        return subprocess.CompletedProcess(words, running.wait(), out, err)


def _read_at_start(env: Any) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


class _Server:
    """The process that is forked."""

    def __init__(self) -> None:
        self.socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(its.fileno())],
                env=_ENVIRONMENT | {"OPENBLAS_NUM_THREADS": "1"},  # as `rclip` does, and a thread would not be forked
                cwd="/",
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def close(self) -> None:
        self.socket.close()
        self._process.wait()


@cache
def _server() -> _Server:
    return _Server()


def close() -> None:
    """Ends the process, if there is one."""
    if _server.cache_info().currsize:
        _server().close()
        _server.cache_clear()


class _Run:
    """One command, from its start on."""

    def __init__(self, server: _Server, request: bytes):
        self._out, out = os.pipe()
        self._err, err = os.pipe()
        self._reply, reply = socket.socketpair()
        with reply:
            socket.send_fds(server.socket, [request], [0, out, err, reply.fileno()])
        os.close(out)
        os.close(err)
        self._pid = int(self._line())

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_: object) -> None:
        self._reply.close()
        os.close(self._out)
        os.close(self._err)

    def read(self) -> tuple[bytes, bytes]:
        """All that it writes."""
        read = {self._out: bytearray(), self._err: bytearray()}
        with selectors.DefaultSelector() as selector:
            for end in read:
                selector.register(end, selectors.EVENT_READ)
            until_s = time.monotonic() + 600
            while selector.get_map():
                for key, _ in selector.select(max(0, until_s - time.monotonic())) or self._too_late():
                    part = os.read(key.fd, 1 << 16)
                    read[key.fd] += part
                    if not part:
                        selector.unregister(key.fd)
        return bytes(read[self._out]), bytes(read[self._err])

    def _too_late(self) -> Any:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, 9)
        raise TimeoutError("the command does not end")

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(int(self._line()))

    def _line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            part = self._reply.recv(1)
            assert part, "the process that starts commands has died"
            line += part
        return bytes(line)


# --- in the process that is forked ------------------------------------------------------------------------------------


def _serve(control: socket.socket) -> None:
    """Forks for each request, and tells the pid and, when it has ended, the status."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for ready, _ in poll.poll():
            if ready != control.fileno():
                pid, reply = running.pop(ready)
                poll.unregister(ready)
                os.close(ready)
                with reply, contextlib.suppress(OSError):  # nobody waits for it any more
                    reply.sendall(b"%d\n" % os.waitpid(pid, 0)[1])
                continue
            request, descriptors, _, _ = socket.recv_fds(control, 2 * _MOST_BYTES, 4)
            if not request:
                return
            pid = os.fork()
            if pid == 0:
                _become_command(json.loads(request), descriptors)
            *streams, answer = descriptors
            for stream in streams:
                os.close(stream)
            reply = socket.socket(fileno=answer)
            reply.sendall(b"%d\n" % pid)
            ended = os.pidfd_open(pid)
            running[ended] = pid, reply
            poll.register(ended, select.POLLIN)


def _become_command(request: dict[str, Any], descriptors: list[int]) -> None:
    status: Any = 1
    try:
        for number, descriptor in enumerate(descriptors[:3]):
            os.dup2(descriptor, number)
        os.closerange(3, 1 << 12)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        time.tzset()
        sys.argv = ["rclip", *request["arguments"]]
        runpy.run_module("rclip", run_name="__main__", alter_sys=True)
    except SystemExit as exit_:  # of `--help`; else the command itself ends the process
        status = exit_.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    import argparse  # noqa: F401 - what a command will import
    import sqlite3  # noqa: F401

    import numpy  # noqa: F401

    _serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)
