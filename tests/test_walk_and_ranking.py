"""The pure and the nearly pure: walking order, ranking, queries, comparing, folder ranges."""

import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rclip import vectors
from rclip.ignoring import DEFAULT_RULES, IgnoreRules, TreeRules
from rclip.index.store.database import folder_range
from rclip.index.store.files import FileRow
from rclip.indexing.diff import plan_update
from rclip.indexing.ignore_files import IgnoreFiles
from rclip.indexing.walk import Empty, Unlisted, walk
from rclip.vectors import MAX_ERROR, dot

PHOTOS = frozenset({"jpg"})

NAMES = st.binary(min_size=1, max_size=4).filter(lambda name: b"/" not in name and b"\0" not in name)
TREES = st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=12)


# --- walking ---------------------------------------------------------------------------------------------------------


def make_tree(root: bytes, paths: list[list[bytes]]) -> None:
    """Each path's last part becomes a photo in folders named for the others."""
    for *folders, name in paths:
        folder = os.path.join(root, *(part + b"_" for part in folders))
        os.makedirs(folder, exist_ok=True)
        open(os.path.join(folder, name + b".jpg"), "wb").close()


def files_in(folder: bytes, rules: IgnoreRules = DEFAULT_RULES) -> list[bytes]:
    """Relative paths of the files that a walk comes to."""
    found = walk(folder + b"/", PHOTOS, IgnoreFiles(folder + b"/", rules))
    return [path[len(folder) + 1 :] for path, item in found if not isinstance(item, Unlisted | Empty)]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(paths=TREES)
def test_a_walk_is_in_path_order_and_complete(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[bytes]]
) -> None:
    root = os.fsencode(tmp_path_factory.mktemp("tree"))
    make_tree(root, paths)
    found = files_in(root, IgnoreRules(include_hidden=True))
    expected = [
        os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names
    ]
    assert found == sorted(expected)


@pytest.mark.parametrize("replaced", ["b", "b/c"])
def test_a_link_that_takes_a_folders_place_during_the_walk_is_not_followed(tmp_path: Path, replaced: str) -> None:
    for name in ("photos/a.jpg", "photos/b/b.jpg", "photos/b/c/c.jpg", "photos/b/d/d.jpg", "photos/e.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "secret/d").mkdir(parents=True)
    (tmp_path / "secret/d/diary.jpg").touch()
    root = os.fsencode(tmp_path / "photos") + b"/"
    found = walk(root, PHOTOS)
    listed = [next(found) for _ in range(1 + replaced.count("/"))]  # the folder's own is listed, and it is not
    (tmp_path / "photos" / replaced).rename(tmp_path / "before")
    (tmp_path / "photos" / replaced).symlink_to(tmp_path / "secret")
    reasons = {path: item.reason for path, item in [*listed, *found] if isinstance(item, Unlisted)}
    assert list(reasons) == [root + os.fsencode(replaced) + b"/"]
    assert None not in reasons.values()
    assert b"diary" not in b"".join(path for path, _ in walk(root, PHOTOS))


def test_each_of_very_many_files_in_a_folder_has_its_own_stat(tmp_path: Path) -> None:
    """Those beyond some thousands are asked for by their paths."""
    for size in (0, 1):
        (tmp_path / f"{size:05}.jpg").write_bytes(b"x" * size)
    for number in range(2, 11_000):
        os.link(tmp_path / f"{number % 2:05}.jpg", tmp_path / f"{number:05}.jpg")
    found = walk(os.fsencode(tmp_path) + b"/", PHOTOS)
    sizes = [item.stat().st_size for _, item in found if not isinstance(item, Unlisted | Empty)]
    assert sizes == [0, 1] * 5_500


def test_folders_sort_as_they_do_inside_paths(tmp_path: Path) -> None:
    for name in ("a/b.jpg", "a.jpg", "a!/c.jpg", "a-b.jpg", "a0.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = files_in(os.fsencode(tmp_path))
    assert found == [b"a!/c.jpg", b"a-b.jpg", b"a.jpg", b"a/b.jpg", b"a0.jpg"]


def test_a_thousand_folders_deep(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(1000):
        folder /= "d"
        folder.mkdir()
    (folder / "a.jpg").touch()
    assert [path.count(b"/") for path in files_in(os.fsencode(tmp_path))] == [1000]
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # Python's own way to remove it is recursive


def test_what_cannot_be_listed_is_said(tmp_path: Path) -> None:
    nothing = os.fsencode(tmp_path / "nothing") + b"/"
    assert list(walk(nothing, PHOTOS)) == [(nothing, Unlisted("No such file or directory"))]
    (tmp_path / "empty").mkdir()
    (tmp_path / ".git").mkdir()
    root = os.fsencode(tmp_path) + b"/"
    assert list(walk(root, PHOTOS)) == [(root + b".git/", Unlisted(None)), (root + b"empty/", Empty())]


@pytest.mark.parametrize(
    ("path", "passed_over"),
    [
        (b"a/b.jpg", False),
        (b"a/.b.jpg", True),
        (b".a/b.jpg", True),
        (b"a/@eaDir/b.jpg", True),
        (b"@eaDir", False),
        (b"a/$RECYCLE.BIN/S-1-5-21/$R1.jpg", True),
        (b"#snapshot/GMT-2024/b.jpg", True),
        (b"a/recycle/b.jpg", False),
        (b"a/out/b.jpg", True),
        (b"out", False),
    ],
)
def test_a_path_is_passed_over_exactly_when_a_walk_would(path: bytes, passed_over: bool) -> None:
    assert TreeRules(b"/r/", IgnoreRules(frozenset({b"out"}))).ignores_path(path) == passed_over


# --- comparing -------------------------------------------------------------------------------------------------------


def row(number: int, path: bytes, missing_ns: int | None = None) -> FileRow:
    return FileRow(number, path, mtime_ns=1, size_bytes=1, missing_ns=missing_ns, is_offline=False, ctime_ns=1)


class File(NamedTuple):
    """A file of the size and time that `row` has."""

    ctime_ns: int = 1

    def stat(self) -> os.stat_result:
        times = {"st_mtime_ns": 1, "st_ctime_ns": self.ctime_ns}
        return os.stat_result((0o100644, 1, 1, 1, 0, 0, 1, 0, 0, 0), times)

    def is_symlink(self) -> bool:
        return False


PATHS = st.sets(st.text("ab/", min_size=1, max_size=5).map(str.encode), max_size=12)


@given(disk=PATHS, known=PATHS)
def test_comparing_is_set_difference(disk: set[bytes], known: set[bytes]) -> None:
    rows = [row(number, b"/r/" + path) for number, path in enumerate(sorted(known))]
    found = [(b"/r/" + path, File()) for path in sorted(disk)]
    plan = plan_update(found, iter(rows), b"/r/", TreeRules(b"/r/", DEFAULT_RULES).ignores_path)
    assert {pending.file.path for pending in plan.pending} == disk - known
    assert {rows[id_].path for id_ in plan.missing} == {b"/r/" + path for path in known - disk}
    assert not plan.returned


def test_folders_that_say_nothing_of_their_photos_keep_them() -> None:
    rows = [row(1, b"/r/a/1"), row(2, b"/r/b/1"), row(3, b"/r/c/1"), row(4, b"/r/d")]
    walked: list[tuple[bytes, Unlisted | Empty]] = [
        (b"/r/a/", Unlisted("Permission denied")),
        (b"/r/b/", Unlisted(None)),
        (b"/r/c/", Empty()),
    ]
    plan = plan_update(walked, iter(rows), b"/r/", TreeRules(b"/r/", DEFAULT_RULES).ignores_path)
    assert (plan.missing, plan.offline) == ([4], [3])
    assert [failure.path for failure in plan.unlisted] == [b"/r/a/"]


def test_what_is_gone_or_away_is_not_marked_again() -> None:
    rows = [row(1, b"/r/a", missing_ns=5), row(2, b"/r/b/c", missing_ns=0)]
    plan = plan_update([(b"/r/b/", Empty())], iter(rows), b"/r/", TreeRules(b"/r/", DEFAULT_RULES).ignores_path)
    assert (plan.missing, plan.offline) == ([], [])


# --- ranking ---------------------------------------------------------------------------------------------------------


@given(
    scores=st.lists(st.integers(-3, 3), max_size=40),
    k=st.integers(1, 50),
)
def test_top_k_is_a_stable_sort(scores: list[int], k: int) -> None:
    expected = sorted(range(len(scores)), key=lambda number: -scores[number])[:k]
    assert vectors.top_k(np.array(scores, np.float32), k).tolist() == expected


def test_top_k_does_not_sort_what_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where a sort would have to go: numpy's own, which is let through."""
    sorted_lengths: list[int] = []
    argsort = np.argsort

    def counted(a: np.ndarray, **options: Any) -> np.ndarray:
        sorted_lengths.append(len(a))
        return argsort(a, **options)

    monkeypatch.setattr(np, "argsort", counted)
    scores = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    best = vectors.top_k(scores, 10)
    assert sorted_lengths == [10]
    assert best.tolist() == argsort(-scores)[:10].tolist()


def test_cosines_are_dot_products() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((50, 16)).astype(np.float16)
    asked = rng.standard_normal(16).astype(np.float32)
    np.testing.assert_allclose(dot(vectors, asked), vectors.astype(np.float64) @ asked, atol=MAX_ERROR * 5)


@pytest.mark.parametrize("rows", [0, 1, 50, 3001])
@pytest.mark.parametrize("queries", [1, 2, 32, 33])
def test_cosines_of_several_queries_are_those_of_each(rows: int, queries: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((rows, 64))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    asked = rng.standard_normal((queries, 64))
    asked = (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float32)
    together = dot(vectors, asked)
    assert together.shape == (queries, rows)
    np.testing.assert_allclose(together, asked.astype(np.float64) @ vectors.T, atol=MAX_ERROR)
    for scores, query in zip(together, asked, strict=True):
        np.testing.assert_allclose(scores, dot(vectors, query), atol=1e-5)


@given(inside=NAMES, outside=NAMES)
def test_a_folder_range_holds_what_is_below_and_nothing_else(inside: bytes, outside: bytes) -> None:
    start, end = folder_range(b"/photos/")
    assert start <= b"/photos/" + inside < end
    for path in (b"/photos", b"/photos" + outside, b"/Photos/" + inside):
        assert not start <= path < end
