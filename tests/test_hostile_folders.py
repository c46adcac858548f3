"""Attacks on the real command by the folder it is run in: what lies beside the photos is neither run nor trusted."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command, Draw
from tests.terminals import on_terminal

RCLIP = Path(sys.executable).with_name("rclip")

# --- code beside the photos -------------------------------------------------------------------------------------------

MODULES = (
    *("json", "socket", "subprocess", "typing", "enum", "re", "struct", "signal", "contextlib", "pathlib", "argparse"),
    *("sqlite3", "sitecustomize", "usercustomize", "pip", "tempfile", "logging", "random", "threading", "queue"),
    *("resource", "zlib", "io", "warnings", "traceback", "pillow_heif", "pillow_jxl", "rawpy", "tqdm", "numkong"),
    *("platformdirs", "xml", "mmap", "_decimal", "pkgutil", "runpy", "shtab", "argparse_manpage", "wcwidth"),
)
PACKAGES = ("numpy", "PIL", "torch", "clip", "torchvision", "ftfy", "regex", "importlib", "concurrent", "email")
PROGRAMS = ("xdg-open", "open", "tmux", "python", "python3", "sh", "stty", "tput", "uname", "file", "env", "rclip")


@pytest.fixture
def marker(photos: Path, tmp_path: Path) -> Path:
    """A file that is made by whatever is run of the modules and programs that lie in `photos`."""
    marker = tmp_path / "was run"
    code = f"open({str(marker)!r}, 'a').write(__file__ + '\\n')\nraise ImportError('hostile')\n"
    for name in MODULES:
        (photos / f"{name}.py").write_text(code)
    for name in PACKAGES:
        (photos / name).mkdir()
        (photos / name / "__init__.py").write_text(code)
    (photos / "hostile-1.dist-info").mkdir()
    (photos / "hostile-1.dist-info" / "entry_points.txt").write_text("[console_scripts]\nrclip = json:run\n")
    (photos / "hostile.pth").write_text(f"import os; open({str(marker)!r}, 'a').write('pth')\n")
    for name in PROGRAMS:
        (photos / name).write_text(f"#!/bin/sh\necho {name} >>'{marker}'\n")
        (photos / name).chmod(0o755)
    return marker


@pytest.mark.parametrize("how", [(RCLIP,), (sys.executable, "-m", "rclip")], ids=["command", "module"])
@pytest.mark.parametrize("part", ["", "."])
def test_nothing_beside_the_photos_is_run(
    rclip: Command, draw: Draw, marker: Path, photos: Path, how: tuple[str | Path, ...], part: str
) -> None:
    draw("a.jpg", "red star")
    draw("b.tif", "blue circle")
    (photos / "c.heic").write_bytes(b"none")
    path = os.pathsep.join([part, "/usr/bin", "/bin"])
    environment = rclip.env | {"PATH": path, "TMUX": "/nowhere,1,0", "TMPDIR": str(photos.parent)}
    for words in (
        ("--index",),
        ("a red star",),
        ("-n", "--after", "2000", "a red star"),
        ("./a.jpg",),
        ("./b.tif",),
        ("--json", "./b.tif", "+", "a star"),
        ("--open", "-t", "1", "a red star"),
        ("--stats",),
        ("--check",),
        ("--prune",),
        ("--rebuild",),
        ("--init",),
        ("--help",),
        ("--generate", "man"),
    ):
        done = subprocess.run(
            [*how, "--model", rclip.model, *words], cwd=photos, env=environment, capture_output=True, check=False
        )
        assert b"Traceback" not in done.stderr
        assert not marker.exists(), (words, marker.read_text())
    assert done.returncode == 0


def test_nothing_beside_the_photos_is_run_to_draw_them(rclip: Command, draw: Draw, marker: Path) -> None:
    draw("a.jpg", "red star")
    rclip("--index")
    for kind in ("auto", "blocks"):
        command = ["/usr/bin/env", "PATH=:/usr/bin:/bin", str(RCLIP), "--model", str(rclip.model), f"--preview={kind}"]
        shown = on_terminal(rclip, command=[*command, "a red star"], env={"TMUX": "/nowhere,1,0"})
        assert (shown.code, shown.err) == (0, "")
        assert not marker.exists(), marker.read_text()


def test_the_advice_runs_nothing_beside_the_photos(rclip: Command, photos: Path, marker: Path) -> None:
    """Where a package is lacking that a photo needs."""
    (photos / "c.heic").write_bytes(b"none")
    lacking = (
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'pillow_heif' else find(name, *more)\n"
    )
    elsewhere = photos.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "sitecustomize.py").write_text(lacking)
    told = rclip("a red star", env={"PYTHONPATH": str(elsewhere)}).err
    advice = told.partition("this installs what is needed: ")[2]
    assert "-m pip install pillow-heif" in advice
    subprocess.run(["sh", "-c", advice.replace("install", "help")], cwd=photos, capture_output=True, check=False)
    assert not marker.exists()
