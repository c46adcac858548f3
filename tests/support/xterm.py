"""An xterm with Sixel graphics on a virtual display: typed at, and looked at."""

import io
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image

PROGRAMS = ("Xvfb", "xterm", "xdotool", "import")
"""The last is ImageMagick's."""
PLAIN_FONT = ("-fn", "9x18")


class Xterm:
    """An xterm with Sixel graphics on a display of its own."""

    def __init__(self, display: str):
        self._env = os.environ | {"DISPLAY": display}

    def key(self, *keys: str) -> None:
        """By their names in X."""
        self._run("xdotool", "windowfocus", self._window(), "key", "--delay", "50", *keys)

    def type(self, text: str) -> None:
        """Letters, one after the other."""
        self._run("xdotool", "windowfocus", self._window(), "type", "--delay", "50", text)

    def picture(self) -> np.ndarray:
        """(h, w, 3) of the window."""
        done = subprocess.run(
            ["import", "-window", self._window(), "png:-"], env=self._env, capture_output=True, timeout=60, check=True
        )
        return np.asarray(Image.open(io.BytesIO(done.stdout)).convert("RGB"))

    def colors_in(self, left: float, right: float) -> list[tuple[int, ...]]:
        """Some of those between two places of its width, from 0 to 1, in its upper third below the search box."""
        pixels = self.picture()
        height, width = pixels.shape[:2]
        part = pixels[height // 12 : height // 3 : 5, int(left * width) : int(right * width) : 5]
        return [tuple(color) for color in part.reshape(-1, 3).tolist()]

    def _window(self) -> str:
        return self._run("xdotool", "search", "--sync", "--onlyvisible", "--class", "xterm").split()[-1]

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout


@contextmanager
def showing(command: str, columns: int, lines: int, font: Sequence[str] = PLAIN_FONT) -> Iterator[Xterm]:
    """One that runs a shell's command."""
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1400x1000x24"],
        pass_fds=(writing,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with open(reading) as told:
        display = f":{told.readline().strip()}"
    arguments = ["-ti", "vt340", "-tn", "xterm-256color", *font, "-b", "0", "-geometry", f"{columns}x{lines}+0+0"]
    settings = ["XTerm*numColorRegisters: 256", "XTerm*allowWindowOps: true"]
    xterm = subprocess.Popen(
        ["xterm", *arguments, *(word for setting in settings for word in ("-xrm", setting)), "-e", "sh", "-c", command],
        env=os.environ | {"DISPLAY": display},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Xterm(display)
    finally:
        for process in (xterm, server):
            process.kill()
            process.wait()
