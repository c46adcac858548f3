"""Where the index of a folder lies: in a `.rclip` in it or above it, as git finds its own, else in the user's folder.

An index in a `.rclip` keeps paths relative to the folder that this lies in, its root, so that the two can go anywhere
together. It is as open to others as that folder is, while the user's own is private. It may come from anybody, so only
one that the user has adopted is written to.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from rclip import datadir, isolation
from rclip.errors import CannotAdopt, CannotInit, LostFolder, NoFolder, NotAFolder, plain_reason
from rclip.files import INDEX_FOLDER, as_on_disk


class Folder(NamedTuple):
    """A directory as it is and as the user named it, both with a slash at the end."""

    real: bytes
    spelled: bytes


def resolve(spelled: bytes) -> Folder:
    """The directory of that name, the current one for an empty one. Raises `UsageError`."""
    spelled = as_on_disk(spelled)
    try:
        real = os.path.realpath(spelled)
    except (OSError, ValueError) as error:  # the current folder was deleted; a NUL
        raise LostFolder(path=os.fsdecode(spelled) or ".", reason=plain_reason(error)) from error
    if not os.path.isdir(real):
        raise (NotAFolder if os.path.exists(real) else NoFolder)(path=os.fsdecode(spelled))
    return Folder(_with_slash(real), _with_slash(spelled) if spelled else b"")


def _with_slash(path: bytes) -> bytes:
    return path if path.endswith(b"/") else path + b"/"


class IndexLocation(NamedTuple):
    """A folder that holds indexes, and what their paths are relative to."""

    folder: str
    root: bytes
    """Absolute, with links resolved and no slash at the end; empty for the user's own, whose paths begin at `/`."""
    is_default: bool
    caches: str
    """Where what is derived from its indexes lies: in the user's own folder, as that alone is trusted."""
    is_adopted: bool = True
    """Whether this user has made or adopted it; another may only be read, and with care."""

    @property
    def folder_served(self) -> str:
        """The folder that a portable index is for; empty for the user's own, which is for all others."""
        return "" if self.is_default else os.fsdecode(self.root or b"/")

    def contains(self, path: bytes) -> bool:
        """False for a link out of an index folder that was not adopted, to be shown or opened as if it were a photo."""
        return self.is_adopted or os.path.realpath(path).startswith(self.root + b"/")

    def cache_folder(self, index_path: str) -> str:
        """The folder of the caches of one of its indexes."""
        name = os.path.splitext(os.path.basename(index_path))[0]
        return os.path.join(self.caches, name + ".matrix")


def default_location(folder: str) -> IndexLocation:
    """The location of the user's own indexes."""
    return IndexLocation(folder, b"", is_default=True, caches=folder)


def location_of(directory: bytes, default_dir: str) -> IndexLocation:
    """The nearest index folder at or above `directory`, an absolute path without links; else `default_dir`.

    Above a folder that belongs to somebody else nothing is looked for, nor in it unless it was adopted: whoever owns it
    could read there of all that the user keeps below.
    """
    root = directory.rstrip(b"/")
    while True:
        folder = root + b"/" + INDEX_FOLDER
        is_there = _is_folder(folder)
        if is_there and (caches := _adopted(root, default_dir)):
            return IndexLocation(os.fsdecode(folder), root, is_default=False, caches=caches)
        if not is_ours(root or b"/"):
            return default_location(default_dir)
        if is_there and is_ours(folder):
            unused = os.path.join(default_dir, PORTABLE, "none")
            return IndexLocation(os.fsdecode(folder), root, is_default=False, caches=unused, is_adopted=False)
        if not root:
            return default_location(default_dir)
        root = root[: root.rindex(b"/")]


def is_ours(path: bytes | str) -> bool:
    """Whether it belongs to the user or to root."""
    try:
        return os.lstat(path).st_uid in (0, os.geteuid())
    except OSError:
        return False


def _is_folder(path: bytes) -> bool:
    """Itself, not over a link."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


# --- making and adopting --------------------------------------------------------------------------------------------

# The user's own folder has one folder for each place adopted, under a name drawn by chance, with the place's caches and
# a file that says where the place is and what its mark was then: on another drive that is mounted there now it differs.
PORTABLE = "portable"
_ADOPTED = "place"
_MARK = b"mark"
_MARK_LENGTH = 32
_MOST_BYTES = 1 << 16


def create(directory: bytes, default_dir: str) -> tuple[str, bool]:
    """Makes a place of `directory`, or adopts the one there is; returns its folder, and whether there was none before.

    Raises `UsageError`.
    """
    root = resolve(directory).real.rstrip(b"/")
    folder = root + b"/" + INDEX_FOLDER
    is_new = True
    try:
        mode = os.stat(os.path.dirname(folder)).st_mode
        mode &= 0o2755 if mode & stat.S_ISVTX else 0o2775  # never for all to write
        os.mkdir(folder, mode)
        _open_up(folder, mode)
    except OSError as error:
        if not _is_folder(folder):
            raise CannotInit(folder=os.fsdecode(folder), reason=plain_reason(error)) from error
        is_new = False
    try:
        _adopt(root, default_dir)
    except OSError as error:
        raise CannotAdopt(folder=os.fsdecode(folder), data_folder=default_dir, reason=plain_reason(error)) from error
    return os.fsdecode(folder), is_new


def _open_up(folder: bytes, mode: int) -> None:
    """Beyond what the umask leaves. Itself, and not what somebody has put in its place since it was made."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            datadir.open_up(descriptor, mode)
        finally:
            os.close(descriptor)


def _adopt(root: bytes, default_dir: str) -> None:
    """Raises OSError where that cannot be written down in the user's own folder."""
    if not _mark(root):
        with suppress(OSError):  # it may only be read: then it has none
            folder = os.fsdecode(root + b"/" + INDEX_FOLDER)
            mode = os.stat(folder).st_mode & 0o664
            datadir.replace_file(os.path.join(folder, _MARK.decode()), [os.urandom(16).hex().encode()], mode)
    notes = os.path.join(default_dir, PORTABLE)
    caches = next((caches for caches, of in _notes(default_dir) if of[_MARK_LENGTH:] == root), None)
    caches = caches or os.path.join(notes, os.urandom(8).hex())
    datadir.make_private(caches)
    datadir.replace_file(os.path.join(caches, _ADOPTED), [_note(root)])


def _adopted(root: bytes, default_dir: str) -> str | None:
    """Where the caches of the place in this folder lie; None where this user has not adopted it."""
    known = [(caches, note) for caches, note in _notes(default_dir) if note[_MARK_LENGTH:] == root]
    return next((caches for caches, note in known if note == _note(root)), None)


def _notes(default_dir: str) -> Iterator[tuple[str, bytes]]:
    """Of each place adopted the folder of its caches, and what was noted."""
    with suppress(OSError):
        for name in sorted(os.listdir(os.path.join(default_dir, PORTABLE))):
            caches = os.path.join(default_dir, PORTABLE, name)
            yield caches, _read(os.path.join(caches, _ADOPTED))


def _note(root: bytes) -> bytes:
    """The folder's number serves where a drive that may only be read has no mark."""
    return (_mark(root) or b"-%031d" % os.lstat(root + b"/" + INDEX_FOLDER).st_ino) + root


def _mark(root: bytes) -> bytes:
    """What tells this place from another one that is put where it is; empty where it has none."""
    mark = _read(root + b"/" + INDEX_FOLDER + b"/" + _MARK)
    return mark if len(mark) == _MARK_LENGTH and mark.isalnum() else b""


def _read(path: str | bytes) -> bytes:
    """The file's bytes; none where it is no plain file, or cannot be read."""
    with suppress(OSError), open(path, "rb", opener=isolation.open_itself) as file:
        return file.read(_MOST_BYTES)
    return b""
