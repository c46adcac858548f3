"""How often `--relevant` answers, and how often wrongly: on made-up scores, and with a model on drawn galleries.

    .venv/bin/python benchmarks/relevance.py --quick
    .venv/bin/python benchmarks/relevance.py --galleries --plot docs/relevance.svg --json build/relevance.json
    .venv/bin/python benchmarks/relevance.py --bounds --sizes 60 150 600 2000

Made-up scores are like a real CLIP's: a bell of width 0.03 and, in half of the cases, matches that lie 0.05 to 0.12
above it and are 0.1 to 5 % of the library, but one photo at least. Some bells lean to the right, as where photos match
in part, and in some libraries each photo is one of a burst of ten.

answered        there are matches, and something stands out
right           of the photos that stand out then, the share that matches
… , known bell  answered by the same test where it is given the bell's middle and width, which are otherwise estimated
by chance       there are no matches, and something stands out all the same
… , leaning     the same in a bell of skewness 0.3 (`slightly`: of 0.15)

`--bounds` adds what no test can surpass that is wrong for one in twenty queries without matches (Neyman and Pearson):

best, known bell    the likelihood ratio of such matches, averaged over their share and distance, for a normal bell
                    whose middle and width are known
best, unknown bell  the same, integrated over all middles and widths: the best of all tests that treat them alike (Hunt
                    and Stein). rclip's own test also allows for bells that lean

With `--galleries`, pictures of one to three shapes are drawn, and the tests' tiny CLIP is asked for each of the 80
kinds, once with and once without the pictures that match. So pictures that match in part are always there.
"""

import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from chart import PERCENT, Axis, chart
from common import HERE, decimal, keep, machine, parse, parser, print_table, say

from rclip.search import ranking

SIZES = [60, 150, 600, 2_000, 5_000, 50_000, 500_000]
GALLERIES = [60, 150, 600, 2_000, 5_000]
MIDDLE, WIDTH = 0.2, 0.03
BURST = 10

Scores = tuple[np.ndarray, np.ndarray]
"""(N,) float32, and which of the photos match, (N,) bool."""


# --- made-up scores --------------------------------------------------------------------------------------------------


def normal(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.standard_normal(count)


def leaning(skewness: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    shape = 4 / skewness**2  # of a gamma distribution with that skewness

    def draw(rng: np.random.Generator, count: int) -> np.ndarray:
        return (rng.gamma(shape, 1, count) - shape) / math.sqrt(shape)

    return draw


def bursts(rng: np.random.Generator, count: int) -> np.ndarray:
    """The photos of a burst have nine tenths of their variance in common."""
    shared = np.repeat(rng.standard_normal(-(-count // BURST)), BURST)[:count]
    return math.sqrt(0.9) * shared + math.sqrt(0.1) * rng.standard_normal(count)


BELLS = {"": normal, ", leaning slightly": leaning(0.15), ", leaning": leaning(0.3), ", bursts": bursts}


def with_matches(rng: np.random.Generator, count: int) -> Scores:
    scores = MIDDLE + WIDTH * normal(rng, count)
    share = math.exp(rng.uniform(math.log(0.001), math.log(0.05)))
    matches = np.arange(count) < max(1, round(share * count))
    scores[matches] += rng.uniform(0.05, 0.12)
    return scores.astype(np.float32), matches


def cutoff(scores: np.ndarray, burst: int = 1, bell: ranking.Bell | None = None) -> float:
    """As a search finds it, where so many photos after one another are copies."""
    count = len(scores)
    order = np.argsort(-scores, kind="stable")[: max(2048, count // 8)]
    bell = bell or ranking.Bell.of(np.quantile(scores, ranking.BELL_QUANTILES).tolist(), count)

    def is_copy(first: int) -> np.ndarray:
        copies = np.ones(first, bool)
        copies[np.unique(order[:first] // burst, return_index=True)[1]] = False
        return copies

    return ranking.relevance_cutoff(scores[order], bell, count, is_copy)


def measure(count: int, times: int) -> dict[str, float]:
    """Shares of so many queries of a library of so many photos."""
    rng = np.random.default_rng(count)
    known = ranking.Bell(MIDDLE, WIDTH, 0, 1 << 40)
    answered, best = 0, 0
    right: list[float] = []
    for _ in range(times):
        scores, matches = with_matches(rng, count)
        found = scores >= cutoff(scores)
        answered += bool(found.any())
        right += [float(np.mean(matches[found]))] if found.any() else []
        best += cutoff(scores, bell=known) < math.inf
    shares = {
        "answered": answered / times,
        "right": sum(right) / max(1, len(right)),
        "answered, known bell": best / times,
    }
    for name, draw in BELLS.items():
        burst = BURST if draw is bursts else 1
        drawn = ((MIDDLE + WIDTH * draw(rng, count)).astype(np.float32) for _ in range(times))
        shares[f"by chance{name}"] = sum(cutoff(scores, burst) < math.inf for scores in drawn) / times
    return shares


# --- what is possible ------------------------------------------------------------------------------------------------

_DISTANCES = np.linspace(0.05 / WIDTH, 0.12 / WIDTH, 8)
_SHARES = np.exp(np.linspace(math.log(0.001), math.log(0.05), 8))
_STEPS = 15
_FALSE = 0.05


def log_ratio(z: np.ndarray) -> float:
    """Of how likely these scores (N,) are with matches among them and without, in a standard normal bell."""
    shares = np.maximum(1, np.round(_SHARES * len(z)))[:, None] / len(z)
    each = [np.log1p(shares * np.expm1(away * z - away**2 / 2)).sum(axis=1) for away in _DISTANCES]
    return float(np.logaddexp.reduce(np.concatenate(each))) - math.log(len(_DISTANCES) * len(_SHARES))


def log_ratio_of_any_bell(scores: np.ndarray) -> float:
    """The same, each integrated over the bell's middle and the logarithm of its width."""
    middle, width, error = scores.mean(), scores.std(), 1 / math.sqrt(len(scores))
    middles = middle + width * np.linspace(-6 * error - 0.05, 4 * error, _STEPS)
    widths = width * np.exp(np.linspace(-2.2 * error - 0.25, 2.5 * error, _STEPS))
    without, with_some = [], []
    for of_bell in middles:
        for width in widths:
            z = (scores - of_bell) / width
            without.append(-float(z @ z) / 2 - len(z) * math.log(width))
            with_some.append(without[-1] + log_ratio(z))
    return float(np.logaddexp.reduce(with_some) - np.logaddexp.reduce(without))


def bounds(count: int, times: int) -> dict[str, float]:
    """Shares of so many queries with matches that the best tests answer."""
    rng = np.random.default_rng(count)
    without = [normal(rng, count) for _ in range(times)]
    with_some = [(with_matches(rng, count)[0].astype(np.float64) - MIDDLE) / WIDTH for _ in range(times)]
    shares = {}
    for name, ratio in (("best, known bell", log_ratio), ("best, unknown bell", log_ratio_of_any_bell)):
        least = np.quantile([ratio(scores) for scores in without], 1 - _FALSE)
        shares[name] = float(np.mean([ratio(scores) > least for scores in with_some]))
    return shares


# --- drawn galleries -------------------------------------------------------------------------------------------------


class Gallery:
    """Drawn pictures as the tiny CLIP sees them."""

    def __init__(self, scratch: Path, count: int):
        sys.path.append(str(HERE.parent))
        from rclip import Library
        from tests.tiny_clip import checkpoint, scenes

        scratch.mkdir(parents=True, exist_ok=True)
        rng = random.Random(1)
        say(f"drawing {count:,} pictures")
        drawn = [scenes.random_scene(rng) for _ in range(count)]
        self.kinds = [(color, shape) for color in scenes.COLORS for shape in scenes.SHAPES]
        texts = [scenes.words(scenes.Claim(*kind, None, None, None)) for kind in self.kinds]
        self._of = np.array([self.kinds.index((scene.color, scene.shape)) for scene in drawn])
        model = checkpoint.write(scratch / "tiny.pt")
        with Library(scratch, model=model, data_dir=scratch / "tiny") as library:
            pictures = library.encode_image(scenes.draw(scene, (128, 96), rng) for scene in drawn)
            self._scores = pictures @ library.encode_text(texts).T
        self._vectors = pictures

    def measure(self, count: int, times: int) -> dict[str, float]:
        """Shares of the queries that are answered, in so many galleries of so many pictures."""
        rng = np.random.default_rng(count)
        with_some, without = [], []
        for _ in range(times):
            chosen = rng.choice(len(self._of), count, replace=False)
            for kind in range(len(self.kinds)):
                matches = self._of[chosen] == kind
                with_some += [self._is_answered(kind, chosen)] if matches.any() else []
                without.append(self._is_answered(kind, chosen[~matches]))
        return {"answered": float(np.mean(with_some)), "by chance": float(np.mean(without))}

    def _is_answered(self, kind: int, chosen: np.ndarray) -> bool:
        scores = self._scores[chosen, kind]
        order = np.argsort(-scores, kind="stable")
        bell = ranking.Bell.of(np.quantile(scores, ranking.BELL_QUANTILES).tolist(), len(scores))

        def is_copy(first: int) -> np.ndarray:
            vectors = self._vectors[chosen[order[:first]]]
            copies: np.ndarray = np.any(np.tril(vectors @ vectors.T, -1) >= ranking.COPY_COSINE, axis=1)
            return copies

        return ranking.relevance_cutoff(scores[order], bell, len(scores), is_copy) < math.inf


# --- the command -----------------------------------------------------------------------------------------------------


def table(results: dict[int, dict[str, float]]) -> None:
    names = list(next(iter(results.values())))
    lines = [
        [f"{count:,}", *(f"{decimal(100 * of_one[name], 0)} %" for name in names)] for count, of_one in results.items()
    ]
    print_table([["photos", *names], *lines])


def main() -> None:
    made = parser(__doc__, runs=400)
    made.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="photos in the libraries")
    made.add_argument("--galleries", action="store_true", help="draw galleries for the tiny CLIP, too")
    made.add_argument("--bounds", action="store_true", help="also the best that is possible, which takes minutes")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw the shares there, as an SVG")
    options = parse(made, {"runs": 20, "sizes": [60, 600]})
    results = {}
    for count in options.sizes:
        say(f"{count:,} photos, {options.runs} queries of each kind")
        results[count] = measure(count, options.runs if count <= 10_000 else max(1, options.runs // 4))
        if options.bounds:
            results[count] |= bounds(count, max(20, min(options.runs, 60_000 // count)))
    table(results)
    content: dict[str, Any] = {"machine": machine(), "scores": results}
    if options.galleries:
        gallery = Gallery(options.scratch / "relevance", 300 if options.quick else 10_000)
        sizes = [60, 150] if options.quick else GALLERIES
        content["galleries"] = {count: gallery.measure(count, max(1, 2_000 // count)) for count in sizes}
        print()
        table(content["galleries"])
    keep(options.json, content)
    if options.plot:
        drawn = ("answered, known bell", "answered", "by chance")
        series = {name: [(count, 100 * of_one[name]) for count, of_one in results.items()] for name in drawn}
        axes = Axis.powers("photos in the library", options.sizes), Axis("% of queries", 0, 100, PERCENT)
        options.plot.write_text(chart(series, *axes))


if __name__ == "__main__":
    main()
