"""What a query means to the model: one vector of length 1."""

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from rclip import isolation
from rclip.errors import (
    CancelledQuery,
    RclipError,
    UnknownPhoto,
    UnreadablePicture,
    UsageError,
    plain_reason,
    without_passwords,
)
from rclip.files import digest_of, file_stat
from rclip.index.store import Store
from rclip.index.text_vectors import TextVector, TextVectors
from rclip.models import Model
from rclip.photo.failures import DecodeError
from rclip.search.query import IndexedPhoto, Link, Picture, PictureData, PictureObject, Query, Text, Vector

if TYPE_CHECKING:
    from rclip.photo.decode_pool import DecodePool

_NOTHING_LEFT = 1e-3
"""A sum shorter than this says only how its terms were rounded."""

_HASHED_BYTES = 64 << 20
"""A larger picture is looked at sooner than its digest is looked up."""


AnyTerm = Text | Picture | Link | PictureData | PictureObject | Vector | IndexedPhoto


class EncodedQuery(NamedTuple):
    """A query's vector (D,) float32, and the pictures it was made of, which are no answer to it."""

    vector: np.ndarray
    pictures: frozenset[bytes]
    """Paths as the index would have them."""


_REMEMBERED_TEXTS = 4096
"""Of the texts used last; with vectors of 512 numbers they take 8 MiB."""

_PICTURES_AT_ONCE = 16


class QueryEncoder:
    """Works out the vectors of queries, for any number of threads at once.

    What it needs for that stays loaded until it is closed, and the texts used last are remembered. A picture that is
    indexed is not looked at again; several texts go in one batch.
    """

    def __init__(
        self,
        model: Model,
        device: str | None,
        max_pixels: int | None,
        notify: Callable[[str], None],
        remembered: TextVectors,
    ):
        """`remembered` has the texts of earlier runs."""
        self._model = model
        self._remembered = remembered
        self._device = device
        self._max_pixels = max_pixels
        self._notify = notify
        self._texts: OrderedDict[str, TextVector] = OrderedDict()
        self._lock = threading.Lock()
        """Around the texts and the making of decoders and encoder."""
        self._made_decoders: DecodePool | None = None

    def encode(self, queries: Sequence[Query | RclipError], stores: Sequence[Store]) -> list[EncodedQuery | RclipError]:
        """In their order; an error in place of a query that asks for what cannot be had, or was none."""
        terms = [term for query in queries if not isinstance(query, RclipError) for term in query.terms]
        texts = self._text_vectors({term.what.value for term in terms if isinstance(term.what, Text)})
        return [query if isinstance(query, RclipError) else self._meaning(query, texts, stores) for query in queries]

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) float32, rows of length 1. Raises `ModelError`."""
        vectors = self._text_vectors(set(texts))
        return np.stack([vectors[text] for text in texts]) if texts else self._no_vectors()

    def encode_pictures(self, pictures: Sequence[Picture | PictureData | PictureObject]) -> np.ndarray:
        """(N, D) float32, rows of length 1, whatever is indexed. Raises `UsageError` for the first that is none."""
        parts = [self._no_vectors()]
        for start in range(0, len(pictures), _PICTURES_AT_ONCE):
            pixels = [self._pixels(what) for what in pictures[start : start + _PICTURES_AT_ONCE]]
            parts.append(self._model.encode_pictures(np.stack(pixels), self._device))
        return np.concatenate(parts)

    def close(self) -> None:
        """Ends the processes that decode pictures."""
        with self._lock:
            decoders, self._made_decoders = self._made_decoders, None
        if decoders:
            decoders.close()

    @property
    def dimensions(self) -> int:
        """The length of the model's vectors. Raises `ModelError`."""
        return self._model.dimensions or self._text_vectors({"a"})["a"].size

    def _no_vectors(self) -> np.ndarray:
        return np.empty((0, self.dimensions), np.float32)

    def _meaning(
        self, query: Query, texts: dict[str, np.ndarray], stores: Sequence[Store]
    ) -> EncodedQuery | RclipError:
        try:
            vectors = [term.weight * self._vector(term.what, texts, stores) for term in query.terms]
        except RclipError as error:
            return error
        total = np.sum(vectors, axis=0)
        length = np.linalg.norm(total)
        if length < _NOTHING_LEFT * max(abs(term.weight) for term in query.terms):
            return CancelledQuery(query=query.written)
        paths = (path for term in query.terms for path in _paths_of(term.what))
        return EncodedQuery((total / length).astype(np.float32), frozenset(paths))

    def _vector(
        self,
        what: AnyTerm,
        texts: dict[str, np.ndarray],
        stores: Sequence[Store],
    ) -> np.ndarray:
        if isinstance(what, Text):
            return texts[what.value]
        if isinstance(what, Vector):
            return self._checked_vector(what.vector)
        if isinstance(what, Link):
            return self._encoded(self._link_pixels(what.value))
        if isinstance(what, IndexedPhoto):
            raise UnknownPhoto(id=what.value)
        stored = self._stored_vector(what, stores)
        return self._encoded(self._pixels(what)) if stored is None else stored

    def _checked_vector(self, vector: np.ndarray) -> np.ndarray:
        if len(vector) != self.dimensions:
            raise UsageError(f"the query's vector has {len(vector)} numbers, and the model's have {self.dimensions}")
        return vector

    # --- texts -------------------------------------------------------------------------------------------------------

    def _text_vectors(self, texts: Set[str]) -> dict[str, np.ndarray]:
        with self._lock:
            found = {text: self._texts[text] for text in texts if text in self._texts}
            for text in found:
                self._texts.move_to_end(text)
        new = sorted(texts - found.keys())
        if new:
            found |= self._new_text_vectors(new)
            with self._lock:
                self._texts |= {text: found[text] for text in new}
                while len(self._texts) > _REMEMBERED_TEXTS:
                    self._texts.popitem(last=False)
        if any(is_cut for _, is_cut in found.values()):
            length = self._model.text_config.context_length
            self._notify(f"the query is longer than the model reads: only its first {length} tokens count")
        return {text: vector for text, (vector, _) in found.items()}

    def _new_text_vectors(self, texts: Sequence[str]) -> dict[str, TextVector]:
        """From an earlier run, or from the model."""
        started = {text: _start(text) for text in texts}
        key = self._model.text_key
        known = self._remembered.find(key, started.values(), self._model.dimensions)
        new = sorted(set(started.values()) - known.keys())
        if new:
            vectors, cut = self._model.encode_texts(new)
            found = {text: TextVector(*each) for text, *each in zip(new, vectors, cut, strict=True)}
            self._remembered.add(key, found)
            known |= found
        return {text: known[start] for text, start in started.items()}

    # --- pictures ----------------------------------------------------------------------------------------------------

    def _stored_vector(self, what: Picture | PictureData | PictureObject, stores: Sequence[Store]) -> np.ndarray | None:
        """Of a picture that is indexed: by its file's path and stat, else by its bytes."""
        found = None
        if isinstance(what, PictureData):
            found = self._vector_with(digest_of(io.BytesIO(what.value)), stores)
        elif isinstance(what, Picture):
            with unreadable_reported(what.value), open(what.value, "rb", opener=isolation.open_regular) as file:
                seen = file_stat(os.fstat(file.fileno()))
                names = sorted(_names_of(what.value))
                found = _first(self._checked(store, store.vectors.at(name, seen)) for store in stores for name in names)
                if found is None and seen.size_bytes <= _HASHED_BYTES:
                    found = self._vector_with(digest_of(file), stores)
        return None if found is None else unit_vector(found)

    def _vector_with(self, digest: bytes, stores: Sequence[Store]) -> bytes | None:
        return _first(self._checked(store, store.vectors.with_digest(digest)) for store in stores)

    def _checked(self, store: Store, vector: bytes | None) -> bytes | None:
        """The vector. Raises `DamagedIndex` for one of another length than the model's."""
        dimensions = self._model.dimensions if vector else None
        if vector and dimensions and len(vector) != 2 * dimensions:
            raise store.damage()
        return vector

    def _pixels(self, what: Picture | PictureData | PictureObject) -> np.ndarray:
        if isinstance(what, Picture):
            with unreadable_reported(what.value), open(what.value, "rb", opener=isolation.open_regular) as file:
                return self._decoded_apart(file, what.value, _suffix(what.value))
        import tempfile

        with tempfile.TemporaryFile() as file:
            if isinstance(what, PictureData):
                file.write(what.value)
            else:
                from rclip.photo import pillow_image

                pillow_image.write(what.value, file)
            file.seek(0)
            return self._decoded_apart(file, "the picture given", "")

    def _link_pixels(self, url: str) -> np.ndarray:
        from rclip.search import remote_image

        with remote_image.fetch(url) as file:
            return self._decoded_apart(file, without_passwords(url), _suffix(remote_image.path_of(url)))

    def _decoded_apart(self, file: BinaryIO, name: str, suffix: str) -> np.ndarray:
        """As pictures for the index are: in a process that may crash."""
        try:
            return self._decoders.decode(file, suffix).pixels
        except DecodeError as error:
            raise UnreadablePicture(name=name, reason=str(error), kind=error.kind) from error

    def _limit_pixels(self) -> int:
        from rclip.photo.decode_pool import default_max_pixels

        return self._max_pixels or default_max_pixels()

    def _encoded(self, pixels: np.ndarray) -> np.ndarray:
        vector: np.ndarray = self._model.encode_pictures(pixels[np.newaxis], self._device)[0]
        return vector

    @property
    def _decoders(self) -> "DecodePool":
        from rclip.photo.decode_pool import DecodePool

        with self._lock:
            if self._made_decoders is None:
                image = self._model.config.image
                self._made_decoders = DecodePool(image.side, self._limit_pixels(), image.resizing)
            return self._made_decoders


def _start(text: str) -> str:
    """As much of a text as a model may read of it, and more."""
    return text if len(text) <= _MOST_CHARACTERS else " ".join(text.split())[:_MOST_CHARACTERS]


_MOST_CHARACTERS = 10_000


@contextmanager
def unreadable_reported(path: str) -> Iterator[None]:
    """Errors of opening, reading and decoding a picture's file, in words."""
    try:
        yield
    except DecodeError as error:
        raise UnreadablePicture(name=path, reason=str(error), kind=error.kind) from error
    except (OSError, ValueError) as error:
        raise UnreadablePicture(name=path, reason=plain_reason(error)) from error


def unit_vector(stored: bytes) -> np.ndarray:
    """A stored vector, D float16, as (D,) float32 of length 1."""
    vector = np.frombuffer(stored, np.float16).astype(np.float32)
    unit: np.ndarray = vector / np.linalg.norm(vector)
    return unit


def _first(vectors: Iterable[bytes | None]) -> bytes | None:
    """The first there is."""
    return next(filter(None, vectors), None)


def _paths_of(what: AnyTerm) -> set[bytes]:
    """Where the picture lies that is asked with, as the index would have it."""
    if isinstance(what, Picture):
        return _names_of(what.value)
    return {what.path} if isinstance(what, Vector) and what.path else set()


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1][1:].lower()


def _names_of(path: str) -> set[bytes]:
    """The path with the links in its folder resolved, as a walk comes to it, and the file that it is in the end."""
    folder, name = os.path.split(path)
    return {os.fsencode(os.path.join(os.path.realpath(folder), name)), os.fsencode(os.path.realpath(path))}
