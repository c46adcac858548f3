"""Which photos of one index a call is about: those in the folders it names, but for the ones that its rules ignore."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from rclip.ignoring import IgnoreRules, TreeRules
from rclip.index.location import Folder


class Scope(NamedTuple):
    """Folders, all of one index, and the rules of the walk through them."""

    folders: Sequence[Folder]
    rules: IgnoreRules
    has_videos: bool = True
    """Whether films are looked for and found."""

    def ranges(self) -> list[bytes]:
        """The folders without those that lie inside another of them."""
        distinct = sorted({folder.real for folder in self.folders})
        return [real for real in distinct if not any(real.startswith(o) for o in distinct if o != real)]

    def walked(self, rules_of: Callable[[bytes, IgnoreRules], TreeRules]) -> list[bytes]:
        """The folders to walk: hidden ones that are named, too, which an outer walk does not reach.

        `rules_of` gives the rules in and below a folder.
        """
        ranges = self.ranges()
        inside = sorted({folder.real for folder in self.folders}.difference(ranges))
        around = {real: next(outer for outer in ranges if real.startswith(outer)) for real in inside}
        return ranges + [
            real for real in inside if rules_of(around[real], self.rules).ignores_folder(real[len(around[real]) :])
        ]

    def inside(self, path: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Each of the folders that the path lies in, and the path relative to it."""
        return ((folder.real, path[len(folder.real) :]) for folder in self.folders if path.startswith(folder.real))

    def names(self) -> dict[bytes, set[str]]:
        """The absolute paths by which each folder can be reached: its own, and the one that the user named it by."""
        names: defaultdict[bytes, set[str]] = defaultdict(set)
        for folder in self.folders:
            spelled = os.fsdecode(folder.spelled)
            names[folder.real] |= {
                os.fsdecode(folder.real),
                *(os.path.normpath(os.path.join(here, spelled)) for here in _names_of_current_folder()),
            }
        return dict(names)


def _names_of_current_folder() -> Iterator[str]:
    """Its real path and, where the shell came to it over a link, the path over that link."""
    yield os.getcwd()
    named = os.environ.get("PWD", "")
    with suppress(OSError, ValueError):
        if os.path.isabs(named) and os.path.samefile(named, os.curdir):
            yield named
