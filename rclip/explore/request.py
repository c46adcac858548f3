"""What a face asks for, as texts: a query on one line and the filters by their names, as in an address or a form.

The line is that of the command, `horse + 0.5:stripes - people`, but that no path is one here: a request may come from
elsewhere. Beside words a term may be

| written | means |
| --- | --- |
| `photo:0-17` | the indexed photo of that `Hit.id` |
| `picture:1f3a…` | a picture that was given to `Explorer.add_picture` |
| `https://a.org/cat.jpg` | the picture at that address, where that is allowed |
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

from rclip.errors import BadFilter, UsageError
from rclip.filters import FILTERS, Filters
from rclip.search import query as queries
from rclip.search.folding import COPIES
from rclip.search.hits import SORTS

Kind = Literal["text", "photo", "picture", "link"]

_PREFIXED = re.compile(r"(photo):(\d+-\d+)|(picture):([0-9a-f]{32})", re.ASCII)
_LINK = re.compile(r"https?://", re.IGNORECASE)
_HAS_WEIGHT = re.compile(r"(?:\d+\.?\d*|\.\d+):", re.ASCII)
_MAX_LENGTH = 10_000
_MAX_TERMS = 64


class AskedTerm(NamedTuple):
    """One term of a request's query."""

    weight: float
    """Negative for what is taken away."""
    kind: Kind
    value: str
    """The words, the id of a photo or picture, or the address."""

    @property
    def written(self) -> str:
        """Without its sign: `0.5:photo:0-17`."""
        what = self.value if self.kind in ("text", "link") else f"{self.kind}:{self.value}"
        is_plain = abs(self.weight) == 1 and not _HAS_WEIGHT.match(what)
        return what if is_plain else f"{abs(self.weight):.6g}:{what}"


class SearchRequest(NamedTuple):
    """A query on one line, and filters; both may be empty. `of` makes one."""

    query: str = ""
    filters: tuple[tuple[str, str], ...] = ()
    """The fields that have a value, as texts, in the order of `FILTER_FIELDS`."""

    @classmethod
    def of(cls, query: str = "", filters: Mapping[str, str] | None = None) -> Self:
        """From the texts of a form. Blank ones, and fields that are no filter's, ask for nothing."""
        given = {name: text.strip() for name, text in (filters or {}).items()}
        return cls(query.strip(), tuple((name, given[name]) for name in FILTER_FIELDS if given.get(name)))

    @property
    def terms(self) -> list[AskedTerm]:
        """Those of the query. Raises `UsageError`."""
        if len(self.query) > _MAX_LENGTH:
            raise UsageError(f"the query is longer than {_MAX_LENGTH:,} letters")
        found = [_asked(*term) for term in queries.signed_terms(queries.words_of_line(f"{self.query} "))]
        if len(found) > _MAX_TERMS:
            raise UsageError(f"the query has more than {_MAX_TERMS} terms")
        return found

    def with_terms(self, terms: Sequence[AskedTerm]) -> Self:
        """The same with a query of these terms."""
        return self._replace(query=line_of(terms))

    def parsed_filters(self) -> Filters | None:
        """None where there is none. Raises `BadFilter` for a text that makes no sense."""
        values = {name: value for name, value in self._parsed().items() if name not in _OF_RESULTS}
        if not values:
            return None
        folder = values.pop("folder", ())
        values["paths"] = (*values.get("paths", ()), *folder)
        return Filters.of_options(values)

    def fold(self) -> float | None:
        """From which cosine photos are one result; None where each is its own. Raises `BadFilter`."""
        values = self._parsed()
        fold: float | None = None if "all" in values else values.get("fold", COPIES)
        return fold

    def order(self) -> str | None:
        """`date` or `path`; None for the best first or, without a query, the newest. Raises `BadFilter`."""
        order: str = self._parsed().get("sort", DEFAULT_ORDER)
        return None if order == DEFAULT_ORDER else order

    def _parsed(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, text in self.filters:
            try:
                values[name] = FILTER_FIELDS[name](text)
            except ValueError as error:
                raise BadFilter(name=name, problem=str(error)) from None
        return values


def line_of(terms: Sequence[AskedTerm]) -> str:
    """The line that has these terms."""
    signed = [f"{'-' if term.weight < 0 else '+'} {term.written}" for term in terms]
    return " ".join(signed).removeprefix("+ ")


def _asked(weight: float, written: str) -> AskedTerm:
    found = _PREFIXED.fullmatch(written)
    if found:
        kind: Kind = "photo" if found[1] else "picture"
        return AskedTerm(weight, kind, found[2] or found[4])
    return AskedTerm(weight, "link" if _LINK.match(written) else "text", queries.unicode(written))


# --- filters as texts ------------------------------------------------------------------------------------------------


def _parse_folder(text: str) -> tuple[str, ...]:
    """An absolute path -> the glob that matches what is below it, and nothing else."""
    if not os.path.isabs(text):
        raise ValueError(f"must be the whole path of a folder, not {text!r}")
    return (re.sub(r"([\\*?[])", r"\\\1", text.rstrip("/")) + "/",)


def _parse_paths(text: str) -> tuple[str, ...]:
    """Globs separated by line breaks; a `!` before one leaves out what it matches."""
    found = tuple(line.strip() for line in text.splitlines() if line.strip().removeprefix("!").strip("/"))
    if not found:
        raise ValueError(f"must be a pattern like 2019/** or IMG_*, not {text!r}")
    return found


def _parse_score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = 2.0
    if not -1 <= score <= 1:
        raise ValueError(f"must be a number from -1 to 1, not {text!r}")
    return score


def _parse_fold(text: str) -> float:
    try:
        similarity = float(text)
    except ValueError:
        similarity = 0.0
    if not 0 < similarity <= 1:
        raise ValueError(f"must be a number above 0, and 1 at most, not {text!r}")
    return similarity


def fold_texts(fold: float | None) -> dict[str, str]:
    """The texts of a request that ask for the same."""
    if fold is None:
        return {"all": "1"}
    return {} if fold >= COPIES else {"fold": f"{fold:.12g}"}


def _parse_order(text: str) -> str:
    if text not in SORTS:
        *first, last = SORTS
        raise ValueError(f"must be {', '.join(first)} or {last}, not {text!r}")
    return text


def _parse_yes(text: str) -> bool:
    if text not in ("1", "true", "yes", "on"):
        raise ValueError(f"must be 1, or nothing, not {text!r}")
    return True


FILTER_FIELDS: Mapping[str, Callable[[str], Any]] = {
    **{option.field: option.parse for kind in FILTERS for option in kind.options},
    "folder": _parse_folder,
    "paths": _parse_paths,
    "min_score": _parse_score,
    "is_relevant": _parse_yes,
    "fold": _parse_fold,
    "all": _parse_yes,
    "sort": _parse_order,
}
"""What reads the text of each filter that a request can have, of what is one result, and of the order of results.

Raises ValueError that says what it must be.
"""

_OF_RESULTS = {"fold", "all", "sort"}
DEFAULT_ORDER = "score"
