"""What callers of the library give is looked at before anything is done, and refused in words."""

import os
from collections.abc import Iterable
from datetime import datetime
from numbers import Real
from operator import index
from typing import TYPE_CHECKING, Any

from rclip.errors import UsageError

if TYPE_CHECKING:
    from rclip.filters import Filters

StrPath = str | os.PathLike[str]


def wrong_type(name: str, expected: str, value: object) -> TypeError:
    return TypeError(f"{name} must be {expected}, not {type(value).__name__}")


def path(name: str, value: object) -> str:
    """With `~` in front replaced."""
    if not isinstance(value, str | bytes | os.PathLike):
        raise wrong_type(name, "a path", value)
    return os.path.expanduser(os.fsdecode(value))


def paths(name: str, values: object) -> list[str]:
    """A single path is none of several: its letters would be."""
    if isinstance(values, str | bytes | os.PathLike) or not isinstance(values, Iterable):
        raise wrong_type(name, "a list of paths", values)
    return [path(f"each of {name}", value) for value in values]


def text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise wrong_type(name, "text", value)
    return value


def texts(name: str, values: object) -> list[str]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise wrong_type(name, "a list of texts", values)
    return [text(f"each of {name}", value) for value in values]


def count(name: str, value: Any) -> int:
    """A whole number from 1."""
    try:
        number = index(value)
    except TypeError:
        raise wrong_type(name, "a whole number", value) from None
    if number < 1:
        raise UsageError(f"{name} must be 1 or more, not {number}")
    return number


def number(name: str, value: Any) -> float:
    """Above or equal to 0."""
    if not isinstance(value, Real):
        raise wrong_type(name, "a number", value)
    if not 0 <= float(value) < float("inf"):
        raise UsageError(f"{name} must be 0 or more, not {value}")
    return float(value)


def function(name: str, value: object) -> Any:
    if not callable(value):
        raise wrong_type(name, "a function", value)
    return value


def filters(value: object) -> "Filters | None":
    """Raises TypeError for what is not `Filters`, or has a value of a wrong type; `UsageError` for a wrong value."""
    if value is None:
        return None
    from rclip.filters import Filters, Near

    if not isinstance(value, Filters):
        raise wrong_type("filters", "Filters", value)
    for name in ("after", "before"):
        time = getattr(value, name)
        if time is not None and not isinstance(time, datetime):
            raise wrong_type(name, "a datetime", time)
        if time is not None and time.tzinfo:
            raise UsageError(f"{name} must have no time zone: it is compared with cameras' clocks, which have none")
    if value.near is not None and not (
        isinstance(value.near, tuple)
        and len(value.near) == len(Near._fields)
        and _are_numbers(value.near[:3])
        and isinstance(value.near[3], str)
    ):
        raise wrong_type("near", "Near, of three numbers", value.near)
    text("camera", value.camera)
    texts("paths", value.paths)
    texts("types", value.types)
    texts("keywords", value.keywords)
    if value.rating is not None and not isinstance(value.rating, int):
        raise wrong_type("rating", "a whole number", value.rating)
    if value.min_score is not None and not _are_numbers((value.min_score,)):
        raise wrong_type("min_score", "a number", value.min_score)
    return value


def _are_numbers(values: Iterable[object]) -> bool:
    return all(isinstance(value, Real) for value in values)
