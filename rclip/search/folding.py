"""Photos that are the same picture, as one result: exact copies, files of one shot, and photos that are much alike.

Of the photos of a result, the one with the highest score is shown. Of equal ones, which exact copies are, a camera's
RAW file comes last; then the shortest path decides, then the first in the order of bytes. A film is found by its best
moment, and is one result however many moments rank high.
"""

from collections.abc import Sequence

import numpy as np

from rclip import formats
from rclip.files import suffix
from rclip.search.lookup import Lookup
from rclip.search.scored_photo import FoldedPhoto, Kind, ScoredPhoto

COPIES = 1.0
"""The least cosine of photos in one result where only exact copies and files of one shot are."""

_ONE_MOMENT_S = 3
"""How far the times of one shot's files may be apart: FAT's are even, and a Live Photo's film starts earlier."""

_MOST_FOLLOWED = 256
"""Of so many photos of a result the copies are looked for, too."""


class Folding:
    """The results of one query in one index."""

    def __init__(self, lookup: Lookup, similarity: float):
        """Photos with a cosine of at least `similarity` are one result; from `COPIES` on, only those that must be."""
        self._lookup = lookup
        self._similarity = similarity
        self._relatives: dict[int, list[int]] = {}
        self._same: dict[int, list[ScoredPhoto]] = {}
        self.folded: set[int] = set()
        """Ids of the photos that have been found to be part of a result."""

    def results(self, photos: Sequence[ScoredPhoto], top: int) -> list[ScoredPhoto]:
        """The first results, each with its copies, of all photos from the best down to some score, in their order."""
        results: list[ScoredPhoto] = []
        shown = _Vectors(self._similarity < COPIES)
        self.folded = set()
        for number, photo in enumerate(photos):
            if photo.row.photo_id in self.folded:
                continue
            if photo.row.photo_id not in self._relatives:
                self._look_up(photos[number : number + max(1, min(top - len(results), _AT_ONCE))])
            like = shown.nearest(photo, self._similarity)
            if like is None and len(results) == top:
                break
            same = self._same_as(photo)
            self.folded |= {each.row.photo_id for each in same}
            if like is None:
                results.append(_result(same))
                shown.add(results[-1])
            else:
                results[like] = _with_alike(results[like], same)
        return results

    def with_copies(self, photo: ScoredPhoto) -> ScoredPhoto:
        """The photo itself, whichever of its copies a result would show."""
        self._look_up([photo])
        return _shown_with(photo, self._same_as(photo))

    # --- the same picture --------------------------------------------------------------------------------------------

    def _look_up(self, photos: Sequence[ScoredPhoto]) -> None:
        new = [photo for photo in photos if photo.row.photo_id not in self._relatives]
        for photo, ids in zip(new, self._lookup.relatives(new), strict=True):
            self._relatives[photo.row.photo_id] = ids

    def _same_as(self, photo: ScoredPhoto) -> list[ScoredPhoto]:
        """The photo with all exact copies and files of its shot, and theirs. Nearly always it is alone."""
        if not self._relatives[photo.row.photo_id]:
            return [photo]
        if photo.row.photo_id not in self._same:
            self._same[photo.row.photo_id] = self._closure(photo)
        return self._same[photo.row.photo_id]

    def _closure(self, photo: ScoredPhoto) -> list[ScoredPhoto]:
        same = self._lookup.with_metadata([photo])
        seen = {photo.row.photo_id}
        for followed in range(_MOST_FOLLOWED):
            if followed >= len(same):
                break
            self._look_up([same[followed]])
            new = [id_ for id_ in self._relatives[same[followed].row.photo_id] if id_ not in seen]
            if not new:
                continue
            found = self._lookup.with_metadata(list(self._lookup.passing_among(new)))
            related = [each for each in found if _are_same(same[followed], each)]
            seen.update(each.row.photo_id for each in related)
            same += related
        return same


_AT_ONCE = 64


def _are_same(one: ScoredPhoto, other: ScoredPhoto) -> bool:
    """Whether two photos have the same bytes or are files of one shot."""
    return one.row.digest == other.row.digest or are_one_shot(one, other)


def are_one_shot(one: ScoredPhoto, other: ScoredPhoto) -> bool:
    """Whether two photos lie in one folder, are named alike but for the ending, and were taken in one moment.

    Without the cameras' times the files' times count, but only between a RAW file, a film and a picture: a scan and the
    letter beside it may well have been saved in the same second.
    """
    stems = [photo.path.rpartition(b".")[0] for photo in (one, other)]
    if stems[0] != stems[1] or suffix(one.path) == suffix(other.path):
        return False
    taken = one.metadata.captured_s, other.metadata.captured_s
    if taken[0] is not None and taken[1] is not None:
        return abs(taken[0] - taken[1]) <= _ONE_MOMENT_S
    return _source(one) != _source(other) and abs(one.mtime_ns - other.mtime_ns) <= _ONE_MOMENT_S * 10**9


def _source(photo: ScoredPhoto) -> int:
    """0 for a picture, 1 for a RAW file, 2 for a film: in this order they are shown."""
    return 2 if photo.row.film_id is not None else int(suffix(photo.path) in formats.RAW.suffixes)


# --- results ---------------------------------------------------------------------------------------------------------


def _result(same: Sequence[ScoredPhoto]) -> ScoredPhoto:
    """Of photos that are the same picture, the first of which ranks first: the one to show, with the others."""
    if len(same) == 1:
        return same[0]
    return _shown_with(min((each for each in same if _rank(each) == _rank(same[0])), key=_preference), same)


def _shown_with(shown: ScoredPhoto, same: Sequence[ScoredPhoto]) -> ScoredPhoto:
    others = [each for each in same if each.row.photo_id != shown.row.photo_id]
    others.sort(key=lambda each: (not _is_exact(each, shown), each.path))
    return shown._replace(copies=tuple(FoldedPhoto(each, _kind(each, shown)) for each in others))


def _rank(photo: ScoredPhoto) -> float | None:
    """What photos are ordered by."""
    if photo.score is not None:
        return photo.score
    return photo.mtime_ns if photo.metadata.captured_s is None else photo.metadata.captured_s


def _preference(photo: ScoredPhoto) -> tuple[int, int, bytes]:
    return _source(photo), len(photo.path), photo.path


def _is_exact(photo: ScoredPhoto, shown: ScoredPhoto) -> bool:
    return photo.row.digest == shown.row.digest


def _kind(photo: ScoredPhoto, shown: ScoredPhoto) -> Kind:
    return "exact" if _is_exact(photo, shown) else "pair"


def _with_alike(result: ScoredPhoto, others: Sequence[ScoredPhoto]) -> ScoredPhoto:
    return result._replace(copies=(*result.copies, *(FoldedPhoto(each, "alike") for each in others)))


class _Vectors:
    """Those of the photos that are shown so far."""

    def __init__(self, is_needed: bool):
        self._is_needed = is_needed
        self._rows = np.empty((0, 0), np.float32)
        self._count = 0

    def add(self, photo: ScoredPhoto) -> None:
        if self._is_needed:
            vector = _vector(photo)
            if self._count == len(self._rows):
                grown = np.empty((max(16, 2 * self._count), len(vector)), np.float32)
                grown[: self._count] = self._rows[: self._count] if self._count else 0
                self._rows = grown
            self._rows[self._count] = vector
            self._count += 1

    def nearest(self, photo: ScoredPhoto, similarity: float) -> int | None:
        """Which of them it is most like, if the cosine is at least that."""
        if not self._count:
            return None
        cosines = self._rows[: self._count] @ _vector(photo)
        best = int(cosines.argmax())
        return best if cosines[best] >= similarity else None


def _vector(photo: ScoredPhoto) -> np.ndarray:
    """(D,) float32 of length 1"""
    vector = np.frombuffer(photo.row.vector, np.float16).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector))


def together(results: Sequence[ScoredPhoto], similarity: float | None, top: int) -> list[ScoredPhoto]:
    """The first results of those that several indexes have found, in their order.

    A photo that two indexes hold comes once; exact copies in both are one result, unless `similarity` is None.
    """
    kept: list[ScoredPhoto] = []
    shown = _Vectors(similarity is not None and similarity < COPIES)
    owners: dict[bytes, int] = {}
    """Paths and digests to the result that has them."""
    for result in results:
        names = _names(result, similarity)
        owner = next((owners[name] for name in names if name in owners), None)
        if owner is None and similarity is not None:
            owner = shown.nearest(result, similarity)
        if owner is None:
            if len(kept) == top:
                break
            owner = len(kept)
            kept.append(result)
            shown.add(result)
        else:
            kept[owner] = _joined(kept[owner], result)
        owners |= dict.fromkeys(names, owner)
    return kept


def _names(result: ScoredPhoto, similarity: float | None) -> list[bytes]:
    """By which a photo is recognized; by itself, also a film's moment is one."""
    if similarity is None:
        return [b"%s\0%d" % (result.path, result.row.at_ms or 0)]
    photos = [result, *(copy.photo for copy in result.copies)]
    return [photo.path for photo in photos] + [photo.row.digest for photo in photos]


def _joined(one: ScoredPhoto, other: ScoredPhoto) -> ScoredPhoto:
    """Copies are again told by the photo that is shown."""
    known = {one.path, *(copy.photo.path for copy in one.copies)}
    same = {one.row.digest, *(copy.photo.row.digest for copy in one.copies if copy.kind != "alike")}
    is_same = other.row.digest in same or any(copy.photo.row.digest in same for copy in other.copies)
    added = [FoldedPhoto(other._replace(copies=()), "pair"), *other.copies]
    new = [copy for copy in added if copy.photo.path not in known]
    kinds: list[Kind] = ["alike" if copy.kind == "alike" or not is_same else _kind(copy.photo, one) for copy in new]
    return one._replace(copies=(*one.copies, *map(FoldedPhoto, (copy.photo for copy in new), kinds)))
