"""`--queries` as JSON lines: words and paths taken literally, ids and lines in answers and errors, bounded sizes."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rclip.cli.query_file import queries_in
from rclip.errors import RclipError
from rclip.search.query import Picture, Text
from tests.support.command import Command, Result
from tests.support.gallery import Draw
from tests.support.tiers import few

Ask = Callable[..., Result]


@pytest.fixture
def ask(rclip: Command, gallery: Path, tmp_path: Path) -> Ask:
    """Runs the command with a file of these lines: texts as they are, other values as JSON."""
    assert rclip("--index").code == 0

    def run(*lines: object, options: tuple[str, ...] = ("--json",)) -> Result:
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / "asked").write_bytes("\n".join(texts).encode(errors="surrogateescape"))
        return rclip("-n", "-t", "1", *options, "--queries", tmp_path / "asked")

    return run


def answers(done: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.lines]


def asked_in(tmp_path: Path, *lines: bytes) -> list[Any]:
    (tmp_path / "lines").write_bytes(b"\n".join(lines))
    return [line for block in queries_in(str(tmp_path / "lines")) for line in block]


# --- what lines mean -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"query": "Anna - beach", "literal": True}, [(1.0, Text("Anna - beach"))]),
        ({"query": "2:1 + ./x", "literal": True}, [(1.0, Text("2:1 + ./x"))]),
        ({"query": "https://a.org/x.jpg", "literal": True}, [(1.0, Text("https://a.org/x.jpg"))]),
        ({"query": "+", "literal": True}, [(1.0, Text("+"))]),
        ({"query": "a\nb\0c", "literal": True}, [(1.0, Text("a\nb\0c"))]),
        ({"query": "Anna - beach"}, [(1.0, Text("Anna")), (-1.0, Text("beach"))]),
        ({"query": "Anna - beach", "literal": False, "id": None}, [(1.0, Text("Anna")), (-1.0, Text("beach"))]),
        ({"query": "./a.jpg"}, [(1.0, Picture("./a.jpg"))]),
        ({"path": "a - b.jpg"}, [(1.0, Picture("a - b.jpg"))]),
        ({"path": " ~/2:x\n.jpg"}, [(1.0, Picture(" ~/2:x\n.jpg"))]),
        ({"path_b64": "Li9hLmpwZw=="}, [(1.0, Picture("./a.jpg"))]),
        ({"path_b64": base64.b64encode(b"caf\xe9.jpg").decode()}, [(1.0, Picture("caf\udce9.jpg"))]),
        ({"path": "caf\udce9.jpg"}, [(1.0, Picture("caf\udce9.jpg"))]),
    ],
    ids=str,
)
def test_what_a_line_of_json_asks_for(tmp_path: Path, line: object, expected: list[tuple[float, object]]) -> None:
    (asked,) = asked_in(tmp_path, json.dumps(line).encode())
    assert [(term.weight, term.what) for term in asked.query.terms] == expected


def test_the_guides_lines_are_understood(tmp_path: Path) -> None:
    guide = (Path(__file__).parent.parent / "docs/guide.md").read_text(encoding="utf-8")
    lines = guide.split("```json\n")[1].split("```")[0].encode().splitlines()
    asked = asked_in(tmp_path, *lines)
    assert [(each.written, each.id) for each in asked] == [
        ("Anna - beach", 7),
        ("/pool/a - b.jpg", "cat"),
        ("horse + stripes - people", None),
    ]


def test_bytes_that_are_no_utf_8_are_those_of_the_path(tmp_path: Path) -> None:
    (asked,) = asked_in(tmp_path, b'{"path": "caf\xe9.jpg"}')
    assert asked.query.terms[0].what == Picture("caf\udce9.jpg")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "it starts like JSON, but is not valid: expecting property name enclosed in double quotes"),
        ('{"query": "a"', "it starts like JSON, but is not valid: expecting ',' delimiter"),
        ('{"query": "a"} b', "it starts like JSON, but is not valid: extra data"),
        ('{"query": 1' + "0" * 5000 + "}", "it starts like JSON, but is not valid: it holds more than can be read"),
        ('{"a": ' + "[" * 60_000, "it starts like JSON, but is not valid: it holds more than can be read"),
        ("{}", "it must have one text, as query, path or path_b64"),
        ('{"query": 7}', "it must have one text, as query, path or path_b64"),
        ('{"query": "a", "path": "b"}', "it must have one text, as query, path or path_b64"),
        ('{"query": "a", "top": 3}', "it has the unknown key top; the keys are id, query, literal, path, path_b64"),
        ('{"query": "a", "literal": 1}', "its literal must be true or false, and goes with query"),
        ('{"path": "a", "literal": true}', "its literal must be true or false, and goes with query"),
        ('{"query": "a", "id": 1.5}', "its id must be a whole number, or a text of at most 200 characters"),
        ('{"query": "a", "id": true}', "its id must be a whole number, or a text of at most 200 characters"),
        ('{"query": "a", "id": [1]}', "its id must be a whole number, or a text of at most 200 characters"),
        ('{"query": "a", "id": 9223372036854775808}', "its id must be a whole number, or a text of at most 200 char"),
        ('{"query": "a", "id": "' + "x" * 201 + '"}', "its id must be a whole number, or a text of at most 200 char"),
        ('{"query": " "}', 'the query is empty; say what to look for: rclip "a red kite"'),
        ('{"query": " ", "literal": true}', 'the query is empty; say what to look for: rclip "a red kite"'),
        ('{"path": ""}', 'the query is empty; say what to look for: rclip "a red kite"'),
        ('{"path_b64": "?"}', "its path_b64 is not base64"),
        (r'{"path": "\ud800"}', "its path has characters that no file name can have"),
    ],
    ids=lambda text: text[:40],
)
def test_a_line_that_asks_for_nothing(tmp_path: Path, line: str, problem: str) -> None:
    before, asked, after = asked_in(tmp_path, b"a star", line.encode(), b"a ring")
    assert isinstance(asked.query, RclipError)
    assert asked.problem(asked.query).startswith(f"line 2 of the queries: {problem}")
    assert (before.number, asked.number, after.number) == (1, 2, 3)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_each_answer_has_id_and_line(ask: Ask) -> None:
    done = ask("a red star", "", {"query": "a blue star", "id": 7}, {"query": "a green ring", "id": "ring - 1"})
    assert (done.code, done.err) == (0, "")
    found = answers(done)
    assert [(each["query"], each["line"], each.get("id"), each["rank"]) for each in found] == [
        ("a red star", 1, None, 1),
        ("a blue star", 3, 7, 1),
        ("a green ring", 4, "ring - 1", 1),
    ]
    assert "id" not in found[0]


def test_what_failed_has_an_answer_and_an_error_with_id_and_line(ask: Ask) -> None:
    done = ask({"query": "a red star", "id": 1}, {"path": "./gone.jpg", "id": "x\x1b"}, {"id": 3}, "0:a star", "{")
    assert done.code == 2
    problems = [
        "line 2 of the queries (x\x1b): cannot open ./gone.jpg: No such file or directory",
        "line 3 of the queries (3): it must have one text, as query, path or path_b64",
        "line 4 of the queries: '0:a star' has the weight 0, which must be above 0 and below a million",
        "line 5 of the queries: it starts like JSON, but is not valid: "
        "expecting property name enclosed in double quotes",
    ]
    assert answers(done)[1:] == [
        {"query": "./gone.jpg", "line": 2, "id": "x\x1b", "error": problems[0]},
        {"query": None, "line": 3, "id": 3, "error": problems[1]},
        {"query": "0:a star", "line": 4, "error": problems[2]},
        {"query": None, "line": 5, "error": problems[3]},
    ]
    assert [line.removeprefix("rclip: ") for line in done.err.splitlines()] == [
        problem.replace("\x1b", "\\x1b") for problem in problems
    ]
    assert "\x1b" not in done.out


def test_what_found_nothing_has_an_answer(ask: Ask) -> None:
    done = ask({"query": "a star", "id": 4}, "a ring", options=("--json", "--min-score", "1"))
    assert done.code == 1
    assert answers(done) == [
        {"query": "a star", "line": 1, "id": 4, "found": 0},
        {"query": "a ring", "line": 2, "found": 0},
    ]


def test_in_an_empty_folder_each_query_has_an_answer(rclip: Command, photos: Path) -> None:
    (photos / "asked").write_text('{"query": "a star", "id": 1}\n{"query": "a ring", "id": 2}\n')
    done = rclip("--json", "--queries", "asked")
    assert done.code == 1
    assert [(each["id"], each["found"]) for each in answers(done)] == [(1, 0), (2, 0)]


def test_forms_for_people_have_lines_for_photos_only(ask: Ask) -> None:
    done = ask({"query": "a red - star", "literal": True, "id": 1}, {"path": "gone"}, options=("-f",))
    assert done.code == 2
    assert [line.partition("\t")[0] for line in done.lines] == ["a red - star"]
    shown = ask({"query": "a red star", "id": 5}, "a blue star", options=("--format", "{line} {id} {rank} {path}"))
    assert shown.lines == ["1 5 1 stars/red.jpg", "2  1 stars/blue.jpg"]


@pytest.mark.parametrize("name", few(["a - b.jpg", "2:x.jpg", "~x.jpg", "new\nline.jpg", "+", "é\u202e.jpg"], fast=2))
def test_a_picture_of_any_name_is_asked_with(rclip: Command, draw: Draw, gallery: Path, ask: Ask, name: str) -> None:
    drawn = draw("drawn.jpg", "blue ring")
    os.rename(drawn, gallery / name)
    rclip("--index")
    (expected,) = answers(rclip("-n", "-t", "1", "--json", gallery / name))
    (found,) = answers(ask({"path": name}))
    assert found["path"] == expected["path"]
    assert found["query"] == name


def test_paths_of_answers_are_queries_again(rclip: Command, gallery: Path, ask: Ask) -> None:
    os.rename(gallery / "stars/red.jpg", os.fsencode(gallery) + b"/stars/r\xff.jpg")
    rclip("--index")
    (found,) = answers(ask("a red star"))
    assert "path_b64" in found
    (again,) = answers(ask({"path_b64": found["path_b64"], "id": 1}))
    assert again["path"].endswith(".jpg")
    assert again["score"] > 0.5


def test_a_password_is_not_in_answers(ask: Ask) -> None:
    done = ask(
        {"query": "http://me:secret@127.0.0.1:9/a.jpg", "id": 1}, {"query": "ftp://me:secret@x", "literal": True}
    )
    assert "secret" not in done.out + done.err


def test_a_program_that_asks_line_by_line_gets_an_answer_to_each(rclip: Command, gallery: Path) -> None:
    assert rclip("--index").code == 0
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), "-n", "-t", "1", "--json"]
    with subprocess.Popen(
        [*command, "--queries", "-"], cwd=gallery, env=rclip.env, stdin=-1, stdout=-1, stderr=-3
    ) as asked:
        assert asked.stdin
        assert asked.stdout
        for line, key in (('{"query": "a star"}', "path"), ('{"path": "gone"}', "error"), ("{", "error")):
            asked.stdin.write(f"{line}\n".encode())
            asked.stdin.flush()
            assert key in json.loads(asked.stdout.readline())
        asked.stdin.close()
        assert asked.wait(30) == 2


def test_a_line_of_megabytes_ends_in_one_line(ask: Ask) -> None:
    done = ask("a star", '{"query": "' + "x" * (1 << 20) + '"}')
    assert done.code == 2
    assert "line 2 has more than 65,536 bytes" in done.err.splitlines()[-1]


# --- what JSON says of photos ----------------------------------------------------------------------------------------


def test_json_says_which_model_where_that_is_asked_for(rclip: Command, gallery: Path) -> None:
    assert rclip("--index").code == 0
    stats = dict(line.split(maxsplit=1) for line in rclip("--stats").lines if not line.startswith(" "))
    plain, verbose = (rclip("-n", "-t", "2", "--json", *more, "a star") for more in ((), ("-v",)))
    for one, other in zip(answers(plain), answers(verbose), strict=True):
        assert other == one | {name: stats[name] for name in ("model", "digest", "precision")}
        assert list(other)[-3:] == ["model", "digest", "precision"]


HOSTILE = (
    "[" * 60_000,
    '{"a":' * 10_000,
    '{"query": "x", "query": "a red star", "id": 7}',
    '{"query": "\\ud800"}',
    '{"path": "\\udcff\\u0000"}',
    '{"path": "./pipe.jpg"}',
    '{"path": "./endless.jpg"}',
    '{"path": "/proc/self/mem"}',
    '{"path": "/etc/passwd"}',
    '{"id": 1e400, "query": "a"}',
    '{"id": NaN, "query": "a"}',
    '{"id": "\\u001b[31m\\u202e", "query": "a red star"}',
    '{"id": ' + "9" * 5000 + ', "query": "a"}',
    '{"query": "file:///etc/passwd"}',
    '{"query": "https://[::1/"}',
    '{"path_b64": "' + "QUFB" * 15_000 + '"}',
    '{"path": "' + "../" * 15_000 + '"}',
    '{"query": "' + "+ a " * 12_000 + '"}',
    '{"query": "' + "\\u0300" * 8000 + '"}',
    "1e999999:a",
    "-" * 50_000,
    "\x1b[2J\u202e",
    "\0",
)


@pytest.mark.parametrize("form", few([[], ["--json"]], fast=2))
def test_hostile_lines_are_answered_or_a_line_each_and_the_last_is_answered(
    rclip: Command, gallery: Path, tmp_path: Path, form: list[str]
) -> None:
    assert rclip("--index").code == 0
    os.mkfifo(gallery / "pipe.jpg")
    (gallery / "endless.jpg").symlink_to("/dev/zero")
    lines = tmp_path / "lines"
    lines.write_bytes("\n".join(HOSTILE).encode() + b"\n\xff\xfe\na red star\n")
    done = rclip("-n", "-t", "1", "--queries", str(lines), *form)
    for told in ("Traceback", "fault of rclip itself", "Warning", "root:"):
        assert told not in done.out + done.err
    assert "\x1b" not in done.err
    assert len(done.err.splitlines()) <= len(HOSTILE)
    assert max(map(len, done.err.splitlines())) < 6000
    assert "stars/red.jpg" in done.lines[-1]
