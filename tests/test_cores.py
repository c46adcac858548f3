"""Calls on several threads."""

import threading
import time
from collections.abc import Generator
from itertools import islice

import pytest

from rclip.cores import CORES, on_cores


def test_results_come_in_order() -> None:
    def slower_at_first(number: int) -> int:
        time.sleep(0.001 * (7 - number % 8))
        return 3 * number

    assert list(on_cores(slower_at_first, range(40))) == list(range(0, 120, 3))
    assert list(on_cores(slower_at_first, [])) == []


@pytest.mark.skipif(CORES < 2, reason="one core may be used")
def test_several_threads_are_at_it() -> None:
    both = threading.Barrier(2, timeout=60)
    list(on_cores(lambda number: both.wait() if number < 2 else None, range(4)))


def test_an_error_comes_in_its_turn_and_ends_the_rest() -> None:
    begun, before = [], threading.enumerate()

    def broken(number: int) -> int:
        begun.append(number)
        if number == 5:
            raise ValueError("five")
        time.sleep(0.001)
        return number

    results = on_cores(broken, range(1_000_000))
    assert list(islice(results, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert len(begun) < 1_000_000
    assert threading.enumerate() == before


def test_whoever_wants_no_more_ends_the_rest() -> None:
    before = threading.enumerate()
    results = on_cores(lambda number: time.sleep(0.001), range(1_000_000))
    next(results)
    assert isinstance(results, Generator)
    results.close()
    assert threading.enumerate() == before
