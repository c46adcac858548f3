"""The photos of some folders: bring the index up to date, search it, say what is in it.

from rclip import Library

photos = Library("~/Pictures")
photos.update()
for hit in photos.search("a red kite", top=5):
    print(f"{hit.score:.3f} {hit.path}")
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from rclip import datadir
from rclip.errors import RclipError, ReadOnlyIndex, StoreError, UsageError
from rclip.files import SEPARATOR, IgnoreRules
from rclip.index import location
from rclip.index.photo_index import PhotoIndex
from rclip.index.scope import Scope
from rclip.models import DEFAULT, Model
from rclip.photo.metadata import NO_METADATA, PhotoMetadata, captured_at
from rclip.search import query as queries
from rclip.search.query_encoder import QueryEncoder
from rclip.search.searcher import ScoredPhoto, Searcher, merged

if TYPE_CHECKING:
    from datetime import datetime

    from rclip.filters import Filters
    from rclip.indexing.summary import Summary
    from rclip.indexing.update import Progress
    from rclip.maintenance.check import Finding
    from rclip.maintenance.prune import Pruned
    from rclip.maintenance.recovery import Rebuilt
    from rclip.search.query import Query

StrPath = str | os.PathLike[str]


class Hit(NamedTuple):
    """A photo found. `path` is spelled as reached from the directory given.

    `score` is a cosine, or None where there was no query.
    """

    path: str
    score: float | None
    size_bytes: int
    mtime_ns: int
    metadata: PhotoMetadata = NO_METADATA

    @property
    def captured(self) -> "datetime":
        """When it was taken, on the camera's clock; the file's time here where that is not known."""
        if self.metadata.captured_s is not None:
            return captured_at(self.metadata.captured_s, self.metadata.offset_min)
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
    missing: int
    """Photos that are not there any more; their vectors are kept for when they return."""
    model: str
    indexes: dict[str, int]
    """Paths of the directories' indexes to the bytes they take. Each counts its photos for itself."""
    weights_path: str
    weights_bytes: int

    @property
    def index_bytes(self) -> int:
        return sum(self.indexes.values())


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
        self._folders = [location.resolve(os.fsencode(os.path.expanduser(each))) for each in directories or ("",)]
        rules = IgnoreRules(frozenset(map(_folder_name, exclude_dirs)), include_hidden)
        self._device = device
        self._batch_size = batch_size
        self._max_pixels = round(max_image_megapixels * 1e6) if max_image_megapixels else None
        self._notify = notify
        default_dir = datadir.own(data_dir)
        self._model = Model(model, default_dir, notify)
        by_location: dict[location.IndexLocation, list[location.Folder]] = {}
        for folder in self._folders:
            by_location.setdefault(location.location_of(folder.real, default_dir), []).append(folder)
        self._parts = [
            (PhotoIndex(where, default_dir, self._model, notify), Scope(folders, rules))
            for where, folders in by_location.items()
        ]
        """The indexes of the directories, each with those of them that it holds."""

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for index, _ in self._parts:
            index.close()

    def _searchers(self) -> list[Searcher]:
        """For each index that has photos in the directories."""
        searchers = (Searcher(index, scope) for index, scope in self._parts)
        return [searcher for searcher in searchers if searcher.has_photos()]

    # --- update ------------------------------------------------------------------------------------------------------

    def update(self, progress: "Progress | None" = None, summary: "Summary | None" = None) -> "Summary":
        """Looks at what is new or changed on disk and forgets nothing that may still be there.

        `progress(done, total)` is called now and then while files are read. `summary` is filled in as the work is
        stored, so that it tells how far an interrupted run came. Raises `StoreError`, when all else is done, where a
        directory cannot be listed or an index is not to be used: `ReadOnlyIndex` where one that lies with its photos
        may not be written, and these have changed.
        """
        from rclip.indexing.summary import Summary
        from rclip.indexing.update import UpdateOptions, update_index

        summary = Summary() if summary is None else summary
        options = UpdateOptions(device=self._device, batch_size=self._batch_size, max_pixels=self._max_pixels)
        datadir.sweep(self._model.folder)
        errors: list[StoreError] = []
        for index, scope in self._parts:
            try:
                errors += update_index(index, scope, options, summary, progress or (lambda done, total: None))
            except StoreError as error:
                errors.append(error)
        self._raise_worst(errors)
        return summary

    def _raise_worst(self, errors: "Iterable[StoreError]") -> None:
        """The others are told. An index that may only be read is the least of them: it can be searched as it is."""
        distinct = {str(error): error for error in errors}.values()
        if not distinct:
            return
        *others, worst = sorted(distinct, key=lambda error: not isinstance(error, ReadOnlyIndex))
        for error in others:
            self._notify(str(error))
        raise worst

    def prepare_search(self) -> None:
        """Writes what makes a search quick, where that is behind the index; a search else does so itself, if it can.

        Raises `StoreError` where it cannot be written.
        """
        for index, _ in self._parts:
            index.write_caches()

    def rebuild(self) -> "Iterator[Rebuilt]":
        """Sets the model's index aside and makes it anew from what can be read of it, for all folders.

        Where the directories have several, each when it is asked for the next. Raises `StoreError` where there is
        none, before anything is done, or another run is at work.
        """
        from rclip.maintenance import recovery

        for index, _ in self._parts:
            recovery.require_existing(index)
        for index, _ in self._parts:
            yield recovery.rebuild_index(index)

    # --- search ------------------------------------------------------------------------------------------------------

    def search(self, query: "str | Query | None", top: int | None = 10, filters: "Filters | None" = None) -> list[Hit]:
        """The photos most like `query`, best first: words, or the path of a picture that starts with `/`, `./`, `~`.

        `rclip.search.query` has all that a query may be. Only what has been indexed is found, and never a picture that
        was asked with. Without a query those that pass the `filters` are found, newest first, and no model is loaded.
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
        self, blocks: "Iterable[Sequence[Query | RclipError]]", top: int | None = 10, filters: "Filters | None" = None
    ) -> "Iterator[list[Hit] | RclipError]":
        """What `search` finds, or would raise, for one query after the other.

        An error in place of a query is passed on. The queries of a block are encoded, and looked for, together.
        """
        top = _checked_top(top)
        self._warn_unless_adopted()
        searchers = self._searchers()
        if not searchers:
            for block in blocks:
                yield from (asked if isinstance(asked, RclipError) else [] for asked in block)
            return
        stores = [searcher.store for searcher in searchers]
        finders = [searcher.search(filters) for searcher in searchers]
        with closing(QueryEncoder(self._model, stores, self._device, self._max_pixels, self._notify)) as encoder:
            for block in blocks:
                encoded = encoder.encode(block)
                queries_ = [query for query in encoded if not isinstance(query, RclipError)]
                found = zip(*(find(queries_, top) for find in finders), strict=True)
                for query in encoded:
                    if isinstance(query, RclipError):
                        yield query
                    else:
                        yield self._hits(merged(next(found), top, _worst_last))

    def _warn_unless_adopted(self) -> None:
        for index, _ in self._parts:
            index.warn_unless_adopted()

    def has_photos(self) -> bool:
        """Whether anything is indexed in these directories, and there."""
        return bool(self._searchers())

    def _newest(self, top: int | None, filters: "Filters | None") -> list[Hit]:
        """Those that pass the filters, the one taken last first."""
        from rclip.filters import Filters

        filters, top = filters or Filters(), _checked_top(top)
        if filters.min_score is not None or filters.is_relevant:
            raise UsageError("--min-score and --relevant need a query: without one nothing is scored")
        self._warn_unless_adopted()
        parts = [searcher.newest(top, filters) for searcher in self._searchers()]
        return self._hits(merged(parts, top, self._oldest_last)) if parts else []

    def _oldest_last(self, found: ScoredPhoto) -> float:
        """By the time that a camera's clock, or one here, had shown."""
        from datetime import UTC

        return -self._hit(found).captured.replace(tzinfo=UTC).timestamp()

    def _hits(self, several: Sequence[ScoredPhoto]) -> list[Hit]:
        return [self._hit(found) for found in several]

    def _hit(self, found: ScoredPhoto) -> Hit:
        row = found.row
        return Hit(self._spell(row.path), found.score, row.size_bytes, row.mtime_ns, found.metadata)

    def _containing(self, path: bytes) -> Iterator[location.Folder]:
        return (folder for folder in self._folders if path.startswith(folder.real))

    def _spell(self, path: bytes) -> str:
        """As reached from the first directory given that it lies in; never like an option."""
        folder = next(self._containing(path))
        spelled = folder.spelled + path[len(folder.real) :]
        return os.fsdecode(b"./" + spelled if spelled.startswith(b"-") else spelled)

    # --- stats -------------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        self._warn_unless_adopted()
        photos = missing = 0
        unreadable: dict[str, str] = {}
        for index, scope in self._parts:
            counts = index.counts(scope.ranges())
            photos, missing = photos + counts.photos, missing + counts.missing
            unreadable |= {self._spell(path): why for path, why in counts.unreadable.items()}
        return Stats(
            photos=photos,
            unreadable=unreadable,
            missing=missing,
            model=self._model.name,
            indexes={index.path: index.size_bytes() for index, _ in self._parts},
            weights_path=self._model.folder,
            weights_bytes=datadir.folder_bytes(self._model.folder),
        )

    # --- upkeep ------------------------------------------------------------------------------------------------------

    def check(self) -> "Iterator[Finding]":
        """What is found of each part of the whole index, whatever the directories, and of the model's weights.

        Raises `StoreError` when the index cannot be opened.
        """
        from rclip.maintenance.check import check_index, check_weights

        self._warn_unless_adopted()
        yield check_weights(self._model)
        for index, _ in self._parts:
            for finding in check_index(index):
                is_one_of_several = len(self._parts) > 1
                yield finding._replace(summary=f"{finding.summary} ({index.path})") if is_one_of_several else finding

    def prune(self, older_than_s: float, with_offline: bool = False) -> "Pruned":
        """Forgets files below the directories that have been gone for so long, and gives their space back to the disk.

        What an empty folder held, whose drive may only be unplugged, is forgotten only `with_offline`, and then also
        what no run has looked for and is not there. Raises `StoreError`.
        """
        from rclip.maintenance.prune import prune_index, together

        return together(prune_index(index, scope.ranges(), older_than_s, with_offline) for index, scope in self._parts)


def _folder_name(name: StrPath) -> bytes:
    """One that may be compared with names in a listing, as typed with the shell's help: `cats/`."""
    plain = os.fsencode(name).rstrip(SEPARATOR)
    if not plain or SEPARATOR in plain:
        raise UsageError(f"--exclude-dir takes the name of a folder, not a path: {os.fsdecode(name)}")
    return plain


def _checked_top(top: int | None) -> int:
    """None asks for all there are."""
    if top is None:
        return sys.maxsize
    if top < 1:
        raise UsageError(f"top must be 1 or more, not {top}")
    return top


def _worst_last(found: ScoredPhoto) -> float:
    assert found.score is not None
    return -found.score
