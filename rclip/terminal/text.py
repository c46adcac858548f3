"""Text for a person at a terminal: shortened to its columns, and without anything that would steer it."""

import math
import re
from collections.abc import Callable, Sequence


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
    """The text with what a terminal would obey or not show, or is no UTF-8, as escapes; odd spaces and emoji stay."""
    return replace_unseen(text, _escape)


def replace_unseen(text: str, escape: Callable[[str], str]) -> str:
    """The text with what a terminal would obey, or not show, replaced: two names that look alike must be alike."""
    if text.isascii() and text.isprintable():
        return text
    return re.sub(_UNSEEN, lambda found: escape(found[0]), text)


# What Unicode's categories Cc, Cs, Zl and Zp hold, nearly all of Cf (the few signs of it that are seen stay), its
# property Default_Ignorable_Code_Point, and three blanks that count as letters or symbols. What joins an emoji, or
# chooses its form, is seen by that; so it stays after one. Compiled when first used, which takes milliseconds.
_UNSEEN = (
    r"[\0-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd"
    r"\U00013430-\U0001343f\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    r"|(?<![\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff])\ufe0f(?!\u20e3)"
    r"|(?<![\ufe0f\u2190-\u2bff\U0001f000-\U0001faff])\u200d|\u200d(?![\u2190-\u2bff\U0001f000-\U0001faff])"
)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def has_other_letters(text: str) -> bool:
    """Whether most of its letters are not Latin."""
    if text.isascii():
        return False
    from unicodedata import name

    letters = [character for character in text if character.isalpha()]
    return sum(not name(letter, "").startswith("LATIN ") for letter in letters) > len(letters) / 2
