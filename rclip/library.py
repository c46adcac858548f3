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

from rclip import datadir, places
from rclip import query as queries
from rclip.errors import RclipError, ReadOnlyIndex, StoreError, UsageError
from rclip.facts import NONE, Facts, moment
from rclip.meaning import Meanings
from rclip.models import DEFAULT, Model
from rclip.shelf import Found, Shelf, merged
from rclip.walk import SEPARATOR, Skip

if TYPE_CHECKING:
    from datetime import datetime

    from rclip.changes import Summary
    from rclip.check import Finding
    from rclip.filters import Filters
    from rclip.index import Progress
    from rclip.prune import Pruned
    from rclip.query import Query
    from rclip.salvage import Rebuilt

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
        self._folders = [places.resolve(os.fsencode(os.path.expanduser(each))) for each in directories or ("",)]
        skip = Skip(frozenset(map(_folder_name, exclude_dirs)), include_hidden)
        self._device = device
        self._batch_size = batch_size
        self._max_pixels = round(max_image_megapixels * 1e6) if max_image_megapixels else None
        self._notify = notify
        own = datadir.own(data_dir)
        self._model = Model(model, own, notify)
        by_place: dict[places.Place, list[places.Folder]] = {}
        for folder in self._folders:
            by_place.setdefault(places.place_of(folder.real, own), []).append(folder)
        self._shelves = [Shelf(place, own, folders, skip, self._model, notify) for place, folders in by_place.items()]

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for shelf in self._shelves:
            shelf.close()

    # --- update ------------------------------------------------------------------------------------------------------

    def update(self, progress: "Progress | None" = None, summary: "Summary | None" = None) -> "Summary":
        """Looks at what is new or changed on disk and forgets nothing that may still be there.

        `progress(done, total)` is called now and then while files are read. `summary` is filled in as the work is
        stored, so that it tells how far an interrupted run came. Raises `StoreError`, when all else is done, where a
        directory cannot be listed or an index is not to be used: `ReadOnlyIndex` where one that lies with its photos
        may not be written, and these have changed.
        """
        from rclip.changes import Summary
        from rclip.index import Options

        summary = Summary() if summary is None else summary
        options = Options(device=self._device, batch_size=self._batch_size, max_pixels=self._max_pixels)
        datadir.sweep(self._model.folder)
        errors: list[StoreError] = []
        for shelf in self._shelves:
            try:
                errors += shelf.update(options, summary, progress or (lambda done, total: None))
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
        for shelf in self._shelves:
            shelf.prepare_search()

    def rebuild(self) -> "Iterator[Rebuilt]":
        """Sets the model's index aside and makes it anew from what can be read of it, for all folders.

        Where the directories have several, each when it is asked for the next. Raises `StoreError` where there is
        none, before anything is done, or another run is at work.
        """
        for shelf in self._shelves:
            shelf.check_is_there()
        for shelf in self._shelves:
            yield shelf.rebuild()

    # --- search ------------------------------------------------------------------------------------------------------

    def search(self, query: "str | Query | None", top: int | None = 10, filters: "Filters | None" = None) -> list[Hit]:
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
        self, blocks: "Iterable[Sequence[Query | RclipError]]", top: int | None = 10, filters: "Filters | None" = None
    ) -> "Iterator[list[Hit] | RclipError]":
        """What `search` finds, or would raise, for one query after the other.

        An error in place of a query is passed on. The queries of a block are encoded, and looked for, together.
        """
        top = _checked_top(top)
        self._warn_unless_adopted()
        shelves = [shelf for shelf in self._shelves if shelf.has_photos()]
        if not shelves:
            for block in blocks:
                yield from (asked if isinstance(asked, RclipError) else [] for asked in block)
            return
        stores = [shelf.store for shelf in shelves]
        searchers = [shelf.searcher(filters) for shelf in shelves]
        with closing(Meanings(self._model, stores, self._device, self._max_pixels, self._notify)) as meanings:
            for block in blocks:
                meant = meanings.of(block)
                sought = [meaning for meaning in meant if not isinstance(meaning, RclipError)]
                found = zip(*(find(sought, top) for find in searchers), strict=True)
                for meaning in meant:
                    if isinstance(meaning, RclipError):
                        yield meaning
                    else:
                        yield self._hits(merged(next(found), top, _worst_last))

    def _warn_unless_adopted(self) -> None:
        for shelf in self._shelves:
            shelf.warn_unless_adopted()

    def has_photos(self) -> bool:
        """Whether anything is indexed in these directories, and there."""
        return any(shelf.has_photos() for shelf in self._shelves)

    def _newest(self, top: int | None, filters: "Filters | None") -> list[Hit]:
        """Those that pass the filters, the one taken last first."""
        from rclip.filters import Filters

        filters, top = filters or Filters(), _checked_top(top)
        if filters.min_score is not None or filters.is_relevant:
            raise UsageError("--min-score and --relevant need a query: without one nothing is scored")
        self._warn_unless_adopted()
        parts = [shelf.newest(top, filters) for shelf in self._shelves if shelf.has_photos()]
        return self._hits(merged(parts, top, self._oldest_last)) if parts else []

    def _oldest_last(self, found: Found) -> float:
        """By the time that a camera's clock, or one here, had shown."""
        from datetime import UTC

        return -self._hit(found).captured.replace(tzinfo=UTC).timestamp()

    def _hits(self, several: Sequence[Found]) -> list[Hit]:
        return [self._hit(found) for found in several]

    def _hit(self, found: Found) -> Hit:
        record = found.record
        return Hit(self._spell(record.path), found.score, record.size_bytes, record.mtime_ns, found.facts)

    def _containing(self, path: bytes) -> Iterator[places.Folder]:
        return (folder for folder in self._folders if path.startswith(folder.real))

    def _spell(self, path: bytes) -> str:
        """As reached from the first directory given that it lies in; never like an option."""
        folder = next(self._containing(path))
        spelled = folder.spelled + path[len(folder.real) :]
        return os.fsdecode(b"./" + spelled if spelled.startswith(b"-") else spelled)

    # --- stats -------------------------------------------------------------------------------------------------------

    def stats(self) -> Stats:
        self._warn_unless_adopted()
        photos = gone = 0
        unreadable: dict[str, str] = {}
        for shelf in self._shelves:
            count = shelf.count()
            photos, gone = photos + count.photos, gone + count.gone
            unreadable |= {self._spell(path): why for path, why in count.unreadable.items()}
        return Stats(
            photos=photos,
            unreadable=unreadable,
            gone=gone,
            model=self._model.name,
            indexes={shelf.index_path: shelf.index_bytes() for shelf in self._shelves},
            weights_path=self._model.folder,
            weights_bytes=datadir.folder_bytes(self._model.folder),
        )

    # --- upkeep ------------------------------------------------------------------------------------------------------

    def check(self) -> "Iterator[Finding]":
        """What is found of each part of the whole index, whatever the directories, and of the model's weights.

        Raises `StoreError` when the index cannot be opened.
        """
        from rclip.check import check_weights

        self._warn_unless_adopted()
        yield check_weights(self._model)
        for shelf in self._shelves:
            for finding in shelf.check():
                is_one_of_several = len(self._shelves) > 1
                yield (
                    finding._replace(summary=f"{finding.summary} ({shelf.index_path})")
                    if is_one_of_several
                    else finding
                )

    def prune(self, older_than_s: float, with_away: bool = False) -> "Pruned":
        """Forgets files below the directories that have been gone for so long, and gives their space back to the disk.

        What an empty folder held, whose drive may only be unplugged, is forgotten only `with_away`, and then also what
        no run has looked for and is not there. Raises `StoreError`.
        """
        from rclip.prune import together

        return together(shelf.prune(older_than_s, with_away) for shelf in self._shelves)


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


def _worst_last(found: Found) -> float:
    assert found.score is not None
    return -found.score
