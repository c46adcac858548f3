"""Which photos pass a filter's clause, and when photos were taken, by the table's own indexes."""

from collections.abc import Iterator, Sequence
from heapq import merge

import numpy as np

from rclip.filters import Clause, TimeRange, shown_here_s
from rclip.index.store.database import CHUNK_ROWS, Database

# Clauses are written by the filters' classes; the values in them are parameters.
_MORE = "SELECT 1 FROM ({}) LIMIT 1 OFFSET ?"


def ids(database: Database, clause: Clause) -> np.ndarray:
    """Ids (N,) int64, ascending, of the photos that the clause selects."""
    with database.reading():
        rows = database.connection.execute(*clause)
        return np.sort(np.array([id_ for (id_,) in rows], np.int64))


def ids_up_to(database: Database, clause: Clause, most: int) -> np.ndarray | None:
    """The same; None when there are more than `most`: counting is several times faster than fetching."""
    with database.errors():
        more = _MORE.format(clause.sql)
        has_more = database.connection.execute(more, (*clause.parameters, most)).fetchone()
    return None if has_more else ids(database, clause)


def newest_first(database: Database, times: TimeRange) -> Iterator[np.ndarray]:
    """Ids of all photos taken within that range, missing ones too, some thousands (n,) at a time.

    By the time that the camera's clock or, for photos without, clocks here had shown; of two photos of one time the
    later stored comes first. Photos without a camera's time stay in the order of their files' times where clocks here
    were set back.
    """
    by_camera = """
        SELECT captured_s, id FROM metadata WHERE captured_s >= ? AND captured_s < ? ORDER BY captured_s DESC, id DESC
    """
    by_file = """
        SELECT mtime_ns, id FROM images
        WHERE has_capture_time = 0 AND vector IS NOT NULL AND mtime_ns >= ? AND mtime_ns < ?
        ORDER BY mtime_ns DESC, id DESC
    """
    with database.reading():
        captured = database.connection.execute(by_camera, times.clock_s)
        filed = database.connection.execute(by_file, times.mtime_ns)
        of_files = ((shown_here_s(mtime_ns // 10**9), id_) for mtime_ns, id_ in filed)
        merged = merge(captured, of_files, key=lambda taken: (-taken[0], -taken[1]))
        count = 64  # nearly always enough
        while chunk := [id_ for _, (_, id_) in zip(range(count), merged, strict=False)]:
            yield np.array(chunk, np.int64)
            count = min(4 * count, CHUNK_ROWS)


def newest_of(database: Database, among: Sequence[int]) -> np.ndarray:
    """These ids (N,), in the order of `newest_first`, but for those that are no photo's any more."""
    sql = """
        SELECT captured_s, mtime_ns FROM images LEFT JOIN metadata ON metadata.id = images.id
        WHERE images.id = ? AND vector IS NOT NULL
    """
    with database.reading():
        found = ((id_, database.connection.execute(sql, (id_,)).fetchone()) for id_ in among)
        taken = [
            (shown_here_s(times[1] // 10**9) if times[0] is None else times[0], id_) for id_, times in found if times
        ]
        return np.array([id_ for _, id_ in sorted(taken, reverse=True)], np.int64)
