"""Results on stdout: a table for people, bare paths for pipes, JSON lines for programs.

Everything is written as bytes, because a file's name need not be text.
"""

import math
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclip.check import Finding
    from rclip.library import Hit, Stats


def write_table(hits: "Iterable[Hit]", query: str | None = None) -> None:
    """Score and path, for a terminal; the time in place of the score where there was nothing to be like.

    The query stands above them where there are several.
    """
    if query is not None:
        _write([f"{printable(query)}\n".encode()])
    _write(f"{_rank(hit)}  {printable(hit.path)}\n".encode() for hit in hits)


def _rank(hit: "Hit") -> str:
    return f"{hit.captured:%Y-%m-%d %H:%M}" if hit.score is None else f"{hit.score:6.3f}"


def write_paths(hits: "Iterable[Hit]", query: str | None = None) -> None:
    """One a line; raw in a pipe, on a terminal without what would steer it."""
    lines = (_marked(hit.path, query) for hit in hits)
    if sys.stdout.isatty():
        _write(f"{printable(line)}\n".encode() for line in lines)
    else:
        _write(os.fsencode(line) + b"\n" for line in lines)


def write_null_ended(hits: "Iterable[Hit]", query: str | None = None) -> None:
    """For `xargs -0`: the one form in which every name is safe."""
    _write(os.fsencode(_marked(hit.path, query)) + b"\0" for hit in hits)


def _marked(path: str, query: str | None) -> str:
    """As grep does where there are several files: what it belongs to comes first."""
    return path if query is None else f"{' '.join(query.split())}\t{path}"


def write_json_lines(hits: "Iterable[Hit]", query: str | None = None) -> None:
    """One object a line: path (absolute), score, size, modified, captured, and what else is known of the photo.

    `path_b64` stands for a name that is no UTF-8. Where there are several queries it begins with the query; without one
    there is no score.
    """
    import json

    asked = {} if query is None else {"query": query}
    _write(_harmless(json.dumps(asked | _as_json(hit), ensure_ascii=False)).encode() + b"\n" for hit in hits)


def _harmless(line: str) -> str:
    """The same JSON with what would steer a terminal, of which JSON itself escapes only some, as escapes."""
    if line.isprintable():
        return line
    return "".join(f"\\u{ord(character):04x}" if _steers(character) else character for character in line)


def _as_json(hit: "Hit") -> dict[str, object]:
    from base64 import b64encode
    from datetime import UTC, datetime, timedelta

    path = _absolute(hit.path)
    try:
        path.encode()
        named = {"path": path}
    except UnicodeEncodeError:
        named = {"path_b64": b64encode(os.fsencode(path)).decode()}
    modified = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=hit.mtime_ns // 1000)
    scored = {} if hit.score is None else {"score": round(hit.score, 6)}
    return named | scored | {"size": hit.size_bytes, "modified": modified.isoformat()} | _facts_as_json(hit)


def _facts_as_json(hit: "Hit") -> dict[str, object]:
    """Only what is known; `captured` has an offset when that is known, too."""
    facts = hit.facts
    known = {
        "captured": hit.captured.isoformat(),
        "captured_from": "file" if facts.captured_s is None else "metadata",
        "latitude": facts.latitude,
        "longitude": facts.longitude,
        "camera": facts.camera or None,
        "width": facts.width,
        "height": facts.height,
        "keywords": list(facts.keywords) or None,
        "rating": facts.rating,
    }
    return {name: value for name, value in known.items() if value is not None}


def _absolute(path: str) -> str:
    """`abspath` takes `link/..` for the folder that the link lies in; it is that which the link's target lies in."""
    if os.pardir in path.split(os.sep):
        folder, name = os.path.split(path)
        return os.path.join(os.path.realpath(folder), name)
    return os.path.abspath(path)


def write_stats(stats: "Stats") -> None:
    lines = [
        ("photos", f"{stats.photos:,}"),
        ("unreadable", f"{len(stats.unreadable):,}"),
        *(("", printable(f"{path}: {reason}")) for path, reason in stats.unreadable.items()),
        ("gone", f"{stats.gone:,}, kept for when they return" if stats.gone else "0"),
        ("model", printable(stats.model)),
        ("index", f"{size(stats.index_bytes)}  {printable(stats.index_path)}"),
        ("weights", f"{size(stats.weights_bytes)}  {printable(stats.weights_path)}"),
    ]
    _write(f"{label:12}{value}\n".encode() for label, value in lines)


def write_finding(finding: "Finding") -> None:
    """The part and what is said of it, then its faults, a line each."""
    lines = [(finding.part, finding.summary), *(("", fault) for fault in finding.faults)]
    _write(f"{label:12}{printable(text)}\n".encode() for label, text in lines)


def size(size_bytes: float) -> str:
    """`size_bytes` in the unit that leaves one to three digits before the point."""
    if size_bytes < 1000:
        return f"{size_bytes:.0f} bytes"
    units = ["kB", "MB", "GB", "TB"]
    power = min(int(math.log(size_bytes, 1000)), len(units))
    return f"{size_bytes / 1000**power:.1f} {units[power - 1]}"


def printable(text: str) -> str:
    """The text with what would steer a terminal, or is no UTF-8, written as escapes; odd spaces and emoji stay."""
    if text.isprintable():
        return text
    return "".join(_escape(character) if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    """Whether a terminal would not just show it."""
    from unicodedata import category

    return category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNS_TEXT


_TURNS_TEXT = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # Unicode's bidi controls


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _write(lines: Iterable[bytes]) -> None:
    sys.stdout.buffer.writelines(lines)
    sys.stdout.buffer.flush()
