"""Moments in videos: found by what they show, with their times, whatever the container; what bad ones may not do."""

import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
from PIL import Image

from rclip import Library
from rclip.photo import video
from rclip.photo.decode_pool import DecodePool, default_max_pixels
from rclip.photo.failures import DecodeError, FailureKind
from rclip.photo.metadata import PhotoMetadata
from tests.support import pictures
from tests.support.command import Command, one_line, start, update
from tests.support.films import KINDS, Kind, scene, write_film, write_sound
from tests.support.gallery import Draw
from tests.support.index import Table
from tests.support.served import serving
from tests.support.terminals import on_terminal, text_on_terminal
from tests.support.tiers import few

NO_CUTS = {"sc_threshold": "1000000000"}
THREE = ("red circle", "blue square", "green star")


class Kept(NamedTuple):
    """A moment that is kept of a film."""

    at_ms: int
    image: Image.Image


def looked_at(path: Path, max_pixels: int | None = None) -> list[Kept]:
    with path.open("rb") as file, video.opened(file, room(max_pixels)) as film:
        return [Kept(look.at_ms, look.image) for look in video.looks(film, 0, 64) if look.image]


def room(max_pixels: int | None = None) -> video.Room:
    return video.Room(max_pixels or default_max_pixels(), lambda pixels: None)


def metadata_of(path: Path) -> PhotoMetadata:
    with path.open("rb") as file:
        return video.picture(file, None, 32, default_max_pixels(), lambda pixels: None)[1]


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of their samples, in levels."""
    other = other.resize(one.size, Image.Resampling.BICUBIC)
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


@pytest.fixture
def film(photos: Path) -> Path:
    return write_film(photos / "clip.mp4", THREE)


# --- searching -------------------------------------------------------------------------------------------------------


def test_a_film_is_found_by_its_best_moment(rclip: Command, film: Path, draw: Draw) -> None:
    draw("a.png", "yellow heart")
    assert update(rclip) == "2 new photos"
    for query, at_s in (("a red circle", 0.0), ("a blue square", 4.0), ("a green star", 8.0)):
        (found, other) = map(json.loads, rclip("-n", "--json", query).lines)
        assert (found["path"], found["at_s"]) == (str(film), at_s)
        assert found["at"] == f"0:00:0{at_s:.0f}"
        assert "at" not in other
        assert (found["width"], found["height"]) == (160, 120)
    assert rclip("-n", "a green star").lines[0] == "clip.mp4"
    assert rclip("-n", "-t", "1", "--format", "{path} {at} {at_s:.1f}", "a blue square").out == "clip.mp4 0:00:04 4.0\n"
    assert rclip("-n", "-t", "1", "--format", "[{at}]", "a yellow heart").out == "[]\n"


def test_moments_are_results_of_their_own(rclip: Command, film: Path, draw: Draw) -> None:
    """As many of each film as are asked for, ranked among all files; copies are files, too."""
    film.with_name("copy.mp4").write_bytes(film.read_bytes())
    draw("a.png", "blue square")
    draw("b.png", "blue square")
    update(rclip)

    def found(*arguments: str) -> list[tuple[str, str | None]]:
        lines = rclip("-n", "--json", *arguments, "a blue square").lines
        hits = [json.loads(line) for line in lines]
        assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
        assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))
        return [(os.path.basename(hit["path"]), hit.get("at")) for hit in hits]

    every = found("--moments", "9")
    films = [name for name in every if name[1]]
    times = ["0:00:00", "0:00:04", "0:00:08"]
    assert sorted(films) == [(name, at) for name in ("clip.mp4", "copy.mp4") for at in times]
    assert next(at for name, at in films if name == "clip.mp4") == "0:00:04"
    two = found("--moments", "2")
    assert two == [each for each in every if each not in films[4:]]
    assert found("--moments", "1") == found("--all")
    assert found("--moments", "9", "-t", "3") == every[:3]
    assert len(found()) == 3
    with Library(film.parent, model=rclip.model, data_dir=rclip.data_dir) as library:
        hits = library.search("a blue square", None, moments=2)
        assert [(os.path.basename(hit.path), hit.at or None) for hit in hits] == two
        assert len({hit.id for hit in hits}) == len(hits)


def test_moments_of_several_indexes(rclip: Command, film: Path, photos: Path) -> None:
    assert rclip("--init").code == 0
    (photos.parent / "other").mkdir()
    write_film(photos.parent / "other/second.mp4", ("blue square", "red circle"))
    folders = (str(photos), str(photos.parent / "other"), str(photos))
    update(rclip, *folders)
    asked = ("-n", "--format", "{path:.0}{at}", "--moments", "9", "a red circle", *folders)
    assert sorted(rclip(*asked).lines) == ["0:00:00", "0:00:00", "0:00:04", "0:00:04", "0:00:08"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--moments", "2", "--type", "video"), "--moments needs a query"),
        (("--moments", "2", "--fold", "0.9", "a cat"), "--moments and --fold cannot be used together"),
        (("--moments", "0", "a cat"), "must be a whole number of at least 1"),
        (("-i", "--moments", "2"), "--interactive and --moments cannot be used together"),
    ],
)
def test_moments_that_cannot_be_asked_for(rclip: Command, arguments: tuple[str, ...], told: str) -> None:
    done = rclip(*arguments)
    assert (done.code, done.out) == (2, "")
    assert told in one_line(done.err)


def test_the_table_shows_the_time(rclip: Command, film: Path) -> None:
    long = write_film(film.with_name("x" * 100 + ".mp4"), ["yellow heart"])
    update(rclip)
    assert re.search(
        r"clip\.mp4 at 0:00:08 +\d{4}-\d\d-\d\d$", plain(text_on_terminal(rclip, "-n", "a green star")), re.M
    )
    assert re.search(r"xx…x+\.mp4 at 0:00:00 +\d{4}-\d\d-\d\d$", plain(text_on_terminal(rclip, "-n", "a heart")), re.M)
    assert " at " not in plain(text_on_terminal(rclip, "-n", "--type", "video"))
    assert long.exists()


def plain(shown: str) -> str:
    """Without the links of a terminal."""
    return re.sub("\x1b\\]8;;[^\x1b]*\x1b\\\\", "", shown)


def test_a_scene_without_change_has_one_moment(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", ["red circle", "red circle", "blue star"], seconds=10)
    assert [look.at_ms for look in looked_at(film)] == [0, 20_000]


def test_a_scene_that_changes_has_one_moment_every_five_seconds(tmp_path: Path) -> None:
    """What changes slowly is no new scene."""
    steps = [Image.new("RGB", (160, 120), (40 + 3 * step, 90, 200)) for step in range(40)]
    for number, step in enumerate(steps):
        step.paste((250, 250, 10), (2 * number, 10, 2 * number + 40, 60))
    film = write_film(tmp_path / "a.mp4", steps, seconds=1, gop=5)
    times = [look.at_ms for look in looked_at(film)]
    assert times[0] == 0
    assert len(times) == 7
    assert all(5000 <= later - earlier <= 6000 for earlier, later in pairwise(times))


def test_scenes_that_follow_one_another_quickly_have_thirty_moments_a_minute_at_most(tmp_path: Path) -> None:
    shown = []
    for number in range(1, 61):
        picture = Image.new("RGB", (160, 120), (number * 71 % 256, number * 137 % 256, number * 29 % 256))
        picture.paste((number * 53 % 256, number * 17 % 256, number * 97 % 256), (0, 0, 80, 60))
        shown.append(picture)
    film = write_film(tmp_path / "a.mp4", shown, seconds=1, gop=5)
    assert len(looked_at(film)) == 30


def test_where_key_frames_are_rare_the_frames_between_are_looked_at(tmp_path: Path) -> None:
    film = write_film(
        tmp_path / "a.avi", ["red circle", "blue star", "green heart"], seconds=7, gop=600, codec_options=NO_CUTS
    )
    with av.open(str(film)) as container:
        assert sum(packet.is_keyframe for packet in container.demux() if packet.size) == 1
    moments = looked_at(film)
    assert [round(look.at_ms, -3) for look in moments] == [0, 10_000, 15_000]
    assert difference(moments[1].image, scene("blue star")) < 6


def test_black_between_scenes_is_passed_over(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", ["black", "red circle", "black", "blue star", "white"])
    assert [look.at_ms for look in looked_at(film)] == [4000, 12_000]


def test_a_film_of_one_colour_has_a_moment(tmp_path: Path) -> None:
    assert [look.at_ms for look in looked_at(write_film(tmp_path / "a.mp4", ["black", "black"]))] == [0]


@pytest.mark.parametrize("ending", few(sorted(KINDS), fast=6))
def test_every_ending_is_looked_through(ending: str, tmp_path: Path) -> None:
    film = write_film(tmp_path / f"a.{ending}", THREE)
    moments = looked_at(film)
    assert [look.at_ms for look in moments] == [0, 4000, 8000]
    for look, what in zip(moments, THREE, strict=True):
        assert difference(look.image, scene(what)) < 8
        with film.open("rb") as file:  # the same frame is found again by its time
            again, _ = video.picture(file, look.at_ms, 64, default_max_pixels(), lambda pixels: None)
        assert difference(again, look.image) < 1


def test_films_are_chosen_and_left_out(rclip: Command, film: Path, draw: Draw) -> None:
    draw("a.png", "red circle")
    update(rclip)
    assert rclip("-n", "--type", "video", "a red circle").lines == ["clip.mp4"]
    assert set(rclip("-n", "--type", "mp4,png", "a red circle").lines) == {"a.png", "clip.mp4"}
    assert rclip("-n", "--no-video", "a red circle").lines == ["a.png"]
    assert set(rclip("-n", "--path", "*.mp4", "a red circle").lines) == {"clip.mp4"}
    assert set(rclip("-n", "--type", "video").lines) == {"clip.mp4"}


def test_films_that_are_left_out_are_neither_indexed_nor_forgotten(rclip: Command, film: Path, draw: Draw) -> None:
    draw("a.png")
    assert update(rclip, "--no-video") == "1 new photo"
    assert update(rclip) == "1 new photo"
    film.unlink()
    assert update(rclip, "--no-video") == ""
    assert update(rclip) == "1 missing"


def test_a_film_is_a_query(rclip: Command, film: Path, draw: Draw, tmp_path: Path) -> None:
    """By its first moment, whether it is indexed or not; and it does not find itself."""
    draw("a.png", "red circle")
    draw("b.png", "green star")
    update(rclip)
    assert rclip("-n", str(film)).lines == ["a.png", "b.png"]
    elsewhere = write_film(tmp_path / "other.webm", ["green star"])
    assert set(rclip("-n", "-t", "2", str(elsewhere)).lines) == {"b.png", "clip.mp4"}


def test_a_moment_is_shown_as_it_was_found(rclip: Command, film: Path) -> None:
    update(rclip)
    with Library(rclip.cwd, model=rclip.model, data_dir=rclip.data_dir) as library:
        for what in THREE:
            (hit,) = library.search(f"a {what}")
            shown = Image.open(io.BytesIO(library.thumbnail(hit.id)))
            assert shown.size == (160, 120)
            assert difference(shown, scene(what)) < 8
            assert library.photo(hit.id) == hit._replace(score=None, rank=None)


def test_the_page_shows_the_moment(rclip: Command, film: Path) -> None:
    update(rclip)
    with serving(rclip, "-n") as served:
        (found,) = served.ask("/api/search?q=a+green+star").json["photos"]
        assert (found["at"], found["at_s"]) == ("0:00:08", 8)
        shown = Image.open(io.BytesIO(served.ask(f"/api/photos/{found['id']}/thumbnail").body))
        assert difference(shown, scene("green star")) < 8
        assert "0:00:08" in served.ask("/?q=a+green+star").text
        assert "0:00:08" in served.ask(f"/photos/{found['id']}").text
        assert served.ask(f"/api/similar/{found['id']}").json["photos"] == []  # a film does not find itself


def test_thumbnails_in_the_terminal_show_the_moment(rclip: Command, film: Path) -> None:
    update(rclip)
    shown = on_terminal(rclip, "-n", "-p", "--preview=blocks", "--color=never", "a green star")
    assert shown.code == 0
    assert b"clip.mp4 at 0:00:08" in shown.out
    assert b"cannot show it" not in shown.out


# --- the index -------------------------------------------------------------------------------------------------------


def test_moved_and_copied_films_keep_their_moments(rclip: Command, film: Path, photos: Path, table: Table) -> None:
    update(rclip)
    film.rename(photos / "moved.mp4")
    assert update(rclip) == "1 moved file"
    (photos / "copy.mp4").write_bytes((photos / "moved.mp4").read_bytes())
    assert update(rclip) == "1 copy"
    assert table("SELECT count(*) FROM films") == [(2,)]
    (found,) = map(json.loads, rclip("-n", "--json", "a green star").lines)
    assert (found["at_s"], len(found["copies"])) == (8, 1)
    each = map(json.loads, rclip("-n", "--all", "--json", "a green star").lines)
    assert sorted((Path(one["path"]).name, one["at_s"]) for one in each) == [("copy.mp4", 8), ("moved.mp4", 8)]
    ids = [id_ for (id_,) in table("SELECT id FROM images UNION ALL SELECT id FROM moments")]
    assert len(ids) == len(set(ids)) == 6


def test_missing_films_come_back_and_are_pruned_with_their_moments(
    rclip: Command, film: Path, draw: Draw, table: Table
) -> None:
    draw("a.png")
    update(rclip)
    content = film.read_bytes()
    film.unlink()
    assert update(rclip) == "1 missing"
    assert rclip("-n", "a green star").lines == ["a.png"]
    film.write_bytes(content)
    assert update(rclip) == "1 back"
    film.unlink()
    update(rclip)
    assert rclip("--prune", "0d").code == 0
    assert table("SELECT count(*) FROM films") == table("SELECT count(*) FROM moments") == [(0,)]
    draw("b.png")
    update(rclip)
    assert table("SELECT max(id) FROM images")[0][0] > 4  # no id of a moment comes again


def test_films_that_change_have_new_moments(rclip: Command, film: Path, table: Table) -> None:
    update(rclip)
    write_film(film, ["yellow heart"])
    assert update(rclip) == "1 changed"
    assert table("SELECT moment_count FROM films") == [(1,)]
    assert table("SELECT count(*) FROM moments") == [(0,)]
    assert json.loads(rclip("-n", "--json", "a yellow heart").out)["at_s"] == 0


def test_moments_lie_in_the_matrix(rclip: Command, film: Path, draw: Draw) -> None:
    """Which finds the same as the table, and knows films and photos that were added later."""
    with Library(rclip.cwd, model=rclip.model, data_dir=rclip.data_dir) as library:
        library.update()
        assert len(library.vectors().paths) == 1  # writes the matrix
        assert [hit.at_ms for hit in library.search("a green star")] == [8000]
        draw("a.png", "green star")
        write_film(film.with_name("later.mkv"), ["blue square", "green star"])
        library.update()
        expected = {"a.png": None, "clip.mp4": 8000, "later.mkv": 4000}
        for _ in range(2):
            assert {Path(hit.path).name: hit.at_ms for hit in library.search("a green star")} == expected
            library.vectors()
        assert all(not finding.faults for finding in library.check())


def test_stats_count_videos_and_moments(rclip: Command, film: Path, draw: Draw) -> None:
    draw("a.png")
    update(rclip)
    lines = rclip("--stats").lines
    assert lines[0].split() == ["photos", "2"]
    assert "videos      1, with 3 moments" in lines


def test_an_export_has_all_moments(rclip: Command, film: Path, draw: Draw, tmp_path: Path) -> None:
    draw("a.png")
    update(rclip)
    assert rclip("-n", "--export", tmp_path / "all.jsonl").code == 0
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert sorted((Path(row["path"]).name, row.get("at_ms")) for row in rows if "at_ms" in row) == [
        ("clip.mp4", 0),
        ("clip.mp4", 4000),
        ("clip.mp4", 8000),
    ]
    assert len(rows) == 4
    assert rclip("-n", "--export", tmp_path / "all.npz").code == 0
    with np.load(tmp_path / "all.npz") as archive:
        assert sorted(archive["at_ms"][~np.isnan(archive["at_ms"])].tolist()) == [0, 4000, 8000]
        assert archive["vectors"].shape[0] == 4


def test_check_finds_moments_that_were_never_stored_so(rclip: Command, film: Path) -> None:
    import sqlite3

    update(rclip)
    assert "videos      sound: 1 with 3 moments" in rclip("--check").lines
    (path,) = rclip.data_dir.glob("*.db")
    for damage in (
        "UPDATE moments SET at_ms = -1",
        "UPDATE moments SET film = 99",
        "DELETE FROM moments WHERE id = (SELECT max(id) FROM moments)",
    ):
        with sqlite3.connect(path) as connection:
            connection.execute("BEGIN")
            connection.execute(damage)
            connection.commit()
            checked = rclip("--check")
            assert checked.code == 2
            assert "rclip --rebuild" in checked.out
        assert rclip("--rebuild").code == 0
        assert rclip("--check").code == 0
        assert json.loads(rclip("-n", "--json", "a green star").out)["at_s"] == 8


def test_a_portable_index_takes_moments_over(rclip: Command, film: Path, table: Table) -> None:
    update(rclip)
    assert rclip("--init").code == 0
    assert rclip("--index", "-v").code == 0
    (portable,) = (film.parent / ".rclip").glob("*.db")
    import sqlite3

    with sqlite3.connect(portable) as connection:
        assert connection.execute("SELECT count(*) FROM moments").fetchone() == (2,)
    assert json.loads(rclip("-n", "--json", "a green star").out)["at_s"] == 8


def test_near_copies_of_films_are_not_listed_but_exact_ones_are(rclip: Command, photos: Path) -> None:
    """Films of one series begin alike."""
    one = write_film(photos / "one.mp4", ["red circle", "blue star"])
    write_film(photos / "two.mp4", ["red circle", "green heart"])
    assert rclip("--duplicates").code == 1
    (photos / "three.mp4").write_bytes(one.read_bytes())
    assert sorted(filter(None, rclip("--duplicates").lines)) == ["one.mp4", "three.mp4"]


def test_an_interrupted_film_goes_on_where_it_stopped(rclip: Command, photos: Path, table: Table) -> None:
    shapes = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon")
    shown = [f"{color} {shape}" for color in ("red", "blue", "green", "purple", "brown") for shape in shapes] * 3
    film = write_film(photos / "long.mp4", shown, seconds=2.4)
    with start(rclip, "--index", stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 120
        while not (any(rclip.data_dir.glob("*.db")) and table.count()) and time.monotonic() < deadline:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
    ((stopped_ms,),) = table("SELECT resume_ms FROM films")
    before = table("SELECT id, at_ms FROM moments ORDER BY id")
    assert stopped_ms > 0
    assert table("SELECT is_outdated FROM images") == [(1,)]
    assert rclip("-n", "--json", "a red circle").code == 0  # what is there is found
    assert update(rclip) == "1 new photo"
    assert table("SELECT resume_ms FROM films") == [(None,)]
    assert table("SELECT is_outdated FROM images") == [(0,)]
    after = table("SELECT id, at_ms FROM moments ORDER BY id")
    assert after[: len(before)] == before
    assert all(at_ms >= stopped_ms for _, at_ms in after[len(before) :])
    times = [at_ms for _, at_ms in after]
    assert times == sorted(set(times))
    whole = [look.at_ms for look in looked_at(film)]
    assert set(times) | {0} >= set(whole) - {0}
    assert update(rclip) == ""


@pytest.mark.slow
def test_films_that_need_all_memory_wait_for_one_another(rclip: Command, photos: Path) -> None:
    """The first takes longer to be read whole, so that the second has the memory before it."""
    shown = []
    for number in range(1, 111):
        picture = Image.new("RGB", (1600, 1200), (number * 71 % 256, number * 137 % 256, number * 29 % 256))
        picture.paste((number * 53 % 256, number * 17 % 256, number * 97 % 256), (0, 0, 800, 600))
        shown.append(picture)
    second = write_film(photos / "b.mp4", shown, seconds=1, fps=1, gop=1, times_s=(2.0 * each for each in range(110)))
    first = photos / "a.mp4"
    first.write_bytes(second.read_bytes())
    os.truncate(first, second.stat().st_size + 600_000_000)
    assert update(rclip, "--max-image-megapixels", "2") == "2 new photos"


# --- what cameras and programs make ----------------------------------------------------------------------------------


def test_rotation_and_mirroring_are_applied(tmp_path: Path) -> None:
    from tests.support.pictures import as_stored, red_and_blue

    upright = red_and_blue(160, 120)
    one = 1 << 16
    matrices = {
        1: (one, 0, 0, one),
        2: (-one, 0, 0, one),
        3: (-one, 0, 0, -one),
        4: (one, 0, 0, -one),
        5: (0, one, one, 0),
        6: (0, one, -one, 0),
        7: (0, -one, -one, 0),
        8: (0, -one, one, 0),
    }
    for orientation, (a, b, c, d) in matrices.items():
        film = write_film(tmp_path / f"{orientation}.mp4", [as_stored(upright, orientation)])
        content = bytearray(film.read_bytes())
        at = content.index(b"tkhd") + 4 + 40
        content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        film.write_bytes(content)
        (moment,) = looked_at(film)
        assert moment.image.size == (160, 120)
        assert difference(moment.image, upright) < 8, orientation
        assert (metadata_of(film).width, metadata_of(film).height) == (160, 120)


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    from fractions import Fraction

    wide = scene("red circle", (320, 120))
    film = write_film(tmp_path / "a.mp4", [wide.resize((160, 120))], sample_aspect_ratio=Fraction(2, 1))
    (moment,) = looked_at(film)
    assert moment.image.size == (320, 120)
    assert difference(moment.image, wide) < 8


def test_colours_are_those_that_were_filmed(tmp_path: Path) -> None:
    """By the matrix that the film names, or that its size tells; in full range."""
    colors = ((200, 30, 40), (30, 200, 60), (40, 50, 220), (248, 248, 248))

    def stripes(size: tuple[int, int]) -> Image.Image:
        picture = Image.new("RGB", size)
        for number, color in enumerate(colors):
            picture.paste(color, (number * size[0] // 4, 0, size[0], size[1]))
        return picture

    small, large = [stripes((320, 240))], [stripes((1280, 720))]
    for name, film in {
        "601": write_film(tmp_path / "a.mp4", small),
        "709, by its size": write_film(tmp_path / "b.mp4", large, fps=1, matrix="ITU709"),
        "709, named": write_film(tmp_path / "c.mp4", small, matrix="ITU709", colorspace=1, color_range=1),
        "full range": write_film(tmp_path / "d.mov", small, pix_fmt="yuvj420p", kind=Kind("mov", "mjpeg")),
        "RGB": write_film(tmp_path / "e.avi", small, pix_fmt="bgr24", kind=Kind("avi", "rawvideo")),
        "10 bits": write_film(tmp_path / "f.mkv", small, pix_fmt="yuv420p10le"),
        "4:4:4": write_film(tmp_path / "g.mkv", small, pix_fmt="yuv444p"),
    }.items():
        (moment,) = looked_at(film)
        pixels = np.asarray(moment.image).astype(int)
        height, width, _ = pixels.shape
        for number, color in enumerate(colors):
            seen = pixels[height // 2, number * width // 4 + width // 8]
            assert abs(seen - color).max() <= 5, (name, color, seen)


def test_high_dynamic_range_is_brought_to_that_of_a_photo(tmp_path: Path) -> None:
    """White paper is nearly white, and grey is grey, whichever curve the film has."""
    for transfer, white, grey in ((16, 0.58, 0.38), (18, 0.75, 0.38)):
        picture = Image.new("RGB", (160, 120), (round(255 * grey),) * 3)
        picture.paste((round(255 * white),) * 3, (0, 0, 80, 120))
        film = write_film(
            tmp_path / f"{transfer}.mkv",
            [picture],
            pix_fmt="yuv420p10le",
            color_trc=transfer,
            color_primaries=9,
            colorspace=9,
            color_range=1,
        )
        (moment,) = looked_at(film)
        pixels = np.asarray(moment.image)
        bright, dark = pixels[60, 20], pixels[60, 140]
        assert bright.min() >= 215, transfer
        assert 60 <= dark.min() <= dark.max() <= 150, transfer
        assert dark.max() - dark.min() <= 6


def test_one_field_of_interlaced_frames_is_shown(tmp_path: Path) -> None:
    """Of two moments in one frame, the first alone."""
    even, odd = scene("red circle", (320, 240)), scene("blue square", (320, 240))
    mixed = np.asarray(even).copy()
    mixed[1::2] = np.asarray(odd)[1::2]
    film = write_film(
        tmp_path / "a.mpg", [Image.fromarray(mixed)], flags=int(av.codec.context.Flags.interlaced_dct) | (1 << 29)
    )
    (moment,) = looked_at(film)
    assert difference(moment.image, even) < 0.4 * difference(moment.image, odd)


def test_films_of_irregular_times(tmp_path: Path) -> None:
    times = [0, 0.2, 3.1, 3.3, 9.05, 9.1, 30.5, 31]
    shown = ["red circle", "blue star", "green heart", "yellow ring"]
    film = write_film(tmp_path / "a.mkv", shown, seconds=0.4, gop=2, times_s=times)
    assert [look.at_ms for look in looked_at(film)] == [0, 3100, 9050, 30_500]


def test_a_film_without_a_duration_or_an_index(tmp_path: Path) -> None:
    """As browsers record it: written without ever going back."""
    film = write_film(tmp_path / "a.webm", THREE, options={"live": "1"}, kind=Kind("webm", "libvpx"))
    with film.open("rb") as file, video.opened(file, room()) as opened:
        assert opened.duration_ms is None
        assert [look.at_ms for look in video.looks(opened, 0, 64) if look.image] == [0, 4000, 8000]
    with film.open("rb") as file:
        shown, _ = video.picture(file, 8000, 64, default_max_pixels(), lambda pixels: None)
    assert difference(shown, scene("green star")) < 8


def test_fragments_of_a_film(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", THREE, options={"movflags": "frag_keyframe+empty_moov"})
    assert [look.at_ms for look in looked_at(film)] == [0, 4000, 8000]


def test_times_count_from_the_films_start(tmp_path: Path) -> None:
    """Camcorders count on from film to film."""
    film = write_film(tmp_path / "a.mts", THREE, options={"output_ts_offset": "3600"})
    with av.open(str(film)) as container:
        assert (container.start_time or 0) > 3_000_000_000
    assert [look.at_ms for look in looked_at(film)] == [0, 4000, 8000]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("creation_time", "2023-07-14T16:30:05.000000Z"),
        ("com.apple.quicktime.creationdate", "2023-07-14T18:30:05+0200"),
    ],
)
def test_films_say_when_they_were_taken(tmp_path: Path, name: str, value: str) -> None:
    is_apples = name.startswith("com.")
    options = {"movflags": "use_metadata_tags"} if is_apples else {}
    found = metadata_of(write_film(tmp_path / "a.mov", ["red circle"], tags={name: value}, options=options))
    assert (found.captured_s, found.offset_min) == ((1_689_359_405, 120) if is_apples else (1_689_352_205, 0))


def test_films_say_where_and_by_what_they_were_taken(tmp_path: Path) -> None:
    tags = {
        "com.apple.quicktime.location.ISO6709": "+48.8584+002.2945+035.000/",
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.model": "iPhone 15",
    }
    found = metadata_of(
        write_film(tmp_path / "a.mov", ["red circle"], tags=tags, options={"movflags": "use_metadata_tags"})
    )
    assert (found.latitude, found.longitude, found.camera) == (48.8584, 2.2945, "Apple iPhone 15")


@pytest.mark.parametrize("told", ["1904-01-01T00:00:00Z", "yesterday", "9999-99-99T00:00:00Z", "2023"])
def test_dates_that_are_none_are_not_believed(tmp_path: Path, told: str) -> None:
    film = write_film(tmp_path / "a.mkv", ["red circle"], tags={"DateTimeOriginal": told})
    assert metadata_of(film).captured_s is None


@pytest.mark.parametrize("told", ["+91.0+000.0/", "+00.0000+000.0000/", "over there", "+48.8"])
def test_places_that_are_none_are_not_believed(tmp_path: Path, told: str) -> None:
    film = write_film(tmp_path / "a.mkv", ["red circle"], tags={"location": told})
    assert metadata_of(film).latitude is None


# --- what is no film -------------------------------------------------------------------------------------------------


def reason_for(path: Path) -> str:
    """Why the decoding process can make nothing of a file."""
    decoders = DecodePool(32, default_max_pixels())
    try:
        with path.open("rb") as file, pytest.raises(DecodeError) as caught:
            list(decoders.film(file, path.suffix[1:]))
    finally:
        decoders.close()
    assert caught.value.kind.is_stored
    return str(caught.value)


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    assert reason_for(write_sound(tmp_path / "a.mp4")) == "it has sound only"


def test_a_cover_is_no_film(tmp_path: Path) -> None:
    """A song with a picture of its album."""
    path = tmp_path / "song.mp4"
    cover = io.BytesIO()
    scene("red circle").save(cover, "JPEG")
    write_sound(tmp_path / "sound.mp4")
    with av.open(str(tmp_path / "sound.mp4")) as source, av.open(str(path), "w") as output:
        sound: Any = output.add_stream_from_template(source.streams.audio[0])
        picture: Any = output.add_stream("mjpeg", rate=1)
        picture.width, picture.height, picture.pix_fmt = 160, 120, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        output.start_encoding()
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.pts, packet.dts = picture, 0, 0
        output.mux(packet)
        for each in source.demux(source.streams.audio[0]):
            if each.dts is not None:
                each.stream = sound
                output.mux(each)
    with av.open(str(path)) as made:
        assert len(made.streams.video) == 1
    assert reason_for(path) == "it has sound only"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mts", "a.wmv"])
def test_other_files_under_a_films_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert reason_for(path) == "the file is empty"
    path.write_bytes(b"nothing to see" * 1000)
    assert reason_for(path) == "damaged, or not a video in a format known here"
    scene("red circle").save(path, "PNG")
    assert reason_for(path) == "damaged, or not a video in a format known here"


@pytest.mark.parametrize("ending", few(["mp4", "mkv", "avi", "mts", "wmv", "mpg"], fast=2))
def test_what_is_there_of_a_cut_film_is_found(ending: str, tmp_path: Path) -> None:
    options = {"movflags": "faststart"} if ending == "mp4" else {}
    film = write_film(tmp_path / f"a.{ending}", THREE, options=options)
    content = film.read_bytes()
    film.write_bytes(content[: len(content) * 3 // 4])
    times = [look.at_ms for look in looked_at(film)]
    assert times[0] == 0
    assert 1 <= len(times) <= 3


def test_a_film_whose_directory_is_cut_off_is_listed(rclip: Command, film: Path) -> None:
    content = film.read_bytes()
    film.write_bytes(content[: content.index(b"moov") - 4])
    assert update(rclip).startswith("1 unreadable")
    assert re.search(r"clip\.mp4: damaged: .+", rclip("--stats").out)
    assert update(rclip) == ""


def test_damage_in_the_middle_costs_what_is_damaged(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mkv", THREE, kind=Kind("matroska", "libx264"))
    content = bytearray(film.read_bytes())
    middle = len(content) // 2
    content[middle - 200 : middle] = bytes(200)
    film.write_bytes(content)
    times = [look.at_ms for look in looked_at(film)]
    assert times[0] == 0
    assert 8000 in times


def test_a_film_that_takes_too_long_is_listed_with_its_limit(rclip: Command, photos: Path) -> None:
    film = write_film(photos / "long.mp4", ["red circle", "blue star"] * 100, seconds=2.4)
    done = rclip("--index", "-v", env={"RCLIP_PHOTO_TIMEOUT_S": "0.01"})
    assert done.code == 0
    assert "unreadable" in done.err or "only in part" in done.err
    assert re.search(r"long\.mp4: .*it takes longer than 0.01 s to decode", rclip("--stats").out)
    assert film.exists()


# --- hostile films ---------------------------------------------------------------------------------------------------


SECRET = "secret.mp4"


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{secret}'\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{secret}</BaseURL></MPD>',
        "rtsp://127.0.0.1/a\n",
        "RIFFxxxxAVI #EXTM3U\n{secret}\n",
        "\x00\x00\x00\x18ftypisom\n#EXTM3U\n{secret}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
)
@pytest.mark.parametrize("ending", few(["mp4", "mkv", "avi", "webm", "mts", "wmv"], fast=2))
def test_lists_of_other_files_are_no_films(content: str, ending: str, tmp_path: Path) -> None:
    secret = write_film(tmp_path / SECRET, ["red circle"])
    path = tmp_path / f"list.{ending}"
    path.write_bytes(content.format(secret=secret).encode("latin-1"))
    assert reason_for(path).startswith(("damaged", "it has no moving pictures"))


def with_reference(target: Path) -> bytes:
    """A film that has no pictures itself, and names another file that has, as Macs do (an alias)."""
    content = bytearray(target.read_bytes())
    pictures = content.index(b"mdat") + 4
    content[pictures : content.index(b"moov") - 4] = bytes(content.index(b"moov") - 4 - pictures)
    name = os.fsencode(target)
    alias = bytearray(4 + 10 + 28 + 12 + 64 + 16)
    alias[14] = 1
    alias[15] = ord("v")
    alias[54] = min(len(target.name), 63)
    alias[55 : 55 + len(target.name)] = target.name.encode()
    alias += struct.pack(">hh16x", -1, -1) + struct.pack(">hh", 2, len(name)) + name + bytes(len(name) % 2)
    alias += struct.pack(">hh", -1, 0)
    alias[:4] = bytes(4)  # not within this file
    alias += bytes(max(0, 160 - len(alias)))
    box = struct.pack(">I4s", 8 + len(alias), b"alis") + bytes(alias)
    at = content.index(b"dref") + 4 + 8
    (old_size,) = struct.unpack_from(">I", content, at)
    grown = len(box) - old_size
    for parent in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = content.rindex(parent, 0, at) - 4
        (size,) = struct.unpack_from(">I", content, start)
        struct.pack_into(">I", content, start, size + grown)
    content[at : at + old_size] = box
    return bytes(content)


def test_a_film_may_not_show_another_file(tmp_path: Path) -> None:
    """A reference of QuickTime, which FFmpeg follows where it is allowed to: by us it is not."""
    secret = write_film(tmp_path / "secret.mov", ["red circle"])
    innocent = tmp_path / "innocent.mov"
    innocent.write_bytes(with_reference(secret))
    with av.open(str(innocent), options={"enable_drefs": "1", "use_absolute_path": "1"}) as followed:
        frame: Any = next(followed.decode(video=0))
    assert difference(frame.to_image(), scene("red circle")) < 8, "the reference leads nowhere: this shows nothing"
    assert reason_for(innocent) == "damaged: none of its pictures can be decoded"


def test_nothing_but_the_film_is_opened(tmp_path: Path) -> None:
    """FFmpeg asks for every other file by `io_open`, and is refused."""
    from rclip.photo.video import container

    with pytest.raises(PermissionError):
        container._refuse("/etc/passwd", 0, {})
    assert container._OPTIONS["protocol_whitelist"] == "none"


def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", ["red circle"])
    decoders = DecodePool(32, 10_000)
    with film.open("rb") as file, pytest.raises(DecodeError, match=r"160×120 is more than 0\.01 megapixels") as caught:
        list(decoders.film(file, "mp4"))
    decoders.close()
    assert caught.value.kind == FailureKind.TOO_LARGE


def test_a_film_whose_pictures_grow_is_shown_as_far_as_they_are_allowed(tmp_path: Path) -> None:
    """Each of them says how large it is, whatever the film says."""
    sizes = ((160, 120), (160, 120), (6000, 4500), (200, 120))
    film = tmp_path / "a.mkv"
    with av.open(str(film), "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuvj420p"
        for number, (size, color) in enumerate(zip(sizes, ("red", "blue", "lime", "yellow"), strict=True)):
            picture = Image.new("RGB", size, color)
            picture.paste("black", (0, 0, size[0] // 2, size[1] // 2))
            packet = av.Packet(pictures.saved(picture, "JPEG"))
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 1000), True
            packet.pts = packet.dts = 2500 * number
            container.mux(packet)
    assert [look.at_ms for look in looked_at(film, 20_000_000)] == [0, 2500, 7500]
    assert [look.at_ms for look in looked_at(film, 30_000_000)] == [0, 2500, 5000, 7500]


def test_a_film_whose_decoder_dies_keeps_what_was_found(tmp_path: Path) -> None:
    """Another process goes on where the first one stopped; when that dies, too, the film ends there."""
    shown = [
        f"{color} {shape}" for color in ("red", "blue", "green", "brown") for shape in ("star", "heart", "ring")
    ] * 4
    film = write_film(tmp_path / "a.mp4", shown, seconds=2.4)
    decoders = DecodePool(32, default_max_pixels())
    times: list[int] = []
    with film.open("rb") as file:
        for number, part in enumerate(decoders.film(file, "mp4")):
            times += part.at_ms
            if number == 0:
                (process,) = decoders._busy
                process.kill()
    decoders.close()
    assert times == sorted(set(times))
    assert len(times) == len(looked_at(film))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_damaged_films_are_failures_and_nothing_worse(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    ending = sorted(KINDS)[seed % len(KINDS)]
    film = write_film(tmp_path / f"a.{ending}", THREE)
    content = bytearray(film.read_bytes())
    for at in rng.integers(0, len(content), 40).tolist():
        content[at] = int(rng.integers(0, 256))
    film.write_bytes(content)
    decoders = DecodePool(32, default_max_pixels())
    try:
        with film.open("rb") as file:
            for part in decoders.film(file, ending):
                assert part.pixels.shape[1:] == (32, 32, 3)
    except DecodeError as error:
        kind = error.kind
    else:
        kind = FailureKind.LASTING
    finally:
        decoders.close()
    assert kind.is_stored  # or each run would try it again


def test_a_film_that_points_outside_itself_is_damaged(tmp_path: Path) -> None:
    """The system refuses such places, which is no reason to try again."""
    film = write_film(tmp_path / "a.mp4", ["red circle"])
    content = film.read_bytes()
    box = struct.pack(">I4sQ", 1, b"free", (1 << 63) - 1)  # so large
    film.write_bytes(content[:32] + box + content[32:])
    assert reason_for(film).startswith("damaged")


# --- other programs, and without the package -------------------------------------------------------------------------


def test_open_plays_from_the_moment(rclip: Command, film: Path, tmp_path: Path) -> None:
    programs, told = tmp_path / "bin", tmp_path / "told"
    programs.mkdir()
    update(rclip)
    for name, options in (("vlc", ["--start-time=8.000"]), ("mpv", ["--no-terminal", "--start=8.000"])):
        player = programs / name
        player.write_text(f'#!/bin/sh\nprintf "%s\\n" "$0" "$@" >{told}.part && mv {told}.part {told}\n')
        player.chmod(0o755)
        path = {"PATH": f"{programs}:{os.environ['PATH']}"}
        assert rclip("-n", "--open", "a green star", env=path).code == 0
        deadline = time.monotonic() + 30
        while not told.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert told.read_text().splitlines() == [str(player), *options, str(film)]
        told.unlink()


def without_av(rclip: Command, *arguments: str) -> Any:
    """The command as it is where PyAV is not installed."""
    script = (
        "import sys; from rclip import formats; formats._is_importable = lambda module: module != 'av'; "
        "from rclip.cli.main import run; sys.argv[0] = 'rclip'; run()"
    )
    command = [sys.executable, "-P", "-c", script, "--model", str(rclip.model), *arguments]
    return subprocess.run(command, cwd=rclip.cwd, env=rclip.env, capture_output=True, text=True, check=False)


def test_without_the_package_films_are_mentioned_once(rclip: Command, film: Path, draw: Draw) -> None:
    draw("a.png")
    first = without_av(rclip, "--index", "-v")
    assert "1 video file cannot be opened yet" in first.stderr
    assert "pip install av" in first.stderr
    again = without_av(rclip, "--index", "-v")
    assert "video" not in again.stderr
    assert update(rclip) == "1 new photo"
    assert "missing" not in without_av(rclip, "--index", "-v").stderr
    assert without_av(rclip, "-n", "a green star").stdout.splitlines() == ["clip.mp4", "a.png"]


def test_one_line_says_that_a_film_cannot_be_shown(rclip: Command, film: Path) -> None:
    update(rclip)
    query = film.with_name("query.mp4")
    query.write_bytes(b"nothing")
    assert "not a video" in one_line(rclip("-n", str(query)).err)
