"""A library that a program keeps open: threads, other processes, what it leaves alone, and how it is stopped."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from rclip import Hit, Library, Progress, Summary
from rclip.search.query_encoder import QueryEncoder
from tests.support.command import Command
from tests.support.gallery import GALLERY, Draw

QUERIES = [f"a {color} {shape}" for color, shape in GALLERY]


@pytest.fixture
def library(gallery: Path, rclip: Command, tiny_checkpoint: Path) -> Iterator[Library]:
    with Library(gallery, model=str(tiny_checkpoint), data_dir=rclip.data_dir) as library:
        yield library


def paths(hits: list[Hit]) -> list[str]:
    return [hit.path for hit in hits]


def in_threads(*tasks: Callable[[], object]) -> None:
    """All at once. Raises what the first of them has raised."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        for running in [pool.submit(task) for task in tasks]:
            running.result()


# --- threads and processes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_portable", [False, True])
def test_threads_search_while_a_thread_and_two_processes_index(
    rclip: Command, gallery: Path, draw: Draw, tiny_checkpoint: Path, is_portable: bool
) -> None:
    """What is found in the photos that were there before is right all the time; in the end all is there once."""
    if is_portable:
        assert rclip("--init").code == 0
    old = gallery / "stars"
    assert rclip("--index").code == 0
    for number in range(60):
        draw(f"new {number % 3}/{number}.jpg", " ".join(GALLERY[number % len(GALLERY)]))
    is_over = threading.Event()
    with (
        Library(old, model=str(tiny_checkpoint), data_dir=rclip.data_dir) as searched,
        Library(gallery, model=str(tiny_checkpoint), data_dir=rclip.data_dir) as everything,
    ):
        expected = {query: searched.search(query, top=3) for query in QUERIES}

        def search(first: int) -> None:
            count = 0
            while not is_over.is_set() or count < len(QUERIES):
                query = QUERIES[(first + count) % len(QUERIES)]
                assert searched.search(query, top=3) == expected[query]
                assert everything.search(query, top=3)
                count += 1

        def update_all() -> None:
            try:
                in_threads(everything.update, *(partial(run, gallery / f"new {part}") for part in (1, 2)))
            finally:
                is_over.set()

        def run(folder: Path) -> None:
            done = rclip("--index", folder)
            assert done.code == 0, done.err

        in_threads(update_all, *(partial(search, first) for first in range(8)))
        everything.update()
        assert everything.stats().photos == len(GALLERY) + 60
        assert len(set(paths(everything.search("a star", top=None)))) == len(GALLERY) + 60


def test_a_search_sees_what_another_process_has_added(library: Library, rclip: Command, draw: Draw) -> None:
    library.update()
    assert len(library.search("a red star", top=None)) == len(GALLERY)
    added = draw("another.jpg", "red star")
    assert rclip("--index").code == 0
    found = paths(library.search("a red star", top=None))
    assert str(added) in found
    assert len(found) == len(GALLERY) + 1
    added.unlink()
    assert rclip("--index").code == 0
    assert str(added) not in paths(library.search("a red star", top=None))


def test_a_library_that_was_closed_opens_itself_again(library: Library) -> None:
    library.update()
    expected = library.search("a red star")
    in_threads(lambda: library.search("a red star"), lambda: library.search("a blue star"))
    library.close()
    assert library.search("a red star") == expected


def test_the_files_are_closed_when_threads_have_ended(library: Library, rclip: Command) -> None:
    library.update()
    in_threads(*[lambda: library.search("a red star")] * 4)
    library.close()
    opened = [path.resolve() for path in Path("/proc/self/fd").iterdir() if path.exists()]
    assert not [path for path in opened if path.is_relative_to(rclip.data_dir) and ".db" in path.name]


def test_texts_are_remembered_up_to_a_limit(library: Library) -> None:
    encoder: QueryEncoder = library._encoder
    texts = [f"star number {number}" for number in range(5000)]
    first = library.encode_text(texts[:1])
    library.encode_text(texts)
    assert len(encoder._texts) == 4096
    assert texts[0] not in encoder._texts
    assert library.encode_text(texts[:1]) == pytest.approx(first, abs=1e-6)


# --- being stopped ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [ValueError, KeyboardInterrupt])
def test_an_exception_in_progress_ends_the_update_and_keeps_what_was_stored(
    library: Library, reason: type[BaseException]
) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "reading" and progress.done:
            raise reason

    summary = Summary()
    with pytest.raises(reason):
        library.update(progress=stop, summary=summary)
    assert 0 < summary.added <= len(GALLERY)
    assert library.stats().photos == summary.added
    assert library.update().added == len(GALLERY) - summary.added
    assert len(library.search("a star", top=None)) == len(GALLERY)


# --- what is the program's own ----------------------------------------------------------------------------------------

PROGRAM = """
import gc, json, os, signal, sys, threading, warnings
import numpy, threadpoolctl
from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin

def settings():
    return {
        "pillow": [Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY],
        "formats": sorted(Image.OPEN),
        "warnings": [str(each) for each in warnings.filters],
        "environment": dict(os.environ),
        "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
        "wakeup": signal.set_wakeup_fd(-1),
        "gc": [gc.isenabled(), gc.get_threshold()],
        "blas": sorted((p["filepath"], p["num_threads"]) for p in threadpoolctl.threadpool_info()
                       if p["user_api"] == "blas" and "numpy" in p["filepath"]),
        "numpy": numpy.geterr(),
        "path": sys.path,
        "folder": os.getcwd(),
        "streams": [id(sys.stdout), id(sys.stderr)],
        "hooks": [str(sys.excepthook), str(threading.excepthook)],
    }

Image.init()
before = settings()
from rclip import Filters, Library
folder, model, data_dir, picture = sys.argv[1:]
with Library(folder, model=model, data_dir=data_dir) as library:
    library.update()
    assert library.search("a red star")
    assert library.search(picture)
    assert library.search(open(picture, "rb").read())
    assert library.search(Image.open(picture).rotate(5))
    assert library.search(None, filters=Filters(types=frozenset({"jpg"})))
    library.encode_text(["a star"] * 40)
    library.vectors()
print(json.dumps([before, settings()]))
"""


def test_the_program_keeps_its_settings(rclip: Command, gallery: Path, tmp_path: Path, draw: Draw) -> None:
    picture = draw(tmp_path / "elsewhere.png", "red star")
    command = [sys.executable, "-c", PROGRAM, *map(str, (gallery, rclip.model, rclip.data_dir, picture))]
    done = subprocess.run(command, env=rclip.env, cwd=rclip.home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert before["blas"]
    for name, value in before.items():
        assert after[name] == value, name
