"""How many photos a second a run takes from a cluster whose workers answer at once, without looking at photos.

    .venv/bin/python benchmarks/cluster.py --quick
    .venv/bin/python benchmarks/cluster.py --photos 50000 --workers 4

What is left is all but decoding and encoding: the comparison, Dask, the checks of answers, and the index. Every file
has one byte; a worker's answer for it has a digest, metadata, and a vector as long as the model's. A run is timed from
its first stored batch to its last: before it, workers show that they are what they should be.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from common import (
    Ours,
    decimal,
    emptied,
    environment,
    keep,
    parse,
    parser,
    prepared,
    print_head,
    print_table,
    say,
    write_numbered,
)

SIZES = (8, 32, 64, 256)
"""Of batches, in photos."""

STUB = """
import os
from hashlib import blake2b

import numpy as np

from rclip.indexing.cluster import wire, worker
from rclip.indexing.cluster.interface import EncodedPhoto
from rclip.photo.metadata import PhotoMetadata

METADATA = PhotoMetadata(1_500_000_000, 120, 46.5, 7.5, "Canon", "Canon EOS R5", 8192, 5464, ("alps", "summer"), 4)


def work(request):
    job, paths, _ = wire.understood(request)
    vector = np.zeros(job.dimensions, np.float16)
    vector[0] = 1
    found = []
    for path in paths:
        status = os.stat(path)
        digest = blake2b(path, digest_size=16).digest()
        found.append(EncodedPhoto(status.st_size, status.st_mtime_ns, digest, vector, METADATA))
    return wire.results_as_bytes(found)


worker.work = work
"""
"""Loaded by each worker at its start."""

DRIVER = """
import sys, time
from rclip import Library
from rclip.indexing.cluster import dispatch

folder, model, data_dir, address, size = sys.argv[1:]
dispatch.MOST_IN_BATCH = int(size)
stored = []


def note(progress):
    if progress.stage == "reading" and progress.done:
        stored.append((time.perf_counter(), time.process_time(), progress.done))


with Library(folder, model=model, data_dir=data_dir) as library:
    library.update(progress=note, cluster=address)
(began_s, began_cpu_s, before), (ended_s, ended_cpu_s, photos) = stored[0], stored[-1]
print((photos - before) / (ended_s - began_s), (photos - before) / (ended_cpu_s - began_cpu_s), photos)
"""
"""One run, in a process of its own."""


@contextmanager
def cluster(folder: Path, data_dir: Path, workers: int) -> Iterator[str]:
    """The address of a scheduler with so many workers that do not look at photos."""
    stub, known = folder / "stub.py", folder / "scheduler.json"
    stub.write_text(STUB)
    start = partial(subprocess.Popen, cwd=folder, env=environment(data_dir), stderr=subprocess.DEVNULL)
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    dask = [sys.executable, "-P", "-m", "distributed.cli.dask_"]
    scheduler = [*dask[:-1], f"{dask[-1]}scheduler", *here, "--port", "0", "--scheduler-file", str(known)]
    processes = [start(scheduler)]
    try:
        while not (known.exists() and known.read_text().endswith("}")):
            time.sleep(0.05)
        address: str = json.loads(known.read_text())["address"]
        worker = [*dask[:-1], f"{dask[-1]}worker", address, *here, "--no-nanny", "--nthreads", "2"]
        worker += ["--local-directory", str(folder), "--preload", str(stub)]
        processes += [start(worker) for _ in range(workers)]
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


def rate(ours: Ours, scratch: Path, library: Path, address: str, size: int, photos: int) -> tuple[float, float]:
    """Photos a second on the clock, and of the run's processor time, with an empty index."""
    data_dir = scratch / "data"
    emptied(data_dir).rmdir()
    ours.new_data_dir(data_dir)
    command = [sys.executable, "-P", "-c", DRIVER, str(library), ours.model, str(data_dir), address, str(size)]
    done = subprocess.run(command, env=environment(data_dir), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the run failed:\n{done.stderr}")
    on_the_clock, of_processor, stored = done.stdout.split()
    assert int(stored) == photos
    say(f"batches of {size}: {float(on_the_clock):,.0f} photos a second")
    return float(on_the_clock), float(of_processor)


def main() -> None:
    made = parser(__doc__, runs=5)
    made.add_argument("--photos", type=int, default=20_000, help="in the library (20,000)")
    made.add_argument("--workers", type=int, default=2, help="that answer (2)")
    options = parse(made, {"photos": 1000, "runs": 1})
    ours = prepared(options)
    facts = print_head([ours])
    folder = emptied(options.scratch / "cluster")
    say(f"writing {options.photos:,} files")
    for number in range(options.photos):
        write_numbered(folder / "library", number, b"x")
    ours.new_data_dir(folder / "worker")
    rates: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
    with cluster(folder, folder / "worker", options.workers) as address:
        for _ in range(options.runs):
            for size in SIZES:
                rates[size].append(rate(ours, folder, folder / "library", address, size, options.photos))
    lines = [["photos in a batch", "min photos/s", "median photos/s", "max photos/s", "by processor time"]]
    for size, found in rates.items():
        clock, processor = zip(*found, strict=True)
        figures = (min(clock), statistics.median(clock), max(clock), statistics.median(processor))
        lines.append([f"{size}", *(decimal(figure, 0) for figure in figures)])
    print_table(lines)
    keep(options.json, facts | {"photos": options.photos, "workers": options.workers, "rates": rates})
    emptied(folder)
    os.rmdir(folder)


if __name__ == "__main__":
    main()
