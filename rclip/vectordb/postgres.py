"""PostgreSQL with the extension vector (pgvector).

The table `rclip_photos` is divided by a hash of the path, so that whoever runs the database can put its parts, as
foreign tables, on several machines. PostgreSQL itself merges what they answer, and ends a query with an error where one
of them does not. Names and passwords come from where libpq looks for them: `PGUSER`, `PGPASSWORD`, `~/.pgpass`,
`~/.pg_service.conf`.
"""

import logging
import math
import os
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import numpy as np

from rclip.errors import (
    BadAnswer,
    CannotConnect,
    MissingDriver,
    MissingShard,
    NewerDatabase,
    NothingPushed,
    NoVectorType,
    OlderDatabase,
    OtherModelPushed,
    PasswordInAddress,
    ServerFailed,
    plain_reason,
    without_passwords,
)
from rclip.vectordb import postgres_tables, rows
from rclip.vectordb.conditions import after, where
from rclip.vectordb.interface import SCHEMA_VERSION, Conditions, ModelStamp, PushedPhoto, ScoredRow
from rclip.vectordb.limits import time_limit_s, too_long

_DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "20",  # a server that is gone without a word is given up after a minute
    "keepalives_interval": "10",
    "keepalives_count": "4",
    "tcp_user_timeout": "60000",
    "application_name": "rclip",
}
"""Of libpq, where neither the address nor the environment says otherwise."""

LOCK = 0x72636C70
"""Of PostgreSQL's advisory locks: whoever writes holds it to the end of a transaction."""

_HAS_TABLES = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'rclip_meta' AND pg_table_is_visible(oid))"

_PAGE = 10_000  # rows listed at a time
_MOST_FROM_AN_INDEX = 1000  # for more photos, an approximate index looks no further

_CAN_ITERATE = """
    SELECT coalesce((
        SELECT string_to_array(substring(extversion from '^[0-9.]+'), '.')::int[] >= '{0,8}'::int[]
        FROM pg_extension WHERE extname = 'vector'
    ), false)
"""
"""Whether an approximate index is searched on where filters let few of its first photos pass."""

_TAKEN_S = "coalesce(captured_s, mtime_ns / 1000000000)"


class PostgresDatabase:
    """One connection, for one thread."""

    def __init__(self, url: str):
        """Raises `MissingDriver`."""
        self.url = without_passwords(url)
        self._address = url
        self._connection: Any = None
        self._dimensions = 0
        self._can_iterate = False
        self._shards: list[Any] = []
        try:
            import psycopg
            import psycopg.conninfo
            import psycopg.sql
        except ImportError as error:
            raise MissingDriver(url=self.url, package="psycopg[binary]", python=sys.executable) from error
        logging.getLogger("psycopg").addHandler(logging.NullHandler())  # it would write to stderr by itself
        self._driver = psycopg
        self._sql = psycopg.sql

    # --- the connection ----------------------------------------------------------------------------------------------

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Any:
        try:
            given = self._driver.conninfo.conninfo_to_dict(self._address)
            if given.keys() & {"password", "sslpassword"}:  # a list of processes shows it to everybody
                raise PasswordInAddress
            defaults: Any = {name: value for name, value in _DEFAULTS.items() if _is_unsaid(name, given)}
            connection: Any = self._driver.connect(self._address, **defaults, client_encoding="utf8", autocommit=True)
        except (self._driver.Error, ValueError, OSError) as error:
            raise CannotConnect(url=self.url, reason=self._reason(error)) from None
        connection.prepare_threshold = None  # poolers hand a prepared statement to somebody else
        connection.wait = partial(_wait, connection, connection.wait, self._driver.OperationalError)
        return connection

    def _reason(self, error: BaseException) -> str:
        """In one line, without the password that a hostile server may have been sent and say again."""
        said = plain_reason(error).removeprefix("connection failed: ")
        secret = os.environ.get("PGPASSWORD")
        return without_passwords(said.replace(secret, "…") if secret else said)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The driver's errors as ours; none of them is chained, as their texts may hold what is nobody's business."""
        try:
            yield
        except rows.Unsound as error:
            raise BadAnswer(url=self.url, what=str(error)) from None
        except self._driver.Error as error:
            raise ServerFailed(url=self.url, reason=self._reason(error)) from None
        except (ValueError, OverflowError) as error:  # texts that are none, numbers that are none
            raise BadAnswer(url=self.url, what=f"what cannot be read ({self._reason(error)})") from None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _rows(self, statement: Any, values: dict[str, object] | None = None, most: int | None = None) -> Iterator[Any]:
        """One by one: what has not been asked for does not fill the memory.

        Where they are not taken to the end, the connection is closed: to ask a hostile server to stop takes long.
        """
        with self._connected().cursor(binary=True) as cursor, closing(cursor.stream(statement, values or {})) as found:
            is_whole = False
            try:
                for number, row in enumerate(found):
                    if most is not None and number >= most:
                        raise rows.Unsound("more rows than asked for")
                    yield row
                is_whole = True
            finally:
                if not is_whole:
                    self.close()

    def _value(self, statement: Any, values: dict[str, object] | None = None) -> Any:
        (row,) = self._rows(statement, values, 1)
        return row[0]

    # --- what is there -----------------------------------------------------------------------------------------------

    def prepare(self, model: ModelStamp) -> None:
        with self._errors():
            if not self._has_tables():
                self._create(model)
        self.require(model)

    def require(self, model: ModelStamp) -> None:
        with self._errors():
            if not self._has_tables():
                raise NothingPushed(url=self.url)
            meta = dict(self._rows("SELECT key, value FROM rclip_meta LIMIT 20", most=20))
            version = int(meta.get("schema", 0))
            if version != SCHEMA_VERSION:
                kind = OlderDatabase if version < SCHEMA_VERSION else NewerDatabase
                raise kind(url=self.url, version=version)
            stored = _stamp(meta)
            if not stored.is_like(model):
                raise OtherModelPushed(url=self.url, stored=stored.name[:200])
            self._dimensions = stored.dimensions
            self._can_iterate = bool(self._value(_CAN_ITERATE))
            self._shards = self._found_shards(int(meta.get("shards", postgres_tables.SHARDS)))

    def _has_tables(self) -> bool:
        """Read from the catalogue: `to_regclass` may remember an answer from before a lock was waited for."""
        return bool(self._value(_HAS_TABLES))

    def _found_shards(self, count: int) -> list[Any]:
        """Raises `MissingShard` where a part of the table has been taken off: no answer is made of the others."""
        statement = """
            SELECT nspname::text, relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE inhparent = to_regclass('rclip_photos') ORDER BY relname
        """
        found = [self._sql.Identifier(*names) for names in self._rows(statement, most=1 << 16)]
        if len(found) != count or not found:
            raise MissingShard(url=self.url, found=len(found), count=count)
        return found

    def _create(self, model: ModelStamp) -> None:
        """All of it or nothing; of two at once, the second finds what the first has made."""
        with self._writing() as connection:
            if self._has_tables():
                return
            self._create_extension(connection)
            postgres_tables.make(connection, self._sql, model)

    def _create_extension(self, connection: Any) -> None:
        try:
            with connection.transaction():
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except (self._driver.errors.FeatureNotSupported, self._driver.errors.UndefinedFile) as error:
            raise NoVectorType(url=self.url, reason=self._reason(error)) from None
        except self._driver.errors.InsufficientPrivilege as error:
            raise NoVectorType(url=self.url, reason=self._reason(error)) from None

    # --- writing -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """A transaction; those of several pushes take turns."""
        connection = self._connected()
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            yield connection

    def known(self, folder: bytes) -> Iterator[tuple[bytes, bytes]]:
        last, end = folder, after(folder)
        statement = f"""
            SELECT path, fingerprint FROM rclip_photos
            WHERE path > %(last)s {"AND path < %(end)s" if end else ""} ORDER BY path LIMIT %(page)s
        """  # noqa: S608 - one of two texts
        while True:
            with self._errors():
                page = list(self._rows(statement, {"last": last, "end": end, "page": _PAGE}, _PAGE))
                for path, fingerprint in page:
                    if type(path) is not bytes or type(fingerprint) is not bytes or path <= last:
                        raise rows.Unsound("a list in disorder")
                    last = path
            yield from page
            if len(page) < _PAGE:
                return

    def store(self, photos: Sequence[PushedPhoto], removed: Sequence[bytes]) -> None:
        with self._errors(), self._writing() as connection:
            replaced = [*removed, *(photo.path for photo in photos)]
            connection.execute("DELETE FROM rclip_photos WHERE path = ANY(%s)", (replaced,))
            into = f"COPY rclip_photos ({', '.join(rows.COLUMNS)}) FROM STDIN (FORMAT BINARY)"
            with connection.cursor() as cursor, cursor.copy(into) as copy:
                copy.set_types([*rows.COLUMNS.values()])
                for photo in photos:
                    copy.write_row(rows.written(photo))

    # --- asking ------------------------------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with self._errors():
            connection = self._connected()
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                connection.execute("SET LOCAL jit = off")
                yield

    @property
    def is_approximate(self) -> bool:
        statement = """
            SELECT EXISTS (
                SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
                JOIN pg_inherits ON inhrelid = indrelid
                WHERE inhparent = to_regclass('rclip_photos') AND amname IN ('hnsw', 'ivfflat')
            )
        """
        with self._errors():
            return bool(self._value(statement))

    def has_photos(self, conditions: Conditions) -> bool:
        sql, values = where(conditions)
        statement = f"SELECT EXISTS (SELECT FROM rclip_photos WHERE {sql})"  # noqa: S608 - see `where`
        with self._errors():
            return bool(self._value(statement, values))

    def count(self, conditions: Conditions) -> int:
        sql, values = where(conditions)
        statement = f"SELECT count(*) FROM rclip_photos WHERE {sql}"  # noqa: S608 - see `where`
        with self._errors():
            return _whole(self._value(statement, values))

    def nearest(
        self, query: np.ndarray, k: int | None, conditions: Conditions, least: float, is_exact: bool
    ) -> Iterator[ScoredRow]:
        """Of each shard its nearest, as each may then use an index of its own: 4 times as fast as of the whole table.

        Over what an approximate index says once more, `is_exact` looks at every photo.
        """
        may_use_index = not is_exact and k is not None and k <= _MOST_FROM_AN_INDEX
        sql, values = where(conditions)
        if math.isfinite(least):
            sql += " AND vector <#> %(query)s::halfvec <= %(farthest)s"
            values["farthest"] = -least
        distance = "vector <#> %(query)s::halfvec"
        statement = self._of_all_shards(f"{', '.join(rows.READ)}, {distance} AS nearness", sql, distance)
        values |= {"query": rows.literal(query), "k": k}
        with self._errors():
            self._scan(k if may_use_index else None)
            last = -math.inf
            for row in self._rows(statement, values, k):
                found = rows.read(row, self._dimensions)
                if found.score < last:
                    raise rows.Unsound("photos in disorder")
                last = found.score
                yield found._replace(score=-found.score)

    def newest(self, k: int | None, conditions: Conditions) -> Iterator[ScoredRow]:
        sql, values = where(conditions)
        columns = f"{', '.join(rows.READ)}, {_TAKEN_S} AS nearness"
        statement = self._of_all_shards(columns, sql, f"{_TAKEN_S} DESC", "DESC")
        with self._errors():
            for row in self._rows(statement, values | {"k": k}, k):
                yield rows.read(row, self._dimensions)

    def scores(self, query: np.ndarray, k: int, conditions: Conditions) -> np.ndarray:
        sql, values = where(conditions)
        distance = "vector <#> %(query)s::halfvec"
        statement = self._of_all_shards(f"{distance} AS nearness", sql, distance)
        with self._errors():
            self._scan(None)
            found = [-row[0] for row in self._rows(statement, values | {"query": rows.literal(query), "k": k}, k)]
            scores = np.array(found, np.float32)
            if not np.isfinite(scores).all() or (np.diff(scores) > 0).any():
                raise rows.Unsound("scores in disorder")
            return scores

    def quantiles(self, query: np.ndarray, levels: Sequence[float]) -> tuple[list[float], int]:
        statement = """
            SELECT percentile_cont(%(levels)s::float8[]) WITHIN GROUP (ORDER BY -(vector <#> %(query)s::halfvec)),
                   count(*)
            FROM rclip_photos
        """
        values: dict[str, object] = {"levels": list(levels), "query": rows.literal(query)}
        with self._errors():
            ((quantiles, count),) = self._rows(statement, values, 1)
            if not _whole(count):
                return [math.nan] * len(levels), 0
            if type(quantiles) is not list or len(quantiles) != len(levels) or not all(map(_is_score, quantiles)):
                raise rows.Unsound("quantiles")
            return quantiles, count

    def _of_all_shards(self, columns: str, condition: str, order: str, direction: str = "") -> Any:
        """The first %(k)s of the first of each shard."""
        one = f"(SELECT {columns} FROM {{}} WHERE {condition} ORDER BY {order} LIMIT %(k)s)"  # noqa: S608 - see `where`
        union = self._sql.SQL(" UNION ALL ").join(self._sql.SQL(one).format(shard) for shard in self._shards)
        whole = f"SELECT * FROM ({{}}) AS each_shard ORDER BY nearness {direction} LIMIT %(k)s"  # noqa: S608
        return self._sql.SQL(whole).format(union)

    def _scan(self, from_index: int | None) -> None:
        """Whether an approximate index may be used in this transaction, for so many photos; filters are no obstacle.

        pgvector's indexes are read by index scans only, ordinary ones also by bitmaps.
        """
        connection = self._connected()
        if from_index is None:
            connection.execute("SET LOCAL enable_indexscan = off")
            return
        connection.execute("SET LOCAL enable_indexscan = on")
        settings = {"hnsw.ef_search": str(max(40, min(1000, 2 * from_index)))}
        if self._can_iterate:
            settings |= {"hnsw.iterative_scan": "strict_order", "ivfflat.iterative_scan": "relaxed_order"}
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, true)", (name, value))


def _wait(
    connection: Any, wait: Any, error: type[Exception], steps: Generator[Any, int, Any], *args: Any, **named: Any
) -> Any:
    """As psycopg's `Connection.wait`, through which all its answers come, but not for ever."""
    return wait(_steps_in_time(connection, steps, error, time_limit_s()), *args, **named)


def _steps_in_time(
    connection: Any, steps: Generator[Any, int, Any], error: type[Exception], limit_s: float
) -> Generator[Any, int, Any]:
    """The steps of psycopg's waiting, which takes one about every tenth of a second while nothing comes.

    The connection is closed when time is up, as an answer that comes later belongs to nothing.
    """
    begin = time.monotonic()
    try:
        state = next(steps)
        while True:
            state = steps.send((yield state))
            if time.monotonic() - begin > limit_s:
                connection.close()
                raise error(too_long(limit_s))
    except StopIteration as end:
        return end.value


def _is_unsaid(name: str, given: dict[str, Any]) -> bool:
    variables = {"connect_timeout": "PGCONNECT_TIMEOUT", "application_name": "PGAPPNAME"}
    return name not in given and not os.environ.get(variables.get(name, ""))


def _stamp(meta: dict[str, str]) -> ModelStamp:
    """Raises `Unsound`."""
    try:
        numbers = int(meta["preprocessing"]), int(meta["dimensions"])
        return ModelStamp(meta["name"], meta["key"], *numbers)
    except (KeyError, TypeError, ValueError):
        raise rows.Unsound("a model") from None


def _whole(count: Any) -> int:
    if type(count) is not int or count < 0:
        raise rows.Unsound("a count")
    return count


def _is_score(value: object) -> bool:
    return type(value) is float and math.isfinite(value)
