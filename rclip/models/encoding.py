"""Many pictures to vectors, on all cores or a GPU.

On a CPU every core takes batches of its own and computes them alone. Splitting each product among the cores instead, as
numpy and torch do by themselves, is no faster on an idle machine and several times slower when anything else wants a
core, as the decoding threads here always do: the other cores then wait for the one that was taken away.

The numpy tower starts at once. Where there are many pictures torch is started beside it, and takes over when it is
ready.
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from threadpoolctl import ThreadpoolController

from rclip.models import towers
from rclip.models.tensors import Tensors

if TYPE_CHECKING:
    from rclip.models.bulk import BulkEncoder

_CORES = os.cpu_count() or 1
_NUMPY_BATCH = 8  # as fast as 32, and a quarter of the memory
_TORCH_AFTER = 16
_TORCH_FOR = 64
"""torch is started when `_TORCH_AFTER` pictures have come and `_TORCH_FOR` may be left: about as many as numpy does
while torch starts. Waiting for the first keeps torch away from photos that prove to be copies."""


class ImageEncoder:
    """Pixels (B, S, S, 3) uint8 to vectors (B, D) float32, rows of length 1.

    As a context manager it owns its threads: leaving it waits for batches that have been submitted.
    """

    def __init__(self, name: str, image_weights: Tensors, resolution: int, device: str | None, batch_size: int | None):
        self._name = name
        self._weights = image_weights
        self.resolution = resolution
        """The side, in pixels, of the squares that it takes."""
        self._device = device
        self._batch_size = batch_size
        self._must_be_torch = not towers.is_vision_transformer(image_weights) or device not in (None, "cpu")
        self._may_be_torch = True
        self._is_building = False
        self._starting: Future[BulkEncoder] | None = None
        self._submitted = 0
        self._s_per_photo: dict[str, float] = {}
        self._numpy_at_work = threading.Semaphore(_CORES)

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(_CORES, "rclip-encode")
        self._one_blas_thread = ThreadpoolController().limit(limits=1, user_api="blas")
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._one_blas_thread.restore_original_limits()

    @property
    def batch_size(self) -> int:
        """How many pictures the next call should bring, if there are as many."""
        bulk = self._ready_bulk()
        return bulk.batch_size if bulk else min(self._batch_size or _NUMPY_BATCH, _NUMPY_BATCH)

    @property
    def parallel(self) -> int:
        """How many batches to submit before waiting for the first."""
        bulk = self._ready_bulk()
        return 2 if bulk and not bulk.is_cpu else _CORES + 1

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """A few pictures that are waited for: all cores at once. Raises `ModelError`."""
        if self._must_be_torch:
            return towers.finite(self._start_bulk()(pixels), self._name)
        with ThreadpoolController().limit(limits=_CORES, user_api="blas"):
            return towers.finite(self._tower(pixels), self._name)

    def submit(self, pixels: np.ndarray, left: int) -> Future[np.ndarray]:
        """One batch of many, of which `left` at most are still to come. The result may raise `ModelError`."""
        if self._starting is None and self._is_worth_torch(left):
            self._starting = self._pool.submit(self._start_bulk)
        if self._starting and self._must_be_torch:
            self._starting.result()
        self._submitted += len(pixels)
        return self._pool.submit(self._encode_batch, pixels)

    def _is_worth_torch(self, left: int) -> bool:
        return self._must_be_torch or (self._may_be_torch and self._submitted >= _TORCH_AFTER and left >= _TORCH_FOR)

    def _start_bulk(self) -> "BulkEncoder":
        from rclip.models.bulk import BulkEncoder

        # Its weights and those that the numpy tower has in memory would be too much together: no further numpy batch
        # begins, and those under way are waited for.
        self._is_building = True
        for _ in range(_CORES):
            self._numpy_at_work.acquire()
        self._weights.release()
        bulk = BulkEncoder(self._weights, self.resolution, self._device, self._batch_size)
        self._numpy_at_work.release(_CORES)
        return bulk

    def _ready_bulk(self) -> "BulkEncoder | None":
        if self._starting is None or not self._starting.done() or not self._may_be_torch:
            return None
        return self._starting.result()

    def _encode_batch(self, pixels: np.ndarray) -> np.ndarray:
        bulk = self._starting.result() if self._starting and self._is_building and self._may_be_torch else None
        if bulk is None:
            with self._numpy_at_work:
                return self._timed("numpy", self._tower, pixels)
        vectors = self._timed("torch", bulk.encode_on_one_thread, pixels)
        if bulk.is_cpu and not bulk.half and not self._must_be_torch:
            self._may_be_torch = self._s_per_photo["torch"] < self._s_per_photo["numpy"]
        return vectors

    def _timed(self, who: str, encode: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
        """Notes the time a picture takes, but for each one's first batch, which has to get everything ready."""
        started = time.perf_counter()
        vectors = encode(pixels)
        first = who not in self._s_per_photo
        self._s_per_photo[who] = 0.0 if first else (time.perf_counter() - started) / len(pixels)
        return towers.finite(vectors, self._name)

    @cached_property
    def _tower(self) -> towers.ImageTower:
        return towers.ImageTower(self._weights)
