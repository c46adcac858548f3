"""`--page` and `--sort`: which of the photos found are given, and in which order."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rclip import Filters, Hit, Library
from rclip.photo.metadata import PhotoMetadata
from rclip.search.hits import as_json
from tests.support.command import Command, one_line
from tests.support.tiers import few


@pytest.fixture
def dated(rclip: Command, gallery: Path) -> Command:
    """The gallery, its files a day older each in the order of their names read backwards."""
    for number, path in enumerate(sorted(gallery.rglob("*.jpg"), key=lambda path: path.name[::-1])):
        when = datetime(2020, 1, 20, 12, tzinfo=UTC).timestamp() - 86_400 * number
        os.utime(path, (when, when))
    assert rclip("--index").code == 0
    return rclip


def newest_first(folder: Path) -> list[str]:
    found = sorted(folder.rglob("*.jpg"), key=lambda path: -path.stat().st_mtime_ns)
    return [str(path.relative_to(folder)) for path in found]


def objects(command: Command, *arguments: str) -> list[dict[str, Any]]:
    done = command("-n", "--json", *arguments)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.lines]


def test_pages_make_up_what_is_found_without_them(dated: Command) -> None:
    every = dated("-n", "-t", "12", "a red star").lines
    pages = [dated("-n", "-t", "5", "--page", str(number), "a red star") for number in (1, 2, 3)]
    assert [line for page in pages for line in page.lines] == every
    assert [len(page.lines) for page in pages] == [5, 5, 2]
    beyond = dated("-n", "-t", "5", "--page", "4", "a red star")
    assert (beyond.code, beyond.out, one_line(beyond.err)) == (1, "", "rclip: page 4 is empty: fewer photos were found")


def test_a_page_has_ten_photos_where_no_number_is_given(dated: Command) -> None:
    assert len(dated("-n", "--page", "1", "a red star").lines) == 10
    assert len(dated("-n", "--page", "2", "a red star").lines) == 2
    assert len(dated("-n", "--page", "1", "--type", "jpg").lines) == 10
    assert dated("-n", "--page", "2", "--type", "jpg").lines == newest_first(dated.cwd)[10:]
    assert len(dated("-n", "--page", "1", "--min-score", "-1", "a red star").lines) == 10


def test_a_number_without_sense_is_one_line_or_an_empty_page(dated: Command) -> None:
    assert dated("-n", "--page", "999999999999999999", "-t", "999999999999999999", "a star").code == 1
    for wrong in ("0", "-1", "x", "9" * 30):
        done = dated("-n", f"--page={wrong}", "a star")
        assert (done.code, done.out) == (2, "")
        assert "--page: must be a whole number of at least 1" in one_line(done.err)


def test_ranks_go_on_from_page_to_page(dated: Command) -> None:
    assert [each["rank"] for each in objects(dated, "-t", "4", "a star")] == [1, 2, 3, 4]
    assert [each["rank"] for each in objects(dated, "-t", "4", "--page", "3", "a star")] == [9, 10, 11, 12]
    assert [each["rank"] for each in objects(dated, "--type", "jpg", "-t", "4", "--page", "3")] == [9, 10, 11, 12]


def test_with_a_query_the_best_are_put_in_order(dated: Command) -> None:
    best = objects(dated, "-t", "5", "a red star")
    by_date, by_path, by_score = (
        objects(dated, "-t", "5", "--sort", sort, "a red star") for sort in ("date", "path", "score")
    )
    assert by_score == best
    assert by_path == sorted(best, key=lambda each: os.fsencode(each["path"]))
    assert by_date == sorted(best, key=lambda each: each["captured"], reverse=True)
    assert [by_date, by_path] != [best, best]
    assert sorted(each["rank"] for each in by_path) == [1, 2, 3, 4, 5]


def test_a_page_of_the_best_is_put_in_order(dated: Command) -> None:
    second = dated("-n", "-t", "4", "--page", "2", "a red star").lines
    assert dated("-n", "-t", "4", "--page", "2", "--sort", "path", "a red star").lines == sorted(second)


def test_without_a_query_the_order_says_which_come_first(dated: Command) -> None:
    newest = newest_first(dated.cwd)
    assert dated("-n", "--type", "jpg", "--sort", "date").lines == newest
    assert dated("-n", "--type", "jpg", "--sort", "path").lines == sorted(newest)
    assert dated("-n", "--type", "jpg", "--sort", "path", "-t", "3").lines == sorted(newest)[:3]
    assert dated("-n", "--type", "jpg", "--sort", "path", "-t", "3", "--page", "2").lines == sorted(newest)[3:6]
    done = dated("-n", "--type", "jpg", "--sort", "score")
    assert (done.code, done.out) == (2, "")
    assert one_line(done.err) == (
        "rclip: sorting by score needs a query: without one, nothing is scored; leave out --sort score, or add a query"
    )


def test_each_of_several_queries_has_its_page(dated: Command, tmp_path: Path) -> None:
    (tmp_path / "asked").write_text("a red star\na blue ring\n")
    done = dated("-n", "-t", "2", "--page", "2", "--sort", "path", "--queries", str(tmp_path / "asked"))
    expected = [
        f"{query}\t{path}"
        for query in ("a red star", "a blue ring")
        for path in sorted(dated("-n", "-t", "4", query).lines[2:])
    ]
    assert done.lines == expected


@pytest.mark.parametrize(
    "arguments",
    few([["--stats", "--page", "2"], ["--duplicates", "--sort", "path"], ["-i", "--page", "2"]]),
)
def test_what_has_no_pages_refuses_them(rclip: Command, arguments: list[str]) -> None:
    done = rclip(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "cannot be used together" in one_line(done.err)


def test_folders_with_indexes_of_their_own_share_pages(rclip: Command, gallery: Path) -> None:
    assert rclip("--init", "stars").code == 0
    folders = ("./stars", "./circles", "./squares")
    assert rclip("--index", *folders).code == 0
    every = rclip("-n", "-t", "12", "a red star", *folders).lines
    assert len(every) == 12
    pages = [rclip("-n", "-t", "5", "--page", number, "a red star", *folders).lines for number in "123"]
    assert [line for page in pages for line in page] == every
    by_path = [
        rclip("-n", "-t", "5", "--page", number, "--sort=path", "--type=jpg", *folders).lines for number in "123"
    ]
    assert [line for page in by_path for line in page] == sorted(every)


def test_from_python(dated: Command) -> None:
    with Library(dated.cwd, model=str(dated.model), data_dir=dated.data_dir) as library:
        every = library.search("a red star", 12)
        assert [hit.rank for hit in every] == list(range(1, 13))
        assert library.search("a red star", 5, page=2) == every[5:10]
        by_path = sorted(every[5:10], key=lambda hit: hit.path)
        assert library.search("a red star", 5, page=2, sort="path") == by_path
        assert [found for _, found in library.search_many(["a red star"] * 2, 5, page=2)] == 2 * [every[5:10]]
        assert library.search(None, None, Filters(), sort="path") == [
            hit._replace(score=None, rank=number)
            for number, hit in enumerate(sorted(every, key=lambda hit: hit.path), 1)
        ]


# --- what JSON says of times and places ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (PhotoMetadata(1_549_189_229, 60), ("2019-02-03T10:20:29+01:00", "+01:00")),
        (PhotoMetadata(1_549_189_229, 0), ("2019-02-03T10:20:29+00:00", "+00:00")),
        (PhotoMetadata(1_549_189_229, -210), ("2019-02-03T10:20:29-03:30", "-03:30")),
        (PhotoMetadata(1_549_189_229, None), ("2019-02-03T10:20:29", None)),
        (PhotoMetadata(-62_135_596_800, None), ("0001-01-01T00:00:00", None)),
    ],
)
def test_times_have_one_form_and_their_offset_or_null(
    metadata: PhotoMetadata, expected: tuple[str, str | None]
) -> None:
    said = as_json(Hit("a.jpg", None, 1, 1_549_189_230_123_456_789, metadata))
    assert (said["captured"], said["captured_offset"]) == expected
    assert said["modified"] == "2019-02-03T10:20:30+00:00"
    assert "rank" not in said


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (48 + 51 / 60 + 30.24 / 3600, 48.8584),
        (48 + 51 / 60 + 30.25 / 3600, 48.858403),
        (-33.85679999999999, -33.8568),
        (0.1 + 0.2, 0.3),
        (90.0, 90.0),
        (None, None),
    ],
)
def test_places_have_no_more_digits_than_were_stored(stored: float | None, expected: float | None) -> None:
    place = PhotoMetadata(latitude=stored, longitude=stored)
    said = as_json(Hit("a.jpg", None, 1, 0, place))
    assert (said.get("latitude"), said.get("longitude")) == (expected, expected)
