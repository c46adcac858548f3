"""Databases that no SQLite has written: a page that many rows share."""

import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

_PAGE_BYTES = 8192
_TABLE_LEAF, _TABLE_INTERIOR = 13, 5
_CHILDREN = 440


def repeat_last_row(path: Path, table: str, count: int) -> None:
    """Puts the last row of a small table into it so many times more, with ids that go on and one content for all.

    Only the table itself has these rows, not its indexes. See <https://sqlite.org/fileformat.html>, 1.6.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE")
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    leaf = content[(root - 1) * _PAGE_BYTES : root * _PAGE_BYTES]
    assert leaf[0] == _TABLE_LEAF
    last_id, payload_bytes, payload = _last_cell(bytes(leaf))
    new: list[tuple[int, bytes]] = [(last_id, bytes(leaf)), *_leaves(last_id, count, payload_bytes, payload)]
    first = len(content) // _PAGE_BYTES + 1
    while len(new) > 1:
        numbers = range(first, first + len(new))
        first += len(new)
        content += b"".join(page for _, page in new)
        children = [(last, number) for (last, _), number in zip(new, numbers, strict=True)]
        groups = [children[start : start + _CHILDREN] for start in range(0, len(children), _CHILDREN)]
        if len(groups[-1]) == 1:  # a page must have two
            groups[-1].insert(0, groups[-2].pop())
        new = [(group[-1][0], _interior(group)) for group in groups]
    content[(root - 1) * _PAGE_BYTES : root * _PAGE_BYTES] = new[0][1]
    content[28:32] = struct.pack(">I", len(content) // _PAGE_BYTES)
    path.write_bytes(content)


def _last_cell(leaf: bytes) -> tuple[int, int, bytes]:
    """Id, length of the content, as much of that as is in the page, and the number of the page where it goes on."""
    (count,) = struct.unpack_from(">H", leaf, 3)
    (at,) = struct.unpack_from(">H", leaf, 8 + 2 * (count - 1))
    payload_bytes, at = _number(leaf, at)
    last_id, at = _number(leaf, at)
    least = (_PAGE_BYTES - 12) * 32 // 255 - 23
    in_page = least + (payload_bytes - least) % (_PAGE_BYTES - 4)
    in_page = in_page if in_page <= _PAGE_BYTES - 35 else least
    return last_id, payload_bytes, leaf[at : at + in_page + 4]


def _leaves(last_id: int, count: int, payload_bytes: int, payload: bytes) -> Iterator[tuple[int, bytes]]:
    together = (_PAGE_BYTES - 12) // (len(payload) + 12)
    for start in range(last_id + 1, last_id + 1 + count, together):
        ids = range(start, min(start + together, last_id + 1 + count))
        cells = [_varint(payload_bytes) + _varint(id_) + payload for id_ in ids]
        yield ids[-1], _page(_TABLE_LEAF, b"", cells)


def _interior(children: list[tuple[int, int]]) -> bytes:
    cells = [struct.pack(">I", number) + _varint(last) for last, number in children[:-1]]
    return _page(_TABLE_INTERIOR, struct.pack(">I", children[-1][1]), cells)


def _page(kind: int, more: bytes, cells: list[bytes]) -> bytes:
    page = bytearray(_PAGE_BYTES)
    end, places = _PAGE_BYTES, []
    for cell in cells:
        end -= len(cell)
        page[end : end + len(cell)] = cell
        places.append(end)
    head = struct.pack(">BHHHB", kind, 0, len(cells), end, 0) + more + struct.pack(f">{len(places)}H", *places)
    page[: len(head)] = head
    return bytes(page)


def _varint(number: int) -> bytes:
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append(number & 0x7F | 0x80)
    return bytes(reversed(parts))


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A varint, and where it ends."""
    number = 0
    while True:
        number = number << 7 | data[at] & 0x7F
        at += 1
        if not data[at - 1] & 0x80:
            return number, at
