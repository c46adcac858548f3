"""A real Chroma server, and real folders, for as long as tests need them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError


def is_there() -> bool:
    """The package with what makes a server; the package chromadb-client has the same name, and has not."""
    return find_spec("chromadb_rust_bindings") is not None


class Server:
    """Listens on 127.0.0.1, and lets everybody in."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = _free_port()
        self._log = (folder / "log").open("wb")
        program = Path(sys.executable).with_name("chroma")
        command: list[str | Path] = [
            program,
            "run",
            "--path",
            folder / "data",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        self._process = subprocess.Popen(
            command, cwd=folder, env=kept | {"HOME": str(folder)}, stdout=self._log, stderr=subprocess.STDOUT
        )
        for _ in range(600):
            try:
                self.request("GET", "/heartbeat")
                return
            except OSError:
                assert self._process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        raise AssertionError((folder / "log").read_text())

    def url(self, collection: str) -> str:
        return f"chroma+http://127.0.0.1:{self.port}?collection={collection}"

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Of the API's second version. Raises HTTPError."""
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v2{path}", content, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


class Collection:
    """One of the server's."""

    def __init__(self, server: Server, name: str):
        self.server, self.name = server, name

    def facts(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.server.request("GET", f"{COLLECTIONS}/{self.name}")
        except HTTPError as error:
            if error.code != 404:
                raise
            return None
        return found

    def call(self, name: str, body: Any) -> Any:
        facts = self.facts()
        assert facts
        return self.server.request("POST", f"{COLLECTIONS}/{facts['id']}/{name}", body)

    def records(self) -> dict[str, Any]:
        """Metadata by id."""
        if self.facts() is None:
            return {}
        found = self.call("get", {"include": ["metadatas"]})
        return dict(zip(found["ids"], found["metadatas"], strict=True))

    def describe(self, **metadata: Any) -> None:
        """Changes the collection's own metadata."""
        facts = self.facts()
        assert facts
        new = {"new_metadata": facts["metadata"] | metadata}
        self.server.request("PUT", f"{COLLECTIONS}/{facts['id']}", new)

    def delete(self) -> None:
        if self.facts() is not None:
            self.server.request("DELETE", f"{COLLECTIONS}/{self.name}")


COLLECTIONS = "/tenants/default_tenant/databases/default_database/collections"


@contextmanager
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="rclip-chroma-"))
    running = None
    try:
        running = Server(folder)
        yield running
    finally:
        if running:
            running.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Gate:
    """Stands before a server: `change` is given the request and its answer, and says what the client gets.

    `(path, headers, status, answer) -> (status, answer)`
    """

    def __init__(self, server: Server, change: Callable[[str, Any, int, bytes], tuple[int, bytes]]):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def _answer(self, content: bytes | None) -> None:
                url = f"http://127.0.0.1:{server.port}{self.path}"
                request = urllib.request.Request(
                    url, content, {"Content-Type": "application/json"}, method=self.command
                )
                try:
                    with urllib.request.urlopen(request) as answer:
                        status, said = answer.status, answer.read()
                except HTTPError as error:
                    status, said = error.code, error.read()
                status, said = change(self.path, self.headers, status, said)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", said.decode())
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def url(self, collection: str) -> str:
        return f"chroma+http://127.0.0.1:{self.port}?collection={collection}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
