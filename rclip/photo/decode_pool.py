"""Has pictures decoded by processes of their own, because a decoder fed with a damaged file may do anything.

Decoders are C: they crash, loop, take all memory and talk on stderr, and no thread of ours could be taken out of one.
A process can: the kernel ends one that computes for too long or wants too much memory, its file is a failure like any
other, and the next file gets a new process. `decode_worker` is what runs in them. Pictures for the index, of queries
and for thumbnails all go there.

A process may also be ended or stopped by others: by a user, a shutdown, a system without memory. So a file whose
process has died is tried once more in a new one, and only what happens there is taken for the file's own doing.

A conversation goes over a pair of sockets. We send a line of JSON, the request, and beside it the file's descriptor.
The process answers with a line of JSON: `{"reason": …}`, or `{"metadata": […], "shape": […]}` and after it so many
pixels. Before that it may say `{"wants": bytes}` and wait for a byte: what all of them take together is limited, so
large pictures wait for one another. A film has an answer for each of its parts, and is looked at while we take them.
"""

import json
import math
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from rclip import formats, isolation
from rclip.cores import CORES
from rclip.errors import plain_reason
from rclip.photo.failures import TIME_LIMIT_VARIABLE, DecodeError, FailureKind
from rclip.photo.memory import BYTES_PER_PIXEL, bytes_for_file, bytes_for_film, machine_bytes
from rclip.photo.metadata import NO_METADATA, PhotoMetadata
from rclip.resizing import CLIP_RESIZING, Resizing
from rclip.signals import CRASHES

if TYPE_CHECKING:
    import numpy as np  # is imported while the first process starts

_TIME_LIMIT_S = 60.0
_LEAST_TIME_LIMIT_S = 0.001  # a shorter one is none to the kernel
_ON_THE_CLOCK = 10  # times as much
_LEAST_ON_THE_CLOCK_S = 10.0

_WATCHED_EVERY_S = 1.0
_MOST_LOOKS_STOPPED = 5  # in a row, before it is given up
_DIES_WITHIN_S = 5.0

_MOST_PART_MOMENTS = 64
_MOST_MS = 1 << 41

_SUFFIX_LENGTH = 16  # longer than any there is
_MOST_FILE_BYTES = 64 << 20
_MOST_REASON = 1000
_LINE_BYTES = 1 << 20  # of an answer: a hundred keywords, and more
_MOST_WISHES = 100  # for memory, for one file


def default_max_pixels() -> int:
    """A picture may take an eighth of the machine's memory while it is decoded.

    That is 4 bytes a pixel as Pillow keeps colours, and twice that while it is turned, expanded or converted.
    """
    return machine_bytes() // 64


def time_limit_s() -> float:
    """Seconds of processor time that one photo may take."""
    with suppress(ValueError):
        asked = float(os.environ.get(TIME_LIMIT_VARIABLE, ""))
        if 0 < asked < 1e6:
            return max(asked, _LEAST_TIME_LIMIT_S)
    return _TIME_LIMIT_S


def clock_limit_s(time_limit_s: float) -> float:
    """Seconds on the clock that one photo may take: a disk that never answers takes no processor time."""
    return max(_ON_THE_CLOCK * time_limit_s, _LEAST_ON_THE_CLOCK_S)


class DecodedPhoto(NamedTuple):
    """What a file shows, and what it says of itself."""

    pixels: "np.ndarray"
    """(S, S, 3) uint8"""
    metadata: PhotoMetadata


class FilmPart(NamedTuple):
    """Some consecutive moments of a film."""

    at_ms: tuple[int, ...]
    """Their times from its start, ascending."""
    pixels: "np.ndarray"
    """(n, S, S, 3) uint8"""
    metadata: PhotoMetadata
    duration_ms: int | None
    resume_ms: int | None
    """From where on the next part looks; None after the last."""
    failure: str = ""
    """Why the rest of the film could not be looked at, of a last part."""


class DecodePool:
    """Processes that decode, as many as threads ask at a time; each of those waits for the answer to its own file."""

    def __init__(self, resolution: int, max_pixels: int, resizing: Resizing = CLIP_RESIZING):
        """`resolution` is the side of the squares wanted; 0 asks for the metadata alone.

        Nothing is started before it is needed.
        """
        self._resolution, self._resizing = resolution, resizing
        self._limits = {"max_pixels": max_pixels}
        self._room = _room_for(max_pixels)
        self._clock_limit_s = clock_limit_s(time_limit_s())
        self._lock = threading.Lock()
        """Around what follows."""
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._watcher: threading.Thread | None = None
        self._closed = threading.Event()

    def decode(self, file: BinaryIO, suffix: str) -> DecodedPhoto:
        """The square of the picture in an open file, whose position is lost, and what that file tells.

        Raises `DecodeError`.
        """
        return self._decode(file, suffix, {"resolution": self._resolution, "resizing": self._resizing})

    def thumbnail(
        self, file: BinaryIO, suffix: str, box: tuple[int, int], step: tuple[int, int], at_ms: int | None = None
    ) -> "np.ndarray":
        """The whole picture in `box` (width, height), one pixel of each `step`: (h, w, 3) uint8. Raises `DecodeError`.

        Of a film, that of the moment. See `image.thumbnail`.
        """
        return self._decode(file, suffix, {"box": box, "step": step, "at_ms": at_ms}).pixels

    def thumbnail_file(self, file: BinaryIO, suffix: str, long_side: int, at_ms: int | None = None) -> bytes:
        """A JPEG file with the whole picture in an open file, whose position is lost. Raises `DecodeError`.

        Of a film, that of the moment. See `image.thumbnail_file`.
        """
        return self._decode(file, suffix, {"long_side": long_side, "at_ms": at_ms}).pixels.tobytes()

    def film(self, file: BinaryIO, suffix: str, from_ms: int = 0) -> Generator[FilmPart, None, None]:
        """The moments of the film in an open file, whose position is lost, from that time on, in parts.

        Raises `DecodeError` where there are none. A process that dies over a film is replaced where the last part
        ended; another one that dies without bringing it further ends the film there.
        """
        request = {"resolution": self._resolution, "resizing": self._resizing, "suffix": suffix}
        has_any, has_died = from_ms > 0, False
        while True:
            try:
                process = self._take_new() if has_died else self._take()
            except OSError as refusal:
                raise _none_started(refusal) from refusal
            parts = process.film_parts(file.fileno(), request | self._limits | {"from_ms": from_ms}, self._room)
            is_whole = False
            try:
                with suppress(OSError, EOFError), closing(parts):  # the errors mean that it has died
                    for part in parts:
                        is_whole = isinstance(part, DecodeError) or part.resume_ms is None
                        if isinstance(part, DecodeError):
                            raise part
                        has_any |= bool(part.at_ms)
                        if not has_any and is_whole:
                            raise DecodeError("damaged: none of its pictures can be decoded")
                        yield part
                        if part.resume_ms is None:
                            return
                        from_ms, has_died = part.resume_ms, False
            except GeneratorExit:
                process.kill()  # it is in the middle of the film
                raise
            finally:
                status = 0 if self._put_back(process, is_alive=is_whole) else process.wait()
            error = _error_of_the_dead(process, status)
            if has_died or status == -signal.SIGPROF or process.is_hung:
                if not has_any or not error.kind.is_stored:
                    raise error
                yield FilmPart((), _no_pixels(self._resolution), NO_METADATA, None, None, str(error))
                return
            has_died = True

    def _decode(self, file: BinaryIO, suffix: str, wanted: dict[str, Any]) -> DecodedPhoto:
        request = wanted | self._limits | {"suffix": suffix[:_SUFFIX_LENGTH]}
        try:
            answer, is_certain = self._ask(self._take(), file, request)
            if not is_certain:
                answer, _ = self._ask(self._take_new(), file, request)
        except OSError as error:
            raise _none_started(error) from error
        if isinstance(answer, DecodeError):
            raise answer
        return answer

    def _ask(
        self, process: "_Process", file: BinaryIO, request: dict[str, Any]
    ) -> "tuple[DecodedPhoto | DecodeError, bool]":
        """What the process answers, and whether a new one would answer the same."""
        import numpy as np

        started_s = time.monotonic()
        answer = None
        with suppress(OSError, EOFError):  # which mean that it has died
            answer = process.ask(file.fileno(), request, self._room)
        if not self._put_back(process, is_alive=answer is not None):
            status = process.wait()
            if answer is None:
                may_be_time = (time.monotonic() - started_s) * CORES >= time_limit_s()
                is_time = process.is_hung or (status == -signal.SIGPROF and may_be_time)
                return _error_of_the_dead(process, status), is_time
        assert answer
        if isinstance(answer, DecodeError):
            return answer, True
        pixels, shape, metadata = answer
        return DecodedPhoto(np.frombuffer(pixels, np.uint8).reshape(shape), metadata), True

    def close(self) -> None:
        """Ends all processes at once; to threads that wait for one it looks as if it had died."""
        with self._lock:
            self._closed.set()
            idle, self._idle = self._idle, []
            for process in self._busy:
                process.kill()
        for process in idle:
            process.kill()
            process.wait()

    def _take(self) -> "_Process":
        """One that waits for work, else a new one. Raises OSError."""
        with self._lock:
            self._require_open()
            return self._at_work(self._idle.pop() if self._idle else _started_ahead() or _Process())

    def _take_new(self) -> "_Process":
        """Raises OSError."""
        with self._lock:
            self._require_open()
            return self._at_work(_Process())

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise OSError("the run is ending")

    def _at_work(self, process: "_Process") -> "_Process":
        self._busy.add(process)
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="rclip-decoders", daemon=True)
            self._watcher.start()
        return process

    def _put_back(self, process: "_Process", is_alive: bool) -> bool:
        """Whether it can be used again."""
        with self._lock:
            self._busy.discard(process)
            is_kept = is_alive and not self._closed.is_set()
            if is_kept:
                self._idle.append(process)
        return is_kept

    def _watch(self) -> None:
        """As long as any are at work, gives up those that are stopped, or that the system does not let go on."""
        while not self._closed.wait(_WATCHED_EVERY_S):
            with self._lock:
                busy = list(self._busy)
                if not busy:
                    self._watcher = None
                    return
            for process in busy:
                process.give_up_if_stuck(self._clock_limit_s)


_ahead: "list[_Process]" = []


def start_ahead() -> None:
    """Starts a process that the first pool will use, while its user still loads what it needs itself."""
    with suppress(OSError):  # the pool will say what is wrong
        _ahead.append(_Process())


def _started_ahead() -> "_Process | None":
    with suppress(IndexError):
        return _ahead.pop()
    return None


class _Room:
    """The memory that decoders may take together, beside the little that each has for itself.

    Of two parts: files that are read, and pictures that are decoded. Who has some of one may wait for the other, never
    the other way round, so no two wait for one another.
    """

    def __init__(self, max_pixels: int):
        self.files = _Bytes(machine_bytes() // 8)
        self.pictures = _Bytes(BYTES_PER_PIXEL * max_pixels)  # the largest that is allowed has all of it


@cache
def _room_for(max_pixels: int) -> _Room:
    """One for all pools: that of the index, of queries and of thumbnails may be at work at once."""
    return _Room(max_pixels)


class _Bytes:
    """So many to be taken by several threads, in turn; whoever finds too few left waits. One can always be served."""

    def __init__(self, total: int):
        self._total = self._left = total
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        wanted = min(max(wanted, 0), self._total)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._left >= wanted)
            self._left -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._left += wanted
                self._changed.notify_all()


def _no_pixels(resolution: int) -> "np.ndarray":
    import numpy as np

    return np.empty((0, resolution, resolution, 3), np.uint8)


def _none_started(error: OSError) -> DecodeError:
    return DecodeError(f"no decoder can be started: {plain_reason(error)}", FailureKind.PASSING)


def _error_of_the_dead(process: "_Process", status: int) -> DecodeError:
    """The reason that a process's exit status gives for a file."""
    if process.is_hung:
        return DecodeError("the disk does not deliver it", FailureKind.PASSING)
    if not process.was_ready:
        return DecodeError("no decoder can be started", FailureKind.PASSING)
    if status == -signal.SIGPROF:
        return DecodeError(f"it takes longer than {time_limit_s():g} s to decode", FailureKind.TOO_SLOW)
    if -status in CRASHES:
        return DecodeError(f"damaged: its decoder crashes ({signal.Signals(-status).name})")
    if status < 0:  # by us, because the run is ending, by a system that is out of memory, by anybody
        return DecodeError("its decoder was killed", FailureKind.PASSING)
    return DecodeError(f"damaged: its decoder ends with status {status}")


class _Process:
    """One decoding process and our end of the line to it."""

    def __init__(self) -> None:
        """Raises OSError. It is not waited for."""
        ours, its = socket.socketpair()
        arguments = [str(its.fileno()), str(time_limit_s())]
        with its:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter, with modules found as here
                isolation.python(_START, json.dumps(isolation.module_path()), *arguments),
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
        self._awaited_since_s: float | None = None
        self._looks_stopped = 0
        self.was_ready = False
        self.is_hung = False
        """Whether it has been given up because it did not answer in time."""

    def ask(
        self, descriptor: int, request: dict[str, Any], room: _Room
    ) -> tuple[bytes, tuple[int, ...], PhotoMetadata] | DecodeError:
        """The pixels, their shape (h, w, 3) and the metadata, or why there are none. Of a file, the shape is (bytes,).

        Raises OSError or EOFError when the process dies over it, or talks nonsense.
        """
        size_bytes = os.fstat(descriptor).st_size
        is_film = request["suffix"] in formats.VIDEO.suffixes
        file_bytes = bytes_for_film(size_bytes) if is_film else bytes_for_file(size_bytes)
        with room.files.taken(file_bytes), ExitStack() as taken:
            self._send(descriptor, request)
            with _nonsense_ends_it():
                answer, _ = self._answer(room, taken)
                return self._understood(answer, request)

    def film_parts(
        self, descriptor: int, request: dict[str, Any], room: _Room
    ) -> Generator[FilmPart | DecodeError, None, None]:
        """The parts of a film, or why there are none. Raises as `ask` does.

        Between them others may have its memory: whoever takes the parts may be waiting for a picture that waits for it.
        """
        file_bytes = bytes_for_film(os.fstat(descriptor).st_size)
        from_ms: int | None = request["from_ms"]
        wanted: int | None = None
        while from_ms is not None:
            with room.files.taken(file_bytes), ExitStack() as taken:
                if wanted is None:
                    self._send(descriptor, request)
                else:
                    taken.enter_context(room.pictures.taken(wanted))
                with _nonsense_ends_it():
                    answer, wanted = self._answer(room, taken, wanted or 0)
                    part = self._error(answer) or self._part(answer, request["resolution"], from_ms)
            yield part
            from_ms = None if isinstance(part, DecodeError) else part.resume_ms

    def _send(self, descriptor: int, request: dict[str, Any]) -> None:
        if not self.was_ready:
            self._receive(1)
            self.was_ready = True
        # A descriptor does not travel without a byte.
        socket.send_fds(self._socket, [json.dumps(request).encode()], [descriptor])

    def _answer(self, room: _Room, taken: ExitStack, wanted: int = 0) -> tuple[dict[str, Any], int]:
        """The next one, after it has been given the memory that it wants, and how much that is; `taken` holds that."""
        answer = self._receive_json()
        for _ in range(_MOST_WISHES):
            if "wants" not in answer:
                return answer, wanted
            wanted = int(answer["wants"])
            taken.close()
            taken.enter_context(room.pictures.taken(wanted))
            self._socket.sendall(b"\0")
            answer = self._receive_json()
        raise ValueError("it wants more and more")

    def _part(self, answer: dict[str, Any], resolution: int, from_ms: int) -> FilmPart:
        import numpy as np

        at_ms, resume_ms, duration_ms = answer["at_ms"], answer["resume_ms"], answer["duration_ms"]
        times = [from_ms - 1, *at_ms] if resume_ms is None else [from_ms - 1, *at_ms, resume_ms]
        are_times = all(type(each) is int and 0 <= each < _MOST_MS for each in times[1:])
        if not are_times or len(at_ms) > _MOST_PART_MOMENTS or times != sorted(set(times)):
            raise ValueError("not the moments asked for")
        if duration_ms is not None and not (type(duration_ms) is int and 0 <= duration_ms < _MOST_MS):
            raise ValueError("no duration")
        shape = (len(at_ms), resolution, resolution, 3)
        pixels = np.frombuffer(self._receive(math.prod(shape)), np.uint8).reshape(shape)
        failure = str(answer["failure"])[:_MOST_REASON]
        return FilmPart(tuple(at_ms), pixels, _metadata(answer), duration_ms, resume_ms, failure)

    def _understood(
        self, answer: dict[str, Any], request: dict[str, Any]
    ) -> tuple[bytes, tuple[int, ...], PhotoMetadata] | DecodeError:
        if error := self._error(answer):
            return error
        shape = tuple(answer["shape"])
        if not _is_shape_of(request, shape):
            raise ValueError("not the pixels asked for")
        return self._receive(math.prod(shape)), shape, _metadata(answer)

    def _error(self, answer: dict[str, Any]) -> DecodeError | None:
        """The one that an answer stands for."""
        if "reason" not in answer:
            return None
        extra = next((extra for extra in formats.EXTRAS if extra.name == answer["extra"]), None)
        return DecodeError(answer["reason"], FailureKind(answer["kind"]), extra)

    @contextmanager
    def _awaited(self) -> Iterator[None]:
        self._awaited_since_s = time.monotonic()
        try:
            yield
        finally:
            self._awaited_since_s = None

    def _receive_json(self) -> dict[str, Any]:
        with self._awaited():
            line = self._answers.readline(_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _receive(self, length: int) -> bytes:
        with self._awaited():
            received = self._answers.read(length)
        if len(received) < length:
            raise EOFError
        return received

    def give_up_if_stuck(self, clock_limit_s: float) -> None:
        """Kills it, and lets its user go on, when it has been stopped or does not answer in so many seconds."""
        self._looks_stopped = self._looks_stopped + 1 if self._is_stopped() else 0
        since_s = self._awaited_since_s
        self.is_hung |= since_s is not None and time.monotonic() - since_s > clock_limit_s
        if self.is_hung or self._looks_stopped >= _MOST_LOOKS_STOPPED:
            self.kill()
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # the system may not let it die

    def _is_stopped(self) -> bool:
        if not hasattr(os, "waitid"):
            return False
        with suppress(ChildProcessError):  # it has ended
            how = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, how) is not None
        return False

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int:
        """Closes the line, of which it dies if it has not done so, and returns its exit status.

        That is SIGKILL's where the system does not let it die.
        """
        self._answers.close()
        self._socket.close()
        try:
            return self._process.wait(_DIES_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL


def _metadata(answer: dict[str, Any]) -> PhotoMetadata:
    metadata = PhotoMetadata(*answer["metadata"])
    return metadata._replace(keywords=tuple(metadata.keywords))


def _is_shape_of(request: dict[str, Any], shape: tuple[int, ...]) -> bool:
    """Whether an answer of this shape is one to the request."""
    if "long_side" in request:
        (size_bytes,) = shape
        return 0 < size_bytes <= _MOST_FILE_BYTES
    height, width, channels = shape
    side = request.get("resolution")
    most = request["box"] if side is None else (side, side)
    return bool(0 <= height <= most[1] and 0 <= width <= most[0] and channels == 3)


@contextmanager
def _nonsense_ends_it() -> Iterator[None]:
    """A decoder that a file has taken over may answer anything. Raises EOFError."""
    try:
        yield
    except (TypeError, ValueError, KeyError, RecursionError):
        raise EOFError from None


_START = """
import json, sys
given = json.loads(sys.argv[1])
sys.path[:] = given + [entry for entry in sys.path if entry not in given]
from rclip.photo.decode_worker import main
main(*sys.argv[2:])
"""
