"""The metadata of photos: the tables `metadata` and `cameras`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rclip.index.store.database import Database
from rclip.index.store.session import require
from rclip.photo.metadata import NO_METADATA, PhotoMetadata
from rclip.photo.validation import are_valid

_BETWEEN_KEYWORDS = "\n"  # there is none in them
_WHEN_AND_WHERE = ("captured_s", "offset_min", "latitude", "longitude")
_THE_REST = ("width", "height", "keywords", "rating", "missing_percent")
_TOLD_COLUMNS = (*_WHEN_AND_WHERE, "maker", "model", *_THE_REST)
METADATA_COLUMNS = (*_WHEN_AND_WHERE, "camera", *_THE_REST)
"""All of the table's but the id."""


class PhotoWithoutMetadata(NamedTuple):
    """A photo whose file has not been read for metadata."""

    id: int
    path: bytes
    size_bytes: int
    mtime_ns: int


class MetadataTable:
    """The metadata of one index's photos. Methods raise `StoreError`; those that write belong inside a transaction."""

    def __init__(self, database: Database):
        self._database = database

    def of(self, ids: Sequence[int]) -> list[PhotoMetadata]:
        """One for each id; `NO_METADATA` where nothing is known."""
        sql = """
            SELECT captured_s, offset_min, latitude, longitude, coalesce(maker, ''), coalesce(model, ''),
                   width, height, keywords, rating, missing_percent
            FROM metadata LEFT JOIN cameras ON cameras.id = metadata.camera WHERE metadata.id = ?
        """
        with self._database.reading():
            found = [self._database.connection.execute(sql, (id_,)).fetchone() for id_ in ids]
            require(are_valid(_TOLD_COLUMNS, [row for row in found if row]))
            return [_metadata(row) if row else NO_METADATA for row in found]

    def without_metadata(self, folder: bytes) -> list[PhotoWithoutMetadata]:
        """The photos in the folder whose files have not been read for metadata, in path order."""
        sql = """
            SELECT id, path, size, mtime_ns FROM images INDEXED BY images_without_metadata
            WHERE path >= ? AND path < ? AND has_metadata = 0 AND vector IS NOT NULL AND missing_ns IS NULL
            ORDER BY path
        """
        with self._database.reading():
            found = self._database.connection.execute(sql, self._database.range_of(folder)).fetchall()
            require(are_valid(("id", "path", "size", "mtime_ns"), found))
            return [PhotoWithoutMetadata(id_, self._database.outer(path), *row) for id_, path, *row in found]

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

    def describe(self, id_: int, metadata: PhotoMetadata) -> None:
        """Adds what a photo's file tells to a row that was stored without, if it is still there."""
        sql = "UPDATE images SET has_metadata = 1, has_capture_time = ? WHERE id = ?"
        if self._database.connection.execute(sql, (metadata.captured_s is not None, id_)).rowcount:
            self.add(id_, metadata)

    def add(self, id_: int, metadata: PhotoMetadata) -> None:
        """Those of a photo that has been stored as described."""
        if metadata == NO_METADATA:
            return
        connection = self._database.connection
        maker_model = metadata.maker, metadata.model
        if any(maker_model):
            connection.execute("INSERT OR IGNORE INTO cameras (maker, model) VALUES (?, ?)", maker_model)
        sql = """
            INSERT OR REPLACE INTO metadata
            VALUES (?, ?, ?, ?, ?, (SELECT id FROM cameras WHERE maker = ? AND model = ?), ?, ?, ?, ?, ?)
        """
        keywords = _BETWEEN_KEYWORDS.join(metadata.keywords) or None
        when_and_where = metadata[:4]
        the_rest = metadata.width, metadata.height, keywords, metadata.rating, metadata.missing_percent
        connection.execute(sql, (id_, *when_and_where, *maker_model, *the_rest))

    def copy(self, source_id: int, id_: int | None) -> None:
        """Those of one photo for another with the same bytes."""
        sql = """
            INSERT INTO metadata
            SELECT ?, captured_s, offset_min, latitude, longitude, camera, width, height, keywords, rating,
                   missing_percent
            FROM metadata WHERE id = ?
        """
        self._database.connection.execute(sql, (id_, source_id))


def _metadata(row: Sequence[Any]) -> PhotoMetadata:
    *others, keywords, rating, missing_percent = row
    split = tuple(keywords.split(_BETWEEN_KEYWORDS)) if keywords else ()
    return PhotoMetadata._make((*others, split, rating, missing_percent))
