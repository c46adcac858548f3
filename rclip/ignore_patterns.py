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


class _Matcher(NamedTuple):
    """Some lines: the names, or paths, that match one of them."""

    literals: frozenset[str]
    regex: re.Pattern[str] | None

    def matches(self, text: str) -> bool:
        return text in self.literals or (self.regex is not None and self.regex.fullmatch(text) is not None)


class _Run(NamedTuple):
    """Lines that follow one another and say the same."""

    verdict: Verdict
    of_files: tuple[_Matcher, _Matcher]
    """By their names, and by their paths."""
    of_folders: tuple[_Matcher, _Matcher]


class Patterns:
    """The lines of one ignore file, or the user's own."""

    def __init__(self, lines: Iterable[str]):
        self._runs = [_run(verdict, lines) for verdict, lines in _grouped(lines)][::-1]

    def __bool__(self) -> bool:
        return bool(self._runs)

    def verdict(self, path: str, name: str, is_folder: bool) -> Verdict | None:
        """Of the last line that matches; both are `composed`, and the path is relative to where the file lies."""
        for verdict, of_files, of_folders in self._runs:
            by_name, by_path = of_folders if is_folder else of_files
            if by_name.matches(name) or by_path.matches(path):
                return verdict
        return None


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


def _run(verdict: Verdict, lines: Sequence[_Line]) -> _Run:
    for_all = [line for line in lines if not line.is_for_folders]
    of_folders = (_matcher(lines, is_path=False), _matcher(lines, is_path=True))
    if len(for_all) == len(lines):
        return _Run(verdict, of_folders, of_folders)
    return _Run(verdict, (_matcher(for_all, is_path=False), _matcher(for_all, is_path=True)), of_folders)


def _matcher(lines: Iterable[_Line], is_path: bool) -> _Matcher:
    own = [line for line in lines if line.is_path == is_path]
    regexes = dict.fromkeys(line.regex for line in own if line.literal is None)
    regex = re.compile("|".join(regexes), re.DOTALL) if regexes else None
    return _Matcher(frozenset(line.literal for line in own if line.literal is not None), regex)


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


@lru_cache(256)
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
