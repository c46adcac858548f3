"""Brings the index up to date with the photos on disk.

First `diff` merges the walk with the table: an unchanged file costs its stat and nothing else. Then only what is new
or changed is read, in threads (`reader`), encoded in batches and stored, one transaction a batch (`writer`).
"""

import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

from rclip import formats
from rclip.errors import ReadOnlyIndex, StoreError, UnlistedFolder
from rclip.files import FileStat, suffix
from rclip.ignoring import DEFAULT_RULES, IgnoreRules
from rclip.index.photo_index import PhotoIndex
from rclip.index.scope import Scope
from rclip.index.store import Store
from rclip.index.store.unread_metadata import without_metadata
from rclip.indexing.diff import Plan, plan_update
from rclip.indexing.ignore_files import IgnoreFiles, on_disk
from rclip.indexing.parts import parts_around
from rclip.indexing.progress import ListedFiles, Report, of_stage
from rclip.indexing.sidecar_files import SidecarFiles
from rclip.indexing.summary import Summary
from rclip.indexing.walk import walk
from rclip.models import Model
from rclip.photo.failures import TIME_LIMIT_VARIABLE, FailureKind

if TYPE_CHECKING:
    from rclip.indexing.cluster.session import Cluster


class UpdateOptions(NamedTuple):
    """How photos are found, read and encoded."""

    rules: IgnoreRules = DEFAULT_RULES
    suffixes: frozenset[str] = formats.SUFFIXES
    """The endings of the files to look for. What is known of others stays as it is."""
    device: str | None = None
    batch_size: int | None = None
    max_pixels: int | None = None
    """None for a limit drawn from the machine's memory. One given also tries unreadable files again."""
    before_reading: Callable[[], None] = lambda: None
    """Called before photos are read, if any are."""
    is_settled: Callable[[bytes, FileStat], bool] = lambda path, stat: True
    """Whether a new or changed file, by its absolute path, is complete; others are left to a later run."""
    cluster: "Cluster | None" = None
    """What reads the photos; None for this machine."""


def update_index(
    index: PhotoIndex,
    scope: Scope,
    options: UpdateOptions,
    summary: Summary,
    report: Report | None,
    changed: Collection[bytes] | None = None,
) -> list[StoreError]:
    """Updates the index of all folders in the scope. Raises `StoreError`.

    With `changed`, paths at which something has happened, only what is in the folders around them.
    Returns the errors that kept single folders from being updated; the others are.
    """
    parts = [(folder, folder) for folder in scope.walked(on_disk)]
    if changed is not None:
        parts = [(root, part) for root, _ in parts for part in parts_around(changed, root, scope.rules)]
        if not parts:
            return []
    index.require_adopted()
    index.sweep()
    index.import_from_default()
    errors: list[StoreError] = []
    for root, folder in parts:
        try:
            own = options._replace(rules=scope.rules)
            update(index.store, index.model, folder, own, summary, report, root)
        except (ReadOnlyIndex, UnlistedFolder) as error:
            errors.append(error)
    if not index.store.is_writable:
        index.forget_kept()  # ignore files may say something else now
    return errors


def update(
    store: Store,
    model: Model,
    folder: bytes,
    options: UpdateOptions,
    summary: Summary,
    report: Report | None,
    root: bytes | None = None,
) -> None:
    """Updates the index of everything below `folder`, an absolute path that ends in a slash.

    `root` is the folder that the user has named, at or above it: the rules of the walk start there.

    Adds to `summary` as it goes, so that an interrupted run can say how far it got; what is counted there is stored.
    Raises `StoreError`, `ReadOnlyIndex` before any photo is read, and `ModelError`; unreadable photos and folders are
    no errors.
    """
    listed = ListedFiles(report)
    sidecars = SidecarFiles()
    root = root or folder
    ignore_files = IgnoreFiles(root, options.rules, store)
    ignore_files.note_between(folder)
    inside = folder[len(root) :]

    def ignores_path(relative: bytes) -> bool:
        return ignore_files.tree.ignores_path(inside + relative)

    found = walk(folder, options.suffixes, ignore_files, listed.add, sidecars)
    to_retry = _to_retry(store, folder, options)
    rows = store.files.row_tuples(folder)
    if not formats.VIDEO.suffixes <= options.suffixes:
        rows = (row for row in rows if suffix(row[1]) not in formats.VIDEO.suffixes)
    plan = plan_update(found, rows, folder, ignores_path, to_retry, options.is_settled)
    listed.end()
    summary += Summary(unusable_ignore_files=ignore_files.failures, unsettled=plan.unsettled)
    if changes := ignore_files.changes():
        store.ignore_files.change(changes)
    if not store.is_writable:
        if plan.is_empty:  # what earlier runs have left to do is put off
            summary += Summary(unlisted=plan.unlisted, missing_extras=plan.missing_extras)
            return
        if store.is_portable:
            raise ReadOnlyIndex(path=store.path)
    if plan.touched or plan.undated:
        from rclip.indexing.touched import settle

        settle(store, plan, folder, of_stage("reading", report))
    summary += _store_plan(store, plan)
    if plan.pending:
        options.before_reading()
        _read_pending(store, model, folder, options, plan, summary, report)
    _describe(store, ignores_path, folder, options, summary, report)
    _read_sidecars(store, folder, sidecars, summary, report)
    if store.files.has_orphaned():
        with store.transaction():
            store.files.delete_orphaned()


def _read_pending(
    store: Store,
    model: Model,
    folder: bytes,
    options: UpdateOptions,
    plan: Plan,
    summary: Summary,
    report: Report | None,
) -> None:
    """What is new or changed. Loads the decoders, which most runs have no use for."""
    from rclip.indexing.writer import write_pending

    cluster = options.cluster
    how = (options.max_pixels, options.device, options.batch_size)
    if cluster:
        opened = cluster.source(store, model, folder, *how)
    else:
        from rclip.indexing.local_source import local_source

        opened = local_source(store, model, folder, *how)
    with opened as source:
        write_pending(store, source, folder, plan, summary, of_stage("reading", report, source.rates))


def _describe(
    store: Store,
    ignores_path: Callable[[bytes], bool],
    folder: bytes,
    options: UpdateOptions,
    summary: Summary,
    report: Report | None,
) -> None:
    """What an older rclip has indexed without asking it for more than its pixels."""
    known = without_metadata(store, folder)
    photos = [photo for photo in known if not ignores_path(photo.path[len(folder) :])]
    if photos:
        from rclip.indexing.metadata_backfill import describe

        describe(store, photos, options.max_pixels, summary, of_stage("metadata", report))


def _read_sidecars(
    store: Store, folder: bytes, sidecars: SidecarFiles, summary: Summary, report: Report | None
) -> None:
    """What has changed beside the photos since it was read."""
    if sidecars.found or store.metadata.has_sidecars():
        from rclip.indexing.sidecars import read_changed

        read_changed(store, folder, sidecars, summary, of_stage("metadata", report))


def _to_retry(store: Store, folder: bytes, options: UpdateOptions) -> set[bytes]:
    """The files that are read again although they are unchanged."""
    kinds = {FailureKind.CANNOT_OPEN}
    if os.environ.get(TIME_LIMIT_VARIABLE):
        kinds.add(FailureKind.TOO_SLOW)
    if options.max_pixels:
        kinds |= set(FailureKind)
    paths = {failure.path for failure in store.files.failures(folder) if failure.kind in kinds}
    if store.is_writable:
        paths.update(path for path in store.files.outdated(folder) if not formats.missing_extra(suffix(path)))
    return paths


def _store_plan(store: Store, plan: Plan) -> Summary:
    """Writes what the comparison alone has shown, if anything."""
    if plan.missing or plan.offline or plan.returned or plan.failures:
        with store.transaction():
            store.files.mark_missing(plan.missing)
            store.files.mark_offline(plan.offline)
            store.files.mark_present(plan.returned)
            for failure in plan.failures:
                store.files.add_failure(failure, FileStat(0, 0, 0, 0))
    return Summary(
        missing=len(plan.missing) + len(plan.offline),
        returned=len(plan.returned),
        failures=plan.failures,
        unlisted=plan.unlisted,
        missing_extras=plan.missing_extras,
    )
