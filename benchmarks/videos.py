"""How long it takes to index films: `rclip --index` of one that was not indexed, for several lengths and sizes.

    .venv/bin/python benchmarks/videos.py --quick
    .venv/bin/python benchmarks/videos.py --minutes 60
    .venv/bin/python benchmarks/videos.py --minutes 5 --size 3840x2160 --key-frames 1

A minute of moving shapes is encoded, with a new scene every six seconds, and its packets are written as often as the
film has minutes. `--key-frames` are seconds between two at most: phones write one a second, encoders one in ten.
"""

import argparse
import shutil
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from common import (
    Ours,
    Run,
    emptied,
    in_turns,
    keep,
    parse,
    parser,
    prepared,
    print_cases,
    print_head,
    said,
    say,
    summary,
    timed_run,
)
from PIL import Image

FPS = 30
SCENE_S = 6
LOOP_S = 60


def frames(width: int, height: int) -> Iterator[np.ndarray]:
    """A minute of them: on each ground, of soft noise, shapes move."""
    rng = np.random.default_rng(0)
    for _ in range(LOOP_S // SCENE_S):
        small = rng.integers(0, 256, (9, 16, 3)).astype(np.uint8)
        ground = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
        starts, steps = rng.integers(0, height // 2, (8, 2)), rng.integers(1, 8, (8, 2))
        colors = rng.integers(0, 256, (8, 3)).astype(np.uint8)
        side = height // 6
        for number in range(SCENE_S * FPS):
            frame = ground.copy()
            for (top, left), (down, right), color in zip(starts, steps, colors, strict=True):
                y, x = (top + number * down) % (height - side), (left + number * right) % (width - side)
                frame[y : y + side, x : x + side] = color
            yield frame


def make_film(path: Path, width: int, height: int, minutes: int, key_frames_s: int) -> None:
    """H.264 in an MP4, as phones and home encoders write it."""
    say(f"encoding a minute of {width}x{height}, {minutes} times")
    loop = path.with_name("loop.mp4")
    with av.open(str(loop), "w") as made:
        stream: Any = made.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = key_frames_s * FPS
        stream.options = {"preset": "veryfast", "crf": "23"}
        for number, pixels in enumerate(frames(width, height)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    with av.open(str(path), "w") as output:
        target: Any = None
        for number in range(minutes):
            with av.open(str(loop)) as source:
                pictures = source.streams.video[0]
                target = target or output.add_stream_from_template(pictures)
                assert pictures.time_base
                shift = round(number * LOOP_S / pictures.time_base)
                for packet in source.demux(pictures):
                    if packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, target
                        output.mux(packet)
    loop.unlink()


def _index(ours: Ours, data_dir: Path, library: Path) -> Run:
    """From nothing; the model is prepared."""
    shutil.rmtree(data_dir, ignore_errors=True)
    ours.new_data_dir(data_dir)
    run = timed_run(ours, data_dir, library, ["--index"])
    if ours.count(data_dir, library) != 1:
        raise SystemExit(f"the film was not indexed:\n{said(ours, data_dir)}")
    return run


def _moments(ours: Ours, data_dir: Path, library: Path) -> int:
    with ours.open(data_dir, library) as opened:
        return opened.stats().moments


def _size(text: str) -> tuple[int, int]:
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    made = parser(__doc__, runs=3)
    made.add_argument("--minutes", type=int, default=60, help="of the film (60)")
    made.add_argument("--size", type=_size, default=(1920, 1080), help="of its pictures (1920x1080)")
    made.add_argument(
        "--key-frames", type=int, default=10, metavar="S", help="a key frame every S seconds or more (10)"
    )
    options: argparse.Namespace = parse(made, {"minutes": 1, "size": (160, 120)})
    ours = prepared(options)
    head = print_head([ours])
    folder = emptied(options.scratch / "videos")
    library = folder / "films"
    library.mkdir()
    width, height = options.size
    make_film(library / "film.mp4", width, height, options.minutes, options.key_frames)
    runs = in_turns({"film": partial(_index, ours, folder / "data", library)}, options.runs, "index")["film"]
    moments = _moments(ours, folder / "data", library)
    megabytes = (library / "film.mp4").stat().st_size / 1e6
    name = f"{options.minutes} min of {width}x{height}"
    cases = [{"case": name, "n": moments, **summary(runs)}]
    print_cases(cases)
    print(f"\n{name}: {megabytes:,.0f} MB, {moments:,} moments")
    shutil.rmtree(folder)
    keep(
        options.json,
        {**head, "minutes": options.minutes, "size": [width, height], "moments": moments, "results": cases},
    )


if __name__ == "__main__":
    main()
