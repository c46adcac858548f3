"""What the benchmarks share: made-up libraries, drawn photos, our program with its model, timed runs, and tables."""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
QUERY = "a red kite over the sea"
DIMENSIONS = 512
CHUNK_ROWS = 8192
PEER_VERSION = "4.0.8"
"""Of the older program of the same name that ours is compared with."""


# --- what is already indexed -----------------------------------------------------------------------------------------


class Known(NamedTuple):
    """A file that an index holds."""

    path: str
    size_bytes: int
    mtime_ns: int
    mtime_s: float
    device: int
    inode: int
    digest: bytes | None = None
    """None where no run will compare it with a file's."""


def made_up(library: Path, count: int, folder_photos: int = 1000) -> Iterator[Known]:
    """Photos that are only in the index, some to a folder, in path order: a search never looks at the disk."""
    for number in range(count):
        mtime_s = 1_500_000_000 + number
        path = f"{library}/{number // folder_photos:04}/IMG_{number:07}.jpg"
        yield Known(path, 3_000_000 + number, mtime_s * 1_000_000_000, mtime_s, 1, number + 1)


def on_disk(library: Path, count: int) -> Iterator[Known]:
    """Files of one byte, five hundred to a folder: a run that finds them unchanged never opens them."""
    for number in range(count):
        yield known_file(write_numbered(library, number, b"x"))


def write_numbered(library: Path, number: int, content: bytes) -> Path:
    """A file in the folder that its number belongs to."""
    path = library / f"{number // 500:04}" / f"IMG_{number:07}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def known_file(path: Path, digest: bytes | None = None) -> Known:
    """A file as it lies on the disk now."""
    status = path.stat()
    times = status.st_mtime_ns, status.st_mtime
    return Known(str(path), status.st_size, *times, status.st_dev, status.st_ino, digest)


def unit_vectors(rng: np.random.Generator, count: int, dimensions: int = DIMENSIONS) -> np.ndarray:
    """(count, dimensions) float32, rows of length 1"""
    vectors = rng.standard_normal((count, dimensions), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


class Gap:
    """Made-up photos and texts as CLIP has them: each kind in a cone of its own, with a gap in between.

    Photos come in clusters, and differ in some directions more than in others. A text is nearer to the photos that it
    fits than to others, but less near to any than photos are to each other: its cosines are about 0.2, and 0.3 at best.
    Who tests an approximate index with photos as queries is told of far better answers than a text will get.
    """

    def __init__(self, clusters: int = 2000, dimensions: int = DIMENSIONS):
        rng = np.random.default_rng(11)
        spread = (np.arange(1, dimensions + 1, dtype=np.float32) ** -0.25)[rng.permutation(dimensions)]
        self._spread = spread / np.linalg.norm(spread)
        self._cone, self._text_cone = unit_vectors(rng, 2, dimensions)
        self._centres = self._spread * rng.standard_normal((clusters, dimensions), dtype=np.float32)

    def photos(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, D) float16, of length 1"""
        vectors = rng.standard_normal((count, len(self._spread)), dtype=np.float32)
        vectors *= 0.55 * self._spread
        vectors += 0.55 * self._centres[rng.integers(len(self._centres), size=count)]
        vectors += 0.65 * self._cone
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors.astype(np.float16)

    def texts(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, D) float32, of length 1: each about one photo that need not be there"""
        meant = self.photos(rng, count).astype(np.float32) - 0.65 * self._cone
        meant /= np.linalg.norm(meant, axis=1, keepdims=True)
        other = self._spread * rng.standard_normal((count, len(self._spread)), dtype=np.float32)
        vectors = 0.25 * meant + 0.22 * self._cone + 0.75 * self._text_cone + 0.5 * other
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def write_matrix(database: Path, rows: int, photos: Callable[[np.random.Generator, int], np.ndarray]) -> None:
    """An index without photos and the matrix of a large one, of vectors (n, D) float16 that `photos` makes.

    The database of ten million photos would take 24 GB and tell nothing more.
    """
    from rclip.index import vector_cache
    from rclip.index.store import Store

    rng = np.random.default_rng(0)
    store = Store(str(database), "benchmark", 1)
    cache = vector_cache.VectorCache(store)
    with store.transaction():
        contents = cache._start_anew()
        crc32 = [0, 0]
        paths = [cache._path(kind, contents) for kind in ("vectors", "ids")]
        with open(paths[0], "wb") as vectors_file, open(paths[1], "wb") as ids_file:
            for start in range(0, rows, CHUNK_ROWS):
                ids = np.arange(start + 1, min(start + CHUNK_ROWS, rows) + 1)
                vectors = photos(rng, len(ids))
                for place, (file, part) in enumerate(((vectors_file, vectors), (ids_file, ids))):
                    file.write(part.data)
                    crc32[place] = zlib.crc32(part.data, crc32[place])
                dimensions = vectors.shape[1]
        contents = contents._replace(rows=rows, dimensions=dimensions, last_id=rows, crc32=crc32)
        contents = contents._replace(stats=cache._stats(contents))
        store.set_note(vector_cache._NOTE, vector_cache._note(contents))
        cache._write_manifest(contents)
    store.close()


def forget_cached(folder: Path) -> None:
    """Has the system read the folder's files from the disk again, as far as it can be asked to."""
    os.sync()
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def with_vectors(known: Iterable[Known], dimensions: int = DIMENSIONS) -> Iterator[tuple[int, Known, np.ndarray]]:
    """Each file with its number and a random vector, the same ones at every call."""
    rng = np.random.default_rng(0)
    number, remaining = 0, iter(known)
    while chunk := list(islice(remaining, CHUNK_ROWS)):
        for row, vector in zip(chunk, unit_vectors(rng, len(chunk), dimensions), strict=True):
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


# --- the programs ----------------------------------------------------------------------------------------------------


class Tool:
    """A program, and what has to lie where for it."""

    name: str
    command: list[str]
    before: Sequence[str] = ()
    """A command that runs the rest of its line, and is not timed."""

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

    def __init__(self, scratch: Path, model: str | None = None):
        """`model` None for a ViT-B/32 with random weights, else what `rclip --model` takes."""
        self._random = scratch / "models" / "random-ViT-B-32.pt"
        self.model = model or str(self._random)
        self._prepared = scratch / "models" / "ours"
        self.command = [str(Path(sys.executable).with_name("rclip")), "--model", self.model]

    def prepare(self) -> None:
        """Writes the checkpoint, once, and has our program read it, which it does once too."""
        self._prepared.mkdir(parents=True, exist_ok=True)
        if self.model == str(self._random) and not self._random.exists():
            write_models("checkpoint", self._random)
        timed_run(self, self._prepared, self._prepared, ("-n", QUERY))

    def new_data_dir(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True)
        (data_dir / "models").symlink_to(self._prepared / "models")

    def open(self, data_dir: Path, library: Path) -> Any:
        """The index as the command will open it: a `Library`."""
        from rclip import Library

        return Library(library, model=self.model, data_dir=data_dir)

    def fill(
        self,
        data_dir: Path,
        library: Path,
        known: Iterable[Known],
        metadata: Callable[[int], Any] | None = None,
    ) -> None:
        """`facts` gives those of the photo of that number."""
        from rclip.files import FileStat
        from rclip.photo.metadata import NO_METADATA

        with self.open(data_dir, library) as opened:
            store = opened._parts[0][0].store  # the one that the command will open
            dimensions = opened._model.config.dimensions
            with store.transaction():
                for number, row, vector in with_vectors(known, dimensions):
                    stat = FileStat(row.size_bytes, row.mtime_ns, row.device, row.inode)
                    digest = row.digest or number.to_bytes(16)
                    store.files.add(
                        os.fsencode(row.path), stat, digest, vector, metadata(number) if metadata else NO_METADATA
                    )

    def count(self, data_dir: Path, library: Path) -> int:
        with self.open(data_dir, library) as opened:
            return opened.stats().photos

    @property
    def versions(self) -> dict[str, str]:
        packages = ("rclip", "torch", "numpy", "numkong", "pillow")
        return {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}


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


# --- timed runs ------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """What one process took."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    lines: int
    """How many paths it printed."""


def environment(data_dir: Path) -> dict[str, str]:
    """Ours, but for what could reach into a program; a download would fail at once."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RCLIP_", "PYTHON", "OPENBLAS_"))}
    return kept | {"RCLIP_DATADIR": str(data_dir), "HF_HUB_OFFLINE": "1"}


def timed_run(tool: Tool, data_dir: Path, library: Path, arguments: Sequence[str]) -> Run:
    """Runs the program in `library` with its output to files, as a pipe would take it."""
    report, out, err = (data_dir.parent / f"{tool.name}.{kind}" for kind in ("report", "out", "err"))
    helper = [*tool.before, sys.executable, "-I", "-S", str(HERE / "timed.py"), str(report), *tool.command, *arguments]
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
        raise SystemExit(f"{tool.name} failed:\n{said(tool, data_dir)}")
    return Run(**took, lines=out.read_bytes().count(b"\n"))


HALF_PRECISION = ("avx512_bf16", "amx_bf16", "bf16")


def add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=["auto", "float32"], default="auto", help="float32: hide bf16 instructions (Linux)"
    )


def without_bf16(folder: Path) -> list[str]:
    """What to put before a command so that the machine has no half precision for it.

    It runs in a mount namespace of its own (Linux, `unshare`) whose /proc/cpuinfo does not list the instructions.
    Nothing in the programs is changed.
    """
    hidden = folder / "cpuinfo"
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    hidden.write_text("".join(" ".join(w for w in line.split(" ") if w not in HALF_PRECISION) + "\n" for line in lines))
    script = 'mount --bind "$1" /proc/cpuinfo && shift && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(hidden)]


def said(tool: Tool, data_dir: Path) -> str:
    """What the program's last run wrote on stderr."""
    return (data_dir.parent / f"{tool.name}.err").read_text(errors="replace")


def in_turns(cases: Mapping[str, Callable[[], Run]], times: int, title: str) -> dict[str, list[Run]]:
    """Runs each case, then each again, and so on: what disturbs the machine for a while disturbs them all."""
    runs: dict[str, list[Run]] = {name: [] for name in cases}
    for number in range(times):
        for name, case in cases.items():
            run = case()
            runs[name].append(run)
            say(f"{title}: run {number + 1}: {name} {run.seconds:.3f} s, {run.peak_bytes / 1e6:.0f} MB")
    return runs


def in_own_process(measure: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns when it is called in a fresh interpreter, whose memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def own_peak_bytes() -> int:
    """The most memory that this process has had, mapped files counted as the kernel counts them."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:  # getrusage also counts what a parent had
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def spread(seconds: Sequence[float]) -> dict[str, float]:
    return {"min_s": min(seconds), "median_s": statistics.median(seconds), "max_s": max(seconds)}


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Of one case's runs, for a table and for JSON."""
    return {
        **spread([run.seconds for run in runs]),
        "median_cpu_s": statistics.median(run.cpu_seconds for run in runs),
        "peak_bytes": max(run.peak_bytes for run in runs),
        "runs": [run._asdict() for run in runs],
    }


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
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=HERE, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()


def conditions(tools: Sequence[Tool]) -> dict[str, Any]:
    """What the figures depend on."""
    return {"machine": machine(), "commit": commit()} | {tool.name: tool.versions for tool in tools}


def print_head(tools: Sequence[Tool]) -> dict[str, Any]:
    """Prints and returns the facts, and warns where other programs are at work."""
    found = conditions(tools)
    there = found["machine"]
    print(f"{there['cores']} cores, {there['cpu']}, {there['memory_gib']} GiB, {there['system']}", end="")
    print(f", load {there['load_average']} before the first run")
    for tool in tools:
        versions = ", ".join(f"{name} {version}" for name, version in found[tool.name].items())
        print(f"{tool.name}: {versions}", found["commit"] if tool is tools[0] else "", flush=True)
    if there["load_average"] > 0.5:
        say("other programs are running: these will not be the times of an idle machine")
    return found


def print_table(lines: Sequence[Sequence[str]], texts: int = 1) -> None:
    """In Markdown, so that it can be pasted. The first line holds the headings; the first `texts` columns are text."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * width if column < texts else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    for line in (lines[0], rule, *lines[1:]):
        cells = (
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("| " + " | ".join(cells) + " |")


def decimal(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


SPREAD_COLUMNS = ("min s", "median s", "max s")


def spread_cells(numbers: Mapping[str, Any], digits: int = 3) -> list[str]:
    return [decimal(numbers[key], digits) for key in ("min_s", "median_s", "max_s")]


def print_cases(results: Sequence[Mapping[str, Any]]) -> None:
    """One line for each case: `case`, `n`, and a `summary`."""
    lines = [("case", "N", "runs", *SPREAD_COLUMNS, "peak MB")]
    for result in results:
        cells = spread_cells(result), decimal(result["peak_bytes"] / 1e6, 0)
        lines.append((result["case"], f"{result['n']:,}", str(len(result["runs"])), *cells[0], cells[1]))
    print_table(lines)


def keep(path: Path | None, content: Mapping[str, Any]) -> None:
    if path:
        path.write_text(json.dumps(content, indent=1) + "\n")


# --- the command -----------------------------------------------------------------------------------------------------


def first_line(doc: str | None) -> str:
    return (doc or "").partition("\n")[0]


def parser(doc: str | None, runs: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(description=first_line(doc))
    made.add_argument("--runs", type=int, default=runs, help=f"runs of each case ({runs})")
    made.add_argument("--quick", action="store_true", help="small sizes and two runs: does it work?")
    made.add_argument("--model", help="what rclip --model takes; by default a ViT-B/32 with random weights")
    made.add_argument("--scratch", type=Path, default=Path("build/benchmarks"), help="for models, indexes and photos")
    made.add_argument("--json", type=Path, metavar="FILE", help="keep every run's numbers there")
    return made


def parse(made: argparse.ArgumentParser, quick: Mapping[str, Any]) -> argparse.Namespace:
    """The options, with the sizes of `quick` where that is asked for."""
    options = made.parse_args()
    if options.quick:
        vars(options).update({"runs": 2, **quick})
    options.scratch = options.scratch.resolve()
    return options


def prepared(options: argparse.Namespace) -> Ours:
    ours = Ours(options.scratch, options.model)
    ours.prepare()
    return ours


def emptied(folder: Path) -> Path:
    """A new folder in place of whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
