"""The patterns of `.rclipignore` files and of the user: which names and paths their lines match.

They have `.gitignore`'s syntax and meaning. Files may be anybody's: they are matched in linear time.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from rclip import globs

Verdict = Literal["ignored", "included", "named"]
"""What a line says of what it matches.

After a `!`, what earlier lines ignored is included, but what is passed over by default still is, unless it is named.
"""


class _Matcher:
    """Which names, or paths, match one of some lines, each of which comes with the number of its run."""

    def __init__(self, lines: Iterable[tuple[int, "_Line"]]):
        self._literals: dict[str, int] = {}
        globs_of: dict[int, list[str]] = {}
        for number, line in lines:
            if line.literal is None:
                globs_of.setdefault(number, []).append(line.regex)
            else:
                self._literals[line.literal] = number
        self._globs = [
            (number, re.compile("|".join(dict.fromkeys(globs)), re.DOTALL)) for number, globs in globs_of.items()
        ][::-1]

    def last(self, text: str) -> int:
        """The last run with a line that matches; -1 for none. Runs without wildcards cost nothing."""
        literal = self._literals.get(text, -1)
        for number, regex in self._globs:
            if number < literal:
                break
            if regex.fullmatch(text):
                return number
        return literal


class Patterns:
    """The lines of one ignore file, or the user's own."""

    def __init__(self, lines: Iterable[str]):
        self._verdicts: list[Verdict] = []
        """Of runs of lines that follow one another and say the same."""
        numbered: list[tuple[int, _Line]] = []
        for verdict, group in _grouped(lines):
            numbered += ((len(self._verdicts), line) for line in group)
            self._verdicts.append(verdict)
        self._of_folders = self._of_files = _matchers(numbered)
        for_all = [each for each in numbered if not each[1].is_for_folders]
        if len(for_all) < len(numbered):
            self._of_files = _matchers(for_all)

    def __bool__(self) -> bool:
        return bool(self._verdicts)

    def verdict(self, path: str, name: str, is_folder: bool) -> Verdict | None:
        """Of the last line that matches; both are `composed`, and the path is relative to where the file lies."""
        by_name, by_path = self._of_folders if is_folder else self._of_files
        last = max(by_name.last(name), by_path.last(path))
        return self._verdicts[last] if last >= 0 else None


class _Line(NamedTuple):
    is_path: bool
    is_for_folders: bool
    literal: str | None
    regex: str


def _grouped(lines: Iterable[str]) -> Iterator[tuple[Verdict, list[_Line]]]:
    group: list[_Line] = []
    before: Verdict | None = None
    for line in lines:
        is_negated = line[:1] == "!"
        pattern = line[1:] if is_negated else line
        found = globs.entry(pattern)
        is_name = found.literal is not None or globs.is_named(pattern)
        verdict: Verdict = ("named" if is_name else "included") if is_negated else "ignored"
        if before is not None and verdict != before:
            yield before, group
            group = []
        before = verdict
        group.append(_Line(found.is_path, pattern.endswith("/"), found.literal, found.regex))
    if before is not None:
        yield before, group


def _matchers(lines: Sequence[tuple[int, _Line]]) -> tuple[_Matcher, _Matcher]:
    """Of names, and of paths."""
    by_name, by_path = ([each for each in lines if each[1].is_path == is_path] for is_path in (False, True))
    return _Matcher(by_name), _Matcher(by_path)


def lines_of(content: bytes) -> list[str]:
    """The patterns in an ignore file, as git reads it: without comments, empty lines and blanks at the end."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    raw = (line.removesuffix(b"\r") for line in content.split(b"\n"))
    return [os.fsdecode(trimmed) for line in raw if line[:1] != b"#" and (trimmed := _without_blanks(line))]


def _without_blanks(line: bytes) -> bytes:
    r"""Without the blanks at its end, but for the first that has a backslash before it: `a\ `."""
    plain = line.rstrip(b" ")
    escapes = len(plain) - len(plain.rstrip(b"\\"))
    return plain + b" " if escapes % 2 and plain != line else plain


def of_file(content: bytes) -> Patterns | None:
    """The patterns of an ignore file; None where it has none."""
    return Patterns(lines_of(content)) or None


@lru_cache(64)
def of_user(lines: tuple[str, ...], root: bytes) -> Patterns | None:
    """The user's own, as seen from `/`."""
    return Patterns(_seen_from_top(line, root) for line in lines) or None


def _seen_from_top(line: str, root: bytes) -> str:
    """The line seen from `/`, where it is relative to a folder."""
    sign, pattern = ("!", line[1:]) if line[:1] == "!" else ("", line)
    if pattern.startswith("/") or "/" not in pattern.rstrip("/"):
        return line
    if pattern.startswith("**/"):
        return f"{sign}/{pattern}"
    return f"{sign}{globs.literal(os.fsdecode(root))}{pattern}"
