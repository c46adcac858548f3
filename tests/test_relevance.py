"""`--relevant`: what stands out for a query, and nothing where nothing does."""

import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import clip
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rclip.search import ranking
from tests.support.command import Command
from tests.support.tiers import few
from tests.tiny_clip import scenes


def no_copies(first: int) -> np.ndarray:
    return np.zeros(first, bool)


def cutoff(scores: np.ndarray, background: np.ndarray, is_copy: Callable[[int], np.ndarray] = no_copies) -> float:
    """Of scores in any order, judged by all the scores of a library."""
    bell = ranking.Bell.of(np.quantile(background, ranking.BELL_QUANTILES).tolist(), len(background))
    return ranking.relevance_cutoff(-np.sort(-scores), bell, len(scores), is_copy)


def bell(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.2, 0.02, count).astype(np.float32)


def leaning(count: int, seed: int) -> np.ndarray:
    """A bell with a longer tail on its right, of skewness 0.3: a gamma distribution."""
    return (0.2 + 0.02 * (np.random.default_rng(seed).gamma(44, 1, count) - 44) / math.sqrt(44)).astype(np.float32)


def with_matches(count: int, seed: int) -> np.ndarray:
    """As a real CLIP's: a bell of width 0.03, and 0.1 to 5 % of the photos 0.05 to 0.12 above it."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.2, 0.03, count)
    matching = max(1, round(count * math.exp(rng.uniform(math.log(0.001), math.log(0.05)))))
    scores[:matching] += rng.uniform(0.05, 0.12)
    return scores.astype(np.float32)


def answered(make: Callable[[int, int], np.ndarray], count: int, times: int) -> float:
    """The share of so many queries of which something stands out."""
    return sum(cutoff(scores, scores) < np.inf for scores in (make(count, seed) for seed in range(times))) / times


@pytest.mark.parametrize("count", [60, 600, *few([5000, 100_000], 1)])
def test_one_query_in_twenty_is_answered_by_chance(count: int) -> None:
    assert answered(bell, count, 200) <= 0.09  # 18 of 200: one in a hundred such tests would have so many


@pytest.mark.parametrize("count", few([5000, 50_000]))
def test_a_bell_that_leans_is_one_all_the_same(count: int) -> None:
    """By a bell that does not lean, seven in ten queries would be answered."""
    assert answered(leaning, count, 100) <= 0.15


@pytest.mark.parametrize(("count", "least"), [(60, 0.28), (600, 0.34), (5000, 0.6), (50_000, 0.8)])
def test_matches_stand_out(count: int, least: float) -> None:
    """Knowing the bell exactly, the best test answers about 0.5, 0.6, 0.8 and 0.9 of such queries."""
    assert answered(with_matches, count, 100) >= least


def test_in_a_bell_hardly_any_photo_stands_out() -> None:
    found = [np.count_nonzero(bell(10_000, seed) >= cutoff(bell(10_000, seed), bell(10_000, seed)))
             for seed in range(10)]  # fmt: skip
    assert sum(found) <= 3


def with_group(size: int) -> np.ndarray:
    """A group within the bell's reach, after a valley; nothing in it is farther out than chance would have it."""
    scores = bell(5000)
    scores[scores > 0.24] = 0.2
    scores[:size] = np.random.default_rng(1).normal(0.25, 0.001, size)
    return scores


def test_a_group_above_a_valley_stands_out() -> None:
    scores = with_group(40)
    assert 0.24 < cutoff(scores, scores) < scores[:40].mean()


def test_a_burst_is_one_photo() -> None:
    scores = with_group(40)
    assert cutoff(scores, scores, lambda first: np.arange(first) % 40 > 0) == np.inf


@pytest.mark.parametrize("count", [0, 1, 23])
def test_a_few_photos_tell_nothing(count: int) -> None:
    scores = np.linspace(0.1, 0.2, count, dtype=np.float32)
    assert cutoff(np.array([0.9], np.float32), scores if count else np.array([0.5])) == np.inf


@pytest.mark.parametrize("relevant", [1, 20, 3000])
def test_what_lies_outside_the_bell_is_kept(relevant: int) -> None:
    scores = np.concatenate([bell(10_000), np.random.default_rng(1).normal(0.33, 0.01, relevant)])
    kept = scores >= cutoff(scores, scores)
    assert kept[10_000:].all()
    assert np.count_nonzero(kept[:10_000]) <= 0.06 * relevant + 1


def test_a_folder_is_judged_by_the_library() -> None:
    """Where everything in a folder is relevant, nothing would stand out in it."""
    background, folder = bell(10_000), np.array([0.32, 0.33, 0.34])
    assert cutoff(folder, folder) == np.inf
    assert cutoff(folder, background) == 0.32
    assert cutoff(np.array([0.21, 0.18]), background) == np.inf


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_scores_are_judged(scores: list[float]) -> None:
    found = np.array(scores, np.float32)
    lowest = cutoff(found, found)
    assert lowest == np.inf or lowest in found
    assert lowest > np.median(found)


@pytest.mark.parametrize("scores", [[0.3], [0.3] * 50, [0.3, 0.3001]])
def test_scores_that_are_all_alike_do_not_stand_out(scores: list[float]) -> None:
    assert cutoff(np.array(scores), np.array(scores)) == np.inf


@pytest.mark.slow
def test_queries_of_the_tiny_clip_with_matches_are_answered_and_others_are_not(tiny_checkpoint: Path) -> None:
    """Of 2,000 drawn pictures; those of a query's colour or shape alone are there in both cases."""
    model, preprocess = clip.load(str(tiny_checkpoint), device="cpu")
    rng = random.Random(5)
    drawn = [scenes.random_scene(rng) for _ in range(2000)]
    kinds = [(color, shape) for color in scenes.COLORS for shape in scenes.SHAPES]
    texts = clip.tokenize([scenes.words(scenes.Claim(*kind, None, None, None)) for kind in kinds])
    with torch.inference_mode():
        pictures = model.encode_image(torch.stack([preprocess(scenes.draw(s, (96, 72), rng)) for s in drawn]))
        scores = (
            torch.nn.functional.normalize(pictures.float(), dim=-1)
            @ torch.nn.functional.normalize(model.encode_text(texts).float(), dim=-1).T
        )
    answered, by_chance = 0, 0
    for kind, of_kind in zip(kinds, scores.numpy().T, strict=True):
        matches = np.array([(scene.color, scene.shape) == kind for scene in drawn])
        answered += cutoff(of_kind, of_kind) < np.inf
        by_chance += cutoff(of_kind[~matches], of_kind[~matches]) < np.inf
    assert answered >= 0.6 * len(kinds)
    assert by_chance <= 0.05 * len(kinds)


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def album(
    tmp_path_factory: pytest.TempPathFactory, prepared_data: Path, tiny_checkpoint: Path
) -> tuple[Command, dict[str, int]]:
    """Eighty pictures of black and white circles and squares, six of pink hearts, and four of green triangles."""
    home = tmp_path_factory.mktemp("relevance")
    photos = home / "photos"
    rng = random.Random(7)
    kinds = {"heart": ("pink", 6), "triangle": ("green", 4)}
    for number in range(80):
        color, shape = ("black", "white")[number % 2], ("circle", "square")[number // 2 % 2]
        ground = rng.choice([name for name in ("black", "white", "brown") if name != color])
        draw_into(photos / "others" / f"{number}.png", color, shape, ground, rng)
    for shape, (color, count) in kinds.items():
        for number in range(count):
            draw_into(photos / f"{shape}s" / f"{number}.png", color, shape, "white", rng)
    shutil.copytree(prepared_data, home / "data")
    command = Command(home, home / "data", tiny_checkpoint, photos)
    assert command("--index").code == 0
    return command, {shape: count for shape, (_, count) in kinds.items()}


def draw_into(path: Path, color: str, shape: str, ground: str, rng: random.Random) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scene = scenes.random_scene(rng, color=color, shape=shape, count=1, ground="plain", ground_color=ground)
    scenes.draw(scene, (160, 120), rng).save(path)


@pytest.mark.parametrize(("query", "folder"), few([("a pink heart", "heart"), ("a green triangle", "triangle")]))
def test_for_what_is_there_about_that_is_found(album: tuple[Command, dict[str, int]], query: str, folder: str) -> None:
    rclip, counts = album
    done = rclip("-n", "--relevant", query)
    right = [line for line in done.lines if line.startswith(f"{folder}s/")]
    assert len(right) >= counts[folder] - 1
    assert len(done.lines) <= counts[folder] + 1


@pytest.mark.parametrize("query", ["a yellow moon", "a blue star", "an orange cross", "a purple ring"])
def test_for_what_is_nowhere_nothing_is_found(album: tuple[Command, dict[str, int]], query: str) -> None:
    done = album[0]("-n", "--relevant", query)
    assert (done.code, done.out) == (1, "")
    assert done.err == "rclip: no clear match: no photo here stands out for this query\n"


def test_a_folder_is_judged_by_the_whole_index(album: tuple[Command, dict[str, int]]) -> None:
    """In the folder of hearts alone no heart would stand out."""
    rclip, counts = album
    assert len(rclip("-n", "--relevant", "a pink heart", "hearts").lines) >= counts["heart"] - 1
    assert rclip("-n", "--relevant", "a pink heart", "others").code == 1


def test_top_still_limits(album: tuple[Command, dict[str, int]]) -> None:
    assert len(album[0]("-n", "--relevant", "-t", "2", "a pink heart").lines) == 2


def test_relevance_needs_a_query(album: tuple[Command, dict[str, int]]) -> None:
    done = album[0]("-n", "--relevant")
    assert done.code == 2
    assert done.err.startswith("rclip: filters by score and relevance need a query: ")
