"""How long a search takes in a program that keeps a `Library` open: its first, later ones, and one asked again.

    .venv/bin/python benchmarks/library.py --quick
    .venv/bin/python benchmarks/library.py --json build/library.json

The index holds made-up rows with random vectors. For each size, in a fresh process:

cold        the first search: it loads the text tower and the vector cache (importing rclip is not counted)
warm        a text that has not been asked for before; most of its time goes to the text tower
repeated    the same text once more
vectors     `Library.vectors()`, of which most time goes to the paths

Disk caches are warm.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common import (
    QUERY,
    Ours,
    emptied,
    in_own_process,
    keep,
    made_up,
    parse,
    parser,
    prepared,
    print_head,
    print_table,
    say,
    spread,
    spread_cells,
)

SIZES = [1_000, 25_000, 1_281_167]


def measure(model: str, data_dir: Path, library: Path, runs: int) -> dict[str, list[float]]:
    """Seconds of each run of each case."""
    from rclip import Library

    found: dict[str, list[float]] = {case: [] for case in ("cold", "warm", "repeated", "vectors")}

    def timed(case: str, action: Callable[[], Sequence[Any]]) -> None:
        started = time.perf_counter()
        answer = action()
        found[case].append(time.perf_counter() - started)
        if not len(answer):
            raise SystemExit(f"{case}: nothing was found")

    for run in range(runs):
        with Library(library, model=model, data_dir=data_dir) as opened:
            timed("cold", partial(opened.search, QUERY))
            for number in range(5):
                text = f"{QUERY}, number {number} of run {run}"  # texts are remembered, also by later processes
                timed("warm", partial(opened.search, text))
                timed("repeated", partial(opened.search, text))
            timed("vectors", lambda: opened.vectors().paths)
    return found


def measure_size(ours: Ours, scratch: Path, rows: int, runs: int) -> list[dict[str, Any]]:
    folder = emptied(scratch / "library")
    library, data_dir = folder / "photos", folder / "data"
    library.mkdir()
    say(f"{rows:,} rows: filling the index")
    ours.new_data_dir(data_dir)
    ours.fill(data_dir, library, made_up(library, rows))
    with ours.open(data_dir, library) as opened:
        opened.prepare_search()
    found = in_own_process(measure, ours.model, data_dir, library, runs)
    shutil.rmtree(folder)
    return [{"case": case, "n": rows, "runs": seconds, **spread(seconds)} for case, seconds in found.items()]


def main() -> None:
    made = parser(__doc__, runs=3)
    made.add_argument("--rows", type=int, nargs="+", default=SIZES, help="sizes of the library")
    options = parse(made, {"rows": [100, 5000]})
    ours = prepared(options)
    metadata = print_head([ours])
    results = [line for rows in options.rows for line in measure_size(ours, options.scratch, rows, options.runs)]
    lines = [("case", "N", "runs", "min s", "median s", "max s")]
    lines += [(each["case"], f"{each['n']:,}", str(len(each["runs"])), *spread_cells(each, 4)) for each in results]
    print_table(lines)
    keep(options.json, {**metadata, "results": results})


if __name__ == "__main__":
    main()
