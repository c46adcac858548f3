"""What the first bytes of a file tell before a decoder sees it: which one it takes, and how large the picture is."""

from typing import BinaryIO

from rclip.formats import HEIF, JXL, Extra

HEAD_BYTES = 64
"""As many as are looked at to know a format."""


# --- formats ---------------------------------------------------------------------------------------------------------


def extra_for(head: bytes) -> Extra | None:
    """What a file that starts with `head` (`HEAD_BYTES`) needs, whatever it is called. RAW files look like TIFFs."""
    if head[4:8] == b"ftyp" and _is_heic(head[8:12], head[16 : int.from_bytes(head[:4], "big")]):
        return HEIF
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return JXL
    return None


_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_SHARED_BRANDS = (b"mif1", b"msf1")


def _is_heic(brand: bytes, other_brands: bytes) -> bool:
    """AVIF comes in the same container, and at times under the brand of both."""
    return brand in _HEIC_BRANDS or (
        brand in _SHARED_BRANDS and b"avif" not in other_brands and b"avis" not in other_brands
    )


# --- sizes -----------------------------------------------------------------------------------------------------------


def size_before_opening(head: bytes, stream: BinaryIO) -> tuple[int, int] | None:
    """Width and height in the formats for which opening a file takes the memory of decoding it, else None.

    `stream` is at its start, and is left anywhere.
    """
    if extra_for(head) == JXL:
        return _jxl_size(stream)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _webp_size(head)
    return None


_SIZE_OF_CODESTREAM = b"\xff\x4f\xff\x51"
_WITHIN_BYTES = 1 << 20


def jpeg_2000_bits(stream: BinaryIO) -> int:
    """Of the component that has most, as the codestream says (ISO/IEC 15444-1, A.5.1). 8 where that is not found."""
    stream.seek(0)
    start = stream.read(_WITHIN_BYTES)
    at = start.find(_SIZE_OF_CODESTREAM)
    count = int.from_bytes(start[at + 40 : at + 42], "big") if at >= 0 else 0
    return max([8, *((bits & 0x7F) + 1 for bits in start[at + 42 : at + 42 + 3 * count : 3])])


def components_in_next_scan(stream: BinaryIO) -> int:
    """Of a JPEG read up to the marker of a scan, where it is left again (ITU-T T.81, B.2.3)."""
    at = stream.tell()
    _, _, components = stream.read(3).ljust(3, b"\0")
    stream.seek(at)
    return components


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height as a WebP's header has them (RFC 9649)."""
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    return None


_JXL_ASPECT_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def _jxl_size(stream: BinaryIO) -> tuple[int, int]:
    """Width and height as a JPEG XL's header has them (ISO/IEC 18181-1, SizeHeader)."""
    bits = int.from_bytes(_jxl_codestream_start(stream)[2:], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    in_eights = take(1)

    def side() -> int:
        return (take(5) + 1) * 8 if in_eights else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = _JXL_ASPECT_RATIOS.get(take(3))
    width = height * ratio[0] // ratio[1] if ratio else side()
    return width, height


def _jxl_codestream_start(stream: BinaryIO) -> bytes:
    """Its first 16 bytes, which may lie in boxes after others, a few in each. Fewer where it has no more."""
    start = stream.read(_JXL_START_BYTES)
    if start.startswith(b"\xff\x0a"):
        return start
    found = b""
    box_at = 0
    while len(start) >= 8 and len(found) < _JXL_START_BYTES:
        size, kind, content_at = int.from_bytes(start[:4], "big"), start[4:8], box_at + 8
        if size == 1:
            size, content_at = int.from_bytes(start[8:16], "big"), box_at + 16
        if kind in (b"jxlc", b"jxlp"):
            content_at += 4 if kind == b"jxlp" else 0  # a part is numbered first
            stream.seek(content_at)
            left = _JXL_START_BYTES - len(found)
            found += stream.read(max(0, min(left, box_at + size - content_at)) if size else left)
        if size < 8:  # 0: up to the end
            break
        box_at += size
        stream.seek(box_at)
        start = stream.read(_JXL_START_BYTES)
    return found


_JXL_START_BYTES = 16
