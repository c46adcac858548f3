"""Results on stdout: a table for people, bare paths for pipes, JSON lines for programs.

Everything is written as bytes, because a file's name need not be text.
"""

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rclip.cli import activity, choices, messages
from rclip.cli.messages import Doing, Usage
from rclip.cli.options import ONLY, Asked, Option, Options, OutputFormat, Setting, register
from rclip.cli.text import dated, dressed, folded, placed, scored, shown_path
from rclip.errors import UsageError
from rclip.terminal import environment
from rclip.terminal.environment import PLAIN, Style
from rclip.terminal.text import printable, replace_unseen, shortened, size, width

if TYPE_CHECKING:
    from rclip.cli.template import Template
    from rclip.library import Hit
    from rclip.maintenance.check import Finding
    from rclip.models.catalogue import ModelState
    from rclip.photo.failures import FailedPhoto
    from rclip.search.duplicates import Group
    from rclip.search.statistics import Stats

_SCORE_COLUMNS = 6
_DATE_COLUMNS = len("2019-02-03")
_GAP = "  "
_LEAST_PATH_COLUMNS = 24  # a table without room for more has no dates
_LEAST_PLACE_COLUMNS = 12


def write_table(hits: "Sequence[Hit]", style: Style, columns: int) -> None:
    """Score, path, copies, date and place, in lines of at most so many columns, for a terminal.

    Without a query there is no score, and the date is never left out. Places get the room that paths leave.
    """
    has_scores = any(hit.score is not None for hit in hits)
    room = columns - (_SCORE_COLUMNS + len(_GAP)) * has_scores
    room_beside_date = room - _DATE_COLUMNS - len(_GAP)
    has_dates = room_beside_date >= _LEAST_PATH_COLUMNS or not has_scores
    path_room = room_beside_date if has_dates else room
    copies_columns = [width(folded(hit, PLAIN)) for hit in hits]
    paths = [shown_path(hit, max(1, path_room - copies)) for hit, copies in zip(hits, copies_columns, strict=True)]
    used_columns = [width(path) + copies for path, copies in zip(paths, copies_columns, strict=True)]
    path_columns = max(used_columns, default=0)
    place_room = path_room - path_columns - len(_GAP)
    has_places = has_dates and place_room >= _LEAST_PLACE_COLUMNS

    def line(hit: "Hit", path: str, used: int) -> str:
        padding = " " * (path_columns - used)
        first = f"{scored(hit, style, _SCORE_COLUMNS)}{_GAP}" if has_scores else ""
        last = f"{padding}{_GAP}{dated(hit, style)}" if has_dates else ""
        place = placed(hit, place_room, style) if has_places else ""
        return f"{first}{dressed(path, hit, style)}{folded(hit, style)}{last}{_GAP if place else ''}{place}\n"

    _write(line(*each).encode() for each in zip(hits, paths, used_columns, strict=True))


def write_heading(query: str | None) -> None:
    """Above what is found for it on a terminal, where there are several queries."""
    if query is not None:
        _write([f"{printable(query)}\n".encode()])


def write_paths(hits: "Iterable[Hit]", style: Style = PLAIN, query: str | None = None) -> None:
    """One a line; raw in a pipe, on a terminal without what would steer it."""
    is_terminal = sys.stdout.isatty()
    if style == PLAIN and not is_terminal:
        _write(os.fsencode(_marked(hit.path, query)) + b"\n" for hit in hits)
    else:
        shown = printable if is_terminal else str
        mark = shown(_marked("", query))
        _write(os.fsencode(mark + dressed(shown(hit.path), hit, style)) + b"\n" for hit in hits)


def write_null_ended(hits: "Iterable[Hit]", query: str | None = None) -> None:
    """For `xargs -0`: the one form in which every name is safe."""
    _write(os.fsencode(_marked(hit.path, query)) + b"\0" for hit in hits)


def _marked(path: str, query: str | None) -> str:
    """As grep does where there are several files: what it belongs to comes first."""
    return path if query is None else f"{' '.join(query.split())}\t{path}"


def write_json_lines(hits: "Iterable[Hit]", asked: Asked = ONLY) -> None:
    """One object a line: path (absolute), score, rank, size, times, and what else is known of the photo.

    `path_b64` stands for a name that is no UTF-8. Where there are several queries it begins with the query; without one
    there is no score. `copies` lists the photos that are the same picture.
    """
    from rclip.search.hits import as_json

    first = {} if asked.query is None else {"query": asked.query}
    _write(_json_line({**first, **asked.place, **as_json(hit), **asked.model}) for hit in hits)


def _json_line(said: Mapping[str, object]) -> bytes:
    import json

    return _harmless(json.dumps(said, ensure_ascii=False)).encode(errors="replace") + b"\n"


def _harmless(line: str) -> str:
    """The same JSON with what would steer a terminal, of which JSON itself escapes only some, as escapes."""
    import json

    return replace_unseen(line, lambda character: json.dumps(character)[1:-1])


def write_formatted(hits: "Iterable[Hit]", template: "Template", asked: Asked) -> None:
    """What `--format` asks for. As in bare paths, texts are raw in a pipe and made harmless on a terminal."""
    is_terminal = sys.stdout.isatty()

    def shown(value: object) -> object:
        return printable(value) if is_terminal and isinstance(value, str) else value

    rows = ({name: shown(value) for name, value in _fields(hit, asked, template.fields).items()} for hit in hits)
    _write(os.fsencode(template(fields)) for fields in rows)


def _fields(hit: "Hit", asked: Asked, names: Collection[str]) -> dict[str, object]:
    """Of `template.FIELDS` at least those named, None for what is not known; times are local."""
    from rclip.search.hits import captured_texts, modified, told_metadata

    id_ = asked.place.get("id")
    place = {"place": hit.place or None} if "place" in names else {}
    return {
        "query": asked.query or "",
        "line": asked.place.get("line"),
        "id": None if id_ is None else str(id_),
        "path": hit.path,
        "score": None if hit.score is None else round(hit.score, 6),
        "rank": hit.rank,
        "at": hit.at or None,
        "at_s": None if hit.at_ms is None else hit.at_ms / 1000,
        "size": hit.size_bytes,
        "modified": modified(hit).astimezone(),
        "captured": hit.captured,
        "captured_offset": captured_texts(hit)[1],
        **told_metadata(hit),
        **place,
        "keywords": ", ".join(hit.metadata.keywords) or None,
        "copies": len(hit.copies),
    }


def _look_for_places(hits: "Sequence[Hit]") -> None:
    """The very first look for one takes seconds, and says so."""
    located = next((hit for hit in hits if hit.metadata.latitude is not None), None)
    if located:
        with activity.shown(Doing.NAMING):
            _ = located.place


# --- the forms of output ---------------------------------------------------------------------------------------------


class Table(OutputFormat):
    """Score, path and date: the default on a terminal."""

    def write(self, hits: "Sequence[Hit]", options: Options, asked: Asked) -> None:
        _look_for_places(hits)
        write_heading(asked.query)
        write_table(hits, _style(options), environment.size().columns)


@register
class Paths(OutputFormat):
    """One path per line: the default in a pipe."""

    options = (Option(("-f", "--filepath-only"), "paths without scores; the default in a pipe"),)

    def write(self, hits: "Sequence[Hit]", options: Options, asked: Asked) -> None:
        write_paths(hits, _style(options), asked.query)


@register
class NullEnded(OutputFormat):
    """Paths that end in NUL."""

    options = (Option(("-0", "--null"), "paths that end in NUL, for xargs -0"),)

    def write(self, hits: "Sequence[Hit]", options: Options, asked: Asked) -> None:
        write_null_ended(hits, asked.query)


@register
class JsonLines(OutputFormat):
    """One JSON object per line."""

    options = (Option(("--json",), "one JSON object per line: path, score, camera ..."),)

    def write(self, hits: "Sequence[Hit]", options: Options, asked: Asked) -> None:
        _look_for_places(hits)
        write_json_lines(hits, asked)

    def write_no_hits(self, asked: Asked, problem: str | None) -> None:
        said = {"found": 0} if problem is None else {"error": problem}
        _write([_json_line({"query": asked.query, **asked.place, **said})])


@register
class Formatted(OutputFormat):
    """A template filled in for each hit."""

    options = (
        Option(("--format",), "'{score:.3f}\\t{path}'; also query, and all of --json", "TEMPLATE", choices.template),
    )

    def write(self, hits: "Sequence[Hit]", options: Options, asked: Asked) -> None:
        if asked.query is None and options.query:
            asked = Asked(options.query.written, asked.place)
        template = options.values["format"]
        if "place" in template.fields:
            _look_for_places(hits)
        write_formatted(hits, template, asked)


@register
class Preview(OutputFormat):
    """Thumbnails in the terminal."""

    options = (
        Option(
            ("-p", "--preview"),
            "thumbnails; or --preview=kitty, iterm, sixel, blocks",
            kinds=choices.PREVIEWS,
            is_setting=True,
        ),
        Option(
            ("--preview-height",),
            "terminal rows per thumbnail (10)",
            "ROWS",
            choices.rows,
            default=10,
            is_setting=True,
        ),
    )

    def check(self, options: Options) -> None:
        if not sys.stdout.isatty():
            raise UsageError(Usage.PREVIEW_NEEDS_TERMINAL)

    def write(self, hits: "Sequence[Hit]", options: Options, asked: Asked) -> None:
        from rclip.cli import preview

        write_heading(asked.query)
        kind, height = options.values["preview"], options.values["preview_height"]
        preview.write(hits, kind, height, _style(options), options.max_image_megapixels)


def format_for(chosen: OutputFormat | None, preview: str | None) -> OutputFormat:
    """The form that an option has chosen, else the default; thumbnails may be a setting, and may be turned off."""
    if chosen and not (isinstance(chosen, Preview) and preview == choices.NO_PREVIEW):
        return chosen
    if not sys.stdout.isatty():
        return Paths()
    return Preview() if preview and preview != choices.NO_PREVIEW else Table()


def _style(options: Options) -> Style:
    style = environment.style(options.values["color"], sys.stdout.isatty())
    is_of_other_machine = options.database is not None and not options.directories
    return style._replace(links=False) if is_of_other_machine else style


# --- copies ----------------------------------------------------------------------------------------------------------


def write_duplicates(groups: "Sequence[Group]", options: Options) -> None:
    """Groups of copies, divided by an empty line or name; an object for each in JSON."""
    for number, group in enumerate(groups):
        hits = [copy.hit for copy in group.copies]
        match options.format:
            case JsonLines():
                _write([_json_of_group(group)])
            case NullEnded():
                _write([b"\0"] if number else [])
                options.format.write(hits, options, ONLY)
            case Table():
                _write([b"\n"] if number else [])
                _write_group(group, _style(options), environment.size().columns)
            case _:
                _write([b"\n"] if number else [])
                options.format.write(hits, options, ONLY)


def _write_group(group: "Group", style: Style, columns: int) -> None:
    """How alike, bytes, path and date; the first line is the photo that the others are copies of."""
    alike = [
        "" if not number else "exact" if copy.is_exact else f"{copy.hit.score:.3f}"
        for number, copy in enumerate(group.copies)
    ]
    sizes = [size(copy.hit.size_bytes) for copy in group.copies]
    size_columns = max(map(len, sizes))
    room = columns - _SCORE_COLUMNS - size_columns - _DATE_COLUMNS - 3 * len(_GAP)
    paths = [shortened(printable(copy.hit.path), max(1, room)) for copy in group.copies]
    path_columns = max(map(width, paths))
    for how, size_text, path, copy in zip(alike, sizes, paths, group.copies, strict=True):
        padding = " " * (path_columns - width(path))
        cells = [how.rjust(_SCORE_COLUMNS), size_text.rjust(size_columns), dressed(path, copy.hit, style) + padding]
        _write([_GAP.join([*cells, dated(copy.hit, style)]).encode() + b"\n"])


def _json_of_group(group: "Group") -> bytes:
    from rclip.search.hits import as_json

    photos = [as_json(copy.hit) | {"exact": copy.is_exact} for copy in group.copies]
    return _json_line({"wasted": group.wasted_bytes, "photos": photos})


# --- what is indexed -------------------------------------------------------------------------------------------------


def write_stats(stats: "Stats") -> None:
    from rclip.search.hits import clock

    lines = [
        ("photos", f"{stats.photos:,}"),
        ("unreadable", f"{len(stats.unreadable):,}"),
        *(("", printable(f"{path}: {_reason(failure)}")) for path, failure in stats.unreadable.items()),
        *([("incomplete", f"{len(stats.incomplete):,}")] if stats.incomplete else []),
        *(("", printable(f"{path}: the lower {part} % is missing")) for path, part in stats.incomplete.items()),
        *([("excluded", f"{stats.excluded:,}, kept until they are pruned")] if stats.excluded else []),
        *([("videos", f"{stats.videos:,}, with {stats.moments:,} moments")] if stats.videos else []),
        *(
            ("", printable(f"{path}: nothing after {clock(broken.after_ms)}: {broken.reason}"))
            for path, broken in stats.broken_videos.items()
        ),
        ("missing", f"{stats.missing:,}, kept for when they return" if stats.missing else "0"),
        ("model", printable(stats.model)),
        ("digest", stats.digest or "none yet"),
        ("precision", stats.precision),
        *(("index", f"{size(size_bytes)}  {printable(path)}") for path, size_bytes in stats.indexes.items()),
        *(("approximate", messages.RECALL.format(**recall._asdict())) for recall in stats.recalls.values()),
        ("weights", f"{size(stats.weights_bytes)}  {printable(stats.weights_path)}"),
    ]
    _write(f"{label:12}{value}\n".encode() for label, value in lines)


def write_settings(path: str, settings: Iterable[Setting]) -> None:
    """The path of the user's file, which need not be there, then a line of it for each setting."""
    import json

    rows = [
        ("# " if value is None else "", option.setting_key, "" if value is None else json.dumps(value), source)
        for option, value, source in settings
    ]
    lines = [(f"{mark}{name} = {value}".rstrip(), source) for mark, name, value, source in rows]
    columns = max(width(line) for line, _ in lines)
    _write([f"# {printable(path)}\n".encode()] if path else [])
    _write(f"{line}{' ' * (columns - width(line))}  # {printable(source)}\n".encode() for line, source in lines)


def write_models(data_dir: str, index_folder: str) -> None:
    """A line for each model: its short name, what is published of it, and whether it is here."""
    from rclip.models import catalogue

    heads = ("name", "MB", "vector", "languages", "ImageNet", "COCO", "licence", "here", "model")
    rows: list[Sequence[str]] = [heads]
    for each in catalogue.RECOMMENDED:
        state = catalogue.state_of(each.name, data_dir, index_folder)
        figures = (f"{each.megabytes:,}", f"{each.dimensions}", each.languages, f"{each.imagenet}", f"{each.coco}")
        rows.append((each.alias, *figures, each.licence, _here(state), each.name))
    rows += [(*["-"] * 7, _here(state), state.label) for state in catalogue.others(data_dir, index_folder)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = {1, 2, 4, 5}
    lines = (
        "  ".join(cell.rjust(room) if place in numbers else cell.ljust(room)
                  for place, (cell, room) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    )  # fmt: skip
    _write(printable(line).encode() + b"\n" for line in lines)


def _here(state: "ModelState") -> str:
    return "indexed" if state.has_index else "yes" if state.is_here else "no"


def _reason(failure: "FailedPhoto") -> str:
    return messages.of_failure(failure.reason, failure.kind)


def write_finding(finding: "Finding") -> None:
    """The part, its state and what repairs it; then its faults, a line each."""
    lines = [(finding.part, messages.of_finding(finding)), *(("", fault) for fault in finding.faults)]
    _write(f"{label:12}{printable(text)}\n".encode() for label, text in lines)


def _write(lines: Iterable[bytes]) -> None:
    sys.stdout.buffer.writelines(lines)
    sys.stdout.buffer.flush()
