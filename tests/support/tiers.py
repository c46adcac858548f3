"""Tiers of tests: `make test` has each behaviour once, `make test-all` every case of it, and `make test-oldest`, with
the oldest dependencies, the former of all modules but those that are named here."""

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


INDEPENDENT = frozenset(
    {
        *("documents", "messages", "packaging", "settings", "structure", "suite", "benchmarks", "quality"),
        *("coming_from", "completion_attacks", "extending", "globs", "manifest", "name_dates", "walk_and_ranking"),
        *("edited_photos", "ignoring", "sidecars", "xmp_editing", "placing", "tagging", "query_file", "pages"),
        *("filters", "filter_classes", "folding", "words", "addresses", "explore", "shared_library"),
        *("faults_of_files", "faults_of_folders", "faults_of_the_database", "faults_of_the_disk"),
        *("faults_of_the_process", "hostile_folders", "maintenance", "portable_indexes", "store", "taken_over"),
        *("slow_drives", "torch_archive", "web_page"),
    }
)
"""Modules about our own code, SQLite, the system or the page's JavaScript: no version of a package changes the answer.

A package that they do use is tested as such by another module. What is not named here runs with the oldest versions.
"""


def mark_independent(items: Iterable[pytest.Item]) -> None:
    """For `make test-oldest`, which leaves them out."""
    for item in items:
        if item.path.stem.removeprefix("test_") in INDEPENDENT:
            item.add_marker(pytest.mark.independent)
