"""The interface as a Textual application: what is typed and chosen becomes requests, and their results pictures.

Everything that may take time is done by threads (`jobs`): the search, thumbnails, copies, the update of the index.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual import events, on
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen as TextualScreen
from textual.widgets import Input, Label

from rclip import signals
from rclip.errors import BadFilter, RclipError
from rclip.tui import query_line, texts
from rclip.tui.detail import Detail, LargePicture
from rclip.tui.errands import Errands
from rclip.tui.filter_panel import FilterPanel
from rclip.tui.grid import Grid
from rclip.tui.index_update import IndexUpdate
from rclip.tui.jobs import Job, Jobs
from rclip.tui.keys import KEYS
from rclip.tui.lines import Hints, Prompt, Status, Terms
from rclip.tui.opened import Opened
from rclip.tui.pictures import Painter, PictureArea
from rclip.tui.query_line import QueryLine
from rclip.tui.searches import Answer, Searches
from rclip.tui.style import CSS, THEMES
from rclip.tui.thumbnails import Pictures

if TYPE_CHECKING:
    from textual.drivers.linux_driver import LinuxDriver

    from rclip.explore import UpdateState
    from rclip.search.facets import Facets
    from rclip.search.hits import Hit
    from rclip.terminal.probe import Screen
    from rclip.tui.setup import Setup

_PAINT_AFTER_S = 0.02


class _Done(Message):
    """A thread has something for the application."""

    def __init__(self, call: Callable[[], None]):
        super().__init__()
        self.call = call


class PaintedApp(App[None]):
    """A Textual application with pictures among its widgets."""

    def __init__(self, screen: "Screen", driver_class: "type[LinuxDriver] | None"):
        super().__init__(driver_class=driver_class)
        self._painter = Painter(screen)
        self._will_paint = False

    def _display(self, screen: "TextualScreen[Any]", renderable: Any) -> None:
        """Has the pictures drawn whose cells Textual has just written to: together, as it may do so once more."""
        super()._display(screen, renderable)
        if renderable is None or self._batch_count or self._driver is None or not self._running or self.is_headless:
            return
        if self._painter.note(self.screen.query(PictureArea), renderable) and not self._will_paint:
            self._will_paint = True
            self.set_timer(_PAINT_AFTER_S, self._paint)

    def _paint(self) -> None:
        self._will_paint = False
        if self._driver and self._running:
            sequence = self._painter.sequence(self.screen.query(PictureArea))
            if sequence:
                self._driver.write(sequence)

    def _print_error_renderables(self) -> None:
        """What ended the application is said by who has started it."""
        self._exit_renderables.clear()


class Interface(PaintedApp):
    """Search box, grid, detail view, filters."""

    CSS = CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = KEYS

    def __init__(self, setup: "Setup", screen: "Screen", driver_class: "type[LinuxDriver] | None" = None):
        super().__init__(screen, driver_class)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        self._setup = setup
        self._terminal = screen
        self._error: RclipError | None = None
        self._is_aborted = False
        self._is_initial = True
        self._has_more = False
        self.selected: dict[str, Hit] = {}
        self._opened = opened = Opened(setup, self._notify_from_thread)
        self._jobs = [searching, self._errand_jobs, watching] = [Jobs(each, self._deliver) for each in (1, 2, 1)]
        self.searches = Searches(opened, searching, self._show_answer)
        self._pictures = Pictures(opened, screen, self._deliver, self._sentence_of)
        self._errands = Errands(setup, opened, self._errand_jobs, self.say, self._show_failure)
        self._update = IndexUpdate(opened, watching, self._repeat_search, self._show_update)

    # --- from start to end -------------------------------------------------------------------------------------------

    def browse(self) -> "list[Hit] | None":
        """Runs until the user leaves; see `tui.browse`."""
        try:
            with signals.handled(self._stop):
                self.run()
        finally:
            self._close()
        if self._error:
            raise self._error
        if self._exception:
            raise self._exception
        return None if self._is_aborted else list(self.selected.values())

    def _stop(self) -> None:
        """Called by a signal, in between any two steps of this thread."""
        if self._loop:
            self._loop.call_soon_threadsafe(self.exit)

    def _close(self) -> None:
        for jobs in self._jobs:
            jobs.close()
        self._pictures.close()
        self._opened.close()

    def compose(self) -> ComposeResult:
        with Horizontal(id="head"):
            yield Label("❯", id="mark", markup=False)
            yield QueryLine(self._initial_line())
        yield Terms()
        with Horizontal(id="body"):
            yield FilterPanel(self._setup.filters)
            yield Grid(self._terminal)
            yield Detail(id="detail")
        with Vertical(id="foot"):
            yield Status()
            yield Prompt()
        yield Hints()

    def _initial_line(self) -> str:
        """That of a query of words; one with pictures waits for the index."""
        query = self._setup.query
        return query.written if query and all(type(term.what).__name__ == "Text" for term in query.terms) else ""

    def on_mount(self) -> None:
        self.panel.display = bool(self._setup.filters)
        self.detail.display = False
        (self.grid if self._setup.query else self.query_input).focus()
        self._show_status()
        self._ask_anew()

    @property
    def _main(self) -> "TextualScreen[Any]":
        return self.screen_stack[0]

    @property
    def grid(self) -> Grid:
        return self._main.query_one(Grid)

    @property
    def detail(self) -> Detail:
        return self._main.query_one(Detail)

    @property
    def panel(self) -> FilterPanel:
        return self._main.query_one(FilterPanel)

    @property
    def query_input(self) -> QueryLine:
        return self._main.query_one(QueryLine)

    @property
    def _status(self) -> Status:
        return self._main.query_one(Status)

    @property
    def _prompt(self) -> Prompt:
        return self._main.query_one(Prompt)

    def _notify_from_thread(self, said: str | RclipError) -> None:
        self._deliver(lambda: self.say(said if isinstance(said, str) else self._setup.sentence(said)))

    def _deliver(self, call: Callable[[], None]) -> None:
        self.post_message(_Done(call))

    @on(_Done)
    def _on_done(self, event: _Done) -> None:
        event.call()

    # --- searching ---------------------------------------------------------------------------------------------------

    @on(Input.Changed, "#query")
    def _on_typed(self) -> None:
        if not self._is_initial:
            self._ask_anew()

    @on(Input.Submitted, "#query")
    def _on_entered(self) -> None:
        if self.focused is self.grid:  # the second of two that were typed before the first was looked at
            self.action_view()
        else:
            self.screen.set_focus(self.grid)  # at once, which focus() would not

    @on(FilterPanel.Changed)
    def _on_filters(self, event: FilterPanel.Changed) -> None:
        if event.texts != self.searches.filters:
            self._ask_anew()

    def _ask_anew(self) -> None:
        """For what the search box and the filters say now."""
        line = self.query_input.value
        self.searches.ask(line, self.panel.texts(), None if line or not self._is_initial else self._setup.query)

    def _repeat_search(self) -> None:
        """For photos that were indexed since."""
        self.searches.repeat(len(self.grid.hits))

    def _show_answer(self, outcome: Answer | Exception) -> None:
        self.panel.mark_wrong(outcome.name if isinstance(outcome, BadFilter) else "")
        if isinstance(outcome, Exception):
            self._show_failure(outcome)
            return
        if self._is_initial:
            self._begin(outcome.line)
        results = outcome.results
        self._has_more = results.has_more
        terms = self._main.query_one(Terms)
        terms.note_names(results.hits)
        terms.show(outcome.terms)
        if outcome.is_new:
            self.say("")
        hits = results.hits if results.start == 0 else [*self.grid.hits[: results.start], *results.hits]
        self.grid.show(hits, outcome.is_new)

    def _begin(self, line: str) -> None:
        """After the first search, which was for this line."""
        self._is_initial = False
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
        if not self._opened.is_open:
            assert isinstance(error, RclipError)
            self._error = error
            self.exit()
            return
        if self._is_initial:
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
            self._close_detail()

    def action_query_before(self) -> None:
        """Back to the query that was replaced last."""
        if self.query_input.go_back():
            self._close_detail()

    def action_clear(self) -> None:
        """Neither query nor filters."""
        self.query_input.put("")
        self._close_detail()
        self.panel.clear()

    def action_leave_search(self) -> None:
        """To the photos."""
        self.grid.focus()

    def action_search(self) -> None:
        """To the search box."""
        self._close_detail()
        self.query_input.focus()

    def action_filters(self) -> None:
        """Shows the side panel, or hides it; what it asks for stays."""
        self.panel.display = not self.panel.display
        if self.panel.display:
            self._close_detail()
            self._offer_facets()
            self.panel.query(Input).first().focus()
        else:
            self.grid.focus()

    def _offer_facets(self) -> None:
        def done(outcome: "Facets | Exception") -> None:
            if isinstance(outcome, Exception):
                self._show_failure(outcome)
            else:
                self.panel.offer(outcome)

        self._errand_jobs.want([Job("facets", lambda: self._opened.explorer().facets(), done)])

    # --- what is in sight --------------------------------------------------------------------------------------------

    @on(Grid.Moved)
    def _on_moved(self) -> None:
        grid = self.grid
        if grid.first + 3 * grid.count > len(grid.hits) and self._has_more and not self.searches.is_loading:
            self.searches.want(len(grid.hits))
        jobs = self._pictures.draw_remembered(grid)
        if not self._is_initial:
            self._pictures.want(jobs)
        self._show_detail()
        self._show_status()

    @on(Grid.Opened)
    def action_view(self) -> None:
        """From the grid to the large view, and back."""
        if self.detail.display:
            self._close_detail()
        elif self.grid.focused_hit:
            self.grid.display = False
            self.detail.display = True
            self.detail.focus()
            self._show_detail()

    def _close_detail(self) -> None:
        if self.detail.display:
            self.detail.display = False
            self.grid.display = True
            self.grid.focus()

    def _show_detail(self) -> None:
        hit = self.grid.focused_hit
        if not self.detail.display or hit is None:
            return
        if self.detail.show(hit, self._place(), hit.id in self.selected):
            self._pictures.want_large(self.detail, hit)

    @on(LargePicture.Resized)
    def _on_large_resized(self) -> None:
        if self.detail.display and self.detail.hit:
            self._pictures.want_large(self.detail, self.detail.hit)

    def action_move(self, by: int) -> None:
        self.grid.move(by)

    def action_move_rows(self, by: int) -> None:
        """In the search box, down leads to the photos; up from the first row leads back."""
        if self.focused is self.query_input:
            if by > 0:
                self.grid.focus()
        elif self.detail.display:
            self.grid.move(by)
        elif by < 0 and self.grid.cursor < self.grid.arrangement.columns:
            self.query_input.focus()
        else:
            self.grid.move_rows(by)

    def action_move_screens(self, by: int) -> None:
        self.grid.move_rows(by * self.grid.arrangement.rows)

    def action_move_to_end(self, direction: int) -> None:
        self.grid.move(direction * len(self.grid.hits))

    def action_go_back(self) -> None:
        """Out of what is open; from the search box and the filters to the photos."""
        if self._prompt.display:
            self._prompt.end()
        elif self.detail.display:
            self._close_detail()
        elif self.focused is self.grid:
            self.say("")
        else:
            self.grid.focus()

    def action_help(self) -> None:
        from rclip.tui.help import HelpScreen

        self.push_screen(HelpScreen())

    def action_leave(self) -> None:
        self.exit()

    def action_abort(self) -> None:
        self._is_aborted = True
        self.exit()

    def action_other_theme(self) -> None:
        """Dark or light."""
        names = [theme.name for theme in THEMES]
        self.theme = names[1 - names.index(self.theme)]

    # --- the photos that are chosen ----------------------------------------------------------------------------------

    @on(Grid.Marked)
    def action_select(self) -> None:
        self._with_focused(self._toggle)

    def _toggle(self, hit: "Hit") -> None:
        if self.selected.pop(hit.id, None) is None:
            self.selected[hit.id] = hit
        self.grid.show_selected(self.selected)

    def action_select_all(self) -> None:
        self.selected |= {hit.id: hit for hit in self.grid.hits}
        self.grid.show_selected(self.selected)

    def action_select_none(self) -> None:
        self.selected.clear()
        self.grid.show_selected(self.selected)

    def _with_focused(self, do: "Callable[[Hit], None]") -> None:
        if self.grid.focused_hit:
            do(self.grid.focused_hit)

    def _chosen(self) -> "list[Hit]":
        """The selected photos or, where there are none, the focused one."""
        focused = self.grid.focused_hit
        return list(self.selected.values()) or ([focused] if focused else [])

    def action_copy_paths(self) -> None:
        """To the clipboard."""
        hits = self._chosen()
        if hits and self._driver:
            self._errands.copy_paths(hits, self._driver.write)

    def action_open(self) -> None:
        """In the desktop's viewer."""
        self._with_focused(self._errands.open)

    def action_copy_files(self) -> None:
        hits = self._chosen()
        if hits:
            question = texts.COPY_TO.format(count=texts.photos(len(hits)))
            self._ask(question, "", lambda folder: self._errands.copy_files(hits, folder))

    def action_save(self) -> None:
        hits = list(self.selected.values()) or list(self.grid.hits)
        if hits:
            question = texts.SAVE_AS.format(count=texts.photos(len(hits)))
            self._ask(question, "photos.txt", lambda path: self._errands.save(hits, path))

    # --- the last lines ----------------------------------------------------------------------------------------------

    def say(self, message: str, is_error: bool = False) -> None:
        """A line at the bottom, until the next."""
        self._status.say(message, is_error)
        self._show_status()

    def _place(self) -> str:
        total = f"{len(self.grid.hits):,}{'+' if self._has_more else ''}"
        return f"{self.grid.cursor + 1:,} of {total}" if self.grid.hits else ""

    def _show_status(self) -> None:
        self._status.show(self._place(), self._update.progress, len(self.selected), self._why_empty())

    def _why_empty(self) -> str:
        if self.grid.hits or self._is_initial or self.searches.is_loading:
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
        self._main.query_one(Hints).show(texts.HINTS_FOR_TYPING if is_typing else texts.HINTS)

    def _ask(self, question: str, answer: str, then: Callable[[str], None]) -> None:
        self._status.display = False
        self._prompt.ask(question, answer, then)

    @on(Prompt.Ended)
    def _on_prompt_ended(self) -> None:
        self._status.display = True
        (self.detail if self.detail.display else self.grid).focus()

    @on(events.Click, "#terms")
    def _on_terms_clicked(self) -> None:
        self.grid.focus()
