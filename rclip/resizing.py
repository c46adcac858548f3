"""How a picture becomes the square that a model looks at. Models say it, decoders do it."""

from typing import NamedTuple

MODES = ("crop", "squash")
INTERPOLATIONS = ("bicubic", "bilinear")


class Resizing(NamedTuple):
    """CLIP's own way by default; other families have others."""

    mode: str = "crop"
    """"crop": the shorter side is scaled to the model's, and the middle square is taken; "squash": both sides are
    scaled to the model's, whatever that does to the proportions."""
    interpolation: str = "bicubic"
    """Or "bilinear"; antialiased, as Pillow has it."""


CLIP_RESIZING = Resizing()
