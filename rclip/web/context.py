"""What the routes share."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from rclip.explore import Explorer, SearchRequest
from rclip.explore.request import FILTER_FIELDS
from rclip.explore.target_folder import IsTarget, any_folder

PAGE_PHOTOS = 50
MAX_PAGE_PHOTOS = 500

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


class Allowed(NamedTuple):
    """What the page may do beside looking."""

    copy_to: str = ""
    """The folder that photos may be copied to; empty for none."""
    is_copy_to: IsTarget = any_folder
    """Whether a folder is that one, and none that has taken its place since."""
    reveal: bool = False
    """Whether the file manager of this machine may be asked to show a photo."""


class StaticFile:
    """A file that comes with rclip."""

    def __init__(self, content: bytes, kind: str):
        self.content = content
        self.kind = kind
        self.version = hashlib.blake2b(content, digest_size=6).hexdigest()
        """Part of its address, so that a browser may keep it."""


class Context(NamedTuple):
    """What the routes share. Each kind of work has threads of its own, so that none waits for all of another."""

    explorer: Explorer
    allowed: Allowed
    static: dict[str, StaticFile]
    searches: CapacityLimiter
    lookups: CapacityLimiter
    copies: CapacityLimiter
    thumbnails: CapacityLimiter
    is_ending: Callable[[], bool]


def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def in_thread(
    limiter: CapacityLimiter,
    work: Callable[Parameters, Answer],
    /,
    *arguments: Parameters.args,
    **keywords: Parameters.kwargs,
) -> Answer:
    return await to_thread.run_sync(partial(work, *arguments, **keywords), limiter=limiter)


class Asked(NamedTuple):
    """A request for photos, and which of them."""

    request: SearchRequest
    page: int
    """From 1."""
    size: int
    """Photos of a page."""

    @property
    def start(self) -> int:
        return (self.page - 1) * self.size


def asked_of(request: Request) -> Asked:
    """From an address. Several `q` are terms of one query, each with its sign before it or none."""
    parameters = request.query_params
    lines = [line for given in parameters.getlist("q") if (line := given.strip())]
    query = " ".join([*lines[:1], *(line if line[:2] in ("+ ", "- ") else f"+ {line}" for line in lines[1:])])
    asked = SearchRequest.of(query, {name: parameters[name] for name in FILTER_FIELDS if name in parameters})
    return Asked(
        asked,
        page=_number(parameters.get("page"), 1, 1_000_000),
        size=_number(parameters.get("count"), PAGE_PHOTOS, MAX_PAGE_PHOTOS),
    )


def _number(text: str | None, default: int, highest: int) -> int:
    is_number = text is not None and text.isascii() and text.isdigit() and 0 < len(text) < 8
    return min(max(int(text or 0), 1), highest) if is_number else default
