"""The interface as a Textual application: what is typed and chosen becomes requests, and their results pictures.

Everything that may take time is done by threads (`jobs`): the search, thumbnails, copies, the update of the index.
"""

import base64
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import Screen as TextualScreen
from textual.style import Style
from textual.widgets import Input, Label, Static

from rclip import signals
from rclip.errors import BadFilter, RclipError
from rclip.terminal.text import printable, shortened
from rclip.tui import texts
from rclip.tui.detail import Detail, LargePicture
from rclip.tui.filter_panel import FilterPanel
from rclip.tui.grid import Grid, Tile
from rclip.tui.jobs import Job, Jobs
from rclip.tui.pictures import Drawing, Painter, PictureArea, drawing_of
from rclip.tui.style import CSS, THEMES

if TYPE_CHECKING:
    from textual.drivers.linux_driver import LinuxDriver

    from rclip.explore import AskedTerm, Explorer, Results, UpdateState
    from rclip.search.facets import Facets
    from rclip.search.hits import Hit
    from rclip.terminal.drawing import Box
    from rclip.terminal.probe import Screen
    from rclip.tui.setup import Setup

_PAGE = 50
_SMALL, _LARGE = 480, 2048
"""Long sides of thumbnails."""
_REMEMBERED_DRAWINGS = 400
_PAINT_AFTER_S = 0.02
_UPDATE_WAIT_S = 0.5
_REFRESH_EVERY = 4
"""While photos are indexed, every so many states of the update the search is repeated."""


class _Done(Message):
    """A thread has something for the application."""

    def __init__(self, call: Callable[[], None]):
        super().__init__()
        self.call = call


class Interface(App[None]):
    """Search box, grid, detail view, filters."""

    CSS = CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "abort", show=False, priority=True),
        *(
            Binding(key, action, show=False)
            for key, action in (
                ("slash", "search"),
                ("enter", "view"),
                ("space", "select"),
                ("m", "more_like_this"),
                ("plus", "add_photo(1)"),
                ("minus", "add_photo(-1)"),
                ("f", "filters"),
                ("y", "copy_paths"),
                ("c", "copy_files"),
                ("s", "save"),
                ("o", "open"),
                ("question_mark", "help"),
                ("q,ctrl+q", "leave"),
                ("escape", "go_back"),
                ("a", "select_all"),
                ("u", "select_none"),
                ("x", "clear"),
                ("backspace", "query_before"),
                ("t", "other_theme"),
                ("left,h", "move(-1)"),
                ("right,l", "move(1)"),
                ("up,k", "move_rows(-1)"),
                ("down,j", "move_rows(1)"),
                ("pageup,ctrl+b", "move_screens(-1)"),
                ("pagedown,ctrl+f", "move_screens(1)"),
                ("home,g", "move_to_end(-1)"),
                ("end,G", "move_to_end(1)"),
            )
        ),
    ]

    def __init__(self, setup: "Setup", screen: "Screen", driver_class: "type[LinuxDriver] | None" = None):
        super().__init__(driver_class=driver_class)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        self._setup = setup
        self._terminal = screen
        self._painter = Painter(screen)
        self._will_paint = False
        self._error: RclipError | None = None
        self._is_aborted = False
        self._explorer_lock = threading.Lock()
        self._opened: Explorer | None = None
        self._searching = Jobs(1, self._deliver)
        self._drawing = Jobs(min(4, (os.cpu_count() or 1) + 1), self._deliver)
        self._enlarging = Jobs(1, self._deliver)
        self._errands = Jobs(2, self._deliver)
        self._watching = Jobs(1, self._deliver)
        self._is_initial = True
        self._request_number = 0
        self._asked: tuple[str, dict[str, str]] = ("", dict(setup.filters))
        self._before: list[str] = []
        """Queries that were replaced by keys, not by typing."""
        self._has_more = self._is_loading = False
        self._names: dict[str, str] = {}
        """Of the photos that a query may name, by their ids."""
        self._drawings: OrderedDict[tuple[object, ...], Drawing] = OrderedDict()
        self.selected: dict[str, Hit] = {}
        self._message = Content(texts.OPENING)
        self._progress = ""
        self._prompted: Callable[[str], None] | None = None

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
        for jobs in (self._searching, self._drawing, self._enlarging, self._errands, self._watching):
            jobs.close()
        with self._explorer_lock:
            if self._opened:
                self._opened.close()
                self._opened.library.close()

    def _print_error_renderables(self) -> None:
        """What ended the application is said by who has started it."""
        self._exit_renderables.clear()

    def compose(self) -> ComposeResult:
        with Horizontal(id="head"):
            yield Label("❯", id="mark", markup=False)
            yield Input(
                self._initial_line(), placeholder=texts.PLACEHOLDER, id="query", compact=True, select_on_focus=False
            )
        yield Static(id="terms")
        with Horizontal(id="body"):
            yield FilterPanel(self._setup.filters)
            yield Grid(self._terminal)
            yield Detail(id="detail")
        with Vertical(id="foot"):
            yield Static(id="status")
            with Horizontal(id="prompt"):
                yield Label("", id="prompt-label", markup=False)
                yield Input(id="answer", compact=True, select_on_focus=False)
        yield Static(id="hints")

    def _initial_line(self) -> str:
        """That of a query of words; one with pictures waits for the index."""
        query = self._setup.query
        return query.written if query and all(type(term.what).__name__ == "Text" for term in query.terms) else ""

    def on_mount(self) -> None:
        self.query_one(FilterPanel).display = bool(self._setup.filters)
        self.query_one(Detail).display = False
        self.query_one("#prompt").display = False
        self.query_one("#terms").display = False
        (self.grid if self._setup.query else self.query_input).focus()
        self._show_status()
        self._ask_anew()

    @property
    def grid(self) -> Grid:
        return self._main.query_one(Grid)

    @property
    def detail(self) -> Detail:
        return self._main.query_one(Detail)

    @property
    def query_input(self) -> Input:
        return self._main.query_one("#query", Input)

    @property
    def _main(self) -> "TextualScreen[Any]":
        return self.screen_stack[0]

    def explorer(self) -> "Explorer":
        """For threads: the first to ask opens it. Raises `RclipError`."""
        with self._explorer_lock:
            if self._opened is None:
                from rclip.explore import Explorer

                self._opened = Explorer(self._setup.open_library(self._notify_from_thread), allow_links=True)
            return self._opened

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
        if event.texts != self._asked[1]:
            self._ask_anew()

    def _ask_anew(self) -> None:
        """For what the search box and the filters say now."""
        self._asked = self.query_input.value, self._main.query_one(FilterPanel).texts()
        self._request_number += 1
        self._want_results(0, is_new=True)

    def _want_results(self, start: int, is_new: bool = False, count: int = _PAGE) -> None:
        line, filters = self._asked
        number = self._request_number
        query = self._setup.query if self._is_initial and self._setup.query and not line else None

        def work() -> "tuple[str, list[AskedTerm], Results]":
            from rclip.explore import SearchRequest

            explorer = self.explorer()
            asked = explorer.line_of(query) if query else line
            request = SearchRequest.of(asked, filters)
            results = explorer.search(request, start, count)
            for hit in results.hits:
                _ = hit.place  # remembered: the very first look takes seconds, and typing must not wait for it
            return asked, request.terms, results

        def done(outcome: Any) -> None:
            if number == self._request_number:
                self._is_loading = False
                self._show_results(outcome, is_new)

        self._is_loading = True
        self._searching.want([Job((number, start, count), work, done)])

    def _show_results(self, outcome: Any, is_new: bool) -> None:
        panel = self._main.query_one(FilterPanel)
        panel.mark_wrong(outcome.name if isinstance(outcome, BadFilter) else "")
        if isinstance(outcome, Exception):
            self._show_failure(outcome)
            return
        line, terms, results = outcome
        if self._is_initial:
            self._begin(line)
        for hit in results.hits:
            self._names[hit.id] = os.path.basename(hit.path)
        self._has_more = results.has_more
        hits = results.hits if results.start == 0 else [*self.grid.hits[: results.start], *results.hits]
        self._show_terms(terms)
        if is_new:
            self.say("")
        self.grid.show(hits, is_new)

    def _begin(self, line: str) -> None:
        """After the first search."""
        self._is_initial = False
        if line != self.query_input.value:
            self._asked = line, self._asked[1]
            with self.prevent(Input.Changed):
                self.query_input.value = line
        if self.query_input.value != self._asked[0]:  # typed meanwhile
            self._ask_anew()
        if self._setup.is_updating and self.explorer().updates.start():
            self._watch_update(0)
        if self._main.query_one(FilterPanel).display:
            self._offer_facets()

    def _show_failure(self, error: Exception) -> None:
        if not isinstance(error, RclipError):
            raise error
        if self._opened is None:
            self._error = error
            self.exit()
            return
        if self._is_initial:
            self._begin(self._asked[0])
        self.say(self._setup.sentence(error), is_error=True)

    def _show_terms(self, terms: "Sequence[AskedTerm]") -> None:
        """What a query of several terms, or of photos, consists of; a click takes a term away."""
        line = self._main.query_one("#terms", Static)
        is_shown = len(terms) > 1 or any(term.kind != "text" for term in terms)
        if line.display != is_shown:
            line.display = is_shown
        parts: list[Content] = []
        for number, term in enumerate(terms):
            sign, color = ("−", "$text-error") if term.weight < 0 else ("+", "$text-success")
            weight = "" if abs(term.weight) == 1 else f"{abs(term.weight):g} × "
            name = {"photo": self._names.get(term.value, "a photo"), "picture": "a picture"}.get(term.kind, term.value)
            shown = shortened(printable(name), 40)
            chip = Content.styled(f" {sign} {weight}{shown} ✕ ", f"{color} on $surface")
            parts += [chip.stylize(Style.from_meta({"@click": f"app.drop_term({number})"})), Content("  ")]
        line.update(Content("").join(parts), layout=False)

    def action_drop_term(self, number: int) -> None:
        """Takes one term out of the query."""
        self._change_terms(lambda terms: [term for place, term in enumerate(terms) if place != number])

    def action_more_like_this(self) -> None:
        """Asks with the focused photo alone."""
        self._with_focused(lambda hit: self._change_terms(lambda terms: [_photo_term(hit, 1.0)]))

    def action_add_photo(self, sign: int) -> None:
        """Adds the focused photo to the query or, with -1, takes it away."""
        self._with_focused(
            lambda hit: self._change_terms(
                lambda terms: [*(t for t in terms if (t.kind, t.value) != ("photo", hit.id)), _photo_term(hit, sign)]
            )
        )

    def _change_terms(self, change: "Callable[[Sequence[AskedTerm]], list[AskedTerm]]") -> None:
        from rclip.explore.request import SearchRequest, line_of

        try:
            line = line_of(change(SearchRequest.of(self.query_input.value).terms))
        except RclipError as error:
            self.say(self._setup.sentence(error), is_error=True)
            return
        self._replace_query(line)

    def _replace_query(self, line: str) -> None:
        if line != self.query_input.value:
            self._before.append(self.query_input.value)
            self.query_input.value = line
        self._close_detail()

    def action_query_before(self) -> None:
        """Back to the query that was replaced last."""
        if self._before:
            self.query_input.value = self._before.pop()
            self._close_detail()

    def action_clear(self) -> None:
        """Neither query nor filters."""
        self._replace_query("")
        self._main.query_one(FilterPanel).clear()

    def action_leave_search(self) -> None:
        """To the photos."""
        self.grid.focus()

    def action_search(self) -> None:
        """To the search box."""
        self._close_detail()
        self.query_input.focus()

    # --- filters -----------------------------------------------------------------------------------------------------

    def action_filters(self) -> None:
        """Shows the side panel, or hides it; what it asks for stays."""
        panel = self._main.query_one(FilterPanel)
        panel.display = not panel.display
        if panel.display:
            self._close_detail()
            self._offer_facets()
            panel.query(Input).first().focus()
        else:
            self.grid.focus()

    def _offer_facets(self) -> None:
        def done(outcome: "Facets | Exception") -> None:
            if isinstance(outcome, Exception):
                self._show_failure(outcome)
            else:
                self._main.query_one(FilterPanel).offer(outcome)

        self._errands.want([Job("facets", lambda: self.explorer().facets(), done)])

    # --- pictures ----------------------------------------------------------------------------------------------------

    @on(Grid.Moved)
    def _on_moved(self) -> None:
        grid = self.grid
        if grid.first + 3 * grid.count > len(grid.hits) and self._has_more and not self._is_loading:
            self._want_results(len(grid.hits))
        self._want_pictures()
        self._show_detail()
        self._show_status()

    def _want_pictures(self) -> None:
        """Those in sight, then those of the next screen."""
        grid, jobs = self.grid, []
        for tile, hit in grid.filled():
            if tile.needs_picture and not self._draw_remembered(tile, hit):
                jobs.append(self._small(tile, hit))
        ahead = grid.hits[grid.first + grid.count : grid.first + 2 * grid.count]
        for tile, hit in zip(grid.tiles, ahead, strict=False):
            if self._key(hit, tile.box, tile.image_id) not in self._drawings:
                jobs.append(self._small(tile, hit))
        if not self._is_initial:
            self._drawing.want(jobs)

    def _small(self, tile: Tile, hit: "Hit") -> Job:
        key = self._key(hit, tile.box, tile.image_id)

        def done(outcome: Any) -> None:
            if isinstance(outcome, Drawing):
                self._remember(key, outcome)
            if tile.hit is not hit and (tile.hit is None or tile.hit.id != hit.id):
                return
            if isinstance(outcome, Drawing):
                tile.draw(outcome)
            else:
                tile.explain(self._sentence_of(outcome))

        return Job(key, lambda: self._drawn(hit, _SMALL, tile.box, tile.image_id), done)

    def _sentence_of(self, error: Exception) -> str:
        if not isinstance(error, RclipError):
            raise error
        return self._setup.sentence(error)

    def _drawn(self, hit: "Hit", long_side: int, box: "Box", image_id: int) -> Drawing:
        return drawing_of(self.explorer().thumbnail(hit.id, long_side), box, self._terminal, image_id)

    def _key(self, hit: "Hit", box: "Box", image_id: int) -> tuple[object, ...]:
        return hit.id, box, image_id if self._terminal.kind == "kitty" else 0

    def _draw_remembered(self, tile: Tile, hit: "Hit") -> bool:
        found = self._drawings.get(self._key(hit, tile.box, tile.image_id))
        if found:
            tile.draw(found)
        return found is not None

    def _remember(self, key: tuple[object, ...], drawing: Drawing) -> None:
        self._drawings[key] = drawing
        while len(self._drawings) > _REMEMBERED_DRAWINGS:
            self._drawings.popitem(last=False)

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

    # --- one photo ---------------------------------------------------------------------------------------------------

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
            self._want_large(hit)

    @on(LargePicture.Resized)
    def _on_large_resized(self) -> None:
        if self.detail.display and self.detail.hit:
            self._want_large(self.detail.hit)

    def _want_large(self, hit: "Hit") -> None:
        """The small one until the large one is made."""
        picture = self.detail.picture
        box = picture.box

        def done(outcome: Any) -> None:
            if self.detail.hit is None or self.detail.hit.id != hit.id or picture.box != box:
                return
            if isinstance(outcome, Drawing):
                picture.draw(outcome)
            else:
                picture.draw(None, self._sentence_of(outcome))

        self._enlarging.want(
            [Job((hit.id, box, side), self._large_work(hit, side, box), done) for side in (_SMALL, _LARGE)]
        )

    def _large_work(self, hit: "Hit", side: int, box: "Box") -> Callable[[], Drawing]:
        image_id = self.detail.picture.image_id
        return lambda: self._drawn(hit, side, box, image_id)

    # --- moving ------------------------------------------------------------------------------------------------------

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
        if self.query_one("#prompt").display:
            self._end_prompt()
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

    # --- selection ---------------------------------------------------------------------------------------------------

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
        """To the clipboard by OSC 52, which also works over ssh."""
        from rclip.search.hits import absolute

        hits = self._chosen()
        if hits and self._driver:
            text = "\n".join(absolute(hit.path) for hit in hits)
            self._driver.write(f"\x1b]52;c;{base64.b64encode(os.fsencode(text)).decode()}\a")
            self.say(texts.COPIED_PATHS.format(count="the path" if len(hits) == 1 else f"{len(hits):,} paths"))

    def action_open(self) -> None:
        from rclip.search.hits import absolute

        def opened(outcome: Any, path: str) -> None:
            if isinstance(outcome, Exception):
                self._show_failure(outcome)
            else:
                self.say(texts.OPENED.format(path=path))

        def open_one(hit: "Hit") -> None:
            path = absolute(hit.path)
            starts_ms = {path: hit.at_ms} if hit.at_ms else {}

            def work() -> None:
                self._setup.show_files([path], starts_ms)

            self._errands.want([Job(("open", path), work, lambda outcome: opened(outcome, path))])

        self._with_focused(open_one)

    def action_copy_files(self) -> None:
        hits = self._chosen()
        if hits:
            self._prompt(texts.COPY_TO.format(count=texts.photos(len(hits))), "", lambda text: self._copy(hits, text))

    def _copy(self, hits: "list[Hit]", folder: str) -> None:
        folder = os.path.expanduser(folder)

        def work() -> Any:
            os.makedirs(folder, exist_ok=True)
            return self.explorer().copy([hit.id for hit in hits], folder)

        def done(outcome: Any) -> None:
            if isinstance(outcome, OSError) and not isinstance(outcome, RclipError):
                self.say(texts.CANNOT_WRITE.format(path=folder, reason=outcome.strerror), is_error=True)
            elif isinstance(outcome, Exception):
                self._show_failure(outcome)
            elif outcome.failed:
                path, reason = outcome.failed[0]
                count = texts.photos(len(outcome.failed))
                self.say(texts.NOT_COPIED.format(count=count, path=path, reason=reason), is_error=True)
            else:
                self.say(texts.COPIED.format(count=texts.photos(len(outcome.paths)), folder=folder))

        self._errands.want([Job(("copy", folder), work, done)])

    def action_save(self) -> None:
        hits = list(self.selected.values()) or list(self.grid.hits)
        if hits:
            question = texts.SAVE_AS.format(count=texts.photos(len(hits)))
            self._prompt(question, "photos.txt", lambda text: self._save(hits, text))

    def _save(self, hits: "list[Hit]", path: str) -> None:
        """Never over a file that is there."""
        from rclip.explore import listing

        path = os.path.expanduser(path)
        try:
            with open(path, "xb") as file:
                file.write(listing.written(hits, os.path.splitext(path)[1].lower()))
        except FileExistsError:
            self.say(texts.EXISTS.format(path=path), is_error=True)
        except OSError as error:
            self.say(texts.CANNOT_WRITE.format(path=path, reason=error.strerror), is_error=True)
        else:
            self.say(texts.SAVED.format(count=texts.photos(len(hits)), path=path))

    def action_other_theme(self) -> None:
        """Dark or light."""
        names = [theme.name for theme in THEMES]
        self.theme = names[1 - names.index(self.theme)]

    # --- the last lines ----------------------------------------------------------------------------------------------

    def say(self, message: str, is_error: bool = False) -> None:
        """A line at the bottom, until the next."""
        self._message = Content.styled(printable(message), "$text-error" if is_error else "$text-accent")
        self._show_status()

    def _place(self) -> str:
        total = f"{len(self.grid.hits):,}{'+' if self._has_more else ''}"
        return f"{self.grid.cursor + 1:,} of {total}" if self.grid.hits else ""

    def _show_status(self) -> None:
        parts = [Content.styled(part, "$foreground-muted") for part in (self._place(), self._progress) if part]
        if self.selected:
            parts.insert(0, Content.styled(f"✓ {len(self.selected):,} selected", "bold $text-success"))
        if self._message:
            parts.append(self._message)
        elif not self.grid.hits and not self._is_initial and not self._is_loading:
            parts.append(Content.styled(self._why_empty(), "$foreground-muted"))
        self._main.query_one("#status", Static).update(Content("   ").join(parts), layout=False)

    @on(events.DescendantFocus)
    def _show_hints(self) -> None:
        """The keys for where the user is."""
        is_typing = isinstance(self.focused, Input)
        parts = []
        for key, meaning, action in texts.HINTS_FOR_TYPING if is_typing else texts.HINTS:
            hint = Content.assemble((key, "bold $accent"), " ", (meaning, "$foreground-muted"))
            parts.append(hint.stylize(Style.from_meta({"@click": f"app.{action}"})) if action else hint)
        self._main.query_one("#hints", Static).update(Content("   ").join(parts), layout=False)

    def _why_empty(self) -> str:
        line, filters = self._asked
        if line.strip() or filters:
            return texts.NOTHING
        return texts.NO_PHOTOS_YET if self._progress else texts.NO_PHOTOS

    def _prompt(self, question: str, answer: str, then: Callable[[str], None]) -> None:
        self._prompted = then
        self._main.query_one("#prompt-label", Label).update(question)
        field = self._main.query_one("#answer", Input)
        field.value = answer
        self._main.query_one("#status").display = False
        self._main.query_one("#prompt").display = True
        field.focus()

    def _end_prompt(self) -> None:
        self._main.query_one("#prompt").display = False
        self._main.query_one("#status").display = True
        self._prompted = None
        (self.detail if self.detail.display else self.grid).focus()

    @on(Input.Submitted, "#answer")
    def _on_answer(self, event: Input.Submitted) -> None:
        then, text = self._prompted, event.value.strip()
        self._end_prompt()
        if then and text:
            then(text)

    @on(events.Click, "#terms")
    def _on_terms_clicked(self) -> None:
        self.grid.focus()

    # --- the update of the index -------------------------------------------------------------------------------------

    def _watch_update(self, number: int) -> None:
        explorer = self.explorer()

        def done(outcome: Any) -> None:
            if isinstance(outcome, Exception):
                self._show_failure(outcome)
            else:
                self._show_update(outcome, number)

        self._watching.want([Job(("update", number), lambda: explorer.updates.wait(number, _UPDATE_WAIT_S), done)])

    def _show_update(self, state: "UpdateState", number: int) -> None:
        if state.is_running:
            self._progress = _progress(state)
            if state.number != number and state.stage == "reading" and state.number % _REFRESH_EVERY == 0:
                self._repeat_search()
            self._show_status()
            self._watch_update(state.number)
            return
        self._progress = ""
        if state.error:
            self.say(self._setup.sentence(state.error), is_error=True)
        elif state.changes:
            changes = ", ".join(texts.CHANGES[name].format(f"{count:,}") for name, count in state.changes.items())
            self.say(texts.UPDATED.format(changes=changes))
            self._repeat_search()
        self._show_status()

    def _repeat_search(self) -> None:
        """For photos that were indexed since."""
        if not self._is_loading:
            self._want_results(0, count=max(_PAGE, len(self.grid.hits)))


def _photo_term(hit: "Hit", sign: float) -> "AskedTerm":
    from rclip.explore.request import AskedTerm

    return AskedTerm(float(sign), "photo", hit.id)


def _progress(state: "UpdateState") -> str:
    stage = texts.UPDATE_STAGES.get(state.stage, "")
    if not stage or not state.total:
        return f"{stage} …" if stage else ""
    return f"{stage} {state.done:,} of {state.total:,}"
