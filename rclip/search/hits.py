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
    id: str = ""
    """Names the photo, or the moment of a film, within its library, for as long as its bytes do not change."""
    at_ms: int | None = None
    """Of a film, the time of the moment found, from its start; None for a photo."""

    @property
    def at(self) -> str:
        """That time as players write it, `0:02:05`; empty for a photo."""
        return "" if self.at_ms is None else clock(self.at_ms)

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
    path = spelled(row.path, folders)
    return Hit(path, found.score, row.size_bytes, row.mtime_ns, found.metadata, found.id, row.at_ms)


def clock(time_ms: int) -> str:
    """`0:02:05` or, from ten hours on, `12:00:00`."""
    minutes, seconds = divmod(time_ms // 1000, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def absolute(path: str) -> str:
    """`abspath` takes `link/..` for the folder that the link lies in; it is that which the link's target lies in."""
    if os.pardir in path.split(os.sep):
        folder, name = os.path.split(path)
        return os.path.join(os.path.realpath(folder), name)
    return os.path.abspath(path)


def as_json(hit: Hit) -> dict[str, object]:
    """Path (absolute), score, size, modified, captured, and what else is known of the photo, for `json.dumps`.

    Of a film also `at`, as a person reads it, and `at_s`, in seconds.
    `path_b64` stands for a name that is no UTF-8. Without a query there is no score.
    """
    from base64 import b64encode

    path = absolute(hit.path)
    try:
        path.encode()
        named = {"path": path}
    except UnicodeEncodeError:
        named = {"path_b64": b64encode(os.fsencode(path)).decode()}
    ranked = {} if hit.score is None else {"score": round(hit.score, 6)}
    moment = {} if hit.at_ms is None else {"at": hit.at, "at_s": hit.at_ms / 1000}
    told = {"captured": hit.captured.isoformat(), **told_metadata(hit)}
    known = {name: value for name, value in told.items() if value is not None}
    return named | ranked | moment | {"size": hit.size_bytes, "modified": modified(hit).isoformat()} | known


def told_metadata(hit: Hit) -> dict[str, object]:
    """None for what is not known."""
    metadata = hit.metadata
    return {
        "captured_from": "file" if metadata.captured_s is None else "metadata",
        "latitude": metadata.latitude,
        "longitude": metadata.longitude,
        "camera": metadata.camera or None,
        "width": metadata.width,
        "height": metadata.height,
        "keywords": list(metadata.keywords) or None,
        "rating": metadata.rating,
    }


def modified(hit: Hit) -> "datetime":
    """In UTC, to the microsecond."""
    from datetime import UTC, datetime, timedelta

    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=hit.mtime_ns // 1000)


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
