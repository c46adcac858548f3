"""A list of photos as a file: paths, a table, or JSON."""

import csv
import io
import json
import os
from collections.abc import Sequence

from rclip.search.hits import Hit, absolute, as_json

_COLUMNS = (
    "path",
    "score",
    "at",
    "modified",
    "captured",
    "captured_from",
    "camera",
    "latitude",
    "longitude",
    "width",
    "height",
    "rating",
    "title",
    "caption",
    "size",
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def written(hits: Sequence[Hit], ending: str) -> bytes:
    """The file that an ending asks for: `.csv`, `.json` (a list) or, by any other, one absolute path per line.

    Names stay the bytes that they are, but in JSON, which has `path_b64` for those that are no UTF-8.
    """
    if ending == ".json":
        return json.dumps([as_json(hit) for hit in hits], ensure_ascii=False, indent=1).encode() + b"\n"
    if ending == ".csv":
        return _table(hits)
    return b"".join(os.fsencode(absolute(hit.path)) + b"\n" for hit in hits)


def _table(hits: Sequence[Hit]) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for hit in hits:
        known = as_json(hit) | {"path": absolute(hit.path)}
        writer.writerow([_harmless(known.get(column, "")) for column in _COLUMNS])
    return file.getvalue().encode(errors="surrogateescape")


def _harmless(value: object) -> object:
    """Spreadsheets run a text that starts like a formula, and a camera's name may be anything."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value
