"""How many photos an index has in some folders, and what is wrong with others there."""

from collections.abc import Sequence
from typing import NamedTuple

from rclip.index.photo_index import PhotoIndex
from rclip.index.store.films import BrokenFilm
from rclip.photo.failures import FailedPhoto


class IndexCounts(NamedTuple):
    """How many photos are in some folders, and what else is known of these folders."""

    photos: int
    missing: int
    unreadable: list[FailedPhoto]
    incomplete: dict[bytes, int]
    """Paths of photos of which a part is missing, and how many percent."""
    videos: int
    """Of the photos, those that are films."""
    moments: int
    broken_videos: dict[bytes, BrokenFilm]
    """Paths of films that could not be looked at to their end."""


def counts_of(index: PhotoIndex, folders: Sequence[bytes]) -> IndexCounts:
    """Raises `StoreError`."""
    known = missing = 0
    unreadable: list[FailedPhoto] = []
    incomplete: dict[bytes, int] = {}
    videos = moments = 0
    broken: dict[bytes, BrokenFilm] = {}
    if index.exists():
        store = index.store
        store.check_counts(folders)
        for folder in folders:
            present, absent = store.files.count(folder)
            known, missing = known + present, missing + absent
            unreadable += store.files.failures(folder)
            incomplete |= store.metadata.incomplete(folder)
            films, their_moments = store.films.counts(folder)
            videos, moments = videos + films, moments + their_moments
            broken |= store.films.broken(folder)
    return IndexCounts(known - len(unreadable), missing, unreadable, incomplete, videos, moments, broken)
