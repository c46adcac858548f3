"""What filters let pass, on a real index: their SQL and their test of one photo agree with each other and with a
reference that is written down once more here."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from math import asin, cos, inf, radians, sin, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rclip import filters
from rclip.cli.arguments import option_parser
from rclip.files import FileStat
from rclip.filters import (
    ALL_TIMES,
    FILTERS,
    Camera,
    Clause,
    Filter,
    Filters,
    Near,
    NearPlace,
    Suffix,
    Taken,
    by_row,
    parse_size,
    parse_types,
)
from rclip.index.store import Store, filtering
from rclip.photo.failures import FailedPhoto
from rclip.photo.metadata import PhotoMetadata

ROWS = 3000
DAY_S = 86_400


class Photo(NamedTuple):
    path: bytes
    mtime_ns: int
    metadata: PhotoMetadata
    size_bytes: int = 1


def made_up(number: int) -> Photo:
    """Every fifth photo says nothing of itself."""
    path = f"/p/{number % 7}/{number:06}.{('jpg', 'png', 'NEF', 'jpeg')[number % 4]}".encode()
    mtime_ns = (1_200_000_000 + number * DAY_S // 4) * 10**9
    if number % 5 == 0:
        return Photo(path, mtime_ns, PhotoMetadata())
    latitude, longitude = float(number * 7 % 181 - 90), float(number * 13 % 361 - 180)
    place = (latitude, longitude) if number % 4 else (None, None)
    captured_s = 1_000_000_000 + number * 7919 % 4000 * DAY_S if number % 3 else None
    keywords = (("Meer", "Straße"), ("meer", "\u212alm"), ("Kälte",), ())[number % 4]
    rating = (None, -1, 0, 1, 4, 5)[number % 6]
    camera = f"Maker{number % 3}", f"Modèle {number % 11}"
    return Photo(
        path,
        mtime_ns,
        PhotoMetadata(
            captured_s,
            60,
            place[0],
            place[1],
            *camera,
            (None, 400, 300, 4000)[number % 4],
            (None, 300, 400, 4000)[number % 4],
            keywords,
            rating,
            lens=("", "EF 50mm f/1.8", "Mir-1Ž")[number % 3],
            caption=("", "The tram up the hill")[number % 2],
        ),
        size_bytes=1000 * (number % 50),
    )


def add(store: Store, photos: list[Photo]) -> None:
    with store.transaction():
        for number, (path, mtime_ns, metadata, size_bytes) in enumerate(photos):
            vector = np.array([1, number % 100, 3, 4], np.float32)
            seen = FileStat(size_bytes, mtime_ns, 1, number)
            store.files.add(path, seen, path, vector / np.linalg.norm(vector), metadata)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "index.db"), "model", 1)
    yield opened
    opened.close()


@pytest.fixture
def photos(store: Store) -> dict[int, Photo]:
    """By their ids."""
    made = [made_up(number) for number in range(ROWS)]
    add(store, made)
    return dict(enumerate(made, 1))


def taken(photo: Photo) -> datetime:
    if photo.metadata.captured_s is None:
        return datetime.fromtimestamp(photo.mtime_ns / 1e9)
    return datetime(1970, 1, 1) + timedelta(seconds=photo.metadata.captured_s)


def name(photo: Photo) -> str:
    return f"{photo.metadata.maker} {photo.metadata.model}"


def km_to(photo: Photo, latitude: float, longitude: float) -> float:
    """The haversine once more."""
    if photo.metadata.latitude is None or photo.metadata.longitude is None:
        return inf
    here, there = radians(photo.metadata.latitude), radians(latitude)
    across = radians(photo.metadata.longitude - longitude)
    chord = sin((here - there) / 2) ** 2 + cos(here) * cos(there) * sin(across / 2) ** 2
    return 2 * 6371.0088 * asin(sqrt(min(1.0, chord)))


CASES: list[tuple[Filters, Callable[[Photo], bool]]] = [
    (Filters(), lambda photo: True),
    (Filters(after=datetime(2010, 3, 4, 5, 6)), lambda photo: taken(photo) >= datetime(2010, 3, 4, 5, 6)),
    (Filters(before=datetime(2008, 7, 1)), lambda photo: taken(photo) < datetime(2008, 7, 1)),
    (
        Filters(after=datetime(2008, 7, 1), before=datetime(2008, 7, 9)),
        lambda photo: datetime(2008, 7, 1) <= taken(photo) < datetime(2008, 7, 9),
    ),
    (Filters(after=datetime(9999, 12, 31)), lambda photo: False),
    (Filters(before=datetime(1, 1, 1)), lambda photo: False),
    (Filters(camera="MODÈLE maker2"), lambda photo: "Maker2" in name(photo)),
    (Filters(camera="modèle 1"), lambda photo: "Modèle 1" in name(photo) or ("Maker1 Mod" in name(photo))),
    (Filters(camera="nothing"), lambda photo: False),
    (Filters(types=parse_types("png,raw")), lambda photo: photo.path.lower().endswith((b"png", b"nef"))),
    (Filters(types=parse_types("jpg")), lambda photo: photo.path.endswith((b"jpg", b"jpeg"))),
    (Filters(rating=4), lambda photo: photo.metadata.rating in (4, 5)),
    (Filters(rating=1), lambda photo: photo.metadata.rating in (1, 4, 5)),
    (Filters(keywords=("MEER",)), lambda photo: "meer" in map(str.lower, photo.metadata.keywords)),
    (Filters(keywords=("mee",)), lambda photo: False),
    (Filters(keywords=("meer", "straße")), lambda photo: "Straße" in photo.metadata.keywords),
    (Filters(keywords=("klm",)), lambda photo: False),
    (Filters(keywords=("KÄLTE",)), lambda photo: "Kälte" in photo.metadata.keywords),
    (Filters(lens="F/1.8 ef"), lambda photo: "50mm" in photo.metadata.lens),
    (Filters(lens="mir-1ž"), lambda photo: photo.metadata.lens.startswith("Mir")),
    (Filters(size=parse_size("1mp")), lambda photo: photo.metadata.width == 4000),
    (Filters(size=parse_size("..0.13mp")), lambda photo: photo.metadata.width in (300, 400)),
    (Filters(size=parse_size("400x300")), lambda photo: (photo.metadata.width or 0) >= 400),
    (Filters(size=parse_size("300x300..350x9999")), lambda photo: photo.metadata.width == 300),
    (Filters(size=parse_size("20kb..30kb")), lambda photo: 20_000 <= photo.size_bytes <= 30_000),
    (Filters(orientation="portrait"), lambda photo: photo.metadata.width == 300),
    (Filters(orientation="landscape"), lambda photo: photo.metadata.height == 300),
    (Filters(orientation="square"), lambda photo: photo.metadata.width == 4000),
    (Filters(text="TRÁM hil"), lambda photo: photo.metadata.caption != ""),
    (Filters(text="kalte"), lambda photo: "Kälte" in photo.metadata.keywords),
    (Filters(near=Near(48.8, 2.3, 900)), lambda photo: km_to(photo, 48.8, 2.3) <= 900),
    (Filters(near=Near(-89.9, 0, 2000)), lambda photo: km_to(photo, -89.9, 0) <= 2000),
    (Filters(near=Near(10, -179.5, 700)), lambda photo: km_to(photo, 10, -179.5) <= 700),
    (Filters(near=Near(0, 0, 30_000)), lambda photo: photo.metadata.latitude is not None),
    (
        Filters(after=datetime(2005, 1, 1), camera="maker1", types=parse_types("jpg")),
        lambda photo: taken(photo) >= datetime(2005, 1, 1) and "Maker1" in name(photo) and b"jp" in photo.path,
    ),
]


def selected(store: Store, asked: Filters) -> set[int]:
    """The ids that all clauses select."""
    found = set(filtering.ids(store, Clause("SELECT id FROM images")).tolist())
    for each in by_row(asked):
        ids = filtering.ids(store, each.clause())
        assert ids.tolist() == sorted(set(ids.tolist()))
        found &= set(ids.tolist())
    return found


def assert_right(store: Store, photos: dict[int, Photo]) -> None:
    for asked, passes in CASES:
        expected = {id_ for id_, photo in photos.items() if passes(photo)}
        matching = {id_ for id_, photo in photos.items() if all(each.matches(photo) for each in by_row(asked))}
        assert matching == expected, asked
        found = selected(store, asked)
        is_exact = (
            not (asked.near or asked.keywords or asked.text or not asked.lens.isascii()) and asked.camera.isascii()
        )  # a box has corners; SQLite knows
        # the lower case of ASCII only, and looks for words within others
        assert found == expected if is_exact else found >= expected, asked
        newest = [ids.tolist() for ids in filtering.newest_first(store, filters.time_range(asked))]
        assert_newest_first([id_ for ids in newest for id_ in ids if id_ in expected], expected, photos)
        assert_newest_first(filtering.newest_of(store, sorted(expected)).tolist(), expected, photos)


def assert_newest_first(found: list[int], expected: set[int], photos: dict[int, Photo]) -> None:
    assert found == sorted(expected, key=lambda id_: (taken(photos[id_]), id_), reverse=True)


def test_clauses_and_matches_agree(store: Store, photos: dict[int, Photo]) -> None:
    assert_right(store, photos)


@pytest.fixture(params=["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_times_of_files_are_those_of_clocks_here(zone: str, store: Store, photos: dict[int, Photo]) -> None:
    """A quarter of a day apart, some on either side of the hours that summer time gives and takes."""
    assert_right(store, photos)


def test_clocks_here_showed_what_the_platform_says(zone: str) -> None:
    when = datetime(2021, 7, 14, 18, 30, 5)
    assert filters.clock_s(when) == 1_626_287_405
    assert filters.clock_s(datetime(1969, 12, 31, 23, 59, 59)) == -1
    assert filters.utc_s(when) == time.mktime(when.timetuple())
    assert filters.shown_here_s(filters.utc_s(when)) == filters.clock_s(when)
    assert filters.shown_here_s(10**17) == 10**17
    if zone == "Europe/Berlin":
        assert filters.clock_s(when) - filters.utc_s(when) == 2 * 3600


def test_what_changes_is_seen_at_once(store: Store, photos: dict[int, Photo]) -> None:
    """Moved, found metadata of, copied, deleted, replaced: the database's own indexes follow."""
    with store.transaction():
        for id_ in range(1, 400, 3):
            moved = photos[id_]._replace(path=b"/q/%d.png" % id_, mtime_ns=1_600_000_000 * 10**9)
            store.files.move(id_, moved.path, FileStat(moved.size_bytes, moved.mtime_ns, 1, id_))
            photos[id_] = moved
        for id_ in range(2, 400, 9):
            found = PhotoMetadata(1_500_000_000, None, 48.8, 2.3, "Maker2", "Modèle 1")
            store.metadata.describe(id_, b"", found)
            photos[id_] = photos[id_]._replace(metadata=found)
        for id_ in (3, 6, 11):
            copied = photos[id_]._replace(path=b"/copies/%d.jpg" % id_, mtime_ns=10**18)
            store.files.copy(id_, copied.path, FileStat(copied.size_bytes, copied.mtime_ns, 1, id_))
            photos[ROWS + [3, 6, 11].index(id_) + 1] = copied
    store.connection.execute("DELETE FROM images WHERE id % 10 = 3")
    photos = {id_: photo for id_, photo in photos.items() if id_ % 10 != 3}
    assert_right(store, photos)
    assert store.connection.execute("SELECT count(*) FROM metadata WHERE id % 10 = 3").fetchone() == (0,)


def test_failures_pass_nothing(store: Store) -> None:
    with store.transaction():
        store.files.add_failure(FailedPhoto(b"/broken.jpg", "damaged"), FileStat(1, 1_600_000_000 * 10**9, 1, 1))
    assert len(filtering.ids(store, Suffix(parse_types("jpg")).clause())) == 0
    assert len(filtering.ids(store, Taken(before=datetime(2030, 1, 1)).clause())) == 0
    assert list(filtering.newest_first(store, ALL_TIMES)) == []


def test_many_are_counted_and_not_fetched(store: Store, photos: dict[int, Photo]) -> None:
    clause = Suffix(parse_types("jpg")).clause()
    few = filtering.ids_up_to(store, clause, ROWS // 2)
    assert few is not None
    assert len(few) == ROWS // 2
    assert filtering.ids_up_to(store, clause, ROWS // 2 - 1) is None


@pytest.mark.parametrize(
    ("text", "kind", "least", "most"),
    [
        ("12mp", "pixels", (12_000_000,), None),
        ("0.5 MP", "pixels", (500_000,), None),
        ("1920x1080", "sides", (1920, 1080), None),
        ("..1920×1080", "sides", None, (1920, 1080)),
        ("100kb..5MB", "bytes", (100_000,), (5_000_000,)),
        ("..1gb", "bytes", None, (10**9,)),
    ],
)
def test_sizes(text: str, kind: str, least: tuple[int, ...] | None, most: tuple[int, ...] | None) -> None:
    assert parse_size(text)[:3] == (kind, least, most)


@pytest.mark.parametrize(
    "text",
    ["", "..", "12", "mp", "1mp..5mb", "5mp..1mp", "10x20..20x10", "-1mp", "1e9mp", "1x", "1mp..2mp..3mp", "x" * 999],
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="must be a size like 12mp"):
        parse_size(text)


@pytest.mark.parametrize(
    "filter_",
    [Taken(datetime(2010, 1, 1)), NearPlace(Near(1, 2, 3)), Camera("canon"), Suffix(parse_types("png"))],
)
def test_no_filter_reads_the_whole_table(store: Store, filter_: Filter) -> None:
    sql, parameters = filter_.clause()
    steps = [row[3] for row in store.connection.execute("EXPLAIN QUERY PLAN " + sql, parameters)]
    assert any("INDEX" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN") and step != "SCAN cameras"]


# --- places ----------------------------------------------------------------------------------------------------------

PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


def box_holds(near: Near, place: tuple[float, float]) -> bool:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE metadata (id INTEGER PRIMARY KEY, latitude REAL, longitude REAL)")
    connection.execute("INSERT INTO metadata VALUES (1, ?, ?)", place)
    sql, parameters = NearPlace(near).clause()
    return bool(connection.execute(sql, parameters).fetchall())


@given(centre=PLACES, place=PLACES, km=st.one_of(st.floats(0.001, 15_000), st.floats(15_000, 30_000)))
@settings(max_examples=400, deadline=None)
def test_near_is_by_the_haversine(centre: tuple[float, float], place: tuple[float, float], km: float) -> None:
    near, photo = Near(*centre, km), Photo(b"/a", 1, PhotoMetadata(latitude=place[0], longitude=place[1]))
    beyond_km = km_to(photo, *centre) - km
    if abs(beyond_km) > 1e-3:  # so close that rounding may tell
        assert NearPlace(near).matches(photo) == (beyond_km < 0)
    if beyond_km < -1e-6:
        assert box_holds(near, place)


@pytest.mark.parametrize(
    ("centre", "place", "km"),
    [
        ((0, 179.9), (0, -179.9), 23),
        ((0, -179.9), (0, 179.9), 23),
        ((89.9, 0), (89.9, 180), 23),
        ((-89.9, 0), (-89.9, 180), 23),
        ((10, 20), (10, 20), 0.001),
        ((0, 0), (0, 180), inf),
    ],
)
def test_near_across_the_date_line_the_pole_and_the_world(
    centre: tuple[float, float], place: tuple[float, float], km: float
) -> None:
    photo = Photo(b"/a", 1, PhotoMetadata(latitude=place[0], longitude=place[1]))
    assert NearPlace(Near(*centre, km)).matches(photo)
    assert box_holds(Near(*centre, km), place)


def test_a_box_holds_little_more_than_its_circle() -> None:
    assert not box_holds(Near(60, 10, 100), (60, 12))
    assert not box_holds(Near(60, 10, 100), (61, 10))
    assert not box_holds(Near(0, 179.9, 23), (0, -179))


# --- a filter of one's own -------------------------------------------------------------------------------------------


CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"


def test_a_filter_is_one_class(store: Store) -> None:
    """The one in CONTRIBUTING.md, which is here as a user's option is: by its name and value."""
    add(store, [Photo(b"/%d.jpg" % stars, 1, PhotoMetadata(rating=stars)) for stars in range(6)])
    (example,) = re.findall(r"```python\n(@register\nclass .*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    registered = list(FILTERS)
    try:
        exec(example, vars(filters) | {"__name__": "example"})
        values = option_parser().values(["--rated", "4"])
        asked = Filters.of_options({"rated": values["rated"], "camera": ""})
    finally:
        FILTERS[:] = registered
    assert selected(store, asked) == {5, 6}
    assert [each.matches(Photo(b"/a", 1, PhotoMetadata(rating=4))) for each in by_row(asked)] == [True]
    assert Filters.of_options({"camera": "canon"}) == Filters(camera="canon")
