"""A running `rclip --web`, asked as a program would."""

import http.client
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support.command import Command, start


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Served:
    """The server, its address and the token in that."""

    def __init__(self, process: "subprocess.Popen[bytes]"):
        self.process = process
        assert process.stdout
        self.address = process.stdout.readline().decode().strip()
        url = urlsplit(self.address)
        assert url.hostname, self.address
        assert url.port, self.address
        self.host, self.port, self.token = url.hostname, url.port, url.query.removeprefix("token=")
        self._told: list[bytes] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stderr
        self._told += self.process.stderr

    @property
    def origin(self) -> str:
        return f"http://{self.host}:{self.port}"

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """As a program that has the token; `headers` may say otherwise."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.token}"} | (headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def post(self, path: str, content: object = None, **headers: str) -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask(path, "POST", body, headers)

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Its exit status and all that it has said."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self._listener.join(timeout=20)
        return code, b"".join(self._told).decode()


@contextmanager
def serving(rclip: Command, *arguments: str, **options: Any) -> Iterator[Served]:
    """The page of the photos where the command runs, which are indexed already."""
    process = start(rclip, "--web", "--no-open", *arguments, stderr=subprocess.PIPE, **options)
    in_time = threading.Timer(60, process.kill)
    in_time.start()
    try:
        served = Served(process)
        in_time.cancel()
        yield served
    finally:
        in_time.cancel()
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
