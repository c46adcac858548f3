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
"""

import argparse
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
PEER = "rclip==3.3.0"
QUERY = "a red kite over the sea"
TOP = 10  # both print that many by default
DIMENSIONS = 512
CHUNK_ROWS = 8192


class Sizes(NamedTuple):
    """How much of everything."""

    rows: int
    files: int
    photos: int
    large: int
    runs: int
    slow_runs: int


QUICK = Sizes(rows=5_000, files=1_000, photos=40, large=4, runs=3, slow_runs=2)


# --- what is already indexed -----------------------------------------------------------------------------------------


class Known(NamedTuple):
    """A file that both indexes hold."""

    path: str
    size_bytes: int
    mtime_ns: int
    mtime_s: float
    device: int
    inode: int


def made_up(library: Path, count: int) -> Iterator[Known]:
    """Photos that are only in the index, a thousand to a folder: a search alone never looks at the disk."""
    for number in range(count):
        mtime_s = 1_500_000_000 + number
        path = f"{library}/{number // 1000:04}/IMG_{number:07}.jpg"
        yield Known(path, 3_000_000 + number, mtime_s * 1_000_000_000, mtime_s, 1, number + 1)


def on_disk(library: Path, count: int) -> Iterator[Known]:
    """Files of one byte, five hundred to a folder: a run that finds them unchanged never opens them."""
    for number in range(count):
        path = library / f"{number // 500:04}" / f"IMG_{number:07}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        status = path.stat()
        yield Known(str(path), status.st_size, status.st_mtime_ns, status.st_mtime, status.st_dev, status.st_ino)


def unit_vectors(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, DIMENSIONS) float32, rows of length 1"""
    vectors = rng.standard_normal((count, DIMENSIONS), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def with_vectors(known: Iterable[Known]) -> Iterator[tuple[int, Known, np.ndarray]]:
    """Each file with its number and a random vector, the same ones at every call."""
    rng = np.random.default_rng(0)
    number, remaining = 0, iter(known)
    while chunk := list(islice(remaining, CHUNK_ROWS)):
        for row, vector in zip(chunk, unit_vectors(rng, len(chunk)), strict=True):
            yield number, row, vector
            number += 1


# --- photos ----------------------------------------------------------------------------------------------------------


def draw_photo(path: Path, width: int, height: int, number: int) -> None:
    """A JPEG about as large as a camera's of that size (100 KB at 640x480, 3.5 MB at 4000x3000): sky, shapes, grain."""
    rng = np.random.default_rng(number)
    picture = _gradient(rng, width, height)
    _scatter_shapes(ImageDraw.Draw(picture), rng, width, height)
    pixels = np.asarray(picture, np.int16) + rng.integers(-12, 13, (height, width, 1), np.int16)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=88)


def _gradient(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    corners = rng.integers(0, 256, (2, 2, 3), np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)


def _scatter_shapes(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, height: int) -> None:
    for _ in range(60):
        x, y = rng.integers(0, width), rng.integers(0, height)
        radius = rng.integers(height // 100 + 1, height // 6)
        box = [int(edge) for edge in (x - radius, y - radius, x + radius, y + radius)]
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=tuple(rng.integers(0, 256, 3).tolist()))


def draw_photos(folder: Path, width: int, height: int, count: int, first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        draw_photo(folder / f"DSC_{number:05}.jpg", width, height, number)


# --- the two programs ------------------------------------------------------------------------------------------------


class Tool:
    """One of the two programs, and what has to lie where for it."""

    name: str
    command: list[str]

    @property
    def versions(self) -> dict[str, str]:
        """Of Python and of the packages that decide its speed."""
        raise NotImplementedError

    def new_data_dir(self, data_dir: Path) -> None:
        """An empty data folder with the models in place."""
        raise NotImplementedError

    def fill(self, data_dir: Path, library: Path, known: Iterable[Known]) -> None:
        """Puts rows into the index without a look at the files."""
        raise NotImplementedError

    def count(self, data_dir: Path, library: Path) -> int:
        """How many photos the index holds."""
        raise NotImplementedError


class Ours(Tool):
    name = "ours"

    def __init__(self, scratch: Path):
        self._checkpoint = scratch / "models" / "random-ViT-B-32.pt"
        self._prepared = scratch / "models" / "ours"
        self.command = [str(Path(sys.executable).with_name("rclip")), "--model", str(self._checkpoint)]

    def prepare(self) -> None:
        """Writes the checkpoint, once, and has our program read it, which it does once too."""
        if not self._checkpoint.exists():
            write_models("checkpoint", self._checkpoint)
        self._prepared.mkdir(exist_ok=True)
        timed_run(self, self._prepared, self._prepared, ("-n", QUERY))

    def new_data_dir(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True)
        (data_dir / "models").symlink_to(self._prepared / "models")

    def _open(self, data_dir: Path, library: Path) -> Any:
        from rclip import Library

        return Library(library, model=str(self._checkpoint), data_dir=data_dir)

    def fill(self, data_dir: Path, library: Path, known: Iterable[Known]) -> None:
        from rclip.store import Stamp

        with self._open(data_dir, library) as opened:
            store = opened._store  # the one that the command will open
            with store.transaction():
                for number, row, vector in with_vectors(known):
                    stamp = Stamp(row.size_bytes, row.mtime_ns, row.device, row.inode)
                    store.add(os.fsencode(row.path), stamp, number.to_bytes(16), vector)

    def count(self, data_dir: Path, library: Path) -> int:
        with self._open(data_dir, library) as opened:
            return opened.stats().photos

    @property
    def versions(self) -> dict[str, str]:
        packages = ("rclip", "torch", "numpy", "pillow")
        return {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}


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


def write_models(kind: str, target: Path, **variables: str) -> None:
    """In a process of its own, because it imports torch."""
    say(f"writing random models: {target}")
    partial = target.with_name(target.name + ".partial")
    run_quietly([sys.executable, str(HERE / "random_models.py"), kind, str(partial)], **variables)
    partial.rename(target)


def run_quietly(command: Sequence[str | Path], **variables: str) -> None:
    """Runs a command and shows what it said only if it failed."""
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- one run ---------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """What one process took."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    lines: int
    """How many paths it printed."""


def environment(data_dir: Path) -> dict[str, str]:
    """Ours, but for what could reach into either program; a download would fail at once."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RCLIP_", "PYTHON"))}
    return kept | {"RCLIP_DATADIR": str(data_dir), "HF_HUB_OFFLINE": "1"}


def timed_run(tool: Tool, data_dir: Path, library: Path, arguments: Sequence[str]) -> Run:
    """Runs the program in `library` with its output to files, as a pipe would take it."""
    report, out, err = (data_dir.parent / f"{tool.name}.{kind}" for kind in ("report", "out", "err"))
    helper = [sys.executable, "-I", "-S", str(HERE / "timed.py"), str(report), *tool.command, *arguments]
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        subprocess.run(
            helper,
            cwd=library,
            env=environment(data_dir),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            check=True,
        )
    took = json.loads(report.read_text())
    if took.pop("exit_status") not in (0, 1):  # 1: ours found nothing
        raise SystemExit(f"{tool.name} failed:\n{err.read_text(errors='replace')}")
    return Run(**took, lines=out.read_bytes().count(b"\n"))


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


@dataclass
class Measured:
    """One program in one case."""

    first: Run | None = None
    runs: list[Run] = field(default_factory=list)
    new_photos: int = 0

    @property
    def median_s(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    def summary(self) -> dict[str, Any]:
        seconds = [run.seconds for run in self.runs]
        return {
            "first_s": self.first and self.first.seconds,
            "min_s": min(seconds),
            "median_s": self.median_s,
            "median_cpu_s": statistics.median(run.cpu_seconds for run in self.runs),
            "max_s": max(seconds),
            "photos_per_s": self.new_photos / self.median_s if self.new_photos else None,
            "peak_bytes": max(run.peak_bytes for run in self.runs),
            "runs": [run._asdict() for run in self.runs],
        }


def measure(name: str, tools: Sequence[Tool], sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Runs one case in a folder of its own, which is gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    library = folder / "library"
    library.mkdir(parents=True)
    say(f"{name}: preparing")
    setting = CASES[name](library, sizes)
    measured = {tool.name: Measured(new_photos=setting.new_photos) for tool in tools}
    for tool in tools:
        measured[tool.name].first = _set_up(tool, folder / tool.name, library, setting)
    for number in range(sizes.slow_runs if setting.is_slow else sizes.runs):
        for tool in tools:
            run = _run_once(tool, folder / tool.name, library, setting)
            measured[tool.name].runs.append(run)
            say(f"{name}: run {number + 1}: {tool.name} {run.seconds:.3f} s, {run.peak_bytes / 1e6:.0f} MB")
    shutil.rmtree(folder)
    results = {tool: result.summary() for tool, result in measured.items()}
    ratio = measured["peer"].median_s / measured["ours"].median_s
    return {"case": name, "label": setting.label, "photos": setting.photos, "ratio": ratio} | results


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
        said = (data_dir.parent / f"{tool.name}.err").read_text(errors="replace")
        raise SystemExit(f"{tool.name}: {there} of {photos} photos indexed, {run.lines} paths printed\n{said}")


# --- telling ---------------------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": cores,
        "memory_gib": round(memory_bytes / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def commit() -> str:
    """Which state of ours is measured; a plus stands for changes that are not committed."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=HERE, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return said.stdout.strip()


def print_head(facts: dict[str, Any]) -> None:
    there = facts["machine"]
    print(f"{there['cores']} cores, {there['cpu']}, {there['memory_gib']} GiB, {there['system']}", end="")
    print(f", load {there['load_average']} before the first run")
    print("ours:", _listed(facts["ours"]), facts["commit"])
    print("peer:", _listed(facts["peer"]))


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


COLUMNS = ("case", "", "min s", "median s", "max s", "cpu s", "first s", "photos/s", "peak MB", "peer/ours")


def print_table(results: Sequence[dict[str, Any]]) -> None:
    """In Markdown, so that it can be pasted."""
    lines = [COLUMNS, *(line for result in results for line in _lines(result))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    lines.insert(
        1, tuple("-" * width if column < 2 else "-" * (width - 1) + ":" for column, width in enumerate(widths))
    )
    for line in lines:
        cells = (
            cell.ljust(width) if n < 2 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("| " + " | ".join(cells) + " |")


def _lines(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for tool in ("ours", "peer"):
        numbers = result[tool]
        yield (
            result["label"] if tool == "ours" else "",
            tool,
            *(_number(numbers[key], 3) for key in ("min_s", "median_s", "max_s", "median_cpu_s", "first_s")),
            _number(numbers["photos_per_s"], 1),
            _number(numbers["peak_bytes"] / 1e6, 0),
            f"{result['ratio']:.2f}" if tool == "peer" else "",
        )


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


# --- the command -----------------------------------------------------------------------------------------------------


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"all, or some of: {', '.join(CASES)}")
    parser.add_argument("--rows", type=int, default=100_000, help="photos in the large index (100000)")
    parser.add_argument("--files", type=int, default=20_000, help="unchanged files to check again (20000)")
    parser.add_argument("--photos", type=int, default=200, help="640x480 JPEGs to index (200)")
    parser.add_argument("--large", type=int, default=40, help="12-megapixel JPEGs to index (40)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each program in each case (5)")
    parser.add_argument("--slow-runs", type=int, default=3, help="the same where indexing is measured (3)")
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
    facts = {"machine": machine(), "commit": commit(), "ours": ours.versions, "peer": peer.versions}
    print_head(facts)
    if facts["machine"]["load_average"] > 0.5:
        say("other programs are running: these will not be the times of an idle machine")
    results = [measure(name, (ours, peer), sizes, scratch / name) for name in options.cases or CASES]
    print_table(results)
    if options.json:
        options.json.write_text(json.dumps({**facts, "sizes": sizes._asdict(), "cases": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
