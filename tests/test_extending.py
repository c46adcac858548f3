"""The examples in CONTRIBUTING.md: one class adds a filter, an action or a form of output."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Command, Result
from tests.support.index import index_of

CONTRIBUTING = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILTERS = "from rclip.filters import Clause, Filter, FilterOption, Photo, register"
RUN = "from rclip.cli.main import run\n\nrun()\n"


def example(name: str) -> str:
    """The block of code that defines this class."""
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```$", CONTRIBUTING, flags=re.DOTALL | re.MULTILINE)
    (found,) = [block for block in blocks if f"class {name}(" in block]
    return found


@pytest.fixture
def extended(rclip: Command, gallery: Path, tmp_path: Path) -> Command:
    """The command with the examples in it, in a gallery that is indexed."""
    assert rclip("--index").code == 0
    (tmp_path / "extended.py").write_text("\n".join([FILTERS, *map(example, ["Rated", "Csv", "Count"]), RUN]))
    return rclip


def run(extended: Command, tmp_path: Path, *arguments: str) -> Result:
    command = [sys.executable, "-P", str(tmp_path / "extended.py"), "--model", str(extended.model), *arguments]
    done = subprocess.run(command, cwd=extended.cwd, env=extended.env, capture_output=True, text=True, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def test_a_new_action_runs(extended: Command, tmp_path: Path) -> None:
    assert run(extended, tmp_path, "--count") == (0, "12\n", "")
    assert run(extended, tmp_path, "--count", "stars") == (0, "4\n", "")


def test_a_new_action_has_the_rules_of_all(extended: Command, tmp_path: Path) -> None:
    done = run(extended, tmp_path, "--count", "--stats")
    assert (done.code, done.out) == (2, "")
    assert "--stats and --count cannot be used together" in done.err or "--count and --stats cannot" in done.err
    assert "--count takes no query" in run(extended, tmp_path, "--count", "--add", "snow").err


def test_a_new_form_of_output_writes(extended: Command, tmp_path: Path) -> None:
    done = run(extended, tmp_path, "-n", "--csv", "-t", "1", "a red star")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"stars/red\.jpg,0\.\d{3}\n", done.out)
    assert "cannot be used together" in run(extended, tmp_path, "--csv", "--json", "a red star").err


def test_a_new_filter_passes_what_it_should(extended: Command, tmp_path: Path) -> None:
    connection = sqlite3.connect(index_of(extended))
    with connection:
        connection.execute("UPDATE metadata SET rating = 4 WHERE id IN (SELECT id FROM metadata ORDER BY id LIMIT 3)")
    connection.close()
    rated = run(extended, tmp_path, "-n", "--rated", "4")
    assert (rated.code, rated.err) == (0, "")
    assert len(rated.lines) == 3
    assert set(run(extended, tmp_path, "-n", "--rated", "1", "a red star").lines) == set(rated.lines)
    assert run(extended, tmp_path, "-n", "--rated", "5") == (1, "", "rclip: no photo here passes the filters\n")


def test_help_man_page_and_completion_know_all(extended: Command, tmp_path: Path) -> None:
    for arguments in (["--help", "all"], ["--generate", "man"], ["--generate", "complete-bash"]):
        shown = run(extended, tmp_path, *arguments).out.replace("\\-", "-")
        assert "--count" in shown
        assert "--csv" in shown
        assert "--rated" in shown
    assert "print how many photos are indexed" in run(extended, tmp_path, "--help", "index").out
