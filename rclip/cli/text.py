"""What is printed of a hit, dressed for its terminal."""

import os
from typing import TYPE_CHECKING

from rclip.terminal.environment import Style
from rclip.terminal.text import printable, shortened

if TYPE_CHECKING:
    from rclip.library import Hit


def scored(hit: "Hit", style: Style, columns: int = 0) -> str:
    """Nothing where there was no query."""
    text = "" if hit.score is None else f"{hit.score:.3f}"
    return _colored(text.rjust(columns), _GREEN, style)


def dated(hit: "Hit", style: Style) -> str:
    """The day on which the photo was taken; that of the file is dimmed, as it may be the day of a copy."""
    color = _DIM if hit.metadata.captured_s is None else _CYAN
    return _colored(hit.captured.date().isoformat(), color, style)


def placed(hit: "Hit", columns: int, style: Style) -> str:
    """The city that it was taken in or near, in at most so many columns; nothing where none is known."""
    place = hit.place
    return _colored(shortened(printable(place), columns), _DIM, style) if place else ""


def shown_path(hit: "Hit", columns: int) -> str:
    """The path in so many columns; of a film, with the time of the moment after it, where one was searched for."""
    moment = f" at {hit.at}" if hit.at and hit.score is not None else ""
    return shortened(printable(hit.path), max(1, columns - len(moment))) + moment


def folded(hit: "Hit", style: Style) -> str:
    """The copies that are part of the result, after a blank: ` (+3 copies)`. Nothing where there are none."""
    from rclip.search.hits import copies_told

    told = copies_told(hit) if hit.copies else ""
    return f" {_colored(f'({printable(told)})', _DIM, style)}" if told else ""


def dressed(text: str, hit: "Hit", style: Style) -> str:
    """The path as it is to be shown, its file's name in bold, all of it a link to the file."""
    folder, slash, name = text.rpartition(os.sep)
    shown = f"{folder}{slash}{_colored(name, _BOLD, style)}"
    return _link(shown, hit.path) if style.links else shown


_BOLD, _DIM, _GREEN, _CYAN = (
    "1",
    "2",
    "32",
    "36",
)  # SGR (ECMA-48); the terminal's own green and cyan, which suit its background


def _colored(text: str, sgr: str, style: Style) -> str:
    return f"\x1b[{sgr}m{text}\x1b[m" if style.colors else text


def _link(text: str, path: str) -> str:
    """OSC 8. The host is named, so that a terminal does not open its own machine's files for those of another."""
    from urllib.parse import quote_from_bytes

    from rclip.search.hits import absolute

    uri = f"file://{quote_from_bytes(os.fsencode(os.uname().nodename))}{quote_from_bytes(os.fsencode(absolute(path)))}"
    return f"\x1b]8;;{uri}\x1b\\{text}\x1b]8;;\x1b\\"
