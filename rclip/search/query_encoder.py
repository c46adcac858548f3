"""What a query means to the model: one vector of length 1."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from rclip.errors import RclipError, UsageError, plain_reason
from rclip.files import digest_of, file_stat
from rclip.index.store import Store
from rclip.models import Model
from rclip.search.query import Link, Picture, Query, Text

if TYPE_CHECKING:
    from rclip.photo.decode_pool import DecodePool

_NOTHING_LEFT = 1e-3
"""A sum shorter than this says only how its terms were rounded."""

_HASHED_BYTES = 64 << 20
"""A larger picture is looked at sooner than its digest is looked up."""


class EncodedQuery(NamedTuple):
    """A query's vector (D,) float32, and the pictures it was made of, which are no answer to it."""

    vector: np.ndarray
    pictures: frozenset[bytes]
    """Paths as the index would have them."""


class QueryEncoder:
    """Works out what queries mean. A picture that is indexed is not looked at again; several texts go in one batch."""

    def __init__(
        self,
        model: Model,
        stores: Sequence[Store],
        device: str | None,
        max_pixels: int | None,
        notify: Callable[[str], None],
    ):
        self._model = model
        self._stores = stores
        self._device = device
        self._max_pixels = max_pixels
        self._notify = notify

    def encode(self, queries: Sequence[Query | RclipError]) -> list[EncodedQuery | RclipError]:
        """In their order; an error in place of a query that asks for what cannot be had, or was none."""
        terms = [term for query in queries if not isinstance(query, RclipError) for term in query.terms]
        texts = self._text_vectors({term.what.text for term in terms if isinstance(term.what, Text)})
        return [query if isinstance(query, RclipError) else self._meaning(query, texts) for query in queries]

    def close(self) -> None:
        """Ends what has been started to decode pictures."""
        if "_decoders" in self.__dict__:
            self._decoders.close()

    def _meaning(self, query: Query, texts: dict[str, np.ndarray]) -> EncodedQuery | RclipError:
        try:
            vectors = [term.weight * self._vector(term.what, texts) for term in query.terms]
        except RclipError as error:
            return error
        total = np.sum(vectors, axis=0)
        length = np.linalg.norm(total)
        if length < _NOTHING_LEFT * max(abs(term.weight) for term in query.terms):
            return UsageError(f"nothing is left of {query.written}: its terms cancel each other")
        paths = (path for term in query.terms if isinstance(term.what, Picture) for path in _names_of(term.what.path))
        return EncodedQuery((total / length).astype(np.float32), frozenset(paths))

    def _vector(self, what: Text | Picture | Link, texts: dict[str, np.ndarray]) -> np.ndarray:
        if isinstance(what, Text):
            return texts[what.text]
        if isinstance(what, Picture):
            return self._file_vector(what.path)
        return self._link_vector(what.url)

    def _text_vectors(self, texts: Iterable[str]) -> dict[str, np.ndarray]:
        distinct = sorted(texts)
        if not distinct:
            return {}
        vectors, cut = self._model.encode_texts(distinct)
        if any(cut):
            length = self._model.config.text.context_length
            self._notify(f"the query is longer than the model reads; only its first {length} tokens count")
        return dict(zip(distinct, vectors, strict=True))

    def _file_vector(self, path: str) -> np.ndarray:
        try:
            with open(path, "rb") as file:
                vector = self._stored_vector(path, file)
                return self._encoded(self._file_pixels(file, path)) if vector is None else vector
        except (OSError, ValueError) as error:
            raise _cannot_look(path, error) from error

    def _stored_vector(self, path: str, file: BinaryIO) -> np.ndarray | None:
        """By the file's path and stat, else by its bytes."""
        seen = file_stat(os.fstat(file.fileno()))
        names = sorted(_names_of(path))
        found = _first(self._checked(store, store.vector_at(name, seen)) for store in self._stores for name in names)
        if found is None and seen.size_bytes <= _HASHED_BYTES:
            digest = digest_of(file)
            found = _first(self._checked(store, store.vector_with(digest)) for store in self._stores)
            file.seek(0)
        if found is None:
            return None
        vector = np.frombuffer(found, np.float16).astype(np.float32)
        return vector / np.linalg.norm(vector)

    def _link_vector(self, url: str) -> np.ndarray:
        from rclip.search import remote_image

        with remote_image.fetch(url) as file:
            return self._encoded(self._decoded_apart(file, url, _suffix(remote_image.path_of(url))))

    def _checked(self, store: Store, vector: bytes | None) -> bytes | None:
        """The vector. Raises `DamagedIndex` for one of another length than the model's."""
        dimensions = self._model.dimensions if vector else None
        if vector and dimensions and len(vector) != 2 * dimensions:
            raise store.damage()
        return vector

    def _file_pixels(self, file: BinaryIO, path: str) -> np.ndarray:
        """Common formats are decoded here: a process of its own would cost a query 0.03 s, a seventh of its time."""
        from rclip import formats

        suffix, mark = _suffix(path), file.read(formats.MARK_BYTES)
        file.seek(0)
        if suffix in formats.RAW.suffixes or not formats.is_common(mark):
            return self._decoded_apart(file, path, suffix)
        from rclip.photo import image

        try:
            return image.decode_array(file, suffix, self._model.resolution, self._limit_pixels())
        except image.Unreadable as error:
            raise _cannot_look(path, error) from error

    def _decoded_apart(self, file: BinaryIO, name: str, suffix: str) -> np.ndarray:
        """As pictures for the index are: in a process that may crash."""
        from rclip.photo.decode_pool import FailedDecode

        answer = self._decoders.decode(file, suffix)
        if isinstance(answer, FailedDecode):
            raise UsageError(f"cannot look at {name}: {answer.reason}")
        return answer.pixels

    def _limit_pixels(self) -> int:
        from rclip.photo.decode_pool import default_max_pixels

        return self._max_pixels or default_max_pixels()

    def _encoded(self, pixels: np.ndarray) -> np.ndarray:
        vector: np.ndarray = self._model.encode_pictures(pixels[np.newaxis], self._device)[0]
        return vector

    @cached_property
    def _decoders(self) -> "DecodePool":
        from rclip.photo.decode_pool import DecodePool

        return DecodePool(self._model.resolution, self._limit_pixels())


def _first(vectors: Iterable[bytes | None]) -> bytes | None:
    """The first there is."""
    return next(filter(None, vectors), None)


def _cannot_look(name: str, error: Exception) -> UsageError:
    return UsageError(f"cannot look at {name}: {plain_reason(error)}")


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1][1:].lower()


def _names_of(path: str) -> set[bytes]:
    """The path with the links in its folder resolved, as a walk comes to it, and the file that it is in the end."""
    folder, name = os.path.split(path)
    return {os.fsencode(os.path.join(os.path.realpath(folder), name)), os.fsencode(os.path.realpath(path))}
