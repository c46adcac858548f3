"""Requests and answers as bytes. An answer comes from another machine, and is looked at before it is used.

Each begins with a line that names its form. After it comes one of JSON, and after that, in an answer with vectors, the
vectors of all encoded photos in their order, each of D little-endian float16.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rclip.formats import EXTRAS
from rclip.indexing.cluster.interface import EncodedPhoto, Facts, Job, Result, Sample, UnreadPhoto
from rclip.photo.failures import FailureKind
from rclip.photo.metadata import PhotoMetadata
from rclip.photo.validation import are_valid, have_unit_length

_FORM = b"rclip cluster 1\n"
_DIGEST_BYTES = 16
_MOST_BYTES_EACH = 2 << 20
"""Of JSON for a photo: a decoder's whole answer has half as many."""
_LONGEST_TEXT = 1 << 16
_MOST_KEYWORDS = 4096
MOST_REASON = 1000

_CHECKED = tuple(name for name in PhotoMetadata._fields if name != "keywords")
_PLACES = tuple(map(PhotoMetadata._fields.index, _CHECKED))


class Unsound(ValueError):
    """An answer that no worker of ours gives; `str()` says what of it."""


class Work(NamedTuple):
    """A request to read and encode photos."""

    job: Job
    paths: list[bytes]
    left: int
    """About how many more may come."""


# --- requests --------------------------------------------------------------------------------------------------------


def request(job: Job, paths: Sequence[bytes], left: int) -> bytes:
    """For `understood`, on a worker."""
    return _FORM + json.dumps({"job": job, "paths": [*map(_text, paths)], "left": left}).encode()


def understood(received: bytes) -> Work:
    """Raises ValueError for a request of another rclip."""
    given = json.loads(_without_form(received))
    return Work(Job(*given["job"]), [*map(_path, given["paths"])], given["left"])


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _path(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _without_form(received: bytes) -> bytes:
    if not received.startswith(_FORM):
        raise Unsound("it is in another form")
    return received[len(_FORM) :]


# --- facts -----------------------------------------------------------------------------------------------------------


def facts_as_bytes(facts: Facts) -> bytes:
    return _FORM + json.dumps(facts._asdict()).encode()


def read_facts(received: object) -> Facts:
    """Of an answer. Raises `Unsound`."""
    given = _object(_json(received, 1))
    _require(given.keys() == set(Facts._fields), "facts")
    texts = [given[name] for name in ("version", "model_digest", "host")]
    _require(all(map(_is_text, [*texts, *_list(given["extras"])])), "facts")
    _require(type(given["preprocessing"]) is int, "facts")
    _require(all(type(number) is float and abs(number) < 2 for number in _list(given["vector"])), "a vector")
    samples = tuple(map(_sample, _list(given["samples"])))
    return Facts(**{**given, "samples": samples, "extras": tuple(given["extras"]), "vector": tuple(given["vector"])})


def _sample(given: object) -> Sample:
    values = _list(given)
    _require(len(values) == len(Sample._fields) and are_valid(("size", "mtime_ns"), [values[:2]]), "a sample")
    _require(all(map(_is_text, values[2:])), "a sample")
    return Sample(*values)


# --- results ---------------------------------------------------------------------------------------------------------


def results_as_bytes(results: Sequence[Result]) -> bytes:
    told = [_encoded(result) if isinstance(result, EncodedPhoto) else _unread(result) for result in results]
    vectors = [result.vector.astype("<f2").tobytes() for result in results if isinstance(result, EncodedPhoto)]
    return b"".join([_FORM, json.dumps({"results": told}).encode(), b"\n", *vectors])


def _encoded(photo: EncodedPhoto) -> dict[str, object]:
    return {"size": photo.size_bytes, "mtime_ns": photo.mtime_ns, "digest": photo.digest.hex(), "of": photo.metadata}


def _unread(photo: UnreadPhoto) -> dict[str, object]:
    return {
        "size": photo.size_bytes,
        "mtime_ns": photo.mtime_ns,
        "digest": photo.digest.hex() if photo.digest else None,
        "reason": photo.reason,
        "kind": photo.kind,
        "extra": photo.extra.name if photo.extra else None,
    }


def unchecked_as_bytes() -> bytes:
    """The answer of a worker that has to be looked at first: it was started anew at the same address."""
    return _FORM + json.dumps({"unchecked": True}).encode()


def read_results(received: object, count: int, dimensions: int) -> list[Result] | None:
    """The results for `count` photos; None from a worker that has to be checked first. Raises `Unsound`."""
    told, vectors = _parts(received, count)
    if told == {"unchecked": True}:
        return None
    given = [_object(each) for each in _list(told.get("results"))]
    _require(len(given) == count, "the number of results")
    encoded = [each for each in given if "of" in each]
    _require(len(vectors) == 2 * dimensions * len(encoded), "the length of its vectors")
    matrix = np.frombuffer(vectors, "<f2").reshape(-1, dimensions)
    _require(have_unit_length(matrix), "a vector")
    metadata = iter(_metadata([each["of"] for each in encoded]))
    rows = iter(matrix)
    return [_photo(each, next(rows), next(metadata)) if "of" in each else _read_unread(each) for each in given]


def _photo(given: dict[str, Any], vector: np.ndarray, metadata: PhotoMetadata) -> EncodedPhoto:
    size_bytes, mtime_ns, digest = _identity(given)
    _require(digest is not None, "a digest")
    assert digest
    return EncodedPhoto(size_bytes, mtime_ns, digest, vector, metadata)


def _read_unread(given: dict[str, Any]) -> UnreadPhoto:
    size_bytes, mtime_ns, digest = _identity(given)
    _require(given.keys() >= {"reason", "kind", "extra"}, "a reason")
    reason, kind, extra = given["reason"], given["kind"], given["extra"]
    _require(_is_text(reason) and 0 < len(reason) <= MOST_REASON, "a reason")
    _require(type(kind) is int and kind in set(FailureKind), "a kind of failure")
    known = {each.name: each for each in EXTRAS}
    _require(extra is None or (type(extra) is str and extra in known), "a format")
    _require((extra is not None) == (kind == FailureKind.NEEDS_EXTRA), "a format")
    return UnreadPhoto(reason, FailureKind(kind), known.get(extra or ""), size_bytes, mtime_ns, digest)


def _identity(given: dict[str, Any]) -> tuple[int, int, bytes | None]:
    _require(given.keys() >= {"size", "mtime_ns", "digest"}, "a digest")
    size_bytes, mtime_ns, digest = given["size"], given["mtime_ns"], given["digest"]
    _require(are_valid(("size", "mtime_ns"), [(size_bytes, mtime_ns)]), "a size or a time")
    if digest is None:
        return size_bytes, mtime_ns, None
    _require(type(digest) is str and len(digest) == 2 * _DIGEST_BYTES, "a digest")
    try:
        known = bytes.fromhex(digest)
    except ValueError:
        raise Unsound("a digest") from None
    _require(len(known) == _DIGEST_BYTES, "a digest")  # blanks do not count
    return size_bytes, mtime_ns, known


def _metadata(given: Sequence[object]) -> list[PhotoMetadata]:
    """That of all photos of an answer: columns are looked at together, which is faster."""
    rows = [_list(each) for each in given]
    _require(all(len(row) == len(PhotoMetadata._fields) for row in rows), "metadata")
    found = [PhotoMetadata(*row) for row in rows]
    _require(are_valid(_CHECKED, [[each[place] for place in _PLACES] for each in found]), "metadata")
    for each in found:
        _require(all(map(_is_text, (each.maker, each.model, each.lens, each.title))), "metadata")
        _require(_is_text(each.headline) and _is_text(each.caption), "metadata")
        _require((each.latitude is None) == (each.longitude is None), "a place")
        keywords = _list(each.keywords)
        _require(len(keywords) <= _MOST_KEYWORDS and all(map(_is_text, keywords)), "keywords")
    return [each._replace(keywords=tuple(each.keywords)) for each in found]


# --- what JSON may hold ----------------------------------------------------------------------------------------------


def _json(received: object, count: int) -> Any:
    return _parts(received, count)[0]


def _parts(received: object, count: int) -> tuple[dict[str, Any], bytes]:
    """The JSON, and what follows it."""
    _require(type(received) is bytes, "it is not in bytes")
    assert isinstance(received, bytes)
    line, _, rest = _without_form(received).partition(b"\n")
    _require(len(line) <= _MOST_BYTES_EACH * (1 + count), "its length")
    try:
        return _object(json.loads(line, parse_constant=_refuse_constant)), rest
    except (ValueError, RecursionError):
        raise Unsound("it cannot be read") from None


def _refuse_constant(name: str) -> None:
    """NaN is in no order, so no limits would hold it."""
    raise ValueError(name)


def _object(given: object) -> dict[str, Any]:
    _require(isinstance(given, dict), "it is in another form")
    assert isinstance(given, dict)
    return given


def _list(given: object) -> list[Any]:
    _require(isinstance(given, list), "it is in another form")
    assert isinstance(given, list)
    return given


def _is_text(given: object) -> bool:
    """Whether it is one that SQLite takes: none with half a character."""
    if type(given) is not str or len(given) > _LONGEST_TEXT:
        return False
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require(is_sound: bool, what: str) -> None:
    if not is_sound:
        raise Unsound(what)
