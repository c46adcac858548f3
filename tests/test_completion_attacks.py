"""Names of files that are commands to a shell: completed in the real shells, on a terminal, and run with Enter."""

import os
import pty
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from rclip.cli.arguments import option_parser
from tests.support.command import Command
from tests.support.terminals import LEADING

HOSTILE = [
    "m$(touch x).pt",
    "m`touch x`.pt",
    "m;touch x;.pt",
    "m&touch x&.pt",
    "m|touch x.pt",
    "m>x.pt",
    "m${HOME}.pt",
    "m'$(touch x)'.pt",
    'm"$(touch x)".pt',
    "m\\$(touch x).pt",
    "m (touch x).pt",
    "m*{a,b}?[c].pt",
    "m~!x#.pt",
    "m%(touch x).pt",
]
"""Each is the only file of its folder."""

STARTS = {
    "bash": "PS1= ; bind 'set enable-bracketed-paste off'; source {script}\n"
    "rclip() {{ printf '%s\\0' \"$@\" END >>{log}; }}\n",
    "zsh": "PROMPT= ; fpath=({home} $fpath); autoload -Uz compinit && compinit -u -D; unsetopt BANG_HIST LIST_BEEP\n"
    "rclip() {{ printf '%s\\0' \"$@\" END >>{log}; }}\n",
    "fish": "function fish_prompt; end\nfunction rclip; printf '%s\\0' $argv END >>{log}; end\nsource {script}\n",
}
COMMANDS = {
    "bash": ["bash", "--noprofile", "--rcfile", "{start}", "-i"],
    "zsh": ["zsh", "-d", "-i"],
    "fish": ["fish", "-N", "-i", "-C", "source {start}"],
}


def options_with_files() -> list[str]:
    """The last name of each option whose value is a file or folder; nothing for a word of the query."""
    actions = option_parser()._actions
    completed = [each.option_strings[-1] for each in actions if each.metavar in ("TERM", "MODEL", "FILE")]
    assert {"--model", "--queries", "--export", "--add"} <= set(completed)
    return ["", *completed]


class Shell:
    """An interactive shell on a terminal, in which `rclip` notes what it is given."""

    def __init__(self, name: str, home: Path, script: str):
        path = home / ("_rclip" if name == "zsh" else f"rclip.{name}")
        path.write_text(script)
        self._log = home / "log"
        self._log.touch()
        start = home / (".zshrc" if name == "zsh" else "start")
        start.write_text(STARTS[name].format(script=path, log=self._log, home=home))
        self._controller, terminal = pty.openpty()
        os.set_blocking(self._controller, False)
        env = os.environ | {"HOME": str(home), "ZDOTDIR": str(home), "XDG_CONFIG_HOME": str(home), "TERM": "vt100"}
        env |= {"XDG_DATA_HOME": str(home), "HISTFILE": "/dev/null"}
        command = [part.format(start=start) for part in COMMANDS[name]]
        self._shell = subprocess.Popen(
            [*LEADING, *command],
            cwd=home,
            env=env,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)

    def run(self, typed: str) -> None:
        os.write(self._controller, typed.encode())

    def given(self, count: int) -> list[list[str]]:
        """What `rclip` was given, when it has run so often."""
        until = time.monotonic() + 60
        while self._log.read_bytes().count(b"END\0") < count:
            assert time.monotonic() < until, self._log.read_bytes()
            try:
                os.read(self._controller, 65536)
            except BlockingIOError:
                time.sleep(0.01)
        runs = self._log.read_bytes().decode().split("END\0")[:-1]
        return [run.split("\0")[:-1] for run in runs]

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._controller)


def quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def completed(shell: Shell, folders: Sequence[Path], options: Sequence[str]) -> list[list[str]]:
    """What `rclip` is given in each folder, for each option, where the start of the only name in it is completed."""
    count = 0
    for folder in folders:
        for option in options:
            count += 1
            shell.run(f"cd {quoted(str(folder))}\r")
            shell.run(f"rclip {option} ./m\t\r")
            shell.given(count)
    return shell.given(count)


@pytest.mark.parametrize("name", STARTS)
def test_names_that_are_commands_are_quoted(rclip: Command, tmp_path: Path, name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"no {name} here")
    folders = []
    for number, hostile in enumerate(HOSTILE):
        folders.append(tmp_path / f"folder {number}")
        folders[-1].mkdir()
        (folders[-1] / hostile).touch()
    options = options_with_files()
    home = tmp_path / "shell"
    home.mkdir()
    shell = Shell(name, home, rclip("--generate", f"complete-{name}").out)
    try:
        given = completed(shell, folders, options)
    finally:
        shell.close()
    expected = [[*filter(None, [option]), f"./{hostile}"] for hostile in HOSTILE for option in options]
    assert given == expected
    assert {path.name for folder in folders for path in folder.iterdir()} == set(HOSTILE)
