"""Several machines index: real schedulers and workers on this one, and all that happens to them."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rclip import Library
from rclip.indexing.progress import Progress
from tests.support import films
from tests.support.clusters import Cluster, descendants, has_open, other_rclip, wait_for
from tests.support.command import Command, Result
from tests.support.gallery import Draw, many_photos, photograph
from tests.support.index import Table, vectors
from tests.tiny_clip import checkpoint

pytest.importorskip("distributed")

SAME = 0.9999
ENDS_WITHIN_S = 300
COLUMNS = "path, size, mtime_ns, device, inode, ctime_ns, digest, failure, failure_kind, has_metadata, has_capture_time"


@pytest.fixture
def cluster(tmp_path: Path, rclip: Command) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder, rclip)
    yield made
    made.close()


def index(rclip: Command, cluster: Cluster | str) -> Result:
    address = cluster if isinstance(cluster, str) else cluster.address
    return rclip("--index", "-v", "--cluster", address)


@contextlib.contextmanager
def indexing(rclip: Command, cluster: Cluster) -> Iterator[subprocess.Popen[bytes]]:
    """A run that is under way."""
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "--index", "-v"]
    run = subprocess.Popen(
        [*command, "--cluster", cluster.address], cwd=rclip.cwd, env=rclip.env, stderr=subprocess.PIPE
    )
    try:
        yield run
    finally:
        run.kill()
        run.communicate(timeout=60)


def table(rclip: Command) -> list[tuple[object, ...]]:
    return Table(rclip)(f"SELECT {COLUMNS} FROM images ORDER BY path")


def metadata(rclip: Command) -> list[tuple[object, ...]]:
    sql = "SELECT path, captured_s, latitude, longitude, width, height, rating, keywords, missing_percent"
    return Table(rclip)(f"{sql} FROM images LEFT JOIN metadata USING (id) ORDER BY path")


def again(rclip: Command, tmp_path: Path, prepared_data: Path) -> Command:
    """The same command, without an index."""
    data_dir = tmp_path / "again"
    shutil.copytree(prepared_data, data_dir)
    return Command(rclip.home, data_dir, rclip.model, rclip.cwd)


def require_same_vectors(one: Command, other: Command) -> None:
    ours, theirs = vectors(one), vectors(other)
    assert ours.keys() == theirs.keys()
    for path, vector in ours.items():
        a, b = vector.astype(np.float64), theirs[path].astype(np.float64)
        assert a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) > SAME, path


def other_weights(path: Path) -> Path:
    import torch

    arrays = {name: tensor.half() for name, tensor in checkpoint.unpack().items()}
    torch.save(arrays | {"visual.proj": -arrays["visual.proj"]}, path)
    return path


def all_once(rclip: Command, count: int) -> bool:
    """Whether each photo is there, and no other row."""
    paths = Table(rclip)("SELECT path FROM images WHERE vector IS NOT NULL")
    return len(paths) == len(set(paths)) == count == Table(rclip).count()


# --- the same index --------------------------------------------------------------------------------------------------


def test_a_cluster_within_the_process_makes_the_same_index(
    rclip: Command, gallery: Path, tmp_path: Path, prepared_data: Path
) -> None:
    (gallery / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (gallery / "holes.jpg").touch()
    os.truncate(gallery / "holes.jpg", 64 << 30)  # no machine reads it
    shutil.copy(gallery / "stars/red.jpg", gallery / "copy.jpg")
    here = again(rclip, tmp_path, prepared_data)
    assert here("--index", "-v").code == 0
    done = index(rclip, "local")
    assert done.err == ("rclip: index updated: found 12 new photos, 1 copy, 2 unreadable (rclip --stats lists them)\n")
    assert table(rclip) == table(here)
    assert metadata(rclip) == metadata(here)
    require_same_vectors(rclip, here)
    assert index(rclip, "local").err == "rclip: nothing has changed; photos here: 13\n"


def test_other_machines_make_the_same_index(
    rclip: Command, cluster: Cluster, gallery: Path, tmp_path: Path, prepared_data: Path
) -> None:
    films.write_film(gallery / "film.mp4", ["red circle", "blue star"])
    os.rename(gallery / "stars/red.jpg", os.fsencode(gallery) + b"/not \xff text.jpg")
    cluster.workers(2)
    assert index(rclip, cluster).err == "rclip: index updated: found 13 new photos\n"
    here = again(rclip, tmp_path, prepared_data)
    assert here("--index", "-v").code == 0
    assert table(rclip) == table(here)
    assert metadata(rclip) == metadata(here)
    require_same_vectors(rclip, here)


def test_moved_changed_and_copied_photos_are_known(rclip: Command, gallery: Path, draw: Draw) -> None:
    assert index(rclip, "local").code == 0
    before = vectors(rclip)
    (gallery / "stars").rename(gallery / "comets")
    shutil.copyfile(gallery / "circles/red.jpg", gallery / "copy.jpg")
    draw("squares/red.jpg", "blue star")
    done = index(rclip, "local")
    assert done.err == "rclip: index updated: found 1 changed, 1 copy, 4 moved files\n"
    after = vectors(rclip)
    assert np.array_equal(after["comets/red.jpg"], before["stars/red.jpg"])
    assert np.array_equal(after["copy.jpg"], before["circles/red.jpg"])


def test_progress_tells_of_each_machine(rclip: Command, gallery: Path) -> None:
    told: list[Progress] = []
    with Library(gallery, model=rclip.model, data_dir=rclip.data_dir) as library:
        library.update(progress=told.append, cluster="local")
    read = [event for event in told if event.stage == "reading"]
    assert (read[-1].done, read[-1].total) == (12, 12)
    assert list(read[-1].hosts) == [os.uname().nodename]
    assert read[-1].hosts[os.uname().nodename] > 0


# --- workers that differ ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_workers_that_differ_are_named_and_not_used(
    rclip: Command, cluster: Cluster, draw: Draw, tmp_path: Path, photos: Path, tiny_checkpoint: Path
) -> None:
    many_photos(draw, 20)
    cluster.worker(env=other_rclip(tmp_path / "old", "_version.py", '__version__ = "', '__version__ = "9.9.'))
    (tmp_path / "bytes").mkdir()
    for path in photos.iterdir():
        shutil.copy2(path, tmp_path / "bytes")
    (tmp_path / "bytes/0000.png").write_bytes((photos / "0001.png").read_bytes())
    cluster.worker(in_place_of=(photos, tmp_path / "bytes"))
    (tmp_path / "empty").mkdir()
    cluster.worker(in_place_of=(photos, tmp_path / "empty"))
    weights = other_weights(tmp_path / "other.pt")
    cluster.worker(in_place_of=(tiny_checkpoint, weights), env={"RCLIP_DATADIR": str(tmp_path / "other-data")})
    cluster.wait_for_workers(4)

    refused = index(rclip, cluster)
    assert refused.code == 2
    *lines, last = refused.err.splitlines()
    told = "\n".join(sorted(re.sub(r".*\d\) is not used: ", "", line) for line in lines))
    assert re.fullmatch(
        f"{re.escape(str(photos))}/0000.png cannot be read there: No such file or directory; .*\n"
        f"{re.escape(str(photos))}/0000.png has other bytes there; .*\n"
        r"it has rclip 9\.9\.\S+, and this machine \S+; .*\n"
        r"its model has the SHA-256 \w{12}…, and this machine's \w{12}…; .*",
        told,
    )
    assert last.startswith(f"rclip: the cluster {cluster.address} reads no photos: none of its workers can be used; ")
    assert Table(rclip).count() == 0

    cluster.worker()
    cluster.wait_for_workers(5)
    done = index(rclip, cluster)
    assert done.code == 0
    assert done.err.splitlines()[-1] == "rclip: index updated: found 20 new photos"
    assert all_once(rclip, 20)


@pytest.mark.slow
def test_a_worker_that_encodes_otherwise_is_not_used(
    rclip: Command, cluster: Cluster, gallery: Path, tmp_path: Path
) -> None:
    usual = "return Resizing(self.resize_mode, self.interpolation)"
    other = other_rclip(tmp_path / "other", "models/config.py", usual, 'return Resizing("squash", "bilinear")')
    cluster.worker(env=other)
    cluster.wait_for_workers(1)
    done = index(rclip, cluster)
    assert done.code == 2
    assert re.search(r"is not used: its vector of a test picture has a cosine of 0\.\d{4} with ours", done.err)


@pytest.mark.slow
def test_a_worker_without_rclip_is_named(rclip: Command, cluster: Cluster, gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none/sitecustomize.py").write_text("import sys; sys.modules['rclip'] = None")
    cluster.worker(env={"PYTHONPATH": str(tmp_path / "none")})
    cluster.wait_for_workers(1)
    done = index(rclip, cluster)
    assert done.code == 2
    assert "is not used: it has another rclip, or none (" in done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("3 * result.vector", "a vector"),
        ("np.full_like(result.vector, np.nan)", "a vector"),
        ("result.vector[1:]", "the length of its vectors"),
    ],
)
def test_a_worker_that_answers_nonsense_is_not_used(
    rclip: Command, cluster: Cluster, draw: Draw, tmp_path: Path, new: str, said: str
) -> None:
    many_photos(draw, 30)
    old = 'result.vector.astype("<f2")'
    cluster.worker(env=other_rclip(tmp_path / "bad", "indexing/cluster/wire.py", old, f'({new}).astype("<f2")'))
    cluster.wait_for_workers(1)
    refused = index(rclip, cluster)
    assert refused.code == 2
    assert f"is not used: its answer is not one of rclip's ({said}); " in refused.err.splitlines()[0]
    assert Table(rclip).count() == 0
    cluster.worker()
    cluster.wait_for_workers(2)
    done = index(rclip, cluster)
    assert done.code == 0
    assert done.err.splitlines()[-1] == "rclip: index updated: found 30 new photos"
    assert all_once(rclip, 30)


# --- workers that die, hang and come late ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(rclip: Command, cluster: Cluster, draw: Draw) -> None:
    many_photos(draw, 300)
    first, _ = cluster.workers(2)
    with indexing(rclip, cluster) as run:
        wait_for(lambda: Table(rclip).count() > 10 if list(rclip.data_dir.glob("*.db")) else False)
        first.kill()
        assert run.communicate(timeout=ENDS_WITHIN_S)[1] == b"rclip: index updated: found 300 new photos\n"
    assert all_once(rclip, 300)


@pytest.mark.slow
def test_a_worker_that_comes_late_gets_work(rclip: Command, cluster: Cluster, draw: Draw) -> None:
    many_photos(draw, 300)
    with indexing(rclip, cluster) as run:
        wait_for(lambda: bool(list(rclip.data_dir.glob("*.db"))))
        first = cluster.worker()
        wait_for(lambda: Table(rclip).count() > 10)
        os.kill(first.pid, signal.SIGSTOP)
        cluster.worker()
        before = Table(rclip).count()
        wait_for(lambda: Table(rclip).count() > before + 100)
        first.kill()
        assert (
            run.communicate(timeout=ENDS_WITHIN_S)[1].splitlines()[-1] == b"rclip: index updated: found 300 new photos"
        )
    assert all_once(rclip, 300)


@pytest.mark.slow
def test_what_a_worker_that_hangs_has_is_given_to_another(rclip: Command, cluster: Cluster, draw: Draw) -> None:
    many_photos(draw, 300)
    first, _ = cluster.workers(2)
    with indexing(rclip, cluster) as run:
        wait_for(lambda: Table(rclip).count() > 10 if list(rclip.data_dir.glob("*.db")) else False)
        os.kill(first.pid, signal.SIGSTOP)
        assert run.communicate(timeout=ENDS_WITHIN_S)[1] == b"rclip: index updated: found 300 new photos\n"
    assert all_once(rclip, 300)


@pytest.mark.slow
def test_a_photo_that_kills_workers_is_left_to_the_next_run(
    rclip: Command, cluster: Cluster, draw: Draw, photos: Path
) -> None:
    many_photos(draw, 100)
    killer = photos / "0050.png"
    photograph((2400, 1800)).save(killer)
    nannies = [cluster.worker(is_restarted=True) for _ in range(2)]
    cluster.wait_for_workers(2)
    killed: set[int] = set()
    is_over = threading.Event()

    def kill() -> None:
        while not is_over.is_set():
            for nanny in nannies:
                for pid in descendants(nanny.pid):
                    if has_open(pid, killer) and pid not in killed and is_worker(pid):
                        killed.add(pid)
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        done = index(rclip, cluster)
    finally:
        is_over.set()
        thread.join(60)
    last = done.err.splitlines()[-1]
    assert last == "rclip: index updated: found 99 new photos, 1 to be tried again by the next run"
    assert all_once(rclip, 99)
    assert len(killed) <= 4
    assert index(rclip, cluster).err == "rclip: index updated: found 1 new photo\n"


def is_worker(pid: int) -> bool:
    """Not one of its decoders."""
    with contextlib.suppress(OSError):
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@pytest.mark.slow
def test_what_one_worker_cannot_see_is_left_to_the_next_run(
    rclip: Command, cluster: Cluster, draw: Draw, tmp_path: Path, photos: Path
) -> None:
    many_photos(draw, 30)
    shutil.copytree(photos, tmp_path / "elsewhere", copy_function=shutil.copy2)
    (tmp_path / "elsewhere/0003.png").unlink()
    (tmp_path / "elsewhere/0004.png").unlink()
    (tmp_path / "elsewhere/0004.png").mkdir()
    cluster.worker(in_place_of=(photos, tmp_path / "elsewhere"))
    cluster.wait_for_workers(1)
    done = index(rclip, cluster)
    assert done.err == "rclip: index updated: found 28 new photos, 2 to be tried again by the next run\n"
    assert all_once(rclip, 28)
    assert rclip("--index", "-v").err == "rclip: index updated: found 2 new photos\n"


# --- the run itself ends ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_run_that_is_stopped_goes_on(
    rclip: Command, cluster: Cluster, draw: Draw, number: signal.Signals, code: int
) -> None:
    many_photos(draw, 300)
    cluster.workers(2)
    with indexing(rclip, cluster) as run:
        wait_for(lambda: Table(rclip).count() > 10 if list(rclip.data_dir.glob("*.db")) else False)
        run.send_signal(number)
        told = run.communicate(timeout=ENDS_WITHIN_S)[1].decode()
        assert run.returncode == code
    done = Table(rclip).count()
    assert done < 300
    if number == signal.SIGINT:
        assert told == f"rclip: stopped after {done} of 300 files; the finished ones are kept\n"
    assert index(rclip, cluster).err == f"rclip: index updated: found {300 - done} new photos\n"
    assert all_once(rclip, 300)


@pytest.mark.slow
def test_a_scheduler_that_ends_is_reported(rclip: Command, cluster: Cluster, draw: Draw) -> None:
    many_photos(draw, 300)
    cluster.workers(2)
    with indexing(rclip, cluster) as run:
        wait_for(lambda: Table(rclip).count() > 10 if list(rclip.data_dir.glob("*.db")) else False)
        cluster.scheduler.kill()
        told = run.communicate(timeout=ENDS_WITHIN_S)[1].decode()
        assert run.returncode == 2
    (line,) = told.splitlines()
    assert line.startswith(f"rclip: lost the cluster {cluster.address}: ")
    assert line.endswith("; run the same again; everything stored is kept")
    assert rclip("--index", "-v").code == 0
    assert all_once(rclip, 300)


@pytest.mark.slow  # Dask tries for ten seconds
def test_without_a_scheduler_it_says_so(rclip: Command, gallery: Path) -> None:
    done = index(rclip, "tcp://127.0.0.1:9")
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("rclip: cannot reach the cluster tcp://127.0.0.1:9: ")


def test_another_server_is_no_scheduler(rclip: Command, gallery: Path) -> None:
    with contextlib.ExitStack() as sockets:
        server = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))

        def answer() -> None:
            with contextlib.suppress(OSError):  # it is closed
                while True:
                    connection = sockets.enter_context(server.accept()[0])
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        done = index(rclip, address)
    assert done.code == 2
    assert done.err.startswith(f"rclip: cannot reach the cluster {address}: another program answers there; ")
    assert len(done.err.splitlines()) == 1


@pytest.mark.slow
def test_a_program_that_says_nothing_is_no_scheduler(rclip: Command, gallery: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # the system takes connections for it
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        done = index(rclip, address)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith(f"rclip: cannot reach the cluster {address}: nothing answers there; ")


@pytest.mark.slow
def test_without_workers_it_waits_and_says_so(rclip: Command, cluster: Cluster, gallery: Path) -> None:
    done = index(rclip, cluster)
    assert done.code == 2
    assert done.err.splitlines() == [
        f"rclip: waiting for a worker of the cluster {cluster.address}; start one with dask worker, "
        "and see docs/cluster.md",
        f"rclip: the cluster {cluster.address} reads no photos: it has no workers; start workers with dask worker, "
        "and see docs/cluster.md",
    ]


@pytest.mark.slow
def test_encryption_that_is_not_set_up_is_reported(rclip: Command, gallery: Path) -> None:
    done = index(rclip, "tls://127.0.0.1:9")
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith("rclip: cannot reach the cluster tls://127.0.0.1:9: ")


@pytest.mark.parametrize("address", ["", "host", "tcp://host", "http://host:80", "tcp://:80", "tcp://a@b:80"])
def test_what_is_no_address_is_refused(rclip: Command, address: str) -> None:
    done = index(rclip, address)
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert "must be the address of a Dask scheduler, like tcp://" in line


def test_without_dask_it_says_what_to_install(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/sitecustomize.py").write_text("import sys; sys.modules['distributed'] = None")
    done = rclip("--index", "--cluster", "local", env={"PYTHONPATH": str(tmp_path / "hidden")})
    assert done.code == 2
    assert re.fullmatch(
        "rclip: a cluster needs the package distributed, which is not installed; to install it: "
        r"\S+ -P -m pip install distributed\n",
        done.err,
    )


# --- who gets in -----------------------------------------------------------------------------------------------------


def test_a_cluster_within_the_process_opens_no_port(rclip: Command, gallery: Path, draw: Draw) -> None:
    listening: list[str] = []

    def look(progress: Progress) -> None:
        if progress.stage == "reading" and progress.done:
            own = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists() or link.is_symlink()}
            for table_ in ("/proc/net/tcp", "/proc/net/tcp6"):
                rows = [line.split() for line in Path(table_).read_text(encoding="ascii").splitlines()[1:]]
                listening.extend(row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own)
            seen.append(progress.done)

    seen: list[int] = []
    with Library(gallery, model=rclip.model, data_dir=rclip.data_dir) as library:
        library.update(progress=look, cluster="local")
    assert seen
    assert not listening


def test_nothing_beside_the_photos_is_run(rclip: Command, gallery: Path) -> None:
    """Neither by this process nor by one that it starts."""
    trap = f"open({str(gallery / 'trapped')!r}, 'w')"
    for name in ("distributed", "dask", "tornado", "msgpack", "multiprocessing", "numpy", "rclip"):
        (gallery / f"{name}.py").write_text(trap)
    (gallery / "dask.yaml").write_text("distributed:\n  client:\n    preload: ['./trap.py']\n")
    (gallery / "trap.py").write_text(trap)
    assert index(rclip, "local").err == "rclip: index updated: found 12 new photos\n"
    assert not (gallery / "trapped").exists()


def test_a_run_without_a_cluster_imports_no_dask(rclip: Command, gallery: Path) -> None:
    from tests.support.command import imported_by

    assert not imported_by(rclip, "--index") & {"distributed", "dask", "tornado", "rclip.indexing.cluster"}


# --- the page of the documents ---------------------------------------------------------------------------------------


def commands_of_the_page() -> list[list[str]]:
    """Those typed at a terminal, in the order of the page."""
    page = (Path(__file__).parent.parent / "docs/cluster.md").read_text(encoding="utf-8")
    return [shlex.split(line.removeprefix("$ ")) for line in page.splitlines() if line.startswith("$ ")]


@pytest.mark.slow
def test_the_page_says_how_to_use_certificates(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    here = tmp_path / "certificates"
    here.mkdir()
    commands = commands_of_the_page()
    for command in commands:
        if command[0] == "openssl":
            subprocess.run(command, cwd=here, check=True, capture_output=True)
    (start,) = [each for each in commands if each[:2] == ["dask", "scheduler"] and "tls" in each]
    (work,) = [each for each in commands if each[:2] == ["dask", "worker"] and each[2].startswith("tls:")]
    files = {name: str(here / name) for name in ("ca.pem", "node.pem", "node.key")}
    assert "--protocol tls " in " ".join(start)
    options = [files.get(each, each) for each in start[start.index("--tls-ca-file") :]]
    secured = Cluster(here, rclip, "--protocol", "tls", *options)
    try:
        assert secured.address.startswith("tls://")
        secured.worker(*(files.get(each, each) for each in work[3:]))
        variables = dict(each[1].split("=") for each in commands if each[0] == "export")
        told = {name: files[value] for name, value in variables.items()}
        arguments = ("--index", "-v", "--cluster", secured.address)
        assert rclip(*arguments, env=told).err == "rclip: index updated: found 12 new photos\n"
        assert rclip(*arguments).code == 0  # nothing is to be read, so nobody is asked
        (gallery / "new.jpg").write_bytes((gallery / "stars/red.jpg").read_bytes() + b"more")
        refused = rclip(*arguments)
        assert refused.code == 2
        assert refused.err.startswith(f"rclip: cannot reach the cluster {secured.address}: ")
        assert len(refused.err.splitlines()) == 1
    finally:
        secured.close()
