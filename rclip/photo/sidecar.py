"""What sidecars say of a photo, and how that goes together with what the photo says itself.

Sidecars may be anybody's. Only regular files are opened, no links are followed, and no more than a few megabytes are
read; the parsers know no entities and take linear time. What makes no sense is passed over.

| field | who says it |
| --- | --- |
| time of taking, place, title, headline, caption, rating | an XMP sidecar, then the photo, then Takeout |
| camera, lens | the photo, then a sidecar |
| keywords | all of them together |
| width and height | the photo |
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rclip import isolation
from rclip.photo import metadata_parser
from rclip.photo.metadata import EARLIEST_S, LATEST_S, NO_METADATA, Origin, PhotoMetadata
from rclip.photo.metadata_parser import Layers

_MOST_XMP_BYTES = 4 << 20
_MOST_JSON_BYTES = 256 << 10


def read(path: bytes) -> Layers:
    """What a sidecar says. Raises OSError where it cannot be read."""
    is_xmp = path.lower().endswith(b".xmp")
    with open(path, "rb", opener=isolation.open_itself) as file:
        most = _MOST_XMP_BYTES if is_xmp else _MOST_JSON_BYTES
        content = file.read(most + 1)
    if len(content) > most:
        return Layers()
    return metadata_parser.parse_sidecar(content) if is_xmp else parse_takeout(content)


# --- Takeout ---------------------------------------------------------------------------------------------------------


def parse_takeout(content: bytes) -> Layers:
    """What the JSON of a photo in Google's Takeout says. Never raises.

    Its times are those of Greenwich. Of people and texts Google knows more than the photo, which never leaves it
    changed; of times and places the camera knows better.
    """
    import json

    try:
        known = json.loads(content)
    except (ValueError, RecursionError):  # ValueError: also of no Unicode, and of endless numbers
        return Layers()
    if not isinstance(known, dict):
        return Layers()
    captured_s = _seconds(_inside(known, "photoTakenTime", "timestamp"))
    latitude, longitude = _place(known.get("geoData")) or _place(known.get("geoDataExif")) or (None, None)
    people = known.get("people")
    names = [_inside(person, "name") for person in people] if isinstance(people, list) else []
    return Layers(
        under=PhotoMetadata(
            captured_s=captured_s,
            offset_min=None if captured_s is None else 0,
            latitude=latitude,
            longitude=longitude,
            keywords=metadata_parser.keywords_of(names),
            caption=metadata_parser.caption_of(known.get("description")),
        )
    )


def _inside(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _seconds(value: Any) -> int | None:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 12:
        return None
    seconds = int(text)
    return seconds if seconds and EARLIEST_S <= seconds <= LATEST_S else None


def _place(value: Any) -> tuple[float, float] | None:
    latitude, longitude = _inside(value, "latitude"), _inside(value, "longitude")
    if not all(isinstance(number, float | int) and not isinstance(number, bool) for number in (latitude, longitude)):
        return None
    is_on_earth = abs(latitude) <= 90 and abs(longitude) <= 180  # NaN is not
    return (float(latitude), float(longitude)) if is_on_earth and (latitude or longitude) else None


# --- together --------------------------------------------------------------------------------------------------------


def merged(own: PhotoMetadata, sidecars: Sequence[Layers]) -> PhotoMetadata:
    """What a photo and its sidecars say together; of two sidecars the first counts more."""
    layers = [*(each.over for each in sidecars), own, *(each.under for each in sidecars)]

    def first(is_known: Callable[[PhotoMetadata], object]) -> PhotoMetadata:
        return next(filter(is_known, layers), NO_METADATA)

    time = first(lambda layer: layer.captured_s is not None)
    if time.captured_s == own.captured_s:  # which may also know the zone
        time = own
    place = first(lambda layer: layer.latitude is not None)
    camera = first(lambda layer: layer.maker or layer.model)
    return own._replace(
        captured_s=time.captured_s,
        offset_min=time.offset_min,
        captured_from=Origin.METADATA if time is own or time.captured_s is None else Origin.SIDECAR,
        latitude=place.latitude,
        longitude=place.longitude,
        maker=camera.maker,
        model=camera.model,
        keywords=metadata_parser.keywords_of(_all_keywords([own, *layers])),
        rating=first(lambda layer: layer.rating is not None).rating,
        lens=first(lambda layer: layer.lens).lens,
        title=first(lambda layer: layer.title).title,
        headline=first(lambda layer: layer.headline).headline,
        caption=first(lambda layer: layer.caption).caption,
    )


def _all_keywords(layers: Iterable[PhotoMetadata]) -> list[str]:
    return [word for layer in layers for word in layer.keywords]
