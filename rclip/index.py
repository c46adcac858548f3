"""Brings the index up to date with the photos on disk.

First `changes` merges the walk with the table: an unchanged file costs its stat and nothing else. Then only what is new
or changed is read, in threads (`reading`), encoded in batches and stored, one transaction a batch (`writing`).
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from rclip import formats
from rclip.changes import CANNOT_OPEN, TIME_LIMIT_VARIABLE, TOO_SLOW, Plan, Summary, compare
from rclip.errors import ReadOnlyIndex
from rclip.models import Model
from rclip.store import Stamp, Store
from rclip.walk import USUAL, Skip, walk

Progress = Callable[[int, int], None]
"""Called with the number of files done and of all that are to be read."""


class Options(NamedTuple):
    """How photos are found, read and encoded."""

    skip: Skip = USUAL
    device: str | None = None
    batch_size: int | None = None
    max_pixels: int | None = None
    """None for a limit drawn from the machine's memory. One given also tries unreadable files again."""


def update(store: Store, model: Model, folder: bytes, options: Options, summary: Summary, progress: Progress) -> None:
    """Updates the index of everything below `folder`, an absolute path that ends in a slash.

    Adds to `summary` as it goes, so that an interrupted run can say how far it got; what is counted there is stored.
    Raises `StoreError`, `ReadOnlyIndex` before any photo is read, and `ModelError`; unreadable photos and folders are
    no errors.
    """
    found = walk(folder, formats.SUFFIXES, options.skip)
    plan = compare(found, store.rows(folder), folder, options.skip, _to_retry(store.failures(folder), options))
    if not store.is_writable:
        if plan.is_empty:  # what earlier runs have left to do is put off
            summary += Summary(unlisted=plan.unlisted, missing_extras=plan.missing_extras)
            return
        if store.travels:
            raise ReadOnlyIndex(f"{store.path} may not be written, and photos have changed; it is searched as it is")
    summary += _store_plan(store, plan)
    if plan.pending:
        from rclip.writing import write_pending  # loads the decoders, which most runs have no use for

        with model.image_encoder(options.device, options.batch_size) as encoder:
            write_pending(store, encoder, folder, options.max_pixels, plan, summary, progress)
    _describe(store, folder, options, summary, progress)
    if store.has_displaced():
        with store.transaction():
            store.drop_displaced()


def _describe(store: Store, folder: bytes, options: Options, summary: Summary, progress: Progress) -> None:
    """What an older rclip has indexed without asking it for more than its pixels."""
    known = store.facts.undescribed(folder)
    photos = [photo for photo in known if not options.skip.path(photo.path[len(folder) :])]
    if photos:
        from rclip.describing import describe

        describe(store, photos, options.max_pixels, summary, progress)


def _to_retry(failures: dict[bytes, str], options: Options) -> set[bytes]:
    """The unreadable files that are tried again although they are unchanged."""
    if options.max_pixels:
        return set(failures)
    hopeful = (CANNOT_OPEN, TOO_SLOW) if os.environ.get(TIME_LIMIT_VARIABLE) else CANNOT_OPEN
    return {path for path, reason in failures.items() if reason.startswith(hopeful)}


def _store_plan(store: Store, plan: Plan) -> Summary:
    """Writes what the comparison alone has shown, if anything."""
    if plan.gone or plan.away or plan.returned or plan.failures:
        with store.transaction():
            store.mark_gone(plan.gone)
            store.mark_away(plan.away)
            store.mark_there(plan.returned)
            for failure in plan.failures:
                store.add_failure(failure.path, Stamp(0, 0, 0, 0), failure.reason)
    return Summary(
        gone=len(plan.gone) + len(plan.away),
        returned=len(plan.returned),
        failures=plan.failures,
        unlisted=plan.unlisted,
        missing_extras=plan.missing_extras,
    )
