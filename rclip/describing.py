"""Looks through photos that an older rclip has indexed for what they say of themselves; the model has no part in it."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from rclip import formats
from rclip.changes import Summary
from rclip.decoding import Answer, Decoders, default_max_pixels
from rclip.facts import NONE, Facts
from rclip.reading import WORKERS, open_without_waiting
from rclip.store import Store, Undescribed
from rclip.walk import stamp, suffix

_STORED_TOGETHER = 500


def describe(
    store: Store,
    photos: list[Undescribed],
    max_pixels: int | None,
    summary: Summary,
    progress: Callable[[int, int], None],
) -> None:
    """Adds the facts of these photos' files to the store; adds to `summary` what has been stored.

    A file that has changed or vanished since, or cannot be opened, is left for another time.
    """
    decoders = Decoders(0, max_pixels or default_max_pixels())
    remaining = iter(photos)
    done = 0
    progress(0, len(photos))
    pool = ThreadPoolExecutor(WORKERS, "rclip-describe")
    try:
        while batch := list(islice(remaining, _STORED_TOGETHER)):
            found = []
            for facts in pool.map(lambda photo: _facts(photo, decoders), batch):
                found.append(facts)
                progress(done + len(found), len(photos))
            done += len(batch)
            summary.described += _store_facts(store, batch, found)
    finally:  # one who interrupts it does not wait for files that are still to be read
        pool.shutdown(wait=False, cancel_futures=True)
        decoders.close()


def _store_facts(store: Store, photos: Sequence[Undescribed], found: Sequence[Facts | None]) -> int:
    """Stores what was found, and returns of how many photos."""
    described = [(photo.id, facts) for photo, facts in zip(photos, found, strict=True) if facts is not None]
    if described:
        with store.transaction():
            for id_, facts in described:
                store.facts.describe(id_, facts)
    return len(described)


def _facts(photo: Undescribed, decoders: Decoders) -> Facts | None:
    """None when it has to be tried again; `NONE` when there is nothing to be had."""
    ending = suffix(photo.path)
    if formats.missing_extra(ending):
        return None
    try:
        with open(photo.path, "rb", opener=open_without_waiting) as file:
            if stamp(os.fstat(file.fileno()))[:2] != (photo.size_bytes, photo.mtime_ns):
                return None
            answer = decoders.decode(file, ending)
    except OSError:
        return None
    if isinstance(answer, Answer):
        return answer.facts
    is_hopeless = answer.is_lasting and not answer.extra  # it was readable once; the next change of it is looked at
    return NONE if is_hopeless else None
