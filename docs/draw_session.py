"""Draws the picture in the README, `docs/session.svg`: two searches of the demo's gallery, as a terminal shows them.

    .venv/bin/python docs/draw_session.py [FILE]

The scores and paths are those that the real command prints with the tests' tiny CLIP. The thumbnails are drawn as
coloured runs of pixels, because some sites block pictures inside an SVG.
"""

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests import demo  # noqa: E402
from tests.tiny_clip import checkpoint  # noqa: E402

TABLE_QUERY, PREVIEW_QUERY = "a red circle", "a heart"
TAKEN_S = 1_549_189_229  # 2019-02-03, the time given to the first photo; the others follow, some weeks apart
WEEKS_APART_S = 7 * 7 * 86_400

COLUMN_PX, LINE_PX, MARGIN_PX = 9, 20, 20
WIDTH_PX = 2 * MARGIN_PX + 72 * COLUMN_PX
THUMBNAIL = (120, 80)
THUMBNAIL_COLUMNS = 24
THUMBNAIL_LINES = 7
COLORS = 6
INK, GREEN, CYAN, GROUND = "#d8dee9", "#a3be8c", "#88c0d0", "#2e3440"


class Found(NamedTuple):
    """One result, as the command prints it."""

    score: str
    path: str
    date: str


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/session.svg"
    with tempfile.TemporaryDirectory() as scratch:
        target.write_text(session(Path(scratch)), encoding="utf-8")


def session(scratch: Path) -> str:
    """The whole picture; the gallery and its index are made in `scratch`."""
    gallery, model = scratch / "Pictures", checkpoint.write(scratch / "tiny.pt")
    demo.draw_gallery(gallery)
    (gallery / "misc/new/broken.jpg").unlink()
    for number, name in enumerate(demo.GALLERY):
        taken_s = TAKEN_S + number * WEEKS_APART_S
        os.utime(gallery / name, (taken_s, taken_s))
    table = search(TABLE_QUERY, gallery, model, scratch)
    preview = search(PREVIEW_QUERY, gallery, model, scratch)
    return svg(gallery, table, preview)


def search(query: str, gallery: Path, model: Path, scratch: Path) -> list[Found]:
    """The three best photos. Raises `CalledProcessError` when the command fails."""
    form = r"{score:.3f}\t{path}\t{captured:%Y-%m-%d}"
    command = [sys.executable, "-m", "rclip", "--model", str(model), "-t", "3", "--format", form, query]
    environment = os.environ | {"RCLIP_DATADIR": str(scratch / "data"), "TZ": "UTC"}
    done = subprocess.run(command, cwd=gallery, env=environment, capture_output=True, text=True, check=True)
    return [Found(*line.split("\t")) for line in done.stdout.splitlines()]


# --- the drawing -----------------------------------------------------------------------------------------------------


def svg(gallery: Path, table: list[Found], preview: list[Found]) -> str:
    """Both commands with their output, one below the other."""
    lines = 5 + len(table) + THUMBNAIL_LINES
    height_px = 2 * MARGIN_PX + lines * LINE_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height_px}" '
        f'font-family="monospace" font-size="15">',
        f'<rect width="{WIDTH_PX}" height="{height_px}" rx="8" fill="{GROUND}"/>',
        text(0, 0, f'$ rclip -t 3 "{TABLE_QUERY}"'),
        *table_lines(table),
        text(0, len(table) + 2, f'$ rclip -t 3 --preview "{PREVIEW_QUERY}"'),
    ]
    for number, found in enumerate(preview):
        parts += thumbnail(gallery / found.path, number * THUMBNAIL_COLUMNS, len(table) + 3)
        parts += caption(found, number * THUMBNAIL_COLUMNS, len(table) + 3 + THUMBNAIL_LINES)
    return "\n".join([*parts, "</svg>"]) + "\n"


def table_lines(table: list[Found]) -> Iterator[str]:
    columns = max(len(found.path) for found in table)
    for number, found in enumerate(table, 1):
        yield text(1, number, found.score, GREEN)
        yield text(8, number, found.path)
        yield text(10 + columns, number, found.date, CYAN)


def caption(found: Found, column: int, line: int) -> Iterator[str]:
    """Below a thumbnail: the score and the date, then the path, its middle cut out where it is too long."""
    yield text(column, line, found.score, GREEN)
    yield text(column + 7, line, found.date, CYAN)
    room = THUMBNAIL_COLUMNS - 2
    head = (room - 1) // 3
    is_long = len(found.path) > room
    yield text(column, line + 1, f"{found.path[:head]}…{found.path[head + 1 - room :]}" if is_long else found.path)


def text(column: int, line: int, content: str, color: str = INK) -> str:
    """`textLength` keeps the columns apart, whatever font a viewer takes."""
    x, y = MARGIN_PX + column * COLUMN_PX, MARGIN_PX + (line + 0.75) * LINE_PX
    length = len(content) * COLUMN_PX
    return f'<text x="{x}" y="{y:g}" textLength="{length}" xml:space="preserve" fill="{color}">{escape(content)}</text>'


def thumbnail(path: Path, column: int, line: int) -> Iterator[str]:
    """The photo as one path for each of its few colours."""
    width_px = (THUMBNAIL_COLUMNS - 2) * COLUMN_PX
    x, y, scale = MARGIN_PX + column * COLUMN_PX, MARGIN_PX + (line + 0.25) * LINE_PX, width_px / THUMBNAIL[0]
    yield f'<g transform="translate({x} {y:g}) scale({scale:g})" shape-rendering="crispEdges">'
    for color, runs in runs_by_color(path).items():
        yield f'<path fill="{color}" d="{"".join(runs)}"/>'
    yield "</g>"


def runs_by_color(path: Path) -> dict[str, list[str]]:
    """`#rrggbb` to the runs of pixels that have it, each as a rectangle of an SVG path."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize(THUMBNAIL).quantize(COLORS, dither=Image.Dither.NONE).convert("RGB")
    runs = defaultdict(list)
    for y in range(small.height):
        x = 0
        for (red, green, blue), pixels in groupby(small.getpixel((x, y)) for x in range(small.width)):
            length = len(list(pixels))
            runs[f"#{red:02x}{green:02x}{blue:02x}"].append(f"M{x} {y}h{length}v1h-{length}z")
            x += length
    return runs


if __name__ == "__main__":
    main()
