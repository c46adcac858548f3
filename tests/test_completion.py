"""What `--generate` prints, given to whom it is for: completion in the real shells, the man page in groff."""

import os
import pty
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rclip.cli.arguments import option_parser
from rclip.cli.choices import PREVIEWS
from rclip.models import NAMES
from tests.support.command import Command

Shell = Callable[[Sequence[Sequence[str]], Path], list[set[str]]]
"""Completes the last word of each line, in a folder, with the script that the command prints."""

ACTIONS = [action for action in option_parser()._actions if action.option_strings]
REFERENCE = (Path(__file__).parent.parent / "docs/reference.md").read_text(encoding="utf-8")
LONG_NAMES = {name for action in ACTIONS for name in action.option_strings if name.startswith("--")}


# --- completion -------------------------------------------------------------------------------------------------------


def script(rclip: Command, shell: str) -> str:
    done = rclip("--generate", f"complete-{shell}")
    assert (done.code, done.err) == (0, "")
    return done.out


def in_bash(lines: Sequence[Sequence[str]], folder: Path, written: str) -> list[set[str]]:
    """Calls what the script registered as bash would."""
    path = folder.parent / "rclip.bash"
    path.write_text(written)
    driver = f"""
        source {path}
        function=$(complete -p rclip | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        COMP_WORDS=(rclip "$@")
        COMP_CWORD=$#
        $function rclip "${{@: -1}}" "${{@: -2:1}}" && printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    commands = [["bash", "-c", driver, "bash", *words] for words in lines]
    return [found(subprocess.run(it, cwd=folder, capture_output=True, check=True).stdout) for it in commands]


def in_fish(lines: Sequence[Sequence[str]], folder: Path, written: str) -> list[set[str]]:
    path = folder.parent / "rclip.fish"
    path.write_text(written)
    driver = f'source "{path}"\nfor line in $argv\n  complete -C "$line"\n  echo END\nend'
    typed = [" ".join(("rclip", *words)) for words in lines]
    env = os.environ | {"HOME": str(folder.parent), "XDG_CONFIG_HOME": str(folder.parent)}
    done = subprocess.run(["fish", "-N", "-c", driver, *typed], cwd=folder, env=env, capture_output=True, check=True)
    return [found(block) for block in done.stdout.split(b"END\n")[:-1]]


def in_zsh(lines: Sequence[Sequence[str]], folder: Path, written: str) -> list[set[str]]:
    """An interactive zsh on a terminal of its own; each line is typed, then TAB, then a key that notes the end."""
    home = folder.parent / "zsh"
    home.mkdir()
    (home / "_rclip").write_text(written)
    hits = home / "hits"
    hits.touch()
    (home / ".zshrc").write_text(f"""
        PROMPT='' fpath=({home} $fpath)
        autoload -Uz compinit && compinit -u -D
        compadd() {{
          local -a hits
          if [[ " $* " != *" -"[OAD]" "* ]]; then
            builtin compadd -O hits "$@"
            (( $#hits )) && print -rl -- $hits >> {hits}
          fi
          builtin compadd "$@"
        }}
        next_line() {{ BUFFER=''; print -r -- END >> {hits} }}
        zle -N next_line
        bindkey '^X^N' next_line
        zle-line-init() {{ print -r -- READY >> {hits}; zle -D zle-line-init }}
        zle -N zle-line-init
    """)
    typed = [" ".join(("rclip", *words)) for words in lines]
    controller, terminal = pty.openpty()
    env = os.environ | {"ZDOTDIR": str(home), "TERM": "vt100"}
    with subprocess.Popen(
        ["zsh", "-d", "-i"],
        cwd=folder,
        env=env,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as zsh:
        os.close(terminal)
        try:
            wait_for(hits, b"READY\n", 1, controller)
            for number, line in enumerate(typed, 1):
                os.write(controller, f"{line}\t\x18\x0e".encode())
                wait_for(hits, b"END\n", number, controller)
        finally:
            zsh.kill()
            os.close(controller)
    return [found(block) for block in hits.read_bytes().removeprefix(b"READY\n").split(b"END\n")[:-1]]


def wait_for(path: Path, mark: bytes, count: int, terminal: int) -> None:
    """Until the mark is there so often; meanwhile reads what the terminal prints, or it would fill up."""
    os.set_blocking(terminal, False)
    patience_s = time.monotonic() + 60
    while path.read_bytes().count(mark) < count:
        assert time.monotonic() < patience_s
        try:
            os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.01)


def found(out: bytes) -> set[str]:
    """Candidates, without descriptions, quotes, and what shells put before and behind paths."""
    names = {line.partition("\t")[0].replace("\\", "") for line in out.decode().splitlines()}
    return {name.removeprefix("./").rstrip("/") for name in names} - {""}


SHELLS = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}

COMPLETIONS: list[tuple[list[str], set[str]]] = [
    (["--exclude"], {"--exclude", "--exclude-dir", "--excluded"}),
    (["--device", ""], {"auto", "cpu", "cuda", "mps"}),
    (["--color", "a"], {"auto", "always"}),
    (["--sort", ""], {"score", "date", "path"}),
    (["--previ"], {"--preview", "--preview-height", *(f"--preview={kind}" for kind in PREVIEWS)}),
    (["--generate", "complete-"], {"complete-bash", "complete-zsh", "complete-fish"}),
    (["--model", "ViT-L"], {"ViT-L/14", "ViT-L/14@336px"}),
    (["--model", "RN"], {name for name in NAMES if name.startswith("RN")}),
    (["--model", "./t"], {"tiny.pt"}),
    (["--queries", "c"], {"cat.jpg", "captions.txt"}),
    (["--top", ""], set()),
    (["c"], set()),  # what does not start as a path is a word, whatever file is called so
    (["./c"], {"cat.jpg", "captions.txt"}),
    (["P"], {"Pictures", "Pix and more"}),
    (["kite", "P"], {"Pictures", "Pix and more"}),
    (["-n", "kite", "Pictures", "./P"], {"Pictures", "Pix and more"}),
    (["kite", "-n", "+", "./cat"], {"cat.jpg"}),
    (["kite", "--add", "./cat"], {"cat.jpg"}),
    (["kite", "--js"], {"--json"}),
]


@pytest.mark.parametrize("shell", SHELLS)
def test_completion(shell: str, rclip: Command, photos: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    for folder in ("Pictures", "Pix and more"):
        (photos / folder).mkdir()
    for name in ("cat.jpg", "captions.txt", "tiny.pt", "Pictures/dog.jpg"):
        (photos / name).touch()
    lines = [words for words, _ in COMPLETIONS]
    *answers, names = SHELLS[shell]([*lines, ["--"]], photos, script(rclip, shell))
    assert dict(zip(map(" ".join, lines), answers, strict=True)) == {
        " ".join(words): expected for words, expected in COMPLETIONS
    }
    assert {name for name in names if "=" not in name} == LONG_NAMES


# --- the man page -----------------------------------------------------------------------------------------------------


@pytest.fixture
def man_page(rclip: Command) -> str:
    """As it reads, in lines as long as they want to be."""
    if shutil.which("groff") is None:
        pytest.skip("no groff here")
    done = rclip("--generate", "man")
    assert (done.code, done.err) == (0, "")
    command = ["groff", "-man", "-Tutf8", "-ww", "-Kutf8", "-rLL=2000n", "-P-cbou"]
    shown = subprocess.run(command, input=done.out, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    return " ".join(shown.stdout.replace("‐", "-").replace("−", "-").split())


def test_the_man_page_says_what_the_help_says(man_page: str) -> None:
    parser = option_parser()
    for action in ACTIONS:
        names = ", ".join(f"{name} {action.metavar}" if action.nargs != 0 else name for name in action.option_strings)
        assert f" {names} {' '.join(parser._get_formatter()._expand_help(action).split())} " in man_page
    for example in re.findall(r"^  (rclip .*?) {2,}", str(parser.epilog), flags=re.MULTILINE):
        assert f" {example} " in man_page


def test_the_man_pages_sections(man_page: str) -> None:
    options = ["SEARCH OPTIONS", "FILTER OPTIONS", "OUTPUT OPTIONS", "INDEX OPTIONS", "MODEL OPTIONS", "OTHER OPTIONS"]
    headings = ["NAME", "SYNOPSIS", "DESCRIPTION", *options, "EXAMPLES", "EXIT STATUS", "ENVIRONMENT"]
    places = [man_page.index(f" {heading} ") for heading in headings]
    assert places == sorted(places)


def test_help_and_man_page_name_the_variables_that_the_reference_has(rclip: Command, man_page: str) -> None:
    variables = set(re.findall(r"^\| `(RCLIP_\w+)` \|", REFERENCE, flags=re.MULTILINE))
    assert "RCLIP_PHOTO_TIMEOUT_S" in variables
    assert set(re.findall(r"RCLIP_\w+", man_page[man_page.index(" ENVIRONMENT ") :])) == variables
    assert set(re.findall(r"RCLIP_\w+", rclip("--help").out)) == variables


def test_the_man_page_fits_a_terminal(rclip: Command) -> None:
    if shutil.which("groff") is None:
        pytest.skip("no groff here")
    page = rclip("--generate", "man").out
    command = ["groff", "-man", "-Tutf8", "-Kutf8", "-rLL=90n", "-P-cbou"]
    shown = subprocess.run(command, input=page, capture_output=True, text=True, check=True).stdout
    assert max(map(len, shown.splitlines())) <= 100
