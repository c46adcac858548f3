"""What results look like: the table, its colours and links, `--format`, and the viewer that `--open` hands them to."""

import io
import os
import re
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rclip.cli import output
from rclip.cli.arguments import parse
from rclip.cli.options import ONLY
from rclip.cli.template import FIELDS, Template
from rclip.errors import UsageError
from rclip.library import Hit
from rclip.photo.metadata import PhotoMetadata
from rclip.search.hits import as_json
from rclip.terminal import environment
from rclip.terminal.environment import Style
from rclip.terminal.text import shortened, width
from tests.support.command import Command
from tests.support.gallery import Draw
from tests.support.terminals import Display, on_terminal

WIDE = "写真/日本の風景/とても長い名前のフォルダー/富士山.jpg"


def hit(path: str, score: float = 0.314) -> Hit:
    return Hit(path, score, 3518862, 1549189230_000000000)


class Stdout(io.TextIOWrapper):
    """Keeps what is written."""

    def __init__(self) -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept)


def table(hits: list[Hit], columns: int, style: Style = environment.PLAIN) -> list[str]:
    before, sys.stdout = sys.stdout, Stdout()
    try:
        output.write_table(hits, style, columns)
        return sys.stdout.kept.getvalue().decode().splitlines()
    finally:
        sys.stdout = before


def columns_of(text: str) -> int:
    """By the Unicode tables alone: two for wide characters, none for marks."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_table_has_score_path_and_date() -> None:
    lines = table([hit("2019/costa rica/IMG_2210.jpg"), hit("zoo/DSC_0441.NEF", -0.012)], 80)
    assert lines == [
        " 0.314  2019/costa rica/IMG_2210.jpg  2019-02-03",
        "-0.012  zoo/DSC_0441.NEF              2019-02-03",
    ]


def test_a_narrow_table_does_without_dates() -> None:
    assert table([hit("2019/costa rica/IMG_2210.jpg")], 40) == [" 0.314  2019/costa rica/IMG_2210.jpg"]
    assert table([hit("2019/costa rica/IMG_2210.jpg")], 24) == [" 0.314  2019/…G_2210.jpg"]


@pytest.mark.parametrize("columns", [9, 20, 43, 44, 60, 80, 200])
def test_the_table_fits_the_terminal_and_its_columns_stand_below_one_another(columns: int) -> None:
    lines = table([hit(WIDE), hit("a" * 300 + ".jpg"), hit("cafe\u0301.jpg"), hit("short.png")], columns)
    assert max(map(columns_of, lines)) <= columns
    dated = [line for line in lines if line.endswith("2019-02-03")]
    assert len(dated) in (0, 4)
    assert len({columns_of(line) for line in dated}) <= 1


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf"])), st.integers(1, 60))
def test_shortened_text_fits_and_keeps_both_ends(text: str, columns: int) -> None:
    short = shortened(text, columns)
    assert width(short) <= columns or short == text
    if short != text:
        head, _, tail = short.partition("…") if "…" not in text else ("", "", "")
        assert text.startswith(head)
        assert text.endswith(tail)
    else:
        assert width(text) <= columns


def test_a_shortened_path_keeps_most_of_its_end() -> None:
    assert shortened("2019/costa rica/IMG_2210.jpg", 19) == "2019/c…IMG_2210.jpg"
    assert shortened(WIDE, 21) == "写真/…ダー/富士山.jpg"


def test_the_terminals_width_is_the_tables(rclip: Command, draw: Draw) -> None:
    name = "a" * 100 + ".jpg"
    draw(name)
    rclip("--index")
    mlp_out = Display(on_terminal(rclip, "-n", "a red circle", size=(60, 24)).out)
    assert max(map(len, mlp_out.lines)) == 60
    assert mlp_out.lines[0].count("…") == 1
    wide = Display(on_terminal(rclip, "-n", "a red circle", size=(160, 24)).out)
    assert name in wide.lines[0]
    told = Display(on_terminal(rclip, "-n", "a red circle", size=(160, 24), env={"COLUMNS": "50"}).out)
    assert max(map(len, told.lines)) == 50


# --- colours and links -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("color", "is_terminal", "environ", "expected"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("never", True, {}, False),
        ("always", False, {"NO_COLOR": "1", "TERM": "dumb"}, True),
    ],
)
def test_when_there_are_colors(color: str, is_terminal: bool, environ: dict[str, str], expected: bool) -> None:
    assert environment.style(color, is_terminal, {"TERM": "xterm"} | environ).colors is expected


def test_colors_do_not_change_the_text() -> None:
    hits = [hit("a/b.jpg"), hit("c.jpg", 0.2)]
    colored = table(hits, 80, Style(colors=True, links=False))
    assert colored[0].startswith("\x1b[32m 0.314\x1b[m  a/\x1b[1mb.jpg\x1b[m")
    assert [re.sub(r"\x1b\[\d*m", "", line) for line in colored] == table(hits, 80)


def test_the_command_obeys_color(rclip: Command, draw: Draw) -> None:
    draw("red.jpg")
    rclip("--index")
    assert b"\x1b[32m" in on_terminal(rclip, "-n", "a red circle").out
    assert b"\x1b" not in on_terminal(rclip, "-n", "a red circle", env={"NO_COLOR": "1"}).out
    assert b"\x1b" not in on_terminal(rclip, "-n", "--color=never", "a red circle").out
    assert rclip("-n", "--color", "always", "a red circle").out == "\x1b[1mred.jpg\x1b[m\n"
    assert rclip("-n", "a red circle").out == "red.jpg\n"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "foot"}, True),
        ({"TERM": "alacritty"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7200"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "5000"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "x"}, False),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "221203"}, True),
        ({"TERM": "xterm-256color", "WT_SESSION": "1"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "linux", "VTE_VERSION": "7200"}, False),
        ({"TERM": "dumb", "VTE_VERSION": "7200"}, False),
        ({"VTE_VERSION": "7200"}, False),
        ({"TERM": "screen", "STY": "1.pts", "VTE_VERSION": "7200"}, False),
        ({"TERM": "tmux", "TMUX": "s", "VTE_VERSION": "7200"}, False),
        ({"TERM": "tmux", "TMUX": "s", "TERM_PROGRAM": "tmux", "TERM_PROGRAM_VERSION": "3.3a"}, False),
        ({"TERM": "tmux", "TMUX": "s", "TERM_PROGRAM": "tmux", "TERM_PROGRAM_VERSION": "3.4"}, True),
    ],
    ids=str,
)
def test_which_terminals_take_links(environ: dict[str, str], expected: bool) -> None:
    assert environment.takes_links(environ) is expected


def test_a_path_is_a_link_to_its_file(rclip: Command, photos: Path, draw: Draw) -> None:
    draw("red ü?.jpg")
    rclip("--index")
    for form in ([], ["-f"], ["-p"]):
        out = on_terminal(rclip, "-n", *form, "a red circle", env={"TERM": "xterm-kitty"}).out
        (link,) = re.findall(rb"\x1b\]8;;(file:[^\x1b]+)\x1b\\.*\x1b\]8;;\x1b\\", out)
        assert link.startswith(f"file://{os.uname().nodename}/".encode())
        assert link.endswith(b"/photos/red%20%C3%BC%3F.jpg")
        assert str(photos.name).encode() in link
    assert b"]8;" not in on_terminal(rclip, "-n", "a red circle", env={"TERM": "xterm"}).out


# --- --format --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (r"{score:.3f}\t{path}", "0.314\tcats/IMG_1.jpg\n"),
        ("{path}", "cats/IMG_1.jpg\n"),
        (r"{path}\n", "cats/IMG_1.jpg\n"),
        (r"{path}\n\n", "cats/IMG_1.jpg\n\n"),
        (r"{path}\0", "cats/IMG_1.jpg\0"),
        (r"\\{size:,} {{{score:6.1%}}}", "\\3,518,862 { 31.4%}\n"),
        ("{path:>16}|", "  cats/IMG_1.jpg|\n"),
        ("{modified:%Y-%m-%d}", "2019-02-03\n"),
        ("{camera} {latitude:.1f} {width}x{height} {keywords}", "FUJIFILM X-T4 48.9 6240x4160 kite, sky\n"),
    ],
)
def test_a_template_is_filled_in(template: str, expected: str) -> None:
    assert Template(template)(FIELDS) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{score:.3f}|", "|\n"),
        ("{score}|", "|\n"),
        ("{rating:3}|", "   |\n"),
        ("{camera:*>4}|", "    |\n"),
        ("{latitude:+08.3f}|", "        |\n"),
    ],
)
def test_what_is_not_known_is_left_empty(template: str, expected: str) -> None:
    assert Template(template)(dict.fromkeys(FIELDS)) == expected


def test_a_template_has_all_that_json_tells() -> None:
    metadata = PhotoMetadata(1, None, 2.0, 3.0, "Canon", "R5", 4, 5, ("a", "b"), 5)
    whole = hit("a.jpg")._replace(metadata=metadata)
    whole = whole._replace(rank=1)
    assert set(as_json(whole)) < set(FIELDS) == set(output._fields(whole, ONLY, FIELDS))


def test_a_name_that_ends_in_a_newline_does_not_end_the_line() -> None:
    assert Template("{path}")(FIELDS | {"path": "a\n"}) == "a\n\n"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (
            "{nope}",
            "has no field {nope}; there are path, score, rank, at, at_s, size, modified, captured, captured_off",
        ),
        ("{}", "has no field {}"),
        ("{0}", "has no field {0}"),
        ("{path.__class__}", "has no field {path.__class__}"),
        ("{path[0]}", "has no field {path[0]}"),
        ("path", "must be a template with fields like {path}, not 'path'"),
        ("", "must be a template with fields"),
        ("{score:{size}}", "can only have a format after {score:"),
        ("{path!r}", "can only have a format after {path:"),
        ("{score:d}", "cannot have {score:d}: unknown format code 'd'"),
        ("{score:99999999999999999999}", "cannot have {score:99999999999999999999}: "),
        ("{path", "expected '}' before end of string; {{ and }} stand for braces"),
        (r"{path}\q", r"does not know \q; there are \t, \n, \0 and \\"),
        ("{path}\\", r"does not know \; there are"),
    ],
)
def test_a_bad_template_is_told(template: str, expected: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"argument --format: {expected}")) as error:
        parse(["--format", template, "a cat"])
    assert "\n" not in str(error.value)


def test_formatted_results(rclip: Command, photos: Path, draw: Draw) -> None:
    draw("red.jpg")
    os.rename(photos / "red.jpg", os.fsencode(photos) + b"/r\xff\x1b.jpg")
    rclip("--index")
    done = rclip.raw("-n", "--format", r"{path}\t{size}\t{score:.2f}\0", "a red circle")
    path, size, score = done.stdout.split(b"\t")
    assert path == b"r\xff\x1b.jpg"
    assert int(size) == os.stat(os.fsencode(photos) + b"/r\xff\x1b.jpg").st_size
    assert re.fullmatch(rb"-?\d\.\d\d\0", score)
    shown = on_terminal(rclip, "-n", "--format", "{path}", "a red circle").out
    assert shown == rb"r\xff\x1b.jpg" + b"\r\n"


def test_the_forms_for_people_tell_which_query_was_answered(rclip: Command, draw: Draw, tmp_path: Path) -> None:
    draw("red.jpg")
    rclip("--index")
    (tmp_path / "asked").write_text("a red circle\na blue star\n")
    asked = ("-n", "--queries", str(tmp_path / "asked"))
    assert rclip(*asked, "--format", "{query}: {path}").lines == ["a red circle: red.jpg", "a blue star: red.jpg"]
    assert rclip("-n", "--format", "{query}: {path}", "red", "+", "circle").lines == ["red + circle: red.jpg"]
    assert Display(on_terminal(rclip, *asked).out).lines[::2] == ["a red circle", "a blue star"]
    preview = Display(on_terminal(rclip, *asked, "--preview=kitty", "--preview-height", "3").out)
    assert [(picture.line, preview.lines[picture.line - 1]) for picture in preview.pictures] == [
        (1, "a red circle"),
        (7, "a blue star"),
    ]


# --- --open ----------------------------------------------------------------------------------------------------------


def with_viewer(folder: Path, script: str) -> dict[str, str]:
    """An environment in which the desktop's viewer is this shell script."""
    folder.mkdir()
    for name in ("xdg-open", "open"):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_results_are_opened_best_first(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    rclip("--index")
    env = with_viewer(tmp_path / "bin", f"for path; do echo \"$path\" >>'{tmp_path}/seen'; done")
    done = rclip("-n", "-t", "3", "--open", "a yellow circle", env=env)
    assert (done.code, done.err, len(done.lines)) == (0, "", 3)
    assert (tmp_path / "seen").read_text().splitlines() == [str(gallery / path) for path in done.lines]


def test_what_the_viewer_starts_does_not_hold_the_command_up(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    rclip("--index")
    env = with_viewer(tmp_path / "bin", f"sleep 600 & echo $! >'{tmp_path}/pid'")
    assert rclip("-n", "-t", "1", "--open", "a yellow circle", env=env).code == 0
    os.kill(int((tmp_path / "pid").read_text()), 15)


def test_a_viewer_that_fails_is_one_line(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    rclip("--index")
    env = with_viewer(tmp_path / "bin", "echo; echo no viewer for that >&2; exit 3")
    done = rclip("-n", "-t", "3", "--open", "a yellow circle", env=env)
    assert (done.code, len(done.lines)) == (2, 3)
    assert re.fullmatch(r"rclip: (xdg-)?open cannot open .*circles/yellow.jpg: no viewer for that\n", done.err)
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    done = rclip("-n", "--open", "a yellow circle", env={"PATH": str(nothing)})
    assert done.code == 2
    assert re.fullmatch(r"rclip: to open files, rclip needs (xdg-)?open, which is not installed .*\n", done.err)


def test_what_cannot_be_opened_keeps_no_other_query_from_being_answered(
    rclip: Command, gallery: Path, tmp_path: Path
) -> None:
    rclip("--index")
    (tmp_path / "asked").write_text("a yellow circle\na blue star\na red square\n")
    opened = tmp_path / "opened"
    env = with_viewer(tmp_path / "bin", f"case $1 in *blue*) exit 3;; esac; echo \"$1\" >>'{opened}'")
    done = rclip("-n", "-t", "1", "--open", "--queries", str(tmp_path / "asked"), env=env)
    paths = ["circles/yellow.jpg", "stars/blue.jpg", "squares/red.jpg"]
    assert (done.code, [line.partition("\t")[2] for line in done.lines]) == (2, paths)
    assert re.fullmatch(r"rclip: (xdg-)?open cannot open .*stars/blue.jpg: exit status 3\n", done.err)
    assert opened.read_text().splitlines() == [str(gallery / path) for path in paths[::2]]


def test_nothing_found_opens_nothing(rclip: Command, tmp_path: Path) -> None:
    env = with_viewer(tmp_path / "bin", f"touch '{tmp_path}/seen'")
    assert rclip("-n", "--open", "a yellow circle", env=env).code == 1
    assert not (tmp_path / "seen").exists()


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["-p", "a cat"], "auto"),
        (["--preview", "a cat"], "auto"),
        (["-np", "a cat"], "auto"),
        (["a cat", "-p"], "auto"),
        (["--preview=kitty", "a cat"], "kitty"),
        (["--preview=auto", "a cat"], "auto"),
        (["--preview=kitty", "--preview=blocks", "a cat"], "blocks"),
        (["a cat"], None),
    ],
    ids=str,
)
def test_preview_does_not_take_the_query_for_its_kind(words: list[str], kind: str | None) -> None:
    options = parse(words)
    assert options.query is not None
    assert (options.values["preview"], options.query.written, options.directories) == (kind, "a cat", ())


def test_behind_two_dashes_nothing_is_an_option() -> None:
    options = parse(["--", "--preview=x"])
    assert options.query is not None
    assert (options.query.written, options.values["preview"]) == ("--preview=x", None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--preview=png"], "argument --preview: must be auto, kitty, iterm, sixel, blocks or none, not 'png'"),
        (["--preview="], "argument --preview: must be auto, kitty, iterm, sixel, blocks or none, not ''"),
        (
            ["--preview-height", "0", "-p"],
            "argument --preview-height: must be a number of terminal rows from 1 to 200, not '0'",
        ),
        (["--color", "red"], "argument --color: must be auto, always or never, not 'red'"),
        (["-p", "--json"], "--json and --preview cannot be used together"),
        (["-p", "-f"], "--filepath-only and --preview cannot be used together"),
        (["--format", "{path}", "-0"], "--null and --format cannot be used together"),
    ],
    ids=str,
)
def test_bad_values_are_told(words: list[str], expected: str) -> None:
    with pytest.raises(UsageError, match=re.escape(expected)):
        parse([*words, "a cat"])


def test_a_plain_query_imports_nothing_of_all_this(rclip: Command, draw: Draw) -> None:
    draw("red.jpg")
    rclip("--index")
    done = rclip("-n", "a red circle", env={"PYTHONPROFILEIMPORTTIME": "1"})
    found = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "rclip.cli.output" in found
    assert not found & {
        "rclip.cli.preview",
        "rclip.cli.template",
        "rclip.desktop",
        "wcwidth",
        "subprocess",
        "termios",
    }
