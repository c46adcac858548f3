"""What the command says to the person at the terminal, on stderr: notices, progress, and what an update has changed."""

import gc
import json
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from rclip.cli import activity, messages
from rclip.cli.messages import Doing, Notice, tell
from rclip.cli.options import COMMAND_LINE
from rclip.cli.settings import user_file
from rclip.errors import ReadOnlyIndex, UnlistedFolder
from rclip.signals import Interrupted
from rclip.terminal.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tqdm import tqdm

    from rclip.cli.options import Options
    from rclip.files import FileStat
    from rclip.indexing.progress import Progress
    from rclip.indexing.summary import Summary
    from rclip.library import Library
    from rclip.photo.failures import FailedPhoto


class _Bar:
    """On a terminal a spinner while folders are listed, then a progress bar where there is anything to read."""

    def __init__(self, hint: str) -> None:
        """`hint` is for who waits long for the list."""
        self._hint = hint
        self._bar: tqdm[NoReturn] | None = None
        self.done = self.total = 0

    def __call__(self, progress: "Progress") -> None:
        stage, done, total = progress[:3]
        if stage == "listing":
            activity.show(Doing.LISTING.format(files=done), self._hint)
            return
        if total is None:
            return
        activity.stop()
        gc.enable()  # from here on it may take hours
        if self._bar is None and total and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="photo", desc="indexing", leave=False, dynamic_ncols=True)
        if self._bar is not None:
            if done == 0:  # the next folder
                self._bar.reset(total)
            if progress.hosts:
                self._bar.set_postfix_str(_rates(progress.hosts), refresh=False)
            self._bar.update(done - self._bar.n)
        self.done, self.total = done, total

    def close(self) -> None:
        activity.stop()
        if self._bar is not None:
            self._bar.close()


_MOST_HOSTS = 4


def _rates(hosts: "Mapping[str, float]") -> str:
    """`anna 31/s, berta 28/s`, the fastest first."""
    fastest = sorted(hosts.items(), key=lambda host: -host[1])
    told = [f"{printable(host)[:_LONGEST_HOST]} {rate:.0f}/s" for host, rate in fastest[:_MOST_HOSTS]]
    return ", ".join([*told, f"{len(hosts) - _MOST_HOSTS} more"] if len(hosts) > _MOST_HOSTS else told)


_LONGEST_HOST = 30


def update(
    library: "Library",
    options: "Options",
    changed: "Collection[bytes] | None" = None,
    is_settled: "Callable[[bytes, FileStat], bool] | None" = None,
) -> "Summary":
    """Updates the index and reports what has changed, also when it is interrupted. Raises `StoreError`.

    `changed` and `is_settled` are those of `Library.update`.
    """
    from rclip.indexing.summary import Summary

    must_list = any(options.values[name] for name in ("index", "rebuild", "watch"))
    summary, bar = Summary(), _Bar("" if must_list else Notice.LISTING_IS_SLOW)
    error: ReadOnlyIndex | UnlistedFolder | None = None
    try:
        around = None if changed is None else map(os.fsdecode, changed)
        library.update(bar, summary, around, is_settled, options.values["cluster"])
    except Interrupted as stopped:
        bar.close()
        tell(Notice.STOPPED_AFTER.format(done=bar.done, total=bar.total) if bar.total else Notice.STOPPED_EARLY)
        stopped.is_reported = True
        raise
    except (ReadOnlyIndex, UnlistedFolder) as caught:  # what could be done was done all the same
        error = caught
    finally:
        bar.close()
    _report(summary, options)
    if sys.stderr.isatty() and changed is None:
        _say_how_to_make_it_last(options)
    if error and (options.values["index"] or not isinstance(error, ReadOnlyIndex)):
        raise error
    if error:
        tell(error)
    return summary


def is_quiet(options: "Options") -> bool:
    """Whether only problems are reported: by `--index` where nobody looks."""
    return bool(options.values["index"]) and not options.values["verbose"] and not sys.stderr.isatty()


def report_no_change(library: "Library", summary: "Summary") -> None:
    """If there was none, as far as all folders could be listed."""
    if not summary.has_changes and not summary.unlisted:
        tell(Notice.UNCHANGED.format(photos=library.stats().photos))


def sorting(done: int, total: int) -> None:
    """How far the vectors are sorted for an approximate search."""
    activity.show(Doing.SORTING.format(done=done, total=total))


def report_recalls(library: "Library") -> None:
    """What an approximate search finds, for each index that has one."""
    for recall in library.stats().recalls.values():
        tell(Notice.RECALL.format(recall=messages.RECALL.format(**recall._asdict())))


# --- what has changed ------------------------------------------------------------------------------------------------

_MOST_LINES = 5  # about folders and files that could not be read, each


def _report(summary: "Summary", options: "Options") -> None:
    """Problems, and in a line what has changed; `--index` where nobody looks reports the problems only, a line each."""
    for path, reason, *_ in summary.unlisted[:_MOST_LINES]:
        tell(Notice.UNLISTED.format(folder=os.fsdecode(path), reason=reason))
    if len(summary.unlisted) > _MOST_LINES:
        tell(Notice.MORE_FOLDERS.format(count=len(summary.unlisted) - _MOST_LINES))
    for path, reason, *_ in summary.unusable_ignore_files[:_MOST_LINES]:
        tell(Notice.UNUSABLE_IGNORE_FILE.format(path=os.fsdecode(path), reason=reason))
    if len(summary.unusable_ignore_files) > _MOST_LINES:
        tell(Notice.MORE_IGNORE_FILES.format(count=len(summary.unusable_ignore_files) - _MOST_LINES))
    if is_quiet(options):
        _list_files(summary)
        return
    if summary.has_changes:
        tell(Notice.UPDATED.format(changes=_changes(summary)))
    if summary.missing_extras:
        counts = messages.listing(
            [f"{count:,} {extra.name}" for extra, count in sorted(summary.missing_extras.items())]
        )
        files = "file" if summary.missing_extras.total() == 1 else "files"
        packages = " ".join(sorted(extra.package for extra in summary.missing_extras))
        said = Notice.MISSING_PACKAGES.format(counts=f"{counts} {files}", python=sys.executable, packages=packages)
        tell(said)


def _say_how_to_make_it_last(options: "Options") -> None:
    """Of a folder, or pattern, that the command line excludes, and no setting."""
    for key, line in (("exclude_dir", "{}/"), ("exclude", "{}")):
        setting = options.settings[key]
        if setting.source == COMMAND_LINE:
            given = line.format(setting.value[0])
            file = "a file named .rclipignore in the folder"
            if given.lstrip("!").startswith("/"):
                given, file = f"exclude = [{json.dumps(given, ensure_ascii=False)}]", user_file()
            tell(Notice.FOR_THIS_RUN.format(option=setting.option.name, line=given, file=file))


def _list_files(summary: "Summary") -> None:
    for failure in summary.failures[:_MOST_LINES]:
        tell(_unreadable(failure))
    for failure in summary.postponed[:_MOST_LINES]:
        tell(_unreadable(failure))
    for path, reason, *_ in summary.broken_films[:_MOST_LINES]:
        tell(Notice.VIDEO_IN_PART.format(path=os.fsdecode(path), reason=reason))
    listed = (summary.failures, summary.postponed, summary.broken_films)
    rest = sum(max(len(files) - _MOST_LINES, 0) for files in listed)
    if rest:
        tell(Notice.MORE_FILES.format(count=rest))


def _unreadable(failure: "FailedPhoto") -> str:
    notice = Notice.UNREADABLE_NOW if failure.kind.is_tried_again else Notice.UNREADABLE
    reason = messages.of_failure(failure.reason, failure.kind)
    return notice.format(path=os.fsdecode(failure.path), reason=reason)


def _changes(summary: "Summary") -> str:
    """`found 1 new photo, 29 moved files, 3 unreadable files (…)`."""
    counts = (
        (summary.added, "{:,} new photo", "{:,} new photos"),
        (summary.changed, "{:,} changed", "{:,} changed"),
        (summary.copied, "{:,} copy", "{:,} copies"),
        (summary.moved, "{:,} moved file", "{:,} moved files"),
        (summary.returned, "{:,} back", "{:,} back"),
        (summary.missing, "{:,} missing", "{:,} missing"),
        (summary.metadata_added, "dates and places of {:,} older photo", "dates and places of {:,} older photos"),
        (summary.sidecars_read, "sidecars of {:,} photo", "sidecars of {:,} photos"),
        (len(summary.failures), *2 * ("{:,} unreadable (rclip --stats lists them)",)),
        (
            len(summary.broken_films),
            "{:,} video only in part (rclip --stats lists it)",
            "{:,} videos only in part (rclip --stats lists them)",
        ),
        (len(summary.postponed), *2 * ("{:,} to be tried again by the next run",)),
    )
    return "found " + ", ".join((one if count == 1 else many).format(count) for count, one, many in counts if count)
