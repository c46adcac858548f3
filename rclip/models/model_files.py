"""The weights of a model as rclip uses them: float32, memory-mapped, prepared once from what the model comes as.

A model has a folder of its own with two files, one for each tower, so that a text query maps no image weights. Both
hold the model's configuration in their metadata. They are derived: when one is missing, damaged or of something that
has changed, both are written again. Of a checkpoint they hold all arrays. Of a model whose own files can be mapped they
say where the arrays are.
"""

import os
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

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
from rclip.models.registry import MULTILINGUAL, Checkpoint, ModelFolder, TextModel
from rclip.models.safetensors import Tensors, UnusableFile

if TYPE_CHECKING:
    from rclip.models.file_tokenizer import FileTokenizer
    from rclip.models.mapped_weights import MappedWeights

    Weights: TypeAlias = Tensors | MappedWeights
    AnyTokenizer: TypeAlias = tokenizer.Tokenizer | FileTokenizer

Source = Checkpoint | ModelFolder | TextModel

_LAYOUT = "2"  # of the two files; raised when their contents change
_LAYOUT_WITHOUT_CONFIG = "1"  # the same arrays
_TRIES = 3  # somebody may be deleting them at this moment
TEXT = "text.safetensors"
IMAGE = "image.safetensors"
_CONFIG = "config"
_FILES = "files"  # mapped_weights.FILES, which most models do without


def folder(source: Source, data_dir: str) -> str:
    """Where the model's files are kept."""
    name = source.label
    if source.path and source.sha256 is None:  # two files may have one name
        name += f"-{zlib.crc32(os.fsencode(source.path)):08x}"
    return os.path.join(data_dir, "models", name)


def open_tower(source: Source, data_dir: str, tower: str, notify: Callable[[str], None]) -> "Weights":
    """The arrays of `tower` (`TEXT` or `IMAGE`), prepared first if need be. Raises `ModelError`."""
    path = os.path.join(folder(source, data_dir), tower)
    for _ in range(_TRIES):
        try:
            return _open_if_current(path, source)
        except UnusableFile:
            _prepare(source, data_dir, notify)
    try:
        return _open_if_current(path, source)
    except UnusableFile as error:
        raise WeightsLost(reason=str(error)) from error


def has_any(source: Source, data_dir: str) -> bool:
    """Whether a tower's file exists, sound or not."""
    return any(os.path.exists(os.path.join(folder(source, data_dir), tower)) for tower in (TEXT, IMAGE))


def discard_damaged(source: Source, data_dir: str) -> list[str]:
    """Compares the files that exist with their checksums. A line for each damaged one, which nothing trusts then."""
    faults = []
    for tower in (TEXT, IMAGE) if has_any(source, data_dir) else ():
        path = os.path.join(folder(source, data_dir), tower)
        try:
            safetensors.verify(path)
            _verify_mapped(path)
        except UnusableFile as error:
            faults.append(str(error))
    return faults


def _verify_mapped(path: str) -> None:
    """Raises `UnusableFile`, and nothing trusts the file at `path` then."""
    from rclip.models.folder_weights import is_unchanged
    from rclip.models.mapped_weights import files_of

    for file in files_of(Tensors(path).metadata):
        if not is_unchanged(file):
            safetensors.distrust(path)
            raise UnusableFile(f"{file.path}: has changed")


def dimensions(source: Source, data_dir: str) -> int | None:
    """The length of the model's vectors; None while its weights have not been prepared."""
    try:
        weights = Tensors(os.path.join(folder(source, data_dir), TEXT))
        if _CONFIG in weights.metadata:
            return config_of(weights).dimensions
        return weights["text_projection"].shape[1]
    except (UnusableFile, KeyError, IndexError, ValueError, TypeError, ModelError):
        return None


def config_of(weights: "Weights") -> ModelConfig:
    """The configuration kept with the weights. Raises `ModelError` for one that cannot be run."""
    return ModelConfig.from_json(weights.metadata[_CONFIG])


def _open_if_current(path: str, source: Source) -> "Weights":
    """Raises `UnusableFile` when the file is not made from this source as it is now."""
    weights = Tensors(path)
    if weights.metadata.get("source") != _state(source):
        raise UnusableFile(f"{path}: made from something else")
    if weights.metadata.get("layout") == _LAYOUT_WITHOUT_CONFIG:
        _add_config(path, weights)
    try:
        config_of(weights)
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableFile(f"{path}: its configuration is damaged") from error
    if weights.metadata.get("layout") != _LAYOUT:
        raise UnusableFile(f"{path}: of another layout")
    return _with_mapped(weights) if _FILES in weights.metadata else weights


def _with_mapped(weights: Tensors) -> "Weights":
    """And the arrays that lie in the model's own files."""
    from rclip.models.mapped_weights import MappedWeights

    return MappedWeights(weights)


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


def _state(source: Source) -> str:
    """Names a source's content without reading it: OpenAI's by its digest, the user's own by its stat.

    What is fetched from a hub stays what it is.
    """
    if source.sha256:
        return source.sha256
    if not source.path:
        return getattr(source, "repository", "") or source.name
    try:
        if not isinstance(source, Checkpoint):
            return _state_of_folder(source.path)
        stat = os.stat(source.path)
    except OSError as error:
        raise UnreadableCheckpoint(path=source.path, reason=plain_reason(error)) from error
    return f"{stat.st_size} bytes of {stat.st_mtime_ns}"


def _state_of_folder(path: str) -> str:
    with os.scandir(path) as entries:
        stats = sorted((entry.name, entry.stat()) for entry in entries if entry.is_file())
    return " ".join(f"{zlib.crc32(os.fsencode(name)):x}:{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats)


def _prepare(source: Source, data_dir: str, notify: Callable[[str], None]) -> None:
    """Reads the model, fetching it if need be, and writes both files."""
    target = folder(source, data_dir)
    if isinstance(source, TextModel):
        _write(os.path.join(target, TEXT), *_prepared_text_model(source, notify))
        return
    prepared = _prepared_folder if isinstance(source, ModelFolder) else _prepared_checkpoint
    text, image = prepared(source, notify)  # type: ignore[arg-type]
    _write(os.path.join(target, IMAGE), *image)
    _write(os.path.join(target, TEXT), *text)


_Contents = tuple[dict[str, np.ndarray], dict[str, str]]
"""Of a tower's file: arrays and metadata."""


def _prepared_checkpoint(source: Checkpoint, notify: Callable[[str], None]) -> tuple[_Contents, _Contents]:
    from rclip.models import checkpoint as checkpoints
    from rclip.models.download import fetch

    state = _state(source)
    digest = fetch(source, notify)
    notify(f"preparing the model {source.name}, once")
    arrays, config = checkpoints.read(source.path)
    metadata = _metadata(state, digest, config)
    image = {name: array for name, array in arrays.items() if name.startswith("visual.")}
    text = {name: array for name, array in arrays.items() if name not in image}
    return (text | tokenizer.arrays(config.text.vocabulary_size), metadata), (image, metadata)


def _prepared_text_model(source: TextModel, notify: Callable[[str], None]) -> _Contents:
    from rclip.models import folder_weights

    state, path = _state(source), source.path
    if not path:
        from rclip.models import hub

        path = hub.fetch_text_model(MULTILINGUAL, notify)
    ready = folder_weights.prepare_text(path, lambda: notify(f"preparing the text model {source.name}, once"))
    return ready.text, _metadata(state, ready.sha256, ready.config) | ready.text_metadata


def _prepared_folder(source: ModelFolder, notify: Callable[[str], None]) -> tuple[_Contents, _Contents]:
    from rclip.models import folder_weights

    state = _state(source)
    folders: tuple[str, str | None] = (source.path, None)
    if not source.path:
        from rclip.models import hub

        folders = hub.fetch(source, notify)
    ready = folder_weights.prepare(*folders, lambda: notify(f"preparing the model {source.name}, once"))
    metadata = _metadata(state, ready.sha256, ready.config)
    return (ready.text, metadata | ready.text_metadata), (ready.image, metadata | ready.image_metadata)


def _write(path: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    size = sum(array.nbytes for array in arrays.values())
    try:
        datadir.make_private(os.path.dirname(path))
        safetensors.write(path, arrays, metadata)
    except OSError as error:
        if is_full(error):
            raise NoRoomForWeights(path=path, reason=plain_reason(error), megabytes=size / 1e6) from error
        raise WeightsNotWritten(path=path, reason=plain_reason(error)) from error


def make_tokenizer(weights: "Weights", config: ModelConfig) -> "AnyTokenizer":
    """Raises `ModelError`."""
    text = config.text
    if text.tokenizer == "file":
        from rclip.models.file_tokenizer import FileTokenizer

        return FileTokenizer(weights, text)
    return tokenizer.of_weights(weights, text.vocabulary_size, text.context_length, text.tokenizer)
