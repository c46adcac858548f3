"""A folder of Chroma's on this machine, opened by chromadb in a process of its own.

A folder is only opened if a push of this user has made it, and if nobody else can get into it. Its files are read by
C++ and Rust that take them for their own: a database of SQLite, whose schema could be anything, a graph of pointers,
and a pickle. Which folders a push has made is noted in the user's own folder, with a mark that lies in both.
"""

import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

from rclip import datadir, isolation
from rclip.deadlines import Deadline
from rclip.errors import (
    ForeignChromaFolder,
    MissingDriver,
    NoChromaFolder,
    ServerFailed,
    UnknownDatabase,
    plain_reason,
)
from rclip.vectordb.chroma import worker
from rclip.vectordb.chroma.server import options
from rclip.vectordb.limits import time_limit_s, too_long

_PACKAGE = "chromadb"
_BINDINGS = "chromadb_rust_bindings"
"""Which the package chromadb-client lacks: it opens no folder."""

_NOTES = "chroma"
"""The folder of the user's own in which the folders are noted; also the current folder of the process."""
_MARK = "rclip"
_MARK_BYTES = 16
_MOST_REASON = 300
_LOOKS_EVERY_S = 0.05
_ENDS_WITHIN_S = 10.0
_NAMES = {"collection": "rclip_photos"}
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME")
"""Variables for the process; Chroma takes many others for settings."""

_START = """
import json, sys
given = json.loads(sys.argv[1])
sys.path[:] = given + [entry for entry in sys.path if entry not in given]
from rclip.vectordb.chroma.worker import main
main(*sys.argv[2:])
"""


class ChromaFolder:
    """One collection of a folder."""

    def __init__(self, url: str, data_dir: str):
        """Raises `UsageError`."""
        self.url = url
        parts = urlsplit(url)
        self._name = options(parts.query, url, _NAMES)["collection"]
        path = unquote(parts.path, errors="surrogateescape")
        if parts.netloc or not path.strip("/") or "\0" in path or parts.fragment:
            raise UnknownDatabase(url=url)
        try:
            path.encode()
        except UnicodeEncodeError:  # Chroma takes none of other bytes
            raise UnknownDatabase(url=url) from None
        self._folder = os.path.realpath(path)
        self._notes = os.path.join(data_dir, _NOTES)
        self._process: _Process | None = None
        self._lock = -1
        self._is_writing = False

    def find(self) -> dict[str, Any] | None:
        if not _is_there(self._folder):
            return None
        found: dict[str, Any] | None = self.call("find", {})
        return found

    def create(self, metadata: dict[str, Any], configuration: dict[str, Any]) -> None:
        if not _is_there(self._folder):
            self._make()
        self.call("create", {"metadata": metadata, "configuration": configuration})

    def call(self, name: str, body: dict[str, Any]) -> Any:
        self._lock_for(name in ("create", "upsert", "delete"))
        if self._process is None:
            self._process = self._started()
            self._process.ask("find", {})
        return self._process.ask(name, body)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # --- whose it is -------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        """An empty folder for the user alone, with a mark, which is noted before: whoever sees the mark sees the note.

        Of two pushes at once, the second finds what the first has made.
        """
        mark = os.urandom(_MARK_BYTES).hex().encode()
        try:
            datadir.make_private(self._notes)
            with _locked(self._notes):
                if not _is_there(self._folder):
                    datadir.make_private(self._folder)
                    os.chmod(self._folder, 0o700)
                    datadir.replace_file(self._note(), [mark + os.fsencode(self._folder)])
                    datadir.replace_file(os.path.join(self._folder, _MARK), [mark])
        except OSError as error:
            raise NoChromaFolder(url=self.url, path=self._folder, reason=plain_reason(error)) from None

    def _note(self) -> str:
        return os.path.join(self._notes, blake2b(os.fsencode(self._folder), digest_size=16).hexdigest())

    def _require_own(self) -> None:
        """Raises `ForeignChromaFolder`."""
        try:
            found = os.lstat(self._folder)
            is_private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
            mark = _read(os.path.join(self._folder, _MARK))
            is_noted = len(mark) == 2 * _MARK_BYTES and _read(self._note()) == mark + os.fsencode(self._folder)
        except OSError:
            is_private = is_noted = False
        if not (is_private and is_noted):
            raise ForeignChromaFolder(url=self.url, path=self._folder)

    # --- the process -------------------------------------------------------------------------------------------------

    def _lock_for(self, is_writing: bool) -> None:
        """One writes, or several read: Chroma's own files do not expect another process.

        Whoever begins to write opens the folder anew, as somebody else may have written before the lock was given.
        """
        if self._lock >= 0 and (self._is_writing or not is_writing):
            return
        self.close()
        self._require_own()
        self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._is_writing = is_writing
        limit_s = time_limit_s()
        ends_at = time.monotonic() + limit_s
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(self._lock, (fcntl.LOCK_EX if is_writing else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                return
            if time.monotonic() > ends_at:
                raise ServerFailed(url=self.url, reason=f"another rclip uses it; {too_long(limit_s)}")
            time.sleep(_LOOKS_EVERY_S)

    def _started(self) -> "_Process":
        if not (find_spec(_PACKAGE) and find_spec(_BINDINGS)):
            raise MissingDriver(url=self.url, package=_PACKAGE, python=sys.executable)
        datadir.make_private(self._notes)
        return _Process(self.url, self._folder, self._name, self._notes)


class _Process:
    """A process of `worker`, which answers one request after the other."""

    def __init__(self, url: str, folder: str, name: str, current_folder: str):
        self._url = url
        self._channel, theirs = socket.socketpair()
        with theirs:
            arguments = (json.dumps(isolation.module_path()), str(theirs.fileno()), folder, name)
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, see `isolation`
                isolation.python(_START, *arguments),
                cwd=current_folder,
                env={each: os.environ[each] for each in _KEPT if each in os.environ},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def ask(self, name: str, body: dict[str, Any]) -> Any:
        with self._failures():
            worker.send(self._channel, {"call": name, "body": body})
            answer = worker.receive(_Limited(self._channel))
        if type(answer) is not dict:
            raise ServerFailed(url=self._url, reason="its process has ended")
        if "missing" in answer:
            raise MissingDriver(url=self._url, package=_PACKAGE, python=sys.executable)
        if "error" in answer:
            raise ServerFailed(url=self._url, reason=" ".join(str(answer["error"]).split())[:_MOST_REASON])
        return answer.get("answer")

    @contextmanager
    def _failures(self) -> Iterator[None]:
        self._channel.settimeout(time_limit_s())
        try:
            yield
        except TimeoutError:
            self._process.kill()
            raise ServerFailed(url=self._url, reason=too_long(time_limit_s())) from None
        except (OSError, ValueError) as error:
            raise ServerFailed(url=self._url, reason=f"its process has ended ({plain_reason(error)})") from None

    def close(self) -> None:
        """It ends by itself when nobody is there to ask it."""
        self._channel.close()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDS_WITHIN_S)
        finally:
            self._process.kill()
            self._process.wait()


class _Limited:
    """A socket that receives until a deadline."""

    def __init__(self, channel: socket.socket):
        self._channel, self._deadline = channel, Deadline(time_limit_s())

    def recv(self, count: int) -> bytes:
        self._channel.settimeout(self._deadline.left_s())
        return self._channel.recv(count)


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_there(folder: str) -> bool:
    """With something in it, but for what a push puts there that is about to make it."""
    try:
        return any(not name.startswith(datadir.TEMPORARY) for name in os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # it is looked at more closely


def _read(path: str) -> bytes:
    with open(path, "rb", opener=isolation.open_itself) as file:
        return file.read(1 << 16)
