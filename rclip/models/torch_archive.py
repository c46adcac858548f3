"""The arrays of the files that `torch.save` and `torch.jit.save` write, read without torch and without running them.

Both are zip files: `data.pkl` says which tensors there are, and each tensor's numbers lie uncompressed in an entry of
their own. A pickle is a program for a small stack machine, and a TorchScript archive holds Python-like code besides.
The code is never looked at, and the machine here knows only the instructions that torch writes. None of them can look
a name up or call anything: a name stays a name, and what looks like a call is one of a few cases below.

Sizes are claims of the file and are checked: everything read is stored uncompressed, and all arrays together take no
more bytes than the file.
"""

import io
import os
import pickletools
import zipfile
from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

_ZIP_MARK = b"PK"
_MAX_PROGRAM_BYTES = 4 << 20  # CLIP's largest has 200 kB
_MAX_ATTRIBUTES = 100_000  # CLIP's largest has 2,000; modules that hold each other would have no end

_DTYPES: dict[str, np.dtype[Any]] = {
    "HalfStorage": np.dtype("<f2"),
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "BFloat16Storage": np.dtype("<u2"),  # its bits: numpy has no such type
}


def is_archive(path: str) -> bool:
    """Whether the file is for `read`; what torch would take for a zip file is, too."""
    with open(path, "rb") as file:
        return file.read(len(_ZIP_MARK)) == _ZIP_MARK or zipfile.is_zipfile(file)


def read(path: str) -> dict[str, np.ndarray]:
    """The arrays of floating-point numbers by their names in the state dict; of a TorchScript archive also tensors that
    are plain attributes.

    Raises OSError, or any of many exceptions for a file that is not such an archive.
    """
    with zipfile.ZipFile(path) as archive:
        return _Reader(archive, os.path.getsize(path)).arrays()


class _Name(NamedTuple):
    """A class or function that the program names."""

    module: str
    name: str


class _Module:
    """An object of a TorchScript class: attributes by name."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}


class _Storage(NamedTuple):
    """Where a tensor's numbers lie."""

    kind: str
    key: str
    length: int
    """In items."""


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """As the offset, in items."""


class _Reader:
    def __init__(self, archive: zipfile.ZipFile, size_bytes: int):
        self._archive = archive
        self._bytes_left = size_bytes
        self._size_bytes = size_bytes
        (self._folder,) = {name.split("/")[0] for name in archive.namelist() if name.count("/") == 1
                           and name.endswith("/data.pkl")}  # fmt: skip
        self._storages: dict[_Storage, np.ndarray] = {}

    def arrays(self) -> dict[str, np.ndarray]:
        if f"{self._folder}/byteorder" in self._archive.namelist() and self._bytes("byteorder", 16) != b"little":
            raise ValueError("written on a big-endian machine")
        tensors = _tensors(_run(self._bytes("data.pkl", _MAX_PROGRAM_BYTES)))
        return {name: self._array(tensor) for name, tensor in tensors if tensor.storage.kind in _DTYPES}

    def _bytes(self, name: str, limit: int) -> bytes:
        entry = self._archive.getinfo(f"{self._folder}/{name}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"{name} is compressed")
        if entry.file_size > limit:
            raise ValueError(f"{name} has {entry.file_size} bytes")
        return self._archive.read(entry)

    def _array(self, tensor: _Tensor) -> np.ndarray:
        """A view of its storage, unless that is in bf16."""
        flat = self._storage(tensor.storage)
        numbers = (tensor.offset, *tensor.shape, *tensor.strides)
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError("a tensor's shape is none")
        steps = zip(tensor.shape, tensor.strides, strict=True)
        count, last = prod(tensor.shape), tensor.offset + sum((length - 1) * stride for length, stride in steps)
        if not 0 < count <= len(flat) or last >= len(flat):
            raise ValueError("a tensor is larger than its storage")
        self._bytes_left -= count * flat.dtype.itemsize
        if self._bytes_left < 0:
            raise ValueError("the tensors are larger than the file")
        strides = [stride * flat.dtype.itemsize for stride in tensor.strides]
        array = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
        return (array.astype("<u4") << 16).view("<f4") if tensor.storage.kind == "BFloat16Storage" else array

    def _storage(self, storage: _Storage) -> np.ndarray:
        if storage not in self._storages:
            flat = np.frombuffer(self._bytes(f"data/{storage.key}", self._size_bytes), _DTYPES[storage.kind])
            if len(flat) != storage.length:
                raise ValueError(f"storage {storage.key} has {len(flat)} items, not {storage.length}")
            self._storages[storage] = flat
        return self._storages[storage]


def _tensors(root: object) -> Iterator[tuple[str, _Tensor]]:
    """All tensors of a state dict, or of a module and the modules in it, with their dotted names."""
    waiting = [("", root)]
    seen = 0
    while waiting:
        prefix, holder = waiting.pop()
        attributes = holder.attributes if isinstance(holder, _Module) else holder
        if not isinstance(attributes, dict):
            raise ValueError("the file holds something other than a model")
        for name, value in attributes.items():
            seen += 1
            if seen > _MAX_ATTRIBUTES:
                raise ValueError("too many attributes")
            if isinstance(value, _Tensor):
                yield f"{prefix}{name}", value
            elif isinstance(value, _Module):
                waiting.append((f"{prefix}{name}.", value))


# --- the stack machine -----------------------------------------------------------------------------------------------

_MARK = object()
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _run(program: bytes) -> object:
    """The object that the pickle describes. Raises ValueError for instructions that torch does not write."""
    machine = _Machine()
    for instruction, argument, _ in pickletools.genops(io.BytesIO(program)):
        machine.step(instruction.name, argument)
    (result,) = machine.stack
    return result


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            self.stack.append(argument)
        elif name in _TUPLES:
            self.stack.append(tuple(self._pop_last(_TUPLES[name])))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self._memo[argument])
        elif name not in ("PROTO", "STOP"):
            self._step_with_objects(name, argument)

    def _step_with_objects(self, name: str, argument: Any) -> None:
        match name:
            case "TUPLE":
                self.stack.append(tuple(self._pop_to_mark()))
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_DICT":
                self.stack.append({})
            case "APPEND":
                self._extend(self._pop_last(1))
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                self._set_items(self._pop_last(2))
            case "SETITEMS":
                self._set_items(self._pop_to_mark())
            case "GLOBAL":
                self.stack.append(_Name(*argument.split(" ")))
            case "BINPERSID":
                self.stack.append(_storage(*self.stack.pop()))
            case "NEWOBJ":
                self.stack.append(_new_module(*self._pop_last(2)))
            case "REDUCE":
                self.stack.append(_called(*self._pop_last(2)))
            case "BUILD":
                self._set_state(self.stack.pop())
            case _:
                raise ValueError(f"torch writes no instruction {name}")

    def _pop_last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("the stack is empty")
        popped = self.stack[-count:]
        del self.stack[-count:]
        return popped

    def _pop_to_mark(self) -> list[Any]:
        popped = []
        while (value := self.stack.pop()) is not _MARK:
            popped.append(value)
        return popped[::-1]

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("not a list")
        self.stack[-1].extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise ValueError("not a dict")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int):  # a deep tuple's hash overflows the stack
                raise ValueError("a key is neither text nor number")
            target[key] = value

    def _set_state(self, state: Any) -> None:
        """Of a module its attributes; what else a state dict carries is of no use here."""
        if isinstance(self.stack[-1], _Module) and isinstance(state, dict):
            self.stack[-1].attributes = state


def _storage(mark: object, kind: object, key: object, _device: object, length: object) -> _Storage:
    if mark != "storage" or not isinstance(kind, _Name) or not isinstance(key, str) or not isinstance(length, int):
        raise ValueError("not a storage")
    return _Storage(kind.name, key, length)


def _new_module(kind: object, arguments: object) -> _Module:
    if not isinstance(kind, _Name) or kind.module.split(".")[0] != "__torch__" or arguments != ():
        raise ValueError("an object of a class that is not TorchScript's")
    return _Module()


def _called(function: object, arguments: tuple[Any, ...]) -> object:
    """What torch's own function would return."""
    match function:
        case _Name("torch._utils", "_rebuild_tensor_v2"):
            return _tensor(*arguments)
        case _Name("torch._utils", "_rebuild_parameter") | _Name("torch.jit._pickle", _):
            return arguments[0]
        case _Name("collections", "OrderedDict") if arguments == ():
            return {}
    raise ValueError(f"a call of {function}")


def _tensor(storage: object, offset: int, shape: object, strides: object, *_: object) -> _Tensor:
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("not a tensor")
    return _Tensor(storage, offset, shape, strides)
