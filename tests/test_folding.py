"""What is the same picture is one result: exact copies, files of one shot and, if asked, photos that are much alike."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rclip import Filters, Hit, Library
from rclip.explore import Explorer, SearchRequest
from tests.support import films, pictures
from tests.support.command import Command
from tests.support.gallery import Draw
from tests.support.terminals import on_terminal

QUERY = "a red star"


def taken(time: str) -> Image.Exif:
    exif = Image.Exif()
    exif[36867] = exif[306] = time  # DateTimeOriginal, DateTime
    return exif


@pytest.fixture
def opened(rclip: Command, tiny_checkpoint: Path) -> Callable[..., Library]:
    def open_library(*folders: Path) -> Library:
        library = Library(*(folders or (rclip.cwd,)), model=tiny_checkpoint, data_dir=rclip.data_dir)
        library.update()
        return library

    return open_library


def names(hits: list[Hit], folder: Path) -> list[str]:
    return [os.path.relpath(hit.path, folder) for hit in hits]


def copy_names(hit: Hit, folder: Path) -> dict[str, str]:
    return {os.path.relpath(copy.path, folder): copy.kind for copy in hit.copies}


# --- exact copies ----------------------------------------------------------------------------------------------------


def test_exact_copies_are_one_result_of_which_the_shortest_path_is_shown(rclip: Command, draw: Draw) -> None:
    star = draw("holiday/star.png", "red star")
    for name in ("backup/holiday/star.png", "b.png", "a.png"):
        (rclip.cwd / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(star, rclip.cwd / name)
    draw("circle.png", "blue circle")
    assert sorted(rclip(QUERY).lines) == ["a.png", "circle.png"]
    assert len(rclip("-n", "--all", QUERY).lines) == 5
    first = json.loads(rclip("-n", "--json", QUERY).lines[0])
    assert first["path"] == str(rclip.cwd / "a.png")
    assert first["copies"] == [
        {"path": str(rclip.cwd / name), "kind": "exact", "size": star.stat().st_size}
        for name in ("b.png", "backup/holiday/star.png", "holiday/star.png")
    ]
    second = json.loads(rclip("-n", "--json", QUERY).lines[1])
    assert "copies" not in second
    assert rclip("-n", "--format", "{copies} {path}", QUERY).lines == ["3 a.png", "0 circle.png"]


def test_the_table_says_how_many_copies_there_are(rclip: Command, draw: Draw) -> None:
    star = draw("star.png", "red star")
    shutil.copy(star, rclip.cwd / "star again.png")
    draw("circle.png", "blue circle")
    shown = on_terminal(rclip, "--color", "never", QUERY).out.decode()
    lines = [line for line in shown.splitlines() if ".png" in line]
    assert len(lines) == 2
    assert "star.png (+1 copy)" in lines[0]
    assert "copy" not in lines[1]


def test_top_counts_results_after_folding(rclip: Command, draw: Draw, opened: Callable[..., Library]) -> None:
    """Also where the best hundred photos are copies of one, so that the first look at the candidates is too short."""
    for number in range(12):
        draw(f"{number}.png", "red star")
    for name in ("3.png", "7.png"):
        for copy in range(150):
            shutil.copy(rclip.cwd / name, rclip.cwd / f"copy {copy} of {name}")
    assert rclip("--index").code == 0
    found = rclip("-n", "-t", "5", QUERY).lines
    each = rclip("-n", "--all", "-t", "1000", QUERY).lines
    assert len(each) == 312
    contents = [(rclip.cwd / name).read_bytes() for name in each]
    distinct = list(dict.fromkeys(contents))
    assert [(rclip.cwd / name).read_bytes() for name in found] == distinct[:5]
    assert len(rclip("-n", "-t", "1000", QUERY).lines) == 12
    with opened() as library:
        hits = library.search(QUERY, top=None)
        assert sorted(len(hit.copies) for hit in hits) == [0] * 10 + [150] * 2


def test_any_mixture_of_copies_folds_to_the_best_of_each(
    rclip: Command, draw: Draw, opened: Callable[..., Library]
) -> None:
    """Compared with folding the list of all by hand."""
    rng = random.Random(3)
    for number in range(40):
        path = draw(f"{number % 4}/{number}.png", f"{rng.choice(('red', 'blue', 'green'))} star")
        for copy in range(rng.choice((0, 0, 0, 1, 3))):
            (rclip.cwd / f"copies {copy}").mkdir(exist_ok=True)
            shutil.copy(path, rclip.cwd / f"copies {copy}" / path.name)
    with opened() as library:
        each = library.search(QUERY, None, fold=None)
        assert not any(hit.copies for hit in each)
        groups: dict[str, list[Hit]] = {}
        for hit in each:
            groups.setdefault(hashlib.sha256(Path(hit.path).read_bytes()).hexdigest(), []).append(hit)
        expected = [min(group, key=lambda hit: (len(hit.path), hit.path)).path for group in groups.values()]
        for top in (1, 7, 40, None):
            assert [hit.path for hit in library.search(QUERY, top)] == expected[:top]
        for hit, group in zip(library.search(QUERY, None), groups.values(), strict=True):
            assert {hit.path, *(copy.path for copy in hit.copies)} == {each.path for each in group}
            assert {copy.kind for copy in hit.copies} <= {"exact"}
        first, _ = (found for _, found in library.search_many([QUERY, "a blue star"], 3))
        assert isinstance(first, list)
        assert [hit.path for hit in first] == expected[:3]


def test_only_copies_that_pass_and_are_here_are_folded(
    rclip: Command, draw: Draw, opened: Callable[..., Library]
) -> None:
    star = draw("one/star.png", "red star")
    for name in ("two/star.png", "three/star.jpeg.png"):
        (rclip.cwd / name).parent.mkdir()
        shutil.copy(star, rclip.cwd / name)
    with opened() as library:
        (hit,) = library.search(QUERY, filters=Filters(paths=("two/*", "three/*")))
        assert copy_names(hit, rclip.cwd) == {"three/star.jpeg.png": "exact"}
    (line,) = rclip("-n", "--json", QUERY, "two").lines
    assert "copies" not in json.loads(line)
    (rclip.cwd / "three" / "star.jpeg.png").unlink()
    (line,) = rclip("--json", QUERY).lines
    assert len(json.loads(line)["copies"]) == 1


def test_without_a_query_copies_are_one_result_too(rclip: Command, draw: Draw) -> None:
    for number in range(6):
        path = draw(f"{number}.jpg", "red star", exif=taken(f"20{10 + number}:05:04 10:00:00"))
        shutil.copy(path, rclip.cwd / f"copy of {number}.jpg")
    assert rclip("--after", "2011", "--before", "2014").lines == ["3.jpg", "2.jpg", "1.jpg"]
    assert rclip("-n", "--after", "2011", "-t", "2").lines == ["5.jpg", "4.jpg"]
    assert len(rclip("-n", "--all", "--after", "2011", "--before", "2014").lines) == 6


def test_a_picture_asked_with_is_not_its_copys_copy(rclip: Command, draw: Draw) -> None:
    star = draw("star.png", "red star")
    shutil.copy(star, rclip.cwd / "again.png")
    draw("circle.png", "blue circle")
    found = [json.loads(line) for line in rclip("--json", "./star.png").lines]
    assert [Path(photo["path"]).name for photo in found] == ["again.png", "circle.png"]
    assert "copies" not in found[0]


def test_copies_in_two_indexes_are_one_result(rclip: Command, draw: Draw) -> None:
    star = draw("star.png", "red star")
    draw("circle.png", "blue circle")
    other = rclip.cwd / "travelling"
    other.mkdir()
    shutil.copy(star, other / "third.png")
    assert rclip("--init", "travelling").code == 0
    found = [json.loads(line) for line in rclip("--json", QUERY, ".", "travelling").lines]
    assert [Path(photo["path"]).name for photo in found] == ["star.png", "circle.png"]
    assert [Path(copy["path"]).name for copy in found[0]["copies"]] == ["third.png"]
    assert found[0]["copies"][0]["kind"] == "exact"
    assert len(rclip("-n", "--all", QUERY, ".", "travelling").lines) == 3


# --- files of one shot -----------------------------------------------------------------------------------------------


def shot(folder: Path, name: str, time_s: int) -> None:
    """RAW and JPEG as a camera writes them, whose files have one time."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = pictures.drawn()
    (folder / f"{name}.DNG").write_bytes(pictures.dng(picture))
    picture.save(folder / f"{name}.JPG", quality=90)
    for ending in ("DNG", "JPG"):
        os.utime(folder / f"{name}.{ending}", (time_s, time_s))


def test_raw_and_jpeg_of_a_shot_are_one_result(rclip: Command, opened: Callable[..., Library]) -> None:
    shot(rclip.cwd, "IMG_1", 1_500_000_000)
    with opened() as library:
        (hit,) = library.search("a photo")
        both = {"IMG_1.DNG", "IMG_1.JPG"}
        shown = Path(hit.path).name
        assert copy_names(hit, rclip.cwd) == {(both - {shown}).pop(): "pair"}
        each = library.search("a photo", fold=None)
        assert hit.score == max(one.score or 0 for one in each)
        assert {Path(one.path).name for one in each} == both
    other = (both - {shown}).pop().rpartition(".")[2]
    assert f"(+{other})" in on_terminal(rclip, "--color", "never", "-n", "a photo").out.decode()
    assert {Path(name).name for name in rclip("-n", "--type", "raw", "a photo").lines} == {"IMG_1.DNG"}


def test_a_copied_shot_is_still_one_result(rclip: Command, opened: Callable[..., Library]) -> None:
    """The copy's RAW is connected to the shown JPEG by its own JPEG, or by the other RAW."""
    shot(rclip.cwd / "card", "IMG_1", 1_500_000_000)
    shutil.copytree(rclip.cwd / "card", rclip.cwd / "backup")
    with opened() as library:
        (hit,) = library.search("a photo")
        kinds = copy_names(hit, rclip.cwd)
        assert sorted(kinds.values()) == ["exact", "pair", "pair"]
        assert Path(hit.path).parent.name == "card"


@pytest.mark.parametrize(
    ("first", "second", "is_pair"),
    [
        ("IMG_1.jpg", "IMG_1.png", True),
        ("IMG_1.jpg", "IMG_2.png", False),
        ("IMG_1.jpg", "IMG_1.edited.png", False),
        ("IMG_1.jpg", "img_1.png", False),
        ("a/IMG_1.jpg", "b/IMG_1.png", False),
        ("IMG_1.jpg", "IMG_1.JPG", False),
    ],
)
def test_files_of_one_name_and_moment_are_one_shot(
    rclip: Command, draw: Draw, first: str, second: str, is_pair: bool
) -> None:
    exif = taken("2019:05:04 10:00:00")
    draw(first, "red star", exif=exif)
    draw(second, "red star", exif=taken("2019:05:04 10:00:02"))
    assert len(rclip(QUERY).lines) == (1 if is_pair else 2)


@pytest.mark.parametrize(
    "times", [("2019:05:04 10:00:00", "2019:05:04 10:00:09"), (None, "2019:05:04 10:00:00"), (None, None)]
)
def test_files_of_other_moments_are_two_results(
    rclip: Command, draw: Draw, times: tuple[str | None, str | None]
) -> None:
    """Cameras start again at IMG_0001, and a scan and a drawing may have one name."""
    for name, time in zip(("IMG_1.jpg", "IMG_1.png"), times, strict=True):
        path = draw(name, "red star", **({"exif": taken(time)} if time else {}))
        os.utime(path, (1_500_000_000, 1_500_000_000))
    assert len(rclip(QUERY).lines) == 2


def test_a_live_photo_is_one_result_and_a_film_too_however_many_moments_it_has(
    rclip: Command, draw: Draw, opened: Callable[..., Library]
) -> None:
    draw("IMG_1.JPG", "red star")
    films.write_film(rclip.cwd / "IMG_1.MOV", ["red star", "blue ring"], seconds=12)
    for name in ("IMG_1.JPG", "IMG_1.MOV"):
        os.utime(rclip.cwd / name, (1_500_000_000, 1_500_000_000))
    shutil.copy(films.write_film(rclip.cwd / "film.mp4", ["green moon", "red star"], seconds=12), rclip.cwd / "z.mp4")
    with opened() as library:
        hits = library.search(QUERY)
        assert sorted(sorted([os.path.relpath(hit.path, rclip.cwd), *copy_names(hit, rclip.cwd)]) for hit in hits) == [
            ["IMG_1.JPG", "IMG_1.MOV"],
            ["film.mp4", "z.mp4"],
        ]
        kinds = {kind for hit in hits for kind in copy_names(hit, rclip.cwd).values()}
        assert kinds == {"pair", "exact"}
        assert len(library.search(QUERY, fold=None)) == 4
        assert [len(group.copies) for group in library.duplicates()] == [2]


def test_a_raw_of_another_moment_is_another_shot(rclip: Command) -> None:
    shot(rclip.cwd, "IMG_1", 1_500_000_000)
    os.utime(rclip.cwd / "IMG_1.DNG", (1_400_000_000, 1_400_000_000))
    assert len(rclip("a photo").lines) == 2


# --- photos that are alike -------------------------------------------------------------------------------------------


@pytest.fixture
def bursts(rclip: Command, draw: Draw) -> Path:
    """Three pictures, each also a little darker in four steps; two others."""
    for name in ("red star", "red ring", "blue star"):
        path = draw(f"{name}.png", name)
        with Image.open(path) as picture:
            for step in range(1, 5):
                picture.point(lambda level, step=step: level * (100 - step) // 100).save(
                    rclip.cwd / f"{name} {step}.png"
                )
    draw("moon.png", "yellow moon")
    draw("cross.png", "black cross")
    return rclip.cwd


def test_photos_that_are_alike_are_one_result_if_asked(
    rclip: Command, bursts: Path, opened: Callable[..., Library]
) -> None:
    """As by hand: from the best down, each becomes part of the most similar result shown, or a new one."""
    with opened() as library:
        each = library.search(QUERY, None, fold=None)
        assert len(each) == len(library.search(QUERY, None)) == 17
        paths, vectors = library.vectors()
        by_path = {path: row.astype(np.float32) / np.linalg.norm(row.astype(np.float32))
                   for path, row in zip(paths, vectors, strict=True)}  # fmt: skip
        groups: list[list[str]] = []
        for hit in each:
            cosines = [float(by_path[group[0]] @ by_path[hit.path]) for group in groups]
            if cosines and max(cosines) >= 0.98:
                groups[int(np.argmax(cosines))].append(hit.path)
            else:
                groups.append([hit.path])
        assert 4 <= len(groups) <= 8
        found = library.search(QUERY, None, fold=0.98)
        assert [[hit.path, *(copy.path for copy in hit.copies)] for hit in found] == groups
        assert {copy.kind for hit in found for copy in hit.copies} == {"alike"}
        assert [hit.path for hit in library.search(QUERY, 2, fold=0.98)] == [group[0] for group in groups[:2]]
    assert rclip("-n", "--fold", "0.98", QUERY).lines == [os.path.relpath(group[0], bursts) for group in groups]
    assert "alike)" in on_terminal(rclip, "--color", "never", "-n", "--fold", "0.98", QUERY).out.decode()


def test_folding_is_a_setting(rclip: Command, bursts: Path) -> None:
    config = rclip.home / "config.toml"
    config.write_text("fold = 0.98\n")
    env = {"RCLIP_CONFIG": str(config)}
    folded = rclip("-t", "50", QUERY, env=env).lines
    assert folded == rclip("-n", "-t", "50", "--fold", "0.98", QUERY).lines
    assert len(folded) < 17
    assert len(rclip("-n", "-t", "50", "--all", QUERY, env=env).lines) == 17
    assert len(rclip("-n", "-t", "50", "--fold", "1", QUERY, env=env).lines) == 17


@pytest.mark.parametrize("value", ["0", "1.5", "much", "nan"])
def test_a_likeness_that_cannot_be_is_refused(rclip: Command, value: str) -> None:
    assert "must be a number above 0, and 1 at most" in rclip("--fold", value, QUERY).err


def test_all_and_fold_exclude_each_other(rclip: Command) -> None:
    done = rclip("--all", "--fold", "0.9", QUERY)
    assert (done.code, done.err) == (2, "rclip: --all and --fold cannot be used together: leave one of them out\n")


# --- other faces -----------------------------------------------------------------------------------------------------


def test_faces_that_show_photos_fold_as_they_are_asked(
    rclip: Command, bursts: Path, opened: Callable[..., Library]
) -> None:
    shutil.copy(bursts / "moon.png", bursts / "moon again.png")
    with opened() as library:
        explorer = Explorer(library)

        def found(**filters: str) -> list[Hit]:
            return explorer.search(SearchRequest.of(QUERY, filters), 0, 50).hits

        assert len(found()) == 17
        assert len(found(all="1")) == 18
        assert len(found(fold="0.98")) < 10
        assert len(explorer.search(SearchRequest.of("", {"all": "1"}), 0, 50).hits) == 18
        moon = next(hit for hit in found() if hit.path.endswith("moon.png"))
        assert names([moon], bursts) == ["moon.png"]
        again = explorer.photo(moon.copies[0].id)
        assert copy_names(again, bursts) == {"moon.png": "exact"}
