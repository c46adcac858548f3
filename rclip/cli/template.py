"""`--format`: a template like `str.format`'s, that can name a result's fields and nothing else."""

import re
from collections.abc import Mapping
from datetime import datetime
from string import Formatter
from typing import NamedTuple

from rclip.cli.messages import Value

FIELDS: dict[str, object] = {
    "path": "cats/IMG_1.jpg",
    "score": 0.314159,
    "rank": 1,
    "at": "0:02:05",
    "at_s": 125.2,
    "size": 3518862,
    "modified": datetime(2019, 2, 3, 10, 20, 30).astimezone(),
    "captured": datetime(2019, 2, 3, 10, 20, 30),
    "captured_offset": "+01:00",
    "captured_from": "metadata",
    "latitude": 48.8584,
    "longitude": 2.2945,
    "place": "Paris, France",
    "camera": "FUJIFILM X-T4",
    "width": 6240,
    "height": 4160,
    "keywords": "kite, sky",
    "rating": 4,
    "lens": "XF16-55mmF2.8 R LM WR",
    "title": "Kites",
    "headline": "Kite festival",
    "caption": "Kites above the beach",
    "copies": 3,
    "query": "a red kite",
    "line": 3,
    "id": "kite-7",
}
"""The fields there are, each with a value to try a template on."""

_WIDTH = re.compile(r"(?:.?[<>=^])?[-+ ]?(\d+)", re.DOTALL)
"""The least width that a format asks for."""

_ESCAPES = {"t": "\t", "n": "\n", "0": "\0", "\\": "\\"}


class _Part(NamedTuple):
    """Some text, and the field after it, if any."""

    literal: str
    field: str | None
    spec: str


class Template:
    """`{score:.3f}\\t{path}`, checked. A newline ends each result, unless the template itself ends in one or in NUL."""

    def __init__(self, text: str):
        """Raises `ValueError` that says what the template cannot have."""
        unescaped = _unescaped(text)
        try:
            parsed = list(Formatter().parse(unescaped))
        except ValueError as error:
            raise ValueError(Value.TEMPLATE_SYNTAX.format(problem=str(error).lower())) from None
        self._parts = [_part(*parts) for parts in parsed]
        self.fields = frozenset(part.field for part in self._parts if part.field)
        if not self.fields:
            raise ValueError(Value.TEMPLATE.format(text=text, fields=", ".join(FIELDS)))
        self(FIELDS)

    def __call__(self, values: Mapping[str, object]) -> str:
        """The text for one result, of which `values` has every field, None for what is not known."""
        text = "".join(part.literal + _formatted(part, values) for part in self._parts)
        return text if text.endswith(("\n", "\0")) and not self._parts[-1].field else text + "\n"


def _unescaped(text: str) -> str:
    """With `\\t`, `\\n`, `\\0` and `\\\\`, which a shell leaves alone, turned into what they stand for."""
    return re.sub(r"\\(.?)", _meant, text, flags=re.DOTALL)


def _meant(escape: re.Match[str]) -> str:
    if escape[1] not in _ESCAPES:
        raise ValueError(Value.TEMPLATE_ESCAPE.format(escape=escape[0]))
    return _ESCAPES[escape[1]]


def _part(literal: str, field: str | None, spec: str | None, conversion: str | None) -> _Part:
    if field is not None and field not in FIELDS:
        raise ValueError(Value.TEMPLATE_FIELD.format(field=field, fields=", ".join(FIELDS)))
    if conversion or "{" in (spec or ""):
        raise ValueError(Value.TEMPLATE_CONVERSION.format(field=field))
    return _Part(literal, field, spec or "")


def _formatted(part: _Part, values: Mapping[str, object]) -> str:
    if part.field is None:
        return ""
    value = values[part.field]
    if value is None:
        width = _WIDTH.match(part.spec)
        return " " * int(width[1]) if width else ""
    try:
        return format(value, part.spec)
    except (ValueError, OverflowError, MemoryError) as error:
        problem = str(error).lower() or "too long"
        raise ValueError(Value.TEMPLATE_FORMAT.format(field=part.field, spec=part.spec, problem=problem)) from None
