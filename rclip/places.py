"""Where the index of a folder lies: in a `.rclip` in it or above it, as git finds its own, else in the user's folder.

An index in a `.rclip` keeps paths relative to the folder that this lies in, its root, so that the two can go anywhere
together. It is as open to others as that folder is, while the user's own is private.
"""

import os
import stat
from contextlib import suppress
from typing import NamedTuple

from rclip.errors import UsageError, plain_reason

NAME = b".rclip"


class Folder(NamedTuple):
    """A directory as it is and as the user named it, both with a slash behind."""

    real: bytes
    spelled: bytes


def resolve(spelled: bytes) -> Folder:
    """The directory of that name, the current one for an empty one. Raises `UsageError`."""
    try:
        real = os.path.realpath(spelled)
    except (OSError, ValueError) as error:  # the current folder was deleted; a NUL
        raise UsageError(f"cannot tell where {os.fsdecode(spelled) or '.'} is: {plain_reason(error)}") from error
    if not os.path.isdir(real):
        what = "is a file, not a folder" if os.path.exists(real) else "does not exist"
        raise UsageError(f"{os.fsdecode(spelled)} {what}")
    return Folder(_with_slash(real), _with_slash(spelled) if spelled else b"")


def _with_slash(path: bytes) -> bytes:
    return path if path.endswith(b"/") else path + b"/"


class Place(NamedTuple):
    """A folder that holds indexes, and what their paths are relative to."""

    folder: str
    root: bytes
    """Absolute, with links resolved and no slash behind; empty for the user's own, whose paths begin at `/`."""
    is_own: bool

    @property
    def argument(self) -> str:
        """What a command line needs behind its options to mean this place; nothing for the user's own."""
        if self.is_own:
            return ""
        from shlex import quote

        return f" {quote(os.fsdecode(self.root or b'/'))}"


def place_of(directory: bytes, own: str) -> Place:
    """The nearest place at or above `directory`, which is absolute and without links; else the user's `own`."""
    root = directory.rstrip(b"/")
    while True:
        folder = root + b"/" + NAME
        if is_place(folder):
            return Place(os.fsdecode(folder), root, is_own=False)
        if not root:
            return Place(own, b"", is_own=True)
        root = root[: root.rindex(b"/")]


def make(directory: bytes) -> tuple[str, bool]:
    """Makes a place of `directory`; returns its folder, and whether there was none before. Raises `UsageError`."""
    folder = resolve(directory).real + NAME
    try:
        mode = os.stat(os.path.dirname(folder)).st_mode
        mode &= 0o2755 if mode & stat.S_ISVTX else 0o2777  # where all may write but not to what others have, nor here
        os.mkdir(folder, mode)
        with suppress(OSError):  # beyond what the umask leaves; not every file system knows modes
            os.chmod(folder, mode)
    except OSError as error:
        if is_place(folder):
            return os.fsdecode(folder), False
        raise UsageError(f"cannot make {os.fsdecode(folder)}: {plain_reason(error)}") from error
    return os.fsdecode(folder), True


def is_place(folder: bytes) -> bool:
    """Whether it is a place, and one made by whom the photos belong to, the user, or root.

    Anybody may make a folder in `/tmp`, and would be told in their index of all that others keep there.
    """
    try:
        status = os.lstat(folder)
        if not stat.S_ISDIR(status.st_mode):
            return False
        return status.st_uid in (0, os.geteuid(), os.stat(os.path.dirname(folder)).st_uid)
    except OSError:
        return False
