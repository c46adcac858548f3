"""Vectors of several kinds, and indexes of them."""

import numpy as np

from rclip.files import FileStat
from rclip.index.store import Store


def unit(vectors: np.ndarray) -> np.ndarray:
    """(N, D) -> (N, D) float16 of length 1"""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float16)


def random(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    return unit(rng.standard_normal((count, dimensions)))


def clustered(rng: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Bursts: many nearly alike, so that near ties are the rule."""
    centres = rng.standard_normal((5, dimensions))
    return unit(centres[rng.integers(5, size=count)] + 0.01 * rng.standard_normal((count, dimensions)))


def fill(store: Store, vectors: np.ndarray, start: int = 0) -> None:
    with store.transaction():
        for number, vector in enumerate(vectors, start):
            store.files.add(f"/p/{number:07}.jpg".encode(), FileStat(1, 1, 1, number), b"%d" % number, vector)
