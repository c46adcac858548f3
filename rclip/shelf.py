"""The photos of some folders as one index has them. A library has as many as its folders have indexes."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rclip import datadir, search
from rclip.errors import DamagedIndex, ReadOnlyIndex, StoreError, UnlistedFolder
from rclip.facts import Facts
from rclip.matrix import APPEND_FROM_ROWS, Chosen, Matrix
from rclip.meaning import Meaning
from rclip.models import Model
from rclip.places import Folder, Place
from rclip.store import Record, Store
from rclip.walk import Skip

if TYPE_CHECKING:
    from rclip.changes import Summary
    from rclip.check import Finding
    from rclip.columns import Columns
    from rclip.filters import Filters, Paths
    from rclip.index import Options, Progress
    from rclip.prune import Pruned
    from rclip.salvage import Rebuilt
    from rclip.store.lending import Loan

PREPROCESSING = 1
"""The version of the way from a file to pixels (`image`). An index never mixes two of them."""

_MOST_IDS = 50_000
"""Up to so many photos in the folders asked for, only they are scored; above, all are, and the best looked up."""

_MOST_PATHS = 20_000
"""Up to so many paths that match a glob are listed; of more, those of the best photos are looked at."""

_MOST_SCORES = 1 << 24
"""So many are held at once, 64 MiB: where an index has fewer photos, several queries share a pass over its vectors."""

_MARGIN = 16  # looked up beyond what is asked for, to tell near ties apart
_MOST_TIES = 1000  # beyond which ties are left as they fall


class Count(NamedTuple):
    """How many photos are in a shelf's folders, and what else is known of there."""

    photos: int
    gone: int
    unreadable: dict[bytes, str]


class Among(NamedTuple):
    """Which photos may be found, if they are there."""

    only: np.ndarray | None = None
    """Ids (N,) int64, ascending; None for those of any."""
    chosen: Chosen | None = None
    paths: Mapping[bytes, "Paths"] | None = None
    """Which may be found of each folder asked for; None for all."""
    min_score: float = -np.inf
    must_stand_out: bool = False

    def allows(self, folder: bytes, relative_path: bytes) -> bool:
        return self.paths is None or self.paths[folder].allow(os.fsdecode(relative_path))


class Scored(NamedTuple):
    """What photos score for one query, and which of them may be found."""

    ids: np.ndarray
    """(N,) int64"""
    scores: np.ndarray
    """(N,) float32, within `search.ERROR`"""
    among: Among


class Found(NamedTuple):
    """A photo, its score, which is None where there was no query, and what is known of it."""

    score: float | None
    record: Record
    facts: Facts


class Shelf:
    """One index, and the folders that are asked for of those it holds."""

    def __init__(
        self, place: Place, own: str, folders: Sequence[Folder], skip: Skip, model: Model, notify: Callable[[str], None]
    ):
        """`own` is the folder of the user's own indexes."""
        self.place = place
        self._own = own
        self._folders = folders
        self._skip = skip
        self._model = model
        self._notify = notify
        self._is_told = False

    def close(self) -> None:
        if "store" in self.__dict__:
            self.store.close()
            del self.store

    @property
    def index_path(self) -> str:
        return os.path.join(self.place.folder, self._model.key + ".db")

    @property
    def _matrix_folder(self) -> str:
        return self.place.matrix_folder(self.index_path)

    def refuse_unless_adopted(self) -> None:
        """Raises `ReadOnlyIndex` for a place of which nobody knows who has made it, once; then, or now, it is told."""
        if not self.place.is_adopted:
            self._is_told = True
            raise ReadOnlyIndex(_warning(self.place))

    def warn_unless_adopted(self) -> None:
        """The same for what only reads."""
        if not self.place.is_adopted and not self._is_told:
            self._is_told = True
            self._notify(_warning(self.place))

    @cached_property
    def store(self) -> Store:
        return Store(self.index_path, self._model.key, PREPROCESSING, self.place)

    @property
    def _ranges(self) -> list[bytes]:
        """The folders in the index's terms, without those that lie inside another."""
        distinct = sorted({folder.real for folder in self._folders})
        return [real for real in distinct if not any(real.startswith(o) for o in distinct if o != real)]

    @property
    def _walked(self) -> list[bytes]:
        """The folders to walk: a hidden one that is named is, though the walk of the one around it passes it over."""
        ranges = self._ranges
        inside = sorted({folder.real for folder in self._folders}.difference(ranges))
        around = {real: next(outer for outer in ranges if real.startswith(outer)) for real in inside}
        return ranges + [real for real in inside if self._skip.path(real[len(around[real]) :] + b"photo")]

    # --- update ------------------------------------------------------------------------------------------------------

    def update(self, options: "Options", summary: "Summary", progress: "Progress") -> "list[StoreError]":
        """Looks at what is new or changed in the folders. Raises `StoreError`.

        Returns what kept single folders from being updated; the others are.
        """
        from rclip import index

        self.refuse_unless_adopted()
        for kept in (self.place.folder, self._matrix_folder):
            datadir.sweep(kept)
        if self.store.travels and self.store.is_writable:
            self._adopt()
        hindrances: list[StoreError] = []
        for folder in self._walked:
            try:
                index.update(self.store, self._model, folder, options._replace(skip=self._skip), summary, progress)
            except (ReadOnlyIndex, UnlistedFolder) as error:
                hindrances.append(error)
        return hindrances

    def prepare_search(self) -> None:
        """Writes what makes a search quick, where that is behind the index. Raises `StoreError` where it cannot be."""
        if os.path.exists(self.index_path) and self._may_derive:
            matrix = Matrix(self.store)
            matrix.catch_up()
            if matrix.rows:
                self._catch_up_columns(matrix)

    @property
    def _may_derive(self) -> bool:
        """Whether what makes searches quick is to be written: the table must take a note of it."""
        return self.place.is_own or self.store.is_writable

    def check_is_there(self) -> None:
        """Raises `StoreError` where there is nothing to be rebuilt."""
        self.refuse_unless_adopted()
        if not os.path.exists(self.index_path):
            where = self.place.argument
            raise StoreError(f"there is no index at {self.index_path} to rebuild; rclip --index{where} makes one")

    def rebuild(self) -> "Rebuilt":
        """Sets the model's index aside and makes it anew from what can be read of it, for all folders.

        Raises `StoreError` where there is no index, or another run is at work.
        """
        from rclip.salvage import rebuild

        self.close()
        rebuilt = rebuild(self.index_path, self._model.key, PREPROCESSING, self.place)
        datadir.delete_folder(self._matrix_folder)
        return rebuilt

    def _adopt(self) -> None:
        """Photos that the user's own index knows need not go through the model again. This is done once."""
        from rclip.store import lending

        if lending.has_adopted(self.store):
            return
        if os.stat(self.index_path).st_uid != os.geteuid():  # whoever it belongs to could read it all
            return
        own = os.path.join(self._own, os.path.basename(self.index_path))
        if not os.path.exists(own):
            return
        try:
            lender = Store(own, self._model.key, PREPROCESSING)
        except StoreError:  # it is not this run's business
            return
        try:
            for loans in self._loans(lender):
                with self.store.transaction():
                    lending.adopt(self.store, loans)
        finally:
            lender.close()
        with self.store.transaction():
            lending.note_adopted(self.store)

    def _loans(self, lender: Store) -> "Iterator[list[Loan]]":
        """What the lender knows of the photos here, up to where it cannot be read."""
        from rclip.store import lending

        try:
            yield from lending.lend(lender, self.place.root + b"/")
        except StoreError:
            self._notify(
                f"{lender.path} cannot be read to the end; what can be is taken over, and "
                f"rclip --rebuild in a folder that is not below {os.fsdecode(self.place.root)} mends it"
            )

    # --- search ------------------------------------------------------------------------------------------------------

    def has_photos(self) -> bool:
        """Whether anything is indexed below the folders."""
        if not os.path.exists(self.index_path):
            return False
        has_some = self.store.ids(self._ranges, most=0) is None
        if not has_some:
            self._check_counts()
        return has_some

    def searcher(self, filters: "Filters | None") -> "Callable[[Sequence[Meaning], int], Iterator[list[Found]]]":
        """What finds each query's best, so many of them, in the index as it is when the first is asked."""
        matrix = self._caught_up_matrix()
        need_columns = filters is not None and filters.need_columns
        if need_columns:
            self._catch_up_columns(matrix)
        among: Among | None = None
        is_first = filters is None

        def find(meanings: Sequence[Meaning], top: int) -> "Iterator[list[Found]]":
            nonlocal among, is_first
            at_once = max(1, _MOST_SCORES // max(1, self.store.last_id()))
            scored: list[Scored] = []
            for number, meaning in enumerate(meanings):
                with self.store.snapshot():
                    if among is None:
                        among = self._among(filters, self._columns(matrix) if need_columns else None)
                        self._check_filtered(filters, among)
                    must_be_asked = is_first and among.only is not None
                    if not scored:
                        scored = _scored(matrix, meanings[number : number + at_once], among)
                    if must_be_asked and among.only is not None:
                        self._check_scored(len(scored[0].ids), len(among.only))
                    found = self._best(scored.pop(0), meaning, top, must_be_asked)
                is_first = False
                yield found

        return find

    def newest(self, top: int, filters: "Filters") -> "list[Found]":
        """Those that pass the filters, the one taken last first."""
        matrix = self._caught_up_matrix()
        self._catch_up_columns(matrix)
        with self.store.snapshot():
            return self._newest_now(top, filters, self._columns(matrix))

    def _newest_now(self, top: int, filters: "Filters", columns: "Columns") -> "list[Found]":
        """The same, of one moment."""
        among = self._among(filters, columns)
        self._check_filtered(filters, among)
        ids = columns.newest_first(among.chosen or columns.chosen(filters), among.only)
        found: list[Record] = []
        start, count = 0, top + _MARGIN
        while len(found) < top and start < len(ids):
            records = self.store.records(ids[start : start + count].tolist())
            found += (record for record in records if record and self._is_asked(record.path, among))
            start, count = start + count, 4 * count
        return self._with_facts([(None, record) for record in found[:top]])

    def _with_facts(self, found: "Sequence[tuple[float | None, Record]]") -> "list[Found]":
        facts = self.store.facts.of([record.id for _, record in found])
        return [Found(score, record, known) for (score, record), known in zip(found, facts, strict=True)]

    def _check_counts(self) -> None:
        self.store.check_counts(self._ranges, with_table=self.store.last_id() < APPEND_FROM_ROWS)

    def _check_scored(self, scored: int, asked: int) -> None:
        """Raises `DamagedIndex` where a photo has silently dropped out of a part of the index.

        Where there are very many, that would take longer than the query.
        """
        self._check_counts()
        unreadable = sum(len(self.store.failures(folder)) for folder in self._ranges)
        if scored + unreadable != asked:
            raise self.store.damage()

    def _check_filtered(self, filters: "Filters | None", among: Among) -> None:
        """The same for photos that are filtered, of which no one knows how many there should be.

        Those that a glob has chosen say nothing of how many there are to count.
        """
        if filters is None or among.only is None:
            return
        if not among.paths or self.store.last_id() <= _MOST_IDS:
            self._check_counts()

    def _caught_up_matrix(self) -> Matrix:
        """What cannot be written is said, and done without."""
        matrix = Matrix(self.store)
        if self._may_derive:
            try:
                matrix.catch_up()
            except DamagedIndex:
                raise
            except StoreError as error:
                self._notify(str(error))
        return matrix

    def _best(self, scored: Scored, meaning: Meaning, top: int, must_be_asked: bool) -> "list[Found]":
        """Looks up the best, and ever more of them until the exact scores of enough hits leave no doubt.

        Ids may belong to photos that are skipped, and, unless they `must_be_asked` for, to those that are gone or
        elsewhere; nearly always one round is enough.
        """
        ids, scores, among = scored
        count = min(top, int(np.count_nonzero(scores >= among.min_score - search.ERROR))) + _MARGIN
        while True:
            rows = search.top_k(scores, count)
            found = self.store.records(ids[rows].tolist())
            if must_be_asked and not all(record and any(self._inside(record.path)) for record in found):
                raise self.store.damage()
            exact = [
                (search.exact_cosine(record.vector, meaning.vector), record)
                for record in found
                if record and self._is_asked(record.path, among) and record.path not in meaning.pictures
            ]
            best = sorted((hit for hit in exact if hit[0] >= among.min_score), key=lambda hit: -hit[0])[:top]
            if count >= len(ids):
                return self._with_facts(best)
            rest_is_below = scores[rows[-1]] + search.ERROR
            is_settled = len(best) == top and (best[-1][0] >= rest_is_below or count > top + _MOST_TIES)
            if is_settled or rest_is_below < among.min_score:
                return self._with_facts(best)
            count *= 4

    # --- filters -----------------------------------------------------------------------------------------------------

    def _among(self, filters: "Filters | None", columns: "Columns | None") -> Among:
        """What may be found in these directories. `columns` are needed where the filters need them."""
        if filters is None:
            return Among(self.store.ids(self._ranges, _MOST_IDS))
        paths = self._paths(filters.paths) if filters.paths else None
        if paths and any(inside.wanted for inside in paths.values()):
            only = self._ids_by_path(paths)
        else:
            only = self.store.ids(self._ranges, _MOST_IDS)
        chosen = columns.chosen(filters) if columns and filters.need_columns else None
        lowest = -np.inf if filters.min_score is None else filters.min_score
        return Among(only, chosen, paths, lowest, filters.is_relevant)

    def _paths(self, globs: Sequence[str]) -> "dict[bytes, Paths]":
        """What passes the globs in each folder, which they may also reach by the path that the user named it by."""
        from rclip.filters import Paths

        spelled: defaultdict[bytes, set[str]] = defaultdict(set)
        for folder in self._folders:
            name = os.fsdecode(folder.spelled)
            spelled[folder.real] |= {
                os.fsdecode(folder.real),
                *(os.path.normpath(os.path.join(here, name)) for here in _names_of_here()),
            }
        return {real: Paths(globs, names) for real, names in spelled.items()}

    def _columns(self, matrix: Matrix) -> "Columns":
        """As they are now: inside a snapshot they and what the table says of their age are of one moment."""
        from rclip.columns import Columns

        return Columns(self.store, matrix)

    def _catch_up_columns(self, matrix: Matrix) -> None:
        """What cannot be written is said, and done without; of a drive that may only be read it is clear."""
        if not self.store.has_facts:
            raise StoreError(
                f"{self.index_path} was made by an older rclip, which kept no dates and places, and may not be "
                "written: mend its permissions, or search without filters"
            )
        if self._may_derive:
            try:
                self._columns(matrix).catch_up()
            except DamagedIndex:
                raise
            except StoreError as error:
                self._notify(str(error))

    def _ids_by_path(self, paths: "Mapping[bytes, Paths]") -> np.ndarray | None:
        """Ids (N,) int64, ascending, of the photos that match one of the globs wanted; None when many do.

        Where many match, those that are looked up will match, too, often enough.
        """
        from rclip.filters import literal_start, longest_literal, sqlite_glob, sqlite_literal

        found: dict[int, bytes] = {}
        for folder, inside in paths.items():
            for wanted in inside.wanted:
                start = folder + os.fsencode(literal_start(wanted))
                start = folder if start.endswith(b"\xff") else start
                glob = sqlite_literal(os.fsdecode(folder)) + sqlite_glob(wanted)
                part = os.fsencode(longest_literal(wanted))
                like = self.store.paths_like(start, part, os.fsencode(glob), _MOST_PATHS)
                if like is None:
                    return None
                found |= like
        among = Among(paths=paths)
        return np.array(sorted(id_ for id_, path in found.items() if self._is_asked(path, among)), np.int64)

    def _is_asked(self, path: bytes, among: Among) -> bool:
        """Whether a walk with these folders and options would come to the photo, and the globs allow it."""
        if not self.place.is_adopted and not os.path.realpath(path).startswith(self.place.root + b"/"):
            return False  # a link out of there, to be shown or opened as if it were a photo
        return any(
            not self._skip.path(inside) and among.allows(folder, inside) for folder, inside in self._inside(path)
        )

    def _inside(self, path: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Each of the folders that it lies in, and the path as seen from there."""
        return ((folder.real, path[len(folder.real) :]) for folder in self._folders if path.startswith(folder.real))

    # --- stats -------------------------------------------------------------------------------------------------------

    def count(self) -> Count:
        known = gone = 0
        unreadable: dict[bytes, str] = {}
        if os.path.exists(self.index_path):
            self._check_counts()
            for folder in self._ranges:
                there, away = self.store.count(folder)
                known, gone = known + there, gone + away
                unreadable |= self.store.failures(folder)
        return Count(known - len(unreadable), gone, unreadable)

    def index_bytes(self) -> int:
        """What the index takes on disk; SQLite's `-shm` is there only while it is open."""
        database = sum(_size_bytes(self.index_path + suffix) for suffix in ("", "-wal", "-journal"))
        return database + datadir.folder_bytes(self._matrix_folder)

    # --- upkeep ------------------------------------------------------------------------------------------------------

    def check(self) -> "Iterator[Finding]":
        """What is found of each part of the whole index, whatever the folders. Raises `StoreError`."""
        from rclip import check

        if os.path.exists(self.index_path):
            yield from check.check_index(self.store, self._model.dimensions)
        else:
            yield check.Finding("index", "none yet", [])

    def prune(self, older_than_s: float, with_away: bool) -> "Pruned":
        """Forgets files below the folders that have been gone for so long, and gives their space back to the disk.

        What an empty folder held, whose drive may only be unplugged, is forgotten only `with_away`, and then also what
        no run has looked for and is not there. Raises `StoreError`.
        """
        from rclip import prune

        self.refuse_unless_adopted()
        if not os.path.exists(self.index_path):
            return prune.NOTHING
        self._check_counts()
        before_bytes = self.index_bytes()
        pruned = prune.forget(self.store, self._ranges, older_than_s, with_away)
        blocked_by = prune.give_space_back(self.store)
        freed_bytes = max(before_bytes - self.index_bytes(), 0)
        return pruned._replace(freed_bytes=freed_bytes, blocked_by=blocked_by)


def _warning(place: Place) -> str:
    return (
        f"{place.folder} was not made by you here: it is only searched, as it is; "
        f"rclip --init{place.argument} adopts it, if you trust it"
    )


def merged(parts: "Sequence[list[Found]]", top: int, order: "Callable[[Found], float]") -> "list[Found]":
    """The first of what several indexes have found, each in that order; a photo that two hold comes once."""
    if len(parts) == 1:
        return parts[0]
    distinct = {found.record.path: found for part in parts for found in part}
    return sorted(distinct.values(), key=order)[:top]


def _names_of_here() -> Iterator[str]:
    """The current folder's own name, and the one by which the shell came to it, over a link perhaps."""
    yield os.getcwd()
    named = os.environ.get("PWD", "")
    with suppress(OSError, ValueError):
        if os.path.isabs(named) and os.path.samefile(named, os.curdir):
            yield named


def _size_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _scored(matrix: Matrix, meanings: Sequence[Meaning], among: Among) -> list[Scored]:
    """Of each query, by one pass over the vectors for all of them."""
    vectors = np.stack([meaning.vector for meaning in meanings])
    ids, scores = matrix.scores(vectors, among.only, among.chosen)
    if not among.must_stand_out:
        return [Scored(ids, of_query, among) for of_query in scores]
    is_part = among.only is not None or among.chosen is not None
    background = matrix.scores(vectors)[1] if is_part else scores
    pairs = zip(scores, background, strict=True)
    return [Scored(ids, of_query, _standing_out(among, of_query, of_all)) for of_query, of_all in pairs]


def _standing_out(among: Among, scores: np.ndarray, background: np.ndarray) -> Among:
    """What may be found of those with these scores, judged by all scores that the index has for the query."""
    lowest = search.stands_out_from(scores, background) if len(scores) else np.inf
    return among._replace(min_score=max(among.min_score, lowest - search.ERROR))
