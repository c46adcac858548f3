"""What is asked of a database and of the index alike: each filter, of photos of which all that it needs is known."""

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.command import Command
from tests.support.gallery import Draw
from tests.support.index import index_of

QUESTIONS = [
    ["a red star", "--path", "stars/**"],
    ["a red star", "--path", "!stars"],
    ["a red star", "--path", "red.*", "--path", "blue.jpg"],
    ["a red star", "--type", "jpg"],
    ["a red star", "--type", "png"],
    ["a red star", "--after", "2015", "--before", "2021-06"],
    ["a red star", "--near", "48.85,2.29"],
    ["a red star", "--near", "0,180,500"],
    ["a red star", "--camera", "canon"],
    ["a red star", "--camera", "ÉLAN canon"],
    ["a red star", "--rating", "3"],
    ["a red star", "--keyword", "Beach"],
    ["a red star", "--keyword", "ÉTÉ"],
    ["a red star", "--keyword", "beach,été"],
    ["a red star", "--min-score", "0.2"],
    ["a red star", "--size", "0.25mp"],
    ["a red star", "--size", "..500x480"],
    ["a red star", "--size", "1kb..2kb"],
    ["a red star", "--orientation", "portrait"],
    ["a red star", "--lens", "rf 50"],
    ["a red star", "--lens", "ÉLAN"],
    ["a red star", "--words", "tram hill"],
    ["a red star", "--words", "blue"],
    ["a red star", "--relevant"],
    ["red + star - circle"],
    ["--after", "2015"],
    ["--after", "2015", "-t", "3"],
    ["--camera", "canon", "--rating", "1"],
]


def make_described(rclip: Command, photos: Path, draw: Draw) -> None:
    """Thirteen photos, indexed, with and without what is known of them."""
    for number in range(4):
        for color in ("red", "blue", "green"):
            draw(f"{'stars' if number % 2 else 'circles'}/{number}/{color}.{'png' if number == 3 else 'jpg'}",
                 f"{color} {'star' if number % 2 else 'circle'}")  # fmt: skip
    (photos / "stars/red.jpg").write_bytes((photos / "stars/1/red.jpg").read_bytes())
    for number, path in enumerate(sorted(photos.rglob("*.*"))):
        os.utime(path, (10**9 + number * 5 * 10**7,) * 2)
    assert rclip("--index").code == 0
    _describe_all(rclip)


def _describe_all(rclip: Command) -> None:
    """Gives the photos dates, places, cameras, ratings and keywords, as their files would have."""
    chance = random.Random(5)
    cameras = [("Canon", "EOS R5"), ("Élan", "canon II"), ("NIKON", "Z 8")]
    words = ["beach", "Été", "Beach house", "ete"]
    with closing(sqlite3.connect(index_of(rclip))) as table, table:
        table.executemany("INSERT INTO cameras VALUES (?, ?, ?)", [(n, *camera) for n, camera in enumerate(cameras, 1)])
        for (id_,) in table.execute("SELECT id FROM images ORDER BY id").fetchall():
            _describe(table, id_, chance, words)


def _describe(table: sqlite3.Connection, id_: int, chance: random.Random, words: list[str]) -> None:
    if chance.random() < 0.2:
        return
    place = chance.choice([(48.8584, 2.2945), (48.9, 2.3), (0.5, 179.9), (-0.5, -179.0), (None, None)])
    keywords = "\n".join(chance.sample(words, chance.randrange(4))) or None
    captured_s = chance.choice([None, chance.randrange(10**9, 17 * 10**8)])
    rating = chance.choice([None, 1, 3, 5])
    known = {
        "id": id_,
        "captured_s": captured_s,
        "latitude": place[0],
        "longitude": place[1],
        "rating": rating,
        "camera": chance.randrange(1, 4),
        "keywords": keywords,
        "captured_from": chance.randrange(3),
        **dict(zip(("width", "height"), chance.choice([(640, 480), (480, 640), (500, 500)]), strict=True)),
        "lens": chance.choice([None, "RF 50mm F1.2", "élan 50 rf"]),
        "title": chance.choice([None, "Tram 28"]),
        "caption": chance.choice([None, "It climbs the hill", "A hill"]),
        "is_outdated": 0,
    }
    table.execute(
        f"INSERT OR REPLACE INTO metadata ({', '.join(known)}) VALUES ({', '.join('?' * len(known))})",
        tuple(known.values()),
    )
    has_time = captured_s is not None
    table.execute("UPDATE images SET has_metadata = 1, has_capture_time = ? WHERE id = ?", (has_time, id_))
