"""Checkpoints of odd kinds, and how near vectors are."""

import os
import warnings
from pathlib import Path

import numpy as np

from tests.tiny_clip import checkpoint


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The smallest, of rows that need not have length 1."""
    a, b = np.atleast_2d(a).astype(np.float64), np.atleast_2d(b).astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / norms).min())


def save_as_openai_does(path: Path) -> None:
    """A traced archive in half precision, with three numbers among its buffers."""
    import torch
    from clip.model import build_model

    model = build_model(checkpoint.unpack()).float()
    del model.context_length, model.vocab_size
    for name, value in (("input_resolution", 64), ("context_length", 77), ("vocab_size", 49408)):
        model.register_buffer(name, torch.tensor(value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of what it makes constant
        example = (torch.zeros(1, 3, 64, 64), torch.zeros(1, 77, dtype=torch.long))
        traced = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
        traced.half().save(str(path))


class RunsCode:
    """Unpickling it would leave a folder behind."""

    def __init__(self, mark: Path):
        self.mark = str(mark)

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (self.mark,))
