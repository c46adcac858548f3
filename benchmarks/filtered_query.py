"""What filters add to a query of a large library: the whole process `rclip -n [FILTER] [QUERY]`.

    .venv/bin/python benchmarks/filtered_query.py --quick
    .venv/bin/python benchmarks/filtered_query.py --json build/filters.json

The index holds made-up rows with random vectors, put there through the store's own methods: a time for nine photos of
ten, spread over twenty years, a place for two of three, one of forty cameras. Each case runs with the query and most
also without one; `restated` is the case of the filter that asks for most after a thousand photos were renamed. Disk
caches are warm. The columns' own share, in process, is in the second table.
"""

import os
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

    first = {"matrix made": partial(run, QUERY), "columns made": partial(run, *FILTERS["half by date"], QUERY)}
    found = in_turns(first, 1, f"{rows:,} rows")
    index_bytes = sum(path.stat().st_size for path in data_dir.glob("*.db*"))
    say(f"{index_bytes / rows:.0f} bytes a photo in the table")
    cases: dict[str, Callable[[], Run]] = {"no filter": partial(run, QUERY)}
    cases |= {name: partial(run, *filters, QUERY) for name, filters in FILTERS.items()}
    cases |= {f"{name}, no query": partial(run, *FILTERS[name]) for name in ("half by date", "a day", "few names")}
    found |= in_turns(cases, runs, f"{rows:,} rows")
    restate(ours, data_dir, library, rows, 1000)
    restated = {"restated": partial(run, *FILTERS["half by date"], QUERY)}
    found |= in_turns(restated, runs, f"{rows:,} rows")
    order = (*first, *cases, *restated)
    return [{"case": case, "n": rows, **summary(found[case])} for case in order]


def restate(ours: Ours, data_dir: Path, library: Path, rows: int, count: int) -> None:
    """Renames photos, as far as the table knows."""
    from rclip.files import FileStat

    with ours.open(data_dir, library) as opened, opened._parts[0][0].store.transaction():
        for id_ in range(1, rows, max(1, rows // count)):
            opened._parts[0][0].store.move(id_, os.fsencode(f"{library}/renamed/{id_}.jpg"), FileStat(1, 1, 1, id_))


def measure_columns(ours: Ours, data_dir: Path, library: Path, runs: int) -> list[dict[str, Any]]:
    """Only what the columns take, of a process that has imported everything."""
    from rclip.cli.arguments import parse as parse_arguments
    from rclip.index.columns import Columns
    from rclip.index.vector_cache import VectorCache

    results = []
    with ours.open(data_dir, library) as opened:
        for name, arguments in FILTERS.items():
            filters = parse_arguments([*arguments, QUERY]).filters
            assert filters is not None
            took = []
            for _ in range(runs):
                started = time.perf_counter()
                chosen = Columns(opened._parts[0][0].store, VectorCache(opened._parts[0][0].store)).chosen(filters)
                took.append(time.perf_counter() - started)
            count = len(chosen.tail_ids) + (0 if chosen.mask is None else int(np.count_nonzero(chosen.mask)))
            results.append({"case": name, "n": count, **spread(took)})
    return results


def print_columns(results: Sequence[Mapping[str, Any]]) -> None:
    lines = [("columns only", "chosen", "min s", "median s", "max s")]
    lines += ((result["case"], decimal(result["n"], 0), *spread_cells(result)) for result in results)
    print_table(lines)


def main() -> None:
    made = parser(__doc__, runs=5)
    made.add_argument("--rows", type=int, default=ROWS, help=f"size of the library ({ROWS:,})")
    options = parse(made, {"rows": 5_000})
    ours = prepared(options)
    metadata = print_head([ours])
    folder = options.scratch / "filtered-query"
    results = measure(ours, options.rows, options.runs, folder)
    columns = measure_columns(ours, folder / "data", folder / "library", options.runs)
    print_cases(results)
    print()
    print_columns(columns)
    shutil.rmtree(folder)
    keep(options.json, {**metadata, "results": results, "columns": columns})


if __name__ == "__main__":
    main()
