"""This rclip compared with the older program of the same name on the package index: whole processes, in turns.

    .venv/bin/python benchmarks/versus_rclip.py --quick
    .venv/bin/python benchmarks/versus_rclip.py --json build/versus.json
    .venv/bin/python benchmarks/versus_rclip.py --json build/versus.json --resume --only index-small index-large

The other program ("peer" below) is installed with pip into an environment of its own, which needs Python 3.12 or 3.13.

What is measured is what a person waits for: a process from its start to its end, its wall time, the processor time of
all its cores ("CPU"), and its peak memory, mapped files included. The two run in turns, in the same folder, with the
same arguments and warm disk caches. Both run once before that, so that caches derived from the index exist. Each run
asks for a text that neither has seen, because this rclip remembers the vectors of texts. Figures are medians; a ratio
is the peer's median over ours, and the range after it holds the ratios of the single turns.

Both models have random weights. The peer's is OpenCLIP's ViT-B-32-256: 256 pixels, hence 65 tokens for each photo. Ours
is OpenAI's ViT-B/32: 224 pixels, 50 tokens. Their text towers have the same shape. The peer cannot index without a
search, so each indexing workload includes a query.

Results are written to the file of `--json` after each workload; `--resume` keeps those that it holds, if they come from
the same machine, programs and precision. `--precision float32` hides the processor's bf16 instructions from both
programs; the peer does not use them.
"""

import argparse
import itertools
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from common import (
    PEER_VERSION,
    QUERY,
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
    summary,
    timed_run,
    with_vectors,
    without_bf16,
    write_models,
)

PEER = f"rclip=={PEER_VERSION}"
PEER_PYTHONS = ("3.12", "3.13")
TOP = 10  # both print that many by default


class Sizes(NamedTuple):
    """How much of everything."""

    rows: Sequence[int]
    files: int
    photos: int
    large: int
    runs: int
    slow_runs: int


QUICK = Sizes(rows=(1_000, 5_000), files=1_000, photos=40, large=4, runs=3, slow_runs=2)


# --- the other program -----------------------------------------------------------------------------------------------


class Peer(Tool):
    name = "peer"
    _SUBFOLDER = "ViT-B-32-256-datacomp_s34b_b86k"
    _LEGAL_FILES = ("LICENSE", "OPENAI-CLIP-MIT.txt", "README.md", "THIRD_PARTY_NOTICES.md")
    """It takes a model for downloaded only if these lie beside it. Their content does not matter."""

    def __init__(self, scratch: Path, environment_dir: Path, base_python: Path | None):
        """`base_python` None to look for one that the program supports."""
        self._models = scratch / "models" / "peer"
        self._packages = scratch / "onnx-packages"
        self._environment = environment_dir
        self._python = environment_dir / "bin" / "python"
        self._base_python = base_python
        self.command = [str(environment_dir / "bin" / "rclip")]

    def prepare(self) -> None:
        """Installs the program and writes its models, unless that is done."""
        if self._installed_version() != PEER_VERSION:
            python = find_python(self._base_python)
            say(f"installing {PEER} into {self._environment}")
            run_quietly([python, "-m", "venv", "--clear", self._environment])
            run_quietly([self._python, "-m", "pip", "install", PEER])
        if not self._models.exists():
            self._write_models()

    def _installed_version(self) -> str:
        return self.versions.get("rclip", "") if self._python.exists() else ""

    def _write_models(self) -> None:
        """torch's exporter needs the onnx package, which neither program has: it gets a folder of its own."""
        if sys.platform == "darwin":
            raise SystemExit(f"{PEER} cannot be measured on macOS: there it indexes with a CoreML model, not with ONNX")
        packages = ["onnx", "ml_dtypes", "protobuf"]
        run_quietly(
            [sys.executable, "-m", "pip", "install", "--no-deps", "--upgrade", "--target", self._packages, *packages]
        )
        write_models("onnx", self._models, PYTHONPATH=str(self._packages))

    def new_data_dir(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True)
        (data_dir / self._SUBFOLDER).symlink_to(self._models)
        (data_dir / "tokenizer").symlink_to(self._models)
        for name in self._LEGAL_FILES:
            (data_dir / name).touch()

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


def find_python(named: Path | None) -> Path:
    """An interpreter that the peer supports: `named`, else one on PATH or of pyenv; exits if there is none."""
    for python in [named] if named else _installed_pythons():
        if _python_version(python) in PEER_PYTHONS:
            return python
    found = f"{named} is not one" if named else "there is none on PATH or in pyenv; install one or use --peer-python"
    raise SystemExit(f"{PEER} needs Python {' or '.join(PEER_PYTHONS)}: {found}")


def _installed_pythons() -> Iterator[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for version in PEER_PYTHONS:
        if on_path := shutil.which(f"python{version}"):
            yield Path(on_path)
        yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"))


def _python_version(python: Path) -> str:
    """As "3.12"; empty if it does not run, as pyenv's shims of versions that are not switched on."""
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


# --- the workloads ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    """A command line and the index and files that it runs on."""

    name: str
    label: str
    photos: int
    """How many the index holds in the end."""
    prepare: Callable[[Path], Callable[[], Iterable[Known]]]
    """Writes files into the library; returns a function that lists the photos that both indexes hold beforehand."""
    arguments: tuple[str, ...] = ("-f", QUERY)
    new_photos: int = 0
    """How many each run has to index; it starts every time from the same index."""
    is_slow: bool = False


def text_query(rows: int) -> Workload:
    """A text query without indexing: start-up, the text tower and the scan."""

    def prepare(library: Path) -> Callable[[], Iterable[Known]]:
        return lambda: made_up(library, rows)

    return Workload("text-query", f"text query, {rows:,} photos", rows, prepare, ("-n", "-f", QUERY))


def picture_query(name: str, width: int, height: int) -> Workload:
    """A picture that is not in the index as the query, without indexing, over a thousand photos."""

    def prepare(library: Path) -> Callable[[], Iterable[Known]]:
        draw_photo(library / "query.jpg", width, height, 0)
        return lambda: made_up(library, 1000)

    return Workload(name, f"{width}×{height} as query, 1,000 photos", 1000, prepare, ("-n", "-f", "./query.jpg"))


def ten_new() -> Workload:
    """Ten new small photos beside a thousand unchanged ones, then a text query: the everyday run."""

    def prepare(library: Path) -> Callable[[], Iterable[Known]]:
        draw_photos(library / "new", 640, 480, 10)
        files = list(on_disk(library, 1000))
        return lambda: files

    return Workload("ten-new", "10 new beside 1,000, query", 1010, prepare, new_photos=10)


def recheck(count: int) -> Workload:
    """A text query that first looks for changes among many files and finds none."""

    def prepare(library: Path) -> Callable[[], Iterable[Known]]:
        files = list(on_disk(library, count))
        return lambda: files

    return Workload("recheck", f"re-check {count:,} files, query", count, prepare, is_slow=True)


def index(name: str, count: int, width: int, height: int) -> Workload:
    """Indexing from nothing, then a text query. Of a small photo the model costs most, of a camera's the decoding."""

    def prepare(library: Path) -> Callable[[], Iterable[Known]]:
        draw_photos(library, width, height, count)
        return tuple

    label = f"index {count:,} of {width}×{height}, query"
    return Workload(name, label, count, prepare, new_photos=count, is_slow=True)


def workloads(sizes: Sizes) -> list[Workload]:
    return [
        *map(text_query, sizes.rows),
        picture_query("picture", 640, 480),
        picture_query("large-picture", 4000, 3000),
        ten_new(),
        recheck(sizes.files),
        index("index-small", sizes.photos, 640, 480),
        index("index-large", sizes.large, 4000, 3000),
    ]


NAMES = tuple(dict.fromkeys(workload.name for workload in workloads(QUICK)))


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(workload: Workload, tools: Sequence[Tool], runs: int, folder: Path) -> dict[str, Any]:
    """Runs one workload in a folder of its own, which is deleted afterwards."""
    library = emptied(folder) / "library"
    library.mkdir()
    say(f"{workload.label}: preparing")
    known = workload.prepare(library)
    first = {tool.name: _set_up(tool, folder / tool.name, library, workload, known) for tool in tools}
    cases = {tool.name: partial(_run_once, tool, folder / tool.name, library, workload) for tool in tools}
    found = in_turns(cases, runs, workload.label)
    shutil.rmtree(folder)
    return {
        "case": workload.name,
        "label": workload.label,
        "photos": workload.photos,
        "ratio": _ratio([run.seconds for run in found["peer"]], [run.seconds for run in found["ours"]]),
        "cpu_ratio": _ratio([run.cpu_seconds for run in found["peer"]], [run.cpu_seconds for run in found["ours"]]),
        **{name: _numbers(workload, first[name], found[name]) for name in found},
    }


def _ratio(peer: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """Of the medians, and the range of the single turns."""
    turns = [theirs / our for theirs, our in zip(peer, ours, strict=True)]
    return {"of_medians": statistics.median(peer) / statistics.median(ours), "min": min(turns), "max": max(turns)}


def _numbers(workload: Workload, first: Run | None, runs: Sequence[Run]) -> dict[str, Any]:
    """One program in one workload, with a rate where all photos are new."""
    numbers = summary(runs)
    photos_per_s = workload.photos / numbers["median_s"] if workload.new_photos == workload.photos else None
    return {"first_s": first and first.seconds, "photos_per_s": photos_per_s} | numbers


def _set_up(
    tool: Tool, data_dir: Path, library: Path, workload: Workload, known: Callable[[], Iterable[Known]]
) -> Run | None:
    """Makes the index and lets the program run once, without indexing where that is what will be measured."""
    tool.new_data_dir(data_dir)
    count = workload.photos - workload.new_photos
    if not count:
        return None
    tool.fill(data_dir, library, known())
    arguments = ("-n", *workload.arguments) if workload.new_photos else workload.arguments
    run = timed_run(tool, data_dir, library, arguments)
    _check(tool, data_dir, library, run, count)
    return run


def _run_once(tool: Tool, data_dir: Path, library: Path, workload: Workload) -> Run:
    """Where a run changes the index it is given a copy."""
    if workload.new_photos:
        data_dir = _copy(data_dir)
    number = next(_numbers_of_texts)
    arguments = [f"{QUERY}, number {number}" if argument == QUERY else argument for argument in workload.arguments]
    run = timed_run(tool, data_dir, library, arguments)
    _check(tool, data_dir, library, run, workload.photos)
    return run


_numbers_of_texts = itertools.count(1)


def _copy(data_dir: Path) -> Path:
    copy = data_dir.with_name(data_dir.name + "-copy")
    shutil.rmtree(copy, ignore_errors=True)
    return Path(shutil.copytree(data_dir, copy, symlinks=True))


def _check(tool: Tool, data_dir: Path, library: Path, run: Run, photos: int) -> None:
    """A program that did not do its work is not measured."""
    indexed = tool.count(data_dir, library)
    if indexed != photos or run.lines != min(TOP, photos):
        raise SystemExit(
            f"{tool.name}: {indexed} of {photos} photos indexed, {run.lines} paths printed\n{said(tool, data_dir)}"
        )


# --- results ---------------------------------------------------------------------------------------------------------


def conditions(content: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be equal for results to stand in one table."""
    machine = {key: content["machine"][key] for key in ("system", "cpu", "cores")}
    return machine | {key: content[key] for key in ("commit", "ours", "peer", "precision")}


def kept_results(path: Path, metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The results that the file holds; exits if they were measured under other conditions."""
    if not path.exists():
        return []
    content = json.loads(path.read_text())
    before, now = conditions(content), conditions(metadata)
    for key in now:
        if before[key] != now[key]:
            raise SystemExit(
                f"cannot continue {path}: its {key} is {before[key]}, now it is {now[key]}; "
                "measure into another file, without --resume"
            )
    return list(content["cases"])


COLUMNS = (
    "workload",
    "runs",
    "this rclip (224 px, 50 tokens): s",
    "ours: CPU s",
    "ours: MB",
    f"rclip {PEER_VERSION} (256 px, 65 tokens): s",
    "peer: CPU s",
    "peer: MB",
    "peer/ours: time",
    "peer/ours: CPU",
)


def _line(result: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        result["label"],
        str(len(result["ours"]["runs"])),
        *_cells(result["ours"]),
        *_cells(result["peer"]),
        _ratio_cell(result["ratio"]),
        _ratio_cell(result["cpu_ratio"]),
    )


def _cells(numbers: Mapping[str, Any]) -> Iterator[str]:
    rate = numbers["photos_per_s"]
    yield decimal(numbers["median_s"], 3) + (f" ({rate:.1f}/s)" if rate else "")
    yield decimal(numbers["median_cpu_s"], 3)
    yield decimal(numbers["peak_bytes"] / 1e6, 0)


def _ratio_cell(ratio: Mapping[str, float]) -> str:
    return f"{ratio['of_medians']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})"


def print_results(results: Iterable[Mapping[str, Any]]) -> None:
    ordered = sorted(results, key=lambda result: (NAMES.index(result["case"]), result["photos"]))
    print_table([COLUMNS, *map(_line, ordered)])
    print(
        f"\nMedians; each ratio is of the medians, with the range of the single turns. rclip {PEER_VERSION} runs a "
        "256-pixel model with 65 tokens for each photo, this rclip a 224-pixel one with 50; both with random weights."
    )


# --- the command -----------------------------------------------------------------------------------------------------


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument(
        "--only", nargs="+", choices=NAMES, default=NAMES, metavar="WORKLOAD", help=f"some of: {', '.join(NAMES)}"
    )
    sizes = [1_000, 200_000, 1_281_167]
    parser.add_argument("--rows", type=int, nargs="+", default=sizes, help="photos in the indexes of text-query")
    parser.add_argument("--files", type=int, default=100_000, help="unchanged files to check again (100000)")
    parser.add_argument("--photos", type=int, default=2_000, help="640×480 JPEGs to index (2000)")
    parser.add_argument("--large", type=int, default=400, help="12-megapixel JPEGs to index (400)")
    parser.add_argument("--runs", type=int, default=7, help="runs of each program in each workload (7)")
    parser.add_argument("--slow-runs", type=int, default=3, help="the same for recheck and index-* (3)")
    add_precision(parser)
    parser.add_argument("--quick", action="store_true", help="small sizes instead of all these: does it work?")
    parser.add_argument("--peer-venv", type=Path, default=Path("build/peer-venv"), help="where the peer is installed")
    parser.add_argument("--peer-python", type=Path, metavar="FILE", help="the Python 3.12 or 3.13 to install it with")
    parser.add_argument("--scratch", type=Path, default=Path("build/versus"), help="for models, indexes and photos")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every run's numbers there")
    parser.add_argument("--resume", action="store_true", help="measure only the workloads that FILE does not hold yet")
    options = parser.parse_args(arguments)
    if options.resume and not options.json:
        parser.error("--resume needs --json FILE")
    if options.json and options.json.exists() and not options.resume:
        parser.error(f"{options.json} exists: add --resume to continue it, or name another file")
    return options


def main() -> None:
    options = parse()
    sizes = QUICK if options.quick else Sizes(*(getattr(options, name) for name in Sizes._fields))
    scratch = options.scratch.resolve()
    (scratch / "models").mkdir(parents=True, exist_ok=True)
    ours, peer = Ours(scratch), Peer(scratch, options.peer_venv.absolute(), options.peer_python)
    peer.prepare()
    ours.prepare()
    if options.precision == "float32":
        ours.before = peer.before = without_bf16(scratch)
    metadata = {**print_head((ours, peer)), "precision": options.precision}
    print(f"precision {options.precision}\n", flush=True)
    results = kept_results(options.json, metadata) if options.resume else []
    held = {result["label"] for result in results}
    for workload in workloads(sizes):
        if workload.name in options.only and workload.label not in held:
            runs = sizes.slow_runs if workload.is_slow else sizes.runs
            results.append(measure(workload, (ours, peer), runs, scratch / workload.name))
            keep(options.json, {**metadata, "cases": results})
    print_results(results)


if __name__ == "__main__":
    main()
