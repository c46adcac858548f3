"""Photos put into a folder that their user has named: copied, or linked to. Nothing that is there is overwritten.

The folder may hold anybody's files: below it no link is followed, and a file there counts as a copy only if it has the
photo's bytes.
"""

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rclip import isolation
from rclip.datadir import TEMPORARY
from rclip.errors import NotAFolder, is_full, plain_reason
from rclip.ignoring import IGNORE_FILE
from rclip.search.hits import absolute

if TYPE_CHECKING:
    from rclip.search.hits import Hit


class Copied(NamedTuple):
    """What has become of the photos that were to be copied, or linked to."""

    paths: list[str]
    """Of the copies, also of those that were there already."""
    failed: list[tuple[str, str]]
    """Photos that could not be copied, and why."""
    present: int = 0
    """How many copies were there already."""


def copy(
    paths: Sequence[str],
    folder: str,
    names: Sequence[str] | None = None,
    is_meant: "IsMeant" = lambda path, status: True,
) -> Copied:
    """Copies the files, each under its own name or one of `names`, which may have folders: `2019/a.jpg`.

    If that name is taken, `a (2).jpg` is next, unless the same bytes are there already. A file that `is_meant` says no
    to is not copied. Raises `UsageError`.
    """
    return _put(paths, folder, names, partial(_copy, is_meant))


IsMeant = Callable[[str, os.stat_result], bool]
"""Whether the open file of that path is the one to copy."""


def found_by(hits: Iterable["Hit"], folders: Sequence[str]) -> IsMeant:
    """Of photos found in the folders, which are absolute and without links: no link leads out of these by now.

    One that did so when the photo was indexed still leads to the same file.
    """
    known = {absolute(hit.path): (hit.size_bytes, hit.mtime_ns) for hit in hits}
    starts = tuple(os.path.join(folder, "") for folder in folders)

    def is_meant(path: str, status: os.stat_result) -> bool:
        if (status.st_size, status.st_mtime_ns) == known[path]:
            return True
        real = os.path.realpath(path)
        return real.startswith(starts) and os.path.samestat(status, os.lstat(real))

    return is_meant


def link(paths: Sequence[str], folder: str, names: Sequence[str] | None = None) -> Copied:
    """The same with symbolic links to the files, whose `paths` are absolute."""
    return _put(paths, folder, names, _link)


def inner_path(path: str, folders: Iterable[str]) -> str:
    """The path of a photo from the first of the folders that it lies in, which are absolute and without links."""
    folder, name = os.path.split(path)
    real = os.path.join(os.path.realpath(folder), name)
    starts = (os.path.join(each, "") for each in folders)
    return next((real.removeprefix(start) for start in starts if real.startswith(start)), name)


_Place = Callable[[str, str, int], bool]
"""Puts the file of a path under a name into a folder that is open. Returns whether it was there already.

Raises FileExistsError where something else has that name, and OSError.
"""


def _put(paths: Sequence[str], folder: str, names: Sequence[str] | None, place: _Place) -> Copied:
    if not os.path.isdir(folder):
        raise NotAFolder(path=folder)
    target = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    done: list[str] = []
    failed: list[tuple[str, str]] = []
    present = 0
    reason = ""
    try:
        for path, name in zip(paths, names or map(os.path.basename, paths), strict=True):
            if reason:
                failed.append((path, reason))
                continue
            try:
                found, was_there = _under_free_name(path, name, target, place)
            except OSError as error:
                failed.append((path, plain_reason(error)))
                reason = plain_reason(error) if is_full(error) else ""  # the others would fill it, too
            else:
                done.append(os.path.join(folder, found))
                present += was_there
    finally:
        os.close(target)
    return Copied(done, failed, present)


def _under_free_name(path: str, name: str, target: int, place: _Place) -> tuple[str, bool]:
    """The name that it has got, and whether it was there already. Raises OSError."""
    inside, name = os.path.split(name)
    with _folder_in(target, inside) as folder:
        for candidate in _names_like(name):
            with suppress(FileExistsError):
                return os.path.join(inside, candidate), place(path, candidate, folder)
    raise OSError("too many files of this name")


@contextmanager
def _folder_in(target: int, inside: str) -> Iterator[int]:
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


_MOST_OF_ONE_NAME = 10_000
_NAME_BYTES = 255  # of most file systems


def _names_like(name: str) -> Iterator[str]:
    """`a.jpg`, `a (2).jpg` and so on, none longer than a name may be."""
    yield name
    stem, ending = os.path.splitext(name)
    for number in range(2, _MOST_OF_ONE_NAME):
        last = f" ({number}){ending}"
        while stem and len(os.fsencode(stem + last)) > _NAME_BYTES:
            stem = stem[:-1]
        yield stem + last


# --- copies ----------------------------------------------------------------------------------------------------------


def _copy(is_meant: IsMeant, path: str, name: str, folder: int) -> bool:
    """Whole or not at all: its bytes are written under another name first."""
    with open(path, "rb", opener=isolation.open_regular) as source:
        if not is_meant(path, os.fstat(source.fileno())):
            raise OSError("a link leads out of the folder that was searched")
        try:
            claim = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666, dir_fd=folder)
        except FileExistsError:
            if _has_bytes_of(source, name, folder):
                return True
            raise
        temporary = f"{TEMPORARY}{os.urandom(8).hex()}"
        try:
            mode = stat.S_IMODE(os.fstat(claim).st_mode)
            os.close(claim)
            _write(source, temporary, mode, folder)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            for made in (temporary, name):
                with suppress(OSError):
                    os.unlink(made, dir_fd=folder)
            raise
    return False


def _write(source: BinaryIO, name: str, mode: int, folder: int) -> None:
    descriptor = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, mode, dir_fd=folder)
    with open(descriptor, "wb") as file:
        shutil.copyfileobj(source, file, _CHUNK_BYTES)
        file.flush()
        status = os.fstat(source.fileno())
        os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


_CHUNK_BYTES = 1 << 20


def _has_bytes_of(source: BinaryIO, name: str, folder: int) -> bool:
    """Whether a regular file of that name has the same bytes. The source stands at its start, and does again."""
    with suppress(OSError), open(name, "rb", opener=isolation.open_itself_in(folder)) as other:
        if os.fstat(other.fileno()).st_size != os.fstat(source.fileno()).st_size:
            return False
        try:
            while chunk := source.read(_CHUNK_BYTES):
                if other.read(len(chunk)) != chunk:
                    return False
            return True
        finally:
            source.seek(0)
    return False


# --- links -----------------------------------------------------------------------------------------------------------


def _link(path: str, name: str, folder: int) -> bool:
    os.stat(path)  # a photo that has gone is reported, as when it is to be copied
    try:
        os.symlink(path, name, dir_fd=folder)
    except FileExistsError:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            is_same = os.readlink(name, dir_fd=folder) == path
        else:
            is_same = os.path.samestat(found, os.stat(path))
        if is_same:
            return True
        raise
    return False


# --- the folder's place in the library -------------------------------------------------------------------------------


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
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    with open(descriptor, "ab") as file:
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
