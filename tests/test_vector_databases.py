"""`--push` and `--from`: a database that others share gives the answers that the index gives, or an error in a line."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rclip.vectordb import rows
from rclip.vectordb.postgres import LOCK
from tests.support import postgres
from tests.support.command import Command, Result, one_line, start
from tests.support.gallery import Draw, draw_scene
from tests.support.many_runs import ManyRuns
from tests.support.proxy import Proxy, some_bytes_changed
from tests.support.questions import QUESTIONS, make_described
from tests.support.tiers import few

if postgres.programs() is None:
    pytest.skip("there is no PostgreSQL with pgvector here", allow_module_level=True)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.server() as running:
        running.sql("postgres", "CREATE DATABASE photos")
        yield running


class Database:
    """One of the server's, and the command with what it needs to get in."""

    def __init__(self, server: postgres.Server, rclip: Command, name: str = "photos"):
        self.server, self.rclip, self.name = server, rclip, name
        self.url = server.url(self.name)
        self.empty()

    def __call__(self, *arguments: str | bytes | Path, **env: str) -> Result:
        return self.rclip(*arguments, env={"PGPASSWORD": postgres.PASSWORD} | env)

    def empty(self) -> None:
        """Drops the tables, and shards that were taken off."""
        tables = ["rclip_photos", "rclip_meta", *(f"rclip_photos_{number}" for number in range(8))]
        self.sql(*(f"DROP TABLE IF EXISTS {table} CASCADE" for table in tables))

    def push(self, *arguments: str | Path) -> str:
        """What it says, without its start."""
        done = self("-n", "--push", self.url, *arguments)
        assert (done.code, done.out) == (0, ""), done.err
        return one_line(done.err).removeprefix("rclip: ")

    def ask(self, *arguments: str | Path) -> Result:
        return self("--from", self.url, *arguments)

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.server.sql(self.name, *statements)

    def paths(self) -> set[str]:
        return {os.fsdecode(path) for (path,) in self.sql("SELECT path FROM rclip_photos")}


@pytest.fixture
def database(server: postgres.Server, rclip: Command) -> Database:
    return Database(server, rclip)


@pytest.fixture
def pushed(database: Database, gallery: Path) -> Database:
    """With the gallery in it."""
    assert database.rclip("--index").code == 0
    assert database.push() == "pushed: 12 new or changed"
    return database


@pytest.fixture
def altered(server: postgres.Server, indexed: Command) -> Database:
    """With the gallery in it, of tests that alter nothing else."""
    database = Database(server, indexed)
    assert database.push() == "pushed: 12 new or changed"
    return database


@pytest.fixture(scope="module")
def pushed_once(server: postgres.Server, indexed_once: Command) -> Database:
    """For `kept`."""
    server.sql("postgres", "CREATE DATABASE kept")
    database = Database(server, indexed_once, "kept")
    assert database.push() == "pushed: 12 new or changed"
    return database


@pytest.fixture
def kept(pushed_once: Database, indexed: Command) -> Database:
    """With the gallery in it, of tests that alter neither."""
    return pushed_once


def answers(done: Result) -> list[dict[str, Any]]:
    assert done.code in (0, 1), done.err
    return [json.loads(line) for line in done.lines]


# --- the same answers -------------------------------------------------------------------------------------------------


def test_a_query_has_the_answers_of_the_index(kept: Database) -> None:
    """The same photos in the same order, with the same scores and all that is known of them."""
    local = answers(kept.rclip("-n", "--all", "-t", "12", "--json", "a red star"))
    assert len(local) == 12
    assert answers(kept.ask("-t", "12", "--json", "a red star")) == local
    assert answers(kept.ask("-t", "3", "--json", "a red star")) == local[:3]


def test_filters_have_the_answers_of_the_index(database: Database, photos: Path, draw: Draw) -> None:
    make_described(database.rclip, photos, draw)
    database.push()
    found = set()
    with ManyRuns(database.rclip, PGPASSWORD=postgres.PASSWORD) as run:
        for question in QUESTIONS:
            local = answers(run("-n", "--all", "--json", *question, "."))
            assert answers(run("--from", database.url, "--json", *question, ".")) == local, question
            found.add(len(local))
    assert len(found) > 4  # else the filters let all pass, or nothing


def test_a_picture_asks_as_words_do(kept: Database) -> None:
    """It is encoded here anew, in other batches than for the index."""
    local = answers(kept.rclip("-n", "--all", "-t", "12", "--json", "./stars/red.jpg"))
    found = answers(kept.ask("-t", "12", "--json", "./stars/red.jpg", "."))
    assert [hit["path"] for hit in found] == [hit["path"] for hit in local]
    assert [hit["score"] for hit in found] == pytest.approx([hit["score"] for hit in local], abs=5e-4)
    assert str(kept.rclip.cwd / "stars/red.jpg") not in [hit["path"] for hit in found]


def test_many_queries_from_a_file(kept: Database, tmp_path: Path) -> None:
    (tmp_path / "queries").write_text("a red star\n+\na blue circle\n")
    arguments = ("--queries", tmp_path / "queries", "-t", "2")
    local, found = kept.rclip("-n", "--all", *arguments, "."), kept.ask(*arguments, ".")
    assert (found.code, found.out, found.err) == (local.code, local.out, local.err)
    assert len(found.lines) == 4


def test_folders_bound_a_search(pushed: Database) -> None:
    """They need not be here; without one the whole database is searched, with absolute paths."""
    photos = pushed.rclip.cwd
    assert sorted(pushed.ask("-t", "99", "a star").lines) == sorted(pushed.paths())
    assert {Path(line).parent.name for line in pushed.ask("-t", "99", "a star", "stars").lines} == {"stars"}
    elsewhere = photos.rename(photos.with_name("elsewhere"))
    pushed.rclip.cwd = elsewhere
    found = pushed.ask("-t", "99", "a star", photos / "circles").lines
    assert set(found) == {path for path in pushed.paths() if "/circles/" in path}
    nothing = pushed.ask("a star", "/no/such/folder")
    assert nothing.code == 1
    assert one_line(nothing.err).startswith("rclip: the database has no photos here; ")
    assert "there is no folder star" in one_line(pushed.ask("a", "star").err)


def test_ties_are_in_the_order_of_paths_and_none_is_lost(database: Database, draw: Draw, photos: Path) -> None:
    """Two hundred copies of one photo, of which ten are asked for."""
    original = draw("original.jpg", "red star").read_bytes()
    for number in range(200):
        (photos / f"{number:03}.jpg").write_bytes(original)
    assert database.rclip("--index").code == 0
    database.push()
    assert database.ask("a red star", ".").lines == [f"./{number:03}.jpg" for number in range(10)]
    assert len(database.ask("-t", "500", "a red star", ".").lines) == 201


@pytest.mark.parametrize("kind", ["hnsw", "ivfflat"])
def test_an_index_of_pgvector_is_used_and_hides_nothing(altered: Database, kind: str) -> None:
    """Where one leaves out photos, as an IVFFlat that probes one list of four does, all are looked at."""
    local = altered.rclip("-n", "--all", "-t", "12", "a red star", ".").out
    options = "WITH (lists = 4)" if kind == "ivfflat" else ""
    altered.sql(f"CREATE INDEX ON rclip_photos USING {kind} (vector halfvec_ip_ops) {options}")
    assert altered.ask("-t", "12", "a red star", ".").out == local
    assert altered.ask("-t", "99", "--path", "stars/**", "a red star", ".").lines == [
        line for line in local.splitlines() if "stars/" in line
    ]


def test_what_an_index_of_pgvector_finds_is_measured_and_told(altered: Database) -> None:
    push = ("-n", "--push", altered.url, "-v")
    assert altered(*push).err.splitlines()[1] == (
        "rclip: the database is searched exactly: none of the best photos is missed"
    )
    altered.sql("CREATE INDEX ON rclip_photos USING hnsw (vector halfvec_ip_ops)")
    told = altered(*push).err.splitlines()[1]
    assert told == "rclip: the database's approximate index finds 100.0% of the ten best photos, in 24 queries"


# --- pushing ----------------------------------------------------------------------------------------------------------


def test_a_push_brings_what_has_changed(pushed: Database, draw: Draw, photos: Path) -> None:
    assert pushed.push() == "nothing to push: the database already has all 12 photos"
    draw("stars/new.jpg", "green star")
    draw("stars/red.jpg", "red star")
    (photos / "circles/blue.jpg").unlink()
    os.utime(photos / "circles/red.jpg", (1, 1))
    before = pushed.sql("SELECT xmin::text, path FROM rclip_photos")
    done = pushed("--push", pushed.url)
    assert done.err.splitlines()[-1] == "rclip: pushed: 3 new or changed, 1 removed"
    kept = set(before) & set(pushed.sql("SELECT xmin::text, path FROM rclip_photos"))
    assert len(kept) == 9  # were not written again
    assert pushed.paths() == {str(path) for path in photos.rglob("*.jpg")}
    assert pushed.ask("-t", "99", "a star", ".").out == pushed.rclip("-n", "--all", "-t", "99", "a star", ".").out


def test_a_push_leaves_other_folders_alone(pushed: Database, draw: Draw, tmp_path: Path) -> None:
    """Those that are not named, and whose names begin alike."""
    draw(tmp_path / "photos-2/star.jpg", "red star")
    everything = pushed.paths() | {str(tmp_path / "photos-2/star.jpg")}
    assert pushed("--push", pushed.url, tmp_path / "photos-2").code == 0
    assert pushed.paths() == everything
    assert pushed.push() == "nothing to push: the database already has all 12 photos"
    assert pushed.paths() == everything


def test_a_folder_without_photos_empties_nothing(pushed: Database, photos: Path, tmp_path: Path) -> None:
    """It is not indexed on this machine, or its disk is not mounted."""
    everything = pushed.paths()
    shutil.rmtree(photos / "stars")
    (photos / "stars").mkdir()
    for folder in (photos / "stars", tmp_path / "home"):
        done = pushed("--push", pushed.url, folder)
        assert done.code == 2
        assert f"no photo is indexed in {folder}/, so nothing was pushed" in done.err.splitlines()[-1]
    assert pushed.paths() == everything


def test_photos_on_an_unplugged_drive_stay(pushed: Database, photos: Path) -> None:
    """As in the index, which takes an empty folder for a drive that may come back."""
    everything = pushed.paths()
    shutil.rmtree(photos / "stars")
    (photos / "stars").mkdir()
    (photos / "circles/red.jpg").unlink()
    assert pushed("--push", pushed.url).code == 0
    assert everything - pushed.paths() == {str(photos / "circles/red.jpg")}


def test_odd_names(database: Database, draw: Draw, photos: Path) -> None:
    names = [
        b"new\nline.jpg",
        b"not utf-8 \xff.jpg",
        b"\x1b[31m.jpg",
        b"%s {} '\".jpg",
        b"\xff\xff.jpg",
        b"\xc3\xa9.jpg",
    ]
    for name in names:
        draw(os.fsdecode(name), "red star")
    assert database.rclip("--index").code == 0
    database.push()
    found = database.rclip.raw("--from", database.url, "-0", "a star", ".", env={"PGPASSWORD": postgres.PASSWORD})
    assert set(found.stdout.rstrip(b"\0").split(b"\0")) == {b"./" + name for name in names}
    assert database.push() == "nothing to push: the database already has all 6 photos"


def test_an_index_in_a_folder_counts_for_it(database: Database, draw: Draw, photos: Path) -> None:
    """However the folders are named: what the outer index has there is not what a search finds."""
    draw("a.jpg")
    draw("drive/b.jpg")
    assert database.rclip("--index").code == 0
    assert database.rclip("--init", "drive").code == 0
    draw("drive/c.jpg")
    everything = {str(photos / name) for name in ("a.jpg", "drive/b.jpg", "drive/c.jpg")}
    for folders in ([".", "drive"], ["drive", "."]):
        assert database("--push", database.url, *folders).code == 0
        assert database.paths() == everything


def fill(database: Database, folder: Path, count: int) -> None:
    """That many photos into the index: copies, each with a name of its own."""
    original = folder / "0.jpg"
    draw_scene(original, "red star", random.Random(1))
    for number in range(1, count):
        (folder / f"{number}.jpg").hardlink_to(original)
    assert database.rclip("--index").code == 0


def wait_for_rows(database: Database, least: int, running: "subprocess.Popen[bytes]") -> None:
    while database.sql("SELECT to_regclass('rclip_photos') IS NULL OR count(*) = 0 FROM pg_inherits") == [(True,)]:
        assert running.poll() is None
    while database.sql("SELECT count(*) FROM rclip_photos")[0][0] < least:
        assert running.poll() is None


@pytest.mark.parametrize("how", few((signal.SIGINT, signal.SIGKILL), fast=1))
def test_a_push_that_is_stopped_goes_on(database: Database, photos: Path, how: int, monkeypatch: Any) -> None:
    """What is stored stays, and is not stored again."""
    fill(database, photos, 9000)
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    running = start(database.rclip, "-n", "--push", database.url, stderr=subprocess.PIPE)
    wait_for_rows(database, 2000, running)
    running.send_signal(how)
    told = running.communicate(timeout=300)[1].decode()
    kept = set(database.sql("SELECT xmin::text, path FROM rclip_photos"))
    assert 2000 <= len(kept) < 9000
    if how == signal.SIGINT:
        assert running.returncode == 130
        assert re.fullmatch(r"rclip: stopped; [\d,]+ photos are in the database, .*\n", told)
    assert database.push() == f"pushed: {9000 - len(kept):,} new or changed"
    assert kept < set(database.sql("SELECT xmin::text, path FROM rclip_photos"))


def test_two_pushes_at_once(database: Database, gallery: Path, monkeypatch: Any) -> None:
    """Both create the tables, both store the same photos, and nothing is there twice."""
    assert database.rclip("--index").code == 0
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    both = [start(database.rclip, "-n", "--push", database.url, stderr=subprocess.PIPE) for _ in range(2)]
    for running in both:
        told = running.communicate(timeout=300)[1].decode()
        assert running.returncode == 0, told
    assert database.sql("SELECT count(*), count(DISTINCT path) FROM rclip_photos") == [(12, 12)]


def test_tables_that_come_while_a_push_waits_to_create_them(
    database: Database, gallery: Path, monkeypatch: Any
) -> None:
    assert database.rclip("--index").code == 0
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    with database.server.writers_kept_waiting(database.name, LOCK) as other:
        running = start(database.rclip, "-n", "--push", database.url, stderr=subprocess.PIPE)
        while not database.server.waiting_writers(database.name):
            assert running.poll() is None
        other.execute("CREATE TABLE rclip_meta (key text PRIMARY KEY, value text NOT NULL)")
    told = running.communicate(timeout=300)[1].decode()
    assert "was written by an older rclip (schema 0)" in told  # not that they cannot be created


# --- what goes wrong --------------------------------------------------------------------------------------------------


def shown(url: str) -> str:
    """An address as messages show it: without the name."""
    return re.sub("//.*@", "//…@", url)


def refusal(done: Result) -> str:
    """The one line with which the command ends, which tells no password."""
    assert (done.code, done.out) == (2, ""), done
    assert postgres.PASSWORD not in done.err
    assert "secret" not in done.err
    return one_line(done.err).removeprefix("rclip: ")


def test_a_wrong_password(kept: Database) -> None:
    for arguments in (["--from", kept.url, "a star"], ["-n", "--push", kept.url]):
        told = refusal(kept(*arguments, PGPASSWORD="wrong-secret"))
        assert told.startswith(f"cannot connect to {shown(kept.url)}: ")
        assert 'password authentication failed for user "keeper"' in told
        assert "PGPASSWORD" in told


def test_a_password_file_lets_in(pushed: Database) -> None:
    file = pushed.rclip.home / ".pgpass"
    file.write_text(f"*:*:*:keeper:{postgres.PASSWORD}\n")
    file.chmod(0o600)
    assert len(pushed.rclip("--from", pushed.url, "a star").lines) == 10


@pytest.mark.parametrize(
    "url",
    few(
        (
            "postgresql://keeper:secret@127.0.0.1/photos",
            "postgresql://keeper:se/cr@secret@127.0.0.1/photos",
            "postgresql://127.0.0.1/photos?password=secret",
            "postgresql://127.0.0.1/photos?user=a&sslpassword=secret",
            "postgresql://127.0.0.1/photos?p%61ssword=secret",
        ),
        fast=2,
    ),
)
def test_a_password_in_the_address_is_refused_and_not_repeated(kept: Database, tmp_path: Path, url: str) -> None:
    for arguments in (["--from", url, "a star"], ["-n", "--push", url]):
        assert "password" in refusal(kept(*arguments))
    config = tmp_path / "config.toml"
    config.write_text(f'index = "{url}"\n')
    assert "password" in refusal(kept("a star", RCLIP_CONFIG=str(config)))


def test_addresses_that_lead_nowhere(kept: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        closed.close()
        port = silent.getsockname()[1]
        urls = {
            f"postgresql://127.0.0.1:{port}/photos?connect_timeout=2": "timeout",
            "postgresql://no-such-host.invalid/photos": "",
            "postgresql://127.0.0.1:1/photos": "refused",
            "postgresql://127.0.0.1:99999/photos": "port",
            "postgresql://127.0.0.1/photos?no_such=1": "no_such",
            kept.server.url("no_such_database"): "does not exist",
        }
        for url, reason in urls.items():
            told = refusal(kept("--from", url, "a star"))
            assert told.startswith(f"cannot connect to {shown(url)}: ")
            assert reason in told
    assert "must be the address of a database" in refusal(kept("--from", "http://127.0.0.1/photos", "a star"))


@contextmanager
def through(database: Database, change: Callable[[bytes, int], bytes | None]) -> Iterator[tuple[str, Proxy]]:
    """The address of a proxy."""
    proxy = Proxy(database.server.port, change)
    try:
        yield database.url.replace(str(database.server.port), str(proxy.port)), proxy
    finally:
        proxy.close()


def answer_length(database: Database, *arguments: str) -> int:
    """How many bytes the server says."""
    with through(database, lambda data, _: data) as (url, proxy):
        assert database("--from", url, *arguments).code == 0
        return proxy.said


@pytest.mark.parametrize("share", few((0.9, 0.3, 0.02, 0.1, 0.5, 0.7, 0.97), fast=2))
def test_a_server_that_goes_away_at_any_time(kept: Database, share: float) -> None:
    """A line, and no photo: a part of an answer is none."""
    end = int(share * answer_length(kept, "a red star"))
    with through(kept, lambda data, said: data if said + len(data) < end else None) as (url, _):
        told = refusal(kept("--from", url, "a red star"))
    assert told.startswith((f"cannot connect to {shown(url)}: ", f"{shown(url)} failed: ")), told


def test_a_server_that_goes_away_during_a_push(database: Database, photos: Path) -> None:
    fill(database, photos, 5000)
    with through(database, lambda data, _: data) as (url, proxy):
        assert database("-n", "--push", url).code == 0
        length = proxy.said
    database.empty()
    with through(database, lambda data, said: data if said < 0.8 * length else None) as (url, _):
        done = database("-n", "--push", url)
    assert done.code == 2
    assert one_line(done.err).startswith(f"rclip: {shown(url)} failed: ")
    assert "pushed: " in database.push()
    assert database.sql("SELECT count(*) FROM rclip_photos") == [(5000,)]


@pytest.mark.parametrize("seeds", few([range(1), range(1, 40)]), ids=["one", "more"])
def test_a_server_that_says_anything(kept: Database, seeds: range) -> None:
    """With bytes of its answers changed, the command ends with photos, none, or a line; never by a fault of its own."""
    length = answer_length(kept, "a red star")
    for seed in seeds:
        with through(kept, some_bytes_changed(seed, length // 3, length)) as (url, _):
            done = kept("--from", url, "a red star", RCLIP_DATABASE_TIMEOUT_S="2")
        assert done.code in (0, 1, 2), seed
        assert "fault of rclip" not in done.err, seed
        assert "Traceback" not in done.err, seed
        assert len(done.err.splitlines()) <= 1, (seed, done.err)


def test_a_server_that_says_more_is_to_come_and_falls_silent(kept: Database) -> None:
    """The driver waits for the rest of a message; the command does not wait for ever."""
    end = int(0.9 * answer_length(kept, "a red star"))
    with through(kept, lambda data, said: data[: max(0, end - said)]) as (url, _):
        told = refusal(kept("--from", url, "a red star", RCLIP_DATABASE_TIMEOUT_S="2"))
    assert "failed: no whole answer within 2 s (RCLIP_DATABASE_TIMEOUT_S raises the limit)" in told


def test_another_models_vectors(altered: Database) -> None:
    altered.sql("UPDATE rclip_meta SET value = 'other-1234' WHERE key = 'key'")
    altered.sql("UPDATE rclip_meta SET value = 'Other \x1b[31m' WHERE key = 'name'")
    for arguments in (["--from", altered.url, "a star"], ["-n", "--push", altered.url]):
        told = refusal(altered(*arguments))
        assert told.startswith(f"{shown(altered.url)} holds vectors of another model (Other ")
        assert "\x1b" not in told


@pytest.mark.parametrize(("version", "told"), [("0", "an older rclip"), ("2", "a newer rclip"), ("x", "")])
def test_another_schema(altered: Database, version: str, told: str) -> None:
    altered.sql(f"UPDATE rclip_meta SET value = '{version}' WHERE key = 'schema'")
    for arguments in (["--from", altered.url, "a star"], ["-n", "--push", altered.url]):
        assert told in refusal(altered(*arguments))


def test_a_database_without_photos_of_rclip(database: Database) -> None:
    assert refusal(database.ask("a star")).startswith(f"{shown(database.url)} holds no photos from rclip; ")


def test_a_shard_that_is_taken_off(altered: Database) -> None:
    altered.sql("ALTER TABLE rclip_photos DETACH PARTITION rclip_photos_3")
    assert refusal(altered.ask("a star")).startswith(f"{shown(altered.url)} has 7 of the 8 shards")


def test_shards_on_another_server_and_one_of_them_down(pushed: Database, draw: Draw) -> None:
    """All answer, or there is no answer."""
    local = pushed.rclip("-n", "--all", "-t", "12", "a red star", ".").out
    pushed.server.sql("postgres", "DROP DATABASE IF EXISTS elsewhere", "CREATE DATABASE elsewhere TEMPLATE photos")
    drop = "DROP TABLE rclip_photos_3"
    options = f"host '127.0.0.1', port '{pushed.server.port}', dbname 'elsewhere', extensions 'vector'"
    pushed.sql(
        "DROP EXTENSION IF EXISTS postgres_fdw CASCADE",
        "CREATE EXTENSION postgres_fdw",
        f"CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS ({options})",
        f"CREATE USER MAPPING FOR keeper SERVER elsewhere OPTIONS (user 'keeper', password '{postgres.PASSWORD}')",
        drop,
        "CREATE FOREIGN TABLE rclip_photos_3 PARTITION OF rclip_photos FOR VALUES WITH (MODULUS 8, REMAINDER 3)"
        " SERVER elsewhere",
    )
    assert pushed.ask("-t", "12", "a red star", ".").out == local
    (pushed.rclip.cwd / "stars/red.jpg").unlink()
    for number in range(8):
        draw(f"stars/new {number}.jpg", "red star")
    assert pushed("--push", pushed.url).code == 0
    assert (
        pushed.ask("-t", "99", "a red star", ".").out == pushed.rclip("-n", "--all", "-t", "99", "a red star", ".").out
    )
    pushed.server.sql("elsewhere", "ALTER TABLE rclip_photos DETACH PARTITION rclip_photos_3", drop)
    told = refusal(pushed.ask("a red star"))
    assert told.startswith(f"{shown(pushed.url)} failed: ")


def test_who_may_only_read_asks_and_cannot_push(pushed: Database) -> None:
    if not pushed.sql("SELECT FROM pg_roles WHERE rolname = 'reader'"):
        pushed.sql(f"CREATE ROLE reader LOGIN PASSWORD '{postgres.PASSWORD}'")
    pushed.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    url = pushed.url.replace("keeper", "reader")
    assert len(pushed("--from", url, "a star").lines) == 10
    (pushed.rclip.cwd / "stars/red.jpg").unlink()
    done = pushed("--push", url)
    assert done.code == 2
    assert f"{shown(url)} failed: permission denied" in done.err
    assert len(pushed.paths()) == 12


def test_a_postgresql_without_pgvector(pushed: Database, gallery: Path) -> None:
    pushed.server.sql("postgres", "DROP DATABASE IF EXISTS bare", "CREATE DATABASE bare")
    if not pushed.sql("SELECT FROM pg_roles WHERE rolname = 'guest'"):
        pushed.sql(f"CREATE ROLE guest LOGIN PASSWORD '{postgres.PASSWORD}'")
    url = pushed.server.url("bare").replace("keeper", "guest")
    told = refusal(pushed("-n", "--push", url))
    assert told.startswith(f"{shown(url)} has no extension vector (pgvector): permission denied")
    assert pushed.server.sql("bare", "SELECT to_regclass('rclip_meta')") == [(None,)]


def test_without_the_driver(kept: Database, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/psycopg.py").write_text("raise ImportError\n")
    told = refusal(kept("--from", kept.url, "a star", PYTHONPATH=str(tmp_path / "empty")))
    assert told.endswith(f"to install it: {sys.executable} -P -m pip install 'psycopg[binary]'")


# --- hostile rows -----------------------------------------------------------------------------------------------------

DIMENSIONS = 8
UNIT = np.array([1] + [0] * (DIMENSIONS - 1), np.float16)
SOUND: dict[str, Any] = {
    "path": b"/photos/a.jpg",
    "size_bytes": 1,
    "mtime_ns": 1,
    "vector": rows.binary(UNIT),
    "captured_s": None,
    "offset_min": None,
    "latitude": 1.0,
    "longitude": 2.0,
    "maker": "",
    "model": "",
    "width": 1,
    "height": 1,
    "keywords": ["beach"],
    "rating": 5,
    "missing_percent": None,
    "captured_from": 2,
    "lens": "RF 50",
    "title": "",
    "headline": "",
    "caption": "A tram",
    "score": 0.5,
}
NAN, INFINITE = float("nan"), float("inf")
UNSOUND: dict[str, list[Any]] = {
    "path": [
        *("/photos/a.jpg", None, b"", b"a.jpg", b"/photos/../a.jpg", b"/./a.jpg", b"//a.jpg", b"/photos/", b"/a\0.jpg"),
        b"/" + b"a" * 9000,
    ],
    "size_bytes": [None, "1", 1.0, True],
    "mtime_ns": [None, "1", 1.5, b"1"],
    "vector": [
        *(None, "", b"", rows.binary(UNIT)[:-1], rows.binary(UNIT[:-1]), rows.binary(np.append(UNIT, UNIT))),
        *(rows.binary(np.full(DIMENSIONS, number, np.float16)) for number in (NAN, INFINITE, 0, 2)),
    ],
    "captured_s": ["now", 10**15, 1.0],
    "offset_min": [10**6, "1"],
    "latitude": [NAN, 91.0, None, "1"],
    "longitude": [INFINITE, -181.0, None],
    "maker": [None, 1, "a" * (1 << 20), b"a"],
    "model": [None, 1, "a" * (1 << 20)],
    "width": [-1, 1 << 40, "1"],
    "height": [-1, NAN],
    "keywords": [None, "beach", [None], [b"a"], [["a"]], ["a"] * 10**6, ["a" * (1 << 20)], {"a": 1}],
    "rating": [6, "5", -2],
    "missing_percent": [0, 100, "1"],
    "captured_from": [None, -1, 3, "1"],
    **{name: [None, 1, b"a", "a" * (1 << 20)] for name in ("lens", "title", "headline", "caption")},
    "score": [None, "0.5", NAN, INFINITE, True],
}


def test_a_sound_row_is_read() -> None:
    found = rows.read([SOUND[name] for name in (*rows.READ, "score")], DIMENSIONS)
    assert found.photo.path == SOUND["path"]
    assert found.photo.vector == UNIT.tobytes()
    assert found.photo.metadata.keywords == ("beach",)


@pytest.mark.parametrize(("column", "value"), [(name, value) for name, values in UNSOUND.items() for value in values])
def test_an_unsound_row_is_refused(column: str, value: object) -> None:
    row = SOUND | {column: value}
    with pytest.raises(rows.Unsound):
        rows.read([row[name] for name in (*rows.READ, "score")], DIMENSIONS)


@pytest.mark.parametrize(
    "lie",
    few(
        (
            "UPDATE rclip_photos SET path = '/a/../etc/passwd' WHERE path = (SELECT min(path) FROM rclip_photos)",
            "UPDATE rclip_photos SET path = 'relative.jpg' WHERE path = (SELECT min(path) FROM rclip_photos)",
            "UPDATE rclip_photos SET latitude = 'NaN', longitude = 0",
            "UPDATE rclip_photos SET captured_s = 9223372036854775807",
            "UPDATE rclip_photos SET keywords = '{NULL}'",
            "UPDATE rclip_photos SET vector = (vector::vector + vector::vector)::halfvec",
            "ALTER TABLE rclip_photos ALTER COLUMN size_bytes TYPE text",
            "ALTER TABLE rclip_photos DROP COLUMN rating",
            "ALTER TABLE rclip_photos ALTER COLUMN vector TYPE vector",
            "DROP TABLE rclip_meta",
            "DELETE FROM rclip_meta",
            "UPDATE rclip_meta SET value = repeat('9', 100000) WHERE key = 'dimensions'",
            "UPDATE rclip_meta SET value = '0' WHERE key = 'shards'",
        ),
        fast=4,
    ),
)
def test_a_database_that_lies(altered: Database, lie: str) -> None:
    altered.sql(lie)
    assert shown(altered.url) in refusal(altered.ask("-t", "99", "a star"))


# --- files of other machines ------------------------------------------------------------------------------------------


def test_files_of_a_database_are_opened_only_inside_the_folders_given(pushed: Database, tmp_path: Path) -> None:
    """What it names may be anything: a path from elsewhere, a link that leads out."""
    viewer = tmp_path / "bin/xdg-open"
    viewer.parent.mkdir()
    viewer.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{tmp_path}/opened\n')
    viewer.chmod(0o755)
    env = {"PATH": f"{viewer.parent}:{os.environ['PATH']}", "DISPLAY": ":9"}
    photos = pushed.rclip.cwd
    assert "--open opens files of a database's photos only inside the folders given" in refusal(
        pushed("--from", pushed.url, "--open", "a star", **env)
    )
    assert "--preview opens" in refusal(pushed("--from", pushed.url, "--preview", "a star", **env))
    (tmp_path / "private.jpg").write_bytes(b"private")
    (photos / "stars/red.jpg").unlink()
    (photos / "stars/red.jpg").symlink_to(tmp_path / "private.jpg")
    done = pushed("--from", pushed.url, "--open", "-t", "99", "a star", photos / "stars", **env)
    assert done.code == 0, done.err
    opened = (tmp_path / "opened").read_text()
    assert "stars/blue.jpg" in opened
    assert "red.jpg" not in opened + done.out


def test_files_of_a_database_are_neither_copied_nor_folded(kept: Database, tmp_path: Path) -> None:
    """Copied, they would be whatever lies here at a path that the database chooses."""
    copying = ["--copy-to", tmp_path / "to"], ["--link-to", tmp_path / "to"]
    for options in (*copying, ["--fold", "0.9"], ["--all"]):
        told = refusal(kept.ask("a star", kept.rclip.cwd, *options))
        assert told.startswith(f"{options[0]} and --from cannot be used together")
    assert not (tmp_path / "to").exists()


def test_pages_and_orders(kept: Database) -> None:
    for question in (
        ["a red star", "-t", "5", "--page", "2"],
        ["a red star", "--sort", "path"],
        ["--type", "jpg", "--sort", "path"],
    ):
        local = kept.rclip("-n", "--all", "--json", *question, ".")
        assert answers(kept.ask("--json", *question, ".")) == answers(local)


def test_the_database_as_a_setting(pushed: Database, tmp_path: Path) -> None:
    """In the user's file; not in one that lies with photos, and may come from somebody who would like a password."""
    config = tmp_path / "config.toml"
    config.write_text(f'index = "{pushed.url}"\npreview = "blocks"\n')
    env = {"RCLIP_CONFIG": str(config)}
    assert sorted(pushed("-t", "99", "a star", **env).lines) == sorted(pushed.paths())
    assert pushed("-n", "--from", "none", "a star", **env).lines == pushed.rclip("-n", "--all", "a star").lines
    assert pushed("--index", **env).code == 0  # whatever else is done is done to the folders here
    assert f'index = "{pushed.url}"' in pushed("--config", **env).out
    assert pushed.rclip("--init", ".").code == 0
    (pushed.rclip.cwd / ".rclip/config.toml").write_text(f'index = "{pushed.url}"\n')
    told = refusal(pushed("-n", "a star"))
    assert "line 1: index may be set in your own configuration file only" in told


def test_what_has_nothing_to_do_with_a_database_refuses_one(kept: Database) -> None:
    for action in ("--stats", "--index", "--check", "--duplicates", "-i", "--web"):
        assert "cannot be used together" in refusal(kept(action, "--from", kept.url))


# --- the document -----------------------------------------------------------------------------------------------------


def test_the_document_is_true(database: Database, draw: Draw) -> None:
    """Its commands run, one after the other, and its SQL; on the server here in place of the one that it names."""
    text = (Path(__file__).parent.parent / "docs/vectordb.md").read_text(encoding="utf-8")
    pictures = database.rclip.home / "Pictures"
    draw(pictures / "stars/red.png", "red star")
    draw(pictures / "cat.jpg", "blue circle")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    commands = [line for line in lines if "postgresql://" in line]
    outputs = []
    for command in commands:
        words = shlex.split(command.replace("postgresql://archive@db.example/photos", database.url))[1:]
        done = database(*(word.replace("~/Pictures", str(pictures)) for word in words))
        assert done.code == 0, done.err
        outputs.append(done.out)
    assert [output.count("red.png") for output in outputs] == [0, 1, 1, 1]
    statements = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert len(statements) == 3
    for statement in statements:
        database.sql(statement)
    assert "red.png" in database.ask("a red star").out
