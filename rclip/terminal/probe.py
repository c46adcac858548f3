"""Which pictures a terminal can show and how large its cells are: asked of itself, or of tmux where that is between."""

import fcntl
import os
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, TextIO

from rclip import isolation
from rclip.errors import DumbTerminal, PicturesBlocked
from rclip.terminal import environment

ANSWER_TIME_S = 0.15
"""A terminal that has not answered by then is taken for one that knows no pictures."""

_ST = b"\x1b\\"
_KITTY_QUERY = b"\x1b_Gi=1,s=1,v=1,a=q,t=d,f=24;AAAA" + _ST  # could you show this pixel?
_QUERY = (
    b"\x1b[>0q"  # XTVERSION: who are you?
    + b"\x1b[16t"  # XTWINOPS: how many pixels has a cell?
    + b"\x1b[?1;1;0S"  # XTSMGRAPHICS: how many colours has a Sixel picture?
    + b"\x1b[c"  # DA1, which all answer, and in order: nothing comes after it
)  # fmt: skip
_FENCE = re.compile(rb"\x1b\[\?([\d;]*)c")


class Screen(NamedTuple):
    """What there is to draw on."""

    kind: str
    """`kitty`, `iterm`, `sixel` or `blocks`."""
    columns: int
    lines: int
    cell: tuple[int, int]
    """Width and height in pixels."""
    sixel_colors: int
    has_true_color: bool
    passthrough: bool
    """Whether pictures go through tmux to the terminal behind it."""


class TerminalReply(NamedTuple):
    """What a terminal, or tmux, says of itself."""

    kitty: bool = False
    sixel: bool = False
    name: str = ""
    """With its version."""
    cell: tuple[int, int] | None = None
    sixel_colors: int | None = None


class Tmux(NamedTuple):
    """What tmux knows of the terminal that it runs in."""

    name: str = ""
    """With its version, as that says itself."""
    features: frozenset[str] = frozenset()
    cell: tuple[int, int] | None = None
    passthrough: bool = False
    is_alone: bool = False
    """Whether nothing stands beside our pane: what tmux cannot scroll in one go it redraws, without our pictures."""


class Tty(NamedTuple):
    """The two ends of a terminal, as file descriptors; -1 for what there is not."""

    keyboard: int
    display: int


@contextmanager
def screen(
    wished: str, environ: Mapping[str, str] = os.environ, tty: Tty | None = None, answer_time_s: float = ANSWER_TIME_S
) -> Iterator[Screen]:
    """`wished` is `auto`, or a kind, which is not doubted. Raises `UsageError` where there is nothing to draw on.

    `tty` None is that of stdin and stdout. Answers that come too late are not shown, and those that come before it is
    left are thrown away.
    """
    if wished == "auto" and environ.get("TERM") == "dumb":
        raise DumbTerminal
    tty = tty or _standard_streams()
    if not _may_ask(tty, environ):
        yield _screen(wished, by_name(environ), environ, tty)
        return
    with ExitStack() as quiet:
        quiet.enter_context(_keys_unread(tty))
        query = _QUERY if "TMUX" in environ else _KITTY_QUERY + _QUERY  # tmux would take Kitty's for a title
        answers = _ask(tty, query, answer_time_s)
        if answers is None or _FENCE.search(answers):
            quiet.close()
        else:
            quiet.callback(termios.tcflush, tty.keyboard, termios.TCIFLUSH)
        yield _screen(wished, by_name(environ) if answers is None else understood(answers), environ, tty)


def _standard_streams() -> Tty:
    return Tty(_descriptor(sys.stdin), _descriptor(sys.stdout))


def _descriptor(stream: TextIO | None) -> int:
    try:
        return stream.fileno() if stream else -1
    except (OSError, ValueError):  # not a file, or closed
        return -1


def _screen(wished: str, answer: TerminalReply, environ: Mapping[str, str], tty: Tty) -> Screen:
    tmux = _ask_tmux(environ) if "TMUX" in environ and wished != "blocks" else Tmux()
    kind, passthrough = choose(answer, tmux, environ) if wished == "auto" else (wished, False)
    if wished in ("kitty", "iterm") or (wished == "sixel" and not answer.sixel):
        passthrough = "TMUX" in environ
    if passthrough and not tmux.passthrough:
        raise PicturesBlocked(kind=wished)
    columns, lines = environment.size(tty.display)
    return Screen(
        kind,
        columns,
        lines,
        tmux.cell or answer.cell or _cell_by_window(tty) or (8, 16),
        max(2, min(answer.sixel_colors or 256, 256)),
        has_true_color(answer, environ),
        passthrough,
    )


def choose(answer: TerminalReply, tmux: Tmux, environ: Mapping[str, str]) -> tuple[str, bool]:
    """The best kind that can be had, and whether it goes through tmux to the terminal behind it."""
    if tmux.passthrough and _takes_placeholders(tmux.name) and "RGB" in tmux.features:
        return "kitty", True
    if "TMUX" in environ:
        if answer.sixel:  # tmux draws itself
            return "sixel", False
        if tmux.passthrough and tmux.is_alone and tmux.name.startswith(_ITERM_NAMES):
            return "iterm", True
        return ("sixel", True) if tmux.passthrough and tmux.is_alone and "sixel" in tmux.features else ("blocks", False)
    if answer.kitty:
        return "kitty", False
    if answer.name.startswith(_ITERM_NAMES):
        return "iterm", False
    return ("sixel", False) if answer.sixel else ("blocks", False)


_ITERM_NAMES = ("iTerm2", "WezTerm")


def _takes_placeholders(name: str) -> bool:
    version = tuple(map(int, re.findall(r"\d+", name)))
    return name.startswith("ghostty") or (name.startswith("kitty") and version >= (0, 28))


def has_true_color(answer: TerminalReply, environ: Mapping[str, str]) -> bool:
    """All that can tell their names have it. Others are believed when they say so; 256 colours never look broken."""
    return bool(answer.name) or environ.get("COLORTERM") in ("truecolor", "24bit")


# --- asking the terminal ---------------------------------------------------------------------------------------------


def by_name(environ: Mapping[str, str]) -> TerminalReply:
    """For a terminal that cannot be asked."""
    if "TMUX" in environ or "STY" in environ:
        return TerminalReply()
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if term in ("xterm-kitty", "xterm-ghostty"):
        return TerminalReply(kitty=True, name=term)
    if program in ("iTerm.app", "WezTerm"):
        return TerminalReply(name="iTerm2")
    return TerminalReply(sixel=True, name=term) if term.startswith("foot") else TerminalReply()


def understood(answers: bytes) -> TerminalReply:
    """What a terminal's answers to the query mean; whatever else stands among them is passed over."""
    attributes = _FENCE.search(answers)
    name = re.search(rb"\x1bP>\|([^\x1b]*)", answers)
    cell = re.search(rb"\x1b\[6;(\d{1,4});(\d{1,4})t", answers)
    colors = re.search(rb"\x1b\[\?1;0;(\d{1,9})S", answers)
    return TerminalReply(
        kitty=re.search(rb"\x1b_Gi=1;OK\x1b", answers) is not None,
        sixel=attributes is not None and b"4" in attributes[1].split(b";")[1:],
        name=name[1].decode(errors="replace") if name else "",
        cell=(int(cell[2]), int(cell[1])) if cell and int(cell[1]) and int(cell[2]) else None,
        sixel_colors=int(colors[1]) if colors else None,
    )


def _may_ask(tty: Tty, environ: Mapping[str, str]) -> bool:
    """Not in the background, where that would stop us, nor one that prints the question (or may, as a multiplexer)."""
    if environ.get("TERM", "") in ("", "dumb", "linux") or environ.get("TERM_PROGRAM") == "Apple_Terminal":
        return False
    if "STY" in environ:
        return False
    try:
        return os.isatty(tty.keyboard) and os.isatty(tty.display) and os.tcgetpgrp(tty.keyboard) == os.getpgrp()
    except OSError:  # no stdin, or none that is the terminal we run in
        return False


def _ask(tty: Tty, query: bytes, answer_time_s: float) -> bytes | None:
    """The answers. None if somebody is typing, whose keys would be taken for answers."""
    keyboard = tty.keyboard
    if select.select([keyboard], [], [], 0)[0]:
        return None
    sys.stdout.flush()
    os.write(tty.display, query)
    answers = b""
    until = time.monotonic() + answer_time_s
    while not _FENCE.search(answers) and (left := until - time.monotonic()) > 0:
        if select.select([keyboard], [], [], left)[0]:
            answers += os.read(keyboard, 4096)
    return answers


@contextmanager
def _keys_unread(tty: Tty) -> Iterator[None]:
    """Has keys come at once, and not be shown; Ctrl-C works as ever."""
    keyboard = tty.keyboard
    before = termios.tcgetattr(keyboard)
    changed = termios.tcgetattr(keyboard)
    changed[3] &= ~(termios.ICANON | termios.ECHO)
    changed[6][termios.VMIN], changed[6][termios.VTIME] = 1, 0
    try:
        termios.tcsetattr(keyboard, termios.TCSANOW, changed)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)


def _cell_by_window(tty: Tty) -> tuple[int, int] | None:
    try:
        window = fcntl.ioctl(tty.display, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return None
    lines, columns, width, height = struct.unpack("HHHH", window)
    return (width // columns, height // lines) if columns and lines and width >= columns and height >= lines else None


# --- asking tmux -----------------------------------------------------------------------------------------------------

# Through tmux a terminal can be sent things but not asked: tmux keeps the answers, and reports what they were.
_TMUX_FACTS = (
    "allow-passthrough",
    "client_termtype",
    "client_termfeatures",
    "client_cell_width",
    "client_cell_height",
    "pane_width",
    "window_width",
)


def _ask_tmux(environ: Mapping[str, str]) -> Tmux:
    """Nothing is known of a tmux that does not tell."""
    import subprocess

    pane = environ.get("TMUX_PANE", "")
    wanted = "\n".join(f"#{{{fact}}}" for fact in _TMUX_FACTS)
    try:
        command = [isolation.program("tmux"), "display-message", "-p", *(["-t", pane] if pane else []), wanted]
        answer = subprocess.run(command, capture_output=True, timeout=1, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return Tmux()
    lines = answer.decode(errors="replace").split("\n") + [""] * len(_TMUX_FACTS)
    passthrough, name, features, width, height, pane_width, window_width = lines[: len(_TMUX_FACTS)]
    return Tmux(
        name,
        frozenset(features.split(",")),
        (int(width), int(height)) if width.isdecimal() and height.isdecimal() and int(width) and int(height) else None,
        passthrough not in ("off", "0"),  # tmux older than 3.3 has no such option, and always hands on
        pane_width == window_width,
    )
