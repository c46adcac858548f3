"""`--tag` and `--untag`: keywords in sidecars, for other programs; photos are never written."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rclip.explore import tagging
from rclip.explore.tagging import Outcome
from tests.support import spare_file_system
from tests.support.command import Command, one_line, update
from tests.support.gallery import Draw
from tests.support.sidecars import DARKTABLE, DIGIKAM, LIGHTROOM, bag, xmp
from tests.support.tiers import few


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


def test_the_name_of_a_new_sidecar_is_that_which_others_read(photos: Path) -> None:
    """Lightroom reads `b.xmp` of a RAW file; darktable and digiKam have written `c.nef.xmp` in their folders."""
    for name in ("b.CR3", "c.nef", "d.jpg"):
        (photos / name).touch()

    def made() -> list[str]:
        told = tagging.tag([str(photos / name) for name in ("b.CR3", "d.jpg")], "word", [str(photos)], is_dry=True)
        assert [each.outcome for each in told] == [Outcome.MADE] * 2
        return [os.path.basename(each.sidecar) for each in told]

    assert made() == ["b.xmp", "d.jpg.xmp"]
    (photos / "c.xmp").write_bytes(LIGHTROOM)
    assert made() == ["b.xmp", "d.jpg.xmp"]
    (photos / "c.nef.XMP").write_bytes(DARKTABLE)
    assert made() == ["b.CR3.xmp", "d.jpg.xmp"]


def test_versions_of_darktable_are_read_and_left_alone(rclip: Command, photos: Path, draw: Draw) -> None:
    """A photo's first version is tagged; what is taken out again is taken out of all."""
    draw("a.jpg")
    draw("a_01.jpg")
    (photos / "a.jpg.xmp").write_bytes(DARKTABLE)
    (photos / "a_02.jpg.xmp").write_bytes(xmp("", bag("dc:subject", "Porto")))
    before = contents(photos)
    (found,) = map(json.loads, rclip("--json", "--keyword", "Porto,Lisbon").lines)
    assert (os.path.basename(found["path"]), found["rating"]) == ("a.jpg", 3)
    assert "1 made, 1 changed" in rclip("--tag", "tram", "--type", "jpg").err
    assert {name for name, content in contents(photos).items() if before.get(name) != content} == {
        "a.jpg.xmp",
        "a_01.jpg.xmp",
    }
    assert rclip("--untag", "tram").code == 0
    assert contents(photos) == before
    assert rclip("--untag", "Porto").lines == ["a.jpg"]
    assert b"Porto" not in contents(photos)["a_02.jpg.xmp"]
    assert rclip("--keyword", "Porto").code == 1
    assert contents(photos)["a.jpg.xmp"] == before["a.jpg.xmp"]


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


# --- sidecars that somebody else has put there ------------------------------------------------------------------------

_ENTITIES = b"".join(b'<!ENTITY e%d "%s">' % (number, b"&e%d;" % (number - 1) * 10) for number in range(1, 10))
HOSTILE: dict[str, bytes] = {
    "entities": b'<!DOCTYPE x [<!ENTITY e0 "x">' + _ENTITIES + b"]>" + xmp("", "&e9;"),
    "another file": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + xmp("", bag("dc:subject", "&e;")),
    "nested": xmp("", "<a>" * 50_000 + "</a>" * 50_000),
    "huge": xmp("", "<a/>" * 2_000_000),
    "of other letters": xmp("", "").decode().encode("utf-16"),
    "a closing tag in a text": xmp("", "<![CDATA[</rdf:Description></rdf:RDF>"),
    "cut": DARKTABLE[: len(DARKTABLE) // 2],
    "zeros": bytes(5000),
}


def put(name: str, path: Path, victim: Path) -> None:
    """Something that is no sidecar to write to, or only a way to something else."""
    if name in HOSTILE:
        path.write_bytes(HOSTILE[name])
    elif name == "link":
        path.symlink_to(victim / "a.xmp")
    elif name == "dangling link":
        path.symlink_to(victim / "made.xmp")
    elif name == "pipe":
        os.mkfifo(path)
    elif name == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("what", few([*HOSTILE, "link", "dangling link", "pipe", "folder", "endless"], fast=2))
def test_a_hostile_sidecar_is_a_line_and_the_rest_is_tagged(
    rclip: Command, photos: Path, draw: Draw, tmp_path: Path, what: str
) -> None:
    for name in ("a.jpg", "b.jpg"):
        draw(name)
    assert rclip("--index").code == 0
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "a.xmp").write_bytes(DARKTABLE)
    put(what, photos / "a.jpg.xmp", tmp_path / "victim")
    before = contents(photos) | contents(tmp_path / "victim")
    done = rclip("-n", "--tag", "word", "--type", "jpg")
    assert (done.code, done.lines) == (2, ["b.jpg"])
    assert done.err.count("\n") == 2
    assert "a.jpg.xmp" in done.err
    made = (contents(photos) | contents(tmp_path / "victim")).keys() - before.keys()
    assert made == {"b.jpg.xmp"}
    assert before.items() <= (contents(photos) | contents(tmp_path / "victim")).items()
    assert [path for path in photos.iterdir() if path.name.startswith(".rclip-")] == []


def test_a_folder_that_was_replaced_by_a_link_is_not_written_to(
    rclip: Command, photos: Path, draw: Draw, tmp_path: Path
) -> None:
    """Whoever may write to the folder above could choose where."""
    draw("trip/a.jpg")
    draw("b.jpg")
    assert rclip("--index").code == 0
    (photos / "trip").rename(tmp_path / "victim")
    (tmp_path / "victim" / "a.jpg.xmp").write_bytes(DARKTABLE)
    (photos / "trip").symlink_to(tmp_path / "victim")
    before = contents(tmp_path / "victim")
    for option in ("--tag", "--untag"):
        done = rclip("-n", option, "Lisbon" if option == "--untag" else "word", "--type", "jpg")
        assert done.code == 2
        assert "a link leads out of the folder that was searched" in done.err
        assert contents(tmp_path / "victim") == before
    assert (photos / "b.jpg.xmp").exists()


def test_a_folder_is_listed_once_for_all_its_photos(photos: Path) -> None:
    """Ten thousand photos took as many listings of it."""
    names = [f"{number}.{ending}" for number in range(200) for ending in ("jpg", "CR3")]
    for name in names:
        (photos / name).touch()
    (photos / "7.jpg.xmp").write_bytes(DARKTABLE)
    (photos / "8.xmp").write_bytes(LIGHTROOM)
    code = (
        "import sys; from rclip.explore import tagging; listed = []\n"
        "sys.addaudithook(lambda event, _: listed.append(1) if event in ('os.listdir', 'os.scandir') else None)\n"
        "done = tagging.tag(sys.argv[2:], 'word', sys.argv[1:2])\n"
        "assert len(listed) == 1, len(listed)\n"
        "print(*sorted({(one.outcome.value, one.sidecar[-6:]) for one in done if one.outcome.value != 'made'}))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, photos, *(photos / name for name in names)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "('changed', '/8.xmp') ('changed', 'pg.xmp') ('unchanged', '/8.xmp')\n"
    assert len(list(photos.glob("*.xmp"))) == 2 * 200 - 1


def test_on_a_file_system_without_links_no_sidecar_is_overwritten(photos: Path) -> None:
    """As on a memory card, where another program has made one a moment ago."""
    code = (
        "import os, sys; from rclip import datadir\n"
        "folder = os.open(sys.argv[1], os.O_RDONLY)\n"
        "open(os.open('made', os.O_CREAT | os.O_WRONLY, dir_fd=folder), 'w').close()\n"
        "try: datadir.rename_new('made', 'a.jpg.xmp', folder)\n"
        "except FileExistsError: print('refused')\n"
        "datadir.rename_new('made', 'b.jpg.xmp', folder)\n"
    )
    (photos / "a.jpg.xmp").write_bytes(LIGHTROOM)
    script = [sys.executable, "-S", spare_file_system.__file__, sys.executable, "-P", "-c", code, str(photos)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("the kernel takes no filter here")
    assert (done.stdout, done.stderr) == ("refused\n", "")
    assert contents(photos) == {"a.jpg.xmp": LIGHTROOM, "b.jpg.xmp": b""}


def test_a_new_sidecar_in_the_place_of_another_users_is_no_program_and_not_for_all_to_write(
    rclip: Command, photos: Path, draw: Draw
) -> None:
    draw("a.jpg")
    sidecar = photos / "a.jpg.xmp"
    sidecar.write_bytes(DARKTABLE)
    sidecar.chmod(0o6777)
    os.link(sidecar, photos / "another name")
    assert rclip("--tag", "word", "--type", "jpg").code == 0
    assert sidecar.stat().st_mode & 0o7777 == 0o664
    assert (photos / "another name").read_bytes() == DARKTABLE


@pytest.mark.parametrize("how", ["another file", "a link", "deleted", "made"])
def test_what_changes_while_it_is_edited_is_left_alone(photos: Path, tmp_path: Path, how: str) -> None:
    sidecar, other = photos / "a.jpg.xmp", tmp_path / "other"
    other.write_bytes(LIGHTROOM)
    if how != "made":
        sidecar.write_bytes(DARKTABLE)

    def edited(before: bytes, word: str) -> bytes:
        if how == "deleted":
            sidecar.unlink()
        elif how == "made":
            sidecar.write_bytes(LIGHTROOM)
        elif how == "a link":
            sidecar.unlink()
            sidecar.symlink_to(other)
        else:
            shutil.copy(other, tmp_path / "copy")
            (tmp_path / "copy").rename(sidecar)
        return before + b"<!-- edited -->"

    folder = os.open(photos, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=r"changed|exists|No such file"):
            tagging._edit(b"a.jpg.xmp", folder, "word", edited, is_dry=False)
    finally:
        os.close(folder)
    assert other.read_bytes() == LIGHTROOM
    assert [path.name for path in photos.iterdir()] == ([] if how == "deleted" else ["a.jpg.xmp"])
