"""`--push` and `--from` with Chroma, a server and a folder: the index's answers, or an error in a line."""

import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rclip.photo.metadata import PhotoMetadata
from rclip.search.push import measured_recall
from rclip.vectordb import Conditions, ModelStamp, PushedPhoto
from rclip.vectordb.chroma import records
from rclip.vectordb.chroma.database import EXACT_UP_TO, ChromaDatabase
from rclip.vectordb.chroma.server import Server
from rclip.vectordb.rows import Unsound
from tests.support import chroma
from tests.support.command import Command, Result, imported_by, one_line, start
from tests.support.gallery import Draw, draw_scene
from tests.support.many_runs import ManyRuns
from tests.support.proxy import Proxy, some_bytes_changed
from tests.support.questions import QUESTIONS, make_described
from tests.support.tiers import few

if not chroma.is_there():
    pytest.skip("there is no Chroma here", allow_module_level=True)

SECRET = "right-secret"
KINDS = ["server", "folder"]


@pytest.fixture(scope="module")
def server() -> Iterator[chroma.Server]:
    with chroma.server() as running:
        yield running


class Database:
    """The command and the address that it pushes to."""

    def __init__(self, rclip: Command, url: str):
        self.rclip, self.url = rclip, url

    def push(self, *arguments: str | Path) -> str:
        """What it says, without its start."""
        done = self.rclip("-n", "--push", self.url, *arguments)
        assert (done.code, done.out) == (0, ""), done.err
        return one_line(done.err).removeprefix("rclip: ")

    def ask(self, *arguments: str | Path, **env: str) -> Result:
        return self.rclip("--from", self.url, *arguments, env=env)

    def paths(self) -> set[str]:
        """All that can be found."""
        return set(self.ask("-t", "999", "a star").lines)


@pytest.fixture
def collection(server: chroma.Server) -> chroma.Collection:
    made = chroma.Collection(server, "photos")
    made.delete()
    return made


@pytest.fixture
def served(collection: chroma.Collection, rclip: Command) -> Database:
    return Database(rclip, collection.server.url(collection.name))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "chroma"


@pytest.fixture
def database(request: pytest.FixtureRequest, rclip: Command) -> Database:
    """Of each kind in turn."""
    if request.param == "folder":
        return Database(rclip, f"chroma://{request.getfixturevalue('folder')}")
    found: Database = request.getfixturevalue("served")
    return found


def indexed(database: Database) -> Database:
    """With all that is in the folder pushed."""
    assert database.rclip("--index").code == 0
    assert database.push().startswith("pushed: ")
    return database


@pytest.fixture
def pushed(served: Database, gallery: Path) -> Database:
    """A server's collection with the gallery in it."""
    return indexed(served)


@pytest.fixture
def in_folder(rclip: Command, folder: Path, gallery: Path) -> Database:
    """A folder with the gallery in it."""
    return indexed(Database(rclip, f"chroma://{folder}"))


@pytest.fixture(scope="module")
def pushed_once(server: chroma.Server, indexed_once: Command) -> Database:
    """For `kept`."""
    database = Database(indexed_once, server.url("kept"))
    assert database.push() == "pushed: 12 new or changed"
    return database


@pytest.fixture
def kept(pushed_once: Database, indexed: Command) -> Database:
    """A server's collection with the gallery in it, of tests that alter neither."""
    return pushed_once


@pytest.fixture(scope="module")
def folder_pushed_once(indexed_once: Command, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """For `kept_in_folder`."""
    database = Database(indexed_once, f"chroma://{tmp_path_factory.mktemp('chroma')}/folder")
    assert database.push() == "pushed: 12 new or changed"
    return database


@pytest.fixture
def kept_in_folder(folder_pushed_once: Database, indexed: Command) -> Database:
    """A folder with the gallery in it, of tests that leave both as they were."""
    return folder_pushed_once


@pytest.fixture
def kept_folder(kept_in_folder: Database) -> Path:
    """That of `kept_in_folder`."""
    return Path(kept_in_folder.url.removeprefix("chroma://"))


def answers(done: Result) -> list[dict[str, Any]]:
    assert done.code in (0, 1), done.err
    return [json.loads(line) for line in done.lines]


def refusal(done: Result) -> str:
    """The one line with which the command ends, which tells no secret."""
    assert (done.code, done.out) == (2, ""), done
    assert "secret" not in done.err
    return one_line(done.err).removeprefix("rclip: ")


# --- the same answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", KINDS, indirect=True)
def test_a_query_has_the_answers_of_the_index(database: Database, gallery: Path) -> None:
    indexed(database)
    local = answers(database.rclip("-n", "--all", "-t", "12", "--json", "a red star"))
    assert len(local) == 12
    assert answers(database.ask("-t", "12", "--json", "a red star")) == local
    assert answers(database.ask("-t", "3", "--json", "a red star")) == local[:3]
    assert database.ask("a red star", "--relevant").lines == database.rclip("-n", "a red star", "--relevant").lines


def test_filters_have_the_answers_of_the_index(served: Database, photos: Path, draw: Draw) -> None:
    make_described(served.rclip, photos, draw)
    served.push()
    with ManyRuns(served.rclip) as run:
        for question in QUESTIONS:
            local = answers(run("-n", "--all", "--json", *question, "."))
            assert answers(run("--from", served.url, "--json", *question, ".")) == local, question


def test_ties_are_in_the_order_of_paths_and_none_is_lost(served: Database, draw: Draw, photos: Path) -> None:
    """Two hundred copies of one photo, of which ten are asked for."""
    original = draw("original.jpg", "red star").read_bytes()
    for number in range(200):
        (photos / f"{number:03}.jpg").write_bytes(original)
    indexed(served)
    assert served.ask("a red star", ".").lines == [f"./{number:03}.jpg" for number in range(10)]
    assert len(served.ask("-t", "500", "a red star", ".").lines) == 201


@pytest.mark.slow
def test_a_large_collection_is_asked_by_its_index_and_exactly_where_that_does_not_do(server: chroma.Server) -> None:
    """Also after most of its photos were removed."""
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((EXACT_UP_TO + 500, 16), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors.astype(np.float16)
    photos = [
        PushedPhoto(b"/%d/%05d.jpg" % (number % 2, number), 1, 1, vector.tobytes(), PhotoMetadata(), b"-" * 16)
        for number, vector in enumerate(vectors)
    ]
    query = vectors[7].astype(np.float32)
    query /= np.linalg.norm(query)
    right = [photos[row].path for row in np.argsort(-(vectors.astype(np.float32) @ query))]
    chroma.Collection(server, "large").delete()
    with closing(ChromaDatabase(Server(server.url("large")))) as database:
        database.prepare(ModelStamp("m", "k", 1, 16))
        database.store(photos, [])
        assert database.is_approximate

        def found(k: int | None, is_exact: bool, *folders: bytes) -> list[bytes]:
            nearest = database.nearest(query, k, Conditions(folders), -np.inf, is_exact)
            return [row.photo.path for row in nearest]

        assert found(20, True) == right[:20]
        assert len(set(found(20, False)) & set(right[:20])) > 15
        recall = measured_recall(database, query[None])
        assert recall is not None
        assert 0.7 < recall <= 1
        assert found(20, False, b"/1/") == [path for path in right if path.startswith(b"/1/")][:20]
        assert len(found(None, False)) == len(photos)
        database.store([], [photo.path for photo in photos[600:]])
        assert not database.is_approximate
        assert found(600, True) == [path for path in right if path in {photo.path for photo in photos[:600]}]


def test_a_server_needs_no_package(kept: Database) -> None:
    imported = imported_by(kept.rclip, "--from", kept.url, "a star")
    assert not {name for name in imported if name.partition(".")[0] in ("chromadb", "chromadb_rust_bindings", "httpx")}


READ = """
import sys
import chromadb
where, name = sys.argv[1:]
host, _, port = where.partition(":")
client = chromadb.HttpClient(host, int(port)) if port else chromadb.PersistentClient(where)
collection = client.get_collection(name)
found = collection.get(include=["embeddings", "metadatas"], where={"folders": {"$contains": sys.stdin.read()}})
print(collection.count(), sorted(found["ids"]), found["embeddings"].shape, sorted(found["metadatas"][0]))
"""


@pytest.mark.parametrize("database", few(KINDS), indirect=True)
def test_any_client_reads_the_collection(
    database: Database, server: chroma.Server, folder: Path, gallery: Path
) -> None:
    """Paths are ids, vectors are embeddings, and what is known of a photo has plain names."""
    indexed(database)
    is_folder = database.url.endswith(str(folder))
    place = (str(folder), "rclip_photos") if is_folder else (f"127.0.0.1:{server.port}", "photos")
    read = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, *place],
        input=str(gallery / "stars"),
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    ids = sorted(str(path) for path in (gallery / "stars").iterdir())
    assert read.stdout.startswith(f"12 {ids} (4, ")
    for name in ("width", "height", "size_bytes", "mtime_ns", "taken_s", "suffix", "folders", "fingerprint"):
        assert f"'{name}'" in read.stdout


# --- pushing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", few(KINDS), indirect=True)
def test_a_push_brings_what_has_changed(database: Database, draw: Draw, photos: Path, gallery: Path) -> None:
    indexed(database)
    assert database.push() == "nothing to push: the database already has all 12 photos"
    draw("stars/new.jpg", "green star")
    draw("stars/red.jpg", "red star")
    (photos / "circles/blue.jpg").unlink()
    os.utime(photos / "circles/red.jpg", (1, 1))
    done = database.rclip("--push", database.url)
    assert done.err.splitlines()[-1] == "rclip: pushed: 3 new or changed, 1 removed"
    assert database.paths() == {str(path) for path in photos.rglob("*.jpg")}
    assert database.ask("-t", "99", "a star", ".").out == database.rclip("-n", "--all", "-t", "99", "a star", ".").out


def test_what_is_no_longer_known_of_a_photo_goes(collection: chroma.Collection) -> None:
    """A record that is stored again keeps what it is not told to forget."""
    known = PhotoMetadata(1, 2, 3.0, 4.0, "Canon", "R5", 6, 7, ("beach",), 5, 8, 2, "RF", "t", "h", "c")
    with closing(ChromaDatabase(Server(collection.server.url(collection.name)))) as database:
        database.prepare(ModelStamp("m", "k", 1, 8))
        vector = np.array([1] + [0] * 7, np.float16).tobytes()
        for metadata in (known, PhotoMetadata()):
            photo = PushedPhoto(b"/a/b.jpg", 1, 2, vector, metadata, b"-" * 16)
            database.store([photo], [])
            (found,) = database.nearest(np.eye(8, dtype=np.float32)[0], 1, Conditions(), -1, False)
            assert found.photo == photo._replace(fingerprint=b"")
    (record,) = collection.records().values()
    names = {"folders", "suffix", "size_bytes", "mtime_ns", "taken_s", "fingerprint", "captured_from"}
    assert record.keys() == names


def test_a_push_leaves_other_folders_alone(pushed: Database, draw: Draw, tmp_path: Path) -> None:
    """Those that are not named, and whose names begin alike."""
    draw(tmp_path / "photos-2/star.jpg", "red star")
    everything = pushed.paths() | {str(tmp_path / "photos-2/star.jpg")}
    assert pushed.rclip("--push", pushed.url, tmp_path / "photos-2").code == 0
    assert pushed.paths() == everything
    assert pushed.push() == "nothing to push: the database already has all 12 photos"
    assert pushed.paths() == everything


@pytest.mark.parametrize("database", few(KINDS), indirect=True)
def test_odd_names(database: Database, draw: Draw) -> None:
    names = [
        b"new\nline.jpg",
        b"not utf-8 \xff.jpg",
        b"\\xff.jpg",
        b"back\\slash\\\xff.jpg",
        b"\x1b[31m.jpg",
        b"%s {} '\".jpg",
        b"\xff\xff.jpg",
        b"\xc3\xa9.jpg",
        b"e\xcc\x81.jpg",
    ]
    for name in names:
        draw(os.fsdecode(name), "red star")
    indexed(database)
    found = database.rclip.raw("--from", database.url, "-0", "a star", ".")
    assert set(found.stdout.rstrip(b"\0").split(b"\0")) == {b"./" + name for name in names}
    assert database.push() == "nothing to push: the database already has all 9 photos"


def test_a_path_and_its_id_are_made_of_each_other() -> None:
    chance = random.Random(2)
    parts = [b"\\", b"x", b"ff", b"\xff", b"\xc3", b"\xa9", b"\xed\xa0\x80", b"a", b"\n", b"\xf0\x9f\x90\xb1"]
    ids: dict[str, bytes] = {}
    for _ in range(3000):
        path = b"/" + b"".join(chance.choices(parts, k=chance.randrange(1, 9)))
        id_ = records.id_of(path)
        assert records.path_of(id_) == path
        assert ids.setdefault(id_, path) == path
        id_.encode()
    assert records.id_of("/fotos/Zürich 2019.jpg".encode()) == "/fotos/Zürich 2019.jpg"


@pytest.mark.parametrize(
    "id_",
    ["", "a.jpg", "/a\\.jpg", "/a\\x41.jpg", "/a\\xFF", "/a\\xc3\\xa9", "/../a", "/a//b", "/a\0", "/\ud800", None, 7],
)
def test_what_is_no_id_is_refused(id_: object) -> None:
    with pytest.raises(Unsound):
        records.path_of(id_)


def fill(database: Database, folder: Path, count: int) -> None:
    """That many photos into the index: copies, each with a name of its own."""
    original = folder / "0.jpg"
    draw_scene(original, "red star", random.Random(1))
    for number in range(1, count):
        (folder / f"{number}.jpg").hardlink_to(original)
    assert database.rclip("--index").code == 0


@pytest.mark.parametrize("how", few((signal.SIGINT, signal.SIGKILL), fast=1))
def test_a_push_that_is_stopped_goes_on(
    served: Database, collection: chroma.Collection, photos: Path, how: int
) -> None:
    """What is stored stays, and is not stored again."""
    fill(served, photos, 1600)
    running = start(served.rclip, "-n", "--push", served.url, stderr=subprocess.PIPE)
    while len(collection.records()) < 500:
        assert running.poll() is None
    running.send_signal(how)
    told = running.communicate(timeout=300)[1].decode()
    assert running.returncode == (130 if how == signal.SIGINT else -how), told
    kept = len(collection.records())
    assert 500 <= kept < 1600
    assert served.push() == f"pushed: {1600 - kept:,} new or changed"
    assert len(collection.records()) == 1600


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_push_into_a_folder_that_is_stopped_goes_on(rclip: Command, folder: Path, photos: Path, how: int) -> None:
    database = Database(rclip, f"chroma://{folder}")
    fill(database, photos, 3000)
    running = start(rclip, "-n", "--push", database.url, stderr=subprocess.PIPE)
    while not (folder / "chroma.sqlite3").exists() or (folder / "chroma.sqlite3").stat().st_size < 1 << 20:
        assert running.poll() is None
    running.send_signal(how)
    told = running.communicate(timeout=300)[1].decode()
    assert running.returncode == (130 if how == signal.SIGINT else -how), told
    (stored,) = re.fullmatch(r"pushed: ([\d,]+) new or changed", database.push()).groups()  # type: ignore[union-attr]
    assert 0 < int(stored.replace(",", "")) < 3000
    assert len(database.ask("-t", "5000", "a star").lines) == 3000


@pytest.mark.parametrize("database", few(KINDS), indirect=True)
def test_two_pushes_at_once(database: Database, gallery: Path) -> None:
    """Both create the collection, both store the same photos, and nothing is there twice."""
    assert database.rclip("--index").code == 0
    both = [start(database.rclip, "-n", "--push", database.url, stderr=subprocess.PIPE) for _ in range(2)]
    for running in both:
        told = running.communicate(timeout=300)[1].decode()
        assert running.returncode == 0, told
    assert len(database.ask("-t", "99", "a star").lines) == 12


# --- what goes wrong with a server ------------------------------------------------------------------------------------


def test_a_wrong_token(kept: Database, server: chroma.Server) -> None:
    """Chroma itself lets everybody in; what stands before it asks for a token."""

    def keep_out(_: str, headers: Any, status: int, said: bytes) -> tuple[int, bytes]:
        given = headers["X-Chroma-Token"] or (headers["Authorization"] or "").removeprefix("Bearer ")
        if given == SECRET:
            return status, said
        return 401, json.dumps({"message": f"no entry with {given}, {headers['Authorization']}\x1b[31m"}).encode()

    with gate(server, keep_out) as url:
        for env in ({"CHROMA_API_KEY": SECRET}, {"CHROMA_CLIENT_AUTH_CREDENTIALS": SECRET}):
            assert len(kept.rclip("--from", url, "a star", env=env).lines) == 10
        wrong = ("wrong-secret", "name:wrong-secret")
        for env in ({}, *({name: value} for name in ENVIRONMENT for value in wrong)):
            for arguments in (["--from", url, "a star"], ["-n", "--push", url]):
                told = refusal(kept.rclip(*arguments, env=env))
                assert told.startswith(f"cannot connect to {url}: HTTP 401: no entry with ")
                assert "CHROMA_API_KEY" in told
                assert "\x1b" not in told


ENVIRONMENT = ("CHROMA_API_KEY", "CHROMA_CLIENT_AUTH_CREDENTIALS")


def test_a_name_and_a_password(kept: Database, server: chroma.Server) -> None:
    given = []

    def note(_: str, headers: Any, status: int, said: bytes) -> tuple[int, bytes]:
        given.append(headers["Authorization"])
        return status, said

    with gate(server, note) as url:
        env = {"CHROMA_CLIENT_AUTH_CREDENTIALS": "keeper:right-secret"}
        assert len(kept.rclip("--from", url, "a star", env=env).lines) == 10
    assert set(given) == {"Basic a2VlcGVyOnJpZ2h0LXNlY3JldA=="}


@pytest.mark.parametrize("variable", ENVIRONMENT)
def test_a_token_is_not_sent_in_the_clear(kept: Database, variable: str) -> None:
    """It would be readable on its way to any machine but this one."""
    told = refusal(kept.rclip("--from", "chroma+http://photos.example", "a star", env={variable: SECRET}))
    assert told.startswith(f"chroma+http://photos.example is not encrypted, so the token in {variable} is not sent")


@pytest.mark.parametrize(
    "url",
    few(
        (
            "chroma+http://keeper:secret@127.0.0.1",
            "chroma+https://secret@photos.example",
            "chroma+http://secret@127.0.0.1:8000?collection=a",
        ),
        fast=2,
    ),
)
def test_a_password_in_the_address_is_refused_and_not_repeated(indexed: Command, url: str) -> None:
    for arguments in (["--from", url, "a star"], ["-n", "--push", url]):
        assert "must not hold a password" in refusal(indexed(*arguments))


NO_DATABASE = "is not the address of a database"


@pytest.mark.parametrize(
    ("url", "reason"),
    few(
        (
            ("chroma+http://127.0.0.1:1", "cannot connect to chroma+http://127.0.0.1:1: Connection refused; "),
            ("SERVER&database=nothing", "holds no photos from rclip; "),
            ("chroma+http://127.0.0.1?no_such=1", NO_DATABASE),
            ("chroma+http://no-such-host.invalid", "cannot connect to chroma+http://no-such-host.invalid: "),
            ("chroma+https://127.0.0.1:1", "Connection refused"),
            ("chroma+https://127.0.0.1:PORT", "cannot connect to chroma+https://"),
            ("chroma+http://127.0.0.1:99999", NO_DATABASE),
            ("chroma+http://127.0.0.1/photos", NO_DATABASE),
            ("chroma+http://127.0.0.1?collection=", NO_DATABASE),
            ("chroma+http://127.0.0.1?collection=a&collection=b", NO_DATABASE),
            ("chroma+http://[::1", NO_DATABASE),
            ("chroma+http://", NO_DATABASE),
            ("chroma:///", NO_DATABASE),
            ("chroma:///%00", NO_DATABASE),
            ("chroma:///%ff", NO_DATABASE),
            ("chroma:///a?tenant=b", NO_DATABASE),
            ("chroma://folder", "must be the address of a database"),
            ("SERVER2", "holds no photos from rclip; "),
            ("chroma:///no/such/folder", "holds no photos from rclip; "),
        ),
        fast=3,
    ),
)
def test_addresses_that_lead_nowhere(served: Database, server: chroma.Server, url: str, reason: str) -> None:
    url = url.replace("SERVER", served.url).replace("PORT", str(server.port))
    assert reason in refusal(served.rclip("--from", url, "a star"))


def test_a_push_to_where_nothing_can_be_made(served: Database, gallery: Path) -> None:
    assert served.rclip("--index").code == 0
    nowhere = f"{served.url}&database=nothing"
    assert refusal(served.rclip("-n", "--push", nowhere)).startswith(f"{nowhere} failed: HTTP 400: Database ")
    (gallery / "file").write_bytes(b"")
    told = refusal(served.rclip("-n", "--push", f"chroma://{gallery}/file/folder"))
    assert re.match(f"cannot make the folder {gallery}/file/folder: (File exists|Not a directory); ", told)


@contextmanager
def gate(
    server: chroma.Server, change: Callable[[str, Any, int, bytes], tuple[int, bytes]], collection: str = "kept"
) -> Iterator[str]:
    """The address of what stands before the server."""
    made = chroma.Gate(server, change)
    try:
        yield made.url(collection)
    finally:
        made.close()


@contextmanager
def through(server: chroma.Server, change: Callable[[bytes, int], bytes | None]) -> Iterator[tuple[str, Proxy]]:
    """The address of a proxy, which sees bytes."""
    proxy = Proxy(server.port, change)
    try:
        yield f"chroma+http://127.0.0.1:{proxy.port}?collection=kept", proxy
    finally:
        proxy.close()


def answer_length(database: Database, server: chroma.Server) -> int:
    """How many bytes the server says to one query."""
    with through(server, lambda data, _: data) as (url, proxy):
        assert database.rclip("--from", url, "a red star").code == 0
        return proxy.said


@pytest.mark.parametrize("share", few((0.9, 0.3, 0.02, 0.1, 0.5, 0.7, 0.97), fast=2))
def test_a_server_that_goes_away_at_any_time(kept: Database, server: chroma.Server, share: float) -> None:
    """A line, and no photo: a part of an answer is none."""
    end = int(share * answer_length(kept, server))
    with through(server, lambda data, said: data if said + len(data) < end else None) as (url, _):
        told = refusal(kept.rclip("--from", url, "a red star"))
    assert told.startswith((f"cannot connect to {url}: ", f"{url} failed: ")), told


def test_a_server_that_goes_away_during_a_push(
    served: Database, server: chroma.Server, collection: chroma.Collection, photos: Path
) -> None:
    fill(served, photos, 1600)
    asked = 0

    def leave(path: str, _: Any, status: int, said: bytes) -> tuple[int, bytes]:
        nonlocal asked
        asked += path.endswith("/upsert")
        return (status, said) if asked < 3 else (503, b"gone")

    with gate(server, leave, collection.name) as url:
        told = refusal(served.rclip("-n", "--push", url))
    assert told.startswith(f"{url} failed: HTTP 503: gone; ")
    assert 1000 <= len(collection.records()) < 1600
    assert served.push().startswith("pushed: ")
    assert len(collection.records()) == 1600


@pytest.mark.parametrize("drop", [b"", b" "])
def test_a_server_that_falls_silent(served: Database, drop: bytes) -> None:
    """In the middle of an answer, or nearly so: a byte now and then keeps a connection alive, and no answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_over = threading.Event()

        def drip() -> None:
            client, _ = listener.accept()
            with client, suppress(OSError):
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
                while not is_over.wait(0.2):
                    client.sendall(drop)

        thread = threading.Thread(target=drip, daemon=True)  # which may wait for ever
        thread.start()
        url = f"chroma+http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            told = refusal(served.rclip("--from", url, "a star", env={"RCLIP_DATABASE_TIMEOUT_S": "1"}))
        finally:
            is_over.set()
        thread.join(60)
    assert "failed: no whole answer within 1 s (RCLIP_DATABASE_TIMEOUT_S raises the limit)" in told


@pytest.mark.parametrize("seeds", few([range(4), range(4, 40)]), ids=["few", "more"])
def test_a_server_that_says_anything(kept: Database, server: chroma.Server, seeds: range) -> None:
    """With bytes of its answers changed, the command ends with photos, none, or a line; never by a fault of its own."""
    length = answer_length(kept, server)
    for seed in seeds:
        with through(server, some_bytes_changed(seed, 0, length)) as (url, _):
            done = kept.rclip("--from", url, "a red star", env={"RCLIP_DATABASE_TIMEOUT_S": "2"})
        assert done.code in (0, 1, 2), seed
        assert "fault of rclip" not in done.err, seed
        assert "Traceback" not in done.err, seed
        assert len(done.err.splitlines()) <= 1, (seed, done.err)


def lie(name: str, value: Any) -> Callable[[str, dict[str, Any]], Any]:
    """All records with that in place of what they have."""

    def change(path: str, answer: dict[str, Any]) -> Any:
        if path.endswith("/get") and answer.get("metadatas"):
            answer["metadatas"] = [metadata | {name: value} for metadata in answer["metadatas"]]
        return answer

    return change


def of_records(name: str, change: Callable[[list[Any]], Any]) -> Callable[[str, dict[str, Any]], Any]:
    """What a list in the answer becomes."""

    def changed(path: str, answer: dict[str, Any]) -> Any:
        if path.endswith("/get") and answer.get("embeddings"):
            answer[name] = change(answer[name])
        return answer

    return changed


def of_query(name: str, change: Callable[[list[Any]], Any]) -> Callable[[str, dict[str, Any]], Any]:
    def changed(path: str, answer: dict[str, Any]) -> Any:
        if path.endswith("/query"):
            answer[name] = change(answer[name])
        return answer

    return changed


def in_place_of(suffix: str, answer: Any) -> Callable[[str, dict[str, Any]], Any]:
    return lambda path, said: answer if path.endswith(suffix) else said


LIES: dict[str, Callable[[str, Any], Any]] = {
    "a path that leads up": of_records("ids", lambda ids: ["/a/../etc/passwd", *ids[1:]]),
    "other photos": of_records("ids", lambda ids: ["/etc/passwd", *ids[1:]]),
    "a photo twice": of_query("ids", lambda ids: [[ids[0][0]] * len(ids[0])]),
    "no texts": of_query("ids", lambda ids: [[1] * len(ids[0])]),
    "more photos": of_query("ids", lambda ids: [[f"/{number}" for number in range(1000)]]),
    "two answers": of_query("ids", lambda ids: ids * 2),
    "fewer scores": of_query("distances", lambda distances: [distances[0][1:]]),
    "disorder": of_query("distances", lambda distances: [distances[0][::-1]]),
    "no number": of_query("distances", lambda distances: [[float("nan")] * len(distances[0])]),
    "infinite": of_query("distances", lambda distances: [[float("inf")] * len(distances[0])]),
    "a text for a score": of_query("distances", lambda distances: [["0"] * len(distances[0])]),
    "vectors of other length": of_records("embeddings", lambda vectors: [[*vector, 0] for vector in vectors]),
    "longer vectors": of_records("embeddings", lambda vectors: [[2 * each for each in one] for one in vectors]),
    "huge numbers": of_records("embeddings", lambda vectors: [[10**400] * len(one) for one in vectors]),
    "texts for vectors": of_records("embeddings", lambda vectors: ["a" * len(one) for one in vectors]),
    "fewer vectors": of_records("embeddings", lambda vectors: vectors[1:]),
    "no metadata": of_records("metadatas", lambda metadatas: [None] * len(metadatas)),
    "lists for metadata": of_records("metadatas", lambda metadatas: [[]] * len(metadatas)),
    "a time": lie("captured_s", 1 << 62),
    "a place": lie("latitude", 1.0),
    "a place of text": lie("latitude", "1.0"),
    "keywords": lie("keywords", [1]),
    "one keyword": lie("keywords", "beach"),
    "a size": lie("size_bytes", "1"),
    "a width": lie("width", -1),
    "a camera": lie("maker", "a" * (1 << 20)),
    "a list": in_place_of("/query", []),
    "a number": in_place_of("/get", 1),
    "a count": in_place_of("/count", "many"),
    "a negative count": in_place_of("/count", -1),
    "a count of nothing": in_place_of("/count", None),
    "depth": in_place_of("/query", "DEEP"),
    "no collection": in_place_of("/photos", []),
    "a collection without an id": in_place_of("/photos", {"id": 1}),
    "a collection of another distance": lambda path, said: (
        said | {"configuration_json": {"hnsw": {"space": "l2"}}} if path.endswith("/photos") else said
    ),
}


@pytest.mark.parametrize("what", few(LIES, fast=len(LIES)))
def test_a_server_that_lies(asked_through: Callable[[Any], Result], what: str) -> None:
    told = refusal(asked_through(LIES[what]))
    assert " sent what rclip never stores: " in told, told


@pytest.fixture(scope="module")
def lying(server: chroma.Server, tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Command:
    """A gallery that is pushed once."""
    home = tmp_path_factory.mktemp("lying")
    for folder in ("home", "data", "photos"):
        (home / folder).mkdir()
    for number in range(6):
        draw_scene(home / f"photos/{number}.jpg", "red star", random.Random(number))
    rclip = Command(home / "home", home / "data", tiny_checkpoint, home / "photos")
    collection = chroma.Collection(server, "lying")
    collection.delete()
    assert rclip("--index").code == 0
    assert rclip("-n", "--push", server.url("lying")).code == 0
    return rclip


@pytest.fixture
def asked_through(lying: Command, server: chroma.Server) -> Callable[[Any], Result]:
    """Asks for all photos, with the server's answers changed."""

    def ask(change: Callable[[str, Any], Any]) -> Result:
        def forward(path: str, _: Any, status: int, said: bytes) -> tuple[int, bytes]:
            changed = change(path.replace("/lying", "/photos"), json.loads(said))
            return status, b"[" * 100_000 if changed == "DEEP" else json.dumps(changed).encode()

        made = chroma.Gate(server, forward)
        try:
            return lying("--from", made.url("lying"), "-t", "99", "a red star")
        finally:
            made.close()

    return ask


def test_no_redirect_is_followed(kept: Database, server: chroma.Server) -> None:
    """The token would go where the server likes."""
    asked: list[str] = []

    def note(path: str, _: Any, status: int, said: bytes) -> tuple[int, bytes]:
        asked.append(path)
        return status, said

    other = chroma.Gate(server, note)
    try:
        target = f"http://127.0.0.1:{other.port}/"
        with gate(server, lambda *_: (307, target.encode())) as url:
            told = refusal(kept.rclip("--from", url, "a star", env={"CHROMA_API_KEY": SECRET}))
    finally:
        other.close()
    assert told.startswith(f"{url} failed: HTTP 307: ")
    assert asked == []


def test_another_models_vectors(pushed: Database, collection: chroma.Collection) -> None:
    collection.describe(model_key="other-1234", model="Other \x1b[31m")
    for arguments in (["--from", pushed.url, "a star"], ["-n", "--push", pushed.url]):
        told = refusal(pushed.rclip(*arguments))
        assert told.startswith(f"{pushed.url} holds vectors of another model (Other ")
        assert "\x1b" not in told


@pytest.mark.parametrize(
    ("version", "told"), [(0, "an older rclip"), (2, "a newer rclip"), ("x", "never stores: a schema")]
)
def test_another_schema(pushed: Database, collection: chroma.Collection, version: Any, told: str) -> None:
    collection.describe(rclip_schema=version)
    for arguments in (["--from", pushed.url, "a star"], ["-n", "--push", pushed.url]):
        assert told in refusal(pushed.rclip(*arguments))


def test_a_collection_of_somebody_else(served: Database, server: chroma.Server, gallery: Path) -> None:
    """It has the name, and is not written to."""
    assert served.rclip("--index").code == 0
    server.request("POST", chroma.COLLECTIONS, {"name": "photos"})
    for arguments in (["--from", served.url, "a star"], ["-n", "--push", served.url]):
        assert f"{served.url} holds no photos from rclip" in refusal(served.rclip(*arguments))
    assert chroma.Collection(server, "photos").records() == {}


# --- folders ----------------------------------------------------------------------------------------------------------

MAKE = """
import sys
import chromadb
collection = chromadb.PersistentClient(sys.argv[1]).create_collection("rclip_photos")
collection.add(ids=["/a.jpg"], embeddings=[[1.0, 0.0]], metadatas=[{"rating": 1}])
"""


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_that_no_push_has_made_is_not_opened(rclip: Command, folder: Path, gallery: Path) -> None:
    """It may hold a database and a graph that were made to do harm."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", MAKE, folder], check=True, cwd="/")
    folder.chmod(0o700)
    before = contents(folder)
    assert rclip("--index").code == 0
    for arguments in (["--from", f"chroma://{folder}", "a star"], ["-n", "--push", f"chroma://{folder}"]):
        told = refusal(rclip(*arguments))
        assert told.startswith(f"{folder} was not made by a push of yours, or others can get into it, ")
    assert contents(folder) == before


def refused(database: Database) -> None:
    told = refusal(database.ask("a star"))
    assert "was not made by a push of yours, or others can get into it, so it was not opened" in told
    told = refusal(database.rclip("-n", "--push", database.url))
    assert "so it was not opened" in told


def test_a_folder_that_others_can_get_into_is_not_opened(kept_in_folder: Database, kept_folder: Path) -> None:
    kept_folder.chmod(0o750)
    try:
        refused(kept_in_folder)
    finally:
        kept_folder.chmod(0o700)


def test_a_folder_in_place_of_the_one_that_was_made_is_not_opened(
    in_folder: Database, folder: Path, tmp_path: Path
) -> None:
    folder.rename(tmp_path / "kept")
    subprocess.run([sys.executable, "-W", "ignore", "-c", MAKE, folder], check=True, cwd="/")
    folder.chmod(0o700)
    refused(in_folder)
    (folder / "rclip").write_text("0" * 32)
    refused(in_folder)
    (folder / "rclip").unlink()
    (folder / "rclip").symlink_to(tmp_path / "kept/rclip")
    refused(in_folder)


def test_a_folder_of_another_user_is_not_opened(kept_in_folder: Database, kept_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(kept_folder, 65534, 65534)
    try:
        refused(kept_in_folder)
    finally:
        os.chown(kept_folder, os.geteuid(), os.getegid())


def test_a_copy_of_a_folder_is_not_opened(kept_in_folder: Database, kept_folder: Path, tmp_path: Path) -> None:
    """Only where it was made; a push makes another one in seconds."""
    subprocess.run(["cp", "-a", kept_folder, tmp_path / "copy"], check=True)
    refused(Database(kept_in_folder.rclip, f"chroma://{tmp_path / 'copy'}"))
    assert len(kept_in_folder.ask("a star").lines) == 10


def test_a_folder_by_a_link_and_by_escapes(kept_in_folder: Database, kept_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a link").symlink_to(kept_folder)
    assert len(kept_in_folder.rclip("--from", f"chroma://{tmp_path}/a%20link", "a star").lines) == 10


def test_an_empty_folder_becomes_private(rclip: Command, folder: Path, gallery: Path) -> None:
    folder.mkdir(mode=0o755)
    indexed(Database(rclip, f"chroma://{folder}"))
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "line",
    few(
        (
            "CHROMA_SERVER_HTTP_PORT=none",
            "CHROMA_API_IMPL=antigravity",
            "PERSIST_DIRECTORY=/tmp/elsewhere",
            "IS_PERSISTENT=false",
        ),
        fast=1,
    ),
)
def test_settings_beside_the_photos_are_not_read(kept_in_folder: Database, tmp_path: Path, line: str) -> None:
    """chromadb takes a `.env` of the current folder for its own."""
    (tmp_path / ".env").write_text(line + "\n")
    name, _, value = line.partition("=")
    for env in ({}, {name: value}):
        done = kept_in_folder.rclip("--from", kept_in_folder.url, "a star", cwd=tmp_path, env=env)
        assert len(done.lines) == 10


def test_a_folder_without_the_package(kept_in_folder: Database, tmp_path: Path) -> None:
    (tmp_path / "empty/chromadb").mkdir(parents=True)
    (tmp_path / "empty/chromadb/__init__.py").write_text("raise ImportError\n")
    told = refusal(kept_in_folder.ask("a star", PYTHONPATH=str(tmp_path / "empty")))
    assert told.endswith(f"to install it: {sys.executable} -P -m pip install 'chromadb'")


@pytest.mark.parametrize("damage", few(("empty", "noise", "short"), fast=1))
def test_a_damaged_folder(in_folder: Database, folder: Path, damage: str) -> None:
    """A line, and nothing of Chroma's own on the terminal."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "rclip":
            content = path.read_bytes()
            noise = random.Random(1).randbytes(len(content))
            path.write_bytes({"empty": b"", "noise": noise, "short": content[: len(content) // 2]}[damage])
    told = refusal(in_folder.ask("a star"))
    assert told.startswith((f"chroma://{folder} failed: ", f"chroma://{folder} holds no photos from rclip"))


def test_a_folder_that_another_run_writes_to_is_waited_for(kept_in_folder: Database, kept_folder: Path) -> None:
    import fcntl

    held = os.open(kept_folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        told = refusal(kept_in_folder.ask("a star", RCLIP_DATABASE_TIMEOUT_S="0.3"))
        assert "another rclip uses it" in told
    finally:
        os.close(held)
    assert len(kept_in_folder.ask("a star").lines) == 10


# --- the document -----------------------------------------------------------------------------------------------------


def test_the_document_is_true(server: chroma.Server, rclip: Command, draw: Draw, folder: Path) -> None:
    """Its commands run, one after the other, and its example of a client."""
    text = (Path(__file__).parent.parent / "docs/vectordb.md").read_text(encoding="utf-8")
    chroma.Collection(server, "rclip_photos").delete()
    pictures = rclip.home / "Pictures"
    draw(pictures / "stars/red.png", "red star")
    draw(pictures / "cat.jpg", "blue circle")
    places = {"127.0.0.1:8000": f"127.0.0.1:{server.port}", "/home/me/photo-vectors": str(folder)}
    outputs = []
    for command in re.findall(r"^rclip .*chroma.*", text, re.MULTILINE):
        for place, here in places.items():
            command = command.replace(place, here)
        done = rclip(*(word.replace("~/Pictures", str(pictures)) for word in shlex.split(command)[1:]))
        assert done.code == 0, done.err
        outputs.append(done.out)
    assert [output.count("red.png") for output in outputs] == [0, 1, 0, 1]
    (example,) = re.findall(r"```python\n(import chromadb.*?)```", text, re.DOTALL)
    example = example.replace("8000", str(server.port)).replace('{"rating": {"$gte": 4}}', '{"suffix": "png"}')
    ran = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=True, cwd="/")
    assert ran.stdout.strip() == str([str(pictures / "stars/red.png")])
