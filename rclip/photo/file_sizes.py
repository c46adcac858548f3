"""Which files are too large to be any photo or film, or only claim to be: one with holes takes no room on a disk."""

import os
from contextlib import suppress
from typing import BinaryIO

from rclip import formats
from rclip.photo.failures import DecodeError

_MOST_PHOTO_BYTES, _MOST_FILM_BYTES = 32 << 30, 256 << 30
_MOST_HOLE_BYTES = 1 << 30
_MOST_HOLES = 10_000


def require_plausible(file: BinaryIO, suffix: str) -> None:
    """Raises `DecodeError` for an open file that is not to be read: that would take minutes or days for nothing."""
    size_bytes = os.fstat(file.fileno()).st_size
    if size_bytes > (_MOST_FILM_BYTES if suffix in formats.VIDEO.suffixes else _MOST_PHOTO_BYTES):
        raise DecodeError(f"it has {size_bytes >> 30:,} GB, more than any photo or film")
    if size_bytes > _MOST_HOLE_BYTES and _has_large_holes(file.fileno(), size_bytes):
        raise DecodeError("more than 1 GB of it is missing, as of a download that is not complete")


def _has_large_holes(descriptor: int, size_bytes: int) -> bool:
    """Whether it has more than a gigabyte of them; not where the file system does not tell."""
    at = hole_bytes = 0
    with suppress(OSError, AttributeError):
        try:
            for _ in range(_MOST_HOLES):
                hole_at = os.lseek(descriptor, at, os.SEEK_HOLE)
                if hole_at >= size_bytes or hole_bytes > _MOST_HOLE_BYTES:
                    break
                try:
                    at = os.lseek(descriptor, hole_at, os.SEEK_DATA)
                except OSError:  # there is none after it
                    return hole_bytes + size_bytes - hole_at > _MOST_HOLE_BYTES
                hole_bytes += at - hole_at
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    return hole_bytes > _MOST_HOLE_BYTES
