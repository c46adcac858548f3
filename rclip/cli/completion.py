"""What a shell is given, made from the command's own parser: completion for bash, zsh and fish, and the man page."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import shtab
from argparse_manpage.manpage import Manpage

from rclip._version import __version__
from rclip.cli.choices import COLORS, GENERATED, SORTS
from rclip.cli.options import FORMATS
from rclip.models import NAMES

if TYPE_CHECKING:
    from argparse import Action, ArgumentParser

_MODELS = " ".join(NAMES)

# A word is a picture's path only if it starts as one; elsewhere it may still become a folder's.
_TERM = {
    "bash": "_rclip_term_files",  # by the end of the name shtab knows that files come out, to be quoted
    "zsh": "_rclip_term",
    "fish": "(_rclip_term)",
    "preamble": {
        "bash": """\
_rclip_term_files() {
  case $1 in
    ./*|../*|/*|"~"*) compgen -f -- "$1" ;;
    *) compgen -d -- "$1" ;;
  esac
}""",
        "zsh": """\
_rclip_term() {
  case $PREFIX in
    (./*|../*|/*|\\~*) _files ;;
    (*) _path_files -/ ;;
  esac
}""",
        "fish": """\
function _rclip_term
  if string match -qr '^(\\.{0,2}/|~)' -- (commandline -ct)
    __fish_complete_path (commandline -ct)
  else
    __fish_complete_directories
  end
end
""",
    },
}
_MODEL = {
    "bash": "_rclip_model_files",  # the name has shtab quote what comes out, as above
    "zsh": "_rclip_model",
    "fish": "(_rclip_model)",
    "preamble": {
        "bash": f"""\
_rclip_model_files() {{
  compgen -W "{_MODELS}" -- "$1"
  compgen -f -- "$1"
}}""",
        "zsh": f"""\
_rclip_model() {{
  _alternative "models:model:({_MODELS})" "checkpoints:checkpoint:_files"
}}""",
        "fish": f"""\
function _rclip_model
  printf '%s\\n' {_MODELS}
  __fish_complete_path (commandline -ct)
end
""",
    },
}
# By what the help calls a value; the values of an option with choices are known, and all others are the user's to say.
_COMPLETED = {"TERM": _TERM, "MODEL": _MODEL, "FILE": shtab.FILE, "DIR": shtab.DIRECTORY}
_LISTED = {"DEV": ("auto", "cpu", "cuda", "mps"), "WHEN": COLORS, "KIND": GENERATED, "ORDER": SORTS}
_KINDS = {option.name: option.kinds for form in FORMATS for option in form.options}


def completion(parser: "ArgumentParser", shell: str) -> str:
    """The script for `bash`, `zsh` or `fish`. Changes the parser."""
    for action in parser._actions:
        if not action.option_strings:
            action.help, action.metavar = "a query or a folder", "TERM"
        if action.metavar in _COMPLETED:
            action.complete = _COMPLETED[action.metavar]  # type: ignore[attr-defined]
        elif action.metavar in _LISTED:
            action.choices = _LISTED[action.metavar]
        elif kinds := _KINDS.get(
            (action.option_strings or [""])[-1]
        ):  # they need the =, or would be words of the query
            name = action.option_strings[-1]
            action.option_strings = [*action.option_strings, *(f"{name}={kind}" for kind in kinds)]
    script = shtab.complete(parser, shell).rstrip("\n") + "\n"
    if shell == "zsh":  # shtab 1.13 has it take one positional argument, where there may be any number
        script = script.replace('"(*)::', '"*:').replace("_defaults_added=0", "_defaults_added=1")
    return script


_SECTIONS = {"filters": "filter options", "about": "other options"}
"""What a group of options is called in the man page, where not by its name in the help."""


def man_page(parser: "ArgumentParser") -> str:
    """The man page, in roff. Changes the parser."""
    parts = list(_parts(parser.epilog or ""))
    parser.epilog = None
    for group in parser._action_groups:
        title, _, group.description = (group.title or "").partition(", ")
        group.title = _SECTIONS.get(title, f"{title} options")
    for action in parser._actions:
        _join_names(action)
    page = Manpage(
        parser,
        _data={
            "project_name": "rclip",
            "version": __version__,
            "description": "find photos by what is in them",
            "manual_title": "User Commands",
        },
    )
    for heading, content in parts:
        page.add_section(heading, ">", content)
    return re.sub(r"^'", r"\\&'", str(page), flags=re.MULTILINE)  # a line that starts with ' would be a command


def _parts(epilog: str) -> "Iterator[tuple[str, str]]":
    """Heading and roff of each part of the help's end: `heading: name what, name what`, or lines below `heading:`."""
    for part in epilog.strip().split("\n\n"):
        heading, _, rest = part.partition(":")
        is_literal = rest.startswith("\n")
        lines = (
            (".nf", *map(_literal, map(str.strip, rest.strip().splitlines())), ".fi") if is_literal else _tagged(rest)
        )
        yield heading, "\n".join(lines)


def _tagged(prose: str) -> "Iterator[str]":
    """`0 found, 1 not found`: the first word of each part stands out."""
    for part in " ".join(prose.split()).split(", "):
        name, _, what = part.partition(" ")
        yield from (".TP", f".B {_literal(name)}", _literal(what))


def _literal(line: str) -> str:
    """A line of which roff takes nothing for a command."""
    return "\\&" + line.replace("\\", "\\e").replace("-", "\\-")


def _join_names(action: "Action") -> None:
    """Keeps `--help` in the page: the library knows it by that name, and leaves it out."""
    if "--help" in action.option_strings:
        action.option_strings = [", ".join(action.option_strings)]
