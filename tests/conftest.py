"""What most tests start from: the tiny CLIP, a gallery of drawn pictures, and the real command in a subprocess."""

import compileall
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from rclip.photo.image.opening import lift_limits
from tests.support import starter
from tests.support.browser import LEFT_OUT
from tests.support.command import Command
from tests.support.disks import Mount
from tests.support.gallery import Draw, draw_gallery, drawing_into
from tests.support.index import Table
from tests.support.tiers import mark_independent, mark_repeats
from tests.tiny_clip import checkpoint, scenes


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fresh", action="store_true", help="start each command as a user does, see tests.support.starter"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Programs started in the background by a script ignore SIGINT, and so would all that they start.

    Where Python is told to write no bytecode, each of the many commands would compile rclip once more.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        compileall.compile_dir(Path(__file__).parent.parent / "rclip", quiet=1)
    lift_limits()  # as the processes do that decode
    starter.is_wanted &= not config.getoption("--fresh")


def pytest_unconfigure() -> None:
    starter.close()


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Of `-n auto`, two more than processors: there is nearly always a test that waits, for a server or for a time."""
    return (yield) + 2


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before pytest itself leaves out what is marked."""
    mark_repeats(items)
    mark_independent(items)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What cannot be tested here is said, not passed over."""
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(LEFT_OUT in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(f"left out {count} tests: {LEFT_OUT}")


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Of torch, within the tests' own processes: there is one for each core, and threads would wait for their turn."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    return checkpoint.write(tmp_path_factory.mktemp("model") / "tiny.pt")


@pytest.fixture(scope="session")
def prepared_data(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the tiny CLIP's weights have been prepared and nothing has been indexed."""
    home = tmp_path_factory.mktemp("prepared")
    command = Command(home, home / "data", tiny_checkpoint, home)
    picture = home / "one.png"
    scenes.draw(scenes.random_scene(random.Random(0)), (64, 64), random.Random(0)).save(picture)
    assert command("--index").code == 0
    for index in command.data_dir.glob("*.db*"):
        index.unlink()
    return command.data_dir


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An empty folder to put photos into."""
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def rclip(tmp_path: Path, photos: Path, prepared_data: Path, tiny_checkpoint: Path) -> Command:
    """The command, run in `photos`, with the tiny CLIP and an empty index."""
    data_dir = tmp_path / "data"
    shutil.copytree(prepared_data, data_dir)
    home = tmp_path / "home"
    home.mkdir()
    return Command(home, data_dir, tiny_checkpoint, photos)


@pytest.fixture
def draw(photos: Path) -> Draw:
    return drawing_into(photos)


@pytest.fixture
def gallery(photos: Path, draw: Draw) -> Path:
    draw_gallery(draw)
    return photos


@pytest.fixture(scope="session")
def indexed_once(prepared_data: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """For `indexed`."""
    root = tmp_path_factory.mktemp("indexed")
    for name in ("home", "photos"):
        (root / name).mkdir()
    shutil.copytree(prepared_data, root / "data")
    draw_gallery(drawing_into(root / "photos"))
    command = Command(root / "home", root / "data", tiny_checkpoint, root / "photos")
    assert command("--index").code == 0
    return command


@pytest.fixture
def indexed(indexed_once: Command) -> Iterator[Command]:
    """The command in the gallery, indexed once, of tests that leave files, settings and index as they were."""

    def state() -> list[tuple[Any, ...]]:
        paths = sorted([*indexed_once.home.rglob("*"), *indexed_once.cwd.rglob("*")])
        files = [(path, status.st_size, status.st_mtime_ns) for path in paths for status in [path.lstat()]]
        return files + Table(indexed_once)("SELECT * FROM images")

    before = state()
    yield indexed_once
    assert state() == before


@pytest.fixture
def drop_root() -> tuple[str, ...]:
    """What to put before a command so that file permissions bind it, also when the tests run as root."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root cannot be denied anything, and there is no setpriv to lift that")
    return (setpriv, "--bounding-set", "-dac_override,-dac_read_search")


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts a disk of so many bytes at a folder, with what is in it."""
    mounted: list[Path] = []

    def mount_at(folder: Path, size_bytes: int) -> None:
        before = folder.with_name(folder.name + "-before")
        folder.rename(before)
        folder.mkdir()
        options = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(options, check=False, capture_output=True).returncode:
            pytest.skip("no disk may be mounted here")
        mounted.append(folder)
        shutil.copytree(before, folder, dirs_exist_ok=True)

    yield mount_at
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def table(rclip: Command) -> Table:
    return Table(rclip)
