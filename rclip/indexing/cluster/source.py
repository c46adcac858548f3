"""Photos read by a cluster, as outcomes for the writer. Films are read here.

What a worker says of a file counts only where this machine sees a file of that size and time at that path. Device,
inode and change time are this machine's own: elsewhere they may be others.
"""

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing

import numpy as np

from rclip import formats
from rclip._version import __version__
from rclip.errors import RclipError
from rclip.files import FileStat, file_stat, suffix
from rclip.index.photo_index import PREPROCESSING_VERSION
from rclip.indexing.claims import Claims
from rclip.indexing.cluster import worker
from rclip.indexing.cluster.dispatch import Dispatcher
from rclip.indexing.cluster.interface import EncodedPhoto, Engine, Facts, Job, PhotoReaders, Result, Sample
from rclip.indexing.diff import PendingFile
from rclip.indexing.local_source import STORED_TOGETHER
from rclip.indexing.reader import CHANGED, KnownContent, KnownFile, NewPhoto, NoPhoto, Outcome
from rclip.indexing.source import NO_VECTORS, EncodedBatch, Source
from rclip.models import Model
from rclip.photo.failures import FailedPhoto, FailureKind

_SAMPLES = 3
_LEAST_COSINE = 0.999


class ClusterSource:
    """A `Source`."""

    def __init__(
        self,
        claims: Claims,
        folder: bytes,
        readers: Callable[[Sequence[bytes]], PhotoReaders],
        films: Callable[[], Source],
    ):
        """`readers` is given paths of files to be compared; `films` opens what reads them here."""
        self.claims = claims
        self._folder = folder
        self._open_readers, self._open_films = readers, films
        self._readers: PhotoReaders | None = None
        self._known: list[Outcome] = []
        """That need no reading."""
        self._reading: dict[bytes, PendingFile] = {}
        """By their paths, those that workers have."""

    def batches(self, pending: Sequence[PendingFile]) -> Generator[EncodedBatch, None, None]:
        """All that becomes of the files: first the photos."""
        films = [each for each in pending if suffix(each.file.path) in formats.VIDEO.suffixes]
        photos = [each for each in pending if suffix(each.file.path) not in formats.VIDEO.suffixes]
        yield from self._photos(photos)
        if films:
            with closing(self._open_films().batches(films)) as batches:
                yield from batches

    def rates(self) -> Mapping[str, float]:
        """See `Source`."""
        return self._readers.rates() if self._readers else {}

    def _photos(self, photos: Sequence[PendingFile]) -> Iterator[EncodedBatch]:
        unknown = self._unknown(photos)
        if first := next(unknown, None):
            self._readers = self._open_readers([self._folder + each.file.path for each in _spread(photos)])
            for results in self._readers.read(_chained(first, unknown), len(photos)):
                yield self._batch([(self._reading.pop(path), result) for path, result in results])
                yield from self._known_ones()
        yield from self._known_ones(is_end=True)

    def _unknown(self, photos: Sequence[PendingFile]) -> Iterator[bytes]:
        """The paths of files that must be read."""
        for pending in photos:
            if self.claims.knows_file(pending):
                self._known.append(KnownFile(pending, pending.file.stat))
            else:
                path = self._folder + pending.file.path
                self._reading[path] = pending
                yield path

    def _known_ones(self, is_end: bool = False) -> Iterator[EncodedBatch]:
        while len(self._known) >= (1 if is_end else STORED_TOGETHER):
            yield EncodedBatch(self._known[:STORED_TOGETHER], NO_VECTORS)
            del self._known[:STORED_TOGETHER]

    def _batch(self, results: Sequence[tuple[PendingFile, Result]]) -> EncodedBatch:
        outcomes, vectors = [], []
        for pending, result in results:
            outcome = self._outcome(pending, result)
            outcomes.append(outcome)
            if isinstance(outcome, NewPhoto):
                assert isinstance(result, EncodedPhoto)
                vectors.append(result.vector)
        return EncodedBatch(outcomes, np.stack(vectors) if vectors else NO_VECTORS)

    def _outcome(self, pending: PendingFile, result: Result) -> Outcome:
        path = self._folder + pending.file.path
        stat = self._stat_here(pending, result)
        if not isinstance(result, EncodedPhoto):
            is_the_files_own = stat and result.kind != FailureKind.CANNOT_OPEN
            kind = result.kind if is_the_files_own or not result.kind.is_stored else FailureKind.PASSING
            failure = FailedPhoto(path, result.reason, kind, result.extra)
            return NoPhoto(pending, stat or pending.file.stat, result.digest if stat else None, failure)
        if stat is None:
            failure = FailedPhoto(path, CHANGED, FailureKind.PASSING)
            return NoPhoto(pending, pending.file.stat, None, failure)
        if not self.claims.claim(result.digest):
            return KnownContent(pending, stat, result.digest)
        return NewPhoto(pending, stat, result.digest, _ONE_PICTURE, result.metadata)

    def _stat_here(self, pending: PendingFile, result: Result) -> FileStat | None:
        """The file's stat on this machine, where it is the file that the worker has read."""
        seen = (result.size_bytes, result.mtime_ns)
        if pending.file.stat[:2] == seen:
            return pending.file.stat
        try:
            now = file_stat(os.stat(self._folder + pending.file.path))
        except OSError:
            return None
        return now if now[:2] == seen else None


_ONE_PICTURE = np.empty(0, np.uint8)
"""Its pixels stay with the worker."""


def _chained(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _spread(photos: Sequence[PendingFile]) -> list[PendingFile]:
    """The first, the middle and the last."""
    return [photos[number * (len(photos) - 1) // (_SAMPLES - 1)] for number in range(min(_SAMPLES, len(photos)))]


# --- the job, and who may do it --------------------------------------------------------------------------------------


def photo_readers(
    engine: Engine,
    model: Model,
    *,
    max_pixels: int,
    is_limit_given: bool,
    device: str | None,
    batch_size: int | None,
    samples: Sequence[bytes],
    notify: Callable[[RclipError], None],
) -> Dispatcher:
    """What reads photos on the engine's workers, of those that are like this machine. Raises `ModelError`."""
    name = os.path.abspath(os.path.expanduser(model.name)) if os.path.exists(model.name) else model.name
    config = model.config
    job = Job(
        version=__version__,
        preprocessing=PREPROCESSING_VERSION,
        model=name,
        model_digest=model.digest,
        dimensions=config.dimensions,
        max_pixels=max_pixels,
        is_limit_given=is_limit_given,
        device=device,
        batch_size=batch_size,
    )
    seen = {path: worker.sample(path) for path in samples}
    readable = [path for path in samples if not seen[path].reason]
    picture = worker.test_picture(config, max_pixels)
    vector = model.encode_pictures(picture[np.newaxis], "cpu")[0]
    here = Facts(
        version=__version__,
        preprocessing=PREPROCESSING_VERSION,
        model_digest=model.digest,
        extras=worker.installed_extras(),
        samples=tuple(seen[path] for path in readable),
        vector=tuple(map(float, vector)),
    )
    return Dispatcher(engine, job, readable, lambda facts: difference(facts, here, readable), notify)


def difference(there: Facts, here: Facts, samples: Sequence[bytes]) -> str:
    """How a worker differs from this machine in a way that matters; empty where it does not."""
    if there.version != here.version:
        return f"it has rclip {there.version}, and this machine {here.version}"
    if there.preprocessing != here.preprocessing:
        return "its rclip prepares photos otherwise"
    if there.model_digest != here.model_digest:
        return f"its model has the SHA-256 {there.model_digest[:12]}…, and this machine's {here.model_digest[:12]}…"
    if missing := sorted(set(here.extras) - set(there.extras)):
        return f"it lacks the packages for {', '.join(missing)}"
    if len(there.samples) != len(here.samples):
        return "it says nothing of the files that were asked for"
    for path, its, ours in zip(samples, there.samples, here.samples, strict=True):
        if problem := _file_difference(its, ours):
            return f"{os.fsdecode(path)} {problem}"
    cosine = _cosine(there.vector, here.vector)
    return "" if cosine > _LEAST_COSINE else f"its vector of a test picture has a cosine of {cosine:.4f} with ours"


def _file_difference(its: Sample, ours: Sample) -> str:
    if its.reason:
        return f"cannot be read there: {its.reason}"
    if its.size_bytes != ours.size_bytes or its.digest != ours.digest:
        return "has other bytes there"
    return "has another time there" if its.mtime_ns != ours.mtime_ns else ""


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """0 where they have no angle."""
    if len(one) != len(other):
        return 0.0
    a, b = np.array(one, np.float64), np.array(other, np.float64)
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / length) if length else 0.0
