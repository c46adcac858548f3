"""What a photo says of itself beside its pixels: when, where, by what, how large, and what somebody noted of it."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime


class Origin:
    """Where the time of a photo comes from: its own file, a file beside it that says more of it, or the file's name.

    The numbers are stored. No enumeration: one takes longer to be made than a query may spend on it.
    """

    NAMES = ("metadata", "sidecar", "name")
    METADATA, SIDECAR, NAME = range(len(NAMES))


class PhotoMetadata(NamedTuple):
    """Whatever is not known is None or empty."""

    captured_s: int | None = None
    """Seconds from 1970 on the camera's own clock, as it was set: local time, not UTC."""
    offset_min: int | None = None
    """What that clock was ahead of UTC."""
    latitude: float | None = None
    """Degrees, north positive. There is a longitude exactly when there is a latitude."""
    longitude: float | None = None
    """Degrees, east positive."""
    maker: str = ""
    model: str = ""
    width: int | None = None
    """Of the upright picture in pixels."""
    height: int | None = None
    keywords: tuple[str, ...] = ()
    rating: int | None = None
    """1 to 5 stars; 0 for none, -1 for rejected."""
    missing_percent: int | None = None
    """How much of the picture, from below, the file lacks; None where it is whole."""
    captured_from: int = Origin.METADATA
    """The `Origin` of `captured_s`, where that is known."""
    lens: str = ""
    title: str = ""
    headline: str = ""
    caption: str = ""
    """What somebody wrote of the photo, in one line."""

    @property
    def camera(self) -> str:
        """Maker and model, the maker once: `Canon EOS R5`, `FUJIFILM X-T4`."""
        first_word = self.maker.partition(" ")[0].lower()
        is_said_by_model = not first_word or self.model.lower().startswith(first_word)
        return self.model if is_said_by_model else f"{self.maker} {self.model}".strip()


NO_METADATA = PhotoMetadata()

EARLIEST_S, LATEST_S = -62_135_596_800, 253_402_300_799
"""The first and the last second of the years 1 to 9999, which is what a `captured_at` can be."""


def captured_at(captured_s: int, offset_min: int | None) -> "datetime":
    """The time on the camera's clock, aware of its offset where that is known."""
    from datetime import datetime, timedelta, timezone

    zone = None if offset_min is None else timezone(timedelta(minutes=offset_min))
    return (datetime(1970, 1, 1) + timedelta(seconds=captured_s)).replace(tzinfo=zone)
