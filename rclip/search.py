"""Ranking: one dot product a photo, and no sorting of what is not shown."""

import numpy as np


def cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(N, D) float16 rows of length 1, (D,) float32 of length 1 -> (N,) float32"""
    return vectors.astype(np.float32) @ query


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Row numbers of the k highest scores, best first; ties keep row order. (N,) -> (min(k, N),)"""
    if k >= len(scores):
        return np.argsort(-scores, kind="stable")
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > threshold)
    tied = np.flatnonzero(scores == threshold)[: k - len(above)]
    chosen = np.sort(np.concatenate([above, tied]))
    return chosen[np.argsort(-scores[chosen], kind="stable")]
