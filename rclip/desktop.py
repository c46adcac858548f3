"""The programs of the desktop that show a picture, a file's place, or a page."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from urllib.parse import quote_from_bytes

from rclip import isolation
from rclip.errors import DesktopFailed, NoDesktop


def show(paths: Iterable[str], starts_ms: Mapping[str, int] | None = None) -> None:
    """Has each of the absolute `paths`, in this order, shown. Raises `RclipError` at the first that is not taken.

    Films that have one of the `starts_ms` are played from there, where mpv or VLC is installed.
    """
    starts_ms = starts_ms or {}
    paths = [path for path in paths if path not in starts_ms or not _play(path, starts_ms[path])]
    if not paths:
        return
    if sys.platform == "darwin":
        _run("open", *paths)
        return
    for path in paths:  # all that `xdg-open` takes at once
        _run("xdg-open", path)


_PLAYERS = (("mpv", ("--no-terminal", "--start={:.3f}")), ("vlc", ("--start-time={:.3f}",)))
"""Programs that take the second at which to start, the first one that is there is used."""


def _play(path: str, start_ms: int) -> bool:
    """Whether there was a player that can be told when to start. It is not waited for."""
    for name, options in _PLAYERS:
        try:
            program = isolation.program(name)
        except FileNotFoundError:
            continue
        subprocess.Popen(  # noqa: S603 - a known program, and a path that begins with a slash
            [program, *(option.format(start_ms / 1000) for option in options), path],
            cwd="/",
            env=isolation.program_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return True
    return False


def reveal(path: str) -> None:
    """Has the file manager show where an absolute path is; its folder, where it cannot be asked for more.

    Raises `RclipError`.
    """
    if sys.platform == "darwin":
        _run("open", "-R", path)
        return
    uri = f"file://{quote_from_bytes(os.fsencode(path))}"  # without quotes of its own
    try:
        _run(*_ASK_FILE_MANAGER, f"['{uri}']", "")
    except (NoDesktop, DesktopFailed):
        _run("xdg-open", os.path.dirname(path))


_FILE_MANAGER = "org.freedesktop.FileManager1"
_ASK_FILE_MANAGER = (
    *("gdbus", "call", "-e", "-d", _FILE_MANAGER, "-o", "/org/freedesktop/FileManager1"),
    *("-m", f"{_FILE_MANAGER}.ShowItems"),
)


def open_page(address: str) -> None:
    """Opens an address in the desktop's browser. Raises `RclipError`."""
    _run("open" if sys.platform == "darwin" else "xdg-open", address)


def is_there() -> bool:
    """Whether this program runs on a desktop, and not over ssh."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _run(program: str, *paths: str) -> None:
    """The program's complaints go to a file: a pipe would stay open as long as the viewer does, which inherits it."""
    with tempfile.TemporaryFile() as complaints:
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program, and paths that begin with a slash
                [isolation.program(program), *paths],
                cwd="/",
                env=isolation.program_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,  # closing the terminal, or Ctrl-C in it, is not meant for the viewer
                check=False,
            )
        except FileNotFoundError:
            raise NoDesktop(program=program) from None
        complaints.seek(0)
        lines = complaints.read().decode(errors="replace").split("\n")
    if done.returncode:
        reason = next((line.strip() for line in lines if line.strip()), f"exit status {done.returncode}")
        raise DesktopFailed(program=program, path=paths[-1], reason=reason)
