"""The command as its user meets it: queries, output forms, exit codes, errors in one line."""

import base64
import json
import os
import random
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from tests.support.command import Command, one_line, unchanged
from tests.support.gallery import GALLERY, Draw, draw_scene
from tests.support.terminals import text_on_terminal
from tests.support.tiers import few


@pytest.fixture(scope="module")
def rclip_on_gallery(tmp_path_factory: pytest.TempPathFactory, prepared_data: Path, tiny_checkpoint: Path) -> Command:
    """The command in an indexed gallery that no test changes."""
    root = tmp_path_factory.mktemp("gallery")
    rng = random.Random(3)
    for color, shape in GALLERY:
        folder = root / "photos" / f"{shape}s"
        folder.mkdir(parents=True, exist_ok=True)
        draw_scene(folder / f"{color}.jpg", f"{color} {shape}", rng)
    shutil.copytree(prepared_data, root / "data")
    (root / "home").mkdir()
    command = Command(root / "home", root / "data", tiny_checkpoint, root / "photos")
    indexed = command("--index", "-v")
    assert (indexed.code, indexed.out) == (0, "")
    assert one_line(indexed.err) == "rclip: index updated: found 12 new photos"
    return command


# --- finding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("color", "shape"), few(GALLERY))
def test_finds_what_is_in_the_pictures(rclip_on_gallery: Command, color: str, shape: str) -> None:
    found = rclip_on_gallery("-n", "-t", "1", f"a {color} {shape}")
    assert (found.code, found.lines, found.err) == (0, [f"{shape}s/{color}.jpg"], "")


def test_a_first_run_indexes_and_answers(rclip: Command, gallery: Path) -> None:
    first = rclip("a blue star", "-t", "1")
    assert (first.code, first.lines) == (0, ["stars/blue.jpg"])
    assert one_line(first.err) == "rclip: index updated: found 12 new photos"
    second = rclip("a blue star", "-t", "1")
    assert (second.code, second.lines, second.err) == (0, ["stars/blue.jpg"], "")


def test_an_update_that_is_asked_for_says_also_that_nothing_has_changed(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    (gallery / "stars/red.jpg").unlink()
    assert one_line(rclip("--index", "-v").err) == "rclip: index updated: found 1 missing"
    assert rclip("--index", "-v") == (0, "", unchanged(11))
    assert rclip("--index", "-v", "circles") == (0, "", unchanged(4))
    assert rclip("--index") == (0, "", "")
    assert rclip("-v", "-t", "1", "a blue star") == (0, "stars/blue.jpg\n", "")


def test_prints_ten_unless_told_otherwise(rclip_on_gallery: Command) -> None:
    assert len(rclip_on_gallery("-n", "a star").lines) == 10
    assert len(rclip_on_gallery("-n", "a star", "--top", "11").lines) == 11
    assert len(rclip_on_gallery("-n", "a star", "-t", "500").lines) == 12


def test_a_picture_finds_its_likes(rclip_on_gallery: Command) -> None:
    found = rclip_on_gallery("-n", "-t", "3", "./squares/green.jpg")
    assert all(path.startswith("squares/") or path.endswith("green.jpg") for path in found.lines)


def test_results_are_spelled_as_reached_from_the_directory(rclip_on_gallery: Command) -> None:
    here = rclip_on_gallery.cwd

    def first(*directories: str) -> str:
        return rclip_on_gallery("-n", "-t", "1", "a red circle", *directories).lines[0]

    assert first() == "circles/red.jpg"
    assert first(".") == "./circles/red.jpg"
    assert first("circles") == "circles/red.jpg"
    assert first("circles/") == "circles/red.jpg"
    assert first("../photos") == "../photos/circles/red.jpg"
    assert first(str(here)) == f"{here}/circles/red.jpg"
    assert first("stars", "circles") == "circles/red.jpg"
    assert first("circles", ".") == "circles/red.jpg"


def test_only_the_directories_named_are_searched(rclip_on_gallery: Command) -> None:
    found = rclip_on_gallery("-n", "-t", "99", "a red circle", "stars", "squares").lines
    assert sorted({line.split("/")[0] for line in found}) == ["squares", "stars"]
    assert len(found) == 8


def test_overlapping_directories_give_each_photo_once(rclip_on_gallery: Command) -> None:
    found = rclip_on_gallery("-n", "-t", "99", "a star", ".", "stars", str(rclip_on_gallery.cwd)).lines
    assert len(found) == 12


def test_a_directory_that_is_a_link_finds_what_it_leads_to(rclip_on_gallery: Command, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(rclip_on_gallery.cwd)
    assert rclip_on_gallery("-n", "-t", "1", "a red star", str(link)).lines == [f"{link}/stars/red.jpg"]


def test_a_folder_whose_name_begins_alike_is_another_folder(rclip: Command, draw: Draw) -> None:
    draw("a/red.jpg")
    draw("a b/red.jpg")
    draw("ab/red.jpg")
    draw("A/red.jpg")
    rclip("--index")
    assert rclip("-n", "red", "a").lines == ["a/red.jpg"]


# --- output ----------------------------------------------------------------------------------------------------------


def test_json_lines(rclip_on_gallery: Command) -> None:
    found = rclip_on_gallery("-n", "-t", "2", "--json", "a green circle")
    first, second = map(json.loads, found.lines)
    path = rclip_on_gallery.cwd / "circles/green.jpg"
    assert first["path"] == str(path)
    assert list(first) == [
        *("path", "score", "rank", "size", "modified", "captured", "captured_offset", "captured_from", "width"),
        "height",
    ]
    assert 1 > first["score"] > second["score"] > -1
    assert first["size"] == path.stat().st_size
    assert first["modified"].startswith("20")
    assert first["modified"].endswith("+00:00")


def test_scores_are_cosines(rclip_on_gallery: Command) -> None:
    shutil.copy(rclip_on_gallery.cwd / "stars/blue.jpg", rclip_on_gallery.cwd / "../copy.jpg")
    found = rclip_on_gallery("-n", "-t", "1", "--json", "../copy.jpg")
    assert json.loads(found.out)["score"] == pytest.approx(1, abs=2e-3)


def test_null_ended_paths(rclip_on_gallery: Command) -> None:
    found = rclip_on_gallery("-n", "-t", "3", "-0", "a circle")
    assert found.out.count("\0") == 3
    assert "\n" not in found.out


def test_paths_alone_are_what_a_pipe_gets(rclip_on_gallery: Command) -> None:
    assert rclip_on_gallery("-n", "-f", "a circle").out == rclip_on_gallery("-n", "a circle").out


def test_a_terminal_gets_scores_and_paths(rclip_on_gallery: Command) -> None:
    shown = text_on_terminal(rclip_on_gallery, "-n", "-t", "2", "a yellow circle").splitlines()
    score, path = shown[0].split("  ", 1)
    assert path.split() == ["circles/yellow.jpg", date.today().isoformat()]
    assert float(score) > float(shown[1].split("  ")[0])
    assert text_on_terminal(rclip_on_gallery, "-n", "-t", "1", "-f", "a yellow circle") == "circles/yellow.jpg\n"


def test_control_characters_are_escaped_on_a_terminal_and_raw_in_a_pipe(rclip: Command, draw: Draw) -> None:
    draw("evil\x1b[2J\nname.jpg")
    rclip("--index")
    assert "evil\\x1b[2J\\nname.jpg" in text_on_terminal(rclip, "-n", "red")
    assert text_on_terminal(rclip, "-n", "-f", "red") == "evil\\x1b[2J\\nname.jpg\n"
    assert rclip("-n", "red").out == "evil\x1b[2J\nname.jpg\n"


STRANGE_NAMES = [
    b"with space.jpg",
    b"'single' \"double\".jpg",
    b"new\nline.jpg",
    b"-rf.jpg",
    b"--help.jpg",
    b"not utf-8 \xff\xfe.jpg",
    "ünï 東京 🐈.jpg".encode(),
    b"%s {} $HOME `x` * ?.jpg",
    b"back\\slash.jpg",
    b"tab\there.jpg",
    b"UPPER.JPG",
    b"x" * 251 + b".jpg",
]


@pytest.mark.parametrize("name", few(STRANGE_NAMES, fast=2))
def test_strange_names_come_out_as_they_are(rclip: Command, draw: Draw, photos: Path, name: bytes) -> None:
    os.rename(draw("plain.jpg", "green square"), os.path.join(os.fsencode(photos), name))
    found = rclip.raw("a green square", "-0")
    spelled = b"./" + name if name.startswith(b"-") else name
    assert found.stdout == spelled + b"\0"
    assert found.returncode == 0
    again = json.loads(rclip("-n", "--json", "a green square").out)
    path = again["path"].encode() if "path" in again else base64.b64decode(again["path_b64"])
    assert path == os.path.join(os.fsencode(photos), name)
    assert ("path_b64" in again) == (b"\xff" in name)


def test_strange_folders_can_be_searched(rclip: Command, draw: Draw, photos: Path) -> None:
    draw("sub/red.jpg")
    folder = os.path.join(os.fsencode(photos), b"-odd \xff\n")
    os.rename(photos / "sub", folder)
    assert rclip.raw("red", "--", folder).stdout == folder + b"/red.jpg\n"
    assert rclip.raw("-n", "red").stdout == b"./-odd \xff\n/red.jpg\n"


# --- exit status and errors ------------------------------------------------------------------------------------------


def test_nothing_found_is_exit_1(rclip: Command) -> None:
    found = rclip("anything")
    assert (found.code, found.out, found.err) == (1, "", "rclip: no photos here\n")


def test_searching_what_was_never_indexed_says_so(rclip: Command, gallery: Path) -> None:
    found = rclip("-n", "a star")
    assert (found.code, found.out) == (1, "")
    assert "without -n" in one_line(found.err)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "the query is missing"),
        ([""], "the query is empty"),
        (["  \t"], "the query is empty"),
        (
            ["a cat", "nowhere"],
            'there is no folder nowhere; a query of several words needs quotes: rclip "a cat nowhere"',
        ),
        (["--index", "nowhere"], "there is no folder nowhere"),
        (["a cat", "stars/red.jpg"], "is a file, not a folder"),
        (["-t", "0", "a cat"], "-t/--top: must be a whole number of at least 1, not '0'"),
        (["-t", "many", "a cat"], "-t/--top: must be a whole number"),
        (["-b", "-3", "a cat"], "-b/--batch-size"),
        (["--max-image-megapixels", "nan", "a cat"], "--max-image-megapixels: must be a number above 0, not 'nan'"),
        (["--device", "tpu", "a cat"], "--device: must be auto, cpu, cuda"),
        (["--nonsense", "a cat"], "unknown option: --nonsense; rclip --help lists the options"),
        (["-x", "a cat"], "unknown option: -x; rclip --help lists the options"),
        (["--preveiw", "a cat"], "unknown option: --preveiw; did you mean --preview?"),
        (["a cat", "--preveiw-height=3"], "unknown option: --preveiw-height; did you mean --preview-height?"),
        (["a cat", "--exclude_dir", "old"], "unknown option: --exclude_dir; did you mean --exclude-dir?"),
        (["--colour", "always", "a cat"], "unknown option: --colour; did you mean --color?"),
        (["--no-index", "a cat"], "unknown option: --no-index; did you mean --no-indexing?"),
        (["-json", "a cat"], "unknown option: -json; did you mean --json?"),
        (["--json", "-0", "a cat"], "--null and --json cannot be used together"),
        (["--index", "-n"], "--index and -n cannot be used together: leave one of them out"),
        (["--exclude-dir", "a/b", "a cat"], "--exclude-dir: must be the name of a folder, not 'a/b'"),
        (["a", "red", "circle"], 'there is no folder red; a query of several words needs quotes: rclip "a red circle"'),
        (["-n", "./no.jpg"], "cannot open ./no.jpg: No such file or directory"),
        (["-n", "./text.txt"], "cannot open ./text.txt: damaged, or not a picture in a format known here"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(rclip_on_gallery: Command, arguments: list[str], expected: str) -> None:
    (rclip_on_gallery.cwd / "text.txt").write_text("no picture")
    done = rclip_on_gallery(*arguments)
    assert (done.code, done.out) == (2, "")
    line = one_line(done.err)
    assert line.startswith("rclip: ")
    assert expected in line


def test_an_unknown_model_is_one_line_that_names_the_models(rclip: Command, gallery: Path) -> None:
    done = rclip("a cat", model="ViT-Z-99")
    assert (done.code, done.out) == (2, "")
    assert "'ViT-Z-99'" in one_line(done.err)
    assert "RN50x64, ViT-B/32" in done.err


@pytest.mark.parametrize(
    ("said", "meant"), [("ViT-L-14", "ViT-L/14"), ("vit-b32", "ViT-B/32"), ("rn5x64", "RN50x64"), ("./ViT-B16", "")]
)
def test_a_model_that_is_nearly_one_is_suggested(rclip: Command, gallery: Path, said: str, meant: str) -> None:
    done = rclip("a cat", model=said)
    assert (done.code, done.out) == (2, "")
    suggestion = f"did you mean {meant}? " if meant else ""
    takes = "--model takes a file, a folder, or one of "
    expected = f"rclip: there is no model and no checkpoint file '{said}'; {suggestion}{takes}"
    assert one_line(done.err).startswith(expected)


def test_a_full_disk_behind_stdout_is_one_line(rclip_on_gallery: Command) -> None:
    command = f"{sys.executable} -P -m rclip --model {rclip_on_gallery.model} -n star > /dev/full"
    done = in_bash(rclip_on_gallery, command)
    assert (done.returncode, done.stderr) == (2, b"rclip: stopped: No space left on device\n")


@pytest.mark.parametrize("arguments", ["--help", "--version", "--generate man", "--generate complete-bash"])
def test_what_is_printed_on_request_is_one_line_on_a_full_disk_too(rclip_on_gallery: Command, arguments: str) -> None:
    done = in_bash(rclip_on_gallery, f"{sys.executable} -P -m rclip {arguments} > /dev/full")
    assert (done.returncode, done.stderr) == (2, b"rclip: stopped: No space left on device\n")
    done = in_bash(rclip_on_gallery, f"{sys.executable} -P -m rclip {arguments} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_closed_streams_are_no_tracebacks(rclip_on_gallery: Command) -> None:
    command = f"{sys.executable} -P -m rclip --model {rclip_on_gallery.model} -n star"
    assert in_bash(rclip_on_gallery, command + " >&-").returncode == 0
    only_out = in_bash(rclip_on_gallery, command + " --top 0 2>&-")
    assert (only_out.returncode, only_out.stdout) == (2, b"")


def in_bash(rclip: Command, command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", command], cwd=rclip.cwd, env=rclip.env, capture_output=True, check=False)


def test_a_deleted_current_folder_is_one_line(rclip: Command, photos: Path) -> None:
    done = in_bash(rclip, f"rmdir {photos}; {sys.executable} -P -m rclip --model {rclip.model} star")
    assert done.returncode == 2
    assert b"cannot tell where . is" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_word_that_is_a_files_name_is_a_word_where_it_is_meant_as_one(rclip: Command, draw: Draw) -> None:
    draw("star.jpg", "blue star")
    rclip("--index")
    assert rclip("-n", "--", "star.jpg") == (0, "star.jpg\n", "")
    found = rclip("-n", "--add", "star.jpg")
    assert found.lines == ["star.jpg"]
    assert one_line(found.err) == "rclip: searching for these words; to search by that picture, write ./star.jpg"


def test_json_paths_lead_to_the_photo_through_links(rclip: Command, draw: Draw, photos: Path, tmp_path: Path) -> None:
    draw("real/deep/x.txt.png")
    draw("real/a.jpg")
    (tmp_path / "link").symlink_to(photos / "real/deep")
    found = rclip("--json", "-t", "1", "red", f"{tmp_path}/link/..")
    assert Path(json.loads(found.out)["path"]).exists()


def test_a_closed_pipe_is_no_error(rclip_on_gallery: Command) -> None:
    command = (
        f"{sys.executable} -P -m rclip --model {rclip_on_gallery.model} -n -t 12 star | true; echo ${{PIPESTATUS[0]}}"
    )
    done = in_bash(rclip_on_gallery, command)
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_a_query_longer_than_the_model_reads_is_cut_and_the_user_told(rclip_on_gallery: Command) -> None:
    found = rclip_on_gallery("-n", "-t", "1", "a red star " * 60)
    assert (found.code, len(found.lines)) == (0, 1)
    assert "first 77 tokens" in one_line(found.err)


@pytest.mark.parametrize(
    "query", few([b"red \xff star", "🐈🐈".encode(), "赤い星".encode(), b"\x01\x02", b"-red", b"--top"], fast=2)
)
def test_any_words_are_answered(rclip_on_gallery: Command, query: bytes) -> None:
    found = rclip_on_gallery("-n", "-t", "1", "--", query)
    assert (found.code, len(found.lines)) == (0, 1)
    assert not found.err or (not query.isascii() and "reads English only" in one_line(found.err))


@pytest.mark.parametrize(
    "arguments",
    few([("-n", "-0", "a red star"), ("-n", b"\xff"), ("--help",), ("--no-such-option",), ("-n", "--", "")], fast=5),
)
def test_forked_for_a_test_it_does_what_it_does_otherwise(
    rclip: Command, gallery: Path, arguments: tuple[str | bytes, ...]
) -> None:
    """See `tests.support.starter`, which does not start what has a prefix."""
    rclip("--index")
    forked, started = rclip.raw(*arguments), rclip.raw(*arguments, prefix=("env",))
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)


def test_version_and_help(rclip: Command) -> None:
    import rclip as package

    assert rclip("--version").out == f"rclip {package.__version__}\n"
    help_ = rclip("--help")
    assert help_.code == 0
    assert max(map(len, help_.lines)) <= 120


# --- stats -----------------------------------------------------------------------------------------------------------


def test_stats_tell_what_is_indexed_and_what_could_not_be_read(rclip: Command, gallery: Path) -> None:
    (gallery / "broken.jpg").write_bytes(b"no picture")
    (gallery / "empty.png").touch()
    (gallery / "stars" / "red.jpg").unlink()
    assert "2 unreadable (rclip --stats lists them)" in rclip("--index", "-v").err
    told = rclip("--stats")
    assert (told.code, told.err) == (0, "")
    lines = [line.split(maxsplit=1) for line in told.lines]
    assert lines[0] == ["photos", "11"]
    assert lines[1] == ["unreadable", "2"]
    assert told.lines[2].strip() == "broken.jpg: damaged, or not a picture in a format known here"
    assert told.lines[3].strip() == "empty.png: the file is empty"
    assert lines[5] == ["model", str(rclip.model)]
    assert [line for line in told.lines if line.startswith("index ") and str(rclip.data_dir) in line]
    assert rclip("--stats", "stars").lines[0].split() == ["photos", "3"]


def test_stats_before_anything_is_indexed(rclip: Command) -> None:
    assert rclip("--stats").lines[0].split() == ["photos", "0"]
    assert not list(rclip.data_dir.glob("*.db"))


def test_an_error_that_nobody_hears_is_still_one(rclip_on_gallery: Command) -> None:
    """Not the status 1 of a Python that ends in a traceback, which would say that nothing was found."""
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip_on_gallery.model), ""]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, cwd=rclip_on_gallery.cwd, env=rclip_on_gallery.env, stderr=full, check=False)
    assert done.returncode == 2
