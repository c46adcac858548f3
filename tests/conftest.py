"""What most tests start from: the tiny CLIP, a gallery of drawn pictures, and the real command in a subprocess."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.tiny_clip import checkpoint, scenes


def pytest_configure() -> None:
    """Programs started in the background by a script ignore SIGINT, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


GALLERY = [(color, shape) for color in ("red", "blue", "yellow", "green") for shape in ("circle", "square", "star")]


class Result(NamedTuple):
    """What a finished command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Command:
    """The installed command, run as a user would, with a home and a data folder of its own."""

    def __init__(self, home: Path, data_dir: Path, model: Path, cwd: Path):
        self.home = home
        self.data_dir = data_dir
        self.model = model
        self.cwd = cwd

    def __call__(self, *arguments: str | bytes | Path, **changes: object) -> Result:
        done = self.raw(*arguments, **changes)
        return Result(done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))

    def raw(
        self,
        *arguments: str | bytes | Path,
        cwd: Path | bytes | None = None,
        env: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        model: str | Path | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        command = [*prefix, sys.executable, "-P", "-m", "rclip", "--model", model or self.model, *arguments]
        return subprocess.run(
            command, cwd=cwd or self.cwd, env=self.env | (env or {}), capture_output=True, timeout=120, check=False
        )

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RCLIP_", "XDG_"))}
        return kept | {"HOME": str(self.home), "RCLIP_DATADIR": str(self.data_dir)}


def unchanged(photos: int) -> str:
    """What `--index -v` says where nothing has changed."""
    return f"rclip: nothing has changed; photos here: {photos:,}\n"


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


def draw_scene(path: Path, what: str, rng: random.Random, **save: object) -> None:
    """One "red circle" on a plain white ground, or a black one where the shape itself is white."""
    color, shape = what.split()
    ground = "black" if color == "white" else "white"
    scene = scenes.random_scene(rng, color=color, shape=shape, count=1, ground="plain", ground_color=ground)
    scenes.draw(scene, (160, 120), rng).save(path, **save)


Draw = Callable[..., Path]


@pytest.fixture
def draw(photos: Path) -> Draw:
    """Draws "red circle" into a file below `photos` (or any other); every call gives other pixels."""
    rng = random.Random(20)

    def draw_into(name: str | Path, what: str = "red circle", **save: object) -> Path:
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_scene(path, what, rng, **save)
        return path

    return draw_into


@pytest.fixture
def gallery(photos: Path, draw: Draw) -> Path:
    """Twelve pictures, three shapes in four colours, in folders named for the shapes."""
    for color, shape in GALLERY:
        draw(f"{shape}s/{color}.jpg", f"{color} {shape}")
    return photos


@pytest.fixture
def drop_root() -> tuple[str, ...]:
    """What to put before a command so that file permissions bind it, also when the tests run as root."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root cannot be denied anything, and there is no setpriv to lift that")
    return (setpriv, "--bounding-set", "-dac_override,-dac_read_search")
