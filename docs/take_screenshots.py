"""Takes the picture of the page in the README, `docs/web.jpg`: the demo's gallery in a real browser.

    .venv/bin/python docs/take_screenshots.py [FILE]

It needs Chromium.
"""

import io
import os
import random
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests import demo  # noqa: E402
from tests.support import browser  # noqa: E402
from tests.tiny_clip import checkpoint, scenes  # noqa: E402

WIDTH, HEIGHT = 1180, 700
SHAPES = ("circle", "star", "heart", "moon", "ring", "triangle", "square", "cross")
COLORS = ("red", "blue", "orange", "green", "purple", "pink", "yellow", "brown")
SIZES = ((480, 320), (480, 360), (320, 480), (480, 270), (400, 400))


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/web.jpg"
    with tempfile.TemporaryDirectory() as scratch:
        screenshot = taken(Path(scratch))
    Image.open(io.BytesIO(screenshot)).convert("RGB").save(target, quality=82, optimize=True, progressive=True)


def taken(scratch: Path) -> bytes:
    """A PNG of the page in light colours, after a query that is refined."""
    gallery, model = scratch / "Pictures", checkpoint.write(scratch / "tiny.pt")
    demo.draw_gallery(gallery)
    (gallery / "misc/new/broken.jpg").unlink()
    draw_more(gallery)
    environment = os.environ | {"RCLIP_DATADIR": str(scratch / "data"), "TZ": "UTC"}
    command = [sys.executable, "-m", "rclip", "--model", str(model), str(gallery)]
    subprocess.run([*command, "--index"], env=environment, check=True, stderr=subprocess.DEVNULL)
    with subprocess.Popen([*command, "--web", "-n", "--no-open"], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        address = process.stdout.readline().decode().strip()
        try:
            with browser.launched() as chromium:
                page = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
                page.goto(address)
                page.fill("#q", "a red circle + 0.5:a heart - blue")
                page.wait_for_selector(".chip")
                page.wait_for_load_state("networkidle")
                page.locator(".card").nth(2).hover()
                page.wait_for_timeout(500)  # what fades in
                return page.screenshot()
        finally:
            process.terminate()


def draw_more(gallery: Path) -> None:
    """Photos of many shapes and years."""
    rng = random.Random(11)
    for number in range(70):
        color, shape = rng.choice(COLORS), rng.choice(SHAPES)
        scene = scenes.random_scene(rng, color=color, shape=shape)
        path = gallery / f"holidays/{2012 + number // 5}/IMG_{4000 + number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        scenes.draw(scene, SIZES[number % len(SIZES)], rng).save(path, quality=92)
        when = datetime(2012 + number // 5, 1 + number % 12, 3).timestamp()
        os.utime(path, (when, when))


if __name__ == "__main__":
    main()
