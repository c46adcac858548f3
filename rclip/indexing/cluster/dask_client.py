"""Dask's client, but one that does not wait for ever for a program that takes its connection and says nothing."""

from contextlib import suppress
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import Client

_CLOSED_WITHIN_S = 1.0
_TIMES = 1.5
"""Its own timeout comes first, as it says more."""


class BoundedClient(Client):
    """One with a `timeout`, a number of seconds."""

    def start(self, **kwargs: Any) -> None:
        """That `timeout` is for a connection alone, not for the first words there."""
        try:
            super().start(callback_timeout=_TIMES * kwargs["timeout"], **kwargs)  # type: ignore[no-untyped-call]
        except BaseException:
            with suppress(Exception):  # nobody waits for it any more
                self.close(timeout=_CLOSED_WITHIN_S)  # type: ignore[no-untyped-call]
            raise


def silence_limit_s() -> float:
    """How long Dask waits for a host to acknowledge what it was sent."""
    return float(parse_timedelta(dask.config.get("distributed.comm.timeouts.tcp"), "s"))
