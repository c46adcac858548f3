"""Several machines index, and their network fails: hosts with cables of their own, which are pulled while a run is on.

A pulled cable says nothing: no connection is refused or closed, packets are gone. `test_cluster.py` has what happens to
processes.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.clusters import Cluster, wait_for
from tests.support.command import Command
from tests.support.gallery import Draw, many_photos
from tests.support.index import Table
from tests.support.networks import Host, Network

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

PHOTOS = 400
DONE = f"rclip: index updated: found {PHOTOS} new photos\n"
ENDS_WITHIN_S = 150
"""Whatever happens."""
SOON = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s"}
"""Instead of after 30 seconds, a host that says nothing is given up."""
SILENT_FOR = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s"}
"""Instead of after five to ten minutes, a worker that hangs is given up."""


class Site:
    """Three hosts and more: one with the index, one with the scheduler, and one for each worker."""

    def __init__(self, network: Network, folder: Path, rclip: Command):
        self._network, self._rclip = network, rclip
        self.driver, self.scheduler = network.host(1), network.host(2)
        self.cluster = Cluster(folder, rclip, host=self.scheduler, env=SILENT_FOR)

    def worker(self, number: int) -> tuple[Host, subprocess.Popen[bytes]]:
        """On a host of its own: a new one, where there has been one of that number."""
        host = self._network.host(10 + number)
        return host, self.cluster.worker(host=host)

    def workers(self, count: int) -> list[tuple[Host, subprocess.Popen[bytes]]]:
        started = [self.worker(number) for number in range(count)]
        self.cluster.wait_for_workers(count)
        return started

    @contextmanager
    def indexing(self, env: dict[str, str] | None = None) -> Iterator["Run"]:
        """A run that has stored some photos, and has most of them before it."""
        rclip = self._rclip
        command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "--index", "-v"]
        process = subprocess.Popen(
            [*self.driver.prefix, *command, "--cluster", self.cluster.address],
            cwd=rclip.cwd,
            env=rclip.env | (env or {}),
            stderr=subprocess.PIPE,
        )
        try:
            wait_for(lambda: stored(rclip) > 10)
            yield Run(process)
        finally:
            process.kill()
            process.communicate(timeout=60)


class Run:
    """The command while it runs."""

    def __init__(self, process: subprocess.Popen[bytes]):
        self._process = process

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Its exit status and what it has said."""
        told = self._process.communicate(timeout=ENDS_WITHIN_S)[1].decode()
        return self._process.returncode, told


def stored(rclip: Command) -> int:
    return Table(rclip).count() if list(rclip.data_dir.glob("*.db")) else 0


@pytest.fixture
def site(tmp_path: Path, rclip: Command, draw: Draw) -> Iterator[Site]:
    network = Network()
    folder = tmp_path / "cluster"
    folder.mkdir()
    try:
        many_photos(draw, PHOTOS)
        made = Site(network, folder, rclip)
        try:
            yield made
        finally:
            made.cluster.close()
    finally:
        network.close()


def require_all_once(rclip: Command) -> None:
    paths = Table(rclip)("SELECT path FROM images WHERE vector IS NOT NULL")
    assert len(paths) == len(set(paths)) == PHOTOS == Table(rclip).count()


def require_the_next_run_does_the_rest(rclip: Command) -> None:
    """Without the cluster."""
    done = stored(rclip)
    assert 0 < done < PHOTOS
    assert rclip("--index", "-v").err == f"rclip: index updated: found {PHOTOS - done} new photos\n"
    require_all_once(rclip)


# --- the network comes back, or others are there ---------------------------------------------------------------------


def test_a_cable_pulled_for_good_loses_nothing(rclip: Command, site: Site) -> None:
    (pulled, _), _ = site.workers(2)
    with site.indexing() as run:
        pulled.pull()
        assert stored(rclip) < PHOTOS
        assert run.end() == (0, DONE)
    require_all_once(rclip)


@pytest.mark.parametrize("whose", ["driver", "worker", pytest.param("scheduler", marks=pytest.mark.soak)])
def test_a_cable_pulled_for_seconds_changes_nothing(rclip: Command, site: Site, whose: str) -> None:
    ((worker, _),) = site.workers(1)
    pulled = {"driver": site.driver, "scheduler": site.scheduler, "worker": worker}[whose]
    with site.indexing() as run:
        pulled.pull()
        before = stored(rclip)
        with pytest.raises(subprocess.TimeoutExpired):
            run._process.wait(4)
        assert stored(rclip) < PHOTOS, before
        pulled.plug()
        assert run.end() == (0, DONE)
    require_all_once(rclip)


@pytest.mark.soak
def test_a_host_that_comes_late_gets_work_of_one_that_is_gone(rclip: Command, site: Site) -> None:
    ((first, _),) = site.workers(1)
    with site.indexing() as run:
        first.pull()
        site.worker(1)
        assert run.end() == (0, DONE)
    require_all_once(rclip)


def test_a_host_without_power_that_is_back_gets_work(rclip: Command, site: Site) -> None:
    """At the same address, with a network that knows of no connection."""
    ((first, process),) = site.workers(1)
    with site.indexing() as run:
        first.pull()
        os.killpg(process.pid, signal.SIGKILL)
        site.worker(0)
        assert run.end() == (0, DONE)
    require_all_once(rclip)


def test_lost_packets_and_a_long_way_lose_nothing(rclip: Command, site: Site) -> None:
    (first, _), (second, _) = site.workers(2)
    first.loss = site.driver.loss = 0.05
    second.delay_s = 0.2
    with site.indexing() as run:
        assert run.end() == (0, DONE)
    require_all_once(rclip)


# --- nobody is left --------------------------------------------------------------------------------------------------


def test_a_driver_that_is_cut_off_ends(rclip: Command, site: Site) -> None:
    site.workers(1)
    with site.indexing(SOON) as run:
        site.driver.pull()
        code, told = run.end()
    require_lost(site, code, told)
    require_the_next_run_does_the_rest(rclip)


def test_ctrl_c_ends_a_run_that_is_cut_off_at_once(rclip: Command, site: Site) -> None:
    site.workers(1)
    with site.indexing() as run:
        site.driver.pull()
        with pytest.raises(subprocess.TimeoutExpired):
            run._process.wait(1)
        run.interrupt()
        code, told = run.end()
    assert code == 130
    assert told == f"rclip: stopped after {stored(rclip)} of {PHOTOS} files; the finished ones are kept\n"
    require_the_next_run_does_the_rest(rclip)


def test_a_scheduler_that_hangs_is_lost(rclip: Command, site: Site) -> None:
    """Its network is well, so nothing there tells of it."""
    site.workers(1)
    with site.indexing(SOON) as run:
        os.kill(site.cluster.scheduler.pid, signal.SIGSTOP)
        code, told = run.end()
    require_lost(site, code, told)
    require_the_next_run_does_the_rest(rclip)


@pytest.mark.soak  # a minute: Dask waits for the host, and then rclip for another worker
@pytest.mark.parametrize("hurt", [Host.pull, lambda host: None], ids=["cable", "process"])
def test_a_cluster_whose_last_worker_is_silent_ends(rclip: Command, site: Site, hurt: Callable[[Host], None]) -> None:
    ((host, process),) = site.workers(1)
    with site.indexing() as run:
        hurt(host)
        os.kill(process.pid, signal.SIGSTOP)
        told = run._process.communicate(timeout=300)[1].decode()
    assert run._process.returncode == 2
    assert told.splitlines()[-1].startswith(f"rclip: the cluster {site.cluster.address} reads no photos: it has no wor")
    require_the_next_run_does_the_rest(rclip)


def require_lost(site: Site, code: int, told: str) -> None:
    assert code == 2
    (line,) = told.splitlines()
    assert line.startswith(f"rclip: lost the cluster {site.cluster.address}: ")
    assert line.endswith("; run the same again; everything stored is kept")
