"""A server between a client and a server, which changes or cuts what is said."""

import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class Proxy:
    """Between the command and the server; what the server says goes through `change`, with its number of bytes before.

    A `change` that returns None cuts both off.
    """

    def __init__(self, port: int, change: Callable[[bytes, int], bytes | None]):
        self._port, self._change = port, change
        self.said = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connections = []
        while True:
            client, _ = self._listener.accept()
            if self._port < 0:
                client.close()
                break
            connections.append(threading.Thread(target=self._connect, args=(client,), daemon=True))
            connections[-1].start()  # several at once: PostgreSQL's are cancelled by another one
        for each in connections:
            each.join()

    def _connect(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            forward = threading.Thread(target=self._forward, args=(client, server), daemon=True)
            forward.start()
            with suppress(OSError):
                while data := server.recv(4096):
                    changed = self._change(data, self.said)
                    self.said += len(data)
                    if changed is None:
                        break
                    client.sendall(changed)
            for each in (client, server):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            forward.join()

    @staticmethod
    def _forward(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):  # a client that leaves without having read all resets the connection
            while data := client.recv(4096):
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._port = -1
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join(timeout=60)
        self._listener.close()
        assert not self._thread.is_alive()


def some_bytes_changed(seed: int, start: int, end: int) -> Callable[[bytes, int], bytes]:
    """A `change` of 1, 3 or 30 bytes between the two numbers of bytes."""
    chance = random.Random(seed)
    places = {chance.randrange(start, end): chance.randrange(256) for _ in range(chance.choice([1, 3, 30]))}

    def change(data: bytes, said: int) -> bytes:
        changed = bytearray(data)
        for place, value in places.items():
            if said <= place < said + len(data):
                changed[place - said] = value
        return bytes(changed)

    return change
