"""`--check` on files that were really damaged; `--prune`: what it forgets, what it never does, what it gives back."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rclip import manifest
from rclip.files import FileStat
from rclip.index.photo_index import PREPROCESSING_VERSION
from rclip.index.store import Store
from rclip.index.vector_cache import APPEND_FROM_ROWS, VectorCache
from tests.support.command import Command, one_line
from tests.support.gallery import Draw
from tests.support.index import index_of, path_is
from tests.support.many_runs import ManyRuns
from tests.support.processes import wait_until_it_sleeps
from tests.support.tiers import few

MEND_INDEX = "rclip --rebuild, with the same --model, repairs the index"
ANEW = "the next run rebuilds it"
IS_DAMAGED = (
    "is damaged (it holds values that rclip never writes); "
    "rclip --rebuild, with the same --model, sets it aside and rebuilds it from what can be read"
)
_MAKER, _MODEL, _EXIF, _TAKEN = 0x010F, 0x0110, 0x8769, 0x9003


def report(rclip: Command, *options: str, code: int = 0, prefix: tuple[str, ...] = ()) -> dict[str, str]:
    """What `--check` says of each part, faults included, a line each."""
    done = rclip("--check", *options, prefix=prefix)
    assert done.code == code, done
    told = "" if code == 0 else "rclip: something is damaged; the lines above say what, and how to repair it\n"
    assert done.err == told
    parts: dict[str, str] = {}
    part = ""
    for line in done.lines:
        part, text = line[:12].strip() or part, line[12:]
        parts[part] = f"{parts[part]}\n{text}" if part in parts else text
    assert [part for part in parts if part != "sketch"] == ["weights", "index", "matrix", "vectors", "metadata"]
    return parts


def execute(rclip: Command, *statements: str) -> None:
    connection = sqlite3.connect(index_of(rclip), isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def value(rclip: Command, sql: str) -> object:
    connection = sqlite3.connect(index_of(rclip))
    try:
        return connection.execute(sql).fetchone()[0]
    finally:
        connection.close()


def fill(rclip: Command, folder: Path, count: int) -> None:
    """So many photos more, which are nowhere on disk, and the matrix that so many deserve."""
    dimensions = int(str(value(rclip, "SELECT length(vector) / 2 FROM images WHERE vector IS NOT NULL")))
    vectors = np.random.default_rng(1).standard_normal((count, dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    path = index_of(rclip)
    model = str(value(rclip, "SELECT value FROM meta WHERE key = 'model'"))
    store = Store(str(path), model, PREPROCESSING_VERSION)
    with store.transaction():
        for number, vector in enumerate(vectors):
            store.files.add(
                os.fsencode(folder / f"filled/{number:06}.jpg"), FileStat(1, 1, 1, number), b"%d" % number, vector
            )
    store.close()
    assert rclip("-n", "star").code == 0
    assert (path.with_suffix(".matrix") / "seal.json").exists()


@pytest.fixture
def filled(rclip: Command, gallery: Path) -> Command:
    """The gallery's index, with a matrix."""
    rclip("--index")
    fill(rclip, gallery, APPEND_FROM_ROWS)
    return rclip


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


# --- check: what is sound --------------------------------------------------------------------------------------------


def test_a_sound_index_is_called_so(filled: Command, gallery: Path) -> None:
    (gallery / "broken.jpg").write_bytes(b"no picture")
    (gallery / "stars/red.jpg").unlink()
    execute(filled, f"UPDATE images SET missing_ns = 1 WHERE {path_is('filled/000007')}")
    filled("--index", "stars")
    content = "SELECT group_concat(hex(path) || hex(vector) || ifnull(missing_ns, '')) FROM images"
    before = value(filled, content)
    assert report(filled) == {
        "weights": "sound",
        "index": f"sound: {APPEND_FROM_ROWS + 10:,} photos, 0 unreadable, 2 missing",
        "matrix": f"sound: {APPEND_FROM_ROWS + 12:,} vectors",
        "vectors": f"sound: {APPEND_FROM_ROWS + 12:,} of length 1",
        "metadata": "sound: of 12 photos",
    }
    assert value(filled, content) == before


def test_nothing_stored_is_nothing_damaged(rclip: Command) -> None:
    done = rclip("--check")
    assert (done.code, done.lines, done.err) == (0, ["weights     sound", "index       none yet"], "")


def test_a_small_index_needs_no_matrix(rclip: Command, gallery: Path) -> None:
    (gallery / "broken.jpg").write_bytes(b"no picture")
    rclip("--index")
    parts = report(rclip)
    assert parts["index"] == "sound: 12 photos, 1 unreadable, 0 missing"
    assert parts["matrix"] == "none, and none needed yet"


def test_a_matrix_with_gaps_and_newer_photos_behind_it_is_sound(filled: Command, gallery: Path, draw: Draw) -> None:
    draw("new.jpg")
    shutil.rmtree(gallery / "stars")
    filled("--index")
    filled("--prune", "0")
    draw("newer.jpg", "blue square")
    execute(filled, f"DELETE FROM images WHERE {path_is('filled/0001')}")
    filled("--index")
    assert report(filled)["vectors"].startswith("sound: ")


def test_a_read_only_index_is_checked(filled: Command, drop_root: tuple[str, ...]) -> None:
    execute(filled, f"UPDATE images SET vector = zeroblob(length(vector)) WHERE {path_is('stars/red')}")
    matrix = index_of(filled).with_suffix(".matrix")
    flip(next(matrix.glob("ids-*")), 20)
    folders = [filled.data_dir, *(path for path in filled.data_dir.rglob("*") if path.is_dir())]
    index_of(filled).chmod(0o400)
    for folder in folders:
        folder.chmod(0o500)
    try:
        parts = report(filled, code=2, prefix=drop_root)
    finally:
        for folder in folders:
            folder.chmod(0o700)
    assert parts["matrix"].startswith(f"damaged; delete {matrix}, and {ANEW}\n")
    assert "stars/red.jpg: its vector has the length 0, not 1" in parts["vectors"]


# --- check: a damaged database ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "fault"),
    few(
        [
            ("zeroblob(length(vector))", "its vector has the length 0, not 1"),
            ("CAST(x'007E' || substr(vector, 3) AS BLOB)", "its vector holds values that are not numbers"),
            ("CAST(x'007C' || substr(vector, 3) AS BLOB)", "its vector holds values that are not numbers"),
            ("CAST(x'0048' || substr(vector, 3) AS BLOB)", "its vector has the length 8"),
            ("substr(vector, 3)", "its vector takes"),
            ("x''", "its vector takes 0 bytes, not"),
        ]
    ),
)
def test_a_wrong_vector_is_found_and_its_photo_named(rclip: Command, gallery: Path, damage: str, fault: str) -> None:
    rclip("--index")
    execute(rclip, f"UPDATE images SET vector = {damage} WHERE {path_is('stars/red')} OR {path_is('circles/blue')}")
    parts = report(rclip, code=2)
    first, *faults = parts["vectors"].splitlines()
    assert first == f"2 of 12 damaged; {MEND_INDEX}"
    assert sorted(line.split(": ")[0] for line in faults) == [f"{gallery}/circles/blue.jpg", f"{gallery}/stars/red.jpg"]
    assert all(fault in line for line in faults)
    assert parts["index"].startswith("sound")


def test_a_bit_that_flipped_in_a_vector_is_found_by_the_matrix(filled: Command, gallery: Path) -> None:
    """So small a change leaves the length as it was, and SQLite has no checksums."""
    connection = sqlite3.connect(index_of(filled))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ((vector,),) = connection.execute(f"SELECT vector FROM images WHERE {path_is('stars/red')}").fetchall()
    connection.close()
    content = index_of(filled).read_bytes()
    assert content.count(vector) == 1
    flip(index_of(filled), content.index(vector) + 40)
    parts = report(filled, code=2)
    assert parts["vectors"].splitlines() == [
        f"1 of {APPEND_FROM_ROWS + 12:,} damaged; {MEND_INDEX}",
        f"{gallery}/stars/red.jpg: its vector is not the one that was stored, which the matrix has",
    ]
    assert parts["matrix"].startswith("sound")


def test_thousands_of_wrong_vectors_are_counted_not_listed(filled: Command) -> None:
    execute(filled, "UPDATE images SET vector = zeroblob(length(vector))")
    lines = report(filled, code=2)["vectors"].splitlines()
    assert lines[0].startswith(f"{APPEND_FROM_ROWS + 12:,} of {APPEND_FROM_ROWS + 12:,} damaged")
    assert lines[-1] == f"… and {APPEND_FROM_ROWS - 88:,} more"
    assert len(lines) == 102


@pytest.mark.parametrize("path", few(["x'612E6A7067'", "'/text.jpg'", "x'2F612F2F622E6A7067'"]))
def test_a_path_that_is_none_is_found(rclip: Command, gallery: Path, path: str) -> None:
    rclip("--index")
    execute(rclip, f"UPDATE images SET path = {path} WHERE {path_is('stars/red')}")
    parts = report(rclip, code=2)
    assert parts["index"].startswith(f"damaged; {MEND_INDEX}\nthe path '")
    assert parts["index"].endswith("' is not absolute and plain")


def test_a_row_that_is_both_photo_and_failure_is_found(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    execute(
        rclip,
        "PRAGMA ignore_check_constraints = ON",
        f"UPDATE images SET failure = 'broken' WHERE {path_is('stars/red')}",
    )
    assert report(rclip, code=2)["index"] == f"damaged; {MEND_INDEX}\nCHECK constraint failed in images"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_flipped_bit_in_the_table_or_one_of_its_indexes_is_found(rclip: Command, gallery: Path, place: int) -> None:
    """A path is in the file three times: in the table, for uniqueness, and for comparing."""
    rclip("--index")
    content, name = index_of(rclip).read_bytes(), os.fsencode(gallery / "stars/red.jpg")
    assert content.count(name) == 3
    at = -1
    for _ in range(place + 1):
        at = content.index(name, at + 1)
    flip(index_of(rclip), at + len(name) - 5)
    index = report(rclip, code=2)["index"]
    assert index.startswith(f"damaged; {MEND_INDEX}\n")
    assert "missing from index" in index


def overwrite_the_middle(path: Path) -> None:
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * (size // 4))


def test_a_ruined_database_is_one_report_and_no_traceback(filled: Command) -> None:
    overwrite_the_middle(index_of(filled))
    parts = report(filled, code=2)
    assert parts["index"].startswith(f"damaged; {MEND_INDEX}\n")
    assert parts["vectors"].startswith(f"cannot be read to the end; {MEND_INDEX}\n")


def cut_off_the_end(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 3 // 4)


def replace_by_something_else(path: Path) -> None:
    path.write_bytes(b"something else entirely" * 100)


@pytest.mark.parametrize(
    ("damage", "reason"),
    few([(cut_off_the_end, "database disk image is malformed"), (replace_by_something_else, "file is not a database")]),
)
def test_a_database_that_cannot_even_be_opened_is_one_line(
    filled: Command, damage: Callable[[Path], None], reason: str
) -> None:
    damage(index_of(filled))
    done = filled("--check")
    assert (done.code, done.lines) == (2, ["weights     sound"])
    assert f"is damaged ({reason})" in one_line(done.err)


@pytest.mark.parametrize(
    "damage",
    few(
        [
            "metadata SET captured_s = 'abc'",
            "metadata SET captured_s = 1000000000000000",
            "metadata SET offset_min = 100000",
            "metadata SET keywords = x'6162'",
            "metadata SET latitude = 'north'",
            "metadata SET longitude = 9e999",
            "metadata SET width = x'00'",
            "metadata SET rating = 99",
            "cameras SET model = x'00'",
        ]
    ),
)
def test_facts_that_were_never_stored_so_are_a_line_and_rebuilt(
    rclip: Command, draw: Draw, damage: str, photos: Path
) -> None:
    metadata_added = Image.Exif()
    metadata_added[_MAKER], metadata_added[_MODEL] = "Canon", "EOS R5"
    metadata_added.get_ifd(_EXIF)[_TAKEN] = "2020:01:01 10:00:00"
    draw("a.jpg", "red star", exif=metadata_added)
    draw("b.jpg", "blue square")
    rclip("--index")
    which = "" if damage.startswith("cameras") else f" WHERE id = (SELECT id FROM images WHERE {path_is('a.jpg')})"
    execute(rclip, f"UPDATE {damage}{which}")
    with ManyRuns(rclip) as run:
        for asked in (["a red star"], ["--json", "a red star"], ["--after", "2019"], ["--camera", "canon"]):
            done = run("-n", *asked)
            assert (done.code, done.out) == (2, "")
            assert one_line(done.err) == f"rclip: {index_of(rclip)} {IS_DAMAGED}"
    metadata = report(rclip, code=2)["metadata"]
    assert metadata.splitlines() == [
        f"1 of 2 damaged; {MEND_INDEX}",
        f"{photos}/a.jpg: its metadata was never stored so",
    ]
    assert "dates and places of 1 older photo" in rclip("--rebuild").err
    assert report(rclip)["metadata"] == "sound: of 2 photos"
    (told,) = map(json.loads, rclip("-n", "--after", "2019", "--before", "2021", "--json").lines)
    assert (told["captured"], told["camera"], told["width"]) == ("2020-01-01T10:00:00", "Canon EOS R5", 160)


@pytest.mark.parametrize(
    "damage", few(["substr(vector, 1, 10)", "substr(vector, 1, 9)", "'text'", "x'003C'", "zeroblob(length(vector))"])
)
def test_a_damaged_vector_of_a_picture_asked_with_is_the_indexs_fault(
    rclip: Command, gallery: Path, damage: str
) -> None:
    rclip("--index")
    execute(rclip, f"UPDATE images SET vector = {damage} WHERE {path_is('stars/red')}")
    shutil.copy(gallery / "stars/red.jpg", gallery.parent / "same bytes.jpg")
    for query in (["./stars/red.jpg", "+", "red"], ["./stars/red.jpg"], ["../same bytes.jpg"]):
        done = rclip("-n", *query)
        assert (done.code, done.out) == (2, "")
        assert one_line(done.err) == f"rclip: {index_of(rclip)} {IS_DAMAGED}"


# --- check: what is derived ------------------------------------------------------------------------------------------


def forge_stat(contents: Path, *files: Path) -> None:
    """As if the files had gone bad by themselves, without having been written to."""
    content = json.loads(contents.read_bytes())
    stats = [manifest.identity(os.stat(file)) for file in files]
    content |= {"stats": stats} if "stats" in content else {"stat": stats[0]}
    contents.write_text(json.dumps(content))


@pytest.mark.parametrize("kind", few(["vectors", "ids"]))
@pytest.mark.parametrize("damage", few(["written to", "gone bad", "cut short", "missing", "of another state"]))
def test_a_damaged_matrix_is_discarded_and_made_anew(filled: Command, kind: str, damage: str) -> None:
    folder = index_of(filled).with_suffix(".matrix")
    files = [next(folder.glob("vectors-*")), next(folder.glob("ids-*"))]
    path = files[kind == "ids"]
    if damage == "cut short":
        os.truncate(path, 4000)
    elif damage == "missing":
        path.unlink()
    elif damage == "of another state":
        execute(filled, "UPDATE meta SET value = 'other' WHERE key = 'matrix'")
    else:
        flip(path, 4000)
    if damage == "gone bad":
        forge_stat(folder / "seal.json", *files)
    parts = report(filled, code=2)
    doubts = ["its bytes are not those that were written", "cut short, altered, or of another state of the index"]
    assert parts["matrix"] == f"damaged; {ANEW}\n{doubts[damage != 'gone bad']}"
    assert parts["vectors"].startswith("sound")
    assert filled("-n", "-t", "1", "a red star").code == 0
    assert report(filled)["matrix"] == f"sound: {APPEND_FROM_ROWS + 12:,} vectors"


@pytest.mark.parametrize("damage", few(["gone bad", "written to", "cut short", "missing"]))
def test_a_damaged_sketch_is_discarded(filled: Command, damage: str) -> None:
    folder = index_of(filled).with_suffix(".matrix")
    store = Store(str(index_of(filled)), str(value(filled, "SELECT value FROM meta WHERE key = 'model'")), 1)
    VectorCache(store).catch_up(sketch_from_rows=1000)
    store.close()
    assert report(filled)["sketch"] == f"sound: of {APPEND_FROM_ROWS + 12:,} vectors"
    (path,) = folder.glob("sketch-*")
    if damage == "cut short":
        os.truncate(path, 4000)
    elif damage == "missing":
        path.unlink()
    else:
        flip(path, 4000)
    if damage == "gone bad":
        forge_stat(folder / "sketch.json", path)
    parts = report(filled, code=2)
    assert parts["sketch"] == f"damaged; {ANEW}\nits bytes are not those that were written"
    assert (parts["matrix"].startswith("sound"), parts["vectors"].startswith("sound")) == (True, True)
    assert "sketch" not in report(filled)
    assert filled("-n", "-t", "1", "a red star").code == 0


@pytest.mark.parametrize("tower", few(["text", "image"]))
@pytest.mark.parametrize("damage", few(["gone bad", "cut short", "missing", "without its seal"]))
def test_damaged_weights_are_discarded_and_made_anew(
    rclip: Command, gallery: Path, draw: Draw, tower: str, damage: str
) -> None:
    rclip("--index")
    (path,) = rclip.data_dir.glob(f"models/*/{tower}.safetensors")
    contents = path.with_name(path.name + ".seal")
    right = path.read_bytes()
    if damage == "gone bad":
        flip(path, path.stat().st_size // 2)
        forge_stat(contents, path)
    elif damage == "cut short":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "missing":
        path.unlink()
    else:
        contents.unlink()
    done = rclip("--check")
    assert done.code == 2
    assert done.lines[0] == f"weights     damaged; {ANEW}"
    reason = {"gone bad": "its checksum is wrong", "cut short": "its checksum is wrong"}
    assert done.lines[1].strip() == f"{path}: {reason.get(damage, 'No such file or directory')}"
    assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]
    draw("new.jpg", "green star")  # for what is indexed there is a vector
    assert rclip("-n", "-t", "1", "./new.jpg").code == 0
    assert path.read_bytes() == right
    assert report(rclip)["weights"] == "sound"


def test_check_looks_at_the_index_of_each_folder(rclip: Command, gallery: Path) -> None:
    assert rclip("--init", "stars").code == 0
    assert rclip("--index", "stars", "circles").code == 0
    done = rclip("--check", "stars", "circles", cwd=gallery / "squares")
    assert done.code == 2  # there are no such folders
    for folders, counts in ((["stars"], [4]), (["circles"], [4]), (["stars", "circles"], [4, 4])):
        done = rclip("--check", *folders)
        assert (done.code, done.err) == (0, "")
        assert re.findall("sound: ([0-9]+) photos", done.out) == list(map(str, counts))
    assert rclip("--check").out.count("sound: 4 photos") == 1


# --- prune: what is forgotten ----------------------------------------------------------------------------------------


def prune(rclip: Command, *arguments: str, prefix: tuple[str, ...] = ()) -> str:
    """What `--prune` says, without the bytes it gives back."""
    done = rclip("--prune", *arguments, prefix=prefix)
    assert (done.code, done.out) == (0, ""), done
    first, *others = done.err.splitlines()
    assert first.startswith("rclip: index pruned: ")
    assert first.endswith(" freed")
    return "; ".join([first.split(": ")[2].split(", ")[0], *others]).replace("rclip: ", "")


def known(rclip: Command) -> list[str]:
    """The names of all files in the table, gone ones too."""
    connection = sqlite3.connect(index_of(rclip))
    paths = [os.fsdecode(path) for (path,) in connection.execute("SELECT path FROM images ORDER BY path")]
    connection.close()
    return ["/".join(path.split("/")[-2:]) for path in paths]


DAY_NS = 86_400 * 10**9


def age(rclip: Command, days: int) -> None:
    """As if all that is gone had been so for some days longer."""
    execute(rclip, f"UPDATE images SET missing_ns = missing_ns - sign(missing_ns) * {days * DAY_NS}")


def test_what_has_been_gone_for_long_is_forgotten(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    (gallery / "stars/red.jpg").unlink()
    rclip("--index")
    age(rclip, 31)
    (gallery / "stars/blue.jpg").unlink()
    rclip("--index")
    assert prune(rclip, "5w") == "0 forgotten"
    assert prune(rclip, "30d") == "1 forgotten"
    assert len(known(rclip)) == 11
    assert "stars/red.jpg" not in known(rclip)
    assert prune(rclip, "1y") == "0 forgotten"
    assert prune(rclip, "0") == "1 forgotten"
    assert len(known(rclip)) == 10
    assert rclip("--stats").lines[2].split() == ["missing", "0"]
    assert len(rclip("-n", "-t", "99", "a star").lines) == 10
    report(rclip)


def test_a_photo_that_is_there_is_never_forgotten(
    rclip: Command, gallery: Path, tmp_path: Path, drop_root: tuple[str, ...]
) -> None:
    """No run has seen yet that it came back."""
    rclip("--index")
    (gallery / "stars").rename(tmp_path / "aside")
    rclip("--index")
    (tmp_path / "aside").rename(gallery / "stars")
    assert prune(rclip, "0") == "0 forgotten"
    (gallery / "stars/red.jpg").unlink()
    assert prune(rclip, "0", "--away") == "1 forgotten"
    (gallery / "stars").chmod(0)
    try:
        assert prune(rclip, "0", "--away", prefix=drop_root) == "0 forgotten"  # nobody can say that they are gone
    finally:
        (gallery / "stars").chmod(0o700)
    assert rclip("--index", "-v").err == "rclip: index updated: found 3 back\n"


def test_an_unplugged_drive_is_forgotten_only_on_request(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    rclip("--index")
    (gallery / "stars").rename(tmp_path / "drive")
    (gallery / "stars").mkdir()
    rclip("--index")
    why = "their folder is empty, like that of an unplugged drive"
    kept = f"4 kept: {why}; with --away they are forgotten, too"
    assert prune(rclip, "0") == f"0 forgotten; {kept}"
    assert prune(rclip, "30d", "--away") == "0 forgotten"
    age(rclip, 31)
    assert prune(rclip, "30d") == f"0 forgotten; {kept}"
    assert len(known(rclip)) == 12
    assert prune(rclip, "30d", "--away") == "4 forgotten"
    assert len(known(rclip)) == 8


def test_photos_away_since_nobody_knows_when_are_away_for_any_time(rclip: Command, gallery: Path) -> None:
    """So the index has them whose time earlier versions did not store."""
    rclip("--index")
    (gallery / "stars/red.jpg").unlink()
    execute(rclip, f"UPDATE images SET missing_ns = 1, is_offline = 1 WHERE {path_is('stars/red')}")
    assert prune(rclip, "100y").startswith("0 forgotten; 1 kept: ")
    assert prune(rclip, "100y", "--away") == "1 forgotten"


def test_an_emptied_folder_that_goes_too_counts_from_then_on(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    for photo in (gallery / "stars").iterdir():
        photo.unlink()
    rclip("--index")
    age(rclip, 31)
    (gallery / "stars").rmdir()
    rclip("--index")
    assert prune(rclip, "30d") == "0 forgotten"
    assert prune(rclip, "0") == "4 forgotten"


def test_a_folder_that_no_run_looks_for_any_more_can_be_forgotten(rclip: Command, gallery: Path) -> None:
    rclip("--index", "stars", "circles")
    shutil.rmtree(gallery / "stars")
    assert prune(rclip, "0") == "0 forgotten"
    assert prune(rclip, "30d", "--away") == "0 forgotten"
    assert len(rclip("-n", "-t", "99", "star").lines) == 4
    age(rclip, 31)
    assert prune(rclip, "30d", "--away") == "4 forgotten"
    assert len(known(rclip)) == 4


def test_only_the_folders_named_are_pruned(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    (gallery / "stars/red.jpg").unlink()
    (gallery / "circles/red.jpg").unlink()
    rclip("--index")
    assert prune(rclip, "0", "squares") == "0 forgotten"
    assert prune(rclip, "0", "squares", "stars") == "1 forgotten"
    assert prune(rclip, "0") == "1 forgotten"


def test_unreadable_files_that_are_gone_are_forgotten(rclip: Command, draw: Draw, photos: Path) -> None:
    draw("a.jpg")
    (photos / "broken.jpg").write_bytes(b"no picture")
    rclip("--index")
    assert prune(rclip, "0") == "0 forgotten"
    (photos / "broken.jpg").unlink()
    rclip("--index")
    assert prune(rclip, "0") == "1 forgotten"
    assert known(rclip) == ["photos/a.jpg"]


def test_a_clock_that_was_ahead_hinders_no_one_who_says_0(rclip: Command, draw: Draw) -> None:
    draw("a.jpg")
    draw("b.jpg", "blue star").unlink()
    rclip("--index")
    draw("a.jpg").unlink()
    draw("c.jpg", "green star")
    rclip("--index")
    execute(rclip, f"UPDATE images SET missing_ns = missing_ns + {9999 * DAY_NS} WHERE missing_ns > 0")
    assert prune(rclip, "1d") == "0 forgotten"
    assert prune(rclip, "0") == "1 forgotten"


def test_what_a_killed_run_had_replaced_is_forgotten(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    execute(rclip, f"UPDATE images SET path = x'0037', missing_ns = 0 WHERE {path_is('stars/red')}")
    assert prune(rclip, "0") == "0 forgotten"
    assert len(known(rclip)) == 11


def test_nothing_indexed_is_nothing_to_forget(rclip: Command) -> None:
    assert prune(rclip, "0") == "0 forgotten"
    assert not list(rclip.data_dir.glob("*.db"))


@pytest.mark.parametrize("text", few(["", "d", "30", "-1d", "1.5y", "30 d", "soon", "²d", "9999999d", "1m"], fast=3))
def test_an_age_that_is_none_is_one_line(rclip: Command, text: str) -> None:
    done = rclip(f"--prune={text}")
    assert (done.code, done.out) == (2, "")
    assert f"--prune: must be a time like 30d, 12w or 1y, or 0, not {text!r}" in one_line(done.err)


def test_away_alone_means_nothing(rclip: Command) -> None:
    done = rclip("--away", "star")
    assert (done.code, one_line(done.err)) == (
        2,
        "rclip: --away works only with --prune: add that, or leave --away out",
    )


# --- prune: the space ------------------------------------------------------------------------------------------------


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def gone_but_for_the_gallery(filled: Command) -> None:
    execute(filled, f"UPDATE images SET missing_ns = 1 WHERE {path_is('/filled/')}")


def given_back(line: str) -> float:
    number, unit = line.split("forgotten, ")[1].split()[:2]
    return float(number) * {"bytes": 1, "kB": 1e3, "MB": 1e6}[unit]


def test_the_space_is_given_back(filled: Command) -> None:
    gone_but_for_the_gallery(filled)
    before = filled("-n", "-t", "5", "a red star")
    index, matrix = index_of(filled), index_of(filled).with_suffix(".matrix")
    bytes_before = index.stat().st_size + folder_bytes(matrix)
    done = filled("--prune", "0")
    assert (done.code, done.out) == (0, "")
    line = one_line(done.err)
    assert line.startswith(f"rclip: index pruned: {APPEND_FROM_ROWS:,} forgotten, ")
    assert list(filled.data_dir.glob("*.db-*")) == []
    freed_bytes = bytes_before - index.stat().st_size - folder_bytes(matrix)
    assert freed_bytes > 0.9 * bytes_before
    assert given_back(line) == pytest.approx(freed_bytes, rel=0.1)
    assert filled("-n", "-t", "5", "a red star") == before
    report(filled)


def test_a_matrix_that_is_still_wanted_is_made_again_without_the_gaps(filled: Command, gallery: Path) -> None:
    execute(
        filled, f"UPDATE images SET path = CAST(replace(path, 'filled', 'kept') AS BLOB) WHERE {path_is('/filled/')}"
    )
    fill(filled, gallery, APPEND_FROM_ROWS)
    gone_but_for_the_gallery(filled)
    matrix = index_of(filled).with_suffix(".matrix")
    before, bytes_before = filled("-n", "-t", "50", "a red star"), folder_bytes(matrix)
    assert filled("--prune", "0").code == 0
    assert folder_bytes(matrix) < 0.55 * bytes_before
    assert len(list(matrix.iterdir())) == 3
    assert filled("-n", "-t", "50", "a red star") == before
    assert report(filled)["matrix"] == f"sound: {APPEND_FROM_ROWS + 12:,} vectors"


def test_ids_are_not_used_again_after_the_highest_were_forgotten(filled: Command, draw: Draw) -> None:
    highest = int(str(value(filled, "SELECT max(id) FROM images")))
    gone_but_for_the_gallery(filled)
    filled("--prune", "0")
    draw("new.jpg", "green star")
    filled("--index")
    assert int(str(value(filled, f"SELECT id FROM images WHERE {path_is('new.jpg')}"))) > highest


def test_space_that_earlier_runs_left_is_given_back_too(filled: Command) -> None:
    execute(filled, f"DELETE FROM images WHERE {path_is('/filled/')}")
    assert given_back(one_line(filled("--prune", "1y").err)) > 1e6
    assert given_back(one_line(filled("--prune", "1y").err)) == 0


def test_a_run_that_reads_meanwhile_puts_off_what_is_given_back(filled: Command) -> None:
    gone_but_for_the_gallery(filled)
    reader = sqlite3.connect(index_of(filled), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM images").fetchone()
    done = filled("--prune", "0")
    assert reader.execute("SELECT count(*) FROM images").fetchone() == (APPEND_FROM_ROWS + 12,)
    reader.execute("ROLLBACK")
    assert (done.code, done.out) == (2, "")
    first, second = done.err.splitlines()
    assert first.startswith(f"rclip: index pruned: {APPEND_FROM_ROWS:,} forgotten, ")
    expected = "the rest of the space is not freed yet (another rclip is reading); run the same again later"
    assert second == f"rclip: {expected}"
    reader.close()
    assert filled("--prune", "0").code == 0
    assert index_of(filled).stat().st_size < 300_000
    report(filled)


def test_a_full_disk_forgets_and_says_that_the_space_is_not_given_back(filled: Command) -> None:
    execute(filled, f"UPDATE images SET missing_ns = 1 WHERE {path_is('/filled/0000')}")
    limit = ("bash", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "limit")
    done = filled("--prune", "0", prefix=limit)
    assert (done.code, done.out) == (2, "")
    first, second = done.err.splitlines()
    assert first.startswith("rclip: index pruned: 100 forgotten, ")
    assert second.startswith("rclip: the rest of the space is not freed yet (")
    assert len(filled("-n", "-t", "99", "a red star").lines) == 99
    report(filled)
    before = index_of(filled).stat().st_size
    assert filled("--prune", "0").code == 0
    assert index_of(filled).stat().st_size < before


def test_a_read_only_index_cannot_be_pruned(rclip: Command, gallery: Path, drop_root: tuple[str, ...]) -> None:
    rclip("--index")
    (gallery / "stars/red.jpg").unlink()
    rclip("--index")
    index_of(rclip).chmod(0o400)
    rclip.data_dir.chmod(0o500)
    try:
        done = rclip("--prune", "0", prefix=drop_root)
    finally:
        rclip.data_dir.chmod(0o700)
    assert (done.code, done.out) == (2, "")
    assert "fix its permissions" in one_line(done.err)


@pytest.mark.slow
def test_pruning_beside_an_indexing_run_and_queries_loses_nothing(filled: Command, draw: Draw, photos: Path) -> None:
    """Photos are looked at, forgotten and found all at once; the table and the matrix are written anew meanwhile."""
    for number in range(100):
        draw(f"new/{number:03}.png")
    gone_but_for_the_gallery(filled)
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(filled.model)]
    indexing = subprocess.Popen([*command, "--index", "-b", "1"], cwd=photos, env=filled.env, stderr=subprocess.PIPE)
    while indexing.poll() is None:
        pruned = filled("--prune", "0")
        assert pruned.code == 0 or "another rclip is reading" in pruned.err, pruned
        assert filled("-n", "-t", "1", "a red star", "stars").code == 0
    _, err = indexing.communicate()
    assert indexing.returncode == 0, err
    assert filled("--prune", "0").code == 0
    assert value(filled, "SELECT count(*) FROM images") == 112
    report(filled)


def test_a_lock_that_is_held_for_a_while_is_waited_for(filled: Command, photos: Path) -> None:
    gone_but_for_the_gallery(filled)
    writer = sqlite3.connect(index_of(filled), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(filled.model), "--prune", "0"]
    pruning = subprocess.Popen(command, cwd=photos, env=filled.env, stderr=subprocess.PIPE)
    wait_until_it_sleeps(pruning)
    writer.execute("ROLLBACK")
    writer.close()
    _, err = pruning.communicate(timeout=60)
    assert (pruning.returncode, err.count(b"\n")) == (0, 1), err
    assert known(filled) != []
