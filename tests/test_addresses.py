"""Attacks by servers: pictures at addresses come in time, in bounds, from where they were asked for, or not at all."""

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request

import pytest

from rclip import UsageError
from rclip.errors import without_passwords
from rclip.search import remote_image
from tests.support.command import Command, one_line
from tests.support.gallery import Draw
from tests.support.tiers import few

Answer = Callable[[socket.socket, bytes], None]


class Server:
    """Listens on a port of its own and answers each connection's request with `answer`, in a thread."""

    def __init__(self, answer: Answer):
        self._answer = answer
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            try:
                request = b""
                while b"\r\n\r\n" not in request:
                    received = connection.recv(65536)
                    if not received:
                        return
                    request += received
                self.requests.append(request)
                self._answer(connection, request)
            except OSError:  # it has hung up
                pass

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Serve = Callable[[Answer], Server]


def ok(body: bytes, *headers: bytes) -> bytes:
    lines = (b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def redirect(location: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"


def dripping(start: bytes, drop: bytes) -> Answer:
    """Sends the start at once and then, until the other side hangs up, a drop now and then: no wait for one is long."""

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(drop)
            time.sleep(0.02)

    return answer


def flooding(start: bytes, drop: bytes) -> Answer:
    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(drop * 1000)

    return answer


def silent(connection: socket.socket, _: bytes) -> None:
    connection.recv(1)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS: dict[str, Answer] = {
    "nothing": silent,
    "a slow status": dripping(b"", b"H"),
    "slow headers": dripping(b"HTTP/1.1 200 OK\r\n", b"x"),
    "continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "continue, quickly": flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "continue, with headers": dripping(b"", b"HTTP/1.1 100 Continue\r\na: b\r\n\r\n"),
    "a slow body": dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "a slow size of a chunk": dripping(CHUNKED, b"0"),
    "an extension of a chunk": dripping(CHUNKED + b"1;", b"a"),
    "slow chunks": dripping(CHUNKED, b"1\r\nx\r\n"),
    "slow trailers": dripping(CHUNKED + b"1\r\nx\r\n0\r\n", b"a: b\r\n"),
    "trailers, quickly": flooding(CHUNKED + b"1\r\nx\r\n0\r\n", b"a: b\r\n"),
    "a redirect with a slow body": dripping(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"x"),
    "a redirect with an endless body": flooding(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"x"),
}


@pytest.mark.parametrize("name", few(list(ENDLESS), fast=14))
def test_a_server_that_never_ends_is_left(serve: Serve, name: str) -> None:
    server = serve(ENDLESS[name])
    with pytest.raises(UsageError, match=r"it takes too long|infinite loop|trailer line|got more than"):
        remote_image.fetch(server.url, timeout_s=0.4)


def test_slow_redirects_count_together(serve: Serve) -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        time.sleep(0.2)
        number = int(request.split()[1][1:] or 0)
        connection.sendall(redirect(b"/%d" % (number + 1)))

    server = serve(answer)
    with pytest.raises(UsageError, match="it takes too long"):
        remote_image.fetch(server.url, timeout_s=0.7)
    assert 2 <= len(server.requests) <= 4


def test_a_server_that_takes_no_connection_is_left() -> None:
    """Its backlog is full, so that a connection is neither taken nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        with pytest.raises(UsageError, match="it takes too long"):
            remote_image.fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.3)
        for each in waiting:
            each.close()


def test_a_tls_handshake_that_never_ends_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(UsageError, match="it takes too long"):
        remote_image.fetch(f"https://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.3)


# --- where it leads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/a.jpg", "file:///etc/passwd", "data:image/png,x", "javascript:1"]
)
def test_a_redirect_leads_to_no_other_kind_of_address(serve: Serve, location: str) -> None:
    server = serve(lambda connection, _: connection.sendall(redirect(location.encode())))
    with pytest.raises(UsageError, match=r"kind of address|Redirection to url"):
        remote_image.fetch(server.url)


def test_a_redirect_from_https_to_http_is_refused() -> None:
    """The rule itself: a server with a certificate that this machine trusts cannot be had in a test."""
    handler = remote_image._Redirects()
    secure = Request("https://a.org/")
    with pytest.raises(ValueError, match="another kind of address"):
        handler.redirect_request(secure, open("/dev/null", "rb"), 302, "", None, "http://a.org/b")  # type: ignore[arg-type] # noqa: SIM115
    plain = Request("http://a.org/")
    found = handler.redirect_request(plain, open("/dev/null", "rb"), 302, "", None, "https://a.org/b")  # type: ignore[arg-type] # noqa: SIM115
    assert found


# --- names and passwords ----------------------------------------------------------------------------------------------


@pytest.fixture
def picture(draw: Draw, tmp_path: Path) -> bytes:
    return draw(tmp_path / "served.jpg", "red star").read_bytes()


def test_a_password_is_sent_to_its_server_alone(serve: Serve, picture: bytes) -> None:
    other = serve(lambda connection, _: connection.sendall(ok(picture)))
    server = serve(lambda connection, _: connection.sendall(redirect(other.url.encode() + b"/a")))
    remote_image.fetch(server.url.replace("//", "//me:se%20cret@")).close()
    token = base64.b64encode(b"me:se cret")
    assert b"Authorization: Basic " + token in server.requests[0]
    assert b"@" not in server.requests[0]
    assert b"uthorization" not in other.requests[0]


@pytest.mark.parametrize("password", ["secret", "se/cret", "se#cret", "se?cret", "se cret", "se@cret", "se:cret"])
def test_a_password_is_never_printed(rclip: Command, gallery: Path, serve: Serve, password: str) -> None:
    rclip("--index")
    server = serve(lambda connection, _: connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n"))
    page = serve(lambda connection, _: connection.sendall(ok(b"none")))
    for url in (server.url, page.url, "http://127.0.0.1:9", "https://127.0.0.1:9"):
        address = url.replace("//", f"//me:{password}@")
        for arguments in ((address,), (f"0:{address}",), ("+", address, "-", address), (f"9999999:{address}",)):
            done = rclip("-n", *arguments)
            assert (done.code, done.out) == (2, "")
            assert "cret" not in done.err, done.err


def test_a_password_in_queries_from_a_file_is_not_printed_with_the_hits(
    rclip: Command, gallery: Path, serve: Serve, picture: bytes
) -> None:
    server = serve(lambda connection, _: connection.sendall(ok(picture)))
    (gallery / "asked").write_text(server.url.replace("//", "//me:secret@") + "/a.jpg\n")
    for form in ("-f", "--json"):
        done = rclip(form, "-t", "1", "--queries", "asked")
        assert done.code == 0
        assert "stars/red.jpg" in done.out
        assert "secret" not in done.out + done.err


def test_the_password_of_a_models_server_is_not_printed(rclip: Command, gallery: Path) -> None:
    env = {"RCLIP_WEIGHTS_URL": "http://me:secret@127.0.0.1:9/"}
    done = rclip("red", model="RN50", env=env)
    assert done.code == 2
    assert "secret" not in done.err
    assert "…@127.0.0.1:9" in done.err


def test_addresses_without_passwords_stay_as_they_are() -> None:
    for text in ("http://a.org/b", "https://a.org/@me/b.jpg", "a@b.org"):
        assert without_passwords(text) == text
    assert without_passwords("see http://me:x@a.org/b and FTP://you@b.org/") == "see http://…@b.org/"


# --- letters ----------------------------------------------------------------------------------------------------------

ENCODED = [
    ("http://a.org/K\u00f6ln.jpg", "http://a.org/K%C3%B6ln.jpg"),
    ("http://a.org/a b.jpg", "http://a.org/a%20b.jpg"),
    ("http://a.org/a%20b.jpg", "http://a.org/a%20b.jpg"),
    (
        "http://a.org/\u65e5\u672c/\u8a9e.jpg?q=\u8a9e&b=1 2#part",
        "http://a.org/%E6%97%A5%E6%9C%AC/%E8%AA%9E.jpg?q=%E8%AA%9E&b=1%202",
    ),
    ("http://K\u00d6ln.example/a", "http://xn--kln-sna.example/a"),
    ("http://b\u00fccher.example:8080/a", "http://xn--bcher-kva.example:8080/a"),
    ("HTTP://a.org", "http://a.org/"),
    ("http://a.org/a\tb\nc", "http://a.org/abc"),
    ('http://a.org/a"b<c>`{d}', "http://a.org/a%22b%3Cc%3E%60%7Bd%7D"),
    ("http://a.org/(a)[b]!$&'*+,;=:@~|^", "http://a.org/(a)[b]!$&'*+,;=:@~|^"),
    ("http://[::1]:80/\u00f6", "http://[::1]:80/%C3%B6"),
]


@pytest.mark.parametrize(("url", "sent"), ENCODED)
def test_addresses_are_encoded_as_browsers_do(url: str, sent: str) -> None:
    assert remote_image.encoded(url) == sent


@pytest.mark.parametrize("name", few(["K\u00f6ln.jpg", "a b.jpg", "\u65e5\u672c \U0001f408.jpg"]))
@pytest.mark.parametrize("moved", [False, True], ids=["at once", "redirected"])
def test_a_picture_of_any_name(
    rclip: Command, gallery: Path, serve: Serve, picture: bytes, name: str, moved: bool
) -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        if moved and request.startswith(b"GET /old/"):
            connection.sendall(redirect(f"/new/{name}".encode()))
        else:
            connection.sendall(ok(picture))

    server = serve(answer)
    done = rclip("-t", "1", f"{server.url}/old/{name}")
    assert done.out == "stars/red.jpg\n", done.err
    path = urlsplit(remote_image.encoded(f"{server.url}/{'new' if moved else 'old'}/{name}")).path
    assert server.requests[-1].startswith(f"GET {path} HTTP/1.1".encode())


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///a",
        "http://:80/",
        "http://\u00ad/",
        "http://[::1",
        "http://a:b/",
        "http://" + "x" * 70 + ".org/",
    ],
)
def test_an_address_of_no_server_is_one_line(rclip: Command, gallery: Path, url: str) -> None:
    rclip("--index")
    done = rclip("-n", url)
    assert (done.code, done.out) == (2, "")
    assert one_line(done.err).startswith("rclip: cannot fetch http://")
