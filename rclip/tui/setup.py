"""What the interface is started with."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rclip.errors import RclipError

if TYPE_CHECKING:
    from rclip.library import Library
    from rclip.search.query import Query

Notify = Callable[[str | RclipError], None]


class Setup(NamedTuple):
    """Where photos come from, what is asked first, and what the interface itself does not do."""

    open_library: Callable[[Notify], "Library"]
    """Called in a thread when the first screen stands; raises `RclipError`."""
    query: "Query | None" = None
    filters: Mapping[str, str] = {}
    """Texts by the names of `explore.request.FILTER_FIELDS`."""
    pictures: str = "auto"
    """How they are drawn: a kind of `terminal.probe.Screen`, or `auto`."""
    is_updating: bool = True
    """Whether new photos are looked for."""
    show_files: Callable[[Sequence[str], Mapping[str, int]], None] = lambda paths, starts_ms: None
    """Opens photos in the desktop's viewer; raises `RclipError`."""
    sentence: Callable[[RclipError], str] = str
    """An error in a line for the user."""
