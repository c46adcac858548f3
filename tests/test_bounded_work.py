"""Attacks on time and memory: no file, query or pattern keeps the command busy, whatever way it comes in."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rclip import Library, RclipError, UsageError
from rclip.photo import image
from rclip.photo.decode_pool import DecodePool, start_ahead
from rclip.photo.failures import DecodeError
from rclip.search.query import parse_line, parse_words
from tests.support import bombs, pictures, tiff_bombs
from tests.support.command import PEAK, Command, one_line
from tests.support.gallery import Draw
from tests.support.processes import children, held
from tests.support.terminals import KITTY, Display, on_terminal
from tests.support.tiers import few

# --- pictures of queries and thumbnails are decoded apart -------------------------------------------------------------


@pytest.fixture
def indexed(rclip: Command, draw: Draw) -> Command:
    draw("a.jpg", "red circle")
    assert rclip("--index").code == 0
    return rclip


@pytest.mark.parametrize("outside", [True, False], ids=["outside", "among the photos"])
def test_a_picture_that_takes_too_long_is_one_line(indexed: Command, tmp_path: Path, outside: bool) -> None:
    path = (tmp_path if outside else indexed.cwd) / "scans.jpg"
    path.write_bytes(bombs.jpeg_of_many_scans())
    done = indexed("-n", str(path), env={"RCLIP_PHOTO_TIMEOUT_S": "0.3"})
    assert (done.code, done.out) == (2, "")
    assert "it takes longer than 0.3 s to decode" in one_line(done.err)


def said_in_place(rclip: Command, content: bytes) -> str:
    """The text in the place of the only thumbnail, of an indexed photo that is `content` by now."""
    (rclip.cwd / "a.jpg").write_bytes(content)
    shown = on_terminal(
        rclip, "-n", "-p", "a red circle", answers=KITTY, size=(200, 40), env={"RCLIP_PHOTO_TIMEOUT_S": "0.3"}
    )
    assert (shown.code, shown.err) == (0, "")
    assert b"\x1b_Ga=T" not in shown.out
    return " ".join("".join(Display(shown.out).lines[:3]).split())


def test_a_thumbnail_that_takes_too_long_has_the_reason_in_its_place(indexed: Command) -> None:
    assert "it takes longer" in said_in_place(indexed, bombs.jpeg_of_many_scans())


@pytest.mark.parametrize("name", few(["tile.tif", "progressive.jpg", "huge.jxl", "canvas.webp"], fast=2))
def test_a_bomb_as_a_thumbnail_has_the_reason_in_its_place(indexed: Command, name: str) -> None:
    assert said_in_place(indexed, (bombs.HUGE | bombs.GREEDY)[name]()).startswith("cannot show it:")


def test_a_decoder_started_ahead_serves_the_first_picture_and_ends_with_the_program(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(pictures.saved(pictures.drawn(), "PNG"))
    before = set(children(os.getpid()))
    start_ahead()
    (ahead,) = set(children(os.getpid())) - before
    pool = DecodePool(32, 10**7)
    try:
        with open(path, "rb") as file:
            assert pool.decode(file, "png").pixels.shape == (32, 32, 3)
        assert set(children(os.getpid())) - before == {ahead}
    finally:
        pool.close()
    assert set(children(os.getpid())) == before


# --- memory: of all decoders together ---------------------------------------------------------------------------------


def data_limit(pid: int) -> int:
    """The bytes that the process may take; 0 before it has set itself a limit, or when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    value = next(line for line in lines if line.startswith("Max data size")).split()[3]
    return 0 if value == "unlimited" else int(value)


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="the system does not tell the limits of a process")
def test_what_decoders_take_is_bounded_in_sum(tmp_path: Path) -> None:
    """Four pictures of 15 megapixels where all may take as much as 20 do: they wait for one another, others do not."""
    pictures_of = {"large": (5000, 3000), "small": (50, 30)}
    for name, size in pictures_of.items():
        Image.new("RGB", size, "red").save(tmp_path / f"{name}.png")
    pool = DecodePool(32, 20_000_000)
    before = set(children(os.getpid()))

    def decode(name: str) -> tuple[int, ...]:
        with open(tmp_path / f"{name}.png", "rb") as file:
            return pool.decode(file, "png").pixels.shape

    def given(beside: int) -> set[int]:
        return {pid for pid in set(children(os.getpid())) - before if data_limit(pid) - beside > 15_000_000}

    try:
        decode("small")
        (first,) = set(children(os.getpid())) - before
        beside = data_limit(first)
        with ThreadPoolExecutor(4) as threads:
            done = [threads.submit(decode, "large") for _ in range(8)]
            is_held = False
            while not is_held:
                assert not all(each.done() for each in done)
                for holder in given(beside):
                    with held(holder):
                        is_held = holder in given(beside)  # still
                        assert not is_held or decode("small") == (32, 32, 3)
                        assert not is_held or given(beside) == {holder}
            assert {each.result() for each in done} == {(32, 32, 3)}
        assert not given(beside)
    finally:
        pool.close()


def test_a_small_picture_in_huge_tiles_counts_as_large(tmp_path: Path) -> None:
    path = tmp_path / "tile.tif"
    path.write_bytes(bombs.tiff_of_one_huge_tile())
    pool = DecodePool(32, 100_000_000)
    try:
        with open(path, "rb") as file, pytest.raises(DecodeError, match="20000×20000 is more than 100 megapixels"):
            pool.decode(file, "tif")
    finally:
        pool.close()


def test_bombs_for_the_deep_decoders_are_a_line_each_and_the_rest_is_indexed(
    rclip: Command, photos: Path, draw: Draw
) -> None:
    """Of memory, none may take more than one large picture; most are refused before they take any."""
    made = tiff_bombs.REFUSED | tiff_bombs.SHOWN
    for name, make in made.items():
        (photos / name).write_bytes(make())
    draw("zebra.jpg", "red star")
    limits = ("--max-image-megapixels", "100")
    done = rclip("--index", "-v", *limits, prefix=(sys.executable, "-S", "-c", PEAK))
    *told, megabytes = done.err.splitlines()
    assert (done.code, done.out) == (0, "")
    assert any(f"found {len(tiff_bombs.SHOWN) + 1} new photos" in line for line in told), told
    assert int(megabytes) < 1500
    reasons = [line.strip() for line in rclip("--stats").lines if ": " in line]
    assert sorted(line.partition(": ")[0] for line in reasons) == sorted(tiff_bombs.REFUSED)
    assert max(map(len, reasons)) < 600
    assert rclip("-n", "-t", "1", "a red star").lines == ["zebra.jpg"]


@pytest.mark.slow
def test_bombs_for_the_deep_decoders_that_take_time_end_at_its_limit(rclip: Command, photos: Path, draw: Draw) -> None:
    for name, make in tiff_bombs.SLOW.items():
        (photos / name).write_bytes(make())
    draw("zebra.jpg", "red star")
    assert rclip("--index", env={"RCLIP_PHOTO_TIMEOUT_S": "2"}).code == 0
    told = rclip("--stats").out
    for name in tiff_bombs.SLOW:
        assert f"{name}: it takes longer than 2 s to decode" in told
    assert rclip("-n", "a red star").lines == ["zebra.jpg"]


def test_a_sparse_file_of_a_terabyte_gets_no_memory_for_it(indexed: Command) -> None:
    for suffix in ("dng", "tif", "heic"):
        with open(indexed.cwd / f"sparse.{suffix}", "wb") as file:
            file.write(pictures.encode(pictures.drawn(), suffix)[:64])
            try:
                file.truncate(1 << 40)
            except OSError:
                pytest.skip("the disk takes no such file")
        done = indexed("-n", f"./sparse.{suffix}")
        assert done.code == 2
        assert one_line(done.err).startswith("rclip: cannot open ./sparse.")


def test_a_sparse_file_is_not_read_to_its_end(indexed: Command) -> None:
    """It takes no room on any disk, fits into an archive, and would be read for days."""
    with open(indexed.cwd / "sparse.jpg", "wb") as file:
        try:
            file.truncate(1 << 43)
        except OSError:
            pytest.skip("the disk takes no such file")
    done = indexed("--index")
    assert done.code == 0
    assert "sparse.jpg: it has 8,192 GB, more than any photo or film; it is left out until it changes" in one_line(
        done.err
    )
    assert indexed("--index").err == ""


@pytest.mark.parametrize(
    ("name", "size_bytes", "told"),
    [
        ("sparse.mkv", 200 << 30, True),
        ("sparse.tif", 30 << 30, True),
        ("beginning and end.jpg", 20 << 30, True),
        ("less.jpg", 1 << 30, False),
    ],
)
def test_a_file_that_is_mostly_holes_is_not_read(
    indexed: Command, draw: Draw, name: str, size_bytes: int, told: bool
) -> None:
    """A film may take a minute of processor time for every 64 MB, and one of holes claims to have thousands of them."""
    (indexed.cwd / "a.jpg").unlink()
    content = draw("b.jpg", "blue star").read_bytes()
    with open(indexed.cwd / name, "wb") as file:
        file.write(content)
        try:
            file.truncate(size_bytes)
        except OSError:
            pytest.skip("the disk takes no such file")
        if name.startswith("beginning"):
            file.seek(size_bytes - 5)
            file.write(b"end")
    done = indexed("--index")
    assert done.code == 0
    reason = f"{name}: more than 1 GB of it is missing, as of a download that is not complete"
    assert (reason in indexed("--stats").out) == told
    assert len(indexed("-n", "a blue star").lines) == (1 if told else 2)


# --- time: of files ---------------------------------------------------------------------------------------------------


def test_no_sound_picture_takes_long_to_decode(rclip: Command, photos: Path) -> None:
    """A few megabytes of what honest files have little of; the limit is of processor time, whatever else runs."""
    for name, make in bombs.LONG_WORK.items():
        (photos / name).write_bytes(make())
    done = rclip("--index", "-v", env={"RCLIP_PHOTO_TIMEOUT_S": "6"})
    assert (done.code, done.out) == (0, "")
    count = len(bombs.LONG_WORK)
    found = one_line(done.err).removeprefix("rclip: index updated: found ")
    assert found in (f"{count} new photos", f"{count - 5} new photos, 5 copies"), done.err


def test_comments_in_a_plain_pnm_count_for_nothing() -> None:
    rows = b"P3 # a comment\n2 2 # another\n255\n1 2 3 #4 5 6\n4 5 6\r#\r7 8 9 1# within a number\n0 11 12 # at the end"
    plain = b"P3 2 2 255 1 2 3 4 5 6 7 8 9 10 11 12 "
    assert decoded(rows) == decoded(plain)


def decoded(data: bytes) -> bytes:
    return image.decode(io.BytesIO(data), "ppm", 2, 10**6).square.tobytes()


@pytest.mark.parametrize("first_bytes", [0, 1, 2, 3, 7, 13, 18])
def test_a_jpeg_xl_in_parts_is_known_to_be_large(first_bytes: int) -> None:
    data = bombs.jxl_in_parts(30_000, 20_000, first_bytes)
    with pytest.raises(DecodeError, match="30000×20000 is more than 1 megapixels"):
        image.decode(io.BytesIO(data), "jxl", 32, 10**6)


# --- time: of queries and patterns ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full"])
def test_an_endless_line_of_queries_ends_in_one_line(indexed: Command, path: str) -> None:
    done = indexed("-n", "--queries", path)
    assert (done.code, done.out) == (2, "")
    assert "line 1 has more than 65,536 bytes" in one_line(done.err)


def test_queries_before_an_endless_line_are_answered(indexed: Command) -> None:
    command = (
        f"(echo red; echo blue; cat /dev/zero) | {sys.executable} -P -m rclip --model {indexed.model} -n --queries -"
    )
    done = subprocess.run(["sh", "-c", command], cwd=indexed.cwd, env=indexed.env, capture_output=True, check=False)
    assert done.stdout == b"red\ta.jpg\nblue\ta.jpg\n"
    assert b"line 3 has more than 65,536 bytes" in done.stderr


HUGE_QUERIES = {
    "words": "a red star " * 1_000_000,
    "a word": "a" * 10_000_000,
    "other letters": "\u00fc" * 5_000_000,
    "signs in a line": "a red star" + " + " * 1_000_000,
    "digits": "2" * 10_000_000,
    "blanks": " " * 10_000_000 + "a red star",
}


def test_megabytes_of_a_query_are_read_as_far_as_they_count(indexed: Command) -> None:
    said: list[str | RclipError] = []
    with Library(indexed.cwd, model=indexed.model, data_dir=indexed.data_dir, notify=said.append) as library:
        for name, query in HUGE_QUERIES.items():
            assert len(library.search(query)) == 1, name
        vectors = library.encode_text(
            [HUGE_QUERIES["words"], "a red star " * 100, HUGE_QUERIES["blanks"], "a red star"]
        )
    np.testing.assert_allclose(vectors[::2], vectors[1::2], atol=1e-6)
    assert "only its first" in str(said[0])


def test_more_terms_than_anybody_writes_are_refused() -> None:
    with pytest.raises(UsageError, match="the query has more than 1000 terms"):
        parse_words(["+", "a"] * 1001)
    with pytest.raises(UsageError, match="terms"):
        parse_line("a + " * 1_000_000 + "a")
    assert len(parse_words(["+", "a"] * 1000).terms) == 1000


def test_an_error_quotes_little_of_megabytes(indexed: Command) -> None:
    done = indexed("-n", "2" * 100_000 + ":cat")
    assert done.code == 2
    assert 1000 < len(one_line(done.err)) < 5000
    assert one_line(done.err).endswith("which must be above 0 and below a million")


# --- odd values -------------------------------------------------------------------------------------------------------

PICTURE_TOO_LARGE = "is more than 1e-06 megapixels (--max-image-megapixels raises the limit)"


@pytest.mark.parametrize("megapixels", ["1e-9", "5e-324", "0.0000004"])
def test_a_tiny_limit_of_megapixels_is_a_limit(indexed: Command, tmp_path: Path, megapixels: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(pictures.saved(pictures.drawn(), "PNG"))
    done = indexed("-n", "--max-image-megapixels", megapixels, str(path))
    assert done.code == 2
    assert one_line(done.err).endswith(PICTURE_TOO_LARGE)


@pytest.mark.parametrize("megapixels", ["1e308", "1e12"])
def test_a_huge_limit_of_megapixels_is_none(indexed: Command, tmp_path: Path, megapixels: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(pictures.saved(pictures.drawn(), "PNG"))
    assert indexed("-n", "--max-image-megapixels", megapixels, str(path)).lines == ["a.jpg"]


def test_a_tiny_limit_of_time_is_a_limit(indexed: Command, tmp_path: Path) -> None:
    path = tmp_path / "scans.jpg"
    path.write_bytes(bombs.jpeg_of_many_scans())
    done = indexed("-n", str(path), env={"RCLIP_PHOTO_TIMEOUT_S": "1e-9"})
    assert "it takes longer than 0.001 s to decode" in one_line(done.err)


def test_what_is_no_file_is_no_picture(indexed: Command, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", "/dev/full", str(tmp_path / "pipe")):
        done = indexed("-n", path)
        assert (done.code, one_line(done.err)) == (2, f"rclip: cannot open {path}: not a regular file")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--top", "99999999999999999999"),
        ("--top", "9" * 5000),
        ("--batch-size", "9" * 5000),
        ("--preview-height", "9" * 5000),
        ("--device", "cuda:²"),
        ("--device", "cuda:" + "9" * 5000),
    ],
)
def test_numbers_beyond_all_measure_are_one_line(indexed: Command, option: str, value: str) -> None:
    done = indexed("-n", option, value, "red")
    assert (done.code, done.out) == (2, "")
    assert "must be" in one_line(done.err)


def test_columns_beyond_all_measure_are_none(indexed: Command) -> None:
    for columns in ("9" * 5000, "\u00b2", "0", "-1"):
        shown = on_terminal(indexed, "-n", "red", env={"COLUMNS": columns})
        assert (shown.code, shown.err) == (0, "")
