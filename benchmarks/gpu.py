"""What limits indexing on a GPU: the model, reading and decoding, or the way between them. And whether it is right.

    .venv/bin/python benchmarks/gpu.py --quick
    .venv/bin/python benchmarks/gpu.py --device cuda --photos 12000 --large-photos 1500

tower       pictures a second of the image tower alone, by batch size: pixels go to the device and vectors come back
reading     files a second of a whole run whose model answers at once: listing, reading, decoding and storing
whole       files a second of `rclip --index` from an empty index, and without its start ("steady": see `indexing.py`)
parity      the smallest cosine between vectors of the device, in its precision, and of numpy's tower in float32
halving     a batch that does not fit the memory that this process may take: the sizes that were tried

"own ms" and "decoders' ms" are processor time a file, of rclip's own process and of those that decode for it: the first
is spent under Python's one lock, so files a second cannot be more than 1000 by it, however many cores there are.
"""

import argparse
import resource
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import numpy as np
from common import (
    Ours,
    decimal,
    draw_photos,
    emptied,
    in_own_process,
    keep,
    parse,
    parser,
    prepared,
    print_head,
    print_table,
    say,
)
from indexing import SIZES, make_photos, measure

QUICK = {"device": "cpu", "photos": 24, "large_photos": 2, "batches": [1, 16], "seconds": 0.2, "runs": 1}
PARTS = ["tower", "parity", "halving", "reading", "whole"]
BATCHES = [1, 16, 64, 256, 1024]
_PARITY_PICTURES = 64


class Instant:
    """An `ImageEncoder` that answers at once, with batches as on a GPU: what remains is the rest of indexing."""

    resolution, batch_size, parallel = 224, 256, 2

    def __init__(self, model: Any):
        self.resizing = model.config.image.resizing
        self._vectors = np.random.default_rng(0).standard_normal((self.batch_size, model.config.dimensions), np.float32)
        self._vectors /= np.linalg.norm(self._vectors, axis=1, keepdims=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, pixels: np.ndarray, left: int) -> Future[np.ndarray]:
        done: Future[np.ndarray] = Future()
        done.set_result(self._vectors[: len(pixels)])
        return done


class InstantModel:
    """As much of a `Model` as indexing asks for."""

    def __init__(self, model: Any):
        self._model = model

    def image_encoder(self, device: str | None, batch_size: int | None) -> Instant:
        return Instant(self._model)


def read_only(ours_model: str, data_dir: Path, library: Path) -> dict[str, float]:
    """Of a run without a model, in a process of its own."""
    from rclip import Library
    from rclip.indexing.summary import Summary
    from rclip.indexing.update import UpdateOptions, update

    with Library(library, model=ours_model, data_dir=data_dir) as opened:
        store, model = opened._parts[0][0].store, InstantModel(opened._model)
        summary = Summary()
        before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        started = time.perf_counter()
        update(store, model, f"{library}/".encode(), UpdateOptions(), summary, None)  # type: ignore[arg-type]
        seconds = time.perf_counter() - started
        after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own, decoders = (
        (end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime) / summary.added
        for begin, end in zip(before, after, strict=True)
    )
    return {"files/s": summary.added / seconds, "own ms": 1000 * own, "decoders' ms": 1000 * decoders}


def reading(ours: Ours, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for size, count in (("640x480", options.photos), ("12 MP", options.large_photos)):
        folder = emptied(options.scratch / "gpu")
        say(f"reading {count:,} photos, {size}")
        make_photos(folder / "photos", *SIZES[size], count)
        ours.new_data_dir(folder / "data")
        yield {"size": size, **in_own_process(read_only, ours.model, folder / "data", folder / "photos")}
        shutil.rmtree(folder)


def tower(model_name: str, data_dir: Path, device: str, batches: Sequence[int], least_s: float) -> list[dict[str, Any]]:
    import torch

    encoder = _torch_encoder(model_name, data_dir, device)
    results = []
    for batch in batches:
        encoder.batch_size = batch
        pixels = _noise(batch, encoder.side)
        encoder(pixels)
        done, started = 0, time.perf_counter()
        while (seconds := time.perf_counter() - started) < least_s:
            encoder(pixels)
            done += batch
        memory = torch.cuda.max_memory_allocated() if encoder.device.type == "cuda" else 0
        results.append({"batch": batch, "pictures/s": done / seconds, "GPU MB": memory / 1e6})
        say(f"tower, batches of {batch}: {done / seconds:,.0f} pictures/s")
    return results


def _torch_encoder(model_name: str, data_dir: Path, device: str) -> Any:
    from rclip.models import Model, model_files
    from rclip.models.torch_encoder import TorchEncoder

    model = Model(model_name, str(data_dir), say)
    encoder = TorchEncoder(model._open(model_files.IMAGE), model.config, device, None)
    encoder.side = model.config.image.side  # type: ignore[attr-defined]
    return encoder


def _noise(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def parity(model_name: str, data_dir: Path, device: str, folder: Path) -> float:
    from PIL import Image

    from rclip.models import Model, model_files, numpy_towers

    draw_photos(folder, 320, 240, _PARITY_PICTURES)
    encoder = _torch_encoder(model_name, data_dir, device)
    pictures = (Image.open(path).resize((encoder.side, encoder.side)) for path in sorted(folder.iterdir()))
    pixels = np.stack([np.asarray(picture, np.uint8) for picture in pictures])
    model = Model(model_name, str(data_dir), say)
    right = numpy_towers.ImageTower(model._open(model_files.IMAGE), model.config)(pixels)
    return float((encoder(pixels) * right).sum(axis=1).min())


def halving(model_name: str, data_dir: Path, batch: int) -> dict[str, Any]:
    """Lets this process have as much of the GPU's memory as a quarter of the batch takes."""
    import torch

    encoder = _torch_encoder(model_name, data_dir, "cuda")
    pixels = _noise(batch, encoder.side)
    encoder.batch_size = batch // 4
    expected = encoder(pixels)
    limit = torch.cuda.max_memory_reserved() / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit * 1.05)
    encoder.batch_size = batch
    found = encoder(pixels)
    same = float((found * expected).sum(axis=1).min())
    return {"asked": batch, "ended with": encoder.batch_size, "smallest cosine": same}


def main() -> None:
    made = parser(__doc__, runs=3)
    made.add_argument("--device", default="cuda", help="that encodes pictures: cuda, cpu (cuda)")
    made.add_argument("--photos", type=int, default=6000, help="of 640x480 (6000)")
    made.add_argument("--large-photos", type=int, default=800, help="of 12 megapixels (800)")
    made.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    made.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="batch sizes of the tower alone")
    made.add_argument("--seconds", type=float, default=3.0, help="that each of them is measured at least (3)")
    options = parse(made, QUICK)
    ours = prepared(options)
    metadata = print_head([ours])
    measured = {part: _PARTS[part](ours, options) for part in PARTS if part in options.only}
    keep(options.json, {**metadata, "device": options.device, **measured})


def _tower(ours: Ours, options: argparse.Namespace) -> list[dict[str, Any]]:
    measured: list[dict[str, Any]] = in_own_process(
        tower, ours.model, _data_dir(options), options.device, options.batches, options.seconds
    )
    lines: list[tuple[str, ...]] = [("batch", "pictures/s", "GPU MB")]
    print_table([*lines, *(tuple(decimal(value, 0) for value in each.values()) for each in measured)])
    return measured


def _data_dir(options: argparse.Namespace) -> Path:
    return Path(options.scratch / "models" / "ours")


def _parity(ours: Ours, options: argparse.Namespace) -> float:
    folder = emptied(options.scratch / "parity")
    cosine: float = in_own_process(parity, ours.model, _data_dir(options), options.device, folder)
    print(f"parity with numpy in float32: {cosine:.6f}")
    return cosine


def _halving(ours: Ours, options: argparse.Namespace) -> dict[str, Any] | None:
    if options.device != "cuda":
        return None
    measured: dict[str, Any] = in_own_process(halving, ours.model, _data_dir(options), 4 * options.batches[-1])
    print(f"a batch too large: {measured}")
    return measured


def _reading(ours: Ours, options: argparse.Namespace) -> list[dict[str, Any]]:
    measured = list(reading(ours, options))
    lines: list[tuple[str, ...]] = [("reading alone", "files/s", "own ms", "decoders' ms")]
    lines += [(each["size"], *(decimal(value, 2) for value in list(each.values())[1:])) for each in measured]
    print_table(lines)
    return measured


def _whole(ours: Ours, options: argparse.Namespace) -> list[dict[str, Any]]:
    options.precision, options.batch_size = "auto", None
    counts = {"640x480": options.photos, "12 MP": options.large_photos}
    measured = [
        measure(ours, size, (max(1, count // 4), count), options, options.scratch / "indexing")
        for size, count in counts.items()
    ]
    lines: list[tuple[str, ...]] = [("whole", "files/s", "steady, median")]
    for each in measured:
        steady = statistics.median(each["steady_per_s"])
        lines.append((each["size"], decimal(each["whole_per_s"], 1), decimal(steady, 1)))
    print_table(lines)
    return measured


_PARTS = {"tower": _tower, "parity": _parity, "halving": _halving, "reading": _reading, "whole": _whole}


if __name__ == "__main__":
    main()
