"""Queries from a file or the standard input, one per line: as typed, or as JSON objects.

| line | means |
| --- | --- |
| `a red kite - people` | a query as typed, but that terms need no quotes |
| `{"query": "a red kite - people", "id": 7}` | the same, with what its answers are to be called |
| `{"query": "Anna - beach", "literal": true}` | these words, whatever is in them |
| `{"path": "./a - b.jpg"}` | the picture in that file, whatever its name |
| `{"path_b64": "Li9hLmpwZw=="}` | the same, its bytes in base64, as `--json` has them |
"""

import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from rclip.cli import messages
from rclip.cli.messages import Usage
from rclip.errors import RclipError, UsageError, plain_reason, without_passwords
from rclip.search.query import Query, literal, parse_line, picture, unicode

_CHUNK_BYTES = 1 << 16
_BLOCK = 64  # encoded together
_MOST_LINE_BYTES = 1 << 16
"""A file without ends of lines may have no end itself."""
_MOST_ID_CHARACTERS = 200
_MOST_WHOLE = 1 << 63
_BYTE_ORDER_MARK = os.fsdecode(b"\xef\xbb\xbf")  # editors on Windows begin a file with it

Id = str | int | None


class AskedLine(NamedTuple):
    """One line: its query or, in the place of that, an error; and what tells its answers from others."""

    query: Query | RclipError
    number: int
    written: str | None
    """The query as text; None where there is none to be read."""
    id: Id = None

    @property
    def place(self) -> dict[str, object]:
        """As answers have it."""
        return {"line": self.number} if self.id is None else {"line": self.number, "id": self.id}

    def problem(self, error: RclipError) -> str:
        """An error of this line in words."""
        named = "" if self.id is None else f" ({self.id})"
        return Usage.BAD_LINE.format(number=self.number, named=named, problem=messages.of_error(error))


def queries_in(path: str) -> Iterator[list[AskedLine]]:
    """The queries of a file, `-` for the standard input, in blocks of what is there to be read.

    So a program that writes a line and waits gets its answer. Blank lines are passed over; for a line that is no query
    there is an error in its place. Raises `UsageError` for what cannot be read.
    """
    number = 0
    for lines in _lines(path):
        block: list[AskedLine] = []
        for line in lines:
            number += 1
            line = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
            if line.strip():
                block.append(_parse(line, number))
        for start in range(0, len(block), _BLOCK):
            yield block[start : start + _BLOCK]


def _parse(line: str, number: int) -> AskedLine:
    if line.lstrip().startswith("{"):
        return _parse_object(line, number)
    try:
        if "\0" in line:
            raise UsageError(Usage.NOT_TEXT)
        query = parse_line(line)
    except UsageError as error:
        return AskedLine(error, number, without_passwords(unicode(line.strip())))
    return AskedLine(query, number, query.written)


# --- JSON ------------------------------------------------------------------------------------------------------------

_KEYS = ("id", "query", "literal", "path", "path_b64")


def _parse_object(line: str, number: int) -> AskedLine:
    asked: dict[str, Any] = {}
    try:
        asked = _loaded(line)
        id_ = _id(asked)
    except UsageError as error:
        return AskedLine(error, number, _written(asked))
    try:
        query = _query(asked)
    except UsageError as error:
        return AskedLine(error, number, _written(asked), id_)
    return AskedLine(query, number, query.written, id_)


def _loaded(line: str) -> dict[str, Any]:
    """Raises `UsageError` for what is no JSON object, or has other keys than these."""
    import json

    try:
        asked: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or a number of thousands of digits
        reason = error.msg.lower() if isinstance(error, json.JSONDecodeError) else Usage.NO_VALUE
        raise UsageError(Usage.NO_JSON.format(reason=reason)) from None
    unknown = next((key for key in asked if key not in _KEYS), None)
    if unknown is not None:
        raise UsageError(Usage.UNKNOWN_KEY.format(key=unknown, keys=", ".join(_KEYS)))
    return asked


def _id(asked: dict[str, Any]) -> Id:
    """Raises `UsageError` for one that no answer could have."""
    given = asked.get("id")
    is_whole = isinstance(given, int) and not isinstance(given, bool) and abs(given) < _MOST_WHOLE
    is_text = isinstance(given, str) and len(given) <= _MOST_ID_CHARACTERS
    if given is None or is_whole or is_text:
        return unicode(given) if isinstance(given, str) else given
    raise UsageError(Usage.BAD_ID.format(most=_MOST_ID_CHARACTERS))


def _query(asked: dict[str, Any]) -> Query:
    """Raises `UsageError`."""
    given = [key for key in ("query", "path", "path_b64") if asked.get(key) is not None]
    is_literal = asked.get("literal") or False
    if len(given) != 1 or not isinstance(asked[given[0]], str):
        raise UsageError(Usage.ONE_QUERY)
    if not isinstance(is_literal, bool) or (is_literal and given != ["query"]):
        raise UsageError(Usage.BAD_LITERAL)
    text: str = asked[given[0]]
    if given == ["query"]:
        return literal(text) if is_literal or not text.strip() else parse_line(_encodable(text))
    try:
        return picture(_decoded(text) if given == ["path_b64"] else text)
    except UnicodeEncodeError:  # half of a surrogate pair, as an escape
        raise UsageError(Usage.NO_PATH) from None


def _encodable(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can have as escapes and no answer could repeat."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return unicode(text)
    return text


def _decoded(base64: str) -> str:
    from base64 import b64decode

    try:
        return os.fsdecode(b64decode(base64, validate=True))
    except ValueError:
        raise UsageError(Usage.NO_BASE64) from None


def _written(asked: dict[str, Any]) -> str | None:
    text = next((asked[key] for key in ("query", "path") if isinstance(asked.get(key), str)), None)
    return None if text is None else without_passwords(unicode(text))


# --- lines -----------------------------------------------------------------------------------------------------------


def _lines(path: str) -> Iterator[list[str]]:
    """The lines that have come in full, each time some have; at the end the last one, whether it is ended or not."""
    rest = b""
    number = 1
    try:
        descriptor = _standard_input() if path == "-" else os.open(os.path.expanduser(path), os.O_RDONLY)
        try:
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                yield [os.fsdecode(line) for line in lines]
                number += len(lines)
                if len(rest) > _MOST_LINE_BYTES:
                    raise ValueError(Usage.LONG_LINE.format(number=number, most=_MOST_LINE_BYTES))
        finally:
            if path != "-":
                os.close(descriptor)
    except (OSError, ValueError) as error:  # no file; a NUL in its name; the standard input closed
        raise UsageError(Usage.UNREADABLE_QUERIES.format(path=path, reason=plain_reason(error))) from error
    yield [os.fsdecode(rest)]


def _standard_input() -> int:
    if sys.stdin is None:
        raise ValueError(Usage.INPUT_CLOSED)
    return sys.stdin.fileno()
