"""Which moments of a film are worth a vector."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from rclip.photo.failures import DecodeError
from rclip.photo.video.container import Film
from rclip.photo.video.frames import upright

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

LOOK_EVERY_MS = 2000
"""So there are thirty moments a minute at most."""
EVERY_MS = 5000
"""After which a moment is kept although the scene is the same."""
_RARE_MS = 12_000
"""After the last key frame the frames between are decoded. Encoders write one at each new scene, and after ten seconds
at the latest; those that do not are few.
"""
_RARE_IN_SHORT_MS = 5000
_SHORT_MS = 60_000
"""A film of less can be decoded whole."""
_MOST_HELD_BYTES = 64 << 20

_COMPARED_SIDE = 16
_SAME = 0.012
"""Mean difference of two pictures' samples, of their range, up to which nothing has changed: noise, and a mouth."""
_NEW_SCENE = 0.06
_ONE_COLOR = 0.012
"""Standard deviation of a picture's samples up to which it shows nothing."""


class Look(NamedTuple):
    """A moment that was looked at."""

    at_ms: int
    image: Image.Image | None
    """The upright picture in RGB; None where it is not worth keeping."""


def looks(film: Film, from_ms: int, least_side: int) -> Iterator[Look]:
    """All moments from that time on, in order. Raises `DecodeError` for a film without any picture."""
    kept: np.ndarray | None = None
    kept_ms = 0
    spare: Look | None = None
    for at_ms, frame in _frames(film, from_ms):
        image = upright(frame, film, least_side)
        seen = np.asarray(image.resize((_COMPARED_SIDE, _COMPARED_SIDE), Image.Resampling.BOX), np.float32) / 255
        if seen.std(axis=(0, 1)).max() < _ONE_COLOR:
            spare = spare or Look(at_ms, image)
        elif kept is None or _is_new(float(np.abs(seen - kept).mean()), at_ms - kept_ms):
            kept, kept_ms = seen, at_ms
            yield Look(at_ms, image)
            continue
        yield Look(at_ms, None)
    if from_ms == 0 and kept is None:
        if spare is None:
            raise DecodeError("damaged: none of its pictures can be decoded")
        yield spare


def _is_new(difference: float, since_ms: int) -> bool:
    return difference > (_SAME if since_ms >= EVERY_MS else _NEW_SCENE)


def _frames(film: Film, from_ms: int) -> "Iterator[tuple[int, VideoFrame]]":
    """Frames to look at and their times: key frames and, where these are rare, others."""
    since_key: list[Packet[VideoStream]] = []
    held_bytes = key_ms = 0
    is_between = False  # whether the frames after the last key frame are being decoded
    rare_ms = _RARE_IN_SHORT_MS if (film.duration_ms or _SHORT_MS) < _SHORT_MS else _RARE_MS
    next_ms = from_ms
    for time_ms, packet in film.packets(from_ms):
        if packet.is_keyframe:
            if is_between:
                for at_ms, frame in _due(film, film.rest(), next_ms):
                    next_ms = at_ms + EVERY_MS
                    yield at_ms, frame
            since_key, held_bytes, key_ms, is_between = [packet], packet.size, time_ms, False
            if time_ms >= next_ms and (alone := film.decoded_alone(packet)):
                next_ms = time_ms + LOOK_EVERY_MS
                yield time_ms, alone
            continue
        if not is_between:
            if not since_key:  # nothing can be decoded before a key frame
                continue
            since_key.append(packet)
            held_bytes += packet.size
            is_between = time_ms - key_ms >= rare_ms or held_bytes > _MOST_HELD_BYTES
            if not is_between:
                continue
            next_ms = max(next_ms, key_ms + EVERY_MS)
        for one in since_key or [packet]:
            for at_ms, frame in _due(film, film.decoded(one), next_ms):
                next_ms = at_ms + EVERY_MS
                yield at_ms, frame
        since_key = []
    if is_between:
        yield from _due(film, film.rest(), next_ms)


def _due(film: Film, frames: "list[VideoFrame]", from_ms: int) -> "Iterator[tuple[int, VideoFrame]]":
    """The first of the frames that is due, if any; a packet brings forth one, and the end of a film a few."""
    for frame in frames:
        at_ms = film.time_of(frame)
        if at_ms is not None and at_ms >= from_ms:
            yield at_ms, frame
            return
