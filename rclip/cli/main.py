"""The command: arguments in, exit status out. Only here are errors printed."""

import gc
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from rclip import isolation, signals
from rclip.errors import ExitCode, RclipError, ReadOnlyIndex, UnlistedFolder, UsageError, plain_reason
from rclip.search.query import Text
from rclip.signals import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tqdm import tqdm

    from rclip.cli.options import Options
    from rclip.indexing.progress import Progress
    from rclip.indexing.summary import Summary
    from rclip.library import Hit, Library
    from rclip.search.query import Query


def _quiet_decoders() -> None:
    """Pillow warns of damaged metadata in photos that it reads all the same."""
    import warnings

    warnings.filterwarnings("ignore", module="PIL")


def run() -> NoReturn:
    """The console command."""
    isolation.leave_current_folder()
    gc.disable()  # a query, and the look for new photos, make much and nothing in cycles; `_Bar` turns it on again
    code = main()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # taking numpy down costs 10 ms, torch a second; what has to be closed is closed


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Runs the command and returns its exit status."""
    _open_missing_streams()
    try:
        signals.listen()
        code = _guarded(sys.argv[1:] if arguments is None else arguments)
        signals.close()
        return code
    except Interrupted as stopped:
        if not stopped.is_reported:
            _tell("stopped")
        return 128 + stopped.signal_number


def _guarded(arguments: "Sequence[str]") -> int:
    """Errors as a line on stderr and an exit status."""
    try:
        return _parsed_and_run(arguments)
    except RclipError as error:
        _tell(str(error))
        return error.exit_code
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FOUND
    except (OSError, MemoryError) as error:
        _tell(f"stopped: {plain_reason(error)}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or closing it would fail once more
        return ExitCode.ERROR
    except Exception as error:
        if os.environ.get("RCLIP_DEBUG"):
            import traceback

            traceback.print_exc()
        _tell(f"stopped by a fault of rclip itself ({type(error).__name__}: {plain_reason(error)}); please report it")
        return ExitCode.ERROR


def _parsed_and_run(arguments: "Sequence[str]") -> int:
    try:
        from rclip.cli.options import parse  # argparse takes long enough for a Ctrl-C to fall into it

        return _run(parse(arguments))
    except Exception:
        signals.raise_if_interrupted()
        raise


def _open_missing_streams() -> None:
    """A program started with a stream closed (`>&-`) finds None in its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - as long as the program lives


def _import_library() -> "type[Library]":
    """numpy's BLAS would start a thread for each core and have them spin while they wait for one another.

    A query's products are too small to gain from it, and with another program at work they become ten times as slow.
    What encodes pictures asks for its threads itself (`models.image_encoder`).
    """
    is_ours = os.environ.setdefault("OPENBLAS_NUM_THREADS", "1") == "1"
    from rclip.library import Library

    if is_ours:
        del os.environ["OPENBLAS_NUM_THREADS"]  # torch's own BLAS would obey it, too
    return Library


def _run(options: "Options") -> int:
    if options.init:
        return _make_places(options)
    _quiet_decoders()
    if options.preview and not sys.stdout.isatty():
        raise UsageError("--preview draws on a terminal, and stdout is none; leave it out, or give rclip a terminal")
    Library = _import_library()  # noqa: N806

    with Library(
        *options.directories,
        model=options.model,
        exclude_dirs=options.exclude_dir,
        include_hidden=options.include_hidden,
        device=options.device,
        batch_size=options.batch_size,
        max_image_megapixels=options.max_image_megapixels,
        notify=_tell,
    ) as library:
        if options.stats:
            from rclip.cli import output

            output.write_stats(library.stats())
            return ExitCode.FOUND
        if options.check:
            return _check(library)
        if options.prune is not None:
            return _prune(library, options.prune, options.offline)
        if options.rebuild:
            for rebuilt in library.rebuild():
                _tell(f"index made anew, with {rebuilt.kept:,} files known; what it was is kept as {rebuilt.aside}")
        summary = None if options.no_indexing else _update(library, options)
        if options.index or options.rebuild:
            library.prepare_search()
            if summary and options.index and not _is_quiet(options):
                _say_that_nothing_has_changed(library, summary)
            return ExitCode.FOUND
        if options.export:
            return _export(library, options.export)
        return _answer(library, options)


def _export(library: "Library", path: str) -> int:
    count = library.export(path)
    _tell(f"{count:,} {'photo' if count == 1 else 'photos'} exported to {path}")
    return ExitCode.FOUND if count else ExitCode.NOTHING_FOUND


def _make_places(options: "Options") -> int:
    from rclip import datadir
    from rclip.index import location

    for directory in options.directories or ("",):
        folder, is_new = location.create(os.fsencode(os.path.expanduser(directory)), datadir.own())
        if is_new:
            _tell(f"{folder} made: it keeps the index of all photos beside and below it from now on")
        else:
            _tell(f"there is {folder} already: searches in and below that folder use it")
    return ExitCode.FOUND


def _answer(library: "Library", options: "Options") -> int:
    """Prints what is found for each query; one that cannot be answered does not keep the others from it."""
    if options.query is None and options.queries is None:
        return _show_newest(library, options)
    statuses = set()
    told = set()
    for query, found in library.search_blocks(_blocks(options), options.top, options.filters):
        try:
            statuses.add(_show(found, query, options))
        except RclipError as error:
            statuses.add(ExitCode.ERROR)
            if str(error) not in told:  # such as that there is no viewer to open photos with
                told.add(str(error))
                _tell(str(error))
    if statuses == {ExitCode.NOTHING_FOUND}:
        _say_why_nothing_was_found(library, options)
    return next((code for code in (ExitCode.ERROR, ExitCode.FOUND) if code in statuses), ExitCode.NOTHING_FOUND)


def _show(found: "list[Hit] | RclipError", query: "Query | RclipError", options: "Options") -> ExitCode:
    """Prints what is found for one query. Raises `RclipError` for what could not be asked or found, or not opened."""
    if isinstance(found, RclipError):
        raise found
    assert not isinstance(query, RclipError)
    _print_hits(found, options, query.written if options.queries else None)
    return ExitCode.FOUND if found else ExitCode.NOTHING_FOUND


def _show_newest(library: "Library", options: "Options") -> int:
    hits = library.search(None, options.top, options.filters)
    _print_hits(hits, options, None)
    if not hits:
        _say_why_nothing_was_found(library, options)
    return ExitCode.FOUND if hits else ExitCode.NOTHING_FOUND


def _say_why_nothing_was_found(library: "Library", options: "Options") -> None:
    if options.filters and library.has_photos():
        stand_out = options.filters.is_relevant
        _tell("no photo here stands out for this query" if stand_out else "no photo here passes the filters")
    else:
        _tell("no photo is indexed here yet; run it once without -n" if options.no_indexing else "no photos here")


def _blocks(options: "Options") -> "Iterator[list[Query | RclipError]]":
    if options.query:
        _say_what_is_a_file(options.query)
        yield [options.query]
    elif options.queries:
        from rclip.cli.query_file import queries_in

        yield from queries_in(options.queries)


def _say_what_is_a_file(query: "Query") -> None:
    for term in query.terms:
        if isinstance(term.what, Text) and os.path.isfile(term.what.text):
            _tell(f"searching for these words; for what is like the picture, say ./{term.what.text}")


def _print_hits(hits: "list[Hit]", options: "Options", query: str | None) -> None:
    """`query` is printed with each hit where there are several queries."""
    from rclip.cli import output, terminal

    style = terminal.style(options.color, sys.stdout.isatty())
    if options.json:
        output.write_json_lines(hits, query)
    elif options.null:
        output.write_null_ended(hits, query)
    elif options.format:
        output.write_formatted(hits, options.format, query or (options.query.written if options.query else ""))
    elif options.preview:
        from rclip.cli import preview

        output.write_heading(query)
        preview.write(hits, options.preview, options.preview_height, style, options.max_image_megapixels)
    elif options.filepath_only or not sys.stdout.isatty():
        output.write_paths(hits, style, query)
    else:
        output.write_heading(query)
        output.write_table(hits, style, terminal.size().columns)
    if options.open:
        from rclip.cli import viewer

        viewer.show([output.absolute(hit.path) for hit in hits])


def _tell(line: str) -> None:
    """One line on stderr, for the person at the terminal."""
    from rclip.cli.output import printable

    with suppress(OSError):  # nobody listens, which is no reason to stop
        print(f"rclip: {printable(line)}", file=sys.stderr, flush=True)


# --- upkeep ----------------------------------------------------------------------------------------------------------


def _check(library: "Library") -> int:
    from rclip.cli import output

    is_sound = True
    for finding in library.check():
        output.write_finding(finding)
        is_sound &= not finding.faults
    if is_sound:
        return ExitCode.FOUND
    _tell("something is damaged; what and how to mend it is said on standard output")
    return ExitCode.ERROR


def _prune(library: "Library", older_than_s: int, with_offline: bool) -> int:
    from rclip.cli.output import size

    pruned = library.prune(older_than_s, with_offline)
    _tell(f"index pruned: {pruned.forgotten:,} forgotten, {size(pruned.freed_bytes)} given back")
    if pruned.kept_offline:
        _tell(
            f"{pruned.kept_offline:,} kept: their folder is empty, as an unplugged drive's is; --away forgets them, too"
        )
    if pruned.blocked_by is None:
        return ExitCode.FOUND
    _tell(f"the rest of the space is not given back yet ({pruned.blocked_by}); run the same again later")
    return ExitCode.ERROR


# --- indexing --------------------------------------------------------------------------------------------------------


class _Bar:
    """A progress bar on a terminal; nothing elsewhere, and nothing as long as there is nothing to read."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None
        self.done = self.total = 0

    def __call__(self, progress: "Progress") -> None:
        _, done, total, _ = progress
        if total is None or progress.stage == "listing":
            return
        gc.enable()  # from here on it may take hours
        if self._bar is None and total and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="photo", desc="indexing", leave=False, dynamic_ncols=True)
        if self._bar is not None:
            if done == 0:  # the next folder
                self._bar.reset(total)
            self._bar.update(done - self._bar.n)
        self.done, self.total = done, total

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _update(library: "Library", options: "Options") -> "Summary":
    """Updates the index and says what has changed, also when it is interrupted."""
    from rclip.indexing.summary import Summary

    summary, bar = Summary(), _Bar()
    error: ReadOnlyIndex | UnlistedFolder | None = None
    try:
        library.update(bar, summary)
    except Interrupted as stopped:
        bar.close()
        if bar.total:
            _tell(f"stopped after {bar.done:,} of {bar.total:,} files; what was done is kept")
        else:
            _tell("stopped before any file was read; what is indexed is kept")
        stopped.is_reported = True
        raise
    except (ReadOnlyIndex, UnlistedFolder) as caught:  # what could be done was done all the same
        error = caught
    finally:
        bar.close()
    _report(summary, options)
    if error and (options.index or not isinstance(error, ReadOnlyIndex)):
        raise error
    if error:
        _tell(str(error))
    return summary


def _say_that_nothing_has_changed(library: "Library", summary: "Summary") -> None:
    """If it is so, as far as all folders could be listed."""
    if not summary.has_changes and not summary.unlisted:
        _tell(f"nothing has changed; photos here: {library.stats().photos:,}")


_MOST_LINES = 5  # about folders and files that could not be read, each


def _report(summary: "Summary", options: "Options") -> None:
    """Problems, and in a line what has changed; `--index` where nobody looks says the first only, a line each."""
    for path, reason in summary.unlisted[:_MOST_LINES]:
        _tell(f"cannot list {os.fsdecode(path)}: {reason}; what is known of its photos is kept")
    if len(summary.unlisted) > _MOST_LINES:
        _tell(f"… and {len(summary.unlisted) - _MOST_LINES:,} folders more")
    if _is_quiet(options):
        _list_files(summary)
        return
    if summary.has_changes:
        _tell(_closing_line(summary))
    if summary.missing_extras:
        counts = _listing(f"{count:,} {extra.name}" for extra, count in sorted(summary.missing_extras.items()))
        files = "file" if summary.missing_extras.total() == 1 else "files"
        packages = " ".join(sorted(extra.package for extra in summary.missing_extras))
        _tell(f"{counts} {files} cannot be opened yet; this installs what is needed: "
              f"{sys.executable} -P -m pip install {packages}")  # fmt: skip


def _is_quiet(options: "Options") -> bool:
    """Whether only problems are told, as where nobody looks."""
    return options.index and not options.verbose and not sys.stderr.isatty()


def _list_files(summary: "Summary") -> None:
    from rclip.photo.failures import CANNOT_OPEN

    for path, reason in summary.failures[:_MOST_LINES]:
        if reason.startswith(CANNOT_OPEN):
            _tell(f"cannot read {os.fsdecode(path)}: {reason}; each run tries it again")
        else:
            _tell(f"cannot read {os.fsdecode(path)}: {reason}; it is left out until it changes")
    for path, reason in summary.postponed[:_MOST_LINES]:
        _tell(f"cannot read {os.fsdecode(path)} now: {reason}; the next run tries it again")
    rest = sum(max(len(files) - _MOST_LINES, 0) for files in (summary.failures, summary.postponed))
    if rest:
        _tell(f"… and {rest:,} files more; rclip --stats lists what cannot be read")


def _listing(parts: "Iterable[str]") -> str:
    """ "a", "a and b", "a, b and c" """
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _closing_line(summary: "Summary") -> str:
    counts = {
        "new": summary.added,
        "changed": summary.changed,
        "moved": summary.moved,
        "copied": summary.copied,
        "back": summary.returned,
        "gone": summary.missing,
        "looked through for dates and places": summary.metadata_added,
        "unreadable (rclip --stats lists them)": len(summary.failures),
        "left for the next run": len(summary.postponed),
    }
    return "index updated: " + ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
