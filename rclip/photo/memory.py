"""Memory: what decoding takes of it, what there is, and what this process may have."""

import os
from contextlib import suppress

BYTES_PER_PIXEL = 20
"""The most that a decoder takes: JPEG 2000 19, WebP 16, most others 4 to 8."""


def pixels_in(megapixels: float) -> int:
    """A limit of so many megapixels, at least one pixel and within what the kernel takes for a limit of memory."""
    return max(1, round(min(megapixels * 1e6, 1e12)))


def machine_bytes() -> int:
    """The memory of this machine."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 8 << 30


def bytes_for_file(size_bytes: int) -> int:
    """What may be taken for a file's contents: its reader, its decoder and what finds its metadata each copy them."""
    return min(4 * size_bytes, machine_bytes() // 8)


def bytes_for_film(size_bytes: int) -> int:
    """The same for a film, of which some packets and its list of frames are held, never the whole."""
    return min(size_bytes, _MOST_BYTES_OF_FILM)


_MOST_BYTES_OF_FILM = 128 << 20


def data_bytes() -> int:
    """What this process takes now, as `limit_data` counts it; 0 where the system does not tell."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def limit_data(size_bytes: int) -> None:
    """Has the kernel refuse this process more; where it knows no such limit, the size of pictures alone is one."""
    import resource

    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (size_bytes if hard < 0 else min(size_bytes, hard), hard))
