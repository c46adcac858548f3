"""Checks everything that is stored, part by part: what is wrong with it, and what repairs it.

Nothing is written to the table. Derived parts, the matrix, what is made of it and the weights, are discarded when they
are wrong, so that the next run rebuilds them.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from rclip.errors import StoreError, plain_reason
from rclip.index.approximate import InvertedFile
from rclip.index.photo_index import PhotoIndex
from rclip.index.store import Store, maintenance
from rclip.index.vector_cache import VectorCache
from rclip.models import Model


class Remedy(Enum):
    """What repairs a damaged part."""

    NONE_NEEDED = "none needed"
    NEXT_RUN = "the next run"
    DELETION = "deleting the folder of caches, and then the next run"
    REBUILD = "rebuilding the index"


LENGTH_TOLERANCE = 5e-3
"""How far from 1 the length of a sound vector may be: ten times what rounding to half precision does, 2^-11 at most."""

_WRITERS_MOMENT_S = 1.0
"""Within which a run that is just writing the cache has noted that in the table."""


_MOST_FAULTS = 100  # listed of the vectors; the others are counted


class Finding(NamedTuple):
    """What was found of one part of what is stored."""

    part: str
    """The database, the vectors and metadata in it, the matrix, the weights."""
    summary: str
    """In a few words."""
    faults: Sequence[str] = ()
    """What is wrong, a line each; none when the part is sound."""
    remedy: Remedy = Remedy.NONE_NEEDED
    path: str = ""
    """The folder to delete, where that is the remedy."""
    root: str = ""
    """The folder that a portable index is for; empty for the user's own index."""


def check_all(model: Model, indexes: Sequence[PhotoIndex]) -> Iterator[Finding]:
    """The model's weights and each index, which is named where there are several."""
    yield check_weights(model)
    for index in indexes:
        where = f" ({index.path})" if len(indexes) > 1 else ""
        yield from (each._replace(summary=each.summary + where) for each in check_index(index))


def check_weights(model: Model) -> Finding:
    """Both towers' files against their checksums."""
    faults = model.discard_damaged_weights()
    if faults:
        return Finding("weights", "damaged", faults, Remedy.NEXT_RUN)
    return Finding("weights", "sound" if model.has_weights else "not made yet")


def check_index(index: PhotoIndex) -> Iterator[Finding]:
    """A finding for each part of the whole index. Raises `StoreError` where it cannot be opened."""
    if not index.exists():
        yield Finding("index", "none yet")
        return
    store, dimensions = index.store, index.model.dimensions
    yield _check_database(store)
    yield _check_matrix(store)
    yield from _check_derived(store)
    yield _check_vectors(store, dimensions)
    yield _check_metadata(store)
    yield from _check_films(store)


def _check_database(store: Store) -> Finding:
    try:
        faults = maintenance.integrity_errors(store)
        faults += [
            f"the path {os.fsdecode(path)!r} is not absolute and plain" for path in maintenance.invalid_paths(store)
        ]
        if faults:
            return _damaged(store, "index", "damaged", faults)
        there, missing = store.files.count(b"/")
        unreadable = len(store.files.failures(b"/"))
    except StoreError as error:
        return _damaged(store, "index", "damaged", [str(error)])
    return Finding("index", f"sound: {there - unreadable:,} photos, {unreadable:,} unreadable, {missing:,} missing")


def _damaged(store: Store, part: str, summary: str, faults: Sequence[str]) -> Finding:
    """A finding that rebuilding the index repairs."""
    return Finding(part, summary, faults, Remedy.REBUILD, root=store.folder_served)


def _check_matrix(store: Store) -> Finding:
    """Whether its bytes are those that were written; that they are the table's is seen with the vectors."""
    try:
        cache, corruption = _suspicious(store)
        if corruption is None:
            return Finding("matrix", f"sound: {cache.rows:,} vectors" if cache.rows else "none, and none needed yet")
        cache.discard()
    except StoreError as error:
        return _damaged(store, "matrix", "cannot be checked", [str(error)])
    except OSError as error:
        faults = [str(corruption), plain_reason(error)]
        return Finding("matrix", "damaged", faults, Remedy.DELETION, path=store.cache_folder)
    return Finding("matrix", "damaged", [str(corruption)], Remedy.NEXT_RUN)


def _suspicious(store: Store) -> tuple[VectorCache, str | None]:
    """The cache and its fault, looked at twice: another run may just have been writing it."""
    cache = VectorCache(store)
    corruption = cache.corruption()
    if corruption is not None:
        time.sleep(_WRITERS_MOMENT_S)
        cache = VectorCache(store)
        corruption = cache.corruption()
    return cache, corruption


def _check_derived(store: Store) -> Iterator[Finding]:
    """Whether the bytes of what is derived from the matrix are those that were written; nothing for what is not there.

    Where it is, the matrix is, too: a new one begins without.
    """
    try:
        cache = VectorCache(store)
    except StoreError:  # the matrix cannot be checked either, which is reported
        return
    if not cache.rows:
        return
    for part, derived in (("sketch", cache.sketch), ("approximate", InvertedFile(cache))):
        if not derived.exists():
            continue
        if derived.is_sound():
            yield Finding(part, f"sound: of {derived.rows:,} vectors")
            continue
        faults = ["its bytes are not those that were written"]
        try:
            derived.discard()
        except OSError as error:
            yield Finding(part, "damaged", [*faults, plain_reason(error)], Remedy.DELETION, path=store.cache_folder)
        else:
            yield Finding(part, "damaged", faults, Remedy.NEXT_RUN)


def _check_metadata(store: Store) -> Finding:
    """Whether each is of its column's type and within what can be."""
    try:
        count, wrong = maintenance.invalid_metadata(store)
        if not wrong:
            store.metadata.cameras()  # also those that no photo names
    except StoreError as error:
        return _damaged(store, "metadata", "cannot be read to the end", [str(error)])
    if not wrong:
        return Finding("metadata", f"sound: of {count:,} photos" if count else "none yet")
    faults = [f"{os.fsdecode(path)}: its metadata was never stored so" for path in wrong[:_MOST_FAULTS]]
    more = [f"… and {len(wrong) - len(faults):,} more"] if len(wrong) > len(faults) else []
    return _damaged(store, "metadata", f"{len(wrong):,} of {count:,} damaged", faults + more)


def _check_films(store: Store) -> Iterator[Finding]:
    """Whether each moment belongs to a film, and has a time that can be. Nothing where there are none."""
    try:
        films, moments, wrong = maintenance.invalid_films(store)
    except StoreError as error:
        yield _damaged(store, "videos", "cannot be read to the end", [str(error)])
        return
    if films and not wrong:
        yield Finding("videos", f"sound: {films:,} with {films + moments:,} moments")
    if not wrong:
        return
    faults = [
        f"{os.fsdecode(path) or 'a lost video'}: its moments were never stored so" for path in wrong[:_MOST_FAULTS]
    ]
    more = [f"… and {len(wrong) - len(faults):,} more"] if len(wrong) > len(faults) else []
    yield _damaged(store, "videos", f"{len(wrong):,} of {films:,} damaged", faults + more)


def _check_vectors(store: Store, dimensions: int | None) -> Finding:
    """Each is finite, of the right size, of length 1, and the same in table and matrix.

    A row's vector never changes and the matrix has its checksum, so where the two differ it is the table that is wrong.
    """
    faults: list[str] = []
    count = fault_count = 0
    try:
        with store.snapshot():
            matrix = VectorCache(store)
            for rows in maintenance.stored_vectors(store):
                count += len(rows)
                dimensions = dimensions or Counter(len(vector) // 2 for _, _, vector in rows).most_common(1)[0][0]
                wrong = _faults_of(rows, dimensions, matrix)
                fault_count += len(wrong)
                listed = sorted(wrong.items())[: _MOST_FAULTS - len(faults)]
                faults += (f"{os.fsdecode(rows[place][1])}: {why}" for place, why in listed)
    except StoreError as error:
        return _damaged(store, "vectors", "cannot be read to the end", [*faults, str(error)])
    if faults:
        more = [f"… and {fault_count - len(faults):,} more"] if fault_count > len(faults) else []
        return _damaged(store, "vectors", f"{fault_count:,} of {count:,} damaged", faults + more)
    return Finding("vectors", f"sound: {count:,} of length 1" if count else "none yet")


def _faults_of(rows: list[tuple[int, bytes, bytes]], dimensions: int, matrix: VectorCache) -> dict[int, str]:
    """What is wrong with each of these rows' vectors, by its place among them."""
    sizes = np.fromiter((len(vector) for _, _, vector in rows), np.int64, len(rows))
    wrong = {
        int(place): f"its vector takes {sizes[place]} bytes, not {2 * dimensions}"
        for place in np.flatnonzero(sizes != 2 * dimensions)
    }
    places = np.flatnonzero(sizes == 2 * dimensions)
    ids = np.fromiter((rows[place][0] for place in places), np.int64, len(places))
    vectors = np.frombuffer(b"".join(rows[place][2] for place in places), "<f2").reshape(-1, dimensions)
    for place in places[matrix.differing(ids, vectors)]:
        wrong[int(place)] = "its vector is not the one that was stored, which the matrix has"
    exact = vectors.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", exact, exact))
    off = ~(np.abs(lengths - 1) <= LENGTH_TOLERANCE)  # NaN, too
    for place, length in zip(places[off], lengths[off], strict=True):
        is_number = np.isfinite(length)  # no sum of squares of half precision overflows
        wrong[int(place)] = (
            f"its vector has the length {length:.4g}, not 1"
            if is_number
            else "its vector holds values that are not numbers"
        )
    return wrong
