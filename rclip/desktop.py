"""The programs of the desktop that show a picture, a file's place, or a page."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from urllib.parse import quote_from_bytes

from rclip import isolation
from rclip.errors import DesktopFailed, NoDesktop


def show(paths: Iterable[str]) -> None:
    """Has each of the absolute `paths`, in this order, shown. Raises `RclipError` at the first that is not taken."""
    if sys.platform == "darwin":
        _run("open", *paths)
        return
    for path in paths:  # all that `xdg-open` takes at once
        _run("xdg-open", path)


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
