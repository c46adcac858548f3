"""Where the vectors of pending files come from: this machine (`local_source`), or several (`cluster`)."""

from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from rclip.indexing.claims import Claims
from rclip.indexing.diff import PendingFile
from rclip.indexing.reader import Outcome

NO_VECTORS = np.empty((0, 0), np.float32)


class EncodedBatch(NamedTuple):
    """Outcomes to be stored together."""

    outcomes: Sequence[Outcome]
    vectors: np.ndarray
    """(N, D) rows of length 1, of all pictures in the outcomes, in their order."""


class Source(Protocol):
    """Reads files and encodes their pictures."""

    @property
    def claims(self) -> Claims:
        """The digests of the outcomes that are not stored yet: whoever stores them releases them."""

    def batches(self, pending: Sequence[PendingFile]) -> Generator[EncodedBatch, None, None]:
        """All that becomes of the files; closing it ends the work. Raises `RclipError`."""

    def rates(self) -> Mapping[str, float]:
        """Photos a second by the names of machines; empty where there is one."""
