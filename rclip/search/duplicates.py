"""Photos that are there several times: exact copies, and near ones, such as smaller or edited versions.

Near copies are connected by their vectors first (`near_pairs`). A chain of small steps connects photos that are not
alike, so what is connected is divided: each group has the photos that are like its first one.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rclip.index.location import Folder
from rclip.search import near_pairs
from rclip.search.folding import are_one_shot
from rclip.search.hits import Hit, hit_of
from rclip.search.near_pairs import Report
from rclip.search.scored_photo import ScoredPhoto
from rclip.search.searcher import Searcher

DEFAULT_SIMILARITY = 0.985
"""The cosine from which photos count as near copies: `docs/quality.md` says where it comes from."""

_EXACT = 1.0
_LARGEST = 0.9999
"""Asked for more, exact copies only are listed: half precision tells no more vectors apart."""


class Copy(NamedTuple):
    """A photo of a group."""

    hit: Hit
    """Its score is the cosine with the group's first photo."""
    is_exact: bool
    """Whether its bytes are those of the first."""


class Group(NamedTuple):
    """Photos that are copies of one another, the largest picture first; exact copies follow it."""

    copies: list[Copy]

    @property
    def wasted_bytes(self) -> int:
        """What all but the first take."""
        return sum(copy.hit.size_bytes for copy in self.copies[1:])


def groups(
    searchers: Sequence[Searcher],
    folders: Sequence[Folder],
    similarity: float,
    report: Report = lambda share: None,
) -> list[Group]:
    """Those in which most space is wasted first. Each photo is in one group at most.

    Files of one shot, such as RAW and JPEG, are no copies of each other. `report` is given the share of the work that
    is done; what it raises ends it.
    """
    parts = [searcher.all_photos().ids_and_vectors() for searcher in searchers]
    parts_of = [(searcher, ids) for searcher, (ids, _) in zip(searchers, parts, strict=True)]
    all_vectors = [vectors for ids, vectors in parts if len(ids)]
    if not all_vectors:
        return []
    vectors = all_vectors[0] if len(all_vectors) == 1 else np.concatenate(all_vectors)
    found: list[Group] = []
    for rows in near_pairs.connected(vectors, min(similarity, _LARGEST), report):
        found += _divided(_photos(parts_of, rows), folders, similarity)
    return sorted(found, key=lambda group: (-group.wasted_bytes, group.copies[0].hit.path))


def _photos(parts: Sequence[tuple[Searcher, np.ndarray]], rows: np.ndarray) -> list[ScoredPhoto]:
    """Those of these rows that are still there, the best first; a photo that two indexes hold comes once."""
    found: dict[bytes, ScoredPhoto] = {}
    start = 0
    for searcher, ids in parts:
        inside = rows[(rows >= start) & (rows < start + len(ids))] - start
        if len(inside):
            found |= {photo.path: photo for photo in searcher.photos_of(ids[inside].tolist())}
        start += len(ids)
    return sorted(found.values(), key=_best_first)


def _divided(photos: Sequence[ScoredPhoto], folders: Sequence[Folder], similarity: float) -> Iterator[Group]:
    """A group for each photo that has some like it among those after it that are in no group yet."""
    if len(photos) < 2:
        return
    vectors = near_pairs.unit(np.stack([np.frombuffer(photo.row.vector, np.float16) for photo in photos]))
    contents = np.unique([photo.row.digest for photo in photos], return_inverse=True)[1]
    are_films = np.array([photo.row.film_id is not None for photo in photos])  # of which the first moment is compared
    is_left = np.ones(len(photos), bool)
    for number, first in enumerate(photos):
        if not is_left[number]:
            continue
        is_left[number] = False
        cosines = vectors[number:] @ vectors[number]
        is_exact = contents[number:] == contents[number]
        is_alike = is_exact
        if similarity < _EXACT and not are_films[number]:
            is_alike = is_exact | ((cosines >= similarity) & ~are_films[number:])
        chosen = np.flatnonzero(is_alike & is_left[number:]).tolist()
        chosen = [each for each in chosen if is_exact[each] or not are_one_shot(first, photos[number + each])]
        if not chosen:
            continue
        is_left[[number + each for each in chosen]] = False
        copies = [
            Copy(
                _hit(photos[number + each], 1.0 if is_exact[each] else float(cosines[each]), folders),
                bool(is_exact[each]),
            )
            for each in chosen
        ]
        copies.sort(key=lambda copy: (not copy.is_exact, -(copy.hit.score or 0), copy.hit.path))
        yield Group([Copy(_hit(first, 1.0, folders), True), *copies])


def _hit(photo: ScoredPhoto, cosine: float, folders: Sequence[Folder]) -> Hit:
    return hit_of(photo._replace(score=min(cosine, 1.0)), folders)


def _best_first(photo: ScoredPhoto) -> tuple[int, int, int, bytes]:
    """The order in which photos are kept: the largest picture, then the largest file, then the oldest."""
    pixels = (photo.metadata.width or 0) * (photo.metadata.height or 0)
    return -pixels, -photo.row.size_bytes, photo.mtime_ns, photo.path
