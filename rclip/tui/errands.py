"""What is done with the photos that were chosen: they are copied, listed in a file, or opened."""

import base64
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rclip import datadir
from rclip.errors import RclipError, plain_reason
from rclip.search.hits import absolute
from rclip.tui import texts
from rclip.tui.jobs import Job
from rclip.tui.workers import Workers

if TYPE_CHECKING:
    from rclip.search.hits import Hit
    from rclip.tui.setup import Setup


Ask = Callable[[str, str, Callable[[str], None]], None]
"""Is given a question, an answer to start from, and what to call with the user's own."""


class Errands:
    """In threads, where they take time; each says how it ended."""

    def __init__(
        self,
        setup: "Setup",
        workers: Workers,
        say: Callable[[str, bool], None],
        show_failure: Callable[[Exception], None],
    ):
        """`say` is given a line, and whether it is an error; `show_failure` an error that was raised."""
        self._setup = setup
        self._workers = workers
        self._say = say
        self._show_failure = show_failure

    def copy_paths(self, hits: "Sequence[Hit]", write: Callable[[str], object]) -> None:
        """To the clipboard by OSC 52, which also works over ssh; `write` sends it to the terminal."""
        if not hits:
            return
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

        self._workers.errands.want([Job(("open", path), lambda: self._setup.show_files([path], starts_ms), done)])

    def ask_where_to_copy(self, hits: "Sequence[Hit]", ask: Ask) -> None:
        """And copies their files there."""
        if hits:
            ask(texts.COPY_TO.format(count=texts.photos(len(hits))), "", lambda folder: self._copy(hits, folder))

    def _copy(self, hits: "Sequence[Hit]", folder: str) -> None:
        """Into the folder, which is made if it is missing."""
        folder = os.path.expanduser(folder)

        def work() -> Any:
            os.makedirs(folder, exist_ok=True)
            return self._workers.opened.explorer().copy([hit.id for hit in hits], folder)

        def done(outcome: Any) -> None:
            if isinstance(outcome, OSError | ValueError) and not isinstance(outcome, RclipError):
                self._say(texts.CANNOT_WRITE.format(path=folder, reason=plain_reason(outcome)), True)
            elif isinstance(outcome, Exception):
                self._show_failure(outcome)
            elif outcome.failed:
                path, reason = outcome.failed[0]
                count = texts.photos(len(outcome.failed))
                self._say(texts.NOT_COPIED.format(count=count, path=path, reason=reason), True)
            else:
                self._say(texts.COPIED.format(count=texts.photos(len(outcome.paths)), folder=folder), False)

        self._workers.copying.add(Job(object(), work, done))

    def ask_where_to_save(self, hits: "Sequence[Hit]", ask: Ask) -> None:
        """And writes a list of them there."""
        if hits:
            question = texts.SAVE_AS.format(count=texts.photos(len(hits)))
            ask(question, "photos.txt", lambda path: self._save(hits, path))

    def _save(self, hits: "Sequence[Hit]", path: str) -> None:
        """A list of them, never over a file that is there."""
        from rclip.explore import listing

        path = os.path.expanduser(path)
        try:
            datadir.write_new(path, listing.written(hits, os.path.splitext(path)[1].lower()))
        except FileExistsError:
            self._say(texts.EXISTS.format(path=path), True)
        except (OSError, ValueError) as error:  # ValueError: a NUL, which may be pasted
            self._say(texts.CANNOT_WRITE.format(path=path, reason=plain_reason(error)), True)
        else:
            self._say(texts.SAVED.format(count=texts.photos(len(hits)), path=path), False)
