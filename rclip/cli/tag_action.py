"""Tags: a keyword for all photos that a search finds, in their sidecars, where other programs read it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rclip.cli import choices, report
from rclip.cli.messages import Notice, tell
from rclip.cli.options import ONLY, Action, Option, Options, register
from rclip.cli.search_action import Search, is_plainly_a_folder, say_which_place
from rclip.errors import ExitCode, RclipError
from rclip.filters import Filters

if TYPE_CHECKING:
    from rclip.explore.tagging import Tagged
    from rclip.library import Hit
    from rclip.search.query import Query


@register
class Tag(Action):
    """Writes a keyword into the sidecars of the photos found."""

    group = "search"
    options = (
        Option(("--tag",), "write this keyword into the sidecars of the results", "WORD", choices.keyword),
        Option(("--dry-run",), "only show what --tag or --untag would change", only_with="--tag or --untag"),
    )

    def split(self, words: Sequence[str], values: Mapping[str, Any]) -> "tuple[Query | None, Sequence[str]]":
        return Search().split(words, values)

    def check(self, options: Options) -> None:
        Search().check(options)

    def run(self, options: Options) -> int:
        from rclip.explore.tagging import tag

        word = options.values["tag"]
        hits, folders = _found(options, options.filters)
        return _finished(hits, tag(_paths(hits), word, folders, options.values["dry_run"]), options)


@register
class Untag(Action):
    """Takes a keyword out of the sidecars of the photos found or, without a query, of all that have it."""

    group = "search"
    options = (Option(("--untag",), "take it out again; without a QUERY, wherever it is", "WORD", choices.keyword),)

    def split(self, words: Sequence[str], values: Mapping[str, Any]) -> "tuple[Query | None, Sequence[str]]":
        if not (values["queries"] or values["add"] or values["subtract"]) and all(map(is_plainly_a_folder, words)):
            return None, words
        return Search().split(words, values)

    def check(self, options: Options) -> None:
        Search().check(options)

    def run(self, options: Options) -> int:
        from rclip.explore.tagging import untag

        word = options.values["untag"]
        filters = options.filters
        if not (options.query or options.queries or filters):
            options, filters = options._replace(top=None), Filters(keywords=(word,))
        hits, folders = _found(options, filters)
        return _finished(hits, untag(_paths(hits), word, folders, options.values["dry_run"]), options)


def _paths(hits: "Sequence[Hit]") -> list[str]:
    """All files of the results, also the copies that are part of them."""
    return list(dict.fromkeys(path for hit in hits for path in _paths_of(hit)))


def _paths_of(hit: "Hit") -> list[str]:
    return [hit.path, *(copy.path for copy in hit.copies)]


def _found(options: Options, filters: Filters | None) -> "tuple[list[Hit], list[str]]":
    """The photos that a search finds, each once, and the folders that were searched."""
    say_which_place(options)
    with options.open_library() as library:
        if not options.no_indexing:
            report.update(library, options)
        if not (options.query or options.queries):
            answers = [library.search(None, options.top, filters, **options.wanted)]
        else:
            found = library.search_blocks(_blocks(options), options.top, filters, **options.wanted)
            answers = [_hits(hits) for _, hits in found]
        return list({hit.path: hit for hits in answers for hit in hits}.values()), library.folders


def _blocks(options: Options) -> "Iterator[list[Query | RclipError]]":
    if options.query:
        yield [options.query]
    elif options.queries:
        from rclip.cli.query_file import queries_in

        for lines in queries_in(options.queries):
            yield [line.query for line in lines]


def _hits(found: "list[Hit] | RclipError") -> "list[Hit]":
    """Raises the error: what is not understood is better not tagged in part."""
    if isinstance(found, RclipError):
        raise found
    return found


def _finished(hits: "Sequence[Hit]", tagged: "Sequence[Tagged]", options: Options) -> int:
    """Prints the photos whose sidecars have changed, or would, and counts them."""
    from rclip.explore.tagging import Outcome

    if not hits:
        tell(Notice.NOTHING_TO_TAG)
        return ExitCode.NOTHING_FOUND
    is_changed = {each.path for each in tagged if each.outcome not in (Outcome.UNCHANGED, Outcome.FAILED)}
    changed = [hit for hit in hits if is_changed.intersection(_paths_of(hit))]
    options.format.write(changed, options, ONLY)
    sys.stdout.flush()
    failed = [each for each in tagged if each.outcome == Outcome.FAILED]
    for each in failed:
        tell(Notice.NOT_TAGGED.format(path=each.sidecar or each.path, reason=each.reason))
    counts = {outcome: sum(each.outcome == outcome for each in tagged) for outcome in Outcome}
    said = Notice.WOULD_TAG if options.values["dry_run"] else Notice.TAGGED
    tell(
        said.format(
            made=counts[Outcome.MADE],
            changed=counts[Outcome.CHANGED],
            deleted=counts[Outcome.DELETED],
            unchanged=counts[Outcome.UNCHANGED],
        )
    )
    return ExitCode.ERROR if failed else ExitCode.FOUND
