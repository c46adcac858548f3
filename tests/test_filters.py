"""Filters: what each takes and means, with a query and without, through the real command."""

import json
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rclip import Library, UsageError, filters, globs
from rclip.filters import Filters, Near
from tests.support.command import Command, one_line, unchanged
from tests.support.gallery import GALLERY, Draw, draw_scene
from tests.support.terminals import text_on_terminal

# --- what is taken ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2023", datetime(2023, 1, 1)),
        ("2023-07", datetime(2023, 7, 1)),
        ("2023-7-4", datetime(2023, 7, 4)),
        ("2023-07-14T18:30", datetime(2023, 7, 14, 18, 30)),
        (" 2023-07-14 18:30:05 ", datetime(2023, 7, 14, 18, 30, 5)),
    ],
)
def test_times(text: str, meant: datetime) -> None:
    assert filters.parse_time(text) == meant


@pytest.mark.parametrize("text", ["", "23", "2023-13", "2023-02-30", "July", "2023-07-14T25:00", "20230714", "٢٠٢٣"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time like 2023, 2023-07, 2023-07-14 or 2023-07-14T18:30, not"):
        filters.parse_time(text)


def test_places() -> None:
    assert filters.parse_near("48.8584,2.2945") == Near(48.8584, 2.2945, 10)
    assert filters.parse_near("-33.9, 151.2, 0.5") == Near(-33.9, 151.2, 0.5)
    for text in ("", "48", "91,0", "0,181", "0,0,0", "0,0,-1", "0,0,inf", "nan,0", "1,2,3,4", "?!"):
        with pytest.raises(ValueError, match="must be LAT,LON or LAT,LON,KM"):
            filters.parse_near(text)


def test_types() -> None:
    assert filters.parse_types("jpg") == {"jpg", "jpeg", "jpe", "jfif", "insp"}
    assert {"nef", "cr2", "png"} <= filters.parse_types("RAW, .png")
    for text in ("", "xyz", "jpg,", "jpg png"):
        with pytest.raises(ValueError, match="must be endings of photos"):
            filters.parse_types(text)


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("*.jpg", ["a.jpg", "x/y/a.jpg"], ["a.png", "a.jpg2"]),
        ("beach", ["beach/a.jpg", "x/beach/y/a.jpg", "beach"], ["beaches/a.jpg", "x/sunbeach"]),
        ("beach/", ["beach/a.jpg", "x/beach/a.jpg"], ["beach", "x/beach"]),
        ("2019/*", ["2019/a.jpg", "2019/x/a.jpg"], ["x/2019/a.jpg", "2019"]),
        ("2019/*.jpg", ["2019/a.jpg"], ["2019/x/a.jpg"]),
        ("/a.jpg", ["a.jpg"], ["x/ab.jpg"]),
        ("./2019/**", ["2019/a.jpg", "2019/x/y/a.jpg"], ["x/2019/a.jpg"]),
        ("**/raw/**", ["raw/a", "x/raw/a", "x/y/raw/z/a"], ["raw", "xraw/a"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b", "a/b/c"], ["a/xb", "b"]),
        ("IMG_?[0-4].jpg", ["IMG_x3.jpg"], ["IMG_x5.jpg", "IMG_33x.jpg", "IMG_/3.jpg"]),
        ("[!a-c]?", ["dx", "x/dx"], ["ax", "d"]),
        ("[]x]", ["]", "x"], ["a"]),
        ("[^a]", ["^", "b"], ["a"]),
        ("a[b", [], ["a[b", "ab"]),
        ("(x).+$", ["(x).+$"], ["x"]),
        ("New\nline*", ["New\nline.jpg"], ["New line"]),
        ("B*", ["Beach/a"], ["beach/a"]),
    ],
)
def test_globs_match_as_in_gitignore(glob: str, matching: list[str], others: list[str]) -> None:
    regex = globs.glob_regex(glob)
    assert [path for path in (*matching, *others) if regex.fullmatch(path)] == matching


@pytest.mark.parametrize(
    ("glob", "inside"),
    [
        ("/home/me/2019", {"/2019"}),
        ("/home/me/2019/", {"/2019/"}),
        ("/home/me/a/*.jpg", {"/a/*.jpg"}),
        ("/h*/[mn]e/a", {"/a"}),
        ("/home", {"**"}),
        ("/home/me/", {"**"}),
        ("/**/a", {"/**/a"}),
        ("/home/**/me/a", {"/**/me/a", "/a"}),
        ("/home/**", {"/**", "**"}),
        ("/home/you/a", set()),
        ("/2019/*", set()),
        ("home/me/a", set()),
    ],
)
def test_an_absolute_glob_is_seen_from_inside_a_folder(glob: str, inside: set[str]) -> None:
    assert set(globs.Paths([glob], ["/home/me/"]).wanted) == {glob} | inside


@given(
    glob=st.text("ab*?/[]!.^\\:é", min_size=1, max_size=8).filter(lambda glob: glob.strip("/")),
    path=st.text("ab/[].\\e\u0301é", min_size=1, max_size=8),
)
def test_what_is_looked_up_holds_all_that_matches(glob: str, path: str) -> None:
    if globs.glob_regex(glob).fullmatch(globs.composed(path)):
        sql = "SELECT ? GLOB ?"
        assert sqlite3.connect(":memory:").execute(sql, (path, globs.sqlite_glob(glob))).fetchone() == (1,)
        assert path.startswith(globs.literal_start(glob))
        assert globs.longest_literal(glob) in path


# --- through the command ---------------------------------------------------------------------------------------------


def exif(
    taken: str | None = None, camera: tuple[str, str] | None = None, place: tuple[float, float] | None = None
) -> Image.Exif:
    block = Image.Exif()
    if taken:
        block.get_ifd(0x8769)[0x9003] = taken
    if camera:
        block[0x010F], block[0x0110] = camera
    if place:
        (south, latitude), (west, longitude) = ((value < 0, abs(value)) for value in place)
        block.get_ifd(0x8825).update({1: "NS"[south], 2: (latitude, 0.0, 0.0), 3: "EW"[west], 4: (longitude, 0.0, 0.0)})
    return block


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory, prepared_data: Path, tiny_checkpoint: Path) -> Command:
    """Six photos of some years, places and cameras, indexed; no test changes them."""
    root = tmp_path_factory.mktemp("album")
    canon, nikon = ("Canon", "Canon EOS R5"), ("NIKON CORPORATION", "NIKON D850")
    rng = random.Random(7)
    for name, what, block in [
        ("2019/sydney.jpg", "red circle", exif("2019:12:31 23:59:59", canon, (-33.86, 151.21))),
        ("2020/new year.jpg", "red star", exif("2020:01:01 00:00:00", canon, (-33.86, 151.21))),
        ("2020/paris.webp", "blue circle", exif("2020:07:14 22:00:00", nikon, (48.86, 2.29))),
        ("2021/versailles.jpg", "green circle", exif("2021:05:01 12:00:00", nikon, (48.80, 2.12))),
        ("scans/1.png", "yellow square", None),
        ("scans/old/2.png", "red square", None),
    ]:
        path = root / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_scene(path, what, rng, **({"exif": block} if block else {}))
    os.utime(root / "photos/scans/1.png", (0, datetime(2020, 3, 1, 12).timestamp()))
    os.utime(root / "photos/scans/old/2.png", (0, datetime(2022, 3, 1, 12).timestamp()))
    shutil.copytree(prepared_data, root / "data")
    (root / "home").mkdir()
    command = Command(root / "home", root / "data", tiny_checkpoint, root / "photos")
    assert command("--index").code == 0
    return command


NEWEST_FIRST = [
    "scans/old/2.png",
    "2021/versailles.jpg",
    "2020/paris.webp",
    "scans/1.png",
    "2020/new year.jpg",
    "2019/sydney.jpg",
]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--after", "1900"], NEWEST_FIRST),
        (["--after", "2020", "--before", "2021"], NEWEST_FIRST[2:5]),
        (["--before", "2020"], NEWEST_FIRST[5:]),
        (["--after", "2020-07-14T22:00", "--before", "2020-07-14 22:00:01"], NEWEST_FIRST[2:3]),
        (["--near", "-33.8688,151.2093"], NEWEST_FIRST[4:]),
        (["--near=-33.8688,151.2093"], NEWEST_FIRST[4:]),
        (["--near", "48.8,2.12"], NEWEST_FIRST[1:2]),
        (["--near", "48.8,2.12,20"], NEWEST_FIRST[1:3]),
        (["--near", "0,0,20100"], [name for name in NEWEST_FIRST if "scans" not in name]),
        (["--camera", "canon"], NEWEST_FIRST[4:]),
        (["--camera", "D850 nikon"], NEWEST_FIRST[1:3]),
        (["--path", "20*/**"], [name for name in NEWEST_FIRST if "scans" not in name]),
        (["--path", "old", "--path", "2019/*"], [NEWEST_FIRST[0], NEWEST_FIRST[5]]),
        (["--type", "png"], [NEWEST_FIRST[0], NEWEST_FIRST[3]]),
        (["--type", "jpeg,webp", "--after", "2020"], [NEWEST_FIRST[1], NEWEST_FIRST[2], NEWEST_FIRST[4]]),
        (["-t", "2", "--after", "2020"], NEWEST_FIRST[:2]),
    ],
)
def test_filters_alone_give_the_newest_first(album: Command, arguments: list[str], found: list[str]) -> None:
    done = album("-n", *arguments)
    assert (done.lines, done.err, done.code) == (found, "", 0)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--after", "2020-06", "--before", "2022"], {"2021/versailles.jpg", "2020/paris.webp"}),
        (["--near", "48.8,2.12,20"], {"2021/versailles.jpg", "2020/paris.webp"}),
        (["--camera", "canon"], {"2019/sydney.jpg", "2020/new year.jpg"}),
        (["--path", "scans"], {"scans/1.png", "scans/old/2.png"}),
        (["--type", "png"], {"scans/1.png", "scans/old/2.png"}),
    ],
)
def test_filters_keep_the_order_of_the_query(album: Command, arguments: list[str], found: set[str]) -> None:
    everything = album("-n", "a red circle").lines
    assert everything[0] == "2019/sydney.jpg"
    assert album("-n", *arguments, "a red circle").lines == [path for path in everything if path in found]


def test_the_lowest_score(album: Command) -> None:
    scores = [json.loads(line)["score"] for line in album("-n", "--json", "a red circle").lines]
    assert len(album("-n", "--min-score", str(scores[2] - 1e-4), "a red circle").lines) == 3
    assert album("-n", "--min-score", "1", "a red circle").code == 1
    assert len(album("-n", "--min-score", "-1", "a red circle").lines) == 6


def test_filters_alone_take_folders_that_are_spelled_as_paths(album: Command) -> None:
    assert album("-n", "--after", "2020", "./2020").lines == ["./2020/paris.webp", "./2020/new year.jpg"]
    assert album("-n", "--after", "2020", ".", "-t", "1").lines == ["./scans/old/2.png"]
    assert album("-n", "--path", "new*", str(album.cwd / "2020")).lines == [f"{album.cwd}/2020/new year.jpg"]
    assert len(album("-n", "--after", "2020", "-t", "99", "--", "scans").lines) == 5  # a word: none is left out


def test_paths_are_those_from_the_directory_searched(album: Command) -> None:
    assert album("-n", "--path", "old/*", "square", "scans").lines == ["scans/old/2.png"]
    assert album("-n", "--path", "scans/old/*", "square", "scans").code == 1
    assert album("-n", "--path", "scans/old/*", "--path", "2020/*.webp").lines == [NEWEST_FIRST[0], NEWEST_FIRST[2]]


def test_an_absolute_pattern_is_the_path_of_something_in_the_directory_searched(album: Command, tmp_path: Path) -> None:
    here = album.cwd
    in_2020 = [NEWEST_FIRST[2], NEWEST_FIRST[4]]
    for pattern in (f"{here}/2020", f"{here}/2020/", f"{here}/2020/*", f"{here.parent}/*/2020", "/**/photos/2020/**"):
        assert album("-n", "--path", pattern).lines == in_2020, pattern
    assert album("-n", "--path", f"{here.parent}").lines == NEWEST_FIRST
    assert album("-n", "--path", f"{here}/20", "--path", f"{here}2020").code == 1
    assert album("-n", "--path", f"{here}/scans/*", "./2020", "./scans").lines == ["./scans/old/2.png", "./scans/1.png"]
    link = tmp_path / "link"
    link.symlink_to(here)
    assert album("-n", "--path", f"{link}/2020/*.webp", f"{link}").lines == [f"{link}/2020/paris.webp"]
    by_the_link = {"PWD": str(link)}  # as a shell says that has come by it
    assert album("-n", "--path", f"{link}/2020", env=by_the_link).lines == in_2020
    home = {"HOME": str(here.parent)}
    assert album("-n", "--path", "~/photos/2020", env=home).lines == in_2020


def test_a_pattern_behind_a_sign_leaves_out_what_it_matches(album: Command) -> None:
    without_scans = [name for name in NEWEST_FIRST if "scans" not in name]
    assert album("-n", "--path", "!scans").lines == without_scans
    assert album("-n", "--path", f"!{album.cwd}/scans/**").lines == without_scans
    assert album("-n", "--path", "!old", "--path", "scans", "--path", "!*.jpg").lines == [NEWEST_FIRST[3]]
    assert album("-n", "--path", "!*.jpg", "-t", "2", "a red star").code == 0
    assert set(album("-n", "--path", "!20*", "a red star").lines) == {NEWEST_FIRST[0], NEWEST_FIRST[3]}
    assert album("-n", "--path", "!*", "a red star").code == 1


def test_the_case_of_a_pattern_counts(album: Command) -> None:
    assert album("-n", "--path", "PARIS*").code == 1


def test_json_tells_what_is_known(album: Command) -> None:
    paris, scan = (json.loads(album("-n", "--json", "--path", name).out) for name in ("paris.*", "1.png"))
    assert (paris["captured"], paris["captured_offset"]) == ("2020-07-14T22:00:00", None)
    assert (paris["captured_from"], paris["camera"]) == ("metadata", "NIKON D850")
    assert (paris["latitude"], paris["longitude"]) == (pytest.approx(48.86), pytest.approx(2.29))
    assert (paris["width"], paris["height"]) == (160, 120)
    assert "score" not in paris
    assert scan["captured"].startswith("2020-03-01T12:00:00")
    assert scan["captured_from"] == "file"
    assert scan["captured"] == "2020-03-01T12:00:00" + scan["captured_offset"]
    assert not {"latitude", "camera", "keywords", "rating"} & set(scan)


def test_a_template_names_what_is_known_and_leaves_the_rest_empty(album: Command) -> None:
    template = "{score:.3f}|{camera}|{latitude:.2f}|{rating}|{captured:%Y}|{captured_from}|{width}|{keywords}"
    paris, scan = (album("-n", "--format", template, "--path", name) for name in ("paris.*", "1.png"))
    assert (paris.out, paris.err) == ("|NIKON D850|48.86||2020|metadata|160|\n", "")
    assert (scan.out, scan.err) == ("||||2020|file|160|\n", "")
    assert album("-n", "--format", "{score}", "--after", "2020", "./scans", "-t", "1").out == "\n"


def test_a_terminal_gets_dates_where_there_are_no_scores(album: Command) -> None:
    assert text_on_terminal(album, "-n", "--path", "2020").splitlines() == [
        "2020/paris.webp    2020-07-14",
        "2020/new year.jpg  2020-01-01",
    ]


def test_nothing_that_passes_is_exit_1_and_said(album: Command) -> None:
    for query in ([], ["a red circle"]):
        done = album("-n", "--after", "2050", *query)
        assert (done.code, done.out, done.err) == (1, "", "rclip: no photo here passes the filters\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--after", "soon"], "--after: must be a time like 2023"),
        (["--before", "2023-40"], "--before: must be a time like 2023"),
        (["--near", "1,2,3,4"], "--near: must be LAT,LON or LAT,LON,KM"),
        (["--near", "-95,0"], "--near: must be LAT,LON or LAT,LON,KM"),
        (["--camera", " "], "--camera: must be words of a camera's name"),
        (["--path", "/"], "--path: must be a pattern like '2019/**'"),
        (["--path", "!"], "--path: must be a pattern like '2019/**'"),
        (["--type", "mp3"], "--type: must be endings of photos"),
        (
            ["--after", "2012", "--before", "2012"],
            "the time range from 2012-01-01 to 2012-01-01 is empty; --before is where",
        ),
        (
            ["--after", "2013-05-02T10:00", "--before", "2013-05", "a cat"],
            "the time range from 2013-05-02T10:00:00 to",
        ),
        (["--min-score", "27%"], "--min-score: must be a number from -1 to 1"),
        (["--min-score", "0.2"], "filters by score and relevance need a query"),
        (["--index", "--after", "2020"], "takes no query and no filters: leave them out"),
        (["--near"], "--near: expected one argument"),
    ],
)
def test_what_an_option_does_not_take_is_one_line(album: Command, arguments: list[str], expected: str) -> None:
    done = album("-n", *arguments)
    assert (done.code, done.out) == (2, "")
    assert expected in one_line(done.err)


def test_a_file_time_is_that_of_clocks_here(album: Command) -> None:
    there = {"TZ": "Pacific/Kiritimati"}  # 14 hours ahead
    noon = datetime(2020, 3, 1, 12).astimezone().timestamp()
    local = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(noon + 14 * 3600))
    later = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(noon + 14 * 3600 + 60))
    found = album("-n", "--after", local, "--before", later, "--json", env=there)
    assert json.loads(found.out)["captured"] == f"{local}:00+14:00"
    in_paris = ("--after", "2020-07-14T22:00", "--before", "2020-07-14T22:01")
    assert album("-n", *in_paris, env=there).lines == NEWEST_FIRST[2:3]


# --- as photos come and go -------------------------------------------------------------------------------------------


def test_copies_and_moved_photos_keep_their_facts(rclip: Command, draw: Draw, photos: Path) -> None:
    first = draw("a.jpg", exif=exif("2020:01:01 00:00:00"))
    draw("b.jpg", "blue star")
    rclip("--index", "-v")
    shutil.copyfile(first, photos / "copy.jpg")
    assert "1 copy" in rclip("--index", "-v").err
    first.rename(photos / "moved.png")
    assert "1 moved file" in rclip("--index", "-v").err
    assert rclip("-n", "--all", "--before", "2020-01-02").lines == ["copy.jpg", "moved.png"]
    assert rclip("-n", "--before", "2020-01-02", "--type", "png").lines == ["moved.png"]


def test_a_changed_photo_has_its_new_facts(rclip: Command, draw: Draw) -> None:
    draw("a.jpg", exif=exif("2020:01:01 00:00:00", ("Canon", "R5")))
    rclip("--index", "-v")
    draw("a.jpg", "blue star", exif=exif("2021:01:01 00:00:00"))
    assert "1 changed" in rclip("--index", "-v").err
    told = json.loads(rclip("-n", "--json", "--after", "2021").out)
    assert told["captured"] == "2021-01-01T00:00:00"
    assert "camera" not in told
    assert rclip("-n", "--before", "2021").code == 1


def test_gone_photos_pass_no_filter(rclip: Command, draw: Draw) -> None:
    draw("a.jpg", exif=exif("2020:01:01 00:00:00")).unlink()
    photo = draw("b.jpg", exif=exif("2020:01:01 00:00:00"))
    rclip("--index", "-v")
    photo.unlink()
    rclip("--index", "-v")
    assert rclip("-n", "--after", "2020").code == 1


# --- from Python -----------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(album: Command) -> Iterator[Library]:
    with Library(album.cwd, model=str(album.model), data_dir=album.data_dir) as library:
        yield library


def test_the_library_takes_filters(opened: Library, album: Command) -> None:
    asked = Filters(after=datetime(2020, 1, 1), near=Near(-33.86, 151.21, 5))
    (hit,) = opened.search("a red circle", filters=asked)
    assert hit.path == str(album.cwd / "2020/new year.jpg")
    assert hit.captured == datetime(2020, 1, 1)
    assert hit.metadata.model == "Canon EOS R5"
    assert [hit.score for hit in opened.search(None, filters=asked)] == [None]
    with pytest.raises(UsageError, match="need a query"):
        opened.search(None, filters=Filters(min_score=0.2))


# --- an index made before --------------------------------------------------------------------------------------------

UNIT_VECTOR = np.eye(1, 512, dtype=np.float16).tobytes()

VERSION_1 = """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE images (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path BLOB NOT NULL UNIQUE,
        mtime_ns INTEGER NOT NULL,
        size INTEGER NOT NULL,
        device INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        digest BLOB,
        vector BLOB,
        failure TEXT,
        gone_ns INTEGER,
        CHECK ((vector IS NULL) <> (failure IS NULL))
    );
    CREATE INDEX images_listing ON images (path, mtime_ns, size, gone_ns);
    CREATE INDEX images_failure ON images (path) WHERE failure IS NOT NULL;
    CREATE INDEX images_digest ON images (digest) WHERE vector IS NOT NULL;
    CREATE INDEX images_inode ON images (inode) WHERE vector IS NOT NULL;
    INSERT INTO meta VALUES ('model', 'ViT-B-32'), ('preprocessing', '1');
    PRAGMA application_id = 1919118448;
    PRAGMA user_version = 1;
"""


@pytest.fixture
def older(rclip: Command, draw: Draw) -> Path:
    """An index as the first rclip made it, of ViT-B/32, whose weights are not to be had here; one photo is gone."""
    draw("a.jpg", exif=exif("2020:01:01 00:00:00", ("Canon", "R5")))
    draw("sub/b.png")
    missing = draw("gone.jpg")
    path = rclip.data_dir / "ViT-B-32.db"
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    for photo in sorted(rclip.cwd.rglob("*.*")):
        status = photo.stat()
        row = (os.fsencode(photo), status.st_mtime_ns, status.st_size, status.st_dev, status.st_ino)
        sql = "INSERT INTO images (path, mtime_ns, size, device, inode, digest, vector) VALUES (?, ?, ?, ?, ?, ?, ?)"
        connection.execute(sql, (*row, photo.name.encode(), UNIT_VECTOR))
    connection.execute("UPDATE images SET gone_ns = 5 WHERE path = ?", (os.fsencode(missing),))
    connection.commit()
    connection.close()
    missing.unlink()
    return path


def vectors(index: Path) -> list[tuple[int, bytes, bytes, bytes]]:
    connection = sqlite3.connect(index)
    rows = connection.execute("SELECT id, path, digest, vector FROM images ORDER BY id").fetchall()
    connection.close()
    return rows


NO_WEIGHTS = {"RCLIP_WEIGHTS_URL": "http://127.0.0.1:9/"}


def test_an_older_index_is_looked_through_without_the_model(rclip: Command, older: Path) -> None:
    before = vectors(older)
    done = rclip("--index", "-v", model="ViT-B/32", env=NO_WEIGHTS)
    assert (done.code, done.err) == (0, "rclip: index updated: found dates and places of 2 older photos\n")
    assert vectors(older) == before
    found = rclip("--before", "2021", "--json", model="ViT-B/32", env=NO_WEIGHTS)
    told = json.loads(found.out)
    assert (told["captured"], told["camera"], told["width"]) == ("2020-01-01T00:00:00", "Canon R5", 160)
    assert found.err == ""
    assert rclip("--type", "png", model="ViT-B/32", env=NO_WEIGHTS).lines == ["sub/b.png"]


def test_what_was_looked_through_is_not_opened_again(rclip: Command, older: Path, drop_root: tuple[str, ...]) -> None:
    (rclip.cwd / "sub/b.png").chmod(0)
    first = rclip("--index", "-v", model="ViT-B/32", env=NO_WEIGHTS, prefix=drop_root)
    assert first.err == "rclip: index updated: found dates and places of 1 older photo\n"
    (rclip.cwd / "a.jpg").chmod(0)
    (rclip.cwd / "sub/b.png").chmod(0o644)
    with closing(sqlite3.connect(older)) as connection, connection:  # as on a drive without change times
        connection.execute("UPDATE images SET ctime_ns = 0")
    second = rclip("--index", "-v", model="ViT-B/32", env=NO_WEIGHTS, prefix=drop_root)
    assert second.err == "rclip: index updated: found dates and places of 1 older photo\n"
    assert rclip("--index", "-v", model="ViT-B/32", env=NO_WEIGHTS).err == unchanged(2)


def test_a_copy_of_a_photo_of_an_older_index_is_looked_through(rclip: Command, draw: Draw, photos: Path) -> None:
    first = draw("a.jpg", exif=exif("2020:01:01 00:00:00"))
    rclip("--index", "-v")
    (index,) = rclip.data_dir.glob("*.db")
    connection = sqlite3.connect(index)
    connection.execute("UPDATE images SET has_metadata = 0")
    connection.execute("DELETE FROM metadata")
    connection.commit()
    connection.close()
    shutil.copyfile(first, photos / "copy.jpg")
    assert rclip("--index", "-v").err == "rclip: index updated: found 1 copy, dates and places of 2 older photos\n"
    assert len(rclip("-n", "--all", "--before", "2021").lines) == 2


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_an_older_index_that_may_not_be_written_is_searched_and_filtered_by_file_times(
    rclip: Command, older: Path, drop_root: tuple[str, ...], mode: int
) -> None:
    """Nor may its folder: then it does not help that the file itself may be."""
    before = older.read_bytes()
    older.chmod(mode)
    rclip.data_dir.chmod(0o500)
    try:
        stats = rclip("--stats", model="ViT-B/32", prefix=drop_root)
        assert stats.lines[0].split() == ["photos", "2"]
        found = rclip("-n", "--after", "2021", model="ViT-B/32", prefix=drop_root)
        assert (sorted(found.lines), found.err) == (["a.jpg", "sub/b.png"], "")
        assert rclip("-n", "--camera", "canon", model="ViT-B/32", prefix=drop_root).code == 1
    finally:
        rclip.data_dir.chmod(0o700)
    assert older.read_bytes() == before


def test_filters_alone_list_all_that_passes(rclip: Command, gallery: Path) -> None:
    assert len(rclip("--type", "jpg").lines) == len(GALLERY) > 10
    assert len(rclip("-n", "--type", "jpg", "-t", "3").lines) == 3
    assert len(rclip("-n", "--type", "jpg", "a red star").lines) == 10
