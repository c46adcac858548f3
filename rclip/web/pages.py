"""The pages for people. Each works without JavaScript; with it, only the parts that change are asked for."""

import os
import secrets
from functools import cache, partial
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from rclip.errors import UsageError
from rclip.explore import AskedTerm, Explorer, Results, SearchRequest
from rclip.search.facets import Facets
from rclip.search.hits import Hit, absolute, captured_from, copies_told
from rclip.web.addresses import Address
from rclip.web.api import shown, state_as_json
from rclip.web.context import Asked, Context, asked_of, context_of, in_thread

_RUN = secrets.token_urlsafe(6)
"""Part of the addresses of thumbnails: those of another index, or another run, are others."""

_FILTER_NAMES = {
    "after": "from",
    "before": "before",
    "near": "near",
    "camera": "camera",
    "types": "type",
    "rating": "rating",
    "keywords": "keywords",
    "text": "words",
    "lens": "lens",
    "size": "size",
    "orientation": "orientation",
    "folder": "folder",
    "paths": "paths",
    "min_score": "score",
    "is_relevant": "only what stands out",
    "fold": "one result from likeness",
    "all": "each copy",
    "sort": "order",
}
_USUAL_RATIO = 4 / 3
_NARROWEST, _WIDEST = 0.4, 3.2
"""Of a photo in the grid; those beyond are cut off there, and whole when they are opened."""


# --- what is shown ----------------------------------------------------------------------------------------------------


class Card(NamedTuple):
    """A photo in the grid."""

    id: str
    address: str
    picture: str
    name: str
    path: str
    ratio: float
    score: str
    date: str
    at: str
    """The time of a film's moment."""
    copies: str
    more: Address
    less: Address


class Chip(NamedTuple):
    """A term of the query."""

    label: str
    picture: str
    is_taken_away: bool
    weight: str
    removed: Address
    turned: Address
    heavier: Address | None
    lighter: Address | None


class Bar(NamedTuple):
    """A year of the histogram."""

    year: int
    photos: int
    height: int
    """Of 100."""
    is_chosen: bool
    address: Address


def _card(hit: Hit, address: Address) -> Card:
    path = shown(absolute(hit.path))
    width, height = hit.metadata.width, hit.metadata.height
    ratio = width / height if width and height else _USUAL_RATIO
    return Card(
        id=hit.id,
        address=address.photo(hit.id),
        picture=_thumbnail(hit.id),
        name=os.path.basename(path),
        path=path,
        ratio=round(min(max(ratio, _NARROWEST), _WIDEST), 4),
        score="" if hit.score is None else f"{hit.score:.3f}",
        date=hit.captured.date().isoformat(),
        at=hit.at,
        copies=copies_told(hit),
        more=address.with_photo(hit.id, 1.0),
        less=address.with_photo(hit.id, -1.0),
    )


def _thumbnail(photo_id: str, side: int = 480) -> str:
    return f"/api/photos/{photo_id}/thumbnail?side={side}&v={_RUN}"


def _chips(explorer: Explorer, address: Address) -> list[Chip]:
    """None for words alone, which stand in the search box."""
    terms = address.terms
    if len(terms) == 1 and terms[0].kind in ("text", "link") and terms[0].weight == 1:
        return []
    return [_chip(explorer, address, number, term) for number, term in enumerate(terms)]


def _chip(explorer: Explorer, address: Address, number: int, term: AskedTerm) -> Chip:
    label, picture = term.value, ""
    if term.kind == "photo":
        found = explorer.photos([term.value])
        label = os.path.basename(shown(found[0].path)) if found else "a photo that is not here any more"
        picture = _thumbnail(term.value) if found else ""
    elif term.kind == "picture":
        label, picture = "your picture", f"/api/pictures/{term.value}/thumbnail?v={_RUN}"
    return Chip(
        label=label,
        picture=picture,
        is_taken_away=term.weight < 0,
        weight="" if abs(term.weight) == 1 else f"{abs(term.weight):g}",
        removed=address.without_term(number),
        turned=address.with_sign_turned(number),
        heavier=address.with_next_weight(number, 1),
        lighter=address.with_next_weight(number, -1),
    )


def _bars(facets: Facets, address: Address) -> list[Bar]:
    """One for each year from the first to the last, where these are not too many; a click on a chosen one frees it."""
    if not facets.years:
        return []
    first, last, most = min(facets.years), max(facets.years), max(facets.years.values())
    years = range(first, last + 1) if last - first < _MOST_BARS else sorted(facets.years)[-_MOST_BARS:]
    bars = []
    for year in years:
        photos = facets.years.get(year, 0)
        period = {"after": f"{year:04}", "before": f"{year + 1:04}"}
        is_chosen = all(address.filters.get(name) == text for name, text in period.items())
        changed = address.with_filter(after="", before="") if is_chosen else address.with_filter(**period)
        bars.append(Bar(year, photos, round(100 * (photos / most) ** 0.5) if photos else 0, is_chosen, changed))
    return bars


_MOST_BARS = 60


def _active(address: Address) -> list[tuple[str, str, Address]]:
    """Each filter that is set: its name, its value, and the address without it."""
    texts = {"is_relevant": "", "all": ""}
    return [
        (_FILTER_NAMES[name], texts.get(name, text), address.with_filter(**{name: ""}))
        for name, text in address.filters.items()
    ]


# --- routes -----------------------------------------------------------------------------------------------------------


async def index(request: Request) -> Response:
    context, asked = context_of(request), asked_of(request)
    return await in_thread(context.searches, _index, request, context, asked)


def _index(request: Request, context: Context, asked: Asked) -> Response:
    explorer = context.explorer
    address, problem, results = _answer(explorer, asked)
    facets = explorer.known_facets()
    values: dict[str, Any] = {
        "asked": asked,
        "address": address,
        "problem": problem,
        "words": address.words if not problem or address.terms else asked.request.query,
        "chips": _chips(explorer, address),
        "active": _active(address),
        "cards": [_card(hit, address) for hit in results.hits],
        "results": results,
        "bars": _bars(facets, address) if facets else [],
        "facets": facets,
        "folders": _folders(facets) if facets else {},
        "first": results.start + 1,
        "last": results.start + len(results.hits),
        "earlier": address.page(asked.page - 1) if asked.page > 1 else "",
        "later": address.page(asked.page + 1) if results.has_more else "",
    }
    is_fragment = request.headers.get("x-fragment") == "1"
    response = _page(request, "_found.html" if is_fragment else "index.html", 400 if problem else 200, **values)
    response.headers["vary"] = "x-fragment"
    return response


def _answer(explorer: Explorer, asked: Asked) -> tuple[Address, str, Results]:
    """Also a problem in one line, with which nothing is found."""
    nothing = Results([], 0, False)
    address = Address((), dict(asked.request.filters))
    try:
        address = Address.of(asked.request)
        return address, "", explorer.search(asked.request, asked.start, asked.size)
    except UsageError as error:
        return address, str(error), nothing


def _folders(facets: Facets) -> dict[str, str]:
    """Whole paths to what is shown of them: the part that they do not have in common."""
    paths = list(facets.folders)
    start = os.path.commonpath(paths) if paths else ""
    start = os.path.dirname(start) if start in paths else start
    return {path: os.path.relpath(path, start) for path in paths}


async def photo(request: Request) -> Response:
    context, asked = context_of(request), asked_of(request)
    return await in_thread(context.lookups, _photo, request, context, asked.request)


def _photo(request: Request, context: Context, asked: SearchRequest) -> Response:
    hit = context.explorer.photo(request.path_params["id"])
    try:
        address = Address.of(asked)
    except UsageError:
        address = Address((), {})
    template = "_photo.html" if request.headers.get("x-fragment") == "1" else "photo.html"
    response = _page(
        request,
        template,
        card=_card(hit, address),
        large=_thumbnail(hit.id, 2048),
        facts=_facts(hit),
        size=_size_in(2048, hit),
        address=address,
        place=_place(hit),
    )
    response.headers["vary"] = "x-fragment"
    return response


def _size_in(side: int, hit: Hit) -> tuple[int, int] | None:
    """Width and height of a picture with that long side, where they are known."""
    width, height = hit.metadata.width, hit.metadata.height
    if not width or not height:
        return None
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _facts(hit: Hit) -> list[tuple[str, str]]:
    known = hit.metadata
    pixels = f"{known.width:,} × {known.height:,}" if known.width and known.height else ""
    facts = {
        "Moment": hit.at,
        "Taken": f"{hit.captured:%A, %d %B %Y, %H:%M}{_ORIGINS[captured_from(hit)]}",
        "Title": known.title,
        "Headline": known.headline,
        "Caption": known.caption,
        "Camera": known.camera,
        "Lens": known.lens,
        "In or near": hit.place,
        "Size": ", ".join(filter(None, [pixels, _bytes(hit.size_bytes)])),
        "Rating": "★" * known.rating if known.rating and known.rating > 0 else "",
        "Keywords": ", ".join(known.keywords),
    }
    copies = [
        ("Same shot" if copy.kind == "pair" else "Copy", shown(absolute(copy.path)))
        for copy in hit.copies[:_MOST_COPIES]
    ]
    return [(name, value) for name, value in facts.items() if value] + copies


_MOST_COPIES = 50


_ORIGINS = {
    "metadata": "",
    "sidecar": " (by its sidecar)",
    "name": " (by the file's name)",
    "file": " (the file's time)",
}


def _place(hit: Hit) -> str:
    if hit.metadata.latitude is None:
        return ""
    return f"{hit.metadata.latitude:.5f},{hit.metadata.longitude:.5f}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


async def status(request: Request) -> Response:
    context = context_of(request)
    return await in_thread(context.lookups, _status, request, context)


def _status(request: Request, context: Context) -> Response:
    stats = context.explorer.library.stats()
    unreadable = [(shown(path), failure.reason) for path, failure in list(stats.unreadable.items())[:_MOST_LISTED]]
    state = state_as_json(context.explorer.updates.state)
    index_size = _bytes(stats.index_bytes)
    return _page(request, "status.html", stats=stats, unreadable=unreadable, state=state, index_size=index_size)


_MOST_LISTED = 1000


async def error_page(request: Request, problem: str, status_code: int) -> Response:
    return _page(request, "error.html", status_code, problem=problem)


async def favicon(request: Request) -> Response:
    file = context_of(request).static["icon.svg"]
    return Response(file.content, media_type=file.kind)


# --- templates --------------------------------------------------------------------------------------------------------


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("rclip.web"), autoescape=True, trim_blocks=True, lstrip_blocks=True, auto_reload=False
    )


def _page(request: Request, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
    context = context_of(request)
    common: dict[str, Any] = {
        "nonce": request.state.nonce,
        "static": partial(_static, context),
        "allowed": context.allowed,
        "where": _where(context.explorer),
        "run": _RUN,
    }
    return HTMLResponse(_templates().get_template(template).render(common | values), status_code)


def _static(context: Context, name: str) -> str:
    return f"/static/{name}?v={context.static[name].version}"


def _where(explorer: Explorer) -> str:
    """The folders that are searched, for the title."""
    return shown(", ".join(explorer.library.folders))


ROUTES = [
    Route("/", index),
    Route("/photos/{id}", photo),
    Route("/status", status),
    Route("/favicon.ico", favicon),
]
