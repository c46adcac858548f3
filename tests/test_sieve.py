"""What passes, of columns made by hand; distances are compared with the same formula in double precision."""

from datetime import datetime
from math import asin, cos, inf, radians, sin, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rclip.filters import Filters, Near, parse_types
from rclip.index import sieve
from rclip.index.store.filterable import Filterable

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)


def photo(path: bytes = b"/a.jpg", **known: object) -> Filterable:
    said: dict[str, object] = {"captured_s": None, "latitude": None, "longitude": None, "camera": None} | known
    return Filterable(1, 1_600_000_000 * 10**9, path, **said)  # type: ignore[arg-type]


def passing(filters: Filters, *photos: Filterable, cameras: tuple[int, ...] = ()) -> list[bool]:
    return sieve.passing(filters, sieve.columns_of(photos).__getitem__, len(photos), cameras).tolist()


def distance_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    here, there = radians(one[0]), radians(other[0])
    across = radians(one[1] - other[1])
    chord = sin((here - there) / 2) ** 2 + cos(here) * cos(there) * sin(across / 2) ** 2
    return 2 * 6371.0088 * asin(sqrt(min(1.0, chord)))


@given(
    centre=st.tuples(LATITUDES, LONGITUDES),
    places=st.lists(st.tuples(LATITUDES, LONGITUDES), min_size=1, max_size=20),
    km=st.floats(0.001, 15_000),
)
def test_near_is_by_the_haversine(centre: tuple[float, float], places: list[tuple[float, float]], km: float) -> None:
    """But for what lies so close to the circle that single precision cannot tell."""
    photos = [photo(latitude=latitude, longitude=longitude) for latitude, longitude in places]
    near = passing(Filters(near=Near(*centre, km)), *photos)
    for place, is_near in zip(places, near, strict=True):
        beyond_km = distance_km(place, centre) - km
        if abs(beyond_km) > 0.02 + 1e-4 * km:
            assert is_near == (beyond_km < 0)


@pytest.mark.parametrize(
    ("centre", "place", "km"),
    [((0, 179.9), (0, -179.9), 23), ((89.9, 0), (89.9, 180), 23), ((10, 20), (10, 20), 0.001), ((0, 0), (0, 180), inf)],
)
def test_near_across_the_date_line_the_pole_and_the_world(
    centre: tuple[float, float], place: tuple[float, float], km: float
) -> None:
    assert passing(Filters(near=Near(*centre, km)), photo(latitude=place[0], longitude=place[1])) == [True]


def test_what_is_not_known_passes_no_filter_that_asks_for_it() -> None:
    assert passing(Filters(near=Near(0, 0, 30_000)), photo(), photo(latitude=1.0, longitude=1.0)) == [False, True]
    assert passing(Filters(camera="x"), photo(), photo(camera=3), cameras=(3,)) == [False, True]
    assert passing(Filters(types=parse_types("jpg")), photo(b"/a.xyz"), photo(b"/a.JPEG"), photo(b"/jpg")) == [
        False,
        True,
        False,
    ]


def test_times_are_the_cameras_before_the_files() -> None:
    photos = [photo(captured_s=1_000_000_000), photo()]  # 2001, and 2020 by the file
    assert passing(Filters(after=datetime(2010, 1, 1)), *photos) == [False, True]
    assert passing(Filters(before=datetime(2010, 1, 1)), *photos) == [True, False]
    assert passing(Filters(after=datetime(2001, 9, 9, 1, 46, 40)), photos[0]) == [True]
    assert passing(Filters(before=datetime(2001, 9, 9, 1, 46, 40)), photos[0]) == [False]


def test_all_filters_must_let_it_pass() -> None:
    photos = [photo(captured_s=0, camera=1), photo(captured_s=2_000_000_000, camera=1), photo(captured_s=0, camera=2)]
    assert passing(Filters(before=datetime(2000, 1, 1), camera="x"), *photos, cameras=(1,)) == [True, False, False]
    assert passing(Filters(), *photos) == [True] * 3
    assert passing(Filters(camera="x")) == []


def test_cameras_have_all_words_in_any_order() -> None:
    cameras = {1: ("NIKON CORPORATION", "NIKON D850"), 2: ("Canon", "Canon EOS R5"), 3: ("", "R5")}
    assert sieve.cameras_meant("r5", cameras) == [2, 3]
    assert sieve.cameras_meant("R5 canon", cameras) == [2]
    assert sieve.cameras_meant("leica", cameras) == []


def test_only_times_of_files_are_read_on_a_clock_here() -> None:
    when_s = np.array([1_000_000_000, 1_600_000_000])
    offset = datetime.fromtimestamp(1_600_000_000).astimezone().utcoffset()
    assert offset is not None
    here_s = int(offset.total_seconds()) + 1_600_000_000
    assert sieve.taken_s(when_s, np.array([0, 1], np.uint8)).tolist() == [1_000_000_000, here_s]
    assert sieve.taken_s(when_s, np.zeros(2, np.uint8)).tolist() == when_s.tolist()
    assert when_s.tolist() == [1_000_000_000, 1_600_000_000]


def test_of_nothing_there_are_empty_columns() -> None:
    for columns in (sieve.columns_of([]), sieve.columns_of_unknown(0)):
        assert {name: (column.dtype, len(column)) for name, column in columns.items()} == {
            name: (type_, 0) for name, type_ in sieve.TYPES.items()
        }
