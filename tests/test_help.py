"""The help, and what is answered to values that an option does not take."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from rclip.cli.arguments import option_parser, parse, parser_for
from tests.support.command import Command

ACTIONS = [action for action in option_parser()._actions if action.option_strings]
WITH_VALUE = [action for action in ACTIONS if action.nargs != 0]


def name_of(action: argparse.Action) -> str:
    return action.option_strings[-1]


# --- the help ---------------------------------------------------------------------------------------------------------

TWO_SCREENS = 2 * 40
"""Lines."""


def test_the_help_fits_two_screens(rclip: Command) -> None:
    done = rclip("--help", env={"COLUMNS": "80"})
    assert (done.code, done.err) == (0, "")
    assert len(done.lines) <= TWO_SCREENS
    assert [line for line in done.lines if len(line) > 80] == []


def test_the_help_is_grouped_and_has_examples(rclip: Command) -> None:
    headings = re.findall(r"^(\w.*?):$", rclip("--help").out, flags=re.MULTILINE)
    headings = [re.split("[, ]", heading)[0] for heading in headings]
    assert headings[-1] == "examples"
    assert {"search", "output", "index", "model", "about"} <= set(headings)


def test_the_help_names_every_option_and_its_parts_say_what_each_does(rclip: Command) -> None:
    """Nothing is lost by its length: what it has only the names of, each part says in full, as do all together."""
    brief, whole = (rclip("--help", *topic, env={"COLUMNS": "80"}).out for topic in ((), ("all",)))
    parts = re.findall(r"^(\w+) \(rclip --help (\w+) says more\):$", brief, flags=re.MULTILINE)
    assert parts == [(name, name) for name in ("index", "model", "page", "about")]
    in_parts = "".join(rclip("--help", name, env={"COLUMNS": "80"}).out for name, _ in parts)
    for action in ACTIONS:
        said = " ".join(f"{action.help}".split())
        assert re.search(rf"{re.escape(name_of(action))}\b", brief)
        assert said in " ".join(whole.split())
        assert said in " ".join((brief + in_parts).split())
    assert rclip("-h", "model") == (0, rclip("--help", "model").out, "")
    assert rclip("--help", "a cat").out == brief


@pytest.mark.parametrize("action", ACTIONS, ids=name_of)
def test_the_help_says_what_each_option_does(action: argparse.Action) -> None:
    assert action.help
    assert action.nargs == 0 or action.metavar


@pytest.mark.parametrize("line", re.findall(r"^  rclip .*", str(option_parser().epilog), flags=re.MULTILINE))
def test_the_helps_examples_are_understood(line: str, tmp_path: Path) -> None:
    folders = line.replace("~/Pictures", str(tmp_path)).replace("/mnt/nas", str(tmp_path))
    assert parse(shlex.split(re.split(r" {2,}| \| ", folders.strip())[0])[1:])


# --- bad values -------------------------------------------------------------------------------------------------------

TAKE_ANY_WORDS = {
    *("--add", "--subtract", "--exclude", "--exclude-dir", "--camera", "--lens", "--keyword", "--path", "--format"),
    *("--copy-to", "--link-to", "--tag", "--untag"),
}


def bad_values() -> list[tuple[str, str]]:
    """Each option that takes a value, with values that none of its kind can be."""
    names = [name_of(action) for action in WITH_VALUE]
    return [(name, "") for name in names] + [(name, "?!") for name in names if name not in TAKE_ANY_WORDS]


@pytest.mark.parametrize(("name", "value"), bad_values())
def test_a_bad_value_is_answered_in_one_line_that_says_what_the_option_takes(
    rclip: Command, name: str, value: str
) -> None:
    done = rclip("-n", f"{name}={value}", "--", ".")
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert name in done.err
    assert re.search(r"takes|must be|needs", done.err)


@pytest.mark.parametrize("action", WITH_VALUE, ids=name_of)
def test_a_missing_value_is_answered_in_one_line(rclip: Command, action: argparse.Action) -> None:
    done = rclip(name_of(action))
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert name_of(action) in done.err


def test_there_are_options_with_values() -> None:
    assert len(WITH_VALUE) >= 9


LINES = (
    *(
        "a cat",
        "-n a cat ~/p",
        "-nt5 a cat",
        "-t 5 -0 a --add b -a c",
        "--preview=blocks a cat",
        "--preview -- -a -cat",
    ),
    *("--near -33.9,151.2", "--min-score -0.5 a", "--exclude a --exclude=b cat", "--no-video --json cat + dog - 2:cow"),
    *("- people", "--fold=0.9 a cat --model m", "--dry-run --tag x a"),
)


@pytest.mark.parametrize("line", LINES)
def test_a_parser_of_the_options_that_are_named_reads_as_that_of_all(line: str) -> None:
    arguments = shlex.split(line)
    values = parser_for(arguments).values(arguments)
    assert values == option_parser().values(arguments)
    assert values["words"] or values["near"]
