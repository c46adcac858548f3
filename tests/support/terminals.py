"""A terminal for the command to run on: one that answers questions, and understands what is drawn on it.

`on_terminal` runs a command on a pseudo-terminal; `Display` turns what it wrote into lines of text and pictures of
pixels, by decoders of their own for each way of drawing.
"""

import base64
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image

from tests.support.command import Command

CELL = (10, 20)
KITTY_QUERY = b"\x1b_Gi=1,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
NAME_QUERY = b"\x1b[>0q"
CELL_QUERY = b"\x1b[16t"
COLORS_QUERY = b"\x1b[?1;1;0S"
ATTRIBUTES_QUERY = b"\x1b[c"

# What these say to each question, as recorded from them, but for iTerm2, of which the documentation tells.
XTERM = {
    NAME_QUERY: b"\x1bP>|XTerm(379)\x1b\\",
    CELL_QUERY: b"\x1b[6;20;10t",
    COLORS_QUERY: b"\x1b[?1;0;256S",
    ATTRIBUTES_QUERY: b"\x1b[?63;1;2;4;6;9;15;22c",
}
KITTY = {
    KITTY_QUERY: b"\x1b_Gi=1;OK\x1b\\",
    NAME_QUERY: b"\x1bP>|kitty(0.26.5)\x1b\\",
    CELL_QUERY: b"\x1b[6;20;10t",
    ATTRIBUTES_QUERY: b"\x1b[?62;c",
}
ITERM = {
    NAME_QUERY: b"\x1bP>|iTerm2 3.5.0\x1b\\",
    CELL_QUERY: b"\x1b[6;20;10t",
    ATTRIBUTES_QUERY: b"\x1b[?64;1;2;4;6;17;18;21;22;52c",
}
PLAIN = {ATTRIBUTES_QUERY: b"\x1b[?1;2c"}
SILENT: dict[bytes, bytes] = {}


_LEAD = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
LEADING = (sys.executable, "-I", "-S", "-c", _LEAD)
"""Before a command that is started in a session of its own: its input becomes the session's terminal.

A `preexec_fn` would do the same in a fork of this process, which waits for ever where another thread had a lock.
"""


class Shown(NamedTuple):
    """What a command did to its terminal."""

    code: int
    out: bytes
    """As the terminal gets it: `\\r\\n` ends a line."""
    err: str
    left: bytes
    """Input that nobody has read."""
    modes_kept: bool


# The one whose end takes the terminal down must outlive the command, so that one can look at what that left.
_LEADER = 'trap : INT; "$@"; echo "exit $?" >&2; exec sleep 60'
IN_BACKGROUND = 'set -m; "$@" & wait $!; echo "exit $?" >&2; exec sleep 60'


def on_terminal(
    rclip: Command,
    *arguments: str,
    answers: Mapping[bytes, bytes] = SILENT,
    size: tuple[int, int] = (100, 40),
    env: Mapping[str, str] | None = None,
    typed: bytes = b"",
    leader: str = _LEADER,
    command: list[str] | None = None,
) -> Shown:
    """Runs it with a terminal of `size` (columns, lines) that answers questions; some keys may have been `typed`."""
    master, slave = pty.openpty()
    columns, lines = size
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    before = termios.tcgetattr(slave)
    os.write(master, typed)
    command = command or [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), *arguments]
    told, tell = os.pipe()
    outer = ("COLORTERM", "COLUMNS", "NO_COLOR", "STY", "TERM_PROGRAM", "TMUX", "TMUX_PANE")
    plain = {name: value for name, value in rclip.env.items() if name not in outer}
    process = subprocess.Popen(
        [*LEADING, "sh", "-c", leader, "sh", *command],
        cwd=rclip.cwd,
        env=plain | {"TERM": "xterm-256color"} | dict(env or {}),
        stdin=slave,
        stdout=slave,
        stderr=tell,
        start_new_session=True,
    )
    os.close(tell)
    try:
        out, err = _converse(master, told, dict(answers))
        kept = termios.tcgetattr(slave) == before
        left = _unread(slave)
    finally:
        process.kill()
        process.wait()
        for number in (master, slave, told):
            os.close(number)
    *lines_of_err, last = err.decode().splitlines()
    return Shown(int(last.removeprefix("exit ")), out, "\n".join(lines_of_err), left, kept)


def _converse(master: int, told: int, answers: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """Reads until the command has ended, and answers as it goes: each question once, in the order asked."""
    out = err = b""
    until = time.monotonic() + 60
    while not re.search(rb"^exit \d+\n", err, re.MULTILINE):
        ready, _, _ = select.select([master, told], [], [], max(0.0, until - time.monotonic()))
        assert ready, (out, err)
        out += os.read(master, 65536) if master in ready else b""
        err += os.read(told, 65536) if told in ready else b""
        asked = sorted((question for question in answers if question in out), key=out.index)
        os.write(master, b"".join(map(answers.pop, asked)))
    while select.select([master], [], [], 0)[0]:
        out += os.read(master, 65536)
    return out, err


def _unread(slave: int) -> bytes:
    modes = termios.tcgetattr(slave)
    modes[3] &= ~termios.ICANON
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    return os.read(slave, 4096) if select.select([slave], [], [], 0)[0] else b""


# --- what is drawn ---------------------------------------------------------------------------------------------------


class Picture(NamedTuple):
    """Pixels, and the cell where they start."""

    column: int
    line: int
    pixels: np.ndarray
    """(h, w, 3) uint8"""
    keys: dict[str, str]


_TOKEN = re.compile(
    rb"\x1b_G(?P<kitty>[^\x1b]*)\x1b\\|\x1b\]1337;File=(?P<iterm>[^\a]*)\a|\x1bP(?P<sixel>[^\x1b]*)\x1b\\"
    rb"|\x1b\]8;;(?P<link>[^\x1b]*)\x1b\\|\x1b\[(?P<csi>[?>]?[\d;]*[A-Za-z])|\x1b(?P<escape>[78])|(?P<control>[\r\n])"
    rb"|(?P<text>(?:[^\x1b\r\n\x00-\x1f])+)|(?P<other>.)",
    re.DOTALL,
)


class Display:
    """As long as need be. It knows the sequences that are sent to it and takes offence at all others."""

    def __init__(self, stream: bytes):
        self.pictures: list[Picture] = []
        self._cells: dict[tuple[int, int], str] = {}
        self._dots: dict[tuple[int, int], tuple[str, str]] = {}
        self._column = self._line = 0
        self._saved = (0, 0)
        self._colors = ("", "")
        self._chunks = b""
        self._keys: dict[str, str] = {}
        for token in _TOKEN.finditer(stream):
            kind = str(token.lastgroup)
            getattr(self, f"_{kind}")(token[kind])

    @property
    def lines(self) -> list[str]:
        last = max((line for _, line in self._cells), default=-1)
        texts = []
        for line in range(last + 1):
            columns = [column for column, row in self._cells if row == line]
            texts.append("".join(self._cells.get((n, line), " ") for n in range(max(columns, default=-1) + 1)).rstrip())
        return texts

    def blocks(self) -> list[Picture]:
        """What was drawn in half-blocks: each rectangle of them."""
        left = set(self._dots)
        found = []
        while left:
            column, line = min(left, key=lambda cell: (cell[1], cell[0]))
            width = next(n for n in range(1, 1000) if (column + n, line) not in left)
            height = next(n for n in range(1, 1000) if (column, line + n) not in left)
            cells = [[(column + x, line + y) for x in range(width)] for y in range(height)]
            rows = [[_rgb(self._dots[cell][half]) for cell in row] for row in cells for half in (0, 1)]
            if rows[-1][0] is None:  # an odd number of pixels
                rows.pop()
            found.append(Picture(column, line, np.array(rows, np.uint8), {}))
            left -= {cell for row in cells for cell in row}
        return found

    def _text(self, text: bytes) -> None:
        for character in text.decode():
            if character == "▀":
                self._dots[self._column, self._line] = self._colors
            else:
                self._cells[self._column, self._line] = character
            self._column += 1

    def _control(self, control: bytes) -> None:
        self._column = 0
        self._line += control == b"\n"

    def _escape(self, escape: bytes) -> None:
        if escape == b"7":
            self._saved = self._column, self._line
        else:
            self._column, self._line = self._saved

    def _csi(self, sequence: bytes) -> None:
        text = sequence.decode()
        final = text[-1]
        if sequence in (NAME_QUERY[2:], CELL_QUERY[2:], COLORS_QUERY[2:], ATTRIBUTES_QUERY[2:]):
            return
        if final == "m":
            colors = re.fullmatch(r"38;(2;\d+;\d+;\d+|5;\d+);4(?:8;(2;\d+;\d+;\d+|5;\d+)|9)", text[:-1])
            self._colors = (colors[1], colors[2] or "") if colors else ("", "")
            return
        count = int(text[:-1] or 1)
        if final == "A":
            self._line -= count
            assert self._line >= 0
        elif final == "B":
            self._line += count
        elif final == "D":
            self._column = max(0, self._column - count)
        else:
            assert final == "G", text
            self._column = count - 1

    def _link(self, uri: bytes) -> None:
        pass

    def _kitty(self, command: bytes) -> None:
        keys, _, payload = command.partition(b";")
        given = dict(key.split("=") for key in keys.decode().split(",") if key)
        assert len(payload) <= 4096
        if given.get("a") == "q":
            return
        self._keys |= given
        self._chunks += payload
        if given["m"] == "0":
            shape = int(self._keys["v"]), int(self._keys["s"]), 3
            pixels = np.frombuffer(zlib.decompress(base64.b64decode(self._chunks)), np.uint8).reshape(shape)
            self._add(pixels, self._keys)
            self._chunks, self._keys = b"", {}

    def _iterm(self, file: bytes) -> None:
        keys, _, payload = file.partition(b":")
        content = base64.b64decode(payload)
        given = dict(key.split("=") for key in keys.decode().split(";"))
        assert int(given["size"]) == len(content)
        with Image.open(io.BytesIO(content)) as picture:
            self._add(np.asarray(picture), given)

    def _sixel(self, content: bytes) -> None:
        self._add(decoded_sixel(content), {})

    def _add(self, pixels: np.ndarray, keys: dict[str, str]) -> None:
        self.pictures.append(Picture(self._column, self._line, pixels, keys))

    def _other(self, byte: bytes) -> None:
        raise AssertionError(byte)


def _rgb(color: str) -> tuple[int, int, int] | None:
    """What SGR 38 or 48 mean; xterm's 256 colours from 16 on."""
    if not color:
        return None
    kind, *numbers = map(int, color.split(";"))
    if kind == 2:
        return numbers[0], numbers[1], numbers[2]
    number = numbers[0]
    assert number >= 16  # a user may have made anything of the others
    if number >= 232:
        return (8 + 10 * (number - 232),) * 3
    number -= 16
    red, green, blue = (n and 55 + 40 * n for n in (number // 36, number // 6 % 6, number % 6))
    return red, green, blue


def decoded_sixel(content: bytes) -> np.ndarray:
    """Between DCS and ST. (h, w, 3) uint8; what no sixel covers must not be there."""
    start = re.match(rb'[\d;]*q"1;1;(\d+);(\d+)', content)
    assert start, content
    width, height = int(start[1]), int(start[2])
    pixels = np.zeros((height + 6, width, 3), np.uint8)
    covered = np.zeros(pixels.shape[:2], bool)
    palette: dict[int, np.ndarray] = {}
    color = column = top = 0
    for part in re.finditer(rb"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|([$-])", content[start.end() :]):
        if part[1]:
            palette[int(part[1])] = (np.array([int(part[n]) for n in (2, 3, 4)]) * 255 / 100).round().astype(np.uint8)
        elif part[5]:
            color = int(part[5])
        elif part[9]:
            column, top = 0, top + 6 * (part[9] == b"-")
        else:
            count, bits = int(part[6] or 1), (part[7] or part[8])[0] - ord("?")
            for row in (row for row in range(6) if bits >> row & 1):
                pixels[top + row, column : column + count] = palette[color]
                covered[top + row, column : column + count] = True
            column += count
            assert column <= width
    assert covered[:height].all()
    assert not covered[height:].any()
    return pixels[:height]


def text_on_terminal(rclip: Command, *arguments: str) -> str:
    """What the command writes to stdout when that is a terminal, but for colours."""
    master, slave = pty.openpty()
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), *arguments]
    env = rclip.env | {"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(command, cwd=rclip.cwd, env=env, stdout=slave, stderr=subprocess.PIPE, check=False)
    os.close(slave)
    with open(master, "rb", buffering=0) as terminal:
        shown = b""
        while True:
            try:
                part = terminal.read(65536)
            except OSError:  # Linux's end of a pseudo-terminal
                break
            if not part:
                break
            shown += part
    assert not done.stderr
    return shown.decode().replace("\r\n", "\n")
