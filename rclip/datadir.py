"""The folder in which rclip keeps indexes and weights, for the user alone, and how files get into it safely."""

import os
from collections.abc import Iterable
from typing import Any


def default() -> str:
    """`RCLIP_DATADIR`, else the platform's folder for a user's data."""
    from_environment = os.environ.get("RCLIP_DATADIR")
    if from_environment:
        return os.path.expanduser(from_environment)
    import platformdirs

    return platformdirs.user_data_dir("rclip", appauthor=False)


def make_private(folder: str) -> None:
    """Makes the folder, and those above it that are missing, for the user alone. Raises OSError.

    `os.makedirs` would give its mode to the last one only.
    """
    if not os.path.isdir(folder):
        make_private(os.path.dirname(os.path.abspath(folder)))
        os.makedirs(folder, mode=0o700, exist_ok=True)


def replace_file(path: str, parts: Iterable[Any]) -> None:
    """Puts a file of these bytes in place of `path`, whole or not at all. Raises OSError and leaves nothing behind."""
    import tempfile  # slow to import, and a query writes nothing

    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".", suffix=".tmp")
    try:
        with open(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def identity(stat: os.stat_result) -> list[int]:
    """What changes when a file is written to, even by someone who sets the mtime back."""
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def folder_bytes(folder: str) -> int:
    """The size of all files in the folder; 0 when there is none."""
    try:
        with os.scandir(folder) as entries:
            return sum(entry.stat().st_size for entry in entries)
    except OSError:
        return 0
