"""Two tiers of tests: `make test` has each behaviour once, `make test-all` every case of it."""

from collections.abc import Iterable
from typing import Any

import pytest


def few(cases: Iterable[Any], fast: int = 1) -> list[Any]:
    """Values to parametrize with: the first `fast` are in `make test`, the others only in `make test-all`.

    As for `pytest.mark.parametrize`, a tuple holds the values of several parameters.
    """
    return [case if number < fast else _slow(case) for number, case in enumerate(cases)]


def _slow(case: Any) -> Any:
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.slow)


_STARTS_PROCESSES = frozenset({"prepared_data", "tiny_checkpoint", "browser", "served", "server"})
"""Fixtures of tests that start the command, open a library, or ask a server or a browser: some tenths of a second."""


def mark_repeats(items: Iterable[pytest.Item]) -> None:
    """Leaves to `make test-all` what takes long and is another case: of each test all but the first.

    Tests that only call functions keep all cases, and those that use `few` the ones chosen.
    """
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if _STARTS_PROCESSES.intersection(getattr(item, "fixturenames", ())):
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in tests.values():
        if not any(case.get_closest_marker("slow") for case in cases):
            for case in cases[1:]:
                case.add_marker(pytest.mark.slow)
