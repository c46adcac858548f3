"""The query as keys change it: terms are added and taken away, and the query before comes back."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.widgets import Input

from rclip.tui import texts

if TYPE_CHECKING:
    from rclip.explore import AskedTerm
    from rclip.search.hits import Hit

Change = Callable[["Sequence[AskedTerm]"], "list[AskedTerm]"]


class QueryLine(Input):
    """The search box. What is typed there is searched for as it is."""

    def __init__(self, line: str):
        super().__init__(line, placeholder=texts.PLACEHOLDER, id="query", compact=True, select_on_focus=False)
        self._before: list[str] = []
        """Queries that were replaced by keys, not by typing."""

    def put(self, line: str) -> None:
        """Another query; the present one is remembered."""
        if line != self.value:
            self._before.append(self.value)
            self.value = line

    def go_back(self) -> bool:
        """To the query that was replaced last, if any."""
        if self._before:
            self.value = self._before.pop()
            return True
        return False

    def change_terms(self, change: Change) -> None:
        """Raises `UsageError`."""
        from rclip.explore.request import SearchRequest, line_of

        self.put(line_of(change(SearchRequest.of(self.value).terms)))


def without(number: int) -> Change:
    """Takes one term out of the query."""
    return lambda terms: [term for place, term in enumerate(terms) if place != number]


def only(hit: "Hit") -> Change:
    """The photo alone."""
    return lambda terms: [_photo_term(hit, 1.0)]


def with_photo(hit: "Hit", sign: int) -> Change:
    """Adds the photo or, with -1, takes it away."""
    return lambda terms: [
        *(term for term in terms if (term.kind, term.value) != ("photo", hit.id)),
        _photo_term(hit, sign),
    ]


def _photo_term(hit: "Hit", sign: float) -> "AskedTerm":
    from rclip.explore.request import AskedTerm

    return AskedTerm(float(sign), "photo", hit.id)
