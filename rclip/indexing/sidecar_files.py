"""The sidecars that a walk has come by, and the state that each was in."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from rclip.files import SEPARATOR, stat_fields
from rclip.photo.sidecar_names import sidecars_of

_READER = b"1"
"""Another one where more is read of sidecars, so that all are read again."""


class BesidePhoto(NamedTuple):
    """The sidecars of a photo."""

    names: tuple[bytes, ...]
    """In its folder, the most particular one first."""
    state: bytes
    """Names, sizes and times: of an equal state they are taken to be the same. Never empty."""


class SidecarFiles:
    """What a walk notes, from several threads at once."""

    def __init__(self) -> None:
        self.found: dict[bytes, BesidePhoto] = {}
        """By the paths of photos."""
        self.folders: set[bytes] = set()
        """All that were listed; of photos elsewhere nothing is known."""

    def note(self, folder: bytes, photos: Iterable[bytes], files: Sequence["os.DirEntry[str]"]) -> None:
        """A folder has been listed, and is open. `photos` has its entries, folders with a slash; some of `files` may be
        sidecars.
        """
        self.folders.add(folder)
        own = [name for name in photos if not name.endswith(SEPARATOR)] if files else ()
        if own:  # a folder may hold a million files of JSON and no photo
            entries = {os.fsencode(entry.name): entry for entry in files}
            for photo, names in sidecars_of(own, entries):
                states = {name: state for name in names if (state := _state_of(entries[name]))}
                if states:
                    self.found[folder + photo] = BesidePhoto(tuple(states), b"\0".join([_READER, *states.values()]))


def _state_of(entry: "os.DirEntry[str]") -> bytes:
    """Empty for what is no regular file."""
    with suppress(OSError):
        if entry.is_file(follow_symlinks=False):
            size_bytes, mtime_ns, *_, ctime_ns = stat_fields(entry.stat(follow_symlinks=False))
            return b"%s\0%d %d %d" % (os.fsencode(entry.name), size_bytes, mtime_ns, ctime_ns)
    return b""
