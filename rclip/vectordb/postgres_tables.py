"""The tables of a shared database in PostgreSQL, and how they are made."""

from typing import Any

from rclip.vectordb.interface import SCHEMA_VERSION, ModelStamp

SHARDS = 8
"""Parts of the table, which may lie on several machines."""

_PLAIN_DIMENSIONS = 1900  # up to which a vector is kept in its row, where it is read fastest

_TABLES = """
    CREATE TABLE rclip_meta (key text PRIMARY KEY, value text NOT NULL);
    CREATE TABLE rclip_photos (
        path bytea NOT NULL,
        fingerprint bytea NOT NULL,
        size_bytes bigint NOT NULL,
        mtime_ns bigint NOT NULL,
        vector halfvec({dimensions}) NOT NULL,
        suffix text NOT NULL,
        captured_s bigint,
        offset_min integer,
        latitude double precision,
        longitude double precision,
        maker text NOT NULL,
        model text NOT NULL,
        width bigint,
        height bigint,
        keywords text[] NOT NULL,
        rating integer,
        missing_percent integer,
        captured_from integer NOT NULL,
        lens text NOT NULL,
        title text NOT NULL,
        headline text NOT NULL,
        caption text NOT NULL
    ) PARTITION BY HASH (path);
    ALTER TABLE rclip_photos ALTER COLUMN vector SET STORAGE {storage};
"""
_SHARD = """
    CREATE TABLE {name} PARTITION OF rclip_photos FOR VALUES WITH (MODULUS {shards}, REMAINDER {number});
    ALTER TABLE {name} ADD PRIMARY KEY (path);
    CREATE INDEX ON {name} (captured_s);
    CREATE INDEX ON {name} (mtime_ns) WHERE captured_s IS NULL;
    CREATE INDEX ON {name} (latitude, longitude) WHERE latitude IS NOT NULL;
"""


def make(connection: Any, sql: Any, model: ModelStamp) -> None:
    """Makes them for that model's vectors, with psycopg's module `sql`, in the connection's transaction."""
    storage = "PLAIN" if model.dimensions <= _PLAIN_DIMENSIONS else "EXTERNAL"
    tables = sql.SQL(_TABLES).format(dimensions=sql.Literal(model.dimensions), storage=sql.SQL(storage))
    connection.execute(tables)
    for number in range(SHARDS):
        shard = sql.SQL(_SHARD).format(
            name=sql.Identifier(f"rclip_photos_{number}"),
            shards=sql.Literal(SHARDS),
            number=sql.Literal(number),
        )
        connection.execute(shard)
    meta = {"schema": SCHEMA_VERSION, "shards": SHARDS, **model._asdict()}
    with connection.cursor() as cursor:
        pairs = [(key, str(value)) for key, value in meta.items()]
        cursor.executemany("INSERT INTO rclip_meta VALUES (%s, %s)", pairs)
