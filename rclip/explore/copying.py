"""Copies of photos in a folder that their user has named."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from rclip import isolation
from rclip.errors import NotAFolder, plain_reason


class Copied(NamedTuple):
    """What has become of the photos that were to be copied."""

    paths: list[str]
    """Of the copies."""
    failed: list[tuple[str, str]]
    """Photos that could not be copied, and why."""


def copy(paths: list[str], folder: str) -> Copied:
    """Copies the files under their names, `a.jpg` as `a (2).jpg` where there is one. Raises `UsageError`."""
    if not os.path.isdir(folder):
        raise NotAFolder(path=folder)
    copied = Copied([], [])
    for path in paths:
        try:
            copied.paths.append(_copy(path, folder))
        except OSError as error:
            copied.failed.append((path, plain_reason(error)))
    return copied


def _copy(path: str, folder: str) -> str:
    with open(path, "rb", opener=isolation.open_regular) as source:
        target, descriptor = _created(os.path.basename(path), folder)
        try:
            with open(descriptor, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            status = os.fstat(source.fileno())
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        except BaseException:
            with suppress(OSError):
                os.unlink(target)
            raise
    return target


def _created(name: str, folder: str) -> tuple[str, int]:
    """A new file of that name or a similar one, opened; links are not followed."""
    for candidate in _names_like(name):
        target = os.path.join(folder, candidate)
        with suppress(FileExistsError):
            return target, os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666)
    raise OSError("too many files of this name")


def _names_like(name: str) -> Iterator[str]:
    stem, ending = os.path.splitext(name)
    yield name
    yield from (f"{stem} ({number}){ending}" for number in range(2, 1000))
