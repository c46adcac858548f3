"""The folder in which rclip keeps indexes and weights, for the user alone, and how files get into it safely.

Whatever is not finished lies under a name that starts with `TEMPORARY`. A run that is killed leaves it behind, and a
later one sweeps it up.
"""

import fcntl
import os
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

TEMPORARY = ".rclip-"
_STALE_AFTER_S = 3600  # without a byte written; a download gives up after half a minute


def default() -> str:
    """`RCLIP_DATADIR`, else the platform's folder for a user's data."""
    from_environment = os.environ.get("RCLIP_DATADIR")
    if from_environment:
        return os.path.expanduser(from_environment)
    return of_user("XDG_DATA_HOME", "~/.local/share")


def of_user(variable: str, default: str) -> str:
    """rclip's folder among a user's, where platformdirs has it: to import that takes a twentieth of a query.

    `variable` and `default` are those of the XDG Base Directory Specification, by which a relative path does not count.
    """
    named = os.environ.get(variable, "")
    base = named if os.path.isabs(named) else _ON_MAC if sys.platform == "darwin" else default
    return os.path.join(os.path.expanduser(base), "rclip")


_ON_MAC = "~/Library/Application Support"


def own(data_dir: str | os.PathLike[str] | None = None) -> str:
    """The folder given, or the default one, as an absolute path."""
    return os.path.abspath(os.path.expanduser(data_dir or default()))


def make_private(folder: str) -> None:
    """Makes the folder, and those above it that are missing, for the user alone. Raises OSError.

    `os.makedirs` would give its mode to the last one only.
    """
    if not os.path.isdir(folder):
        make_private(os.path.dirname(os.path.abspath(folder)))
        os.makedirs(folder, mode=0o700, exist_ok=True)


def touch(path: str) -> None:
    """Sets an empty file's time to now, making it where there is none. What fails here is no error."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        os.utime(descriptor)
        os.close(descriptor)


def open_up(path: str | int, mode: int) -> None:
    """Gives a file or folder that mode whatever the umask, where it is ours and its file system knows modes.

    In a folder that others may write to it is given open, as a descriptor: a path may lead elsewhere by now.
    """
    with suppress(OSError):
        if stat.S_IMODE(os.stat(path).st_mode) != mode:
            os.chmod(path, mode)


def replace_file(path: str, parts: Iterable[Any], mode: int = 0o600) -> None:
    """Puts a file of these bytes in place of `path`, whole or not at all. Raises OSError and leaves nothing behind."""
    import tempfile  # slow to import, and a query writes nothing

    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=TEMPORARY)
    try:
        with open(descriptor, "wb") as file:
            if mode != 0o600:
                open_up(descriptor, mode)
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A file of the user's to be written, which takes the place of `path` when it is whole, and is deleted otherwise.

    It is as open to others as the one that it replaces, or as the umask says. Raises OSError.
    """
    path = os.path.realpath(path)
    mode = os.stat(path).st_mode & _MOST_MODE if os.path.exists(path) else None
    temporary = os.path.join(os.path.dirname(path), temporary_name())
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666 if mode is None else 0o600)
    try:
        with open(descriptor, "w+b") as file:
            if mode is not None:
                open_up(descriptor, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


_MOST_MODE = 0o666  # no program is made of data, least of all one with rights of the user's


def temporary_name() -> str:
    return f"{TEMPORARY}{os.urandom(8).hex()}"


def _is_temporary_name(name: str) -> bool:
    digits = name.removeprefix(TEMPORARY)
    return len(digits) == 16 and not digits.strip("0123456789abcdef")


def create_in(folder: int, name: str | bytes, mode: int) -> int:
    """A new file in an open folder, to be written; `mode` is less what the umask takes away. Raises OSError."""
    return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, mode, dir_fd=folder)


def rename_new(temporary: str | bytes, name: str | bytes, folder: int) -> None:
    """Gives a file in an open folder a name that nothing there has. Raises FileExistsError, and other OSError.

    A file system without links is one without such a call: there the name is taken first, and for a moment empty.
    """
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        os.close(create_in(folder, name, 0o600))
        try:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(name, dir_fd=folder)
            raise
    else:
        os.unlink(temporary, dir_fd=folder)


def write_new(path: str, content: bytes) -> None:
    """Writes a file of the user's where there is none yet, whole or not at all. Raises FileExistsError, and OSError."""
    folder = os.open(os.path.dirname(path) or os.curdir, os.O_RDONLY | os.O_DIRECTORY)
    temporary = temporary_name()
    try:
        sweep_in(folder)
        with open(create_in(folder, temporary, 0o666), "wb") as file:
            file.write(content)
        rename_new(temporary, os.path.basename(path), folder)
    finally:
        with suppress(FileNotFoundError):  # it has its name
            os.unlink(temporary, dir_fd=folder)
        os.close(folder)


def sweep(folder: str) -> None:
    """Deletes what killed runs have left in the folder. Never fails: what cannot be deleted stays.

    By age and not by process number, because the folder may be shared with other machines.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(TEMPORARY):
                _delete_if_stale(entry)


def sweep_in(folder: int, stale_after_s: float = _STALE_AFTER_S) -> None:
    """The same in an open folder of the user's: only files that `temporary_name` has named, by when they were changed.

    A copy has its photo's time from before it has its name.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(TEMPORARY) and _is_temporary_name(name):
                with suppress(OSError):
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
                    if is_ours and time.time() - status.st_ctime > stale_after_s:
                        os.unlink(name, dir_fd=folder)


def delete_folder(folder: str) -> None:
    """Deletes what can be made again; what cannot be deleted stays."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _delete_if_stale(entry: os.DirEntry[str]) -> None:
    with suppress(OSError):
        if time.time() - entry.stat(follow_symlinks=False).st_mtime < _STALE_AFTER_S:
            return
        if entry.is_dir(follow_symlinks=False):
            import shutil

            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


# --- who is at work --------------------------------------------------------------------------------------------------


def share(folder: str) -> int | None:
    """Says that a run is at work with indexes in the folder, until the descriptor that is returned is closed.

    Waits while another has claimed the folder. None where it cannot be read, or its file system has no locks.
    """
    with suppress(OSError):
        return _locked(folder, fcntl.LOCK_SH)
    return None


def claim(folder: str) -> int:
    """The same for a run that must be the only one. Raises BlockingIOError when it is not, or OSError."""
    return _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _locked(folder: str, how: int) -> int:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def folder_bytes(folder: str) -> int:
    """The size of all files in the folder; 0 when there is none."""
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat().st_size for entry in entries)
    except OSError:
        return 0
