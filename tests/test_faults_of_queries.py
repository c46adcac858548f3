"""Queries that hurt, and models that do: an answer, or one clear line."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rclip import Library, UsageError
from tests.support import bombs, pictures
from tests.support.command import Command, one_line, start
from tests.support.decoders import CRASH, decoder_that_runs
from tests.support.gallery import Draw
from tests.support.index import vectors
from tests.support.processes import decoder_held
from tests.support.tiers import few
from tests.tiny_clip import checkpoint

# --- words -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def indexed(rclip: Command, draw: Draw) -> Command:
    draw("a.jpg", "red circle")
    draw("b.jpg", "blue star")
    assert rclip("--index").code == 0
    return rclip


@pytest.mark.parametrize("query", few(["", " ", "\t\n\r", "\u3000\u00a0", "\u2028"], fast=2))
def test_an_empty_or_blank_query_is_one_line(indexed: Command, query: str) -> None:
    done = indexed("-n", query)
    assert (done.code, done.out) == (2, "")
    assert one_line(done.err) == 'rclip: the query is empty; say what to look for: rclip "a red kite"'


def test_ten_thousand_words_are_cut_and_answered(indexed: Command) -> None:
    chance = random.Random(0)
    words = " ".join(chance.choice(["red", "circle", "überlang", "東京", "🐈", "don't"]) for _ in range(10_000))
    done = indexed("-n", words)
    assert (done.code, len(done.lines)) == (0, 2)
    assert one_line(done.err) == "rclip: the query is longer than the model reads: only its first 77 tokens count"


def test_one_word_of_a_hundred_thousand_letters_is_cut_and_answered(indexed: Command) -> None:
    done = indexed("-n", "x" * 100_000)
    assert (done.code, len(done.lines)) == (0, 2)
    assert "only its first 77 tokens count" in one_line(done.err)


@pytest.mark.parametrize(
    "query",
    few(
        [
            b"\x1b[2J\x1b]0;title\x07",
            "🐈".encode(),
            b"\xff\xfe\xfd",
            *(bytes([code]) + b"x" for code in range(1, 32)),
            b"\x7f\x01\x02\x03",
            "👩‍👩‍👧‍👦🏳️‍🌈".encode(),
            "\u202egnp.tac".encode(),
            "\u200b".encode(),
            b"caf\xe9",
            b"\xed\xa0\x80",  # half of a surrogate pair
            b"\xf4\x90\x80\x80",  # beyond Unicode
        ],
        fast=3,
    ),
)
def test_control_characters_emoji_and_bytes_that_are_no_utf_8_are_answered(indexed: Command, query: bytes) -> None:
    done = indexed("-n", "--", query)
    assert (done.code, len(done.lines), done.err) == (0, 2, "")


def test_a_nul_can_only_come_by_the_api_and_is_answered(indexed: Command) -> None:
    with Library(indexed.cwd, model=str(indexed.model), data_dir=indexed.data_dir) as library:
        assert len(library.search("red\0circle")) == 2
        assert len(library.search("\0")) == 2
        with pytest.raises(UsageError, match="cannot open"):
            library.search("./a\0b.jpg")


@pytest.mark.parametrize("query", few(["./\x1b[2J.jpg", "./" + "x" * 300 + ".jpg", "./" + "x/" * 3000]))
def test_pictures_that_cannot_be_looked_at_are_one_line(indexed: Command, query: str) -> None:
    done = indexed("-n", query)
    assert (done.code, done.out) == (2, "")
    assert one_line(done.err).startswith("rclip: cannot open ")
    assert "\x1b" not in done.err


@pytest.mark.parametrize("query", few(["/", "./", "~/"]))
def test_folders_that_cannot_be_looked_at_are_one_line(indexed: Command, query: str) -> None:
    done = indexed("-n", query)
    assert (done.code, done.out) == (2, "")
    assert " is a folder; add a query: " in one_line(done.err)


def test_a_bomb_as_a_query_is_one_line(indexed: Command, tmp_path: Path) -> None:
    for name in ("progressive.jpg", "canvas.webp", "huge.png", "huge.jxl"):
        (tmp_path / name).write_bytes(bombs.HUGE[name]())
        done = indexed("-n", "--max-image-megapixels", "20", str(tmp_path / name))
        assert done.code == 2
        assert one_line(done.err).endswith("is more than 20 megapixels (--max-image-megapixels raises the limit)")


@pytest.mark.parametrize(("how", "signal"), few([(CRASH, "SIGSEGV"), ("import os; os.abort()", "SIGABRT")]))
def test_a_picture_that_crashes_its_decoder_is_one_line(
    indexed: Command, tmp_path: Path, how: str, signal: str
) -> None:
    path = tmp_path / "damaged.heic"
    path.write_bytes(pictures.encode(pictures.drawn(), "heic"))
    done = indexed("-n", str(path), env=decoder_that_runs(how, tmp_path))
    assert (done.code, done.out) == (2, "")
    assert one_line(done.err) == f"rclip: cannot open {path}: damaged: its decoder crashes ({signal})"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says who reads a file")
def test_a_query_whose_decoder_is_ended_by_others_is_answered(indexed: Command, tmp_path: Path) -> None:
    path = tmp_path / "slow.qoi"
    path.write_bytes(bombs.slow_qoi())
    run = start(indexed, "-n", str(path), stderr=subprocess.PIPE)
    with decoder_held(path, run) as decoder:
        os.kill(decoder, signal.SIGTERM)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, err) == (0, b"")
    assert out


def test_a_picture_that_ends_its_decoder_leaves_one_for_the_next_query(indexed: Command, tmp_path: Path) -> None:
    """One takes too long, one too much memory; what they say is an answer like any other."""
    contents = {"slow.qoi": bombs.slow_qoi(), "tile.tif": bombs.tiff_of_one_huge_tile()}
    contents |= {f"good.{suffix}": pictures.encode(pictures.drawn(), suffix) for suffix in ("tif", "heic", "dng")}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "asked").write_text("".join(f"{tmp_path / name}\n" for name in contents))
    done = indexed(
        *("-n", "-t", "1", "--max-image-megapixels", "4", "--queries", tmp_path / "asked"),
        env={"RCLIP_PHOTO_TIMEOUT_S": "0.3"},
    )
    assert done.code == 2
    assert [line.partition("\t")[0] for line in done.lines] == [
        f"{tmp_path}/good.{end}" for end in ("tif", "heic", "dng")
    ]
    slow, greedy = done.err.splitlines()
    assert slow.endswith("slow.qoi: it takes longer than 0.3 s to decode (RCLIP_PHOTO_TIMEOUT_S raises the limit)")
    assert greedy.startswith(f"rclip: line 2 of the queries: cannot open {tmp_path}/tile.tif: ")


def test_json_lines_do_not_steer_a_terminal_and_say_the_same(rclip: Command, draw: Draw) -> None:
    name = "evil\x1b[2J\x7f\x9b31m\u202e\u2028.jpg"
    draw(name)
    shown = rclip("--json", "red").out
    assert shown.rstrip("\n").isprintable()
    assert json.loads(shown)["path"].endswith(name)


# --- models ----------------------------------------------------------------------------------------------------------


def broken_checkpoint(path: Path, tower: str, value: float) -> Path:
    """The tiny CLIP with one weight that is no number, near the end of one of its towers."""
    state_dict = checkpoint.unpack()
    weights = state_dict["visual.proj" if tower == "image" else "text_projection"]
    weights[0, 0] = value
    torch.save(state_dict, path)
    return path


@pytest.mark.parametrize("value", few([np.nan, np.inf, -np.inf]), ids=str)
@pytest.mark.parametrize("count", few([3, 100]), ids=["numpy", "torch"])
def test_photos_that_a_broken_model_makes_nothing_of_are_not_stored(
    rclip: Command, draw: Draw, tmp_path: Path, value: float, count: int
) -> None:
    for number in range(count):
        draw(f"{number}.png")
    model = broken_checkpoint(tmp_path / "broken.pt", "image", value)
    done = rclip("--index", model=model)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err
    assert "its checkpoint is broken" in done.err.splitlines()[-1]
    assert not vectors(rclip)


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_a_query_that_a_broken_model_makes_nothing_of_is_one_line(
    rclip: Command, draw: Draw, tmp_path: Path, value: float
) -> None:
    draw("a.jpg")
    model = broken_checkpoint(tmp_path / "broken.pt", "text", value)
    assert rclip("--index", model=model).code == 0
    done = rclip("-n", "red", model=model)
    assert (done.code, done.out) == (2, "")
    assert "its checkpoint is broken" in one_line(done.err)


@pytest.mark.slow
def test_a_picture_query_that_a_broken_model_makes_nothing_of_is_one_line(
    rclip: Command, draw: Draw, tmp_path: Path
) -> None:
    draw("a.jpg")
    whole = tmp_path / "whole.pt"
    torch.save(checkpoint.unpack(), whole)
    rclip("--index", model=whole)
    broken = broken_checkpoint(tmp_path / "broken.pt", "image", np.nan)
    done = rclip("./a.jpg", model=broken)
    assert (done.code, done.out) == (2, "")
    assert "its checkpoint is broken" in done.err.splitlines()[-1]
