"""Relevance: which scores stand out among all that an index has for a query.

Scores of different queries are not comparable, so each query is judged by its own. Most photos have nothing to do with
it, and their scores lie in a bell around some middle. Photos stand out in one of two ways:

- The bell does not explain scores so high: the procedure of Benjamini and Hochberg (1995).
- They are a group of their own: the bell becomes thinner with every step away from its middle, but they are more than
  the photos just below them.

`benchmarks/relevance.py` measures how often either answers, and how often wrongly.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rclip.vectors import MAX_ERROR

FALSE_DISCOVERIES = 0.02
"""The share of the photos outside the bell that chance alone would put there.

Where no photo has to do with the query, it is also the share of answers by chance, if the bell were known. It is
estimated, which doubles that, and groups add one in a hundred: one in twenty in all.
"""

MIN_PHOTOS = 24
"""Fewer tell nothing of a bell."""

COPY_COSINE = 0.98
"""Photos so like each other, as the frames of a burst are, count as one in a group."""

LEVELS = (0.02, 0.05, 0.1, 0.16, 0.22, 0.28, 0.34, 0.4, 0.46, 0.52, 0.58, 0.64, 0.7, 0.75, 0.8, 0.85, 0.9)
TAIL_LEVELS = (0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
BELL_QUANTILES = (*LEVELS, *TAIL_LEVELS)
"""Of all scores, by which `Bell.of` knows the bell."""

_SKEWNESSES = np.linspace(-0.12, 0.4, 14)
_SKEWNESS_DEVIATION = 0.05
"""Of what is believed of the skewness of a bell before any score is known: without it, matches would look like skew."""

_UNCERTAIN_PHOTOS = 40
"""With so many photos the bell is known so badly that false discoveries have to be twice as rare."""

_LEAST_Z = 2.053749  # the share of a normal distribution above it is FALSE_DISCOVERIES
_TOLERATED_ABOVE = 0.0062 + 0.012  # a normal bell's share, and what a bell that leans has beyond it
_MAX_OTHERS = 0.45  # at most this share of the photos can be taken for matches while the bell is estimated

_GROUP_SIZES = (3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20, 24, 29, 35, 42, 50, 60, 72, 86, 103, 124, 149, 179, 214, 257, 308)
_GROUP_SHARE = 0.06
_GROUP_EVIDENCE = 7.0
"""-log of how likely the valley below a group is by chance. So high because the likeliest of many groups is taken."""


class Bell(NamedTuple):
    """How the scores are distributed of the photos that have nothing to do with a query.

    A normal distribution, leaning to one side: `middle + width * (exp(skewness * z) - 1) / skewness` for a standard
    normal `z`.
    """

    middle: float
    width: float
    skewness: float
    count: int  # type: ignore[assignment] # hides a method of tuples, which nobody calls
    """How many photos it is estimated from."""

    @classmethod
    def of(cls, quantiles: Sequence[float], count: int) -> "Bell":
        """Estimated from the `BELL_QUANTILES` of all `count` scores; nothing stands out of that of too few photos.

        The share of matches is estimated first, by the lower half, in which none lie. Levels are then those among the
        other photos. The three parameters are the likeliest ones, given the covariance of quantiles.
        """
        if count < MIN_PHOTOS:
            return cls(math.inf, 1, 0, count)
        levels, values = np.array(BELL_QUANTILES), np.array(quantiles, np.float64)
        levels = levels / (1 - _share_of_matches(levels, values))
        used = (levels <= LEVELS[-1] + 1e-9) & (np.array(BELL_QUANTILES) <= LEVELS[-1])
        middle, width, skewness = _likeliest(levels[used], values[used], count)
        return cls(middle, max(width, MAX_ERROR), skewness, count)

    def z(self, scores: np.ndarray) -> np.ndarray:
        """How far out scores are: as far as so many standard deviations of a normal distribution. (K,) -> (K,)"""
        away = (scores.astype(np.float64) - self.middle) / self.width
        if not self.skewness:
            return away
        return np.log(np.maximum(1 + self.skewness * away, 1e-12)) / self.skewness

    @property
    def least(self) -> float:
        """No score below is outside the bell, however many others are."""
        return self.middle + self.width * float(_bent(np.array(_LEAST_Z), self.skewness))


def _share_of_matches(levels: np.ndarray, values: np.ndarray) -> float:
    """How many more photos there are far above the middle than the lower half of a normal distribution has."""
    middle, lower = np.interp([0.5, 0.158655], levels, values)
    limit = middle + 2.5 * max(middle - lower, MAX_ERROR)
    above = 1 - float(np.interp(limit, values, levels, right=1.0))
    return min(max(above - _TOLERATED_ABOVE, 0.0), _MAX_OTHERS)


def _likeliest(levels: np.ndarray, values: np.ndarray, count: int) -> tuple[float, float, float]:
    """Middle, width and skewness by generalized least squares, for each skewness in turn."""
    from statistics import NormalDist

    z = np.array([NormalDist().inv_cdf(level) for level in levels.tolist()])
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    covariance = np.minimum.outer(levels, levels) * (1 - np.maximum.outer(levels, levels))
    precision = np.linalg.inv(covariance / np.outer(density, density))
    best = (math.inf, 0.0, 0.0, 0.0)
    for skewness in _SKEWNESSES.tolist():
        slope = np.exp(skewness * z)
        weights = precision / np.outer(slope, slope)
        design = np.stack([np.ones_like(z), _bent(z, skewness)], axis=1)
        middle, width = np.linalg.solve(design.T @ weights @ design, design.T @ weights @ values)
        if width <= MAX_ERROR:
            return float(middle), MAX_ERROR, 0.0
        rest = (values - design @ (middle, width)) / width
        belief = (skewness / _SKEWNESS_DEVIATION) ** 2
        cost = count * (rest @ weights @ rest) + belief + 2 * (len(z) * math.log(width) + float(np.log(slope).sum()))
        best = min(best, (float(cost), float(middle), float(width), skewness))
    return best[1:]


def _bent(z: np.ndarray, skewness: float) -> np.ndarray:
    return np.expm1(skewness * z) / skewness if abs(skewness) > 1e-9 else z


def _upper_tail(z: np.ndarray) -> np.ndarray:
    """The share of a standard normal distribution above each. (K,) -> (K,)"""
    return np.array([math.erfc(each / math.sqrt(2)) / 2 for each in z.tolist()])


def relevance_cutoff(best: np.ndarray, bell: Bell, count: int, is_copy: Callable[[int], np.ndarray]) -> float:
    """The lowest of the best scores that stands out among the library's, infinity where none does.

    `best` (K,) are the highest of `count` scores, best first: all of them that are above `bell.least`, and an eighth at
    least. `is_copy` says of as many of the first as it is asked for which look like a better one: a burst is no group.
    """
    kept = max(_outside(best, bell, count), _group(best, bell, count, is_copy))
    return float(best[kept - 1]) if kept else math.inf


def _outside(best: np.ndarray, bell: Bell, count: int) -> int:
    """How many of the best the bell does not explain.

    The more photos there are, the farther out one must be, and the more of them are out there, the less far. This
    holds however alike photos are, as those of a burst: scores that go together make false answers rarer.
    """
    chances = _upper_tail(bell.z(best[best > bell.least]))
    share = FALSE_DISCOVERIES * bell.count / (bell.count + _UNCERTAIN_PHOTOS)
    kept = np.flatnonzero(chances <= share * np.arange(1, len(chances) + 1) / count)
    return int(kept[-1]) + 1 if len(kept) else 0


def _group(best: np.ndarray, bell: Bell, count: int, is_copy: Callable[[int], np.ndarray]) -> int:
    """How many of the best are a group of their own, zero where there is none.

    Depths are distributed exponentially among photos of the bell, whatever the bell's width. A group and the valley
    below it are as deep as each other, so that the valley ought to hold more.
    """
    z = bell.z(best[: 4 * _GROUP_SIZES[-1]])
    depths = -np.log(np.maximum(_upper_tail(z), 1e-300))
    size, below, depth, evidence = 0, 0, 0.0, _GROUP_EVIDENCE
    for tried in _GROUP_SIZES:
        if tried > _GROUP_SHARE * count + 3 or 2 * tried >= len(depths):
            break
        gap = (depths[0] - depths[tried - 1]) / tried  # on average
        floor = depths[tried - 1] - gap / 2 - gap * (tried + 1)
        if floor < depths[-1]:
            continue
        others = int(np.count_nonzero(depths[tried:] >= floor))
        if (found := _evidence(tried, others, gap * (tried + 1))) > evidence:
            size, below, depth, evidence = tried, others, gap * (tried + 1), found
    if not size:
        return 0
    distinct = ~is_copy(size + below)
    evidence = _evidence(int(distinct[:size].sum()), int(distinct[size:].sum()), depth)
    return size if evidence > _GROUP_EVIDENCE else 0


def _evidence(size: int, below: int, depth: float) -> float:
    """-log of how likely so many or more of them all are in the upper of two ranges of this depth."""
    total, share = size + below, 1 / (1 + math.exp(min(depth, 700)))
    numbers = np.arange(size, total + 1)
    logs = np.array([math.lgamma(n + 1) + math.lgamma(total - n + 1) for n in numbers.tolist()])
    logs = math.lgamma(total + 1) - logs + numbers * math.log(share) + (total - numbers) * math.log1p(-share)
    return -float(logs.max() + np.log(np.exp(logs - logs.max()).sum()))
