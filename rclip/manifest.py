"""Derived files that are trusted without being read.

Their manifest, a small file of its own, holds their checksums and the stats they had when their bytes were last
compared with these. While the stats are the same the bytes are trusted; otherwise they are compared again. So a damaged
file is found once and never used, and a sound one costs a query two small reads.

A manifest is its owner's NamedTuple, written as JSON: `crc32`, the stats, and whatever else must be known of the files.
"""

import json
import os
import re
import zlib
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

from rclip import datadir, isolation

_MAX_MANIFEST_BYTES = 1 << 16
_PART_BYTES = 1 << 24
_MOST = 1 << 48
_NAME = "[0-9a-f]{16}"


if TYPE_CHECKING:

    class _Checksummed(Protocol):
        @property
        def crc32(self) -> Any: ...
        def _asdict(self) -> dict[str, Any]: ...


Manifest = TypeVar("Manifest", bound="_Checksummed")


def identity(stat: os.stat_result) -> list[int]:
    """What changes when a file is written to, even by someone who sets the mtime back."""
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def read(path: str, form: Callable[..., Manifest]) -> Manifest:
    """Raises OSError, or ValueError or TypeError for a file that is not a manifest of that form."""
    with open(path, "rb", opener=isolation.open_itself) as file:
        content = file.read(_MAX_MANIFEST_BYTES)
    try:
        return form(**json.loads(content))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def are_counts(*numbers: object) -> bool:
    """Whether these are whole numbers that something may have so many of."""
    return all(type(number) is int and 0 <= number < _MOST for number in numbers)


def is_name(name: object) -> bool:
    """Whether it is a name of the kind that distinguishes cache files. Nothing else becomes part of a path."""
    return isinstance(name, str) and re.fullmatch(_NAME, name) is not None


def is_derived(name: str, manifest: str, kinds: Collection[str]) -> bool:
    """Whether a file of this name is that manifest, or one of these kinds, `<kind>-<token>`."""
    kind, dash, token = name.partition("-")
    return name == manifest or (kind in kinds and bool(dash) and is_name(token))


def write(path: str, contents: Manifest, mode: int = 0o600) -> None:
    """Raises OSError; what was there before is then still good."""
    datadir.replace_file(path, [json.dumps(contents._asdict()).encode()], mode)


def verified(
    contents: Manifest, now: Manifest, checksum: Callable[[], object], write: Callable[[Manifest], None]
) -> Manifest:
    """`now`, the manifest with the current stats; written where these are others.

    Raises ValueError when the bytes are not the ones that were written.
    """
    if now != contents:
        if checksum() != contents.crc32:
            raise ValueError("its checksum is wrong")
        with suppress(OSError):  # a read-only folder: compared again the next time
            write(now)
    return now


def crc32_of(file: BinaryIO, size_bytes: int | None = None) -> int:
    """Of all its bytes, or of so many. Raises OSError, and ValueError when there are fewer.

    Read, not mapped: what cannot be read of a mapping ends the process.
    """
    left = os.fstat(file.fileno()).st_size if size_bytes is None else size_bytes
    checksum = 0
    while left:
        part = file.read(min(left, _PART_BYTES))  # a signal is heard between two parts
        if not part:
            raise ValueError("cut short")
        checksum = zlib.crc32(part, checksum)
        left -= len(part)
    return checksum
