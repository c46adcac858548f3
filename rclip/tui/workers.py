"""The threads of the interface, and the photos that they share."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from rclip.cores import CORES
from rclip.errors import RclipError
from rclip.tui.jobs import Jobs
from rclip.tui.opened import Opened

if TYPE_CHECKING:
    from rclip.tui.setup import Setup


class Workers:
    """A kind of threads for each kind of work, so that none waits for another."""

    def __init__(
        self,
        setup: "Setup",
        deliver: Callable[[Callable[[], None]], None],
        notify: Callable[[str | RclipError], None],
    ):
        """`deliver` as for `Jobs`, `notify` as for `Opened`."""
        self.opened = Opened(setup, notify)
        self.searching = Jobs(1, deliver)
        self.drawing = Jobs(min(4, CORES + 1), deliver)
        self.enlarging = Jobs(1, deliver)
        self.errands = Jobs(2, deliver)
        self.copying = Jobs(1, deliver)
        self.watching = Jobs(1, deliver)

    def close(self) -> None:
        """Begins nothing more, and closes the photos."""
        for jobs in (self.searching, self.drawing, self.enlarging, self.errands, self.copying, self.watching):
            jobs.close()
        self.opened.close()
