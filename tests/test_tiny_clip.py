"""The model that the other tests search with is good enough to search with, and small enough to keep."""

from pathlib import Path

from tests.tiny_clip import checkpoint, evaluate


def test_the_right_caption_of_eighty_comes_first(tiny_checkpoint: Path) -> None:
    share, captions = evaluate.accuracy(tiny_checkpoint, pictures=4, seed=11)
    assert captions >= 48
    assert share >= 0.9


def test_the_weights_are_small() -> None:
    assert checkpoint.WEIGHTS.stat().st_size <= 1_500_000
