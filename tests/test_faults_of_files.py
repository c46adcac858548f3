"""Files that hurt: whatever lies in a folder, the run ends well, says what it could not read, and finds the rest."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rclip import formats
from tests.support import bombs, damage, pictures
from tests.support.command import PEAK, Command, start, update
from tests.support.decoders import CRASH, decoder_that_runs
from tests.support.gallery import Draw, many_photos
from tests.support.index import vectors
from tests.support.processes import children, decoder_held, decodes, traced
from tests.support.tiers import few

UNREADABLE = "unreadable (rclip --stats lists them)"
LEFT = "to be tried again by the next run"


def listed(rclip: Command) -> dict[str, str]:
    """What `--stats` says of files that cannot be read, or in part: names and reasons."""
    lines = (line.strip() for line in rclip("--stats").lines)
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def peak_and_lines(rclip: Command, *arguments: str) -> tuple[int, list[str]]:
    done = rclip("--index", "-v", *arguments, prefix=(sys.executable, "-S", "-c", PEAK))
    assert done.code == 0, done.err
    *lines, peak = done.err.splitlines()
    return int(peak), lines


# --- what is no picture, or only half of one --------------------------------------------------------------------------


def cut(suffix: str, share: float) -> Callable[[], bytes]:
    return lambda: (data := pictures.encode(pictures.drawn(), suffix))[: int(share * len(data))]


JPEG = ("insp", "jfif", "jpe", "jpeg", "jpg", "mpo")  # of which a quarter is enough to be indexed
NO_PICTURES: dict[str, Callable[[], bytes]] = {
    "zero bytes.jpg": lambda: b"",
    "one byte.jpg": lambda: b"\xff",
    "random.jpg": lambda: random.Random(1).randbytes(5000),
    "text.jpg": lambda: b"Dear diary,\n" * 99,
    "web page.png": lambda: b"<!DOCTYPE html><html></html>",
    "zeros.heic": lambda: bytes(5000),
    "only a header.gif": lambda: b"GIF89a",
    **{f"cut off.{suffix}": cut(suffix, 0.1 if suffix in JPEG else 0.5) for suffix in sorted(formats.PHOTO_SUFFIXES)},
}
"""All of these are refused, each for a reason in words."""


def test_what_is_no_picture_is_listed_and_poisons_no_vector(rclip: Command, gallery: Path) -> None:
    assert update(rclip) == "12 new photos"
    alone = vectors(rclip)
    next(rclip.data_dir.glob("*.db")).unlink()
    for number, (name, make) in enumerate(NO_PICTURES.items()):
        folder = gallery / ("circles", "squares", "stars")[number % 3]  # among the good ones, in their batches
        (folder / name).write_bytes(make())
    assert update(rclip) == f"12 new photos, {len(NO_PICTURES)} {UNREADABLE}"
    beside_them = vectors(rclip)
    assert beside_them.keys() == alone.keys()
    for name, vector in alone.items():
        np.testing.assert_array_equal(beside_them[name], vector)
    reasons = {name.rpartition("/")[2]: reason for name, reason in listed(rclip).items()}
    assert reasons.keys() == NO_PICTURES.keys()
    assert not [reason for reason in reasons.values() if "\ufffd" in reason or "Errno" in reason or reason[:2] == "b'"]
    assert update(rclip) == ""


ODD_PICTURES: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg.png": lambda picture: pictures.encode(picture, "jpg"),
    "png.jpg": lambda picture: pictures.saved(picture, "PNG", compress_level=1),
    "cmyk.jpg": lambda picture: pictures.saved(picture.convert("CMYK"), "JPEG"),
    "sixteen bits.png": lambda picture: pictures.png(np.asarray(picture).astype(np.uint16) * 257),
    "sixteen bits.tif": lambda picture: pictures.tiff_of_16_bits(np.asarray(picture).astype(np.uint16) * 257),
    "lab.tif": lambda picture: pictures.saved(pictures.lab(picture), "TIFF"),
    "one bit.tif": lambda picture: pictures.saved(picture.convert("1"), "TIFF"),
    "float.tif": lambda picture: pictures.saved(picture.convert("F"), "TIFF"),
    "animated.gif": lambda picture: pictures.first_of_two(picture, "GIF"),
    "animated.webp": lambda picture: pictures.first_of_two(picture, "WEBP"),
    "broken exif.jpg": lambda picture: pictures.saved(picture, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"),
    "endless exif.jpg": lambda picture: bombs.with_endless_exif(picture),
    "panorama.jpg": lambda picture: pictures.saved(picture.resize((20_000, 5_000), Image.Resampling.NEAREST), "JPEG"),
    "panorama.png": lambda picture: pictures.saved(
        picture.resize((20_000, 5_000), Image.Resampling.NEAREST), "PNG", compress_level=1
    ),
    "strip.png": lambda picture: pictures.saved(picture.resize((1, 10_000)), "PNG"),
    "strip.jpg": lambda picture: pictures.saved(picture.resize((10_000, 1)), "JPEG"),
    "one pixel.gif": lambda picture: pictures.saved(picture.resize((1, 1)), "GIF"),
}


def test_odd_pictures_are_photos_like_others(rclip: Command, photos: Path, draw: Draw) -> None:
    star = Image.open(draw("a star.png", "green star")).convert("RGB")
    for name, make in ODD_PICTURES.items():
        (photos / name).write_bytes(make(star))
    assert update(rclip) == f"{1 + len(ODD_PICTURES)} new photos"
    found = vectors(rclip)
    for name in ("jpeg.png", "png.jpg", "cmyk.jpg", "sixteen bits.tif", "lab.tif", "animated.gif", "broken exif.jpg"):
        assert found[name].astype(float) @ found["a star.png"].astype(float) > 0.98, name


def test_a_name_may_be_anything_also_of_what_cannot_be_read(rclip: Command, photos: Path) -> None:
    names = [b"evil\x1b[2J.jpg", b"new\nline.jpg", b"no utf-8 \xff.jpg", b"\xc2\x9b31m.jpg", b"x" * 251 + b".jpg"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(photos), name))).write_bytes(b"no picture")
    assert update(rclip) == f"5 {UNREADABLE}"
    shown = rclip.raw("--stats").stdout
    assert b"evil\\x1b[2J.jpg: damaged" in shown
    assert b"new\\nline.jpg: damaged" in shown
    assert b"no utf-8 \\xff.jpg: damaged" in shown
    assert b"\\x9b31m.jpg: damaged" in shown
    assert b"\x1b" not in shown


def test_what_a_file_says_cannot_steer_the_terminal(rclip: Command, photos: Path) -> None:
    (photos / "a.ppm").write_bytes(b"P6\n\x1b[2J\xc2\x9b31mverylongtokens 4\n255\n")
    assert update(rclip) == f"1 {UNREADABLE}"
    assert listed(rclip)["a.ppm"]
    assert not {"\x1b", "\x9b"} & set(rclip("--stats").out)


def test_decoders_do_not_speak_to_the_user(rclip: Command, photos: Path) -> None:
    """libtiff, LibRaw and libjpeg write to stderr themselves."""
    (photos / "a.tif").write_bytes(pictures.encode(pictures.drawn(), "tif").replace(b"\0\1", b"\1\0"))
    (photos / "b.nef").write_bytes(cut("nef", 0.5)())
    (photos / "c.jpg").write_bytes(cut("jpg", 0.1)() + bytes(50))
    assert update(rclip) == f"3 {UNREADABLE}"


# --- what asks for too much -------------------------------------------------------------------------------------------


def test_no_bomb_takes_more_memory_than_a_photo_may_have(rclip: Command, photos: Path, draw: Draw) -> None:
    """Refused by their size where they tell it, else stopped by the kernel: 80 MB for pixels, and what lies beside."""
    for name, make in (bombs.HUGE | bombs.GREEDY).items():
        (photos / name).write_bytes(make())
    draw("good.jpg", "green star")
    peak_mb, lines = peak_and_lines(rclip, "--max-image-megapixels", "4")
    refused = (bombs.HUGE | bombs.GREEDY).keys() - {"text.png"}  # which is a photo, but for its text
    assert lines == [f"rclip: index updated: found 2 new photos, {len(refused)} {UNREADABLE}"]
    assert peak_mb < 500
    told_their_size = [name for name, reason in listed(rclip).items() if "is more than 4 megapixels" in reason]
    assert set(told_their_size) >= bombs.HUGE.keys() - {"huge.avif", "huge.nef"}  # those their decoders refuse


def test_a_photo_that_takes_too_long_is_given_up_and_the_run_goes_on(rclip: Command, photos: Path, draw: Draw) -> None:
    """One is decoded in C without a pause, one in Python. A longer limit has them tried again."""
    (photos / "b.jpg").write_bytes(bombs.jpeg_of_many_scans())
    (photos / "c.qoi").write_bytes(bombs.slow_qoi())
    draw("a.jpg", "green star")
    draw("d.jpg", "red circle")
    done = rclip("--index", "-v", env={"RCLIP_PHOTO_TIMEOUT_S": "0.3"})
    assert done.err == f"rclip: index updated: found 2 new photos, 2 {UNREADABLE}\n"
    too_slow = "it takes longer than 0.3 s to decode (RCLIP_PHOTO_TIMEOUT_S raises the limit)"
    assert listed(rclip) == {"b.jpg": too_slow, "c.qoi": too_slow}
    assert update(rclip) == ""
    (photos / "b.jpg").unlink()
    done = rclip("--index", "-v", env={"RCLIP_PHOTO_TIMEOUT_S": "100"})
    assert done.err == "rclip: index updated: found 1 changed, 1 missing\n"


def test_a_preview_that_is_not_all_in_the_file_is_not_shown(rclip: Command, photos: Path) -> None:
    """LibRaw gave out the memory behind it: pixels of other photos, or a crash of the whole run."""
    small = pictures.drawn(80, 64)
    whole = pictures.dng(small, preview=small)
    height = b"\x01\x01\x03\x00\x01\x00\x00\x00" + (64).to_bytes(4, "little")
    assert whole.count(height) == 2
    at = whole.rindex(height) + 8
    for rows in (65, 1000, 30_000):
        (photos / f"{rows}.nef").write_bytes(whole[:at] + rows.to_bytes(2, "little") + whole[at + 2 :])
    (photos / "none.nef").write_bytes(pictures.dng(small))
    rclip("--index", "-v")
    assert not listed(rclip)
    found = vectors(rclip)
    for rows in (65, 1000, 30_000):
        assert found[f"{rows}.nef"].astype(float) @ found["none.nef"].astype(float) > 0.99


# --- what changes under our hands -------------------------------------------------------------------------------------


@pytest.fixture
def slow(photos: Path) -> list[Path]:
    """As many files as there are threads, each of which takes a decoder a good part of a second."""
    if not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists():
        pytest.skip("only Linux says who reads a file")
    paths = [photos / f"slow {number}.qoi" for number in range(os.cpu_count() or 1)]
    for number, path in enumerate(paths):
        path.write_bytes(bombs.slow_qoi(number))
    return paths


def said(run: subprocess.Popen[bytes]) -> str:
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    return err.decode().removeprefix("rclip: index updated: found ").strip()


BY_OTHERS = [signal.SIGTERM, signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT, signal.SIGBUS, signal.SIGHUP]


@pytest.mark.parametrize("number", few(BY_OTHERS, fast=3))
def test_a_decoder_that_is_ended_by_others_says_nothing_about_its_file(
    rclip: Command, draw: Draw, slow: list[Path], number: signal.Signals
) -> None:
    draw("z.jpg")
    run = start(rclip, "--index", "-v", stderr=subprocess.PIPE)
    with decoder_held(slow[0], run) as decoder:
        os.kill(decoder, number)
    assert said(run) == f"{len(slow) + 1} new photos"


@pytest.mark.parametrize(("count", "kills"), few([(100, 4), (1000, 20)]))
def test_decoders_that_are_ended_all_the_time_mark_no_photo(
    rclip: Command, photos: Path, draw: Draw, count: int, kills: int
) -> None:
    """As by a system without memory, or one that shuts down."""
    many_photos(draw, count)
    rng = random.Random(7)
    run = start(rclip, "--index", "-v", stderr=subprocess.PIPE)
    while kills and run.poll() is None:
        for decoder in filter(lambda pid: decodes(pid, photos), children(run.pid)):
            with suppress(ProcessLookupError):
                os.kill(decoder, rng.choice(BY_OTHERS))
                kills -= 1
    assert not kills
    assert "unreadable" not in said(run)
    rclip("--index", "-v")
    assert not listed(rclip)
    assert len(vectors(rclip)) == count


@pytest.mark.parametrize(
    ("how", "reason"),
    few(
        [
            (CRASH, "crashes (SIGSEGV)"),
            ("import os; os.abort()", "crashes (SIGABRT)"),
            ("raise SystemExit(3)", "ends with status 3"),
        ]
    ),
)
def test_a_file_that_ends_its_decoder_twice_is_remembered(
    rclip: Command, draw: Draw, photos: Path, tmp_path: Path, how: str, reason: str
) -> None:
    env = decoder_that_runs(how, tmp_path)
    (photos / "bad.heic").write_bytes(pictures.encode(pictures.drawn(), "heic"))
    draw("z.jpg")
    done = rclip("--index", "-v", env=env)
    assert done.err == f"rclip: index updated: found 1 new photo, 1 {UNREADABLE}\n"
    assert listed(rclip) == {"bad.heic": f"damaged: its decoder {reason}"}
    assert (tmp_path / "asked").read_text() == "xx"
    assert rclip("--index", "-v", env=env).err == "rclip: nothing has changed; photos here: 1\n"


def test_a_crash_that_does_not_happen_again_is_nothing(
    rclip: Command, draw: Draw, photos: Path, tmp_path: Path
) -> None:
    env = decoder_that_runs(f"if open({str(tmp_path / 'asked')!r}).read() == 'x': {CRASH}", tmp_path)
    (photos / "good.heic").write_bytes(pictures.encode(pictures.drawn(), "heic"))
    assert rclip("--index", "-v", env=env).err == "rclip: index updated: found 1 new photo\n"
    assert not listed(rclip)


def test_a_stopped_decoder_does_not_stop_the_run(rclip: Command, draw: Draw, slow: list[Path]) -> None:
    draw("z.jpg")
    run = start(rclip, "--index", "-v", stderr=subprocess.PIPE)
    with decoder_held(slow[0], run):
        assert said(run) == f"{len(slow) + 1} new photos"


@pytest.mark.slow
def test_a_decoder_that_hangs_in_the_system_does_not_stop_the_run(
    rclip: Command, draw: Draw, slow: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw("z.jpg")
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "--index", "-v"]
    env = rclip.env | {"RCLIP_PHOTO_TIMEOUT_S": "2"}  # twenty seconds on the clock
    run = subprocess.Popen(command, cwd=rclip.cwd, env=env, stderr=subprocess.PIPE)
    with decoder_held(slow[0], run) as decoder:
        tracing = traced(decoder)
        tracing.__enter__()
    try:
        assert said(run) == f"{len(slow)} new photos, 1 {LEFT}"
    finally:
        tracing.__exit__(None, None, None)
    assert update(rclip) == "1 new photo"


def test_a_file_that_is_written_to_while_it_is_read_waits_for_the_next_run(rclip: Command, slow: list[Path]) -> None:
    run = start(rclip, "--index", "-v", stderr=subprocess.PIPE)
    with decoder_held(slow[0], run), slow[0].open("ab") as file:
        file.write(b"more")
    others = len(slow) - 1
    assert said(run) == (f"{others} new photo{'s' * (others > 1)}, 1 {LEFT}" if others else f"1 {LEFT}")
    assert update(rclip) == "1 new photo"


@pytest.mark.parametrize("becomes", few(["a pipe", "a device", "a folder", "nothing"]))
def test_a_file_that_becomes_something_else_before_it_is_read(
    rclip: Command, slow: list[Path], draw: Draw, becomes: str
) -> None:
    """The folder is listed first; the threads come to the last file when the slow ones are done."""
    victim = draw("z.jpg")
    run = start(rclip, "--index", "-v", stderr=subprocess.PIPE)
    with decoder_held(slow[-1], run):
        victim.unlink()
        if becomes == "a pipe":
            os.mkfifo(victim)
        elif becomes == "a device":
            victim.symlink_to("/dev/zero")
        elif becomes == "a folder":
            victim.mkdir()
    assert said(run).startswith(f"{len(slow)} new photos, 1 ")
    assert update(rclip) in ("", "1 missing")


def test_pipes_devices_and_links_to_them_are_no_photos(
    rclip: Command, photos: Path, draw: Draw, tmp_path: Path
) -> None:
    os.mkfifo(photos / "pipe.jpg")
    os.mkfifo(tmp_path / "elsewhere")
    (photos / "link to a pipe.jpg").symlink_to(tmp_path / "elsewhere")
    for name in ("zero", "null", "random", "tty"):
        (photos / f"{name}.jpg").symlink_to(f"/dev/{name}")
    draw("a.jpg")
    assert update(rclip) == "1 new photo"
    assert rclip("-n", "red").lines == ["a.jpg"]


def test_a_photo_replaced_within_its_second_by_one_of_the_same_size_is_seen(rclip: Command, draw: Draw) -> None:
    photo = draw("a.bmp", "red circle")
    os.utime(photo, ns=(10**18 + 1, 10**18 + 1))
    draw("b.bmp", "blue star")
    assert update(rclip) == "2 new photos"
    size = photo.stat().st_size
    draw("a.bmp", "green square")
    os.utime(photo, ns=(10**18 + 2, 10**18 + 2))
    assert photo.stat().st_size == size
    assert update(rclip) == "1 changed"
    assert rclip("-n", "-t", "1", "a green square").lines == ["a.bmp"]


# --- damage by the thousand -------------------------------------------------------------------------------------------

DISTINCT_FORMATS = sorted(
    formats.PILLOW_SUFFIXES - {"jpeg", "jpe", "jfif", "tiff", "jpf", "jpx", "pnm"} | {"heic", "jxl", "nef", "cr3"}
)
"""One suffix for each format."""


@pytest.mark.parametrize(
    "seeds",
    [
        range(4),
        pytest.param(range(4, 12), marks=pytest.mark.slow),
        pytest.param(range(12, 252), marks=pytest.mark.soak),
    ],
    ids=["a few", "some", "thousands"],
)
def test_damaged_files_give_a_vector_or_a_reason_within_memory(
    rclip: Command, gallery: Path, photos: Path, seeds: range
) -> None:
    update(rclip)
    before = vectors(rclip)
    next(rclip.data_dir.glob("*.db")).unlink()
    count = len(DISTINCT_FORMATS) * len(seeds)
    for suffix in DISTINCT_FORMATS:
        for seed in seeds:
            (photos / f"{seed:04} damaged.{suffix}").write_bytes(damage.damaged(suffix, seed))
    peak_mb, lines = peak_and_lines(rclip, "--max-image-megapixels", "20")
    assert peak_mb < 1000
    (line,) = lines
    assert LEFT not in line
    found, unreadable = vectors(rclip), listed(rclip)
    assert len(found.keys() | unreadable.keys()) == 12 + count
    assert all("is missing" in unreadable[name] for name in found.keys() & unreadable.keys())
    assert all(np.isfinite(vector).all() for vector in found.values())
    assert min(before[name].astype(float) @ found[name].astype(float) for name in before) > 0.999
    assert not [reason for reason in unreadable.values() if "crashes" in reason or "longer" in reason]
    assert len(found) > count / 5  # else nothing is tested but the doors
    assert update(rclip) == ""
