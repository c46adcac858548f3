"""Runs functions on the workers of a Dask cluster, or on one within this process."""

import asyncio
import importlib
import itertools
import logging
import queue
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from rclip import isolation
from rclip.errors import CannotReachCluster, ClusterLost, MissingPackage, plain_reason
from rclip.indexing.cluster import worker
from rclip.indexing.cluster.interface import WORKER_MODULE

_CONNECTED_WITHIN_S = 10.0
_ASKED_AGAIN_AFTER_S = 0.2
_CLOSED_WITHIN_S = 1.0
LOCAL = "local"
"""The address of a cluster of one worker in this process, which opens no port."""


class DaskEngine:
    """An `Engine`. Dask places nothing itself: each call names its worker, and is not made again elsewhere.

    A worker that is sent what it cannot load ends. So nothing of rclip's is sent: functions of Python and of Dask look
    ours up there, once for each worker, and call them. The scheduler can do without rclip.
    """

    def __init__(self, address: str):
        """Raises `MissingPackage` and `CannotReachCluster`. TLS is set up by Dask's own configuration."""
        self.address = address
        try:
            from rclip.indexing.cluster.dask_client import BoundedClient, silence_limit_s
        except ImportError as error:
            raise MissingPackage(what="a cluster", package="distributed") from error
        if isolation.owns_process:
            logging.disable(logging.CRITICAL)  # what Dask writes to the terminal we report ourselves
            warnings.filterwarnings("ignore", module="distributed")
        self._cluster: Any = None
        self._client: Any = None
        try:
            if address == LOCAL:
                from rclip.indexing.cluster.dask_local import LocalCluster

                self._cluster = LocalCluster()
            where = self._cluster.cluster if self._cluster else address
            client: Any = BoundedClient  # its functions have no types
            self._client = client(where, timeout=_CONNECTED_WITHIN_S, set_as_default=False, name="rclip")
        except Exception as error:  # of Dask, or of what it makes of another program's words
            self.close()
            raise CannotReachCluster(address=address, reason=_reason(error)) from error
        except BaseException:
            self.close()
            raise
        self._loop: Any = self._client.loop
        self._silence_limit_s = silence_limit_s()
        """A scheduler that hangs still acknowledges what it is sent, and must not be waited for any longer."""
        self._numbers = itertools.count(1)
        self._futures: dict[int, Any] = {}
        """Of the requests whose answers are wanted, by their numbers."""
        self._answers: queue.SimpleQueue[tuple[int, bytes | Exception | None]] = queue.SimpleQueue()
        """Those that have come; None says that Dask has given the request up."""
        self._functions: dict[tuple[str, str], Any] = {}
        """Futures of functions that were looked up, by their workers and names."""

    def workers(self) -> Mapping[str, int]:
        """See `Engine`."""
        try:
            there: dict[str, int] = self._client.nthreads(callback_timeout=self._silence_limit_s)
        except Exception as error:
            raise self._lost(error) from error
        return there

    def submit(self, worker: str, name: str, request: bytes) -> int:
        """See `Engine`. Raises `ClusterLost`."""
        from dask.utils import apply

        number = next(self._numbers)
        try:
            future = self._call(worker, apply, self._function(worker, name), [request])
            self._futures[number] = future
            future.add_done_callback(partial(self._done, number))
        except Exception as error:  # the client has given the connection up
            raise self._lost(error) from error
        return number

    def _function(self, worker: str, name: str) -> Any:
        if (worker, name) not in self._functions:
            module = self._call(worker, importlib.import_module, WORKER_MODULE)
            self._functions[worker, name] = self._call(worker, getattr, module, name)
        return self._functions[worker, name]

    def _call(self, worker: str, function: Callable[..., object], *arguments: object) -> Any:
        key = f"rclip-{uuid.uuid4()}"
        return self._client.submit(function, *arguments, key=key, workers=[worker], retries=0, pure=False)

    def answers(self, timeout_s: float) -> Sequence[tuple[int, bytes | Exception]]:
        """See `Engine`."""
        found: list[tuple[int, bytes | Exception]] = []
        with suppress(queue.Empty):
            come = self._answers.get(timeout=timeout_s)
            while True:
                number, answer = come
                if self._futures.pop(number, None) is not None:  # not forgotten
                    if answer is None:
                        raise self._lost(None)
                    found.append((number, answer))
                come = self._answers.get_nowait()
        return found

    def _done(self, number: int, future: Any) -> None:
        """Called in a thread of Dask's."""
        self._loop.add_callback(self._fetch, number, future)

    async def _fetch(self, number: int, future: Any) -> None:
        """Brings an answer. Each by itself: of several at once, none comes before a silent host has been given up.

        The scheduler asks the worker for it. If that fails, the answer may come from there later, or the scheduler has
        the function run once more.
        """
        while number in self._futures:
            if future.cancelled():
                self._answers.put((number, None))
                return
            if future.status == "error":
                self._answers.put((number, await future.exception()))
                return
            try:
                answer = await self._client.scheduler.gather(keys=[future.key])
                if answer["status"] == "OK":
                    self._answers.put((number, answer["data"][future.key]))
                    return
            except OSError:
                pass  # the connection has ended, and may come back
            except Exception as error:  # of bytes that say nothing, or of a client that is closed
                self._answers.put((number, error))
                return
            await asyncio.sleep(_ASKED_AGAIN_AFTER_S)

    def forget(self, number: int) -> None:
        """See `Engine`."""
        future = self._futures.pop(number, None)
        if future is not None:
            with suppress(Exception):  # the next look at the workers says what is wrong
                self._client.cancel([future], asynchronous=False)

    def close(self) -> None:
        """See `Engine`."""
        self._futures = {}
        for each in (self._client, self._cluster):
            if each is not None:
                with suppress(Exception):  # nobody waits for it any more
                    each.close(timeout=_CLOSED_WITHIN_S)
        if self._cluster is not None:
            worker.close()
        self._client = self._cluster = None

    def _lost(self, error: BaseException | None) -> ClusterLost:
        reason = _reason(error) if isinstance(error, OSError) else "the connection has ended"
        return ClusterLost(address=self.address, reason=reason)


def _reason(error: BaseException) -> str:
    """In one line; of a chain of errors, the first says most."""
    if type(error) is TimeoutError and error.errno is None and not error.__cause__:
        return "nothing answers there"
    if isinstance(error, MemoryError):  # it takes the first bytes of any answer for a length
        return "another program answers there"
    while isinstance(error.__cause__, OSError):
        error = error.__cause__
    return plain_reason(error)
