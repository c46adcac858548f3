"""Text for a person at a terminal: shortened to its columns, and without anything that would steer it."""

import math
from collections.abc import Sequence


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
