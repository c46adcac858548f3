"""Keeps what lies in a folder from being run, followed, or waited for: it may be anybody's.

Also knows whether the process is rclip's own.
"""

import errno
import os
import stat
import sys
from collections.abc import Callable

owns_process = False
"""Whether this process runs rclip and nothing else, so that its global settings are rclip's to change.

`leave_current_folder` says so: a program that imports rclip never calls it.
"""


def module_path() -> list[str]:
    """`sys.path` without relative entries and the current folder, unless this very interpreter or rclip lies there."""
    try:
        here = os.getcwd()
    except OSError:  # it was deleted
        here = ""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sound = [entry for entry in sys.path if os.path.isabs(entry) and (entry == ours or not _is_here(entry, here))]
    return sound if ours in sound or _is_installed(ours) else [*sound, ours]


def _is_here(entry: str, here: str) -> bool:
    return os.path.realpath(entry) == here and not _is_installed(entry)


def _is_installed(entry: str) -> bool:
    """Whether it is a folder of the interpreter's own."""
    return entry.startswith((os.path.join(sys.prefix, "lib"), os.path.join(sys.base_prefix, "lib")))


def leave_current_folder() -> None:
    """From here on no module is looked for in the current folder. For the command and the processes it starts."""
    global owns_process
    owns_process = True
    sys.path[:] = module_path()


def python(script: str, *arguments: str) -> list[str]:
    """A command that runs the script in this interpreter. To be given `python_environment`."""
    user_site = ["-s"] if sys.flags.no_user_site else []
    return [sys.executable, "-P", *user_site, "-c", script, *arguments]


def python_environment() -> dict[str, str]:
    """Without the variables that have an interpreter run or load something, but where its own library is."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") or (name == "PYTHONHOME" and os.path.isabs(value))
    }


def program_environment() -> dict[str, str]:
    """With a `PATH` of absolute folders: an empty or relative part of it means the current folder."""
    return os.environ | {"PATH": os.pathsep.join(_program_folders())}


def program(name: str) -> str:
    """The absolute path of the program. Raises FileNotFoundError."""
    paths = (os.path.join(folder, name) for folder in _program_folders())
    found = next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)
    if found is None:
        raise FileNotFoundError(name)
    return found


def _program_folders() -> list[str]:
    return [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(folder)]


def open_regular(path: str | bytes, flags: int) -> int:
    """An `opener` that never waits. Raises OSError for what is no regular file: a pipe or a device may have no end."""
    return _regular(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))


def _regular(descriptor: int) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor


def open_folder_below(root: bytes, folder: bytes) -> int:
    """The descriptor of a folder in `root`, or of that itself, both with a slash at the end. No link leads to it.

    Raises OSError, also where its path is so long that nothing in it could be opened.
    """
    if len(folder) >= os.pathconf("/", "PC_PATH_MAX"):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(root.rstrip(b"/") or b"/", flags)
    for name in folder[len(root) :].split(b"/")[:-1]:
        try:
            below = os.open(name, flags, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def open_itself(path: str | bytes, flags: int) -> int:
    """The same, for a file that is none of the user's photos: no link is followed to it."""
    return open_regular(path, flags | os.O_NOFOLLOW)


def open_itself_in(folder: int) -> Callable[[str | bytes, int], int]:
    """The same for names in a folder that is open."""

    def opened(name: str | bytes, flags: int) -> int:
        return _regular(os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW, dir_fd=folder))

    return opened
