"""Relevance: which scores stand out among all that an index has for a query."""

import math
from typing import NamedTuple

import numpy as np

from rclip.vectors import MAX_ERROR

FALSE_DISCOVERIES = 0.05
"""The share of what `relevance_cutoff` lets through that chance alone would put there."""

BELL_QUANTILES = (0.5, 0.158655)  # the second: the share of a normal distribution below its mean less its deviation
_FALSE_DISCOVERY_Z = 1.644854  # the share of a normal distribution above it is FALSE_DISCOVERIES


class Bell(NamedTuple):
    """Where the scores lie of the photos that have nothing to do with a query: its `BELL_QUANTILES`."""

    middle: float
    lower: float

    @property
    def width(self) -> float:
        return max(float(self.middle - self.lower), MAX_ERROR)

    @property
    def least(self) -> float:
        """No score below is relevant, however many others are."""
        return self.middle + _FALSE_DISCOVERY_Z * self.width


def relevance_cutoff(best: np.ndarray, bell: Bell, count: int) -> float:
    """The lowest of the best scores that stands out among the library's, infinity where none does.

    `best` (K,) are the highest of `count` scores, best first: all of them that are above `bell.least`.

    Most photos have nothing to do with a query, and their scores lie in a bell around some middle that is the query's
    own. Its middle and width are taken from the lower half of all scores, where nothing relevant lies. Of the best
    scores those are kept that the bell does not explain, by the procedure of Benjamini and Hochberg (1995): the more
    photos there are, the farther out one must be, and the more of them are out there, the less far.
    """
    candidates = best[best > bell.least]
    z = (candidates - bell.middle) / bell.width
    chances = np.array([math.erfc(each / math.sqrt(2)) / 2 for each in z.tolist()])
    ranks = np.arange(1, len(candidates) + 1)
    kept = np.flatnonzero(chances <= FALSE_DISCOVERIES * ranks / count) if len(candidates) else ranks
    return float(candidates[kept[-1]]) if len(kept) else math.inf
