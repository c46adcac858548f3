"""Pictures that a query names by their address, fetched from servers that may do anything."""

import base64
import io
import socket
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from typing import IO, TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from rclip._version import __version__
from rclip.errors import FetchFailed, plain_reason, without_passwords

if TYPE_CHECKING:
    from ssl import SSLSocket

MAX_BYTES = 256 << 20
TIMEOUT_S = 30.0
"""For the whole of it, from the name's look-up to the last byte, redirects included."""

_CHUNK_BYTES = 1 << 16
_MOST_REASON = 200
_TOO_LONG = "it takes too long"
_LEFT_OUT = str.maketrans("", "", "\t\r\n")
_KEPT_IN_PATH = "!$%&'()*+,-./:;=@[]^_|~"
_KEPT_IN_QUERY = _KEPT_IN_PATH.replace("'", "") + "?\\`{}"


def fetch(url: str, max_bytes: int = MAX_BYTES, timeout_s: float = TIMEOUT_S) -> BinaryIO:
    """The bytes at an http or https address, in a file without a name, at their beginning; the caller closes it.

    A name and a password in the address are sent to its server alone. Raises `FetchFailed` when there are more than
    `max_bytes`, when it takes longer than `timeout_s`, when a redirect leads to another scheme or from https to http,
    and when the server will not have it.
    """
    deadline = _Deadline(timeout_s)
    target = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with _opener(deadline).open(_request(url), timeout=timeout_s) as source:
            _copy(source, target, max_bytes)
    except (OSError, HTTPException, ValueError) as error:
        target.close()
        cause = getattr(error, "reason", None) or error
        reason = _TOO_LONG if isinstance(cause, TimeoutError) else plain_reason(cause)[:_MOST_REASON]
        raise FetchFailed(url=without_passwords(url), reason=without_passwords(reason)) from error
    except BaseException:
        target.close()
        raise
    target.seek(0)
    return target


def path_of(url: str) -> str:
    """The part of an address that looks like a file's path."""
    return unquote(urlsplit(url).path)


def encoded(url: str) -> str:
    """The address as browsers send it: without what they leave out, in ASCII. Raises ValueError for none."""
    scheme, host, path, query, _ = urlsplit(url.translate(_LEFT_OUT).strip())
    user, at, host = host.rpartition("@")
    name, colon, port = host.partition(":") if not host.startswith("[") else (host, "", "")
    try:
        ascii_name = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        raise ValueError("it names no server") from None
    netloc = f"{quote(user, _KEPT_IN_PATH)}{at}{ascii_name}{colon}{port}"
    path = quote(path.replace("\\", "/"), _KEPT_IN_PATH)
    return urlunsplit((scheme.lower(), netloc, path or "/", quote(query, _KEPT_IN_QUERY), ""))


def _request(url: str) -> urllib.request.Request:
    """Raises ValueError for no address."""
    scheme, netloc, path, query, _ = urlsplit(encoded(url))
    user, _, host = netloc.rpartition("@")
    if not host.partition(":")[0]:
        raise ValueError("it names no server")
    request = urllib.request.Request(  # noqa: S310 - see `Link`
        urlunsplit((scheme, host, path, query, "")), headers={"User-Agent": f"rclip/{__version__}"}
    )
    if user:
        token = base64.b64encode(unquote(user if ":" in user else f"{user}:").encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _copy(source: HTTPResponse, target: BinaryIO, max_bytes: int) -> None:
    left = max_bytes
    while chunk := source.read1(_CHUNK_BYTES):
        left -= len(chunk)
        if left < 0:
            raise ValueError(f"it is larger than {max_bytes >> 20} MB")
        target.write(chunk)


# --- what urllib leaves open -----------------------------------------------------------------------------------------


class _Redirects(urllib.request.HTTPRedirectHandler):
    """urllib would follow to FTP and from https to http, and read all of an answer that leads elsewhere."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type, scheme) == ("https", "http"):
            raise ValueError(f"it leads to another kind of address ({newurl})")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(deadline: "_Deadline") -> urllib.request.OpenerDirector:
    """One whose every wait ends in time."""

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(partial(_Timed, deadline=deadline), req)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(partial(_TimedSecure, deadline=deadline), req)

    return urllib.request.build_opener(_Redirects, PlainHandler, SecureHandler)


class _Deadline:
    """An end that all waits have in common."""

    def __init__(self, timeout_s: float):
        self._ends_at = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Above 0. Raises TimeoutError when there is none left."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError(_TOO_LONG)
        return left

    def result_of(self, wait: Callable[[], Any]) -> Any:
        """What the function returns or raises, which cannot be told to end itself. Raises TimeoutError."""
        found: list[Any] = []
        errors: list[OSError] = []

        def run() -> None:
            try:
                found.append(wait())
            except (OSError, UnicodeError) as error:
                errors.append(error if isinstance(error, OSError) else OSError("it names no server"))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(self.left_s())
        if errors:
            raise errors[0]
        if not found:
            raise TimeoutError(_TOO_LONG)
        return found[0]


class _Timed(HTTPConnection):
    """A connection that sends and receives until a deadline, whatever the server makes of its time."""

    def __init__(self, *arguments: Any, deadline: _Deadline, **more: Any):
        super().__init__(*arguments, **more)
        self._deadline = deadline
        self._create_connection = self._connected

    def _connected(self, address: tuple[str, int], *_: object) -> "_TimedSocket":
        """To the first of the server's addresses that answers. Raises OSError."""
        found = self._deadline.result_of(lambda: socket.getaddrinfo(*address, type=socket.SOCK_STREAM))
        error: OSError = OSError("it has no address")
        for family, kind, protocol, _, place in found:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(self._deadline.left_s())
                connection.connect(place)
                return _TimedSocket(connection, self._deadline)
            except OSError as reason:
                connection.close()
                error = reason
        raise error


class _TimedSecure(_Timed, HTTPSConnection):
    def connect(self) -> None:
        HTTPConnection.connect(self)  # also through a proxy
        host = self._tunnel_host or self.host  # type: ignore[attr-defined]
        plain: Any = self.sock
        self.sock = plain.secured(self._context, host)  # type: ignore[attr-defined]


class _TimedSocket:
    """As much of a socket as http.client uses."""

    def __init__(self, connection: "socket.socket | SSLSocket", deadline: _Deadline):
        self._connection = connection
        self._deadline = deadline
        self._readers = 0
        self._is_closed = False

    def setsockopt(self, *option: Any) -> None:
        self._connection.setsockopt(*option)

    def secured(self, context: Any, host: str) -> "_TimedSocket":
        self._connection.settimeout(self._deadline.left_s())
        return _TimedSocket(context.wrap_socket(self._connection, server_hostname=host), self._deadline)

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(self._deadline.left_s())
        self._connection.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_TimedReader(self))

    def receive_into(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.left_s())
        return self._connection.recv_into(buffer)

    def release(self) -> None:
        """A file that was made of it is closed."""
        self._readers -= 1
        if self._is_closed and not self._readers:
            self._connection.close()

    def close(self) -> None:
        """Files made of it can still be read."""
        self._is_closed = True
        if not self._readers:
            self._connection.close()


class _TimedReader(io.RawIOBase):
    """What a socket receives."""

    def __init__(self, source: _TimedSocket):
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._source.receive_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._source.release()
        super().close()
