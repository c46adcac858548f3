"""Clocks here and elsewhere, compared with the platform's own, second by second."""

import time
from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pytest

from rclip.index import clocks

ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def shown_slowly(times_s: np.ndarray) -> list[int]:
    return [time_s + time.localtime(time_s).tm_gmtoff for time_s in times_s.tolist()]


def test_clocks_here_showed_what_the_platform_says(zone: str) -> None:
    """From 1960 to 2035, in no order, also in the hours that summer time gives and takes."""
    times_s = np.random.default_rng(1).integers(-315_000_000, 2_050_000_000, 5000)
    assert clocks.shown_here_s(times_s).tolist() == shown_slowly(times_s)


def test_the_change_is_found_to_the_second(zone: str) -> None:
    """All seconds around the two changes of 2021, in whichever hemisphere."""
    for change in (datetime(2021, 3, 28, 1), datetime(2021, 4, 3, 15), datetime(2021, 10, 31, 1)):
        around_s = clocks.clock_s(change) + np.arange(-4000, 4000, 7)
        assert clocks.shown_here_s(around_s).tolist() == shown_slowly(around_s)


def test_one_time_is_enough(zone: str) -> None:
    times_s = np.array([1_600_000_000])
    assert clocks.shown_here_s(times_s).tolist() == shown_slowly(times_s)


def test_what_the_platform_does_not_know_is_taken_as_utc(zone: str) -> None:
    times_s = np.array([10**17])
    assert clocks.shown_here_s(times_s).tolist() == [10**17]


def test_a_clock_and_utc(zone: str) -> None:
    when = datetime(2021, 7, 14, 18, 30, 5)
    assert clocks.clock_s(when) == 1_626_287_405
    assert clocks.clock_s(datetime(1969, 12, 31, 23, 59, 59)) == -1
    assert clocks.utc_s(when) == time.mktime(when.timetuple())
    if zone == "Europe/Berlin":
        assert clocks.clock_s(when) - clocks.utc_s(when) == 2 * 3600
        assert clocks.utc_s(datetime.min) == clocks.clock_s(datetime.min)
