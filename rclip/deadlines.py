"""HTTP until a deadline: a server may take its time over each byte, and a socket's time limit is for one of them."""

import io
import socket
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl import SSLSocket

TOO_LONG = "it takes too long"


class Deadline:
    """An end that all waits have in common."""

    def __init__(self, timeout_s: float):
        self._ends_at = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Above 0. Raises TimeoutError when there is none left."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError(TOO_LONG)
        return left

    def result_of(self, wait: Callable[[], Any]) -> Any:
        """What the function returns or raises, which cannot be told to end itself. Raises TimeoutError."""
        found: list[Any] = []
        errors: list[OSError] = []

        def run() -> None:
            try:
                found.append(wait())
            except (OSError, UnicodeError) as error:
                errors.append(error if isinstance(error, OSError) else OSError("it names no server"))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(self.left_s())
        if errors:
            raise errors[0]
        if not found:
            raise TimeoutError(TOO_LONG)
        return found[0]


class TimedConnection(HTTPConnection):
    """A connection that sends and receives until a deadline, whatever the server makes of its time."""

    def __init__(self, *arguments: Any, deadline: Deadline, **more: Any):
        super().__init__(*arguments, **more)
        self._deadline = deadline
        self._create_connection = self._connected

    def _connected(self, address: tuple[str, int], *_: object) -> "_Socket":
        """To the first of the server's addresses that answers. Raises OSError."""
        found = self._deadline.result_of(lambda: socket.getaddrinfo(*address, type=socket.SOCK_STREAM))
        error: OSError = OSError("it has no address")
        for family, kind, protocol, _, place in found:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(self._deadline.left_s())
                connection.connect(place)
                return _Socket(connection, self._deadline)
            except OSError as reason:
                connection.close()
                error = reason
        raise error


class TimedSecureConnection(TimedConnection, HTTPSConnection):
    """The same, encrypted."""

    def connect(self) -> None:
        HTTPConnection.connect(self)  # also through a proxy
        host = self._tunnel_host or self.host  # type: ignore[attr-defined]
        plain: Any = self.sock
        self.sock = plain.secured(self._context, host)  # type: ignore[attr-defined]


class _Socket:
    """As much of a socket as http.client uses."""

    def __init__(self, connection: "socket.socket | SSLSocket", deadline: Deadline):
        self._connection = connection
        self._deadline = deadline
        self._readers = 0
        self._is_closed = False

    def setsockopt(self, *option: Any) -> None:
        self._connection.setsockopt(*option)

    def secured(self, context: Any, host: str) -> "_Socket":
        self._connection.settimeout(self._deadline.left_s())
        return _Socket(context.wrap_socket(self._connection, server_hostname=host), self._deadline)

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(self._deadline.left_s())
        self._connection.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def receive_into(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.left_s())
        return self._connection.recv_into(buffer)

    def release(self) -> None:
        """A file that was made of it is closed."""
        self._readers -= 1
        if self._is_closed and not self._readers:
            self._connection.close()

    def close(self) -> None:
        """Files made of it can still be read."""
        self._is_closed = True
        if not self._readers:
            self._connection.close()


class _Reader(io.RawIOBase):
    """What a socket receives."""

    def __init__(self, source: _Socket):
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._source.receive_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._source.release()
        super().close()
