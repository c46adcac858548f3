"""Has pictures decoded by processes of their own, because a decoder fed with a damaged file may do anything.

Decoders are C: they crash, loop, take all memory and talk on stderr, and no thread of ours could be taken out of one.
A process can: the kernel ends one that computes for too long or wants too much memory, its file is a failure like any
other, and the next file gets a new process. `decode_worker` is what runs in them.

A conversation goes over a pair of sockets. We send a file's suffix and, beside it, its descriptor. The process answers
with a line of JSON: `{"reason": …}`, or `{"metadata": […]}` and after it the pixels. Before that it may once say
`{"wants": "turn"}` and wait for a byte, because large pictures are decoded one at a time.
"""

import json
import math
import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rclip import formats, isolation
from rclip.errors import plain_reason
from rclip.photo.failures import TIME_LIMIT_VARIABLE, DecodeError, FailureKind
from rclip.photo.metadata import PhotoMetadata

_TIME_LIMIT_S = 60.0
_SUFFIX_LENGTH = 16  # longer than any there is


def default_max_pixels() -> int:
    """A picture may take an eighth of the machine's memory while it is decoded.

    That is 4 bytes a pixel as Pillow keeps colours, and twice that while it is turned, expanded or converted.
    """
    try:
        memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        memory_bytes = 8 << 30
    return memory_bytes // 64


def time_limit_s() -> float:
    """Seconds of processor time that one photo may take."""
    with suppress(ValueError):
        asked = float(os.environ.get(TIME_LIMIT_VARIABLE, ""))
        if 0 < asked < 1e6:
            return asked
    return _TIME_LIMIT_S


class DecodedPhoto(NamedTuple):
    """What a file shows, and what it says of itself."""

    pixels: np.ndarray
    """(S, S, 3) uint8"""
    metadata: PhotoMetadata


class DecodePool:
    """Processes that decode, as many as threads ask at a time; each of those waits for the answer to its own file."""

    def __init__(self, resolution: int, max_pixels: int):
        """`resolution` is the side of the squares wanted; 0 asks for the metadata alone.

        Nothing is started before it is needed.
        """
        self._shape = (resolution, resolution, 3)
        self._arguments = [str(resolution), str(max_pixels), str(time_limit_s())]
        self._one_large_picture = threading.Lock()
        self._lock = threading.Lock()
        """Around what follows."""
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._is_closed = False

    def decode(self, file: BinaryIO, suffix: str) -> DecodedPhoto:
        """The middle square of the picture in an open file, whose position is lost, and what that file tells.

        Raises `DecodeError`.
        """
        try:
            process = self._take()
        except OSError as error:
            reason = f"no decoder can be started: {plain_reason(error)}"
            raise DecodeError(reason, FailureKind.PASSING) from error
        answer = None
        with suppress(OSError, EOFError):  # which mean that it has died
            answer = process.ask(file.fileno(), suffix, math.prod(self._shape), self._one_large_picture)
        if not self._put_back(process, is_alive=answer is not None):
            status = process.end()
            answer = answer or _error_of_the_dead(process.was_ready, status)
        assert answer
        if isinstance(answer, DecodeError):
            raise answer
        pixels, metadata = answer
        return DecodedPhoto(np.frombuffer(pixels, np.uint8).reshape(self._shape), metadata)

    def close(self) -> None:
        """Ends all processes at once; to threads that wait for one it looks as if it had died."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for process in self._busy:
                process.kill()
        for process in idle:
            process.end()

    def _take(self) -> "_Process":
        """Raises OSError."""
        with self._lock:
            if self._is_closed:
                raise OSError("the run is ending")
            process = self._idle.pop() if self._idle else _Process(self._arguments)
            self._busy.add(process)
        return process

    def _put_back(self, process: "_Process", is_alive: bool) -> bool:
        """Whether it can be used again."""
        with self._lock:
            self._busy.discard(process)
            is_kept = is_alive and not self._is_closed
            if is_kept:
                self._idle.append(process)
        return is_kept


def _error_of_the_dead(was_ready: bool, status: int) -> DecodeError:
    """The reason that its process's exit status gives for a file."""
    if not was_ready:
        return DecodeError("no decoder can be started", FailureKind.PASSING)
    if status == -signal.SIGPROF:
        return DecodeError(f"it takes longer than {time_limit_s():g} s to decode", FailureKind.TOO_SLOW)
    if status == -signal.SIGALRM:
        return DecodeError("the disk does not deliver it", FailureKind.PASSING)
    if status == -signal.SIGKILL:  # by us, because the run is ending, or by a system that is out of memory
        return DecodeError("its decoder was killed", FailureKind.PASSING)
    if status < 0:
        return DecodeError(f"damaged: its decoder crashes ({signal.Signals(-status).name})")
    return DecodeError(f"damaged: its decoder ends with status {status}")


class _Process:
    """One decoding process and our end of the line to it."""

    def __init__(self, arguments: list[str]):
        """Raises OSError. It is not waited for."""
        ours, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter, with modules found as here
                isolation.python(_START, json.dumps(isolation.module_path()), str(its.fileno()), *arguments),
                env=isolation.python_environment() | {"OPENBLAS_NUM_THREADS": "1"},  # it multiplies no matrices
                cwd="/",  # not among the photos
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libtiff, LibRaw and others speak there of what they find in a file
                start_new_session=True,  # Ctrl-C at the terminal is for us
            )
        self._socket = ours
        self._answers = ours.makefile("rb")
        self.was_ready = False

    def ask(
        self, descriptor: int, suffix: str, size_bytes: int, turn: threading.Lock
    ) -> tuple[bytes, PhotoMetadata] | DecodeError:
        """So many bytes of pixels and the metadata, or why there are none.

        Raises OSError or EOFError when the process dies over it.
        """
        if not self.was_ready:
            self._receive(1)
            self.was_ready = True
        # A descriptor does not travel without a byte, and an address may end in anything.
        socket.send_fds(self._socket, [f".{suffix[:_SUFFIX_LENGTH]}".encode(errors="replace")], [descriptor])
        answer = self._receive_json()
        if "wants" in answer:
            with turn:
                self._socket.sendall(b"\0")
                answer = self._receive_json()
        if "reason" in answer:
            extra = next((extra for extra in formats.EXTRAS if extra.name == answer["extra"]), None)
            return DecodeError(answer["reason"], FailureKind(answer["kind"]), extra)
        metadata = PhotoMetadata(*answer["metadata"])
        return self._receive(size_bytes), metadata._replace(keywords=tuple(metadata.keywords))

    def _receive_json(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _receive(self, length: int) -> bytes:
        received = self._answers.read(length)
        if len(received) < length:
            raise EOFError
        return received

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> int:
        """Its exit status, which is its own where it has died already."""
        self._answers.close()
        self._socket.close()
        self._process.kill()
        return self._process.wait()


_START = """
import json, sys
given = json.loads(sys.argv[1])
sys.path[:] = given + [entry for entry in sys.path if entry not in given]
from rclip.photo.decode_worker import main
main(*sys.argv[2:])
"""
