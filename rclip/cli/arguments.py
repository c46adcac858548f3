"""The command line's options: their names, what they take, and what the help says of them.

Help, completion and the man page are all made from this one table.
"""

import argparse
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from rclip._version import __version__
from rclip.cli import choices, terminal
from rclip.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


_EXAMPLES = """\
examples:
  rclip "a red kite"                       the ten best in this folder and below
  rclip -t 50 "snow" ~/Pictures /mnt/nas   the fifty best in two folders
  rclip -n "a cat"                         without a look for new photos
  rclip ./cat.jpg                          photos like this one
  rclip horse + 0.5:stripes - people       a bit of this, and none of that
  rclip --after 2023-06 "a lake"           taken since June 2023
  rclip -0 "a cat" | xargs -0r feh         look at them

exit status: 0 something was found, 1 nothing was, 2 error, 130 interrupted

environment: RCLIP_DATADIR the folder of the indexes, RCLIP_WEIGHTS_URL the
server of the models, RCLIP_PHOTO_TIMEOUT_S seconds to decode one photo
"""


class OptionParser(argparse.ArgumentParser):
    """Reports wrong usage in one line, like every other error."""

    def values(self, arguments: "Sequence[str]") -> dict[str, Any]:
        """What each option was given, by its name, and the `words` that are none's. Raises `UsageError`."""
        end = arguments.index("--") if "--" in arguments else len(arguments)  # argparse drops the words' own "--"
        preview, left = _preview(_with_negative_values(arguments[:end]))
        parsed, unknown = self.parse_known_intermixed_args(left)
        if unknown:
            self._refuse(unknown)
        values = vars(parsed)
        values["preview"] = preview if values["preview"] else None
        values["words"] += arguments[end + 1 :]
        return values

    def _refuse(self, unknown: "Sequence[str]") -> NoReturn:
        """Names the first that looks like an option; what is behind it may be its value."""
        from difflib import get_close_matches

        said = next((argument for argument in unknown if argument.startswith("-")), unknown[0]).partition("=")[0]
        names = [name[2:] for action in self._actions for name in action.option_strings if name.startswith("--")]
        nearest = get_close_matches(said.lstrip("-"), names, n=1, cutoff=0.7)
        if nearest:
            raise UsageError(f"there is no {said}; did you mean --{nearest[0]}?")
        raise UsageError(f"there is no {said}; rclip --help lists the options")

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; rclip --help lists the options")

    def _print_message(self, message: str, file: Any = None) -> None:
        """argparse's own takes no notice of a full disk."""
        (file or sys.stdout).write(message)
        sys.stdout.flush()


def _preview(arguments: "Sequence[str]") -> tuple[str, list[str]]:
    """The kind that `--preview=KIND` asks for, and the arguments with its name only.

    argparse knows options that may have a value, but they take the next word, which is the query.
    """
    prefix = "--preview="
    kinds = [argument.removeprefix(prefix) for argument in arguments if argument.startswith(prefix)]
    unknown = next((kind for kind in kinds if kind not in choices.PREVIEWS), None)
    if unknown is not None:
        raise UsageError(f"argument --preview: takes {choices.alternatives(choices.PREVIEWS)}, not {unknown!r}")
    left = [prefix[:-1] if argument.startswith(prefix) else argument for argument in arguments]
    return kinds[-1] if kinds else "auto", left


def _with_negative_values(arguments: "Sequence[str]") -> "list[str]":
    """`--near -33.9,151.2` as `--near=-33.9,151.2`, or it would be taken for an option's name."""
    joined: list[str] = []
    for argument in arguments:
        if (
            joined
            and joined[-1] in ("--near", "--min-score")
            and argument[:1] == "-"
            and argument[1:2] in set("0123456789.")
        ):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


@cache
def _help_columns() -> int:
    """argparse would import shutil to learn it, for each option once."""
    return terminal.size().columns - 2


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """As Python 3.13's: `-t, --top N` where earlier ones say `-t N, --top N`."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=25, width=_help_columns())

    def _format_action_invocation(self, action: argparse.Action) -> str:
        value = "" if action.nargs == 0 else f" {action.metavar}"
        return ", ".join(action.option_strings) + value


class _Generate(argparse.Action):
    """Prints what a shell is given, and ends, as `--help` and `--version` do."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, kind: object, name: str | None = None) -> NoReturn:
        from rclip.cli import completion

        shell_name = str(kind).removeprefix("complete-")
        fresh = option_parser()  # the one at work is half way through
        text = completion.man_page(fresh) if kind == "man" else completion.completion(fresh, shell_name)
        parser._print_message(text, sys.stdout)
        parser.exit()


# --- the table -------------------------------------------------------------------------------------------------------


def option_parser() -> OptionParser:
    parser = OptionParser(
        prog="rclip",
        usage="rclip [options] QUERY [+ QUERY ... - QUERY ...] [DIR ...]",
        description="Find photos by what is in them. Looks for new photos in each DIR (default:\n"
        "here), then prints those that match QUERY best: words, the path of a picture\n"
        "(./, ../, ~/ or / first) or its http(s) address; several with + and - between\n"
        "them; 2:words counts twice.",
        epilog=_EXAMPLES,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    for add_group in (_add_search, _add_filters, _add_output, _add_index, _add_model, _add_about):
        add_group(parser)
    return parser


def _add_search(parser: argparse.ArgumentParser) -> None:
    search = parser.add_argument_group("search")
    search.add_argument(
        "-a", "--add", action="append", type=choices.term, default=[], metavar="TERM", help="more of this; repeatable"
    )
    search.add_argument(
        "-s",
        "--subtract",
        action="append",
        type=choices.term,
        default=[],
        metavar="TERM",
        help="less of this; repeatable",
    )
    search.add_argument(
        "--queries", type=choices.file, metavar="FILE", help="a query a line, - for standard input; no QUERY"
    )
    search.add_argument("-t", "--top", type=choices.count, metavar="N", help="how many photos to print (10)")
    search.add_argument("-n", "--no-indexing", action="store_true", help="do not look for new photos first")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    filters = parser.add_argument_group("filters, with a QUERY or without: then the newest first")
    filters.add_argument(
        "--after", type=choices.time, metavar="TIME", help="taken then or later: 2023, 2023-07, 2023-07-14T18:30"
    )
    filters.add_argument("--before", type=choices.time, metavar="TIME", help="taken earlier than that")
    filters.add_argument(
        "--near", type=choices.near, metavar="LAT,LON[,KM]", help="taken so near (10 km) to a place, in degrees"
    )
    filters.add_argument(
        "--camera", type=choices.words, metavar="TEXT", help="words that the camera's maker and model contain"
    )
    filters.add_argument(
        "--path",
        action="append",
        dest="paths",
        type=choices.glob,
        metavar="GLOB",
        help="like '2019/**' or, to leave out, '!IMG_*'; repeatable",
    )
    filters.add_argument("--type", dest="types", type=choices.types, metavar="TYPES", help="endings, or raw: jpg,raw")
    filters.add_argument("--min-score", type=choices.score, metavar="S", help="score at least so high, from -1 to 1")
    filters.add_argument(
        "--relevant",
        dest="is_relevant",
        action="store_const",
        const=True,
        help="all that stand out for this query, or none",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    shown = parser.add_argument_group("output")
    form = shown.add_mutually_exclusive_group()
    form.add_argument("-f", "--filepath-only", action="store_true", help="paths without scores, as always when piped")
    form.add_argument("-0", "--null", action="store_true", help="paths ended by NUL, for xargs -0")
    form.add_argument(
        "--json", action="store_true", help="one JSON object a line: path, score, size, times, camera ..."
    )
    form.add_argument(
        "--format",
        type=choices.template,
        metavar="TEMPLATE",
        help="'{score:.3f}\\t{path}'; also query and all that --json tells",
    )
    form.add_argument(
        "-p", "--preview", action="store_true", help="thumbnails; --preview=kitty, iterm, sixel or blocks forces a kind"
    )
    shown.add_argument(
        "--preview-height",
        type=choices.count,
        default=10,
        metavar="ROWS",
        help="rows of the terminal for a thumbnail (10)",
    )
    shown.add_argument(
        "--color", type=choices.one_of(*choices.COLORS), default="auto", metavar="WHEN", help="auto, always or never"
    )
    shown.add_argument("--open", action="store_true", help="also open what was found in the desktop's viewer")


def _add_index(parser: argparse.ArgumentParser) -> None:
    indexing = parser.add_argument_group("index")
    action = indexing.add_mutually_exclusive_group()
    action.add_argument(
        "--init", action="store_true", help="give DIR an index of its own, which goes where it goes; takes no QUERY"
    )
    action.add_argument("--index", action="store_true", help="only bring the index up to date; takes no QUERY")
    action.add_argument("--stats", action="store_true", help="only say what is indexed; takes no QUERY")
    action.add_argument(
        "--check", action="store_true", help="only look for damage in the indexes of each DIR; takes no QUERY"
    )
    action.add_argument(
        "--rebuild", action="store_true", help="set a damaged index aside, save what can be read of it, then --index"
    )
    action.add_argument(
        "--prune",
        type=choices.age,
        metavar="AGE",
        help="only forget what has been gone for 30d, 12w, 1y ... or 0; no QUERY",
    )
    action.add_argument(
        "--export",
        type=choices.file,
        metavar="FILE",
        help="write paths, vectors, metadata: .npz, .parquet, .jsonl; no QUERY",
    )
    indexing.add_argument(
        "--away",
        dest="offline",
        action="store_true",
        help="with --prune: also what empty folders held, as those of unplugged drives",
    )
    indexing.add_argument(
        "-v", "--verbose", action="store_true", help="say what --index has changed also where it is no terminal"
    )
    indexing.add_argument(
        "--exclude-dir", action="append", default=[], metavar="NAME", help="pass over folders of this name; repeatable"
    )
    indexing.add_argument("--include-hidden", action="store_true", help="look also into .*, @eaDir and such folders")
    indexing.add_argument(
        "--max-image-megapixels",
        type=choices.positive,
        metavar="MP",
        help="refuse larger pictures (default: by memory)",
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model", default="ViT-B/32", metavar="MODEL", help="a CLIP's name or a checkpoint's path (ViT-B/32)"
    )
    model.add_argument(
        "--device", type=choices.device, metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps, for indexing (auto)"
    )
    model.add_argument("-b", "--batch-size", type=choices.count, metavar="N", help="photos encoded at once (by device)")


def _add_about(parser: argparse.ArgumentParser) -> None:
    about = parser.add_argument_group("about")
    about.add_argument(
        "--generate",
        action=_Generate,
        default=argparse.SUPPRESS,
        choices=("man", "complete-bash", "complete-zsh", "complete-fish"),
        metavar="KIND",
        help="man, complete-bash, complete-zsh or complete-fish",
    )
    about.add_argument("-h", "--help", action="help", help="print this and end")
    about.add_argument("--version", action="version", version=f"rclip {__version__}", help="print the version and end")
