"""The action that needs no option: a search, by words and pictures or by filters alone."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from rclip import datadir
from rclip.cli import activity, choices, report
from rclip.cli.messages import Doing, Notice, Usage, alternatives, of_error, tell
from rclip.cli.options import ONLY, Action, Asked, Option, Options, register
from rclip.errors import ExitCode, RclipError, UsageError, without_passwords
from rclip.files import as_on_disk
from rclip.search import query as queries
from rclip.search.query import Link, Picture, Text
from rclip.signals import Interrupted
from rclip.terminal.text import has_other_letters

if TYPE_CHECKING:
    from rclip.cli.placing import Placing
    from rclip.cli.query_file import AskedLine
    from rclip.library import Hit, Library
    from rclip.remote_library import RemoteLibrary
    from rclip.search.query import Query
    from rclip.search.statistics import Stats


class Search(Action):
    """Finds photos and prints them."""

    group = "search"
    asks_database = True
    options = (
        Option(("-a", "--add"), "more of this; repeatable", "TERM", choices.term, is_repeatable=True),
        Option(("-s", "--subtract"), "less of this; repeatable", "TERM", choices.term, is_repeatable=True),
        Option(("--queries",), "one query per line, - for standard input; no QUERY", "FILE", choices.file),
        Option(("-t", "--top"), "how many photos to show (10)", "N", choices.count, default=10, is_setting=True),
        Option(("--page",), "the photos after those of N-1 pages", "N", choices.count),
        Option(("--sort",), "score, date (newest first) or path", "ORDER", choices.one_of(*choices.SORTS)),
        Option(("-n", "--no-indexing"), "do not look for new photos first"),
        Option(
            ("--fold",),
            "one result for photos so much alike, by cosine: 0.95",
            "S",
            choices.similarity,
            default=1.0,
            is_setting=True,
        ),
        Option(("--all",), "a result for each copy, and for RAW and JPEG alike"),
        Option(("--moments",), "up to N moments of each video, each as a result (1)", "N", choices.count),
        Option(("--approximate",), "search a huge index in a moment, and miss a few"),
        Option(
            ("--from",),
            "search a shared database instead; or none",
            "URL",
            choices.searched_database,
            is_setting=True,
            setting="index",
            is_personal=True,
        ),
    )

    def split(self, words: Sequence[str], values: Mapping[str, Any]) -> "tuple[Query | None, Sequence[str]]":
        added, subtracted = values["add"], values["subtract"]
        has_terms, has_filters = bool(added or subtracted), bool(values["filters"])
        if values["queries"] and has_terms:
            raise UsageError(Usage.QUERIES_WITH_TERMS)
        if values["all"] and values["fold"] is not None:
            raise UsageError(Usage.NOT_TOGETHER.format(one="--all", other="--fold"))
        if values["moments"] and values["fold"] is not None:
            raise UsageError(Usage.NOT_TOGETHER.format(one="--moments", other="--fold"))
        if values["queries"]:
            return None, words
        if has_filters and not has_terms and all(map(is_plainly_a_folder, words)):
            return None, words
        if not words and not has_terms:
            raise UsageError(Usage.NO_QUERY)
        if has_terms and all(map(is_plainly_a_folder, words)):
            return queries.parse_words([], added, subtracted), words
        asked, directories = queries.split(words)
        if len(asked) == 1 and not has_terms and not values["is_quoted"] and _may_be_no_query(asked[0]):
            from rclip.cli import newcomers

            newcomers.refuse_no_query(asked[0], directories, values, _COMMANDS.get(asked[0], ""))
        return queries.parse_words(asked, added, subtracted), directories

    def check(self, options: Options) -> None:
        for term in options.query.terms if options.query else ():
            if isinstance(term.what, Picture) and os.path.isdir(term.what.value):
                folder = term.what.value
                raise UsageError(Usage.QUERY_IS_FOLDER.format(folder=folder, folders=folder))

        _refuse_misplaced(options)
        if options.values["moments"] and not (options.query or options.queries):
            raise UsageError(Usage.MOMENTS_WITHOUT_QUERY)
        if options.database:
            _refuse_files_of_others(options)

    def run(self, options: Options) -> int:
        options.format.check(options)
        mention_other_index()
        if _needs_a_decoder(options):
            from rclip.photo import decode_pool

            decode_pool.start_ahead()
        if options.database:
            is_opening = bool(options.values["open"]) or options.values["preview"] not in (None, choices.NO_PREVIEW)
            with options.open_database(is_opening) as remote:
                return _answer(remote, options)
        with options.open_library() as library:
            if not options.no_indexing:
                report.update(library, options)
            return _answer(library, options)


def is_plainly_a_folder(word: str) -> bool:
    """A folder's path that no one would take for words: `.`, `..`, or what starts as the path of a picture does."""
    is_path = word in (".", "..", "~") or word.startswith(_PATH_STARTS)
    return is_path and os.path.isdir(as_on_disk(os.fsencode(os.path.expanduser(word))))


_PATH_STARTS = ("/", "./", "../", "~/")

_COMMANDS = {
    "index": "--index",
    "serve": "--web",
    "web": "--web",
    "stats": "--stats",
    "help": "--help",
    "version": "--version",
    "config": "--config",
}
"""Commands of other programs, and the options that do the same here."""


def _may_be_no_query(word: str) -> bool:
    """Whether a word is another program's command or starts like a path of Windows, or names a folder or a file."""
    is_odd = word in _COMMANDS or (word[1:2] == ":" and word[:1].isalpha())
    return is_odd or os.path.isdir(os.path.expanduser(word)) or _is_file_as_word(word)


def _is_file_as_word(word: str) -> bool:
    return not word.startswith(_PATH_STARTS) and os.path.isfile(word)


def mention_other_index() -> None:
    """Says once that the index of another program of the same name, in the same folder, is not used."""
    data_dir = datadir.own()
    path, mark = (os.path.join(data_dir, name) for name in ("db.sqlite3", "other-index-mentioned"))
    if os.path.exists(path) and not os.path.lexists(mark):
        from rclip.cli import newcomers

        newcomers.mention_other_index(path, mark)


def _needs_a_decoder(options: Options) -> bool:
    """Whether a picture will surely be decoded: in a thumbnail, or of a query if it does not lie among the photos."""
    asked = [term.what for term in options.query.terms] if options.query else []
    if options.values["preview"] or any(isinstance(what, Link) for what in asked):
        return True
    paths = [what.value for what in asked if isinstance(what, Picture)]
    try:
        folders = tuple(os.path.join(os.path.realpath(folder), "") for folder in options.directories or (os.curdir,))
        return any(not os.path.realpath(path).startswith(folders) for path in paths)
    except (OSError, ValueError):  # no current folder; a NUL in a path
        return False


def _answer(library: "Library | RemoteLibrary", options: Options) -> int:
    """Prints what is found for each query; one that cannot be answered does not keep the others from it."""
    say_which_place(options)
    if options.query is None and options.queries is None:
        return _show_newest(library, options)
    if options.query:
        _say_which_words_are_not_read(library, options.query)
    places = _places(library, options)
    asked: deque[AskedLine | None] = deque()
    statuses = set()
    reported = set()
    answers = library.search_blocks(_blocks(options, asked), options.top, options.filters, **options.wanted)
    if options.query:  # others may be typed meanwhile
        answers = activity.during(Doing.SEARCHING, answers)
    for _, found in answers:
        try:
            statuses.add(_show(found, asked.popleft(), library, options, places))
        except RclipError as error:
            statuses.add(ExitCode.ERROR)
            if str(error) not in reported:  # such as that there is no viewer to open photos with
                reported.add(str(error))
                tell(error)
    if places and not places.finish():
        statuses.add(ExitCode.ERROR)
    if statuses == {ExitCode.NOTHING_FOUND}:
        _say_why_nothing_was_found(library, options)
    return next((code for code in (ExitCode.ERROR, ExitCode.FOUND) if code in statuses), ExitCode.NOTHING_FOUND)


def _show(
    found: "list[Hit] | RclipError",
    line: "AskedLine | None",
    library: "Library | RemoteLibrary",
    options: Options,
    places: "Placing | None",
) -> ExitCode:
    """Prints what is found for one query; `line` is None where it is the only one.

    Raises `RclipError` for what could not be asked or found, or not opened.
    """
    asked = Asked(line.written, line.place) if line else ONLY
    if isinstance(found, RclipError):
        if line is None:
            raise found
        problem = without_passwords(line.problem(found))
        options.format.write_no_hits(asked, problem)
        tell(problem)
        return ExitCode.ERROR
    if line and not found:
        options.format.write_no_hits(asked, None)
    else:
        _print_hits(found, library, options, asked, places)
    return ExitCode.FOUND if found else ExitCode.NOTHING_FOUND


def _show_newest(library: "Library | RemoteLibrary", options: Options) -> int:
    with activity.shown(Doing.SEARCHING):
        hits = library.search(None, options.top, options.filters, **options.wanted)
    places = _places(library, options)
    _print_hits(hits, library, options, ONLY, places)
    if not hits:
        _say_why_nothing_was_found(library, options)
        return ExitCode.NOTHING_FOUND
    return ExitCode.ERROR if places and not places.finish() else ExitCode.FOUND


def _places(library: "Library | RemoteLibrary", options: Options) -> "Placing | None":
    """Where photos are put, if they are to be."""
    if not any(options.values[name] for name in _PLACING):
        return None
    from rclip.cli.placing import Placing

    return Placing(cast("Library", library), options.values)  # of a database none are put anywhere


_PLACING = ("copy_to", "link_to", "keep_paths")


def _refuse_files_of_others(options: Options) -> None:
    """Paths of a database could name any file here: only those inside a folder that was named are opened."""
    for name in (*_PLACING, "all", "fold", "moments", "approximate", "approximate_from"):
        setting = options.settings.get(name)
        if setting.is_of_this_run if setting else options.values[name]:
            raise UsageError(Usage.NOT_TOGETHER.format(one=f"--{name.replace('_', '-')}", other="--from"))
    for name in ("open", "preview"):
        if not options.directories and options.values[name] not in (None, False, choices.NO_PREVIEW):
            raise UsageError(Usage.DATABASE_FOLDERS.format(option=f"--{name}"))


def _refuse_misplaced(options: Options) -> None:
    if any(options.values[name] for name in _PLACING):
        from rclip.cli import placing

        placing.check(options.values)


def _print_hits(
    hits: "list[Hit]", library: "Library | RemoteLibrary", options: Options, asked: Asked, places: "Placing | None"
) -> None:
    if options.values["verbose"] and hits:
        asked = Asked(asked.query, asked.place, library.model_facts())
    options.format.write(hits, options, asked)
    if places:
        places.add(hits)
    if options.values["open"]:
        from rclip import desktop
        from rclip.search.hits import absolute

        starts_ms = {absolute(hit.path): hit.at_ms for hit in hits if hit.at_ms}
        desktop.show([absolute(hit.path) for hit in hits], starts_ms)


def _say_why_nothing_was_found(library: "Library | RemoteLibrary", options: Options) -> None:
    if (options.values["page"] or 1) > 1 and library.has_photos():
        tell(Notice.EMPTY_PAGE.format(number=options.values["page"]))
    elif options.filters and library.has_photos():
        tell(Notice.NOTHING_STANDS_OUT if options.filters.is_relevant else Notice.NOTHING_PASSES)
    elif options.database:
        tell(Notice.NOT_PUSHED)
    elif library.has_photos() and _are_all_excluded(cast("Library", library).stats()):
        tell(Notice.NOTHING_BUT_EXCLUDED)
    else:
        tell(Notice.NOT_INDEXED if options.no_indexing else Notice.NO_PHOTOS)


def _are_all_excluded(stats: "Stats") -> bool:
    return stats.excluded > 0 and not stats.photos


def say_which_place(options: Options) -> None:
    """Where a name was given that several places have."""
    near = options.filters.near if options.filters else None
    if near and near.text:
        from shlex import quote

        from rclip.filters import cities_meant

        meant, *others = cities_meant(near.text)
        labels = {quote(city.label): None for city in others if city.name == meant.name and city.label != meant.label}
        if labels:
            tell(Notice.NEAR.format(place=meant.label, others=alternatives((*labels,)[:3])))


def _say_which_words_are_not_read(library: "Library | RemoteLibrary", query: "Query") -> None:
    texts = [term.what.value for term in query.terms if isinstance(term.what, Text)]
    if any(has_other_letters(each) for each in texts) and library.reads_english_only:
        tell(Notice.OTHER_LETTERS)


def _blocks(options: Options, asked: "deque[AskedLine | None]") -> "Iterator[list[Query | RclipError]]":
    """The queries; of each, `asked` gets the line that it stands in, None for the one of the command line."""
    if options.query:
        _say_which_words_name_a_file(options)
        asked.append(None)
        yield [options.query]
    elif options.queries:
        from rclip.cli.query_file import queries_in

        for lines in queries_in(options.queries):
            asked += lines
            yield [line.query for line in lines]


def _say_which_words_name_a_file(options: Options) -> None:
    """Unless they were quoted on purpose; a single term that names a file is refused before."""
    assert options.query
    for term in () if options.values["is_quoted"] else options.query.terms:
        if isinstance(term.what, Text) and os.path.isfile(term.what.value):
            tell(Notice.WORDS_NAME_A_FILE.format(name=term.what.value))


def _order_texts(options: Options) -> dict[str, str]:
    return {"sort": options.values["sort"]} if options.values["sort"] else {}


@register
class Browse(Action):
    """Shows the photos on the whole terminal, and prints those that are selected there."""

    group = "search"
    options = (Option(("-i", "--interactive"), "search and select on the whole terminal"),)

    def split(self, words: Sequence[str], values: Mapping[str, Any]) -> "tuple[Query | None, Sequence[str]]":
        for name in ("queries", "top", "page", "moments", "open", "copy_to", "link_to"):
            if values[name]:
                other = f"--{name.replace('_', '-')}"
                raise UsageError(Usage.NOT_TOGETHER.format(one="--interactive", other=other))
        if not (values["add"] or values["subtract"]) and all(map(is_plainly_a_folder, words)):
            return None, words
        return Search().split(words, values)

    def check(self, options: Options) -> None:
        Search().check(options)
        options.format.check(options)

    def run(self, options: Options) -> int:
        mention_other_index()
        selected = self._browse(options)
        if selected is None:
            raise Interrupted(signal_number=2)
        if selected:
            options.format.write(selected, options, ONLY)
        return ExitCode.FOUND if selected else ExitCode.NOTHING_FOUND

    def _browse(self, options: Options) -> "list[Hit] | None":
        import gc

        from rclip import desktop
        from rclip.explore.request import fold_texts
        from rclip.filters import texts_of
        from rclip.tui import Setup, browse

        def open_library(notify: "Callable[[str | RclipError], None]") -> "Library":
            gc.enable()  # it may stay for hours; the first screen stands
            return options.open_library(notify)

        setup = Setup(
            open_library=open_library,
            query=options.query,
            filters=texts_of(options.filters) | fold_texts(options.fold) | _order_texts(options),
            pictures="auto" if options.values["preview"] in (None, choices.NO_PREVIEW) else options.values["preview"],
            is_updating=not options.no_indexing,
            show_files=desktop.show,
            sentence=of_error,
        )
        try:
            return browse(setup)
        except ModuleNotFoundError as error:
            if error.name != "textual":
                raise
            raise RclipError(Usage.NO_TEXTUAL.format(python=sys.executable)) from None
