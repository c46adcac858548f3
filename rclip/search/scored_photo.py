"""A photo as a search finds it, with the photos that are part of its result."""

from typing import Literal, NamedTuple

from rclip.index.store import PhotoRow
from rclip.photo.metadata import PhotoMetadata

Kind = Literal["exact", "pair", "alike"]
"""A copy has the same bytes as the photo that is shown, is another file of that shot, or only looks alike."""


class FoldedPhoto(NamedTuple):
    """A photo that is part of another one's result."""

    photo: "ScoredPhoto"
    kind: Kind


class ScoredPhoto(NamedTuple):
    """A photo, or a moment of a film, its score, which is None where there was no query, and its metadata."""

    score: float | None
    row: PhotoRow
    metadata: PhotoMetadata
    id: str = ""
    """That of its `Hit`."""
    copies: tuple[FoldedPhoto, ...] = ()
    """The photos that are part of its result."""

    @property
    def path(self) -> bytes:
        return self.row.path

    @property
    def mtime_ns(self) -> int:
        return self.row.mtime_ns

    @property
    def size_bytes(self) -> int:
        return self.row.size_bytes
