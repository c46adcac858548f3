"""Brings `docs/reference.md` up to date with the source: the options, and the texts of all messages.

    .venv/bin/python docs/make_reference.py

The options are written anew from the command's own parser. In the tables of messages, a row whose message is still said
stays as it is. A reworded message takes over the meaning of the row that resembles it most. A row whose message is no
longer said is dropped, and a new message gets a row without a meaning, which a test refuses until somebody writes it.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs/reference.md"

BEGIN, END = "<!-- options: written by docs/make_reference.py -->", "<!-- end of options -->"
MESSAGE_ROW = re.compile(r"^\| `(?P<text>.+?)` \| (?P<status>.*?) \| (?P<meaning>.+) \|$", re.MULTILINE)
UNWRITTEN = "TO BE WRITTEN"
ALIKE = 0.6
"""From this similarity on, of 1 at most, a new text counts as an old one reworded."""


class Row(NamedTuple):
    """A row of a table of messages."""

    text: str
    status: str
    meaning: str

    def __str__(self) -> str:
        return f"| `{self.text}` | {self.status} | {self.meaning} |"


# --- options ----------------------------------------------------------------------------------------------------------


def with_options(document: str, parser: argparse.ArgumentParser) -> str:
    """The document with the options between its marks replaced by those of the parser."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{options(parser)}\n{END}{after}"


def options(parser: argparse.ArgumentParser) -> str:
    """A heading and a table for each group of options."""
    return "\n".join(part for group in parser._action_groups for part in group_table(group, parser))


def group_table(group: argparse._ArgumentGroup, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Nothing for a group without options."""
    actions = [action for action in group._group_actions if action.option_strings]
    if not actions:
        return
    title = group.title or ""
    yield f"### {title[:1].upper()}{title[1:]}\n"
    yield "| option | meaning |"
    yield "| --- | --- |"
    for action in actions:
        meaning = parser._get_formatter()._expand_help(action)
        yield f"| `{invocation(action)}` | {in_cell(' '.join(meaning.split()))} |"
    yield ""


def invocation(action: argparse.Action) -> str:
    """`-t, --top N`."""
    value = "" if action.nargs == 0 else f" {action.metavar}"
    return ", ".join(action.option_strings) + value


def in_cell(text: str) -> str:
    """The text as Markdown shows it literally in a table's cell."""
    return re.sub(r"([\\`*_|<>{}\[\]])", r"\\\1", text)


# --- messages ---------------------------------------------------------------------------------------------------------


def rows(document: str) -> list[Row]:
    return [Row(**found.groupdict()) for found in MESSAGE_ROW.finditer(document)]


def with_messages(document: str, said: Iterable[tuple[str, str]]) -> str:
    """The document with a row for each text that is said, given with its status."""
    new = dict(said)
    reworded: dict[str, str | None] = {}
    kept = {row.text for row in rows(document)} & new.keys()
    for row in rows(document):
        if row.text not in new:
            reworded[row.text] = nearest(row.text, new.keys() - kept - set(reworded.values()))
    document = MESSAGE_ROW.sub(lambda found: _updated(Row(**found.groupdict()), new, reworded), document)
    document = re.sub(r"\n\0", "", document)
    missing = new.keys() - {row.text for row in rows(document)}
    added = [str(Row(text, new[text], UNWRITTEN)) for text in sorted(missing)]
    return document.rstrip("\n") + "\n" + "".join(f"{line}\n" for line in added)


def nearest(text: str, candidates: Iterable[str]) -> str | None:
    """None when nothing resembles it."""
    likeness, found = max(
        ((SequenceMatcher(None, text, other).ratio(), other) for other in candidates), default=(0, "")
    )
    return found if likeness >= ALIKE else None


def _updated(row: Row, new: dict[str, str], reworded: dict[str, str | None]) -> str:
    """NUL for a row that goes."""
    if row.text in new:
        return str(row)
    text = reworded[row.text]
    return str(row._replace(text=text)) if text else "\0"


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from rclip.cli.arguments import option_parser
    from tests.test_messages import MESSAGES

    document = with_options(REFERENCE.read_text(encoding="utf-8"), option_parser())
    document = with_messages(document, ((message.text, message.status) for message in MESSAGES))
    REFERENCE.write_text(document, encoding="utf-8")
    for row in rows(document):
        if row.meaning == UNWRITTEN:
            print(f"write what this means, and move it to its table: {row.text}")


if __name__ == "__main__":
    main()
