"""A Chroma server, by its HTTP API.

The API is spoken here and not by the package chromadb-client: that would bring 60 MB, waits for ever for an answer of
any length, and reads settings from a `.env` in the current folder, which may be a folder of anybody's photos.
"""

import base64
import json
import os
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from rclip._version import __version__
from rclip.deadlines import Deadline, TimedConnection, TimedSecureConnection
from rclip.errors import (
    ChromaUnreachable,
    PasswordInAddress,
    ServerFailed,
    UnknownDatabase,
    UnprotectedToken,
    plain_reason,
    without_passwords,
)
from rclip.vectordb.limits import time_limit_s, too_long
from rclip.vectordb.rows import Unsound

MOST_BYTES = 256 << 20
"""Of an answer."""

API_KEY = "CHROMA_API_KEY"
"""Is sent as `X-Chroma-Token`."""
CREDENTIALS = "CHROMA_CLIENT_AUTH_CREDENTIALS"
"""Are sent as `Authorization`: a token or, with a colon, a name and a password."""

_CHUNK_BYTES = 1 << 16
_MOST_REASON = 300
_PORTS = {"chroma+http": 8000, "chroma+https": 443}
_DEFAULTS = {"tenant": "default_tenant", "database": "default_database", "collection": "rclip_photos"}
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_REFUSALS = {401, 403}


def options(query: str, url: str, names: dict[str, str] = _DEFAULTS) -> dict[str, str]:
    """What an address says after its question mark. Raises `UnknownDatabase`."""
    try:
        given = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=len(names))
    except ValueError:
        raise UnknownDatabase(url=url) from None
    if not given.keys() <= names.keys() or any(values != values[-1:] or not values[0] for values in given.values()):
        raise UnknownDatabase(url=url)
    return names | {name: values[0] for name, values in given.items()}


class Server:
    """One collection of a server. Each request has a connection of its own, and a time limit."""

    def __init__(self, url: str):
        """Raises `UsageError`."""
        self.url = without_passwords(url)
        try:
            scheme, netloc, path, query, fragment = urlsplit(url)
            if "@" in netloc:  # a list of processes shows it to everybody
                raise PasswordInAddress
            parts = urlsplit(f"//{netloc}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise UnknownDatabase(url=self.url) from None
        if not host or path.strip("/") or fragment or scheme not in _PORTS:
            raise UnknownDatabase(url=self.url)
        chosen = options(query, self.url)
        self._host, self._port, self._is_secure = host, port or _PORTS[scheme], scheme == "chroma+https"
        self._name = chosen["collection"]
        database = [quote(chosen[name], safe="") for name in ("tenant", "database")]
        self._collections = "/api/v2/tenants/{}/databases/{}/collections".format(*database)
        self._id = ""

    def find(self) -> dict[str, Any] | None:
        """What the server says of the collection; None where there is none."""
        found = self._request("GET", f"{self._collections}/{quote(self._name, safe='')}", is_optional=True)
        if found is None:
            return None
        if type(found) is not dict or type(found.get("id")) is not str:
            raise Unsound("a collection")
        self._id = quote(found["id"], safe="")
        return found

    def create(self, metadata: dict[str, Any], configuration: dict[str, Any]) -> None:
        """Where there is one already, nothing is changed."""
        body = {"name": self._name, "metadata": metadata, "configuration": configuration, "get_or_create": False}
        self._request("POST", self._collections, body, accepted=(409,))

    def call(self, name: str, body: dict[str, Any]) -> Any:
        """`get`, `query`, `upsert`, `delete` or `count` of the collection."""
        path = f"{self._collections}/{self._id}/{name}"
        return self._request("GET", path) if name == "count" else self._request("POST", path, body)

    def close(self) -> None:
        pass

    def _request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        is_optional: bool = False,
        accepted: tuple[int, ...] = (),
    ) -> Any:
        """The answer's JSON; None for what is not there, where that `is_optional`, and for a status accepted."""
        headers, limit_s = self._headers(), time_limit_s()
        try:
            with closing(self._connection(Deadline(limit_s))) as connection:
                connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
                response = connection.getresponse()
                status, answer = response.status, _content(response)
        except TimeoutError:
            raise ServerFailed(url=self.url, reason=too_long(limit_s)) from None
        except (OSError, HTTPException) as error:
            raise ServerFailed(url=self.url, reason=self._without_secrets(plain_reason(error))) from None
        if status in accepted or (status == 404 and is_optional):
            return None
        if status in _REFUSALS:
            raise ChromaUnreachable(url=self.url, reason=f"HTTP {status}: {self._reason(answer)}")
        if status != 200 and status != 201:
            raise ServerFailed(url=self.url, reason=f"HTTP {status}: {self._reason(answer)}")
        return _parsed(answer)

    def _connection(self, deadline: Deadline) -> HTTPConnection:
        kind = TimedSecureConnection if self._is_secure else TimedConnection
        connection = kind(self._host, self._port, deadline=deadline)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise ChromaUnreachable(url=self.url, reason=plain_reason(error)) from None
        return connection

    def _headers(self) -> dict[str, str]:
        """Raises `UnprotectedToken` where others could read a token on its way."""
        headers = {"Content-Type": "application/json", "User-Agent": f"rclip/{__version__}", "Connection": "close"}
        secrets = _secrets()
        if secrets and not self._is_secure and self._host not in _LOOPBACK:
            raise UnprotectedToken(url=self.url, variable=next(iter(secrets)))
        if API_KEY in secrets:
            headers["X-Chroma-Token"] = secrets[API_KEY]
        if CREDENTIALS in secrets:
            secret = secrets[CREDENTIALS]
            basic = f"Basic {base64.b64encode(secret.encode()).decode()}"
            headers["Authorization"] = basic if ":" in secret else f"Bearer {secret}"
        return headers

    def _reason(self, answer: bytes) -> str:
        """What the server says is wrong, in one line."""
        said = answer[:4096].decode("utf-8", "replace")
        try:
            message = json.loads(answer)["message"]
            said = message if type(message) is str else said
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        return self._without_secrets(" ".join(said.split()))[:_MOST_REASON]

    def _without_secrets(self, text: str) -> str:
        """A hostile server may say again what it was sent."""
        for secret in _secrets().values():
            for part in (secret, base64.b64encode(secret.encode()).decode(), *secret.split(":", 1)):
                text = text.replace(part, "…") if part else text
        return without_passwords(text)


def _secrets() -> dict[str, str]:
    """By the names of their variables, in characters that a header may have."""
    given = {name: os.environ.get(name, "").strip() for name in (API_KEY, CREDENTIALS)}
    return {name: secret for name, secret in given.items() if secret and secret.isascii() and secret.isprintable()}


def _content(response: HTTPResponse) -> bytes:
    parts, left = [], MOST_BYTES
    while part := response.read1(_CHUNK_BYTES):
        left -= len(part)
        if left < 0:
            raise Unsound(f"an answer of more than {MOST_BYTES >> 20} MB")
        parts.append(part)
    if response.length:  # the connection was cut
        raise ConnectionResetError("the answer has no end")
    return b"".join(parts)


def _parsed(answer: bytes) -> Any:
    """Raises `Unsound`."""
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise Unsound("no JSON") from None
