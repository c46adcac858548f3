"""Reads and encodes on this machine: threads read, processes decode, and the model works on what is there."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from typing import NamedTuple

import numpy as np

from rclip.index.store import Store
from rclip.indexing.claims import Claims
from rclip.indexing.diff import PendingFile
from rclip.indexing.reader import WORKERS, NewMoments, Outcome, Reader, ends_file, pixels_of
from rclip.indexing.source import NO_VECTORS, EncodedBatch
from rclip.models import Model
from rclip.models.image_encoder import ImageEncoder
from rclip.photo import decode_pool

STORED_TOGETHER = 1000
"""Files in one transaction at most, where few or none of them need the model."""

_DECODED_AHEAD_BYTES = 40_000_000
"""In pixels for the model; 265 pictures of 224 pixels' side."""


@contextmanager
def local_source(
    store: Store, model: Model, folder: bytes, max_pixels: int | None, device: str | None, batch_size: int | None
) -> Iterator["LocalSource"]:
    """What reads a folder here. `max_pixels` None for a limit drawn from the machine's memory."""
    with model.image_encoder(device, batch_size) as encoder:
        limit = max_pixels or decode_pool.default_max_pixels()
        yield LocalSource(store, Claims(store), encoder, folder, limit)


class LocalSource:
    """A `Source`."""

    def __init__(self, store: Store, claims: Claims, encoder: ImageEncoder, folder: bytes, max_pixels: int):
        self.claims = claims
        self._encoder = encoder
        self._reader = Reader(store, claims, folder, encoder.resolution, max_pixels, encoder.resizing)

    def batches(self, pending: Sequence[PendingFile]) -> Generator[EncodedBatch, None, None]:
        """All that becomes of the files."""
        with closing(self._reader.read(pending, lambda: _ahead(self._encoder))) as outcomes:
            for batch in _encoded(_batches(outcomes, self._encoder), self._encoder, len(pending)):
                yield EncodedBatch(batch.outcomes, batch.vectors.result() if batch.vectors else NO_VECTORS)

    def rates(self) -> Mapping[str, float]:
        """There is one machine."""
        return {}


def _ahead(encoder: ImageEncoder) -> int:
    """How many files to read before the model asks for them, so that no core waits while torch is started."""
    return max(2 * encoder.batch_size + WORKERS, _DECODED_AHEAD_BYTES // (3 * encoder.resolution**2))


class _Batch(NamedTuple):
    """Outcomes to be stored together, and the vectors of the decoded ones among them."""

    outcomes: list[Outcome]
    vectors: Future[np.ndarray] | None

    def is_done(self) -> bool:
        return self.vectors is None or self.vectors.done()


def _encoded(batches: Iterable[list[Outcome]], encoder: ImageEncoder, total: int) -> Iterator[_Batch]:
    """The batches in order, each when its vectors are there, while the model works on the next ones."""
    waiting: deque[_Batch] = deque()
    for outcomes in batches:
        total -= sum(map(ends_file, outcomes))
        pixels = [squares for outcome in outcomes if len(squares := pixels_of(outcome))]
        left = total + _moments_left(outcomes[-1])
        waiting.append(_Batch(outcomes, encoder.submit(np.concatenate(pixels), left=left) if pixels else None))
        while len(waiting) >= encoder.parallel or (waiting and waiting[0].is_done()):
            yield waiting.popleft()
    yield from waiting


def _moments_left(outcome: Outcome) -> int:
    """About how many pictures are still to come of its file."""
    if not isinstance(outcome, NewMoments) or outcome.part.resume_ms is None:
        return 0
    return max(0, (outcome.part.duration_ms or 0) - outcome.part.resume_ms) // _MOMENT_EVERY_MS


_MOMENT_EVERY_MS = 5000


def _batches(outcomes: Iterable[Outcome], encoder: ImageEncoder) -> Iterator[list[Outcome]]:
    """As many as make a batch of pictures for the model, or a transaction's worth of others."""
    batch: list[Outcome] = []
    pictures = 0
    for outcome in outcomes:
        batch.append(outcome)
        pictures += len(pixels_of(outcome))
        if pictures >= encoder.batch_size or len(batch) >= STORED_TOGETHER:
            yield batch
            batch, pictures = [], 0
    if batch:
        yield batch
