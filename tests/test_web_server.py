"""`rclip --web` as a program meets it: the API, and whatever may be tried to get more than it should give."""

import csv
import io
import json
import os
import random
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import pictures
from tests.support.command import Command, one_line
from tests.support.gallery import GALLERY, Draw, draw_scene
from tests.support.served import Served, serving


@pytest.fixture
def served(rclip: Command, gallery: Path) -> Iterator[Served]:
    rclip("--index")
    with serving(rclip, "-n") as served:
        yield served


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- starting and ending ----------------------------------------------------------------------------------------------


def test_it_says_where_it_is_and_ends_in_order(served: Served) -> None:
    assert served.address == f"http://127.0.0.1:{served.port}/?token={served.token}"
    assert len(served.token) >= 32
    assert served.ask("/").status == 200
    assert served.stop() == (
        0,
        "rclip: open this address in a browser; Ctrl-C stops the server\nrclip: the page is closed\n",
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_ends_in_order_while_somebody_listens(served: Served, number: int) -> None:
    with socket.create_connection((served.host, served.port)) as listening:
        listening.sendall(
            f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
            f"Authorization: Bearer {served.token}\r\n\r\n".encode()
        )
        assert listening.recv(1000).startswith(b"HTTP/1.1 200")
        code, told = served.stop(number)
        assert (code, told.splitlines()[1:]) == (0, ["rclip: the page is closed"])


def test_each_run_has_a_token_of_its_own(rclip: Command, gallery: Path) -> None:
    with serving(rclip, "-n") as one, serving(rclip, "-n") as other:
        assert one.token != other.token
        assert one.port != other.port
        assert other.ask("/api/stats", headers={"Authorization": f"Bearer {one.token}"}).status == 403


def test_a_port_that_is_taken_is_one_line(rclip: Command, gallery: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = rclip("--web", "--no-open", "--listen", f"127.0.0.1:{port}")
    assert done.code == 2
    assert one_line(done.err) == f"rclip: cannot listen at 127.0.0.1:{port}: Address already in use; choose another"


@pytest.mark.parametrize("where", ["8000", "here:there", "127.0.0.1:70000", "a/b:80", "127.0.0.1:"])
def test_addresses_that_are_none(rclip: Command, where: str) -> None:
    done = rclip("--web", "--listen", where)
    assert done.code == 2
    assert "--listen: must be an address and a port, like 127.0.0.1:8000" in one_line(done.err)


def test_without_its_packages_one_line_says_what_to_install(rclip: Command, tmp_path: Path) -> None:
    """A finder in front of all others that finds none of them."""
    code = (
        "import sys\n"
        "class Hides:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('starlette', 'uvicorn', 'jinja2'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hides())\n"
        "from rclip.cli.main import run\n"
        "run()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--web"], cwd=rclip.cwd, env=rclip.env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "--web needs packages that are not installed" in one_line(done.stderr)
    assert "pip install starlette uvicorn jinja2" in done.stderr


def test_a_query_is_refused(rclip: Command) -> None:
    assert "takes no query" in one_line(rclip("--web", "--after", "2020").err)
    assert "--allow-copy works only with --web" in one_line(rclip("--allow-copy", ".", "a cat").err)


def test_new_photos_are_looked_at_in_the_background(rclip: Command, gallery: Path) -> None:
    with serving(rclip) as served:
        until(lambda: served.ask("/api/stats").json["photos"] == len(GALLERY))
        until(lambda: len(served.ask("/api/search?q=a+star").json["photos"]) == len(GALLERY))


# --- the API ----------------------------------------------------------------------------------------------------------


def as_command(rclip: Command, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in rclip("-n", "--json", *arguments).lines]


def test_a_search_gives_what_the_command_gives(rclip: Command, served: Served) -> None:
    answer = served.ask("/api/search?q=a+red+star&q=-+a+circle&count=5&types=jpg").json
    assert answer["query"] == "a red star - a circle"
    assert [(term["weight"], term["kind"], term["value"]) for term in answer["terms"]] == [
        (1, "text", "a red star"),
        (-1, "text", "a circle"),
    ]
    ids = [photo.pop("id") for photo in answer["photos"]]
    assert answer["photos"] == as_command(rclip, "-t", "5", "a red star", "-", "a circle")
    assert answer["has_more"]
    second = served.ask("/api/search?q=a+red+star&q=-+a+circle&count=5&types=jpg&page=2").json
    assert second["start"] == 5
    assert not set(ids) & {photo["id"] for photo in second["photos"]}
    assert served.ask("/api/search?count=3").json["photos"][0].keys() >= {"id", "path", "captured"}


def test_similar_photos_facts_and_thumbnails(rclip: Command, served: Served, gallery: Path) -> None:
    star = served.ask("/api/search?q=a+red+star&count=1").json["photos"][0]
    similar = served.ask(f"/api/similar/{star['id']}").json["photos"]
    assert [photo["path"] for photo in similar] == [
        photo["path"] for photo in as_command(rclip, "-t", "99", star["path"])
    ]
    facts = served.ask(f"/api/photos/{star['id']}").json
    assert facts == {name: value for name, value in star.items() if name not in ("score", "rank")}
    for side in ("", "?side=480", "?side=2048"):
        thumbnail = served.ask(f"/api/photos/{star['id']}/thumbnail{side}")
        assert (thumbnail.status, thumbnail.headers["content-type"]) == (200, "image/jpeg")
        assert Image.open(io.BytesIO(thumbnail.body)).size == (160, 120)
    assert served.ask(f"/api/photos/{star['id']}/thumbnail?side=9").status == 400
    assert served.ask("/api/facets").json["photos"] == len(GALLERY)


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/api/search?q=a+%2B+", 400, "the query ends with +"),
        ("/api/search?q=0:a", 400, "weight"),
        ("/api/search?after=yesterday", 400, "the filter after must be a time"),
        ("/api/search?is_relevant=1", 400, "need a query"),
        ("/api/search?q=https://127.0.0.1:1/a.jpg", 400, "pictures are not fetched"),
        ("/api/search?q=photo:0-999", 404, "not here any more"),
        ("/api/search?q=picture:" + 32 * "0", 404, "not kept any more"),
        ("/api/photos/0-999", 404, "not here any more"),
        ("/api/photos/..%2f..%2fetc%2fpasswd", 404, ""),
        ("/api/photos/0-999/thumbnail", 404, "not here any more"),
        ("/api/pictures/..%2fsecret/thumbnail", 404, ""),
        ("/api/pictures/zz/thumbnail", 404, "not kept any more"),
        ("/static/..%2f..%2fapp.py", 404, ""),
        ("/static/style.css%00", 404, ""),
        ("/nothing", 404, ""),
    ],
)
def test_what_makes_no_sense_is_one_line(served: Served, path: str, status: int, error: str) -> None:
    answer = served.ask(path)
    assert answer.status == status
    assert error in answer.text
    assert "Traceback" not in answer.text


def test_no_path_in_a_request_is_one_of_the_file_system(served: Served, rclip: Command, gallery: Path) -> None:
    """The command would open them; here they are words."""
    for query in ("./stars/red.jpg", str(gallery / "stars/red.jpg"), "~/x.jpg"):
        answer = served.ask("/api/search?q=" + query.replace("/", "%2F")).json
        assert answer["terms"] == [{"weight": 1.0, "kind": "text", "value": query}]
        assert len(answer["photos"]) == len(GALLERY)  # a picture that is asked with would not be among them


def test_a_name_that_is_no_text(rclip: Command, photos: Path) -> None:
    name = os.path.join(os.fsencode(photos), b"caf\xe9 <b>&\n.png")
    with open(name, "wb") as file:
        file.write(pictures.encode(pictures.drawn(), "png"))
    rclip("--index")
    with serving(rclip, "-n") as served:
        (photo,) = served.ask("/api/search").json["photos"]
        assert "path" not in photo
        page = served.ask("/").text
        assert "caf\ufffd &lt;b&gt;&amp;" in page
        assert served.ask(f"/photos/{photo['id']}").status == 200
        assert served.ask(f"/api/photos/{photo['id']}/thumbnail").status == 200
        listed = served.post("/api/selection", {"ids": [photo["id"]], "format": "text"})
        assert listed.body == name + b"\n"


def test_the_document_is_that_of_the_routes(served: Served) -> None:
    from rclip.web.api import ROUTES

    document = served.ask("/api/openapi.json").json
    assert document["openapi"].startswith("3.1")
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    routed = {(route.path, method) for route in ROUTES for method in route.methods or () if method != "HEAD"}
    assert described == routed
    for path, item in document["paths"].items():
        for operation in item.values():
            named = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    assert_refers_to_what_is_there(document, document)


def assert_refers_to_what_is_there(part: Any, document: dict[str, Any]) -> None:
    if isinstance(part, dict):
        if "$ref" in part:
            found: Any = document
            for name in part["$ref"].removeprefix("#/").split("/"):
                found = found[name]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            assert_refers_to_what_is_there(each, document)


def conforms(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    """As far as our schemas go: types, properties, what is required, lists and alternatives."""
    if "$ref" in schema:
        return conforms(value, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "enum" in schema:
        return value in schema["enum"]
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if value is None:
        return "null" in names
    if not any(isinstance(value, kinds[name]) for name in names if name != "null"):  # type: ignore[arg-type]
        return False
    if isinstance(value, list):
        return all(conforms(each, schema["items"], document) for each in value)
    if isinstance(value, dict) and "properties" in schema:
        return set(schema["required"]) <= set(value) <= set(schema["properties"]) and all(
            conforms(value[name], schema["properties"][name], document) for name in value
        )
    return True


def test_answers_are_as_the_document_says(served: Served) -> None:
    document = served.ask("/api/openapi.json").json
    photo = served.ask("/api/search?q=star").json["photos"][0]["id"]
    asked: list[tuple[str, str, Any]] = [
        ("/api/search", "/api/search?q=a+star+-+red", None),
        ("/api/similar/{id}", f"/api/similar/{photo}", None),
        ("/api/photos/{id}", f"/api/photos/{photo}", None),
        ("/api/stats", "/api/stats", None),
        ("/api/facets", "/api/facets", None),
        ("/api/update", "/api/update", {}),
        ("/api/pictures", "/api/pictures", pictures.encode(pictures.drawn(), "png")),
    ]
    for path, address, content in asked:
        answer = served.ask(address) if content is None else served.post(address, content)
        method = "get" if content is None else "post"
        described = document["paths"][path][method]["responses"][str(answer.status)]
        assert conforms(answer.json, described["content"]["application/json"]["schema"], document), path


# --- the selection ----------------------------------------------------------------------------------------------------


def test_a_selection_is_listed(served: Served, gallery: Path) -> None:
    photos = served.ask("/api/search?q=a+star&count=3").json["photos"]
    ids = [photo["id"] for photo in photos]
    text = served.post("/api/selection", {"ids": [*ids, "0-999"], "format": "text"})
    assert text.text.splitlines() == [photo["path"] for photo in photos]
    assert text.headers["content-disposition"] == 'attachment; filename="photos.txt"'
    table = list(csv.DictReader(io.StringIO(served.post("/api/selection", {"ids": ids, "format": "csv"}).text)))
    assert [row["path"] for row in table] == [photo["path"] for photo in photos]
    assert table[0]["width"] == "160"
    listed = served.post("/api/selection", {"ids": ids, "format": "json"}).json
    assert [photo["path"] for photo in listed] == [photo["path"] for photo in photos]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"ids": "0-1"}',
        b'{"ids": [1]}',
        b'{"ids": [], "format": "exe"}',
        b'{"ids": [], "format": ["text"]}',
        b'{"ids": [], "format": {}}',
    ],
)
def test_a_selection_that_is_none(served: Served, content: bytes) -> None:
    assert served.post("/api/selection", content).status == 400


def test_a_table_has_no_formula(rclip: Command, draw: Draw, photos: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "=cmd|' /C calc'!A0"
    pictures.drawn().save(photos / "a.jpg", exif=exif.tobytes())
    rclip("--index")
    with serving(rclip, "-n") as served:
        ids = [photo["id"] for photo in served.ask("/api/search").json["photos"]]
        (row,) = csv.DictReader(io.StringIO(served.post("/api/selection", {"ids": ids, "format": "csv"}).text))
        assert row["camera"].startswith("'=cmd")


def test_photos_are_copied_only_where_that_was_allowed(
    rclip: Command, served: Served, gallery: Path, tmp_path: Path
) -> None:
    ids = [photo["id"] for photo in served.ask("/api/search?q=a+red+star&count=2").json["photos"]]
    refused = served.post("/api/copy", {"ids": ids})
    assert (refused.status, "no folder was allowed" in refused.text) == (403, True)
    target = tmp_path / "copies"
    target.mkdir()
    with serving(rclip, "-n", "--allow-copy", str(target)) as allowed:
        done = allowed.post("/api/copy", {"ids": ids, "folder": str(gallery)}).json
        assert sorted(done["copied"]) == sorted(str(path) for path in target.iterdir())
        assert len(done["copied"]) == 2
        assert 'data-do="copy"' in allowed.ask("/").text
    assert 'data-do="copy"' not in served.ask("/").text
    assert len(list(gallery.rglob("*.jpg"))) == len(GALLERY)


def test_the_folder_that_is_searched_is_not_copied_to(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    """Each copy would be another photo in it."""
    (tmp_path / "link").symlink_to(gallery)
    for folder in (".", str(gallery), str(tmp_path / "link")):
        done = rclip("--web", "--no-open", "-n", "--allow-copy", folder)
        assert (done.code, done.out) == (2, "")
        assert "that folder is searched itself; choose another" in one_line(done.err)


def test_a_hundred_copies_at_once_are_one(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    rclip("--index")
    target = tmp_path / "copies"
    target.mkdir()
    with serving(rclip, "-n", "--allow-copy", str(target)) as served:
        ids = [photo["id"] for photo in served.ask("/api/search").json["photos"]]
        with ThreadPoolExecutor(100) as pool:
            answers = list(pool.map(lambda _: served.post("/api/copy", {"ids": ids * 3}), range(100)))
    assert {len(answer.json["copied"]) for answer in answers} == {len(GALLERY)}
    assert sorted(path.read_bytes() for path in target.iterdir()) == sorted(
        path.read_bytes() for path in gallery.rglob("*.jpg")
    )


@pytest.mark.parametrize("what", ["a link", "another folder", "nothing", "a pipe"])
def test_another_folder_in_the_place_of_the_allowed_one_is_not_written_to(
    rclip: Command, gallery: Path, tmp_path: Path, what: str
) -> None:
    """Whoever may write to the folder above could choose where."""
    rclip("--index")
    target, victim = gallery / "copies", tmp_path / "victim"
    target.mkdir()
    victim.mkdir()
    with serving(rclip, "-n", "--allow-copy", str(target)) as served:
        ids = [photo["id"] for photo in served.ask("/api/search").json["photos"]]
        target.rename(tmp_path / "moved")
        if what == "a link":
            target.symlink_to(victim)
        elif what == "another folder":
            target.mkdir()
        elif what == "a pipe":
            os.mkfifo(target)
        answer = served.post("/api/copy", {"ids": ids})
        assert answer.status == 400
        assert answer.json["error"].startswith(f"cannot write to {target}: ")
    assert [*victim.iterdir(), *(target.iterdir() if target.is_dir() else ())] == []
    assert not list(tmp_path.rglob(".rclipignore"))


def test_a_server_that_ends_leaves_no_half_copy(rclip: Command, gallery: Path, tmp_path: Path) -> None:
    with open(gallery / "stars/red.jpg", "ab") as file:
        file.write(bytes(300 << 20))
    rclip("--index")
    target = tmp_path / "copies"
    target.mkdir()
    with serving(rclip, "-n", "--allow-copy", str(target)) as served, ThreadPoolExecutor(1) as pool:
        ids = [photo["id"] for photo in served.ask("/api/search?q=a+red+star&count=1").json["photos"]]
        asked = pool.submit(served.post, "/api/copy", {"ids": ids})
        until(lambda: any(path.stat().st_size for path in target.iterdir()) or asked.done())
        code, _ = served.stop()
        assert code == 0
        assert asked.exception() or asked.result().json["failed"]
    assert os.listdir(target) == []


# --- who may ask ------------------------------------------------------------------------------------------------------

PATHS = ["/", "/status", "/photos/0-1", "/api/search?q=a", "/api/photos/0-1/thumbnail", "/api/events", "/favicon.ico"]


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_nothing_is_answered(served: Served, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {served.token}"},
                    {"Cookie": f"rclip-{served.port}=wrong"}, {"Cookie": f"rclip-{served.port}={served.token}"},
                    {"Authorization": "Bearer \xe9"}):  # fmt: skip
        answer = served.ask(path, headers={"Authorization": ""} | headers)
        assert answer.status == 403
        assert served.token not in answer.text
        assert b"jpg" not in answer.body
    assert served.ask(f"{path}{'&' if '?' in path else '?'}token=wrong", headers={"Authorization": ""}).status == 403


def test_the_token_becomes_a_cookie_that_scripts_cannot_read(served: Served) -> None:
    answer = served.ask(f"/?q=a+cat&token={served.token}&page=2", headers={"Authorization": ""})
    assert (answer.status, answer.headers["location"]) == (303, "/?q=a+cat&page=2")
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert cookie.startswith(f"rclip-{served.port}=")
    assert served.token not in cookie
    assert {each.lower() for each in attributes} == {"httponly", "path=/", "samesite=strict"}
    assert served.ask("/", headers={"Authorization": "", "Cookie": cookie}).status == 200


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("127.0.0.1:PORT", True),
        ("localhost:PORT", True),
        ("[::1]:PORT", True),
        ("evil.example:PORT", False),
        ("127.0.0.1.evil.example:PORT", False),
        ("127.0.0.1", False),
        ("127.0.0.1:1", False),
        ("192.168.1.2:PORT", False),
        ("evil@127.0.0.1:PORT", False),
        ("127.0.0.1:PORT/evil", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_other_names_are_refused(served: Served, host: str, is_known: bool) -> None:
    """A page at evil.example, whose name comes to mean 127.0.0.1, is of the same origin as this server to a browser."""
    answer = served.ask("/api/stats", headers={"Host": host.replace("PORT", str(served.port))})
    assert answer.status == (200 if is_known else 421 if host and host != "[::1" else answer.status)
    assert (b"photos" in answer.body) == is_known
    token = served.ask(f"/?token={served.token}", headers={"Host": host.replace("PORT", str(served.port))})
    assert ("set-cookie" in token.headers) == is_known


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none", "Origin": "http://127.0.0.1:1"},
    ],
)
@pytest.mark.parametrize("path", ["/api/update", "/api/copy", "/api/pictures", "/api/photos/0-1/reveal"])
def test_other_origins_change_nothing(served: Served, path: str, headers: dict[str, str]) -> None:
    """Another port of this machine is the same site, and so gets the cookie sent."""
    answer = served.ask(path, "POST", b"{}", headers)
    assert (answer.status, "must come from the page itself" in answer.text) == (403, True)


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
@pytest.mark.parametrize("path", ["/api/search?q=star", "/", "/api/events", "/static/page.js"])
def test_other_pages_lead_here_and_ask_nothing(served: Served, path: str, site: str) -> None:
    """A picture in their page, such as /api/search?q=https://…, would have this server work for them."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    assert served.ask(path, headers=headers).status == 403
    if path != "/api/events":
        assert served.ask(path, headers=headers | {"Sec-Fetch-Mode": "navigate"}).status == 200
        assert served.ask(path, headers={"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}).status == 200


@pytest.mark.parametrize("path", [*PATHS[:-2], "/static/page.js", "/nothing"])
def test_a_browser_is_told_what_it_may_do(served: Served, path: str) -> None:
    headers = served.ask(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers
    assert served.ask(path).headers["content-security-policy"] != headers["content-security-policy"]  # the nonce


def test_files_are_opened_by_no_request(served: Served, rclip: Command, gallery: Path) -> None:
    """A photo that is a link to something else by now is not shown, nor is one that became another kind of file."""
    star = served.ask("/api/search?q=a+red+star&count=1").json["photos"][0]
    path = Path(star["path"])
    secret = gallery.parent / "secret.txt"
    secret.write_text("a secret")
    path.unlink()
    path.symlink_to(secret)
    answer = served.ask(f"/api/photos/{star['id']}/thumbnail")
    assert answer.status == 400
    assert "a secret" not in answer.text
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in served.ask(f"/api/photos/{star['id']}/thumbnail?side=2048").text


def test_only_photos_that_the_search_could_find_are_shown(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    with serving(rclip, "-n", "stars") as served:
        known = {photo["id"] for photo in served.ask("/api/search").json["photos"]}
        assert len(known) == 4
        for number in range(1, len(GALLERY) + 1):
            shown = served.ask(f"/api/photos/0-{number}/thumbnail").status == 200
            assert shown == (f"0-{number}" in known)
            assert (served.ask(f"/photos/0-{number}").status == 200) == shown


def test_listening_to_others_says_what_that_means(rclip: Command, gallery: Path) -> None:
    with serving(rclip, "-n", "--listen", "0.0.0.0:0") as served:
        host = f"{socket.gethostname()}:{served.port}"
        assert served.ask("/api/stats", headers={"Host": host}).status == 200
        assert served.ask("/api/stats", headers={"Host": f"192.168.7.7:{served.port}"}).status == 200
        assert served.ask("/api/stats", headers={"Host": f"evil.example:{served.port}"}).status == 421
        assert served.ask("/api/stats", headers={"Authorization": ""}).status == 403
        assert served.post("/api/photos/0-1/reveal").status == 403
        _, told = served.stop()
    assert told.splitlines()[0] == (
        f"rclip: anyone who can reach 0.0.0.0:{served.port} and has the address below can see all photos here; "
        "it is not encrypted"
    )


def test_by_itself_it_listens_to_this_machine_alone(served: Served) -> None:
    hosts = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for host in hosts:
        if not str(host).startswith("127."):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((str(host), served.port), timeout=5)


# --- uploads ----------------------------------------------------------------------------------------------------------


def test_a_picture_is_asked_with(rclip: Command, served: Served, tmp_path: Path) -> None:
    draw_scene(tmp_path / "asked.png", "red star", random.Random(5))
    answer = served.post("/api/pictures", (tmp_path / "asked.png").read_bytes())
    assert answer.status == 201
    found = served.ask(f"/api/search?q={answer.json['term']}").json["photos"]
    assert [photo["path"] for photo in found] == [
        photo["path"] for photo in as_command(rclip, "-t", "99", str(tmp_path / "asked.png"))
    ]
    assert served.ask(f"/api/pictures/{answer.json['id']}/thumbnail").body.startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", b"GIF89a", pictures.jxl_header(1 << 30, 1 << 30), b"%!PS\n", b"<svg xmlns='a'/>"],
    ids=["empty", "text", "half", "a bomb", "PostScript", "SVG"],
)
def test_what_is_no_picture_is_refused(served: Served, content: bytes) -> None:
    answer = served.post("/api/pictures", content)
    assert answer.status == 400
    assert "picture" in answer.json["error"] or "cannot open" in answer.json["error"]
    assert served.ask("/api/stats").status == 200


def test_uploads_are_bounded(served: Served) -> None:
    from rclip.web.api import MAX_UPLOAD_BYTES

    connection = socket.create_connection((served.host, served.port), timeout=60)
    head = f"POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: Bearer {served.token}\r\n"
    connection.sendall(f"{head}Content-Length: {MAX_UPLOAD_BYTES + 1}\r\n\r\n".encode())
    assert b" 413 " in connection.recv(1000)
    connection.close()
    connection = socket.create_connection((served.host, served.port), timeout=60)
    connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    for _ in range((MAX_UPLOAD_BYTES >> 20) + 8):
        try:
            connection.sendall(chunk)
        except OSError:
            break
    try:
        answered = connection.recv(1000)
    except ConnectionResetError:
        answered = b" 413 "
    assert b" 413 " in answered
    connection.close()
    assert served.ask("/api/stats").status == 200


# --- many, slow and killed --------------------------------------------------------------------------------------------


def test_two_hundred_at_once(served: Served) -> None:
    ids = [photo["id"] for photo in served.ask("/api/search").json["photos"]]
    paths = ["/", "/api/search?q=a+star", *(f"/api/photos/{each}/thumbnail" for each in ids), "/api/facets", "/status"]
    asked = [paths[number % len(paths)] for number in range(200)]
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(served.ask, asked))
    assert {answer.status for answer in answers} == {200}
    by_path = {path: answer.body for path, answer in zip(asked, answers, strict=True) if "thumbnail" in path}
    assert len(set(by_path.values())) == len(ids)


def test_slow_and_half_closed_connections_hold_nobody_up(served: Served) -> None:
    held = [socket.create_connection((served.host, served.port)) for _ in range(200)]
    for number, connection in enumerate(held):
        if number % 4 == 0:
            connection.sendall(b"GET / HT")
        elif number % 4 == 1:
            connection.sendall(b"POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nabc")
        elif number % 4 == 2:
            connection.sendall(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n".encode())
            connection.shutdown(socket.SHUT_WR)
        else:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")  # as if this were TLS
    with ThreadPoolExecutor(20) as pool:
        assert {answer.status for answer in pool.map(served.ask, ["/api/search?q=star"] * 40)} == {200}
    for connection in held:
        connection.close()
    code, told = served.stop()
    assert (code, told.count("\n")) == (0, 2)


@pytest.mark.slow
def test_nobody_keeps_a_connection_by_saying_next_to_nothing(served: Served) -> None:
    """Neither one that is silent, nor one that sends a byte now and then, before its first request or its second."""
    whole = f"GET /static/style.css HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode()
    refused = (
        f"POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Length: 1000000\r\n\r\n".encode()
    )
    held = {}
    for start in (b"", b"G", b"GET / HTTP/1.1\r\nHost: ", whole + b"GET", refused):
        connection = socket.create_connection((served.host, served.port))
        connection.sendall(start)
        held[connection] = bool(start)
    while held:
        readable, _, _ = select.select(list(held), [], [], 0.2)
        for connection in list(held):
            try:
                is_closed = connection in readable and not connection.recv(1 << 16)
                if not is_closed and held[connection]:
                    connection.sendall(b"x")
            except OSError:
                is_closed = True
            if is_closed:
                connection.close()
                del held[connection]
    assert served.ask("/api/stats").status == 200


def test_a_body_that_does_not_come_ends(served: Served) -> None:
    connection = socket.create_connection((served.host, served.port))
    connection.sendall(
        f"POST /api/pictures HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: Bearer {served.token}\r\n"
        "Content-Length: 100000\r\n\r\nabc".encode()
    )
    connection.shutdown(socket.SHUT_WR)
    connection.close()
    assert served.ask("/api/stats").status == 200


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_a_killed_decoder_costs_one_answer(served: Served) -> None:
    ids = [photo["id"] for photo in served.ask("/api/search").json["photos"]]
    assert served.ask(f"/api/photos/{ids[0]}/thumbnail").status == 200
    children = children_of(served.process.pid)
    assert children
    for child in children:
        os.kill(child, signal.SIGKILL)
    statuses = [served.ask(f"/api/photos/{each}/thumbnail").status for each in ids]
    assert statuses.count(200) >= len(ids) - len(children)
    assert [served.ask(f"/api/photos/{each}/thumbnail").status for each in ids] == [200] * len(ids)


def test_the_server_writes_only_into_its_own_folder(served: Served, rclip: Command, gallery: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in gallery.rglob("*")}
    for photo in served.ask("/api/search").json["photos"]:
        served.ask(f"/api/photos/{photo['id']}/thumbnail")
    served.post("/api/pictures", pictures.encode(pictures.drawn(), "png"))
    served.post("/api/update")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in gallery.rglob("*")} == before
    kept = [path for path in (rclip.data_dir / "thumbnails").rglob("*") if path.is_file()]
    assert len(kept) == len(GALLERY) + 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
