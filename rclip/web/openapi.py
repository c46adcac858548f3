"""The description of `/api/` for programs, in OpenAPI 3.1. A test holds it to the routes."""

from typing import Any

from rclip._version import __version__
from rclip.explore.request import FILTER_FIELDS
from rclip.filters import FILTERS

_HELP = {option.field: option.help for kind in FILTERS for option in kind.options} | {
    "folder": "the absolute path of a folder",
    "paths": "patterns as in .gitignore, one per line",
    "min_score": "minimum score, from -1 to 1",
    "is_relevant": "1: all photos that stand out for this query, or none",
    "fold": "one result for photos so much alike, by cosine; 1, the default: for exact copies and files of one shot",
    "all": "1: a result for each copy",
    "sort": "score, the default; date, the newest first; or path",
}

_TEXT, _NUMBER, _WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_YES_NO = {"type": "boolean"}


def _list_of(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(required: str = "", **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required.split()}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_COUNTS = {"type": "object", "additionalProperties": _WHOLE}
_TIME = {"type": "string", "format": "date-time"}

_SCHEMAS = {
    "Photo": _object(
        "id size modified captured captured_offset captured_from",
        id=_TEXT,
        path=_TEXT | {"description": "absolute"},
        path_b64=_TEXT | {"description": "in its place for a name that is no UTF-8"},
        score=_NUMBER | {"description": "a cosine; missing without a query"},
        rank=_WHOLE
        | {"description": "its place among all that were found, from 1; missing where nothing was searched"},
        at=_TEXT | {"description": "of a video, the time of the moment found: 0:02:05"},
        at_s=_NUMBER | {"description": "the same in seconds"},
        size=_WHOLE,
        modified=_TIME,
        captured=_TEXT | {"description": "ends before the offset where that is not known"},
        captured_offset={"type": ["string", "null"], "description": "as +01:00"},
        captured_from={"enum": ["metadata", "sidecar", "name", "file"]},
        latitude=_NUMBER,
        longitude=_NUMBER,
        place=_TEXT | {"description": "the city that it was taken in or near; needs the extra `places`"},
        camera=_TEXT,
        width=_WHOLE,
        height=_WHOLE,
        keywords=_list_of(_TEXT),
        rating=_WHOLE,
        lens=_TEXT,
        title=_TEXT,
        headline=_TEXT,
        caption=_TEXT,
        copies=_list_of(
            _object("kind size", path=_TEXT, path_b64=_TEXT, kind={"enum": ["exact", "pair", "alike"]}, size=_WHOLE)
        )
        | {"description": "photos that are part of the result"},
    ),
    "Results": _object(
        "query terms filters page start has_more photos seconds",
        query=_TEXT,
        terms=_list_of(
            _object(
                "weight kind value",
                weight=_NUMBER,
                kind={"enum": ["text", "photo", "picture", "link"]},
                value=_TEXT,
            )
        ),
        filters={"type": "object", "additionalProperties": _TEXT},
        page=_WHOLE,
        start=_WHOLE,
        has_more=_YES_NO,
        photos=_list_of(_ref("Photo")),
        seconds=_NUMBER,
    ),
    "Stats": _object(
        "photos missing unreadable model index_bytes",
        photos=_WHOLE,
        missing=_WHOLE,
        unreadable=_list_of(_object("path reason", path=_TEXT, reason=_TEXT)),
        model=_TEXT,
        index_bytes=_WHOLE,
    ),
    "Facets": _object(
        "photos years cameras types folders keywords ratings",
        photos=_WHOLE,
        years=_COUNTS,
        cameras=_COUNTS,
        types=_COUNTS,
        folders=_COUNTS,
        keywords=_COUNTS,
        ratings=_COUNTS,
    ),
    "UpdateState": _object(
        "number is_running stage done total rate changes error",
        number=_WHOLE,
        is_running=_YES_NO,
        stage=_TEXT,
        done=_WHOLE,
        total={"type": ["integer", "null"]},
        rate=_NUMBER,
        changes=_COUNTS,
        error={"type": ["string", "null"]},
    ),
    "Copied": _object(
        "copied failed",
        copied=_list_of(_TEXT),
        failed=_list_of(_object("path reason", path=_TEXT, reason=_TEXT)),
    ),
    "Error": _object("error", error=_TEXT),
}

_IDS = {"ids": _list_of(_TEXT)}
_ID = {"name": "id", "in": "path", "required": True, "schema": _TEXT}


def _parameter(name: str, help_text: str, schema: dict[str, Any] = _TEXT) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": help_text, "schema": schema}


_PAGED = [_parameter("page", "from 1", _WHOLE), _parameter("count", "photos of a page, at most 500", _WHOLE)]
_FILTERS = [_parameter(name, _HELP[name]) for name in FILTER_FIELDS]
_QUERY = _parameter(
    "q", "`horse + 0.5:stripes - photo:0-17`: words, photos and pictures with signs and weights; repeatable",
    _list_of(_TEXT),
)  # fmt: skip


def _answer(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"description": "the answer", "content": {media_type: {"schema": schema}}}


def _operation(summary: str, answer: dict[str, Any], status: int = 200, **more: Any) -> dict[str, Any]:
    refused = {"description": "what is wrong, in one line"} | {
        "content": {"application/json": {"schema": _ref("Error")}}
    }
    return {"summary": summary, "responses": {str(status): answer, "4XX": refused}} | more


def _body(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema}}}


_JPEG = _answer({"type": "string", "contentMediaType": "image/jpeg"}, "image/jpeg")
_NOTHING = {"description": "done"}


def document() -> dict[str, Any]:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "rclip", "version": __version__, "description": "Find photos by what they show."},
        "security": [{"cookie": []}, {"bearer": []}],
        "paths": {
            "/api/search": {
                "get": _operation(
                    "photos found, best first; without a query the newest first",
                    _answer(_ref("Results")),
                    parameters=[_QUERY, *_FILTERS, *_PAGED],
                )
            },
            "/api/similar/{id}": {
                "get": _operation(
                    "photos like this one", _answer(_ref("Results")), parameters=[_ID, *_FILTERS, *_PAGED]
                )
            },
            "/api/photos/{id}": {
                "get": _operation("what is known of a photo", _answer(_ref("Photo")), parameters=[_ID])
            },
            "/api/photos/{id}/thumbnail": {
                "get": _operation(
                    "a small picture of a photo",
                    _JPEG,
                    parameters=[_ID, _parameter("side", "of the long side in pixels", {"enum": [480, 2048]})],
                )
            },
            "/api/photos/{id}/reveal": {
                "post": _operation("shows it in the file manager of the server", _NOTHING, 204, parameters=[_ID])
            },
            "/api/pictures": {
                "post": _operation(
                    "a picture to ask with: the bytes of its file, at most 64 MiB",
                    _answer(_object("id term", id=_TEXT, term=_TEXT)),
                    201,
                    requestBody=_body({"type": "string", "format": "binary"}, "application/octet-stream"),
                )
            },
            "/api/pictures/{id}/thumbnail": {"get": _operation("a small picture of it", _JPEG, parameters=[_ID])},
            "/api/selection": {
                "post": _operation(
                    "the list of these photos as a file",
                    _answer(_TEXT, "text/plain"),
                    requestBody=_body(_object("ids", **_IDS, format={"enum": ["text", "csv", "json"]})),
                )
            },
            "/api/copy": {
                "post": _operation(
                    "copies photos into the folder that was allowed for it",
                    _answer(_ref("Copied")),
                    requestBody=_body(_object("ids", **_IDS)),
                )
            },
            "/api/stats": {"get": _operation("what is indexed", _answer(_ref("Stats")))},
            "/api/facets": {"get": _operation("what filters can choose from", _answer(_ref("Facets")))},
            "/api/update": {
                "post": _operation("looks for new photos", _answer(_object("is_started", is_started=_YES_NO)), 202)
            },
            "/api/events": {
                "get": _operation(
                    "states of updates, as server-sent events", _answer(_ref("UpdateState"), "text/event-stream")
                )
            },
            "/api/openapi.json": {"get": _operation("this document", _answer({"type": "object"}))},
        },
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "cookie": {"type": "apiKey", "in": "cookie", "name": "rclip-PORT"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "the token of the printed address"},
            },
        },
    }
