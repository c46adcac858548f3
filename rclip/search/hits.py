"""A photo that a search has found, as front ends get it."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rclip.index.location import Folder
from rclip.photo.metadata import NO_METADATA, PhotoMetadata, captured_at
from rclip.search.searcher import ScoredPhoto

if TYPE_CHECKING:
    from datetime import datetime


class Hit(NamedTuple):
    """A photo found. `path` is spelled as reached from the directory given.

    `score` is a cosine, or None where there was no query.
    """

    path: str
    score: float | None
    size_bytes: int
    mtime_ns: int
    metadata: PhotoMetadata = NO_METADATA

    @property
    def captured(self) -> "datetime":
        """When it was taken, on the camera's clock; the file's time here where that is not known."""
        if self.metadata.captured_s is not None:
            return captured_at(self.metadata.captured_s, self.metadata.offset_min)
        from datetime import UTC, datetime, timedelta

        in_utc = datetime.fromtimestamp(0, UTC) + timedelta(seconds=self.mtime_ns // 1_000_000_000)
        try:
            return in_utc.astimezone()
        except (ValueError, OverflowError):  # beyond what the platform's clock knows
            return in_utc


def hit_of(found: ScoredPhoto, folders: Sequence[Folder]) -> Hit:
    row = found.row
    return Hit(spelled(row.path, folders), found.score, row.size_bytes, row.mtime_ns, found.metadata)


def spelled(path: bytes, folders: Sequence[Folder]) -> str:
    """As reached from the first of the folders that it lies in; never like an option."""
    folder = next(folder for folder in folders if path.startswith(folder.real))
    written = folder.spelled + path[len(folder.real) :]
    return os.fsdecode(b"./" + written if written.startswith(b"-") else written)


def worst_last(found: ScoredPhoto) -> float:
    """The order of photos found for a query."""
    assert found.score is not None
    return -found.score


def oldest_last(found: ScoredPhoto) -> float:
    """The order of photos found without one: by the time that a camera's clock, or one here, had shown."""
    from datetime import UTC

    hit = Hit("", None, 0, found.row.mtime_ns, found.metadata)
    return -hit.captured.replace(tzinfo=UTC).timestamp()
