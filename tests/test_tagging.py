"""`--tag` and `--untag`: keywords in sidecars, for other programs; photos are never written."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Command, one_line, update
from tests.support.gallery import Draw
from tests.support.sidecars import DARKTABLE, DIGIKAM


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def subjects(path: Path) -> set[str]:
    exiftool = shutil.which("exiftool")
    if exiftool is None:
        pytest.skip("there is no exiftool to read it back (apt: libimage-exiftool-perl)")
    asked = [exiftool, "-j", "-XMP-dc:Subject", "-XMP-lr:HierarchicalSubject", str(path)]
    (found,) = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    lists = [found.get(name, []) for name in ("Subject", "HierarchicalSubject")]
    flat, hierarchical = ({one} if isinstance(one, str) else set(one) for one in lists)
    assert flat & hierarchical
    return flat


def test_the_results_of_a_query_are_tagged(rclip: Command, gallery: Path) -> None:
    before = contents(gallery)
    dry = rclip("--tag", "rounds", "--dry-run", "-t", "2", "a red circle")
    assert (dry.code, len(dry.lines)) == (0, 2)
    assert "sidecars to be made: 2, changed: 0" in dry.err
    assert contents(gallery) == before
    done = rclip("--tag", "rounds", "-t", "2", "a red circle")
    assert done.lines == dry.lines
    made = {f"{line}.xmp" for line in done.lines}
    after = contents(gallery)
    assert set(after) - set(before) == made
    assert {name: after[name] for name in before} == before
    assert all(subjects(gallery / name) == {"rounds"} for name in made)
    assert set(rclip("--keyword", "rounds").lines) == set(done.lines)
    again = rclip("--tag", "rounds", "-t", "2", "a red circle")
    assert (again.code, again.lines) == (0, [])
    assert "2 unchanged" in again.err
    undone = rclip("--untag", "rounds")
    assert (undone.code, set(undone.lines)) == (0, set(done.lines))
    assert "2 deleted" in undone.err
    assert contents(gallery) == before
    assert rclip("--keyword", "rounds").code == 1
    assert rclip("--untag", "rounds").code == 1


def test_sidecars_of_others_are_merged(rclip: Command, photos: Path, draw: Draw) -> None:
    draw("a.jpg")
    draw("b.jpg")
    (photos / "a.xmp").write_bytes(DARKTABLE)
    (photos / "a.xmp").chmod(0o640)
    (photos / "b.jpg.xmp").write_bytes(DIGIKAM)
    before = contents(photos)
    done = rclip("--tag", "R&D", "--type", "jpg")
    assert done.code == 0
    assert "0 made, 2 changed" in done.err
    assert set(contents(photos)) == set(before)
    assert subjects(photos / "a.xmp") == {"Lisbon", "R&D"}
    assert (photos / "a.xmp").stat().st_mode & 0o777 == 0o640
    (found,) = map(json.loads, rclip("--json", "--keyword", "R&D,Lisbon").lines)
    assert (os.path.basename(found["path"]), found["rating"]) == ("a.jpg", 3)
    assert rclip("--untag", "R&D").code == 0
    assert contents(photos) == before


def test_a_raw_file_has_a_sidecar_that_lightroom_reads(rclip: Command, photos: Path, draw: Draw) -> None:
    draw("a.jpg")
    (photos / "a.jpg").rename(photos / "a.dng")
    update(rclip)
    done = rclip("--tag", "raw", "--type", "raw")
    if done.code == 0:
        assert (photos / "a.xmp").exists()
    from rclip.explore.tagging import _sidecar_of

    assert _sidecar_of(os.fsencode(photos / "b.CR3")) == os.fsencode(photos / "b.xmp")


def test_what_cannot_be_written_is_reported_and_the_rest_is_tagged(
    rclip: Command, photos: Path, draw: Draw, tmp_path: Path
) -> None:
    """Links, pipes, damage, other encodings."""
    names = ["link", "pipe", "damaged", "wide", "good"]
    for name in names:
        draw(f"{name}.jpg")
    elsewhere = tmp_path / "elsewhere.xmp"
    elsewhere.write_bytes(DARKTABLE)
    (photos / "link.xmp").symlink_to(elsewhere)
    os.mkfifo(photos / "pipe.xmp")
    (photos / "damaged.xmp").write_bytes(DARKTABLE[:-30])
    (photos / "wide.xmp").write_bytes(DARKTABLE.decode().encode("utf-16"))
    done = rclip("--tag", "trip", "--type", "jpg")
    assert (done.code, done.lines) == (2, ["good.jpg"])
    assert done.err.count("cannot write to") == 4
    assert elsewhere.read_bytes() == DARKTABLE
    assert (photos / "link.xmp").is_symlink()
    assert (photos / "damaged.xmp").read_bytes() == DARKTABLE[:-30]
    assert not list(photos.glob(".*"))


def test_a_folder_that_may_not_be_written(rclip: Command, photos: Path, draw: Draw, drop_root: tuple[str, ...]) -> None:
    draw("a.jpg")
    update(rclip)
    photos.chmod(0o500)
    try:
        done = rclip("--tag", "trip", "--type", "jpg", prefix=drop_root)
    finally:
        photos.chmod(0o700)
    assert done.code == 2
    assert "Permission denied" in done.err
    assert os.listdir(photos) == ["a.jpg"]


@pytest.mark.parametrize("word", ["", " ", "a,b", "a|b", "a\nb\x1b", "x" * 201])
def test_what_is_no_keyword(rclip: Command, word: str) -> None:
    done = rclip("--tag", word, "a star")
    assert done.code == 2
    assert "must be one keyword" in one_line(done.err) or word == "a\nb\x1b"


def test_usage(rclip: Command, draw: Draw) -> None:
    draw("a.jpg")
    assert "--dry-run works only with --tag or --untag" in one_line(rclip("--dry-run", "a star").err)
    assert "cannot be used together" in one_line(rclip("--tag", "a", "--untag", "b", "a star").err)
    assert "the query is missing" in one_line(rclip("--tag", "a").err)
    assert rclip("--untag", "a").code == 1
