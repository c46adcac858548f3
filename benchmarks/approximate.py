"""Approximate searches of a large matrix, beside the exact ones: recall, time and memory.

    .venv/bin/python benchmarks/approximate.py --quick
    .venv/bin/python benchmarks/approximate.py --rows 1000000

The vectors are made up: photos in clusters, and texts across a gap from them (`common.Gap`). Each row is a process of
its own that opens its files, asks one query after another, and is timed from the opening to the last answer.

exact, in full       rclip's search as it is up to 200,000 photos
exact, by the sketch rclip's search of more
approximate          rclip's with --approximate: lists on disk, scored again from the matrix
IndexFlatIP          FAISS's exact search in float32, all in memory
IVFFlat, IVFPQ       FAISS's as tutorials use them, all in memory, looking into ten lists, or into as many as ours does;
                     IVFPQ with 64 bytes a vector. The centroids are ours, so that only what they do with them differs.

Recall is the share of the ten best by the exact search that are among ten found: of texts, and of photos as queries.
Photos find their like in few lists; who measures with them is told too much. "first" is the first query with what it
has to open, "next" the median of the others. Peak memory counts mapped files.
"""

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    CHUNK_ROWS,
    Gap,
    Ours,
    decimal,
    emptied,
    in_own_process,
    keep,
    own_peak_bytes,
    parse,
    parser,
    print_head,
    print_table,
    say,
    write_matrix,
)
from sketch import opened

BEST = 10
K = 256
"""A search of rclip's asks for so many and shows ten."""

Answer = Callable[[np.ndarray], np.ndarray]
"""A query (1, D) -> ids of the ten best (10,)"""


def queries(count: int) -> dict[str, np.ndarray]:
    gap, rng = Gap(), np.random.default_rng(7)
    return {"texts": gap.texts(rng, count), "photos": gap.photos(rng, count).astype(np.float32)}


# --- the searches ----------------------------------------------------------------------------------------------------


def lists_of(database: Path) -> Any:
    from rclip.index.approximate import InvertedFile

    return InvertedFile(opened(database, True)._cache)


def build(database: Path, count: int) -> tuple[float, int]:
    """Seconds that sorting takes, and its most memory."""
    exact = opened(database, True)
    exact._cache.catch_up(sketch_from_rows=1)
    started = time.perf_counter()
    last = [0.0]

    def progress(done: int, total: int) -> None:
        if time.perf_counter() - last[0] > 30:
            last[0] = time.perf_counter()
            say(f"sorted {done:,} of {total:,}, after {last[0] - started:.0f} s")

    lists_of(database).catch_up(exact, lambda: Gap().texts(np.random.default_rng(8), count), progress, 1)
    return time.perf_counter() - started, own_peak_bytes()


def ours(search: Any) -> Answer:
    return lambda query: search.search(query, K)[0][0, :BEST]


def approximate(database: Path) -> Answer:
    from rclip.index.approximate import ApproximateVectorSearch

    exact = opened(database, True)
    return ours(ApproximateVectorSearch(exact, exact._cache, lists_of(database)))


def of_faiss(database: Path, name: str, probes: int, rounds: int) -> tuple[Any, Any]:
    """An index in memory with all vectors, and nothing else that was needed to make it."""
    import faiss

    lists = lists_of(database)
    trained = lists._opened()
    vectors = lists._cache.map()[1]
    dimensions = vectors.shape[1]
    ip = faiss.METRIC_INNER_PRODUCT
    index: Any = faiss.IndexFlatIP(dimensions)
    if name == "IVFFlat":
        index = faiss.IndexIVFFlat(trained.quantizer, dimensions, trained.nlist, ip)
    elif name == "IVFPQ":
        index = faiss.IndexIVFPQ(trained.quantizer, dimensions, trained.nlist, min(64, dimensions), 8, ip)
        index.pq.cp.niter = rounds
    step = max(1, len(vectors) // 50_000)
    if not index.is_trained:
        index.train(vectors[::step].astype(np.float32))
    for start in range(0, len(vectors), CHUNK_ROWS):
        index.add(vectors[start : start + CHUNK_ROWS].astype(np.float32))
    if name != "IndexFlatIP":
        index.nprobe = probes
    return index, trained


def answers(database: Path, name: str, probes: int, count: int, rounds: int) -> dict[str, Any]:
    """Times, memory and what was found, for one search."""
    asked = queries(count)
    started = time.perf_counter()
    if name.startswith("I"):
        index, _kept = of_faiss(database, name, probes, rounds)
        answer: Answer = lambda query: index.search(query, BEST)[1][0] + 1  # noqa: E731 - ids begin at 1
        started = time.perf_counter()
    elif name == "approximate":
        from rclip.index.approximate import load_faiss

        load_faiss()
        started = time.perf_counter()
        answer = approximate(database)
    else:
        opened(database, True)  # imports
        started = time.perf_counter()
        answer = ours(opened(database, name == "exact, by the sketch"))
    found, seconds = {}, []
    for kind, of_kind in asked.items():
        rows = []
        for query in of_kind:
            rows += [answer(query[np.newaxis])]
            seconds.append(time.perf_counter() - started)
            started = time.perf_counter()
        found[kind] = np.stack(rows)
    return {"first_s": seconds[0], "next_s": statistics.median(seconds[1:]), "peak_bytes": own_peak_bytes()} | found


def measure(rows: int, options: Any) -> dict[str, Any]:
    folder = emptied(options.scratch / "approximate")
    database = folder / "index.db"
    say(f"{rows:,} rows: writing the matrix")
    write_matrix(database, rows, Gap().photos)
    say(f"{rows:,} rows: sorting")
    built_s, peak_bytes = in_own_process(build, database, options.sample)
    lists = lists_of(database)
    promised = lists.recall
    files = {path.name.partition("-")[0]: 0 for path in Path(lists._folder).iterdir()}
    for path in Path(lists._folder).iterdir():
        files[path.name.partition("-")[0]] += path.stat().st_size
    cases = [("exact, in full", 0), ("exact, by the sketch", 0), ("approximate", promised.probes)]
    if not options.ours_only:
        cases += [("IndexFlatIP", 0)]
        cases += [(name, probes) for name in ("IVFFlat", "IVFPQ") for probes in (10, promised.probes)]
    results: list[dict[str, Any]] = []
    right: dict[str, np.ndarray] = {}
    for name, probes in cases:
        say(f"{rows:,} rows: {name} {probes or ''}")
        found = in_own_process(answers, database, name, probes, options.queries, options.rounds)
        kinds = {kind: found.pop(kind) for kind in ("texts", "photos")}
        right = right or kinds
        recalls = {
            kind: float(np.mean([np.isin(a, b).mean() for a, b in zip(right[kind], ids, strict=True)]))
            for kind, ids in kinds.items()
        }
        results.append({"case": f"{name}, {probes} lists" if probes else name, **found, **recalls})
    shutil.rmtree(folder)
    return {
        "rows": rows,
        "built_s": built_s,
        "build_peak_bytes": peak_bytes,
        "promised": promised._asdict(),
        "files": files,
        "results": results,
    }


def print_results(measured: dict[str, Any]) -> None:
    lines: list[tuple[str, ...]] = [
        (f"{measured['rows']:,} rows", "recall, texts", "recall, photos", "first ms", "next ms", "peak MB")
    ]
    for each in measured["results"]:
        shares = [decimal(each[kind], 3) for kind in ("texts", "photos")]
        times = [decimal(1000 * each[key], 1) for key in ("first_s", "next_s")]
        lines.append((each["case"], *shares, *times, decimal(each["peak_bytes"] / 1e6, 0)))
    print_table(lines)
    promised, files = measured["promised"], measured["files"]
    print(f"sorted in {measured['built_s']:,.0f} s with {measured['build_peak_bytes'] / 1e6:,.0f} MB at most,", end=" ")
    print(f"into {promised['lists']:,} lists; {promised['probes']:,} are looked into, for a measured recall", end=" ")
    print(f"of {promised['recall']:.3f}; MB on disk:", end=" ")
    print(", ".join(f"{kind} {files[kind] / 1e6:,.0f}" for kind in ("vectors", "sketch", "trained", "part")), "\n")


def main() -> None:
    made = parser(__doc__, runs=1)
    made.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="sizes of the matrix (1000000)")
    made.add_argument("--queries", type=int, default=100, help="texts, and as many photos (100)")
    made.add_argument("--sample", type=int, default=144, help="texts to choose the number of lists by (144)")
    made.add_argument("--rounds", type=int, default=25, help="of k-means, for IVFPQ (25)")
    made.add_argument("--ours-only", action="store_true", help="without FAISS's own indexes, which have to fit memory")
    options = parse(made, {"rows": [12_000], "queries": 10, "sample": 20, "rounds": 1})
    metadata = print_head([Ours(options.scratch, options.model)])
    results = []
    for rows in options.rows:
        results.append(measure(rows, options))
        print_results(results[-1])
    keep(options.json, {**metadata, "results": results})


if __name__ == "__main__":
    main()
