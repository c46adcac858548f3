"""The command line read: a parser made from the tables of options, and what it has read as `Options`.

Help, completion and the man page are all made from that parser.
"""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise, takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from rclip._version import __version__
from rclip.cli import actions, choices, messages, output, settings, tag_action, watch_action  # noqa: F401 - register
from rclip.cli.messages import Usage, Value
from rclip.cli.options import ACTIONS, FORMATS, Action, Option, Options, OutputFormat, register
from rclip.cli.search_action import Search
from rclip.errors import ExitCode, UsageError
from rclip.files import as_on_disk
from rclip.filters import FILTERS, Filters
from rclip.terminal import environment

if TYPE_CHECKING:
    from rclip.search.query import Query


def parse(arguments: Sequence[str]) -> Options:
    """Raises `UsageError`."""
    if [*arguments] == ["-v"]:  # the other rclip's shows the version
        arguments = ["--version"]
    values = parser_for(arguments).values(arguments)
    words = values.pop("words")
    values["filters"] = _filters(values)
    _refuse_stray(values)
    action, form = _chosen(ACTIONS, values) or Search(), _chosen(FORMATS, values)
    if values["from"] and not action.asks_database:
        raise UsageError(Usage.NOT_TOGETHER.format(one=action.options[0].name, other="--from"))
    query, directories = action.split(words, values)
    top = values["top"]
    settled = settings.settings(_settings(), values, directories)
    values |= {key: setting.value for key, setting in settled.items()}
    if action.asks_database and values["from"] and not directories and not settled["preview"].is_of_this_run:
        values["preview"] = None  # a lasting wish: it has no place where files of other machines are found
    options = Options(
        action=action,
        format=output.format_for(form, values["preview"]),
        query=query,
        queries=values["queries"],
        directories=tuple(directories),
        top=top or _default_top(query, values),
        filters=values["filters"],
        values=values,
        settings=settled,
    )
    _refuse_missing(options, words)
    action.check(options)
    return options


def _filters(values: dict[str, Any]) -> Filters | None:
    """Takes them out of the parsed values."""
    names = [option.value_key for option in _filter_options()]
    given = {name: value for name in names if (value := values.pop(name)) not in (None, [], False)}
    return Filters.of_options(given | {"paths": tuple(given.get("paths", ()))}) if given else None


Choice = TypeVar("Choice", Action, OutputFormat)


def _chosen(offered: Iterable[Choice], values: Mapping[str, Any]) -> Choice | None:
    """The one whose option is given. Raises `UsageError` where several are."""
    given = [choice for choice in offered if choice.options[0].is_given(values)]
    if len(given) > 1:
        one, other = (choice.options[0].name for choice in given[:2])
        raise UsageError(Usage.NOT_TOGETHER.format(one=one, other=other))
    return given[0] if given else None


def _refuse_stray(values: Mapping[str, Any]) -> None:
    """Raises `UsageError` for an option without the one that it goes with."""
    offered: list[Action | OutputFormat] = [*ACTIONS, *FORMATS]
    options = {option.name: option for choice in offered for option in choice.options}
    for option in options.values():
        if not (option.only_with and option.is_given(values)):
            continue
        if not any(options[name].is_given(values) for name in option.only_with.split(" or ")):
            raise UsageError(Usage.ONLY_WITH.format(option=option.name, other=option.only_with))


def _default_top(query: "Query | None", values: Mapping[str, Any]) -> int | None:
    """Filters say themselves where to end, unless something is to be ranked."""
    filters = values["filters"]
    is_bounded = bool(filters) and (filters.is_relevant or not (query or values["queries"])) and not values["page"]
    return None if is_bounded else values["top"]


def _refuse_missing(options: Options, words: Sequence[str]) -> None:
    """Raises `UsageError` for a folder that is not there."""
    for folder in options.directories:
        is_elsewhere = options.database is not None and os.sep in folder
        if not is_elsewhere and not os.path.exists(as_on_disk(os.fsencode(os.path.expanduser(folder)))):
            if folder[1:2] == ":":
                from rclip.cli import newcomers

                newcomers.refuse_windows_path(folder)
            if options.query and os.sep not in folder:
                raise UsageError(Usage.NO_FOLDER_BUT_WORDS.format(folder=folder, words=" ".join(words)))
            raise UsageError(Usage.NO_FOLDER.format(folder=folder))


# --- the parser ------------------------------------------------------------------------------------------------------

_EXAMPLES = """\
examples:
  rclip "a red kite"                       the best ten in this folder and below
  rclip -t 50 "snow" ~/Pictures /mnt/nas   the best fifty in two folders
  rclip ./cat.jpg                          photos like this one
  rclip horse + 0.5:stripes - people       more of this, less of that
  rclip -0 "a cat" | xargs -0r feh         show them
"""
_STATUS = "exit status: 0 something was found, 1 nothing was, 2 error, 130 interrupted"
_ENVIRONMENT = """\
environment: RCLIP_MODEL the model, RCLIP_CONFIG the file of settings,
RCLIP_DATADIR the folder of the indexes, RCLIP_WEIGHTS_URL the server of the
models, RCLIP_PHOTO_TIMEOUT_S seconds to decode one photo,
RCLIP_DATABASE_TIMEOUT_S seconds for an answer of a shared database
"""


_IN_BRIEF = ("index", "model", "page", "about")
"""The parts of the help that `--help` alone has the names of only, so that it fits two screens."""

_ALL = "all"


class OptionParser(argparse.ArgumentParser):
    """Reports wrong usage in one line, like every other error. Its help has parts, of which one may be asked for."""

    topic = _ALL
    """Which part of the help to show: the first word of its title, all of them, or with an empty one most."""

    left_out: Mapping[str, Any] = MappingProxyType({})
    """The values of options that it does not know, as they are not given."""

    def values(self, arguments: "Sequence[str]") -> dict[str, Any]:
        """What each option was given, by its name, and the `words` that are none's. Raises `UsageError`."""
        end = arguments.index("--") if "--" in arguments else len(arguments)  # argparse drops the words' own "--"
        self.topic = _topic(arguments[:end], [_name(group) for group in self._shown_groups()])
        left = _with_negative_values(arguments[:end])
        with_kinds = [option for form in FORMATS for option in form.options if option.kinds]
        kinds = {}
        for option in with_kinds:
            kinds[option.value_key], left = _kind(option, left)
        parsed, unknown = self.parse_known_intermixed_args(left)
        if unknown:
            return self._of_another_program(arguments, end, unknown)
        values = {**self.left_out, **vars(parsed)}
        for option in with_kinds:
            _refuse_detached_kind(option, arguments[:end], values["words"])
        values |= {key: kind if values[key] else None for key, kind in kinds.items()}
        values["is_quoted"] = not values["words"] and end < len(arguments)
        values["words"] += arguments[end + 1 :]
        return values

    def _of_another_program(self, arguments: "Sequence[str]", end: int, unknown: "Sequence[str]") -> dict[str, Any]:
        """The values of what is meant by options that are another program's. Raises `UsageError` for any other."""
        from rclip.cli import newcomers

        known = newcomers.translated(arguments[:end])
        if known == [*arguments[:end]]:
            self._refuse(unknown)
        return self.values([*known, *arguments[end:]])

    def _refuse(self, unknown: "Sequence[str]") -> NoReturn:
        """Names the first that looks like an option; what comes after it may be its value."""
        from difflib import get_close_matches

        said = next((argument for argument in unknown if argument.startswith("-")), unknown[0]).partition("=")[0]
        names = [name[2:] for action in self._actions for name in action.option_strings if name.startswith("--")]
        nearest = get_close_matches(said.lstrip("-"), names, n=1, cutoff=0.7)
        if nearest:
            raise UsageError(Usage.DID_YOU_MEAN.format(option=said, nearest=f"--{nearest[0]}"))
        raise UsageError(Usage.UNKNOWN_OPTION.format(option=said))

    def format_help(self) -> str:
        formatter = self._get_formatter()
        if self.topic in ("", _ALL):
            formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
            formatter.add_text(self.description)
        for group in self._shown_groups():
            name = _name(group)
            if self.topic == "" and name in _IN_BRIEF:
                formatter.start_section(f"{name} (rclip --help {name} says more)")
                formatter.add_text(_listed(group._group_actions))
            elif self.topic in ("", _ALL, name):
                formatter.start_section(group.title)
                formatter.add_arguments(group._group_actions)
            else:
                continue
            formatter.end_section()
        if self.topic == "":
            formatter.add_text(f"{_EXAMPLES}\n{_STATUS}\n{_variables()}")
        elif self.topic == _ALL:
            formatter.add_text(self.epilog)
        return formatter.format_help()

    def _shown_groups(self) -> "list[argparse._ArgumentGroup]":
        return [group for group in self._action_groups if any(each.option_strings for each in group._group_actions)]

    def error(self, message: str) -> NoReturn:
        raise UsageError(Usage.BAD_OPTION.format(problem=message))

    def _print_message(self, message: str, file: Any = None) -> None:
        """argparse's own takes no notice of a full disk."""
        (file or sys.stdout).write(message)
        sys.stdout.flush()


def _name(group: "argparse._ArgumentGroup") -> str:
    """The first word of a part's title, by which it is asked for."""
    return (group.title or "").partition(",")[0]


def _topic(arguments: Sequence[str], names: Sequence[str]) -> str:
    """The part of the help that `--help index` asks for; empty for none in particular."""
    return next((word for option, word in pairwise(arguments) if option in _HELP and word in (*names, _ALL)), "")


_HELP = ("-h", "--help")


def _listed(named: "Sequence[argparse.Action]") -> str:
    """The names of options with their values, in lines."""
    lines = [""]
    for action in named:
        value = "" if action.nargs == 0 else f" {action.metavar}"
        entry = "/".join(action.option_strings) + value
        comma = "" if action is named[-1] else ","
        if lines[-1] and len(f"{lines[-1]}, {entry}{comma}") > _help_columns() - 1:
            lines.append("")
        lines[-1] += f", {entry}" if lines[-1] else entry
    return ",\n".join(lines)


def _variables() -> str:
    """The names of the environment's variables, in two lines."""
    import re

    *first, last_but_one, last = re.findall(r"RCLIP_\w+", _ENVIRONMENT)
    return f"environment: {', '.join(first)},\n{last_but_one}, {last} (rclip --help all says more)"


def _kind(option: Option, arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The kind that `--preview=KIND` asks for, and the arguments with its name only.

    argparse knows options that may have a value, but they take the next word, which is the query.
    """
    prefix = f"{option.name}="
    kinds = [argument.removeprefix(prefix) for argument in arguments if argument.startswith(prefix)]
    unknown = next((kind for kind in kinds if kind not in option.kinds), None)
    if unknown is not None:
        problem = Value.ONE_OF.format(alternatives=messages.alternatives(option.kinds), text=unknown)
        raise UsageError(Usage.BAD_OPTION.format(problem=f"argument {option.name}: {problem}"))
    left = [option.name if argument.startswith(prefix) else argument for argument in arguments]
    return kinds[-1] if kinds else option.kinds[0], left


def _refuse_detached_kind(option: Option, arguments: Sequence[str], words: Sequence[str]) -> None:
    """Raises `UsageError` for `--preview sixel`, where the kind is taken for a word."""
    found = next((pair for pair in pairwise(arguments) if pair[0] in option.names and pair[1] in option.kinds), None)
    if found:
        from rclip.cli import newcomers

        newcomers.refuse_detached_kind(*found, words)


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
    return environment.size().columns - 2


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """As Python 3.13's: `-t, --top N` where earlier ones say `-t N, --top N`."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=25, width=_help_columns())

    def _format_action_invocation(self, action: argparse.Action) -> str:
        value = "" if action.nargs == 0 else f" {action.metavar}"
        return ", ".join(action.option_strings) + value


# --- the table -------------------------------------------------------------------------------------------------------

_FILTER_OPTIONS = (
    Option(
        ("--path",),
        "like '2019/**' or, to leave out, '!IMG_*'; repeatable",
        "GLOB",
        choices.glob,
        is_repeatable=True,
        key="paths",
    ),
    Option(("--min-score",), "minimum score, from -1 to 1", "S", choices.score),
    Option(("--relevant",), "all that stand out for this query, or none", key="is_relevant"),
)

_OUTPUT_OPTIONS = (
    Option(
        ("--color",),
        "auto, always or never",
        "WHEN",
        choices.one_of(*choices.COLORS),
        default="auto",
        is_setting=True,
    ),
    Option(("--open",), "also open the results in the desktop's viewer"),
    Option(("--copy-to",), "also copy them into this folder", "DIR", choices.target),
    Option(("--link-to",), "also make links to them in this folder", "DIR", choices.target),
    Option(("--keep-paths",), "with these two: in the same subfolders"),
)
_INDEX_OPTIONS = (
    Option(
        ("--exclude-dir",),
        "skip folders of this name; repeatable",
        "NAME",
        choices.folder_name,
        is_repeatable=True,
        is_setting=True,
    ),
    Option(
        ("--exclude",),
        "skip what matches, as in .gitignore; repeatable",
        "GLOB",
        choices.exclusion,
        is_repeatable=True,
        in_file=choices.exclusion_in_file,
        is_setting=True,
    ),
    Option(("--include-hidden",), "look also into .*, @eaDir and such folders", is_setting=True),
    Option(("--no-video",), "neither index nor find videos", is_setting=True),
    Option(
        ("--max-image-megapixels",),
        "refuse larger pictures (default: by memory)",
        "MP",
        choices.megapixels,
        is_setting=True,
    ),
    Option(
        ("--approximate-from",),
        "search as by --approximate from so many photos on",
        "N",
        choices.count,
        is_setting=True,
    ),
)
_MODEL_OPTIONS = (
    Option(("--model",), "a model's name, file or folder (ViT-B/32)", "MODEL", default="ViT-B/32", is_setting=True),
    Option(
        ("--language",),
        "any: ask in fifty languages, with ViT-B/32's index",
        "LANG",
        choices.language,
        is_setting=True,
    ),
    Option(
        ("--device",),
        "auto, cpu, cuda, cuda:1 or mps, for indexing (auto)",
        "DEV",
        choices.device,
        default="auto",
        is_setting=True,
    ),
    Option(("-b", "--batch-size"), "photos encoded at once (by device)", "N", choices.count, is_setting=True),
)


def parser_for(arguments: Sequence[str]) -> OptionParser:
    """A parser that reads these arguments as that of all options would, and is made in a tenth of the time.

    It knows the options that are named. Where one is not named in full, as in `-nt5`, or is unknown, it knows all.
    """
    words = takewhile(lambda argument: argument != "--", arguments)
    given = {word.partition("=")[0] for word in words if word[:1] == "-" and word != "-"}
    known = {name for _, options in _groups() for option in options for name in option.names}
    return option_parser(given if given <= known else None)


def option_parser(named: Collection[str] | None = None) -> OptionParser:
    """Of all options or, where names are given, of those that are named so."""
    parser = OptionParser(
        prog="rclip",
        usage="rclip [options] QUERY [+ QUERY ... - QUERY ...] [DIR ...]",
        description="Find photos by their content.\n\n"
        "QUERY is words, the path of a picture (starting with ./, ../, ~/ or /) or its\n"
        "http(s) address; + and - combine several, and 2:words counts twice. New photos\n"
        "in each DIR (default: the current folder) are indexed first.",
        epilog=f"{_EXAMPLES}\n{_STATUS}\n\n{_ENVIRONMENT}",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    left_out: dict[str, Any] = {}
    parser.left_out = left_out
    for title, options in _groups():
        group = parser.add_argument_group(title)
        for option in options:
            if named is None or any(name in named for name in option.names):
                _add(group, option)
            else:
                left_out[option.value_key] = _value_without(option)
    group.add_argument(*_HELP, action="help", help="show this help, or with a word after it that part, or all")
    group.add_argument("--version", action="version", version=f"rclip {__version__}", help="show the version and exit")
    return parser


def _groups() -> Iterable[tuple[str, Sequence[Option]]]:
    """The help's parts in order, each with its options."""
    forms = [option for form in FORMATS for option in form.options]
    yield "search", [*Search.options, *_of_group("search")]
    yield "filters, also without a QUERY: then the newest first", _filter_options()
    yield "output", [*forms, *_OUTPUT_OPTIONS]
    yield "index, where the options up to --watch take no QUERY", [*_of_group("index"), *_INDEX_OPTIONS]
    yield "model", [*_MODEL_OPTIONS, *_of_group("model")]
    yield "page", _of_group("web")
    yield "about", _of_group("about")


def _settings() -> list[Option]:
    """The options that a configuration file may set, in the order of the help."""
    return [option for _, options in _groups() for option in options if option.is_setting]


def _filter_options() -> list[Option]:
    by_row = [option for kind in FILTERS for option in kind.options]
    parsers = {"near": choices.place}
    own = [
        Option((each.name,), each.help, each.metavar, parsers.get(each.field, each.parse), key=each.field)
        for each in by_row
    ]
    return [*own, *_FILTER_OPTIONS]


def _of_group(name: str) -> list[Option]:
    return [option for action in ACTIONS if action.group == name for option in action.options]


def _parsed(option: Option) -> Callable[[str], Any]:
    """argparse shows the text of errors of its own only."""

    def parse(text: str) -> Any:
        try:
            return option.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def _value_without(option: Option) -> Any:
    """What the option's value is where it is not given; of a setting, its file decides."""
    if option.metavar and option.is_repeatable:
        return []
    if option.is_setting:
        return None
    return option.default if option.metavar else False


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    keywords: dict[str, Any] = {"dest": option.value_key, "help": option.help, "default": _value_without(option)}
    if not option.metavar:
        keywords["action"] = "store_true"
    else:
        keywords |= {"metavar": option.metavar, "type": _parsed(option)}
        if option.is_repeatable:
            keywords["action"] = "append"
    group.add_argument(*option.names, **keywords)


@register
class Config(Action):
    """Prints the settings, as a configuration file has them."""

    group = "about"
    options = (Option(("--config",), "show the settings for DIR, and where each comes from"),)

    def run(self, options: Options) -> int:
        output.write_settings(settings.user_file(), options.settings.values())
        return ExitCode.FOUND


@register
class Generate(Action):
    """Prints the man page, or what a shell needs to complete the command line."""

    group = "about"
    options = (
        Option(
            ("--generate",),
            "man, complete-bash, complete-zsh or complete-fish",
            "KIND",
            choices.one_of(*choices.GENERATED),
        ),
    )

    def run(self, options: Options) -> int:
        from rclip.cli import completion

        kind = options.values["generate"]
        parser = option_parser()
        is_page = kind == "man"
        text = completion.man_page(parser) if is_page else completion.completion(parser, kind.partition("-")[2])
        sys.stdout.write(text)
        return ExitCode.FOUND
