"""How long `--duplicates` takes, and how well a model's cosines tell copies from other photos.

    .venv/bin/python benchmarks/duplicates.py --quick
    .venv/bin/python benchmarks/duplicates.py --sizes 100000 1281167 --json build/duplicates.json
    .venv/bin/python benchmarks/duplicates.py --photos ~/Pictures --limit 2000 --model ViT-B/32

Times are of made-up vectors, in a process of its own each, without reading the index. `clustered` ones are like those
of CLIP's pictures as far as that is published: they share a direction, so that two of them have a cosine of 0.5 on
average, and what remains lies in clusters and mostly along few directions. `spread` ones lie in all directions alike,
which no model's do: nothing can be left out then. One in fifty is a copy of another, at a cosine of 0.961 to 0.999,
and one in a hundred is part of a burst of thirty. `found` is the share of the planted copies that were found.

With `--photos`, copies of the photos in a folder are made – smaller, recompressed, cropped by a tenth, watermarked,
brightened – and encoded with the model as the index does it. For each cosine the table says how many of each kind have
at least that with their original (recall), and how many photos have it with an unlike one: copies and files of one shot
that `--duplicates` finds at 0.9999 do not count as unlike, but bursts do, so that share is more than the truth.
"""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distortions
import numpy as np
from common import (
    decimal,
    in_own_process,
    keep,
    machine,
    own_peak_bytes,
    parse,
    parser,
    print_table,
    say,
    spread,
)
from PIL import Image, ImageEnhance, ImageOps

DIMENSIONS = 512
SIZES = [20_000, 100_000, 1_281_167]
SIMILARITY = 0.96
KINDS = ("clustered", "spread")
_MOST_SPREAD = 200_000
_BLOCK = 1 << 15


# --- made-up vectors -------------------------------------------------------------------------------------------------


def made_up(count: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float16, rows of length 1, and planted pairs of rows (P, 2)."""
    rng = np.random.default_rng(count)
    vectors = np.empty((count, DIMENSIONS), np.float16)
    draw = _clustered(rng, count) if kind == "clustered" else partial_normal(rng)
    for start in range(0, count, _BLOCK):
        vectors[start : start + _BLOCK] = draw(min(_BLOCK, count - start))
    order = rng.permutation(count)
    pairs = order[: count // 50 * 2].reshape(-1, 2)
    bursts = order[count // 25 :][: count // 100 // 30 * 30].reshape(-1, 30)
    steps = [pairs, *(bursts[:, [0, number]] for number in range(1, bursts.shape[1]))]
    for of_one in steps:
        for start in range(0, len(of_one), _BLOCK):
            part = of_one[start : start + _BLOCK]
            vectors[part[:, 1]] = _near(rng, vectors[part[:, 0]].astype(np.float32))
    return vectors, np.concatenate(steps)


def partial_normal(rng: np.random.Generator) -> Callable[[int], np.ndarray]:
    return lambda count: _unit(rng.standard_normal((count, DIMENSIONS), dtype=np.float32))


def _clustered(rng: np.random.Generator, count: int) -> Callable[[int], np.ndarray]:
    """The variance along the k-th direction is as 1/k; half of it is between clusters, whose sizes are as 1/rank."""
    directions = np.linalg.qr(rng.standard_normal((DIMENSIONS, DIMENSIONS)))[0].astype(np.float32)
    scale = (np.arange(1, DIMENSIONS + 1) ** -0.5).astype(np.float32)
    scale /= np.linalg.norm(scale)
    clusters = max(10, count // 300)
    centres = rng.standard_normal((clusters, DIMENSIONS), dtype=np.float32) * scale
    weights = 1 / np.arange(10, clusters + 10)
    weights /= weights.sum()
    shared = directions[-1]

    def draw(size: int) -> np.ndarray:
        own = rng.standard_normal((size, DIMENSIONS), dtype=np.float32) * scale
        own += centres[rng.choice(clusters, size, p=weights)]
        rest = own @ directions
        rest -= np.outer(rest @ shared, shared)
        return _unit(shared + _unit(rest))

    return draw


def _near(rng: np.random.Generator, vectors: np.ndarray) -> np.ndarray:
    away = rng.standard_normal(vectors.shape, dtype=np.float32)
    away -= np.einsum("ij,ij->i", away, vectors)[:, None] * vectors
    cosines = rng.uniform(0.961, 0.999, (len(vectors), 1)).astype(np.float32)
    near: np.ndarray = cosines * vectors + np.sqrt(1 - cosines**2) * _unit(away)
    return near


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def measure(count: int, kind: str, runs: int) -> dict[str, Any]:
    """Of one size, in this process."""
    from rclip.search import near_pairs

    vectors, pairs = made_up(count, kind)
    before = own_peak_bytes()
    seconds = []
    for _ in range(runs):
        started_s = time.perf_counter()
        groups = near_pairs.connected(vectors, SIMILARITY)
        seconds.append(time.perf_counter() - started_s)
    labels = np.arange(count)
    for rows in groups:
        labels[rows] = rows[0]
    found = float((labels[pairs[:, 0]] == labels[pairs[:, 1]]).mean())
    return spread(seconds) | {"found": found, "groups": len(groups), "more_bytes": own_peak_bytes() - before}


# --- photos ----------------------------------------------------------------------------------------------------------


def _half(picture: Image.Image) -> Image.Image:
    return picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)), Image.Resampling.LANCZOS)


def _small(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((320, 320), Image.Resampling.LANCZOS)
    return small


def _recompressed(quality: int) -> Callable[[Image.Image], Image.Image]:
    def save(picture: Image.Image) -> Image.Image:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return save


def _cropped(picture: Image.Image) -> Image.Image:
    """A tenth of the width and of the height is lost, from the upper left."""
    return picture.crop((picture.width // 10, picture.height // 10, picture.width, picture.height))


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half as large": _half,
    "320 pixels": _small,
    "JPEG quality 50": _recompressed(50),
    "JPEG quality 20": _recompressed(20),
    "cropped by a tenth": _cropped,
    "watermarked": lambda picture: distortions.watermarked(picture, 2),
    "brightened by a fifth": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "black and white": lambda picture: ImageOps.grayscale(picture).convert("RGB"),
    "mirrored": ImageOps.mirror,
}
"""The last two are what one may or may not want to be told of."""

LEVELS = (0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995)


def of_photos(folder: Path, model: str, limit: int, scratch: Path) -> dict[str, Any]:
    """Cosines of copies with their originals, and of each photo with the unlike one that is most like it."""
    from rclip import Library

    (scratch / "duplicates").mkdir(parents=True, exist_ok=True)
    with Library(folder, model=model, data_dir=scratch / "duplicates", notify=lambda said: say(str(said))) as library:
        library.update()
        same = {
            copy.hit.path: group.copies[0].hit.path for group in library.duplicates(0.9999) for copy in group.copies[1:]
        }
        paths, vectors = library.vectors()
        rows = [row for row, path in enumerate(paths) if path not in same]
        rows = np.random.default_rng(0).permutation(rows)[:limit].tolist()
        if len(rows) < 2:
            raise SystemExit(f"too few photos in {folder}")
        unit = _unit(vectors[rows].astype(np.float32))
        cosines = {name: np.empty(len(rows), np.float32) for name in EDITS}
        for number, row in enumerate(rows):
            copies = list(_copies(Path(paths[row])))
            if not copies:
                for of_kind in cosines.values():
                    of_kind[number] = np.nan
                continue
            encoded = library.encode_image(copies)
            for name, vector in zip(EDITS, encoded, strict=True):
                cosines[name][number] = unit[number] @ vector
            if number % 100 == 99:
                say(f"{number + 1:,} of {len(rows):,} photos")
    products = unit @ unit.T
    np.fill_diagonal(products, -1)
    recall = {name: [float(np.nanmean(of_kind >= level)) for level in LEVELS] for name, of_kind in cosines.items()}
    unlike = [float((products.max(axis=1) >= level).mean()) for level in LEVELS]
    return {"photos": len(rows), "levels": LEVELS, "recall": recall, "unlike": unlike}


def _copies(path: Path) -> Iterator[Image.Image]:
    """None of a photo that Pillow cannot read."""
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file).convert("RGB")
    except OSError as error:
        say(f"cannot read {path}: {error}")
        return
    yield from (edit(picture) for edit in EDITS.values())


# --- the command -----------------------------------------------------------------------------------------------------


def print_speed(results: list[dict[str, Any]]) -> None:
    lines = [["vectors", "photos", "min s", "median s", "max s", "found", "MB"]]
    for result in results:
        times = [decimal(result[key], 1) for key in ("min_s", "median_s", "max_s")]
        found, more = f"{decimal(100 * result['found'], 2)} %", decimal(result["more_bytes"] / 1e6, 0)
        lines.append([result["kind"], f"{result['n']:,}", *times, found, more])
    print_table(lines)


def print_quality(result: dict[str, Any]) -> None:
    kinds = [*result["recall"], "an unlike photo"]
    shares = [*result["recall"].values(), result["unlike"]]
    lines = [["cosine", *kinds]]
    for number, level in enumerate(LEVELS):
        lines.append([f"{level:g}", *(f"{decimal(100 * of_kind[number], 1)} %" for of_kind in shares)])
    print_table(lines)


def main() -> None:
    made = parser(__doc__, runs=3)
    made.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of vectors")
    made.add_argument("--photos", type=Path, metavar="DIR", help="measure a model's cosines on the photos there")
    made.add_argument("--limit", type=int, default=1000, help="so many of the photos, chosen by chance (1000)")
    options = parse(made, {"sizes": [2_000, 20_000]})
    content: dict[str, Any] = {"machine": machine(), "similarity": SIMILARITY}
    if options.photos:
        content["quality"] = of_photos(options.photos, options.model or "ViT-B/32", options.limit, options.scratch)
        print_quality(content["quality"])
    else:
        cases = [(size, kind) for size in options.sizes for kind in KINDS if kind != "spread" or size <= _MOST_SPREAD]
        results = []
        for size, kind in cases:
            say(f"{size:,} {kind} vectors")
            runs = options.runs if size <= _MOST_SPREAD else 1
            results.append({"n": size, "kind": kind} | in_own_process(measure, size, kind, runs))
        print_speed(results)
        content["speed"] = results
    keep(options.json, content)


if __name__ == "__main__":
    main()
