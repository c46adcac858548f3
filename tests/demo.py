"""Draws a small gallery, indexes it with the tiny CLIP and asks it a few things: `make demo`, or `make demo-web`.

python -m tests.demo [--web] FOLDER
"""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from tests.tiny_clip import checkpoint, scenes

# Where each picture goes, and what is drawn there.
GALLERY = {
    "holidays/2019/beach/DSC_0001.jpg": "red circle",
    "holidays/2019/beach/DSC_0002.jpg": "blue star",
    "holidays/2019/mountains/panorama.png": "green triangle",
    "holidays/2021/IMG 4711.heic": "yellow moon",
    "holidays/2021/IMG 4712.webp": "orange heart",
    "family/birthday.jpg": "pink heart",
    "family/old/scan 1.tif": "black cross",
    "family/old/scan 2.jxl": "brown square",
    "cats/sleeping.jpg": "purple ring",
    "cats/at night.avif": "white moon",
    "misc/new/a.gif": "red square",
    "misc/new/b.bmp": "blue circle",
    "misc/new/c.jp2": "green star",
}
QUERIES = ["a red circle", "a yellow moon", "something green", "a heart", "a purple ring"]


def draw_gallery(folder: Path) -> None:
    import pillow_heif
    import pillow_jxl  # noqa: F401 - registers itself

    pillow_heif.register_heif_opener()
    rng = random.Random(8)
    for name, what in GALLERY.items():
        color, shape = what.split()
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scene = scenes.random_scene(
            rng, color=color, shape=shape, count=1, ground_color="white" if color != "white" else "blue", ground="plain"
        )
        scenes.draw(scene, (480, 360), rng).save(path)
    (folder / "misc" / "new" / "broken.jpg").write_bytes(b"half a photo")


def main() -> None:
    *options, folder = sys.argv[1:]
    root = Path(folder).resolve()
    shutil.rmtree(root, ignore_errors=True)
    gallery = root / "gallery"
    draw_gallery(gallery)
    model = checkpoint.write(root / "tiny.pt")
    print(f"{len(GALLERY)} pictures drawn in {gallery}\n", flush=True)
    environment = os.environ | {"RCLIP_DATADIR": str(root / "data")}
    program = str(Path(sys.executable).parent / "rclip")
    if options == ["--web"]:
        os.chdir(gallery)
        os.execve(program, [program, "--model", str(model), "--web"], environment)
    for arguments in [
        *([query, "-t", "3"] for query in QUERIES),
        ["./cats/sleeping.jpg", "-n", "-t", "2"],
        ["--stats"],
    ]:
        shown = " ".join(f'"{argument}"' if " " in argument else argument for argument in arguments)
        print(f"$ rclip {shown}", flush=True)
        command = [program, "--model", str(model), *arguments]
        done = subprocess.run(command, cwd=gallery, env=environment, check=False)
        if done.returncode:
            sys.exit(f"rclip ended with status {done.returncode}")
        print(flush=True)
    print(f"The gallery stays in {gallery}, its index in {root / 'data'}. More:\n"
          f'  cd {gallery} && RCLIP_DATADIR={root / "data"} {program} '
          f'--model {model} "a blue star"')  # fmt: skip


if __name__ == "__main__":
    main()
