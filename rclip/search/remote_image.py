"""Pictures that a query names by their address."""

import tempfile
import time
import urllib.request
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, BinaryIO
from urllib.parse import unquote, urlsplit

from rclip._version import __version__
from rclip.errors import FetchFailed, plain_reason

MAX_BYTES = 256 << 20
TIMEOUT_S = 30.0
"""For the whole of it. A server that sends a byte now and then would pass any limit on the single read."""

_CHUNK_BYTES = 1 << 16
_SCHEMES = ("http", "https")


def fetch(url: str, max_bytes: int = MAX_BYTES, timeout_s: float = TIMEOUT_S) -> BinaryIO:
    """The bytes at an http or https address, in a file without a name, at their beginning; the caller closes it.

    Raises `FetchFailed` when there are more than `max_bytes`, when it takes longer than `timeout_s`, when a redirect
    leads to another scheme, and when the server will not have it.
    """
    deadline = time.monotonic() + timeout_s
    target = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        request = urllib.request.Request(url, headers={"User-Agent": f"rclip/{__version__}"})  # noqa: S310 - see `Link`
        with urllib.request.build_opener(_Redirects).open(request, timeout=timeout_s) as source:
            _copy(source, target, max_bytes, deadline)
    except (OSError, HTTPException, ValueError) as error:
        target.close()
        raise FetchFailed(url=url, reason=plain_reason(getattr(error, "reason", None) or error)) from error
    target.seek(0)
    return target


def path_of(url: str) -> str:
    """The part of an address that looks like a file's path."""
    return unquote(urlsplit(url).path)


def _copy(source: HTTPResponse, target: BinaryIO, max_bytes: int, deadline: float) -> None:
    left = max_bytes
    while chunk := source.read1(_CHUNK_BYTES):
        left -= len(chunk)
        if left < 0:
            raise ValueError(f"it is larger than {max_bytes >> 20} MB")
        if time.monotonic() > deadline:
            raise TimeoutError("it takes too long")
        target.write(chunk)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """urllib would follow to FTP, too."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in _SCHEMES:
            raise ValueError(f"it leads to another kind of address ({newurl})")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
