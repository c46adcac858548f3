"""How long a query takes by the size of the library: the whole process `rclip -n QUERY`, from a thousand photos up.

    .venv/bin/python benchmarks/query_by_size.py --quick
    .venv/bin/python benchmarks/query_by_size.py --json build/sizes.json --plot build/sizes.svg --peer build/versus.json

The index holds made-up rows with random vectors, put there through the store's own methods. For each size:

query           ten results from the whole library
sub-folder      the same from a folder that holds 1 % of it
1,000 results   the same with a thousand asked for
add ten         `rclip --index` of a folder with ten new 640x480 photos, a different one each time
query after     the query that follows, which finds them in the table and not yet in the matrix
from scratch    the query when there is no matrix and it has to be built (below some four thousand photos none is)

Disk caches are warm. Memory counts mapped files. The plot has both axes logarithmic; the older program's times are
drawn beside ours when `--peer` names files that versus_rclip.py has written (its workload `text-query`).
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from chart import Axis, Points, chart
from common import (
    PEER_VERSION,
    QUERY,
    Ours,
    Run,
    draw_photos,
    emptied,
    in_turns,
    keep,
    made_up,
    parse,
    parser,
    prepared,
    print_cases,
    print_head,
    say,
    summary,
    timed_run,
)

SIZES = [1_000, 10_000, 100_000, 1_281_167]
TEXT = ("-n", "-f", QUERY)


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(ours: Ours, rows: int, runs: int, folder: Path) -> list[dict[str, Any]]:
    """All cases with an index of `rows`, in a folder that is gone afterwards."""
    library, data_dir = emptied(folder) / "library", folder / "data"
    part = library / "0050"  # made_up's hundredth
    part.mkdir(parents=True)
    say(f"{rows:,} rows: filling the index")
    ours.new_data_dir(data_dir)
    ours.fill(data_dir, library, made_up(library, rows, folder_photos=rows // 100))

    def query(where: Path = library, arguments: Sequence[str] = TEXT) -> Run:
        return _query(ours, data_dir, where, arguments)

    found = in_turns({"from scratch": partial(_from_scratch, query, data_dir)}, runs, f"{rows:,} rows")
    plain: dict[str, Callable[[], Run]] = {
        "query": query,
        "sub-folder": partial(query, part),
        "1,000 results": partial(query, library, ("-t", "1000", *TEXT)),
    }
    found = in_turns(plain, runs, f"{rows:,} rows") | found
    numbers = count()
    adding = {"add ten": lambda: _add_ten(ours, data_dir, library, next(numbers)), "query after": query}
    found |= in_turns(adding, runs, f"{rows:,} rows")
    shutil.rmtree(folder)
    order = (*plain, *adding, "from scratch")
    return [{"case": case, "n": rows, **summary(found[case])} for case in order]


def _query(ours: Ours, data_dir: Path, where: Path, arguments: Sequence[str]) -> Run:
    run = timed_run(ours, data_dir, where, arguments)
    if not run.lines:
        raise SystemExit(f"nothing was found in {where}")
    return run


def _from_scratch(query: Callable[[], Run], data_dir: Path) -> Run:
    for matrix in data_dir.glob("*.matrix"):
        shutil.rmtree(matrix)
    return query()


def _add_ten(ours: Ours, data_dir: Path, library: Path, number: int) -> Run:
    folder = library / f"new-{number}"
    draw_photos(folder, 640, 480, 10, first=10 * number)
    run = timed_run(ours, data_dir, folder, ("--index",))
    if ours.count(data_dir, folder) != 10:
        raise SystemExit("the ten new photos were not indexed")
    return run


# --- drawing ---------------------------------------------------------------------------------------------------------


def peer_points(paths: Iterable[Path]) -> Points:
    """What versus_rclip.py has measured of the older program's text queries."""
    cases = [case for path in paths for case in json.loads(path.read_text())["cases"]]
    return [(case["photos"], case["peer"]["median_s"]) for case in cases if case["case"] == "text-query"]


def draw(path: Path, results: Sequence[Mapping[str, Any]], peer: Iterable[Path]) -> None:
    """Seconds against photos, both logarithmic."""
    older = peer_points(peer)
    series: dict[str, Points] = {"this rclip": [(r["n"], r["median_s"]) for r in results if r["case"] == "query"]}
    series |= {f"rclip {PEER_VERSION}": older} if older else {}
    photos, seconds = zip(*(point for line in series.values() for point in line), strict=True)
    axes = Axis.powers("photos in the library", photos), Axis.powers("seconds for a whole query", seconds)
    path.write_text(chart(series, *axes))


# --- the command -----------------------------------------------------------------------------------------------------


def main() -> None:
    made = parser(__doc__, runs=5)
    made.add_argument("--rows", type=int, nargs="+", default=SIZES, help="sizes of the library, 100 at least")
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw the queries' times there, as an SVG")
    made.add_argument("--peer", type=Path, nargs="*", default=[], metavar="FILE", help="JSON of versus_rclip.py")
    options = parse(made, {"rows": [100, 1000]})
    ours = prepared(options)
    metadata = print_head([ours])
    folder = options.scratch / "query-by-size"
    results = [line for rows in options.rows for line in measure(ours, rows, options.runs, folder)]
    print_cases(results)
    keep(options.json, {**metadata, "results": results})
    if options.plot:
        draw(options.plot, results, options.peer)


if __name__ == "__main__":
    main()
