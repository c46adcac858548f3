"""One warm search over a library, for a face that shows photos page by page while its user types and chooses."""

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rclip import isolation
from rclip.errors import (
    EmptyQuery,
    LinksNotAllowed,
    NoPicture,
    RclipError,
    UnknownPhoto,
    UnreadablePicture,
    UsageError,
)
from rclip.explore import copying, target_folder
from rclip.explore.copying import Care, Copied
from rclip.explore.request import AskedTerm, SearchRequest, line_of
from rclip.explore.target_folder import IsTarget
from rclip.explore.updates import BackgroundUpdate
from rclip.files import digest_of
from rclip.photo.failures import DecodeError
from rclip.search.hits import Hit, absolute, in_order
from rclip.search.query import IndexedPhoto, Link, Picture, Query, Term, Text, Vector
from rclip.search.query_encoder import unreadable_reported

if TYPE_CHECKING:
    from rclip.filters import Filters
    from rclip.library import Library
    from rclip.search.facets import Facets

MAX_RESULTS = 10_000
"""So many can be paged through."""

_FIRST_RESULTS = 64
_MORE = 4
"""A ranking that is too short is made this many times as long."""

_REMEMBERED_RANKINGS, _REMEMBERED_HITS = 64, 50_000
_REMEMBERED_PICTURES = 256
_GRACE_S = 1.0
"""For a copy to end that is being made."""
PICTURE_SIDE = 480


class Results(NamedTuple):
    """Some of the photos found for a request, best first or, without a query, newest first."""

    hits: list[Hit]
    start: int
    """The place of the first among all that are found, from 0."""
    has_more: bool


class _Ranking(NamedTuple):
    version: tuple[int, ...] | None
    hits: list[Hit]
    is_all: bool


class Explorer:
    """For any number of threads at once.

    It remembers what has been found, and finds it again only when something has been stored since.
    """

    def __init__(self, library: "Library", allow_links: bool = False):
        """`allow_links`: whether a query may name a picture by its address, which is then fetched from there."""
        self.library = library
        self.updates = BackgroundUpdate(library)
        self._allow_links = allow_links
        self._lock = threading.Lock()
        """Around what follows."""
        self._rankings: OrderedDict[SearchRequest, _Ranking] = OrderedDict()
        self._pictures: OrderedDict[str, np.ndarray] = OrderedDict()
        self._facets: tuple[tuple[int, ...] | None, Facets] | None = None
        self._counting = threading.Lock()
        self._copying = threading.Lock()
        self._is_closed = False

    def close(self) -> None:
        """Ends the update, and copying: nothing half done is left. The library stays open."""
        self._is_closed = True
        self.updates.close()
        if self._copying.acquire(timeout=_GRACE_S):
            self._copying.release()

    # --- searching ---------------------------------------------------------------------------------------------------

    def search(self, request: SearchRequest, start: int = 0, count: int = 50) -> Results:
        """In the order that the request asks for: without a query, and of filters by score, that of all photos found.

        With another query all photos are found, so it is that of these. Raises `UsageError` for what makes no sense,
        and `StoreError` and `ModelError` as the library does.
        """
        end = min(start + max(1, count), MAX_RESULTS)
        order = request.order() if request.query else None
        is_sorted_whole = order is not None and _is_bounded(request.parsed_filters())
        ranking = self._ranking(request, MAX_RESULTS if is_sorted_whole else end + 1)
        found = in_order(ranking.hits[:MAX_RESULTS], order) if order and is_sorted_whole else ranking.hits
        hits = found[start:end] if is_sorted_whole or not order else in_order(found[start:end], order)
        return Results(hits, start, len(ranking.hits) > end and end < MAX_RESULTS)

    def _ranking(self, request: SearchRequest, length: int) -> _Ranking:
        """With at least so many photos if so many are found."""
        version = self.library.version()
        with self._lock:
            known = self._rankings.get(request)
            if (
                known
                and version is not None
                and known.version == version
                and (known.is_all or len(known.hits) >= length)
            ):
                self._rankings.move_to_end(request)
                return known
        top = _FIRST_RESULTS
        while top < length:
            top *= _MORE
        query, filters = self.query_of(request), request.parsed_filters()
        order = None if query else request.order()
        hits = self.library.search(query, top, filters, sort=order, fold=request.fold())
        ranking = _Ranking(version, hits, len(hits) < top)
        self._remember(request, ranking)
        return ranking

    def _remember(self, request: SearchRequest, ranking: _Ranking) -> None:
        with self._lock:
            self._rankings[request] = ranking
            self._rankings.move_to_end(request)
            held = sum(len(each.hits) for each in self._rankings.values())
            while len(self._rankings) > 1 and (len(self._rankings) > _REMEMBERED_RANKINGS or held > _REMEMBERED_HITS):
                held -= len(self._rankings.popitem(last=False)[1].hits)

    def query_of(self, request: SearchRequest) -> Query | None:
        """None for a request of filters alone. Raises `UsageError`."""
        terms = [Term(term.weight, self._meaning(term)) for term in request.terms]
        return Query(tuple(terms), request.query) if terms else None

    def line_of(self, query: Query) -> str:
        """The line of a request that asks for what a query of the command does; its pictures are added to others.

        Raises `UsageError` for a picture that cannot be read.
        """
        return line_of([self._asked(term) for term in query.terms])

    def _asked(self, term: Term) -> AskedTerm:
        what = term.what
        if isinstance(what, Text):
            return AskedTerm(term.weight, "text", what.value)
        if isinstance(what, IndexedPhoto):
            return AskedTerm(term.weight, "photo", what.value)
        if isinstance(what, Link):
            return AskedTerm(term.weight, "link", what.value)
        if isinstance(what, Picture):
            with unreadable_reported(what.value), open(what.value, "rb", opener=isolation.open_regular) as file:
                return AskedTerm(term.weight, "picture", self.add_picture(file.read()))
        raise TypeError(f"a request has no {type(what).__name__}")

    def _meaning(self, term: AskedTerm) -> Text | IndexedPhoto | Vector | Link:
        if term.kind == "photo":
            return IndexedPhoto(term.value)
        if term.kind == "picture":
            return Vector(self._picture_vector(term.value))
        if term.kind == "link":
            if not self._allow_links:
                raise LinksNotAllowed(url=term.value)
            return Link(term.value)
        if not term.value.strip():
            raise EmptyQuery
        return Text(term.value)

    # --- photos ------------------------------------------------------------------------------------------------------

    def photo(self, photo_id: str) -> Hit:
        """Without a score. Raises `UnknownPhoto` for one that no search could find."""
        found = self.library.photo(photo_id)
        if found is None:
            raise UnknownPhoto(id=photo_id)
        return found

    def photos(self, photo_ids: Sequence[str]) -> list[Hit]:
        """Those that are still here, in that order."""
        return [found for photo_id in photo_ids if (found := self.library.photo(photo_id))]

    def thumbnail(self, photo_id: str, long_side: int = 480) -> bytes:
        """A JPEG file. Raises `UnknownPhoto` and `UnreadablePicture`."""
        return self.library.thumbnail(photo_id, long_side)

    def copy(self, photo_ids: Sequence[str], folder: str, is_target: IsTarget = target_folder.any_folder) -> Copied:
        """Copies photos into a folder, under their names; no file there is overwritten. Raises `UsageError`.

        An empty folder that lies among the photos is not indexed from then on. One call waits for the other.
        """
        target_folder.require_target(folder, self.library.folders)
        hits = {absolute(hit.path): hit for hit in self.photos(list(dict.fromkeys(photo_ids)))}
        is_meant = copying.found_by(hits.values(), self.library.folders)
        with self._copying:
            with suppress(OSError):
                if self.library.holds(folder) and is_target(os.stat(folder)):
                    target_folder.leave_out(folder)
            return copying.copy(list(hits), folder, care=Care(is_meant, is_target, lambda: self._is_closed))

    def facets(self) -> "Facets":
        """What filters can choose from. While an update is running it may be that of a moment ago."""
        version = self.library.version()
        known = self._facets
        if known and (known[0] == version is not None or self.updates.state.is_running):
            return known[1]
        with self._counting:
            if self._facets is known:
                self._facets = version, self.library.facets()
            assert self._facets
            return self._facets[1]

    def known_facets(self) -> "Facets | None":
        """What `facets` would give without counting now, None before they have been counted; others are being counted.

        In a library of a million photos that takes seconds.
        """
        known = self._facets
        is_stale = known is None or known[0] != self.library.version()
        if is_stale and not self._counting.locked() and not self.updates.state.is_running:
            threading.Thread(target=self._count, name="rclip-facets", daemon=True).start()
        return known[1] if known else None

    def _count(self) -> None:
        with suppress(RclipError):  # who searches will hear of it
            self.facets()

    # --- pictures that are asked with --------------------------------------------------------------------------------

    def add_picture(self, data: bytes) -> str:
        """A picture to ask with, as the bytes of its file -> what `picture:` takes in a query.

        It is decoded by the processes that decode photos. Its vector and thumbnail are kept among the thumbnails, so
        that an address with it works for a while. Raises `UsageError` for what is no picture.
        """
        if not data:
            raise UsageError("the picture is an empty file")
        digest = digest_of(io.BytesIO(data))
        try:
            with _file_with(data) as file:
                self.library.thumbnails.make(digest, PICTURE_SIDE, file, "")
        except DecodeError as error:
            raise UnreadablePicture(name="the picture", reason=str(error), kind=error.kind) from error
        vector = self.library.encode_image([data])[0]
        self.library.thumbnails.files.put(self._vector_name(digest.hex()), vector.astype("<f4").tobytes())
        self._remember_picture(digest.hex(), vector)
        return digest.hex()

    def picture_thumbnail(self, picture_id: str) -> bytes:
        """A JPEG file. Raises `NoPicture` for one that is not kept any more."""
        found = self.library.thumbnails.get(_digest(picture_id), PICTURE_SIDE)
        if found is None:
            raise NoPicture(id=picture_id)
        return found

    def _picture_vector(self, picture_id: str) -> np.ndarray:
        with self._lock:
            known = self._pictures.get(picture_id)
        if known is not None:
            return known
        _digest(picture_id)
        stored = self.library.thumbnails.files.get(self._vector_name(picture_id))
        vector = np.frombuffer(stored or b"", "<f4") if not stored or len(stored) % 4 == 0 else np.empty(0, "<f4")
        length = float(np.linalg.norm(vector)) if vector.size else 0.0
        if vector.size != self.library.model_identity().dimensions or not abs(length - 1) < _OFF_UNIT:
            raise NoPicture(id=picture_id)
        self._remember_picture(picture_id, vector)
        return vector

    def _remember_picture(self, picture_id: str, vector: np.ndarray) -> None:
        with self._lock:
            self._pictures[picture_id] = vector
            while len(self._pictures) > _REMEMBERED_PICTURES:
                self._pictures.popitem(last=False)

    def _vector_name(self, picture_id: str) -> str:
        return f"{picture_id}-{self.library.model_identity().key}.vector"


_OFF_UNIT = 0.01


def _is_bounded(filters: "Filters | None") -> bool:
    """Whether not all photos are found for a query."""
    return filters is not None and (filters.is_relevant or filters.min_score is not None)


def _digest(picture_id: str) -> bytes:
    """Raises `NoPicture` for what is none: it becomes a file's name."""
    try:
        return bytes.fromhex(picture_id)
    except ValueError:
        raise NoPicture(id=picture_id) from None


def _file_with(data: bytes) -> io.BufferedRandom:
    import tempfile

    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(data)
    file.seek(0)
    return file
