"""How long it takes to find photos again that were moved: `rclip --index` after the library's folder has another name.

    .venv/bin/python benchmarks/moved.py --quick
    .venv/bin/python benchmarks/moved.py --files 10000 --file-bytes 100000

unchanged   nothing was moved: what every run costs
renamed     the folder was renamed: the file system itself says that the files are those the index knows
copied      the folder was copied and the first one deleted: new inodes, so each file is read and its digest looked up

The files hold random bytes, which no decoder reads: were a single one decoded, the run would call it unreadable. That
it calls none so, and all of them moved, is checked after every run. "read once" and "stat once" are what the machine
takes to read and hash all files, and to list and stat them, in one thread and without an index.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    SPREAD_COLUMNS,
    Known,
    Ours,
    Run,
    emptied,
    in_turns,
    keep,
    known_file,
    parse,
    parser,
    prepared,
    print_cases,
    print_head,
    print_table,
    said,
    say,
    spread,
    spread_cells,
    summary,
    timed_run,
    write_numbered,
)


def write_files(library: Path, count: int, size_bytes: int) -> Iterator[Known]:
    """Files of random bytes, with the digests by which the index knows them."""
    rng = np.random.default_rng(0)
    for number in range(count):
        content = rng.bytes(size_bytes)
        yield known_file(write_numbered(library, number, content), digest_of(content))


def digest_of(content: bytes) -> bytes:
    """As the index has it; were it another, the files would not be found again."""
    return hashlib.blake2b(content, digest_size=16).digest()


class Library:
    """A folder whose photos are all in an index, under whatever name it has now."""

    def __init__(self, ours: Ours, folder: Path, files: int, file_bytes: int):
        self._ours = ours
        self._files = files
        self._above = folder / "library"
        self._data_dir = folder / "data"
        self._names = [self._above / "a", self._above / "b"]
        ours.new_data_dir(self._data_dir)
        self._names[0].mkdir(parents=True)
        ours.fill(self._data_dir, self._above, write_files(self._names[0], files, file_bytes))
        self.unchanged()  # builds the matrix

    def unchanged(self) -> Run:
        return self._index(f"rclip: nothing has changed; photos here: {self._files:,}\n")

    def renamed(self) -> Run:
        self._names.reverse()
        self._names[1].rename(self._names[0])
        return self._index(f"rclip: index updated: found {self._files:,} moved files\n")

    def copied(self) -> Run:
        self._names.reverse()
        shutil.copytree(self._names[1], self._names[0])  # modification times are kept
        shutil.rmtree(self._names[1])
        return self._index(f"rclip: index updated: found {self._files:,} moved files\n")

    def _index(self, expected: str) -> Run:
        run = timed_run(self._ours, self._data_dir, self._above, ("--index", "-v"))
        line = said(self._ours, self._data_dir)
        if line != expected:
            raise SystemExit(f"expected {expected!r}, but the program said {line!r}")
        return run

    def files(self) -> Iterator[os.DirEntry[str]]:
        for folder in os.scandir(self._names[0]):
            yield from os.scandir(folder)


# --- the machine's own part ------------------------------------------------------------------------------------------


def read_once(library: Library) -> None:
    for entry in library.files():
        digest_of(Path(entry.path).read_bytes())


def stat_once(library: Library) -> None:
    for entry in library.files():
        entry.stat()


def seconds(work: Any, library: Library) -> float:
    started = time.perf_counter()
    work(library)
    return time.perf_counter() - started


def main() -> None:
    made = parser(__doc__, runs=5)
    made.add_argument("--files", type=int, default=10_000, help="photos that are moved (10000)")
    made.add_argument("--file-bytes", type=int, default=100_000, help="the size of each (100000)")
    options = parse(made, {"files": 200, "file_bytes": 2000})
    ours = prepared(options)
    metadata = print_head([ours])
    folder = emptied(options.scratch / "moved")
    say(f"writing {options.files:,} files of {options.file_bytes:,} bytes")
    library = Library(ours, folder, options.files, options.file_bytes)
    cases = {"unchanged": library.unchanged, "renamed": library.renamed, "copied": library.copied}
    runs = in_turns(cases, options.runs, f"{options.files:,} files")
    floor = {
        work.__name__.replace("_", " "): spread([seconds(work, library) for _ in range(options.runs)])
        for work in (read_once, stat_once)
    }
    shutil.rmtree(folder)
    results = [{"case": case, "n": options.files, **summary(of_case)} for case, of_case in runs.items()]
    print_cases(results)
    print()
    print_table([("without an index", *SPREAD_COLUMNS), *((name, *spread_cells(n)) for name, n in floor.items())])
    print(f"\n{options.files:,} files of {options.file_bytes:,} bytes; all were found again, and none was decoded")
    keep(options.json, {**metadata, "file_bytes": options.file_bytes, "results": results, "floor": floor})


if __name__ == "__main__":
    main()
