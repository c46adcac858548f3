"""Files of named arrays that are memory-mapped, never parsed: the safetensors format.

<https://github.com/huggingface/safetensors#format>: eight bytes with the header's length, a JSON header, the arrays'
bytes without gaps. Reading it takes twenty lines, fewer than a query can afford to import.

Beside each file lies its manifest.
"""

import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rclip import datadir, manifest
from rclip.errors import plain_reason

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_BFLOAT16 = "BF16"  # numpy has no such type
_ITEM_BYTES = {name: dtype.itemsize for name, dtype in _DTYPES.items()} | {
    _BFLOAT16: 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "BOOL": 1,
}
_MAX_HEADER_BYTES = 100_000_000  # as the format's own library has it
_ALIGNMENT_BYTES = 64  # of the first array: a cache line, and enough for any vector instruction


class UnusableFile(Exception):
    """The file is missing, cut short, altered or not ours: it must be rebuilt."""


class Tensors(Mapping[str, np.ndarray]):
    """The arrays of one file, read-only views of the mapped bytes, and its `metadata` (text to text)."""

    def __init__(self, path: str):
        """One that `write` has written. Raises `UnusableFile`."""
        self._open(path, lambda file: _check_manifest(path, file))

    @classmethod
    def foreign(cls, path: str, identity: Sequence[int] | None = None) -> "Tensors":
        """One that somebody else has written: as it was when it had this `manifest.identity`, or whatever it is now.

        Raises `UnusableFile`.
        """
        made = cls.__new__(cls)
        made._open(path, lambda file: _check_identity(file, identity))
        if identity is None:
            made._check_header(path)
        return made

    def _open(self, path: str, check: Callable[[BinaryIO], None]) -> None:
        try:
            with open(path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                check(file)
            (length,) = struct.unpack_from("<Q", self._map)
            if length > _MAX_HEADER_BYTES:
                raise ValueError(f"its header has {length:,} bytes")
            self._header: dict[str, Any] = json.loads(self._map[8 : 8 + length])
            self._start = 8 + length
            self.metadata: dict[str, str] = self._header.pop("__metadata__", {})
        except RecursionError as error:
            raise UnusableFile(f"{path}: nested too deeply") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            raise UnusableFile(f"{path}: {plain_reason(error)}") from error

    def _check_header(self, path: str) -> None:
        """Raises `UnusableFile` where an array is not just as many bytes as its shape says, all of them in the file.

        No two may share bytes, as the format has it: a small file could else hold any number of large arrays.
        """
        room = len(self._map) - self._start
        places = []
        for name, entry in self._header.items():
            try:
                start, end = entry["data_offsets"]
                shape, item = entry["shape"], _ITEM_BYTES[entry["dtype"]]
                numbers = [start, end, *shape]
                is_sound = all(type(number) is int and number >= 0 for number in numbers)
                if not is_sound or not start <= end <= room or prod(shape) * item != end - start:
                    raise ValueError(f"the array {name} is not in the file as its header says")
                places.append((start, end, name))
            except (KeyError, ValueError, TypeError) as error:
                raise UnusableFile(f"{path}: {plain_reason(error)}") from error
        places.sort()
        for (_, end, name), (start, _, other) in pairwise(places):
            if start < end:
                raise UnusableFile(f"{path}: the arrays {name} and {other} share bytes")

    def dtypes(self) -> set[str]:
        """In the format's own names."""
        return {entry["dtype"] for entry in self._header.values()}

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._header[name]
        start, end = entry["data_offsets"]
        if entry["dtype"] == _BFLOAT16:
            return self._widened(start, end).reshape(entry["shape"])
        dtype = _DTYPES[str(entry["dtype"])]
        flat = np.frombuffer(self._map, dtype, (end - start) // dtype.itemsize, self._start + start)
        return flat.reshape(entry["shape"])

    def _widened(self, start: int, end: int) -> np.ndarray:
        halves = np.frombuffer(self._map, "<u2", (end - start) // 2, self._start + start)
        return (halves.astype("<u4") << 16).view("<f4")

    def release(self) -> None:
        """Gives the pages back that have been read; they are read again when they are wanted."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def __iter__(self) -> Iterator[str]:
        return iter(self._header)

    def __len__(self) -> int:
        return len(self._header)


def write(path: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes the file and its manifest, each beside its place and then renamed: a reader finds a whole file or none.

    Arrays of larger items must come first, so that all are aligned. Raises OSError and leaves nothing behind then.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT_BYTES)
    parts: list[Any] = [struct.pack("<Q", len(text)), text]
    parts += [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in arrays.values()]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    datadir.replace_file(path, parts)
    manifest.write(_manifest_path(path), _Manifest(checksum, manifest.identity(os.stat(path))))


def verify(path: str) -> None:
    """Compares the bytes with their checksum, whatever its stat. Raises `UnusableFile`, and nothing trusts it then."""
    Tensors(path)
    try:
        with open(path, "rb") as file:
            if manifest.crc32_of(file) == manifest.read(_manifest_path(path), _Manifest).crc32:
                return
        distrust(path)
    except (OSError, ValueError, TypeError) as error:
        raise UnusableFile(f"{path}: its checksum is wrong; delete it ({plain_reason(error)})") from error
    raise UnusableFile(f"{path}: its checksum is wrong")


def distrust(path: str) -> None:
    """From now on the file is one to be rebuilt. Raises OSError."""
    os.unlink(_manifest_path(path))


# --- seals -----------------------------------------------------------------------------------------------------------


class _Manifest(NamedTuple):
    crc32: int
    stat: list[int]


def _manifest_path(path: str) -> str:
    return path + ".seal"


def _check_identity(file: BinaryIO, identity: Sequence[int] | None) -> None:
    if identity is not None and manifest.identity(os.fstat(file.fileno())) != list(identity):
        raise ValueError("it has changed")


def _check_manifest(path: str, file: BinaryIO) -> None:
    """Raises ValueError when the bytes are not the ones written, TypeError or OSError when it has no manifest."""
    manifest_path = _manifest_path(path)
    contents = manifest.read(manifest_path, _Manifest)
    now = contents._replace(stat=manifest.identity(os.fstat(file.fileno())))
    manifest.verified(contents, now, lambda: manifest.crc32_of(file), lambda now: manifest.write(manifest_path, now))
