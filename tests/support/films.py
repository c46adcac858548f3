"""Films to index: real containers and codecs, written by FFmpeg, of the pictures that the tiny CLIP knows."""

import random
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from PIL import Image

from rclip import formats
from tests.tiny_clip import scenes

_CODEC_OPTIONS = {
    "libx264": {"preset": "ultrafast", "crf": "12"},
    "libx265": {"preset": "ultrafast", "crf": "12", "x265-params": "log-level=none"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


class Kind(NamedTuple):
    """How to write a film under an ending."""

    container: str
    codec: str


KINDS = {
    **dict.fromkeys(("mp4", "m4v", "insv"), Kind("mp4", "libx264")),
    **dict.fromkeys(("3gp", "3g2"), Kind("3gp", "mpeg4")),
    "mov": Kind("mov", "libx264"),
    "mkv": Kind("matroska", "libx265"),
    "webm": Kind("webm", "libvpx-vp9"),
    **dict.fromkeys(("avi", "divx"), Kind("avi", "mpeg4")),
    **dict.fromkeys(("mts", "m2ts", "m2t"), Kind("mpegts", "libx264")),
    **dict.fromkeys(("mpg", "mpeg", "vob"), Kind("vob", "mpeg2video")),
    **dict.fromkeys(("wmv", "asf"), Kind("asf", "wmv2")),
    "flv": Kind("flv", "flv"),
    "ogv": Kind("ogg", "libvpx"),
}
assert set(KINDS) == formats.VIDEO.suffixes


def scene(what: str, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """`red circle` on white, or `black` for a picture of one colour. The same each time."""
    color, _, shape = what.partition(" ")
    if not shape:
        return Image.new("RGB", size, color)
    drawn = scenes.Scene(color, shape, 1, "white", "plain")
    return scenes.draw(drawn, size, random.Random(what))


def write_film(  # noqa: PLR0913 - all by name, and few are given
    path: Path,
    shown: Sequence[str | Image.Image],
    seconds: float = 4,
    fps: int = 5,
    gop: int | None = None,
    pix_fmt: str | None = None,
    tags: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    kind: Kind | None = None,
    times_s: Iterable[float] | None = None,
    matrix: str | None = None,
    **stream_attributes: Any,
) -> Path:
    """A film that shows each scene for so many seconds, with a key frame every two seconds and at each new scene.

    With `gop` there is one every so many frames; `times_s` are the times of frames, in place of regular ones.
    `matrix` is that of its colours, which are else SDTV's.
    """
    kind = kind or KINDS[path.suffix[1:].lower()]
    pictures = [picture if isinstance(picture, Image.Image) else scene(picture) for picture in shown]
    with av.open(str(path), "w", format=kind.container, options=options or {}) as container:
        container.metadata.update(tags or {})
        stream: Any = container.add_stream(kind.codec, rate=fps)
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = pix_fmt or "yuv420p"
        stream.gop_size = gop or 2 * fps
        stream.codec_context.time_base = Fraction(1, 1000) if times_s else Fraction(1, fps)
        stream.codec_context.bit_rate = 2_000_000
        stream.options = _CODEC_OPTIONS.get(kind.codec, {}) | (codec_options or {})
        for name, value in stream_attributes.items():
            setattr(stream.codec_context, name, value)
        times = iter(times_s) if times_s else None
        number = 0
        for picture in pictures:
            for _ in range(round(seconds * fps)):
                frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
                if matrix:
                    frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=matrix)
                frame.time_base = stream.codec_context.time_base
                frame.pts = round(next(times) * 1000) if times else number
                number += 1
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path, container: str = "mp4", codec: str = "aac", seconds: float = 1.0) -> Path:
    """A file with sound only."""
    with av.open(str(path), "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=44_100)
        samples = np.zeros((1, 1024), np.float32)
        for number in range(round(seconds * 44_100 / 1024)):
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 44_100
            frame.pts = number * 1024
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path
