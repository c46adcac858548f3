"""Whether the decoders installed are new enough: older ones have holes that a picture can make use of.

The oldest sound version of each is the lower bound that rclip itself asks for, in `pyproject.toml`.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress

from rclip import datadir
from rclip.errors import OldDecoder

DECODERS = ("pillow", "pillow-heif", "pillow-jxl-plugin", "rawpy", "imagecodecs", "tifffile", "av", "torch")
_DAY_S = 86_400
_STAMP = "decoders-reported"


def old_decoders(data_dir: str) -> list[OldDecoder]:
    """Those that are too old; none where they have been reported within a day, which the user's own folder notes."""
    found = list(_old())
    return found if found and _is_first_of_day(os.path.join(data_dir, _STAMP)) else []


def _is_first_of_day(stamp: str) -> bool:
    with suppress(OSError):
        if 0 <= time.time() - os.lstat(stamp).st_mtime < _DAY_S:
            return False
    datadir.touch(stamp)
    return True


def _old() -> Iterator[OldDecoder]:
    from importlib.metadata import PackageNotFoundError, requires, version

    try:
        bounds = dict(re.findall(r"^([\w-]+)[^;\n]*>=([\w.]+)", "\n".join(requires("rclip") or ()), re.MULTILINE))
    except PackageNotFoundError:  # it runs from a folder
        return
    for package in DECODERS:
        with suppress(PackageNotFoundError):
            installed = version(package)
            if package in bounds and _release(installed) < _release(bounds[package]):
                yield OldDecoder(package=package, installed=installed, oldest=bounds[package])


def _release(version: str) -> tuple[int, ...]:
    """`1.7.0` is equal to `1.7`, and `2.15.0+cpu` to `2.15`."""
    numbers = [int(number) for number in re.findall(r"\d+", version.partition("+")[0])]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
