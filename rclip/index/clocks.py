"""Times in seconds from 1970: in UTC, and as a clock shows them, which says nothing of its zone."""

import time
from datetime import datetime

import numpy as np


def clock_s(when: datetime) -> int:
    """To that time on the clock that shows it. `when` has no zone."""
    since = when - datetime(1970, 1, 1)
    return since.days * 86_400 + since.seconds


def utc_s(when: datetime) -> int:
    """To when clocks here show that. `when` has no zone."""
    try:
        return int(when.timestamp())
    except (ValueError, OverflowError):  # beyond what the platform's clock knows
        return clock_s(when)


def shown_here_s(times_s: np.ndarray) -> np.ndarray:
    """What clocks here showed at those times in UTC. (N,) int64 -> (N,) int64, at least one"""
    starts, offsets = _offsets_here(int(times_s.min()), int(times_s.max()))
    return times_s + offsets[np.searchsorted(starts, times_s, side="right") - 1]


_STEP_S = 7 * 86_400
_MOST_STEPS = 10_000  # two centuries


def _offsets_here(first_s: int, last_s: int) -> tuple[np.ndarray, np.ndarray]:
    """When clocks here began to be so far ahead of UTC, and how far, in seconds; exact, found by halving weeks."""
    step_s = max(_STEP_S, (last_s - first_s) // _MOST_STEPS)
    starts, offsets = [first_s], [_offset_s(first_s)]
    for week_s in range(first_s, last_s + 1, step_s):
        end_s = min(week_s + step_s, last_s)
        if _offset_s(end_s) == offsets[-1]:
            continue
        before_s, after_s = week_s, end_s
        while after_s - before_s > 1:
            middle_s = (before_s + after_s) // 2
            before_s, after_s = (middle_s, after_s) if _offset_s(middle_s) == offsets[-1] else (before_s, middle_s)
        starts.append(after_s)
        offsets.append(_offset_s(after_s))
    return np.array(starts), np.array(offsets)


def _offset_s(utc_s: int) -> int:
    try:
        return time.localtime(utc_s).tm_gmtoff
    except (ValueError, OverflowError, OSError):  # beyond what the platform's clock knows
        return 0
