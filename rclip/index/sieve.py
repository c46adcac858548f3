"""What photos are filtered by, in columns of numbers, and which of their rows pass."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rclip import formats
from rclip.files import suffix
from rclip.filters import Filters, Near, words_of_camera
from rclip.index.clocks import clock_s, shown_here_s, utc_s
from rclip.index.store.filterable import Filterable

TYPES: dict[str, np.dtype[Any]] = {
    "when_s": np.dtype("<i8"),
    "latitude": np.dtype("<f4"),
    "longitude": np.dtype("<f4"),
    "camera": np.dtype("<i4"),
    "is_file_time": np.dtype("u1"),
    "suffix": np.dtype("u1"),
}
"""`when_s` is the camera's clock or, where `is_file_time`, the file's time in UTC, both in seconds from 1970; a place
that is not known is NaN, a camera 0; `suffix` counts `SUFFIXES`. The widest come first, so that all are aligned."""

SUFFIXES = sorted(formats.SUFFIXES)
_NUMBER_OF_SUFFIX = {name: number for number, name in enumerate(SUFFIXES)}
_OTHER_SUFFIX = 255

Column = Callable[[str], np.ndarray]
"""The column of that name, (N,)."""


# --- columns ---------------------------------------------------------------------------------------------------------


def columns_of_unknown(count: int) -> dict[str, np.ndarray]:
    """Columns of so many photos of which nothing is known."""
    unknown = {"latitude": np.nan, "longitude": np.nan, "suffix": _OTHER_SUFFIX}
    return {name: np.full(count, unknown.get(name, 0), type_) for name, type_ in TYPES.items()}


def columns_of(rows: Sequence[Filterable]) -> dict[str, np.ndarray]:
    """By their names, each (N,)."""
    if not rows:
        return columns_of_unknown(0)
    _, mtimes_ns, paths, captured, latitudes, longitudes, cameras = zip(*rows, strict=True)
    values: dict[str, Iterable[Any]] = {
        "when_s": [
            mtime_ns // 1_000_000_000 if captured_s is None else captured_s
            for captured_s, mtime_ns in zip(captured, mtimes_ns, strict=True)
        ],
        "latitude": [np.nan if latitude is None else latitude for latitude in latitudes],
        "longitude": [np.nan if longitude is None else longitude for longitude in longitudes],
        "camera": [camera or 0 for camera in cameras],
        "is_file_time": [captured_s is None for captured_s in captured],
        "suffix": [_NUMBER_OF_SUFFIX.get(suffix(path), _OTHER_SUFFIX) for path in paths],
    }
    return {name: np.array(values[name], type_) for name, type_ in TYPES.items()}


def taken_s(when_s: np.ndarray, is_file_time: np.ndarray) -> np.ndarray:
    """When photos were taken, on the camera's clock or, where only the file tells, on one here. (N,) int64"""
    by_file = np.flatnonzero(is_file_time)
    if not len(by_file):
        return when_s
    taken = when_s.copy()
    taken[by_file] = shown_here_s(when_s[by_file])
    return taken


# --- what passes -----------------------------------------------------------------------------------------------------


def passing(filters: Filters, column: Column, count: int, cameras: Sequence[int]) -> np.ndarray:
    """By all but paths and scores. `cameras` are those that the filters mean. (count,) bool"""
    mask = np.ones(count, bool)
    for limit, compare in ((filters.after, np.greater_equal), (filters.before, np.less)):
        if limit:
            mask &= compare(column("when_s"), np.where(column("is_file_time"), utc_s(limit), clock_s(limit)))
    if filters.types:
        is_asked = np.zeros(256, bool)
        is_asked[[_NUMBER_OF_SUFFIX[name] for name in filters.types & _NUMBER_OF_SUFFIX.keys()]] = True
        mask &= is_asked[column("suffix")]
    if filters.camera:
        mask &= np.isin(column("camera"), cameras)
    if filters.near:
        mask &= _is_near(filters.near, column("latitude"), column("longitude"))
    return mask


def cameras_meant(text: str, cameras: Mapping[int, tuple[str, str]]) -> list[int]:
    """Which of them, makers and models by number, have all the text's words."""
    words = words_of_camera(text)
    names = {number: f"{maker} {model}".lower() for number, (maker, model) in cameras.items()}
    return [number for number, name in names.items() if all(word in name for word in words)]


_EARTH_RADIUS_KM = 6371.0088  # the mean one


def _is_near(near: Near, latitudes: np.ndarray, longitudes: np.ndarray) -> np.ndarray:
    """By the haversine, which is right to half a percent: the earth is no sphere. Computed on a band around it only."""
    reach = np.degrees(near.km / _EARTH_RADIUS_KM) * 1.001 + 1e-4
    mask = np.abs(latitudes - np.float32(near.latitude)) <= reach
    rows = np.flatnonzero(mask)
    latitude, longitude = np.radians(latitudes[rows]), np.radians(longitudes[rows])
    here, there = np.radians(near.latitude), np.radians(near.longitude)
    half_chord = (
        np.sin((latitude - np.float32(here)) / 2) ** 2
        + np.cos(latitude) * np.float32(np.cos(here)) * np.sin((longitude - np.float32(there)) / 2) ** 2
    )
    mask[rows] = half_chord <= np.sin(min(near.km / _EARTH_RADIUS_KM, np.pi) / 2) ** 2
    return mask
