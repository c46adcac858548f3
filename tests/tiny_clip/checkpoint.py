"""Packs the trained weights into few bytes and unpacks them into a checkpoint that `clip.load` loads.

    python -m tests.tiny_clip.checkpoint tiny.pt

CLIP's vocabulary has 49,408 tokens; the captions use about a hundred. Only those rows of the token embedding
are kept; in the checkpoint the others are zero.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).with_name("weights.npz")
IMAGE_RESOLUTION = 64
SHAPE = {
    "embed_dim": 64,
    "image_resolution": IMAGE_RESOLUTION,
    "vision_layers": 3,
    "vision_width": 64,
    "vision_patch_size": 8,
    "context_length": 77,
    "vocab_size": 49408,
    "transformer_width": 64,
    "transformer_heads": 1,
    "transformer_layers": 2,
}
_EMBEDDING = "token_embedding.weight"


def pack(state_dict: "dict[str, torch.Tensor]", tokens: Iterable[int], path: Path) -> None:
    """Writes `state_dict` as float16, its token embedding cut to the rows `tokens`."""
    arrays = {name: tensor.detach().numpy().astype(np.float16) for name, tensor in state_dict.items()}
    kept = np.array(sorted(tokens), np.uint16)
    arrays[_EMBEDDING] = arrays[_EMBEDDING][kept]
    np.savez_compressed(path, allow_pickle=False, tokens=kept, **arrays)


def unpack(path: Path = WEIGHTS) -> "dict[str, torch.Tensor]":
    """The whole float32 state dict, as `clip.model.build_model` takes it."""
    import torch

    with np.load(path) as packed:
        arrays = {name: packed[name].astype(np.float32) for name in packed.files if name != "tokens"}
        embedding = np.zeros((SHAPE["vocab_size"], SHAPE["transformer_width"]), np.float32)
        embedding[packed["tokens"]] = arrays[_EMBEDDING]
    arrays[_EMBEDDING] = embedding
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def write(path: Path, weights: Path = WEIGHTS) -> Path:
    """Writes the checkpoint, half precision as OpenAI ships its own, and returns its path."""
    import torch

    torch.save({name: tensor.half() for name, tensor in unpack(weights).items()}, path)
    return path


if __name__ == "__main__":
    write(Path(sys.argv[1]))
