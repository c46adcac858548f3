"""The desktop's viewer for pictures."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable

from rclip import isolation
from rclip.cli.messages import Usage
from rclip.errors import RclipError


def show(paths: Iterable[str]) -> None:
    """Hands over each of the absolute `paths`, in this order. Raises `RclipError` at the first that is not taken."""
    if sys.platform == "darwin":
        _run("open", *paths)
        return
    for path in paths:  # all that `xdg-open` takes at once
        _run("xdg-open", path)


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
            raise RclipError(Usage.NO_VIEWER.format(program=program)) from None
        complaints.seek(0)
        lines = complaints.read().decode(errors="replace").split("\n")
    if done.returncode:
        reason = next((line.strip() for line in lines if line.strip()), f"exit status {done.returncode}")
        raise RclipError(Usage.VIEWER_FAILED.format(program=program, path=paths[0], reason=reason))
