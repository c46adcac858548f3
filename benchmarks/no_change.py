"""How long it takes to find that nothing has changed: `rclip QUERY` where every photo is as the index knows it.

    .venv/bin/python benchmarks/no_change.py --quick
    .venv/bin/python benchmarks/no_change.py --files 100000 --rows 1281167

With search is the whole process over real files of one byte, which a run that finds them unchanged never opens; search
only, in turns with it, is the same query with `-n`; the difference is what looking for changes costs.

The database side is `compare` alone, in a process of its own: the rows of a filled index are read in path order and
merged with a made-up walk that yields those very files. Making up the walk is part of the time; "less the walk" is the
median without what that takes alone.
Its memory is the process's peak, interpreter and numpy included.
"""

import os
import shutil
import statistics
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from common import (
    QUERY,
    SPREAD_COLUMNS,
    Known,
    Ours,
    Run,
    decimal,
    emptied,
    in_own_process,
    in_turns,
    keep,
    made_up,
    on_disk,
    own_peak_bytes,
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


def filled(ours: Ours, folder: Path, known: Iterator[Known]) -> Path:
    """The data folder of an index with these files."""
    say(f"{folder.name}: filling the index")
    ours.new_data_dir(folder / "data")
    ours.fill(folder / "data", folder / "library", known)
    return folder / "data"


# --- the whole process -----------------------------------------------------------------------------------------------


def whole_process(ours: Ours, files: int, runs: int, folder: Path) -> list[dict[str, Any]]:
    """With and without a look for changes, in a folder that is gone afterwards."""
    library = emptied(folder) / "library"
    library.mkdir()
    data_dir = filled(ours, folder, on_disk(library, files))
    run = partial(_run, ours, data_dir, library)
    run("-n", "-f", QUERY)  # builds the matrix
    cases = {
        "look for changes and search": lambda: run("-f", QUERY),
        "search only": lambda: run("-n", "-f", QUERY),
    }
    found = in_turns(cases, runs, f"{files:,} files")
    shutil.rmtree(folder)
    return [{"case": case, "n": files, **summary(of_case)} for case, of_case in found.items()]


def _run(ours: Ours, data_dir: Path, library: Path, *arguments: str) -> Run:
    run = timed_run(ours, data_dir, library, arguments)
    said = (data_dir.parent / f"{ours.name}.err").read_text()
    if said or not run.lines:
        raise SystemExit(f"something has changed, or nothing was found: {said}")
    return run


# --- the database side -----------------------------------------------------------------------------------------------


def database_side(ours: Ours, rows: int, runs: int, folder: Path) -> dict[str, Any]:
    """`compare` over a filled index, in a folder that is gone afterwards."""
    library = emptied(folder) / "library"
    library.mkdir()
    data_dir = filled(ours, folder, made_up(library, rows))
    taken = [in_own_process(_compare, ours, data_dir, library, rows) for _ in range(runs)]
    shutil.rmtree(folder)
    times = spread([run["seconds"] for run in taken])
    return {
        "n": rows,
        **times,
        "less_the_walk_s": times["median_s"] - statistics.median(run["walk_s"] for run in taken),
        "peak_bytes": max(run["peak_bytes"] for run in taken),
        "runs": taken,
    }


def _compare(ours: Ours, data_dir: Path, library: Path, rows: int) -> dict[str, float]:
    """One comparison, and what the walk alone takes."""
    from rclip.ignoring import DEFAULT_RULES, TreeRules
    from rclip.indexing.diff import Plan, plan_update

    folder = os.fsencode(library) + b"/"
    with ours.open(data_dir, library) as opened:
        started = time.perf_counter()
        store = opened._parts[0][0].store
        plan = plan_update(
            _walk(library, rows),
            store.files.row_tuples(folder),
            folder,
            TreeRules(folder, DEFAULT_RULES).ignores_path,
            {failure.path for failure in store.files.failures(folder)},
        )
        seconds = time.perf_counter() - started
    peak_bytes = own_peak_bytes()
    if plan != Plan():
        raise SystemExit("the comparison found changes")
    started = time.perf_counter()
    deque(_walk(library, rows), maxlen=0)
    return {"seconds": seconds, "walk_s": time.perf_counter() - started, "peak_bytes": peak_bytes}


def _walk(library: Path, rows: int) -> Iterator[Any]:
    """What `walk` would yield if made_up's files were on the disk."""
    for row in made_up(library, rows):
        yield os.fsencode(row.path), _MadeUp(row.mtime_ns, row.size_bytes)


class _MadeUp(NamedTuple):
    st_mtime_ns: int
    st_size: int
    st_ctime_ns: int = 0

    def stat(self) -> "_MadeUp":
        return self


def print_database_side(result: dict[str, Any]) -> None:
    cells = [*spread_cells(result), decimal(result["less_the_walk_s"], 3), decimal(result["peak_bytes"] / 1e6, 0)]
    heading = ("the database side", "N", "runs", *SPREAD_COLUMNS, "less the walk s", "peak MB")
    print_table([heading, ("compare", f"{result['n']:,}", str(len(result["runs"])), *cells)])


def main() -> None:
    made = parser(__doc__, runs=5)
    made.add_argument("--files", type=int, default=100_000, help="real files, unchanged (100000)")
    made.add_argument("--rows", type=int, default=1_281_167, help="rows in the database side's index (1281167)")
    options = parse(made, {"files": 500, "rows": 2000})
    ours = prepared(options)
    metadata = print_head([ours])
    folder = options.scratch / "no-change"
    whole = whole_process(ours, options.files, options.runs, folder)
    print_cases(whole)
    side = database_side(ours, options.rows, options.runs, folder)
    print()
    print_database_side(side)
    keep(options.json, {**metadata, "whole_process": whole, "database_side": side})


if __name__ == "__main__":
    main()
