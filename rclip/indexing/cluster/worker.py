"""What runs on a worker: `check`, which says what it is, and `work`, which reads and encodes photos.

Photos are decoded in limited processes, as anywhere. What both need is opened once for a job and kept until no work for
it has come for some minutes.
"""

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from stat import S_ISREG

import numpy as np

from rclip import datadir, formats
from rclip._version import __version__
from rclip.cores import CORES
from rclip.errors import plain_reason
from rclip.files import digest_of, file_stat, suffix
from rclip.index.photo_index import PREPROCESSING_VERSION
from rclip.indexing.cluster import wire
from rclip.indexing.cluster.interface import EncodedPhoto, Facts, Job, Result, Sample, UnreadPhoto
from rclip.indexing.reader import CHANGED, NOT_REGULAR, VANISHED, UntilStopped, open_without_waiting
from rclip.models import Model
from rclip.models.config import ModelConfig
from rclip.photo.decode_pool import DecodePool, default_max_pixels
from rclip.photo.failures import DecodeError, FailureKind
from rclip.photo.file_sizes import require_plausible

_KEPT_FOR_S = 300.0
_TORCH_AFTER = 8
"""The test picture is encoded so many times, and then once more: by then torch has been started, if it is to be."""


def check(request: bytes) -> bytes:
    """Opens what the job needs, and says what is to be compared."""
    job, paths, left = wire.understood(request)
    if (job.version, job.preprocessing) != (__version__, PREPROCESSING_VERSION):
        return wire.facts_as_bytes(_facts("", (), ()))
    samples = tuple(map(sample, paths))
    with _benches.opened(job) as bench:
        vector = bench.test_vector(left)
    return wire.facts_as_bytes(_facts(bench.model.digest, samples, vector))


def work(request: bytes) -> bytes:
    """Reads and encodes photos."""
    job, paths, left = wire.understood(request)
    with _benches.known(job) as bench:
        return wire.results_as_bytes(bench.results(paths, left)) if bench else wire.unchecked_as_bytes()


def close() -> None:
    """Ends what is kept for jobs, where the worker's process is to live on."""
    _benches.close()


# --- what a machine is -----------------------------------------------------------------------------------------------


def _facts(model_digest: str, samples: tuple[Sample, ...], vector: tuple[float, ...]) -> Facts:
    return Facts(__version__, PREPROCESSING_VERSION, model_digest, installed_extras(), samples, vector, _host())


def _host() -> str:
    return os.uname().nodename


def installed_extras() -> tuple[str, ...]:
    """The formats of photos whose packages are here."""
    return tuple(extra.name for extra in formats.EXTRAS if extra != formats.VIDEO and extra.installed())


def sample(path: bytes) -> Sample:
    """A file as it is seen here."""
    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            stat = file_stat(os.fstat(file.fileno()))
            digest = digest_of(UntilStopped(file, stat.size_bytes, lambda: False))
            return Sample(stat.size_bytes, stat.mtime_ns, digest.hex())
    except OSError as error:
        return Sample(0, 0, "", plain_reason(error))


def test_picture(config: ModelConfig, max_pixels: int) -> np.ndarray:
    """A drawn picture, decoded and resized for the model by the way that photos take. (S, S, 3) uint8

    Raises `DecodeError`.
    """
    y, x = np.mgrid[: _TEST_SIZE[1], : _TEST_SIZE[0]]
    waves = [127 + 90 * np.sin(x / (9 + 40 * c) + c) * np.cos(y / (50 - 12 * c)) for c in range(3)]
    waves[0][(x - 200) ** 2 + (y - 150) ** 2 < 90**2] = 250
    samples = np.stack(waves, axis=-1).astype(np.uint8).tobytes()
    pool = DecodePool(config.image.side, max_pixels, config.image.resizing)
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"P6 %d %d 255\n" % _TEST_SIZE + samples)
            file.flush()
            return pool.decode(file, "ppm").pixels
    finally:
        pool.close()


_TEST_SIZE = (480, 360)


# --- reading and encoding --------------------------------------------------------------------------------------------


class _Bench:
    """What a job needs."""

    def __init__(self, job: Job):
        self._job = job
        self._max_pixels = job.max_pixels if job.is_limit_given else min(job.max_pixels, default_max_pixels())
        self.model = Model(job.model, datadir.own(), lambda line: None)
        self._encoder = self.model.image_encoder(job.device, job.batch_size)
        self._encoder.__enter__()
        self._encoding = threading.Lock()
        """The encoder takes batches of one thread at a time."""
        self._decoders = DecodePool(self._encoder.resolution, self._max_pixels, self._encoder.resizing)
        self._threads = ThreadPoolExecutor(CORES, "rclip-decode")
        self.users = 0
        self.timer: threading.Timer | None = None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._decoders.close()
        self._encoder.__exit__(None, None, None)

    def test_vector(self, left: int) -> tuple[float, ...]:
        """(D,) of the test picture, as photos are encoded when so many are left."""
        pixels = test_picture(self.model.config, self._max_pixels)
        self._submitted([pixels] * _TORCH_AFTER, left).result()
        return tuple(map(float, self._submitted([pixels], left).result()[0]))

    def results(self, paths: Sequence[bytes], left: int) -> list[Result]:
        """In the same order. Raises `ModelError`."""
        results: list[Result] = []
        pixels: list[np.ndarray] = []
        encoded: list[Future[np.ndarray]] = []
        for result, square in self._threads.map(self._read, paths):
            results.append(result)
            if square is not None:
                pixels.append(square)
            if pixels and len(pixels) >= self._encoder.batch_size:
                encoded.append(self._submitted(pixels, left))
                pixels = []
        if pixels:
            encoded.append(self._submitted(pixels, left))
        vectors = (vector for batch in encoded for vector in batch.result().astype("<f2"))
        return [each._replace(vector=next(vectors)) if isinstance(each, EncodedPhoto) else each for each in results]

    def _submitted(self, pixels: list[np.ndarray], left: int) -> Future[np.ndarray]:
        with self._encoding:
            return self._encoder.submit(np.stack(pixels), left)

    def _read(self, path: bytes) -> tuple[Result, np.ndarray | None]:
        """The photo, still without its vector, and its square for the model; or why there are none.

        What the file system refuses may be this machine's own affair, and is never held against the file.
        """
        try:
            return self._decoded(path)
        except FileNotFoundError:
            return _unread(DecodeError(VANISHED, FailureKind.PASSING)), None
        except OSError as error:
            return _unread(DecodeError(plain_reason(error), FailureKind.PASSING)), None

    def _decoded(self, path: bytes) -> tuple[Result, np.ndarray | None]:
        with open(path, "rb", opener=open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not S_ISREG(status.st_mode):
                return _unread(DecodeError(NOT_REGULAR, FailureKind.PASSING)), None
            stat = file_stat(status)
            try:
                require_plausible(file, suffix(path))
            except DecodeError as error:
                return _unread(error, *stat[:2]), None
            digest = digest_of(UntilStopped(file, stat.size_bytes, lambda: False))
            try:
                square, metadata = self._decoders.decode(file, suffix(path))
            except DecodeError as error:
                result, square = _unread(self._blamed(error), *stat[:2], digest), None
            else:
                result = EncodedPhoto(*stat[:2], digest, _NO_VECTOR, metadata)
            if file_stat(os.fstat(file.fileno())) != stat:
                return _unread(DecodeError(CHANGED, FailureKind.PASSING)), None
            return result, square

    def _blamed(self, error: DecodeError) -> DecodeError:
        """A picture too large for this machine may not be so for the next."""
        if error.kind == FailureKind.TOO_LARGE and self._max_pixels < self._job.max_pixels:
            return DecodeError(str(error), FailureKind.PASSING)
        return error


_NO_VECTOR = np.empty(0, np.float16)


def _unread(error: DecodeError, size_bytes: int = 0, mtime_ns: int = 0, digest: bytes | None = None) -> Result:
    reason = str(error).encode(errors="replace").decode()[: wire.MOST_REASON]
    return UnreadPhoto(reason, error.kind, error.extra, size_bytes, mtime_ns, digest)


class _Benches:
    """Those of the jobs that this process works for: several people may use one cluster."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._benches: dict[Job, _Bench] = {}

    @contextmanager
    def opened(self, job: Job) -> Iterator[_Bench]:
        """The job's, made where there is none. Raises `ModelError`."""
        with self._lock:
            if job not in self._benches:
                self._benches[job] = _Bench(job)
            bench = self._benches[job]
            bench.users += 1
        try:
            yield bench
        finally:
            self._left(job, bench)

    @contextmanager
    def known(self, job: Job) -> Iterator[_Bench | None]:
        """The job's, where there is one."""
        with self._lock:
            is_there = job in self._benches
        if not is_there:
            yield None
            return
        with self.opened(job) as bench:
            yield bench

    def _left(self, job: Job, bench: _Bench) -> None:
        with self._lock:
            bench.users -= 1
            if bench.timer:
                bench.timer.cancel()
            bench.timer = threading.Timer(_KEPT_FOR_S, self._close_unused, (job,))
            bench.timer.daemon = True
            bench.timer.start()

    def _close_unused(self, job: Job) -> None:
        with self._lock:
            bench = self._benches.get(job)
            if not bench or bench.users:
                return
            del self._benches[job]
        bench.close()

    def close(self) -> None:
        with self._lock:
            benches, self._benches = self._benches, {}
        for bench in benches.values():
            if bench.timer:
                bench.timer.cancel()
            bench.close()


_benches = _Benches()
