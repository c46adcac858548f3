"""What the rest of the program asks of files: their stat, suffix and digest, and how their names are spelled."""

import os
from io import RawIOBase
from typing import BinaryIO, NamedTuple

SEPARATOR = os.fsencode(os.sep)


INDEX_FOLDER = b".rclip"
"""The folder of a portable index, in the folder of photos that it belongs to."""


class FileStat(NamedTuple):
    """A file's stat as the index keeps it: two equal ones, and the bytes are taken to be the same."""

    size_bytes: int
    mtime_ns: int
    device: int
    inode: int
    ctime_ns: int = 0
    """When anything of the file was changed last, which no program can set; 0 where it is not known."""


def file_stat(status: os.stat_result) -> FileStat:
    return FileStat(*stat_fields(status))


def stat_fields(status: os.stat_result) -> tuple[int, int, int, int, int]:
    """The fields of a `FileStat`, each as a signed 64-bit number: file systems have inodes and times beyond."""
    return (
        status.st_size,
        max(-_MOST, min(_MOST, status.st_mtime_ns)),
        status.st_dev if status.st_dev <= _MOST else status.st_dev - (1 << 64),
        status.st_ino if status.st_ino <= _MOST else status.st_ino - (1 << 64),
        max(-_MOST, min(_MOST, status.st_ctime_ns)),
    )


_MOST = (1 << 63) - 1


def suffix(name: bytes) -> str:
    """What comes after the last dot of a file's name, in lower case."""
    _, dot, ending = name.rpartition(b".")
    return ending.lower().decode("ascii", "replace") if dot else ""


def digest_of(stream: BinaryIO | RawIOBase) -> bytes:
    """What tells a photo's bytes from all others, from where the stream stands to its end: BLAKE2b of 16 bytes."""
    from hashlib import blake2b, file_digest  # OpenSSL behind them takes a while to load

    return file_digest(stream, lambda: blake2b(digest_size=16)).digest()  # type: ignore[arg-type]


def spellings(name: bytes) -> frozenset[bytes]:
    """The name, and the same with letters and their accents as one character (NFC), and as several (NFD).

    Keyboards write the former, macOS and drives that it has written the latter.
    """
    if name.isascii():
        return frozenset([name])
    import unicodedata

    text = os.fsdecode(name)
    return frozenset([name, *(os.fsencode(unicodedata.normalize(form, text)) for form in ("NFC", "NFD"))])


def as_on_disk(path: bytes) -> bytes:
    """The path with each name spelled as the folder has it, where that differs only in how accents are encoded.

    What is not there stays as it is.
    """
    if path.isascii() or os.path.lexists(path):
        return path
    found = SEPARATOR if path.startswith(SEPARATOR) else b""
    for name in path.split(SEPARATOR):
        here = os.path.join(found, name)
        found = here if os.path.lexists(here) else os.path.join(found, _as_listed(name, found))
    return found


def _as_listed(name: bytes, folder: bytes) -> bytes:
    wanted = spellings(name)
    try:
        return next((entry for entry in os.listdir(folder or os.curdir.encode()) if spellings(entry) & wanted), name)
    except (OSError, ValueError):  # ValueError: a NUL
        return name
