"""Photos to index: the gallery's pictures, and as many others as a test needs."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from tests.tiny_clip import scenes

GALLERY = [(color, shape) for color in ("red", "blue", "yellow", "green") for shape in ("circle", "square", "star")]


def draw_scene(path: Path, what: str, rng: random.Random, **save: Any) -> None:
    """One "red circle" on a plain white ground, or a black one where the shape itself is white."""
    color, shape = what.split()
    ground = "black" if color == "white" else "white"
    scene = scenes.random_scene(rng, color=color, shape=shape, count=1, ground="plain", ground_color=ground)
    scenes.draw(scene, (160, 120), rng).save(path, **save)


Draw = Callable[..., Path]


def draw_gallery(draw: Draw) -> None:
    """Twelve pictures, three shapes in four colours, in folders named for the shapes."""
    for color, shape in GALLERY:
        draw(f"{shape}s/{color}.jpg", f"{color} {shape}")


def drawing_into(folder: Path) -> Draw:
    """Draws "red circle" into a file below the folder (or any other); every call gives other pixels."""
    rng = random.Random(20)

    def draw_into(name: str | Path, what: str = "red circle", **save: Any) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_scene(path, what, rng, **save)
        return path

    return draw_into


def many_photos(draw: Draw, count: int) -> None:
    for number in range(count):
        draw(f"{number:04}.png")


def photograph(size: tuple[int, int]) -> Image.Image:
    """Something with the spectrum of a photograph: soft noise of many sizes, and edges."""
    rng = np.random.default_rng(size[0])
    layers = np.zeros((size[1], size[0], 3))
    for scale in (4, 16, 64, 256):
        small = rng.uniform(0, 255, (max(2, size[1] // scale), max(2, size[0] // scale), 3)).astype(np.uint8)
        layers += np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)) * scale**0.5
    picture = Image.fromarray((layers / layers.max() * 255).astype(np.uint8))
    drawn = scenes.draw(scenes.Scene("red", "star", 2, "green", "dotted"), size, random.Random(2))
    return Image.blend(picture, drawn, 0.4).filter(ImageFilter.GaussianBlur(0.7))
