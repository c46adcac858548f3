"""Globs of paths, with the meaning that they have in `.gitignore`."""

import fnmatch
import re
from collections.abc import Iterable, Iterator
from itertools import groupby, takewhile


class Paths:
    """Which photos below one folder pass the globs.

    They match one of those that are `wanted`, where there are such, and none of those that had a `!` before them.
    """

    def __init__(self, globs: Iterable[str], folder: Iterable[str]):
        """`folder` are the absolute paths by which the folder can be reached."""
        given = list(globs)
        spelled = list(folder)
        self.wanted = [seen for glob in given if glob[:1] != "!" for seen in _seen_from(spelled, glob)]
        unwanted = [seen for glob in given if glob[:1] == "!" for seen in _seen_from(spelled, glob[1:])]
        self._wanted = [glob_regex(glob) for glob in self.wanted]
        self._unwanted = [glob_regex(glob) for glob in unwanted]

    def allow(self, relative_path: str) -> bool:
        is_wanted = not self._wanted or any(glob.fullmatch(relative_path) for glob in self._wanted)
        return is_wanted and not any(glob.fullmatch(relative_path) for glob in self._unwanted)


def _seen_from(folder: Iterable[str], glob: str) -> set[str]:
    """The glob and, as it may be an absolute path, what it asks for inside the folder if it is one."""
    inside = {rest for spelled in folder for rest in _rests(glob, spelled)} if glob.startswith("/") else set()
    return {glob} | inside


def _rests(glob: str, folder: str) -> Iterator[str]:
    """What an absolute glob asks for inside a folder: `/home/*/2019` for `2019` in `/home/me`, and all in `2019`."""
    rests = {tuple(glob.strip("/").split("/"))}
    for name in filter(None, folder.split("/")):
        rests = {rest for names in rests for rest in _behind(names, name)}
    for names in rests:
        yield "/".join(("", *names)) + "/" * glob.endswith("/") if names else "**"


def _behind(names: tuple[str, ...], folder: str) -> Iterator[tuple[str, ...]]:
    """What may be left of a glob's names where the first of them are to match the folder; none where all is meant."""
    if not names:
        yield names
    elif names[0] == "**":
        yield names
        yield from _behind(names[1:], folder)
    elif glob_regex(names[0]).fullmatch(folder):
        yield names[1:]


def glob_regex(glob: str) -> re.Pattern[str]:
    """Matches paths relative to a directory as a line of `.gitignore` does, but that nothing is excluded by it.

    `*` and `?` stand for anything but a slash, `**` for any number of folders, `[a-z]` for one of these letters. A glob
    with a slash, other than at its end, starts at the directory; one without may match any folder or file on the
    path. What matches a folder matches all that is in it.
    """
    start = "" if _is_anchored(glob) else "(?:.*/)?"
    end = ".*" if glob.endswith("/") else "(?:/.*)?"
    body = "".join(_REGEX_OF.get(part) or _regex_of_other(part) for part in _parts(glob))
    return re.compile(f"{start}{body}{end}", re.DOTALL)


def sqlite_glob(glob: str) -> str:
    """A GLOB of SQLite's that matches all relative paths that the regex does, and a few others."""
    start = "" if _is_anchored(glob) else "*"
    return start + "".join(sqlite_literal(part) if _is_literal(part) else "*" for part in _parts(glob)) + "*"


def literal_start(glob: str) -> str:
    """What all relative paths that match start with."""
    return "".join(takewhile(_is_literal, _parts(glob))) if _is_anchored(glob) else ""


def longest_literal(glob: str) -> str:
    """The most letters in a row that all paths have that match."""
    runs = ("".join(run) for is_literal, run in groupby(_parts(glob), _is_literal) if is_literal)
    return max(runs, key=len, default="")


def sqlite_literal(text: str) -> str:
    """A GLOB that matches just this."""
    return re.sub(r"([*?[])", r"[\1]", text)


_PART = re.compile(r"(?:^|(?<=/))\*\*/|(?:^|(?<=/))\*\*$|\*+|\?|\[!?\]?[^]/]*\]|.", re.DOTALL)


_REGEX_OF = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _is_anchored(glob: str) -> bool:
    return "/" in glob.rstrip("/")


def _parts(glob: str) -> list[str]:
    return _PART.findall(glob.removeprefix("./").removeprefix("/"))


def _is_literal(part: str) -> bool:
    return len(part) == 1 and part not in "*?"


def _regex_of_other(part: str) -> str:
    if _is_literal(part):
        return re.escape(part)
    if part.startswith("*"):  # several, but not all there is between two slashes
        return "[^/]*"
    in_group = fnmatch.translate(part)  # "(?s:[a-z])\\Z"
    return f"(?!/){in_group[in_group.index(':') + 1 : in_group.rindex(')')]}"
