"""A server that answers as the Hugging Face hub does, with the files of some folders."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Its folders are ROOT/ORG/NAME; what was asked for is noted."""

    def __init__(self, root: Path):
        self.root = root
        self.requests: list[tuple[str, str]] = []
        """Method and path."""
        self.short: set[str] = set()
        self.altered: set[str] = set()
        """Names of files that come otherwise than announced."""
        self.breaks_after: int | None = None
        """So many bytes of a large file are sent, once, before the connection ends."""
        self.endpoint = ""

    @property
    def fetched(self) -> list[str]:
        return [path for method, path in self.requests if method == "GET" and "/resolve/" in path]


def _handler(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path))
            repository, found, name = path.strip("/").partition("/resolve/")
            file = hub.root / repository / name.partition("/")[2]
            if not (hub.root / repository).is_dir():
                self._refuse(401, "RepoNotFound")
            elif not found or not file.is_file():
                self._refuse(404, "EntryNotFound")
            else:
                self._send(file, with_body)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, file: Path, with_body: bool) -> None:
            content = file.read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            if file.name in hub.short and with_body:
                content = content[:-10]
            if file.name in hub.altered:
                content = content[:-10] + bytes(10)
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", _COMMIT)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if with_body:
                self._write(content[start:])

        def _write(self, content: bytes) -> None:
            if hub.breaks_after is not None and len(content) > hub.breaks_after:
                self.wfile.write(content[: hub.breaks_after])
                hub.breaks_after = None
                self.close_connection = True
                return
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler


@contextmanager
def serving(root: Path) -> Iterator[Hub]:
    hub = Hub(root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
