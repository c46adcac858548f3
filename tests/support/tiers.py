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
