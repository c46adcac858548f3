"""Pictures to vectors on this machine's cores or its GPU.

On a CPU every core takes batches of its own and computes them alone. Splitting each product among the cores, as numpy
and torch do by default, is slower on an idle machine and several times slower when anything else wants a core, as the
decoding threads here always do: the other cores then wait for the one that was taken away.

The numpy tower starts at once; torch is started when enough pictures are left to repay that.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from rclip import garbage, signals
from rclip.cores import CORES
from rclip.models import blas, numpy_towers
from rclip.models.config import ModelConfig
from rclip.models.hardware import has_bf16, may_have_gpu
from rclip.resizing import Resizing

if TYPE_CHECKING:
    from rclip.models.model_files import Weights
    from rclip.models.torch_encoder import TorchEncoder

_FEW, _MANY = 8, 16
"""Pictures in one of numpy's batches: 16 take a twentieth less time each, more than that save nothing and cost memory;
8 are sooner there at the start, and divide what is left at the end more evenly among the cores."""

_TORCH_AFTER = 8
_TORCH_FOR = 64
"""torch is started when `_TORCH_AFTER` pictures have come and `_TORCH_FOR` may be left: about as many as numpy does
while torch starts. Waiting for the first keeps torch away from photos that prove to be copies."""


class LocalEncoder:
    """An `ImageEncoder`. It can also encode a few pictures at once, without being entered and from any thread."""

    def __init__(
        self,
        name: str,
        weights: "Weights",
        config: ModelConfig,
        device: str | None = None,
        batch_size: int | None = None,
    ):
        """`weights` are the image tower's; `device` None for the best one; `batch_size` None for the device's."""
        self._name = name
        self._weights = weights
        self._config = config
        self._device = device
        self._batch_size = batch_size
        self._must_be_torch = config.image.is_resnet or bool(config.image.library) or device not in (None, "cpu")
        self._may_be_torch = has_bf16() or (device is None and may_have_gpu())
        """In float32 on a CPU torch is no faster than numpy (half as fast on an AMD EPYC), and takes 200 MB more."""
        self._bulk: TorchEncoder | None = None
        self._submitted = self._left = 0
        self._starting = threading.Lock()

    def __enter__(self) -> Self:
        _keep_freed_memory()
        self._pool = ThreadPoolExecutor(CORES, "rclip-encode")
        self._one_blas_thread = blas.limited(1)
        self._one_blas_thread.__enter__()
        return self

    def __exit__(self, reason: object, *_: object) -> None:
        self._pool.shutdown(wait=reason is None, cancel_futures=True)  # a large model's batch takes many seconds
        self._one_blas_thread.__exit__(None, None, None)
        if self._bulk:
            self._bulk.restore_threads()
            self._bulk = None
            _return_freed_memory()

    @property
    def resolution(self) -> int:
        """The side, in pixels, of the squares that it takes."""
        return self._config.image.side

    @property
    def resizing(self) -> Resizing:
        """How a picture becomes such a square."""
        return self._config.image.resizing

    @property
    def batch_size(self) -> int:
        """How many pictures the next batch should have, if there are as many."""
        if self._bulk:
            return self._bulk.batch_size
        numpys = _MANY if self._left >= 2 * _MANY * CORES else _FEW
        return min(self._batch_size or numpys, numpys)

    @property
    def parallel(self) -> int:
        """How many batches to submit before waiting for the first."""
        return 2 if self._bulk and not self._bulk.is_cpu else CORES + 1

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """A few pictures that are waited for: all cores that are idle. Raises `ModelError`."""
        if self._must_be_torch:
            return numpy_towers.require_finite(self._torch_encoder()(pixels), self._name)
        with blas.limited(blas.idle_cores()):
            return numpy_towers.require_finite(self._tower(pixels), self._name)

    def _torch_encoder(self) -> "TorchEncoder":
        with self._starting:
            if self._bulk is None:
                self._bulk = self._start_bulk()
            return self._bulk

    def submit(self, pixels: np.ndarray, left: int) -> Future[np.ndarray]:
        """One batch of many, of which `left` at most are still to come. Raises `ModelError`, as does the result."""
        if self._bulk is None and self._is_worth_torch(left):
            self._bulk = self._start_bulk()
            if self._bulk.is_cpu and not self._bulk.half and not self._must_be_torch:  # there was no GPU after all
                self._bulk, self._may_be_torch = None, False
        self._submitted += len(pixels)
        self._left = left
        encode = self._bulk.encode_on_one_thread if self._bulk else self._tower
        return self._pool.submit(lambda: numpy_towers.require_finite(encode(pixels), self._name))

    def _is_worth_torch(self, left: int) -> bool:
        return self._must_be_torch or (self._may_be_torch and self._submitted >= _TORCH_AFTER and left >= _TORCH_FOR)

    def _start_bulk(self) -> "TorchEncoder":
        with (
            signals.deferred(),
            garbage.uncollected(),
        ):  # the half million objects that torch makes: a fifth of the time
            from rclip.models.torch_encoder import TorchEncoder

        self._weights.release()  # what the numpy tower has read of them, or both would be in memory
        return TorchEncoder(self._weights, self._config, self._device, self._batch_size)

    @cached_property
    def _tower(self) -> numpy_towers.ImageTower:
        return numpy_towers.ImageTower(self._weights, self._config)


def _keep_freed_memory() -> None:
    """For the passing results of the next batch, which are of the same sizes: clearing pages for them is a twentieth
    of the work. glibc keeps up to twice as much as the largest block that has been freed so far."""
    np.empty(31 << 20, np.uint8)  # of 32 MiB and more it takes no note


def _return_freed_memory() -> None:
    """Gives the system 200 MB of torch's weights back, which glibc does not do by itself."""
    import ctypes

    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
