"""Dot products of vectors in half precision, and the highest of them."""

import numkong
import numpy as np

MAX_ERROR = 5e-4
"""How far `dot` may be off: the query in half precision is off by 2^-11 of its length at most."""


def dot(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(N, D) float16 rows of length 1, (D,) float32 of length 1 -> (N,) float32, within `MAX_ERROR`

    Of several queries at once, (Q, D) -> (Q, N): each row is then fetched from memory for all of them.

    numkong multiplies half precision as it lies in memory, twenty times as fast as numpy, which converts it first.
    """
    shape = (*query.shape[:-1], len(vectors))
    if not len(vectors):
        return np.empty(shape, np.float32)
    products = numkong.cdist(vectors, np.atleast_2d(query).astype(np.float16), "dot", out_dtype="float32")
    return np.asarray(products).T.reshape(shape)


def dot_of_bytes(codes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, D) int8, rows any distance apart, and (Q, D) int8 -> (N, Q) float32, summed in 32 bits"""
    return np.asarray(numkong.cdist(codes, others, "dot", out_dtype="float32"))


def exact_dot(vector: bytes, query: np.ndarray) -> float:
    """D float16, (D,) float32 -> their product in float32"""
    return float(np.frombuffer(vector, np.float16).astype(np.float32) @ query)


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Row numbers of the k highest scores, best first; ties keep row order. (N,) -> (min(k, N),)"""
    if k >= len(scores):
        return np.argsort(-scores, kind="stable")
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > threshold)
    tied = np.flatnonzero(scores == threshold)[: k - len(above)]
    chosen = np.sort(np.concatenate([above, tied]))
    return chosen[np.argsort(-scores[chosen], kind="stable")]
