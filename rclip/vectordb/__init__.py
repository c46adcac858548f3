"""Databases that hold the photos of an index for others: one interface, with an engine for each kind of address."""

from rclip.errors import UnknownDatabase
from rclip.vectordb.interface import Conditions, ModelStamp, PushedPhoto, ScoredRow, VectorDatabase

__all__ = ["Conditions", "ModelStamp", "PushedPhoto", "ScoredRow", "VectorDatabase", "open_database"]


def open_database(url: str, data_dir: str) -> VectorDatabase:
    """The database at an address. Nothing is connected yet. Raises `UnknownDatabase`, and `MissingDriver`.

    `data_dir` is the user's own folder, which knows the Chroma folders that this user has made.
    """
    if url.startswith(("postgresql://", "postgres://")):
        from rclip.vectordb.postgres import PostgresDatabase

        return PostgresDatabase(url)
    if url.startswith(("chroma+http://", "chroma+https://")):
        from rclip.vectordb.chroma.database import ChromaDatabase
        from rclip.vectordb.chroma.server import Server

        return ChromaDatabase(Server(url))
    if url.startswith("chroma:///"):
        from rclip.vectordb.chroma.database import ChromaDatabase
        from rclip.vectordb.chroma.folder import ChromaFolder

        return ChromaDatabase(ChromaFolder(url, data_dir))
    raise UnknownDatabase(url=url)
