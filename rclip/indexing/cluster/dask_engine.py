"""Runs functions on the workers of a Dask cluster, or on one within this process."""

import importlib
import itertools
import logging
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rclip import isolation
from rclip.errors import CannotReachCluster, ClusterLost, MissingPackage, plain_reason
from rclip.indexing.cluster import worker
from rclip.indexing.cluster.interface import WORKER_MODULE

_CONNECTED_WITHIN_S = 10.0
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
            import distributed
        except ImportError as error:
            raise MissingPackage(what="a cluster", package="distributed") from error
        dask: Any = distributed  # its functions have no types
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
            self._client = dask.Client(where, timeout=_CONNECTED_WITHIN_S, set_as_default=False, name="rclip")
        except Exception as error:  # of Dask, or of what it makes of another program's words
            self.close()
            raise CannotReachCluster(address=address, reason=_reason(error)) from error
        except BaseException:
            self.close()
            raise
        self._done: Any = dask.as_completed(loop=self._client.loop, with_results=True, raise_errors=False)
        self._numbers = itertools.count(1)
        self._futures: dict[int, Any] = {}
        self._numbers_of: dict[str, int] = {}
        self._functions: dict[tuple[str, str], Any] = {}
        """Futures of functions that were looked up, by their workers and names."""

    def workers(self) -> Mapping[str, int]:
        """See `Engine`."""
        try:
            there: dict[str, int] = self._client.nthreads()
        except Exception as error:
            raise self._lost(error) from error
        return there

    def submit(self, worker: str, name: str, request: bytes) -> int:
        """See `Engine`."""
        from dask.utils import apply

        number = next(self._numbers)
        future = self._call(worker, apply, self._function(worker, name), [request])
        self._futures[number] = future
        self._numbers_of[future.key] = number
        self._done.add(future)
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
        with self._done.thread_condition:  # which is notified after an answer was put there
            if not self._done.has_ready():
                self._done.thread_condition.wait(timeout_s)
        found: list[tuple[int, bytes | Exception]] = []
        for future, result in self._done.next_batch(block=False):
            number = self._numbers_of.pop(future.key, None)
            if number is None:
                continue  # forgotten
            del self._futures[number]
            if future.cancelled():
                raise self._lost(None)
            found.append((number, result[1] if future.status == "error" else result))
        return found

    def forget(self, number: int) -> None:
        """See `Engine`."""
        future = self._futures.pop(number, None)
        if future is not None:
            del self._numbers_of[future.key]
            with suppress(Exception):  # the next look at the workers says what is wrong
                self._client.cancel([future], asynchronous=False)

    def close(self) -> None:
        """See `Engine`."""
        for each in (self._client, self._cluster):
            if each is not None:
                with suppress(Exception):  # nobody waits for it any more
                    each.close(timeout=_CLOSED_WITHIN_S)
        if self._cluster is not None:
            worker.close()
        self._client = self._cluster = None

    def _lost(self, error: BaseException | None) -> ClusterLost:
        return ClusterLost(address=self.address, reason=_reason(error) if error else "the connection has ended")


def _reason(error: BaseException) -> str:
    """In one line; of a chain of errors, the first says most."""
    if isinstance(error, MemoryError):  # it takes the first bytes of any answer for a length
        return "another program answers there"
    while isinstance(error.__cause__, OSError):
        error = error.__cause__
    return plain_reason(error)
