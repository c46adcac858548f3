"""A picture as the bytes that draw it on a certain terminal, in a box of cells."""

import os
from typing import TYPE_CHECKING, NamedTuple

from rclip.terminal.probe import Screen

if TYPE_CHECKING:
    import numpy as np


class Box(NamedTuple):
    """The place of a picture, in cells."""

    columns: int
    rows: int


_ITERM_SCALE = 2  # its pixels are points; what is shown is as fine as the display


def pixels_in(box: Box, screen: Screen) -> tuple[int, int]:
    """Width and height, in pixels, of the largest picture that the box takes."""
    scale = _ITERM_SCALE if screen.kind == "iterm" else 1
    return box.columns * screen.cell[0] * scale, box.rows * screen.cell[1] * scale


def step(screen: Screen) -> tuple[int, int]:
    """Of so many pixels (width, height) the screen shows one."""
    return (screen.cell[0], max(1, screen.cell[1] // 2)) if screen.kind == "blocks" else (1, 1)


def cells_of(pixels: "np.ndarray", box: Box, screen: Screen) -> Box:
    """The cells that a picture takes of its box. (h, w, 3) uint8"""
    height, width = pixels.shape[:2]
    if screen.kind == "blocks":
        return Box(min(box.columns, width), min(box.rows, -(-height // 2)))
    scale = _ITERM_SCALE if screen.kind == "iterm" else 1
    columns, rows = (-(-side // (cell * scale)) for side, cell in zip((width, height), screen.cell, strict=True))
    return Box(min(box.columns, columns), min(box.rows, rows))


def drawn(pixels: "np.ndarray", box: Box, screen: Screen, image_id: int = 0) -> bytes:
    """What draws it from the upper left cell of its box. (h, w, 3) uint8

    With an `image_id`, of 24 bits, a later picture of that id takes its place on terminals that keep pictures apart
    from text; `erased` takes it away.
    """
    from rclip.terminal import protocols  # with numpy and Pillow, which a first screen does not wait for

    if screen.kind == "blocks":
        return protocols.blocks(pixels, screen.has_true_color)
    if screen.kind == "kitty" and screen.passthrough:
        columns, rows = cells_of(pixels, box, screen)
        return protocols.kitty_in_tmux(pixels, columns, rows, image_id or int.from_bytes(os.urandom(3)) or 1)
    if screen.kind == "kitty":
        return protocols.kitty(pixels, image_id)
    if screen.kind == "iterm":
        is_wide = pixels.shape[1] * box.rows * screen.cell[1] > pixels.shape[0] * box.columns * screen.cell[0]
        sequence = protocols.iterm(pixels, f"width={box.columns}" if is_wide else f"height={box.rows}")
    else:
        sequence = protocols.sixel(pixels, screen.sixel_colors)
    return protocols.in_tmux(sequence) if screen.passthrough else sequence


def erased(screen: Screen, image_id: int) -> bytes:
    """What takes away a picture that text does not overwrite; nothing where it does."""
    if screen.kind != "kitty":
        return b""
    from rclip.terminal import protocols

    sequence = protocols.kitty_deleted(image_id)
    return protocols.in_tmux(sequence) if screen.passthrough else sequence
