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
from rclip.search import near_pairs
from tests.support.command import Command
from tests.support.gallery import Draw
from tests.support.tiers import few
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
    return {tuple(sorted(rows.tolist())) for rows in near_pairs.connected(vectors, similarity)}


def test_all_pairs_of_a_small_library_are_found() -> None:
    vectors, pairs = with_copies(3000, 200, 64)
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    others = np.argwhere(np.triu(unit @ unit.T >= 0.96, 1))
    assert found_pairs(vectors, 0.96) == {tuple(pair) for pair in others.tolist()} == {tuple(sorted(p)) for p in pairs}


def all_pairs(vectors: np.ndarray, similarity: float) -> list[list[int]]:
    """Components of all pairs with that cosine, by all products; those in doubt are computed in double precision."""
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    single = unit.astype(np.float32)
    labels = np.arange(len(vectors))
    for start in range(0, len(unit), 1000):
        near = np.argwhere(single[start : start + 1000] @ single.T >= similarity - 1e-5)
        near[:, 0] += start
        cosines = np.einsum("ij,ij->i", unit[near[:, 0]], unit[near[:, 1]])
        assert not np.any(np.abs(cosines - similarity) < 1e-7)  # too close to tell in single precision
        for one, other in near[cosines >= similarity]:
            if labels[one] != labels[other]:
                labels[labels == labels[other]] = labels[one]
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return sorted(rows.tolist() for rows in groups if len(rows) > 1)


def in_clusters(count: int, dimensions: int, seed: int) -> np.ndarray:
    """Vectors as of CLIP's pictures: with a direction in common, in clusters, and with some bursts. (N, D) float16"""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, dimensions + 1) ** -0.5
    centres = rng.standard_normal((count // 100, dimensions)) * scale
    own = centres[rng.integers(0, len(centres), count)] + rng.standard_normal((count, dimensions)) * scale * 0.7
    own[:, 0] += 1.5
    rows = rng.permutation(count)[: count // 10].reshape(-1, 5)
    for number in range(1, 5):
        own[rows[:, number]] = own[rows[:, 0]] + rng.standard_normal((len(rows), dimensions)) * scale * 0.2
    return (own / np.linalg.norm(own, axis=1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("similarity", few([0.96, 0.97, 0.99], 1))
def test_cells_leave_out_no_pair(similarity: float) -> None:
    """More vectors than are compared with all, in clusters, so that most cells are not compared with each other."""
    vectors = in_clusters(18_000, 96, seed=3)
    sketches = near_pairs._sketches(vectors, np.arange(len(vectors)))
    assert near_pairs._Cells(sketches, similarity).compared_share() < 0.5
    expected = all_pairs(vectors, similarity)
    assert len(expected) > 200
    assert sorted(rows.tolist() for rows in near_pairs.connected(vectors, similarity)) == expected


@pytest.mark.slow
def test_all_pairs_of_a_large_library_that_has_no_clusters_are_found() -> None:
    vectors, pairs = with_copies(20_000, 500, 128)
    assert found_pairs(vectors, 0.96) == {tuple(sorted(pair)) for pair in pairs}


def test_a_sketch_is_never_farther_from_another_than_the_vectors_are() -> None:
    vectors = in_clusters(3000, 96, seed=1)
    sketches = near_pairs._sketches(vectors, np.arange(3000)).astype(np.float64)
    unit = near_pairs.unit(vectors).astype(np.float64)
    assert (sketches @ sketches.T >= unit @ unit.T - near_pairs._ROUNDING).all()


@pytest.mark.parametrize("dimensions", [512, 30, 3])
def test_vectors_that_are_there_many_times_are_one_group(dimensions: int) -> None:
    """Ten thousand blank scans, whose pairs would take minutes to look at."""
    rng = np.random.default_rng(dimensions)
    vectors = rng.standard_normal((12_000, dimensions)).astype(np.float16)
    vectors[rng.permutation(12_000)[:10_000]] = vectors[0]
    same = np.flatnonzero((vectors == vectors[0]).all(axis=1))
    assert len(same) >= 10_000
    assert any(set(same.tolist()) <= set(rows.tolist()) for rows in near_pairs.connected(vectors, 0.9999))


def test_a_long_burst_is_one_component() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((1, 128)) + 0.05 * rng.standard_normal((3000, 128))
    (rows,) = near_pairs.connected(vectors.astype(np.float16), 0.96)
    assert len(rows) == 3000


def test_progress_is_reported_and_may_end_it() -> None:
    vectors = in_clusters(18_000, 64, seed=2)
    shares: list[float] = []
    near_pairs.connected(vectors, 0.96, shares.append)
    assert shares == sorted(shares)
    assert len(shares) > 10
    assert shares[-1] == pytest.approx(1)

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        near_pairs.connected(vectors, 0.96, stop)


def test_photos_are_connected_by_others_between_them() -> None:
    """Steps of ten degrees: each is like the next, and the ends are not alike."""
    angles = np.radians([0, 10, 20, 30, 90, 180, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)
    assert sorted(rows.tolist() for rows in near_pairs.connected(vectors, 0.98)) == [[0, 1, 2, 3], [5, 6]]
    assert near_pairs.connected(vectors[:1], 0.98) == []


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
