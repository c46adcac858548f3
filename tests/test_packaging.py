"""What surrounds the code says what the code does: README, snap, package metadata."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import rclip
from rclip import formats
from rclip.arguments import parse
from rclip.parser import option_parser
from tests.conftest import Command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def parser_options() -> set[str]:
    return {name for action in option_parser()._actions for name in action.option_strings}


def test_the_option_table_is_the_programs() -> None:
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `-")]
    documented = {name for row in rows for name in re.findall(r"`(--?[\w-]+)", row)}
    assert documented - {"-0", "--json", "-f"} <= parser_options()
    assert parser_options() <= documented


def test_the_readmes_prose_is_wrapped_as_the_code_is() -> None:
    """But for tables, and an address that is longer."""
    lines = [line for line in README.splitlines() if not line.startswith("|") and " " in line]
    assert [line for line in lines if len(line) > 120] == []


def shell_blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)


def rclip_commands() -> list[str]:
    """Every `rclip …` of the README's shell examples, up to a pipe, a redirection or a comment."""
    lines = [line for block in shell_blocks() for line in block.splitlines()]
    return [re.split(r" [|<>] | {2,}#", line)[0] for line in lines if line.startswith("rclip ")]


@pytest.mark.parametrize("line", rclip_commands())
def test_the_readmes_commands_are_understood(line: str, tmp_path: Path) -> None:
    """The folders they name are made first."""
    words = shlex.split(line)[1:]
    (tmp_path / "Pictures").mkdir()
    if "--generate" in words:  # answered while the words are being read, like --help
        with pytest.raises(SystemExit, match=r"^0$"):
            parse(words)
        return
    inside = [re.sub(r"^(~|/mnt/[\w/]+|\./screenshots)", str(tmp_path), word) for word in words]
    options = parse(inside)
    action = options.init or options.index or options.stats or options.check or options.prune is not None
    assert options.query or options.queries or options.filters or action


def test_enough_commands_are_looked_at() -> None:
    assert len(rclip_commands()) >= 8


def test_the_readmes_python_runs(rclip: Command, gallery: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    code = block.replace('"~/Pictures"', f'"{gallery}", model="{rclip.model}"').replace("a red kite", "a red star")
    import sys

    done = subprocess.run([sys.executable, "-c", code], env=rclip.env, capture_output=True, text=True, check=True)
    score, path = done.stdout.splitlines()[0].split(" ", 1)
    assert path == str(gallery / "stars/red.jpg")
    assert 0 < float(score) < 1


def test_the_readmes_formats_are_the_programs() -> None:
    rows = {line.split("|")[1].strip(): line.split("|")[2] for line in README.splitlines() if line.count("|") == 3}
    assert set(re.sub(r"\(.*?\)", "", rows["always"]).split()) == formats.PILLOW_SUFFIXES
    for extra in formats.EXTRAS:
        assert set(rows[f"with `{extra.package}`"].split(":")[0].split()) == extra.suffixes


def test_the_readmes_models_are_the_programs() -> None:
    from rclip.models import NAMES

    (row,) = [line for line in README.splitlines() if line.startswith("| `--model")]
    assert set(re.findall(r"`([A-Z][^`]+)`", row)) == set(NAMES)


def test_every_dependency_has_a_reason_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reasons = README[README.index("## What it stands on") : README.index("## Working on it")].lower()
    for requirement in project["dependencies"]:
        assert re.match(r"[\w-]+", requirement)[0] in reasons, requirement
        assert "<" in requirement or requirement.startswith("regex"), requirement  # regex numbers by date
    for extra in formats.EXTRAS:
        assert any(extra.package in line for group in project["optional-dependencies"].values() for line in group)


def test_the_snap() -> None:
    snap = yaml.safe_load((ROOT / "snap/snapcraft.yaml").read_text())
    assert (snap["name"], snap["base"], snap["confinement"], snap["license"]) == ("rclip", "core24", "strict", "MIT")
    assert {"home", "removable-media"} <= set(snap["apps"]["rclip"]["plugs"])
    assert snap["apps"]["rclip"]["command"] == "bin/rclip"
    assert f"> {snap['apps']['rclip']['completer']}\n" in snap["parts"]["rclip"]["override-build"]
    assert "version" not in snap
    assert snap["adopt-info"] in snap["parts"]
    (command,) = re.findall(r'version="\$\((.*)\)"', snap["parts"]["rclip"]["override-pull"])
    told = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert told == rclip.__version__
