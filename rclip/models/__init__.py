"""A CLIP model: text and pictures to vectors, by numpy for little work and by torch for much.

Text and single pictures go through the numpy towers, which start at once; `image_encoder` says who does many pictures.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rclip.models import model_files, numpy_towers, registry
from rclip.models.registry import DEFAULT, NAMES
from rclip.models.safetensors import Tensors

if TYPE_CHECKING:
    from rclip.models.image_encoder import ImageEncoder

__all__ = ["DEFAULT", "NAMES", "Model"]

_TEXT_BATCH = 32
_FEW_TEXTS = 8  # for which threads take longer to be called than to help


def _all_cores() -> AbstractContextManager[object]:
    """The command gives numpy's products one core, which is best for one query (`cli.main`)."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().limit(limits=os.cpu_count() or 1, user_api="blas")


class Model:
    """One CLIP and where its files lie. Cheap to make: weights are mapped when first used."""

    def __init__(self, name: str, data_dir: str, notify: Callable[[str], None]):
        """`notify` is told in a line what takes long. Raises `ModelError` where there is no such model."""
        self._checkpoint = registry.find(name)
        self._data_dir = data_dir
        self._notify = notify
        self.name = name

    @property
    def folder(self) -> str:
        """Where its weights are kept."""
        return model_files.folder(self._checkpoint, self._data_dir)

    @cached_property
    def _text_weights(self) -> Tensors:
        return model_files.open_tower(self._checkpoint, self._data_dir, model_files.TEXT, self._notify)

    @cached_property
    def _image_weights(self) -> Tensors:
        return model_files.open_tower(self._checkpoint, self._data_dir, model_files.IMAGE, self._notify)

    @cached_property
    def key(self) -> str:
        """Names the weights and their index: OpenAI's by their name, others by their file's name and content."""
        if self._checkpoint.sha256:
            return self._checkpoint.label
        return f"{self._checkpoint.label}-{self._text_weights.metadata['sha256'][:12]}"

    @property
    def has_weights(self) -> bool:
        """Whether they have been made from the checkpoint, at least in part."""
        return model_files.has_any(self._checkpoint, self._data_dir)

    @property
    def dimensions(self) -> int | None:
        """The length of its vectors; None as long as its weights have not been made."""
        return model_files.dimensions(self._checkpoint, self._data_dir)

    def discard_damaged_weights(self) -> list[str]:
        """What is wrong with the files made from the checkpoint, a line each; they are made anew when next used."""
        return model_files.discard_damaged(self._checkpoint, self._data_dir)

    @property
    def resolution(self) -> int:
        """The side, in pixels, of the squares that its image tower takes."""
        return int(self._image_weights.metadata["image_resolution"])

    def encode_texts(self, texts: Sequence[str]) -> tuple[np.ndarray, list[bool]]:
        """Vectors (B, D) float32 of length 1, and which of the texts were longer than the model reads."""
        tokenizer, tower = model_files.make_tokenizer(self._text_weights), numpy_towers.TextTower(self._text_weights)
        tokens, cut = zip(*map(tokenizer, texts), strict=True)
        # Texts of like length go together, and the longest of a batch decides what it costs.
        order = sorted(range(len(texts)), key=lambda number: len(tokens[number]))
        batches = [order[start : start + _TEXT_BATCH] for start in range(0, len(order), _TEXT_BATCH)]
        with _all_cores() if len(texts) > _FEW_TEXTS else nullcontext():
            vectors = np.concatenate([tower([tokens[number] for number in batch]) for batch in batches])
        return numpy_towers.require_finite(vectors[np.argsort(order)], self.name), list(cut)

    def image_encoder(self, device: str | None = None, batch_size: int | None = None) -> "ImageEncoder":
        """`device` "cuda", "mps", "cpu" or None or "auto" for the best; `batch_size` None for the device's."""
        from rclip.models.image_encoder import ImageEncoder

        if device == "auto":
            device = None
        return ImageEncoder(self.name, self._image_weights, self.resolution, device, batch_size)
