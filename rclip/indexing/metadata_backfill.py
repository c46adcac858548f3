"""Looks through photos that an older rclip has indexed for what they say of themselves; the model has no part in it."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from rclip import formats
from rclip.files import stat_fields, suffix
from rclip.index.store import Store
from rclip.index.store.unread_metadata import PhotoWithoutMetadata
from rclip.indexing.reader import WORKERS, open_without_waiting
from rclip.indexing.summary import Summary
from rclip.photo.decode_pool import DecodePool, default_max_pixels
from rclip.photo.failures import DecodeError
from rclip.photo.metadata import NO_METADATA, PhotoMetadata

_STORED_TOGETHER = 500


def describe(
    store: Store,
    photos: list[PhotoWithoutMetadata],
    max_pixels: int | None,
    summary: Summary,
    progress: Callable[[int, int | None], None],
) -> None:
    """Adds the metadata of these photos' files to the store, and counts it in `summary`.

    A file that has changed or vanished since, or cannot be opened, is left for another time.
    """
    decoders = DecodePool(0, max_pixels or default_max_pixels())
    remaining = iter(photos)
    done = 0
    progress(0, len(photos))
    pool = ThreadPoolExecutor(WORKERS, "rclip-describe")
    try:
        while batch := list(islice(remaining, _STORED_TOGETHER)):
            found = []
            for metadata in pool.map(lambda photo: _metadata(photo, decoders), batch):
                found.append(metadata)
                progress(done + len(found), len(photos))
            done += len(batch)
            summary.metadata_added += _store_metadata(store, batch, found)
    finally:  # one who interrupts it does not wait for files that are still to be read
        pool.shutdown(wait=False, cancel_futures=True)
        decoders.close()


def _store_metadata(store: Store, photos: Sequence[PhotoWithoutMetadata], found: Sequence[PhotoMetadata | None]) -> int:
    """Stores what was found, and returns of how many photos."""
    metadata_added = [
        (photo.id, os.path.basename(photo.path), metadata)
        for photo, metadata in zip(photos, found, strict=True)
        if metadata is not None
    ]
    if metadata_added:
        with store.transaction():
            for id_, name, metadata in metadata_added:
                store.metadata.describe(id_, name, metadata)
    return len(metadata_added)


def _metadata(photo: PhotoWithoutMetadata, decoders: DecodePool) -> PhotoMetadata | None:
    """None when it has to be tried again; `NO_METADATA` when there is nothing to be had."""
    ending = suffix(photo.path)
    if formats.missing_extra(ending):
        return None
    try:
        with open(photo.path, "rb", opener=open_without_waiting) as file:
            if stat_fields(os.fstat(file.fileno()))[:2] != (photo.size_bytes, photo.mtime_ns):
                return None
            return decoders.decode(file, ending).metadata
    except OSError:
        return None
    except DecodeError as error:  # it was readable once; the next change of it is looked at
        return NO_METADATA if error.kind.is_stored else None
