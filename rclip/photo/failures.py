"""Photos that cannot be read, and why: `DecodeError` where that is found out, `FailedPhoto` from then on."""

from enum import IntEnum
from typing import NamedTuple

from rclip.formats import Extra

TIME_LIMIT_VARIABLE = "RCLIP_PHOTO_TIMEOUT_S"


class FailureKind(IntEnum):
    """When an unreadable photo is tried again. The numbers are stored in the index."""

    LASTING = 1
    """When the file changes, or a limit is given that all are tried again for."""
    CANNOT_OPEN = 2
    """By each run: the file system refuses it."""
    TOO_SLOW = 3
    """When a time limit is given."""
    TOO_LARGE = 4
    """When a limit of megapixels is given."""
    PASSING = 5
    """By the next run: the reason is not the file's own. Never stored."""
    NEEDS_EXTRA = 6
    """When the package is installed. Never stored."""

    @property
    def is_stored(self) -> bool:
        """Whether the index remembers it until the file changes."""
        return self < FailureKind.PASSING

    @property
    def is_tried_again(self) -> bool:
        """Whether the next run tries it again, whatever its options."""
        return self in (FailureKind.CANNOT_OPEN, FailureKind.PASSING)


class FailedPhoto(NamedTuple):
    """A photo or folder that could not be read, and why, in a few words without a full stop."""

    path: bytes
    reason: str
    kind: FailureKind = FailureKind.LASTING
    extra: Extra | None = None
    """The package that is not installed and would help."""


_MOST_REASON = 500
"""Decoders quote what they meet in a file, of which it may have megabytes."""


class DecodeError(Exception):
    """A file of which no picture for the model can be made; `str()` says why, in a few words."""

    def __init__(self, reason: str, kind: FailureKind = FailureKind.LASTING, extra: Extra | None = None):
        super().__init__(reason if len(reason) <= _MOST_REASON else reason[: _MOST_REASON - 1] + "…")
        self.kind = kind
        self.extra = extra


class OutOfMemory(DecodeError):
    """A file whose decoder wants more memory than it has been given."""


def needs_extra(extra: Extra) -> DecodeError:
    """The error for a format whose package is not installed."""
    packages = "packages" if " " in extra.package else "package"
    return DecodeError(
        f"{extra.name} needs the {packages} {extra.package.replace(' ', ' and ')}", FailureKind.NEEDS_EXTRA, extra
    )
