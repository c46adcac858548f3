"""Names for photos in a folder in which others may have theirs already: none is taken from another file."""

import os
from collections.abc import Hashable
from contextlib import suppress
from typing import Protocol

_MOST_OF_ONE_NAME = 1_000_000
_NAME_BYTES = 255  # of most file systems


class Placeable(Protocol):
    """A photo, or a link to one, that is to be put into a folder that is open."""

    @property
    def marks(self) -> tuple[Hashable, ...]:
        """What has none of them is not the same."""

    def mark_of(self, name: str) -> Hashable:
        """Of what has that name there. Raises OSError for what cannot be the same, and where nothing has it."""

    def is_same(self, name: str) -> bool:
        """Whether what has that name there, and one of the marks, is this photo or its copy."""

    def put(self, name: str) -> None:
        """Raises FileExistsError where something has that name, and OSError."""


class FreeNames:
    """Those that photos of one name may get in one folder. None is looked at twice: ten thousand may be `cover.jpg`."""

    def __init__(self, name: str):
        self._name = name
        self._number = 1
        """Of the first that has not been looked at."""
        self._given: list[str] = []
        """To photos, and not looked at since."""
        self._taken: dict[Hashable, list[str]] = {}
        """The others, by the marks of what has them."""

    def take(self, photo: Placeable) -> tuple[str, bool]:
        """Puts a photo under the first free name; returns that, and whether it was there already. Raises OSError."""
        if (found := self._of_same(photo)) is not None:
            return found, True
        while self._number < _MOST_OF_ONE_NAME:
            name = _numbered(self._name, self._number)
            is_free = _is_free(photo, name)
            self._number += 1
            if is_free:
                self._given.append(name)
                return name, False
            if self._look(photo, name) in photo.marks and photo.is_same(name):
                return name, True
        raise OSError("too many files of this name")

    def _of_same(self, photo: Placeable) -> str | None:
        """The name of the photo, or of its copy, among those that are taken."""
        while self._given:
            self._look(photo, self._given.pop())
        alike = (name for mark in photo.marks for name in self._taken.get(mark, ())) if self._taken else ()
        return next(filter(photo.is_same, alike), None)

    def _look(self, photo: Placeable, name: str) -> Hashable:
        with suppress(OSError):
            mark = photo.mark_of(name)
            self._taken.setdefault(mark, []).append(name)
            return mark
        return None


def _is_free(photo: Placeable, name: str) -> bool:
    """Whether the photo could be put there, and is by now. Raises OSError."""
    try:
        photo.put(name)
    except FileExistsError:
        return False
    return True


def _numbered(name: str, number: int) -> str:
    """`a.jpg`, `a (2).jpg` and so on, none longer than a name may be."""
    if number == 1:
        return name
    stem, ending = os.path.splitext(name)
    last = f" ({number}){ending}"
    while stem and len(os.fsencode(stem + last)) > _NAME_BYTES:
        stem = stem[:-1]
    return stem + last
