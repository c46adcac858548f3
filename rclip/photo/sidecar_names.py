"""Which files beside photos say more of them: XMP sidecars, and the JSON of Google's Takeout, by their names alone.

| written by | for `IMG_1.CR3` |
| --- | --- |
| Lightroom, Bridge, Capture One, ACDSee, Windows | `IMG_1.xmp` |
| darktable, digiKam, RawTherapee, exiftool's `%d%F.xmp` | `IMG_1.CR3.xmp` |
| darktable, for the versions that it calls duplicates | `IMG_1_01.CR3.xmp`, up to `IMG_1_9999.CR3.xmp` |
| Takeout, with all that it cuts, counts and calls edited | `IMG_1.CR3.json`, `IMG_1.CR3.supplemental-metadata.json` |
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

SIDECAR_ENDINGS = frozenset((b".xmp", b".json"))
"""In lower case."""

_MOST_SIDECARS = 8
"""Of one photo."""
_MOST_VERSIONS = 4
"""Of darktable's for one photo."""

_VERSION = re.compile(r"(.+)_\d{2,4}(\.[^.]+)", re.DOTALL | re.ASCII)

_NUMBERED = re.compile(r"(.+)\((\d{1,4})\)", re.DOTALL)
_SUPPLEMENT = ".supplemental-metadata"
_MOST_NAME = 46
"""Characters that Takeout leaves of a name before `.json`."""
_EDITED = (
    "-edited", "-bearbeitet", "-modifié", "-editado", "-editada", "-modificato", "-bewerkt", "-edytowane", "-redigerad",
    "-redigeret", "-redigert", "-muokattu", "-upraveno", "-düzenlendi", "-編集済み",
)  # fmt: skip
"""What Takeout adds to the name of a photo's edited version, which shares the JSON of the original."""
_EDITED_STEM = re.compile(rf"(?:{'|'.join(_EDITED)})(?=(?:\(\d{{1,4}}\))?\Z)")


def sidecars_of(photos: Iterable[bytes], sidecars: Iterable[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """The names of photos in a folder that have sidecars in it, each with these, the most particular one first.

    What may be a version of a photo is none where it is named like another of the photos. Takes linear time. Case and
    the way in which accents are encoded make no difference.
    """
    xmp: dict[str, list[bytes]] = {}
    takeout: dict[str, list[bytes]] = {}
    for name in sorted(sidecars):
        stem, _, ending = _plain(name).rpartition(".")
        (xmp if ending == "xmp" else takeout).setdefault(stem, []).append(name)
    plain_names = {photo: _plain(photo) for photo in photos}
    versions = _versions(xmp, plain_names.values())
    for photo, plain in plain_names.items():
        keys = [plain, plain.rpartition(".")[0]]
        found = [sidecar for key in keys for sidecar in _nearest_first(xmp.get(key, ()), photo)]
        found += versions.get(plain, ())[:_MOST_VERSIONS]
        if takeout:
            stem = next((stem for stem in _takeout_stems(plain) if stem in takeout), "")
            found += _nearest_first(takeout.get(stem, ()), photo)
        if found:
            yield photo, found[:_MOST_SIDECARS]


def _versions(xmp: Mapping[str, list[bytes]], photos: Iterable[str]) -> dict[str, list[bytes]]:
    """By the names of photos, in the order of their numbers."""
    numbered = [(match, names) for stem, names in sorted(xmp.items()) if (match := _VERSION.fullmatch(stem))]
    if not numbered:
        return {}
    of_photos = set(photos)
    found: dict[str, list[bytes]] = {}
    for match, names in numbered:
        if match[0] not in of_photos:
            found.setdefault(match[1] + match[2], []).extend(names)
    return found


def _plain(name: bytes) -> str:
    text = name.decode(errors="surrogateescape")
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).lower()


def _nearest_first(sidecars: Iterable[bytes], photo: bytes) -> list[bytes]:
    """Of names that differ in case alone, that which has the photo's own first."""
    stem = photo.rpartition(b".")[0]
    return sorted(sidecars, key=lambda name: not name.startswith((photo, stem)))


def _takeout_stems(photo: str) -> Iterator[str]:
    """What the name of a photo's JSON may be before its ending, the likeliest first."""
    yield from _stems_of_title(photo)
    stem, dot, ending = photo.rpartition(".")
    unedited = _EDITED_STEM.sub("", stem)
    if unedited != stem:
        yield from _stems_of_title(unedited + dot + ending)


def _stems_of_title(photo: str) -> Iterator[str]:
    yield from _cut(photo, "")
    stem, dot, ending = photo.rpartition(".")
    if counted := _NUMBERED.fullmatch(stem):
        yield from _cut(f"{counted[1]}{dot}{ending}", f"({counted[2]})")


def _cut(title: str, number: str) -> Iterator[str]:
    """`IMG.jpg`, also with as much of the supplement as there is room for, and the number after all of it."""
    yield title + number
    if len(title) >= _MOST_NAME:
        yield title[:_MOST_NAME] + number
        if number:
            yield title[: _MOST_NAME - len(number)] + number
    for end in range(len(_SUPPLEMENT), 0, -1):
        yield title + _SUPPLEMENT[:end] + number
