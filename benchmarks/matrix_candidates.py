"""How fast a matrix of vectors is scanned, by what its numbers are and who multiplies them.

    .venv/bin/python benchmarks/matrix_candidates.py --quick
    .venv/bin/python benchmarks/matrix_candidates.py --rows 1281167

numpy float32      a mapped file, one product
numpy float16      the same in half the bytes; numpy converts them first
numkong float16    multiplied as they lie there
  in parts         the same with rclip's own code: some thousand rows at a time, each part given back, so that the
                   process never holds the whole; this is what `rclip.index.vector_search` does
numkong int8       a quarter of the bytes, each row with a scale of its own

"first" is from opening the file to the scores, when no page is mapped yet; "next" is another query with the same
mapping. All files are in the disk cache. Each candidate has a process of its own, whose peak memory is told. numpy's
float32 product takes all cores, the others one.

Recall is the share of the ten best by float32 that are among a candidate's ten best, after its best `--looked-up` have
been scored again with the float16 vectors of the index, as a search does; "unscored" is the share without that. Random
vectors are a hard case: they have no clusters, and the best lie as close together as in any library.
"""

import mmap
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    CHUNK_ROWS,
    DIMENSIONS,
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
    spread,
    spread_cells,
    unit_vectors,
)

BEST = 10
DTYPES = {"float32": np.float32, "float16": np.float16, "int8": np.int8}

Scan = Callable[[mmap.mmap, np.ndarray, np.ndarray], np.ndarray]
"""The map, its array (N, D) and a query (D,) float32 -> scores (N,), larger for the more alike."""


# --- the files -------------------------------------------------------------------------------------------------------


def write_files(folder: Path, rows: int) -> None:
    """The same random vectors in each form, and int8's scales."""
    rng = np.random.default_rng(0)
    files = {name: open(folder / name, "wb") for name in (*DTYPES, "scales")}  # noqa: SIM115 - closed below
    for start in range(0, rows, CHUNK_ROWS):
        vectors = unit_vectors(rng, min(CHUNK_ROWS, rows - start))
        rounded, scales = quantized(vectors)
        parts = {"float32": vectors, "float16": vectors.astype(np.float16), "int8": rounded, "scales": scales}
        for name, part in parts.items():
            files[name].write(part.tobytes())
    for file in files.values():
        file.close()


def quantized(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32 -> (N, D) int8 and (N,) float32, whose product is nearly the vectors"""
    scales = np.abs(vectors).max(axis=1) / np.float32(127)
    return np.rint(vectors / scales[:, np.newaxis]).astype(np.int8), scales


def open_map(path: Path, dtype: type) -> tuple[mmap.mmap, np.ndarray]:
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return mapped, np.frombuffer(mapped, dtype).reshape(-1, DIMENSIONS)


# --- the candidates --------------------------------------------------------------------------------------------------


def numpy_product(mapped: mmap.mmap, vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    return vectors @ query.astype(vectors.dtype)


def numkong_product(mapped: mmap.mmap, vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    from rclip.vectors import dot

    return dot(vectors, query)


def numkong_in_parts(mapped: mmap.mmap, vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    from rclip.index.vector_search import _SCANNED_ROWS
    from rclip.vectors import dot

    scores = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _SCANNED_ROWS):
        part = vectors[start : start + _SCANNED_ROWS]
        scores[start : start + len(part)] = dot(part, query)
        mapped.madvise(mmap.MADV_DONTNEED, start * vectors.strides[0], part.nbytes)
    return scores


def numkong_int8(mapped: mmap.mmap, vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Without the rows' scales, which `Candidate` puts in."""
    import numkong

    rounded, _ = quantized(query[np.newaxis])
    exact: Any = "int32"  # numkong's annotations leave integers out
    return np.asarray(numkong.cdist(vectors, rounded, "dot", out_dtype=exact)).reshape(-1)


CANDIDATES: dict[str, tuple[str, Scan]] = {
    "numpy float32": ("float32", numpy_product),
    "numpy float16": ("float16", numpy_product),
    "numkong float16": ("float16", numkong_product),
    "numkong float16 in parts": ("float16", numkong_in_parts),
    "numkong int8": ("int8", numkong_int8),
}
WITHOUT_RECALL = {"numpy float16"}
"""A hundred of its scans take minutes, and the others tell what float16 does to recall."""


# --- measuring -------------------------------------------------------------------------------------------------------


def scores_of(name: str, folder: Path, queries: np.ndarray) -> tuple[list[np.ndarray], list[float]]:
    """All scores of each query, and how long each took; the first time includes opening the files."""
    dtype, scan = CANDIDATES[name]
    started = time.perf_counter()
    mapped, vectors = open_map(folder / dtype, DTYPES[dtype])
    scales = np.fromfile(folder / "scales", np.float32) if dtype == "int8" else None
    found, seconds = [], []
    for query in queries:
        scores = scan(mapped, vectors, query)
        found.append(scores if scales is None else scores * scales)
        seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
    return found, seconds


def measure(name: str, folder: Path, queries: np.ndarray, runs: int) -> dict[str, Any]:
    """Times and memory of one candidate, in a process of its own."""
    CANDIDATES[name][1](*open_map(folder / CANDIDATES[name][0], DTYPES[CANDIDATES[name][0]]), queries[0])  # imports
    taken = [scores_of(name, folder, queries[:2])[1] for _ in range(runs)]
    return {
        "candidate": name,
        "file_bytes": sum((folder / part).stat().st_size for part in _files(name)),
        "first": spread([first for first, _ in taken]),
        "next": spread([following for _, following in taken]),
        "peak_bytes": own_peak_bytes(),
        "runs": taken,
    }


def _files(name: str) -> tuple[str, ...]:
    dtype = CANDIDATES[name][0]
    return (dtype, "scales") if dtype == "int8" else (dtype,)


def best_ten(folder: Path, queries: np.ndarray) -> list[set[int]]:
    """By float32, for each query."""
    return [_best(scores_of("numpy float32", folder, query[np.newaxis])[0][0]) for query in queries]


def recalls(name: str, folder: Path, queries: np.ndarray, truth: Sequence[set[int]], looked_up: int) -> dict[str, Any]:
    """How many of the ten best are among this candidate's, with and without scoring the best again."""
    _, exact = open_map(folder / "float16", np.float16)
    plain = again = 0
    for query, right in zip(queries, truth, strict=True):
        scores = scores_of(name, folder, query[np.newaxis])[0][0]
        plain += len(_best(scores) & right)
        rows = np.sort(np.argpartition(-scores, looked_up)[:looked_up])
        again += len({int(rows[row]) for row in _best(exact[rows].astype(np.float32) @ query)} & right)
    every = BEST * len(queries)
    return {"recall_unscored": plain / every, "recall": again / every}


def _best(scores: np.ndarray) -> set[int]:
    from rclip.vectors import top_k

    return set(top_k(scores, BEST).tolist())


def print_results(rows: int, results: Sequence[dict[str, Any]]) -> None:
    columns = [f"{which} {figure}" for which in ("first", "next") for figure in ("min", "median", "max ms")]
    lines = [(f"{rows:,} x {DIMENSIONS}", "file MB", *columns, "peak MB", "unscored", f"recall@{BEST}")]
    for result in results:
        times = [
            cell
            for which in ("first", "next")
            for cell in spread_cells({key: s * 1000 for key, s in result[which].items()}, 1)
        ]
        sizes = [decimal(result[key] / 1e6, 0) for key in ("file_bytes", "peak_bytes")]
        shares = [decimal(result.get(key), 4) for key in ("recall_unscored", "recall")]
        lines.append((result["candidate"], sizes[0], *times, sizes[1], *shares))
    print_table(lines)


def main() -> None:
    made = parser(__doc__, runs=5)
    made.add_argument("--rows", type=int, default=1_281_167, help="vectors in the matrix (1281167)")
    made.add_argument("--queries", type=int, default=100, help="for recall (100)")
    made.add_argument("--looked-up", type=int, default=26, help="scored again: rclip's ten and a margin of 16 (26)")
    options = parse(made, {"rows": 20_000, "queries": 10})
    metadata = print_head([Ours(options.scratch, options.model)])
    folder = emptied(options.scratch / "matrix-candidates")
    say(f"writing {options.rows:,} vectors in each form")
    write_files(folder, options.rows)
    queries = unit_vectors(np.random.default_rng(1), options.queries)
    truth = best_ten(folder, queries)
    results = []
    for name in CANDIDATES:
        say(f"scanning: {name}")
        result = in_own_process(measure, name, folder, queries[:2], options.runs)
        shares = {} if name in WITHOUT_RECALL else recalls(name, folder, queries, truth, options.looked_up)
        results.append(result | shares)
    shutil.rmtree(folder)
    print_results(options.rows, results)
    keep(options.json, {**metadata, "rows": options.rows, "queries": options.queries, "results": results})


if __name__ == "__main__":
    main()
