"""Small disks of memory that run full or become read-only, where the tests may mount one."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

Mount = Callable[[Path, int], None]


def fill_up(folder: Path, free_bytes: int) -> Path:
    """Leaves so much room on the folder's disk."""
    ballast = folder / "ballast"
    disk = os.statvfs(folder)
    ballast.write_bytes(bytes(disk.f_bavail * disk.f_frsize - free_bytes))
    return ballast


def remount_read_only(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
