"""What a query asks for: words and pictures, weighted, added and subtracted.

| written | means |
| --- | --- |
| `a cat` | the words |
| `cat.jpg` | the words, whatever files there are |
| `./cat.jpg` `../cat.jpg` `/pool/cat.jpg` `~/cat.jpg` | the picture in that file |
| `https://a.org/cat.jpg` `http://a.org/cat.jpg` | the picture at that address |
| `2:a cat` `0.5:./cat.jpg` `.5:a cat` | the same, times 2 or a half |
| `2:16:9 film still` | the words "16:9 film still", times 2 |
| `a cat + snow` | both; signs are words of their own |
| `a cat + snow - people` | both, and not the last |
| `- people` | whatever is least like it |

Each term is a vector of length 1 times its weight, and so is what they add up to made again.
"""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from rclip.errors import UsageError

_PATH_STARTS = ("/", "./", "../", "~/")
_LINK_STARTS = ("http://", "https://")
_WEIGHTED = re.compile(r"(\d+\.?\d*|\.\d+):(.*)", re.DOTALL | re.ASCII)
_SIGNS = {"+": 1.0, "-": -1.0}
_SIGN_IN_LINE = re.compile(r"(?:^|(?<=\s))([+-])(?=\s)")


class Text(NamedTuple):
    """Words, valid Unicode and not blank."""

    text: str


class Picture(NamedTuple):
    """A picture to find likenesses of; the path is absolute or relative to the current folder."""

    path: str


class Link(NamedTuple):
    """A picture to be fetched."""

    url: str


class Term(NamedTuple):
    """One part of a query. A negative weight asks for what is unlike it."""

    weight: float
    what: Text | Picture | Link


class Query(NamedTuple):
    """What is asked for, and how it was written."""

    terms: tuple[Term, ...]
    written: str


def parse(query: str, added: Sequence[str] = (), subtracted: Sequence[str] = ()) -> Query:
    """One term, and more to add and subtract. Raises `UsageError`."""
    return _query([query], [], added, subtracted)


def parse_words(words: Sequence[str], added: Sequence[str] = (), subtracted: Sequence[str] = ()) -> Query:
    """Terms with signs between them, as the shell has split them. Raises `UsageError`."""
    signs, terms = [], []
    rest = list(words)
    while rest:
        if rest[0] in _SIGNS:
            signs.append(rest.pop(0))
            if not rest:
                raise UsageError(f"the query ends with {signs[-1]}; say what comes after it")
        else:
            signs.append("+")
        terms.append(rest.pop(0))
    return _query(terms, signs, added, subtracted)


def parse_line(line: str) -> Query:
    """A query on one line, as it would be typed, but that terms need no quotes. Raises `UsageError`."""
    words = [part.strip() for part in _SIGN_IN_LINE.split(line)]
    return parse_words([word for word in words if word])._replace(written=line.strip())


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that make up the query, and those behind it: a term belongs to it if a sign stands before it.

    The first word always does.
    """
    end = min(len(words), 2 if words and words[0] in _SIGNS else 1)
    while end < len(words) and words[end] in _SIGNS:
        end = min(end + 2, len(words))
    return list(words[:end]), list(words[end:])


def _query(terms: Sequence[str], signs: Sequence[str], added: Sequence[str], subtracted: Sequence[str]) -> Query:
    every = [*zip(signs or "+" * len(terms), terms, strict=True)]
    every += [*(("+", term) for term in added), *(("-", term) for term in subtracted)]
    written = " ".join(f"{sign} {term}" for sign, term in every).removeprefix("+ ")
    return Query(tuple(_term(_SIGNS[sign], term) for sign, term in every), _unicode(written))


def _term(sign: float, written: str) -> Term:
    found = _WEIGHTED.fullmatch(written)
    weight, what = (float(found[1]), found[2]) if found else (1.0, written)
    if not 0 < weight < 1e6:
        raise UsageError(f"{written!r} has the weight {weight:g}; it takes one above 0 and below a million")
    return Term(sign * weight, _what(what))


def _what(written: str) -> Text | Picture | Link:
    """Tells a path from words by how it starts. Bytes that are no UTF-8 become the replacement character in words."""
    if written.startswith(_PATH_STARTS):
        return Picture(os.path.expanduser(written))
    text = _unicode(written)
    if text.lower().startswith(_LINK_STARTS):
        return Link(text)
    if not text.strip():
        raise UsageError('the query is empty; say what to look for: rclip "a red kite"')
    return Text(text)


def _unicode(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)
