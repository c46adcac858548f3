"""Keywords for other programs: written into the XMP sidecars of photos. Photos themselves are never written.

A sidecar that is there is edited as text (`photo.xmp_editing`), and takes the place of the old one whole or not at all.
Where there is none, one is made: `IMG_1.jpg.xmp`, which darktable and digiKam read; for a camera's own format
`IMG_1.xmp`, which Lightroom reads, and darktable when it first sees the photo, or `IMG_1.CR3.xmp` where others in that
folder are called so. Links are not followed.
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
    return [tagged for path in paths for tagged in _all_edited(path, word, _TAG, is_dry)]


def untag(paths: Iterable[str], word: str, is_dry: bool = False) -> list[Tagged]:
    """Takes the keyword out of their sidecars, of all that a photo has."""
    return [tagged for path in paths for tagged in _all_edited(path, word, _UNTAG, is_dry)]


_TAG, _UNTAG = xmp_editing.with_keyword, xmp_editing.without_keyword


def _all_edited(path: str, word: str, edit: Edit, is_dry: bool) -> list[Tagged]:
    """Of a photo with several sidecars, only the one that counts most is tagged."""
    try:
        sidecars = _sidecars_of(os.fsencode(path))
    except OSError as error:
        return [Tagged(path, "", Outcome.FAILED, plain_reason(error))]
    return [_edited(path, sidecar, word, edit, is_dry) for sidecar in (sidecars[:1] if edit is _TAG else sidecars)]


def _edited(path: str, sidecar: bytes, word: str, edit: Edit, is_dry: bool) -> Tagged:
    try:
        outcome = _edit(sidecar, word, edit, is_dry)
        return Tagged(path, os.fsdecode(sidecar), outcome)
    except xmp_editing.NotUnderstood as error:
        reason = str(error)
    except OSError as error:
        reason = plain_reason(error)
    return Tagged(path, os.fsdecode(sidecar), Outcome.FAILED, reason)


def _sidecars_of(path: bytes) -> list[bytes]:
    """Those there, of which the first counts most; where there is none, the name of a new one."""
    folder, name = os.path.split(path)
    stem, _, _ = name.rpartition(b".")
    there = os.listdir(folder or b".")
    xmp = [entry for entry in there if entry.lower().endswith(b".xmp")]
    alike = [entry for entry in there if entry[: len(stem)].lower() == stem.lower() and entry != name]
    found = dict(sidecars_of([name, *alike], xmp)).get(name)
    names = found or [(stem if _is_named_by_stem(name, xmp) else name) + b".xmp"]
    return [os.path.join(folder, each) for each in names]


def _is_named_by_stem(photo: bytes, sidecars: Iterable[bytes]) -> bool:
    """Whether a new sidecar of the photo is `IMG_1.xmp`."""

    def is_raw(name: bytes) -> bool:
        return suffix(name) in formats.RAW.suffixes

    return is_raw(photo) and not any(is_raw(sidecar[: -len(b".xmp")]) for sidecar in sidecars)


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
