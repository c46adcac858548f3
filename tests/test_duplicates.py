"""`--duplicates`: exact and near copies, in groups."""

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rclip import Library
from rclip.search import duplicates
from tests.support.command import Command
from tests.support.gallery import Draw
from tests.tiny_clip import scenes

# --- vectors ---------------------------------------------------------------------------------------------------------


def with_copies(count: int, copies: int, dimensions: int, seed: int = 0) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Random vectors (N, D) float16, and rows of which the second is at a cosine of 0.965 to 0.999 to the first."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, dimensions), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = rng.permutation(count)[: 2 * copies].reshape(copies, 2)
    for first, second in rows:
        away = rng.standard_normal(dimensions, dtype=np.float32)
        away -= (away @ vectors[first]) * vectors[first]
        cosine = rng.uniform(0.965, 0.999)
        vectors[second] = cosine * vectors[first] + np.sqrt(1 - cosine**2) * away / np.linalg.norm(away)
    return vectors.astype(np.float16), [(int(first), int(second)) for first, second in rows]


def found_pairs(vectors: np.ndarray, similarity: float) -> set[tuple[int, ...]]:
    return {tuple(sorted(rows.tolist())) for rows in duplicates.connected(vectors, similarity)}


def test_all_pairs_of_a_small_library_are_found() -> None:
    vectors, pairs = with_copies(3000, 200, 64)
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    others = np.argwhere(np.triu(unit @ unit.T >= 0.96, 1))
    assert found_pairs(vectors, 0.96) == {tuple(pair) for pair in others.tolist()} == {tuple(sorted(p)) for p in pairs}


@pytest.mark.slow
def test_nearly_all_pairs_of_a_large_library_are_found() -> None:
    vectors, pairs = with_copies(20_000, 500, 128)
    found = found_pairs(vectors, 0.96)
    expected = {tuple(sorted(pair)) for pair in pairs}
    assert found <= expected
    assert len(found) >= 0.98 * len(expected)


def test_photos_are_connected_by_others_between_them() -> None:
    """Steps of ten degrees: each is like the next, and the ends are not alike."""
    angles = np.radians([0, 10, 20, 30, 90, 180, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)
    assert sorted(rows.tolist() for rows in duplicates.connected(vectors, 0.98)) == [[0, 1, 2, 3], [5, 6]]
    assert duplicates.connected(vectors[:1], 0.98) == []


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def copies(photos: Path, draw: Draw) -> dict[str, list[str]]:
    """A red star, with an exact copy, a smaller one and one brightened; a blue ring with a copy; three others."""
    star = draw("star.png", "red star")
    shutil.copy(star, photos / "star again.png")
    with Image.open(star) as picture:
        picture.resize((120, 90)).save(photos / "star small.png")
        picture.point(lambda level: min(255, level + 4)).save(photos / "star bright.png")
    ring = scenes.draw(
        scenes.random_scene(random.Random(2), color="blue", shape="ring", count=1), (64, 64), random.Random(2)
    )
    ring.save(photos / "ring.png")
    (photos / "sub").mkdir()
    shutil.copy(photos / "ring.png", photos / "sub" / "ring.png")
    for what in ("green circle", "yellow moon", "black cross"):
        draw(f"{what}.png", what)
    return {
        "star": ["star bright.png", "star again.png", "star small.png", "star.png"],
        "ring": ["ring.png", "sub/ring.png"],
    }


def groups_in(out: str) -> list[list[str]]:
    return [group.split("\n") for group in out.rstrip("\n").split("\n\n")]


def test_groups_of_copies_are_listed_those_that_waste_most_first(rclip: Command, copies: dict[str, list[str]]) -> None:
    done = rclip("--duplicates")
    assert done.code == 0, done.err
    found = groups_in(done.out)
    assert sorted(map(sorted, found)) == sorted(map(sorted, copies.values()))
    sizes = [sum(os.path.getsize(rclip.cwd / name) for name in group[1:]) for group in found]
    assert sizes == sorted(sizes, reverse=True)
    assert rclip("-n", "--duplicates", "-f").out == done.out


def test_json_has_an_object_for_each_group(rclip: Command, copies: dict[str, list[str]]) -> None:
    done = rclip("--duplicates", "--json")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert len(found) == 2
    star = next(group for group in found if len(group["photos"]) == 4)
    first, *others = star["photos"]
    assert first["exact"]
    assert first["score"] == 1
    assert max(photo["width"] for photo in star["photos"]) == first["width"]
    assert all(0.96 <= photo["score"] <= 1 for photo in others)
    assert star["wasted"] == sum(photo["size"] for photo in others)
    twins = {Path(photo["path"]).name for photo in star["photos"] if photo["exact"]}
    assert twins in ({"star.png", "star again.png"}, {"star bright.png"})
    ring = next(group for group in found if len(group["photos"]) == 2)
    assert [photo["exact"] for photo in ring["photos"]] == [True, True]


def test_groups_are_divided_by_an_empty_name(rclip: Command, copies: dict[str, list[str]]) -> None:
    found = rclip.raw("--duplicates", "-0").stdout.decode()
    assert found.endswith("\0")
    groups = [group.split("\0") for group in found.removesuffix("\0").split("\0\0")]
    assert sorted(map(sorted, groups)) == sorted(map(sorted, copies.values()))


def test_the_oldest_of_equal_files_comes_first(rclip: Command, draw: Draw) -> None:
    star = draw("b.png", "red star")
    for name, time_s in (("a.png", 2_000_000_000), ("b.png", 1_000_000_000), ("c.png", 1_500_000_000)):
        if name != "b.png":
            shutil.copy(star, rclip.cwd / name)
        os.utime(rclip.cwd / name, (time_s, time_s))
    assert rclip("--duplicates").out == "b.png\na.png\nc.png\n"


def test_similarity_decides_what_is_near(rclip: Command, copies: dict[str, list[str]]) -> None:
    exact = groups_in(rclip("--duplicates", "--similarity", "1").out)
    assert sorted(map(sorted, exact)) == [["ring.png", "sub/ring.png"], ["star again.png", "star.png"]]
    assert max(map(len, groups_in(rclip("--duplicates", "--similarity", "0.1").out))) > 4


def test_only_the_folders_named_are_compared(rclip: Command, copies: dict[str, list[str]]) -> None:
    assert rclip("--index").code == 0
    done = rclip("-n", "--duplicates", "sub")
    assert (done.code, done.out, done.err) == (1, "", "rclip: no copies here\n")


def test_what_cannot_be_is_refused(rclip: Command, photos: Path) -> None:
    assert rclip("--duplicates", "a dog").code == 2
    assert "0 and" not in rclip("--duplicates", "--similarity", "0.5", ".").err
    for value in ("0", "1.1", "near", "nan"):
        assert "must be a number above 0" in rclip("--duplicates", "--similarity", value).err
    assert "only with --duplicates" in rclip("--similarity", "0.9", "a dog").err
    done = rclip("--duplicates")
    assert (done.code, done.err) == (1, "rclip: no photos here\n")


def test_nothing_is_changed(rclip: Command, copies: dict[str, list[str]], tiny_checkpoint: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in rclip.cwd.rglob("*.png")}
    with Library(rclip.cwd, model=tiny_checkpoint, data_dir=rclip.data_dir) as library:
        library.update()
        found = library.duplicates(0.96)
        assert [len(group.copies) for group in found] == [4, 2]
    assert {path: path.stat().st_mtime_ns for path in rclip.cwd.rglob("*.png")} == before


def test_two_indexes_are_compared_with_each_other(rclip: Command, copies: dict[str, list[str]]) -> None:
    other = rclip.cwd / "travelling"
    other.mkdir()
    shutil.copy(rclip.cwd / "ring.png", other / "third.png")
    assert rclip("--init", "travelling").code == 0
    found = groups_in(rclip("--duplicates", ".", "travelling").out)
    assert ["./ring.png", "./sub/ring.png", "./travelling/third.png"] in list(map(sorted, found))
