"""How long an answer of a database may take: a server may say that more is to come, and then be silent."""

import os
from contextlib import suppress

TIME_LIMIT_VARIABLE = "RCLIP_DATABASE_TIMEOUT_S"
_TIME_LIMIT_S = 300.0


def time_limit_s() -> float:
    """Seconds for one answer, or one row of it."""
    with suppress(ValueError):
        asked = float(os.environ.get(TIME_LIMIT_VARIABLE, ""))
        if 0 < asked < 1e6:
            return asked
    return _TIME_LIMIT_S


def too_long(limit_s: float) -> str:
    """Why an answer was given up."""
    return f"no whole answer within {limit_s:g} s ({TIME_LIMIT_VARIABLE} raises the limit)"
