"""What people bring along from other programs: the options of the other `rclip`, its index, commands, folders first.

Each is understood as it was meant, or answered in one line with the way that rclip has for it. Loaded only where
something of the kind is met.
"""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from shlex import quote
from typing import Any, NoReturn

from rclip import formats, isolation
from rclip.cli.messages import Notice, Usage, tell
from rclip.errors import UsageError
from rclip.files import suffix

# --- options of rclip 4, the program of the same name on the package index -------------------------------------------

_SAME = {
    "--sub": "--subtract",
    "--skip-index": "--no-indexing",
    "--skip-indexing": "--no-indexing",
    "--indexing-batch-size": "--batch-size",
    "--force-interactive": "--interactive",  # it shows pictures in any terminal
    "--force-preview": "--preview=kitty",
}
_RAW = "--experimental-raw-support"
_HEIGHT_IN_PIXELS = "-H"
_PIXELS_PER_ROW = 20  # of most terminals, about


def translated(arguments: Sequence[str]) -> list[str]:
    """The arguments with the other program's options replaced. Raises `UsageError` for one that has another unit."""
    found = []
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in _SAME:
            found.append(_SAME[name] + equals + value)
        elif argument == _RAW:
            tell(Notice.RAW_ALWAYS)
        elif argument.startswith(_HEIGHT_IN_PIXELS):
            _refuse_pixels(argument.removeprefix(_HEIGHT_IN_PIXELS) or "".join(arguments[number + 1 : number + 2]))
        else:
            found.append(argument)
    return found


def _refuse_pixels(pixels: str) -> NoReturn:
    pixels = pixels.removeprefix("=")
    is_number = pixels.isascii() and pixels.isdigit() and len(pixels) < _MOST_DIGITS
    rows = max(1, int(pixels) // _PIXELS_PER_ROW) if is_number else 20
    raise UsageError(Usage.PIXELS.format(rows=rows))


_MOST_DIGITS = 6


def mention_other_index(path: str, mark: str) -> None:
    """Says that the other program's index is not used; and never again, as the file `mark` is made."""
    with suppress(OSError), open(path, "rb", opener=isolation.open_itself) as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            return
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600))
        tell(Notice.OTHER_INDEX.format(path=path))


_SQLITE = b"SQLite format 3\0"


# --- what is no query ------------------------------------------------------------------------------------------------

_WINDOWS_PATH = re.compile(r"([A-Za-z]):[\\/](.*)", re.DOTALL)


def refuse_no_query(word: str, rest: Sequence[str], values: Mapping[str, Any], option: str) -> None:
    """Raises `UsageError` if the only term of a query is plainly none; `rest` are the words after it.

    `option` does here what another program's command of that name does there; empty where there is no such command.
    """
    refuse_windows_path(word)
    if os.path.isdir(_path(word)):
        _refuse_folder(word, rest, values)
    elif os.path.isfile(word):
        is_photo = suffix(os.fsencode(word)) in formats.SUFFIXES
        raise UsageError((Usage.WORD_IS_PHOTO if is_photo else Usage.WORD_IS_FILE).format(name=quote(word)))
    elif option and all(os.path.isdir(_path(each)) for each in rest):
        raise UsageError(Usage.NO_COMMAND.format(word=word, option=" ".join([option, *map(quote, rest)])))


def _refuse_folder(folder: str, rest: Sequence[str], values: Mapping[str, Any]) -> None:
    """But for a word that names a folder and has folders after it: `rclip dogs ~/Pictures`."""
    words = [word for word in rest if not os.path.isdir(_path(word))]
    if words:
        folders = [folder, *(word for word in rest if word not in words)]
        raise UsageError(Usage.FOLDER_FIRST.format(query=quote(" ".join(words)), folders=" ".join(map(quote, folders))))
    is_word = os.sep not in folder and folder not in (os.curdir, os.pardir, "~")
    if is_word and rest:
        return
    if not is_word:
        raise UsageError(Usage.QUERY_IS_FOLDER.format(folder=folder, folders=" ".join(map(quote, [folder, *rest]))))
    is_without_query = values["filters"] or values["interactive"]
    said = Usage.FOLDER_NEEDS_SLASH if is_without_query else Usage.WORD_IS_FOLDER
    raise UsageError(said.format(folder=quote(folder)))


def refuse_windows_path(word: str) -> None:
    """Raises `UsageError` for one."""
    found = _WINDOWS_PATH.fullmatch(word)
    if found and not os.path.lexists(word):
        path = found[2].replace("\\", "/")
        raise UsageError(Usage.WINDOWS_PATH.format(path=word, here=quote(f"/mnt/{found[1].lower()}/{path}")))


def _path(word: str) -> str:
    return os.path.expanduser(word)


# --- the kind of thumbnails without its sign -------------------------------------------------------------------------

_NO_WORDS = ("sixel", "iterm")  # while someone may look for a kitty, or for blocks


def refuse_detached_kind(option: str, kind: str, words: Sequence[str]) -> None:
    """Raises `UsageError` where `--preview sixel` was meant as `--preview=sixel`: `words` are those of no option."""
    is_query = words[:1] == [kind]
    others = [word for word in words if word != kind]
    is_meant = any(not os.path.isdir(_path(word)) for word in others) if is_query else not os.path.isdir(kind)
    if kind in words and (is_meant or (is_query and kind in _NO_WORDS)):
        raise UsageError(Usage.DETACHED_KIND.format(option=option, kind=kind))
