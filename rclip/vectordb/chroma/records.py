"""Photos as records of a Chroma collection, with an id, an embedding and metadata of plain names, and back.

What a collection holds is foreign data, and looked at before it is used, by `vectordb.rows`.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from rclip.files import suffix
from rclip.photo.metadata import NO_METADATA
from rclip.vectordb import rows
from rclip.vectordb.interface import PushedPhoto, ScoredRow
from rclip.vectordb.rows import Unsound

_ESCAPE = re.compile(rb"\\(?:\\|x([0-9a-f]{2}))")
_FINGERPRINT_LENGTH = 16


def id_of(path: bytes) -> str:
    r"""The path itself, but that a backslash is doubled and a byte that is no UTF-8 is written `\xff`."""
    return path.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def path_of(id_: object) -> bytes:
    """The path whose id it is. Raises `Unsound`."""
    if type(id_) is not str:
        raise Unsound("a path")
    try:
        path = _ESCAPE.sub(lambda found: bytes.fromhex((found[1] or b"5c").decode()), id_.encode())
    except UnicodeEncodeError:
        raise Unsound("a path") from None
    if id_of(path) != id_ or not rows.is_path(path):
        raise Unsound("a path")
    return path


def folders_of(path: bytes) -> Iterator[str]:
    """The folders that it lies in, from the root on, as `where` asks for them."""
    for place, byte in enumerate(path):
        if byte == ord("/"):
            yield folder_name(path[: place + 1])


def folder_name(folder: bytes) -> str:
    """`/photos/` -> `/photos`, as an id is written"""
    return id_of(folder.rstrip(b"/") or b"/")


def taken_s(captured_s: int | None, mtime_ns: int) -> int:
    """By the camera's clock or, without it, by the file's time in UTC."""
    return mtime_ns // 10**9 if captured_s is None else captured_s


def written(photo: PushedPhoto) -> dict[str, Any]:
    """The metadata of a record. What is unknown is None, which also removes what the record had before."""
    known = photo.metadata._asdict()
    texts = {name: _sound_text(value) or None for name, value in known.items() if isinstance(value, str)}
    keywords = [_sound_text(keyword) for keyword in photo.metadata.keywords]
    return {
        **known,
        **texts,
        "keywords": keywords or None,
        "keywords_lower": [keyword.lower() for keyword in keywords] or None,
        "folders": list(folders_of(photo.path)),
        "suffix": suffix(photo.path),
        "size_bytes": photo.size_bytes,
        "mtime_ns": photo.mtime_ns,
        "taken_s": taken_s(photo.metadata.captured_s, photo.mtime_ns),
        "fingerprint": photo.fingerprint.hex(),
    }


def _sound_text(text: str) -> str:
    """Without half of a character of UTF-16, which a file may have and no text of Unicode."""
    return text.encode("utf-8", "replace").decode()


def fingerprint_of(metadata: object) -> bytes:
    """Raises `Unsound`."""
    try:
        fingerprint = bytes.fromhex(_fields(metadata)["fingerprint"])
    except (KeyError, TypeError, ValueError):
        raise Unsound("a fingerprint") from None
    if len(fingerprint) != _FINGERPRINT_LENGTH:
        raise Unsound("a fingerprint")
    return fingerprint


def taken_of(metadata: object) -> int:
    """Raises `Unsound`."""
    value = _fields(metadata).get("taken_s")
    if type(value) is not int or abs(value) >= 1 << 63:
        raise Unsound("a time")
    return value


def read(id_: str, embedding: object, metadata: object, score: float, dimensions: int) -> ScoredRow:
    """Raises `Unsound`."""
    values = NO_METADATA._asdict() | _fields(metadata)
    values |= {"path": path_of(id_), "vector": rows.binary(_vector(embedding, dimensions))}
    values["keywords"] = list(values["keywords"]) if type(values["keywords"]) in (list, tuple) else None
    return rows.read([*(values.get(name) for name in rows.READ), score], dimensions)


def _fields(metadata: object) -> dict[str, Any]:
    if type(metadata) is not dict:
        raise Unsound("metadata")
    return metadata


def _vector(embedding: object, dimensions: int) -> np.ndarray:
    """(D,) float16; whether its length is 1 is seen later."""
    if type(embedding) is not list or len(embedding) != dimensions:
        raise Unsound("a vector")
    if not all(type(each) in (int, float) and abs(each) <= 2 for each in embedding):
        raise Unsound("a vector")
    return np.array(embedding, np.float16)
