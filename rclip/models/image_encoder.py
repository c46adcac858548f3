"""The place where ways to encode many pictures dock: this machine's cores and GPU today (`local_encoder`)."""

from concurrent.futures import Future
from typing import Protocol, Self

import numpy as np

from rclip.resizing import Resizing


class ImageEncoder(Protocol):
    """Pictures by the thousand to vectors, batch by batch.

    Used as a context manager: leaving it waits for batches that have been submitted, unless an exception is the reason.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, reason: object, error: object, traceback: object, /) -> None: ...

    @property
    def resolution(self) -> int:
        """The side, in pixels, of the squares that it takes. Decoding needs it."""

    @property
    def resizing(self) -> Resizing:
        """How a picture becomes such a square."""

    @property
    def batch_size(self) -> int:
        """How many pictures the next batch should have, if there are as many. It may change between batches."""

    @property
    def parallel(self) -> int:
        """How many batches to submit before waiting for the first. It may change between batches."""

    def submit(self, pixels: np.ndarray, left: int) -> Future[np.ndarray]:
        """Pixels (B, S, S, 3) uint8 to vectors (B, D) float32, rows of length 1. Called from one thread.

        `left` is how many pictures may follow at most: what takes long to start may not be worth it. Raises
        `ModelError`, as does the result.
        """
