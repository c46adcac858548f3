"""A model's own folder, or its files from a hub, made ready for use: described, checked, and mapped or converted.

Float32 in the safetensors format is mapped where it lies. Half precision, and what `torch.save` has written, is
converted once. Nothing in a folder is run.
"""

import hashlib
import json
import os
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from rclip import manifest
from rclip.errors import ModelError, NoModelFolder, UnfitWeights, plain_reason
from rclip.models import tokenizer, torch_archive
from rclip.models.config import ModelConfig
from rclip.models.families import open_clip_family, sentence_transformers_family, transformers_family
from rclip.models.families.description import Description, Settings, require_fit
from rclip.models.mapped_weights import FILES, ORIGINS, WeightsFile
from rclip.models.renamed import Renamed
from rclip.models.safetensors import Tensors, UnusableFile

Arrays = Mapping[str, np.ndarray]

_OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)
_TRANSFORMERS_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
DEFINITION, FOLDER = "definition", "folder"
"""Names of metadata: what a library builds the towers from, and where it looks for the tokenizer."""
_MAPPABLE = {"F32"}


class Ready(NamedTuple):
    """What is to be stored of a model: arrays of the two towers, beside those that are mapped, and metadata of both."""

    text: dict[str, np.ndarray]
    image: dict[str, np.ndarray]
    text_metadata: dict[str, str]
    image_metadata: dict[str, str]
    sha256: str
    """Of the weights, and of how pictures come to the tower."""
    config: ModelConfig


class _Weights(NamedTuple):
    """The weights in a folder."""

    arrays: Arrays
    files: list[tuple[str, str]]
    """Their paths, and what precedes the names of their arrays."""
    is_mappable: bool


def prepare(folder: str, tokenizer_folder: str | None, announce: Callable[[], None]) -> Ready:
    """Of a model with both towers. `tokenizer_folder` is where its tokenizer lies if that is another one.

    `announce` is called when all is found sound, before what takes long. Raises `ModelError`.
    """
    weights, described = _described(folder)
    return _ready(weights, described, tokenizer_folder or folder, announce)


def prepare_text(folder: str, announce: Callable[[], None]) -> Ready:
    """Of a text model that answers in the space of another. Raises `ModelError`."""
    parts = sentence_transformers_family.parts(folder)
    transformer, dense = parts["Transformer"], parts["Dense"]
    first = _read(transformer, _named(transformer, _TRANSFORMERS_WEIGHTS))
    second = _read(dense, _named(dense, _TRANSFORMERS_WEIGHTS), sentence_transformers_family.DENSE)
    weights = _Weights(
        ChainMap(first.arrays, second.arrays),  # type: ignore[arg-type]
        [*first.files, *second.files],
        first.is_mappable and second.is_mappable,
    )
    described = sentence_transformers_family.describe(folder, weights.arrays)
    return _ready(weights, described, transformer, announce)


def _described(folder: str) -> tuple[_Weights, Description]:
    path = os.path.join(folder, open_clip_family.CONFIG_FILE)
    if os.path.exists(path):
        weights = _read(folder, _named(folder, _OPEN_CLIP_WEIGHTS))
        return weights, open_clip_family.describe(path, weights.arrays)
    path = os.path.join(folder, transformers_family.CONFIG_FILE)
    if os.path.exists(path):
        weights = _read(folder, _named(folder, _TRANSFORMERS_WEIGHTS))
        return weights, transformers_family.describe(path, weights.arrays)
    raise NoModelFolder(path=folder, reason="it has neither open_clip_config.json nor config.json")


def _ready(
    weights: _Weights,
    described: Description,
    tokenizer_folder: str,
    announce: Callable[[], None],
) -> Ready:
    try:
        _require_fit(weights.arrays, described)
    except ValueError as error:
        raise UnfitWeights(path=weights.files[0][0], reason=plain_reason(error)) from error
    tokenizer_arrays = _tokenizer(described, tokenizer_folder)
    announce()
    files = _hashed(weights.files)
    config = described.config
    towers = {
        name: {
            key: origin for key, origin in described.origins.items() if key.startswith("visual.") == (name == "image")
        }
        for name in ("text", "image")
    }
    arrays: dict[str, dict[str, np.ndarray]] = {name: {} for name in towers}
    metadata: dict[str, dict[str, str]] = {name: {FILES: json.dumps(files)} for name in towers}
    for name, origins in towers.items():
        if weights.is_mappable:
            metadata[name][ORIGINS] = json.dumps(origins)
        else:
            renamed = Renamed(weights.arrays, origins)
            arrays[name] = {key: np.ascontiguousarray(renamed[key], np.float32) for key in renamed}
        if described.definition:
            metadata[name] |= {DEFINITION: described.definition, FOLDER: tokenizer_folder}
    arrays["text"] = tokenizer_arrays | arrays["text"]
    identity = hashlib.sha256("".join(file.sha256 for file in files).encode())
    identity.update(config.image.identity().encode())
    return Ready(arrays["text"], arrays["image"], metadata["text"], metadata["image"], identity.hexdigest(), config)


def _require_fit(arrays: Arrays, described: Description) -> None:
    """Raises ValueError."""
    config = described.config
    require_fit(arrays, described)
    if config.image.is_resnet and not config.image.library:
        from rclip.models.openai_clip import require_resnet

        try:
            require_resnet({name: array.astype(np.float32) for name, array in _visual(arrays)}, config)
        except RuntimeError as error:
            raise ValueError(plain_reason(error)[:200]) from error


def _visual(arrays: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    for name in arrays:
        if name.startswith("visual.") and not name.endswith("num_batches_tracked"):
            yield name, arrays[name]


def _tokenizer(described: Description, folder: str) -> dict[str, np.ndarray]:
    if described.config.text.library:
        return {}
    if described.tokenizer_file:
        from rclip.models import file_tokenizer

        return file_tokenizer.prepare(os.path.join(folder, described.tokenizer_file), described.lowercases)
    return tokenizer.arrays(described.config.text.vocabulary_size)


# --- files -----------------------------------------------------------------------------------------------------------


def _named(folder: str, names: tuple[str, ...]) -> str:
    """The first of these that is there. Raises `NoModelFolder`."""
    for name in names:
        if os.path.exists(os.path.join(folder, name)):
            return name
    raise NoModelFolder(path=folder, reason=f"it has no weights, such as {names[0]}")


def _read(folder: str, name: str, prefix: str = "") -> _Weights:
    """Raises `ModelError`."""
    path = os.path.join(folder, name)
    try:
        if name.endswith(".index.json"):
            return _read_parts(folder, path, prefix)
        if not name.endswith(".safetensors"):
            return _Weights(_prefixed(_torch_arrays(path), prefix), [(path, prefix)], is_mappable=False)
        tensors = Tensors.foreign(path)
        is_mappable = tensors.dtypes() <= _MAPPABLE | {"I64"}
        return _Weights(_prefixed(tensors, prefix), [(path, prefix)], is_mappable)
    except UnusableFile as error:
        raise NoModelFolder(path=path, reason=str(error).removeprefix(f"{path}: ")) from error
    except OSError as error:
        raise NoModelFolder(path=path, reason=plain_reason(error)) from error


def _read_parts(folder: str, path: str, prefix: str) -> _Weights:
    """Weights that are divided among files."""
    places = Settings.read(path).part("weight_map").as_dict().values()
    names = sorted({name for name in places if isinstance(name, str) and re.fullmatch(r"[\w.-]+\.safetensors", name)})
    if not names or len(names) != len(set(map(str, places))):
        raise NoModelFolder(path=path, reason="it names no files of weights")
    parts = [_read(folder, name, prefix) for name in names]
    return _Weights(
        ChainMap(*(part.arrays for part in parts)),  # type: ignore[arg-type]
        [file for part in parts for file in part.files],
        all(part.is_mappable for part in parts),
    )


def _prefixed(arrays: Arrays, prefix: str) -> Arrays:
    return {prefix + name: arrays[name] for name in arrays} if prefix else arrays


def _torch_arrays(path: str) -> Arrays:
    """Of a file of `torch.save`, without running it. Raises `NoModelFolder`."""
    try:
        if torch_archive.is_archive(path):
            return torch_archive.read(path)
        from rclip.models.openai_clip import read_legacy

        return read_legacy(path)
    except (OSError, ModelError):
        raise
    except Exception as error:  # zip files, pickles and torch raise anything at all on other files
        raise NoModelFolder(path=path, reason="it is no state dict") from error


def _hashed(files: list[tuple[str, str]]) -> list[WeightsFile]:
    """Raises `NoModelFolder`."""
    try:
        return [weights_file(*file) for file in files]
    except OSError as error:
        raise NoModelFolder(path=files[0][0], reason=plain_reason(error)) from error


def weights_file(path: str, prefix: str = "") -> WeightsFile:
    """The file as it is now. Raises OSError, or `NoModelFolder` where it is not what it should be."""
    path = os.path.realpath(path)
    with open(path, "rb") as file:
        identity = manifest.identity(os.fstat(file.fileno()))
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    name = os.path.basename(path)
    if re.fullmatch("[0-9a-f]{64}", name) and name != sha256:  # as the cache of the hub names large files
        raise NoModelFolder(path=path, reason="its SHA-256 is not the one that the hub has for it: delete it")
    return WeightsFile(path, identity, sha256, prefix)


def is_unchanged(file: WeightsFile) -> bool:
    """Whether its bytes are still the same, whatever its times."""
    try:
        return weights_file(file.path).sha256 == file.sha256
    except (OSError, ModelError):
        return False
