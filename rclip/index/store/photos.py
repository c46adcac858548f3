"""An open index, and what a search asks of its photos: the table `images`."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rclip.index.store.database import CHUNK_ROWS, Database
from rclip.index.store.ignore_files import IgnoreFileTable
from rclip.index.store.metadata import MetadataTable
from rclip.index.store.session import require
from rclip.index.store.vectors import StoredVectors
from rclip.photo.validation import are_valid

if TYPE_CHECKING:
    from rclip.index.store.files import FileTable
    from rclip.index.store.films import FilmsTable

_COUNTED_ROWS = 4096


class PhotoRow(NamedTuple):
    """The row of a photo, or of a moment of a film, that was found."""

    id: int
    path: bytes
    size_bytes: int
    mtime_ns: int
    vector: bytes
    """D float16"""
    digest: bytes
    film_id: int | None = None
    """The id of the film's own row; None for a photo."""
    at_ms: int | None = None
    """The time of the moment; None for a photo."""

    @property
    def photo_id(self) -> int:
        """The id of the file, by which it has metadata."""
        return self.id if self.film_id is None else self.film_id


class Store(Database):
    """One open index: what a search asks of its photos, and the tables for all else. Methods raise `StoreError`.

    A range of paths needs no check of their type: SQLite sorts all other values before bytes.
    """

    @property
    def metadata(self) -> MetadataTable:
        """What the photos say of themselves."""
        return MetadataTable(self)

    @property
    def films(self) -> "FilmsTable":
        """What is known of those that are films."""
        from rclip.index.store.films import FilmsTable

        return FilmsTable(self)

    @property
    def files(self) -> "FileTable":
        """What an update asks and writes: all that is known of files."""
        from rclip.index.store.files import FileTable

        return FileTable(self)

    @property
    def vectors(self) -> StoredVectors:
        return StoredVectors(self)

    @cached_property
    def ignore_files(self) -> IgnoreFileTable:
        """What is to be passed over in which folders."""
        return IgnoreFileTable(self)

    def records(self, ids: Sequence[int]) -> list[PhotoRow | None]:
        """One for each id of a photo or a film's moment, None where the file has gone missing since."""
        sql = "SELECT id, path, size, mtime_ns, vector, digest FROM images WHERE id = ? AND missing_ns IS NULL"
        with self.reading():
            found = [self.connection.execute(sql, (id_,)).fetchone() for id_ in ids]
            records = [self._record(row) if row else None for row in found]
            if not self.vectors.include_films():
                return records
            return [
                self._as_film(record) if record else self._moment(id_) for id_, record in zip(ids, records, strict=True)
            ]

    def _as_film(self, record: PhotoRow) -> PhotoRow:
        at_ms = self.films.first_moment_ms(record.id)
        return record if at_ms is None else record._replace(film_id=record.id, at_ms=at_ms)

    def _moment(self, id_: int) -> PhotoRow | None:
        sql = """
            SELECT moments.id, path, size, mtime_ns, moments.vector, digest, film, at_ms
            FROM moments JOIN images ON images.id = film WHERE moments.id = ? AND missing_ns IS NULL
        """
        found = self.connection.execute(sql, (id_,)).fetchone()
        if not found:
            return None
        *row, film_id, at_ms = found
        require(are_valid(("film", "at_ms"), [(film_id, at_ms)]))
        return self._record(row)._replace(film_id=film_id, at_ms=at_ms)

    def _record(self, row: Sequence[Any]) -> PhotoRow:
        """Raises ValueError for what was never stored so."""
        record = PhotoRow(*row)
        require(tuple(map(type, row)) == (int, bytes, int, int, bytes, bytes) and self.vectors.may_be(record.vector))
        return record._replace(path=self.outer(record.path), digest=self._digest_mark + record.digest)

    @property
    def _digest_mark(self) -> bytes:
        """Before the digests of an index that may be anybody's: it could have a photo pass for one of the user's."""
        return self.root + b"\0" if self.is_foreign else b""

    def relatives(self, rows: Iterable[PhotoRow]) -> list[list[int]]:
        """For each file the ids of its exact copies, and of the files beside it that differ in their names' endings.

        Copies that have gone missing are among them. Both come from indexes: nearly always there are none.
        """
        sql = """
            SELECT id FROM images INDEXED BY images_digest WHERE digest = ?1 AND vector IS NOT NULL AND id <> ?2
            UNION ALL
            SELECT id FROM images INDEXED BY images_listing
            WHERE path >= ?3 AND path < ?4 AND missing_ns IS NULL AND id <> ?2 AND vector IS NOT NULL AND digest <> ?1
            AND NOT instr(CAST(substr(path, ?5) AS BLOB), x'2e')
        """
        with self.reading():
            found = (self.connection.execute(sql, self._relatives_of(row)) for row in rows)
            return [[id_ for (id_,) in ids] for ids in found]

    def _relatives_of(self, row: PhotoRow) -> tuple[bytes, int, bytes, bytes, int]:
        """Digest, id, the range of the paths that are alike up to the last dot, and where an ending starts in them."""
        digest, start = row.digest.removeprefix(self._digest_mark), self.inner(row.path)
        folder, slash, name = start.rpartition(b"/")
        stem = folder + slash + name.rpartition(b".")[0]
        if stem == folder + slash:  # a name that is all ending
            return digest, row.photo_id, start, start, 1
        return digest, row.photo_id, stem + b".", stem + b"/", len(stem) + 2

    def digest(self, id_: int) -> bytes | None:
        """Of the bytes of the photo, or of the film with the moment, with this id, if it is present.

        None in an index that may be anybody's: it could have the picture in one file pass for that of another.
        """
        if self.is_foreign:
            return None
        sql = """
            SELECT digest FROM images WHERE id = coalesce((SELECT film FROM moments WHERE id = ?1), ?1)
            AND missing_ns IS NULL AND vector IS NOT NULL
        """
        with self.reading():
            found = self.connection.execute(sql, (id_,)).fetchone()
            require(found is None or type(found[0]) is bytes)
            return bytes(found[0]) if found else None

    def ids(self, folders: Iterable[bytes], most: int) -> np.ndarray | None:
        """Ids (N,) int64, ascending, of the photos that are in these folders; None when there are more than `most`.

        Folders must not lie inside one another.
        """
        sql = """
            SELECT id FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND missing_ns IS NULL LIMIT ?
        """
        more = """
            SELECT 1 FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND missing_ns IS NULL LIMIT 1 OFFSET ?
        """
        found: list[int] = []
        with self.reading():
            for folder in folders:
                # Counting is several times faster than fetching, and in a large library it is all.
                if most and self.connection.execute(more, (*self.range_of(folder), most - len(found))).fetchone():
                    return None
                rows = self.connection.execute(sql, (*self.range_of(folder), most + 1 - len(found)))
                found += (id_ for (id_,) in rows)
            return None if len(found) > most else np.sort(np.array(found, np.int64))

    def photos(self, folder: bytes) -> Iterator[tuple[int, bytes]]:
        """Ids and paths of the photos that are below `folder`, in path order."""
        sql = """
            SELECT id, path FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND missing_ns IS NULL
            AND id NOT IN (SELECT id FROM images INDEXED BY images_failure WHERE failure IS NOT NULL) ORDER BY path
        """
        with self.reading():
            cursor = self.connection.execute(sql, self.range_of(folder))
            while rows := cursor.fetchmany(CHUNK_ROWS):
                yield from ((id_, self.outer(path)) for id_, path in rows)

    def paths_like(self, start: bytes, part: bytes, glob: bytes, most: int) -> dict[int, bytes] | None:
        """Ids and paths of the photos that are there and match SQLite's `glob`; None when there are more than `most`.

        All that match begin with `start`, which ends in no 0xff, and contain `part`: that is found faster than a match.
        """
        sql = """
            SELECT id, path FROM images INDEXED BY images_listing
            WHERE path >= ? AND path < ? AND instr(path, ?) AND missing_ns IS NULL
            AND CAST(? AS TEXT) || CAST(path AS TEXT) GLOB CAST(? AS TEXT) LIMIT ?
        """
        with self.reading():
            rows = self.connection.execute(sql, (*self.range_of(start), part, self.root, glob, most + 1)).fetchall()
            found = {id_: self.outer(path) for id_, path in rows}
        return None if len(found) > most else found

    def check_counts(self, folders: Iterable[bytes]) -> None:
        """Raises `DamagedIndex` when two indexes of the table do not agree on how many files there are in the folders.

        A page that has lost a row shows nothing of it, and no other query would. Of a small index, whose table is read
        as a whole by each search, the table's own rows are counted, too.
        """
        in_folder = """
            SELECT (SELECT count(*) FROM images INDEXED BY images_listing WHERE path >= ?1 AND path < ?2),
                   (SELECT count(*) FROM images INDEXED BY sqlite_autoindex_images_1 WHERE path >= ?1 AND path < ?2)
        """
        in_table = """
            SELECT (SELECT count(*) FROM images NOT INDEXED),
                   (SELECT count(*) FROM images INDEXED BY images_digest WHERE vector IS NOT NULL)
                 + (SELECT count(*) FROM images INDEXED BY images_failure WHERE failure IS NOT NULL)
        """
        of_moments = """
            SELECT (SELECT count(*) FROM moments NOT INDEXED),
                   (SELECT count(*) FROM moments INDEXED BY moments_film)
        """
        with self.errors():
            counts = [self.connection.execute(in_folder, self.range_of(folder)).fetchone() for folder in folders]
            if self.vectors.last_id() < _COUNTED_ROWS:
                counts.append(self.connection.execute(in_table).fetchone())
                counts.append(self.connection.execute(of_moments).fetchone())
        if any(one != other for one, other in counts):
            raise self.damage()
