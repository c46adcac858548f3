"""Rows as PostgreSQL sends and takes them. What a server sends is foreign data, and looked at before it is used."""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from rclip.files import suffix
from rclip.photo.metadata import PhotoMetadata
from rclip.photo.validation import are_valid, has_unit_length
from rclip.vectordb.interface import PushedPhoto, ScoredRow

COLUMNS = {
    "path": "bytea",
    "fingerprint": "bytea",
    "size_bytes": "int8",
    "mtime_ns": "int8",
    "vector": "bytea",  # a halfvec in its binary form, which psycopg does not know, is passed on as it is
    "suffix": "text",
    "captured_s": "int8",
    "offset_min": "int4",
    "latitude": "float8",
    "longitude": "float8",
    "maker": "text",
    "model": "text",
    "width": "int8",
    "height": "int8",
    "keywords": "text[]",
    "rating": "int4",
    "missing_percent": "int4",
    "captured_from": "int4",
    "lens": "text",
    "title": "text",
    "headline": "text",
    "caption": "text",
}
"""All that are written, with their types on the wire."""

READ = tuple(name for name in COLUMNS if name not in ("fingerprint", "suffix"))
"""Those that are read, in this order."""

_TEXTS = ("maker", "model", "lens", "title", "headline", "caption")

LONGEST_PATH = 2600
"""In bytes: more does not fit into a page of PostgreSQL's indexes."""

_LONGEST_TEXT = 1 << 16
_MOST_KEYWORDS = 4096
_HEADER = struct.Struct(">hh")
"""Of a halfvec: its dimensions, and a number that is 0. After it come D float16, each with its high byte first."""


class Unsound(ValueError):
    """What rclip has never stored."""


def written(photo: PushedPhoto) -> tuple[object, ...]:
    """The values of `COLUMNS`. PostgreSQL's texts cannot have a NUL in them."""
    metadata = photo.metadata
    return (
        photo.path,
        photo.fingerprint,
        photo.size_bytes,
        photo.mtime_ns,
        binary(np.frombuffer(photo.vector, "<f2")),
        suffix(photo.path),
        metadata.captured_s,
        metadata.offset_min,
        metadata.latitude,
        metadata.longitude,
        _without_nul(metadata.maker),
        _without_nul(metadata.model),
        metadata.width,
        metadata.height,
        [_without_nul(keyword) for keyword in metadata.keywords],
        metadata.rating,
        metadata.missing_percent,
        metadata.captured_from,
        *(_without_nul(text) for text in (metadata.lens, metadata.title, metadata.headline, metadata.caption)),
    )


def _without_nul(text: str) -> str:
    return text.replace("\0", "")


def binary(vector: np.ndarray) -> bytes:
    """(D,) float16 -> a halfvec in its binary form"""
    return _HEADER.pack(len(vector), 0) + vector.astype(">f2").tobytes()


def literal(query: np.ndarray) -> str:
    """(D,) float32 -> a halfvec as text"""
    return f"[{','.join(map(repr, query.astype(np.float16).tolist()))}]"


def read(row: Sequence[Any], dimensions: int) -> ScoredRow:
    """From the values of `READ` and the score. Raises `Unsound`."""
    *values, score = row
    known = dict(zip(READ, values, strict=True))
    path, vector, keywords = known.pop("path"), known.pop("vector"), known.pop("keywords")
    size_bytes, mtime_ns = known.pop("size_bytes"), known.pop("mtime_ns")
    _require(is_path(path), "a path")
    _require(are_valid(("size", "mtime_ns"), [(size_bytes, mtime_ns)]), "a size or a time")
    texts = [known.pop(name) for name in _TEXTS]
    _require(are_valid(tuple(known), [tuple(known.values())]), "metadata")
    _require((known["latitude"] is None) == (known["longitude"] is None), "a place")
    _require(_are_texts(texts), "a text")
    _require(_are_keywords(keywords), "keywords")
    _require(type(score) in (int, float) and math.isfinite(score), "a score")
    metadata = PhotoMetadata(**known, keywords=tuple(keywords), **dict(zip(_TEXTS, texts, strict=True)))
    return ScoredRow(float(score), PushedPhoto(path, size_bytes, mtime_ns, _vector(vector, dimensions), metadata))


def is_path(path: object) -> bool:
    """Whether a walk can have come to it: from the root on, with no empty name and no dots for one."""
    if type(path) is not bytes or not path.startswith(b"/") or b"\0" in path or len(path) > LONGEST_PATH:
        return False
    return not {b"", b".", b".."} & set(path[1:].split(b"/"))


def _are_keywords(keywords: object) -> bool:
    return isinstance(keywords, list) and len(keywords) <= _MOST_KEYWORDS and _are_texts(keywords)


def _are_texts(texts: Sequence[object]) -> bool:
    return all(type(text) is str and len(text) <= _LONGEST_TEXT for text in texts)


def _vector(stored: object, dimensions: int) -> bytes:
    """From its binary form to D float16 as the index has them."""
    _require(type(stored) is bytes and len(stored) == _HEADER.size + 2 * dimensions, "a vector")
    assert isinstance(stored, bytes)
    vector = np.frombuffer(stored, ">f2", offset=_HEADER.size).astype("<f2").tobytes()
    _require(has_unit_length(vector), "a vector")
    return vector


def _require(is_sound: bool, what: str) -> None:
    if not is_sound:
        raise Unsound(what)
