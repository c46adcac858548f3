"""The server itself: it listens, answers in a thread, and ends."""

import os
import threading
from typing import NamedTuple

import uvicorn

from rclip.explore import Explorer
from rclip.explore.target_folder import any_folder, this_folder
from rclip.web import listening
from rclip.web.app import Allowed, make_app
from rclip.web.protocol import Protocol
from rclip.web.security import Access, is_loopback

_GRACE_S = 1
_MOST_CONNECTIONS = 900
"""Beyond which a request is refused for now; each takes a descriptor."""


_SILENT = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"none": {"class": "logging.NullHandler"}},
    "loggers": {"uvicorn": {"handlers": ["none"], "propagate": False}},
}
"""It would tell the terminal of each request that is none, and of each connection that it gives up."""


class WebOptions(NamedTuple):
    """How the page is served."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 for any that is free."""
    copy_to: str = ""
    """The folder that selected photos may be copied to; empty for none."""
    is_desktop: bool = False
    """Whether the file manager may be asked to show a photo."""


class Server:
    """Serves an explorer from when it is made until it is closed."""

    def __init__(self, explorer: Explorer, options: WebOptions = WebOptions()):  # noqa: B008 - it is a constant
        """Raises `CannotListen`."""
        self._socket = listening.listen(options.host, options.port)
        self.host, self.port = self._socket.getsockname()[:2]
        self.is_loopback = is_loopback(self.host)
        self._access = Access(self.host, self.port, () if self.is_loopback else listening.own_names())
        self._allowed = Allowed(
            options.copy_to,
            this_folder(options.copy_to) if options.copy_to else any_folder,
            options.is_desktop and self.is_loopback,
        )
        self._app = make_app(explorer, self._access, self._allowed)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                http=Protocol,
                log_config=None if "RCLIP_DEBUG" in os.environ else _SILENT,
                access_log=False,
                lifespan="off",
                ws="none",
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=_GRACE_S,
                limit_concurrency=_MOST_CONNECTIONS,
            )
        )
        self._thread = threading.Thread(target=self._run, name="rclip-web", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:
            if not self._app.state.is_ending:  # else what is left of a connection is nobody's concern
                raise

    @property
    def address(self) -> str:
        """What is to be opened, with its token; a wildcard stands for this machine."""
        host = self.host if self.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 - compared, not bound
        return self._access.address(host)

    def wait(self) -> None:
        """Until it ends by itself, which it does not."""
        self._thread.join()

    def close(self) -> None:
        """Ends it: what is being answered has a second."""
        self._app.state.is_ending = True
        self._server.should_exit = True
        self._thread.join(_GRACE_S + 1)
        self._socket.close()
