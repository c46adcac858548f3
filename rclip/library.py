"""The photos of some folders: bring the index up to date, search it, say what is in it.

from rclip import Library

photos = Library("~/Pictures")
photos.update()
for hit in photos.search("a red kite", top=5):
    print(f"{hit.score:.3f} {hit.path}")
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rclip import datadir, search
from rclip import query as queries
from rclip.errors import DamagedIndex, RclipError, StoreError, UsageError, plain_reason
from rclip.facts import NONE, Facts, moment
from rclip.matrix import APPEND_FROM_ROWS, Chosen, Matrix, folder_of
from rclip.meaning import Meaning, Meanings
from rclip.models import DEFAULT, Model
from rclip.store import Record, Store
from rclip.walk import SEPARATOR, Skip

if TYPE_CHECKING:
    import re
    from datetime import datetime

    from rclip.changes import Summary
    from rclip.check import Finding
    from rclip.columns import Columns
    from rclip.filters import Filters
    from rclip.index import Progress
    from rclip.prune import Pruned
    from rclip.query import Query
    from rclip.salvage import Rebuilt

PREPROCESSING = 1
"""The version of the way from a file to pixels (`image`). An index never mixes two of them."""

_MOST_IDS = 50_000
"""Up to so many photos in the folders asked for, only they are scored; above, all are, and the best looked up."""

_MOST_PATHS = 20_000
"""Up to so many paths that match a glob are listed; of more, those of the best photos are looked at."""

_MARGIN = 16  # looked up beyond what is asked for, to tell near ties apart
_MOST_TIES = 1000  # beyond which ties are left as they fall

StrPath = str | os.PathLike[str]


class Hit(NamedTuple):
    """A photo found. `path` is spelled as reached from the directory given.

    `score` is a cosine, or None where there was no query.
    """

    path: str
    score: float | None
    size_bytes: int
    mtime_ns: int
    facts: Facts = NONE

    @property
    def captured(self) -> "datetime":
        """When it was taken, on the camera's clock; the file's time here where that is not known."""
        if self.facts.captured_s is not None:
            return moment(self.facts.captured_s, self.facts.offset_min)
        from datetime import UTC, datetime, timedelta

        in_utc = datetime.fromtimestamp(0, UTC) + timedelta(seconds=self.mtime_ns // 1_000_000_000)
        try:
            return in_utc.astimezone()
        except (ValueError, OverflowError):  # beyond what the platform's clock knows
            return in_utc


class Stats(NamedTuple):
    """What the index holds of the library's folders, and what it takes on disk."""

    photos: int
    unreadable: dict[str, str]
    """Paths to reasons."""
    gone: int
    """Photos that are not there any more; their vectors are kept for when they return."""
    model: str
    index_path: str
    index_bytes: int
    weights_path: str
    weights_bytes: int


class _Folder(NamedTuple):
    """A directory as it is named in the index and by the user, both with a slash behind."""

    real: bytes
    spelled: bytes


class _Among(NamedTuple):
    """Which photos may be found, if they are there."""

    only: np.ndarray | None = None
    """Ids (N,) int64, ascending; None for those of any."""
    chosen: Chosen | None = None
    globs: Sequence["re.Pattern[str]"] = ()
    min_score: float = -np.inf

    def allows(self, relative_path: bytes) -> bool:
        return not self.globs or any(glob.fullmatch(os.fsdecode(relative_path)) for glob in self.globs)


class Library:
    """The photos below some directories (the current one when none is given) as one CLIP model sees them.

    Raises `UsageError` for what is no directory, `ModelError` for a model that is not to be had. Closing it, or using
    it as a context manager, closes the index.
    """

    def __init__(
        self,
        *directories: StrPath,
        model: str = DEFAULT,
        data_dir: StrPath | None = None,
        exclude_dirs: Iterable[StrPath] = (),
        include_hidden: bool = False,
        device: str | None = None,
        batch_size: int | None = None,
        max_image_megapixels: float | None = None,
        notify: Callable[[str], None] = warnings.warn,
    ):
        """`data_dir` None is `RCLIP_DATADIR` or the platform's; `notify` is told what a user should know, a line each.

        `device` and `batch_size` None are chosen by what the machine has, `max_image_megapixels` by its memory.
        """
        self._folders = [_resolve(directory) for directory in directories or ("",)]
        self._skip = Skip(frozenset(map(_folder_name, exclude_dirs)), include_hidden)
        self._device = device
        self._batch_size = batch_size
        self._max_pixels = round(max_image_megapixels * 1e6) if max_image_megapixels else None
        self._notify = notify
        self._data_dir = os.path.abspath(os.path.expanduser(data_dir or datadir.default()))
        self._model = Model(model, self._data_dir, notify)

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if "_store" in self.__dict__:
            self._store.close()
            del self._store

    @property
    def _index_path(self) -> str:
        return os.path.join(self._data_dir, self._model.key + ".db")

    @cached_property
    def _store(self) -> Store:
        return Store(self._index_path, self._model.key, PREPROCESSING)

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

    def rebuild(self) -> "Rebuilt":
        """Sets the model's index aside and makes it anew from what can be read of it, for all folders.

        Raises `StoreError` where there is no index, or another run is at work.
        """
        from rclip.salvage import rebuild

        self.close()
        rebuilt = rebuild(self._index_path, self._model.key, PREPROCESSING)
        datadir.delete_folder(folder_of(self._index_path))
        return rebuilt

    # --- update ------------------------------------------------------------------------------------------------------

    def update(self, progress: "Progress | None" = None, summary: "Summary | None" = None) -> "Summary":
        """Looks at what is new or changed on disk and forgets nothing that may still be there.

        `progress(done, total)` is called now and then while files are read. `summary` is filled in as the work is
        stored, so that it tells how far an interrupted run came.
        """
        from rclip import index
        from rclip.changes import Summary

        summary = Summary() if summary is None else summary
        for kept in (self._data_dir, folder_of(self._index_path), self._model.folder):
            datadir.sweep(kept)
        options = index.Options(self._skip, self._device, self._batch_size, self._max_pixels)
        for folder in self._walked:
            index.update(self._store, self._model, folder, options, summary, progress or (lambda done, total: None))
        return summary

    def prepare_search(self) -> None:
        """Writes what makes a search quick, where that is behind the index; a search else does so itself, if it can.

        Raises `StoreError` where it cannot be written.
        """
        if os.path.exists(self._index_path):
            matrix = Matrix(self._store)
            matrix.catch_up()
            if matrix.rows:
                self._caught_up_columns(matrix)

    # --- search ------------------------------------------------------------------------------------------------------

    def search(self, query: "str | Query | None", top: int = 10, filters: "Filters | None" = None) -> list[Hit]:
        """The photos most like `query`, best first: words, or the path of a picture that starts with `/`, `./`, `~`.

        `rclip.query` has all that a query may be. Only what has been indexed is found, and never a picture that was
        asked with. Without a query those that pass the `filters` are found, newest first, and no model is loaded.
        Raises `UsageError` for an empty query and for what is no picture.
        """
        if query is None:
            return self._newest(top, filters)
        asked = queries.parse(query) if isinstance(query, str) else query
        found = next(self.search_all([[asked]], top, filters))
        if isinstance(found, RclipError):
            raise found
        return found

    def search_all(
        self, blocks: "Iterable[Sequence[Query]]", top: int = 10, filters: "Filters | None" = None
    ) -> "Iterator[list[Hit] | RclipError]":
        """What `search` finds, or would raise, for one query after the other.

        The texts of a block are encoded together; the index is looked at as it was when the first block came.
        """
        _check_top(top)
        if not self.has_photos():
            for block in blocks:
                yield from ([] for _ in block)
            return
        meanings = Meanings(self._model, self._store, self._device, self._max_pixels, self._notify)
        matrix = self._caught_up_matrix()
        among = self._among(matrix, filters) if filters else None
        is_first = filters is None
        for block in blocks:
            for meaning in meanings.of(block):
                if isinstance(meaning, RclipError):
                    yield meaning
                    continue
                with self._store.snapshot():
                    if among is None:
                        among = _Among(self._store.ids(self._ranges, _MOST_IDS))
                    must_be_asked = is_first and among.only is not None
                    ids, scores = matrix.scores(meaning.vector, among.only, among.chosen)
                    if must_be_asked and among.only is not None:
                        self._check_scored(len(ids), len(among.only))
                    hits = self._best(ids, scores, meaning, top, among, must_be_asked)
                is_first = False
                yield hits

    def has_photos(self) -> bool:
        """Whether anything is indexed in these directories, and there."""
        return os.path.exists(self._index_path) and not self._is_empty()

    def _is_empty(self) -> bool:
        """Whether nothing has been indexed below the folders."""
        is_empty = self._store.ids(self._ranges, most=0) is not None
        if is_empty:
            self._check_counts()
        return is_empty

    def _check_counts(self) -> None:
        self._store.check_counts(self._ranges, with_table=self._store.last_id() < APPEND_FROM_ROWS)

    def _check_scored(self, scored: int, asked: int) -> None:
        """Raises `DamagedIndex` where a photo has silently dropped out of a part of the index.

        Where there are very many, that would take longer than the query.
        """
        self._check_counts()
        unreadable = sum(len(self._store.failures(folder)) for folder in self._ranges)
        if scored + unreadable != asked:
            raise self._store.damage()

    def _caught_up_matrix(self) -> Matrix:
        """What cannot be written is said, and done without."""
        matrix = Matrix(self._store)
        try:
            matrix.catch_up()
        except DamagedIndex:
            raise
        except StoreError as error:
            self._notify(str(error))
        return matrix

    def _best(
        self,
        ids: np.ndarray,
        scores: np.ndarray,
        meaning: Meaning,
        top: int,
        among: _Among,
        must_be_asked: bool,
    ) -> list[Hit]:
        """Looks up the best, and ever more of them until the exact scores of enough hits leave no doubt.

        Ids may belong to photos that are skipped, and, unless they `must_be_asked` for, to those that are gone or
        elsewhere; nearly always one round is enough.
        """
        count = top + _MARGIN
        while True:
            rows = search.top_k(scores, count)
            found = self._store.records(ids[rows].tolist())
            if must_be_asked and not all(record and any(self._containing(record.path)) for record in found):
                raise self._store.damage()
            exact = [
                (search.exact_cosine(record.vector, meaning.vector), record)
                for record in found
                if record and self._is_asked(record.path, among) and record.path not in meaning.pictures
            ]
            best = sorted((hit for hit in exact if hit[0] >= among.min_score), key=lambda hit: -hit[0])[:top]
            if count >= len(ids):
                return self._hits(best)
            rest_is_below = scores[rows[-1]] + search.ERROR
            is_settled = len(best) == top and (best[-1][0] >= rest_is_below or count > top + _MOST_TIES)
            if is_settled or rest_is_below < among.min_score:
                return self._hits(best)
            count *= 4

    def _newest(self, top: int, filters: "Filters | None") -> list[Hit]:
        """Those that pass the filters, the one taken last first."""
        from rclip.filters import Filters

        filters = filters or Filters()
        _check_top(top)
        if filters.min_score is not None:
            raise UsageError("--min-score needs a query: without one nothing is scored")
        if not self.has_photos():
            return []
        matrix = self._caught_up_matrix()
        among = self._among(matrix, filters)
        columns = self._caught_up_columns(matrix)
        ids = columns.newest_first(among.chosen or columns.chosen(filters), among.only)
        found: list[Record] = []
        start, count = 0, top + _MARGIN
        while len(found) < top and start < len(ids):
            records = self._store.records(ids[start : start + count].tolist())
            found += (record for record in records if record and self._is_asked(record.path, among))
            start, count = start + count, 4 * count
        return self._hits([(None, record) for record in found[:top]])

    def _hits(self, found: "Sequence[tuple[float | None, Record]]") -> list[Hit]:
        facts = self._store.facts([record.id for _, record in found])
        return [
            Hit(self._spell(record.path), score, record.size_bytes, record.mtime_ns, known)
            for (score, record), known in zip(found, facts, strict=True)
        ]

    # --- filters -----------------------------------------------------------------------------------------------------

    def _among(self, matrix: Matrix, filters: "Filters | None") -> _Among:
        """What may be found in these directories."""
        if filters is None:
            return _Among(self._store.ids(self._ranges, _MOST_IDS))
        from rclip.filters import glob_regex

        globs = [glob_regex(glob) for glob in filters.paths]
        only = self._ids_by_path(filters.paths, globs) if globs else self._store.ids(self._ranges, _MOST_IDS)
        chosen = self._caught_up_columns(matrix).chosen(filters) if filters.need_columns else None
        lowest = -np.inf if filters.min_score is None else filters.min_score
        return _Among(only, chosen, globs, lowest)

    def _caught_up_columns(self, matrix: Matrix) -> "Columns":
        """What cannot be written is said, and done without."""
        from rclip.columns import Columns

        if not self._store.has_facts:
            raise StoreError(
                f"{self._index_path} was made by an older rclip, which kept no dates and places, and may not be "
                "written: mend its permissions, or search without filters"
            )
        columns = Columns(self._store, matrix)
        try:
            columns.catch_up()
        except StoreError as error:
            self._notify(str(error))
        return columns

    def _ids_by_path(self, paths: Iterable[str], globs: Sequence["re.Pattern[str]"]) -> np.ndarray | None:
        """Ids (N,) int64, ascending, of the photos that match one of the globs; None when many do.

        Where many match, those that are looked up will match, too, often enough.
        """
        from rclip.filters import literal_start, longest_literal, sqlite_glob, sqlite_literal

        found: dict[int, bytes] = {}
        for folder in {folder.real for folder in self._folders}:
            for path in paths:
                start = folder + os.fsencode(literal_start(path))
                start = folder if start.endswith(b"\xff") else start
                glob = sqlite_literal(os.fsdecode(folder)) + sqlite_glob(path)
                part = os.fsencode(longest_literal(path))
                like = self._store.paths_like(start, part, os.fsencode(glob), _MOST_PATHS)
                if like is None:
                    return None
                found |= like
        among = _Among(globs=globs)
        return np.array(sorted(id_ for id_, path in found.items() if self._is_asked(path, among)), np.int64)

    def _is_asked(self, path: bytes, among: _Among) -> bool:
        """Whether a walk with these folders and options would come to the photo, and the globs allow it."""
        relative = (path[len(folder.real) :] for folder in self._containing(path))
        return any(not self._skip.path(inside) and among.allows(inside) for inside in relative)

    def _containing(self, path: bytes) -> Iterator[_Folder]:
        return (folder for folder in self._folders if path.startswith(folder.real))

    def _spell(self, path: bytes) -> str:
        """As reached from the first directory given that it lies in; never like an option."""
        folder = next(self._containing(path))
        spelled = folder.spelled + path[len(folder.real) :]
        return os.fsdecode(b"./" + spelled if spelled.startswith(b"-") else spelled)

    # --- stats -------------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        known = gone = 0
        unreadable: dict[str, str] = {}
        if os.path.exists(self._index_path):
            for folder in self._ranges:
                there, away = self._store.count(folder)
                known, gone = known + there, gone + away
                unreadable |= {self._spell(path): why for path, why in self._store.failures(folder).items()}
        return Stats(
            photos=known - len(unreadable),
            unreadable=unreadable,
            gone=gone,
            model=self._model.name,
            index_path=self._index_path,
            index_bytes=self._index_bytes(),
            weights_path=self._model.folder,
            weights_bytes=datadir.folder_bytes(self._model.folder),
        )

    def _index_bytes(self) -> int:
        """What the index takes on disk; SQLite's `-shm` is there only while it is open."""
        database = sum(_size_bytes(self._index_path + suffix) for suffix in ("", "-wal"))
        return database + datadir.folder_bytes(folder_of(self._index_path))

    # --- upkeep ------------------------------------------------------------------------------------------------------

    def check(self) -> "Iterator[Finding]":
        """What is found of each part of the whole index, whatever the directories, and of the model's weights.

        Raises `StoreError` when the index cannot be opened.
        """
        from rclip import check

        yield check.check_weights(self._model)
        if os.path.exists(self._index_path):
            yield from check.check_index(self._store, self._model.dimensions)
        else:
            yield check.Finding("index", "none yet", [])

    def prune(self, older_than_s: float, with_away: bool = False) -> "Pruned":
        """Forgets files below the directories that have been gone for so long, and gives their space back to the disk.

        What an empty folder held, whose drive may only be unplugged, is forgotten only `with_away`, and then also what
        no run has looked for and is not there. Raises `StoreError`.
        """
        from rclip import prune

        if not os.path.exists(self._index_path):
            return prune.NOTHING
        before_bytes = self._index_bytes()
        pruned = prune.forget(self._store, self._ranges, older_than_s, with_away)
        blocked_by = prune.give_space_back(self._store)
        freed_bytes = max(before_bytes - self._index_bytes(), 0)
        return pruned._replace(freed_bytes=freed_bytes, blocked_by=blocked_by)


def _check_top(top: int) -> None:
    if top < 1:
        raise UsageError(f"top must be 1 or more, not {top}")


def _folder_name(name: StrPath) -> bytes:
    """One that may be compared with names in a listing, as typed with the shell's help: `cats/`."""
    plain = os.fsencode(name).rstrip(SEPARATOR)
    if not plain or SEPARATOR in plain:
        raise UsageError(f"--exclude-dir takes the name of a folder, not a path: {os.fsdecode(name)}")
    return plain


def _resolve(directory: StrPath) -> _Folder:
    spelled = os.fsencode(os.path.expanduser(directory))
    try:
        real = os.path.realpath(spelled)
    except (OSError, ValueError) as error:  # the current folder was deleted; a NUL
        raise UsageError(f"cannot tell where {os.fsdecode(spelled) or '.'} is: {plain_reason(error)}") from error
    if not os.path.isdir(real):
        what = "is a file, not a folder" if os.path.exists(real) else "does not exist"
        raise UsageError(f"{os.fsdecode(spelled)} {what}")
    return _Folder(_with_slash(real), _with_slash(spelled) if spelled else b"")


def _with_slash(path: bytes) -> bytes:
    return path if path.endswith(SEPARATOR) else path + SEPARATOR


def _size_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
