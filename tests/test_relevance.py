"""`--relevant`: what stands out for a query, and nothing where nothing does."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rclip.search import ranking
from tests.support.command import Command
from tests.support.tiers import few
from tests.tiny_clip import scenes


def cutoff(scores: np.ndarray, background: np.ndarray) -> float:
    """Of scores in any order, judged by all the scores of a library."""
    measured = ranking.Bell(*np.quantile(background, ranking.BELL_QUANTILES))
    return ranking.relevance_cutoff(-np.sort(-scores), measured, len(scores))


def bell(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.2, 0.02, count).astype(np.float32)


@pytest.mark.parametrize("count", [100, 10_000, 1_000_000])
def test_in_a_bell_of_scores_hardly_any_stands_out(count: int) -> None:
    found = [np.count_nonzero(bell(count, seed) >= cutoff(bell(count, seed), bell(count, seed)))
             for seed in range(10)]  # fmt: skip
    assert sum(found) <= 3


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
    assert done.err == "rclip: no photo here stands out for this query\n"


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
