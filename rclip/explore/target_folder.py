"""The folder that photos are put into: which may be, how it is opened, and how it is kept out of the library.

It may hold anybody's files: no link in it is followed.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from rclip import isolation
from rclip.errors import CannotWriteTo, TargetIsSearched, plain_reason
from rclip.files import INDEX_FOLDER
from rclip.ignoring import IGNORE_FILE

IsTarget = Callable[[os.stat_result], bool]
"""Whether the open folder is the one to copy to."""


def any_folder(_: os.stat_result) -> bool:
    """Whichever is there."""
    return True


def this_folder(path: str) -> IsTarget:
    """The one that is there now, and none that is put in its place later. Raises OSError."""
    return partial(os.path.samestat, os.stat(path))


def require_target(folder: str, searched: Sequence[str]) -> None:
    """Raises `TargetIsSearched` for one of the folders that are searched, and `CannotWriteTo` for an index's own."""
    real = os.path.realpath(folder)
    if real in searched:
        raise TargetIsSearched(folder=folder)
    if os.fsdecode(INDEX_FOLDER) in real.split(os.sep):
        raise CannotWriteTo(folder=folder, reason="it belongs to an index; choose another")


def open_target(folder: str, is_target: IsTarget) -> int:
    """Its descriptor. Raises `CannotWriteTo`."""
    try:
        target = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise CannotWriteTo(folder=folder, reason=plain_reason(error)) from error
    if not is_target(os.fstat(target)):
        os.close(target)
        raise CannotWriteTo(folder=folder, reason="another folder has taken its place")
    return target


@contextmanager
def folder_in(target: int, inside: str) -> Iterator[int]:
    """A folder below the target, made where it is missing. Raises OSError; no link is followed."""
    here = os.dup(target)
    try:
        for name in inside.split(os.sep) if inside else ():
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=here)
            try:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            except OSError as error:
                if stat.S_ISDIR(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode):
                    raise
                raise OSError(f"{name} is in the way") from error
            os.close(here)
            here = below
        yield here
    finally:
        os.close(here)


def leave_out(folder: str) -> bool:
    """Has no walk of a folder above index this one, by a line in the ignore file beside it.

    If it is searched itself, its photos are found all the same. Returns False where the folder has files already, which
    may be indexed photos, and no such line. Raises OSError where the ignore file cannot be read or written.
    """
    parent, name = os.path.split(os.path.realpath(os.fsencode(folder)))
    line = b"/" + re.sub(rb"([\\*?\[])", rb"\\\1", name) + b"/"
    path = os.path.join(parent, IGNORE_FILE)
    known = _content(path)
    if line in known.split(b"\n"):
        return True
    with os.scandir(folder) as entries:
        if any(True for _ in entries):
            return False
    if b"\n" in name or len(known) + len(line) > _MOST_IGNORE_BYTES:
        raise OSError("its name has no line" if b"\n" in name else "the ignore file is too long")
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    with open(os.open(path, flags, 0o644), "ab") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise OSError("the ignore file is a file of another name, too")
        file.write((b"" if not known or known.endswith(b"\n") else b"\n") + line + b"\n")
    return True


_MOST_IGNORE_BYTES = 60_000


def _content(path: bytes) -> bytes:
    """Of an ignore file; empty where there is none. Raises OSError."""
    try:
        with open(path, "rb", opener=isolation.open_itself) as file:
            return file.read(_MOST_IGNORE_BYTES + 1)
    except FileNotFoundError:
        return b""
