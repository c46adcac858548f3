"""Towers that only `open_clip` can run: convolutions, rotary positions, encoders of other packages. Seconds to import.

What a model's configuration names is built by open_clip's own code. Nothing in the model's folder is run, and no
weights but the model's own are loaded.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from rclip.errors import (
    MissingModelPackage,
    ModelError,
    NoModelFolder,
    UnfitWeights,
    UnsupportedModel,
    plain_reason,
)
from rclip.models import hub
from rclip.models.config import ModelConfig
from rclip.models.folder_weights import DEFINITION, FOLDER
from rclip.models.mapped_weights import files_of
from rclip.models.numpy_towers import l2_normalize


class _Described(Protocol):
    metadata: dict[str, str]


def _open_clip() -> Any:
    """Raises `MissingModelPackage`."""
    try:
        import open_clip
    except ImportError as error:
        raise MissingModelPackage(package="open_clip_torch") from error
    return open_clip


def _model(metadata: Mapping[str, str]) -> Any:
    """Raises `ModelError`."""
    open_clip = _open_clip()
    definition: dict[str, Any] = json.loads(metadata[DEFINITION])
    (file,) = files_of(metadata)
    is_custom = definition.pop("custom_text", False) or "hf_model_name" in definition["text_cfg"]
    kind = (
        open_clip.CoCa if "multimodal_cfg" in definition else open_clip.CustomTextCLIP if is_custom else open_clip.CLIP
    )
    try:
        with hub.left_alone_by(file.path):
            _require_no_code(definition["text_cfg"].get("hf_model_name"))
            _require_room(lambda: kind(**definition), file.path)
            model: torch.nn.Module = kind(**definition)
    except ModelError:
        raise
    except ImportError as error:
        raise MissingModelPackage(package=getattr(error, "name", None) or "transformers") from error
    except Exception as error:  # whatever its many parts raise for what they cannot build
        raise NoModelFolder(path=os.path.dirname(file.path), reason=plain_reason(error)[:200]) from error
    try:
        open_clip.load_checkpoint(model, file.path, weights_only=True)
    except Exception as error:
        raise UnfitWeights(path=file.path, reason=plain_reason(error)[:200]) from error
    return model.eval().requires_grad_(False)


def _require_no_code(name: str | None) -> None:
    """Raises `UnsupportedModel` where transformers would need code that comes with a configuration.

    It would ask the user whether to run it. A folder of that name, where the user stands, is not what is meant.
    """
    if not name:
        return
    if os.path.exists(name):
        raise UnsupportedModel(name="hf_model_name", value=name)
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except ValueError as error:
        if "custom code" not in str(error):
            raise
        raise UnsupportedModel(name="auto_map", value="code of its own") from error
    if hasattr(config, "auto_map"):
        raise UnsupportedModel(name="auto_map", value="code of its own")


def _require_room(make: Callable[[], torch.nn.Module], path: str) -> None:
    """Raises `UnfitWeights` for a model of more numbers than its file has bytes: that would be built first."""
    with torch.device("meta"):
        count = sum(tensor.numel() for tensor in make().state_dict().values())
    if count > os.path.getsize(path):
        raise UnfitWeights(path=path, reason=f"it has too few bytes for {count:,} numbers")


class ImageTower:
    """Pixels to vectors on one device, its products in one precision."""

    def __init__(self, weights: _Described, config: ModelConfig, device: torch.device, dtype: torch.dtype):
        """Raises `ModelError`."""
        self._model = _model(weights.metadata).to(device)
        for part in ("transformer", "text", "text_decoder"):
            if hasattr(self._model, part):
                setattr(self._model, part, None)
        self._device, self._dtype = device, dtype
        image = config.image
        self._mean, self._std = (torch.tensor(value, device=device) * 255 for value in (image.mean, image.std))

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, S, S, 3) uint8 -> (B, D)"""
        normal = pixels.float().sub_(self._mean).div_(self._std).permute(0, 3, 1, 2)
        half = torch.bfloat16 if self._dtype != torch.float32 else torch.float32
        with torch.autocast(self._device.type, half, enabled=self._dtype != torch.float32):
            vectors: torch.Tensor = self._model.encode_image(normal)
        return vectors


class TextTower:
    """Token ids to vectors, in float32 on the CPU."""

    def __init__(self, model: Any):
        self._model = model

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Sequence[int]]) -> np.ndarray:
        """B texts of all tokens that the model reads, padding included. -> (B, D) float32, rows of length 1"""
        return l2_normalize(self._model.encode_text(torch.tensor([list(tokens) for tokens in texts])).float().numpy())


class Tokenizer:
    """open_clip's own for the model."""

    def __init__(self, tokenizer: Any, length: int):
        self._tokenizer = tokenizer
        self._length = length

    def encode_all(self, texts: Iterable[str]) -> Iterator[tuple[list[int], bool]]:
        """Of each text as many ids as the model reads, and whether it had to be cut for that."""
        for text in texts:
            (ids,) = self._tokenizer([text], context_length=self._length).tolist()
            (longer,) = self._tokenizer([text], context_length=self._length + 1).tolist()
            yield ids, longer[:-1] != ids


def text_parts(weights: _Described) -> tuple[Tokenizer, TextTower]:
    """Raises `ModelError`."""
    model = _model(weights.metadata)
    model.visual = None
    definition = json.loads(weights.metadata[DEFINITION])
    length = definition["text_cfg"].get("context_length", 77)
    return Tokenizer(_tokenizer(definition["text_cfg"], weights.metadata[FOLDER], length), length), TextTower(model)


def _tokenizer(text: Mapping[str, Any], folder: str, length: int) -> Any:
    open_clip, options = _open_clip(), text.get("tokenizer_kwargs") or {}
    if not text.get("hf_tokenizer_name"):
        return open_clip.SimpleTokenizer(context_length=length, **options)
    try:
        with hub.left_alone_by(folder):
            return open_clip.tokenizer.HFTokenizer(
                folder,
                context_length=length,
                tokenizer_mode=text.get("tokenizer_mode"),
                **(options | {"trust_remote_code": False}),
            )
    except ImportError as error:
        raise MissingModelPackage(package="transformers") from error
    except ModelError:
        raise
    except Exception as error:
        raise NoModelFolder(path=folder, reason=plain_reason(error)[:200]) from error
