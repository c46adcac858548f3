"""The values of options: each function reads one, and raises ValueError that says what it must be."""

import os
import re
from typing import TYPE_CHECKING

from rclip.cli import activity, messages
from rclip.cli.messages import Doing, Value
from rclip.errors import UsageError
from rclip.search import query as queries

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclip.cli.template import Template
    from rclip.filters import Near

COLORS = ("auto", "always", "never")
EXPORTS = (".npz", ".parquet", ".jsonl")
GENERATED = ("man", "complete-bash", "complete-zsh", "complete-fish")
SORTS = ("score", "date", "path")
NO_PREVIEW = "none"
NO_DATABASE = "none"

_DATABASES = ("postgresql://", "postgres://", "chroma+http://", "chroma+https://", "chroma:///")
PREVIEWS = ("auto", "kitty", "iterm", "sixel", "blocks", NO_PREVIEW)


def term(text: str) -> str:
    try:
        queries.parse(text)
    except UsageError as error:
        raise ValueError(Value.TERM.format(problem=messages.of_error(error))) from None
    return text


def place(text: str) -> "Near":
    """The very first look for a name takes seconds, and says so."""
    from rclip.filters import parse_near

    with activity.shown(Doing.NAMING):
        return parse_near(text)


def file(text: str) -> str:
    if not text:
        raise ValueError(Value.QUERY_FILE.format(text=text))
    return text


def searched_database(text: str) -> str:
    """One, or `none`, for once, where a configuration file names one."""
    return text if text == NO_DATABASE else database(text)


def database(text: str) -> str:
    """The address of one, without a password; no text with a password is repeated."""
    where, _, parameters = text.partition("?")
    if re.search(r"://[^@]*:[^@]*@|^chroma\+https?://[^/]*@", where) or re.search(r"(^|&)(ssl)?password=", parameters):
        raise ValueError(Value.DATABASE_CREDENTIALS)
    if not text.startswith(_DATABASES):
        raise ValueError(Value.DATABASE.format(text=text))
    return text


def cluster(text: str) -> str:
    """The address of a Dask scheduler, or `local`."""
    if text != "local" and not re.fullmatch(r"(?:tcp|tls)://(?!:)[^\s/@]+:\d{1,5}", text):
        raise ValueError(Value.CLUSTER.format(text=text))
    return text


def listen(text: str) -> tuple[str, int]:
    """`127.0.0.1:8000`, `[::1]:8000` or `:8000` -> address and port."""
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535 or set(host) & set("/ ?!#"):
        raise ValueError(Value.LISTEN.format(text=text))
    return host or "127.0.0.1", int(port)


def folder(text: str) -> str:
    """One that is there."""
    path = os.path.expanduser(text)
    if not os.path.isdir(path):
        raise ValueError(Value.FOLDER.format(text=text))
    return path


def target(text: str) -> str:
    """A folder that is there or can be made."""
    path = os.path.expanduser(text)
    if not text or "\0" in text or (os.path.lexists(path) and not os.path.isdir(path)):
        raise ValueError(Value.TARGET.format(text=text))
    return path


def export_file(text: str) -> str:
    if os.path.splitext(text)[1].lower() not in EXPORTS:
        raise ValueError(Value.EXPORT_FILE.format(text=text))
    return text


def folder_name(text: str) -> str:
    """As typed with the shell's help: `cats/`."""
    name = text.rstrip("/")
    if not name or "/" in name:
        raise ValueError(Value.FOLDER_NAME.format(text=text))
    return name


def keyword(text: str) -> str:
    """One that programs for sorting photos take as one: `|` and commas are theirs."""
    word = " ".join(text.split())
    if not word.isprintable() or not 0 < len(word) <= 200 or set(word) & set("|,;"):
        raise ValueError(Value.KEYWORD.format(text=text))
    return word


def count(text: str) -> int:
    if not _is_number(text) or int(text) < 1:
        raise ValueError(Value.COUNT.format(text=text))
    return int(text)


def _is_number(text: str) -> bool:
    """Whether it is a whole number that fits 64 bits."""
    return text.isascii() and text.isdigit() and len(text) <= 18


_UNITS_S = {"d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}


def age(text: str) -> int:
    """Seconds."""
    number, unit = (text, "d") if text == "0" else (text[:-1], text[-1:])
    if unit not in _UNITS_S or not number.isascii() or not number.isdigit() or len(number) > 6:
        raise ValueError(Value.AGE.format(text=text))
    return int(number) * _UNITS_S[unit]


def one_of(*words: str) -> "Callable[[str], str]":
    def known(text: str) -> str:
        if text not in words:
            raise ValueError(Value.ONE_OF.format(alternatives=messages.alternatives(words), text=text))
        return text

    return known


def template(text: str) -> "Template":
    from rclip.cli.template import Template

    return Template(text)


def megapixels(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(Value.MEGAPIXELS.format(text=text))
    return number


def rows(text: str) -> int:
    """Of a terminal. Other programs take pixels, which would be many screens of them."""
    if not _is_number(text) or not 1 <= int(text) <= _MOST_ROWS:
        raise ValueError(Value.ROWS.format(most=_MOST_ROWS, text=text))
    return int(text)


_MOST_ROWS = 200


def glob(text: str) -> str:
    """With a `~` in front, which no shell replaces between quotes, turned into what it stands for."""
    sign, pattern = ("!", text[1:]) if text.startswith("!") else ("", text)
    if not pattern.strip("/"):
        raise ValueError(Value.GLOB.format(text=text))
    return sign + os.path.expanduser(pattern) if pattern.startswith("~/") else text


def exclusion(text: str) -> str:
    """A line of an ignore file, with `~` turned into what it stands for."""
    if text.startswith("#") or not text.strip(" !/"):
        raise ValueError(Value.EXCLUSION.format(text=text))
    return glob(text)


def exclusion_in_file(text: str, folder: str) -> str:
    """The same where it must not depend on the folder that is searched: the file serves this folder, or all."""
    sign, pattern = ("!", text[1:]) if text.startswith("!") else ("", text)
    has_place = "/" in pattern.rstrip("/") and not pattern.startswith("**/")
    if pattern.startswith("~/") or not (folder or has_place):
        return exclusion(text)
    if folder:
        from rclip.globs import literal

        inside = pattern.removeprefix("/") if has_place else f"**/{pattern}"
        return sign + literal(folder.rstrip("/")) + "/" + exclusion(inside)
    if not pattern.startswith("/"):
        raise ValueError(Value.EXCLUSION_PLACE.format(text=text))
    return exclusion(text)


def score(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 2.0
    if not -1 <= number <= 1:
        raise ValueError(Value.SCORE.format(text=text))
    return number


def language(text: str) -> str:
    if text != "any" and not os.path.isdir(os.path.expanduser(text)):
        raise ValueError(Value.LANGUAGE.format(text=text))
    return text


def similarity(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise ValueError(Value.SIMILARITY.format(text=text))
    return number


def device(text: str) -> str:
    kind, _, number = text.partition(":")
    if text not in ("auto", "cpu", "mps", "cuda") and not (kind == "cuda" and _is_number(number)):
        raise ValueError(Value.DEVICE.format(text=text))
    return text
