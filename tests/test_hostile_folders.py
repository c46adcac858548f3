"""Attacks on the real command by the folder it is run in: what lies beside the photos is neither run nor trusted."""

import io
import json
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rclip import Library
from rclip.files import digest_of
from tests.support.command import PEAK, Command, Result
from tests.support.crafted import repeat_last_row
from tests.support.gallery import Draw, draw_scene
from tests.support.terminals import on_terminal
from tests.support.tiers import few

RCLIP = Path(sys.executable).with_name("rclip")

# --- code beside the photos -------------------------------------------------------------------------------------------

MODULES = (
    *("json", "socket", "subprocess", "typing", "enum", "re", "struct", "signal", "contextlib", "pathlib", "argparse"),
    *("sqlite3", "sitecustomize", "usercustomize", "pip", "tempfile", "logging", "random", "threading", "queue"),
    *("resource", "zlib", "io", "warnings", "traceback", "pillow_heif", "pillow_jxl", "rawpy", "tqdm", "numkong"),
    *("platformdirs", "xml", "mmap", "_decimal", "pkgutil", "runpy", "shtab", "argparse_manpage", "wcwidth"),
)
PACKAGES = ("numpy", "PIL", "torch", "clip", "torchvision", "ftfy", "regex", "importlib", "concurrent", "email")
PROGRAMS = ("xdg-open", "open", "tmux", "python", "python3", "sh", "stty", "tput", "uname", "file", "env", "rclip")


@pytest.fixture
def marker(photos: Path, tmp_path: Path) -> Path:
    """A file that is made by whatever is run of the modules and programs that lie in `photos`."""
    marker = tmp_path / "was run"
    code = f"open({str(marker)!r}, 'a').write(__file__ + '\\n')\nraise ImportError('hostile')\n"
    for name in MODULES:
        (photos / f"{name}.py").write_text(code)
    for name in PACKAGES:
        (photos / name).mkdir()
        (photos / name / "__init__.py").write_text(code)
    (photos / "hostile-1.dist-info").mkdir()
    (photos / "hostile-1.dist-info" / "entry_points.txt").write_text("[console_scripts]\nrclip = json:run\n")
    (photos / "hostile.pth").write_text(f"import os; open({str(marker)!r}, 'a').write('pth')\n")
    for name in PROGRAMS:
        (photos / name).write_text(f"#!/bin/sh\necho {name} >>'{marker}'\n")
        (photos / name).chmod(0o755)
    return marker


@pytest.mark.parametrize("how", [(RCLIP,), (sys.executable, "-P", "-m", "rclip")], ids=["command", "module"])
@pytest.mark.parametrize("part", ["", "."])
def test_nothing_beside_the_photos_is_run(
    rclip: Command, draw: Draw, marker: Path, photos: Path, how: tuple[str | Path, ...], part: str
) -> None:
    draw("a.jpg", "red star")
    draw("b.tif", "blue circle")
    (photos / "c.heic").write_bytes(b"none")
    path = os.pathsep.join([part, "/usr/bin", "/bin"])
    environment = rclip.env | {"PATH": path, "TMUX": "/nowhere,1,0", "TMPDIR": str(photos.parent)}
    for words in (
        ("--index",),
        ("a red star",),
        ("-n", "--after", "2000", "a red star"),
        ("./a.jpg",),
        ("./b.tif",),
        ("--json", "./b.tif", "+", "a star"),
        ("--open", "-t", "1", "a red star"),
        ("--stats",),
        ("--check",),
        ("--prune",),
        ("--rebuild",),
        ("--init",),
        ("--help",),
        ("--generate", "man"),
    ):
        done = subprocess.run(
            [*how, "--model", rclip.model, *words], cwd=photos, env=environment, capture_output=True, check=False
        )
        assert b"Traceback" not in done.stderr
        assert not marker.exists(), (words, marker.read_text())
    assert done.returncode == 0


def test_nothing_beside_the_photos_is_run_to_draw_them(rclip: Command, draw: Draw, marker: Path) -> None:
    draw("a.jpg", "red star")
    rclip("--index")
    for kind in ("auto", "blocks"):
        command = ["/usr/bin/env", "PATH=:/usr/bin:/bin", str(RCLIP), "--model", str(rclip.model), f"--preview={kind}"]
        shown = on_terminal(rclip, command=[*command, "a red star"], env={"TMUX": "/nowhere,1,0"})
        assert (shown.code, shown.err) == (0, "")
        assert not marker.exists(), marker.read_text()


def test_the_advice_runs_nothing_beside_the_photos(rclip: Command, photos: Path, marker: Path) -> None:
    """Where a package is lacking that a photo needs."""
    (photos / "c.heic").write_bytes(b"none")
    lacking = (
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'pillow_heif' else find(name, *more)\n"
    )
    elsewhere = photos.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "sitecustomize.py").write_text(lacking)
    told = rclip("a red star", env={"PYTHONPATH": str(elsewhere)}).err
    advice = told.partition("to install what they need: ")[2]
    assert "-m pip install pillow-heif" in advice
    subprocess.run(["sh", "-c", advice.replace("install", "help")], cwd=photos, capture_output=True, check=False)
    assert not marker.exists()


# --- a `.rclip` that someone else made --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def handed_over(prepared_data: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four photos that somebody else has indexed, with another rclip."""
    root = tmp_path_factory.mktemp("stranger")
    photos = root / "photos"
    photos.mkdir()
    rng = random.Random(19)
    for color in ("red", "blue", "green", "yellow"):
        draw_scene(photos / f"{color}.jpg", f"{color} star", rng)
    stranger = Command(root, shutil.copytree(prepared_data, root / "data"), tiny_checkpoint, photos)
    assert stranger("--init").code == 0
    assert stranger("--index").code == 0
    return photos


@pytest.fixture
def received(handed_over: Path, photos: Path) -> Path:
    """The index in a copy of that folder."""
    shutil.copytree(handed_over, photos, dirs_exist_ok=True)
    (index,) = (photos / ".rclip").glob("*.db")
    return index


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder with files of the user's that no command may touch."""
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in ("seal.json", "columns.json", "vectors-0000000000000000", "diary.txt", ".rclip-old"):
        (folder / name).write_text("dear diary, " * 1000)
        os.utime(folder / name, (0, 0))
    return folder


def state_of(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Bytes, times and modes of all plain files in it."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.lstat().st_mtime_ns, path.lstat().st_mode)
        for path in folder.rglob("*")
        if not path.is_symlink() and path.is_file()
    }


COMMANDS = (
    ("-n", "a red star"),
    ("a red star",),
    ("-n", "--after", "2000", "a red star"),
    ("--path", "*", "--type", "jpg"),
    ("--index",),
    ("--stats",),
    ("--check",),
    ("--prune", "0", "--away"),
    ("--rebuild",),
)


def bear(rclip: Command, victim: Path, *, adopted: bool) -> list[Result]:
    """All commands, of which none may hang, show a traceback, print what is no photo, or change what is another's."""
    if adopted:
        assert rclip("--init").code in (0, 2)
    before = state_of(victim)
    received = state_of(rclip.cwd / ".rclip")
    results = []
    for words in COMMANDS:
        done = rclip(*words)
        results.append(done)
        assert "Traceback" not in done.err, words
        assert "fault of rclip itself" not in done.err, (words, done.err)
        assert done.code in (0, 1, 2)
        assert not (done.code == 1 and "no photo" not in done.err), (words, done.err)
        assert not any("passwd" in line or ".." in line for line in done.lines if words[0] not in ("--check",)), (
            done.out
        )
        assert state_of(victim) == before, words
        if not adopted:
            assert state_of(rclip.cwd / ".rclip") == received, words
    return results


LINE = "was not made by you here: it is only searched, as it is; rclip --init"


def test_one_received_is_searched_and_not_written_to(rclip: Command, received: Path, victim: Path, draw: Draw) -> None:
    draw("new.jpg", "red circle")
    results = bear(rclip, victim, adopted=False)
    for words, done in zip(COMMANDS, results, strict=True):
        assert done.err.count(LINE) == len(done.err.splitlines()) == 1, (words, done.err)
        assert f"rclip --init {rclip.cwd} adopts it" in done.err
    assert [done.code for done in results] == [0, 0, 0, 0, 2, 0, 0, 2, 2]
    assert [done.lines[:1] for done in results[:3]] == [["red.jpg"]] * 3
    assert sorted(rclip.data_dir.glob("*.db")) == []
    assert not (rclip.data_dir / "portable").exists()
    assert rclip("--init").code == 0
    assert rclip("-t", "1", "a red circle") == (0, "new.jpg\n", "rclip: index updated: found 1 new photo\n")


def test_what_the_users_own_index_knows_is_not_told_to_one_received(
    rclip: Command, received: Path, photos: Path, tmp_path: Path
) -> None:
    aside = (photos / ".rclip").rename(tmp_path / "aside")
    (photos / "private").mkdir(mode=0o700)
    shutil.copy(photos / "red.jpg", photos / "private" / "secret.jpg")
    assert rclip("--index").code == 0
    aside.rename(photos / ".rclip")
    before = received.read_bytes()
    assert rclip("--index", "private").code == 2
    assert rclip("a red star", "private").lines == []
    assert received.read_bytes() == before


def link_database(index: Path, victim: Path) -> None:
    index.rename(victim / "elsewhere.db")
    index.symlink_to(victim / "elsewhere.db")


def hard_link_database(index: Path, victim: Path) -> None:
    os.link(index, victim / "elsewhere.db")


def dangling_database(index: Path, victim: Path) -> None:
    index.unlink()
    index.symlink_to(victim / "made.db")


def pipe_database(index: Path, victim: Path) -> None:
    index.unlink()
    os.mkfifo(index)


def endless_database(index: Path, victim: Path) -> None:
    index.unlink()
    index.symlink_to("/dev/zero")


def beside(suffix: str, what: str) -> Callable[[Path, Path], None]:
    def put(index: Path, victim: Path) -> None:
        path = Path(f"{index}{suffix}")
        if what == "pipe":
            os.mkfifo(path)
        elif what == "link":
            path.symlink_to(victim / "diary.txt")
        else:
            path.symlink_to("/dev/zero")

    put.__name__ = f"{what} as {suffix}"
    return put


def journal_that_names_a_file(index: Path, victim: Path) -> None:
    """SQLite plays it back, and deletes the file that it names, if that names no other journal that is there."""
    target = os.fsencode(victim / "diary.txt")
    magic = bytes.fromhex("d9d505f920a163d7")
    pages = os.stat(index).st_size // 8192
    header = magic + struct.pack(">iIIII", 0, 1, pages, 512, 8192)
    lock_page = (1 << 30) // 8192 + 1
    checksum = sum(byte - 256 if byte > 127 else byte for byte in target) & 0xFFFFFFFF
    name = struct.pack(">I", lock_page) + target + struct.pack(">II", len(target), checksum) + magic
    Path(f"{index}-journal").write_bytes(header.ljust(512, b"\0") + name)


def linked_folder(index: Path, victim: Path) -> None:
    shutil.move(index.parent, victim / "rclip")
    index.parent.symlink_to(victim / "rclip")


STRANGE_FILES = [
    link_database,
    hard_link_database,
    dangling_database,
    pipe_database,
    endless_database,
    journal_that_names_a_file,
    *(beside(suffix, what) for suffix in ("-wal", "-shm", "-journal") for what in ("pipe", "link", "zero")),
]


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("attack", STRANGE_FILES, ids=lambda attack: attack.__name__)
def test_only_plain_files_are_opened(
    rclip: Command, received: Path, victim: Path, attack: Callable[[Path, Path], None], adopted: bool
) -> None:
    attack(received, victim)
    results = bear(rclip, victim, adopted=adopted)
    if received.exists():
        assert "not opened: " in results[0].err
        assert results[0].code == 2


def test_a_place_that_is_a_link_is_none(rclip: Command, received: Path, victim: Path) -> None:
    linked_folder(received, victim)
    before = state_of(victim)
    assert rclip("a red star").err == "rclip: index updated: found 4 new photos\n"
    assert "cannot create" in rclip("--init").err
    assert state_of(victim) == before


def cache_files(folder: Path) -> list[Path]:
    return [folder / name for name in ("seal.json", "columns.json", "vectors-0000000000000000", "ids-0000000000000000")]


@pytest.mark.parametrize("attack", ["folder is a link", "token leads out", "links", "pipes", "zero", "nested"])
def test_caches_beside_an_index_are_not_looked_at(rclip: Command, received: Path, victim: Path, attack: str) -> None:
    folder = received.with_suffix(".matrix")
    contents = {"rows": 1 << 40, "dimensions": 64, "last_id": 1, "crc32": [0, 0], "stats": []}
    if attack == "folder is a link":
        folder.symlink_to(victim)
    else:
        folder.mkdir()
        for path in cache_files(folder):
            if attack == "token leads out":
                path.write_text(json.dumps({"token": "x/../../../../victim/diary.txt", **contents}))
            elif attack == "links":
                path.symlink_to(victim / "diary.txt")
            elif attack == "pipes":
                os.mkfifo(path)
            elif attack == "zero":
                path.symlink_to("/dev/zero")
            else:
                path.write_text("[" * 60000)
    fill(received, 5000)
    for adopted in (False, True):
        assert bear(rclip, victim, adopted=adopted)[0].lines[:1] == ["red.jpg"]


@pytest.mark.parametrize("attack", ["token leads out", "links", "pipes", "zero", "nested", "short", "types"])
def test_nor_is_the_users_own_cache_believed(
    rclip: Command, received: Path, victim: Path, photos: Path, attack: str
) -> None:
    fill(received, 5000)
    assert rclip("--init").code == 0
    assert rclip("-n", "--after", "2000", "a red star").lines[:1] == ["red.jpg"]
    (folder,) = rclip.data_dir.glob("portable/*/*.matrix")
    files = list(folder.iterdir())
    assert len(files) == 3
    for path in files:
        is_seal = path.suffix == ".json"
        content = path.read_bytes()
        if attack in ("links", "pipes", "zero"):
            path.unlink()
        if attack == "links":
            path.symlink_to(victim / "diary.txt")
        elif attack == "pipes":
            os.mkfifo(path)
        elif attack == "zero":
            path.symlink_to("/dev/zero")
        elif attack == "short":
            path.write_bytes(content if is_seal else content[:100])
        elif is_seal:
            contents = json.loads(content)
            if attack == "token leads out":
                path.write_text(json.dumps(contents | {"token": "/../../../../victim/diary.txt"}))
            elif attack == "types":
                path.write_text(json.dumps(dict.fromkeys(contents, "5") | {"rows": -1}))
            else:
                path.write_text("[" * 60000)
    assert bear(rclip, victim, adopted=True)[0].lines[:1] == ["red.jpg"]


def fill(index: Path, count: int) -> None:
    """Photos that are not there, enough for a matrix, and all unlike a star."""
    run_in(
        index,
        f"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {count})"
        " INSERT INTO images (path, mtime_ns, size, device, inode, digest, vector, has_metadata, missing_ns)"
        " SELECT CAST('/filled/' || x AS BLOB), 1, 1, 1, x, randomblob(16), vector, 1, 1 FROM n, images WHERE id = 1",
    )


def run_in(index: Path, *statements: str) -> None:
    connection = sqlite3.connect(index, isolation_level=None)
    for sql in statements:
        connection.execute(sql)
    connection.close()


SCHEMAS = {
    "a view": ["CREATE VIEW v AS SELECT 1"],
    "a table of one's own": ["CREATE TABLE t (x)"],
    "a trigger": ["CREATE TRIGGER t AFTER UPDATE ON images BEGIN DELETE FROM images; END"],
    "a view in the place of the table": [
        "DROP TRIGGER images_delete",
        "ALTER TABLE images RENAME TO hidden",
        "CREATE VIEW images AS SELECT * FROM hidden WHERE id > 2",
    ],
    "an index by a function": ["CREATE INDEX i ON images (hex(path))"],
    "a generated column": ["ALTER TABLE images ADD COLUMN more AS (zeroblob(100000000))"],
    "no tables": ["DROP TABLE metadata"],
    "a name that is no text": [
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET name = x'ff00' WHERE rowid = 1",
    ],
    "two tables in one": ["PRAGMA writable_schema = ON", "UPDATE sqlite_schema SET sql = 'CREATE TABLE'"],
}


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("attack", SCHEMAS)
def test_only_the_schema_of_an_rclip_is_read(
    rclip: Command, received: Path, victim: Path, attack: str, adopted: bool
) -> None:
    run_in(received, *SCHEMAS[attack])
    results = bear(rclip, victim, adopted=adopted)
    assert results[0].code == 2
    assert "is damaged (" in results[0].err
    assert "; rclip --rebuild" in results[0].err
    if adopted:
        assert results[-1].code == 0
        assert rclip("-n", "-t", "1", "a red star").lines == ["red.jpg"]


PATHS = [
    b"//etc/passwd",
    b"/../../etc/passwd",
    b"/a/../../etc/passwd",
    b"/./../etc/passwd",
    b"etc/passwd",
    b"/..",
    b"/a\0/etc/passwd",
    b"/out/passwd",
]


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_paths_that_lead_out_are_neither_printed_nor_opened(
    rclip: Command, received: Path, victim: Path, photos: Path, path: bytes, adopted: bool
) -> None:
    (photos / "out").symlink_to("/etc")
    run_in(received, f"UPDATE images SET path = x'{path.hex()}' WHERE path = CAST('/blue.jpg' AS BLOB)")
    results = bear(rclip, victim, adopted=adopted and path != PATHS[-1])
    assert results[0].code in (0, 2)
    opened = photos.parent / "opened"
    programs = photos.parent / "programs"
    programs.mkdir()
    for name in ("xdg-open", "open"):
        (programs / name).write_text(f'#!/bin/sh\necho "$@" >>{opened}\n')
        (programs / name).chmod(0o755)
    rclip("-n", "--open", "a blue star", env={"PATH": f"{programs}:/usr/bin:/bin"})
    assert not opened.exists() or "passwd" not in opened.read_text()


def test_a_tree_of_pages_without_an_end_is_given_up(rclip: Command, received: Path, victim: Path) -> None:
    """Each page of it leads to the next a hundred times over: it has more rows than there will ever be time for."""
    connection = sqlite3.connect(received)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'images_listing'").fetchone()
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    connection.close()
    content = bytearray(received.read_bytes())
    leaf = bytes(content[(root - 1) * 8192 : root * 8192])
    assert leaf[0] == 10
    cell_at = int.from_bytes(leaf[8:10], "big")
    payload = leaf[cell_at : cell_at + leaf[cell_at] + 1]
    levels = 8
    pages = [root, *range(count + 1, count + levels + 1)]
    for level, page in enumerate(pages):
        below = pages[level + 1] if level < levels else 0
        made = bytearray(leaf) if not below else bytearray(8192)
        if below:
            end = 8192
            cell = struct.pack(">I", below) + payload
            for number in range(100):
                end -= len(cell)
                made[end : end + len(cell)] = cell
                made[12 + 2 * number : 14 + 2 * number] = struct.pack(">H", end)
            made[:12] = struct.pack(">BHHHBI", 2, 0, 100, end, 0, below)
        content[(page - 1) * 8192 : page * 8192] = made
    content[28:32] = struct.pack(">I", count + levels)
    received.write_bytes(content)
    bear(rclip, victim, adopted=False)
    assert "is damaged (" in rclip("--stats").err


def test_holes_do_not_lift_the_limit(rclip: Command, received: Path, victim: Path) -> None:
    """So much work as a sound file of that size has use for is months of it, where it has terabytes of nothing."""
    test_a_tree_of_pages_without_an_end_is_given_up(rclip, received, victim)
    with open(received, "r+b") as file:
        try:
            file.truncate(1 << 43)
        except OSError:
            pytest.skip("the disk takes no such file")
    assert "is damaged (" in rclip("--stats").err


def vector(dimensions: int, value: float = 0.0) -> str:
    """One of length 1 as SQL, unless all its other numbers are this."""
    numbers = np.full(dimensions, value, np.float16)
    numbers[0] = value or 1
    return f"x'{numbers.tobytes().hex()}'"


LONG = "printf('%.*c', 100000, 'x')"
ABSURD = {
    "vectors of 4 numbers": f"UPDATE images SET vector = {vector(4)}",
    "vectors of 60,000 numbers": f"UPDATE images SET vector = {vector(60_000)}",
    "a vector of 60,000 numbers": f"UPDATE images SET vector = {vector(60_000)} WHERE id = 2",
    "a vector of 4 numbers": f"UPDATE images SET vector = {vector(4)} WHERE id = 2",
    "vectors without end": f"UPDATE images SET vector = {vector(64, np.inf)}",
    "vectors that are no numbers": f"UPDATE images SET vector = {vector(64, np.nan)}",
    "vectors of nothing": "UPDATE images SET vector = x''",
    "vectors of half a number": "UPDATE images SET vector = x'000000'",
    "moments of 60,000 numbers": f"INSERT INTO moments SELECT 9 + id, id, 0, {vector(60_000)} FROM images;"
    " INSERT INTO films SELECT id, 0, 2, 9, NULL, NULL FROM images",
    "captions": f"UPDATE metadata SET caption = {LONG}",
    "keywords": f"UPDATE metadata SET keywords = {LONG}",
    "lenses": f"UPDATE metadata SET lens = {LONG}",
    "cameras": f"INSERT INTO cameras VALUES (1, {LONG}, 'x'); UPDATE metadata SET camera = 1",
    "a path": f"UPDATE images SET path = CAST('/' || {LONG} || '.jpg' AS BLOB) WHERE id = 2",
    "notes": f"UPDATE meta SET value = {LONG}",
    "a failure": f"UPDATE images SET vector = NULL, failure = {LONG}, failure_kind = 1 WHERE id = 2",
    "failures of films": f"INSERT INTO films SELECT id, 0, 2, 9, NULL, {LONG} FROM images",
    "digests": "UPDATE images SET digest = zeroblob(100000)",
    "ids": "UPDATE images SET id = 9223372036854775807 - id",
}


@pytest.mark.parametrize("absurd", few(ABSURD))
def test_absurd_values_are_neither_used_nor_shown(
    rclip: Command, received: Path, victim: Path, tmp_path: Path, absurd: str
) -> None:
    run_in(received, *ABSURD[absurd].split("; "))
    before = state_of(received.parent)
    export = str(tmp_path / "photos.npz")
    for words in (
        ("-n", "a red star"),
        ("--json", "--after", "2000", "a red star"),
        ("-n", "./red.jpg"),
        ("--words", "star"),
        ("--duplicates",),
        ("--relevant", "--fold", "0.9", "a red star"),
        ("--export", export),
        ("--stats",),
        ("--check",),
    ):
        done = rclip(*words)
        assert done.code in (0, 1, 2), words
        for told in ("Traceback", "fault of rclip itself", "Unable to allocate", "Warning"):
            assert told not in done.err, (words, done.err)
        assert max([0, *map(len, (done.out + done.err).splitlines())]) < 6000, words
    assert state_of(received.parent) == before


def test_a_small_file_with_gigabytes_of_rows_is_given_up(rclip: Command, received: Path) -> None:
    """Its rows share their pages: no row is too long, and there are not too many."""
    row = "CAST('/z' AS BLOB), 1, 1, 1, 9, randomblob(16), zeroblob(126000), 1"
    run_in(
        received,
        "INSERT INTO images (path, mtime_ns, size, device, inode, digest, vector, has_metadata) VALUES (" + row + ")",
    )
    repeat_last_row(received, "images", 9000)
    assert received.stat().st_size < 40 << 20
    for words in (("-n", "a red star"), ("--duplicates",), ("--check",)):
        done = rclip(*words, prefix=(sys.executable, "-S", "-c", PEAK))
        *told, megabytes = done.err.splitlines()
        assert done.code == 2, words
        assert "is damaged (" in told[-1] or "something is damaged" in told[-1], told
        assert int(megabytes) < 400, words


def test_an_index_received_has_no_say_over_the_users_own_photos(
    rclip: Command, received: Path, draw: Draw, tmp_path: Path
) -> None:
    """It says of a file that it has the bytes of a private photo: a small picture made of it would pass for that one's.

    And whoever deletes what is listed as exact copies would lose the only one.
    """
    own = tmp_path / "own"
    private = draw(own / "private.png", "red circle")
    digest = digest_of(io.BytesIO(private.read_bytes()))
    with Library(own, model=rclip.model, data_dir=rclip.data_dir) as library:
        library.update()
        photo_id = library.search(None)[0].id
        expected = library.thumbnail(photo_id)
        vector = library.vectors().vectors[0].tobytes()
    shutil.rmtree(rclip.data_dir / "thumbnails")
    sql = f"UPDATE images SET digest = x'{digest.hex()}', vector = x'{vector.hex()}'"
    run_in(received, f"{sql} WHERE path = CAST('/red.jpg' AS BLOB)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it was not adopted
        with Library(rclip.cwd, own, model=rclip.model, data_dir=rclip.data_dir) as library:
            ids = {Path(hit.path).name: hit.id for hit in library.search(None)}
            foreign = library.thumbnail(ids["red.jpg"])
            assert library.thumbnail(ids["private.png"]) == expected
            assert foreign != expected
            (group,) = library.duplicates()
            assert [copy.is_exact for copy in group.copies] == [True, False]


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_no_flipped_bit_ends_in_a_traceback(
    rclip: Command, received: Path, victim: Path, seed: int, adopted: bool
) -> None:
    rng = random.Random(seed)
    content = bytearray(received.read_bytes())
    for _ in range(3):
        content[rng.randrange(len(content)) if seed % 2 else rng.randrange(100, 8192)] ^= 1 << rng.randrange(8)
    received.write_bytes(content)
    bear(rclip, victim, adopted=adopted)


@pytest.mark.parametrize("where", ["of the folder", "of the one around it"])
def test_above_somebody_elses_folder_nothing_is_written(
    rclip: Command, gallery: Path, drop_root: tuple[str, ...], where: str
) -> None:
    """It may be for all to write, and its owner could read there of what is private below."""
    if os.geteuid() != 0:
        pytest.skip("only root can give folders away")
    above = gallery / "others"
    (above / ".rclip").mkdir(parents=True, mode=0o777)
    private = above / "private"
    shutil.copytree(gallery / "stars", private)
    for path in (above, above / ".rclip"):
        path.chmod(0o777)
    os.chown(above / ".rclip", 12345, 12345)
    if where == "of the one around it":
        os.chown(above, 12345, 12345)
        os.chown(above / ".rclip", 0, 0)
    assert rclip("a red star", cwd=private, prefix=drop_root).code == 0
    assert list((above / ".rclip").iterdir()) == []
    assert len(list(rclip.data_dir.glob("*.db"))) == 1


# --- the user's own data folder ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"images_listing", b"TABLE images", b"tableimages", b"TRIGGER", b"CHECK", b"cameras"])
def test_a_damaged_schema_of_ones_own_is_a_line_and_rebuilt(
    rclip: Command, gallery: Path, name: bytes, drop_root: tuple[str, ...]
) -> None:
    assert rclip("--index").code == 0
    (index,) = rclip.data_dir.glob("*.db")
    run_in(index, "PRAGMA wal_checkpoint(TRUNCATE)")
    for flipped in (0x01, 0x80):
        content = bytearray(index.read_bytes())
        content[content.index(name) + 2] ^= flipped
        index.write_bytes(content)
        for words in (
            ("-n", "a red star"),
            ("a red star",),
            ("--stats",),
            ("--check",),
            ("--prune", "0"),
            ("--index",),
        ):
            done = rclip(*words)
            assert done.code == 2
            assert "rclip --rebuild" in done.err + done.out
            assert len(done.err.splitlines()) == 1
        for photo in gallery.rglob("*.jpg"):
            photo.chmod(0)  # none is looked at again
        done = rclip("--rebuild", prefix=drop_root)
        assert done.code == 0, done.err
        assert "with 12 files known" in done.err
        assert rclip("-n", "-t", "1", "a red star").lines == ["stars/red.jpg"]


def test_a_crash_is_no_search_without_a_find(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    """An error that nobody has thought of."""
    assert rclip("--index").code == 0
    (tmp_path / "faulty").mkdir()
    (tmp_path / "faulty" / "sitecustomize.py").write_text("import sqlite3\nsqlite3.connect = lambda *a, **k: 1 / 0\n")
    env = {"PYTHONPATH": str(tmp_path / "faulty")}
    done = rclip("-n", "a red star", env=env)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert "fault of rclip itself (ZeroDivisionError" in done.err
    assert "Traceback" in rclip("-n", "a red star", env=env | {"RCLIP_DEBUG": "1"}).err


# --- while it works ---------------------------------------------------------------------------------------------------

_SWAPPING = """
import os, sys
victim = sys.argv.pop(1)
def swap(event, arguments):
    if event == "os.chmod":
        path = arguments[0]
        path = os.fsdecode(os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else path)
        if not os.path.islink(path):
            os.rename(path, path + "-moved")
            os.symlink(victim, path)
            print("swapped", path, file=sys.stderr)
sys.addaudithook(swap)
from rclip.cli.main import run
run()
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")
@pytest.mark.parametrize("what", ["--init", "--index", "--export"])
def test_a_link_in_the_place_of_what_was_just_made_opens_nothing_up(
    rclip: Command, gallery: Path, tmp_path: Path, what: str
) -> None:
    """Whoever may write to that folder, too, swaps it in the moment before it gets its mode."""
    gallery.chmod(0o775)
    victim = tmp_path / "victim"
    if what == "--init":
        victim.mkdir()
    else:
        victim.write_text("private")
        assert rclip("--init").code == 0
    victim.chmod(0o700)
    arguments = [what]
    if what == "--export":
        assert rclip("--index").code == 0
        exported = gallery / "photos.jsonl"
        exported.touch()
        exported.chmod(0o666)
        arguments = ["-n", what, str(exported)]
    command = [sys.executable, "-P", "-c", _SWAPPING, str(victim), "--model", str(rclip.model), *arguments]
    done = subprocess.run(command, cwd=gallery, env=rclip.env, capture_output=True, text=True, check=False, timeout=60)
    assert "swapped" in done.stderr
    assert victim.stat().st_mode & 0o777 == 0o700
    assert "Traceback" not in done.stderr
