"""An open library of the drawn gallery, with the tiny CLIP."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rclip import Library


@contextmanager
def opened(folders: list[Path], prepared_data: Path, model: Path, data_dir: Path) -> Iterator[Library]:
    """A library that is up to date, in a data folder of its own."""
    if not data_dir.exists():
        shutil.copytree(prepared_data, data_dir)
    with Library(*folders, model=str(model), data_dir=data_dir) as library:
        library.update()
        yield library
