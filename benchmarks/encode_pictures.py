"""Encodes so many made-up pictures in one way, for startup.py: `encode_pictures.py MODEL HOW COUNT`.

numpy   by the numpy tower alone, batches spread over all cores as while indexing
torch   by torch alone, which is imported and given its weights first
both    as rclip does it: by numpy at first, by torch when that is worth it and has started

The model's weights are taken from `RCLIP_DATADIR`, where they must have been prepared.
"""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from rclip import datadir
from rclip.models import Model, model_files


def main(name: str, how: str, count: str) -> None:
    model = Model(name, datadir.default(), print)
    vectors = sum(len(part) for part in {"numpy": by_numpy, "torch": by_torch, "both": by_both}[how](model, int(count)))
    if vectors != int(count):
        raise SystemExit(f"{vectors} of {count} pictures encoded")


def by_numpy(model: Model, count: int) -> Iterator[np.ndarray]:
    return _submitted(model, count, left=lambda remaining: 0)


def by_both(model: Model, count: int) -> Iterator[np.ndarray]:
    return _submitted(model, count, left=lambda remaining: remaining)


def _submitted(model: Model, count: int, left: Callable[[int], int]) -> Iterator[np.ndarray]:
    """The encoder starts torch by how many pictures are said to be left."""
    with model.image_encoder("cpu") as encoder:
        waiting: list[Future[np.ndarray]] = []
        while count:
            batch = min(encoder.batch_size, count)
            count -= batch
            waiting.append(encoder.submit(_pictures(batch, encoder.resolution), left(count)))
            if len(waiting) >= encoder.parallel:
                yield waiting.pop(0).result()
        yield from (future.result() for future in waiting)


def by_torch(model: Model, count: int) -> Iterator[np.ndarray]:
    from rclip.models.torch_encoder import TorchEncoder

    bulk = TorchEncoder(model._open(model_files.IMAGE), model.config, "cpu", None)
    batches = [min(bulk.batch_size, count - start) for start in range(0, count, bulk.batch_size)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(lambda size: bulk.encode_on_one_thread(_pictures(size, model.resolution)), batches)


def _pictures(count: int, side: int) -> np.ndarray:
    """(count, side, side, 3) uint8"""
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), np.uint8)


if __name__ == "__main__":
    main(*sys.argv[1:])
