"""What goes to the workers and back, and the two seams: what reads photos, and what runs functions on machines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from rclip.formats import Extra
from rclip.photo.failures import FailureKind
from rclip.photo.metadata import PhotoMetadata


class Job(NamedTuple):
    """How a run's photos are read and encoded, wherever that happens."""

    version: str
    """Of rclip."""
    preprocessing: int
    """The version of the way from a file to pixels."""
    model: str
    """Its name, or the absolute path of its file or folder."""
    model_digest: str
    """The SHA-256 of its checkpoint, in hexadecimal."""
    dimensions: int
    max_pixels: int
    is_limit_given: bool
    """Whether somebody has asked for `max_pixels`; else a worker with less memory has a limit of its own."""
    device: str | None
    batch_size: int | None


class EncodedPhoto(NamedTuple):
    """A photo that a worker has read and encoded."""

    size_bytes: int
    mtime_ns: int
    digest: bytes
    vector: np.ndarray
    """(D,) float16 of length 1"""
    metadata: PhotoMetadata


class UnreadPhoto(NamedTuple):
    """A photo of which there is no vector, and why."""

    reason: str
    kind: FailureKind = FailureKind.PASSING
    extra: Extra | None = None
    size_bytes: int = 0
    mtime_ns: int = 0
    digest: bytes | None = None
    """Of bytes that cannot be decoded; None where they were not read, or may never have been the file's."""


Result = EncodedPhoto | UnreadPhoto


class Sample(NamedTuple):
    """A file as a machine sees it."""

    size_bytes: int
    mtime_ns: int
    digest: str
    """In hexadecimal; empty where it cannot be read."""
    reason: str = ""
    """Why not."""


class Facts(NamedTuple):
    """What a machine says of itself, which must be what the others say."""

    version: str
    preprocessing: int
    model_digest: str
    extras: tuple[str, ...]
    """The formats whose packages are installed, by the names of `formats.EXTRAS`."""
    samples: tuple[Sample, ...]
    vector: tuple[float, ...]
    """(D,) of the test picture."""
    host: str = ""
    """Its name."""


WORKER_MODULE = "rclip.indexing.cluster.worker"
"""Where the functions are that workers run. Each takes a request and gives an answer, both as bytes."""


class Engine(Protocol):
    """Runs functions on other machines, and never on one that it was not told to."""

    @property
    def address(self) -> str:
        """Where the cluster is, for messages."""

    def workers(self) -> Mapping[str, int]:
        """The workers that are there now, and how many functions each runs at once. Raises `ClusterLost`."""

    def submit(self, worker: str, name: str, request: bytes) -> int:
        """Has the worker run that function of `WORKER_MODULE`. Returns a number that tells its answer from others."""

    def answers(self, timeout_s: float) -> Sequence[tuple[int, bytes | Exception]]:
        """Those that have come; waits for the first of them, if need be, no longer than that."""

    def forget(self, number: int) -> None:
        """No answer is wanted any more."""

    def close(self) -> None:
        """Whatever is still being worked on is not wanted any more."""


class PhotoReaders(Protocol):
    """Several machines that read photos."""

    def read(self, paths: Iterable[bytes], count: int) -> Iterator[Sequence[tuple[bytes, Result]]]:
        """Each path once, with its result, in any order and in batches. Takes paths when there is work for them.

        `count` is about how many there are. Raises `RclipError`.
        """

    def rates(self) -> Mapping[str, float]:
        """Photos a second by the names of machines, since each of them began."""
