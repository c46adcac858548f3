"""Ranking: one dot product a photo, and no sorting of what is not shown."""

import math

import numpy as np

from rclip.vectors import MAX_ERROR


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Row numbers of the k highest scores, best first; ties keep row order. (N,) -> (min(k, N),)"""
    if k >= len(scores):
        return np.argsort(-scores, kind="stable")
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    above = np.flatnonzero(scores > threshold)
    tied = np.flatnonzero(scores == threshold)[: k - len(above)]
    chosen = np.sort(np.concatenate([above, tied]))
    return chosen[np.argsort(-scores[chosen], kind="stable")]


FALSE_DISCOVERIES = 0.05
"""The share of what `relevance_cutoff` lets through that chance alone would put there."""


def relevance_cutoff(scores: np.ndarray, background: np.ndarray) -> float:
    """The lowest of these scores that stands out among the library's, infinity where none does.

    Most photos have nothing to do with a query, and their scores lie in a bell around some middle that is the query's
    own. Its middle and width are taken from the lower half of all scores, `background`, where nothing relevant lies.
    Of `scores` those are kept that the bell does not explain, by the procedure of Benjamini and Hochberg (1995): the
    more photos there are, the farther out one must be, and the more of them are out there, the less far.
    """
    middle, lower = np.quantile(background, [0.5, _ONE_SIGMA_BELOW])
    width = max(float(middle - lower), MAX_ERROR)
    candidates = -np.sort(-scores[scores > middle + width])
    chances = np.array([math.erfc(z / math.sqrt(2)) / 2 for z in ((candidates - middle) / width).tolist()])
    ranks = np.arange(1, len(candidates) + 1)
    kept = np.flatnonzero(chances <= FALSE_DISCOVERIES * ranks / len(scores)) if len(candidates) else ranks
    return float(candidates[kept[-1]]) if len(kept) else math.inf


_ONE_SIGMA_BELOW = 0.158655  # the share of a normal distribution below its mean less its standard deviation
