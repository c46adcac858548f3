"""Pictures that a query names by their address, fetched from servers that may do anything."""

import base64
import tempfile
import urllib.request
from functools import partial
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from rclip._version import __version__
from rclip.deadlines import TOO_LONG, Deadline, TimedConnection, TimedSecureConnection
from rclip.errors import FetchFailed, plain_reason, without_passwords

MAX_BYTES = 256 << 20
TIMEOUT_S = 30.0
"""For the whole of it, from the name's look-up to the last byte, redirects included."""

_CHUNK_BYTES = 1 << 16
_MOST_REASON = 200
_LEFT_OUT = str.maketrans("", "", "\t\r\n")
_KEPT_IN_PATH = "!$%&'()*+,-./:;=@[]^_|~"
_KEPT_IN_QUERY = _KEPT_IN_PATH.replace("'", "") + "?\\`{}"


def fetch(url: str, max_bytes: int = MAX_BYTES, timeout_s: float = TIMEOUT_S) -> BinaryIO:
    """The bytes at an http or https address, in a file without a name, at their beginning; the caller closes it.

    A name and a password in the address are sent to its server alone. Raises `FetchFailed` when there are more than
    `max_bytes`, when it takes longer than `timeout_s`, when a redirect leads to another scheme or from https to http,
    and when the server will not have it.
    """
    deadline = Deadline(timeout_s)
    target = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with _opener(deadline).open(_request(url), timeout=timeout_s) as source:
            _copy(source, target, max_bytes)
    except (OSError, HTTPException, ValueError) as error:
        target.close()
        cause = getattr(error, "reason", None) or error
        reason = TOO_LONG if isinstance(cause, TimeoutError) else plain_reason(cause)[:_MOST_REASON]
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


def _opener(deadline: Deadline) -> urllib.request.OpenerDirector:
    """One whose every wait ends in time."""

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(partial(TimedConnection, deadline=deadline), req)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> Any:
            return self.do_open(partial(TimedSecureConnection, deadline=deadline), req)

    return urllib.request.build_opener(_Redirects, PlainHandler, SecureHandler)
