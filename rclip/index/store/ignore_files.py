"""What the ignore files said that the last updates came across: the table `ignore_files`.

Searches go by it, so that they need not look into folders. Folders end in a slash.
"""

from collections.abc import Mapping

from rclip.index.store.database import Database, folder_range
from rclip.index.store.session import require


class IgnoreFileTable:
    """The remembered ignore files of one index. Methods raise `StoreError`."""

    def __init__(self, database: Database):
        self._database = database
        self._unsaved: dict[bytes, bytes | None] = {}
        """What could not be stored, because the index may only be read; it counts as long as this is open."""

    def is_empty(self) -> bool:
        with self._database.reading():
            found = self._database.connection.execute("SELECT 1 FROM ignore_files LIMIT 1").fetchone()
        return found is None and not self._unsaved

    def content(self, folder: bytes) -> bytes | None:
        """Of the ignore file in this folder."""
        if folder in self._unsaved:
            return self._unsaved[folder]
        with self._database.reading():
            sql = "SELECT content FROM ignore_files WHERE folder = ?"
            found = self._database.connection.execute(sql, (self._database.inner(folder),)).fetchone()
            require(found is None or type(found[0]) is bytes)
            return bytes(found[0]) if found else None

    def around(self, folder: bytes) -> dict[bytes, bytes]:
        """Those in a folder, below it and above it, by their folders."""
        if self.is_empty():
            return {}
        sql = "SELECT folder, content FROM ignore_files WHERE folder >= ? AND folder < ?"
        with self._database.reading():
            inner = folder_range(self._database.inner(folder) or b"/")
            below = self._database.connection.execute(sql, inner).fetchall()
            require(all(type(name) is bytes and type(content) is bytes for name, content in below))
            found = {self._database.outer(name + b"x")[:-1]: content for name, content in below}
        above = {above: self.content(above) for above in _above(folder)}
        return found | {above: content for above, content in above.items() if content is not None}

    def change(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Takes over what ignore files say now; None for one that is gone.

        Where the index may only be read, it counts until it is closed.
        """
        if not self._database.is_writable:
            self._unsaved |= changes
            return
        rows = [(self._database.inner(folder), content) for folder, content in changes.items()]
        with self._database.transaction():
            connection = self._database.connection
            connection.executemany("DELETE FROM ignore_files WHERE folder = ?", ((folder,) for folder, _ in rows))
            connection.executemany(
                "INSERT INTO ignore_files VALUES (?, ?)", (row for row in rows if row[1] is not None)
            )


def _above(folder: bytes) -> list[bytes]:
    """The folders above this one."""
    ends = [place + 1 for place, sign in enumerate(folder[:-1]) if sign == ord("/")]
    return [folder[:end] for end in ends]
