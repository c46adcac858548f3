"""`/api/`: the same search for programs; photos are the objects that the command writes as JSON, with their ids."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rclip import desktop
from rclip.errors import UsageError
from rclip.explore import AskedTerm, Results, UpdateState, listing
from rclip.search.hits import Hit, absolute, as_json
from rclip.web import openapi
from rclip.web.context import Asked, Context, asked_of, context_of, in_thread
from rclip.web.security import is_loopback

MAX_UPLOAD_BYTES = 64 << 20
_MAX_JSON_BYTES = 1 << 20
_BODY_TIMEOUT_S = 60.0
_MAX_SELECTED = 10_000

_SELECTIONS = {
    "text": ("photos.txt", "text/plain"),
    "csv": ("photos.csv", "text/csv"),
    "json": ("photos.json", "application/json"),
}
"""Names of files and media types, by the formats that a request may ask for."""

_POLL_S = 0.2
_SILENCE_S = 15.0
"""After so long without news, a line says that the connection is alive."""


# --- searching --------------------------------------------------------------------------------------------------------


async def search(request: Request) -> Response:
    return await _found(context_of(request), asked_of(request))


async def similar(request: Request) -> Response:
    asked = asked_of(request)
    like = [AskedTerm(1.0, "photo", request.path_params["id"])]
    return await _found(context_of(request), asked._replace(request=asked.request.with_terms(like)))


async def _found(context: Context, asked: Asked) -> Response:
    started_s = time.perf_counter()
    results = await in_thread(context.searches, context.explorer.search, asked.request, asked.start, asked.size)
    return JSONResponse(_results_as_json(asked, results) | {"seconds": round(time.perf_counter() - started_s, 6)})


def _results_as_json(asked: Asked, results: Results) -> dict[str, Any]:
    return {
        "query": asked.request.query,
        "terms": [term._asdict() for term in asked.request.terms],
        "filters": dict(asked.request.filters),
        "page": asked.page,
        "start": results.start,
        "has_more": results.has_more,
        "photos": [photo_as_json(hit) for hit in results.hits],
    }


def photo_as_json(hit: Hit) -> dict[str, object]:
    return {"id": hit.id, **as_json(hit)}


# --- single photos ----------------------------------------------------------------------------------------------------


async def photo(request: Request) -> Response:
    context = context_of(request)
    found = await in_thread(context.lookups, context.explorer.photo, request.path_params["id"])
    return JSONResponse(photo_as_json(found))


async def thumbnail(request: Request) -> Response:
    context = context_of(request)
    side = {"": 480, "480": 480, "2048": 2048}.get(request.query_params.get("side", ""))
    if side is None:
        raise UsageError("side must be 480 or 2048")
    made = await in_thread(context.thumbnails, context.explorer.thumbnail, request.path_params["id"], side)
    return _jpeg(made, request)


async def picture_thumbnail(request: Request) -> Response:
    context = context_of(request)
    made = await in_thread(context.lookups, context.explorer.picture_thumbnail, request.path_params["id"])
    return _jpeg(made, request)


def _jpeg(content: bytes, request: Request) -> Response:
    """An address with a `v` is of one run of the server, and of bytes that do not change under their id."""
    kept = "private, max-age=86400, immutable" if "v" in request.query_params else "no-cache"
    return Response(content, media_type="image/jpeg", headers={"cache-control": kept})


async def reveal(request: Request) -> Response:
    context = context_of(request)
    client = request.client.host if request.client else ""
    if not context.allowed.reveal or not is_loopback(client):
        return JSONResponse({"error": "only a page on the desktop of this machine can show a photo's folder"}, 403)
    found = await in_thread(context.lookups, context.explorer.photo, request.path_params["id"])
    await in_thread(context.lookups, desktop.reveal, absolute(found.path))
    return Response(status_code=204)


# --- pictures to ask with ---------------------------------------------------------------------------------------------


async def add_picture(request: Request) -> Response:
    context = context_of(request)
    data = await _body(request, MAX_UPLOAD_BYTES)
    if data is None:
        return _too_large(MAX_UPLOAD_BYTES)
    picture_id = await in_thread(context.thumbnails, context.explorer.add_picture, data)
    return JSONResponse({"id": picture_id, "term": f"picture:{picture_id}"}, 201)


async def _body(request: Request, most: int) -> bytes | None:
    """None for more bytes than that. A sender that is too slow is given up."""
    if int(request.headers.get("content-length", "0") or 0) > most:
        return None
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    return None
    except (TimeoutError, ClientDisconnect):
        raise UsageError("the request was not received whole") from None
    return bytes(body)


def _too_large(most: int) -> Response:
    return JSONResponse({"error": f"more than {most >> 20} MiB"}, 413, headers={"connection": "close"})


# --- selected photos --------------------------------------------------------------------------------------------------


async def selection(request: Request) -> Response:
    context = context_of(request)
    asked = await _json(request)
    kind = asked.get("format", "text")
    if not isinstance(kind, str) or kind not in _SELECTIONS:
        raise UsageError(f"format must be one of {', '.join(_SELECTIONS)}")
    hits = await in_thread(context.lookups, context.explorer.photos, _ids(asked))
    name, media_type = _SELECTIONS[kind]
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(listing.written(hits, os.path.splitext(name)[1]), media_type=media_type, headers=headers)


async def copy(request: Request) -> Response:
    context = context_of(request)
    if not context.allowed.copy_to:
        return JSONResponse(
            {"error": "photos are not copied here: no folder was allowed for it when rclip was started"}, 403
        )
    ids = _ids(await _json(request))
    copied = await in_thread(
        context.copies, context.explorer.copy, ids, context.allowed.copy_to, context.allowed.is_copy_to
    )
    failed = [{"path": shown(path), "reason": reason} for path, reason in copied.failed]
    return JSONResponse({"copied": [shown(path) for path in copied.paths], "failed": failed})


async def _json(request: Request) -> dict[str, Any]:
    data = await _body(request, _MAX_JSON_BYTES)
    try:
        asked = json.loads(data or b"")
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise UsageError("the request must be a JSON object, of a megabyte at most")
    return asked


def _ids(asked: dict[str, Any]) -> list[str]:
    ids = asked.get("ids")
    if not isinstance(ids, list) or len(ids) > _MAX_SELECTED or not all(isinstance(each, str) for each in ids):
        raise UsageError(f"ids must be a list of at most {_MAX_SELECTED:,} ids of photos")
    return ids


def shown(path: str) -> str:
    """A path as text that can be encoded."""
    return path.encode(errors="surrogateescape").decode(errors="replace")


# --- the index --------------------------------------------------------------------------------------------------------


async def stats(request: Request) -> Response:
    context = context_of(request)
    found = await in_thread(context.lookups, context.explorer.library.stats)
    unreadable = [{"path": shown(path), "reason": failure.reason} for path, failure in found.unreadable.items()]
    return JSONResponse(
        {
            "photos": found.photos,
            "missing": found.missing,
            "unreadable": unreadable,
            "model": found.model,
            "index_bytes": found.index_bytes,
        }
    )


async def facets(request: Request) -> Response:
    context = context_of(request)
    found = await in_thread(context.searches, context.explorer.facets)
    return JSONResponse(found._asdict())


async def update(request: Request) -> Response:
    is_new = context_of(request).explorer.updates.start()
    return JSONResponse({"is_started": is_new}, 202)


async def events(request: Request) -> Response:
    """The states of updates as server-sent events, the present one first."""
    context = context_of(request)
    return StreamingResponse(_states(context), media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def _states(context: Context) -> AsyncIterator[str]:
    number, silent_s = -1, 0.0
    while not context.is_ending():
        state = context.explorer.updates.state
        if state.number != number:
            number, silent_s = state.number, 0.0
            yield f"data: {json.dumps(state_as_json(state))}\n\n"
        elif silent_s >= _SILENCE_S:
            silent_s = 0.0
            yield ": alive\n\n"
        await asyncio.sleep(_POLL_S)
        silent_s += _POLL_S


def state_as_json(state: UpdateState) -> dict[str, Any]:
    return state._asdict() | {"error": str(state.error) if state.error else None, "rate": round(state.rate, 1)}


async def document(request: Request) -> Response:
    return JSONResponse(openapi.document())


Endpoint = Callable[[Request], Any]


def _route(path: str, endpoint: Endpoint, method: str = "GET") -> Route:
    return Route(f"/api{path}", endpoint, methods=[method])


ROUTES = [
    _route("/search", search),
    _route("/similar/{id}", similar),
    _route("/photos/{id}", photo),
    _route("/photos/{id}/thumbnail", thumbnail),
    _route("/photos/{id}/reveal", reveal, "POST"),
    _route("/pictures", add_picture, "POST"),
    _route("/pictures/{id}/thumbnail", picture_thumbnail),
    _route("/selection", selection, "POST"),
    _route("/copy", copy, "POST"),
    _route("/stats", stats),
    _route("/facets", facets),
    _route("/update", update, "POST"),
    _route("/events", events),
    _route("/openapi.json", document),
]
