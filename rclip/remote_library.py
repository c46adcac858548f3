"""The photos that others have pushed into a database, searched as those of a `Library` are.

from rclip.remote_library import RemoteLibrary

photos = RemoteLibrary("postgresql://archive/photos")
for hit in photos.search("a red kite", top=5):
    print(f"{hit.score:.3f} {hit.path}")
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

from rclip import argument_checks, datadir
from rclip.argument_checks import StrPath
from rclip.errors import NeedsQuery, NoFolder, RclipError
from rclip.files import spellings
from rclip.filters import Filters
from rclip.ignoring import IgnoreRules
from rclip.index import location
from rclip.index.location import Folder
from rclip.index.photo_index import PREPROCESSING_VERSION
from rclip.index.text_vectors import TextVectors
from rclip.models import DEFAULT, Model
from rclip.photo.memory import pixels_in
from rclip.search.hits import SORTS, Hit, Page
from rclip.search.query import AnyQuery, Query
from rclip.search.query_encoder import QueryEncoder
from rclip.search.remote import RemoteSearcher
from rclip.vectordb import ModelStamp, open_database

__all__ = ["RemoteLibrary"]


class RemoteLibrary:
    """A database's photos, all of them or those below some directories, as one CLIP model sees them. For one thread.

    The directories need not be here: they are those of whoever has pushed the photos. The model is: only vectors go to
    the database. Raises `UsageError` for an address that cannot be used, and `ModelError` for an unavailable model.
    """

    def __init__(  # noqa: PLR0913 - all by name, and few are given
        self,
        url: str,
        *directories: StrPath,
        model: StrPath = DEFAULT,
        data_dir: StrPath | None = None,
        exclude_dirs: Iterable[StrPath] = (),
        exclude: Iterable[str] = (),
        include_hidden: bool = False,
        device: str | None = None,
        max_image_megapixels: float | None = None,
        language: str | None = None,
        is_opening: bool = False,
        notify: Callable[[str | RclipError], None] | None = None,
    ):
        """As for `Library`. `is_opening` leaves out photos whose files, here, lie outside the directories."""
        named = [argument_checks.path("a directory", each) for each in directories]
        folders = [_folder(os.fsencode(each)) for each in named]
        self._folders = folders or [Folder(b"/", b"/")]
        excluded = map(os.fsencode, argument_checks.paths("exclude_dirs", exclude_dirs))
        # Of a whole database, whoever has pushed has said which folders count.
        patterns = tuple(map(os.path.expanduser, argument_checks.texts("exclude", exclude)))
        rules = IgnoreRules(frozenset().union(*map(spellings, excluded)), include_hidden or not folders, patterns)
        notify = _warn if notify is None else argument_checks.function("notify", notify)
        own = datadir.own(None if data_dir is None else argument_checks.path("data_dir", data_dir))
        self._model = Model(os.fspath(model), own, notify, language)
        max_pixels = pixels_in(max_image_megapixels) if max_image_megapixels else None
        self._encoder = QueryEncoder(self._model, device, max_pixels, notify, TextVectors(own))
        self._database = open_database(argument_checks.text("url", url), own)
        self._searcher = RemoteSearcher(
            self._database, self._folders, rules, is_everything=not folders, is_opening=is_opening
        )
        self._is_checked = False

    def __enter__(self) -> "RemoteLibrary":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._encoder.close()
        self._database.close()

    def search(
        self,
        query: AnyQuery | None,
        top: int | None = 10,
        filters: Filters | None = None,
        *,
        page: int = 1,
        sort: str | None = None,
    ) -> list[Hit]:
        """As `Library.search`, but that each file is a hit of its own, also one of the same bytes as another.

        Raises `StoreError` where the database cannot be asked or answers what is unsound.
        """
        if query is None:
            return self._without_query(Page.of(top, page, sort), argument_checks.filters(filters) or Filters())
        ((_, found),) = self.search_blocks([[Query.of(query)]], top, filters, page=page, sort=sort)
        if isinstance(found, RclipError):
            raise found
        return found

    def search_blocks(
        self,
        blocks: Iterable[Sequence[Query | RclipError]],
        top: int | None = 10,
        filters: Filters | None = None,
        *,
        page: int = 1,
        sort: str | None = None,
    ) -> Iterator[tuple[Query | RclipError, list[Hit] | RclipError]]:
        """As `Library.search_blocks`."""
        wanted, filters = Page.of(top, page, sort), argument_checks.filters(filters)
        self._check_model()
        find = self._searcher.search(filters)
        for block in blocks:
            encoded = self._encoder.encode(block, [])
            found = find([query for query in encoded if not isinstance(query, RclipError)], wanted.end)
            for asked, query in zip(block, encoded, strict=True):
                if isinstance(query, RclipError):
                    yield asked, query
                else:
                    yield asked, wanted.hits(next(found), self._folders)

    def _without_query(self, wanted: Page, filters: Filters) -> list[Hit]:
        if filters.min_score is not None or filters.is_relevant:
            raise NeedsQuery
        order = wanted.order_without_query
        self._check_model()
        found = self._searcher.newest(wanted.end if order == "date" else sys.maxsize, filters)
        if order == "path":
            found = sorted(found, key=SORTS[order])
        return Page(wanted.top, wanted.number).hits(found, self._folders)

    def model_facts(self) -> dict[str, str]:
        """As `Library.model_facts`."""
        digest = self._model.digest if self._model.has_weights else ""
        return {"model": self._model.name, "digest": digest, "precision": self._model.precision(None)}

    def has_photos(self) -> bool:
        """Whether the database has any below the directories. Raises `StoreError`."""
        self._check_model()
        return self._searcher.has_photos()

    @property
    def reads_english_only(self) -> bool:
        """As `Library.reads_english_only`."""
        return self._model.reads_english_only

    def _check_model(self) -> None:
        """Before the first request. Raises `OtherModelPushed` and its like."""
        if not self._is_checked:
            stamp = ModelStamp(self._model.name, self._model.key, PREPROCESSING_VERSION, self._encoder.dimensions)
            self._database.require(stamp)
            self._is_checked = True


def _folder(named: bytes) -> Folder:
    """The directory here of that name, or the path that it has elsewhere."""
    try:
        return location.resolve(named)
    except NoFolder:
        return Folder(os.path.abspath(named).rstrip(b"/") + b"/", named.rstrip(b"/") + b"/")


def _warn(said: str | RclipError) -> None:
    warnings.warn(str(said), stacklevel=3)
