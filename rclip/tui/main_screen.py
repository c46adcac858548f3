"""What the interface shows, from the query to the last line: what is typed and chosen becomes requests and errands."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Input, Label

from rclip.errors import BadFilter, RclipError
from rclip.tui import query_line, texts
from rclip.tui.errands import Errands
from rclip.tui.filter_panel import FilterPanel
from rclip.tui.gallery import Gallery
from rclip.tui.grid import Grid
from rclip.tui.index_update import IndexUpdate
from rclip.tui.keys import KEYS
from rclip.tui.lines import Hints, Prompt, Status, Terms
from rclip.tui.query_line import QueryLine
from rclip.tui.searches import Answer, Searches
from rclip.tui.thumbnails import Pictures
from rclip.tui.workers import Workers

if TYPE_CHECKING:
    from rclip.explore import UpdateState
    from rclip.search.hits import Hit
    from rclip.terminal import probe
    from rclip.tui.setup import Setup


class MainScreen(Screen[None]):
    """Search box, grid, detail view, filters."""

    BINDINGS = KEYS

    def __init__(
        self,
        setup: "Setup",
        terminal: "probe.Screen",
        workers: Workers,
        selected: "dict[str, Hit]",
        give_up: Callable[[Exception], None],
    ):
        """`selected` is filled with what the user selects; `give_up` is called if the photos cannot be opened."""
        super().__init__()
        self._setup = setup
        self._workers = workers
        self._give_up = give_up
        self.is_initial = True
        """Whether the first search goes on."""
        self._has_more = False
        self._terminal = terminal
        self._selected = selected
        self.searches = Searches(workers.opened, workers.searching, self._show_answer)
        self._errands = Errands(setup, workers, self.say, self._show_failure)
        self._update = IndexUpdate(workers.opened, workers.watching, self._repeat_search, self._show_update)

    def compose(self) -> ComposeResult:
        pictures = Pictures(self._workers, self._terminal, self._sentence_of)
        self.query_input = QueryLine(_initial_line(self._setup))
        self.panel = FilterPanel(self._setup.filters)
        self.gallery = Gallery(self._terminal, self._selected, pictures)
        self._terms, self._status, self._prompt, self._hints = Terms(), Status(), Prompt(), Hints()
        with Horizontal(id="head"):
            yield Label("❯", id="mark", markup=False)
            yield self.query_input
        yield self._terms
        with Horizontal(id="body"):
            yield self.panel
            yield self.gallery
        with Vertical(id="foot"):
            yield self._status
            yield self._prompt
        yield self._hints

    @property
    def grid(self) -> Grid:
        return self.gallery.grid

    def on_mount(self) -> None:
        self.panel.display = bool(self._setup.filters)
        (self.grid if self._setup.query else self.query_input).focus()
        self._show_status()
        self.call_after_refresh(self._ask_anew)  # the thread that loads what it needs takes turns with this one

    # --- searching ---------------------------------------------------------------------------------------------------

    @on(Input.Changed, "#query")
    def _on_typed(self) -> None:
        if not self.is_initial:
            self._ask_anew()

    @on(Input.Submitted, "#query")
    def _on_entered(self) -> None:
        if self.focused is self.grid:  # the second of two that were typed before the first was looked at
            self.action_view()
        else:
            self.set_focus(self.grid)  # at once, which focus() would not

    @on(FilterPanel.Changed)
    def _on_filters(self, event: FilterPanel.Changed) -> None:
        if event.texts != self.searches.filters:
            self._ask_anew()

    def _ask_anew(self) -> None:
        """For what the search box and the filters say now."""
        line = self.query_input.value
        self.searches.ask(line, self.panel.texts(), None if line or not self.is_initial else self._setup.query)

    def _repeat_search(self) -> None:
        """For photos that were indexed since."""
        self.searches.repeat(len(self.grid.hits))

    def _show_answer(self, outcome: Answer | Exception) -> None:
        self.panel.mark_wrong(outcome.name if isinstance(outcome, BadFilter) else "")
        if isinstance(outcome, Exception):
            self._show_failure(outcome)
            return
        if self.is_initial:
            self._begin(outcome.line)
        results = outcome.results
        self._has_more = results.has_more
        self._terms.note_names(results.hits)
        self._terms.show(outcome.terms)
        if outcome.is_new:
            self.say("")
        hits = results.hits if results.start == 0 else [*self.grid.hits[: results.start], *results.hits]
        self.grid.show(hits, outcome.is_new)

    def _begin(self, line: str) -> None:
        """After the first search, which was for this line."""
        self.is_initial = False
        asked = self.searches.line
        if line != asked:
            self.searches.line = asked = line
            with self.prevent(Input.Changed):
                self.query_input.value = line
        if self.query_input.value != asked:  # typed meanwhile
            self._ask_anew()
        if self._setup.is_updating:
            self._update.start()
        if self.panel.display:
            self._offer_facets()

    def _show_failure(self, error: Exception) -> None:
        sentence = self._sentence_of(error)
        if not self._workers.opened.is_open:
            self._give_up(error)
            return
        if self.is_initial:
            self._begin(self.searches.line)
        self.say(sentence, is_error=True)

    def _sentence_of(self, error: Exception) -> str:
        if not isinstance(error, RclipError):
            raise error
        return self._setup.sentence(error)

    # --- the query and the filters -----------------------------------------------------------------------------------

    def action_drop_term(self, number: int) -> None:
        """Takes one term out of the query."""
        self._change_terms(query_line.without(number))

    def action_more_like_this(self) -> None:
        """Asks with the focused photo alone."""
        self._with_focused(lambda hit: self._change_terms(query_line.only(hit)))

    def action_add_photo(self, sign: int) -> None:
        """Adds the focused photo to the query or, with -1, takes it away."""
        self._with_focused(lambda hit: self._change_terms(query_line.with_photo(hit, sign)))

    def _change_terms(self, change: query_line.Change) -> None:
        try:
            self.query_input.change_terms(change)
        except RclipError as error:
            self.say(self._setup.sentence(error), is_error=True)
        else:
            self.gallery.close_detail()

    def action_query_before(self) -> None:
        """Back to the query that was replaced last."""
        if self.query_input.go_back():
            self.gallery.close_detail()

    def action_clear(self) -> None:
        """Neither query nor filters."""
        self.query_input.put("")
        self.gallery.close_detail()
        self.panel.clear()

    def action_leave_search(self) -> None:
        """To the photos."""
        self.grid.focus()

    def action_search(self) -> None:
        """To the search box."""
        self.gallery.close_detail()
        self.query_input.focus()

    def action_filters(self) -> None:
        """Shows the side panel, or hides it; what it asks for stays."""
        self.panel.display = not self.panel.display
        if self.panel.display:
            self.gallery.close_detail()
            self._offer_facets()
            self.panel.query(Input).first().focus()
        else:
            self.grid.focus()

    def _offer_facets(self) -> None:
        self.panel.offer_facets(self._workers, self._show_failure)

    # --- what is in sight --------------------------------------------------------------------------------------------

    @on(Grid.Moved)
    def _on_moved(self) -> None:
        grid = self.grid
        if grid.first + 3 * grid.count > len(grid.hits) and self._has_more and not self.searches.is_loading:
            self.searches.want(len(grid.hits))
        if self.is_initial:
            self.gallery.draw_remembered()
        else:
            self.gallery.draw()
        self.gallery.show_detail(self._place())
        self._show_status()

    @on(Grid.Opened)
    def action_view(self) -> None:
        """From the grid to the large view, and back."""
        if self.gallery.is_large:
            self.gallery.close_detail()
        else:
            self.gallery.open_detail(self._place())

    def action_move(self, by: int) -> None:
        self.grid.move(by)

    def action_move_rows(self, by: int) -> None:
        """In the search box, down leads to the photos; up from the first row leads back."""
        if self.focused is self.query_input:
            if by > 0:
                self.grid.focus()
        elif not self.gallery.move_rows(by):
            self.query_input.focus()

    def action_move_screens(self, by: int) -> None:
        self.grid.move_rows(by * self.grid.arrangement.rows)

    def action_move_to_end(self, direction: int) -> None:
        self.grid.move(direction * len(self.grid.hits))

    def action_go_back(self) -> None:
        """Out of what is open; from the search box and the filters to the photos."""
        if self._prompt.display:
            self._prompt.end()
        elif self.gallery.is_large:
            self.gallery.close_detail()
        elif self.focused is self.grid:
            self.say("")
        else:
            self.grid.focus()

    def action_help(self) -> None:
        from rclip.tui.help import HelpScreen

        self.app.push_screen(HelpScreen())

    # --- the photos that are chosen ----------------------------------------------------------------------------------

    @on(Grid.Marked)
    def action_select(self) -> None:
        self.grid.toggle_focused()

    def action_select_all(self) -> None:
        self.grid.select_all()

    def action_select_none(self) -> None:
        self.grid.select_none()

    def _with_focused(self, do: "Callable[[Hit], None]") -> None:
        if self.grid.focused_hit:
            do(self.grid.focused_hit)

    def action_copy_paths(self) -> None:
        driver = self.app._driver
        if driver:
            self._errands.copy_paths(self.grid.chosen(), driver.write)

    def action_open(self) -> None:
        self._with_focused(self._errands.open)

    def action_copy_files(self) -> None:
        self._errands.ask_where_to_copy(self.grid.chosen(), self._ask)

    def action_save(self) -> None:
        self._errands.ask_where_to_save([*self.grid.selected.values()] or self.grid.hits, self._ask)

    # --- the last lines ----------------------------------------------------------------------------------------------

    def say(self, message: str, is_error: bool = False) -> None:
        """A line at the bottom, until the next."""
        self._status.say(message, is_error)
        self._show_status()

    def _place(self) -> str:
        total = f"{len(self.grid.hits):,}{'+' if self._has_more else ''}"
        return f"{self.grid.cursor + 1:,} of {total}" if self.grid.hits else ""

    def _show_status(self) -> None:
        self._status.show(self._place(), self._update.progress, len(self.grid.selected), self._why_empty())

    def _why_empty(self) -> str:
        if self.grid.hits or self.is_initial or self.searches.is_loading:
            return ""
        if self.searches.line.strip() or self.searches.filters:
            return texts.NOTHING
        return texts.NO_PHOTOS_YET if self._update.progress else texts.NO_PHOTOS

    def _show_update(self, state: "UpdateState | Exception") -> None:
        if isinstance(state, Exception):
            self._show_failure(state)
        elif state.error:
            self.say(self._setup.sentence(state.error), is_error=True)
        elif state.changes and not state.is_running:
            changes = ", ".join(texts.CHANGES[name].format(f"{count:,}") for name, count in state.changes.items())
            self.say(texts.UPDATED.format(changes=changes))
        else:
            self._show_status()

    @on(events.DescendantFocus)
    def _show_hints(self) -> None:
        is_typing = isinstance(self.focused, Input)
        self._hints.show(texts.HINTS_FOR_TYPING if is_typing else texts.HINTS)

    def _ask(self, question: str, answer: str, then: Callable[[str], None]) -> None:
        self._status.display = False
        self._prompt.ask(question, answer, then)

    @on(Prompt.Ended)
    def _on_prompt_ended(self) -> None:
        self._status.display = True
        self.gallery.focus_shown()

    @on(events.Click, "#terms")
    def _on_terms_clicked(self) -> None:
        self.grid.focus()


def _initial_line(setup: "Setup") -> str:
    """That of a query of words; one with pictures waits for the index."""
    query = setup.query
    return query.written if query and all(type(term.what).__name__ == "Text" for term in query.terms) else ""
