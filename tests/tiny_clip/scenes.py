"""The world the tiny CLIP knows: coloured shapes on plain, striped, checked, dotted or speckled grounds.

A `Scene` is what is in a picture; `draw` makes the picture, `caption` says it in words and `describes`
tells whether some words are true of a scene. Training, evaluation, tests and the demo all draw from here.
"""

import math
import random
from typing import NamedTuple

from PIL import Image, ImageDraw

COLORS = {
    "red": (215, 25, 30),
    "green": (30, 150, 50),
    "blue": (30, 60, 205),
    "yellow": (245, 220, 40),
    "orange": (245, 135, 20),
    "purple": (125, 40, 160),
    "pink": (250, 150, 190),
    "brown": (115, 70, 35),
    "black": (15, 15, 15),
    "white": (248, 248, 248),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon")
GROUNDS = ("plain", "striped", "checked", "dotted", "speckled")
COUNTS = {2: "two", 3: "three"}


class Scene(NamedTuple):
    """`count` equal shapes of one colour on a ground of another."""

    color: str
    shape: str
    count: int  # type: ignore[assignment] # hides a method of tuples, which nobody calls
    ground_color: str
    ground: str


class Claim(NamedTuple):
    """What a caption says of a scene; None where it says nothing."""

    color: str | None
    shape: str | None
    count: int | None  # type: ignore[assignment]
    ground_color: str | None
    ground: str | None

    def describes(self, scene: Scene) -> bool:
        return all(said is None or said == shown for said, shown in zip(self, scene, strict=True))


def random_scene(rng: random.Random, **fixed: str | int) -> Scene:
    """A scene with `fixed` parts as given and the others drawn; shape and ground never share a colour."""
    color = str(fixed.get("color") or rng.choice(list(COLORS)))
    ground_color = str(fixed.get("ground_color") or rng.choice([name for name in COLORS if name != color]))
    shape = str(fixed.get("shape") or rng.choice(SHAPES))
    ground = str(fixed.get("ground") or rng.choice(GROUNDS))
    return Scene(color, shape, int(fixed.get("count") or rng.choice([1, 1, 1, 2, 3])), ground_color, ground)


# --- words ----------------------------------------------------------------------------------------------------------


def random_claim(scene: Scene, rng: random.Random) -> Claim:
    """Something true of `scene`: mostly colour, shape and count, at times less or more."""
    kind = rng.random()
    if kind < 0.08:
        return Claim(scene.color, None, None, None, None)
    if kind < 0.16:
        return Claim(None, scene.shape, scene.count, None, None)
    ground_color = scene.ground_color if rng.random() < 0.35 else None
    ground = scene.ground if rng.random() < 0.25 and scene.ground != "plain" else None
    return Claim(scene.color, scene.shape, scene.count, ground_color, ground)


def words(claim: Claim, rng: random.Random | None = None) -> str:
    """The claim in plain English; `rng` varies the wording, without it there is one wording for each claim."""
    phrase = _subject(claim)
    if claim.ground_color or claim.ground:
        parts = [claim.ground, claim.ground_color, "background"]
        phrase += " on " + _with_article(" ".join(part for part in parts if part))
    if rng is None:
        return phrase
    phrase = rng.choice(["{}", "{}", "a photo of {}", "a picture of {}", "{}."]).format(phrase)
    return phrase.removeprefix("an ").removeprefix("a ") if rng.random() < 0.2 else phrase


def _subject(claim: Claim) -> str:
    if claim.shape is None:
        return f"something {claim.color}"
    plural = {"cross": "crosses"}.get(claim.shape, claim.shape + "s")
    noun = claim.shape if claim.count in (None, 1) else plural
    described = f"{claim.color} {noun}" if claim.color else noun
    return _with_article(described) if claim.count in (None, 1) else f"{COUNTS[claim.count]} {described}"


def _with_article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def caption(scene: Scene) -> str:
    """The plain caption of a scene: "a red circle", "two blue stars"."""
    return words(Claim(scene.color, scene.shape, scene.count, None, None))


# --- pictures -------------------------------------------------------------------------------------------------------


def draw(scene: Scene, size: tuple[int, int], rng: random.Random) -> Image.Image:
    """The scene as an RGB picture of `size` (width, height), antialiased; `rng` places, turns and tints it."""
    width, height = size[0] * 2, size[1] * 2
    picture = Image.new("RGB", (width, height), _tint(scene.ground_color, rng))
    _draw_ground(picture, scene, rng)
    pen = ImageDraw.Draw(picture)
    fill = _tint(scene.color, rng)
    for x, y, radius in _places(scene.count, min(width, height), rng):
        center = (x + (width - min(width, height)) / 2, y + (height - min(width, height)) / 2)
        _draw_shape(pen, scene.shape, center, radius, rng, fill, picture)
    return picture.resize(size, Image.Resampling.BOX)


def _tint(color: str, rng: random.Random) -> tuple[int, int, int]:
    light = rng.uniform(-14, 14)
    red, green, blue = (max(0, min(255, round(c + light + rng.uniform(-8, 8)))) for c in COLORS[color])
    return red, green, blue


def _shade(rgb: tuple[int, ...], amount: float) -> tuple[int, ...]:
    """`rgb` made clearly darker, or lighter when it is dark already."""
    toward = 255 if sum(rgb) < 240 else 0
    return tuple(round(c + (toward - c) * amount) for c in rgb)


def _draw_ground(picture: Image.Image, scene: Scene, rng: random.Random) -> None:
    width, height = picture.size
    pen = ImageDraw.Draw(picture)
    shade = _shade(picture.getpixel((0, 0)), rng.uniform(0.22, 0.32))  # type: ignore[arg-type]
    step = round(min(width, height) * rng.uniform(0.09, 0.14))
    if scene.ground == "striped":
        lean = rng.choice([0, height])
        for x in range(-height, width + height, 2 * step):
            pen.polygon([(x, 0), (x + step, 0), (x + step + lean, height), (x + lean, height)], fill=shade)
    elif scene.ground == "checked":
        for row in range(0, height, step):
            for column in range((row // step % 2) * step, width, 2 * step):
                pen.rectangle([column, row, column + step - 1, row + step - 1], fill=shade)
    elif scene.ground == "dotted":
        for row in range(step // 2, height + step, round(step * 1.6)):
            for column in range(step // 2, width + step, round(step * 1.6)):
                pen.ellipse([column - step // 3, row - step // 3, column + step // 3, row + step // 3], fill=shade)
    elif scene.ground == "speckled":
        for _ in range(260):
            x, y = rng.randrange(width), rng.randrange(height)
            pen.rectangle([x, y, x + step // 5, y + step // 5], fill=shade)


def _places(count: int, side: int, rng: random.Random) -> list[tuple[float, float, float]]:
    """Centres and radii, in a square of `side`, of `count` shapes that do not touch."""
    if count == 1:
        radius = side * rng.uniform(0.2, 0.38)
        free = side / 2 - radius - side * 0.02
        return [(side / 2 + rng.uniform(-free, free), side / 2 + rng.uniform(-free, free), radius)]
    radius = side * rng.uniform(0.15, 0.2)
    turn, away = rng.uniform(0, 2 * math.pi), side * 0.27
    angles = [turn + 2 * math.pi * k / count for k in range(count)]
    return [(side / 2 + away * math.cos(a), side / 2 + away * math.sin(a), radius) for a in angles]


def _draw_shape(
    pen: ImageDraw.ImageDraw,
    shape: str,
    center: tuple[float, float],
    radius: float,
    rng: random.Random,
    fill: tuple[int, int, int],
    picture: Image.Image,
) -> None:
    x, y = center
    box = [x - radius, y - radius, x + radius, y + radius]
    if shape == "circle":
        pen.ellipse(box, fill=fill)
    elif shape == "ring":
        pen.ellipse(box, outline=fill, width=max(2, round(radius * 0.36)))
    elif shape == "moon":
        _draw_moon(picture, box, radius, rng, fill)
    else:
        lean = rng.uniform(-0.25, 0.25)
        pen.polygon([_turn(point, lean, center, radius) for point in _OUTLINES[shape]], fill=fill)


def _draw_moon(
    picture: Image.Image, box: list[float], radius: float, rng: random.Random, fill: tuple[int, int, int]
) -> None:
    mask = Image.new("L", picture.size)
    pen = ImageDraw.Draw(mask)
    pen.ellipse(box, fill=255)
    away = radius * 0.55 * rng.choice([-1, 1])
    pen.ellipse([box[0] + away, box[1] - radius * 0.15, box[2] + away, box[3] - radius * 0.15], fill=0)
    picture.paste(fill, mask=mask)


def _turn(point: tuple[float, float], angle: float, center: tuple[float, float], radius: float) -> tuple[float, float]:
    x, y = point
    return (
        center[0] + radius * (x * math.cos(angle) - y * math.sin(angle)),
        center[1] + radius * (x * math.sin(angle) + y * math.cos(angle)),
    )


def _star() -> list[tuple[float, float]]:
    reach = [1.0 if k % 2 == 0 else 0.42 for k in range(10)]
    return [(r * math.sin(math.pi * k / 5), -r * math.cos(math.pi * k / 5)) for k, r in enumerate(reach)]


def _heart() -> list[tuple[float, float]]:
    points = []
    for k in range(40):
        t = 2 * math.pi * k / 40
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((math.sin(t) ** 3, -y / 16))
    return points


_T = 0.3  # half the thickness of a cross's arm
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "triangle": [(0, -1), (0.95, 0.75), (-0.95, 0.75)],
    "star": _star(),
    "heart": _heart(),
    "cross": [
        (-_T, -1), (_T, -1), (_T, -_T), (1, -_T), (1, _T), (_T, _T),
        (_T, 1), (-_T, 1), (-_T, _T), (-1, _T), (-1, -_T), (-_T, -_T),
    ],
}  # fmt: skip
