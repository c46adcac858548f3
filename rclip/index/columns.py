"""What photos are filtered by, in columns beside the matrix: a million photos are looked through in milliseconds.

Reading it out of SQLite takes a second a million. Like the matrix, whose rows they follow, the columns are derived and
disposable: on any doubt they are made anew, and where that cannot be the table answers. A search without filters opens
none of this.

    <model>.matrix/columns.json               what the file holds, and the stat it had when that was last checked
    <model>.matrix/columns-<name>-<token>     one column behind the other, N values each; <token> is the matrix's

What has changed since of photos in the file (a new name or time, facts that were found later) is listed by the table in
`restated`, and read from there; when it has become much the file is written anew. The table's note of the file goes
with that list.
"""

import mmap
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from rclip import datadir, isolation, manifest
from rclip.errors import CacheNotWritten, plain_reason
from rclip.filters import Filters
from rclip.index import sieve
from rclip.index.sieve import Column
from rclip.index.store import Store, filterable
from rclip.index.vector_cache import APPEND_FROM_ROWS, RowSelection, VectorCache


class _Manifest(NamedTuple):
    """What the file holds."""

    name: str
    token: str
    rows: int
    last_id: int
    suffixes: list[str]
    crc32: int
    stat: list[int]

    @property
    def note(self) -> str:
        return f"{self.name} {self.rows}"

    def check(self) -> None:
        """Raises ValueError for what was never written so."""
        are_names = manifest.is_name(self.name) and manifest.is_name(self.token)
        if not are_names or not manifest.are_counts(self.rows, self.last_id, self.crc32):
            raise ValueError("damaged")


class _Stored(NamedTuple):
    contents: _Manifest
    mapped: mmap.mmap


class Columns:
    """The columns of one index, as they are on disk and in the table now."""

    def __init__(self, store: Store, matrix: VectorCache):
        self._store = store
        self._matrix = matrix
        self._folder = matrix.folder
        self._map()

    def _map(self) -> None:
        stored = self._trusted()
        self._stored = stored if stored and stored.contents.rows == self._matrix.rows else None

    def _is_current(self) -> bool:
        return self._stored is not None and filterable.restated_count(self._store) < APPEND_FROM_ROWS

    # --- choosing ----------------------------------------------------------------------------------------------------

    def chosen(self, filters: Filters) -> RowSelection:
        """The photos that pass by what the columns tell: all but paths and scores. Gone ones are among them."""
        cameras = sieve.cameras_meant(filters.camera, self._store.metadata.cameras()) if filters.camera else []
        mask = None
        if self._stored:
            mask = sieve.passing(filters, self._column(self._stored), self._stored.contents.rows, cameras)
        tail_ids = [ids[sieve.passing(filters, column, len(ids), cameras)] for ids, column in self._tail()]
        return RowSelection(mask, np.concatenate([np.empty(0, np.int64), *tail_ids]))

    def newest_first(self, chosen: RowSelection, only: np.ndarray | None = None) -> np.ndarray:
        """Their ids (N,), by the time they were taken; the later stored first where that is the same.

        `only` holds ids in ascending order.
        """
        parts = []
        if self._stored and chosen.mask is not None:
            parts.append((self._matrix.ids, self._column(self._stored), self._matrix.rows_of(only, chosen)))
        wanted = chosen.tail_ids if only is None else np.intersect1d(chosen.tail_ids, only)
        parts += [(ids, column, np.flatnonzero(np.isin(ids, wanted))) for ids, column in self._tail()]
        if not parts:
            return np.empty(0, np.int64)
        ids = np.concatenate([ids[rows] for ids, _, rows in parts])
        taken_s = [sieve.taken_s(column("when_s")[rows], column("is_file_time")[rows]) for _, column, rows in parts]
        return ids[::-1][np.argsort(-np.concatenate(taken_s)[::-1], kind="stable")]

    def _tail(self) -> Iterator[tuple[np.ndarray, Column]]:
        """What is not in the file, from the table."""
        for rows in filterable.above(self._store, self._stored.contents.last_id if self._stored else 0):
            yield np.array([row.id for row in rows], np.int64), sieve.columns_of(rows).__getitem__

    def _column(self, stored: "_Stored") -> Column:
        """Columns out of the file, with what has been restated put in."""
        contents, mapped = stored
        starts = dict(zip(sieve.TYPES, _starts(contents.rows), strict=False))
        restated = filterable.restated(self._store, contents.last_id)
        places, is_there = _places(self._matrix.ids, [row.id for row in restated])
        values = sieve.columns_of(restated)

        def column(name: str) -> np.ndarray:
            values_then = np.frombuffer(mapped, sieve.TYPES[name], contents.rows, starts[name])
            if not restated:
                return values_then
            patched = values_then.copy()
            patched[places[is_there]] = values[name][is_there]
            return patched

        return column

    # --- checking ----------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Of the file; 0 where there is none to be trusted."""
        return self._stored.contents.rows if self._stored else 0

    def corruption(self) -> str | None:
        """Why the file is not to be trusted; None when it is, or there is none of this state of matrix and table.

        A query believes a file whose stat is as it was; this reads it whole.
        """
        try:
            contents = self._read_manifest()
            if not self._is_of_this_state(contents):
                return None
            with open(self._path(contents), "rb", opener=isolation.open_itself) as file:
                is_as_written = manifest.crc32_of(file) == contents.crc32
        except FileNotFoundError:
            return "its file is gone" if os.path.exists(self._manifest_path) else None
        except OSError as error:
            return plain_reason(error)
        except (ValueError, TypeError):
            return "what it says of itself cannot be read"
        return None if is_as_written else "its bytes are not those that were written"

    def discard(self) -> None:
        """Has the next search that filters make it anew. Raises OSError where it may not be deleted."""
        self._stored = None
        with suppress(FileNotFoundError):
            os.unlink(self._manifest_path)

    # --- the file ----------------------------------------------------------------------------------------------------

    @property
    def _manifest_path(self) -> str:
        return os.path.join(self._folder, "columns.json")

    def _read_manifest(self) -> _Manifest:
        contents = manifest.read(self._manifest_path, _Manifest)
        contents.check()
        return contents

    def _is_of_this_state(self, contents: _Manifest) -> bool:
        is_told_alike = (contents.token, contents.suffixes) == (self._matrix.token, sieve.SUFFIXES)
        return is_told_alike and contents.rows <= self._matrix.rows and contents.note == self._store.note(_NOTE)

    def _path(self, contents: _Manifest) -> str:
        return os.path.join(self._folder, f"columns-{contents.name}-{contents.token}")

    def _trusted(self) -> "_Stored | None":
        """The file, if it is what its seal says, of this very matrix and table; it may have fewer rows than these."""
        try:
            contents = self._read_manifest()
            if not self._is_of_this_state(contents):
                return None
            with open(self._path(contents), "rb", opener=isolation.open_itself) as file:
                if os.fstat(file.fileno()).st_size != sum(
                    type_.itemsize * contents.rows for type_ in sieve.TYPES.values()
                ):
                    return None
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                now = contents._replace(stat=manifest.identity(os.fstat(file.fileno())))
                confirmed = manifest.verified(contents, now, lambda: manifest.crc32_of(file), self._write_manifest)
        except (OSError, ValueError, TypeError):
            return None
        return _Stored(confirmed, mapped)

    def catch_up(self) -> None:
        """Writes the file where there is none to be trusted, or much has changed; a matrix must be there to follow.

        Raises `StoreError`; what was there before is then still good.
        """
        if not self._matrix.rows or self._is_current():
            return
        with self._store.transaction():  # keeps other writers away, too
            matrix = VectorCache(self._store)
            if (matrix.token, matrix.rows) != (self._matrix.token, self._matrix.rows):
                return  # another run has just written it, and will see to the columns
            self._map()
            if self._is_current():
                return
            try:
                self._write()
            except OSError as error:
                raise CacheNotWritten(path=self._folder, reason=plain_reason(error)) from error

    def _write(self) -> None:
        columns = self._current()
        content = [columns[name].tobytes() for name in sieve.TYPES]
        contents = _Manifest(
            name=os.urandom(8).hex(),
            token=self._matrix.token,
            rows=self._matrix.rows,
            last_id=self._matrix.last_id,
            suffixes=sieve.SUFFIXES,
            crc32=zlib.crc32(b"".join(content)),
            stat=[],
        )
        path = self._path(contents)
        datadir.replace_file(path, content)
        contents = contents._replace(stat=manifest.identity(os.stat(path)))
        self._store.set_note(_NOTE, contents.note)
        filterable.forget_restated(self._store)
        self._write_manifest(contents)
        self._map()
        for name in os.listdir(self._folder):
            if name.startswith("columns-") and os.path.join(self._folder, name) != path:
                with suppress(OSError):  # mapped, on systems that forbid deleting that
                    os.unlink(os.path.join(self._folder, name))

    def _current(self) -> dict[str, np.ndarray]:
        """All columns, of the file where that is good and of the table."""
        stored = self._trusted()
        ids = self._matrix.ids
        columns = sieve.columns_of_unknown(len(ids))
        if stored:
            column = self._column(stored)
            for name in sieve.TYPES:
                columns[name][: stored.contents.rows] = column(name)
        for rows in filterable.above(self._store, stored.contents.last_id if stored else 0):
            places, is_there = _places(ids, [row.id for row in rows])
            values = sieve.columns_of(rows)
            for name in sieve.TYPES:
                columns[name][places[is_there]] = values[name][is_there]
        return columns

    def _write_manifest(self, contents: _Manifest) -> None:
        manifest.write(self._manifest_path, contents)


_NOTE = "columns"


def _starts(rows: int) -> Iterator[int]:
    start = 0
    for type_ in sieve.TYPES.values():
        yield start
        start += type_.itemsize * rows


def _places(ids: np.ndarray, wanted: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Where each of the wanted ids is in `ids`, both ascending, and whether it is there at all."""
    if not len(ids) or not wanted:
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    places = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    return places, ids[places] == wanted
