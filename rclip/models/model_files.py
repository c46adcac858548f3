"""The weights of a model as rclip uses them: float32, memory-mapped, written once from the official checkpoint.

A model has a folder of its own with two files, one for each tower, so that a text query maps no image weights. Both
hold the model's configuration in their metadata. They are derived from the checkpoint: when one is missing, damaged or
of another checkpoint, both are written again.
"""

import importlib.util
import os
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np

from rclip import datadir
from rclip.errors import (
    ModelError,
    NoRoomForWeights,
    UnreadableCheckpoint,
    WeightsLost,
    WeightsNotWritten,
    is_full,
    plain_reason,
)
from rclip.models import safetensors, tokenizer
from rclip.models.config import ModelConfig
from rclip.models.registry import Checkpoint
from rclip.models.safetensors import Tensors, UnusableFile

_LAYOUT = "2"  # of the two files; raised when their contents change
_LAYOUT_WITHOUT_CONFIG = "1"  # the same arrays
_TRIES = 3  # somebody may be deleting them at this moment
TEXT = "text.safetensors"
IMAGE = "image.safetensors"
_CONFIG = "config"
_KEYS, _RANKS = "tokenizer.pair_keys", "tokenizer.pair_ranks"


def folder(checkpoint: Checkpoint, data_dir: str) -> str:
    """Where the model's files are kept."""
    name = checkpoint.label
    if checkpoint.sha256 is None:  # two files may have one name
        name += f"-{zlib.crc32(os.fsencode(checkpoint.path)):08x}"
    return os.path.join(data_dir, "models", name)


def open_tower(checkpoint: Checkpoint, data_dir: str, tower: str, notify: Callable[[str], None]) -> Tensors:
    """The arrays of `tower` (`TEXT` or `IMAGE`), prepared from the checkpoint first if need be. Raises `ModelError`."""
    path = os.path.join(folder(checkpoint, data_dir), tower)
    for _ in range(_TRIES):
        try:
            return _open_if_current(path, checkpoint)
        except UnusableFile:
            _prepare(checkpoint, data_dir, notify)
    try:
        return _open_if_current(path, checkpoint)
    except UnusableFile as error:
        raise WeightsLost(reason=str(error)) from error


def has_any(checkpoint: Checkpoint, data_dir: str) -> bool:
    """Whether a tower's file exists, sound or not."""
    return any(os.path.exists(os.path.join(folder(checkpoint, data_dir), tower)) for tower in (TEXT, IMAGE))


def discard_damaged(checkpoint: Checkpoint, data_dir: str) -> list[str]:
    """Compares the files that exist with their checksums. A line for each damaged one, which nothing trusts then."""
    faults = []
    for tower in (TEXT, IMAGE) if has_any(checkpoint, data_dir) else ():
        try:
            safetensors.verify(os.path.join(folder(checkpoint, data_dir), tower))
        except UnusableFile as error:
            faults.append(str(error))
    return faults


def dimensions(checkpoint: Checkpoint, data_dir: str) -> int | None:
    """The length of the model's vectors; None while its weights have not been prepared."""
    try:
        return Tensors(os.path.join(folder(checkpoint, data_dir), TEXT))["text_projection"].shape[1]
    except (UnusableFile, KeyError, IndexError, ValueError):
        return None


def config_of(weights: Tensors) -> ModelConfig:
    """The configuration kept with the weights. Raises `ModelError` for one that cannot be run."""
    return ModelConfig.from_json(weights.metadata[_CONFIG])


def _open_if_current(path: str, checkpoint: Checkpoint) -> Tensors:
    """Raises `UnusableFile` when the file is not made from this checkpoint as it is now."""
    weights = Tensors(path)
    if weights.metadata.get("source") != _source(checkpoint):
        raise UnusableFile(f"{path}: made from something else")
    if weights.metadata.get("layout") == _LAYOUT_WITHOUT_CONFIG:
        _add_config(path, weights)
    try:
        config_of(weights)
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableFile(f"{path}: its configuration is damaged") from error
    if weights.metadata.get("layout") != _LAYOUT:
        raise UnusableFile(f"{path}: of another layout")
    return weights


def _add_config(path: str, weights: Tensors) -> None:
    """Takes a file over that was written before weights had a configuration. Raises `UnusableFile`.

    The configuration follows from the arrays. Where the file cannot be written, it is derived again the next time.
    """
    from rclip.models import openai_layout

    other = Tensors(os.path.join(os.path.dirname(path), IMAGE if os.path.basename(path) == TEXT else TEXT))
    try:
        config = openai_layout.config_of({**other, **weights})
    except (KeyError, IndexError, ValueError, ModelError) as error:
        raise UnusableFile(f"{path}: the arrays are not those of a CLIP") from error
    weights.metadata = _metadata(weights.metadata["source"], weights.metadata["sha256"], config)
    with suppress(OSError):
        safetensors.write(path, weights, weights.metadata)


def _metadata(source: str, sha256: str, config: ModelConfig) -> dict[str, str]:
    return {"layout": _LAYOUT, "source": source, "sha256": sha256, _CONFIG: config.to_json()}


def _source(checkpoint: Checkpoint) -> str:
    """Names a checkpoint's content without reading it: OpenAI's by its digest, the user's own by its stat."""
    if checkpoint.sha256:
        return checkpoint.sha256
    try:
        stat = os.stat(checkpoint.path)
    except OSError as error:
        raise UnreadableCheckpoint(path=checkpoint.path, reason=plain_reason(error)) from error
    return f"{stat.st_size} bytes of {stat.st_mtime_ns}"


def _prepare(checkpoint: Checkpoint, data_dir: str, notify: Callable[[str], None]) -> None:
    """Reads the checkpoint, fetching it if need be, and writes both files."""
    from rclip.models import checkpoint as checkpoints
    from rclip.models.download import fetch

    source = _source(checkpoint)
    digest = fetch(checkpoint, notify)
    notify(f"preparing the model {checkpoint.name}, once")
    arrays, config = checkpoints.read(checkpoint.path)
    metadata = _metadata(source, digest, config)
    image = {name: array for name, array in arrays.items() if name.startswith("visual.")}
    text = {name: array for name, array in arrays.items() if name not in image}
    text[_KEYS], text[_RANKS] = tokenizer.merge_table(_clip_merges(), config.text.vocabulary_size)
    _write(os.path.join(folder(checkpoint, data_dir), IMAGE), image, metadata)
    _write(os.path.join(folder(checkpoint, data_dir), TEXT), text, metadata)


def _write(path: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    size = sum(array.nbytes for array in arrays.values())
    try:
        datadir.make_private(os.path.dirname(path))
        safetensors.write(path, arrays, metadata)
    except OSError as error:
        if is_full(error):
            raise NoRoomForWeights(path=path, reason=plain_reason(error), megabytes=size / 1e6) from error
        raise WeightsNotWritten(path=path, reason=plain_reason(error)) from error


def _clip_merges() -> list[str]:
    """The merges of CLIP's byte-pair encoding, best first, from the word list of the `clip` package.

    It has more than any vocabulary uses.
    """
    spec = importlib.util.find_spec("clip")
    assert spec is not None, "clip is a dependency of rclip"
    assert spec.submodule_search_locations
    import gzip

    path = os.path.join(spec.submodule_search_locations[0], "bpe_simple_vocab_16e6.txt.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    return lines[1:]  # the first line names the file


def make_tokenizer(weights: Tensors, config: ModelConfig) -> tokenizer.Tokenizer:
    text = config.text
    return tokenizer.Tokenizer(weights[_KEYS], weights[_RANKS], text.vocabulary_size, text.context_length)
