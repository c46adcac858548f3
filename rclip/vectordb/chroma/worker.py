"""Runs chromadb over a folder, in a process of its own; `folder` starts it and talks to it.

The package is imported here and nowhere else. It reads a `.env` of the current folder, so the current folder is one of
rclip's own. It reads files of the folder in C++ and Rust, which a damaged one may crash; then this process ends, and
rclip says so. It is asked in the words of Chroma's HTTP API, in JSON after eight bytes that say how long it is.
"""

import json
import signal
import socket
from typing import Any, Protocol

_LENGTH_BYTES = 8


class Receiving(Protocol):
    """As much of a socket as is needed to receive."""

    def recv(self, count: int, /) -> bytes: ...


def main(descriptor: str, folder: str, collection: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who has started it ends it
    with socket.socket(fileno=int(descriptor)) as channel:
        worker = _Worker(folder, collection)
        while (request := receive(channel)) is not None:
            send(channel, worker.answer(request))


def send(channel: socket.socket, message: Any) -> None:
    content = json.dumps(message).encode()
    channel.sendall(len(content).to_bytes(_LENGTH_BYTES) + content)


def receive(channel: Receiving) -> Any:
    """None where the other side has closed."""
    head = _exactly(channel, _LENGTH_BYTES)
    content = _exactly(channel, int.from_bytes(head)) if head else b""
    return json.loads(content) if content else None


def _exactly(channel: Receiving, count: int) -> bytes:
    parts = []
    while count:
        part = channel.recv(min(count, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class _Worker:
    def __init__(self, folder: str, collection: str):
        self._folder, self._name = folder, collection
        self._client: Any = None
        self._collection: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """`{"answer": …}`, `{"missing": …}` without the package, or `{"error": …}`."""
        try:
            if self._client is None:
                self._client = self._open()
            return {"answer": getattr(self, f"_{request['call']}")(request["body"])}
        except ImportError as error:
            return {"missing": str(error)}
        except Exception as error:  # of Chroma's own kinds, and of what it is made of
            return {"error": str(error) or type(error).__name__}

    def _open(self) -> Any:
        import chromadb
        from chromadb.config import Settings

        make: Any = Settings  # whose `_env_file` only pydantic knows
        settings = make(
            _env_file=None,
            chroma_api_impl="chromadb.api.rust.RustBindingsAPI",
            is_persistent=True,
            persist_directory=self._folder,
            allow_reset=False,
            anonymized_telemetry=False,
            chroma_otel_collection_endpoint="",
        )
        return chromadb.PersistentClient(self._folder, settings)

    def _find(self, _: object) -> dict[str, Any] | None:
        from chromadb.errors import NotFoundError

        try:
            self._collection = self._client.get_collection(self._name, embedding_function=None)
        except NotFoundError:
            return None
        metadata, configuration = self._collection.metadata, self._collection.configuration_json
        return {"id": str(self._collection.id), "metadata": metadata, "configuration_json": configuration}

    def _create(self, body: dict[str, Any]) -> None:
        """Where there is one already, another push has made it."""
        if self._find(None) is None:
            self._collection = self._client.create_collection(self._name, embedding_function=None, **body)

    def _count(self, _: object) -> int:
        return int(self._collection.count())

    def _get(self, body: dict[str, Any]) -> dict[str, Any]:
        return _plain(self._collection.get(**body), lambda vectors: [vector.tolist() for vector in vectors])

    def _query(self, body: dict[str, Any]) -> dict[str, Any]:
        return _plain(self._collection.query(**body), lambda batches: batches)

    def _upsert(self, body: dict[str, Any]) -> None:
        self._collection.upsert(**body)

    def _delete(self, body: dict[str, Any]) -> None:
        self._collection.delete(**body)


def _plain(answer: dict[str, Any], as_lists: Any) -> dict[str, Any]:
    """What of it is asked for, in what JSON knows."""
    found = {name: answer.get(name) for name in ("ids", "metadatas", "distances")}
    embeddings = answer.get("embeddings")
    return found | {"embeddings": None if embeddings is None else as_lists(embeddings)}
