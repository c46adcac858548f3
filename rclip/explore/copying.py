"""Photos put into a folder that their user has named: copied, or linked to. Nothing that is there is overwritten.

The folder may hold anybody's files: below it no link is followed, and a file there counts as a copy only if it has the
photo's bytes.
"""

import errno
import io
import os
import stat
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rclip import datadir, isolation
from rclip.errors import is_full, plain_reason
from rclip.explore.free_names import FreeNames, Placeable
from rclip.explore.target_folder import IsTarget, any_folder, folder_in, open_target
from rclip.files import digest_of, suffix
from rclip.photo.failures import DecodeError
from rclip.photo.file_sizes import require_plausible
from rclip.search.hits import absolute

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rclip.search.hits import Hit


class Copied(NamedTuple):
    """What has become of the photos that were to be copied, or linked to."""

    paths: list[str]
    """Of the copies, also of those that were there already."""
    failed: list[tuple[str, str]]
    """Photos that could not be copied, and why."""
    present: int = 0
    """How many copies were there already."""


IsMeant = Callable[[str, os.stat_result], bool]
"""Whether the open file of that path is the one to copy."""


class Care(NamedTuple):
    """What is looked at before and while photos are copied."""

    is_meant: IsMeant = lambda path, status: True
    """A file that it says no to is not copied."""
    is_target: IsTarget = any_folder
    is_ended: Callable[[], bool] = lambda: False
    """Whether to stop, and leave nothing that is half done."""


def copy(paths: Sequence[str], folder: str, names: Sequence[str] | None = None, care: Care = Care()) -> Copied:  # noqa: B008 - it is a constant
    """Copies the files, each under its own name or one of `names`, which may have folders: `2019/a.jpg`.

    If that name is taken, `a (2).jpg` is next, unless the same bytes are there already. A copy is no more open to
    others than the photo. Raises `CannotWriteTo`.
    """
    return _put(paths, folder, names, partial(_opened, care), care)


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
    return _put(paths, folder, names, _linked, Care())


def inner_path(path: str, folders: Iterable[str]) -> str:
    """The path of a photo from the first of the folders that it lies in, which are absolute and without links."""
    folder, name = os.path.split(path)
    real = os.path.join(os.path.realpath(folder), name)
    starts = (os.path.join(each, "") for each in folders)
    return next((real.removeprefix(start) for start in starts if real.startswith(start)), name)


_Opener = Callable[[str, int], "AbstractContextManager[Placeable]"]
"""From a path and a folder that is open. Raises OSError."""


def _put(paths: Sequence[str], folder: str, names: Sequence[str] | None, opened: _Opener, care: Care) -> Copied:
    target = open_target(folder, care.is_target)
    done: list[str] = []
    failed: list[tuple[str, str]] = []
    present = 0
    reason = ""
    known: dict[str, FreeNames] = {}
    swept: set[str] = set()
    try:
        for path, name in zip(paths, names or map(os.path.basename, paths), strict=True):
            if reason:
                failed.append((path, reason))
                continue
            inside, name = os.path.split(name)
            likes = known.setdefault(os.path.join(inside, name), FreeNames(name))
            try:
                with folder_in(target, inside) as below, opened(path, below) as photo:
                    if inside not in swept:
                        swept.add(inside)
                        datadir.sweep_in(below)
                    found, was_there = likes.take(photo)
            except OSError as error:
                failed.append((path, plain_reason(error)))
                is_for_all = is_full(error) and error.errno != errno.EFBIG  # FAT has no files of 4 GB
                is_over = is_for_all or care.is_ended()
                reason = plain_reason(error) if is_over else ""
            else:
                done.append(os.path.join(folder, inside, found))
                present += was_there
    finally:
        os.close(target)
    return Copied(done, failed, present)


# --- copies ----------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(care: Care, path: str, folder: int) -> Iterator[Placeable]:
    with open(path, "rb", opener=isolation.open_regular) as source:
        if not care.is_meant(path, os.fstat(source.fileno())):
            raise OSError("a link leads out of the folder that was searched")
        try:
            require_plausible(source, suffix(os.fsencode(path)))
        except DecodeError as error:
            raise OSError(str(error)) from error
        copied = _Copy(source, folder, care.is_ended)
        try:
            yield copied
        finally:
            copied.close()


class _Copy:
    """Whole or not at all: its bytes are written under another name first."""

    def __init__(self, source: BinaryIO, folder: int, is_ended: Callable[[], bool]):
        self._source = source
        self._folder = folder
        self._is_ended = is_ended
        self._status = os.fstat(source.fileno())
        self._temporary = datadir.temporary_name()
        self._is_written = False

    @cached_property
    def marks(self) -> tuple[Hashable, ...]:
        self._source.seek(0)
        return (_mark_of(self._source),)

    def mark_of(self, name: str) -> Hashable:
        with open(name, "rb", opener=isolation.open_itself_in(self._folder)) as other:
            return _mark_of(other)

    def is_same(self, name: str) -> bool:
        with suppress(OSError), open(name, "rb", opener=isolation.open_itself_in(self._folder)) as other:
            return os.fstat(other.fileno()).st_size == self._status.st_size and all(
                other.read(len(chunk)) == chunk for chunk in self._chunks()
            )
        return False

    def put(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=self._folder, follow_symlinks=False)
            raise FileExistsError
        if not self._is_written:
            self._write()
            self._is_written = True
        datadir.rename_new(self._temporary, name, self._folder)

    def _write(self) -> None:
        mode = self._status.st_mode & _MOST_MODE | _LEAST_MODE
        with open(datadir.create_in(self._folder, self._temporary, mode), "wb") as file:
            for chunk in self._chunks():
                file.write(chunk)
            file.flush()
            os.utime(file.fileno(), ns=(self._status.st_atime_ns, self._status.st_mtime_ns))

    def _chunks(self) -> Iterator[bytes]:
        """All bytes that it had when it was opened. Raises OSError where these are not all that there are."""
        self._source.seek(0)
        left = self._status.st_size
        while left and (chunk := self._source.read(min(left, _CHUNK_BYTES))):
            if self._is_ended():
                raise OSError("rclip was stopped")
            yield chunk
            left -= len(chunk)
        now = os.fstat(self._source.fileno())
        if left or (now.st_size, now.st_mtime_ns) != (self._status.st_size, self._status.st_mtime_ns):
            raise OSError("it has just been changed")

    def close(self) -> None:
        with suppress(OSError):  # it has its name, or was not needed
            os.unlink(self._temporary, dir_fd=self._folder)


def _mark_of(file: BinaryIO) -> Hashable:
    """Its size, and a digest of its start."""
    return os.fstat(file.fileno()).st_size, digest_of(io.BytesIO(file.read(_HEAD_BYTES)))


_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 1 << 16
_MOST_MODE, _LEAST_MODE = 0o666, 0o600
"""Of a copy: others may do no more with it than with the photo, and the user whatever is to be done with a file."""


# --- links -----------------------------------------------------------------------------------------------------------


@contextmanager
def _linked(path: str, folder: int) -> Iterator[Placeable]:
    yield _Link(path, os.stat(path), folder)  # a photo that has gone is reported, as when it is to be copied


class _Link:
    """Of a link to the same path, or of the photo itself, there is no other."""

    def __init__(self, path: str, status: os.stat_result, folder: int):
        self._path = path
        self._folder = folder
        self.marks: tuple[Hashable, ...] = (path, (status.st_dev, status.st_ino))

    def mark_of(self, name: str) -> Hashable:
        found = os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        is_link = stat.S_ISLNK(found.st_mode)
        return os.readlink(name, dir_fd=self._folder) if is_link else (found.st_dev, found.st_ino)

    def is_same(self, name: str) -> bool:
        with suppress(OSError):
            return self.mark_of(name) in self.marks
        return False

    def put(self, name: str) -> None:
        os.symlink(self._path, name, dir_fd=self._folder)
