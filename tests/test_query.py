"""What a query may be, what it means, and where it comes from."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rclip.errors import UsageError
from rclip.search import query, remote_image
from rclip.search.query import Link, Picture, Query, Term, Text
from tests.support.command import Command
from tests.support.gallery import GALLERY, Draw
from tests.support.tiers import few

# The same rows as in the docstring of `query`: what is written, and what it means.
GRAMMAR = [
    ("a cat", [(1, Text("a cat"))]),
    ("cat.jpg", [(1, Text("cat.jpg"))]),
    ("./cat.jpg", [(1, Picture("./cat.jpg"))]),
    ("../cat.jpg", [(1, Picture("../cat.jpg"))]),
    ("/pool/cat.jpg", [(1, Picture("/pool/cat.jpg"))]),
    ("~/cat.jpg", [(1, Picture(os.path.expanduser("~/cat.jpg")))]),
    ("file:///pool/cat.jpg", [(1, Picture("/pool/cat.jpg"))]),
    ("https://a.org/cat.jpg", [(1, Link("https://a.org/cat.jpg"))]),
    ("http://a.org/cat.jpg", [(1, Link("http://a.org/cat.jpg"))]),
    ("2:a cat", [(2, Text("a cat"))]),
    ("0.5:./cat.jpg", [(0.5, Picture("./cat.jpg"))]),
    (".5:a cat", [(0.5, Text("a cat"))]),
    ("2:16:9 film still", [(2, Text("16:9 film still"))]),
    ("a cat + snow", [(1, Text("a cat")), (1, Text("snow"))]),
    ("a cat + snow - people", [(1, Text("a cat")), (1, Text("snow")), (-1, Text("people"))]),
    ("- people", [(-1, Text("people"))]),
]


def terms(asked: Query) -> list[tuple[float, object]]:
    return [(term[0], term[1]) for term in asked.terms]


@pytest.mark.parametrize(("written", "meant"), GRAMMAR)
def test_the_grammar(written: str, meant: list[tuple[float, object]]) -> None:
    assert terms(query.parse_line(written)) == meant
    assert query.parse_line(written).written == written
    if len(meant) == 1 and meant[0][0] > 0:
        assert terms(query.parse(written)) == meant


def test_the_docstring_holds_the_same_table() -> None:
    table = [line.split(" | ")[0] for line in (query.__doc__ or "").splitlines() if line.startswith("| `")]
    assert [written for row in table for written in row.strip("| `").split("` `")] == [row[0] for row in GRAMMAR]


@pytest.mark.parametrize(
    ("words", "asked", "left"),
    [
        (["a cat"], ["a cat"], []),
        (["a cat", "~/Pictures"], ["a cat"], ["~/Pictures"]),
        (["a", "+", "b", "-", "c", "d", "e"], ["a", "+", "b", "-", "c"], ["d", "e"]),
        (["-", "a", "b"], ["-", "a"], ["b"]),
        (["a", "+"], ["a", "+"], []),
        (["a", "dir", "+", "b"], ["a"], ["dir", "+", "b"]),
        ([], [], []),
    ],
)
def test_where_the_query_ends_and_the_folders_begin(words: list[str], asked: list[str], left: list[str]) -> None:
    assert query.split(words) == (asked, left)


def test_signs_within_words_are_words() -> None:
    for written in ("black-and-white", "c++", "a +b", "rock'n'roll -x"):
        assert terms(query.parse_line(written)) == [(1, Text(written))]


def test_added_and_subtracted_terms() -> None:
    asked = query.parse_words(["a"], added=["2:b"], subtracted=["./c.jpg"])
    assert terms(asked) == [(1, Text("a")), (2, Text("b")), (-1, Picture("./c.jpg"))]
    assert asked.written == "a + 2:b - ./c.jpg"
    assert terms(query.parse_words([], subtracted=["a"])) == [(-1, Text("a"))]


def test_bytes_that_are_no_utf8_are_replaced_in_words_only() -> None:
    assert terms(query.parse("caf\udce9")) == [(1, Text("caf�"))]
    assert terms(query.parse("./caf\udce9")) == [(1, Picture("./caf\udce9"))]


@pytest.mark.parametrize("asked", ["", " ", "\n\t", "\u3000", "2:", "2: "])
def test_nothing_but_blanks_is_no_query(asked: str) -> None:
    with pytest.raises(UsageError, match="empty"):
        query.parse(asked)


@pytest.mark.parametrize("asked", ["0:a cat", "1000000:a cat", "9" * 400 + ":a cat"])
def test_a_weight_that_makes_no_sense(asked: str) -> None:
    with pytest.raises(UsageError, match="which must be above 0 and below a million"):
        query.parse(asked)


def test_a_sign_needs_a_term_behind_it() -> None:
    with pytest.raises(UsageError, match="ends with -"):
        query.parse_words(["a", "-"])


# --- what terms add up to --------------------------------------------------------------------------------------------


def scores(rclip: Command, *words: str) -> dict[str, float]:
    done = rclip("-n", "--json", "-t", "100", *words)
    assert done.code == 0, done.err
    return {hit["path"]: hit["score"] for hit in map(json.loads, done.lines)}


def test_a_sum_is_that_of_unit_vectors_times_their_weights(rclip: Command, gallery: Path) -> None:
    """Checked by the scores: that of the sum is the weighted sum of the terms', but for one factor for all photos."""
    assert rclip("--index").code == 0
    red, star, circle = (scores(rclip, words) for words in ("red", "a star", "a circle"))
    together = scores(rclip, "red", "+", "2:a star", "-", ".5:a circle")
    assert together == scores(rclip, "red", "--add", "2:a star", "--subtract", "0.5:a circle")
    expected = np.array([red[path] + 2 * star[path] - 0.5 * circle[path] for path in together])
    factors = expected / np.array(list(together.values()))
    np.testing.assert_allclose(factors, factors[0], rtol=1e-3)
    assert all(-1 <= score <= 1 for score in together.values())


def test_plus_and_minus_find_what_they_say(rclip: Command, gallery: Path) -> None:
    assert rclip("--index").code == 0
    assert rclip("-n", "-t", "1", "a red shape", "+", "a star").out == "stars/red.jpg\n"
    assert rclip("-n", "-t", "1", "./stars/red.jpg", "-", "red", "+", "blue").out == "stars/blue.jpg\n"
    least = rclip("-n", "-t", "1", "-", "a red star").out
    assert least
    assert "star" not in least or "red" not in least


def test_folders_come_behind_the_query(rclip: Command, gallery: Path) -> None:
    done = rclip("a shape", "+", "red", "stars", "circles")
    assert {line.split("/")[0] for line in done.lines} == {"stars", "circles"}


def test_a_sum_that_cancels_is_said(rclip: Command, gallery: Path) -> None:
    done = rclip("a star", "-", "a star")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1] == "rclip: nothing is left of a star - a star: its terms cancel each other"


def test_a_picture_is_not_an_answer_to_itself(rclip: Command, gallery: Path) -> None:
    os.symlink("red.jpg", gallery / "stars/link.jpg")
    done = rclip("-t", "100", "./stars/red.jpg")
    assert len(done.lines) == len(GALLERY)  # the link to it among them, itself not
    assert "./stars/red.jpg" not in done.out
    assert "stars/red.jpg\n" not in done.out
    through_link = rclip("-n", "-t", "100", "./stars/link.jpg")
    assert "stars/red.jpg" not in through_link.out
    assert "stars/link.jpg" not in through_link.out


def test_words_that_name_a_file_are_words(rclip: Command, gallery: Path) -> None:
    done = rclip("circles/red.jpg", "-", "stars/blue.jpg")
    assert done.code == 0
    assert "searching for these words; to search by that picture, write ./circles/red.jpg" in done.err
    assert "write ./stars/blue.jpg" in done.err
    assert len(done.lines) == 10


@pytest.mark.parametrize(
    ("name", "reason"),
    few(
        [
            ("./gone.jpg", "No such file or directory"),
            ("./note.txt", "damaged, or not a picture in a format known here"),
        ]
    ),
)
def test_what_is_no_picture_is_said(rclip: Command, gallery: Path, name: str, reason: str) -> None:
    (gallery / "note.txt").write_text("no picture")
    done = rclip("a star", "+", name)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1] == f"rclip: cannot open {name}: {reason}"


def test_a_folder_that_stands_where_the_query_should_is_said(rclip: Command, gallery: Path) -> None:
    done = rclip("./stars")
    assert (done.code, done.out) == (2, "")
    assert done.err == 'rclip: ./stars is a folder; add a query: rclip "a red kite" ./stars\n'


IMPORTS = (
    "import sys; sys.argv[0] = 'rclip'; from rclip.cli.main import main; main(); print(*sys.modules, file=sys.stderr)"
)


@pytest.mark.parametrize("name", few(["./stars/red.jpg", "../copy.jpg"]))
def test_an_indexed_picture_costs_no_model(rclip: Command, gallery: Path, name: str) -> None:
    """Nor does a copy of it that is not indexed itself."""
    (gallery / "../copy.jpg").write_bytes((gallery / "stars/red.jpg").read_bytes())
    expected = rclip("./stars/red.jpg").lines[0]
    for weights in rclip.data_dir.rglob("image*"):
        weights.unlink()
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, "--model", str(rclip.model), "-n", name],
        cwd=gallery, env=rclip.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    loaded = set(done.stderr.split())
    assert not {"torch", "PIL", "clip", "rclip.models.local_encoder", "rclip.photo.image"} & loaded, done.stderr[-300:]
    assert done.stdout.splitlines()[0] in (expected, "stars/red.jpg")


# --- pictures at an address ------------------------------------------------------------------------------------------


class Pages(BaseHTTPRequestHandler):
    """`/red.jpg` is a picture; other paths are what a server may do instead."""

    picture = b""

    def do_GET(self) -> None:
        if self.path.startswith("/red.jpg"):
            self.answer(200, self.picture)
        elif self.path == "/moved":
            self.answer(302, b"", Location="/red.jpg")
        elif self.path == "/elsewhere":
            self.answer(302, b"", Location="ftp://127.0.0.1/red.jpg")
        elif self.path == "/page":
            self.answer(200, b"<html>no picture</html>")
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            self.pour()
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            self.drip()
        else:
            self.answer(404, b"")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def pour(self) -> None:
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:  # the reader has seen enough
            pass

    def drip(self) -> None:
        try:
            for _ in range(200):
                self.wfile.write(b".")
                time.sleep(0.05)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(draw: Draw, tmp_path: Path) -> Iterator[str]:
    Pages.picture = draw(tmp_path / "served.jpg", "red star").read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("path", few(["/red.jpg", "/moved", "/red.jpg?size=large", "/red.jpg." + "x" * 2000]))
def test_a_picture_at_an_address(rclip: Command, gallery: Path, server: str, path: str) -> None:
    done = rclip("-t", "1", server + path)
    assert done.out == "stars/red.jpg\n", done.err


@pytest.mark.parametrize(
    ("path", "reason"),
    few(
        [
            ("/gone", "cannot fetch {url}: Not Found"),
            ("/elsewhere", "cannot fetch {url}: it leads to another kind of address (ftp://127.0.0.1/red.jpg)"),
            ("/page", "cannot open {url}: damaged, or not a picture in a format known here"),
        ],
        fast=2,
    ),
)
def test_an_address_that_gives_no_picture_is_said(
    rclip: Command, gallery: Path, server: str, path: str, reason: str
) -> None:
    done = rclip(server + path)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1] == "rclip: " + reason.format(url=server + path)


def test_a_server_that_is_not_there_is_said(rclip: Command, gallery: Path) -> None:
    done = rclip("http://127.0.0.1:9/a.jpg")
    assert done.code == 2
    assert done.err.splitlines()[-1] == "rclip: cannot fetch http://127.0.0.1:9/a.jpg: Connection refused"


def test_no_more_is_fetched_than_a_picture_may_have(server: str) -> None:
    with pytest.raises(UsageError, match="it is larger than 1 MB"):
        remote_image.fetch(server + "/endless", max_bytes=1 << 20)


def test_a_server_that_drips_is_left(server: str) -> None:
    with pytest.raises(UsageError, match="it takes too long"):
        remote_image.fetch(server + "/slow", timeout_s=0.3)


# --- many queries ----------------------------------------------------------------------------------------------------


def test_queries_from_a_file(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    """One with a sign, one with a picture, a blank line, and an end without a newline."""
    (tmp_path / "asked").write_text("a red star\n\n./stars/red.jpg - red + blue\r\n  a green circle")
    found = [json.loads(line) for line in rclip("--queries", tmp_path / "asked", "-t", "1", "--json").lines]
    assert [(hit["query"], os.path.relpath(hit["path"], gallery)) for hit in found] == [
        ("a red star", "stars/red.jpg"),
        ("./stars/red.jpg - red + blue", "stars/blue.jpg"),
        ("a green circle", "circles/green.jpg"),
    ]
    assert list(found[0])[:6] == ["query", "line", "path", "score", "rank", "size"]
    assert [hit["line"] for hit in found] == [1, 3, 4]
    in_a_pipe = rclip("-n", "--queries", tmp_path / "asked", "-t", "1")
    assert in_a_pipe.lines[0] == "a red star\tstars/red.jpg"


def test_many_queries_find_what_each_finds_alone(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    asked = [f"{size} {color} {shape} " + "x" * (number % 5)
             for number, (color, shape) in enumerate(GALLERY * 7) for size in ("a", "a very large")]  # fmt: skip
    (tmp_path / "asked").write_text("\n".join(asked))
    together = rclip("--queries", tmp_path / "asked", "-t", "3").lines
    assert len(together) == 3 * len(asked)
    for number in (0, 1, 77, 167):
        alone = rclip("-n", "-t", "3", asked[number]).lines
        expected = [f"{' '.join(asked[number].split())}\t{path}" for path in alone]
        assert together[3 * number : 3 * number + 3] == expected


def test_a_program_that_asks_line_by_line_is_answered(rclip: Command, gallery: Path) -> None:
    assert rclip("--index").code == 0
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "-n", "-t", "1", "--queries", "-"]
    with subprocess.Popen(
        command, cwd=gallery, env=rclip.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as asked:  # fmt: skip
        assert asked.stdin
        assert asked.stdout
        for color, shape in GALLERY[:4]:
            asked.stdin.write(f"a {color} {shape}\n".encode())
            asked.stdin.flush()
            assert asked.stdout.readline() == f"a {color} {shape}\t{shape}s/{color}.jpg\n".encode()
        asked.stdin.close()
        assert asked.wait(30) == 0


def test_a_query_that_cannot_be_answered_does_not_keep_the_others(
    rclip: Command, gallery: Path, tmp_path: Path
) -> None:
    (tmp_path / "asked").write_text("a red star\n./gone.jpg\na blue star\n")
    done = rclip("--queries", tmp_path / "asked", "-t", "1")
    assert done.code == 2
    assert done.lines == ["a red star\tstars/red.jpg", "a blue star\tstars/blue.jpg"]
    expected = "rclip: line 2 of the queries: cannot open ./gone.jpg: No such file or directory"
    assert expected in done.err.splitlines()


def test_a_file_of_queries_that_is_no_text_is_said(rclip: Command, gallery: Path) -> None:
    (gallery / "asked").write_bytes(b"a red star\na\0b\n")
    done = rclip("--queries", "asked", "-t", "1")
    assert (done.code, done.lines) == (2, ["a red star\tstars/red.jpg"])
    assert done.err.splitlines()[-1] == "rclip: line 2 of the queries: it is not text"


def test_a_byte_order_mark_is_no_part_of_the_first_query(rclip: Command, gallery: Path) -> None:
    (gallery / "asked").write_bytes(b"\xef\xbb\xbf./stars/red.jpg\n")
    expected = rclip("-t", "2", "./stars/red.jpg").lines
    assert rclip("--queries", "asked", "-t", "2").lines == [f"./stars/red.jpg\t{path}" for path in expected]


def test_queries_from_a_closed_standard_input(rclip: Command, gallery: Path) -> None:
    done = rclip("-n", "--queries", "-", prefix=("sh", "-c", 'exec "$@" <&-', "sh"))
    assert (done.code, done.lines) == (2, [])
    assert "cannot read the queries in -: it is closed; --queries needs a text file" in done.err


def test_added_terms_may_have_a_folder_behind_them(rclip: Command, gallery: Path) -> None:
    assert rclip("--add", "a red star", "-t", "1", "./stars").lines == ["./stars/red.jpg"]


def test_what_is_wrong_with_queries_is_said(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "asked").write_text("a red star\n0:a star\na blue star\n")
    done = rclip("--queries", tmp_path / "asked", "-t", "1")
    assert done.code == 2
    assert "rclip: line 2 of the queries: '0:a star' has the weight 0, which must be" in done.err
    assert done.lines == ["a red star\tstars/red.jpg", "a blue star\tstars/blue.jpg"]
    done = rclip("--queries", tmp_path / "gone")
    assert done.code == 2
    assert f"rclip: cannot read the queries in {tmp_path}/gone: No such file or directory; --queries needs" in done.err
    done = rclip("--queries", tmp_path / "asked", "--add", "a star")
    assert done.code == 2
    assert "leave out --add and --subtract" in done.err


def test_no_picture_is_written_to(rclip: Command, gallery: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "PNG")
    (gallery / "one.png").write_bytes(buffer.getvalue())
    os.chmod(gallery / "one.png", 0o400)
    before = os.stat(gallery / "one.png")
    assert rclip("./one.png").code == 0
    after = os.stat(gallery / "one.png")
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


def test_terms_are_plain_values() -> None:
    assert query.parse("a cat") == Query((Term(1.0, Text("a cat")),), "a cat")
