"""The routes: pages for people, and `/api/` for programs."""

from functools import partial
from importlib import resources
from typing import NamedTuple

from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rclip.errors import NoPicture, RclipError, StoreError, UnknownPhoto
from rclip.explore import Explorer
from rclip.web import api, pages
from rclip.web.context import Allowed, Context, StaticFile
from rclip.web.security import PUBLIC, Access, Guard

__all__ = ["Allowed", "make_app"]

_KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class _Limits(NamedTuple):
    searches: int = 8
    lookups: int = 16
    copies: int = 1
    """One waits for the other, and nothing else for them."""
    thumbnails: int = 8


def make_app(explorer: Explorer, access: Access, allowed: Allowed) -> Starlette:
    """The application that answers requests about the photos of an explorer."""
    app = Starlette(
        routes=[*pages.ROUTES, *api.ROUTES, Route(PUBLIC + "{name}", static)],
        middleware=[Middleware(Guard, access=access)],
        exception_handlers={RclipError: answer_error, Exception: answer_fault},
    )
    limits = _Limits()
    app.state.is_ending = False
    app.state.context = Context(
        explorer=explorer,
        allowed=allowed,
        static=static_files(),
        searches=CapacityLimiter(limits.searches),
        lookups=CapacityLimiter(limits.lookups),
        copies=CapacityLimiter(limits.copies),
        thumbnails=CapacityLimiter(limits.thumbnails),
        is_ending=partial(getattr, app.state, "is_ending"),
    )
    return app


def static_files() -> dict[str, StaticFile]:
    """All there are, so that no name in a request is one of the file system."""
    folder = resources.files("rclip.web") / "static"
    found = ((file.name, file.read_bytes()) for file in folder.iterdir())
    return {name: StaticFile(content, _KINDS[name.rpartition(".")[2]]) for name, content in found}


async def static(request: Request) -> Response:
    context: Context = request.app.state.context
    file = context.static.get(request.path_params["name"])
    if file is None:
        return Response("there is no such file", 404, media_type="text/plain")
    is_named = request.query_params.get("v") == file.version
    kept = "public, max-age=31536000, immutable" if is_named else "no-cache"
    return Response(file.content, media_type=file.kind, headers={"cache-control": kept})


def status_of(error: RclipError) -> int:
    if isinstance(error, UnknownPhoto | NoPicture):
        return 404
    return 503 if isinstance(error, StoreError) else 400


async def answer_error(request: Request, error: Exception) -> Response:
    """What the user can act on, in one line."""
    assert isinstance(error, RclipError)
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": str(error)}, status_of(error))
    return await pages.error_page(request, str(error), status_of(error))


async def answer_fault(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"a fault of rclip itself ({type(error).__name__})"}, 500)
