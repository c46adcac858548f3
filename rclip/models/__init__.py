"""A CLIP model: text and pictures to vectors, by numpy for little work and by torch for much.

A query and a handful of photos take the numpy towers, which start at once. From some hundred photos on torch repays its
start, which takes as long as numpy needs for them.
"""

import math
import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rclip.errors import ModelError
from rclip.models import checkpoints, towers, weights
from rclip.models.checkpoints import DEFAULT, NAMES
from rclip.models.tensors import Tensors

if TYPE_CHECKING:
    from rclip.models.bulk import BulkEncoder

__all__ = ["DEFAULT", "NAMES", "ImageEncoder", "Model"]

_NUMPY_BATCH = 16
_TORCH_AFTER = 32
_TORCH_FOR = 96
"""torch is started when `_TORCH_AFTER` photos have been encoded and `_TORCH_FOR` may be left: `benchmarks/startup.py`
measures where the two lines cross. Waiting for the first count keeps torch away from photos that prove to be copies."""


class Model:
    """One CLIP and where its files lie. Cheap to make: weights are mapped when first used."""

    def __init__(self, name: str, data_dir: str, notify: Callable[[str], None]):
        """`notify` is told in a line what takes long. Raises `ModelError` where there is no such model."""
        self._checkpoint = checkpoints.find(name)
        self._data_dir = data_dir
        self._notify = notify
        self.name = name

    @property
    def folder(self) -> str:
        """Where its weights are kept."""
        return weights.folder(self._checkpoint, self._data_dir)

    @cached_property
    def _text_weights(self) -> Tensors:
        return weights.open_tower(self._checkpoint, self._data_dir, weights.TEXT, self._notify)

    @cached_property
    def _image_weights(self) -> Tensors:
        return weights.open_tower(self._checkpoint, self._data_dir, weights.IMAGE, self._notify)

    @cached_property
    def key(self) -> str:
        """Names the weights: OpenAI's by their name, others by their content. Vectors of two keys never meet."""
        if self._checkpoint.sha256:
            return self._checkpoint.label
        return f"{self._checkpoint.label}-{self._text_weights.metadata['sha256'][:12]}"

    @property
    def resolution(self) -> int:
        """The side, in pixels, of the squares that its image tower takes."""
        return int(self._image_weights.metadata["image_resolution"])

    def encode_text(self, text: str) -> tuple[np.ndarray, bool]:
        """A query's vector (D,) float32 of length 1, and whether the text was longer than the model reads."""
        tokens, cut = weights.make_tokenizer(self._text_weights)(text)
        return _finite(towers.TextTower(self._text_weights)(tokens), self.name), cut

    def image_encoder(self, device: str | None = None, batch_size: int | None = None) -> "ImageEncoder":
        """`device` "cuda", "mps", "cpu" or None or "auto" for the best; `batch_size` None for the device's."""
        if device == "auto":
            device = None
        return ImageEncoder(self.name, self._image_weights, self.resolution, device, batch_size)


class ImageEncoder:
    """Pixels to vectors, by numpy or torch, whichever is done sooner."""

    def __init__(self, name: str, image_weights: Tensors, resolution: int, device: str | None, batch_size: int | None):
        self._name = name
        self._weights = image_weights
        self.resolution = resolution
        """The side, in pixels, of the squares that it takes."""
        self._device = device
        self._batch_size = batch_size
        self._bulk: BulkEncoder | None = None
        self._must_be_torch = not towers.is_vision_transformer(image_weights) or device not in (None, "cpu")
        self._may_be_torch = True
        self._encoded = 0
        self._numpy_s_per_photo = math.inf

    @property
    def batch_size(self) -> int:
        """How many pictures the next call should bring, if there are as many."""
        if self._bulk:
            return self._bulk.batch_size
        return min(self._batch_size or _NUMPY_BATCH, _NUMPY_BATCH)

    def __call__(self, pixels: np.ndarray, left: int = 0) -> np.ndarray:
        """(B, S, S, 3) uint8 -> (B, D) float32, rows of length 1; `left` pictures at most are still to come.

        Raises `ModelError`.
        """
        if self._bulk is None and self._is_worth_torch(left):
            self._start_torch()
        vectors = self._by_torch(pixels) if self._bulk else self._by_numpy(pixels)
        self._encoded += len(pixels)
        return _finite(vectors, self._name)

    def _is_worth_torch(self, left: int) -> bool:
        return self._must_be_torch or (self._may_be_torch and self._encoded >= _TORCH_AFTER and left >= _TORCH_FOR)

    def _start_torch(self) -> None:
        from rclip.models.bulk import BulkEncoder

        self._bulk = BulkEncoder(self._weights, self.resolution, self._device, self._batch_size)
        self._torch_batches = 0

    def _by_numpy(self, pixels: np.ndarray) -> np.ndarray:
        started = time.perf_counter()
        vectors = self._tower(pixels)
        self._numpy_s_per_photo = (time.perf_counter() - started) / len(pixels)
        return vectors

    def _by_torch(self, pixels: np.ndarray) -> np.ndarray:
        """In float32 on a CPU torch may be the slower one, and goes again when its second batch shows it."""
        assert self._bulk
        started = time.perf_counter()
        vectors = self._bulk(pixels)
        s_per_photo = (time.perf_counter() - started) / len(pixels)
        self._torch_batches += 1
        if self._torch_batches == 2 and not (self._bulk.half or self._must_be_torch):
            self._may_be_torch = s_per_photo < self._numpy_s_per_photo
            if not self._may_be_torch:
                self._bulk = None
        return vectors

    @cached_property
    def _tower(self) -> towers.ImageTower:
        return towers.ImageTower(self._weights)


def _finite(vectors: np.ndarray, name: str) -> np.ndarray:
    """Raises `ModelError` for NaN and infinity, which only broken weights give."""
    if not np.isfinite(vectors).all():
        raise ModelError(f"the model {name} gives values that are no numbers: its checkpoint is broken")
    return vectors
