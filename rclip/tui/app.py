"""The interface as a Textual application, from its start to its end.

Everything that may take time is done by threads (`workers`): the search, thumbnails, copies, the update of the index.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import App
from textual.binding import Binding
from textual.message import Message
from textual.screen import Screen

from rclip import signals
from rclip.errors import RclipError
from rclip.tui import texts
from rclip.tui.main_screen import MainScreen
from rclip.tui.pictures import Painter, PictureArea
from rclip.tui.style import CSS, THEMES
from rclip.tui.workers import Workers

if TYPE_CHECKING:
    from textual.drivers.linux_driver import LinuxDriver

    from rclip.search.hits import Hit
    from rclip.terminal import probe
    from rclip.tui.setup import Setup

_PAINT_AFTER_S = 0.02


class _Done(Message):
    """A thread has something for the application."""

    def __init__(self, call: Callable[[], None]):
        super().__init__()
        self.call = call


class Interface(App[None]):
    """The main screen, pictures among its widgets, and threads that call it."""

    CSS = CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [  # noqa: RUF012 - Textual's way
        Binding("ctrl+c", "abort", show=False, priority=True),
        Binding("q,ctrl+q", "leave", show=False),
        Binding("t", "other_theme", show=False),
    ]

    def __init__(self, setup: "Setup", screen: "probe.Screen", driver_class: "type[LinuxDriver] | None" = None):
        super().__init__(driver_class=driver_class)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        self._setup = setup
        self._painter = Painter(screen)
        self._will_paint = False
        self._error: RclipError | None = None
        self._is_aborted = self._is_warned = False
        self.selected: dict[str, Hit] = {}
        self._background = Workers(setup, self._deliver, self._notify_from_thread)
        self._terminal = screen

    def get_default_screen(self) -> MainScreen:
        """Textual asks for it when the application runs: widgets cannot be made before."""
        return MainScreen(self._setup, self._terminal, self._background, self.selected, self._give_up)

    @property
    def main(self) -> MainScreen:
        """Also while the help is shown."""
        screen = self.screen_stack[0]
        assert isinstance(screen, MainScreen)
        return screen

    # --- from start to end -------------------------------------------------------------------------------------------

    def browse(self) -> "list[Hit] | None":
        """Runs until the user leaves; see `tui.browse`."""
        try:
            with signals.handled(self._stop):
                self.run()
        finally:
            self.close()
        if self._error:
            raise self._error
        if self._exception:
            raise self._exception
        return None if self._is_aborted else list(self.selected.values())

    def close(self) -> None:
        """After its end."""
        self._background.close()

    def _stop(self) -> None:
        """Called by a signal, in between any two steps of this thread."""
        if self._loop:
            self._loop.call_soon_threadsafe(self.exit)

    def _give_up(self, error: Exception) -> None:
        assert isinstance(error, RclipError)
        self._error = error
        self.exit()

    def action_leave(self) -> None:
        """Not at once while photos are copied: that would end it in the middle."""
        if self._background.copying.is_busy and not self._is_warned:
            self._is_warned = True
            self.main.say(texts.STILL_COPYING, is_error=True)
        else:
            self.exit()

    def action_abort(self) -> None:
        self._is_aborted = True
        self.exit()

    def action_other_theme(self) -> None:
        """Dark or light."""
        names = [theme.name for theme in THEMES]
        self.theme = names[1 - names.index(self.theme)]

    # --- threads -----------------------------------------------------------------------------------------------------

    def _notify_from_thread(self, said: str | RclipError) -> None:
        self._deliver(lambda: self.main.say(said if isinstance(said, str) else self._setup.sentence(said)))

    def _deliver(self, call: Callable[[], None]) -> None:
        self.post_message(_Done(call))

    @on(_Done)
    def _on_done(self, event: _Done) -> None:
        event.call()

    # --- pictures ----------------------------------------------------------------------------------------------------

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
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
