"""Reads the sidecars that have appeared, changed or gone since the last run, without pixels and the model."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from rclip.cores import CORES
from rclip.files import SEPARATOR
from rclip.index.store import Store
from rclip.indexing.sidecar_files import BesidePhoto, SidecarFiles
from rclip.indexing.summary import Summary
from rclip.photo.metadata_parser import Layers
from rclip.photo.sidecar import merged, read

_STORED_TOGETHER = 500
_WORKERS = CORES


class _Change(NamedTuple):
    """A photo whose sidecars are not those that were read."""

    id: int
    path: bytes
    beside: BesidePhoto | None
    """None where there are none any more."""


def read_changed(
    store: Store,
    folder: bytes,
    sidecars: SidecarFiles,
    summary: Summary,
    progress: Callable[[int, int | None], None],
) -> None:
    """Stores what the sidecars say of the photos below `folder`, and counts the photos in `summary`.

    What cannot be read is tried again by the next run.
    """
    changes = list(_changes(store, folder, sidecars))
    if not changes:
        return
    remaining = iter(changes)
    done = 0
    progress(0, len(changes))
    pool = ThreadPoolExecutor(_WORKERS, "rclip-sidecars")
    try:
        while batch := list(islice(remaining, _STORED_TOGETHER)):
            found = list(pool.map(_read, batch))
            with store.transaction():
                for change, layers in zip(batch, found, strict=True):
                    summary.sidecars_read += _store(store, change, layers)
            done += len(batch)
            progress(done, len(changes))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _changes(store: Store, folder: bytes, sidecars: SidecarFiles) -> Iterator[_Change]:
    for id_, path, state in store.metadata.sidecar_states(folder):
        beside = sidecars.found.get(path)
        if (beside.state if beside else None) != state and _folder_of(path) in sidecars.folders:
            yield _Change(id_, path, beside)


def _folder_of(path: bytes) -> bytes:
    return path[: path.rfind(SEPARATOR) + 1]


def _read(change: _Change) -> list[Layers] | None:
    """Those of each sidecar; None where one cannot be read now."""
    try:
        return [read(_folder_of(change.path) + name) for name in (change.beside.names if change.beside else ())]
    except OSError:
        return None


def _store(store: Store, change: _Change, layers: list[Layers] | None) -> bool:
    """Whether it is stored."""
    name = os.path.basename(change.path)
    if layers is None:
        return False
    if change.beside is None:
        store.metadata.drop_sidecars(change.id, name)
    else:
        own = store.metadata.own(change.id)
        store.metadata.put_sidecars(change.id, name, change.beside.state, merged(own, layers))
    return True
