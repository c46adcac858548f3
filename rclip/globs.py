"""Globs of paths, with the meaning that they have in `.gitignore`, matched in linear time.

Two differences from git are on purpose. `?` and `[…]` stand for a character, where git counts bytes. And composed and
decomposed characters are the same: macOS writes a file name's `é` as two, keyboards write one.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby, takewhile
from typing import NamedTuple


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
        path = composed(relative_path)
        is_wanted = not self._wanted or any(glob.fullmatch(path) for glob in self._wanted)
        return is_wanted and not any(glob.fullmatch(path) for glob in self._unwanted)


def composed(text: str) -> str:
    """With each letter and its accents as one character, which is how globs are compared (Unicode's NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _seen_from(folder: Iterable[str], glob: str) -> set[str]:
    """The glob and, as it may be an absolute path, what it asks for inside the folder if it is one."""
    inside = {rest for spelled in folder for rest in _rests(glob, spelled)} if glob.startswith("/") else set()
    return {glob} | inside


def _rests(glob: str, folder: str) -> Iterator[str]:
    """What an absolute glob asks for inside a folder: `/home/*/2019` for `2019` in `/home/me`, and all in `2019`."""
    rests = {tuple(glob.strip("/").split("/"))}
    for name in filter(None, composed(folder).split("/")):
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


_MOST_PATTERNS = 256  # a server is asked with any number of them


@lru_cache(_MOST_PATTERNS)
def glob_regex(glob: str) -> re.Pattern[str]:
    """Matches `composed` paths relative to a directory as a line of `.gitignore` does; nothing is excluded by it.

    `*` and `?` stand for anything but a slash, `**` for any number of folders, `[a-z]` and `[[:digit:]]` for one of
    these letters, and a backslash takes a character as it is. A glob with a slash, other than at its end, starts at the
    directory; one without may match any folder or file on the path. What matches a folder matches all that is in it.

    It takes time in proportion to the path's length, because of several ways to match a part of the glob only the first
    is tried: where the rest fails after the first, it fails after all.
    """
    tokens = _tokens(glob)
    end = "/.*" if glob.endswith("/") else "(?:/.*)?"
    return re.compile("(?!)" if tokens is None else _regex(tokens, end), re.DOTALL)


class Entry(NamedTuple):
    """What a line of `.gitignore` matches, of the files and folders that are there, but not what is in these."""

    is_path: bool
    """Whether it is compared with the `composed` path relative to the directory, not with the last name alone."""
    literal: str | None
    """The one path or name that matches; None where a regex says which."""
    regex: str = "(?!)"
    """To be compiled with DOTALL and to match in full; others may be put beside it, as alternatives."""


def entry(glob: str) -> Entry:
    """A line without the `!` before it; a slash at its end makes no difference here."""
    if not _SPECIAL.search(glob):
        return _plain_entry(glob)
    tokens = _tokens.__wrapped__(glob)  # not kept: there may be many, and long ones
    if tokens is None or glob.startswith("./"):
        return Entry(is_path=False, literal=None)
    is_path = tokens[0] != _ANYWHERE
    own = tokens if is_path else tokens[1:]
    if all(token.kind == "literal" for token in own):
        return Entry(is_path, "".join(token.text for token in own))
    return Entry(is_path, None, _regex(own, ""))


def _plain_entry(glob: str) -> Entry:
    """The same of a line without wildcards, of which there may be very many."""
    name = composed(glob).removesuffix("/").removeprefix("/")
    if not name or glob.startswith("./"):
        return Entry(is_path=False, literal=None)
    return Entry("/" in glob.removesuffix("/"), name)


def is_named(glob: str) -> bool:
    """Whether the last name that the glob asks for has no wildcard in it: `**/#recycle/`."""
    return not _SPECIAL.search(glob.removesuffix("/").rpartition("/")[2])


def literal(text: str) -> str:
    """A glob that matches just this."""
    return re.sub(r"([*?[\\])", r"\\\1", text)


def sqlite_glob(glob: str) -> str:
    """A GLOB of SQLite's that matches all relative paths that the regex does, and a few others."""
    return "".join(sqlite_literal(token.text) if _is_literal(token) else "*" for token in _tokens(glob) or ()) + "*"


def literal_start(glob: str) -> str:
    """What all relative paths that match start with."""
    return "".join(token.text for token in takewhile(_is_literal, _tokens(glob) or ()))


def longest_literal(glob: str) -> str:
    """The most letters in a row that all paths have that match."""
    runs = (
        "".join(token.text for token in run)
        for is_literal, run in groupby(_tokens(glob) or (), _is_literal)
        if is_literal
    )
    return max(runs, key=len, default="")


def sqlite_literal(text: str) -> str:
    """A GLOB that matches just this."""
    return re.sub(r"([*?[])", r"[\1]", text)


# --- what a glob says ------------------------------------------------------------------------------------------------


class _Token(NamedTuple):
    """A part of a glob."""

    kind: str
    """A key of `_FOLDERS`, "literal", "one" or "star"."""
    text: str = ""
    """The character, or a regex of those that it may be."""


_END = r"\Z"
_ANYWHERE = _Token("folders", "anywhere")
"""What comes before a glob without a slash."""
_FOLDERS = {"folders": "(?:[^/]*/)*?", "one or more folders": "(?:[^/]*/)+?", "rest": ".*"}
"""What `**` stands for: before a slash, before an escaped one, and at the end."""


def _is_literal(token: _Token) -> bool:
    """One that stands in paths just so. A letter beyond ASCII may be composed or not."""
    return token.kind == "literal" and token.text.isascii()


@lru_cache(_MOST_PATTERNS)
def _tokens(glob: str) -> tuple[_Token, ...] | None:
    """The parts of a glob, seen from the directory; None where git lets it match nothing."""
    plain = composed(glob).removeprefix("./")
    is_anchored = "/" in plain.removesuffix("/")
    plain = plain.removeprefix("/").removesuffix("/")
    tokens = [] if is_anchored else [_ANYWHERE]
    try:
        at = 0
        while at < len(plain):
            token, at = _token(plain, at, is_anchored)
            tokens.append(token)
    except (_MatchesNothing, IndexError):  # a backslash, or a bracket, without what has to follow it
        return None
    return tuple(tokens) if plain else None


class _MatchesNothing(Exception):
    """What git takes for no glob at all."""


def _token(glob: str, at: int, is_anchored: bool) -> tuple[_Token, int]:
    """The part that starts there, and where the next one does. Raises IndexError where the glob ends within it."""
    letter = glob[at]
    if letter == "*":
        return _stars(glob, at, is_anchored)
    if letter == "?":
        return _Token("one", "[^/]"), at + 1
    if letter == "[":
        return _class(glob, at + 1)
    if letter == "\\":
        return _Token("literal", glob[at + 1]), at + 2
    return _Token("literal", letter), at + 1


def _stars(glob: str, at: int, is_anchored: bool) -> tuple[_Token, int]:
    """Two or more are folders where slashes stand on both sides; the start and the end count as slashes.

    So does, in git, the first character that is not literal.
    """
    end = at
    while glob[end : end + 1] == "*":
        end += 1
    is_at_start = glob[:at].endswith("/") or not _SPECIAL.search(glob[:at])
    if end - at > 1 and is_anchored and is_at_start:
        if end == len(glob):
            return _Token("rest"), end
        if glob[end] == "/":
            return _Token("folders"), end + 1
        if glob[end : end + 2] == "\\/":
            return _Token("one or more folders"), end + 2
    return _Token("star"), end


_SPECIAL = re.compile(r"[*?[\\]")
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t-\\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


def _class(glob: str, at: int) -> tuple[_Token, int]:
    """One of the characters in a bracket, which starts there, and where the bracket has ended."""
    is_negated = glob[at] in "!^"
    at += is_negated
    parts: list[str] = []
    before = ""  # what a range may start with
    while True:
        letter, part = glob[at], ""
        if letter == "\\":
            at += 1
            letter = glob[at]
        elif letter == "-" and before and glob[at + 1] != "]":
            at += 1 + (glob[at + 1] == "\\")
            part, letter = _range(before, glob[at]), ""
        elif letter == "[" and glob[at + 1] == ":":
            end = glob.find("]", at + 2)
            if end < 0:
                raise _MatchesNothing
            if glob[end - 1] == ":" and end - 1 > at + 1:
                part, letter, at = _named_class(glob[at + 2 : end - 1]), "", end
        parts.append(re.escape(letter) if letter else part)
        before = letter
        at += 1
        if glob[at] == "]":
            break
    inside = "".join(parts)
    if not inside:
        return _Token("one", "[^/]" if is_negated else "(?!)"), at + 1
    return _Token("one", f"(?!/)[{'^' * is_negated}{inside}]"), at + 1


def _range(first: str, last: str) -> str:
    """One that runs backwards holds nothing."""
    return f"{re.escape(first)}-{re.escape(last)}" if first <= last else ""


def _named_class(name: str) -> str:
    if name not in _CLASSES:
        raise _MatchesNothing
    return _CLASSES[name]


# --- as a regex ------------------------------------------------------------------------------------------------------


def _regex(tokens: Iterable[_Token], end: str) -> str:
    """`end` is the regex of what may follow."""
    blocks: list[tuple[str, list[_Token]]] = [("", [])]
    for token in tokens:
        if token.kind in _FOLDERS:
            blocks.append((_FOLDERS[token.kind], []))
        else:
            blocks[-1][1].append(token)
    (_, first), *others = blocks
    regex = ""
    for start, block in reversed(others):
        regex = f"(?>{start}{_regex_of_block(block)}{'' if regex else end + _END}){regex}"
    return _regex_of_block(first) + (regex or end)


def _regex_of_block(block: list[_Token]) -> str:
    """Of tokens without folders among them."""
    names: list[list[_Token]] = [[]]
    for token in block:
        if token.kind == "literal" and token.text == "/":
            names.append([])
        else:
            names[-1].append(token)
    return "/".join(map(_regex_of_name, names))


def _regex_of_name(name: list[_Token]) -> str:
    """A star reaches to the first place where the characters after it match, the last star to the end of the name."""
    parts = [""]
    for token in name:
        if token.kind == "star":
            parts.append("")
        else:
            parts[-1] += re.escape(token.text) if token.kind == "literal" else token.text
    first, *middle = parts
    last = middle.pop() if middle else None
    end = "" if last is None else f"(?>[^/]*{last}(?=/|{_END}))" if last else "[^/]*+"
    return first + "".join(f"(?>[^/]*?{part})" for part in middle) + end
