"""What is done with the photos that were chosen: they are copied, listed in a file, or opened."""

import base64
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rclip.errors import RclipError
from rclip.search.hits import absolute
from rclip.tui import texts
from rclip.tui.jobs import Job, Jobs
from rclip.tui.opened import Opened

if TYPE_CHECKING:
    from rclip.search.hits import Hit
    from rclip.tui.setup import Setup


class Errands:
    """In threads, where they take time; each says how it ended."""

    def __init__(
        self,
        setup: "Setup",
        opened: Opened,
        jobs: Jobs,
        say: Callable[[str, bool], None],
        show_failure: Callable[[Exception], None],
    ):
        """`say` is given a line, and whether it is an error; `show_failure` an error that was raised."""
        self._setup = setup
        self._opened = opened
        self._jobs = jobs
        self._say = say
        self._show_failure = show_failure

    def copy_paths(self, hits: "Sequence[Hit]", write: Callable[[str], object]) -> None:
        """To the clipboard by OSC 52, which also works over ssh; `write` sends it to the terminal."""
        text = "\n".join(absolute(hit.path) for hit in hits)
        write(f"\x1b]52;c;{base64.b64encode(os.fsencode(text)).decode()}\a")
        self._say(texts.COPIED_PATHS.format(count="the path" if len(hits) == 1 else f"{len(hits):,} paths"), False)

    def open(self, hit: "Hit") -> None:
        """In the desktop's viewer."""
        path = absolute(hit.path)
        starts_ms = {path: hit.at_ms} if hit.at_ms else {}

        def done(outcome: Any) -> None:
            if isinstance(outcome, Exception):
                self._show_failure(outcome)
            else:
                self._say(texts.OPENED.format(path=path), False)

        self._jobs.want([Job(("open", path), lambda: self._setup.show_files([path], starts_ms), done)])

    def copy_files(self, hits: "Sequence[Hit]", folder: str) -> None:
        """Into the folder, which is made if it is missing."""
        folder = os.path.expanduser(folder)

        def work() -> Any:
            os.makedirs(folder, exist_ok=True)
            return self._opened.explorer().copy([hit.id for hit in hits], folder)

        def done(outcome: Any) -> None:
            if isinstance(outcome, OSError) and not isinstance(outcome, RclipError):
                self._say(texts.CANNOT_WRITE.format(path=folder, reason=outcome.strerror), True)
            elif isinstance(outcome, Exception):
                self._show_failure(outcome)
            elif outcome.failed:
                path, reason = outcome.failed[0]
                count = texts.photos(len(outcome.failed))
                self._say(texts.NOT_COPIED.format(count=count, path=path, reason=reason), True)
            else:
                self._say(texts.COPIED.format(count=texts.photos(len(outcome.paths)), folder=folder), False)

        self._jobs.want([Job(("copy", folder), work, done)])

    def save(self, hits: "Sequence[Hit]", path: str) -> None:
        """A list of them, never over a file that is there."""
        from rclip.explore import listing

        path = os.path.expanduser(path)
        try:
            with open(path, "xb") as file:
                file.write(listing.written(hits, os.path.splitext(path)[1].lower()))
        except FileExistsError:
            self._say(texts.EXISTS.format(path=path), True)
        except OSError as error:
            self._say(texts.CANNOT_WRITE.format(path=path, reason=error.strerror), True)
        else:
            self._say(texts.SAVED.format(count=texts.photos(len(hits)), path=path), False)
