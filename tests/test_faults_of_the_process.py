"""Faults of the process: killed, stopped, and many at work at once."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.command import Command, one_line, start, update
from tests.support.gallery import GALLERY, Draw, many_photos
from tests.support.index import Table, index_of, integrity, leftovers, store_many
from tests.support.processes import wait_until_it_listens, wait_until_it_sleeps
from tests.support.tiers import few

PHOTOS = 75  # so few that torch is not worth its start, which would be what is killed nearly always
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


# --- killed -----------------------------------------------------------------------------------------------------------


def vectors(rclip: Command) -> dict[int, tuple[bytes, bytes]]:
    """Paths and vectors of all that is stored, by id."""
    if not list(rclip.data_dir.glob("*.db")):
        return {}
    rows = Table(rclip)("SELECT id, path, vector FROM images")
    return {id_: (path, vector) for id_, path, vector in rows}


@pytest.mark.parametrize("kills", few([4, 20]))
def test_kills_lose_nothing(rclip: Command, draw: Draw, tmp_path: Path, kills: int) -> None:
    """Half of them after so many photos, half of them after some time, wherever the run is by then."""
    rng = random.Random(20)
    many_photos(draw, PHOTOS)
    stored = vectors(rclip)
    for number in range(kills):
        run = start(rclip, "--index", "-v", "-b", "1", stderr=subprocess.DEVNULL)
        if number % 2:
            time.sleep(rng.uniform(0, 0.9))
        else:
            enough = min(len(stored) + rng.randrange(1, 6), PHOTOS)
            while run.poll() is None and len(vectors(rclip)) < enough:
                time.sleep(0.002)
        run.kill()
        run.communicate()
        before, stored = stored, vectors(rclip)
        assert before.items() <= stored.items()
        if stored:
            assert integrity(index_of(rclip)) == "ok"
    missing = PHOTOS - len(stored)
    assert update(rclip) == (f"{missing} new photo{'s' * (missing > 1)}" if missing else "")
    assert integrity(index_of(rclip)) == "ok"
    assert stored.items() <= vectors(rclip).items()
    undisturbed = Command(rclip.home, tmp_path / "undisturbed", rclip.model, rclip.cwd)
    undisturbed("--index")
    assert_same_vectors(rclip, undisturbed)


def assert_same_vectors(one: Command, other: Command) -> None:
    """But for rounding, which depends on what encoded a photo."""
    found, expected = (dict(vectors(command).values()) for command in (one, other))
    assert found.keys() == expected.keys()
    for path, vector in found.items():
        cosine = as_numbers(vector) @ as_numbers(expected[path])
        assert cosine > 0.999, path


def as_numbers(vector: bytes) -> np.ndarray:
    return np.frombuffer(vector, np.float16).astype(np.float32)


@pytest.mark.slow
def test_a_run_killed_while_it_prepares_the_model(rclip: Command, gallery: Path) -> None:
    (models,) = (rclip.data_dir / "models").iterdir()
    left: list[Path] = []
    for _ in range(10):
        for path in models.glob("*.safetensors*"):
            path.unlink()
        run = start(rclip, "--index", "-v", stderr=subprocess.PIPE)
        while run.poll() is None and not left:
            left = leftovers(models)
        run.kill()
        run.communicate()
        left = leftovers(models)
        if left:
            break
    assert left, "it was never seen writing"
    for path in left:
        os.utime(path, (1, 1))
    assert rclip("-t", "1", "a red star").lines == ["stars/red.jpg"]
    assert not leftovers(rclip.data_dir)


@pytest.mark.parametrize(("number", "status"), few([*SIGNALS, (signal.SIGKILL, -9)]))
def test_a_run_ended_while_it_writes_the_matrix(rclip: Command, draw: Draw, number: int, status: int) -> None:
    draw("0.jpg", "green star")
    store_many(rclip, 40_000)
    folder = index_of(rclip).with_suffix(".matrix")
    run = start(rclip, "-n", "-t", "20", "a green star", stderr=subprocess.PIPE)
    while run.poll() is None and not list(folder.glob("vectors-*")):
        pass
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode in (0, status), err  # 0 where it was too late
    if run.returncode == 128 + number:
        assert one_line(err.decode()) == "rclip: stopped"
        assert not leftovers(rclip.data_dir)
    found = rclip("-n", "-t", "20", "a green star")
    assert (found.code, found.err) == (0, "")
    assert found == rclip("-n", "-t", "20", "a green star")
    assert len(list(folder.glob("vectors-*"))) == 1
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.touch()  # where no matrix can be
    assert rclip("-n", "-t", "20", "a green star").out == found.out


# --- stopped ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_run_stopped_at_any_moment_says_how_far_it_got(
    rclip: Command, draw: Draw, photos: Path, number: signal.Signals, status: int
) -> None:
    """In a folder so large that walk, comparison, reading and storing all take a while."""
    rng = random.Random(int(number))
    first = [draw(f"first/{number}.jpg") for number in range(50)]
    for copy in range(10_000):
        os.link(first[copy % 50], photos / f"{copy:05}.jpg")
    kept = 0
    for _ in range(6):
        run = start(rclip, "--index", "-v", stderr=subprocess.PIPE)
        wait_until_it_listens(run)
        time.sleep(rng.uniform(0, 0.8))
        run.send_signal(number)
        run.send_signal(number)  # impatience changes nothing
        _, err = run.communicate(timeout=60)
        line = one_line(err.decode())
        if run.returncode == 0:
            assert line.startswith("rclip: index updated: ")
            break
        assert run.returncode == status, err
        assert line.startswith("rclip: stopped")
        assert line == "rclip: stopped" or line.endswith((" is kept", " are kept"))  # the first where it had not begun
        assert kept <= len(vectors(rclip))
        kept = len(vectors(rclip))
    rclip("--index", "-v")
    assert len(vectors(rclip)) == 10_050
    assert integrity(index_of(rclip)) == "ok"


@pytest.mark.parametrize(("number", "status"), few(SIGNALS))
def test_a_run_stopped_while_it_prepares_the_model(
    rclip: Command, gallery: Path, number: signal.Signals, status: int
) -> None:
    for path in (rclip.data_dir / "models").rglob("*.safetensors*"):
        path.unlink()
    run = start(rclip, "--index", "-v", stderr=subprocess.PIPE)
    assert run.stderr
    assert run.stderr.readline().startswith(b"rclip: preparing the model")
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == status
    assert one_line(err.decode()) in (
        "rclip: stopped before any file was read; everything indexed is kept",
        "rclip: stopped in the middle of a long step; everything stored is kept",
    )
    assert not leftovers(rclip.data_dir)
    assert rclip("-t", "1", "a red star").lines == ["stars/red.jpg"]


def test_a_run_stopped_in_a_call_that_takes_a_minute(rclip: Command, gallery: Path) -> None:
    """SQLite waits a minute for a lock, and Python hears of no signal meanwhile."""
    rclip("--index", "-v")
    (gallery / "stars/red.jpg").unlink()
    holder = sqlite3.connect(index_of(rclip), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    run = start(rclip, "--index", "-v", stderr=subprocess.PIPE)
    wait_until_it_sleeps(run)
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=30)  # and not sixty
    holder.execute("ROLLBACK")
    holder.close()
    assert run.returncode == 143
    assert one_line(err.decode()).startswith("rclip: stopped")
    assert update(rclip) == "1 missing"


def test_nohup_is_heeded(rclip: Command, draw: Draw) -> None:
    many_photos(draw, 60)
    command = ["nohup", sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "--index"]
    run = subprocess.Popen(command, cwd=rclip.cwd, env=rclip.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until_it_listens(run)
    run.send_signal(signal.SIGHUP)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert len(vectors(rclip)) == 60


# --- many at once -----------------------------------------------------------------------------------------------------


def crowd(rclip: Command, draw: Draw, seconds: float) -> None:
    """Four runs over overlapping folders, ten queries, again and again, while photos come and go."""
    for number in range(6):
        for color, shape in GALLERY:
            draw(f"{number % 3}/{shape}s/{color} {number}.png", f"{color} {shape}")
    folders = [(".",), ("0", "1"), ("1", "2"), ("0/stars", ".")]
    ends = time.monotonic() + seconds
    rounds = 0
    while rounds == 0 or time.monotonic() < ends:
        indexing = [start(rclip, "--index", "-v", *folder, stderr=subprocess.PIPE) for folder in folders]
        queries = [
            start(rclip, "-n", "--json", "-t", "5", f"a {color} {shape}", stderr=subprocess.PIPE)
            for color, shape in GALLERY[:10]
        ]
        told = b"rclip: index updated: ", b"rclip: nothing has changed; "  # where the others were all before it
        for run in indexing:
            _, err = run.communicate(timeout=120)
            assert run.returncode == 0, err
            assert all(line.startswith(told) for line in err.splitlines()), err
        for run, (color, shape) in zip(queries, GALLERY, strict=False):
            out, err = run.communicate(timeout=120)
            assert run.returncode in (0, 1), err
            assert err in (b"", b"rclip: no photo is indexed here yet; run it once without -n\n")
            best = [json.loads(line)["path"] for line in out.splitlines()]
            if rounds:
                assert all(f"{shape}s/{color} " in path for path in best), (color, shape, best)
        rounds += 1
        name = f"{rounds % 3}/stars/red {rounds % 3}.png"
        (rclip.cwd / name).rename(rclip.cwd / "aside.png")
        (rclip.cwd / "aside.png").rename(rclip.cwd / name)
        draw(f"new/{rounds}.png", "green circle")
    assert update(rclip) in ("", "1 new photo")


def assert_crowd_left_it_right(rclip: Command, tmp_path: Path) -> None:
    assert integrity(index_of(rclip)) == "ok"
    assert not leftovers(rclip.data_dir)
    undisturbed = Command(rclip.home, tmp_path / "undisturbed", rclip.model, rclip.cwd)
    undisturbed("--index")
    assert_same_vectors(rclip, undisturbed)


@pytest.mark.slow
def test_a_crowd_of_runs_and_queries(rclip: Command, draw: Draw, tmp_path: Path) -> None:
    crowd(rclip, draw, seconds=0)
    assert_crowd_left_it_right(rclip, tmp_path)


@pytest.mark.soak
def test_a_crowd_of_runs_and_queries_for_a_minute(rclip: Command, draw: Draw, tmp_path: Path) -> None:
    crowd(rclip, draw, seconds=60)
    assert_crowd_left_it_right(rclip, tmp_path)


def test_a_signal_is_held_while_what_may_not_be_interrupted_runs() -> None:
    """torch's C++ calls Python while it is imported, and over an exception out of that it ends the process."""
    code = """
import os, signal
from rclip import signals
signals.listen()
try:
    with signals.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        print("went on")
    print("not reached")
except signals.Interrupted as interrupted:
    print(interrupted.signal_number)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("went on\n15\n", "")


def test_a_signal_among_objects_that_are_being_deleted_is_no_traceback() -> None:
    """Python can raise nothing there, and would print it."""
    code = """
import os, signal
from rclip import signals
signals.listen()
class Ends:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        [None for _ in range(1000)]
Ends()
try:
    signals.raise_if_interrupted()
except signals.Interrupted as interrupted:
    print(interrupted.signal_number)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("15\n", "")
