"""Thumbnails in the terminal: drawn streams are decoded back to pixels, on terminals that answer as real ones do."""

import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rclip.terminal import probe
from tests.support import pictures
from tests.support.command import Command
from tests.support.terminals import (
    ATTRIBUTES_QUERY,
    CELL_QUERY,
    COLORS_QUERY,
    IN_BACKGROUND,
    ITERM,
    KITTY,
    KITTY_QUERY,
    NAME_QUERY,
    PLAIN,
    SILENT,
    XTERM,
    Display,
    Picture,
    Shown,
    on_terminal,
)
from tests.support.tiers import few

UPRIGHT = pictures.drawn(320, 240)
TALL = pictures.drawn(240, 320)
ON_WHITE = Image.new("RGB", (320, 240), "white")
NAMES = ["heic.heic", "png.png", "raw.dng", "tall.jpg", "through.png", "turned.jpg"]


def save_all(folder: Path) -> None:
    (folder / "turned.jpg").write_bytes(
        pictures.saved(pictures.as_stored(UPRIGHT, 6), "JPEG", quality=95, exif=pictures.exif(6))
    )
    (folder / "tall.jpg").write_bytes(pictures.saved(TALL, "JPEG", quality=95))
    (folder / "png.png").write_bytes(pictures.saved(UPRIGHT, "PNG"))
    (folder / "heic.heic").write_bytes(pictures.encode(UPRIGHT, "heic"))
    (folder / "raw.dng").write_bytes(pictures.encode(UPRIGHT, "dng"))
    (folder / "through.png").write_bytes(pictures.saved(Image.new("RGBA", (320, 240), (0, 0, 0, 0)), "PNG"))


def upright_of(name: str) -> Image.Image:
    return {"tall": TALL, "through": ON_WHITE}.get(name.partition(".")[0], UPRIGHT)


@pytest.fixture(scope="module")
def rclip_on_pictures(tmp_path_factory: pytest.TempPathFactory, prepared_data: Path, tiny_checkpoint: Path) -> Command:
    """The command in a folder of pictures, of which one is gone since and another damaged."""
    root = tmp_path_factory.mktemp("previews")
    folder = root / "photos"
    folder.mkdir()
    (root / "home").mkdir()
    save_all(folder)
    for name in ("gone.png", "damaged.png"):
        noise = np.random.default_rng(len(name)).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(folder / name)
    shutil.copytree(prepared_data, root / "data")
    command = Command(root / "home", root / "data", tiny_checkpoint, folder)
    assert command("--index").code == 0
    (folder / "gone.png").unlink()
    (folder / "damaged.png").write_bytes(b"no picture")
    return command


def previewed(rclip: Command, *arguments: str, **terminal: Any) -> Shown:
    shown = on_terminal(rclip, "-n", "--preview-height", "6", *arguments, "a red circle", **terminal)
    assert (shown.code, shown.err, shown.left, shown.modes_kept) == (0, "", b"", True)
    return shown


def drawn_on(display: Display) -> list[Picture]:
    return display.pictures or display.blocks()


def picture_over(display: Display, name: str) -> Picture:
    """The one whose caption has this name: two lines below its six, in its column."""
    (found,) = [
        picture for picture in drawn_on(display) if display.lines[picture.line + 7][picture.column :].startswith(name)
    ]
    return found


def said_over(display: Display, name: str) -> str:
    """The text in the place of the picture of this name."""
    (line,) = [number for number, text in enumerate(display.lines) if name in text]
    column = display.lines[line].index(name)
    return " ".join(text[column : column + 18].strip() for text in display.lines[line - 7 : line - 1]).strip()


def difference(pixels: np.ndarray, upright: Image.Image) -> float:
    """The mean difference, in levels of 255, to the picture at the same size."""
    expected = np.asarray(upright.resize(pixels.shape[1::-1], Image.Resampling.BICUBIC, reducing_gap=3.0))
    return float(np.abs(pixels.astype(float) - expected).mean())


# Six rows of cells of 10 × 20 pixels; three photos of 4:3 high as that are 160 wide, and one of 3:4 is 90.
KINDS = {
    "kitty": (KITTY, (160, 120), 2.5),
    "iterm": (ITERM, (320, 240), 4),  # as fine as a display of twice the resolution; a JPEG
    "sixel": (XTERM, (160, 120), 9),  # in 256 dithered colours
    "blocks": (PLAIN | {NAME_QUERY: b"\x1bP>|VTE(7200)\x1b\\"} | {CELL_QUERY: b"\x1b[6;20;10t"}, (16, 12), 2.5),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_picture_stands_upright_over_its_name(rclip_on_pictures: Command, kind: str) -> None:
    answers, size, tolerance = KINDS[kind]
    shown = previewed(rclip_on_pictures, "-p", answers=answers)
    display = Display(shown.out)
    assert len(drawn_on(display)) == len(NAMES)
    for name in NAMES:
        picture = picture_over(display, name)
        height, width = picture.pixels.shape[:2]
        expected = (size[1] * 3 // 4, size[1]) if name == "tall.jpg" else size
        assert (width, height) == expected, name
        off = difference(picture.pixels, upright_of(name))
        assert off < (12 if name == "raw.dng" else tolerance), name  # a sensor's samples are not the picture's
    assert said_over(display, "gone.png") == "cannot show it: No such file or directory"
    assert said_over(display, "damaged.png") == "cannot show it: damaged, or not a picture in a format known here"


@pytest.mark.parametrize("kind", few(["kitty", "iterm", "sixel", "blocks"]))
def test_a_kind_that_is_asked_for_is_not_doubted(rclip_on_pictures: Command, kind: str) -> None:
    out = previewed(rclip_on_pictures, f"--preview={kind}", "-t", "2", answers=PLAIN).out
    marks = {"kitty": b"\x1b_Ga=T", "iterm": b"\x1b]1337;File=", "sixel": b"\x1bP0;1;0q", "blocks": "▀".encode()}
    assert [name for name, mark in marks.items() if mark in out] == [kind]


def test_a_terminal_that_says_nothing_gets_blocks_of_256_colors(rclip_on_pictures: Command) -> None:
    display = Display(previewed(rclip_on_pictures, "-p", answers=SILENT).out)
    picture = picture_over(display, "png.png")
    assert difference(picture.pixels, UPRIGHT) < 20
    assert not display.pictures


def test_colorterm_gives_blocks_all_colors(rclip_on_pictures: Command) -> None:
    shown = previewed(rclip_on_pictures, "-p", answers=PLAIN, env={"COLORTERM": "truecolor"})
    assert difference(picture_over(Display(shown.out), "png.png").pixels, UPRIGHT) < 2.5


def test_sixel_takes_no_more_colors_than_the_terminal_has(rclip_on_pictures: Command) -> None:
    shown = previewed(rclip_on_pictures, "-p", answers=XTERM | {COLORS_QUERY: b"\x1b[?1;0;16S"})
    assert b"#15;2;" in shown.out
    assert b"#16" not in shown.out
    assert difference(picture_over(Display(shown.out), "png.png").pixels, UPRIGHT) < 30


def test_thumbnails_stand_beside_one_another_and_fit_the_width(rclip_on_pictures: Command) -> None:
    wide = Display(previewed(rclip_on_pictures, "-p", answers=KITTY, size=(200, 40)).out)
    assert {picture.line for picture in wide.pictures} == {0}
    mlp_out = Display(previewed(rclip_on_pictures, "-p", answers=KITTY, size=(12, 40)).out)
    assert {picture.column for picture in mlp_out.pictures} == {0}
    assert max(picture.pixels.shape[1] for picture in mlp_out.pictures) <= 120
    assert max(map(len, mlp_out.lines)) <= 12
    low = Display(previewed(rclip_on_pictures, "-p", answers=KITTY, size=(100, 6)).out)
    assert max(picture.pixels.shape[0] for picture in low.pictures) <= 3 * 20


def test_what_was_typed_ahead_is_left_for_the_shell(rclip_on_pictures: Command) -> None:
    shown = on_terminal(rclip_on_pictures, "-n", "-p", "a red circle", answers=KITTY, typed=b"ls -l")
    assert (shown.code, shown.left, shown.modes_kept) == (0, b"ls -l", True)
    assert ATTRIBUTES_QUERY not in shown.out
    assert "▀".encode() in shown.out
    named = on_terminal(rclip_on_pictures, "-n", "-p", "a red circle", typed=b"ls", env={"TERM": "xterm-kitty"})
    assert len(Display(named.out).pictures) == len(NAMES)


def test_answers_that_come_late_are_thrown_away_unseen(rclip_on_pictures: Command) -> None:
    """What is drawn is more than waits unread on its way: the answers are there before the last picture is."""
    late = b"".join(KITTY.values())
    shown = previewed(rclip_on_pictures, "--preview=kitty", answers={b"\x1b7": late})
    assert len(shown.out) > 70_000
    assert len(Display(shown.out).pictures) == len(NAMES)
    assert b"^[" not in shown.out  # as a terminal echoes ESC


def test_stopped_while_it_waits_for_an_answer(rclip_on_pictures: Command) -> None:
    shown = on_terminal(rclip_on_pictures, "-n", "-p", "a red circle", answers={ATTRIBUTES_QUERY: b"\x03"})
    assert (shown.code, shown.err, shown.left, shown.modes_kept) == (130, "rclip: stopped", b"", True)


def test_stopped_while_it_draws(rclip_on_pictures: Command) -> None:
    """The next prompt stands below, and is text."""
    shown = on_terminal(rclip_on_pictures, "-n", "--preview=kitty", "a red circle", answers={b"\x1b7": b"\x03"})
    assert (shown.code, shown.err, shown.modes_kept) == (130, "rclip: stopped", True)
    assert shown.out.endswith(b"\x1b\\\x1b[m\x1b[10B\r")


def test_in_the_background_it_does_not_ask_and_is_not_stopped(rclip_on_pictures: Command) -> None:
    shown = on_terminal(rclip_on_pictures, "-n", "-p", "a red circle", answers=KITTY, leader=IN_BACKGROUND)
    assert shown.code == 0
    assert ATTRIBUTES_QUERY not in shown.out
    assert "▀".encode() in shown.out


@pytest.mark.parametrize(
    "env", [{"TERM": "linux"}, {"TERM_PROGRAM": "Apple_Terminal"}, {"TERM": "screen", "STY": "1.pts"}], ids=str
)
def test_those_that_would_print_the_question_are_not_asked(rclip_on_pictures: Command, env: dict[str, str]) -> None:
    shown = previewed(rclip_on_pictures, "-p", answers=KITTY, env=env)
    assert KITTY_QUERY not in shown.out
    assert ATTRIBUTES_QUERY not in shown.out


def test_where_nothing_can_be_drawn(rclip_on_pictures: Command) -> None:
    piped = rclip_on_pictures("-n", "-p", "a red circle")
    assert (piped.code, piped.out) == (2, "")
    assert piped.err.startswith("rclip: --preview needs a terminal, but the output is not one")
    assert piped.err.count("\n") == 1
    dumb = on_terminal(rclip_on_pictures, "-n", "-p", "a red circle", env={"TERM": "dumb"})
    assert (dumb.code, dumb.out) == (2, b"")
    assert "dumb" in dumb.err


def test_captions_are_dressed_as_the_table_is(rclip_on_pictures: Command) -> None:
    out = previewed(rclip_on_pictures, "-p", "--color=always", answers=PLAIN).out
    assert b"\x1b[1mpng.png\x1b[m" in out
    assert b"\x1b[1mpng.png" not in previewed(rclip_on_pictures, "-p", "--color=never", answers=PLAIN).out


# --- tmux ------------------------------------------------------------------------------------------------------------

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")


def in_tmux(rclip: Command, folder: Path, passthrough: str, name: bytes, *arguments: str) -> Shown:
    """Runs in a real tmux, of which the terminal outside calls itself `name`, and comes out with what that was told."""
    inside = shutil.which("tmux")
    program = folder / "run.sh"
    words = " ".join(f"'{word}'" for word in ("-n", "--preview-height", "4", *arguments, "a red circle"))
    ended = folder / "ended"
    program.write_text(
        f"'{sys.executable}' -P -m rclip --model '{rclip.model}' {words} 2>'{folder}/err'\n"
        f"echo $? >'{ended}'; tmux -S '{folder}/s' display -p '#{{pane_title}}' >'{folder}/title'; sleep 1\n"
    )
    setting = folder / "conf"
    setting.write_text(f"set -g allow-passthrough {passthrough}\nset -ga terminal-features ',xterm*:RGB'\n")
    shown = on_terminal(
        rclip,
        command=[str(inside), "-S", str(folder / "s"), "-f", str(setting), "new-session", "sh", str(program)],
        answers={
            b"\x1b[>q": b"\x1bP>|" + name + b"\x1b\\",
            ATTRIBUTES_QUERY: b"\x1b[?62;c",
            b"\x1b[>c": b"\x1b[>1;4000;29c",
        },
        env={"LC_ALL": "C.UTF-8"},
    )
    err = (folder / "err").read_text()
    return shown._replace(code=int(ended.read_text()), err=err)


@needs_tmux
def test_through_tmux_to_a_terminal_with_kittys_placeholders(rclip_on_pictures: Command, tmp_path: Path) -> None:
    shown = in_tmux(rclip_on_pictures, tmp_path, "on", b"kitty(0.32.1)", "-p")
    assert (shown.code, shown.err) == (0, "")
    commands = b"".join(shown.out[at : shown.out.index(b"\x1b\\", at) + 2] for at in starts(shown.out, b"\x1b_G"))
    display = Display(commands)
    assert [picture.keys["U"] for picture in display.pictures] == ["1"] * len(NAMES)
    assert all(min(difference(p.pixels, shown) for shown in (UPRIGHT, ON_WHITE)) < 12 for p in display.pictures)
    for picture in display.pictures:
        number = int(picture.keys["i"])
        color = f"38;2;{number >> 16};{number >> 8 & 255};{number & 255}".encode()
        assert color in shown.out
        assert int(picture.keys["r"]) == 4
    for mark in "\u0305\u030d\u030e\u0310":  # which number the rows; tmux may draw some again
        assert shown.out.count(f"\U0010eeee{mark}".encode()) >= len(NAMES)
    assert shown.out.count("\U0010eeee".encode()) >= sum(4 * int(p.keys["c"]) for p in display.pictures)
    assert "Gi=" not in (tmp_path / "title").read_text()  # tmux takes Kitty's question for the title of its pane


@needs_tmux
def test_through_tmux_to_iterm(rclip_on_pictures: Command, tmp_path: Path) -> None:
    shown = in_tmux(rclip_on_pictures, tmp_path, "on", b"iTerm2 3.5.0", "-p")
    assert (shown.code, shown.err) == (0, "")
    files = b"".join(shown.out[at : shown.out.index(b"\a", at) + 1] for at in starts(shown.out, b"\x1b]1337;File="))
    assert [picture.keys["height"] for picture in Display(files).pictures] == ["4"] * len(NAMES)


@needs_tmux
def test_tmux_that_hands_nothing_on_gets_blocks(rclip_on_pictures: Command, tmp_path: Path) -> None:
    shown = in_tmux(rclip_on_pictures, tmp_path, "off", b"kitty(0.32.1)", "-p")
    assert (shown.code, shown.err) == (0, "")
    assert "▀".encode() in shown.out
    assert b"\x1b_G" not in shown.out


@needs_tmux
def test_a_picture_asked_for_that_tmux_keeps_to_itself(rclip_on_pictures: Command, tmp_path: Path) -> None:
    shown = in_tmux(rclip_on_pictures, tmp_path, "off", b"kitty(0.32.1)", "--preview=kitty")
    assert shown.code == 2
    assert "tmux set -g allow-passthrough on" in shown.err


def starts(stream: bytes, mark: bytes) -> Iterator[int]:
    at = stream.find(mark)
    while at >= 0:
        yield at
        at = stream.find(mark, at + 1)


# --- what answers mean -----------------------------------------------------------------------------------------------

IN_TMUX = {"TMUX": "/tmp/s,1,0"}
BEHIND = probe.Tmux("", frozenset({"RGB", "sixel"}), (10, 20), passthrough=True, is_alone=True)


@pytest.mark.parametrize(
    ("answer", "tmux", "environ", "expected"),
    [
        (probe.TerminalReply(kitty=True, sixel=True, name="ghostty 1.0"), probe.Tmux(), {}, ("kitty", False)),
        (probe.TerminalReply(sixel=True, name="iTerm2 3.5.0"), probe.Tmux(), {}, ("iterm", False)),
        (probe.TerminalReply(sixel=True, name="WezTerm 20240203"), probe.Tmux(), {}, ("iterm", False)),
        (probe.TerminalReply(sixel=True, name="foot(1.13.1)"), probe.Tmux(), {}, ("sixel", False)),
        (probe.TerminalReply(), probe.Tmux(), {}, ("blocks", False)),
        (probe.TerminalReply(), BEHIND._replace(name="kitty(0.28.0)"), IN_TMUX, ("kitty", True)),
        (probe.TerminalReply(), BEHIND._replace(name="ghostty 1.1.3"), IN_TMUX, ("kitty", True)),
        (
            probe.TerminalReply(),
            BEHIND._replace(name="kitty(0.27.1)", features=frozenset()),
            IN_TMUX,
            ("blocks", False),
        ),
        (probe.TerminalReply(sixel=True), BEHIND._replace(name="XTerm(390)"), IN_TMUX, ("sixel", False)),
        (probe.TerminalReply(), BEHIND._replace(name="XTerm(390)"), IN_TMUX, ("sixel", True)),
        (probe.TerminalReply(), BEHIND._replace(name="XTerm(390)", is_alone=False), IN_TMUX, ("blocks", False)),
        (probe.TerminalReply(), BEHIND._replace(name="iTerm2 3.5", is_alone=False), IN_TMUX, ("blocks", False)),
        (probe.TerminalReply(), BEHIND._replace(name="iTerm2 3.5", passthrough=False), IN_TMUX, ("blocks", False)),
    ],
)
def test_the_best_kind_that_can_be_had(
    answer: probe.TerminalReply, tmux: probe.Tmux, environ: dict[str, str], expected: tuple[str, bool]
) -> None:
    assert probe.choose(answer, tmux, environ) == expected


def test_answers_are_understood_among_anything_else() -> None:
    rng = random.Random(1)
    for answers in (XTERM, KITTY, ITERM):
        plain = probe.understood(b"".join(answers.values()))
        noise = rng.randbytes(50).replace(b"\x1b", b"")
        assert probe.understood(noise.join([b"", *answers.values()])) == plain
    assert probe.understood(b"".join(XTERM.values())) == probe.TerminalReply(False, True, "XTerm(379)", (10, 20), 256)
    assert probe.understood(b"".join(KITTY.values())) == probe.TerminalReply(
        True, False, "kitty(0.26.5)", (10, 20), None
    )
    assert probe.understood(b"\x1b_Gi=1;ENOTSUP:no\x1b\\\x1b[?4;6c") == probe.TerminalReply()
    assert probe.understood(b"\x1b[6;0;0t\x1b[?1;3;0S\x1b[?62c") == probe.TerminalReply()
    assert probe.understood(b"") == probe.TerminalReply()
