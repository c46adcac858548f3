"""Globs: what git lists for them, linear time, and names whose accents are encoded in two ways."""

import unicodedata
from pathlib import Path

import pytest

from rclip import globs
from tests.support.command import Command, update
from tests.support.gallery import Draw

PATHS = (
    "a.jpg",
    "b.jpg",
    "1.jpg",
    "[a].jpg",
    "a b.jpg",
    "^.jpg",
    "-.jpg",
    "].jpg",
    "foo/q.jpg",
    "foo/bar/q.jpg",
    "foo/bar/deep/q.jpg",
    "foobar/q.jpg",
    "foob/bar/q.jpg",
    "x/foo/q.jpg",
    "bar/a.jpg",
    "a\\b.jpg",
    "foo/Q.jpg",
    "!a.jpg",
    "#a.jpg",
    "x y/z.jpg",
    "*.jpg",
    "A.JPG",
    "foo/-/q.jpg",
    "2019/07/14.jpg",
    "2019/old/07/14.jpg",
    "2019/a[b.jpg",
)
LISTED_BY_GIT = {
    "[^a].jpg": [1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 19, 20, 22],
    "[!a].jpg": [1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 19, 20, 22],
    "[!-b].jpg": [0, 2, 5, 7, 8, 9, 10, 11, 12, 13, 14, 16, 19, 20, 22],
    "\\[a\\].jpg": [3],
    "[[]a].jpg": [3],
    "[]a].jpg": [0, 7, 14],
    "[^]a].jpg": [1, 2, 5, 6, 8, 9, 10, 11, 12, 13, 16, 19, 20, 22],
    "[\\]].jpg": [7],
    "[a-].jpg": [0, 6, 14],
    "[a\\-c].jpg": [0, 6, 14],
    "[b-a].jpg": [1],
    "[a-b-c].jpg": [0, 1, 6, 14],
    "[[:digit:]].jpg": [2],
    "[![:alpha:]].jpg": [2, 5, 6, 7, 20],
    "[[:alpha:][:digit:]].jpg": [0, 1, 2, 8, 9, 10, 11, 12, 13, 14, 16, 19, 22],
    "[[:punct:]].jpg": [5, 6, 7, 20],
    "[[:upper:]].*": [16, 21],
    "[[:nothing:]].jpg": [],
    "[[:digit].jpg": [],
    "[[:digit:].jpg": [],
    "[a.jpg": [],
    "a.jpg\\": [],
    "\\a.jpg": [0, 14],
    "a\\\\b.jpg": [15],
    "\\*.jpg": [20],
    "\\!a.jpg": [17],
    "#a.jpg": [18],
    "a b.jpg": [4],
    "foo/**q.jpg": [8],
    "foo/**/q.jpg": [8, 9, 10, 22],
    "foo/***/q.jpg": [8, 9, 10, 22],
    "foo/b**r/q.jpg": [9],
    "foo**/q.jpg": [8, 9, 10, 11, 12, 22],
    "foo**/bar": [9, 10, 11, 12],
    "foo**": [8, 9, 10, 11, 12, 13, 16, 22],
    "**foo": [8, 9, 10, 13, 16, 22],
    "**/foo": [8, 9, 10, 13, 16, 22],
    "**/foo/**": [8, 9, 10, 13, 16, 22],
    "**/q.jpg": [8, 9, 10, 11, 12, 13, 22],
    "foo/**/": [9, 10, 22],
    "foo/*/": [9, 10, 22],
    "foo/*": [8, 9, 10, 16, 22],
    "foo*": [8, 9, 10, 11, 12, 13, 16, 22],
    "foo/": [8, 9, 10, 13, 16, 22],
    "/foo": [8, 9, 10, 16, 22],
    "bar": [9, 10, 12, 14],
    "bar/": [9, 10, 12, 14],
    "/bar": [14],
    "*/bar": [9, 10, 12],
    "**/bar/*.jpg": [9, 12, 14],
    "*/*/q.jpg": [9, 12, 13, 22],
    "fo?/q.jpg": [8],
    "foo?bar": [],
    "foo[/]q.jpg": [],
    "foo[^x]q.jpg": [],
    "foo\\/q.jpg": [8],
    "foo/**\\/q.jpg": [9, 10, 22],
    "2019/**/14.jpg": [23, 24],
    "2019/**/[0-9][0-9].jpg": [23, 24],
    "*": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25],
    "**": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25],
    "?.jpg": [0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 19, 20, 22],
    "[A-Z]*": [16, 21],
    "//foo": [],
}
"""By the places in `PATHS`; written down from git 2.39, `git ls-files --others --ignored -x GLOB` in that tree."""


@pytest.mark.parametrize("glob", LISTED_BY_GIT)
def test_a_glob_matches_what_git_lists_for_it(glob: str) -> None:
    regex = globs.glob_regex(glob)
    assert [path for path in PATHS if regex.fullmatch(path)] == [PATHS[place] for place in LISTED_BY_GIT[glob]]


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("*a" * 30 + "*b", "a" * 4000),
        ("*a*b" * 15 + "*c", "ab" * 2000),
        ("*[ab]?" * 15 + "c", "ab" * 2000),
        ("**/a" * 30 + "/b", "a/" * 2000 + "a"),
        ("**/*a*/" * 15 + "b", "ba/" * 1300 + "c"),
        ("x**/a/**/*a*a*a*a*c", "xa/" + "a/" * 500 + "a" * 2000),
    ],
)
def test_a_glob_of_many_stars_ends(glob: str, path: str) -> None:
    """One that tried all ways to match would not, in a lifetime."""
    assert not globs.glob_regex(glob).fullmatch(path)


NFC = unicodedata.normalize("NFC", "Köln été")
NFD = unicodedata.normalize("NFD", NFC)


@pytest.mark.parametrize(("on_disk", "typed"), [(NFC, NFD), (NFD, NFC)], ids=["NFC on disk", "NFD on disk"])
def test_a_name_is_found_however_its_accents_are_encoded(rclip: Command, draw: Draw, on_disk: str, typed: str) -> None:
    photo = draw(f"{on_disk}/{on_disk}.jpg")
    draw("other.jpg")
    assert update(rclip) == "2 new photos"
    found = [f"{on_disk}/{on_disk}.jpg"]
    assert rclip("-n", "red", typed).lines == found
    assert rclip("-n", "--type", "jpg", f"./{typed}").lines == [f"./{found[0]}"]
    for glob in (typed, f"{typed}/*", f"/{typed}/**", "K?ln *", f"{rclip.cwd}/{typed}"):
        assert rclip("-n", "--path", glob).lines == found, glob
    assert rclip("-n", "--path", f"!{typed}").lines == ["other.jpg"]
    assert rclip("-n", "--exclude-dir", typed, "red").lines == ["other.jpg"]
    assert rclip("-n", f"./{typed}/{typed}.jpg").lines == ["other.jpg"]
    assert photo.exists()


def test_where_both_encodings_are_there_each_finds_its_own(rclip: Command, draw: Draw) -> None:
    draw(f"{NFC}/composed.jpg")
    draw(f"{NFD}/decomposed.jpg")
    if len(list(Path(rclip.cwd).iterdir())) == 1:
        pytest.skip("to this file system they are the same")
    update(rclip)
    assert rclip("-n", "red", NFC).lines == [f"{NFC}/composed.jpg"]
    assert rclip("-n", "red", NFD).lines == [f"{NFD}/decomposed.jpg"]
