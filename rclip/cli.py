"""The command: arguments in, exit status out. Only here are errors printed."""

import argparse
import gc
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from rclip import __version__
from rclip.errors import ExitCode, RclipError, UsageError, plain_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tqdm import tqdm

    from rclip.changes import Summary
    from rclip.library import Hit, Library

_EXAMPLES = """\
examples:
  rclip "a red kite"                       the ten best in this folder and below
  rclip -t 50 "snow" ~/Pictures /mnt/nas   the fifty best in two folders
  rclip -n "a cat"                         search only, without looking for new photos
  rclip ./cat.jpg                          photos like this one
  rclip -0 "a cat" | xargs -0r feh         look at them

exit status: 0 something was found, 1 nothing was, 2 error, 130 interrupted
"""


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    query: str | None
    """None for `--index` and `--stats`."""
    directories: tuple[str, ...]
    top: int
    no_indexing: bool
    filepath_only: bool
    null: bool
    json: bool
    index: bool
    stats: bool
    model: str
    device: str | None
    batch_size: int | None
    exclude_dir: tuple[str, ...]
    include_hidden: bool
    max_image_megapixels: float | None


def _quiet_decoders() -> None:
    """Pillow warns of damaged metadata in photos that it reads all the same."""
    import warnings

    warnings.filterwarnings("ignore", module="PIL")


def run() -> NoReturn:
    """The console command."""
    gc.disable()  # a query, and the look for new photos, make much and nothing in cycles; `_Bar` turns it on again
    code = main()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # taking numpy down costs 10 ms, torch a second; what has to be closed is closed


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Runs the command and returns its exit status."""
    _open_missing_streams()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        return _run(parse(sys.argv[1:] if arguments is None else arguments))
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
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except _Stopped as stopped:
        return 128 + stopped.signal_number


class _Stopped(BaseException):
    """Somebody ends the program; what is half done is cleaned up on the way out."""

    def __init__(self, signal_number: int):
        self.signal_number = signal_number


def _stop(signal_number: int, _: object) -> NoReturn:
    raise _Stopped(signal_number)


def _open_missing_streams() -> None:
    """A program started with a stream closed (`>&-`) finds None in its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - as long as the program lives


def _import_library() -> "type[Library]":
    """numpy's BLAS would start a thread for each core and have them spin while they wait for one another.

    A query's products are too small to gain from it, and with another program at work they become ten times as slow.
    What encodes pictures asks for its threads itself (`models.encoding`).
    """
    is_ours = os.environ.setdefault("OPENBLAS_NUM_THREADS", "1") == "1"
    from rclip.library import Library

    if is_ours:
        del os.environ["OPENBLAS_NUM_THREADS"]  # torch's own BLAS would obey it, too
    return Library


def _run(options: Options) -> int:
    _quiet_decoders()
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
            from rclip import output

            output.write_stats(library.stats())
            return ExitCode.FOUND
        if not options.no_indexing:
            _update(library)
        if options.query is None:
            return ExitCode.FOUND
        if os.path.isfile(options.query) and os.sep != options.query[0] and options.query[0] not in ".~":
            _tell(f"searching for these words; for what is like the picture, say ./{options.query}")
        hits = library.search(options.query, options.top)
        _print_hits(hits, options)
        if not hits:
            _tell("no photo is indexed here yet; run it once without -n" if options.no_indexing else "no photos here")
        return ExitCode.FOUND if hits else ExitCode.NOTHING_FOUND


def _print_hits(hits: "list[Hit]", options: Options) -> None:
    from rclip import output

    if options.json:
        output.write_json_lines(hits)
    elif options.null:
        output.write_null_ended(hits)
    elif options.filepath_only or not sys.stdout.isatty():
        output.write_paths(hits)
    else:
        output.write_table(hits)


def _tell(line: str) -> None:
    """One line on stderr, for the person at the terminal."""
    from rclip.output import printable

    print(f"rclip: {printable(line)}", file=sys.stderr, flush=True)


# --- indexing --------------------------------------------------------------------------------------------------------


class _Bar:
    """A progress bar on a terminal; nothing elsewhere, and nothing as long as there is nothing to read."""

    def __init__(self) -> None:
        self._bar: tqdm[NoReturn] | None = None
        self.done = self.total = 0

    def __call__(self, done: int, total: int) -> None:
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


def _update(library: "Library") -> None:
    """Updates the index and says in a line what has changed, if anything, also when it is interrupted."""
    from rclip.changes import Summary

    summary, bar = Summary(), _Bar()
    try:
        library.update(bar, summary)
    except (KeyboardInterrupt, _Stopped):
        bar.close()
        if bar.total:
            _tell(f"stopped after {bar.done:,} of {bar.total:,} files; what was done is kept")
        raise
    finally:
        bar.close()
    _report(summary)


_MOST_LINES = 5  # about folders and files that could not be read, each


def _report(summary: "Summary") -> None:
    for path, reason in summary.unlisted[:_MOST_LINES]:
        _tell(f"cannot list {os.fsdecode(path)}: {reason}; what is known of its photos is kept")
    if len(summary.unlisted) > _MOST_LINES:
        _tell(f"… and {len(summary.unlisted) - _MOST_LINES:,} folders more")
    if summary.has_changes:
        _tell(_closing_line(summary))
    if summary.missing_extras:
        counts = _listing(f"{count:,} {extra.name}" for extra, count in sorted(summary.missing_extras.items()))
        packages = " ".join(sorted(extra.package for extra in summary.missing_extras))
        _tell(f"{counts} files cannot be opened yet; this installs what they need: "
              f"{sys.executable} -m pip install {packages}")  # fmt: skip


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
        "gone": summary.gone,
        "unreadable (rclip --stats lists them)": len(summary.failures),
        "left for the next run": len(summary.postponed),
    }
    return "index updated: " + ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


# --- arguments -------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; rclip --help lists the options")


def parse(arguments: "Sequence[str]") -> Options:
    """Raises `UsageError`."""
    parser = _parser()
    end = arguments.index("--") if "--" in arguments else len(arguments)  # argparse drops the words' own "--"
    values = vars(parser.parse_intermixed_args(arguments[:end]))
    words = [*values.pop("words"), *arguments[end + 1 :]]
    if values["index"] or values["stats"]:
        query, directories = None, words
    elif words:
        query, *directories = words
    else:
        parser.error('say what to look for: rclip "a red kite"')
    missing = next((directory for directory in directories if not os.path.exists(os.path.expanduser(directory))), None)
    if missing is not None:
        needs_quotes = query and os.sep not in missing
        hint = f'; a query of several words needs quotes: rclip "{" ".join(words)}"' if needs_quotes else ""
        raise UsageError(f"there is no folder {missing}{hint}")
    if values["index"] and values["no_indexing"]:
        raise UsageError("--index and -n cannot go together; rclip --help lists the options")
    if values["device"] == "auto":
        values["device"] = None
    values["exclude_dir"] = tuple(values["exclude_dir"])
    return Options(query=query, directories=tuple(directories), **values)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rclip",
        usage="rclip [options] QUERY [DIR ...]",
        description="Find photos by what is in them. Looks for new photos in each DIR (default: here), then prints\n"
        "those that match QUERY best: words, or the path of a picture, starting with ./, ../, ~/ or /.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    search = parser.add_argument_group("search")
    search.add_argument("-t", "--top", type=_count, default=10, metavar="N", help="how many photos to print (10)")
    search.add_argument("-n", "--no-indexing", action="store_true", help="do not look for new photos first")
    shown = parser.add_argument_group("output")
    form = shown.add_mutually_exclusive_group()
    form.add_argument("-f", "--filepath-only", action="store_true", help="paths without scores, as always when piped")
    form.add_argument("-0", "--null", action="store_true", help="paths ended by NUL, for xargs -0")
    form.add_argument("--json", action="store_true", help="one JSON object a line: path, score, size, modified")
    indexing = parser.add_argument_group("index")
    action = indexing.add_mutually_exclusive_group()
    action.add_argument("--index", action="store_true", help="only bring the index up to date; takes no QUERY")
    action.add_argument("--stats", action="store_true", help="only say what is indexed; takes no QUERY")
    indexing.add_argument(
        "--exclude-dir", action="append", default=[], metavar="NAME", help="pass over folders of this name; repeatable"
    )
    indexing.add_argument(
        "--include-hidden", action="store_true", help="look into hidden and housekeeping folders too (.*, @eaDir ...)"
    )
    indexing.add_argument(
        "--max-image-megapixels", type=_positive, metavar="MP", help="refuse larger pictures (default: by memory)"
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", default="ViT-B/32", metavar="NAME", help="an OpenAI CLIP's name or a checkpoint's path (ViT-B/32)"
    )
    model.add_argument(
        "--device", type=_device, metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps, for indexing (auto)"
    )
    model.add_argument("-b", "--batch-size", type=_count, metavar="N", help="photos encoded at once (by device)")
    about = parser.add_argument_group("about")
    about.add_argument("-h", "--help", action="help", help="print this and end")
    about.add_argument("--version", action="version", version=f"rclip {__version__}", help="print the version and end")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number from 1 on, not {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"takes a number above 0, not {text!r}")
    return number


def _device(text: str) -> str:
    kind, _, number = text.partition(":")
    if text not in ("auto", "cpu", "mps", "cuda") and not (kind == "cuda" and number.isdigit()):
        raise argparse.ArgumentTypeError(f"takes auto, cpu, cuda, cuda:1 … or mps, not {text!r}")
    return text
