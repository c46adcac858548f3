"""The process that `decode_pool` starts: open files in; the pixels, or the reason why there are none, out."""

import io
import json
import os
import signal
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from rclip import formats, signals
from rclip.cores import CORES
from rclip.errors import plain_reason
from rclip.photo import image
from rclip.photo.failures import DecodeError, FailureKind, OutOfMemory
from rclip.photo.image.opening import MOST_THREADS, lift_limits
from rclip.photo.memory import (
    BYTES_PER_PIXEL,
    bytes_for_file,
    bytes_for_film,
    data_bytes,
    limit_data,
    machine_bytes,
)
from rclip.photo.metadata import NO_METADATA
from rclip.resizing import Resizing

_IN_MEMORY_BYTES = 64 << 20

_MOST_BYTES_BESIDE = 256 << 20
_LEAST_BYTES_BESIDE = 128 << 20
_BYTES_OF_THREADS = MOST_THREADS * (32 << 20)


def main(descriptor: str, time_limit_s: str) -> None:
    """Answers until the other side of the socket is closed."""
    connection = socket.socket(fileno=int(descriptor))
    signals.block_crashes()
    warnings.simplefilter("ignore")  # nobody sees them, and a file can have many made
    lift_limits()
    connection.sendall(b"\0")  # ready
    memory = _Memory(connection)
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
        if not descriptors:
            return
        wanted = json.loads(request)
        with open(descriptors[0], "rb") as file, _time_limit(float(time_limit_s)):
            is_film = wanted["suffix"] in formats.VIDEO.suffixes
            memory.begin((bytes_for_film if is_film else bytes_for_file)(os.fstat(file.fileno()).st_size))
            if "from_ms" in wanted:
                answer, pixels = _film_answer(connection, file, wanted, memory, float(time_limit_s))
            else:
                answer, pixels = _answer(file, wanted, memory)
        memory.end()
        _say(connection, answer)
        connection.sendall(pixels)


class _Memory:
    """What the process may take beyond what it takes now: something beside, and what it has been given for a picture.

    Where the system knows no such limit, the picture's size alone is one.
    """

    def __init__(self, connection: socket.socket):
        self._connection = connection
        beside = machine_bytes() // (4 * CORES)  # of each of as many processes
        self._beside = min(max(beside, _LEAST_BYTES_BESIDE), _MOST_BYTES_BESIDE) + _BYTES_OF_THREADS
        self._in_use = data_bytes()
        self._file = self._given = 0

    def begin(self, file_bytes: int) -> None:
        """For the next file, of whose contents so many bytes may be held."""
        self._file = file_bytes
        self._limit()

    def end(self) -> None:
        """Before others are told that they can have it."""
        self._file = self._given = 0
        self._limit()

    def reserve(self, pixels: int) -> None:
        """Before so many pixels are decoded. Waits until others have left enough, unless they are few."""
        if pixels > max(_FEW_PIXELS, self._given):
            self._ask(pixels)

    def _ask(self, pixels: int) -> None:
        _say(self._connection, {"wants": BYTES_PER_PIXEL * pixels})
        if not self._connection.recv(1):
            raise SystemExit
        self._given = pixels
        self._limit()

    def reserve_all(self, max_pixels: int) -> bool:
        """Whether there is more than was given; then it is given."""
        is_more = max_pixels > self._given
        if is_more:
            self._given = 0
            self._ask(max_pixels)
        return is_more

    def _limit(self) -> None:
        limit_data(self._in_use + self._beside + self._file + BYTES_PER_PIXEL * self._given)


_FEW_PIXELS = 4_000_000
"""What is beside has room for them."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """The kernel ends the process when its own time is over, whatever it is doing then; `decode_pool` has a clock."""
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of processor time, in all threads
    yield
    signal.setitimer(signal.ITIMER_PROF, 0)


def _answer(file: BinaryIO, request: dict[str, Any], memory: _Memory) -> tuple[dict[str, object], bytes]:
    """The answer's line, and the pixels after it."""
    decode = _decoded_of_film if request["suffix"] in formats.VIDEO.suffixes else _decoded
    try:
        try:
            return decode(file, request, memory)
        except OutOfMemory:
            if not memory.reserve_all(request["max_pixels"]):
                raise
            return decode(file, request, memory)
    except DecodeError as error:
        return _refusal(error)
    except OSError as error:
        return {"reason": plain_reason(error), "kind": FailureKind.PASSING, "extra": None}, b""


def _refusal(error: DecodeError) -> tuple[dict[str, object], bytes]:
    return {"reason": str(error), "kind": error.kind, "extra": error.extra.name if error.extra else None}, b""


def _decoded(file: BinaryIO, request: dict[str, Any], memory: _Memory) -> tuple[dict[str, object], bytes]:
    stream, suffix, max_pixels = _in_memory(file), request["suffix"], request["max_pixels"]
    if "box" in request:
        thumbnail = image.thumbnail(stream, suffix, request["box"], max_pixels, request["step"], memory.reserve)
        width, height = thumbnail.size
        return {"metadata": NO_METADATA, "shape": (height, width, 3)}, thumbnail.tobytes()
    if "long_side" in request:
        made = image.thumbnail_file(stream, suffix, request["long_side"], max_pixels, memory.reserve)
        return {"metadata": NO_METADATA, "shape": (len(made),)}, made
    resolution = request["resolution"]
    shape = (resolution, resolution, 3)
    if not resolution:
        return {"metadata": image.read_metadata(stream, suffix, max_pixels, memory.reserve), "shape": shape}, b""
    resizing = Resizing(*request["resizing"])
    picture = image.decode(stream, suffix, resolution, max_pixels, memory.reserve, resizing)
    return {"metadata": picture.metadata, "shape": shape}, picture.square.tobytes()


# --- films -----------------------------------------------------------------------------------------------------------


def _decoded_of_film(file: BinaryIO, request: dict[str, Any], memory: _Memory) -> tuple[dict[str, object], bytes]:
    """One picture of a film: that of a moment, or the first that is kept."""
    from rclip.photo import video

    max_pixels, at_ms = request["max_pixels"], request.get("at_ms")
    resolution = request.get("resolution")
    side: int = request.get("long_side") or (min(request["box"]) if "box" in request else resolution or 1)
    picture, metadata = video.picture(file, at_ms, side, max_pixels, memory.reserve)
    if resolution == 0:  # the metadata alone, of which the size is known by a picture only
        return {"metadata": metadata, "shape": (0, 0, 3)}, b""
    if "long_side" in request:
        made = video.thumbnail_file(picture, request["long_side"])
        return {"metadata": NO_METADATA, "shape": (len(made),)}, made
    if "box" in request:
        picture = video.thumbnail(picture, request["box"], request["step"])
        return {"metadata": NO_METADATA, "shape": (picture.height, picture.width, 3)}, picture.tobytes()
    square = video.square(picture, side, Resizing(*request["resizing"]))
    return {"metadata": metadata, "shape": (side, side, 3)}, square.tobytes()


_PART_MOMENTS = 32
_PART_S = 10.0
"""A part of a film has so many moments, or what so much processor time finds: all of it is lost when a run ends."""


def film_limit_s(time_limit_s: float, size_bytes: int) -> float:
    """Seconds of processor time that a film may take: that of a photo for every 64 MiB begun."""
    return time_limit_s * (1 + size_bytes // (64 << 20))


def _film_answer(
    connection: socket.socket, file: BinaryIO, request: dict[str, Any], memory: _Memory, time_limit_s: float
) -> tuple[dict[str, object], bytes]:
    """Says all parts of a film but the last, as soon as each is ready. The last answer has no `resume_ms`."""
    from rclip.photo import video

    resolution, resizing = request["resolution"], Resizing(*request["resizing"])
    most_s = film_limit_s(time_limit_s, os.fstat(file.fileno()).st_size)
    began_s = part_began_s = time.process_time()
    found: list[tuple[int, bytes]] = []
    failure, has_any = "", request["from_ms"] > 0
    film: Any = None

    def part(resume_ms: int | None) -> tuple[dict[str, object], bytes]:
        answer = {
            "at_ms": [at_ms for at_ms, _ in found],
            "metadata": film.metadata if film else NO_METADATA,
            "duration_ms": film.duration_ms if film else None,
            "resume_ms": resume_ms,
            "failure": failure,
        }
        return answer, b"".join(pixels for _, pixels in found)

    try:
        with video.decoders_errors(), video.opened(file, video.Room(request["max_pixels"], memory.reserve)) as film:
            for at_ms, image in video.looks(film, request["from_ms"], resolution):
                if image:
                    found.append((at_ms, video.square(image, resolution, resizing).tobytes()))
                spent_s = time.process_time()
                if spent_s - began_s > most_s:
                    raise DecodeError(f"it takes longer than {most_s:g} s to decode", FailureKind.TOO_SLOW)
                if len(found) >= _PART_MOMENTS or spent_s - part_began_s > _PART_S:
                    answer, pixels = part(at_ms + 1)
                    _say(connection, answer)
                    connection.sendall(pixels)
                    has_any = has_any or bool(found)
                    found, part_began_s = [], time.process_time()
                    signal.setitimer(signal.ITIMER_PROF, time_limit_s)
    except DecodeError as error:
        if not (found or has_any):
            return _refusal(error)
        failure = str(error)
    return part(None)


def _in_memory(file: BinaryIO) -> BinaryIO:
    """The file from its start; read at once, unless it is very large: decoders read in small pieces, back and forth."""
    file.seek(0)
    return io.BytesIO(file.read(_IN_MEMORY_BYTES)) if os.fstat(file.fileno()).st_size <= _IN_MEMORY_BYTES else file


def _say(connection: socket.socket, answer: dict[str, object]) -> None:
    connection.sendall(json.dumps(answer).encode() + b"\n")
