"""What the container of HEIC and AVIF says of its picture, where decoders do not tell (ISO/IEC 14496-12 and 23008-12).

Its boxes are few and small, all within the one called "meta".
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_MOST_BYTES = 1 << 20
_MOST_BOXES = 10_000


class Property(NamedTuple):
    """One of the primary item: its kind, and its content."""

    kind: bytes
    content: bytes


def primary_properties(stream: BinaryIO) -> list[Property]:
    """In order. Nothing where the container makes no sense."""
    stream.seek(0)
    contents = stream.read(_MOST_BYTES)
    try:
        return _primary_properties(contents)
    except (IndexError, StopIteration):
        return []


def clean_aperture(properties: list[Property], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """The box to which a picture of that size is to be cropped; None where there is none that makes sense."""
    content = next((each.content for each in properties if each.kind == b"clap"), b"")
    numbers = [int.from_bytes(content[at : at + 4], "big", signed=True) for at in range(0, 32, 4)]
    if len(content) < 32 or any(below <= 0 for below in numbers[1::2]):
        return None
    width, height, right, down = (above / below for above, below in zip(numbers[::2], numbers[1::2], strict=True))
    left = round((size[0] - width) / 2 + right)
    top = round((size[1] - height) / 2 + down)
    box = left, top, left + round(width), top + round(height)
    is_inside = 0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]
    return box if is_inside else None


def stored_size(properties: list[Property]) -> tuple[int, int]:
    """Width and height; 0 where they are not told."""
    content = next((each.content for each in properties if each.kind == b"ispe"), b"")
    return int.from_bytes(content[4:8], "big"), int.from_bytes(content[8:12], "big")


def orientation(properties: list[Property]) -> int:
    """EXIF's, of what the container says: turned against the clock, then mirrored."""
    turn = next((each.content[:1] for each in properties if each.kind == b"irot"), b"\0")
    mirror = next((each.content[:1] for each in properties if each.kind == b"imir"), b"")
    quarters = turn[0] & 3 if turn else 0
    return ((4, 5, 2, 7), (2, 7, 4, 5))[mirror[0] & 1][quarters] if mirror else (1, 8, 3, 6)[quarters]


def _primary_properties(contents: bytes) -> list[Property]:
    meta = next(body for kind, body in _boxes(contents) if kind == b"meta")[4:]
    boxes = dict(_boxes(meta))
    primary_id = _primary_id(boxes[b"pitm"]) if b"pitm" in boxes else 0
    parts = list(_boxes(boxes.get(b"iprp", b"")))
    properties = [Property(*each) for kind, body in parts if kind == b"ipco" for each in _boxes(body)]
    numbers = [
        number
        for kind, body in parts
        if kind == b"ipma"
        for item, associated in _associations(body)
        if item == primary_id
        for number in associated
    ]
    return [properties[number - 1] for number in numbers if 0 < number <= len(properties)]


def _boxes(contents: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and bodies."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > len(contents):
            return
        size, kind, body_at = int.from_bytes(contents[at : at + 4], "big"), contents[at + 4 : at + 8], at + 8
        if size == 1:
            size, body_at = int.from_bytes(contents[at + 8 : at + 16], "big"), at + 16
        end = at + size if size else len(contents)
        if end < body_at:
            return
        yield kind, contents[body_at:end]
        at = end


def _primary_id(body: bytes) -> int:
    return int.from_bytes(body[4:8] if body[0] else body[4:6], "big")


def _associations(body: bytes) -> Iterator[tuple[int, list[int]]]:
    """Items, and the numbers of their properties, from 1."""
    id_bytes = 4 if body[0] else 2
    number_bytes = 2 if body[3] & 1 else 1
    at = 8
    for _ in range(min(int.from_bytes(body[4:8], "big"), _MOST_BOXES)):
        item = int.from_bytes(body[at : at + id_bytes], "big")
        count = body[at + id_bytes]
        at += id_bytes + 1
        numbers = [
            int.from_bytes(body[at + number_bytes * place : at + number_bytes * (place + 1)], "big")
            for place in range(count)
        ]
        yield item, [number & (0x7FFF if number_bytes == 2 else 0x7F) for number in numbers]  # one bit: essential
        at += number_bytes * count
