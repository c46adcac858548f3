"""What all faces share: requests as texts, pages, photos by ids, pictures to ask with, facets, updates, copies."""

import csv
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rclip import Filters, Library, Near
from rclip.errors import (
    BadFilter,
    BadWeight,
    LinksNotAllowed,
    NeedsQuery,
    NoPicture,
    OpenQuery,
    UnknownPhoto,
    UnreadablePicture,
    UsageError,
)
from rclip.explore import AskedTerm, Explorer, SearchRequest, listing
from rclip.explore.request import line_of
from rclip.photo.metadata import PhotoMetadata
from rclip.search.query import IndexedPhoto, Link, Picture, Query, Term, Text, parse_line
from tests.support import pictures
from tests.support.gallery import GALLERY, Draw, draw_scene
from tests.support.libraries import opened

PICTURE_ID = "1f" * 16


@pytest.fixture
def explorer(gallery: Path, prepared_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> Iterator[Explorer]:
    with opened([gallery], prepared_data, tiny_checkpoint, tmp_path / "data") as library:
        explorer = Explorer(library)
        yield explorer
        explorer.close()


def names(explorer: Explorer, query: str = "", start: int = 0, count: int = 50, **filters: str) -> list[str]:
    found = explorer.search(SearchRequest.of(query, filters), start, count)
    return [os.path.relpath(hit.path, os.path.commonpath([os.fsdecode(f.real) for f in explorer.library._folders]))
            for hit in found.hits]  # fmt: skip


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_line_has_terms() -> None:
    line = f"horse + 0.5:stripes - people + photo:0-17 - 2:picture:{PICTURE_ID} + https://a.org/b.jpg"
    request = SearchRequest.of(f"  {line} ")
    assert request.terms == [
        AskedTerm(1, "text", "horse"),
        AskedTerm(0.5, "text", "stripes"),
        AskedTerm(-1, "text", "people"),
        AskedTerm(1, "photo", "0-17"),
        AskedTerm(-2, "picture", PICTURE_ID),
        AskedTerm(1, "link", "https://a.org/b.jpg"),
    ]
    assert request.with_terms(request.terms).query == line
    assert SearchRequest.of("").terms == []


@pytest.mark.parametrize("path", ["/etc/passwd", "./cat.jpg", "../cat.jpg", "~/cat.jpg", "file:///etc/passwd"])
def test_no_path_is_a_path_in_a_request(explorer: Explorer, path: str) -> None:
    """The command would read the file; a request may come from a page of anybody's."""
    assert SearchRequest.of(path).terms == [AskedTerm(1, "text", path)]
    assert len(explorer.search(SearchRequest.of(path)).hits) == len(GALLERY)


def words() -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1).filter(lambda t: t not in "+-")


@given(st.lists(st.tuples(st.sampled_from([1.0, -1.0, 0.25, -2.0]), words()), min_size=1, max_size=5))
def test_every_term_comes_back_from_the_line_it_is_written_in(given_terms: list[tuple[float, str]]) -> None:
    terms = [term for weight, text in given_terms for term in _asked_alone(weight, text)]
    assert SearchRequest.of(line_of(terms)).terms == terms


def _asked_alone(weight: float, text: str) -> list[AskedTerm]:
    """As a request has the words, which may be those of a photo or an address."""
    written = AskedTerm(weight, "text", text).written
    return [term._replace(weight=weight) for term in SearchRequest.of(written).terms]


@pytest.mark.parametrize(
    ("line", "error"), [("a +", OpenQuery), ("0:a", BadWeight), ("a" * 20_000, UsageError), ("+ a " * 100, UsageError)]
)
def test_a_line_that_makes_no_sense_is_refused(line: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        SearchRequest.of(line).terms  # noqa: B018


def test_filters_are_texts() -> None:
    texts = {
        "after": "2021",
        "before": " 2022-03 ",
        "near": "48.8,2.3,5",
        "camera": "canon",
        "types": "jpg",
        "rating": "4",
        "keywords": "beach, Lisbon",
        "folder": "/a/[b]*/",
        "paths": "!IMG_*\n2019/**\n",
        "min_score": "0.2",
        "is_relevant": "1",
        "page": "7",
    }
    assert SearchRequest.of("", texts).parsed_filters() == Filters(
        after=datetime(2021, 1, 1),
        before=datetime(2022, 3, 1),
        near=Near(48.8, 2.3, 5),
        camera="canon",
        types=frozenset({"jpg", "jpeg", "jpe", "jfif", "insp"}),
        rating=4,
        keywords=("beach", "Lisbon"),
        paths=("!IMG_*", "2019/**", "/a/\\[b]\\*/"),
        min_score=0.2,
        is_relevant=True,
    )
    assert SearchRequest.of("", {"after": "  ", "page": "7"}).parsed_filters() is None


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("after", "yesterday", "the filter after must be a time like 2023"),
        ("near", "48", "near must be LAT,LON"),
        ("types", "exe", "types must be endings of photos"),
        ("rating", "9", "rating must be a number of stars from 1 to 5"),
        ("keywords", ",", "keywords must be keywords"),
        ("folder", "../..", "folder must be the whole path of a folder"),
        ("min_score", "high", "min_score must be a number from -1 to 1"),
        ("is_relevant", "0", "is_relevant must be 1"),
        ("paths", "!/", "paths must be a pattern"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_by_its_name(name: str, text: str, problem: str) -> None:
    with pytest.raises(BadFilter, match=problem) as caught:
        SearchRequest.of("", {name: text}).parsed_filters()
    assert caught.value.name == name


# --- searching --------------------------------------------------------------------------------------------------------


def test_pages_are_parts_of_one_ranking(explorer: Explorer) -> None:
    whole = [hit.path for hit in explorer.library.search("a red star", top=None)]
    paged = []
    for start in range(0, len(whole), 5):
        results = explorer.search(SearchRequest.of("a red star"), start, 5)
        assert results.start == start
        assert results.has_more == (start + 5 < len(whole))
        paged += [hit.path for hit in results.hits]
    assert paged == whole
    assert explorer.search(SearchRequest.of("a red star"), 500, 5) == ([], 500, False)


def test_a_long_ranking_is_paged_to_its_end(explorer: Explorer, draw: Draw) -> None:
    for number in range(80):
        draw(f"many/{number}.png")
    explorer.library.update()
    whole = [hit.id for hit in explorer.library.search("a red circle", top=None)]
    paged = [
        hit.id
        for start in range(0, 100, 30)
        for hit in explorer.search(SearchRequest.of("a red circle"), start, 30).hits
    ]
    assert paged == whole


def test_terms_add_up_as_in_the_command(explorer: Explorer) -> None:
    asked = "a red star + 0.5:a square - a circle"
    assert names(explorer, asked) == [
        os.path.relpath(hit.path, os.path.commonpath([os.fsdecode(f.real) for f in explorer.library._folders]))
        for hit in explorer.library.search(parse_line(asked), top=None)
    ]


def test_without_a_query_the_newest_come_first(explorer: Explorer, gallery: Path) -> None:
    for number, (color, shape) in enumerate(GALLERY):
        os.utime(gallery / f"{shape}s/{color}.jpg", (0, 86_400 * (number + 1)))
    explorer.library.update()
    newest = [f"{shape}s/{color}.jpg" for color, shape in reversed(GALLERY)]
    assert names(explorer) == newest
    assert names(explorer, types="png") == []


def dated(explorer: Explorer, gallery: Path) -> list[str]:
    """Makes each picture a day younger than the one before it. Returns their names, the newest first."""
    for number, (color, shape) in enumerate(GALLERY):
        os.utime(gallery / f"{shape}s/{color}.jpg", (0, 86_400 * (number + 1)))
    explorer.library.update()
    return [f"{shape}s/{color}.jpg" for color, shape in reversed(GALLERY)]


def test_the_best_of_each_page_are_in_the_order_asked_for(explorer: Explorer, gallery: Path) -> None:
    """As with the command's pages."""
    newest = dated(explorer, gallery)
    best = names(explorer, "a red star")
    for start in (0, 5, 10):
        for sort, ordered in (("date", newest), ("path", sorted(newest))):
            found = explorer.search(SearchRequest.of("a red star", {"sort": sort}), start, 5)
            shown = [os.path.relpath(hit.path, gallery) for hit in found.hits]
            assert shown == [name for name in ordered if name in best[start : start + 5]]
            assert found.has_more == (start < 10)
    assert names(explorer, "a red star", sort="score") == best


def test_filters_alone_and_those_by_score_are_in_one_order(explorer: Explorer, gallery: Path) -> None:
    newest = dated(explorer, gallery)
    scores = [hit.score or 0 for hit in explorer.search(SearchRequest.of("a red star")).hits]
    least = f"{scores[7] - 1e-4:.6f}"
    passing = names(explorer, "a red star", min_score=least)
    assert len(passing) == 8
    cases: list[tuple[str, dict[str, str], list[str]]] = [
        ("", {"sort": "path"}, sorted(newest)),
        ("", {"sort": "date"}, newest),
        ("", {"sort": "score"}, newest),
        ("a red star", {"sort": "path", "min_score": least}, sorted(passing)),
        ("a red star", {"sort": "date", "min_score": least}, [name for name in newest if name in passing]),
    ]
    for line, texts, expected in cases:
        found = [explorer.search(SearchRequest.of(line, texts), start, 5) for start in range(0, len(expected), 5)]
        assert [os.path.relpath(hit.path, gallery) for each in found for hit in each.hits] == expected
        assert [each.has_more for each in found] == [True] * (len(found) - 1) + [False]
    with pytest.raises(BadFilter, match="sort must be score, date or path, not 'size'"):
        explorer.search(SearchRequest.of("", {"sort": "size"}))


def test_a_repeated_search_is_remembered_until_something_is_stored(explorer: Explorer, draw: Draw) -> None:
    request = SearchRequest.of("a red star")
    first = explorer.search(request)
    assert explorer.search(request).hits[0] is first.hits[0]
    draw("new.jpg", "red star")
    explorer.library.update()
    assert {hit.path for hit in explorer.search(request).hits} - {hit.path for hit in first.hits}


def test_what_another_process_stores_is_seen(
    explorer: Explorer, gallery: Path, draw: Draw, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    before = len(names(explorer, "a star"))
    draw("new.jpg", "red star")
    with Library(gallery, model=str(tiny_checkpoint), data_dir=tmp_path / "data") as other:
        other.update()
    assert len(names(explorer, "a star")) == before + 1


def test_more_and_less_like_a_photo(explorer: Explorer) -> None:
    star = explorer.search(SearchRequest.of("a red star")).hits[0]
    like = explorer.search(SearchRequest.of(f"photo:{star.id}")).hits
    assert star.path not in [hit.path for hit in like]
    assert len(like) == len(GALLERY) - 1
    by_path = explorer.library.search(Path(star.path), top=None)
    assert [hit.id for hit in like] == [hit.id for hit in by_path]
    unlike = explorer.search(SearchRequest.of(f"- photo:{star.id}")).hits
    assert [hit.id for hit in unlike] == [hit.id for hit in reversed(like)]


def test_scores_need_a_query(explorer: Explorer) -> None:
    with pytest.raises(NeedsQuery):
        explorer.search(SearchRequest.of("", {"is_relevant": "1"}))


def test_filters_by_folder(explorer: Explorer, gallery: Path, draw: Draw) -> None:
    draw("st*rs\\/[a].jpg")
    explorer.library.update()
    assert names(explorer, folder=str(gallery / "stars"), types="jpg") != names(explorer, types="jpg")
    assert sorted(names(explorer, folder=str(gallery / "stars"))) == sorted(
        f"stars/{color}.jpg" for color in ("red", "blue", "yellow", "green")
    )
    assert names(explorer, folder=str(gallery / "st*rs\\")) == ["st*rs\\/[a].jpg"]


# --- photos by their ids ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("photo_id", ["", "0", "0-", "-1", "0-0", "0-999", "7-1", "0-1; --", "0-१", "../../etc/passwd"])
def test_ids_that_name_no_photo(explorer: Explorer, photo_id: str) -> None:
    with pytest.raises(UnknownPhoto):
        explorer.photo(photo_id)
    with pytest.raises(UnknownPhoto):
        explorer.thumbnail(photo_id)
    with pytest.raises(UnknownPhoto):
        explorer.library.search(_like(photo_id))


def _like(photo_id: str) -> Query:
    return Query((Term(1.0, IndexedPhoto(photo_id)),), "")


def test_only_photos_that_a_search_could_find_have_an_id(
    gallery: Path, draw: Draw, prepared_data: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """The index knows of photos in other folders, of ignored and of missing ones."""
    draw("private/secret.jpg")
    draw(".hidden/secret.jpg")
    with Library(
        gallery, model=str(tiny_checkpoint), data_dir=_copied(prepared_data, tmp_path), include_hidden=True
    ) as library:
        library.update()
        everything = {os.path.relpath(hit.path, gallery): hit.id for hit in library.search(None, top=None)}
    assert len(everything) == len(GALLERY) + 2
    with Library(
        gallery / "stars", gallery / ".hidden/..", model=str(tiny_checkpoint), data_dir=tmp_path / "data",
        exclude_dirs=["private"],
    ) as library:  # fmt: skip
        assert library.photo(everything["stars/red.jpg"])
        assert library.photo(everything["private/secret.jpg"]) is None
        assert library.photo(everything[".hidden/secret.jpg"]) is None
    with Library(gallery / "stars", model=str(tiny_checkpoint), data_dir=tmp_path / "data") as library:
        assert library.photo(everything["stars/red.jpg"])
        assert library.photo(everything["circles/red.jpg"]) is None
        with pytest.raises(UnknownPhoto):
            library.thumbnail(everything["circles/red.jpg"])
        (gallery / "stars/red.jpg").unlink()
        library.update()
        assert library.photo(everything["stars/red.jpg"]) is None


def _copied(prepared_data: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(prepared_data, tmp_path / "data"))


def test_ids_of_two_indexes_differ(
    gallery: Path, draw: Draw, prepared_data: Path, tiny_checkpoint: Path, tmp_path: Path, photos: Path
) -> None:
    """A portable one and the user's own."""
    from rclip.index import location

    drive = tmp_path / "drive"
    drive.mkdir()
    draw_scene(drive / "star.jpg", "red star", random.Random(3))
    data_dir = _copied(prepared_data, tmp_path)
    location.create(os.fsencode(drive), str(data_dir))
    with opened([gallery, drive], prepared_data, tiny_checkpoint, data_dir) as library:
        found = library.search("a star", top=None)
        assert len({hit.id for hit in found}) == len(GALLERY) + 1
        for hit in found:
            again = library.photo(hit.id)
            assert again is not None
            assert again.path == hit.path
        (star,) = [hit for hit in found if hit.path.startswith(str(drive))]
        assert library.search(_like(star.id), top=1)[0].path.startswith(str(gallery))


def test_photos_keep_the_order_they_are_asked_in(explorer: Explorer) -> None:
    ids = [hit.id for hit in explorer.search(SearchRequest.of("a star")).hits]
    assert [hit.id for hit in explorer.photos([ids[3], "0-999", ids[0]])] == [ids[3], ids[0]]


# --- pictures to ask with ---------------------------------------------------------------------------------------------


def test_a_picture_is_asked_with(explorer: Explorer, tmp_path: Path) -> None:
    draw_scene(tmp_path / "asked.png", "red star", random.Random(7))
    data = (tmp_path / "asked.png").read_bytes()
    picture = explorer.add_picture(data)
    assert explorer.add_picture(data) == picture
    found = explorer.search(SearchRequest.of(f"picture:{picture}")).hits
    expected = explorer.library.search(data, top=None)
    assert [hit.id for hit in found] == [hit.id for hit in expected]
    assert explorer.picture_thumbnail(picture).startswith(b"\xff\xd8")
    again = Explorer(explorer.library)  # as after a restart: an address with the picture still works
    assert [hit.id for hit in again.search(SearchRequest.of(f"picture:{picture}")).hits] == [hit.id for hit in found]


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff half", pictures.jxl_header(1 << 30, 1 << 30)])
def test_what_is_no_picture_is_refused(explorer: Explorer, data: bytes) -> None:
    with pytest.raises(UsageError):
        explorer.add_picture(data)


def test_a_picture_that_is_not_kept_any_more(explorer: Explorer) -> None:
    with pytest.raises(NoPicture):
        explorer.search(SearchRequest.of(f"picture:{PICTURE_ID}"))
    for picture_id in (PICTURE_ID, "../secret", ""):
        with pytest.raises(NoPicture):
            explorer.picture_thumbnail(picture_id)


def test_a_damaged_vector_of_a_picture_is_not_used(explorer: Explorer) -> None:
    name = explorer._vector_name(PICTURE_ID)
    for content in (b"", b"abc", b"\0" * 256, b"\xff" * 256):
        explorer.library.thumbnails.files.put(name, content)
        with pytest.raises(NoPicture):
            explorer.search(SearchRequest.of(f"picture:{PICTURE_ID}"))


def test_addresses_are_fetched_only_where_that_is_asked_for(explorer: Explorer) -> None:
    request = SearchRequest.of("https://127.0.0.1:1/cat.jpg")
    with pytest.raises(LinksNotAllowed):
        explorer.search(request)
    with pytest.raises(UsageError, match="cannot fetch"):
        Explorer(explorer.library, allow_links=True).search(request)


# --- facets -----------------------------------------------------------------------------------------------------------


def test_facets_count_what_filters_find(explorer: Explorer, gallery: Path, draw: Draw) -> None:
    (gallery / "broken.jpg").write_bytes(b"no picture")
    os.utime(gallery / "stars/red.jpg", (0, datetime(2019, 7, 1).timestamp()))
    os.utime(gallery / "stars/blue.jpg", (0, datetime(2020, 1, 1).timestamp()))
    draw("a/b/c/d.png")
    (gallery / "squares/red.jpg").unlink()
    explorer.library.update()
    describe(explorer, "stars/red.jpg", PhotoMetadata(maker="Canon", model="Canon EOS R5", rating=5, keywords=("sea",)))
    describe(
        explorer, "circles/red.jpg", PhotoMetadata(1_300_000_000, maker="SONY", model="A7", keywords=("sea", "Sun"))
    )
    facets = explorer.facets()
    assert facets.photos == len(GALLERY)
    assert sum(facets.years.values()) == len(GALLERY)
    assert list(facets.years)[:3] == [2011, 2019, 2020]
    assert facets.cameras == {"Canon EOS R5": 1, "SONY A7": 1}
    assert facets.types == {"jpg": 11, "png": 1}
    assert facets.keywords == {"sea": 2, "Sun": 1}
    assert facets.ratings == {5: 1}
    assert {os.path.relpath(folder, gallery): count for folder, count in facets.folders.items()} == {
        "a": 1, "a/b": 1, "a/b/c": 1, "circles": 4, "squares": 3, "stars": 4,
    }  # fmt: skip
    for camera in facets.cameras:
        assert len(names(explorer, camera=camera)) == facets.cameras[camera]
    for word, count in facets.keywords.items():
        assert len(names(explorer, keywords=word.upper())) == count
    for year, count in facets.years.items():
        assert len(names(explorer, after=str(year), before=str(year + 1))) == count
    for folder, count in facets.folders.items():
        assert len(names(explorer, folder=folder)) == count
    assert names(explorer, rating="5") == ["stars/red.jpg"]
    assert explorer.facets() is facets


def describe(explorer: Explorer, name: str, metadata: PhotoMetadata) -> None:
    ((index, _),) = explorer.library._parts
    (hit,) = [hit for hit in explorer.library.search(None, top=None) if hit.path.endswith(name)]
    with index.store.transaction():
        index.store.connection.execute("DELETE FROM metadata WHERE id = ?", (int(hit.id.partition("-")[2]),))
        index.store.metadata.describe(int(hit.id.partition("-")[2]), b"", metadata)


# --- updates ----------------------------------------------------------------------------------------------------------


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_update_in_the_background_is_told(explorer: Explorer, draw: Draw) -> None:
    draw("new.jpg", "red star")
    (draw("broken.jpg")).write_bytes(b"no picture")
    states = [explorer.updates.state]
    assert explorer.updates.start()
    while len(states) == 1 or states[-1].is_running:
        states.append(explorer.updates.wait(states[-1].number, 30))
    assert states[-1].changes == {"added": 1, "unreadable": 1}
    assert states[-1].error is None
    assert [state.number for state in states] == sorted({state.number for state in states})
    assert explorer.updates.start()
    until(lambda: not explorer.updates.state.is_running)
    assert explorer.updates.state.changes == {}


def test_one_update_at_a_time(explorer: Explorer, draw: Draw) -> None:
    for number in range(30):
        draw(f"{number}.png")
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: explorer.updates.start(), range(8)))
    assert started.count(True) >= 1
    until(lambda: not explorer.updates.state.is_running)
    assert len(explorer.search(SearchRequest.of("a star")).hits) == len(GALLERY) + 30


def test_what_ends_an_update_is_told(explorer: Explorer, gallery: Path) -> None:
    gallery.rename(gallery.with_name("elsewhere"))
    explorer.updates.start()
    until(lambda: not explorer.updates.state.is_running)
    assert "cannot list" in str(explorer.updates.state.error)
    assert len(explorer.search(SearchRequest.of("a star")).hits) == len(GALLERY)


def test_closing_ends_an_update(explorer: Explorer, draw: Draw) -> None:
    for number in range(300):
        draw(f"{number}.png")
    explorer.updates.start()
    explorer.updates.wait(explorer.updates.state.number, 30)
    explorer.close()
    until(lambda: not any(thread.name == "rclip-update" for thread in threading.enumerate()))
    assert not explorer.updates.start()
    assert len(explorer.library.search(None, top=None)) < len(GALLERY) + 300


# --- copies -----------------------------------------------------------------------------------------------------------


def test_photos_are_copied_and_nothing_is_overwritten(explorer: Explorer, gallery: Path, tmp_path: Path) -> None:
    target = tmp_path / "copies"
    target.mkdir()
    (target / "red.jpg").write_bytes(b"was here")
    (target / "red (2).jpg").symlink_to(tmp_path / "made")
    ids = {os.path.relpath(hit.path, gallery): hit.id for hit in explorer.library.search(None, top=None)}
    wanted = [ids["stars/red.jpg"], ids["circles/red.jpg"], "0-999", ids["stars/blue.jpg"]]
    (gallery / "stars/blue.jpg").unlink()
    copied = explorer.copy(wanted, str(target))
    assert [os.path.basename(path) for path in copied.paths] == ["red (3).jpg", "red (4).jpg"]
    assert Path(copied.paths[0]).read_bytes() == (gallery / "stars/red.jpg").read_bytes()
    assert Path(copied.paths[0]).stat().st_mtime_ns == (gallery / "stars/red.jpg").stat().st_mtime_ns
    assert (target / "red.jpg").read_bytes() == b"was here"
    assert not (tmp_path / "made").exists()
    assert [path for path, _ in copied.failed] == [str(gallery / "stars/blue.jpg")]
    with pytest.raises(UsageError):
        explorer.copy(wanted, str(tmp_path / "missing"))


def test_a_pipe_in_a_photos_place_is_not_copied(explorer: Explorer, gallery: Path, tmp_path: Path) -> None:
    ids = {os.path.relpath(hit.path, gallery): hit.id for hit in explorer.library.search(None, top=None)}
    (gallery / "stars/red.jpg").unlink()
    os.mkfifo(gallery / "stars/red.jpg")
    copied = explorer.copy([ids["stars/red.jpg"]], str(tmp_path))
    assert copied.failed == [(str(gallery / "stars/red.jpg"), "not a regular file")]
    with pytest.raises(UnreadablePicture, match="not a regular file"):
        explorer.thumbnail(ids["stars/red.jpg"])


# --- what the command asks --------------------------------------------------------------------------------------------


def test_a_query_of_the_command_is_a_line(explorer: Explorer, gallery: Path) -> None:
    picture = gallery / "stars/red.jpg"
    query = Query(
        (Term(1, Text("2:horse")), Term(-0.5, Picture(str(picture))), Term(1, Link("https://a.org/b.jpg"))), ""
    )
    terms = SearchRequest.of(explorer.line_of(query)).terms
    assert [(term.weight, term.kind) for term in terms] == [(1, "text"), (-0.5, "picture"), (1, "link")]
    assert terms[0].value == "2:horse"
    assert explorer.picture_thumbnail(terms[1].value).startswith(b"\xff\xd8")
    with pytest.raises(UnreadablePicture, match=r"gone\.jpg"):
        explorer.line_of(Query((Term(1, Picture(str(gallery / "gone.jpg"))),), ""))


def test_a_list_of_photos_is_a_file_and_no_formula(explorer: Explorer) -> None:
    hit = explorer.search(SearchRequest.of("a red star")).hits[0]
    evil = hit._replace(metadata=hit.metadata._replace(model="=1+1"), path=os.fsdecode(b'/caf\xe9, "x".jpg'))
    assert listing.written([hit, evil], ".txt") == os.fsencode(f"{hit.path}\n") + b'/caf\xe9, "x".jpg\n'
    rows = list(csv.DictReader(listing.written([hit, evil], ".csv").decode(errors="surrogateescape").splitlines()))
    assert rows[1]["camera"] == "'=1+1"
    assert os.fsencode(rows[1]["path"]) == b'/caf\xe9, "x".jpg'
    known = json.loads(listing.written([hit, evil], ".json"))
    assert known[0]["path"] == hit.path
    assert "path_b64" in known[1]
