"""Attacks on time and memory: no file, query or pattern keeps the command busy, whatever way it comes in."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from rclip.photo.decode_pool import DecodePool, start_ahead
from rclip.photo.failures import DecodeError
from tests.support import bombs, pictures
from tests.support.command import Command, one_line, start
from tests.support.gallery import Draw
from tests.support.processes import children, decoder_held, held
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


@pytest.mark.skipif(not Path("/proc").exists(), reason="only Linux says who reads a file")
def test_a_common_format_that_crashes_its_decoder_is_one_line(indexed: Command, tmp_path: Path) -> None:
    path = tmp_path / "scans.jpg"
    path.write_bytes(bombs.jpeg_of_many_scans())
    run = start(indexed, "-n", str(path), stderr=subprocess.PIPE)
    with decoder_held(path, run) as decoder:
        os.kill(decoder, signal.SIGSEGV)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "its decoder crashes" in one_line(err.decode())


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
