"""Photos that cannot be read, and why."""

from typing import NamedTuple

from rclip.formats import Extra

CANNOT_OPEN = "cannot open it: "
"""Failures that start so are the file system's, not the file's, and are tried again by each run."""


TOO_SLOW = "it takes longer than "
"""Those that start so are tried again when a time limit is given."""


TIME_LIMIT_VARIABLE = "RCLIP_PHOTO_TIMEOUT_S"


class FailedPhoto(NamedTuple):
    """A photo or folder that could not be read, and why, in a few words without a full stop."""

    path: bytes
    reason: str


class Unreadable(Exception):
    """This file is no picture we can show the model; `str()` says why, in a few words."""


class NotNow(Unreadable):
    """This file cannot be read now, for a reason that is not its own; another time it may."""


class NeedsExtra(Unreadable):
    """The file could be read with a package that is not installed."""

    def __init__(self, extra: Extra):
        super().__init__(f"{extra.name} needs the package {extra.package}")
        self.extra = extra
