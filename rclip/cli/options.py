"""The command line's words and options, checked, as one plain value."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclip.cli.arguments import option_parser
from rclip.errors import UsageError
from rclip.search import query as queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclip.cli.template import Template
    from rclip.filters import Filters
    from rclip.search.query import Query


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    query: "Query | None"
    """None for the actions (`--init`, `--index`, `--export` and others), `queries`, and filters alone."""
    queries: str | None
    """The file to read queries from, a line each; `-` for the standard input."""
    directories: tuple[str, ...]
    top: int | None
    """None for all."""
    filters: "Filters | None"
    """None when none is given."""
    no_indexing: bool
    filepath_only: bool
    null: bool
    json: bool
    format: "Template | None"
    preview: str | None
    """A kind of `arguments.PREVIEWS`; None for no thumbnails."""
    preview_height: int
    """Rows of the terminal."""
    color: str
    """`auto`, `always` or `never`."""
    open: bool
    index: bool
    init: bool
    verbose: bool
    stats: bool
    check: bool
    prune: int | None
    """For how many seconds files must have been gone to be forgotten."""
    offline: bool
    rebuild: bool
    export: str | None
    """The file to write all photos and vectors to."""
    model: str
    device: str | None
    batch_size: int | None
    exclude_dir: tuple[str, ...]
    include_hidden: bool
    max_image_megapixels: float | None


_ACTIONS = ("init", "index", "stats", "check", "rebuild", "export")
"""What takes no query, as `--prune` does not."""

_FILTERS = {"after", "before", "near", "camera", "paths", "types", "min_score", "is_relevant"}
_TOP = 10


def parse(arguments: "Sequence[str]") -> Options:
    """Raises `UsageError`."""
    values = option_parser().values(arguments)
    words = values.pop("words")
    values["filters"] = _filters(values)
    query, directories = _query_and_directories(words, values.pop("add"), values.pop("subtract"), values)
    if values["top"] is None and not _asks_for_all(query, values):
        values["top"] = _TOP
    _refuse_folders(query)
    _refuse_missing(directories, query, words)
    _refuse_what_cannot_go_together(values)
    if values["device"] == "auto":
        values["device"] = None
    values["exclude_dir"] = tuple(values["exclude_dir"])
    return Options(query=query, directories=tuple(directories), **values)


def _query_and_directories(
    words: list[str], added: list[str], subtracted: list[str], values: dict[str, Any]
) -> "tuple[Query | None, Sequence[str]]":
    """What is looked for, if that is said by words, and the words that are folders."""
    has_terms = bool(added or subtracted)
    if any(values[action] for action in _ACTIONS) or values["prune"] is not None:
        if values["filters"] or values["queries"] or has_terms:
            raise UsageError("queries and filters go with a search: leave them out with an option that takes no query")
        return None, words
    if values["queries"]:
        if has_terms:
            raise UsageError("--queries takes its terms from the file: leave out --add and --subtract")
        return None, words
    if values["filters"] and not has_terms and all(map(_is_plainly_a_folder, words)):
        if values["filters"].min_score is not None or values["filters"].is_relevant:
            raise UsageError("--min-score and --relevant need a query: without one nothing is scored")
        return None, words
    if not words and not has_terms:
        raise UsageError('say what to look for: rclip "a red kite"; rclip --help lists the options')
    if has_terms and all(map(_is_plainly_a_folder, words)):
        return queries.parse_words([], added, subtracted), words
    asked, directories = queries.split(words)
    return queries.parse_words(asked, added, subtracted), directories


def _filters(values: dict[str, Any]) -> "Filters | None":
    """Takes them out of the parsed values."""
    given = {name: value for name in _FILTERS if (value := values.pop(name)) is not None}
    if not given:
        return None
    from rclip.filters import Filters

    return Filters(**given | {"paths": tuple(given.get("paths", ()))})


def _asks_for_all(query: "Query | None", values: dict[str, Any]) -> bool:
    """Filters say themselves where to end, unless something is to be ranked."""
    filters = values["filters"]
    return bool(filters) and (filters.is_relevant or not (query or values["queries"]))


def _refuse_folders(query: "Query | None") -> None:
    for term in query.terms if query else ():
        if isinstance(term.what, queries.Picture) and os.path.isdir(term.what.path):
            where = term.what.path
            raise UsageError(f'{where} is a folder; say what to look for in it: rclip "a red kite" {where}')


def _refuse_missing(directories: "Sequence[str]", query: "Query | None", words: "Sequence[str]") -> None:
    missing = next((directory for directory in directories if not os.path.exists(os.path.expanduser(directory))), None)
    if missing is not None:
        needs_quotes = query and os.sep not in missing
        hint = f'; a query of several words needs quotes: rclip "{" ".join(words)}"' if needs_quotes else ""
        raise UsageError(f"there is no folder {missing}{hint}")


def _refuse_what_cannot_go_together(values: dict[str, Any]) -> None:
    if values["index"] and values["no_indexing"]:
        raise UsageError("--index and -n cannot go together; rclip --help lists the options")
    if values["rebuild"] and values["no_indexing"]:
        raise UsageError("--rebuild and -n cannot go together; rclip --help lists the options")
    if values["offline"] and values["prune"] is None:
        raise UsageError("--away goes with --prune only; rclip --help lists the options")


def _is_plainly_a_folder(word: str) -> bool:
    """A folder's path that no one would take for words: `.`, `..`, or what starts as the path of a picture does."""
    is_path = word in (".", "..", "~") or word.startswith(("/", "./", "../", "~/"))
    return is_path and os.path.isdir(os.path.expanduser(word))
