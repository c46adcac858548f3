"""The values that options take: each function checks one, as argparse's `type`, and raises `ArgumentTypeError`."""

import argparse
import os
from typing import TYPE_CHECKING

from rclip.errors import UsageError
from rclip.search import query as queries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from rclip.cli.template import Template
    from rclip.filters import Near

COLORS = ("auto", "always", "never")
PREVIEWS = ("auto", "kitty", "iterm", "sixel", "blocks")


def term(text: str) -> str:
    try:
        queries.parse(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(f"takes words, a picture's path or its address: {error}") from None
    return text


def file(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError(f"takes a text file, or - for the standard input, not {text!r}")
    return text


def count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number from 1 on, not {text!r}")
    return int(text)


_UNITS_S = {"d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}


def age(text: str) -> int:
    """Seconds."""
    number, unit = (text, "d") if text == "0" else (text[:-1], text[-1:])
    if unit not in _UNITS_S or not number.isascii() or not number.isdigit() or len(number) > 6:
        raise argparse.ArgumentTypeError(f"takes a time such as 30d, 12w or 1y, or 0, not {text!r}")
    return int(number) * _UNITS_S[unit]


def one_of(*words: str) -> "Callable[[str], str]":
    def known(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"takes {alternatives(words)}, not {text!r}")
        return text

    return known


def alternatives(words: "Sequence[str]") -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"


def template(text: str) -> "Template":
    from rclip.cli.template import Template

    try:
        return Template(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"takes a number above 0, not {text!r}")
    return number


def time(text: str) -> "datetime":
    from rclip.filters import TAKES_TIME, parse_time

    try:
        return parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{TAKES_TIME}, not {text!r}") from None


def near(text: str) -> "Near":
    from rclip.filters import TAKES_PLACE, parse_near

    try:
        return parse_near(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{TAKES_PLACE}, not {text!r}") from None


def types(text: str) -> frozenset[str]:
    from rclip.filters import TAKES_TYPES, parse_types

    try:
        return parse_types(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{TAKES_TYPES}, not {text!r}") from None


def glob(text: str) -> str:
    """With a `~` in front, which no shell replaces between quotes, turned into what it stands for."""
    sign, pattern = ("!", text[1:]) if text.startswith("!") else ("", text)
    if not pattern.strip("/"):
        raise argparse.ArgumentTypeError(f"takes a pattern like '2019/**' or 'IMG_*', not {text!r}")
    return sign + os.path.expanduser(pattern) if pattern.startswith("~/") else text


def words(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"takes words of a camera's name, not {text!r}")
    return text


def score(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 2.0
    if not -1 <= number <= 1:
        raise argparse.ArgumentTypeError(f"takes a number from -1 to 1, not {text!r}")
    return number


def device(text: str) -> str:
    kind, _, number = text.partition(":")
    if text not in ("auto", "cpu", "mps", "cuda") and not (kind == "cuda" and number.isdigit()):
        raise argparse.ArgumentTypeError(f"takes auto, cpu, cuda, cuda:1 … or mps, not {text!r}")
    return text
