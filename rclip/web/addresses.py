"""Addresses of the page: what is asked for, and nothing else, is in them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self
from urllib.parse import quote, urlencode

from rclip.explore import AskedTerm, SearchRequest
from rclip.explore.request import line_of

_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Those that a click leads to; any other may be typed."""


class Address(NamedTuple):
    """What is asked for, as addresses of pages that are like the present one but for one thing."""

    terms: tuple[AskedTerm, ...]
    filters: Mapping[str, str]

    @classmethod
    def of(cls, request: SearchRequest) -> Self:
        """Raises `UsageError` for a query that makes no sense."""
        return cls(tuple(request.terms), dict(request.filters))

    def __str__(self) -> str:
        return self.page(1)

    def page(self, number: int) -> str:
        return "/" + self._query([("page", str(number))] if number > 1 else [])

    def photo(self, photo_id: str) -> str:
        return f"/photos/{quote(photo_id)}{self._query()}"

    def _query(self, more: Iterable[tuple[str, str]] = ()) -> str:
        words = self.words
        asked = [("q", words)] if words else []
        pairs = [*asked, *(("q", line) for line in self.others), *self.filters.items(), *more]
        return f"?{urlencode(pairs)}" if pairs else ""

    @property
    def words(self) -> str:
        """The part of the query that stands in the search box."""
        return line_of([term for term in self.terms if term.kind in ("text", "link")])

    @property
    def others(self) -> list[str]:
        """The photos and pictures of the query, each after its sign."""
        found = [term for term in self.terms if term.kind in ("photo", "picture")]
        return [f"{'-' if term.weight < 0 else '+'} {term.written}" for term in found]

    # --- one thing changed -------------------------------------------------------------------------------------------

    def with_filter(self, **texts: str) -> Self:
        """An empty text takes a filter away."""
        changed = {**self.filters, **texts}
        return self._replace(filters={name: text for name, text in changed.items() if text})

    def with_photo(self, photo_id: str, weight: float) -> Self:
        """With a photo added, or taken away, in place of where it was."""
        others = tuple(term for term in self.terms if (term.kind, term.value) != ("photo", photo_id))
        return self._replace(terms=(*others, AskedTerm(weight, "photo", photo_id)))

    def without_term(self, number: int) -> Self:
        return self._replace(terms=self.terms[:number] + self.terms[number + 1 :])

    def with_sign_turned(self, number: int) -> Self:
        return self._with_weight(number, -self.terms[number].weight)

    def with_next_weight(self, number: int, step: int) -> Self | None:
        """Heavier or, by a step of -1, lighter; None where that is the last."""
        weight = self.terms[number].weight
        size = abs(weight)
        further = [each for each in _WEIGHTS[::step] if (each - size) * step > 1e-9]
        return self._with_weight(number, further[0] if weight > 0 else -further[0]) if further else None

    def _with_weight(self, number: int, weight: float) -> Self:
        changed = self.terms[number]._replace(weight=weight)
        return self._replace(terms=(*self.terms[:number], changed, *self.terms[number + 1 :]))
