"""Draws the picture of the full-screen interface, `docs/interface.png`: the demo's gallery in an xterm with Sixel.

    .venv/bin/python docs/draw_interface.py [FILE]

It needs Xvfb, xterm, xdotool, ImageMagick and the font DejaVu Sans Mono.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests import demo  # noqa: E402
from tests.support import xterm  # noqa: E402
from tests.tiny_clip import checkpoint  # noqa: E402

COLUMNS, LINES = 112, 34
FONT = ("-fa", "DejaVu Sans Mono", "-fs", "9")
QUERY = "a heart + red"
TAKEN_S, WEEKS_APART_S = 1_549_189_229, 7 * 7 * 86_400
COLORS = 200
QUIET_S, PATIENCE_S = 2.0, 60.0


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/interface.png"
    with tempfile.TemporaryDirectory() as scratch:
        picture = Image.fromarray(interface(Path(scratch)))
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(target, optimize=True)


def interface(scratch: Path) -> np.ndarray:
    """(h, w, 3) of the window; the gallery and its index are made in `scratch`."""
    gallery, model = scratch / "Pictures", checkpoint.write(scratch / "tiny.pt")
    demo.draw_gallery(gallery)
    (gallery / "misc/new/broken.jpg").unlink()
    for number, name in enumerate(demo.GALLERY):
        when_s = TAKEN_S + number * WEEKS_APART_S
        os.utime(gallery / name, (when_s, when_s))
    environment = {"RCLIP_DATADIR": str(scratch / "data"), "COLORTERM": "truecolor"}
    rclip = [sys.executable, "-W", "ignore", "-P", "-m", "rclip", "--model", str(model)]
    subprocess.run([*rclip, "--index"], cwd=gallery, env=os.environ | environment, check=True)
    words = ["env", *(f"{name}={value}" for name, value in environment.items()), *rclip, "-n", "-i", QUERY]
    with xterm.showing(f"cd {shlex.quote(str(gallery))} && {shlex.join(words)}", COLUMNS, LINES, FONT) as terminal:
        settled(terminal)
        terminal.key("space", "Right", "space", "Right")
        return settled(terminal)


def settled(terminal: xterm.Xterm) -> np.ndarray:
    """The picture that does not change any more, and is not blank."""
    until, last, since = time.monotonic() + PATIENCE_S, terminal.picture(), time.monotonic()
    while time.monotonic() < until:
        time.sleep(0.2)
        now = terminal.picture()
        if not np.array_equal(now, last):
            last, since = now, time.monotonic()
        elif time.monotonic() - since > QUIET_S and now.std() > 1:
            return now
    raise SystemExit("the interface did not come to rest")


if __name__ == "__main__":
    main()
