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
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from rclip import datadir, formats, sealed
from rclip.errors import StoreError, plain_reason
from rclip.filters import Filters, Near, words_of_camera
from rclip.matrix import APPEND_FROM_ROWS, Chosen, Matrix
from rclip.store import Filterable, Store
from rclip.walk import suffix

_TYPES: dict[str, np.dtype[Any]] = {
    "when_s": np.dtype("<i8"),
    "latitude": np.dtype("<f4"),
    "longitude": np.dtype("<f4"),
    "camera": np.dtype("<i4"),
    "is_file_time": np.dtype("u1"),
    "suffix": np.dtype("u1"),
}
"""`when_s` is the camera's clock or, where `is_file_time`, the file's time in UTC, both in seconds from 1970; a place
that is not known is NaN, a camera 0; `suffix` counts `_SUFFIXES`. The widest come first, so that all are aligned."""

_SUFFIXES = sorted(formats.SUFFIXES)
_NUMBER_OF_SUFFIX = {name: number for number, name in enumerate(_SUFFIXES)}
_OTHER_SUFFIX = 255

Column = Callable[[str], np.ndarray]
"""The column of that name, (N,)."""


class _Seal(NamedTuple):
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


class _Stored(NamedTuple):
    seal: _Seal
    mapped: mmap.mmap


class Columns:
    """The columns of one index, as they are on disk and in the table now."""

    def __init__(self, store: Store, matrix: Matrix):
        self._store = store
        self._matrix = matrix
        self._folder = matrix.folder
        self._map()

    def _map(self) -> None:
        stored = self._trusted()
        self._stored = stored if stored and stored.seal.rows == self._matrix.rows else None

    def _is_current(self) -> bool:
        return self._stored is not None and self._store.restated_count() < APPEND_FROM_ROWS

    # --- choosing ----------------------------------------------------------------------------------------------------

    def chosen(self, filters: Filters) -> Chosen:
        """The photos that pass by what the columns tell: all but paths and scores. Gone ones are among them."""
        cameras = _cameras_meant(self._store, filters.camera)
        mask = None
        if self._stored:
            mask = _passing(filters, self._column(self._stored), self._stored.seal.rows, cameras)
        tail_ids = [ids[_passing(filters, column, len(ids), cameras)] for ids, column in self._tail()]
        return Chosen(mask, np.concatenate([np.empty(0, np.int64), *tail_ids]))

    def newest_first(self, chosen: Chosen, only: np.ndarray | None = None) -> np.ndarray:
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
        when_s = [_local_s(column("when_s")[rows], column("is_file_time")[rows]) for _, column, rows in parts]
        return ids[::-1][np.argsort(-np.concatenate(when_s)[::-1], kind="stable")]

    def _tail(self) -> Iterator[tuple[np.ndarray, Column]]:
        """What is not in the file, from the table."""
        for rows in self._store.filterable_above(self._stored.seal.last_id if self._stored else 0):
            yield np.array([row.id for row in rows], np.int64), _columns_of(rows).__getitem__

    def _column(self, stored: "_Stored") -> Column:
        """Columns out of the file, with what has been restated put in."""
        seal, mapped = stored
        starts = dict(zip(_TYPES, _starts(seal.rows), strict=False))
        restated = self._store.filterable_restated(seal.last_id)
        places, is_there = _places(self._matrix.ids, [row.id for row in restated])
        values = _columns_of(restated)

        def column(name: str) -> np.ndarray:
            values_then = np.frombuffer(mapped, _TYPES[name], seal.rows, starts[name])
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
        return self._stored.seal.rows if self._stored else 0

    def doubt(self) -> str | None:
        """Why the file is not to be trusted; None when it is, or there is none of this state of matrix and table.

        A query believes a file whose stat is as it was; this reads it whole.
        """
        try:
            seal = self._read_seal()
            if not self._is_of_this_state(seal):
                return None
            with open(self._path(seal), "rb") as file:
                is_as_written = sealed.crc32_of(file) == seal.crc32
        except FileNotFoundError:
            return "its file is gone" if os.path.exists(self._seal_path) else None
        except OSError as error:
            return plain_reason(error)
        except (ValueError, TypeError):
            return "what it says of itself cannot be read"
        return None if is_as_written else "its bytes are not those that were written"

    def discard(self) -> None:
        """Has the next search that filters make it anew. Raises OSError where it may not be deleted."""
        self._stored = None
        with suppress(FileNotFoundError):
            os.unlink(self._seal_path)

    # --- the file ----------------------------------------------------------------------------------------------------

    @property
    def _seal_path(self) -> str:
        return os.path.join(self._folder, "columns.json")

    def _read_seal(self) -> _Seal:
        return sealed.read(self._seal_path, _Seal)

    def _is_of_this_state(self, seal: _Seal) -> bool:
        is_told_alike = (seal.token, seal.suffixes) == (self._matrix.token, _SUFFIXES)
        return is_told_alike and seal.rows <= self._matrix.rows and seal.note == self._store.note(_NOTE)

    def _path(self, seal: _Seal) -> str:
        return os.path.join(self._folder, f"columns-{seal.name}-{seal.token}")

    def _trusted(self) -> "_Stored | None":
        """The file, if it is what its seal says, of this very matrix and table; it may have fewer rows than these."""
        try:
            seal = self._read_seal()
            if not self._is_of_this_state(seal):
                return None
            with open(self._path(seal), "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                now = seal._replace(stat=sealed.identity(os.fstat(file.fileno())))
                confirmed = sealed.confirmed(seal, now, lambda: sealed.crc32_of(file), self._write_seal)
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
            matrix = Matrix(self._store)
            if (matrix.token, matrix.rows) != (self._matrix.token, self._matrix.rows):
                return  # another run has just written it, and will see to the columns
            self._map()
            if self._is_current():
                return
            try:
                self._write()
            except OSError as error:
                raise StoreError(
                    f"cannot write {self._folder} ({plain_reason(error)}): make room, or delete it"
                ) from error

    def _write(self) -> None:
        columns = self._current()
        content = [columns[name].tobytes() for name in _TYPES]
        seal = _Seal(
            name=os.urandom(8).hex(),
            token=self._matrix.token,
            rows=self._matrix.rows,
            last_id=self._matrix.last_id,
            suffixes=_SUFFIXES,
            crc32=zlib.crc32(b"".join(content)),
            stat=[],
        )
        path = self._path(seal)
        datadir.replace_file(path, content, self._store.modes[1])
        seal = seal._replace(stat=sealed.identity(os.stat(path)))
        self._store.set_note(_NOTE, seal.note)
        self._store.forget_restated()
        self._write_seal(seal)
        self._map()
        for name in os.listdir(self._folder):
            if name.startswith("columns-") and os.path.join(self._folder, name) != path:
                with suppress(OSError):  # mapped, on systems that forbid deleting that
                    os.unlink(os.path.join(self._folder, name))

    def _current(self) -> dict[str, np.ndarray]:
        """All columns, of the file where that is good and of the table."""
        stored = self._trusted()
        ids = self._matrix.ids
        columns = _columns_of_unknown(len(ids))
        if stored:
            column = self._column(stored)
            for name in _TYPES:
                columns[name][: stored.seal.rows] = column(name)
        for rows in self._store.filterable_above(stored.seal.last_id if stored else 0):
            places, is_there = _places(ids, [row.id for row in rows])
            values = _columns_of(rows)
            for name in _TYPES:
                columns[name][places[is_there]] = values[name][is_there]
        return columns

    def _write_seal(self, seal: _Seal) -> None:
        sealed.write(self._seal_path, seal, self._store.modes[1])


_NOTE = "columns"


def _starts(rows: int) -> Iterator[int]:
    start = 0
    for type_ in _TYPES.values():
        yield start
        start += type_.itemsize * rows


def _places(ids: np.ndarray, wanted: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Where each of the wanted ids is in `ids`, both ascending, and whether it is there at all."""
    if not len(ids) or not wanted:
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    places = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    return places, ids[places] == wanted


def _columns_of_unknown(count: int) -> dict[str, np.ndarray]:
    """Columns of so many photos of which nothing is known."""
    unknown = {"latitude": np.nan, "longitude": np.nan, "suffix": _OTHER_SUFFIX}
    return {name: np.full(count, unknown.get(name, 0), type_) for name, type_ in _TYPES.items()}


def _columns_of(rows: Sequence[Filterable]) -> dict[str, np.ndarray]:
    if not rows:
        return _columns_of_unknown(0)
    _, mtimes_ns, paths, captured, latitudes, longitudes, cameras = zip(*rows, strict=True)
    values: dict[str, Iterable[Any]] = {
        "when_s": [
            mtime_ns // 1_000_000_000 if captured_s is None else captured_s
            for captured_s, mtime_ns in zip(captured, mtimes_ns, strict=True)
        ],
        "latitude": [np.nan if latitude is None else latitude for latitude in latitudes],
        "longitude": [np.nan if longitude is None else longitude for longitude in longitudes],
        "camera": [camera or 0 for camera in cameras],
        "is_file_time": [captured_s is None for captured_s in captured],
        "suffix": [_NUMBER_OF_SUFFIX.get(suffix(path), _OTHER_SUFFIX) for path in paths],
    }
    return {name: np.array(values[name], type_) for name, type_ in _TYPES.items()}


# --- what passes -----------------------------------------------------------------------------------------------------


def _passing(filters: Filters, column: Column, count: int, cameras: Sequence[int]) -> np.ndarray:
    """(count,) bool"""
    mask = np.ones(count, bool)
    for limit, compare in ((filters.after, np.greater_equal), (filters.before, np.less)):
        if limit:
            on_clock, in_utc = _clock_s(limit), _utc_s(limit)
            mask &= compare(column("when_s"), np.where(column("is_file_time"), in_utc, on_clock))
    if filters.types:
        is_asked = np.zeros(256, bool)
        is_asked[[_NUMBER_OF_SUFFIX[name] for name in filters.types & _NUMBER_OF_SUFFIX.keys()]] = True
        mask &= is_asked[column("suffix")]
    if filters.camera:
        mask &= np.isin(column("camera"), cameras)
    if filters.near:
        mask &= _is_near(filters.near, column("latitude"), column("longitude"))
    return mask


def _cameras_meant(store: Store, text: str) -> list[int]:
    if not text:
        return []
    words = words_of_camera(text)
    names = {id_: f"{maker} {model}".lower() for id_, (maker, model) in store.cameras().items()}
    return [id_ for id_, name in names.items() if all(word in name for word in words)]


_EARTH_RADIUS_KM = 6371.0088  # the mean one


def _is_near(near: Near, latitudes: np.ndarray, longitudes: np.ndarray) -> np.ndarray:
    """By the haversine, which is right to half a percent: the earth is no sphere. Computed on a band around it only."""
    reach = np.degrees(near.km / _EARTH_RADIUS_KM) * 1.001 + 1e-4
    mask = np.abs(latitudes - np.float32(near.latitude)) <= reach
    rows = np.flatnonzero(mask)
    latitude, longitude = np.radians(latitudes[rows]), np.radians(longitudes[rows])
    here, there = np.radians(near.latitude), np.radians(near.longitude)
    half_chord = (
        np.sin((latitude - np.float32(here)) / 2) ** 2
        + np.cos(latitude) * np.float32(np.cos(here)) * np.sin((longitude - np.float32(there)) / 2) ** 2
    )
    mask[rows] = half_chord <= np.sin(min(near.km / _EARTH_RADIUS_KM, np.pi) / 2) ** 2
    return mask


# --- clocks ----------------------------------------------------------------------------------------------------------


def _clock_s(when: datetime) -> int:
    """Seconds from 1970 to that time on the clock that shows it."""
    since = when - datetime(1970, 1, 1)
    return since.days * 86_400 + since.seconds


def _utc_s(when: datetime) -> int:
    """Seconds from 1970 to when clocks here show that."""
    try:
        return int(when.timestamp())
    except (ValueError, OverflowError):  # beyond what the platform's clock knows
        return _clock_s(when)


def _local_s(when_s: np.ndarray, is_file_time: np.ndarray) -> np.ndarray:
    """Times on the camera's clock as they are, those of files as clocks here showed them. (N,) int64"""
    files = np.flatnonzero(is_file_time)
    if not len(files):
        return when_s
    when_s = when_s.copy()
    utc_s = when_s[files]
    starts, offsets = _offsets_here(int(utc_s.min()), int(utc_s.max()))
    when_s[files] += offsets[np.searchsorted(starts, utc_s, side="right") - 1]
    return when_s


_STEP_S = 7 * 86_400
_MOST_STEPS = 10_000  # two centuries


def _offsets_here(first_s: int, last_s: int) -> tuple[np.ndarray, np.ndarray]:
    """When clocks here began to be so far ahead of UTC, and how far, in seconds; exact, found by halving weeks."""
    step_s = max(_STEP_S, (last_s - first_s) // _MOST_STEPS)
    starts, offsets = [first_s], [_offset_s(first_s)]
    for week_s in range(first_s, last_s + 1, step_s):
        end_s = min(week_s + step_s, last_s)
        if _offset_s(end_s) == offsets[-1]:
            continue
        before_s, after_s = week_s, end_s
        while after_s - before_s > 1:
            middle_s = (before_s + after_s) // 2
            before_s, after_s = (middle_s, after_s) if _offset_s(middle_s) == offsets[-1] else (before_s, middle_s)
        starts.append(after_s)
        offsets.append(_offset_s(after_s))
    return np.array(starts), np.array(offsets)


def _offset_s(utc_s: int) -> int:
    try:
        return time.localtime(utc_s).tm_gmtoff
    except (ValueError, OverflowError, OSError):  # beyond what the platform's clock knows
        return 0
