"""What is searched for: each request in a thread, of which only the last one's answers count."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rclip.tui.jobs import Job, Jobs
from rclip.tui.opened import Opened

if TYPE_CHECKING:
    from rclip.explore import AskedTerm, Results
    from rclip.search.query import Query

PAGE = 50
"""Photos asked for at a time."""


class Answer(NamedTuple):
    """What was found."""

    line: str
    """The query as it can be typed."""
    terms: "Sequence[AskedTerm]"
    results: "Results"
    is_new: bool
    """Whether it answers another request than the one before."""


class Searches:
    """One request after the other."""

    def __init__(self, opened: Opened, jobs: Jobs, show: Callable[[Answer | Exception], None]):
        """`show` is given what was found or, in its place, the exception that was raised."""
        self._opened = opened
        self._jobs = jobs
        self._show = show
        self._query: Query | None = None
        self.number = 0
        """Of the request."""
        self.line = ""
        self.filters: dict[str, str] = {}
        self.is_loading = False

    def ask(self, line: str, filters: Mapping[str, str], query: "Query | None" = None) -> None:
        """A new request; `query` stands in place of the line."""
        self.line, self.filters, self._query = line, dict(filters), query
        self.number += 1
        self.want(0, is_new=True)

    def want(self, start: int, *, is_new: bool = False, count: int = PAGE) -> None:
        """So many photos of the present request, from the one with that number on."""
        line, filters, query, number = self.line, self.filters, self._query, self.number

        def work() -> Answer:
            from rclip.explore import SearchRequest

            explorer = self._opened.explorer()
            asked = explorer.line_of(query) if query else line
            request = SearchRequest.of(asked, filters)
            results = explorer.search(request, start, count)
            for hit in results.hits:
                _ = hit.place  # remembered: the very first look takes seconds, and typing must not wait for it
            return Answer(asked, request.terms, results, is_new)

        def done(outcome: Any) -> None:
            if number == self.number:
                self.is_loading = False
                self._show(outcome)

        self.is_loading = True
        self._jobs.want([Job((number, start, count), work, done)])

    def repeat(self, shown: int) -> None:
        """For photos that were indexed since; so many are shown."""
        if not self.is_loading:
            self.want(0, count=max(PAGE, shown))
