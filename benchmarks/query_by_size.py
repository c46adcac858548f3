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
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

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

Points = Sequence[tuple[float, float]]
"""Photos and seconds."""

WIDTH, HEIGHT, MARGIN = 640, 400, 60
COLORS = ("#1f77b4", "#d62728")


def plot(series: Mapping[str, Points]) -> str:
    """An SVG of seconds against photos, both logarithmic, one line and one colour for each series."""
    points = [point for line in series.values() for point in line]
    across, down = (_axis([point[place] for point in points]) for place in (0, 1))

    def place(photos: float, seconds: float) -> tuple[float, float]:
        x = MARGIN + _share(photos, across) * (WIDTH - 2 * MARGIN)
        return x, HEIGHT - MARGIN - _share(seconds, down) * (HEIGHT - 2 * MARGIN)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(WIDTH / 2, HEIGHT - 12, "photos in the library", "middle"),
        _text(MARGIN, 24, "seconds for a whole query", "start"),
        *_grid(across, down, place),
    ]
    for (name, line), color in zip(series.items(), COLORS, strict=False):
        parts += _line(name, [place(*point) for point in sorted(line)], color)
    return "\n".join([*parts, "</svg>", ""])


def _axis(values: Sequence[float]) -> range:
    """The powers of ten around them."""
    return range(math.floor(math.log10(min(values))), max(math.ceil(math.log10(max(values))), 1) + 1)


def _share(value: float, axis: range) -> float:
    """Where on the axis: 0 at its start, 1 at its end."""
    return (math.log10(value) - axis[0]) / (axis[-1] - axis[0])


def _grid(across: range, down: range, place: Callable[[float, float], tuple[float, float]]) -> Iterator[str]:
    low, high = (10.0 ** across[0], 10.0 ** down[0]), (10.0 ** across[-1], 10.0 ** down[-1])
    for power in across:
        x, _ = place(10.0**power, low[1])
        yield f'<path d="M{x:.1f} {MARGIN}V{HEIGHT - MARGIN}" stroke="#ddd"/>'
        yield _text(x, HEIGHT - MARGIN + 18, f"{10**power:,}", "middle")
    for power in down:
        _, y = place(high[0], 10.0**power)
        yield f'<path d="M{MARGIN} {y:.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>'
        yield _text(MARGIN - 6, y + 4, f"{10.0**power:g}", "end")


def _line(name: str, places: Sequence[tuple[float, float]], color: str) -> Iterator[str]:
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{corners}" fill="none" stroke="{color}" stroke-width="2"/>'
    yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places)
    x, y = places[-1]
    yield _text(x, y - 10, name, "end", color)


def _text(x: float, y: float, text: str, anchor: str, color: str = "black") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'


def peer_points(paths: Iterable[Path]) -> Points:
    """What versus_rclip.py has measured of the older program's text queries."""
    cases = [case for path in paths for case in json.loads(path.read_text())["cases"]]
    return [(case["photos"], case["peer"]["median_s"]) for case in cases if case["case"] == "text-query"]


def draw(path: Path, results: Sequence[Mapping[str, Any]], peer: Iterable[Path]) -> None:
    series = {"this rclip": [(result["n"], result["median_s"]) for result in results if result["case"] == "query"]}
    older = peer_points(peer)
    path.write_text(plot(series | ({f"rclip {PEER_VERSION}": older} if older else {})))


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
