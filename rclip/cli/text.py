"""Text for a person at a terminal: dressed, shortened to its columns, and without anything that would steer it."""

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rclip.cli.terminal import Style

if TYPE_CHECKING:
    from rclip.library import Hit


def scored(hit: "Hit", style: Style, columns: int = 0) -> str:
    """Nothing where there was no query."""
    text = "" if hit.score is None else f"{hit.score:.3f}"
    return _colored(text.rjust(columns), _GREEN, style)


def dated(hit: "Hit", style: Style) -> str:
    """The day on which the photo was taken, or that of the file."""
    return _colored(hit.captured.date().isoformat(), _CYAN, style)


def dressed(text: str, hit: "Hit", style: Style) -> str:
    """The path as it is to be shown, its file's name in bold, all of it a link to the file."""
    folder, slash, name = text.rpartition(os.sep)
    shown = f"{folder}{slash}{_colored(name, _BOLD, style)}"
    return _link(shown, hit.path) if style.links else shown


_BOLD, _GREEN, _CYAN = "1", "32", "36"  # SGR (ECMA-48); the terminal's own green and cyan, which suit its background


def _colored(text: str, sgr: str, style: Style) -> str:
    return f"\x1b[{sgr}m{text}\x1b[m" if style.colors else text


def _link(text: str, path: str) -> str:
    """OSC 8. The host is named, so that a terminal does not open its own machine's files for those of another."""
    from urllib.parse import quote_from_bytes

    from rclip.search.hits import absolute

    uri = f"file://{quote_from_bytes(os.fsencode(os.uname().nodename))}{quote_from_bytes(os.fsencode(absolute(path)))}"
    return f"\x1b]8;;{uri}\x1b\\{text}\x1b]8;;\x1b\\"


def width(text: str) -> int:
    """Columns that a terminal gives a printable text."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    return max(0, wcswidth(text))


def shortened(text: str, columns: int) -> str:
    """The text, its middle cut out where it takes more columns; a third stays in front, where the folders are."""
    if width(text) <= columns:
        return text
    clusters: Sequence[str] = text
    if not text.isascii():
        from wcwidth import iter_graphemes

        clusters = list(iter_graphemes(text))
    head = _first(clusters, (columns - 1) // 3)
    tail = _first(clusters[::-1], columns - 1 - sum(map(width, head)))
    return f"{''.join(head)}…{''.join(tail[::-1])}"


def _first(clusters: Sequence[str], columns: int) -> Sequence[str]:
    """As many as the columns hold."""
    for count, cluster in enumerate(clusters):
        columns -= width(cluster)
        if columns < 0:
            return clusters[:count]
    return clusters


def size(size_bytes: float) -> str:
    """`size_bytes` in the unit that leaves one to three digits before the point."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f} bytes"
    units = ["kB", "MB", "GB", "TB"]
    power = min(int(math.log(size_bytes, 1000)), len(units))
    return f"{size_bytes / 1000**power:.1f} {units[power - 1]}"


def printable(text: str) -> str:
    """The text with what would steer a terminal, or is no UTF-8, written as escapes; odd spaces and emoji stay."""
    if text.isprintable():
        return text
    return "".join(_escape(character) if steers(character) else character for character in text)


def steers(character: str) -> bool:
    """Whether a terminal would not just show it."""
    from unicodedata import category

    return category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNS_TEXT


_TURNS_TEXT = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # Unicode's bidi controls


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
