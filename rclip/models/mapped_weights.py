"""The arrays of a tower that lie in the files of a model's own folder, and those that rclip keeps beside them."""

import json
from collections import ChainMap
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from rclip.models.renamed import Origin, Renamed
from rclip.models.safetensors import Tensors

FILES, ORIGINS = "files", "origins"
"""Names of metadata: the model's files, and the arrays' origins in them."""


class WeightsFile(NamedTuple):
    """One of a model's files, as it was when it was last read whole."""

    path: str
    identity: list[int]
    sha256: str
    prefix: str = ""
    """Before the names of its arrays."""


class MappedWeights(Mapping[str, np.ndarray]):
    """A tower's arrays by the towers' names. Like `Tensors`, which it is made of."""

    def __init__(self, own: Tensors):
        """Raises `UnusableFile` where the files are not what they were."""
        self._own = own
        self.metadata = own.metadata
        origins = {name: Origin(source, tuple(views)) for name, (source, views) in read(own.metadata, ORIGINS).items()}
        self._mapped = [Tensors.foreign(file.path, file.identity) for file in files_of(own.metadata)] if origins else []
        self._renamed = Renamed(_merged(self._mapped, files_of(own.metadata)), origins)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._own[name] if name in self._own else self._renamed[name]

    def release(self) -> None:
        """Gives the pages back that have been read; they are read again when they are wanted."""
        for tensors in (self._own, *self._mapped):
            tensors.release()

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._renamed

    def __len__(self) -> int:
        return len(self._own) + len(self._renamed)


def files_of(metadata: Mapping[str, str]) -> list[WeightsFile]:
    """Of a model that has a folder of its own; none for one that was a checkpoint."""
    return [WeightsFile(*file) for file in read(metadata, FILES)]


def read(metadata: Mapping[str, str], name: str) -> Any:
    return json.loads(metadata[name]) if name in metadata else {}


def _merged(tensors: list[Tensors], files: list[WeightsFile]) -> Mapping[str, np.ndarray]:
    return ChainMap(*(_prefixed(each, file.prefix) for each, file in zip(tensors, files, strict=False)))  # type: ignore[arg-type]


def _prefixed(arrays: Mapping[str, np.ndarray], prefix: str) -> Mapping[str, np.ndarray]:
    return Renamed(arrays, {prefix + name: Origin(name) for name in arrays}) if prefix else arrays
