"""Photos, their vectors and what is known of them, in a file for other programs.

| ending | what it is | a vector is |
| --- | --- | --- |
| `.npz` | numpy's archive: an array for each column | a row of `vectors`, (N, D) float16 |
| `.parquet` | a table; needs `pyarrow` | a list of D float32 in `vector` |
| `.jsonl` | a JSON object on each line | a list of D numbers in `vector` |

Whatever the size of the library, some thousands of photos are in memory at a time.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rclip import datadir
from rclip.errors import UsageError, plain_reason
from rclip.index.location import Folder
from rclip.models import Model
from rclip.search.hits import Hit, hit_of
from rclip.search.searcher import Searcher


class ModelIdentity(NamedTuple):
    """Which model has made vectors. Only those of the same key and preprocessing may be compared."""

    name: str
    """As it was asked for."""
    key: str
    """Names the weights, as the index's file does."""
    digest: str
    """The SHA-256 of the checkpoint."""
    preprocessing: int
    """The version of the way from a file to pixels."""
    dimensions: int

    @classmethod
    def of(cls, model: Model, preprocessing: int, dimensions: int) -> "ModelIdentity":
        return cls(model.name, model.key, model.digest, preprocessing, dimensions)


class ExportedPhoto(NamedTuple):
    """One line of an export: a photo, or a moment of a film."""

    hit: Hit
    vector: bytes
    """D float16"""


Chunks = Iterable[Sequence[ExportedPhoto]]

_NUMBERS = ("captured_s", "offset_min", "latitude", "longitude", "width", "height", "rating")
"""Of `PhotoMetadata`, each of which may be unknown."""


def photos_of(searchers: Iterable[Searcher], folders: Sequence[Folder]) -> Iterator[list[ExportedPhoto]]:
    """All photos and moments of films that may be found, with absolute paths, some thousands at a time."""
    for searcher in searchers:
        ids = searcher.store.films.with_moments(searcher.all_photos().ids())
        for start in range(0, len(ids), _EXPORTED_TOGETHER):
            found = searcher.photos_of(ids[start : start + _EXPORTED_TOGETHER].tolist())
            hits = [hit_of(each, folders) for each in found]
            absolute = [hit._replace(path=os.path.abspath(hit.path)) for hit in hits]
            yield [ExportedPhoto(hit, each.row.vector) for hit, each in zip(absolute, found, strict=True)]


_EXPORTED_TOGETHER = 4096


def export(path: str, chunks: Chunks, model: ModelIdentity) -> int:
    """Writes the photos to the file, whole or not at all, and returns their number.

    Raises `UsageError` for a file of another ending, one that may not be written, and where a package is missing.
    """
    write = _writer_for(path)
    _require_writable(path)
    try:
        with datadir.replacing(path) as file:
            return write(file, _at_least_one(chunks), model, os.path.dirname(os.path.realpath(path)))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {plain_reason(error)}") from error


def _at_least_one(chunks: Chunks) -> Iterator[Sequence[ExportedPhoto]]:
    """The chunks, or an empty one, so that a file without photos has its columns, too."""
    has_any = False
    for chunk in chunks:
        has_any = True
        yield chunk
    if not has_any:
        yield ()


def _writer_for(path: str) -> "_Writer":
    ending = os.path.splitext(path)[1].lower()
    if ending not in _WRITERS:
        raise UsageError(f"cannot export to {path}: its name must end with .npz, .parquet or .jsonl")
    if ending == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise UsageError(
                f"cannot export to {path}: it needs the package pyarrow; install it with pip install pyarrow"
            ) from error
    return _WRITERS[ending]


def _require_writable(path: str) -> None:
    if not os.path.lexists(path):
        return
    if not os.path.isfile(path):
        raise UsageError(f"cannot export to {path}: it is not a file")
    if not os.access(path, os.W_OK):
        raise UsageError(f"cannot export to {path}: it may not be written; delete it, or choose another name")


def _vectors(photos: Sequence[ExportedPhoto], dimensions: int) -> np.ndarray:
    """(N, D) float16"""
    return np.frombuffer(b"".join(photo.vector for photo in photos), np.float16).reshape(-1, dimensions)


# --- JSON lines ------------------------------------------------------------------------------------------------------


def _write_jsonl(file: BinaryIO, chunks: Chunks, model: ModelIdentity, _: str) -> int:
    count = 0
    identity = {"model": model._asdict()}
    for photos in chunks:
        count += len(photos)
        # Eight digits after the point distinguish any two numbers of half precision.
        numbers = np.round(_vectors(photos, model.dimensions).astype(np.float64), 8).tolist()
        for photo, vector in zip(photos, numbers, strict=True):
            line = json.dumps({**_as_json(photo.hit), "vector": vector} | identity)
            file.write(line.encode() + b"\n")
    return count


def _as_json(hit: Hit) -> dict[str, object]:
    """Only what is known. A name that is no UTF-8 has escapes that `os.fsencode` makes its bytes of."""
    stored = {
        "path": hit.path,
        "size_bytes": hit.size_bytes,
        "mtime_ns": hit.mtime_ns,
        "at_ms": hit.at_ms,
        **hit.metadata._asdict(),
    }
    return {name: value for name, value in stored.items() if value not in (None, "", ())}


# --- Parquet ---------------------------------------------------------------------------------------------------------


def _write_parquet(file: BinaryIO, chunks: Chunks, model: ModelIdentity, _: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "path": pa.string(),
        "path_bytes": pa.binary(),
        "size_bytes": pa.int64(),
        "mtime_ns": pa.int64(),
        "at_ms": pa.int64(),
        **{name: pa.float64() if name in ("latitude", "longitude") else pa.int64() for name in _NUMBERS},
        "maker": pa.string(),
        "model": pa.string(),
        "keywords": pa.list_(pa.string()),
        "vector": pa.list_(pa.float32(), model.dimensions),
    }
    schema = pa.schema(list(types.items()), metadata={"rclip.model": json.dumps(model._asdict())})
    count = 0
    with pq.ParquetWriter(file, schema) as writer:
        for photos in chunks:
            count += len(photos)
            columns: dict[str, Any] = {name: [values[name] for values in map(_as_row, photos)] for name in types
                                       if name != "vector"}  # fmt: skip
            flat = pa.array(_vectors(photos, model.dimensions).astype(np.float32).reshape(-1))
            columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, model.dimensions)
            writer.write_batch(pa.record_batch(columns, schema=schema))
    return count


def _as_row(photo: ExportedPhoto) -> dict[str, Any]:
    """`path_bytes` holds a name that is no UTF-8; in `path` its odd bytes are replaced."""
    hit = photo.hit
    name = os.fsencode(hit.path)
    path = name.decode(errors="replace")
    return {
        "path": path,
        "path_bytes": None if path.encode() == name else name,
        "size_bytes": hit.size_bytes,
        "mtime_ns": hit.mtime_ns,
        "at_ms": hit.at_ms,
        **hit.metadata._asdict(),
        "keywords": list(hit.metadata.keywords),
    }


# --- numpy's archive -------------------------------------------------------------------------------------------------


def _write_npz(file: BinaryIO, chunks: Chunks, model: ModelIdentity, folder: str) -> int:
    """The arrays of all chunks wait in temporary files there, as the archive wants one array after the other."""
    import tempfile
    import zipfile

    count = 0
    with ExitStack() as stack:
        spools: dict[str, BinaryIO] = {}
        dtypes: dict[str, list[np.dtype[Any]]] = {}
        for photos in chunks:
            count += len(photos)
            for name, array in _as_arrays(photos, model.dimensions).items():
                if name not in spools:
                    spools[name] = stack.enter_context(tempfile.TemporaryFile(dir=folder))
                np.save(spools[name], array)
                dtypes.setdefault(name, []).append(array.dtype)
        with zipfile.ZipFile(file, "w") as archive:
            for name, spool in spools.items():
                _add_member(archive, name, _spooled(spool), np.result_type(*dtypes[name]), count)
            with archive.open("model_identity.npy", "w") as member:
                np.save(member, np.array(json.dumps(model._asdict())))
    return count


def _as_arrays(photos: Sequence[ExportedPhoto], dimensions: int) -> dict[str, np.ndarray]:
    """Each (N,), the vectors (N, D). A number that is not known is NaN; keywords are a JSON list, as text."""
    hits = [photo.hit for photo in photos]
    metadata = [hit.metadata for hit in hits]
    return {
        "path": np.array([hit.path for hit in hits], np.str_),
        "size_bytes": np.array([hit.size_bytes for hit in hits], np.int64),
        "mtime_ns": np.array([hit.mtime_ns for hit in hits], np.int64),
        "at_ms": np.array([_number(hit.at_ms) for hit in hits], np.float64),
        **{name: np.array([_number(getattr(each, name)) for each in metadata], np.float64) for name in _NUMBERS},
        "maker": np.array([each.maker for each in metadata], np.str_),
        "model": np.array([each.model for each in metadata], np.str_),
        "keywords": np.array([json.dumps(each.keywords) for each in metadata], np.str_),
        "vectors": _vectors(photos, dimensions),
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _spooled(spool: BinaryIO) -> Iterator[np.ndarray]:
    end = spool.tell()
    spool.seek(0)
    while spool.tell() < end:
        yield np.load(spool)


def _add_member(archive: Any, name: str, parts: Iterator[np.ndarray], dtype: np.dtype[Any], count: int) -> None:
    """One array of `count` rows, out of its parts. What is text, of one width for all, shrinks to a fraction."""
    import zipfile

    information = zipfile.ZipInfo(f"{name}.npy")
    information.compress_type = zipfile.ZIP_DEFLATED if dtype.kind == "U" else zipfile.ZIP_STORED
    with archive.open(information, "w", force_zip64=True) as member:
        for number, part in enumerate(parts):
            if number == 0:
                header = np.lib.format.header_data_from_array_1_0(part.astype(dtype))
                np.lib.format.write_array_header_2_0(member, header | {"shape": (count, *part.shape[1:])})
            member.write(part.astype(dtype).tobytes())


_Writer = Callable[[BinaryIO, Chunks, ModelIdentity, str], int]
_WRITERS: dict[str, _Writer] = {".npz": _write_npz, ".parquet": _write_parquet, ".jsonl": _write_jsonl}
