"""How many photos a second are indexed, by picture size: `rclip --index` from an empty index.

    .venv/bin/python benchmarks/indexing.py --quick
    .venv/bin/python benchmarks/indexing.py --device cuda --batch-size 512
    .venv/bin/python benchmarks/indexing.py --precision float32

Each size is run with few and with many photos, in turns. "whole" is the photos by the time of the whole process; from
"few" to "many" only photos are added, so their difference by the difference of the times is the steady rate, without
start and end. For that the few must be so many that torch, which is started after the first batches, has taken over.
Only some pictures of each size are drawn; the others are those again with other bytes behind their end, which decoders
pass over: for the index they are new photos.

`--precision float32` shows what a CPU without bf16 instructions does.
"""

import argparse
import os
import shutil
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common import (
    Ours,
    Run,
    add_precision,
    decimal,
    draw_photos,
    emptied,
    in_turns,
    keep,
    parse,
    parser,
    prepared,
    print_cases,
    print_head,
    print_table,
    said,
    say,
    summary,
    timed_run,
    without_bf16,
)

SIZES = {"640x480": (640, 480), "12 MP": (4000, 3000)}
DISTINCT = 20


def make_photos(folder: Path, width: int, height: int, count: int) -> None:
    """So many files of different bytes, `DISTINCT` pictures among them."""
    draw_photos(folder, width, height, min(count, DISTINCT))
    drawn = sorted(folder.iterdir())
    for number in range(len(drawn), count):
        content = drawn[number % len(drawn)].read_bytes()
        (folder / f"DSC_{number:05}.jpg").write_bytes(content + number.to_bytes(8))


def measure(ours: Ours, size: str, counts: Sequence[int], options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Few and many photos of one size, in a folder that is gone afterwards."""
    emptied(folder)
    if options.precision == "float32":
        ours.before = without_bf16(folder)
    say(f"{size}: drawing {max(counts):,} photos")
    make_photos(folder / "many", *SIZES[size], max(counts))
    few = folder / "few"
    few.mkdir()
    for photo in sorted((folder / "many").iterdir())[: min(counts)]:
        os.link(photo, few / photo.name)
    arguments = ["--index", *(("--device", options.device) if options.device else ())]
    arguments += ["--batch-size", str(options.batch_size)] if options.batch_size else []
    cases = {name: partial(_index, ours, folder / "data", folder / name, arguments) for name in ("few", "many")}
    runs = in_turns(cases, options.runs, size)
    shutil.rmtree(folder)
    return _rates(size, sorted(counts), runs)


def _index(ours: Ours, data_dir: Path, library: Path, arguments: Sequence[str]) -> Run:
    """From nothing; the model is prepared."""
    shutil.rmtree(data_dir, ignore_errors=True)
    ours.new_data_dir(data_dir)
    run = timed_run(ours, data_dir, library, arguments)
    if ours.count(data_dir, library) != len(list(library.iterdir())):
        raise SystemExit(f"not all photos were indexed:\n{said(ours, data_dir)}")
    return run


def _rates(size: str, counts: Sequence[int], runs: dict[str, list[Run]]) -> dict[str, Any]:
    """Runs of few and many that stand side by side are taken together."""
    cases = [
        {"case": f"{size}, {name}", "n": count, **summary(runs[name])}
        for name, count in zip(("few", "many"), counts, strict=True)
    ]
    pairs = zip(runs["few"], runs["many"], strict=True)
    steady = [(counts[1] - counts[0]) / (many.seconds - few.seconds) for few, many in pairs]
    return {
        "size": size,
        "cases": cases,
        "whole_per_s": counts[1] / cases[1]["median_s"],
        "steady_per_s": steady,
        "peak_bytes": max(case["peak_bytes"] for case in cases),
    }


def print_rates(results: Sequence[dict[str, Any]]) -> None:
    lines = [("photos/s", "whole", "steady, min", "median", "max", "peak MB")]
    for result in results:
        steady = result["steady_per_s"]
        figures = (result["whole_per_s"], min(steady), statistics.median(steady), max(steady))
        lines.append((result["size"], *(decimal(n, 1) for n in figures), decimal(result["peak_bytes"] / 1e6, 0)))
    print_table(lines)


def main() -> None:
    made = parser(__doc__, runs=3)
    made.add_argument("--small", type=int, nargs=2, default=[300, 900], help="640x480 photos, few and many (300 900)")
    made.add_argument("--large", type=int, nargs=2, default=[250, 600], help="12 MP photos, few and many (250 600)")
    made.add_argument("--device", help="what rclip --device takes")
    made.add_argument("--batch-size", type=int, help="what rclip --batch-size takes")
    add_precision(made)
    options = parse(made, {"small": [8, 24], "large": [1, 3]})
    ours = prepared(options)
    metadata = print_head([ours])
    asked = {name: getattr(options, name) for name in ("model", "device", "batch_size", "precision")}
    print(", ".join(f"{name} {value or 'auto'}" for name, value in asked.items()), flush=True)
    folder = options.scratch / "indexing"
    counts = {"640x480": options.small, "12 MP": options.large}
    results = [measure(ours, size, counts[size], options, folder) for size in SIZES]
    print_cases([case for result in results for case in result["cases"]])
    print()
    print_rates(results)
    keep(options.json, {**metadata, **asked, "results": results})


if __name__ == "__main__":
    main()
