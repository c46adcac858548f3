"""What rclip asks of a database that holds photos for several people, and what goes there and back."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from rclip.photo.metadata import PhotoMetadata

if TYPE_CHECKING:
    from rclip.filters import Filters

SCHEMA_VERSION = 1
"""Of what rclip stores there. It reads and writes this one only."""


class ModelStamp(NamedTuple):
    """Which model has made the vectors of a database. It never holds those of two."""

    name: str
    key: str
    """Names the weights, as the index's file does."""
    preprocessing: int
    """The version of the way from a file to pixels."""
    dimensions: int

    def is_like(self, other: "ModelStamp") -> bool:
        """Whether vectors of the two may be compared: the name is only how somebody has asked for the model."""
        return self[1:] == other[1:]


class PushedPhoto(NamedTuple):
    """A photo as it is stored."""

    path: bytes
    """Absolute, on the machine that has pushed it."""
    size_bytes: int
    mtime_ns: int
    vector: bytes
    """D float16 of length 1"""
    metadata: PhotoMetadata
    fingerprint: bytes = b""
    """16 bytes that differ where anything of the above does."""


class ScoredRow(NamedTuple):
    """A photo that a database has found."""

    score: float
    """The dot product with the query in half precision, off by `vectors.MAX_ERROR` at most; or, where there was no
    query, the time by which photos are sorted."""
    photo: PushedPhoto


class Conditions(NamedTuple):
    """What photos must meet that a database is to look at. Others may be among those it gives: filters have Python's
    last word."""

    folders: tuple[bytes, ...] = ()
    """Paths that the photos' paths start with, one of them, with a slash at the end; all photos where there is none."""
    like: tuple[tuple[bytes, bytes], ...] = ()
    """For each glob wanted, what a path starts with and what it contains; where there are any, one must fit."""
    filters: "Filters | None" = None


class VectorDatabase(Protocol):
    """A database at one address. Methods raise `StoreError`; each error names the address, and never a password."""

    def prepare(self, model: ModelStamp) -> None:
        """Creates what is needed for vectors of this model, or checks that it is there."""

    def require(self, model: ModelStamp) -> None:
        """Raises `NothingPushed`, `OtherModelPushed`, `OlderDatabase` or `NewerDatabase`."""

    def known(self, folder: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Path and fingerprint of each photo below the folder, in the order of paths as bytes.

        Photos may be stored and removed meanwhile.
        """

    def store(self, photos: Sequence[PushedPhoto], removed: Sequence[bytes]) -> None:
        """Puts the photos in place of those of the same paths, and removes others by path.

        All of it or nothing; in Chroma, each photo whole or not at all.
        """

    def snapshot(self) -> AbstractContextManager[None]:
        """All that is read within the block is as of its start, but in Chroma, which cannot promise that."""

    def has_photos(self, conditions: Conditions) -> bool: ...

    def count(self, conditions: Conditions) -> int: ...

    def nearest(
        self, query: np.ndarray, k: int | None, conditions: Conditions, least: float, is_exact: bool
    ) -> Iterator[ScoredRow]:
        """The k photos with the highest scores, best first, but none below `least`; None for all.

        (D,) float32 of length 1. An approximate index may be used unless it `is_exact`.
        """

    def newest(self, k: int | None, conditions: Conditions) -> Iterator[ScoredRow]:
        """The k photos taken last, in seconds from 1970: on the camera's clock or, without it, by the file's in UTC."""

    def scores(self, query: np.ndarray, k: int, conditions: Conditions) -> np.ndarray:
        """The k highest scores, best first. (D,) -> (K,) float32"""

    def quantiles(self, query: np.ndarray, levels: Sequence[float]) -> tuple[list[float], int]:
        """Those of all photos' scores, and the number of photos."""

    @property
    def is_approximate(self) -> bool:
        """Whether whoever runs the database has made an index that may leave photos out."""

    def close(self) -> None: ...
