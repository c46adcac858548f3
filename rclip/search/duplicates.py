"""Photos that are there several times: exact copies, and near ones, such as smaller or edited versions.

Near copies are found by their vectors. Up to some ten thousand photos all are compared with all. Of more, each is put
into the cells of the few centroids nearest to it (k-means), and is compared with the others in these cells; photos as
like each other as copies are share one of them nearly always. Products are computed in blocks, so memory grows with the
number of photos and not with its square.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rclip.index.location import Folder
from rclip.search.hits import Hit, hit_of
from rclip.search.scored_photo import ScoredPhoto
from rclip.search.searcher import Searcher

DEFAULT_SIMILARITY = 0.96
"""The cosine from which photos count as near copies."""

_LARGEST = 0.9999
"""Asked for more, exact copies only are listed: half precision tells no more vectors apart."""

_COMPARED_WITH_ALL = 16_384
_SCORES = 1 << 23
"""So many are held at once, 32 MiB."""

_CELLS_OF_EACH = 3
_SAMPLE_PER_CELL = 48
_ROUNDS = 4
"""Of k-means: centroids need only be roughly right."""


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


def groups(searchers: Sequence[Searcher], folders: Sequence[Folder], similarity: float) -> list[Group]:
    """Those in which most space is wasted first. Each photo is in one group at most."""
    owners: list[tuple[Searcher, int]] = []
    parts = []
    for searcher in searchers:
        ids, vectors = searcher.ids_and_vectors()
        owners += [(searcher, id_) for id_ in ids.tolist()]
        parts.append(vectors)
    if not owners:
        return []
    vectors = parts[0] if len(parts) == 1 else np.concatenate(parts)
    found: list[Group] = []
    for rows in connected(vectors, min(similarity, _LARGEST)):
        photos = [_Member(vector, *owners[row]) for row, vector in zip(rows.tolist(), vectors[rows], strict=True)]
        found += _divided(photos, folders, similarity)
    return sorted(found, key=lambda group: (-group.wasted_bytes, group.copies[0].hit.path))


class _Member(NamedTuple):
    vector: np.ndarray
    searcher: Searcher
    id: int

    def photo(self) -> ScoredPhoto | None:
        return next(iter(self.searcher.photos_of([self.id])), None)


def _divided(members: Sequence[_Member], folders: Sequence[Folder], similarity: float) -> Iterator[Group]:
    """Photos that are connected need not all be alike: each group has those that are like its largest picture."""
    by_path = {
        photo.path: (member, photo) for member in members if (photo := member.photo())
    }  # in two indexes, perhaps
    left = sorted(by_path.values(), key=lambda each: _best_first(each[1]))
    while len(left) > 1:
        first, *others = left
        cosines = _unit(np.stack([member.vector for member, _ in others])) @ _unit(first[0].vector[np.newaxis])[0]
        digest = _digest(first[0])
        is_exact = [_digest(member) == digest for member, _ in others]
        is_alike = [
            exact or (cosine >= similarity and first[1].row.at_ms is None and photo.row.at_ms is None)  # films by bytes
            for exact, cosine, (_, photo) in zip(is_exact, cosines.tolist(), others, strict=True)
        ]
        left = [each for each, alike in zip(others, is_alike, strict=True) if not alike]
        if not any(is_alike):
            continue
        compared = zip(others, cosines.tolist(), is_exact, is_alike, strict=True)
        copies = [Copy(hit_of(first[1]._replace(score=1.0), folders), True)]
        copies += [
            Copy(hit_of(photo._replace(score=1.0 if exact else min(cosine, 1.0)), folders), exact)
            for (_, photo), cosine, exact, alike in compared
            if alike
        ]
        copies[1:] = sorted(copies[1:], key=lambda copy: (not copy.is_exact, -(copy.hit.score or 0), copy.hit.path))
        yield Group(copies)


def _digest(member: _Member) -> bytes | None:
    return member.searcher.store.digest(member.id)


def _best_first(photo: ScoredPhoto) -> tuple[int, int, int, bytes]:
    """The order in which photos are kept: the largest picture, then the largest file, then the oldest."""
    pixels = (photo.metadata.width or 0) * (photo.metadata.height or 0)
    return -pixels, -photo.row.size_bytes, photo.mtime_ns, photo.path


# --- vectors ---------------------------------------------------------------------------------------------------------


def connected(vectors: np.ndarray, similarity: float) -> list[np.ndarray]:
    """Rows of vectors with a cosine of at least this, directly or by others between them. (N, D) -> [(K,) ascending]"""
    labels = np.arange(len(vectors))
    for rows in _cells(vectors):
        for one, other in _pairs(_unit(vectors[rows]), similarity):
            labels = _joined(labels, rows[one], rows[other])
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    return [rows for rows in np.split(order, starts[1:]) if len(rows) > 1]


def _unit(vectors: np.ndarray) -> np.ndarray:
    """In single precision, of length 1 to its last digits."""
    single = vectors.astype(np.float32)
    single /= np.linalg.norm(single, axis=1, keepdims=True)
    return single


def _pairs(vectors: np.ndarray, similarity: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of two that are so similar, each pair once."""
    block = max(1, _SCORES // len(vectors))
    for start in range(0, len(vectors), block):
        scores = vectors[start : start + block] @ vectors[start:].T
        one, other = np.nonzero(scores >= similarity)
        is_pair = other > one
        yield one[is_pair] + start, other[is_pair] + start


def _joined(labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Labels after each pair has got the lower one of both, and so has whatever had the same label."""
    while len(one) and not np.array_equal(low := labels[one], high := labels[other]):
        lower = np.minimum(low, high)
        np.minimum.at(labels, low, lower)
        np.minimum.at(labels, high, lower)
        while not np.array_equal(labels, further := labels[labels]):
            labels = further
    return labels


def _cells(vectors: np.ndarray) -> Iterator[np.ndarray]:
    """Rows to compare with each other. [(K,) ascending]"""
    if len(vectors) <= _COMPARED_WITH_ALL:
        yield np.arange(len(vectors))
        return
    centroids = _centroids(vectors, round(1.5 * len(vectors) ** 0.5))
    nearest = np.empty((len(vectors), _CELLS_OF_EACH), np.int32)
    for rows, scores in _scored(vectors, centroids):
        nearest[rows] = np.argpartition(-scores, _CELLS_OF_EACH - 1, axis=1)[:, :_CELLS_OF_EACH]
    order = np.argsort(nearest, axis=None, kind="stable")
    bounds = np.searchsorted(nearest.ravel()[order], np.arange(len(centroids) + 1))
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if end - start > 1:
            yield order[start:end] // _CELLS_OF_EACH


def _centroids(vectors: np.ndarray, count: int) -> np.ndarray:
    """(count, D) float32 of length 1, by k-means of a sample that is the same every time."""
    rng = np.random.default_rng(0)
    sample = vectors[np.sort(rng.choice(len(vectors), min(len(vectors), count * _SAMPLE_PER_CELL), replace=False))]
    centroids = _unit(sample[rng.choice(len(sample), count, replace=False)])
    for _ in range(_ROUNDS):
        sums = np.zeros_like(centroids)
        for rows, scores in _scored(sample, centroids):
            np.add.at(sums, scores.argmax(axis=1), sample[rows].astype(np.float32))
        is_used = np.any(sums, axis=1)
        centroids[is_used] = _unit(sums[is_used])
    return centroids


def _scored(vectors: np.ndarray, centroids: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some rows, and their cosines with all centroids."""
    block = max(1, _SCORES // len(centroids))
    for start in range(0, len(vectors), block):
        rows = slice(start, start + block)
        yield rows, vectors[rows].astype(np.float32) @ centroids.T
