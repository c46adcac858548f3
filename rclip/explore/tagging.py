"""Keywords for other programs: written into the XMP sidecars of photos. Photos themselves are never written.

A sidecar that is there is edited as text (`photo.xmp_editing`), and takes the place of the old one whole or not at all.
Where there is none, one is made: `IMG_1.xmp` for a camera's own format, as Lightroom reads it, and `IMG_1.jpg.xmp` for
others, as darktable and digiKam do. Links are not followed.
"""

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from rclip import datadir, formats, isolation
from rclip.errors import plain_reason
from rclip.files import suffix
from rclip.photo import xmp_editing
from rclip.photo.sidecar_names import sidecars_of

Edit = Callable[[bytes, str], bytes]
"""From a sidecar's bytes and a keyword to its bytes; the same ones where there is nothing to do."""


class Outcome(Enum):
    """What became of a photo's sidecar, or would."""

    MADE = "made"
    CHANGED = "changed"
    DELETED = "deleted"
    """It held nothing else, and rclip had made it."""
    UNCHANGED = "unchanged"
    FAILED = "failed"


class Tagged(NamedTuple):
    """What became of one photo."""

    path: str
    """The photo's."""
    sidecar: str
    outcome: Outcome
    reason: str = ""
    """Of a failure."""


def tag(paths: Iterable[str], word: str, is_dry: bool = False) -> list[Tagged]:
    """Writes the keyword into the sidecars of these photos; when dry, only says what it would do."""
    return [_edited(path, word, xmp_editing.with_keyword, is_dry) for path in paths]


def untag(paths: Iterable[str], word: str, is_dry: bool = False) -> list[Tagged]:
    """Takes the keyword out of their sidecars."""
    return [_edited(path, word, xmp_editing.without_keyword, is_dry) for path in paths]


def _edited(path: str, word: str, edit: Edit, is_dry: bool) -> Tagged:
    sidecar = b""
    try:
        sidecar = _sidecar_of(os.fsencode(path))
        outcome = _edit(sidecar, word, edit, is_dry)
        return Tagged(path, os.fsdecode(sidecar), outcome)
    except xmp_editing.NotUnderstood as error:
        reason = str(error)
    except OSError as error:
        reason = plain_reason(error)
    return Tagged(path, os.fsdecode(sidecar), Outcome.FAILED, reason)


def _sidecar_of(path: bytes) -> bytes:
    """The one to write to: that which counts most of those there, or the name of a new one."""
    folder, name = os.path.split(path)
    there = [entry for entry in os.listdir(folder or b".") if entry.lower().endswith(b".xmp")]
    for _, found in sidecars_of([name], there):
        return os.path.join(folder, found[0])
    stem = name.rpartition(b".")[0]
    return os.path.join(folder, (stem if suffix(name) in formats.RAW.suffixes else name) + b".xmp")


def _edit(path: bytes, word: str, edit: Edit, is_dry: bool) -> Outcome:
    if not os.path.lexists(path):
        after = edit(xmp_editing.EMPTY, word)
        if after == xmp_editing.EMPTY:
            return Outcome.UNCHANGED
        if not is_dry:
            _make(path, after)
        return Outcome.MADE
    with open(path, "rb", opener=isolation.open_itself) as file:
        status = os.fstat(file.fileno())
        before = file.read(xmp_editing.MOST_BYTES + 1)
    after = edit(before, word)
    if after == before:
        return Outcome.UNCHANGED
    is_needless = after == xmp_editing.EMPTY
    if not is_dry:
        _replace(path, None if is_needless else after, status)
    return Outcome.DELETED if is_needless else Outcome.CHANGED


def _make(path: bytes, content: bytes) -> None:
    """Raises OSError where something is there by now."""
    temporary = _written_beside(path, content, 0o666)
    try:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if os.path.lexists(path):
                raise FileExistsError(17, "File exists") from None
            os.rename(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _replace(path: bytes, content: bytes | None, before: os.stat_result) -> None:
    """Raises OSError where it was changed since it was read."""
    temporary = b"" if content is None else _written_beside(path, content, stat.S_IMODE(before.st_mode))
    try:
        now = os.lstat(path)
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
            raise OSError("it has just been changed")
        if content is None:
            os.unlink(path)
        else:
            os.replace(temporary, path)
    except BaseException:
        if temporary:
            os.unlink(temporary)
        raise


def _written_beside(path: bytes, content: bytes, mode: int) -> bytes:
    """The path of a new file of these bytes in the same folder."""
    name = os.fsencode(f"{datadir.TEMPORARY}{os.urandom(8).hex()}")
    temporary = os.path.join(os.path.dirname(path), name)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, mode)
    try:
        with open(descriptor, "wb") as file:
            if mode != 0o666:
                datadir.open_up(os.fsdecode(temporary), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary
