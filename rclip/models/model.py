"""A CLIP model: texts and pictures to vectors.

Texts and single pictures go through the numpy towers, which start at once; `image_encoder` encodes many pictures.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from rclip import isolation
from rclip.cores import CORES
from rclip.errors import ForeignTextModel
from rclip.models import blas, model_files, numpy_towers, registry
from rclip.models.config import ModelConfig, TextConfig

if TYPE_CHECKING:
    from rclip.models import open_clip_towers
    from rclip.models.image_encoder import ImageEncoder
    from rclip.models.local_encoder import LocalEncoder
    from rclip.models.model_files import AnyTokenizer, Weights

    TextParts: TypeAlias = (
        tuple[AnyTokenizer, numpy_towers.TextTower] | tuple[open_clip_towers.Tokenizer, open_clip_towers.TextTower]
    )

_TEXT_MODEL = "text model"
_TEXT_BATCH = 32
_FEW_TEXTS = 8  # for which threads take longer to be called than to help


def _one_core() -> AbstractContextManager[object]:
    """For a text or two: threads that wait for one another take many times as long where other programs are at work."""
    return nullcontext() if isolation.owns_process else blas.limited(1)  # the command has one core for it anyway


class Model:
    """One CLIP and its files. Cheap to make: each part is opened when first used, and then kept.

    Threads may share a model.
    """

    def __init__(self, name: str, data_dir: str, notify: Callable[[str], None], language: str | None = None):
        """`notify` receives a line before anything that takes long. Raises `ModelError` for an unknown model.

        `language` "any", or the folder of a text model for this model's space, has texts encoded by that.
        """
        self._checkpoint = registry.find(name)
        self._text_model = registry.find_text_model(language) if language else None
        if self._text_model and not registry.may_answer_for(self._text_model, self._checkpoint):
            raise self._foreign(registry.MULTILINGUAL, registry.DEFAULT)
        self._data_dir = data_dir
        self._notify = notify
        self.name = name
        self._opening = threading.RLock()  # held while a part is made, so that it is made once
        self._weights: dict[str, Weights] = {}
        self._config: ModelConfig | None = None
        self._text_parts: TextParts | None = None
        self._picture_encoders: dict[str | None, LocalEncoder] = {}

    @property
    def folder(self) -> str:
        """Where its weights are kept."""
        return model_files.folder(self._checkpoint, self._data_dir)

    @property
    def key(self) -> str:
        """Names the weights and their index: OpenAI's by their name, others by their file's name and content."""
        if self._checkpoint.sha256:
            return self._checkpoint.label
        return f"{self._checkpoint.label}-{self._open(model_files.TEXT).metadata['sha256'][:12]}"

    @property
    def digest(self) -> str:
        """The SHA-256 of its checkpoint, in hexadecimal."""
        return self._checkpoint.sha256 or self._open(model_files.TEXT).metadata["sha256"]

    @property
    def config(self) -> ModelConfig:
        """What the model is made of. Raises `ModelError`, as everything below that needs the weights."""
        if self._config is None:
            self._open(model_files.TEXT)
        assert self._config
        return self._config

    def _foreign(self, text_model: str, wanted: str) -> ForeignTextModel:
        return ForeignTextModel(model=self._checkpoint.name, text_model=text_model, wanted=wanted)

    @property
    def text_config(self) -> TextConfig:
        """Of what encodes texts."""
        if self._text_model is None:
            return self.config.text
        return model_files.config_of(self._open_text_model()).text

    @property
    def text_key(self) -> str:
        """Names all that decides about a text's vector."""
        if self._text_model is None:
            return self.key
        return f"{self.key} {self._open_text_model().metadata['sha256'][:32]}"

    @property
    def reads_english_only(self) -> bool:
        """As far as is known: whether texts are encoded by what is made for CLIP's own vocabulary."""
        return self._text_model is None and self.text_config.tokenizer != "file"

    def precision(self, device: str | None = None) -> str:
        """In which many pictures are encoded on this device."""
        from rclip.models.hardware import has_bf16, may_have_gpu

        if device not in (None, "auto", "cpu") or (device != "cpu" and may_have_gpu()):
            return "fp16 on a GPU"
        return "bf16" if has_bf16() else "float32"

    @property
    def resolution(self) -> int:
        """The side, in pixels, of the squares that its image tower takes."""
        return self.config.image.side

    @property
    def has_weights(self) -> bool:
        """Whether they have been prepared from the checkpoint, at least in part."""
        return model_files.has_any(self._checkpoint, self._data_dir)

    @property
    def dimensions(self) -> int | None:
        """The length of its vectors; None while its weights have not been prepared."""
        return model_files.dimensions(self._checkpoint, self._data_dir)

    def discard_damaged_weights(self) -> list[str]:
        """A line for each damaged file of weights; they are prepared again when next used."""
        faults = model_files.discard_damaged(self._checkpoint, self._data_dir)
        if faults:
            with self._opening:
                self._weights, self._text_parts, self._picture_encoders = {}, None, {}
        return faults

    def encode_texts(self, texts: Sequence[str]) -> tuple[np.ndarray, list[bool]]:
        """Vectors (B, D) float32 of length 1, and which of the texts were longer than the model reads."""
        tokenizer, tower = self._text()
        tokens, cut = zip(*tokenizer.encode_all(texts), strict=True)
        # Texts of like length go together, and the longest of a batch decides what it costs.
        order = sorted(range(len(texts)), key=lambda number: len(tokens[number]))
        batches = [order[start : start + _TEXT_BATCH] for start in range(0, len(order), _TEXT_BATCH)]
        with blas.limited(CORES) if len(texts) > _FEW_TEXTS else _one_core():
            vectors = np.concatenate([tower([tokens[number] for number in batch]) for batch in batches])
        return numpy_towers.require_finite(vectors[np.argsort(order)], self.name), list(cut)

    def encode_pictures(self, pixels: np.ndarray, device: str | None = None) -> np.ndarray:
        """A few pictures (B, S, S, 3) uint8 that are waited for. -> (B, D) float32, rows of length 1"""
        with self._opening:
            if device not in self._picture_encoders:
                self._picture_encoders[device] = self._local_encoder(device, None)
            encoder = self._picture_encoders[device]
        return encoder.encode(pixels)

    def image_encoder(self, device: str | None = None, batch_size: int | None = None) -> "ImageEncoder":
        """For many pictures. `device` is "cuda", "mps", "cpu", or None or "auto" for the best one; `batch_size` None
        for the device's."""
        return self._local_encoder(device, batch_size)

    def _local_encoder(self, device: str | None, batch_size: int | None) -> "LocalEncoder":
        from rclip.models.local_encoder import LocalEncoder

        weights = self._open(model_files.IMAGE)
        return LocalEncoder(self.name, weights, self.config, None if device == "auto" else device, batch_size)

    def _text(self) -> "TextParts":
        with self._opening:
            if self._text_parts is None:
                weights = self._open_text_model() if self._text_model else self._open(model_files.TEXT)
                config = model_files.config_of(weights)
                if config.text.library:
                    from rclip.models import open_clip_towers

                    self._text_parts = open_clip_towers.text_parts(weights)
                else:
                    tokenizer = model_files.make_tokenizer(weights, config)
                    self._text_parts = tokenizer, numpy_towers.TextTower(weights, config)
            return self._text_parts

    def _open_text_model(self) -> "Weights":
        """Raises `ModelError`."""
        assert self._text_model
        with self._opening:
            if _TEXT_MODEL not in self._weights:
                weights = model_files.open_tower(self._text_model, self._data_dir, model_files.TEXT, self._notify)
                if model_files.config_of(weights).dimensions != self.config.dimensions:
                    raise self._foreign(self._text_model.name, "another")
                self._weights[_TEXT_MODEL] = weights
            return self._weights[_TEXT_MODEL]

    def _open(self, tower: str) -> "Weights":
        with self._opening:
            if tower not in self._weights:
                weights = model_files.open_tower(self._checkpoint, self._data_dir, tower, self._notify)
                self._config = model_files.config_of(weights)
                self._weights[tower] = weights
            return self._weights[tower]
