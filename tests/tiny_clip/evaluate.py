"""How often the tiny CLIP, loaded by `clip.load`, ranks the right caption first for pictures it has never seen.

    python -m tests.tiny_clip.evaluate [--pictures 10] [--seed 2026]

Each of the 80 captions "a red circle", "a red square" … has as many pictures drawn for it, on random grounds.
"""

import argparse
import random
import tempfile
from pathlib import Path

import clip
import torch

from tests.tiny_clip import checkpoint, scenes


def accuracy(checkpoint_path: Path, pictures: int, seed: int) -> tuple[float, int]:
    """The share of pictures whose own caption scores highest, and the number of captions to choose from."""
    rng = random.Random(seed)
    model, preprocess = clip.load(str(checkpoint_path), device="cpu")
    subjects = [(color, shape) for color in scenes.COLORS for shape in scenes.SHAPES]
    texts = [scenes.caption(scenes.Scene(color, shape, 1, "white", "plain")) for color, shape in subjects]
    right = 0
    with torch.inference_mode():
        captions = torch.nn.functional.normalize(model.encode_text(clip.tokenize(texts)), dim=-1)
        for number, (color, shape) in enumerate(subjects):
            shown = [scenes.random_scene(rng, color=color, shape=shape, count=1) for _ in range(pictures)]
            images = torch.stack([preprocess(scenes.draw(scene, (320, 240), rng)) for scene in shown])
            cosines = torch.nn.functional.normalize(model.encode_image(images), dim=-1) @ captions.T
            right += int((cosines.argmax(dim=1) == number).sum())
    return right / (len(subjects) * pictures), len(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description="measure the tiny CLIP")
    parser.add_argument("--pictures", type=int, default=10, help="for each caption")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--weights", type=Path, default=checkpoint.WEIGHTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.write(Path(folder, "tiny.pt"), options.weights)
        share, captions = accuracy(path, options.pictures, options.seed)
    print(f"right caption of {captions} first: {share:.1%} of {captions * options.pictures} fresh pictures")


if __name__ == "__main__":
    main()
