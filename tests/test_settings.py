"""Settings: what holds of the command line, the environment and the configuration files, and what is wrong in them."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from rclip import datadir
from rclip.cli import settings
from tests.support.command import Command, one_line
from tests.support.gallery import Draw

Configure = Callable[..., Path]


@pytest.fixture
def configure(rclip: Command) -> Configure:
    """Writes the user's configuration file, or another one."""

    def write(*lines: str, path: Path | None = None) -> Path:
        path = path or rclip.home / ".config/rclip/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("named", ["", "/of/the user", "relative"])
def test_a_users_files_are_where_platformdirs_has_them(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, named)
    for variable in ("RCLIP_DATADIR", "RCLIP_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    assert datadir.default() == platformdirs.user_data_dir("rclip", appauthor=False)
    assert settings.user_file() == os.path.join(platformdirs.user_config_dir("rclip", appauthor=False), "config.toml")


def shown(rclip: Command, *arguments: str, **changes: Any) -> dict[str, tuple[Any, str]]:
    """The settings that `--config` prints, each with where it comes from."""
    done = rclip("--config", *arguments, **changes)
    assert (done.code, done.err) == (0, "")
    values = tomllib.loads(done.out)
    lines = [line for line in done.out.splitlines() if " = " in line and not line.startswith("#")]
    return {line.partition(" = ")[0]: (values[line.partition(" = ")[0]], line.rpartition("  # ")[2]) for line in lines}


def refused(rclip: Command, *arguments: str, **changes: Any) -> str:
    """The one line with which a search is refused because of a configuration file."""
    done = rclip("-n", "a cat", *arguments, **changes)
    assert (done.code, done.out) == (2, "")
    return one_line(done.err)


def test_the_defaults_hold_without_any_file(rclip: Command) -> None:
    found = shown(rclip)
    assert found["model"] == (str(rclip.model), "command line")
    assert found["top"] == (10, "default")
    assert found["exclude-dir"] == ([], "default")
    assert found["color"] == ("auto", "default")
    assert "# max-image-megapixels =" in rclip("--config").out
    assert rclip("--config").out.startswith(f"# {rclip.home}/.config/rclip/config.toml\n")


def test_a_file_sets_them(rclip: Command, configure: Configure) -> None:
    path = configure("top = 3", "", "include-hidden = true", 'exclude-dir = ["private", "täglich"]')
    found = shown(rclip)
    assert found["top"] == (3, f"{path}, line 1")
    assert found["include-hidden"] == (True, f"{path}, line 3")
    assert found["exclude-dir"] == (["private", "täglich"], f"{path}, line 4")


def test_what_is_printed_can_be_read_again(rclip: Command, configure: Configure) -> None:
    configure("top = 3", 'exclude-dir = ["a\\tb", "c\\"d"]', "max-image-megapixels = 12.5", 'device = "cpu"')
    printed = rclip("--config").out
    before = shown(rclip)
    configure(printed)
    assert {name: value for name, (value, _) in shown(rclip).items()} == {
        name: value for name, (value, _) in before.items()
    }


def test_a_search_obeys_the_file(rclip: Command, configure: Configure, draw: Draw) -> None:
    for number in range(4):
        draw(f"{number}.png")
    draw("private/secret.png")
    draw(".hidden/hidden.png")
    assert len(rclip("red circle").lines) == 5
    configure("top = 2")
    assert len(rclip("red circle").lines) == 2
    assert len(rclip("-t", "3", "red circle").lines) == 3
    assert len(rclip("--type", "png").lines) == 5  # filters alone end where nothing passes
    configure('exclude-dir = ["private"]')
    assert not [line for line in rclip("-n", "red circle").lines if "private" in line]
    configure("include-hidden = true")
    assert ".hidden/hidden.png" in rclip("red circle").lines


def test_lists_add_up(rclip: Command, configure: Configure) -> None:
    path = configure('exclude-dir = ["private"]')
    found = shown(rclip, "--exclude-dir", "drafts")
    assert found["exclude-dir"] == (["private", "drafts"], f"{path}, line 1, command line")


def test_the_environment_names_a_model(rclip: Command, configure: Configure) -> None:
    path = configure('model = "ViT-L/14"')

    def model(**env: str) -> str:
        command = [sys.executable, "-P", "-m", "rclip", "--config"]
        done = subprocess.run(command, env=rclip.env | env, cwd=rclip.cwd, capture_output=True, text=True, check=True)
        return next(" ".join(line.split()) for line in done.stdout.splitlines() if line.startswith("model"))

    assert model() == f'model = "ViT-L/14" # {path}, line 1'
    assert model(RCLIP_MODEL="RN50") == 'model = "RN50" # RCLIP_MODEL'
    assert model(RCLIP_CONFIG="") == 'model = "ViT-B/32" # default'
    assert model(RCLIP_CONFIG="/dev/null", RCLIP_MODEL="") == 'model = "ViT-B/32" # default'


def test_another_file_can_be_named(rclip: Command, configure: Configure, tmp_path: Path) -> None:
    configure("top = 3")
    other = configure("top = 4", path=tmp_path / "other.toml")
    assert shown(rclip, env={"RCLIP_CONFIG": str(other)})["top"] == (4, f"{other}, line 1")


# --- beside a portable index -----------------------------------------------------------------------------------------


def test_a_portable_index_brings_settings(rclip: Command, configure: Configure, draw: Draw) -> None:
    draw("drive/one.png")
    assert rclip("--init", "drive").code == 0
    drive = configure("top = 7", 'exclude-dir = ["raw"]', path=rclip.cwd / "drive/.rclip/config.toml")
    own = configure("top = 3", 'exclude-dir = ["private"]', "include-hidden = true")
    found = shown(rclip, "drive")
    assert found["top"] == (7, f"{drive}, line 1")
    assert found["include-hidden"] == (True, f"{own}, line 3")
    assert found["exclude-dir"] == (["private", "raw"], f"{own}, line 2, {drive}, line 2")
    assert shown(rclip)["top"] == (3, f"{own}, line 1")


def test_a_portable_index_of_others_brings_none(rclip: Command, configure: Configure, draw: Draw) -> None:
    draw("drive/one.png")
    configure('model = "/tmp/evil.pt"', "nonsense", path=rclip.cwd / "drive/.rclip/config.toml")
    assert shown(rclip, "drive")["model"] == (str(rclip.model), "command line")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_portable_indexs_file_is_a_file(rclip: Command, configure: Configure, draw: Draw, kind: str) -> None:
    draw("drive/one.png")
    assert rclip("--init", "drive").code == 0
    file = rclip.cwd / "drive/.rclip/config.toml"
    if kind == "link":
        file.symlink_to(configure("top = 3"))
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    assert f"cannot read the settings in {file}: " in refused(rclip, "drive")


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("tops = 3", "there is no setting tops; did you mean top?"),
        ("[colours]", "there is no setting colours; did you mean color?"),
        ("zzz = 3", "there is no setting zzz; there are top, "),
        ("top = 0", "top must be a whole number of at least 1, not '0'"),
        ("top = true", "top must be a text or a number, not true"),
        ("top = [3]", "top must be a text or a number, not [3]"),
        ("top = 1e400", "top must be a whole number"),
        ("include-hidden = 1", "include-hidden must be true or false, not 1"),
        ('exclude-dir = "private"', "exclude-dir must be a list of texts"),
        ('exclude-dir = ["a/b"]', "exclude-dir must be the name of a folder, not 'a/b'"),
        ('color = "blue"', "color must be auto, always or never, not 'blue'"),
        ('preview = "paint"', "preview must be auto, kitty,"),
        ("max-image-megapixels = nan", "max-image-megapixels must be a number above 0"),
        ("top = ", "Invalid value"),
        ('model = "a', "Illegal character"),
        ("top = 2\ntop = 3", "Cannot overwrite a value"),
        (f"top = {'[' * 5000}", "maximum recursion depth"),
    ],
)
def test_a_mistake_is_reported_with_its_line(rclip: Command, configure: Configure, line: str, problem: str) -> None:
    path = configure("# settings", line)
    told = refused(rclip)
    assert f"{path}, line " in told
    assert problem in told
    assert "; correct that line, or set RCLIP_CONFIG to another file, or to nothing" in told


@pytest.mark.parametrize(
    ("content", "reason"), [(b"\xff\xfe", "codec can't decode"), (b"#" * 70_000, "it has more than 65,536 bytes")]
)
def test_a_file_that_is_no_text_is_reported(rclip: Command, configure: Configure, content: bytes, reason: str) -> None:
    path = configure()
    path.write_bytes(content)
    told = refused(rclip)
    assert told.startswith(f"rclip: cannot read the settings in {path}: ")
    assert reason in told


def test_a_named_file_must_be_there(rclip: Command, tmp_path: Path) -> None:
    told = refused(rclip, env={"RCLIP_CONFIG": str(tmp_path / "none.toml")})
    assert "none.toml: No such file or directory; fix that, or set RCLIP_CONFIG" in told


def test_mistakes_do_not_keep_the_help_from_anyone(rclip: Command, configure: Configure) -> None:
    configure("tops = 3")
    assert rclip("--help").code == 0
    assert rclip("--version").code == 0
