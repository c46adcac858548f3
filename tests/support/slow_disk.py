"""A disk that takes its time to list a folder, as a network drive does: the kernel delays those calls of a command."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest


class SlowDisk:
    """For one run of a command, given as the `prefix` of it; afterwards it tells what was asked of the disk."""

    def __init__(self, log: Path, delay_ms: int, *folders: Path):
        """Listing any of the folders takes so long twice: for its entries, and for their end.

        Of others, such as those that Python imports from, nothing is delayed or told.
        """
        self._log = log
        strace = shutil.which("strace")
        if strace is None or subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode:
            pytest.skip("no command can be traced here")
        delay = f"inject=getdents64:delay_enter={1000 * delay_ms}"
        only = (word for folder in folders for word in ("-P", str(folder)))
        self.prefix = (strace, "-f", "-qq", "-o", str(log), "-e", "trace=getdents64", "-e", delay, *only)

    def at_once(self) -> int:
        """How many folders were being listed at once, at most."""
        most = 0
        waiting: Counter[str] = Counter()
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            pid = line.split()[0]
            if re.search(r"getdents64\(.*<unfinished", line):
                waiting[pid] = 1
            elif "getdents64 resumed" in line:
                waiting[pid] = 0
            most = max(most, waiting.total())
        return most


def folders_of_one_photo(photo: Path, count: int) -> list[Path]:
    """Nested, with names that sort otherwise than their paths; all of them, the photo's own as well."""
    for number in range(count):
        folder = photo.parent / f"{number % 7}" / ("a", "a!", "a-b", "a0", "é")[number % 5] / f"{number:03}"
        folder.mkdir(parents=True)
        shutil.copy(photo, folder / photo.name)
    return [photo.parent, *(path for path in photo.parent.rglob("*") if path.is_dir())]
