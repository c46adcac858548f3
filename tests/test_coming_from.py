"""Habits from elsewhere: the other program named rclip, tools with commands, folders first, a picture's address."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.support.command import Command, one_line
from tests.support.gallery import Draw
from tests.support.tiers import few

# --- options of the other program ------------------------------------------------------------------------------------


@pytest.fixture
def indexed(rclip: Command, gallery: Path) -> Command:
    assert rclip("--index").code == 0
    return rclip


@pytest.mark.parametrize(
    ("theirs", "ours"),
    few(
        [
            (("a star", "--sub", "red"), ("a star", "--subtract", "red")),
            (("a star", "--sub=red"), ("a star", "--subtract", "red")),
            (("--skip-index", "a red star"), ("-n", "a red star")),
            (("--skip-indexing", "a red star"), ("-n", "a red star")),
            (("--indexing-batch-size", "2", "a red star"), ("-b", "2", "a red star")),
            (("--indexing-batch-size=2", "a red star", "stars"), ("-b", "2", "a red star", "stars")),
            (("--sub", "red", "--skip-index", "--", "a star"), ("-n", "--subtract", "red", "--", "a star")),
        ],
        fast=3,
    ),
)
def test_options_of_the_other_program_mean_what_they_meant(
    indexed: Command, theirs: tuple[str, ...], ours: tuple[str, ...]
) -> None:
    expected = indexed(*ours)
    assert expected.code == 0
    assert indexed(*theirs) == expected


def test_raw_files_need_no_option(indexed: Command) -> None:
    done = indexed("--experimental-raw-support", "-n", "-t", "1", "a red star")
    assert (done.code, done.out) == (0, "stars/red.jpg\n")
    assert one_line(done.err) == (
        "rclip: --experimental-raw-support is not needed: RAW files are read wherever the package rawpy is installed"
    )


def test_a_lone_v_shows_the_version(rclip: Command) -> None:
    assert rclip.raw("-v").returncode == 2  # the tests' command also has --model
    done = rclip("--version")
    alone = rclip("-v", prefix=("sh", "-c", 'exec "$1" "$2" "$3" "$4" -v', "sh"))
    assert (alone.code, alone.out, alone.err) == (0, done.out, "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-H", "400", "-p", "a cat"), "in rows of the terminal: --preview-height 20"),
        (("-H600", "a cat"), "in rows of the terminal: --preview-height 30"),
        (("-H", "?", "a cat"), "in rows of the terminal: --preview-height 20"),
        (("-H",), "in rows of the terminal: --preview-height 20"),
        (("-H", "9" * 5000), "in rows of the terminal: --preview-height 20"),
        (("--preview-height", "400", "a cat"), "must be a number of terminal rows from 1 to 200, not '400'"),
        (("--max-image-megapixels", "none", "a cat"), "leave it out for a limit by the machine's memory"),
        (("--max-image-megapixels", "auto", "a cat"), "leave it out for a limit by the machine's memory"),
        (("--sub",), "expected one argument"),
        (("--subtrct", "x", "a cat"), "unknown option: --subtrct; did you mean --subtract?"),
    ],
    ids=str,
)
def test_what_differs_is_answered_in_one_line(rclip: Command, arguments: tuple[str, ...], expected: str) -> None:
    done = rclip(*arguments)
    assert (done.code, done.out) == (2, "")
    assert expected in one_line(done.err)


def test_names_after_two_dashes_are_words(indexed: Command) -> None:
    done = indexed("-n", "--", "--skip-index")
    assert (done.code, len(done.lines), done.err) == (0, 10, "")


# --- its index -------------------------------------------------------------------------------------------------------


def make_other_index(folder: Path) -> bytes:
    with sqlite3.connect(folder / "db.sqlite3") as connection:
        connection.execute("CREATE TABLE images (id INTEGER PRIMARY KEY, filepath TEXT, vector BLOB)")
    connection.close()
    return (folder / "db.sqlite3").read_bytes()


@pytest.mark.parametrize("arguments", [("-n", "a red star"), ("--index", "-v"), ("--type", "jpg")])
def test_the_other_index_is_mentioned_once_and_never_again(indexed: Command, arguments: tuple[str, ...]) -> None:
    before = make_other_index(indexed.data_dir)
    first, second = indexed(*arguments), indexed(*arguments)
    assert (first.code, second.code) == (0, 0)
    assert first.err.startswith(
        f"rclip: {indexed.data_dir}/db.sqlite3 is the index of another program named rclip; it is not used here"
    )
    assert "another program" not in second.err
    assert (indexed.data_dir / "db.sqlite3").read_bytes() == before


def test_the_nightly_update_does_not_mention_it(indexed: Command) -> None:
    make_other_index(indexed.data_dir)
    assert indexed("--index").err == ""
    assert "another program" in indexed("-n", "a red star").err


def test_what_is_not_its_index_is_not_mentioned(indexed: Command, tmp_path: Path) -> None:
    other = indexed.data_dir / "db.sqlite3"
    for make in (
        lambda: other.write_text("text"),
        lambda: other.mkdir(),
        lambda: os.mkfifo(other),
        lambda: other.symlink_to(indexed.home / "nothing"),
    ):
        make()
        assert indexed("-n", "a red star").err == ""
        shutil.rmtree(other) if other.is_dir() else other.unlink()


def test_no_link_is_followed_to_remember_it(indexed: Command, tmp_path: Path) -> None:
    make_other_index(indexed.data_dir)
    precious = tmp_path / "precious"
    precious.write_text("keep")
    (indexed.data_dir / "other-index-mentioned").symlink_to(precious)
    assert indexed("-n", "a red star").err == ""
    assert precious.read_text() == "keep"


# --- what is no query ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["stars"], 'stars is a folder; add a query: rclip "a red kite" stars; to search for the word: rclip -- stars'),
        (["my stars"], "'my stars' is a folder; add a query: rclip \"a red kite\" 'my stars'; to search for the wor"),
        (["stars/"], 'stars/ is a folder; add a query: rclip "a red kite" stars/'),
        (["./stars", "circles"], './stars is a folder; add a query: rclip "a red kite" ./stars circles'),
        (["."], '. is a folder; add a query: rclip "a red kite" .'),
        ([".", "stars"], '. is a folder; add a query: rclip "a red kite" . stars'),
        ([".."], '.. is a folder; add a query: rclip "a red kite" ..'),
        (["~"], '~ is a folder; add a query: rclip "a red kite" '),
        (["stars", "a red one"], "folders come after the query: rclip 'a red one' stars"),
        ([".", "a", "red", "one"], "folders come after the query: rclip 'a red one' ."),
        (["./stars", "red", "circles"], "folders come after the query: rclip red ./stars circles"),
        (["--type", "jpg", "stars"], "stars is a folder; without a query, write ./stars; to search for the word: -- s"),
        (["-i", "stars"], "stars is a folder; without a query, write ./stars; to search for the word: -- stars"),
        (
            ["stars/red.jpg"],
            "stars/red.jpg is a file; to search by that picture: rclip ./stars/red.jpg; "
            "to search for the words: rclip -- stars/red.jpg",
        ),
        (
            ["note.txt"],
            "note.txt is a file, but not a picture; a query is words or a picture; to search for the words: ",
        ),
        (["index"], "rclip has no command index; write rclip --index; to search for the word: rclip -- index"),
        (["serve"], "rclip has no command serve; write rclip --web; "),
        (["web"], "rclip has no command web; write rclip --web; "),
        (["stats"], "rclip has no command stats; write rclip --stats; "),
        (["help"], "rclip has no command help; write rclip --help; "),
        (["index", "./my stars"], "rclip has no command index; write rclip --index './my stars'; "),
        (["index", "finger"], 'there is no folder finger; a query of several words needs quotes: rclip "index finger"'),
        ([r"C:\Users\me\cat.jpg"], r"C:\Users\me\cat.jpg is a Windows path, and rclip runs on Linux and macOS; "),
        (["d:/my cat.jpg"], "in WSL, it is '/mnt/d/my cat.jpg'"),
        (["a cat", r"C:\Photos"], "in WSL, it is /mnt/c/Photos"),
        (["--preview", "sixel", "a cat"], "sixel is taken for a word of the query; write --preview=sixel instead of -"),
        (["-p", "kitty", "a cat"], "kitty is taken for a word of the query; write --preview=kitty instead of -p kitty"),
        (["a cat", "--preview", "blocks"], "write --preview=blocks instead of --preview blocks"),
        (["--preview", "iterm"], "write --preview=iterm instead of --preview iterm"),
    ],
    ids=str,
)
def test_what_is_plainly_no_query_is_answered_in_one_line(
    rclip: Command, gallery: Path, words: list[str], expected: str
) -> None:
    (gallery / "note.txt").write_text("no picture")
    (gallery / "my stars").mkdir()
    done = rclip(*words)
    assert (done.code, done.out) == (2, "")
    assert expected in one_line(done.err)


@pytest.mark.parametrize(
    "words",
    few(
        [
            ["--", "stars"],
            ["--add", "stars"],
            ["--", "index"],
            ["--add", "index"],
            ["--", "stars/red.jpg"],
            ["stars", "circles"],  # a word, and where to look
            ["stars", "+", "red"],
            ["2:stars"],
            ["web cam"],
            ["Index"],
            ["websites"],
            ["c:a cat"],
        ],
        fast=5,
    ),
)
def test_the_same_is_searched_where_it_is_plainly_meant(indexed: Command, words: list[str]) -> None:
    done = indexed("-n", *words)
    assert (done.code, done.err.replace("searching for these words", "")) == (0, done.err)
    assert "stars is a folder" not in done.err


def test_the_answers_can_be_typed_as_they_stand(indexed: Command) -> None:
    assert indexed("-n", "-t", "1", "a red one", "stars").out == "stars/red.jpg\n"
    assert len(indexed("-n", "--type", "jpg", "./stars").lines) == 4


# --- a picture's address on this machine -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    few(
        [
            "file://{folder}/my%20cat%C3%A9.jpg",
            "file://{folder}/my caté.jpg",
            "file://localhost{folder}/my%20cat%C3%A9.jpg",
            "FILE://{folder}/my%20cat%C3%A9.jpg",
            f"file://{os.uname().nodename}{{folder}}/my%20cat%C3%A9.jpg",
            "file://./my caté.jpg",
            "file://my caté.jpg",
            "2:file://{folder}/my%20cat%C3%A9.jpg",
        ],
        fast=3,
    ),
)
def test_a_file_address_is_its_picture(indexed: Command, draw: Draw, address: str) -> None:
    draw("my caté.jpg", "blue ring")
    indexed("--index")
    expected = indexed("-n", "-t", "3", "./my caté.jpg")
    assert expected.code == 0
    assert indexed("-n", "-t", "3", address.format(folder=indexed.cwd)) == expected


def test_a_name_with_percent_signs_is_taken_as_typed_where_it_is_there(indexed: Command, draw: Draw) -> None:
    draw("a%20b.jpg", "blue ring")
    draw("a b.jpg", "red star")
    indexed("--index")
    found = indexed("-n", "-t", "1", f"file://{indexed.cwd}/a%20b.jpg")
    assert found == indexed("-n", "-t", "1", "./a%20b.jpg")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("file:///gone%20cat.jpg", "cannot open /gone cat.jpg: No such file or directory"),
        ("file://elsewhere/cat.jpg", "cannot open elsewhere/cat.jpg: No such file or directory"),
        ("file:///a%00b.jpg", "cannot open /a\\x00b.jpg: "),
        ("file:///", "/ is a folder; add a query: "),
    ],
)
def test_a_file_address_of_no_picture_is_one_line(indexed: Command, address: str, expected: str) -> None:
    done = indexed("-n", address)
    assert (done.code, done.out) == (2, "")
    assert expected in one_line(done.err)
