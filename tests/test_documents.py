"""What the documents say is true: their commands run, their links lead somewhere, their tables are the program's."""

import configparser
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs import make_reference
from docs.make_reference import Row
from rclip import formats
from rclip.cli.arguments import option_parser, parse
from rclip.models import NAMES
from tests.support.command import Command
from tests.support.gallery import GALLERY, Draw, draw_scene
from tests.support.gazetteer import write as write_gazetteer

ROOT = Path(__file__).parent.parent
PATHS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PATHS}
README, GUIDE, REFERENCE = DOCUMENTS["README.md"], DOCUMENTS["docs/guide.md"], DOCUMENTS["docs/reference.md"]


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [code for name, code in fenced if name == language]


def section(text: str, heading: str) -> str:
    """From the heading to the next one of its rank."""
    return text[text.index(f"\n## {heading}\n") + 1 :].split("\n## ")[0]


# --- form and links ---------------------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("name", DOCUMENTS)
def test_prose_is_wrapped_as_the_code_is(name: str) -> None:
    """Except tables, and addresses that are longer."""
    lines = [line for line in DOCUMENTS[name].splitlines() if not line.startswith("|") and " " in line]
    assert [line for line in lines if len(line) > 120] == []


def anchors(text: str) -> set[str]:
    """Those that a code host makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(name: str) -> Iterator[str]:
    """Targets in this repository, relative to the document."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(DOCUMENTS[name]))
    return (target for target in targets if not re.match(r"[a-z]+:", target))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    for target in links(name):
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), target


def test_the_readme_leads_to_every_document() -> None:
    assert {name for name in DOCUMENTS if name != "README.md"} <= set(links("README.md"))


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name.startswith("docs/")])
def test_a_list_of_contents_is_complete(name: str) -> None:
    listed = re.findall(r"^- \[(.+)\]\(#", DOCUMENTS[name], flags=re.MULTILINE)
    assert listed == re.findall(r"^## (.+)$", DOCUMENTS[name], flags=re.MULTILINE)


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[str]:
    """Each command of the shell examples; one with an open quote goes on in the next line."""
    for block in blocks(text, "sh"):
        command = ""
        for line in block.splitlines():
            command += line + "\n"
            try:
                words = shlex.split(command, comments=True)
            except ValueError:  # no closing quotation
                continue
            if words:
                yield re.sub(r" {2,}#.*$", "", command.strip())
            command = ""
        assert not command.strip(), command


EXAMPLES = list(dict.fromkeys(command for text in DOCUMENTS.values() for command in commands(text)))
SEARCHES = [
    command
    for command in EXAMPLES
    if command.startswith("rclip ") and not re.search("(postgresql|chroma).*://", command)
]
"""Those that ask a database are run by `test_vector_databases` and `test_chroma`."""
NOT_RUN = re.compile(r"https://|--model |--language |--web|--watch|^rclip --preview|^rclip -p |^rclip -i")
"""These need a network, a large model or a terminal, or do not end: only their options are checked."""
PROGRAMS = ("jq", "rsync")
"""In examples, and not on every machine."""


@pytest.fixture(scope="module")
def gazetteer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The extra `places`, with a few of them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(write_gazetteer(tmp_path_factory.mktemp("gazetteer"))))
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, gazetteer: None) -> Command:
    """A home with a folder of pictures that has what the examples name, and the command in its `~/.local/bin`."""
    root = tmp_path_factory.mktemp("documents")
    home, pictures = root / "home", root / "home/Pictures"
    rng = random.Random(3)
    folders = ["stars", "2019/work", "screenshots", "thumbnails"]
    names = [f"{folder}/{color}.png" for folder in folders for color, shape in GALLERY if shape == "star"]
    for name in [*names, "cat.jpg", "beach.jpg", "pool.jpg"]:
        path = pictures / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_scene(path, f"{path.stem if path.suffix == '.png' else 'green'} star", rng)
    (pictures / "captions.txt").write_text("a red star\na blue star + red\n")
    for folder in ("mnt/nas/photos", "mnt/drive/2019"):
        shutil.copytree(pictures / "stars", root / folder)
    for folder in (
        ".local/share/bash-completion/completions",
        ".local/share/man/man1",
        ".zfunc",
        ".config/fish/completions",
    ):
        (home / folder).mkdir(parents=True)
    command = Command(home, root / "data", tiny_checkpoint, pictures)
    install(home / ".local/bin/rclip", f'exec {sys.executable} -m rclip --model {tiny_checkpoint} "$@"')
    for viewer in ("feh", "xdg-open"):
        install(home / ".local/bin" / viewer, 'for file do [ -f "$file" ] || exit 3; done')
    install(home / ".local/bin/fzf", "exec cat")  # it needs a person
    assert command("--index").code == 0
    return command


def install(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run(command: str, world: Command, *shell: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{world.home}/.local/bin{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [*(shell or ("bash", "-o", "pipefail")), "-c", command.replace("/mnt/", f"{world.home.parent}/mnt/")],
        cwd=world.cwd, env=world.env | {"PATH": path} | env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", [command for command in SEARCHES if not NOT_RUN.search(command)])
def test_a_command_runs(command: str, world: Command) -> None:
    if any(f"| {program} " in command and shutil.which(program) is None for program in PROGRAMS):
        command = command.split(" | ")[0]
    done = run(command, world)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [command for command in SEARCHES if NOT_RUN.search(command)])
def test_a_command_is_understood(command: str) -> None:
    words = shlex.split(command.partition(" | ")[0], comments=True)[1:]
    words = [{"~/Pictures": ".", "/mnt/nas/photos": "."}.get(word, word) for word in words]
    assert parse(words).query or {"--queries", "--web", "--watch", "-i"} & set(words)


def test_enough_commands_are_looked_at() -> None:
    assert len(SEARCHES) > 40
    assert sum(bool(NOT_RUN.search(command)) for command in SEARCHES) < len(SEARCHES) / 4


def test_the_nightly_update_runs_and_says_nothing(world: Command) -> None:
    """With the few variables that cron sets, and in its shell."""
    lines = {line for text in (README, GUIDE) for block in blocks(text, "") for line in block.splitlines()}
    (line,) = [line for line in lines if "rclip --index" in line]
    *fields, command = line.split(maxsplit=5)
    assert [re.fullmatch(r"\d+|\*", field) is not None for field in fields] == [True] * 5
    done = run(command, world, "sh", PATH="/usr/bin:/bin")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_folders_can_be_excluded_for_good(world: Command) -> None:
    (command,) = (command for command in EXAMPLES if ".rclipignore" in command)
    assert "screenshots/" in run("rclip -t 99 'a star'", world).stdout
    done = run("\n".join([command, "rclip -t 99 'a star'"]), world)
    assert done.returncode == 0
    assert "stars/red.png" in done.stdout
    assert "screenshots/" not in done.stdout
    (world.cwd / ".rclipignore").unlink()


def test_the_systemd_unit_starts_what_there_is() -> None:
    (unit,) = blocks(GUIDE, "ini")
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(unit)
    program, *arguments = parsed["Service"]["ExecStart"].split()
    assert program == "%h/.local/bin/rclip"
    assert parse([argument.replace("%h/Pictures", ".") for argument in arguments]).values["watch"]


def test_every_make_target_that_is_named_exists() -> None:
    named = {target for text in DOCUMENTS.values() for target in re.findall(r"`make ([\w-]+)`", text)}
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"demo", "test", "check"} <= named <= targets


def test_what_the_readme_installs_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"pip install '\.\[(\w+)\]'", README):
        assert extra in project["optional-dependencies"]
    assert "rclip" in project["scripts"]


# --- copying ----------------------------------------------------------------------------------------------------------

ODD = ["a b.jpg", "-n.jpg", "*.jpg", "$(touch x).jpg", "'\".jpg", "new\nline.jpg", "back\\slash.jpg", "ends \n/x .jpg"]


@pytest.fixture
def odd_photos(rclip: Command, draw: Draw) -> Command:
    """Photos of one name in two folders, and of names that a careless command breaks on."""
    for name in ["2019/DSC_0001.jpg", "2020/DSC_0001.jpg", *ODD]:
        draw(name)
    (rclip.cwd / os.fsdecode(b"not utf-8 \xff.jpg")).write_bytes(draw("2019/DSC_0002.jpg").read_bytes() + b"\0")
    assert rclip("--index").code == 0
    install(rclip.home / ".local/bin/rclip", f'exec {sys.executable} -m rclip --model {rclip.model} "$@"')
    return rclip


def files_below(folder: Path) -> dict[bytes, bytes]:
    paths = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return {os.fsencode(path.relative_to(folder)): path.read_bytes() for path in paths}


def recipe(program: str) -> str:
    (found,) = {command for command in EXAMPLES if f"| {program}" in command and "sunsets" in command}
    return found


def test_copying_loses_and_overwrites_nothing(odd_photos: Command) -> None:
    (command,) = [command for command in SEARCHES if "--copy-to ~/sunsets --keep-paths" in command]
    expected = files_below(odd_photos.cwd)
    sunsets = odd_photos.home / "sunsets"
    (sunsets / "2019").mkdir(parents=True)
    (sunsets / "2019/DSC_0002.jpg").write_bytes(b"mine")
    kept = expected | {b"2019/DSC_0002.jpg": b"mine", b"2019/DSC_0002 (2).jpg": expected[b"2019/DSC_0002.jpg"]}
    for _ in range(2):
        assert run(f"{command} >/dev/null", odd_photos).returncode == 0  # names need not be text
        assert files_below(sunsets) == kept
    assert files_below(odd_photos.cwd) == expected


def test_copying_with_rsync(odd_photos: Command) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("no rsync here")
    assert run(recipe("rsync"), odd_photos).returncode == 0
    assert files_below(odd_photos.home / "sunsets") == files_below(odd_photos.cwd)


# --- Python -----------------------------------------------------------------------------------------------------------


def test_the_python_examples_run(rclip: Command, gallery: Path) -> None:
    """One after the other, in one interpreter, with the pictures in place of the reader's."""
    gallery.rename(rclip.home / "Pictures")
    code = "\n".join(blocks(DOCUMENTS["docs/python.md"], "python"))
    code = code.replace('"~/Pictures"', f'"~/Pictures", model="{rclip.model}"').replace("a red kite", "a red star")
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=rclip.env, cwd=rclip.home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    score, path = done.stdout.splitlines()[0].split(" ", 1)
    assert path == str(rclip.home / "Pictures/stars/red.jpg")
    assert 0 < float(score) < 1
    assert "./missing.jpg failed: " in done.stdout


def test_every_public_name_is_explained() -> None:
    import rclip

    missing = [name for name in rclip.__all__ if f"`{name}" not in DOCUMENTS["docs/python.md"]]
    assert missing == ["__version__"]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_the_reference_has_the_programs_options() -> None:
    assert make_reference.with_options(REFERENCE, option_parser()) == REFERENCE, "run: make docs"
    assert blocks(section(REFERENCE, "Usage"), "") == [f"{option_parser().usage}\n"]


def test_every_option_is_explained_beside_the_reference() -> None:
    explained = set(re.findall(r"(?<![\w-])--?\w[\w-]*", GUIDE + DOCUMENTS["docs/index.md"]))
    options = [action.option_strings for action in option_parser()._actions if action.option_strings]
    assert [names for names in options if not explained & set(names)] == [["--version"]]


def test_every_option_that_is_named_exists() -> None:
    known = {name for action in option_parser()._actions for name in action.option_strings}
    for name in ("README.md", "docs/guide.md", "docs/index.md", "docs/python.md"):
        spans = re.findall(r"`(-[^`]*)`", re.sub(r"```.*?```", "", DOCUMENTS[name], flags=re.DOTALL))
        assert {re.split("[ =]", span)[0] for span in spans} <= known | {"-", "--"}, name


def test_every_message_has_a_meaning() -> None:
    assert [row.text for row in make_reference.rows(REFERENCE) if row.meaning == make_reference.UNWRITTEN] == []


def test_messages_keep_their_meaning_when_they_are_reworded() -> None:
    table = [Row("cannot open …", "2", "a"), Row("the disk is full", "2", "b"), Row("nothing is here", "1", "c")]
    document = "\n".join(["# Messages", *map(str, table), ""])
    said = [("cannot open …", "2"), ("the disk is full", "2"), ("quite another thing happened", "–")]
    updated = make_reference.with_messages(document, said)
    assert updated.startswith("# Messages\n")
    assert make_reference.rows(updated) == [
        Row("cannot open …", "2", "a"),
        Row("the disk is full", "2", "b"),
        Row("quite another thing happened", "–", make_reference.UNWRITTEN),
    ]
    assert make_reference.with_messages(updated, said) == updated


def test_the_guides_formats_are_the_programs() -> None:
    tables = section(GUIDE, "File formats") + section(GUIDE, "Videos")
    lines = [line.split("|") for line in tables.splitlines() if line.startswith("|")]
    rows = {cells[1].strip(): cells[2] for cells in lines}
    assert set(re.sub(r"\(.*?\)", "", rows["always"]).split()) == formats.PILLOW_SUFFIXES
    for extra in formats.EXTRAS:
        row = rows["with " + " and ".join(f"`{package}`" for package in extra.package.split())]
        assert not extra.suffixes or set(row.split(":")[0].split()) == extra.suffixes


def test_the_guides_models_are_the_programs() -> None:
    (row,) = [line for line in GUIDE.splitlines() if line.startswith("| `--model")]
    assert set(re.findall(r"`([A-Z][^`]+)`", row)) == set(NAMES)


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reasons = section(DOCUMENTS["CONTRIBUTING.md"], "Dependencies").lower()
    for requirement in project["dependencies"]:
        (name,) = re.findall(r"^[\w-]+", requirement)
        assert name in reasons, requirement
        assert "<" in requirement or requirement.startswith("regex"), requirement  # regex numbers by date
    for extra in formats.EXTRAS:
        groups = project["optional-dependencies"].values()
        for package in extra.package.split():
            assert any(package in line for group in groups for line in group)


def test_the_short_table_of_figures_agrees_with_the_long_one() -> None:
    long = {line.rsplit("|", 2)[0].strip() for line in DOCUMENTS["docs/performance.md"].splitlines()}
    rows = [line for line in section(README, "Performance").splitlines() if re.match(r"\| \w", line)]
    assert len(rows) >= 5
    for row in rows:
        assert row.rsplit("|", 1)[0].strip() in long, row


@pytest.mark.parametrize("name", ["benchmarks/"])
def test_every_benchmark_is_listed(name: str) -> None:
    helpers = {
        *("chart.py", "common.py", "data_sets.py", "distortions.py"),
        *("encode_pictures.py", "random_models.py", "timed.py"),
    }
    scripts = {path.name for path in (ROOT / name).glob("*.py")} - helpers
    assert set(re.findall(r"^\| `(\w+\.py)` \|", DOCUMENTS["docs/performance.md"], flags=re.MULTILINE)) == scripts


def test_the_architecture_names_every_module() -> None:
    table = section(DOCUMENTS["ARCHITECTURE.md"], "Layers")
    modules = {path.stem for path in (ROOT / "rclip").rglob("*.py") if not path.stem.startswith("_")}
    assert {name for name in modules if f"`{name}`" not in table and f"`{name}.py`" not in table} == set()


# --- the picture ------------------------------------------------------------------------------------------------------


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_the_picture_is_small() -> None:
    assert 0 < (ROOT / "docs/session.svg").stat().st_size < 60_000


@pytest.mark.soak
def test_the_picture_shows_what_the_command_prints(tmp_path: Path) -> None:
    drawn = tmp_path / "session.svg"
    subprocess.run([sys.executable, ROOT / "docs/draw_session.py", drawn], check=True)
    kept, now = texts((ROOT / "docs/session.svg").read_text()), texts(drawn.read_text())
    is_score = re.compile(r"0\.\d{3}").fullmatch
    assert [text for text in kept if not is_score(text)] == [text for text in now if not is_score(text)]
    scores = [[float(text) for text in found if is_score(text)] for found in (kept, now)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
