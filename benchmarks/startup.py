"""From how many photos on torch is worth its start: whole processes that encode 1 to 200 pictures and nothing else.

    .venv/bin/python benchmarks/startup.py --quick
    .venv/bin/python benchmarks/startup.py --photos 1 32 64 96 128 200

"numpy" encodes all with the numpy tower, which starts at once; "torch" imports torch and hands it the weights first;
"both" is what rclip does: numpy while torch starts, if there are enough pictures. In the end it says where numpy and
torch take equally long, and how many pictures numpy encodes while torch starts: what `_TORCH_AFTER` and `_TORCH_FOR`
in rclip/models/local_encoder.py rest on.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    HERE,
    SPREAD_COLUMNS,
    Ours,
    Run,
    decimal,
    emptied,
    in_turns,
    keep,
    parse,
    parser,
    prepared,
    print_head,
    print_table,
    spread_cells,
    summary,
    timed_run,
)

WAYS = ("numpy", "torch", "both")
PHOTOS = [1, 16, 32, 64, 96, 128, 160, 200]


class Encoding(Ours):
    """A program that only encodes, with our model's weights."""

    name = "encoding"

    def __init__(self, scratch: Path, model: str | None):
        super().__init__(scratch, model)
        self.command = [sys.executable, str(HERE / "encode_pictures.py"), self.model]


def measure(encoding: Encoding, data_dir: Path, photos: int, runs: int) -> dict[str, Any]:
    """So many pictures in each way, in turns."""
    cases = {way: partial(_run, encoding, data_dir, way, photos) for way in WAYS}
    found = in_turns(cases, runs, f"{photos} photos")
    return {"photos": photos} | {way: summary(of_way) for way, of_way in found.items()}


def _run(encoding: Encoding, data_dir: Path, way: str, photos: int) -> Run:
    return timed_run(encoding, data_dir, data_dir, (way, str(photos)))


def crossing(results: Sequence[Mapping[str, Any]], one: str, other: str) -> float | None:
    """At how many photos the two first take equally long, between the measured ones; None if they never do."""
    ahead = [result[other]["median_s"] - result[one]["median_s"] for result in results]
    for place in range(1, len(results)):
        if ahead[place] <= 0 < ahead[place - 1]:
            share = ahead[place - 1] / (ahead[place - 1] - ahead[place])
            before, after = (results[n]["photos"] for n in (place - 1, place))
            return before + share * (after - before)
    return None


def start_and_rate(results: Sequence[Mapping[str, Any]], way: str) -> tuple[float, float]:
    """The straight line through the medians: seconds before the first photo, and photos/s."""
    photos = [result["photos"] for result in results]
    slope, start = np.polyfit(photos, [result[way]["median_s"] for result in results], 1)
    return float(start), float(1 / slope)


def print_results(results: Sequence[Mapping[str, Any]]) -> None:
    lines: list[tuple[str, ...]] = [("way", "photos", *SPREAD_COLUMNS, "peak MB")]
    for result in results:
        for way in WAYS:
            cells = (*spread_cells(result[way]), decimal(result[way]["peak_bytes"] / 1e6, 0))
            lines.append((way, str(result["photos"]), *cells))
    print_table(lines)


def conclude(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where the lines cross, said and returned."""
    lines = {way: start_and_rate(results, way) for way in ("numpy", "torch")}
    for way, (start_s, per_s) in lines.items():
        print(f"{way}: {start_s:.2f} s, then {per_s:.1f} photos/s")
    meet = crossing(results, "numpy", "torch")
    print(f"numpy and torch take equally long at {meet:.0f} photos" if meet else "numpy and torch do not meet here")
    meanwhile = (lines["torch"][0] - lines["numpy"][0]) * lines["numpy"][1]
    print(f"while torch starts numpy encodes {meanwhile:.0f}")
    return {"lines": lines, "crossing_photos": meet, "numpy_while_torch_starts": meanwhile}


def main() -> None:
    made = parser(__doc__, runs=3)
    made.add_argument("--photos", type=int, nargs="+", default=PHOTOS, help="how many photos, ascending")
    options = parse(made, {"photos": [1, 8], "runs": 1})
    encoding = Encoding(options.scratch, options.model)
    prepared(options)
    metadata = print_head([encoding])
    data_dir = emptied(options.scratch / "startup") / "data"
    encoding.new_data_dir(data_dir)
    results = [measure(encoding, data_dir, photos, options.runs) for photos in options.photos]
    shutil.rmtree(data_dir.parent)
    print_results(results)
    keep(options.json, {**metadata, "results": results, **conclude(results)})


if __name__ == "__main__":
    main()
