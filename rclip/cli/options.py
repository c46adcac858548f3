"""What the command line asks for, as one plain value, and what it chooses among: an action, and a form of output.

A new action is one subclass of `Action`, a new form of output one of `OutputFormat`, with `@register` above it.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from rclip.cli import choices
from rclip.cli.messages import Usage, tell
from rclip.errors import RclipError, UsageError

if TYPE_CHECKING:
    from rclip.filters import Filters
    from rclip.library import Hit, Library
    from rclip.remote_library import RemoteLibrary
    from rclip.search.query import Query


class Option(NamedTuple):
    """An option of the command line."""

    names: tuple[str, ...]
    """With their dashes, the long one last."""
    help: str
    metavar: str = ""
    """What the help calls its value; empty for an option without one, which is True where it is given."""
    parse: Callable[[str], Any] = str
    """Raises ValueError that says what the value must be."""
    default: Any = None
    is_repeatable: bool = False
    """Whether its value is a list with an entry for each time it is given."""
    key: str = ""
    """Its name among the values, where that is not the long one."""
    only_with: str = ""
    """The option without which it is refused, or several, of which it needs one: `--a or --b`."""
    kinds: tuple[str, ...] = ()
    """Values that it may have after a `=`; the first is the default."""
    in_file: Callable[[str, str], Any] | None = None
    """What a value means in a configuration file for a folder, which comes second, empty for the user's own."""
    is_setting: bool = False
    """Whether a configuration file may set it; see `cli.settings`."""
    setting: str = ""
    """The key there, where that is not the long name."""
    is_personal: bool = False
    """Whether only the user's own file may set it, and none that lies with photos."""

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def value_key(self) -> str:
        """Its name among the values."""
        return self.key or self.name.lstrip("-").replace("-", "_")

    @property
    def setting_key(self) -> str:
        """Its key in a configuration file."""
        return self.setting or self.name.lstrip("-")

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return not self.metavar and not self.kinds

    def is_given(self, values: Mapping[str, Any]) -> bool:
        value = values[self.value_key]
        return value is not None and value is not False


COMMAND_LINE = "command line"
"""Where a setting comes from that is given for one run."""


class Setting(NamedTuple):
    """What holds for an option, and where that comes from."""

    option: Option
    value: Any
    source: str
    """As a person reads it: `command line`, `RCLIP_MODEL`, a file with its line, `default`."""

    @property
    def is_of_this_run(self) -> bool:
        """Whether it was said on the command line."""
        return self.source == COMMAND_LINE


class Action:
    """Something that the command does: its options with their help, its rules and its run."""

    group: ClassVar[str] = "index"
    """The part of the help that lists its options."""
    options: ClassVar[tuple[Option, ...]]
    """The first one chooses it; the others go with it."""
    asks_database: ClassVar[bool] = False
    """Whether it does its work on a database, too (`--from`)."""

    def split(self, words: Sequence[str], values: Mapping[str, Any]) -> "tuple[Query | None, Sequence[str]]":
        """The query, if it takes one, and the folders. Raises `UsageError`."""
        if values["filters"] or values["queries"] or values["add"] or values["subtract"]:
            raise UsageError(Usage.TAKES_NO_QUERY.format(option=self.options[0].name))
        given = next((name for name in ("page", "sort", "copy_to", "link_to") if values[name]), None)
        if given:
            other = f"--{given.replace('_', '-')}"
            raise UsageError(Usage.NOT_TOGETHER.format(one=self.options[0].name, other=other))
        return None, words

    def check(self, options: "Options") -> None:
        """Raises `UsageError` for options that do not go with it."""

    def run(self, options: "Options") -> int:
        """Does it, and returns the exit status. Raises `RclipError`."""
        raise NotImplementedError


class Asked:
    """Of which query an answer is, and what else JSON says of it."""

    __slots__ = ("model", "place", "query")

    def __init__(
        self,
        query: str | None = None,
        place: Mapping[str, object] | None = None,
        model: Mapping[str, object] | None = None,
    ):
        """`query` is as written, where there are several; None where there is one, or it could not be read.

        `place` has the `line` of the file of queries, and its `id` where it has one; `model` the model's name, digest
        and precision, where these are asked for.
        """
        self.query = query
        self.place = place or {}
        self.model = model or {}


ONLY = Asked()
"""The only query, or none."""


class OutputFormat:
    """How results are written: its options with their help, its rules, and its writing to standard output."""

    options: ClassVar[tuple[Option, ...]] = ()
    """The first one chooses it; the others go with it. None for one that is chosen by default."""

    def check(self, options: "Options") -> None:
        """Raises `UsageError` for options that do not go with it."""

    def write(self, hits: "Sequence[Hit]", options: "Options", asked: Asked) -> None:
        """`asked.query` is written with the hits where it is not None."""
        raise NotImplementedError

    def write_no_hits(self, asked: Asked, problem: str | None) -> None:
        """For one of several queries nothing was found, or it failed with that problem. Most forms write nothing."""


ACTIONS: list[Action] = []
"""All actions but the search, in the order of `--help`."""

FORMATS: list[OutputFormat] = []
"""All forms of output, in the order of `--help`."""

Kind = TypeVar("Kind", bound=type[Action] | type[OutputFormat])


def register(kind: Kind) -> Kind:
    """Adds an action or a form of output to those that the command line offers."""
    made = kind()
    if isinstance(made, Action):
        ACTIONS.append(made)
    else:
        FORMATS.append(made)
    return kind


class Options(NamedTuple):
    """What the command line asks for."""

    action: Action
    format: OutputFormat
    query: "Query | None"
    """None for what takes no query, for `queries`, and for filters alone."""
    queries: str | None
    """The file to read queries from, one per line; `-` for the standard input."""
    directories: tuple[str, ...]
    top: int | None
    """None for all."""
    filters: "Filters | None"
    """None where none is given."""
    values: Mapping[str, Any]
    """The values of all options by their names, also of those that actions and forms of output bring along."""
    settings: Mapping[str, Setting]
    """What holds for each setting, and where that comes from, by the same names."""

    @property
    def no_indexing(self) -> bool:
        return bool(self.values["no_indexing"])

    @property
    def wanted(self) -> dict[str, Any]:
        """Which page of the results, in which order, and what is one result, as `Library.search` takes it."""
        page = {"page": self.values["page"] or 1, "sort": self.values["sort"]}
        return page if self.database else page | {"fold": self.fold, "moments": self.values["moments"] or 1}

    @property
    def fold(self) -> float | None:
        """From which cosine photos are one result; None where each is its own."""
        return None if self.values["all"] or self.values["moments"] else self.values["fold"]

    @property
    def max_image_megapixels(self) -> float | None:
        megapixels: float | None = self.values["max_image_megapixels"]
        return megapixels

    @property
    def database(self) -> str | None:
        """The address of the database that is searched in place of the folders' own indexes."""
        url: str | None = self.values["from"] if self.action.asks_database else None
        return None if url == choices.NO_DATABASE else url

    def open_database(self, is_opening: bool) -> "RemoteLibrary":
        """The photos of the database; `is_opening` where files that are found are going to be opened."""
        _quiet_decoders()
        _import_library()
        from rclip.remote_library import RemoteLibrary

        assert self.database
        values = self.values
        return RemoteLibrary(
            self.database,
            *self.directories,
            model=values["model"],
            language=values["language"],
            exclude_dirs=values["exclude_dir"],
            exclude=values["exclude"],
            include_hidden=values["include_hidden"],
            device=None if values["device"] == "auto" else values["device"],
            max_image_megapixels=self.max_image_megapixels,
            is_opening=is_opening,
            notify=tell,
        )

    def open_library(self, notify: "Callable[[str | RclipError], None]" = tell) -> "Library":
        """The photos of the directories; `notify` is given lines for the user."""
        _quiet_decoders()
        values = self.values
        return _import_library()(
            *self.directories,
            model=values["model"],
            language=values["language"],
            exclude_dirs=values["exclude_dir"],
            exclude=values["exclude"],
            include_hidden=values["include_hidden"],
            include_videos=not values["no_video"],
            device=None if values["device"] == "auto" else values["device"],
            batch_size=values["batch_size"],
            max_image_megapixels=self.max_image_megapixels,
            approximate_from=1 if values["approximate"] else values["approximate_from"],
            notify=notify,
        )


def _quiet_decoders() -> None:
    """Pillow warns of damaged metadata in photos that it reads all the same."""
    import warnings

    warnings.filterwarnings("ignore", module="PIL")


def _import_library() -> "type[Library]":
    """numpy's BLAS would start a thread for each core and have them spin while they wait for one another.

    A query's products are too small to gain from it, and with another program at work they become ten times as slow.
    What encodes pictures asks for its threads itself (`models.local_encoder`).

    CPython keeps the frames of open calls in blocks of 16 KiB. An import that goes back and forth over the end of one
    has the system give and take a block each time; imported from within the library's modules, numpy did so 900 times.
    """
    is_ours = os.environ.setdefault("OPENBLAS_NUM_THREADS", "1") == "1"
    import numpy  # noqa: F401 - from here, not from deep among the imports of the library: see above

    from rclip.library import Library

    if is_ours:
        del os.environ["OPENBLAS_NUM_THREADS"]  # torch's own BLAS would obey it, too
    return Library
