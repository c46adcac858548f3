"""What the tables' columns may hold. SQLite itself takes anything anywhere, and damage may put it there."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rclip.photo.metadata import EARLIEST_S, LATEST_S, Origin

LATEST_MS = 1 << 41
"""The last time in a film, after seventy years."""

_OFF_UNIT = 0.01  # half precision is off by a twentieth of it


class _Domain:
    """What a column may hold. No named tuple: a query would pay for each."""

    __slots__ = ("highest", "lowest", "most_characters", "types")

    def __init__(
        self,
        types: frozenset[type],
        lowest: float | None = None,
        highest: float | None = None,
        most_characters: int | None = None,
    ):
        self.types, self.lowest, self.highest, self.most_characters = types, lowest, highest, most_characters


def _text(most_characters: int) -> _Domain:
    return _Domain(frozenset([str, type(None)]), most_characters=most_characters)


MOST_CHARACTERS = 1 << 12
"""Of a name, a caption or a reason: nothing that is stored has half as many."""
_MOST_OF_KEYWORDS = 1 << 16
"""Of all keywords of a photo together: three times as many as the parser leaves."""

_TEXT = _text(MOST_CHARACTERS)
_WORDS = _Domain(frozenset([str]), most_characters=MOST_CHARACTERS)
_NUMBER, _BYTES = (_Domain(frozenset([type_])) for type_ in (int, bytes))


def _whole_between(lowest: int, highest: int) -> _Domain:
    return _Domain(frozenset([int, type(None)]), lowest, highest)


def _degrees_up_to(highest: int) -> _Domain:
    return _Domain(frozenset([float, type(None)]), -highest, highest)


_DOMAINS = {
    "id": _NUMBER,
    "path": _BYTES,
    "size": _NUMBER,
    "mtime_ns": _NUMBER,
    "device": _NUMBER,
    "inode": _NUMBER,
    "ctime_ns": _NUMBER,
    "digest": _BYTES,
    "vector": _BYTES,
    "has_metadata": _NUMBER,
    "maker": _WORDS,
    "model": _WORDS,
    "captured_s": _whole_between(EARLIEST_S, LATEST_S),
    "offset_min": _whole_between(-24 * 60 + 1, 24 * 60 - 1),
    "latitude": _degrees_up_to(90),
    "longitude": _degrees_up_to(180),
    "camera": _whole_between(1, (1 << 31) - 1),
    "width": _whole_between(0, (1 << 31) - 1),
    "height": _whole_between(0, (1 << 31) - 1),
    "keywords": _text(_MOST_OF_KEYWORDS),
    "rating": _whole_between(-1, 5),
    "missing_percent": _whole_between(1, 99),
    "film": _NUMBER,
    "moment_count": _Domain(frozenset([int]), 1, LATEST_MS),
    "at_ms": _Domain(frozenset([int]), 0, LATEST_MS),
    "duration_ms": _whole_between(0, LATEST_MS),
    "resume_ms": _whole_between(0, LATEST_MS),
    "film_failure": _TEXT,
    "captured_from": _Domain(frozenset([int]), Origin.METADATA, Origin.NAME),
    "lens": _TEXT,
    "title": _TEXT,
    "headline": _TEXT,
    "caption": _TEXT,
    "is_outdated": _NUMBER,
    "state": _BYTES,
}


def are_valid(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bool:
    """Whether rows of these columns can have been stored so."""
    return all(
        _is_within(_DOMAINS[name], values) for name, values in zip(columns, zip(*rows, strict=True), strict=False)
    )


def _is_within(domain: _Domain, values: Sequence[Any]) -> bool:
    if not set(map(type, values)) <= domain.types:
        return False
    if domain.most_characters is not None:
        return all(len(value) <= domain.most_characters for value in values if value is not None)
    known = [] if domain.lowest is None else [value for value in values if value is not None]
    return not known or (domain.lowest <= min(known) and max(known) <= domain.highest)


def has_unit_length(vector: bytes) -> bool:
    """Whether these are float16 of length 1, as all that are stored."""
    if len(vector) % 2 or not 0 < len(vector) <= 2 * _MOST_DIMENSIONS:
        return False
    return have_unit_length(np.frombuffer(vector, np.float16)[np.newaxis])


def have_unit_length(vectors: np.ndarray) -> bool:
    """Whether all of them have. (N, D) float16"""
    numbers = vectors.astype(np.float32)
    return bool((abs(np.einsum("nd,nd->n", numbers, numbers) - 1) < _OFF_UNIT).all())


_MOST_DIMENSIONS = 1 << 13
"""No model's vectors have half as many."""
