"""Trains the tiny CLIP from nothing and packs what it learnt into `weights.npz`.

    python -m tests.tiny_clip.train [--steps 6000] [--out tests/tiny_clip/weights.npz]

The loss is CLIP's, with one change that a small world asks for: in a batch many captions are true of many pictures,
so a picture is pulled toward all captions that are true of it, not only toward its own.
"""

import argparse
import random
import time
from pathlib import Path

import clip
import numpy as np
import torch
from clip.model import CLIP

from tests.tiny_clip import checkpoint, scenes

BATCH = 256
PICTURES = 80_000


def main() -> None:
    parser = argparse.ArgumentParser(description="train the tiny CLIP")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=checkpoint.WEIGHTS)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(7)
    rng = random.Random(7)
    started = time.monotonic()
    world = [scenes.random_scene(rng) for _ in range(PICTURES)]
    side = checkpoint.IMAGE_RESOLUTION
    pixels = np.stack([np.asarray(scenes.draw(scene, (side, side), rng)) for scene in world])
    print(f"drew {PICTURES} pictures in {time.monotonic() - started:.0f} s", flush=True)

    model = CLIP(**checkpoint.SHAPE)
    tokens_seen = _train(model, world, pixels, options.steps, rng)
    checkpoint.pack(model.state_dict(), tokens_seen, options.out)
    print(f"{options.steps} steps, {time.monotonic() - started:.0f} s in all, {options.out.stat().st_size:,} bytes")


def _train(model: CLIP, world: list[scenes.Scene], pixels: np.ndarray, steps: int, rng: random.Random) -> set[int]:
    """Returns the ids of all tokens that occurred in captions."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.5e-3, total_steps=steps, pct_start=0.08)
    tokens_seen: set[int] = set()
    for step in range(steps):
        rows = rng.sample(range(len(world)), BATCH)
        shown = [world[row] for row in rows]
        claims = [scenes.random_claim(scene, rng) for scene in shown]
        tokens = clip.tokenize([scenes.words(claim, rng) for claim in claims])
        tokens = tokens[:, : int((tokens > 0).sum(dim=1).max())]  # causal: what follows the end token changes nothing
        tokens_seen.update(tokens.unique().tolist())
        true = _truth(shown, claims)
        logits = model(_augment(pixels[rows]), tokens)[0]
        loss = (_loss(logits, true) + _loss(logits.T, true.T)) / 2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        model.logit_scale.data.clamp_(max=4.6)  # e^4.6 = 100, CLIP's own bound
        if step % 200 == 0:
            right = true[torch.arange(BATCH), logits.argmax(dim=1)].float().mean()
            print(f"step {step}: loss {loss.item():.3f}, best caption true {right:.1%}", flush=True)
    return tokens_seen


def _truth(shown: list[scenes.Scene], claims: list[scenes.Claim]) -> torch.Tensor:
    """Which captions are true of which pictures: `Claim.describes` for all pairs at once. -> (B, B) bool"""
    words = {word: number for number, word in enumerate({part for row in (*shown, *claims) for part in row})}
    silent = words.get(None, -1)
    world = torch.tensor([[words[part] for part in scene] for scene in shown])
    said = torch.tensor([[words[part] for part in claim] for claim in claims])
    return ((said == silent) | (said == world[:, None])).all(dim=2)


def _loss(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each row toward its true columns, equally weighted. (B, B), (B, B) bool -> ()"""
    target = true / true.sum(dim=1, keepdim=True)
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()


def _augment(pixels: np.ndarray) -> torch.Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) normalised as `clip.load` does; mirrored and shifted in brightness."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mirrored = torch.rand(len(images)) < 0.5
    images[mirrored] = images[mirrored].flip(3)
    images = (images * (0.92 + 0.16 * torch.rand(len(images), 1, 1, 1))).clamp(0, 1)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    return (images - mean) / std


if __name__ == "__main__":
    main()
