"""Queries from a file or the standard input, one per line."""

import os
import sys
from collections.abc import Iterator

from rclip.cli import messages
from rclip.cli.messages import Usage
from rclip.errors import RclipError, UsageError, plain_reason
from rclip.search.query import Query, parse_line

_CHUNK_BYTES = 1 << 16
_BLOCK = 64  # encoded together
_MOST_LINE_BYTES = 1 << 16
"""A file without ends of lines may have no end itself."""
_BYTE_ORDER_MARK = os.fsdecode(b"\xef\xbb\xbf")  # editors on Windows begin a file with it


def queries_in(path: str) -> Iterator[list[Query | RclipError]]:
    """The queries of a file, `-` for the standard input, in blocks of what is there to be read.

    So a program that writes a line and waits gets its answer. Blank lines are passed over; for a line that is no query
    there is an error in its place. Raises `UsageError` for what cannot be read.
    """
    number = 0
    for lines in _lines(path):
        block: list[Query | RclipError] = []
        for line in lines:
            number += 1
            line = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
            if line.strip():
                block.append(_parse(line, number))
        for start in range(0, len(block), _BLOCK):
            yield block[start : start + _BLOCK]


def _parse(line: str, number: int) -> Query | RclipError:
    try:
        if "\0" in line:
            raise UsageError(Usage.NOT_TEXT)
        return parse_line(line)
    except UsageError as error:
        return UsageError(Usage.BAD_LINE.format(number=number, problem=messages.of_error(error)))


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
