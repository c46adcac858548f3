"""Keywords for other programs: written into the XMP sidecars of photos. Photos themselves are never written.

A sidecar that is there is edited as text (`photo.xmp_editing`), and takes the place of the old one whole or not at all.
Where there is none, one is made: `IMG_1.jpg.xmp`, which darktable and digiKam read; for a camera's own format
`IMG_1.xmp`, which Lightroom reads, and darktable when it first sees the photo, or `IMG_1.CR3.xmp` where others in that
folder are called so. Links are not followed, and nothing is written outside the folders that were searched.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
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


def tag(paths: Iterable[str], word: str, folders: Sequence[str], is_dry: bool = False) -> list[Tagged]:
    """Writes the keyword into the sidecars of these photos; when dry, only says what it would do.

    The photos lie in or below these folders, which are absolute and without links: nothing is written elsewhere.
    """
    return _all_edited(paths, word, folders, _TAG, is_dry)


def untag(paths: Iterable[str], word: str, folders: Sequence[str], is_dry: bool = False) -> list[Tagged]:
    """Takes the keyword out of their sidecars, of all that a photo has."""
    return _all_edited(paths, word, folders, _UNTAG, is_dry)


_TAG, _UNTAG = xmp_editing.with_keyword, xmp_editing.without_keyword


def _all_edited(paths: Iterable[str], word: str, folders: Sequence[str], edit: Edit, is_dry: bool) -> list[Tagged]:
    """Folder by folder, each of which is listed once: it may hold tens of thousands of photos."""
    by_folder: dict[str, list[str]] = {}
    for path in paths:
        by_folder.setdefault(os.path.dirname(path) or ".", []).append(path)
    found: list[Tagged] = []
    for spelled, inside in by_folder.items():
        try:
            with _opened(spelled, folders) as folder:
                sidecars = _sidecars_of([os.fsencode(os.path.basename(path)) for path in inside], folder)
                found += [
                    _edited(path, sidecar, folder, word, edit, is_dry)
                    for path, names in zip(inside, sidecars, strict=True)
                    # Of a photo with several sidecars, only the one that counts most is tagged.
                    for sidecar in (names[:1] if edit is _TAG else names)
                ]
        except OSError as error:
            found += [Tagged(path, "", Outcome.FAILED, plain_reason(error)) for path in inside]
    return found


@contextmanager
def _opened(spelled: str, folders: Sequence[str]) -> Iterator[int]:
    """The photos' folder, open, so that it stays the same whatever is put in its place meanwhile. Raises OSError."""
    folder = os.open(spelled, os.O_RDONLY | os.O_DIRECTORY)
    try:
        real = os.path.realpath(spelled)
        is_inside = any(os.path.join(real, "").startswith(os.path.join(each, "")) for each in folders)
        if not is_inside or not os.path.samestat(os.fstat(folder), os.lstat(real)):
            raise OSError("a link leads out of the folder that was searched")
        yield folder
    finally:
        os.close(folder)


def _edited(path: str, sidecar: bytes, folder: int, word: str, edit: Edit, is_dry: bool) -> Tagged:
    shown = os.path.join(os.path.dirname(path), os.fsdecode(sidecar))
    try:
        return Tagged(path, shown, _edit(sidecar, folder, word, edit, is_dry))
    except xmp_editing.NotUnderstood as error:
        reason = str(error)
    except OSError as error:
        reason = plain_reason(error)
    return Tagged(path, shown, Outcome.FAILED, reason)


def _sidecars_of(photos: Sequence[bytes], folder: int) -> list[list[bytes]]:
    """Of each photo those there, of which the first counts most; where there is none, the name of a new one."""
    there = {*map(os.fsencode, os.listdir(folder)), *photos}
    xmp = [entry for entry in there if entry.lower().endswith(b".xmp")]
    found = dict(sidecars_of(there, xmp))
    are_named_whole = any(_is_raw(sidecar[: -len(b".xmp")]) for sidecar in xmp)

    def new(photo: bytes) -> bytes:
        return (photo if are_named_whole or not _is_raw(photo) else photo.rpartition(b".")[0]) + b".xmp"

    return [found.get(photo) or [new(photo)] for photo in photos]


def _is_raw(name: bytes) -> bool:
    return suffix(name) in formats.RAW.suffixes


def _edit(name: bytes, folder: int, word: str, edit: Edit, is_dry: bool) -> Outcome:
    try:
        with open(name, "rb", opener=isolation.open_itself_in(folder)) as file:
            status = os.fstat(file.fileno())
            before = file.read(xmp_editing.MOST_BYTES + 1)
    except FileNotFoundError:
        after = edit(xmp_editing.EMPTY, word)
        if after == xmp_editing.EMPTY:
            return Outcome.UNCHANGED
        if not is_dry:
            _make(name, folder, after)
        return Outcome.MADE
    after = edit(before, word)
    if after == before:
        return Outcome.UNCHANGED
    is_needless = after == xmp_editing.EMPTY
    if not is_dry:
        _replace(name, folder, None if is_needless else after, status)
    return Outcome.DELETED if is_needless else Outcome.CHANGED


def _make(name: bytes, folder: int, content: bytes) -> None:
    """Raises OSError where something is there by now."""
    temporary = _written(folder, content, None)
    try:
        datadir.rename_new(temporary, name, folder)
    finally:
        with suppress(FileNotFoundError):  # it has its name
            os.unlink(temporary, dir_fd=folder)


def _replace(name: bytes, folder: int, content: bytes | None, before: os.stat_result) -> None:
    """Raises OSError where it was changed since it was read."""
    temporary = "" if content is None else _written(folder, content, before.st_mode & _MOST_MODE)
    try:
        now = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
            raise OSError("it has just been changed")
        if content is None:
            os.unlink(name, dir_fd=folder)
        else:
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        if temporary:
            os.unlink(temporary, dir_fd=folder)
        raise


_MOST_MODE = 0o664
"""Of what the new file takes over: it is the user's, who may not be the owner of the old one. No program is made, and
none that all may write to.
"""


def _written(folder: int, content: bytes, mode: int | None) -> str:
    """The name of a new file of these bytes; without a mode, as open to others as the umask says."""
    name = datadir.temporary_name()
    descriptor = datadir.create_in(folder, name, 0o666 if mode is None else 0o600)
    try:
        with open(descriptor, "wb") as file:
            if mode is not None:
                datadir.open_up(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(name, dir_fd=folder)
        raise
    return name
