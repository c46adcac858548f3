"""The metadata of photos: the tables `metadata`, `own_metadata`, `sidecars` and `cameras`."""

from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Any

from rclip.files import SEPARATOR
from rclip.index.store.database import CHUNK_ROWS, Database
from rclip.index.store.session import require
from rclip.photo.metadata import NO_METADATA, Origin, PhotoMetadata
from rclip.photo.validation import are_valid

_BETWEEN_KEYWORDS = "\n"  # there is none in them
_WHEN_AND_WHERE = ("captured_s", "offset_min", "latitude", "longitude")
_TEXTS = ("lens", "title", "headline", "caption")
_THE_REST = ("width", "height", "keywords", "rating", "missing_percent", "captured_from", *_TEXTS)
_TOLD_COLUMNS = (*_WHEN_AND_WHERE, "maker", "model", *_THE_REST)
"""In the order of the fields of `PhotoMetadata`."""
METADATA_COLUMNS = (*_WHEN_AND_WHERE, "camera", *_THE_REST)
"""All that the tables have of a photo."""

_EFFECTIVE, _OWN = "metadata", "own_metadata"


class MetadataTable:
    """The metadata of one index's photos. Methods raise `StoreError`; those that write belong inside a transaction."""

    def __init__(self, database: Database):
        self._database = database

    def of(self, ids: Sequence[int]) -> list[PhotoMetadata]:
        """One for each id; `NO_METADATA` where nothing is known."""
        return self._of(ids, _EFFECTIVE)

    def _of(self, ids: Sequence[int], table: str) -> list[PhotoMetadata]:
        sql = f"""
            SELECT captured_s, offset_min, latitude, longitude, coalesce(maker, ''), coalesce(model, ''),
                   {", ".join(_THE_REST)}
            FROM {table} LEFT JOIN cameras ON cameras.id = {table}.camera WHERE {table}.id = ?
        """  # noqa: S608 - names of this very schema
        with self._database.reading():
            found = [self._database.connection.execute(sql, (id_,)).fetchone() for id_ in ids]
            require(are_valid(_TOLD_COLUMNS, [row for row in found if row]))
            return [_metadata(row) if row else NO_METADATA for row in found]

    def own(self, id_: int) -> PhotoMetadata:
        """What the photo's own file says, without its sidecars and name."""
        (own,) = self._of([id_], _OWN if self._has_own(id_) else _EFFECTIVE)
        return own._replace(captured_s=None, offset_min=None) if own.captured_from == Origin.NAME else own

    def _has_own(self, id_: int) -> bool:
        sql = "SELECT 1 FROM own_metadata WHERE id = ?"
        return self._database.connection.execute(sql, (id_,)).fetchone() is not None

    def sidecar_states(self, folder: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
        """Id, path, and the state of the sidecars read, of the photos that are below `folder`, in path order."""
        sql = """
            SELECT id, path, state FROM images INDEXED BY images_listing LEFT JOIN sidecars USING (id)
            WHERE path >= ? AND path < ? AND missing_ns IS NULL
            AND id NOT IN (SELECT id FROM images INDEXED BY images_failure WHERE failure IS NOT NULL) ORDER BY path
        """
        with self._database.reading():
            cursor = self._database.connection.execute(sql, self._database.range_of(folder))
            while rows := cursor.fetchmany(CHUNK_ROWS):
                require(all(type(state) in (bytes, NoneType) for _, _, state in rows))
                yield from ((id_, self._database.outer(path), state) for id_, path, state in rows)

    def has_sidecars(self) -> bool:
        """Whether any were read."""
        with self._database.errors():
            return bool(self._database.value("SELECT EXISTS (SELECT 1 FROM sidecars)"))

    def last_change(self) -> int:
        """The highest number that a change was given, to the metadata or the name of a photo after it was stored."""
        with self._database.errors():
            return self._database.value("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'reworded'")

    def texts(self, last_id: int, last_change: int) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Ids of the photos above that id, and of those that have changed since that change, and what is said of each.

        Names of files come first, then title, headline, caption and keywords; others than photos may be among them.
        """
        sql = """
            SELECT images.id, path, title, headline, caption, keywords
            FROM images INDEXED BY images_listing LEFT JOIN metadata ON metadata.id = images.id
            WHERE images.id > ?1 OR images.id IN (SELECT id FROM reworded WHERE number > ?2)
        """
        with self._database.reading():
            cursor = self._database.connection.execute(sql, (last_id, last_change))
            while rows := cursor.fetchmany(CHUNK_ROWS):
                require(are_valid(("id", "path", "title", "headline", "caption", "keywords"), rows))
                for id_, path, *texts in rows:
                    name = path.rpartition(SEPARATOR)[2].decode(errors="replace")
                    yield id_, (name, *(text for text in texts if text))

    def incomplete(self, folder: bytes) -> dict[bytes, int]:
        """The photos in the folder of which a part is missing: their paths, and how many percent."""
        sql = """
            SELECT path, missing_percent FROM metadata INDEXED BY metadata_incomplete JOIN images USING (id)
            WHERE missing_percent IS NOT NULL AND path >= ? AND path < ? AND missing_ns IS NULL ORDER BY path
        """
        with self._database.reading():
            found = self._database.connection.execute(sql, self._database.range_of(folder)).fetchall()
            require(are_valid(("path", "missing_percent"), found))
            return {self._database.outer(path): percent for path, percent in found}

    def cameras(self) -> dict[int, tuple[str, str]]:
        """Maker and model of each."""
        with self._database.reading():
            rows = self._database.connection.execute("SELECT id, maker, model FROM cameras").fetchall()
            require(are_valid(("id", "maker", "model"), rows))
            return {id_: (maker, model) for id_, maker, model in rows}

    # --- writing -----------------------------------------------------------------------------------------------------

    def describe(self, id_: int, name: bytes, metadata: PhotoMetadata) -> None:
        """Adds what a photo's file of this name tells to a row that was stored without, if it is still there.

        Its sidecars have to be read again.
        """
        connection = self._database.connection
        if not connection.execute("UPDATE images SET has_metadata = 1 WHERE id = ?", (id_,)).rowcount:
            return
        if metadata == NO_METADATA:  # what an older rclip has read is all that is known
            connection.execute("UPDATE metadata SET is_outdated = 0 WHERE id = ?", (id_,))
            metadata = self.own(id_)
        self.forget_sidecars(id_)
        self.add(id_, name, metadata)
        self._note_change(id_)

    def add(self, id_: int, name: bytes, metadata: PhotoMetadata) -> None:
        """The own metadata of a photo with this file name that has been stored as described."""
        self._put(id_, dated_by_name(metadata, name))

    def put_sidecars(self, id_: int, name: bytes, state: bytes, metadata: PhotoMetadata) -> None:
        """What a photo's file and its sidecars, which have this state, tell together."""
        connection = self._database.connection
        if not self._has_own(id_):
            self._insert(_OWN, id_, self.own(id_))
        connection.execute("INSERT OR REPLACE INTO sidecars VALUES (?, ?)", (id_, state))
        self._put(id_, dated_by_name(metadata, name))
        self._note_change(id_)

    def drop_sidecars(self, id_: int, name: bytes) -> None:
        """The photo has none any more."""
        own = self.own(id_)
        self.forget_sidecars(id_)
        self._put(id_, dated_by_name(own, name))
        self._note_change(id_)

    def forget_sidecars(self, id_: int) -> None:
        """Has them read again."""
        for sql in ("DELETE FROM own_metadata WHERE id = ?", "DELETE FROM sidecars WHERE id = ?"):
            self._database.connection.execute(sql, (id_,))

    def copy(self, source_id: int, id_: int, name: bytes) -> None:
        """The own metadata of one photo for another with the same bytes."""
        self.add(id_, name, self.own(source_id))

    def rename(self, id_: int, name: bytes) -> None:
        """The photo may have another file name, which may have another time."""
        self._note_change(id_)
        (known,) = self.of([id_])
        if known.captured_s is None or known.captured_from == Origin.NAME:
            undated = known._replace(captured_s=None, offset_min=None, captured_from=Origin.METADATA)
            renamed = dated_by_name(undated, name)
            if renamed != known:
                self._put(id_, renamed)

    def _note_change(self, id_: int) -> None:
        """Gives the photo, of which something else is said now, the next number of all changes."""
        self._database.connection.execute("INSERT OR REPLACE INTO reworded (id) VALUES (?)", (id_,))

    def _put(self, id_: int, metadata: PhotoMetadata) -> None:
        sql = "UPDATE images SET has_capture_time = ?1 WHERE id = ?2 AND has_capture_time <> ?1"
        self._database.connection.execute(sql, (metadata.captured_s is not None, id_))
        if metadata == NO_METADATA:
            self._database.connection.execute("DELETE FROM metadata WHERE id = ?", (id_,))
        else:
            self._insert(_EFFECTIVE, id_, metadata)

    def _insert(self, table: str, id_: int, metadata: PhotoMetadata) -> None:
        connection = self._database.connection
        maker_model = metadata.maker, metadata.model
        if any(maker_model):
            connection.execute("INSERT OR IGNORE INTO cameras (maker, model) VALUES (?, ?)", maker_model)
        columns = f"id, {', '.join((*_WHEN_AND_WHERE, 'camera', *_THE_REST))}"
        rest = ", ".join("?" * len(_THE_REST))
        end, value = (", is_outdated", ", 0") if table == _EFFECTIVE else ("", "")
        sql = f"""
            INSERT OR REPLACE INTO {table} ({columns}{end})
            VALUES (?, ?, ?, ?, ?, (SELECT id FROM cameras WHERE maker = ? AND model = ?), {rest}{value})
        """  # noqa: S608 - names of this very schema
        connection.execute(sql, (id_, *metadata[:4], *maker_model, *_stored_rest(metadata)))


def _stored_rest(metadata: PhotoMetadata) -> tuple[Any, ...]:
    return (
        metadata.width,
        metadata.height,
        _BETWEEN_KEYWORDS.join(metadata.keywords) or None,
        metadata.rating,
        metadata.missing_percent,
        metadata.captured_from,
        metadata.lens or None,
        metadata.title or None,
        metadata.headline or None,
        metadata.caption or None,
    )


def _metadata(row: Sequence[Any]) -> PhotoMetadata:
    *others, keywords, rating, missing_percent, captured_from, lens, title, headline, caption = row
    split = tuple(keywords.split(_BETWEEN_KEYWORDS)) if keywords else ()
    texts = (lens or "", title or "", headline or "", caption or "")
    return PhotoMetadata._make((*others, split, rating, missing_percent, captured_from, *texts))


def dated_by_name(metadata: PhotoMetadata, name: bytes) -> PhotoMetadata:
    """With the time in the file's name, where no other is known."""
    if metadata.captured_s is not None:
        return metadata
    from rclip.photo.name_dates import time_in_name  # a query has no use for it

    found = time_in_name(name.decode(errors="replace"))
    if found is None:
        return metadata
    return metadata._replace(captured_s=found.captured_s, offset_min=found.offset_min, captured_from=Origin.NAME)
