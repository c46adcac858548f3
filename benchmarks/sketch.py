"""The exact search of a large matrix, with its sketch and without, in turns.

    .venv/bin/python benchmarks/sketch.py --quick
    .venv/bin/python benchmarks/sketch.py --rows 1281167 10000000

The vectors are made up: photos in clusters, and texts across a gap from them (`common.Gap`). No case needs a model or a
database: each is a process of its own that opens the matrix, asks, and is timed from the opening to the answer, without
Python's start. Ten million rows take 16 GB on the disk while it runs.

warm              one query, with all files in the disk cache
uncached          one query right after the system was told to forget the files
many              a query's share of 64 that are asked together: they are limited by their products, and scanned in full
half allowed      one query with a filter that half of the photos pass
quantiles         what --relevant needs to know of all scores

Of every query the answers with and without the sketch are compared; they must be the same to the last bit. "read" is
how many of the vectors a query needs in full.
"""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    Gap,
    Ours,
    decimal,
    emptied,
    forget_cached,
    in_own_process,
    keep,
    own_peak_bytes,
    parse,
    parser,
    print_head,
    print_table,
    say,
    spread,
    spread_cells,
    write_matrix,
)

K = 256
"""A search asks for so many of the best and shows ten."""


def texts(count: int) -> np.ndarray:
    return Gap().texts(np.random.default_rng(7), count)


def opened(database: Path, is_sketched: bool) -> Any:
    from rclip.index.sketch import Sketch
    from rclip.index.store import Store
    from rclip.index.vector_cache import VectorCache
    from rclip.index.vector_search import ExactVectorSearch

    store = Store(str(database), "benchmark", 1)
    cache = VectorCache(store)
    if not is_sketched:
        cache.__dict__["sketch"] = Sketch(cache.folder, "", 0)
    return ExactVectorSearch(store, cache)


def ask(database: Path, case: str, is_sketched: bool, number: int) -> tuple[float, int]:
    """Seconds a query, and the most memory that the process had."""
    queries = texts(64)
    opened(database, is_sketched)  # imports
    if case == "uncached":
        forget_cached(database.with_suffix(".matrix"))
    started = time.perf_counter()
    search = opened(database, is_sketched)
    one = queries[number : number + 1]
    if case == "many":
        search.search(queries, K)
    elif case == "half allowed":
        search.search(one, K, np.arange(1, search.count() + 1, 2))
    elif case == "quantiles":
        search.score_quantiles(one, np.linspace(0.02, 0.98, 20))
    else:
        search.search(one, K)
    seconds = time.perf_counter() - started
    return seconds / (len(queries) if case == "many" else 1), own_peak_bytes()


def compare(database: Path, count: int) -> list[int]:
    """How many vectors each query needs in full. Raises SystemExit where the answers are not the same."""
    plain, sketched = opened(database, False), opened(database, True)
    queries = texts(count)
    for ours, right in zip(sketched.search(queries, K), plain.search(queries, K), strict=True):
        if not np.array_equal(ours, right):
            raise SystemExit("the sketch has changed an answer")
    return [len(rows) for rows in sketched._cache.sketch.candidates(queries, K, None)]


def make_sketch(database: Path) -> float:
    """Seconds"""
    from rclip.index.store import Store
    from rclip.index.vector_cache import VectorCache

    cache = VectorCache(Store(str(database), "benchmark", 1))
    started = time.perf_counter()
    cache.catch_up(sketch_from_rows=1)
    return time.perf_counter() - started


def measure(rows: int, options: Any) -> dict[str, Any]:
    folder = emptied(options.scratch / "sketch")
    database = folder / "index.db"
    say(f"{rows:,} rows: writing the matrix")
    write_matrix(database, rows, Gap().photos)
    say(f"{rows:,} rows: making the sketch")
    made_s = in_own_process(make_sketch, database)
    read = in_own_process(compare, database, options.queries)
    cases = ["warm", "uncached", "many", "half allowed", "quantiles"]
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for number in range(options.runs):
        for case in cases:
            for name, is_sketched in (("in full", False), ("by the sketch", True)):
                took = in_own_process(ask, database, case, is_sketched, number)
                found.setdefault((case, name), []).append(took)
                say(f"{rows:,} rows, run {number + 1}: {case}, {name}: {1000 * took[0]:.1f} ms")
    shutil.rmtree(folder)
    results = [
        {"case": case, "scan": name, **spread([s for s, _ in runs]), "peak_bytes": max(peak for _, peak in runs)}
        for (case, name), runs in found.items()
    ]
    return {"rows": rows, "made_s": made_s, "read": read, "results": results}


def print_results(measured: dict[str, Any]) -> None:
    lines: list[tuple[str, ...]] = [(f"{measured['rows']:,} rows", "min ms", "median ms", "max ms", "peak MB", "ratio")]
    medians = {(each["case"], each["scan"]): each["median_s"] for each in measured["results"]}
    for each in measured["results"]:
        ratio = medians[each["case"], "in full"] / each["median_s"]
        cells = spread_cells({key: 1000 * value for key, value in each.items() if key.endswith("_s")}, 1)
        peak = decimal(each["peak_bytes"] / 1e6, 0)
        lines.append((f"{each['case']}, {each['scan']}", *cells, peak, decimal(ratio, 1)))
    print_table(lines)
    read = measured["read"]
    print(f"the sketch was made in {measured['made_s']:.1f} s; the answers to {len(read)} queries are the same")
    print(f"read in full: {int(np.median(read)):,} vectors for {K} wanted, {max(read):,} at most\n")


def main() -> None:
    made = parser(__doc__, runs=5)
    made.add_argument("--rows", type=int, nargs="+", default=[1_281_167], help="sizes of the matrix (1281167)")
    made.add_argument("--queries", type=int, default=80, help="whose answers are compared (80)")
    options = parse(made, {"rows": [20_000], "queries": 5})
    metadata = print_head([Ours(options.scratch, options.model)])
    results = []
    for rows in options.rows:
        results.append(measure(rows, options))
        print_results(results[-1])
    keep(options.json, {**metadata, "results": results})


if __name__ == "__main__":
    main()
