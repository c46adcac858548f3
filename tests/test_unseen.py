"""What a terminal would obey, or not show at all, is escaped wherever a person sees a name or a text of a photo."""

import json
import shutil
import sys
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from rclip.terminal.text import printable
from tests.support import pictures
from tests.support.command import Command
from tests.support.many_runs import ManyRuns
from tests.support.terminals import KITTY, Display, on_terminal
from tests.support.tiers import few

UNSEEN = {
    "zero-width space": "\u200b",
    "zero-width joiner": "\u200d",
    "soft hyphen": "\u00ad",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "bidirectional": "\u202e",
    "isolate": "\u2066",
    "variation selector": "\ufe0f",
    "supplementary variation selector": "\U000e0101",
    "tag": "\U000e0041",
    "grapheme joiner": "\u034f",
    "Hangul filler": "\u3164",
    "blank of Braille": "\u2800",
    "invisible times": "\u2062",
    "Mongolian vowel separator": "\u180e",
    "C1 control": "\x9b",
    "line separator": "\u2028",
}
SEEN = [
    "👨\u200d👩\u200d👧",
    "❤\ufe0f",
    "👩🏽\u200d🚀",
    "🏳\ufe0f\u200d🌈",
    "#\ufe0f\u20e3",
    "Screenshot at 9.41\u202fPM",
    "a\u0301",
    "\u0660\u06dd",
    "日本\u3000語",
    "a\\u200b",
]


def escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


@pytest.mark.parametrize("text", SEEN)
def test_what_is_seen_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    "text", ["a\u200db", "🐈\u200d", "\u200d🐈", "❤\ufe0f\ufe0f", "1\ufe0f", "か\ufe0f", "a🐈\u200da"]
)
def test_what_joins_no_emoji_is_not_seen(text: str) -> None:
    assert printable(text) != text
    assert printable(text).isprintable()


def test_of_all_characters_those_of_unseen_categories_are_escaped() -> None:
    """But for signs of numbers and of verses, which count as format characters and are drawn."""
    drawn = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2}
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert (printable(chr(code)) == chr(code)) == (code in drawn), hex(code)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory, prepared_data: Path, tiny_checkpoint: Path) -> Command:
    """The command in a folder of photos with such names, cameras and keywords."""
    root = tmp_path_factory.mktemp("unseen")
    folder = root / "photos"
    (root / "home").mkdir()
    folder.mkdir()
    for number, character in enumerate(UNSEEN.values()):
        block = Image.Exif()
        block[0x0110] = f"cam{character}era"
        block[0x9C9E] = f"key{character}word".encode("utf-16-le")
        picture = pictures.drawn(60 + number, 40)
        (folder / f"{number:02}a{character}b.jpg").write_bytes(pictures.saved(picture, "JPEG", exif=block.tobytes()))
    (folder / "broken\u200b.jpg").write_bytes(b"none")
    shutil.copytree(prepared_data, root / "data")
    command = Command(root / "home", root / "data", tiny_checkpoint, folder)
    assert command("--index").code == 0
    return command


def assert_nothing_unseen(shown: str) -> None:
    for name, character in UNSEEN.items():
        assert character not in shown, name


FORMS: list[tuple[str, ...]] = [
    ("-t", "50", "red"),
    ("-t", "50", "-f", "red"),
    ("--format", "{path} {camera} {keywords}", "-t", "50", "red"),
    ("--json", "-t", "50", "red"),
    ("--stats",),
    ("-t", "50", "-p", "--preview-height", "2", "red"),
]


@pytest.mark.parametrize("arguments", few(FORMS, fast=6), ids=" ".join)
def test_a_terminal_shows_them_escaped(strange: Command, arguments: tuple[str, ...]) -> None:
    more = () if "--stats" in arguments else ("-n",)
    shown = on_terminal(strange, *more, *arguments, size=(200, 60), answers=KITTY)
    assert shown.code == 0
    text = shown.out.decode()
    assert_nothing_unseen(text + shown.err)
    if "--json" in arguments:
        assert {json.loads(line)["path"].rpartition("a")[2] for line in text.splitlines()} >= {
            f"{character}b.jpg" for character in UNSEEN.values()
        }
    elif "-p" in arguments:
        captions = "\n".join(Display(shown.out).lines)
        assert captions.count("b.jpg") == len(UNSEEN)
    elif "--stats" in arguments:
        assert "broken\\u200b.jpg" in text
    else:
        assert all(f"a{escape(character)}b.jpg" in text for character in UNSEEN.values())


def test_errors_show_them_escaped(strange: Command) -> None:
    with ManyRuns(strange) as run:
        for character in UNSEEN.values():
            for arguments in (
                (f"./no{character}ne.jpg",),
                ("red", f"no{character}folder"),
                ("--queries", f"no{character}file"),
                ("--model", f"no{character}model", "red"),
                (f"--no{character}option",),
                ("--format", f"{{no{character}field}}", "red"),
            ):
                done = run("-n", *arguments)
                assert done.code == 2
                assert_nothing_unseen(done.err)
                assert escape(character) in done.err


def test_a_pipe_gets_them_as_they_are(strange: Command) -> None:
    assert f"05a{UNSEEN['bidirectional']}b.jpg" in strange("-n", "-t", "50", "red").lines
