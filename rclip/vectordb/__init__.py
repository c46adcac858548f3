"""Databases that hold the photos of an index for others: one interface, with an engine for each kind of address."""

from rclip.errors import UnknownDatabase
from rclip.vectordb.interface import Conditions, ModelStamp, PushedPhoto, ScoredRow, VectorDatabase

__all__ = ["Conditions", "ModelStamp", "PushedPhoto", "ScoredRow", "VectorDatabase", "open_database"]


def open_database(url: str) -> VectorDatabase:
    """The database at an address. Nothing is connected yet. Raises `UnknownDatabase`, and `MissingDriver`."""
    if url.startswith(("postgresql://", "postgres://")):
        from rclip.vectordb.postgres import PostgresDatabase

        return PostgresDatabase(url)
    raise UnknownDatabase(url=url)
