"""Photos in a collection of Chroma.

Chroma searches by an index that may leave photos out (HNSW). It also says the score of each photo that it is asked for,
exactly, so all of a collection are ranked where it is small, where a filter leaves few, and where the index has found
less than it was asked for. Chroma has no transactions: a batch is stored photo by photo, each of them whole, and what
is read while somebody pushes may be partly of before and partly of after.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from rclip.errors import BadAnswer, NewerDatabase, NothingPushed, OlderDatabase, OtherModelPushed
from rclip.vectordb.chroma import records
from rclip.vectordb.chroma.where import Where, where
from rclip.vectordb.interface import SCHEMA_VERSION, Conditions, ModelStamp, PushedPhoto, ScoredRow
from rclip.vectordb.rows import Unsound

EXACT_UP_TO = 10_000
"""Photos that are all ranked: it takes a tenth of a second."""

CONFIGURATION = {"hnsw": {"space": "ip", "ef_construction": 200, "max_neighbors": 32, "ef_search": 500}}
"""Of a new collection, for texts as queries: with Chroma's own, one in six of their ten best photos was missed."""

_STORED_AT_ONCE = 500
_READ_AT_ONCE = 500
_LISTED_AT_ONCE = 20_000
_IDS_AT_ONCE = 100_000
_MOST_LISTED = 50_000_000
"""More than a server with all of them in its memory holds; one that lists on and on is not to fill ours."""
_MOST_REMEMBERED = 20_000
"""Photos of one snapshot; it asks for more and more of them."""

_STAMP = {"model": str, "model_key": str, "preprocessing": int, "dimensions": int}


class Collection(Protocol):
    """What a collection is reached by; methods raise `StoreError`, and `Unsound` for what is no answer."""

    url: str

    def find(self) -> dict[str, Any] | None: ...
    def create(self, metadata: dict[str, Any], configuration: dict[str, Any]) -> None: ...
    def call(self, name: str, body: dict[str, Any]) -> Any: ...
    def close(self) -> None: ...


class ChromaDatabase:
    """One collection, for one thread."""

    def __init__(self, collection: Collection):
        self.url = collection.url
        self._collection = collection
        self._dimensions = 0
        self._is_snapshot = False
        self._photos: dict[str, PushedPhoto] = {}
        self._ranked: dict[tuple[bytes, str], tuple[list[str], np.ndarray]] = {}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Unsound as error:
            raise BadAnswer(url=self.url, what=str(error)) from None

    def close(self) -> None:
        self._collection.close()

    # --- what is there -----------------------------------------------------------------------------------------------

    def prepare(self, model: ModelStamp) -> None:
        with self._errors():
            if self._collection.find() is None:
                stamp = dict(zip(_STAMP, model, strict=True))
                self._collection.create({"rclip_schema": SCHEMA_VERSION, **stamp}, CONFIGURATION)
        self.require(model)

    def require(self, model: ModelStamp) -> None:
        with self._errors():
            found = self._collection.find()
            if found is None or type(found.get("metadata")) is not dict or "rclip_schema" not in found["metadata"]:
                raise NothingPushed(url=self.url)
            metadata = found["metadata"]
            version = metadata["rclip_schema"]
            if type(version) is not int or abs(version) > 1 << 31:
                raise Unsound("a schema")
            if version != SCHEMA_VERSION:
                kind = OlderDatabase if version < SCHEMA_VERSION else NewerDatabase
                raise kind(url=self.url, version=version)
            if any(type(metadata.get(name)) is not type_ for name, type_ in _STAMP.items()):
                raise Unsound("a model")
            stored = ModelStamp(*(metadata[name] for name in _STAMP))
            if not stored.is_like(model):
                raise OtherModelPushed(url=self.url, stored=stored.name[:200])
            if _space(found) != "ip":
                raise Unsound("another distance than the dot product")
            self._dimensions = stored.dimensions

    # --- writing -----------------------------------------------------------------------------------------------------

    def known(self, folder: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Listed whole, as Chroma has an order of its own."""
        with self._errors():
            found = {
                records.path_of(id_): records.fingerprint_of(metadata)
                for id_, metadata in self._listed(where(Conditions((folder,))))
            }
        yield from sorted((path, mark) for path, mark in found.items() if path.startswith(folder))

    def store(self, photos: Sequence[PushedPhoto], removed: Sequence[bytes]) -> None:
        with self._errors():
            for start in range(0, len(photos), _STORED_AT_ONCE):
                some = photos[start : start + _STORED_AT_ONCE]
                body = {
                    "ids": [records.id_of(photo.path) for photo in some],
                    "embeddings": [np.frombuffer(photo.vector, "<f2").tolist() for photo in some],
                    "metadatas": [records.written(photo) for photo in some],
                }
                self._collection.call("upsert", body)
            for start in range(0, len(removed), _STORED_AT_ONCE):
                ids = [records.id_of(path) for path in removed[start : start + _STORED_AT_ONCE]]
                self._collection.call("delete", {"ids": ids})

    # --- asking ------------------------------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What was read once within the block is not read again."""
        self._forget()
        self._is_snapshot = True
        try:
            yield
        finally:
            self._is_snapshot = False
            self._forget()

    def _forget(self) -> None:
        """Outside of a snapshot, what was read before."""
        if not self._is_snapshot:
            self._photos.clear()
            self._ranked.clear()

    @property
    def is_approximate(self) -> bool:
        return self.count(Conditions()) > EXACT_UP_TO

    def has_photos(self, conditions: Conditions) -> bool:
        with self._errors():
            return bool(self._ids(where(conditions), 0, 1))

    def count(self, conditions: Conditions) -> int:
        with self._errors():
            return self._count(where(conditions))

    def _count(self, condition: Where | None) -> int:
        if condition is None:
            count = self._collection.call("count", {})
            if type(count) is not int or not 0 <= count < 1 << 40:
                raise Unsound("a count")
            return count
        return sum(1 for _ in self._all_ids(condition))

    def _all_ids(self, condition: Where) -> Iterator[str]:
        start = 0
        while True:
            page = self._ids(condition, start, _IDS_AT_ONCE)
            yield from page
            start += len(page)
            if len(page) < _IDS_AT_ONCE:
                return

    def nearest(
        self, query: np.ndarray, k: int | None, conditions: Conditions, least: float, is_exact: bool
    ) -> Iterator[ScoredRow]:
        self._forget()
        condition = where(conditions)
        with self._errors():
            if is_exact or k is None or self._are_few(condition):
                ids, scores = self._all_ranked(query, condition)
            else:
                ids, scores = self._ranking(query, condition, k)
            passing = scores >= np.float32(least)
            wanted = [(id_, float(score)) for id_, score, passes in zip(ids, scores, passing, strict=True) if passes]
            yield from self._rows(wanted[: sys.maxsize if k is None else k])

    def newest(self, k: int | None, conditions: Conditions) -> Iterator[ScoredRow]:
        """Of all photos that pass, as Chroma sorts by nothing but scores."""
        self._forget()
        with self._errors():
            found = [(id_, records.taken_of(metadata)) for id_, metadata in self._listed(where(conditions))]
            found.sort(key=lambda each: (-each[1], each[0]))
            yield from self._rows(found[:k])

    def scores(self, query: np.ndarray, k: int, conditions: Conditions) -> np.ndarray:
        self._forget()
        with self._errors():
            return self._all_ranked(query, where(conditions))[1][:k]

    def quantiles(self, query: np.ndarray, levels: Sequence[float]) -> tuple[list[float], int]:
        self._forget()
        with self._errors():
            _, scores = self._all_ranked(query, None)
        if not len(scores):
            return [math.nan] * len(levels), 0
        return np.quantile(scores, levels).tolist(), len(scores)

    # --- ranking -----------------------------------------------------------------------------------------------------

    def _are_few(self, condition: Where | None) -> bool:
        return condition is not None and len(self._ids(condition, 0, EXACT_UP_TO + 1)) <= EXACT_UP_TO

    def _all_ranked(self, query: np.ndarray, condition: Where | None) -> tuple[list[str], np.ndarray]:
        """All photos that pass, best first, remembered for the snapshot."""
        key = query.tobytes(), repr(condition)
        if key not in self._ranked:
            count = self._count(condition)
            ids, scores = self._ranking(query, condition, count) if count else ([], np.empty(0, np.float32))
            self._ranked[key] = (ids, scores) if len(ids) >= count else self._scan(query, condition)
        return self._ranked[key]

    def _ranking(self, query: np.ndarray, condition: Where | None, k: int) -> tuple[list[str], np.ndarray]:
        """The k that the index finds, or fewer. Their scores are exact."""
        body = {"query_embeddings": [query.tolist()], "n_results": k, "include": ["distances"]}
        answer = self._collection.call("query", body | _with(condition))
        (ids,), (distances,) = (_lists(answer, name, 1, 1) for name in ("ids", "distances"))
        if type(ids) is not list or len(ids) > k or type(distances) is not list or len(distances) != len(ids):
            raise Unsound("more photos than asked for")
        if not all(type(each) in (int, float) and abs(each) <= 4 for each in distances):
            raise Unsound("a score")
        scores = 1 - np.array(distances, np.float32)
        if (np.diff(scores) > 0).any() or not _are_ids(ids):
            raise Unsound("photos in disorder")
        return ids, scores

    def _scan(self, query: np.ndarray, condition: Where | None) -> tuple[list[str], np.ndarray]:
        """By the vectors themselves, where the index does not come to all of them."""
        found: dict[str, float] = {}
        start = 0
        while page := self._ids(condition, start, _READ_AT_ONCE):
            start += len(page)
            found |= {id_: float(vector @ query) for id_, vector in self._vectors(page)}
        best = sorted(found, key=lambda id_: (-found[id_], id_))
        return best, np.array([found[id_] for id_ in best], np.float32)

    def _vectors(self, ids: list[str]) -> Iterator[tuple[str, np.ndarray]]:
        self._read([id_ for id_ in ids if id_ not in self._photos])
        for id_ in ids:
            if photo := self._photos.get(id_):
                yield id_, np.frombuffer(photo.vector, np.float16).astype(np.float32)
        self._photos.clear()

    # --- reading -----------------------------------------------------------------------------------------------------

    def _rows(self, found: Sequence[tuple[str, float]]) -> Iterator[ScoredRow]:
        """The photos of these ids, with their scores; without those that somebody has removed meanwhile."""
        for start in range(0, len(found), _READ_AT_ONCE):
            some = found[start : start + _READ_AT_ONCE]
            if len(self._photos) > _MOST_REMEMBERED:
                self._photos.clear()
            self._read([id_ for id_, _ in some if id_ not in self._photos])
            for id_, score in some:
                if photo := self._photos.get(id_):
                    yield ScoredRow(score, photo)

    def _read(self, ids: list[str]) -> None:
        if not ids:
            return
        answer = self._collection.call("get", {"ids": ids, "include": ["embeddings", "metadatas"]})
        there = _lists(answer, "ids", 0, len(ids))
        embeddings, metadatas = (_lists(answer, name, len(there), len(there)) for name in ("embeddings", "metadatas"))
        if not _are_ids(there) or not set(there) <= set(ids):
            raise Unsound("other photos than asked for")
        for id_, embedding, metadata in zip(there, embeddings, metadatas, strict=True):
            self._photos[id_] = records.read(id_, embedding, metadata, 0.0, self._dimensions).photo

    def _ids(self, condition: Where | None, start: int, most: int) -> list[str]:
        _require_end(start)
        answer = self._collection.call("get", {"limit": most, "offset": start, "include": []} | _with(condition))
        ids = _lists(answer, "ids", 0, most)
        if not _are_ids(ids):
            raise Unsound("a list in disorder")
        return ids

    def _listed(self, condition: Where | None) -> Iterator[tuple[str, Any]]:
        """Ids and metadata of all photos that pass, each once."""
        seen: set[str] = set()
        start = 0
        while True:
            _require_end(start)
            body = {"limit": _LISTED_AT_ONCE, "offset": start, "include": ["metadatas"]}
            answer = self._collection.call("get", body | _with(condition))
            ids = _lists(answer, "ids", 0, _LISTED_AT_ONCE)
            if not _are_ids(ids):
                raise Unsound("a list in disorder")
            for id_, metadata in zip(ids, _lists(answer, "metadatas", len(ids), len(ids)), strict=True):
                if id_ not in seen:  # it has moved, as somebody pushes meanwhile
                    yield id_, metadata
            seen.update(ids)
            start += len(ids)
            if len(ids) < _LISTED_AT_ONCE:
                return


def _require_end(start: int) -> None:
    if start > _MOST_LISTED:
        raise Unsound("a list without an end")


def _with(condition: Where | None) -> dict[str, Any]:
    return {} if condition is None else {"where": condition}


def _lists(answer: object, name: str, least: int, most: int) -> list[Any]:
    """The list of this name, with so many elements. Raises `Unsound`."""
    found = answer.get(name) if type(answer) is dict else None
    if type(found) is not list or not least <= len(found) <= most:
        raise Unsound("a list of another length")
    return found


def _are_ids(ids: list[Any]) -> bool:
    return all(type(id_) is str for id_ in ids) and len(set(ids)) == len(ids)


def _space(found: dict[str, Any]) -> object:
    """Which distance the collection's index goes by."""
    configuration = found.get("configuration_json")
    if type(configuration) is not dict:
        return None
    indexes = [configuration[name] for name in ("hnsw", "spann") if type(configuration.get(name)) is dict]
    return indexes[0].get("space") if len(indexes) == 1 else None
