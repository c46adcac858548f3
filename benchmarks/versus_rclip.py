"""This rclip beside the older program of the same name on the package index, on one machine in one run.

    .venv/bin/python benchmarks/versus_rclip.py --quick
    .venv/bin/python benchmarks/versus_rclip.py --rows 1281167 --json build/versus.json

Measured is what a person waits for: a whole process, from its start to its end, wall time and peak memory. The two run
in turns, in the same folder, with the same arguments, on warm disk caches. Before a case each has run once, so that
whatever it derives from its index is there; that run is the column "first s". "cpu s" is the processor time of all
cores, in the median. Memory counts mapped files.

The older program ("peer" below) is installed with pip into an environment of its own. Both get models with random
weights. It runs OpenCLIP's ViT-B-32-256, which takes 256 pixels where OpenAI's ViT-B/32 takes 224, and so has 65 tokens
to a photo where we have 50. It cannot index without a search, so indexing is measured with a query behind it.

`--precision float32` hides the processor's bf16 instructions from both. The peer does not use them.
"""

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from common import (
    QUERY,
    SPREAD_COLUMNS,
    Known,
    Ours,
    Run,
    Tool,
    add_precision,
    decimal,
    draw_photo,
    draw_photos,
    emptied,
    first_line,
    in_turns,
    keep,
    made_up,
    on_disk,
    print_head,
    print_table,
    run_quietly,
    said,
    say,
    spread_cells,
    summary,
    timed_run,
    with_vectors,
    without_bf16,
    write_models,
)

PEER = "rclip==3.3.0"
TOP = 10  # both print that many by default


class Sizes(NamedTuple):
    """How much of everything."""

    rows: int
    files: int
    photos: int
    large: int
    runs: int
    slow_runs: int


QUICK = Sizes(rows=5_000, files=1_000, photos=40, large=4, runs=3, slow_runs=2)


# --- the other program -----------------------------------------------------------------------------------------------


class Peer(Tool):
    name = "peer"
    _SUBFOLDER = "ViT-B-32-256-datacomp_s34b_b86k"

    def __init__(self, scratch: Path, environment_dir: Path):
        self._models = scratch / "models" / "peer"
        self._packages = scratch / "onnx-packages"
        self._environment = environment_dir
        self._python = environment_dir / "bin" / "python"
        self.command = [str(environment_dir / "bin" / "rclip")]

    def prepare(self) -> None:
        """Installs the program and writes its models, each once. It takes any files of the right names for models."""
        if self._installed_version() != PEER.partition("==")[2]:
            say(f"installing {PEER} into {self._environment}")
            venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(self._environment)
            run_quietly([str(self._python), "-m", "pip", "install", PEER])
        if not self._models.exists():
            self._write_models()

    def _installed_version(self) -> str:
        return self.versions.get("rclip", "") if self._python.exists() else ""

    def _write_models(self) -> None:
        """torch's exporter needs the onnx package, which neither program has: it is put aside, for this alone."""
        packages = ["onnx", "ml_dtypes", "protobuf"]
        run_quietly(
            [sys.executable, "-m", "pip", "install", "--no-deps", "--upgrade", "--target", self._packages, *packages]
        )
        write_models("onnx", self._models, PYTHONPATH=str(self._packages))

    def new_data_dir(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True)
        (data_dir / self._SUBFOLDER).symlink_to(self._models)
        (data_dir / "tokenizer").symlink_to(self._models)

    def fill(self, data_dir: Path, library: Path, known: Iterable[Known]) -> None:
        """Into the tables that the program itself has made, with what it would write there."""
        timed_run(self, data_dir, library, ("-n", "-f", QUERY))
        connection = sqlite3.connect(data_dir / "db.sqlite3")
        with connection:
            connection.executemany(
                "INSERT INTO images (filepath, modified_at, size, hash, vector) VALUES (?, ?, ?, ?, ?)",
                (
                    (row.path, row.mtime_s, row.size_bytes, f"{number:064x}", vector.tobytes())
                    for number, row, vector in with_vectors(known)
                ),
            )
        connection.close()

    def count(self, data_dir: Path, library: Path) -> int:
        connection = sqlite3.connect(data_dir / "db.sqlite3")
        (count,) = connection.execute("SELECT count(*) FROM images WHERE deleted IS NULL").fetchone()
        connection.close()
        return int(count)

    @property
    def versions(self) -> dict[str, str]:
        script = (
            "import json, platform; from importlib import metadata as m\n"
            "names = {d.name.lower() for d in m.distributions()} & {'rclip', 'onnxruntime', 'numpy', 'pillow'}\n"
            "print(json.dumps({'python': platform.python_version()} | {n: m.version(n) for n in sorted(names)}))"
        )
        return dict(json.loads(subprocess.check_output([self._python, "-I", "-c", script], text=True)))


# --- the cases -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What a case is run on."""

    label: str
    known: Callable[[], Iterable[Known]] = tuple
    """What both indexes hold beforehand."""
    arguments: tuple[str, ...] = ("-f", QUERY)
    new_photos: int = 0
    """How many each run has to index; it starts every time from the same index."""
    photos: int = 0
    """How many the index holds in the end."""
    is_slow: bool = False


def text_query(library: Path, sizes: Sizes) -> Setting:
    """A text query without indexing, over a thousand photos: the cost of starting and of reading the query."""
    return Setting("text query, 1,000 photos", lambda: made_up(library, 1000), ("-n", "-f", QUERY), photos=1000)


def rows(library: Path, sizes: Sizes) -> Setting:
    """A text query without indexing, over many photos: that and the scan."""
    return Setting(
        f"text query, {sizes.rows:,} photos",
        lambda: made_up(library, sizes.rows),
        ("-n", "-f", QUERY),
        photos=sizes.rows,
    )


def recheck(library: Path, sizes: Sizes) -> Setting:
    """A text query that first looks for changes among many files and finds none."""
    files = list(on_disk(library, sizes.files))
    return Setting(f"re-check {sizes.files:,} files, query", lambda: files, photos=sizes.files, is_slow=True)


def photos(library: Path, sizes: Sizes) -> Setting:
    """Indexing small photos from nothing, then a text query: decoding costs little, the model most."""
    draw_photos(library, 640, 480, sizes.photos)
    return _indexing(f"index {sizes.photos:,} of 640x480, query", sizes.photos)


def large_photos(library: Path, sizes: Sizes) -> Setting:
    """Indexing a camera's photos from nothing, then a text query: decoding costs as much as the model or more."""
    draw_photos(library, 4000, 3000, sizes.large)
    return _indexing(f"index {sizes.large:,} of 4000x3000, query", sizes.large)


def _indexing(label: str, count: int) -> Setting:
    return Setting(label, new_photos=count, photos=count, is_slow=True)


def picture(library: Path, sizes: Sizes) -> Setting:
    """A small picture as the query without indexing, over a thousand photos."""
    return _picture(library, 640, 480)


def large_picture(library: Path, sizes: Sizes) -> Setting:
    """The same with a camera's photo."""
    return _picture(library, 4000, 3000)


def _picture(library: Path, width: int, height: int) -> Setting:
    draw_photo(library / "query.jpg", width, height, 0)
    return Setting(
        f"{width}x{height} as query, 1,000 photos",
        lambda: made_up(library, 1000),
        ("-n", "-f", "./query.jpg"),
        photos=1000,
    )


def ten_new(library: Path, sizes: Sizes) -> Setting:
    """Ten new small photos beside a thousand unchanged ones, then a text query: the everyday run."""
    draw_photos(library / "new", 640, 480, 10)
    files = list(on_disk(library, 1000))
    return Setting("10 new beside 1,000, query", lambda: files, new_photos=10, photos=1010)


CASES: dict[str, Callable[[Path, Sizes], Setting]] = {
    "query": text_query,
    "rows": rows,
    "recheck": recheck,
    "photos": photos,
    "large-photos": large_photos,
    "picture": picture,
    "large-picture": large_picture,
    "ten-new": ten_new,
}


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(name: str, tools: Sequence[Tool], sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Runs one case in a folder of its own, which is gone afterwards."""
    library = emptied(folder) / "library"
    library.mkdir()
    say(f"{name}: preparing")
    setting = CASES[name](library, sizes)
    first = {tool.name: _set_up(tool, folder / tool.name, library, setting) for tool in tools}
    cases = {tool.name: partial(_run_once, tool, folder / tool.name, library, setting) for tool in tools}
    runs = in_turns(cases, sizes.slow_runs if setting.is_slow else sizes.runs, name)
    shutil.rmtree(folder)
    results = {tool: _numbers(first[tool], runs[tool], setting.new_photos) for tool in runs}
    ratio = results["peer"]["median_s"] / results["ours"]["median_s"]
    return {"case": name, "label": setting.label, "photos": setting.photos, "ratio": ratio} | results


def _numbers(first: Run | None, runs: Sequence[Run], new_photos: int) -> dict[str, Any]:
    """One program in one case."""
    numbers = summary(runs)
    photos_per_s = new_photos / numbers["median_s"] if new_photos else None
    return {"first_s": first and first.seconds, "photos_per_s": photos_per_s} | numbers


def _set_up(tool: Tool, data_dir: Path, library: Path, setting: Setting) -> Run | None:
    """Makes the index and lets the program run once, without indexing where that is what will be measured."""
    tool.new_data_dir(data_dir)
    known = setting.photos - setting.new_photos
    if not known:
        return None
    tool.fill(data_dir, library, setting.known())
    arguments = ("-n", *setting.arguments) if setting.new_photos else setting.arguments
    run = timed_run(tool, data_dir, library, arguments)
    _check(tool, data_dir, library, run, known)
    return run


def _run_once(tool: Tool, data_dir: Path, library: Path, setting: Setting) -> Run:
    """Where a run changes the index it is given a copy."""
    if setting.new_photos:
        data_dir = _copy(data_dir)
    run = timed_run(tool, data_dir, library, setting.arguments)
    _check(tool, data_dir, library, run, setting.photos)
    return run


def _copy(data_dir: Path) -> Path:
    copy = data_dir.with_name(data_dir.name + "-copy")
    shutil.rmtree(copy, ignore_errors=True)
    return Path(shutil.copytree(data_dir, copy, symlinks=True))


def _check(tool: Tool, data_dir: Path, library: Path, run: Run, photos: int) -> None:
    """A program that did not do its work is not measured."""
    there = tool.count(data_dir, library)
    if there != photos or run.lines != min(TOP, photos):
        raise SystemExit(
            f"{tool.name}: {there} of {photos} photos indexed, {run.lines} paths printed\n{said(tool, data_dir)}"
        )


# --- telling ---------------------------------------------------------------------------------------------------------


COLUMNS = ("case", "", *SPREAD_COLUMNS, "cpu s", "first s", "photos/s", "peak MB", "peer/ours")


def _lines(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for tool in ("ours", "peer"):
        numbers = result[tool]
        yield (
            result["label"] if tool == "ours" else "",
            tool,
            *spread_cells(numbers),
            decimal(numbers["median_cpu_s"], 3),
            decimal(numbers["first_s"], 3),
            decimal(numbers["photos_per_s"], 1),
            decimal(numbers["peak_bytes"] / 1e6, 0),
            f"{result['ratio']:.2f}" if tool == "peer" else "",
        )


# --- the command -----------------------------------------------------------------------------------------------------


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"all, or some of: {', '.join(CASES)}")
    parser.add_argument("--rows", type=int, default=100_000, help="photos in the large index (100000)")
    parser.add_argument("--files", type=int, default=20_000, help="unchanged files to check again (20000)")
    parser.add_argument("--photos", type=int, default=200, help="640x480 JPEGs to index (200)")
    parser.add_argument("--large", type=int, default=40, help="12-megapixel JPEGs to index (40)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each program in each case (5)")
    parser.add_argument("--slow-runs", type=int, default=3, help="the same where indexing is measured (3)")
    add_precision(parser)
    parser.add_argument("--quick", action="store_true", help="small sizes instead of all these: does it work?")
    parser.add_argument("--peer-venv", type=Path, default=Path("build/peer-venv"), help="where the peer is installed")
    parser.add_argument("--scratch", type=Path, default=Path("build/versus"), help="for models, indexes and photos")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every run's numbers there")
    options = parser.parse_args(arguments)
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    return options


def main() -> None:
    options = parse()
    sizes = QUICK if options.quick else Sizes(*(getattr(options, name) for name in Sizes._fields))
    scratch = options.scratch.resolve()
    (scratch / "models").mkdir(parents=True, exist_ok=True)
    ours, peer = Ours(scratch), Peer(scratch, options.peer_venv.absolute())
    ours.prepare()
    peer.prepare()
    if options.precision == "float32":
        ours.before = peer.before = without_bf16(scratch)
    found = print_head((ours, peer))
    print(f"precision {options.precision}", flush=True)
    results = [measure(name, (ours, peer), sizes, scratch / name) for name in options.cases or CASES]
    print_table([COLUMNS, *(line for result in results for line in _lines(result))], texts=2)
    keep(options.json, {**found, "precision": options.precision, "sizes": sizes._asdict(), "cases": results})


if __name__ == "__main__":
    main()
