"""Photos to index: the gallery's pictures, and as many others as a test needs."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tiny_clip import scenes

GALLERY = [(color, shape) for color in ("red", "blue", "yellow", "green") for shape in ("circle", "square", "star")]


def draw_scene(path: Path, what: str, rng: random.Random, **save: Any) -> None:
    """One "red circle" on a plain white ground, or a black one where the shape itself is white."""
    color, shape = what.split()
    ground = "black" if color == "white" else "white"
    scene = scenes.random_scene(rng, color=color, shape=shape, count=1, ground="plain", ground_color=ground)
    scenes.draw(scene, (160, 120), rng).save(path, **save)


Draw = Callable[..., Path]


def many_photos(draw: Draw, count: int) -> None:
    for number in range(count):
        draw(f"{number:04}.png")
