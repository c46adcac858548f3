"""HTTP as uvicorn speaks it, but that no connection is held by somebody who says nothing, or never ends."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S = 10.0
"""From a connection, or the first byte of a request, to the last of its head."""


class Protocol(H11Protocol):
    """Closes a connection whose next request takes too long to come, byte by byte or not at all.

    uvicorn itself ends only those that are silent after an answer; each of the others would keep its place for ever.
    What a route reads of a body has a limit of its own.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limit_wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._limit_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_limit()
        super().connection_lost(exc)

    def _limit_wait(self) -> None:
        """Bytes that come do not begin it again; a request does, and ends it."""
        if self.cycle and not self.cycle.response_complete:
            self._end_limit()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.abort)

    def _end_limit(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
