"""What a query asks for: words and pictures, weighted, added and subtracted.

| written | means |
| --- | --- |
| `a cat` | the words |
| `cat.jpg` | the words, whatever files there are |
| `./cat.jpg` `../cat.jpg` `/pool/cat.jpg` `~/cat.jpg` `file:///pool/cat.jpg` | the picture in that file |
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
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union, cast

from rclip.errors import BadWeight, EmptyQuery, OpenQuery, TooManyTerms, UsageError, without_passwords
from rclip.files import as_on_disk

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

_PATH_STARTS = ("/", "./", "../", "~/")
_LINK_STARTS = ("http://", "https://")
_FILE_START = "file://"
_WEIGHTED = r"(?as)(\d+(?:\.\d*)?|\.\d+):(.*)"
MOST_TERMS = 1000
_SIGNS = {"+": 1.0, "-": -1.0}
_SIGN_IN_LINE = r"(?:^|(?<=\s))([+-])(?=\s)"


class _Single(NamedTuple):
    """Each NamedTuple costs every start a sixth of a millisecond, a class that extends one a fifth of that."""

    value: Any


class Text(_Single):
    """Words, valid Unicode and not blank."""

    __slots__ = ()
    value: str


class Picture(_Single):
    """The path of a picture to find likenesses of, absolute or relative to the current folder."""

    __slots__ = ()
    value: str


class Link(_Single):
    """The address of a picture to be fetched."""

    __slots__ = ()
    value: str


class PictureData(_Single):
    """The bytes of a picture's file."""

    __slots__ = ()
    value: bytes


class PictureObject(_Single):
    """A picture that Pillow holds."""

    __slots__ = ()
    value: "Image.Image"


class Vector(NamedTuple):
    """A vector of the model's."""

    vector: "np.ndarray"
    """(D,) of any float type, finite and not all zero; its length does not matter."""
    path: bytes = b""
    """That of the photo which it is of, where that is no answer to the query."""


class IndexedPhoto(_Single):
    """The `Hit.id` of a photo of the library that is searched. It is no answer to a query that it is part of."""

    __slots__ = ()
    value: str


class Term(NamedTuple):
    """One part of a query. A negative weight asks for what is unlike it."""

    weight: float
    what: Text | Picture | Link | PictureData | PictureObject | Vector | IndexedPhoto


class _Fields(NamedTuple):
    terms: tuple[Term, ...]
    written: str


class Query(_Fields):
    """What is asked for, its `terms`, and how it was `written`.

    Queries add up: `Query.of("a cat") + 0.5 * Query.of(Path("snow.jpg")) - "people"`.
    """

    __slots__ = ()

    @classmethod
    def of(cls, query: "AnyQuery") -> "Query":
        """The query that is meant by text, a path, a Pillow image, the bytes of a picture's file, or a vector.

        Text is read as by `parse`. Raises `UsageError` for what means nothing, and TypeError for anything else.
        """
        if isinstance(query, Query):
            return query
        if isinstance(query, str):
            return parse(query)
        if isinstance(query, os.PathLike):
            path = os.fsdecode(query)
            return cls((Term(1.0, Picture(_on_disk(path))),), unicode(path))
        if isinstance(query, bytes | bytearray | memoryview):
            if not query:
                raise UsageError("the query is an empty file")
            return cls((Term(1.0, PictureData(bytes(query))),), "<bytes>")
        if _is_a("PIL.Image", "Image", query):
            return cls((Term(1.0, PictureObject(cast("Image.Image", query))),), "<image>")
        if _is_a("numpy", "ndarray", query):
            return cls((Term(1.0, Vector(_checked_vector(query))),), "<vector>")
        raise TypeError(
            "a query must be text, a path, a Pillow image, the bytes of a picture's file, a vector or a Query, "
            f"not {type(query).__name__}"
        )

    __array_ufunc__ = None  # or numpy would add a query to each number of a vector

    def __add__(self, other: "AnyQuery") -> "Query":  # type: ignore[override]
        right = Query.of(other)
        return Query(self.terms + right.terms, f"{self.written} + {right.written}")

    def __radd__(self, other: "AnyQuery") -> "Query":
        return Query.of(other) + self

    def __sub__(self, other: "AnyQuery") -> "Query":
        right = Query.of(other)
        return Query(self.terms + (-right).terms, f"{self.written} - {right.written}")

    def __rsub__(self, other: "AnyQuery") -> "Query":
        return Query.of(other) - self

    def __mul__(self, factor: float) -> "Query":  # type: ignore[override]
        return Query(tuple(Term(factor * weight, what) for weight, what in self.terms), f"{factor:g}:{self.written}")

    __rmul__ = __mul__  # type: ignore[assignment]

    def __neg__(self) -> "Query":
        return Query(tuple(Term(-weight, what) for weight, what in self.terms), f"- {self.written}")


AnyQuery = Union[str, "os.PathLike[str]", bytes, "Image.Image", "np.ndarray", Query]
"""What `Query.of` takes."""


def _is_a(module: str, name: str, value: object) -> bool:
    """Whether it is an object of a class of that module, which need not be loaded to say no."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


def _checked_vector(vector: Any) -> "np.ndarray":
    import numpy as np

    if vector.ndim != 1 or vector.dtype.kind != "f":
        raise TypeError(f"a query's vector must have one axis of floats, not {vector.ndim} of {vector.dtype}")
    with np.errstate(over="ignore"):
        length = np.linalg.norm(vector.astype(np.float64))
    if not 0 < length < np.inf:
        raise UsageError("the query's vector has no length, or values that are no numbers")
    return (vector.astype(np.float64) / length).astype(np.float32)


def parse(query: str, added: Sequence[str] = (), subtracted: Sequence[str] = ()) -> Query:
    """One term, and more to add and subtract. Raises `UsageError`."""
    return _query([query], [], added, subtracted)


def parse_words(words: Sequence[str], added: Sequence[str] = (), subtracted: Sequence[str] = ()) -> Query:
    """Terms with signs between them, as the shell has split them. Raises `UsageError`."""
    signed = _signed(words)
    return _query([term for _, term in signed], [sign for sign, _ in signed], added, subtracted)


def _signed(words: Sequence[str]) -> list[tuple[str, str]]:
    """Each term after its sign. Raises `OpenQuery`."""
    signed = []
    rest = iter(words)
    for word in rest:
        sign, term = (word, next(rest, None)) if word in _SIGNS else ("+", word)
        if term is None:
            raise OpenQuery(sign=sign)
        signed.append((sign, term))
    return signed


def parse_line(line: str) -> Query:
    """A query on one line, as it would be typed, but that terms need no quotes. Raises `UsageError`."""
    return parse_words(words_of_line(line))._replace(written=without_passwords(line.strip()))


def literal(text: str) -> Query:
    """A query of these words, whatever signs, weights or paths they look like. Raises `EmptyQuery`."""
    text = unicode(text)
    if not text.strip():
        raise EmptyQuery()
    return Query((Term(1.0, Text(text)),), without_passwords(text))


def picture(path: str) -> Query:
    """A query by the picture at exactly that path. Raises `EmptyQuery`, and UnicodeEncodeError for what is no path."""
    if not path:
        raise EmptyQuery()
    return Query((Term(1.0, Picture(os.fsdecode(as_on_disk(os.fsencode(path))))),), unicode(path))


def words_of_line(line: str) -> list[str]:
    """The terms of a line, and the signs between them."""
    has_sign = "+" in line or "-" in line  # else the pattern, which takes a while to compile, finds nothing
    words = [part.strip() for part in (re.split(_SIGN_IN_LINE, line) if has_sign else [line])]
    return [word for word in words if word]


def signed_terms(words: Sequence[str]) -> list[tuple[float, str]]:
    """Each term, without its weight, and the weight with its sign. Raises `UsageError`."""
    return [_weighted(_SIGNS[sign], term) for sign, term in _signed(words)]


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that make up the query, and those after it: a term belongs to it if a sign stands before it.

    The first word always does.
    """
    end = min(len(words), 2 if words and words[0] in _SIGNS else 1)
    while end < len(words) and words[end] in _SIGNS:
        end = min(end + 2, len(words))
    return list(words[:end]), list(words[end:])


def _query(terms: Sequence[str], signs: Sequence[str], added: Sequence[str], subtracted: Sequence[str]) -> Query:
    every = [*zip(signs or "+" * len(terms), terms, strict=True)]
    every += [*(("+", term) for term in added), *(("-", term) for term in subtracted)]
    if len(every) > MOST_TERMS:
        raise TooManyTerms(most=MOST_TERMS)
    written = " ".join(f"{sign} {term}" for sign, term in every).removeprefix("+ ")
    return Query(tuple(_term(_SIGNS[sign], term) for sign, term in every), without_passwords(unicode(written)))


def _term(sign: float, written: str) -> Term:
    weight, what = _weighted(sign, written)
    return Term(weight, _what(what))


def _weighted(sign: float, written: str) -> tuple[float, str]:
    found = re.fullmatch(_WEIGHTED, written) if ":" in written else None
    weight, what = (float(found[1]), found[2]) if found else (1.0, written)
    if not 0 < weight < 1e6:
        raise BadWeight(term=written, weight=weight)
    return sign * weight, what


def _what(written: str) -> Text | Picture | Link:
    """Tells a path from words by how it starts. Bytes that are no UTF-8 become the replacement character in words."""
    if written.startswith(_PATH_STARTS):
        return Picture(_on_disk(written))
    if written[: len(_FILE_START)].lower() == _FILE_START and len(written) > len(_FILE_START):
        return Picture(_on_disk(_path_of_file_address(written[len(_FILE_START) :])))
    text = unicode(written)
    if text.lower().startswith(_LINK_STARTS):
        return Link(text)
    if not text.strip():
        raise EmptyQuery()
    return Text(text)


def _path_of_file_address(rest: str) -> str:
    """What comes after `file://` as a path: as typed where such a file is there, else with `%20` and such decoded.

    File managers write the latter; in front of it may be this machine's name, as in rclip's own links.
    """
    host, slash, path = rest.partition("/")
    if host and slash and host.lower() in ("localhost", os.uname().nodename.lower()):
        rest = slash + path
    if "%" not in rest or os.path.lexists(os.path.expanduser(rest)):
        return rest
    from urllib.parse import unquote_to_bytes

    return os.fsdecode(unquote_to_bytes(os.fsencode(rest)))


def _on_disk(path: str) -> str:
    return os.fsdecode(as_on_disk(os.fsencode(os.path.expanduser(path))))


def unicode(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)
