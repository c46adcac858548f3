"""The newest photos of one index that pass the filters."""

from collections.abc import Iterator

import numpy as np

from rclip.filters import Filters, TimeRange, time_range
from rclip.index.store import Store, filtering
from rclip.search.folding import Folding
from rclip.search.lookup import Lookup
from rclip.search.scored_photo import ScoredPhoto
from rclip.search.selection import Selection

_MAX_SORTED = 4096
"""Up to so many photos are put in the order of their times; of more, the newest of all are looked through."""

_STREAMED = 1 << 16
"""So many of the newest are looked through for the few that pass, before these are listed and sorted."""


def newest(
    store: Store, number: int, selection: Selection, filters: Filters, top: int, fold: float | None
) -> list[ScoredPhoto]:
    """The photos selected, the one taken last first; `number` and `fold` are as in `Searcher`.

    For a snapshot that `selection` was made in.
    """
    lookup = Lookup(store, number, selection)
    folding = None if fold is None else Folding(lookup, fold)
    found: list[ScoredPhoto] = []
    results: list[ScoredPhoto] = []
    for ids in _by_time(store, selection, time_range(filters), top):
        found += lookup.passing(ids.tolist())
        if len(found) >= top:
            results = folding.results(found, top) if folding else found[:top]
            if len(results) == top:
                break
    else:
        results = folding.results(found, top) if folding else found[:top]
    return lookup.with_metadata(results)


def _by_time(store: Store, selection: Selection, times: TimeRange, top: int) -> Iterator[np.ndarray]:
    """Ids of photos that may pass, the one taken last first, some at a time."""
    if top > _STREAMED:
        selection.settle()
    streamed = 0
    seen = np.empty(0, np.int64)
    if selection.ids is None or len(selection.ids) > _MAX_SORTED:
        for ids in filtering.newest_first(store, times):
            passing = ids if selection.ids is None else ids[_are_among(ids, selection.ids)]
            yield passing
            seen = np.concatenate([seen, passing])
            streamed += len(ids)
            if streamed > _STREAMED >= top and (selection.is_wide or selection.ids is not None):
                break
        else:
            return
        selection.settle()
    assert selection.ids is not None
    yield from _in_parts(filtering.newest_of(store, np.setdiff1d(selection.ids, seen).tolist()))


def _are_among(ids: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether each is one of the others, which ascend and are some. (n,), (N,) -> (n,) bool"""
    is_among: np.ndarray = others[np.searchsorted(others, ids).clip(max=len(others) - 1)] == ids
    return is_among


def _in_parts(ids: np.ndarray) -> Iterator[np.ndarray]:
    start, size = 0, 64
    while start < len(ids):
        yield ids[start : start + size]
        start, size = start + size, 4 * size
