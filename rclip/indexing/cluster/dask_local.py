"""A Dask cluster of one worker within this process: to try a cluster with, and to compare others with.

It opens no port, not even for Dask's pages: whoever reaches a port of Dask's can run programs as this user.
"""

import tempfile
from typing import Any

from distributed import Scheduler, SpecCluster, Worker
from distributed.http.routing import RoutingApplication
from tornado.httpserver import HTTPServer

from rclip.cores import CORES


def _serve_nothing(server: Any, *_: object, **__: object) -> None:
    """In place of the pages that each part of a cluster serves."""
    server.http_application = RoutingApplication([])  # type: ignore[no-untyped-call]
    server.http_server = HTTPServer(server.http_application)  # which listens nowhere


class _Scheduler(Scheduler):
    start_http_server = _serve_nothing


class _Worker(Worker):
    start_http_server = _serve_nothing


class LocalCluster:
    """The cluster, for a client in this process."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="rclip-")
        inside = {"protocol": "inproc://", "dashboard": False}
        own = {"nthreads": CORES, "local_directory": self._scratch.name, "memory_limit": 0}
        self.cluster: Any = SpecCluster(  # type: ignore[no-untyped-call]
            {0: {"cls": _Worker, "options": inside | own}}, scheduler={"cls": _Scheduler, "options": inside}
        )

    def close(self, timeout: float) -> None:
        """Ends it, within about so many seconds."""
        self.cluster.close(timeout=timeout)
        self._scratch.cleanup()
