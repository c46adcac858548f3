"""Arrays of a file by the towers' names for them.

An array of the towers is one of the file's, seen in another way: transposed, in part, or in another shape. So a file of
any library's is mapped as it is, and nothing is copied.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np


class Origin(NamedTuple):
    """Where an array of the towers comes from."""

    name: str
    """The file's."""
    views: tuple[str, ...] = ()
    """How it is seen, one after the other: "T" transposed, "0" its first row, "2:79" some rows, "768," reshaped,
    "patches 8" a linear layer on patches of 8×8 pixels as a convolution."""


Origins = dict[str, Origin]


class Renamed(Mapping[str, np.ndarray]):
    """The arrays that have an origin among others."""

    def __init__(self, arrays: Mapping[str, np.ndarray], origins: Mapping[str, Origin]):
        self._arrays = arrays
        self._origins = origins

    def __getitem__(self, name: str) -> np.ndarray:
        source, views = self._origins[name]
        array = self._arrays[source]
        for how in views:
            array = _view(array, how)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._origins)

    def __len__(self) -> int:
        return len(self._origins)


def _view(array: np.ndarray, how: str) -> np.ndarray:
    if how == "T":
        return array.T
    if how == "0":
        return array[0]
    if how.startswith("patches "):
        side = int(how.split()[1])
        return array.reshape(len(array), side, side, 3).transpose(0, 3, 1, 2)
    if ":" in how:
        start, end = how.split(":")
        return array[int(start) : int(end)]
    return array.reshape([int(length) for length in how.rstrip(",").split(",")])
