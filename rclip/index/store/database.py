"""The file of an index: creating, opening and upgrading it, and how paths stand in it."""

import os
import re
from collections.abc import Callable
from contextlib import suppress

from rclip import datadir, errors
from rclip.errors import StoreError, plain_reason
from rclip.index.location import IndexLocation, default_location, is_ours
from rclip.index.store import schema
from rclip.index.store.connections import (
    SUFFIXES,
    check_files,
    connect,
    connect_anywhere,
    connect_copy,
    connect_immutable,
    connect_own,
)
from rclip.index.store.session import Session, require

_MOST_QUOTED = 200
CHUNK_ROWS = 8192
"""So many are fetched at a time of what may be a million."""


class Database(Session):
    """The file of an index at its place: created where there is none, and upgraded where it is of an older rclip."""

    def __init__(
        self,
        path: str,
        model_key: str,
        preprocessing: int,
        place: IndexLocation | None = None,
        dimensions: Callable[[], int | None] = lambda: None,
    ):
        """Opens the index of that model at `path`, making it when there is none and bringing it up to date.

        Where nothing can be written it is opened for reading alone. `place` is given for an index that lies with the
        photos: it takes no more of the file system than it must, and may be found elsewhere the next time.
        `dimensions` tells the length of the model's vectors, where that is known: one that may be anybody's must have
        such. Raises `StoreError`.
        """
        super().__init__(path, place)
        self._lock: int | None = None
        self._dimensions = dimensions
        self._known_dimensions: int | None = None
        self.root = place.root if place else b""
        """What comes before the table's paths; only this package knows of it."""
        identity = {"model": model_key, "preprocessing": str(preprocessing)}
        try:
            with self.errors():
                self._open(identity)
                self._migrate(identity)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._close_connection()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- its properties ----------------------------------------------------------------------------------------------

    @property
    def dimensions(self) -> int | None:
        """The length of the model's vectors; None where that is not known yet."""
        if self._known_dimensions is None:
            self._known_dimensions = self._dimensions()
        return self._known_dimensions

    @property
    def cache_folder(self) -> str:
        """Where what is derived from it is kept."""
        return (self._place or default_location(os.path.dirname(self.path))).cache_folder(self.path)

    @property
    def modes(self) -> tuple[int, int]:
        """Of folders and of files that are made for this index: as open to others as its folder, if it travels."""
        if not self.is_portable:
            return 0o700, 0o600
        mode = os.stat(os.path.dirname(self.path)).st_mode & 0o2775  # never for all to write
        return mode, mode & 0o664

    @property
    def is_writable(self) -> bool:
        """As far as its permissions and those of its folder tell."""
        return not self.is_foreign and os.access(self.path, os.W_OK) and os.access(os.path.dirname(self.path), os.W_OK)

    # --- making and opening ------------------------------------------------------------------------------------------

    def _open(self, identity: dict[str, str]) -> None:
        if self.is_foreign:
            refuse_strange_files(self.path, self._place)
            self._use(connect_immutable(self.path))
            self._limits.allow(self.path)
            self._limits.set_for(self.connection)
            return
        self._share_folder()
        refuse_strange_files(self.path, self._place)
        if not os.path.lexists(self.path):
            self._create(identity)
        opened = connect_anywhere if self.is_portable else connect_own
        self._use(opened(self.path, self.is_writable))

    def _share_folder(self) -> None:
        try:
            datadir.make_private(os.path.dirname(self.path))
            self._lock = datadir.share(os.path.dirname(self.path))
        except OSError as error:
            raise self._not_made(error) from error

    def _not_made(self, error: OSError) -> StoreError:
        return errors.CannotCreate(path=self.path, root=self.folder_served, reason=plain_reason(error))

    def _create(self, identity: dict[str, str]) -> None:
        """Makes the file beside its place and links it there whole: of two runs that make it one is a moment late.

        Where a deleted index has left its log behind, SQLite would play that into the new one. Only for an empty file
        does it know better. One that travels is made in its place, too, as there may be no links; of those who make it
        at once SQLite's locks see to it that the first does, as its journal is not changed.
        """
        if self.is_portable:
            self._create_in_place()
            return
        folder, name = os.path.split(self.path)
        temporary = os.path.join(folder, f"{datadir.TEMPORARY}{os.urandom(4).hex()}-{name}.new")
        is_log_left = os.path.exists(self.path + "-wal")
        try:
            os.close(os.open(self.path if is_log_left else temporary, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise self._not_made(error) from error
        if is_log_left:
            return
        try:
            self._use(connect(temporary))
            self._upgrade(identity)
            self.fold_log()
            self._close_connection()
            _place_unless_there(temporary, self.path)
        finally:
            self._close_connection()
            for suffix in SUFFIXES:
                with suppress(OSError):
                    os.unlink(temporary + suffix)

    def _create_in_place(self) -> None:
        folder = os.path.dirname(self.path)
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, os.stat(folder).st_mode & 0o664)
            datadir.open_up(descriptor, self.modes[1])
        except OSError as error:
            raise self._not_made(error) from error
        os.close(descriptor)

    def _migrate(self, identity: dict[str, str]) -> None:
        with self.snapshot():  # another run may just be making it
            is_empty = not self.value("SELECT count(*) FROM sqlite_schema")
            application_id = self.value("PRAGMA application_id")
            version = self.value("PRAGMA user_version")
            found = schema.of_file(self.connection)
        if application_id != schema.APPLICATION_ID and not is_empty:
            raise errors.ForeignDatabase(path=self.path, root=self.folder_served)
        if version > schema.VERSION:
            raise errors.NewerIndex(path=self.path)
        if not is_empty and (version < 1 or found != schema.expected(version)):
            raise self.damage()
        if version < schema.VERSION:
            if not is_empty and (not self.is_writable or self.connection.lacks_room):
                self._replace_by_copy()
            self._upgrade(identity)
        self._prepare(self.connection)
        stored = {key: (self.note(key) or "")[:_MOST_QUOTED] for key in identity}
        if identity != stored:
            raise errors.OtherModel(path=self.path, stored=stored)

    def _replace_by_copy(self) -> None:
        """Works on a temporary copy of an older rclip's index that may not be written, as that can be upgraded."""
        self._use(connect_copy(self.connection))

    def _upgrade(self, identity: dict[str, str]) -> None:
        if self.value("SELECT count(*) FROM sqlite_schema") == 0:
            # Seven rows a page; 4 KiB hold three and waste 600 bytes.
            self.connection.execute("PRAGMA page_size = 8192")
            if not self.is_portable:
                self.connection.execute("PRAGMA journal_mode = WAL")
        with self.transaction():
            schema.upgrade(self.connection, self.value("PRAGMA user_version"))
            self.connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", identity.items())

    # --- paths -------------------------------------------------------------------------------------------------------

    def inner(self, path: bytes) -> bytes:
        """The path as the table has it; an empty one, which it never has, for what is not below the root."""
        if not self.root:
            return path
        return path[len(self.root) :] if path.startswith(self.root + b"/") else b""

    def outer(self, path: bytes) -> bytes:
        """The other way round. Raises ValueError for what may lead elsewhere, in an index that may be anybody's."""
        require(not self.is_portable or is_inner(path))
        return self.root + path

    def range_of(self, folder: bytes) -> tuple[bytes, bytes]:
        """Of the table's paths that are below a folder, which ends in a slash."""
        return folder_range(b"/" if (self.root + b"/").startswith(folder) else self.inner(folder))


def is_inner(path: bytes) -> bool:
    """Whether a path is one that is below the root, in its plain form, or one of what has been displaced."""
    if len(path) > _LONGEST_PATH:
        return False
    if path.startswith(b"\0"):
        return path[1:].isdigit()
    if b"//" in path or b"/." in path or b"\0" in path:  # of which the second is usually but a hidden file
        return b"\0" not in path and re.fullmatch(_PLAIN, path) is not None
    return path.startswith(b"/") and not path.endswith(b"/")


_LONGEST_PATH = 4096
"""In bytes. No system opens a longer one."""
_PLAIN = rb"(?:/(?!\.{0,2}(?:/|\Z))[^/]+)+"


def refuse_strange_files(path: str, place: IndexLocation | None) -> None:
    """Raises `StoreError` where one of an index's files is none that rclip makes, or is somebody else's."""
    try:
        if place and not place.is_default:
            check_files(path)
        elif os.path.lexists(path) and not os.path.isfile(path):
            raise ValueError(f"{path} is no plain file")
        if place and not place.is_adopted and not is_ours(path):
            raise ValueError(f"{path} belongs to another user")
    except (OSError, ValueError) as error:
        raise errors.StrangeFile(reason=plain_reason(error)) from error


def folder_range(folder: bytes) -> tuple[bytes, bytes]:
    """The half-open range of all paths below a folder, whose name ends in a slash: `/a/` -> `/a/`, `/a0`."""
    return folder, folder[:-1] + bytes([folder[-1] + 1])


def _place_unless_there(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not os.path.exists(path):
            os.rename(temporary, path)
