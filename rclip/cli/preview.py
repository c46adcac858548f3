"""Results as thumbnails in the terminal, beside one another as far as its columns go, each over its score and path."""

import sys
import textwrap
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from rclip import isolation
from rclip.cli import messages
from rclip.cli.text import dated, dressed, folded, scored, shown_path
from rclip.errors import plain_reason
from rclip.photo import decode_pool
from rclip.photo.decode_pool import DecodePool
from rclip.photo.failures import DecodeError
from rclip.photo.memory import pixels_in
from rclip.terminal import drawing, probe, protocols, text
from rclip.terminal.drawing import Box
from rclip.terminal.environment import PLAIN, Style
from rclip.terminal.probe import Screen

if TYPE_CHECKING:
    from rclip.library import Hit

_ASPECT = 1.5  # of most photos; wider ones are shown less high
_GAP = 2  # columns between two
_CAPTION_LINES = 2


class _Layout:
    """Cells for a thumbnail, and how many of them stand in a row."""

    def __init__(self, screen: Screen, height: int):
        most = protocols.MOST_ROWS_IN_TMUX if screen.passthrough else height
        self.rows = max(1, min(height, most, screen.lines - _CAPTION_LINES - 1))
        width, height_px = screen.cell
        wished = max(12, round(self.rows * height_px * _ASPECT / width))
        room = screen.columns - 1  # after the last column the cursor is not where it seems to be
        self.in_a_row = max(1, (room + _GAP) // (wished + _GAP))
        self.columns = max(1, (room + _GAP) // self.in_a_row - _GAP)

    @property
    def box(self) -> Box:
        return Box(self.columns, self.rows)

    def left(self, number: int) -> bytes:
        """Moves the cursor to where the thumbnail of this number in its row starts."""
        return b"\x1b[%dG" % (number * (self.columns + _GAP) + 1)


def write(hits: "Sequence[Hit]", kind: str, height: int, style: Style, max_megapixels: float | None) -> None:
    """`kind` is `auto` or one of `kitty`, `iterm`, `sixel`, `blocks`; `height` is in rows of the terminal.

    A picture that cannot be read has the reason in its place. Raises `UsageError` where nothing can be drawn.
    """
    if not hits:
        return
    max_pixels = pixels_in(max_megapixels) if max_megapixels else decode_pool.default_max_pixels()
    with probe.screen(kind) as screen, closing(DecodePool(0, max_pixels)) as decoders:
        layout = _Layout(screen, height)
        for start in range(0, len(hits), layout.in_a_row):
            _write(b"\n" if start else b"")
            row = hits[start : start + layout.in_a_row]
            _write_pictures(row, screen, layout, decoders)
            _write_captions(row, layout, style)


def _write_pictures(hits: "Sequence[Hit]", screen: Screen, layout: _Layout, decoders: DecodePool) -> None:
    """Each as soon as it is read. Room is made first: what scrolls while it is drawn is drawn in the wrong place."""
    _write(b"\n" * layout.rows + b"\x1b[%dA" % layout.rows)
    try:
        for number, hit in enumerate(hits):
            _write(layout.left(number) + b"\x1b7" + _drawn(hit, screen, layout, decoders) + b"\x1b8")
    except BaseException:
        _write(b"\x1b\\\x1b[m")  # it may have been stopped within a picture, and what follows is text
        raise
    finally:
        _write(b"\x1b[%dB\r" % layout.rows)


def _write_captions(hits: "Sequence[Hit]", layout: _Layout, style: Style) -> None:
    metadata, paths = b"", b""
    for number, hit in enumerate(hits):
        date = f"  {dated(hit, style)}" if layout.columns >= _DATED_COLUMNS else ""
        said = f"{scored(hit, PLAIN)}{dated(hit, PLAIN) if date else ''}{folded(hit, PLAIN)}"
        copies = folded(hit, style) if text.width(said) + 2 <= layout.columns else ""
        metadata += layout.left(number) + f"{scored(hit, style)}{date}{copies}".encode()
        path = shown_path(hit, layout.columns)
        paths += layout.left(number) + dressed(path, hit, style).encode()
    _write(metadata + b"\n" + paths + b"\n")


_DATED_COLUMNS = len("-0.314  2019-02-03")


def _drawn(hit: "Hit", screen: Screen, layout: _Layout, decoders: DecodePool) -> bytes:
    box, step = drawing.pixels_in(layout.box, screen), drawing.step(screen)
    try:
        with open(hit.path, "rb", opener=isolation.open_regular) as file:
            pixels = decoders.thumbnail(file, hit.path.rpartition(".")[2].lower(), box, step, hit.at_ms)
    except (OSError, DecodeError) as error:
        reason = messages.of_failure(plain_reason(error), getattr(error, "kind", 0))
        return _told(f"cannot show it: {text.printable(reason)}", layout)
    return drawing.drawn(pixels, layout.box, screen)


def _told(line: str, layout: _Layout) -> bytes:
    """In lines that fit into a picture's place."""
    lines = textwrap.wrap(line, layout.columns, max_lines=layout.rows, placeholder="…")
    return "".join(f"{line}\x1b[{len(line)}D\x1b[B" for line in lines).encode()


def _write(part: bytes) -> None:
    sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()
