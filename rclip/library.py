"""The photos of some folders: bring the index up to date, search it, say what is in it.

from rclip import Library

photos = Library("~/Pictures")
photos.update()
for hit in photos.search("a red kite", top=5):
    print(f"{hit.score:.3f} {hit.path}")
"""

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from rclip import argument_checks, datadir
from rclip.argument_checks import StrPath
from rclip.errors import NotAFolderName, RclipError, UnknownPhoto, UsageError
from rclip.files import SEPARATOR, FileStat, spellings
from rclip.ignoring import IgnoreRules
from rclip.index import location
from rclip.index.photo_index import PREPROCESSING_VERSION, PhotoIndex
from rclip.index.scope import Scope
from rclip.index.text_vectors import TextVectors
from rclip.models import DEFAULT, Model
from rclip.search.combined import CombinedSearch
from rclip.search.folding import COPIES
from rclip.search.hits import Hit, Page, hit_of, spelled
from rclip.search.query import AnyQuery, Picture, PictureData, PictureObject, Query
from rclip.search.query_encoder import QueryEncoder, unreadable_reported
from rclip.search.selection import is_excluded_of

if TYPE_CHECKING:
    import numpy as np

    from rclip.filters import Filters
    from rclip.indexing.progress import Progress
    from rclip.indexing.summary import Summary
    from rclip.maintenance.check import Finding
    from rclip.maintenance.prune import Pruned
    from rclip.maintenance.recovery import Rebuilt
    from rclip.search.all_photos import Vectors
    from rclip.search.duplicates import Group
    from rclip.search.export import ModelIdentity
    from rclip.search.facets import Facets
    from rclip.search.push import Pushed
    from rclip.search.statistics import Stats
    from rclip.thumbnails import Thumbnails
    from rclip.vectordb import ModelStamp

__all__ = ["Hit", "Library"]

_BLOCK = 64
"""Queries encoded, and looked for, together."""


class Library:
    """The photos below some directories (the current one when none is given) as one CLIP model sees them.

    Any number of threads may use it at once. Searches run side by side, also during an update; updates and whatever
    else writes take turns. Between searches the model, the vectors and the texts asked for stay loaded, and each search
    sees what any process had stored when it began.

    Raises `UsageError` for a path that is not a directory, `ModelError` for an unavailable model, and TypeError for
    values of a wrong type. Closing it, or using it as a context manager, closes the index and ends what it has started.
    """

    def __init__(  # noqa: PLR0913 - all by name, and few are given
        self,
        *directories: StrPath,
        model: StrPath = DEFAULT,
        data_dir: StrPath | None = None,
        exclude_dirs: Iterable[StrPath] = (),
        exclude: Iterable[str] = (),
        include_hidden: bool = False,
        include_videos: bool = True,
        device: str | None = None,
        batch_size: int | None = None,
        max_image_megapixels: float | None = None,
        language: str | None = None,
        approximate_from: int | None = None,
        notify: Callable[[str | RclipError], None] | None = None,
    ):
        """`data_dir` None is `RCLIP_DATADIR` or the platform's; `notify` is given a line, or an error, for the user.

        Where it is None, that becomes a warning.

        `exclude` has lines as of a `.rclipignore` in each of the directories, and they count before those of such
        files. One that starts with `/` or `~/` is a whole path.

        `language` "any" encodes queries with a text model for many languages that answers in the space of OpenAI's
        ViT-B/32; or the folder of another text model for the model's space.

        Without `include_videos`, films are neither indexed nor found.

        From `approximate_from` photos on, an index is searched approximately, which needs the extra `faiss` and that
        `prepare_search` has been called since; None is never.

        `device` and `batch_size` None are chosen by what the machine has, `max_image_megapixels` by its memory.
        """
        named = [argument_checks.path("a directory", each) for each in directories or ("",)]
        self._folders = [location.resolve(os.fsencode(folder)) for folder in named]
        rules = _rules(exclude_dirs, exclude, include_hidden)
        self._include_videos = include_videos
        self._device = None if device is None else argument_checks.text("device", device)
        self._batch_size = None if batch_size is None else argument_checks.count("batch_size", batch_size)
        megapixels = argument_checks.number("max_image_megapixels", max_image_megapixels or 0)
        self._max_pixels = _pixels_in(megapixels) if megapixels else None
        self._notify = notify = _warn if notify is None else argument_checks.function("notify", notify)
        default_dir = datadir.own(None if data_dir is None else argument_checks.path("data_dir", data_dir))
        if approximate_from is not None:
            argument_checks.count("approximate_from", approximate_from)
        if not isinstance(model, str | os.PathLike):
            raise argument_checks.wrong_type("model", "a name or a path", model)
        language = None if language is None else argument_checks.text("language", language)
        self._model = Model(os.fspath(model), default_dir, notify, language)
        self._parts = [
            (
                PhotoIndex(where, default_dir, self._model, notify, approximate_from),
                Scope(folders, rules, include_videos),
            )
            for where, folders in _by_location(self._folders, default_dir).items()
        ]
        """The indexes of the directories, each with those of them that it holds."""
        self._encoder = QueryEncoder(
            self._model, self._device, self._max_pixels, self._notify, TextVectors(default_dir)
        )
        self._combined = CombinedSearch(self._parts, self._folders, self._encoder)
        self._writers = threading.RLock()
        self._data_dir = default_dir
        self._made_thumbnails: Thumbnails | None = None
        self._thumbnails_lock = threading.Lock()

    @property
    def folders(self) -> list[str]:
        """The directories, absolute and without links."""
        return [os.fsdecode(folder.real).rstrip("/") or "/" for folder in self._folders]

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """What other threads are doing ends in its own time. A library that is used again opens itself again."""
        self._encoder.close()
        with self._thumbnails_lock:
            thumbnails, self._made_thumbnails = self._made_thumbnails, None
        if thumbnails:
            thumbnails.close()
        for index, _ in self._parts:
            index.close()

    def update(
        self,
        progress: "Callable[[Progress], None] | None" = None,
        summary: "Summary | None" = None,
        changed: Iterable[StrPath] | None = None,
        is_settled: Callable[[bytes, FileStat], bool] | None = None,
        cluster: str | None = None,
    ) -> "Summary":
        """Looks at what is new or changed on disk and forgets nothing that may still be there.

        `progress` is called now and then, in this thread. An exception that it raises ends the update, as does
        KeyboardInterrupt: what was stored until then stays, and the next update goes on from there. `summary` is filled
        in as the work is stored, so that it tells how far an interrupted update came.

        With `changed`, paths at which something has happened, only the folders around them are looked at. `is_settled`
        says of new and changed files, by path and stat, whether they are complete: others are left to a later update.

        With `cluster`, the address of a Dask scheduler, its workers read the photos; "local" is one in this process.

        Raises `MissingPackage`, `CannotReachCluster`, `ClusterLost` and `NoUsableWorker` for a cluster. Raises
        `StoreError`, when all else is done, where a directory cannot be listed or an index is not to be used:
        `ReadOnlyIndex` where one that lies with its photos may not be written, and these have changed.
        """
        from rclip.indexing import unread_videos
        from rclip.indexing.all_indexes import cluster_at, report_old_decoders, update_all
        from rclip.indexing.summary import Summary
        from rclip.indexing.update import UpdateOptions

        report = None if progress is None else argument_checks.function("progress", progress)
        summary = Summary() if summary is None else summary
        options = UpdateOptions(
            device=self._device,
            batch_size=self._batch_size,
            max_pixels=self._max_pixels,
            suffixes=unread_videos.suffixes(self._data_dir, self._include_videos),
            before_reading=partial(report_old_decoders, self._data_dir, self._notify),
        )
        if is_settled is not None:
            options = options._replace(is_settled=is_settled)
        around = None if changed is None else [os.fsencode(path) for path in argument_checks.paths("changed", changed)]
        address = None if cluster is None else argument_checks.text("cluster", cluster)
        with self._writers, cluster_at(address, self._notify) as opened:
            datadir.sweep(self._model.folder)
            options = options._replace(cluster=opened)
            update_all(self._parts, options, summary, report, around, self._notify)
        unread_videos.note_reported(summary, self._data_dir)
        return summary

    def prepare_search(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Brings the search caches up to date, as a search does itself where it can. Raises `StoreError`.

        No search does it for `approximate_from`: vectors are sorted into lists, which takes some minutes for a million.
        `progress` is called with how many are sorted, and of how many. Raises `MissingPackage` without FAISS.
        """
        from rclip.search.sample_queries import SAMPLE_QUERIES

        for index, _ in self._parts:
            index.write_caches()
            index.sort(lambda: self._encoder.encode_texts(SAMPLE_QUERIES), progress or (lambda done, total: None))

    def rebuild(self) -> "Iterator[Rebuilt]":
        """Sets the model's index aside and rebuilds it from the rows that can be read, for all folders.

        Where the directories have several, each when it is asked for the next. Raises `StoreError` where there is
        none, before anything is done, or another run is at work.
        """
        from rclip.maintenance import recovery

        yield from recovery.rebuild_all([index for index, _ in self._parts], self._writers)

    def search(
        self,
        query: AnyQuery | None,
        top: int | None = 10,
        filters: "Filters | None" = None,
        *,
        page: int = 1,
        sort: str | None = None,
        fold: float | None = COPIES,
        moments: int = 1,
    ) -> list[Hit]:
        """The photos most like `query`, best first: so many or, with `page`, so many after those of the pages before.

        It may be text, as on the command line (one term, or a path that starts with `/`, `./`, `../` or `~`), a path,
        a Pillow image, the bytes of a picture's file, a vector of the model's, or a `Query`. Only what has been
        indexed is found, and never the picture in a file that was asked with. Without a query those that pass the
        `filters` are found, newest first, and no model is loaded. `sort` is "score", "date" (newest first) or "path":
        the photos of a page in this order or, without a query, all photos before they are divided into pages.

        Exact copies, and files of one shot such as RAW and JPEG, are one hit with `copies`, of `top` in all. Where
        `fold` is less than 1, photos whose vectors have at least that cosine are so, too; None makes each a hit. A film
        is one hit, that of its best moment. With more `moments`, so many of them at most are hits, and each file is.

        Raises `UsageError` for an empty query and for what is no picture, TypeError for what is no query at all.
        """
        if query is None:
            checked = argument_checks.filters(filters), _checked_fold(fold)
            return self._combined.without_query(Page.of(top, page, sort), *checked)
        wanted: dict[str, Any] = {"page": page, "sort": sort, "fold": fold, "moments": moments}
        ((_, found),) = self.search_blocks([[Query.of(query)]], top, filters, **wanted)
        if isinstance(found, RclipError):
            raise found
        return found

    def search_many(
        self,
        queries: Iterable[AnyQuery],
        top: int | None = 10,
        filters: "Filters | None" = None,
        *,
        page: int = 1,
        sort: str | None = None,
        fold: float | None = COPIES,
        moments: int = 1,
    ) -> "Iterator[tuple[AnyQuery, list[Hit] | RclipError]]":
        """Each query, as it was given, with what `search` finds for it or, in place of hits, would raise.

        Takes some dozens of queries at a time, because it answers those together. `search_blocks` lets you say which.
        """
        wanted: dict[str, Any] = {"page": page, "sort": sort, "fold": fold, "moments": moments}
        rest = iter(_several("queries", queries))
        while block := list(islice(rest, _BLOCK)):
            asked = [_query_or_error(query) for query in block]
            answers = self.search_blocks([asked], top, filters, **wanted)
            yield from ((query, found) for query, (_, found) in zip(block, answers, strict=True))

    def search_blocks(
        self,
        blocks: "Iterable[Sequence[Query | RclipError]]",
        top: int | None = 10,
        filters: "Filters | None" = None,
        *,
        page: int = 1,
        sort: str | None = None,
        fold: float | None = COPIES,
        moments: int = 1,
    ) -> "Iterator[tuple[Query | RclipError, list[Hit] | RclipError]]":
        """The same for blocks of queries that come one after the other, from a pipe for example.

        A block is answered before the next is asked for. An error in place of a query is passed on.
        """
        wanted, checked = Page.of(top, page, sort), (argument_checks.filters(filters), _checked_fold(fold))
        yield from self._combined.answers(blocks, wanted, *checked, argument_checks.count("moments", moments))

    def version(self) -> tuple[int, ...] | None:
        """Differs from an earlier one where anything may have been stored since; None while somebody stores something.

        As long as it is the same, a search finds the same.
        """
        return self._combined.version()

    # --- single photos -----------------------------------------------------------------------------------------------

    def photo(self, photo_id: str) -> Hit | None:
        """The photo of that `Hit.id`, without a score; None for one that no search could find."""
        found = self._combined.photo(argument_checks.text("photo_id", photo_id))
        return hit_of(found[1], self._folders) if found else None

    def thumbnail(self, photo_id: str, long_side: int = 480) -> bytes:
        """A JPEG file with the whole upright picture, its long side of 480 or 2048 pixels, or fewer if it has fewer.

        Of a film it shows the moment. It is made by the processes that decode pictures for the index, and kept in the
        data folder by the digest of the photo's bytes. Raises `UnknownPhoto`, and `UnreadablePicture` where its file
        cannot be read now.
        """
        from rclip.thumbnails import SIDES

        found = self._combined.photo(argument_checks.text("photo_id", photo_id))
        if found is None:
            raise UnknownPhoto(id=photo_id)
        if long_side not in SIDES:
            raise UsageError(f"long_side must be one of {', '.join(map(str, SIDES))}, not {long_side}")
        searcher, photo = found
        digest = searcher.store.digest(photo.row.id)
        row = photo.row
        with unreadable_reported(spelled(row.path, self._folders)):
            return self.thumbnails.of_file(row.path, (row.size_bytes, row.mtime_ns), digest, long_side, row.at_ms)

    @property
    def thumbnails(self) -> "Thumbnails":
        """The cache of thumbnails, and what makes them."""
        from rclip.thumbnails import Thumbnails

        with self._thumbnails_lock:
            if self._made_thumbnails is None:
                self._made_thumbnails = Thumbnails(self._data_dir, self._max_pixels)
            return self._made_thumbnails

    def facets(self) -> "Facets":
        """What filters can choose from among all photos here, with how many have each value. Raises `StoreError`."""
        from rclip.search.facets import facets_of

        return facets_of(self._combined.searchers())

    def has_photos(self) -> bool:
        """Whether anything is indexed in these directories, and there."""
        return bool(self._combined.searchers())

    def holds(self, folder: StrPath) -> bool:
        """Whether the folder lies in one of the directories, or in the folder of a portable index that they use."""
        real = os.fsencode(os.path.realpath(argument_checks.path("folder", folder))) + SEPARATOR
        roots = (index.location.root for index, _ in self._parts if not index.location.is_default)
        return any(real.startswith(each) for each in (*(one.real for one in self._folders), *(r + b"/" for r in roots)))

    def encode_text(self, texts: Iterable[str]) -> "np.ndarray":
        """(N, D) float32, rows of length 1. Raises `ModelError`, and TypeError for a single text."""
        return self._encoder.encode_texts(argument_checks.texts("texts", texts))

    def encode_image(self, images: Iterable[AnyQuery]) -> "np.ndarray":
        """Paths, Pillow images and the bytes of files -> (N, D) float32, rows of length 1; nothing need be indexed.

        Raises `UsageError` for the first that cannot be read.
        """
        return self._encoder.encode_pictures([_picture(image) for image in _several("images", images)])

    def vectors(self) -> "Vectors":
        """The vectors of all photos in the directories.

        They are not copied but mapped from the file of the vector cache, where that can be written and holds these
        photos in one piece: it also holds those of other directories, and of photos that have been deleted since.
        """
        from rclip.search.all_photos import vectors_of_all

        photos = [searcher.all_photos() for searcher in self._combined.searchers()]
        return vectors_of_all(photos, self._folders, self._encoder.dimensions)

    def model_identity(self) -> "ModelIdentity":
        """Which model makes the vectors. Raises `ModelError`."""
        from rclip.search.export import ModelIdentity

        return ModelIdentity.of(self._model, PREPROCESSING_VERSION, self._encoder.dimensions)

    def duplicates(
        self, similarity: float | None = None, progress: Callable[[float], None] | None = None
    ) -> "list[Group]":
        """Photos that are there several times, in groups: exact copies, and those at least so similar.

        Groups that waste most space come first, and in each the largest picture. `similarity` is a cosine; None is
        `rclip.search.duplicates.DEFAULT_SIMILARITY`. Nothing is deleted.

        `progress` is given the share of the work that is done, from 0 to 1, now and then, in this thread. An exception
        that it raises ends the search for copies.
        """
        from rclip.search import duplicates

        least = argument_checks.number("similarity", similarity or duplicates.DEFAULT_SIMILARITY)
        report = (lambda share: None) if progress is None else argument_checks.function("progress", progress)
        return duplicates.groups(self._combined.searchers(), self._folders, least, report)

    def export(self, path: StrPath) -> int:
        """Writes paths, vectors and what is known of the photos to a file, and returns the number of photos.

        The ending chooses `.npz`, `.parquet` (with the package `pyarrow`) or `.jsonl`. A file that is there is replaced
        when the new one is whole. Raises `UsageError` where it cannot be written.
        """
        from rclip.search import export

        photos = export.photos_of(self._combined.searchers(), self._folders)
        return export.export(argument_checks.path("path", path), photos, self.model_identity())

    def push(self, url: str, report: "Callable[[Pushed], None] | None" = None) -> "Pushed":
        """Makes what a database has below the directories what a search here would find; see docs/vectordb.md.

        It goes on where an earlier one was interrupted. `report` is called now and then with what has been done.
        Raises `UsageError` for an address that cannot be used and where nothing is indexed, else `StoreError`.
        """
        from contextlib import closing

        from rclip.search import push
        from rclip.vectordb import open_database

        report = (lambda _: None) if report is None else argument_checks.function("report", report)
        with closing(open_database(argument_checks.text("url", url), self._data_dir)) as database:
            return push.push(self._combined.all_searchers(), database, self._stamp(), report)

    def database_recall(self, url: str) -> float | None:
        """The share of the ten best photos that the approximate index of a database finds, by 24 ordinary queries.

        None where it has no such index. Each query is also answered exactly, which may take seconds. Raises as `push`.
        """
        from contextlib import closing

        from rclip.search import push
        from rclip.search.sample_queries import SAMPLE_QUERIES
        from rclip.vectordb import open_database

        with closing(open_database(argument_checks.text("url", url), self._data_dir)) as database:
            database.require(self._stamp())
            return push.measured_recall(database, self._encoder.encode_texts(SAMPLE_QUERIES[::6]))

    def _stamp(self) -> "ModelStamp":
        from rclip.vectordb import ModelStamp

        identity = self.model_identity()
        return ModelStamp(identity.name, identity.key, identity.preprocessing, identity.dimensions)

    @property
    def reads_english_only(self) -> bool:
        """Whether queries in other languages are better left to another model. Raises `ModelError`."""
        return self._model.reads_english_only

    def model_facts(self) -> dict[str, str]:
        """The model's name as `model`, its `digest` and its `precision`, as in `Stats`."""
        digest = self._model.digest if self._model.has_weights else ""
        return {"model": self._model.name, "digest": digest, "precision": self._model.precision(self._device)}

    def stats(self) -> "Stats":
        """Raises `StoreError`."""
        from rclip.search.statistics import stats_of

        return stats_of(self._parts, self._folders, self._combined, self._model, self.model_facts())

    def check(self) -> "Iterator[Finding]":
        """What is found of each part of the whole index, whatever the directories, and of the model's weights.

        Raises `StoreError` when the index cannot be opened.
        """
        from rclip.maintenance.check import check_all

        self._combined.warn_unless_adopted()
        yield from check_all(self._model, [index for index, _ in self._parts])

    def prune(self, older_than_s: float, with_offline: bool = False, with_excluded: bool = False) -> "Pruned":
        """Forgets files below the directories that have been missing for so long, and frees their space.

        What an empty folder held, whose drive may only be unplugged, is forgotten only `with_offline`, and then also
        what no run has looked for and is not there. What is excluded now is forgotten only `with_excluded`, and then
        all of it. Raises `StoreError`.
        """
        from rclip.maintenance.prune import prune_all

        older_than_s = argument_checks.number("older_than_s", older_than_s)
        with self._writers:
            return prune_all(self._parts, older_than_s, with_offline, is_excluded_of if with_excluded else None)


def _warn(said: str | RclipError) -> None:
    warnings.warn(str(said), stacklevel=3)


def _by_location(
    folders: Iterable[location.Folder], default_dir: str
) -> dict[location.IndexLocation, list[location.Folder]]:
    found: dict[location.IndexLocation, list[location.Folder]] = {}
    for folder in folders:
        found.setdefault(location.location_of(folder.real, default_dir), []).append(folder)
    return found


def _several(name: str, values: Iterable[AnyQuery]) -> Iterable[AnyQuery]:
    """Raises TypeError for a single one, which may be iterable itself."""
    if isinstance(values, str | bytes | os.PathLike | Query) or not isinstance(values, Iterable):
        raise argument_checks.wrong_type(name, f"a list of {name}", values)
    return values


def _pixels_in(megapixels: float) -> int:
    from rclip.photo.memory import pixels_in

    return pixels_in(megapixels)


def _rules(exclude_dirs: Iterable[StrPath], exclude: Iterable[str], include_hidden: bool) -> IgnoreRules:
    excluded = map(_folder_name, argument_checks.paths("exclude_dirs", exclude_dirs))
    patterns = [line for given in argument_checks.texts("exclude", exclude) for line in _resolved(given)]
    return IgnoreRules(frozenset().union(*map(spellings, excluded)), include_hidden, tuple(patterns))


def _folder_name(name: str) -> bytes:
    """One that may be compared with names in a listing, as typed with the shell's help: `cats/`."""
    plain = os.fsencode(name).rstrip(SEPARATOR)
    if not plain or SEPARATOR in plain:
        raise NotAFolderName(name=name)
    return plain


def _resolved(line: str) -> Iterator[str]:
    """The pattern and, where its whole path leads over links, the same without them, as a walk meets it."""
    sign, pattern = ("!", line[1:]) if line.startswith("!") else ("", line)
    pattern = os.path.expanduser(pattern) if pattern.startswith("~/") else pattern
    yield sign + pattern
    if pattern.startswith("/"):
        names = pattern.rstrip("/").split("/")
        plain = list(takewhile(lambda name: not set(name) & set("*?[\\"), names[:-1]))
        folder = "/".join(plain)
        real = os.path.realpath(folder or "/")
        if folder and real != folder:
            from rclip.globs import literal

            yield f"{sign}{literal(real)}{pattern[len(folder) :]}"


def _checked_fold(fold: float | None) -> float | None:
    """A cosine, or None."""
    return None if fold is None else argument_checks.number("fold", fold)


def _query_or_error(query: AnyQuery) -> Query | RclipError:
    try:
        return Query.of(query)
    except RclipError as error:
        return error


def _picture(image: AnyQuery) -> Picture | PictureData | PictureObject:
    """Raises TypeError."""
    if isinstance(image, str):
        return Picture(os.path.expanduser(image))
    what = Query.of(image).terms[0].what
    if isinstance(image, Query) or not isinstance(what, Picture | PictureData | PictureObject):
        raise argument_checks.wrong_type("each of images", "a path, a Pillow image or the bytes of a file", image)
    return what
