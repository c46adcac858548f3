"""The process that `decode_pool` starts: open files in; the pixels, or the reason why there are none, out."""

import io
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from rclip.errors import plain_reason
from rclip.photo import image
from rclip.photo.failures import DecodeError, FailureKind
from rclip.photo.image.opening import lift_limits

_IN_MEMORY_BYTES = 64 << 20

_WAITS_AT_MOST_S = 600.0
"""On the clock, for one file: decoding is limited by its own time, but a disk that never answers is, too."""

_BYTES_A_PIXEL = 20  # JPEG 2000 takes 19, WebP 16, most others 4 to 8
_BYTES_BESIDE = 256 << 20  # the file itself, its metadata
_BYTES_A_CORE = 32 << 20  # AVIF's and JPEG XL's decoders start a thread for each


def main(descriptor: str, resolution: str, max_pixels: str, time_limit_s: str) -> None:
    """Answers until the other side of the socket is closed."""
    connection = socket.socket(fileno=int(descriptor))
    lift_limits()
    _limit_memory(_BYTES_A_PIXEL * int(max_pixels) + _BYTES_BESIDE + _BYTES_A_CORE * (os.cpu_count() or 1))
    connection.sendall(b"\0")  # ready
    while True:
        suffix, descriptors, _, _ = socket.recv_fds(connection, 1024, 1)
        if not descriptors:
            return
        with open(descriptors[0], "rb") as file, _time_limit(float(time_limit_s)):
            answer, pixels = _answer(connection, file, suffix.decode()[1:], int(resolution), int(max_pixels))
        _say(connection, answer)
        connection.sendall(pixels)


def _limit_memory(size_bytes: int) -> None:
    """Beyond what is in use now. Where the system knows no such limit, the picture's size alone is one."""
    import resource

    with suppress(OSError, ValueError):
        with open("/proc/self/statm", encoding="ascii") as file:
            pages_in_use = int(file.read().split()[5])
        limit = pages_in_use * resource.getpagesize() + size_bytes
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """The kernel ends the process when the time is over, whatever it is doing then."""
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of processor time, in all threads
    signal.setitimer(signal.ITIMER_REAL, max(_WAITS_AT_MOST_S, 10 * seconds))
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(
    connection: socket.socket, file: BinaryIO, suffix: str, resolution: int, max_pixels: int
) -> tuple[dict[str, object], bytes]:
    """The answer's line, and the pixels after it."""

    def wait_for_turn() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(connection, {"wants": "turn"})
        connection.recv(1)
        signal.setitimer(signal.ITIMER_REAL, _WAITS_AT_MOST_S)

    try:
        if not resolution:
            return {"metadata": image.read_metadata(_in_memory(file), suffix, max_pixels, wait_for_turn)}, b""
        picture = image.decode(_in_memory(file), suffix, resolution, max_pixels, wait_for_turn)
        return {"metadata": picture.metadata}, picture.square.tobytes()
    except DecodeError as error:
        return {"reason": str(error), "kind": error.kind, "extra": error.extra.name if error.extra else None}, b""
    except OSError as error:
        return {"reason": plain_reason(error), "kind": FailureKind.PASSING, "extra": None}, b""


def _in_memory(file: BinaryIO) -> BinaryIO:
    """The file from its start; read at once, unless it is very large: decoders read in small pieces, back and forth."""
    file.seek(0)
    return io.BytesIO(file.read()) if os.fstat(file.fileno()).st_size <= _IN_MEMORY_BYTES else file


def _say(connection: socket.socket, answer: dict[str, object]) -> None:
    connection.sendall(json.dumps(answer).encode() + b"\n")
