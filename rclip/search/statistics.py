"""What indexes hold of some folders, and what they take on disk."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rclip import datadir
from rclip.index.counts import counts_of
from rclip.index.location import Folder
from rclip.index.store.films import BrokenFilm
from rclip.models import Model
from rclip.photo.failures import FailedPhoto
from rclip.search.combined import CombinedSearch, Part
from rclip.search.hits import spelled

if TYPE_CHECKING:
    from rclip.index.approximate import Recall

Value = TypeVar("Value")


class Stats(NamedTuple):
    """What the index holds of the library's folders, and what it takes on disk."""

    photos: int
    unreadable: dict[str, FailedPhoto]
    """By the paths."""
    incomplete: dict[str, int]
    """Paths of photos whose files lack a part of the picture, from below, and how many percent."""
    excluded: int
    """Photos that are there and known, and excluded now; not among `photos`."""
    videos: int
    """Of the photos, those that are films."""
    moments: int
    """Of the videos."""
    broken_videos: dict[str, BrokenFilm]
    """Paths of videos that could not be looked at to their end."""
    missing: int
    """Photos that are not there any more; their vectors are kept for when they return."""
    model: str
    digest: str
    """Of the model's weights and preprocessing; empty before the model's first use."""
    precision: str
    """In which its photos are encoded here, such as "bf16"."""
    indexes: dict[str, int]
    """Paths of the directories' indexes to the bytes they take. Each counts its photos for itself."""
    weights_path: str
    weights_bytes: int
    recalls: "dict[str, Recall]"
    """Paths of the indexes that can be searched approximately, and how well."""

    @property
    def index_bytes(self) -> int:
        return sum(self.indexes.values())


def stats_of(
    parts: Sequence[Part], folders: Sequence[Folder], search: CombinedSearch, model: Model, facts: Mapping[str, str]
) -> Stats:
    """Of the folders, which the parts hold; `facts` are those of the model. Raises `StoreError`."""
    search.warn_unless_adopted()
    counts = [counts_of(index, scope.ranges()) for index, scope in parts]
    excluded = sum(searcher.all_photos().count_excluded() for searcher in search.searchers())

    def by_name(several: Iterable[Mapping[bytes, Value]]) -> dict[str, Value]:
        return {spelled(path, folders): value for each in several for path, value in each.items()}

    return Stats(
        photos=sum(each.photos for each in counts) - excluded,
        excluded=excluded,
        unreadable=by_name({failure.path: failure for failure in each.unreadable} for each in counts),
        incomplete=by_name(each.incomplete for each in counts),
        videos=sum(each.videos for each in counts),
        moments=sum(each.moments for each in counts),
        broken_videos=by_name(each.broken_videos for each in counts),
        missing=sum(each.missing for each in counts),
        model=facts["model"],
        digest=facts["digest"],
        precision=facts["precision"],
        indexes={index.path: index.size_bytes() for index, _ in parts},
        weights_path=model.folder,
        weights_bytes=datadir.folder_bytes(model.folder),
        recalls={index.path: recall for index, _ in parts if (recall := index.recall())},
    )
