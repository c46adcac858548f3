"""How pictures are written for a terminal: pixels in, bytes out.

Kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol. iTerm2: https://iterm2.com/documentation-images.html. Sixel:
VT330/VT340 Programmer Reference Manual, chapter 14. They are so short that no package was worth having for them:
chafa.py needs the system's glib and has no wheels for the newest Python, term-image an older Pillow than ours, and
textual-image knows no iTerm2.

Each starts in the picture's upper left cell and leaves the cursor where the terminal likes. Pixels are (h, w, 3) uint8.
"""

import base64
import re
import zlib

import numpy as np

from rclip.photo import image

_ST = b"\x1b\\"


# --- Kitty -----------------------------------------------------------------------------------------------------------

_MOST_BASE64_BYTES = 4096  # in a command


def kitty(pixels: np.ndarray, image_id: int = 0) -> bytes:
    """Shown at its own size, silently (`q=2`), without moving the cursor (`C=1`).

    With an id it replaces the picture of that id.
    """
    named = f",i={image_id},p=1" if image_id else ""
    return b"".join(_kitty_commands(f"a=T,C=1{named}", pixels))


def kitty_deleted(image_id: int) -> bytes:
    """Takes the picture off the screen and out of the terminal's memory."""
    return f"\x1b_Ga=d,d=I,i={image_id},q=2".encode() + _ST


def kitty_in_tmux(pixels: np.ndarray, columns: int, rows: int, image_id: int) -> bytes:
    """Sent to the terminal behind tmux, and shown there by text that tmux can move about like any other.

    The terminal puts the picture, as large as so many cells take it, in place of cells with U+10EEEE; their colour is
    the `image_id`, of 24 bits.
    """
    sent = b"".join(map(in_tmux, _kitty_commands(f"a=T,U=1,i={image_id},c={columns},r={rows}", pixels)))
    red, green, blue = image_id.to_bytes(3, "big")
    back = f"\x1b[{columns}D\x1b[B"
    lines = ("\U0010eeee" + chr(_ROW_MARKS[row]) + "\U0010eeee" * (columns - 1) for row in range(rows))
    return sent + f"\x1b[38;2;{red};{green};{blue}m{back.join(lines)}\x1b[m".encode()


MOST_ROWS_IN_TMUX = 30

# The first of the combining marks that number the rows: the protocol's own list, in its order.
_ROW_MARKS = [0x305, 0x30D, 0x30E, 0x310, 0x312, 0x33D, 0x33E, 0x33F, 0x346, 0x34A, 0x34B, 0x34C, 0x350, 0x351, 0x352,
              0x357, 0x35B, *range(0x363, 0x370)]  # fmt: skip


def _kitty_commands(control: str, pixels: np.ndarray) -> list[bytes]:
    height, width = pixels.shape[:2]
    payload = base64.b64encode(zlib.compress(pixels.tobytes()))
    chunks = [payload[start : start + _MOST_BASE64_BYTES] for start in range(0, len(payload), _MOST_BASE64_BYTES)]
    keys = [f"{control},f=24,o=z,s={width},v={height},q=2,", *["q=2,"] * (len(chunks) - 1)]
    more = [1] * (len(chunks) - 1) + [0]
    return [
        f"\x1b_G{first}m={follows};".encode() + chunk + _ST
        for first, follows, chunk in zip(keys, more, chunks, strict=True)
    ]


def in_tmux(sequence: bytes) -> bytes:
    """Has tmux hand the sequence on to the terminal behind it, where its option `allow-passthrough` lets it."""
    return b"\x1bPtmux;" + sequence.replace(b"\x1b", b"\x1b\x1b") + _ST


# --- iTerm2 ----------------------------------------------------------------------------------------------------------


def iterm(pixels: np.ndarray, size: str) -> bytes:
    """A JPEG file, shown as large as `size` says: `width=30` or `height=10`, in cells."""
    file = image.as_jpeg(pixels)
    keys = f"inline=1;size={len(file)};{size};preserveAspectRatio=1;doNotMoveCursor=1"
    return f"\x1b]1337;File={keys}:".encode() + base64.b64encode(file) + b"\a"


# --- Sixel -----------------------------------------------------------------------------------------------------------

_BAND = 6  # rows of pixels in a line of sixels


def sixel(pixels: np.ndarray, colors: int) -> bytes:
    """In so many colours, dithered; rows that fill no band are left out, lest the last reach into another line."""
    pixels = pixels[: max(_BAND, len(pixels) // _BAND * _BAND)]
    dots, palette = image.in_few_colors(pixels, colors)
    height, width = dots.shape
    percent = (palette * np.uint16(100) + 127) // 255
    registers = "".join(f"#{n};2;{r};{g};{b}" for n, (r, g, b) in enumerate(percent))
    bands = (_sixels(dots[top : top + _BAND]) for top in range(0, height, _BAND))
    start = f'\x1bP0;1;0q"1;1;{width};{height}{registers}'  # 1: what is not drawn keeps the background
    return start.encode() + b"-".join(bands) + _ST


def _sixels(band: np.ndarray) -> bytes:
    """One colour over the other: a character for each column, in which of the (up to) six rows it has the colour."""
    width = band.shape[1]
    sixels = np.full((256, width), ord("?"), np.uint8)
    for number, row in enumerate(band):
        sixels[row, np.arange(width)] += 1 << number
    used = np.unique(band)
    lines = (_RUN.sub(_shorter, sixels[color].tobytes().rstrip(b"?")) for color in used)
    return b"$".join(b"#%d%s" % (color, line) for color, line in zip(used, lines, strict=True))


_RUN = re.compile(rb"(.)\1{3,}")


def _shorter(run: re.Match[bytes]) -> bytes:
    return b"!%d%s" % (len(run[0]), run[1])


# --- half-blocks -----------------------------------------------------------------------------------------------------

_CUBE = np.array([0, 95, 135, 175, 215, 255])  # xterm's colours 16 to 231
_GRAYS = np.arange(8, 239, 10)  # and 232 to 255


def blocks(pixels: np.ndarray, has_true_color: bool) -> bytes:
    """Each character is two pixels, one over the other: ▀ in the upper one's colour on the lower one's."""
    colors = _sgr(pixels) if has_true_color else _sgr_of_256(pixels)
    lines = [_line(colors[row], colors[row + 1] if row + 1 < len(colors) else None) for row in range(0, len(colors), 2)]
    return f"\x1b[m\x1b[{pixels.shape[1]}D\x1b[B".join(lines).encode() + b"\x1b[m"


def _line(upper: list[str], lower: list[str] | None) -> str:
    cells = []
    last = ""
    for above, below in zip(upper, lower or [""] * len(upper), strict=True):
        dress = f"\x1b[38;{above};48;{below}m" if below else f"\x1b[38;{above};49m"
        cells.append("▀" if dress == last else dress + "▀")
        last = dress
    return "".join(cells)


def _sgr(pixels: np.ndarray) -> list[list[str]]:
    return [[f"2;{r};{g};{b}" for r, g, b in row] for row in pixels.tolist()]


def _sgr_of_256(pixels: np.ndarray) -> list[list[str]]:
    """The nearest of the cube's colours and the grays, which are those that no user changes."""
    exact = pixels.astype(np.int64)
    steps = np.abs(exact[..., np.newaxis] - _CUBE).argmin(-1)
    gray = np.abs(exact.mean(-1)[..., np.newaxis] - _GRAYS).argmin(-1)
    off_cube = ((_CUBE[steps] - exact) ** 2).sum(-1)
    off_gray = ((_GRAYS[gray][..., np.newaxis] - exact) ** 2).sum(-1)
    numbers = np.where(off_gray < off_cube, 232 + gray, 16 + steps @ np.array([36, 6, 1]))
    return [[f"5;{number}" for number in row] for row in numbers.tolist()]
