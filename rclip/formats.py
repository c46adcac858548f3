"""Which files are photos or films, by their endings and first bytes, and which need a package that may be missing.

Kept apart from the decoding itself, so that looking for new photos does not load Pillow.
"""

import importlib.util
from functools import cache
from typing import NamedTuple

# fmt: off
PILLOW_SUFFIXES = frozenset({
    "jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "avif", "tif", "tiff", "gif", "bmp", "dib",
    "jp2", "j2k", "j2c", "jpf", "jpx", "pnm", "pbm", "pgm", "ppm", "pfm", "psd", "psb", "qoi", "insp",
})
# fmt: on


class Extra(NamedTuple):
    """A family of formats that needs a package of its own."""

    name: str
    suffixes: frozenset[str]
    module: str
    package: str
    """Or several, separated by blanks."""

    def installed(self) -> bool:
        return _is_importable(self.module)


@cache
def _is_importable(module: str) -> bool:
    """Without importing it."""
    return importlib.util.find_spec(module) is not None


HEIF = Extra("HEIC", frozenset({"heic", "heics", "heif", "hif"}), "pillow_heif", "pillow-heif")
JXL = Extra("JPEG XL", frozenset({"jxl"}), "pillow_jxl", "pillow-jxl-plugin")
# fmt: off
RAW = Extra(
    "RAW",
    frozenset({
        "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef", "mos", "mrw", "nef", "nrw",
        "orf", "pef", "raf", "rw2", "rwl", "sr2", "srf", "srw", "x3f",
    }),
    "rawpy",
    "rawpy",
)
# fmt: on
DEEP = Extra("uncommon TIFF or JPEG 2000", frozenset(), "imagecodecs", "imagecodecs tifffile")
"""Files of formats that Pillow reads, but not of so many bits. No ending tells them, so they are tried."""

# fmt: off
VIDEO = Extra(
    "video",
    frozenset({
        "3g2", "3gp", "asf", "avi", "divx", "flv", "insv", "m2t", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg",
        "mts", "ogv", "vob", "webm", "wmv",
    }),
    "av",
    "av",
)
# fmt: on
"""Films. `.ts` is not among them: on most disks it is the ending of programs."""

EXTRAS = (HEIF, JXL, RAW, DEEP, VIDEO)

PHOTO_SUFFIXES = PILLOW_SUFFIXES.union(HEIF.suffixes, JXL.suffixes, RAW.suffixes)

SUFFIXES = PHOTO_SUFFIXES | VIDEO.suffixes
"""The endings, in lower case, of the files that are looked at."""


def missing_extra(suffix: str) -> Extra | None:
    """The extra that files with this suffix need and that is not installed."""
    return next((extra for extra in EXTRAS if suffix in extra.suffixes and not extra.installed()), None)


def is_common(head: bytes) -> bool:
    """Whether a file that starts so is a JPEG, PNG, WebP, GIF or BMP, whose decoders have met every kind of damage."""
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM"))
