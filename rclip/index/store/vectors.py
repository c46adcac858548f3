"""The vectors of an index, of its photos and of moments in its films."""

from collections.abc import Iterator, Sequence

import numpy as np

from rclip.files import FileStat
from rclip.index.store.database import CHUNK_ROWS, Database
from rclip.index.store.session import require
from rclip.photo.validation import has_unit_length, have_unit_length


class StoredVectors:
    """The vectors of one index, as its table has them. Methods raise `StoreError`."""

    def __init__(self, database: Database):
        self._database = database

    def at(self, path: bytes, stat: FileStat) -> bytes | None:
        """The vector of a photo that is indexed under this path and has not changed since."""
        sql = "SELECT vector FROM images WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns IN (0, ?)"
        return self._vector(sql, (self._database.inner(path), stat.size_bytes, stat.mtime_ns, stat.ctime_ns))

    def with_digest(self, digest: bytes) -> bytes | None:
        """The vector of any photo with these bytes; an index that may be anybody's is not believed what others have."""
        if self._database.is_foreign:
            return None
        return self._vector("SELECT vector FROM images WHERE digest = ? AND vector IS NOT NULL LIMIT 1", (digest,))

    def _vector(self, sql: str, parameters: Sequence[object]) -> bytes | None:
        """Half precision of length 1, of whatever dimension."""
        with self._database.reading():
            found = self._database.connection.execute(sql, parameters).fetchone()
            if found is None or found[0] is None:
                return None
            require(type(found[0]) is bytes and self.may_be(found[0]))
            return bytes(found[0])

    def above(self, last_id: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids (N,) int64, ascending, and vectors (N, D) float16 of all photos and moments with ids above.

        Some thousands at a time. Gone photos are among them.
        """
        of_photos = "SELECT id, vector FROM images WHERE id > ? AND vector IS NOT NULL ORDER BY id"
        of_all = """
            SELECT id, vector FROM images WHERE id > ?1 AND vector IS NOT NULL
            UNION ALL SELECT id, vector FROM moments WHERE id > ?1 ORDER BY id
        """
        with self._database.reading():
            cursor = self._database.connection.execute(of_all if self.include_films() else of_photos, (last_id,))
            while rows := cursor.fetchmany(CHUNK_ROWS):
                found, blobs = zip(*rows, strict=True)
                require(len(set(map(len, blobs))) == 1)
                ids = np.array(found, np.int64)
                require(last_id < ids[0] and bool((np.diff(ids) > 0).all()))
                last_id = int(ids[-1])
                vectors = np.frombuffer(b"".join(blobs), np.float16).reshape(len(blobs), -1)
                require(not self._database.is_foreign or (self.may_be(blobs[0]) and have_unit_length(vectors)))
                yield ids, vectors

    def may_be(self, stored: bytes) -> bool:
        """Whether it has length 1 and, in an index that may be anybody's, as many numbers as the model's vectors.

        In the user's own, whoever uses it finds that out.
        """
        dimensions = self._database.dimensions if self._database.is_foreign else None
        return has_unit_length(stored) and (dimensions is None or len(stored) == 2 * dimensions)

    def include_films(self) -> bool:
        """Whether some are of films; in microseconds, for those who have nothing else to do with films."""
        with self._database.errors():
            return bool(self._database.connection.execute("SELECT 1 FROM films LIMIT 1").fetchone())

    def last_id(self) -> int:
        """The highest id in use, of a photo or a moment."""
        with self._database.errors():
            last = self._database.value("SELECT coalesce(max(id), 0) FROM images")
            return max(last, self._database.value("SELECT coalesce(max(id), 0) FROM moments"))

    def count(self) -> int:
        with self._database.errors():
            photos = self._database.value(
                "SELECT count(*) FROM images INDEXED BY images_digest WHERE vector IS NOT NULL"
            )
            return photos + self._database.value("SELECT count(*) FROM moments INDEXED BY moments_film")

    def count_above(self, last_id: int) -> int:
        """How many photos and moments with ids above have a vector."""
        sql = """
            SELECT (SELECT count(*) FROM images WHERE id > ?1 AND vector IS NOT NULL)
                 + (SELECT count(*) FROM moments WHERE id > ?1)
        """
        with self._database.errors():
            count: int = self._database.connection.execute(sql, (last_id,)).fetchone()[0]
        return count
