"""What can go wrong, and the exit status each thing has.

An error the user can act on is an `RclipError`: its text is one line that says what happened, to what, and what to do
next. Only `cli.main` prints it. A photo or folder that cannot be read is no error but a value, `FailedPhoto`.
"""

import errno
from enum import IntEnum


class ExitCode(IntEnum):
    """What the command tells the shell; grep's convention. One that a signal ends gives 128 and its number."""

    FOUND = 0
    NOTHING_FOUND = 1
    ERROR = 2


class RclipError(Exception):
    """Something the user can mend; `str()` is the line to show."""

    exit_code = ExitCode.ERROR


class UsageError(RclipError):
    """The command or the call asks for something that makes no sense."""


class ModelError(RclipError):
    """The model's weights cannot be had, read or used."""


class StoreError(RclipError):
    """The index cannot be opened, read or written."""


class DamagedIndex(StoreError):
    """The index holds what was never written to it."""


class ReadOnlyIndex(StoreError):
    """The index lies with the photos and may not be written. It can still be searched."""


class UnlistedFolder(StoreError):
    """A folder that was named cannot be listed; what is known of it is kept. Others can be updated all the same."""


def is_full(error: OSError) -> bool:
    """Whether nothing is wrong but that there is no room: on the disk, or for what one user or one file may take."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def plain_reason(error: BaseException) -> str:
    """The reason of an exception in one line, without the errno and path that `OSError` puts into its text."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = " ".join(text.split())
    return line or type(error).__name__
