"""`--words`: photos by caption, title, keywords and file name, in any case and with or without accents."""

import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rclip.words import wanted, words_of
from tests.support.command import Command, update
from tests.support.gallery import Draw
from tests.support.sidecars import DARKTABLE, DIGIKAM, xmp


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Été_2019, Straße!", ["ete", "2019", "strasse"]),
        ("IMG_2210.JPG", ["img", "2210", "jpg"]),
        ("Ａｎｎａ ﬁne Ωμέγα Ёлка", ["anna", "fine", "ωμεγα", "елка"]),
        ("हिन्दी", ["हनद"]),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("asked", "text", "is_in"),
    [
        ("tram", "The TRAM climbs", True),
        ("climb tram", "The tram climbs", True),
        ("tram hill", "The tram climbs", False),
        ('"tram climbs"', "The tram climbs", True),
        ('"climbs tram"', "The tram climbs", False),
        ('"the tr"', "The tram climbs", True),
        ("ram", "The tram climbs", False),
        ('tram "', "The tram", True),
    ],
)
def test_what_words_find(asked: str, text: str, is_in: bool) -> None:
    assert wanted(asked).are_in(text) == is_in


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_words_may_be_asked_for(asked: str, text: str) -> None:
    wanted(asked).are_in(text)
    assert all(word.isalnum() for word in wanted(asked).starts)


def test_photos_are_found_by_what_is_written_of_them(rclip: Command, photos: Path, draw: Draw) -> None:
    draw("IMG_2210.jpg", "red circle")
    draw("été à Lisbonne.jpg", "blue star")
    draw("tram/a.jpg", "green square")
    (photos / "IMG_2210.xmp").write_bytes(DIGIKAM)
    update(rclip)
    assert rclip("--words", "tram").lines == ["IMG_2210.jpg"]  # not by its folder's name
    assert rclip("--words", '"climbs the hill"').lines == ["IMG_2210.jpg"]
    assert rclip("--words", "ETE lisb").lines == ["été à Lisbonne.jpg"]
    assert rclip("--words", "img anna", "--orientation", "landscape").lines == rclip("--words", "img anna").lines
    assert rclip("-t", "9", "--words", "jpg", "a blue star").lines[0] == "été à Lisbonne.jpg"
    assert rclip("--words", "jpg nothing").code == 1


def test_what_changes_is_found_at_once(rclip: Command, photos: Path, draw: Draw) -> None:
    first = draw("a.jpg")
    update(rclip)
    assert rclip("--words", "a").lines == ["a.jpg"]
    first.rename(photos / "harbour.jpg")
    assert rclip("--words", "harbour").lines == ["harbour.jpg"]
    assert rclip("--words", "a").code == 1
    (photos / "harbour.xmp").write_bytes(DARKTABLE)
    assert rclip("--words", "portugal").lines == ["harbour.jpg"]
    (photos / "harbour.xmp").unlink()
    assert rclip("--words", "portugal").code == 1
    draw("bridge.jpg")
    assert rclip("--words", "bridge").lines == ["bridge.jpg"]
    assert rclip("--rebuild").code == 0
    assert rclip("--words", "harbour").lines == ["harbour.jpg"]


def cache(rclip: Command) -> Path:
    (found,) = rclip.data_dir.glob("*/words.cache")
    return found


@pytest.mark.parametrize("damage", ["missing", "empty", "no database", "another", "cut", "locked", "link", "folder"])
def test_the_cache_is_never_needed(rclip: Command, photos: Path, draw: Draw, damage: str, tmp_path: Path) -> None:
    draw("harbour.jpg")
    draw("bridge.jpg")
    update(rclip)
    assert rclip("--words", "bridge").lines == ["bridge.jpg"]
    path = cache(rclip)
    holder = sqlite3.connect(path, isolation_level=None)
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "no database":
            path.write_bytes(os.urandom(5000))
        case "another":
            holder.execute("UPDATE state SET token = 'x', last_id = 99")
        case "cut":
            os.truncate(path, path.stat().st_size // 2)
        case "locked":
            holder.execute("UPDATE state SET last_id = 1")
            holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        case "link":
            path.rename(tmp_path / "elsewhere")
            path.symlink_to(tmp_path / "elsewhere")
        case "folder":
            path.unlink()
            path.mkdir()
    draw("castle.jpg")
    assert rclip("--words", "castle").lines == ["castle.jpg"]
    assert rclip("--words", "harbour").lines == ["harbour.jpg"]
    holder.close()


def test_an_index_that_may_only_be_read(rclip: Command, photos: Path, draw: Draw, drop_root: tuple[str, ...]) -> None:
    draw("harbour.jpg")
    draw("bridge.jpg")
    assert rclip("--init").code == 0
    update(rclip)
    folder = photos / ".rclip"
    for each in (*folder.iterdir(), folder):
        each.chmod(0o500 if each.is_dir() else 0o400)
    try:
        assert rclip("--words", "bridge", prefix=drop_root).lines == ["bridge.jpg"]
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize("asked", ["OR", "NEAR(", '"', "a*", "col:x", "-", "' OR 1=1", "AND NOT", "\x00", "é" * 3000])
def test_nothing_is_an_operator(rclip: Command, draw: Draw, asked: str) -> None:
    draw("harbour.jpg")
    done = rclip("--words", asked.replace("\x00", " "))
    assert done.code in (1, 2)
    assert "Traceback" not in done.err


def test_words_of_hostile_captions(rclip: Command, photos: Path, draw: Draw) -> None:
    draw("a.jpg")
    (photos / "a.xmp").write_bytes(xmp(elements=f"<dc:description>{'x&#34; OR ' * 10_000}</dc:description>"))
    update(rclip)
    assert rclip("--words", "x or").lines == ["a.jpg"]
