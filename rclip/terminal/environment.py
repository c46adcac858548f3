"""What the terminal takes, as far as its environment tells: colours, links, and how many columns it has."""

import os
import sys
from collections.abc import Mapping
from itertools import takewhile
from typing import NamedTuple


class Style(NamedTuple):
    """How text for a person is dressed."""

    colors: bool
    links: bool


PLAIN = Style(colors=False, links=False)


def style(color: str, is_terminal: bool, environ: Mapping[str, str] = os.environ) -> Style:
    """`color` is `auto`, `always` or `never`. See https://no-color.org and https://bixense.com/clicolors."""
    is_wished = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Style(
        colors=color == "always" or (color == "auto" and is_terminal and is_wished),
        links=is_terminal and takes_links(environ),
    )


_LINKING_PROGRAMS = {"ghostty", "iTerm.app", "rio", "vscode", "WezTerm"}
_LINKING_TERMS = ("alacritty", "contour", "foot", "xterm-ghostty", "xterm-kitty")


def takes_links(environ: Mapping[str, str]) -> bool:
    """Whether OSC 8 is known to make a link there, and not to be printed; a multiplexer answers for itself."""
    term = environ.get("TERM", "")
    if term in ("", "dumb", "linux") or "STY" in environ:
        return False
    if "TMUX" in environ:
        return environ.get("TERM_PROGRAM") == "tmux" and _version(environ, "TERM_PROGRAM_VERSION") >= (3, 4)
    return (
        environ.get("TERM_PROGRAM") in _LINKING_PROGRAMS
        or term.startswith(_LINKING_TERMS)
        or "WT_SESSION" in environ
        or _version(environ, "VTE_VERSION") > (5000,)  # 0.50.0 itself crashes
        or _version(environ, "KONSOLE_VERSION") >= (201200,)
    )


def _version(environ: Mapping[str, str], name: str) -> tuple[int, ...]:
    """`3.3a` is (3, 3); what is not there is older than everything."""
    numbers = []
    for part in environ.get(name, "").split("."):
        digits = "".join(takewhile(str.isdecimal, part))
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def size(display: int | None = None) -> os.terminal_size:
    """Columns and lines of the terminal at a descriptor, None for stdout, `COLUMNS` before what it says itself.

    80 × 24 where neither does.
    """
    try:
        columns, lines = os.get_terminal_size(sys.stdout.fileno() if display is None else display)
    except OSError:
        columns = lines = 0
    wished = os.environ.get("COLUMNS", "")
    if wished.isascii() and wished.isdigit() and len(wished) < 6:
        columns = int(wished) or columns
    return os.terminal_size((columns or 80, lines or 24))
