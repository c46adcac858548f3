"""A thousand text queries in one process, `rclip --queries`, beside one alone.

    .venv/bin/python benchmarks/many_queries.py --quick
    .venv/bin/python benchmarks/many_queries.py --rows 100000 --queries 1000

The index holds made-up rows with random vectors. Queries are made-up English of three to twelve words, all different.
Disk caches are warm.
"""

import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from common import (
    QUERY,
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
    summary,
    timed_run,
)

WORDS = "a red blue old small dog cat child kite boat beach snow night street window on in under with two many"


def written_queries(count: int) -> Iterator[str]:
    rng = random.Random(1)
    for number in range(count):
        yield f"{' '.join(rng.choices(WORDS.split(), k=rng.randint(2, 11)))} {number}"


def main() -> None:
    made = parser(__doc__, runs=3)
    made.add_argument("--rows", type=int, default=100_000, help="photos in the library (100,000)")
    made.add_argument("--queries", type=int, default=1000, help="queries (1,000)")
    options = parse(made, {"rows": 1000, "queries": 20})
    ours = prepared(options)
    metadata = print_head([ours])
    folder: Path = emptied(options.scratch / "many-queries")
    library, data_dir = folder / "library", folder / "data"
    library.mkdir()
    ours.new_data_dir(data_dir)
    ours.fill(data_dir, library, made_up(library, options.rows))
    asked = folder / "queries.txt"
    asked.write_text("\n".join(written_queries(options.queries)))
    run = partial(timed_run, ours, data_dir, library)
    run(("-n", "-f", QUERY))  # builds the matrix
    cases = {
        "one query": lambda: run(("-n", "-f", QUERY)),
        f"{options.queries:,} queries": lambda: run(("-n", "--json", "--queries", str(asked))),
    }
    runs = in_turns(cases, options.runs, f"{options.rows:,} rows")
    results = [{"case": name, "n": options.rows, **summary(found)} for name, found in runs.items()]
    lines = runs[f"{options.queries:,} queries"][0].lines
    shutil.rmtree(folder)
    if lines != 10 * options.queries:
        raise SystemExit(f"{lines:,} results instead of ten for each query")
    print_cases(results)
    print(f"{decimal(1000 * results[1]['median_s'] / options.queries, 1)} ms a query")
    keep(options.json, {**metadata, "results": results})


if __name__ == "__main__":
    main()
