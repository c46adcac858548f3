"""What filters add to a query of a large library: the whole process `rclip -n [FILTER] [QUERY]`.

    .venv/bin/python benchmarks/filtered_query.py --quick
    .venv/bin/python benchmarks/filtered_query.py --json build/filters.json

The index holds made-up rows with random vectors, put there through the store's own methods: a time for nine photos of
ten, spread over twenty years, a place for two of three, one of forty cameras. Each case runs with the query and most
also without one. Disk caches are warm. The search's own share, in process and without the model, is in the second
table: `ids` is how many photos the filters left to be scored, - where so many pass that all are.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    QUERY,
    Ours,
    Run,
    decimal,
    emptied,
    in_turns,
    keep,
    made_up,
    parse,
    parser,
    prepared,
    print_cases,
    print_head,
    print_table,
    say,
    spread,
    spread_cells,
    summary,
    timed_run,
)

ROWS = 1_281_167
FILTERS = {
    "half by date": ("--after", "2013"),
    "a day": ("--after", "2013-05-04", "--before", "2013-05-05"),
    "near": ("--near", "48.8,2.3,50"),
    "near, everywhere": ("--near", "0,0,19000"),
    "camera": ("--camera", "maker model 7"),
    "type": ("--type", "jpg"),
    "folder": ("--path", "0050/**"),
    "many names": ("--path", "*1.jpg"),
    "few names": ("--path", "IMG_00123*"),
    "no name": ("--path", "beach"),
    "score": ("--min-score", "0.1"),
    "rare and common": ("--after", "2013", "--before", "2014", "--camera", "maker 3"),
    "none of many": ("--camera", "maker 3", "--type", "jpg", "--near", "0,0,5000", "--before", "2003-01-03"),
    "relevant": ("--relevant",),
    "relevant, half by date": ("--relevant", "--after", "2013"),
    "all at once": (
        "--after",
        "2013",
        "--near",
        "48.8,2.3,500",
        "--camera",
        "maker",
        "--type",
        "jpg",
        "--path",
        "*1.jpg",
    ),
}


NEWEST = ("half by date", "a day", "near", "camera", "type", "few names", "rare and common")
"""Filters that are also asked for without a query."""


def made_up_facts(number: int) -> Any:
    from rclip.photo.metadata import PhotoMetadata

    mixed = number * 2_654_435_761 % (1 << 32)  # Knuth's multiplicative hash: spread evenly, the same at every call
    has_place = number % 3 != 0
    return PhotoMetadata(
        captured_s=1_041_379_200 + mixed % (20 * 365 * 86_400) if number % 10 else None,
        offset_min=60,
        latitude=mixed % 18_000 / 100 - 90 if has_place else None,
        longitude=mixed // 7 % 36_000 / 100 - 180 if has_place else None,
        maker=f"Maker {mixed % 8}",
        model=f"Model {mixed % 40}",
        width=4000,
        height=3000,
    )


def measure(ours: Ours, rows: int, runs: int, folder: Path) -> list[dict[str, Any]]:
    """All cases with an index of `rows`, in a folder that is gone afterwards."""
    library, data_dir = emptied(folder) / "library", folder / "data"
    library.mkdir()
    say(f"{rows:,} rows: filling the index")
    ours.new_data_dir(data_dir)
    ours.fill(data_dir, library, made_up(library, rows, folder_photos=max(1, rows // 100)), made_up_facts)

    def run(*arguments: str) -> Run:
        return timed_run(ours, data_dir, library, ("-n", "-f", *arguments))

    first = {"matrix made": partial(run, QUERY)}
    found = in_turns(first, 1, f"{rows:,} rows")
    index_bytes = sum(path.stat().st_size for path in data_dir.glob("*.db*"))
    say(f"{index_bytes / rows:.0f} bytes a photo in the table")
    cases: dict[str, Callable[[], Run]] = {"no filter": partial(run, QUERY)}
    cases |= {name: partial(run, *filters, QUERY) for name, filters in FILTERS.items()}
    cases |= {f"{name}, no query": partial(run, "-t", "10", *FILTERS[name]) for name in NEWEST}
    found |= in_turns(cases, runs, f"{rows:,} rows")
    return [{"case": case, "n": rows, **summary(found[case])} for case in (*first, *cases)]


def measure_searches(ours: Ours, data_dir: Path, library: Path, runs: int) -> list[dict[str, Any]]:
    """Only what searches take, in turns, of a process that has imported everything."""
    from rclip.cli.arguments import parse as parse_arguments
    from rclip.filters import Filters
    from rclip.search.query_encoder import EncodedQuery
    from rclip.search.searcher import Searcher
    from rclip.search.selection import Selection

    took: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    with ours.open(data_dir, library) as opened:
        index, scope = opened._parts[0]
        searcher = Searcher(index, scope)
        (_, vectors) = next(index.store.vectors.above(0))
        query = EncodedQuery(vectors[0].astype(np.float32) / np.linalg.norm(vectors[0].astype(np.float32)), frozenset())
        cases = {"no filter": None} | {name: parse_arguments([*FILTERS[name], QUERY]).filters for name in FILTERS}
        for _ in range(runs):
            for name, filters in cases.items():
                started = time.perf_counter()
                next(searcher.search(filters)([query], 10))
                took.setdefault(name, []).append(time.perf_counter() - started)
            for name in NEWEST:
                started = time.perf_counter()
                searcher.newest(10, cases[name] or Filters())
                took.setdefault(f"{name}, no query", []).append(time.perf_counter() - started)
        for name, filters in cases.items():
            ids = Selection(index, scope, filters).ids
            counts[name] = -1 if ids is None else len(ids)
    return [{"case": name, "ids": counts.get(name, -1), **spread(seconds)} for name, seconds in took.items()]


def print_searches(results: Sequence[Mapping[str, Any]]) -> None:
    lines = [("search only", "ids", "min s", "median s", "max s")]
    counts = ("-" if result["ids"] < 0 else decimal(result["ids"], 0) for result in results)
    lines += ((result["case"], count, *spread_cells(result)) for result, count in zip(results, counts, strict=True))
    print_table(lines)


def main() -> None:
    made = parser(__doc__, runs=5)
    made.add_argument("--rows", type=int, default=ROWS, help=f"size of the library ({ROWS:,})")
    options = parse(made, {"rows": 5_000})
    ours = prepared(options)
    metadata = print_head([ours])
    folder = options.scratch / "filtered-query"
    results = measure(ours, options.rows, options.runs, folder)
    searches = measure_searches(ours, folder / "data", folder / "library", options.runs)
    print_cases(results)
    print()
    print_searches(searches)
    shutil.rmtree(folder)
    keep(options.json, {**metadata, "results": results, "searches": searches})


if __name__ == "__main__":
    main()
