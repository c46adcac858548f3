"""Who may ask the server, and what a browser may do with its answers.

- A random token, in the address that is printed, becomes a cookie that no script and no other site gets to use.
- Only requests to the server's own names are answered: a page of somebody else's whose name is made to mean this
  machine (DNS rebinding) has another name.
- What changes something must come from the page itself. Another port of this machine is the same site to a browser,
  and so gets the cookie sent, but is another origin. Other pages may lead to this one, and have nothing fetched here.
- The page may load nothing from elsewhere, run no script that is written into it, and be put into no frame.
"""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Sequence
from contextlib import suppress

from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PUBLIC = "/static/"
"""What lies there is the same for all, and says nothing of the photos."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

REFUSED = "this page needs the whole address that rclip has printed, with its token"


class Access:
    """The names and secrets of one running server."""

    def __init__(self, host: str, port: int, names: Sequence[str] = ()):
        """`host` is the address it listens at, `names` those by which others may reach it there."""
        self.token = secrets.token_urlsafe(24)
        self.cookie_name = f"rclip-{port}"  # cookies are those of a host, whatever the port
        self.cookie = hashlib.blake2b(self.token.encode(), person=b"rclip cookie").hexdigest()
        self._port = port
        self._is_loopback = is_loopback(host)
        self._names = {"localhost", *map(str.lower, names)} if self._is_loopback else {*map(str.lower, names)}

    def address(self, host: str) -> str:
        """What is to be opened."""
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}/?token={self.token}"

    def knows_host(self, header: str) -> bool:
        """Whether a `Host` header names this server. A bare address cannot be made to mean another one."""
        url = URL(f"http://{header}/")
        try:
            host, port = url.hostname or "", url.port or 80
        except ValueError:
            return False
        if port != self._port or url.username or url.netloc != header or not host:
            return False
        with suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback or not self._is_loopback
        return host in self._names

    def is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())

    def is_cookie(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.cookie.encode())


def is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


class Guard:
    """Lets through what may be asked, and writes the headers that say what a browser may do."""

    def __init__(self, app: ASGIApp, access: Access):
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["nonce"] = nonce = secrets.token_urlsafe(12)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = _POLICY.format(nonce=nonce)
                headers.update(_HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """The answer to what may not be asked, or to the token; None for everything else."""
        if not self._access.knows_host(request.headers.get("host", "")):
            return PlainTextResponse("this server has another name", 421)
        if request.method not in ("GET", "HEAD") and not self._is_from_page(request.headers):
            return _error("a request that changes something must come from the page itself", request)
        if self._is_embedded(request.headers):
            return _error("another page may lead here, but not ask", request)
        token = request.query_params.get("token")
        if token is not None and request.method == "GET" and self._access.is_token(token):
            return self._with_cookie(request)
        if request.url.path.startswith(PUBLIC) or self._is_known(request):
            return None
        return _error(REFUSED, request)

    def _is_known(self, request: Request) -> bool:
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._access.is_token(bearer.strip()):
            return True
        return self._access.is_cookie(request.cookies.get(self._access.cookie_name, ""))

    def _is_from_page(self, headers: Headers) -> bool:
        """What no browser sends has no origin."""
        site, origin = headers.get("sec-fetch-site", "same-origin"), headers.get("origin")
        return site == "same-origin" and origin in (None, f"http://{headers.get('host')}")

    def _is_embedded(self, headers: Headers) -> bool:
        """Whether another site, or another port of this machine, has a part of its page fetched here.

        It would not see the answer, but could have the server work, and fetch pictures from the web.
        """
        is_elsewhere = headers.get("sec-fetch-site") in ("same-site", "cross-site")
        return is_elsewhere and headers.get("sec-fetch-mode") != "navigate"

    def _with_cookie(self, request: Request) -> Response:
        left = request.url.remove_query_params("token")
        response = RedirectResponse(left.path + (f"?{left.query}" if left.query else ""), 303)
        response.set_cookie(self._access.cookie_name, self._access.cookie, httponly=True, samesite="strict", path="/")
        return response


def _error(problem: str, request: Request) -> Response:
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": problem}, 403)
    return PlainTextResponse(f"{problem}\n", 403)
