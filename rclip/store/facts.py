"""What photos say of themselves: the tables `facts` and `cameras`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rclip.facts import NONE, Facts
from rclip.store.database import Database, check
from rclip.store.domains import may_hold

_BETWEEN_KEYWORDS = "\n"  # there is none in them
_WHEN_AND_WHERE = ("captured_s", "offset_min", "latitude", "longitude")
_THE_REST = ("width", "height", "keywords", "rating")
_TOLD_COLUMNS = (*_WHEN_AND_WHERE, "maker", "model", *_THE_REST)
FACTS_COLUMNS = (*_WHEN_AND_WHERE, "camera", *_THE_REST)
"""All of the table's but the id."""


class Undescribed(NamedTuple):
    """A photo whose file has not been looked through for facts."""

    id: int
    path: bytes
    size_bytes: int
    mtime_ns: int


class FactsTable:
    """The facts of one index's photos. Methods raise `StoreError`; those that write belong inside a transaction."""

    def __init__(self, database: Database):
        self._database = database

    def of(self, ids: Sequence[int]) -> list[Facts]:
        """One for each id; `NONE` where nothing is known."""
        sql = """
            SELECT captured_s, offset_min, latitude, longitude, coalesce(maker, ''), coalesce(model, ''),
                   width, height, keywords, rating
            FROM facts LEFT JOIN cameras ON cameras.id = facts.camera WHERE facts.id = ?
        """
        if not self._database.has_facts:
            return [NONE] * len(ids)
        with self._database.reading():
            found = [self._database.connection.execute(sql, (id_,)).fetchone() for id_ in ids]
            check(may_hold(_TOLD_COLUMNS, [row for row in found if row]))
            return [_facts(row) if row else NONE for row in found]

    def undescribed(self, folder: bytes) -> list[Undescribed]:
        """The photos that are in the folder and whose files have not been looked through for facts, in path order."""
        sql = """
            SELECT id, path, size, mtime_ns FROM images INDEXED BY images_undescribed
            WHERE path >= ? AND path < ? AND described = 0 AND vector IS NOT NULL AND gone_ns IS NULL ORDER BY path
        """
        if not self._database.has_facts:
            return []
        with self._database.reading():
            found = self._database.connection.execute(sql, self._database.range_of(folder)).fetchall()
            check(may_hold(("id", "path", "size", "mtime_ns"), found))
            return [Undescribed(id_, self._database.outer(path), *row) for id_, path, *row in found]

    def cameras(self) -> dict[int, tuple[str, str]]:
        """Maker and model of each."""
        with self._database.reading():
            rows = self._database.connection.execute("SELECT id, maker, model FROM cameras").fetchall()
            check(may_hold(("id", "maker", "model"), rows))
            return {id_: (maker, model) for id_, maker, model in rows}

    # --- writing -----------------------------------------------------------------------------------------------------

    def describe(self, id_: int, facts: Facts) -> None:
        """Adds what a photo's file tells to a row that was stored without, if it is still there."""
        sql = "UPDATE images SET described = 1 WHERE id = ?"
        if self._database.connection.execute(sql, (id_,)).rowcount:
            self.add(id_, facts)
            self.restate(id_)

    def add(self, id_: int, facts: Facts) -> None:
        """Those of a photo that has been stored as described."""
        if facts == NONE:
            return
        connection = self._database.connection
        maker_model = facts.maker, facts.model
        if any(maker_model):
            connection.execute("INSERT OR IGNORE INTO cameras (maker, model) VALUES (?, ?)", maker_model)
        sql = """
            INSERT OR REPLACE INTO facts
            VALUES (?, ?, ?, ?, ?, (SELECT id FROM cameras WHERE maker = ? AND model = ?), ?, ?, ?, ?)
        """
        keywords = _BETWEEN_KEYWORDS.join(facts.keywords) or None
        when_and_where = facts[:4]
        connection.execute(sql, (id_, *when_and_where, *maker_model, facts.width, facts.height, keywords, facts.rating))

    def copy(self, source_id: int, id_: int | None) -> None:
        """Those of one photo for another with the same bytes."""
        sql = """
            INSERT INTO facts
            SELECT ?, captured_s, offset_min, latitude, longitude, camera, width, height, keywords, rating
            FROM facts WHERE id = ?
        """
        self._database.connection.execute(sql, (id_, source_id))

    def restate(self, id_: int) -> None:
        """What is derived is to take note that something else is told of the photo now."""
        self._database.connection.execute("INSERT OR IGNORE INTO restated VALUES (?)", (id_,))


def _facts(row: Sequence[Any]) -> Facts:
    *others, keywords, rating = row
    return Facts._make((*others, tuple(keywords.split(_BETWEEN_KEYWORDS)) if keywords else (), rating))
