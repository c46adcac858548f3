"""Updates of several indexes: those of the directories of a library."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from rclip.errors import RclipError, ReadOnlyIndex, StoreError
from rclip.index.photo_index import PhotoIndex
from rclip.index.scope import Scope
from rclip.indexing.progress import Report
from rclip.indexing.summary import Summary
from rclip.indexing.update import UpdateOptions, update_index

if TYPE_CHECKING:
    from rclip.indexing.cluster.session import Cluster


def update_all(
    parts: Sequence[tuple[PhotoIndex, Scope]],
    options: UpdateOptions,
    summary: Summary,
    report: Report | None,
    changed: Collection[bytes] | None,
    notify: Callable[[str | RclipError], None],
) -> None:
    """Updates each; see `update_index`. Raises the worst `StoreError` when all else is done; others are reported."""
    updates = [partial(update_index, *part, options, summary, report, changed) for part in parts]
    _raise_worst([error for update in updates for error in _errors_of(update)], notify)


def cluster_at(
    address: str | None, notify: Callable[[str | RclipError], None]
) -> "AbstractContextManager[Cluster | None]":
    """The cluster with a Dask scheduler at that address, as long as it is open; None without an address."""
    if address is None:
        return nullcontext()
    from rclip.indexing.cluster.session import Cluster

    return Cluster(address, notify)


def report_old_decoders(data_dir: str, notify: Callable[[str | RclipError], None]) -> None:
    """Once a day; see `old_decoders`."""
    from rclip.photo.soundness import old_decoders  # most updates read nothing

    for old in old_decoders(data_dir):
        notify(old)


def _errors_of(update: Callable[[], list[StoreError]]) -> list[StoreError]:
    """Those that it returns, or the one that it raises."""
    try:
        return update()
    except StoreError as error:
        return [error]


def _raise_worst(errors: Iterable[StoreError], notify: Callable[[str | RclipError], None]) -> None:
    """The others are reported. A read-only index is the least of them: it can be searched as it is."""
    distinct = {str(error): error for error in errors}.values()
    if not distinct:
        return
    *others, worst = sorted(distinct, key=lambda error: not isinstance(error, ReadOnlyIndex))
    for error in others:
        notify(error)
    raise worst
