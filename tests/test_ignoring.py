"""What is passed over: by ignore files, as git reads them, by the user's own patterns, and by default."""

import os
import pty
import random
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from rclip import globs, ignoring
from rclip.ignoring import DEFAULT_RULES, IgnoreRules, TreeRules
from rclip.indexing.ignore_files import IgnoreFiles
from rclip.indexing.walk import walk
from tests.support.command import Command, one_line, update
from tests.support.gallery import Draw

PHOTOS = frozenset({"jpg"})
EVERYTHING = IgnoreRules(include_hidden=True)


def found_in(root: Path, rules: IgnoreRules = EVERYTHING) -> list[bytes]:
    """What a walk comes to, relative to the root."""
    folder = os.fsencode(root) + b"/"
    items = walk(folder, PHOTOS, IgnoreFiles(folder, rules))
    return [path.removeprefix(folder) for path, item in items if isinstance(item, os.DirEntry)]


# --- as git reads them -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], list[bytes]]:
    """Lists the files that git would not ignore, by the ignore files in the tree."""
    if shutil.which("git") is None:
        pytest.skip("there is no git to compare with")
    folder = tmp_path_factory.mktemp("git")
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"HOME": str(folder)}
    subprocess.run(["git", "init", "-q", "--bare", folder / "repository"], check=True, env=env)

    def listed(root: Path) -> list[bytes]:
        command = ["git", "-c", "core.ignoreCase=false", f"--git-dir={folder}/repository", f"--work-tree={root}"]
        command += ["ls-files", "-z", "--others", "--exclude-per-directory=.rclipignore"]
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, check=True)
        return sorted(path for path in done.stdout.split(b"\0") if path.endswith(b".jpg"))

    return listed


NAMES = ("a", "b", "ab", "foo", "x y", "-", "[a]", "!a", "#a", "a\\b", " a", "a ", "A", "*", ".h", "]")
PIECES = (
    *("a", "b", "ab", "foo", "bar", "x y", "-", "]", ".jpg", "#", "!", ".h", "A"),
    *("*", "*", "*", "**", "**/", "/**", "?", "/", "/", "/", "//", "\\", "\\ ", " ", "***"),
    *("[ab]", "[!a]", "[^a-c]", "[]a]", "[a-]", "[b-a]", "[[:alpha:]]", "[[:punct:]x]", "[", "[[:no:]]", "[\\]]", "\t"),
)
ENDS = ("\n", "\n", "\n", "\r\n", " \n", "  \r\n", "\\ \n", "/\n", "\n\n", "\r\r\n")


def random_tree(root: Path, rng: random.Random) -> list[Path]:
    folders = [root]
    for _ in range(14):
        folder = rng.choice(folders) / rng.choice(NAMES)
        folder.mkdir(exist_ok=True)
        folders.append(folder)
    for folder in folders:
        for name in rng.sample(NAMES, 4):
            (folder / f"{name}.jpg").touch()
    return folders


def random_lines(rng: random.Random) -> bytes:
    text = "\ufeff" if rng.random() < 0.05 else ""
    for _ in range(rng.randint(1, 5)):
        line = "".join(rng.choices(PIECES, k=rng.randint(1, 5)))
        text += ("!" if rng.random() < 0.25 else "") + line + rng.choice(ENDS)
    return text[: -1 if rng.random() < 0.2 else None].encode()


@pytest.mark.parametrize("seed", range(6))
def test_ignore_files_mean_what_git_takes_them_for(
    tmp_path: Path, git: Callable[[Path], list[bytes]], seed: int
) -> None:
    """Ten thousand verdicts a seed, of some hundred random lines."""
    rng = random.Random(seed)
    folders = random_tree(tmp_path, rng)
    for _ in range(60):
        chosen = rng.sample(folders, 2)
        for folder in chosen:
            (folder / ".rclipignore").write_bytes(random_lines(rng))
        contents = {str(folder): (folder / ".rclipignore").read_bytes() for folder in chosen}
        assert sorted(found_in(tmp_path)) == git(tmp_path), contents
        for folder in chosen:
            (folder / ".rclipignore").unlink(missing_ok=True)


def test_names_of_any_bytes_are_matched(tmp_path: Path, git: Callable[[Path], list[bytes]]) -> None:
    names = [b"\xe9t\xe9.jpg", "été.jpg".encode(), b"a\xffb.jpg", b"line\nbreak.jpg", b"tab\t.jpg"]
    root = os.fsencode(tmp_path)
    for name in names:
        open(root + b"/" + name, "wb").close()
    for content, left in ((b"\xe9*\n", 4), ("été*\n".encode(), 4), (b"*\xff*\r\n!a\xffb.jpg\n", 5), (b"*k*\n*\t*", 3)):
        (tmp_path / ".rclipignore").write_bytes(content)
        assert sorted(found_in(tmp_path)) == git(tmp_path), content
        assert len(git(tmp_path)) == left


def test_accents_match_in_both_encodings(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "Köln.jpg")).touch()
    (tmp_path / ".rclipignore").write_text(unicodedata.normalize("NFC", "Köln*"), encoding="utf-8")
    assert found_in(tmp_path) == []


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def library(rclip: Command, draw: Draw) -> Path:
    """Two photos of `private` folders, and two others, all indexed."""
    for name in ("one.png", "2019/two.png", "private/three.png", "2019/private/four.png"):
        draw(name)
    assert update(rclip) == "4 new photos"
    return rclip.cwd


def ignore(folder: Path, *lines: str) -> None:
    (folder / ".rclipignore").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def hits(rclip: Command, *arguments: str) -> list[str]:
    """What a search finds, without a look at the folders unless it is asked for by `-v`."""
    return sorted(rclip(*arguments, "red circle").lines)


ALL = ["2019/private/four.png", "2019/two.png", "one.png", "private/three.png"]
OTHERS = ["2019/two.png", "one.png"]


def test_what_an_ignore_file_excludes_is_not_found_and_comes_back_unread(rclip: Command, library: Path) -> None:
    ignore(library, "# not for others", "private/")
    assert hits(rclip) == OTHERS
    assert hits(rclip, "-n") == OTHERS  # what the last update has seen
    assert "excluded    2, kept until they are pruned" in rclip("--stats").out
    assert rclip("--index", "-v").err == "rclip: nothing has changed; photos here: 2\n"
    (library / ".rclipignore").unlink()
    assert rclip("--index", "-v").err == "rclip: nothing has changed; photos here: 4\n"
    assert hits(rclip, "-n") == ALL


def test_a_search_from_below_obeys_the_files_above(rclip: Command, library: Path) -> None:
    ignore(library, "/2019/private")
    (library / "2019/private/five.png").write_bytes((library / "one.png").read_bytes())
    assert rclip("red circle", cwd=library / "2019").lines == ["two.png"]
    assert hits(rclip) == ["2019/two.png", "one.png", "private/three.png"]


def test_a_folder_that_is_named_is_not_excluded(rclip: Command, library: Path) -> None:
    ignore(library, "private")
    assert hits(rclip) == OTHERS
    assert rclip("red circle", "private").lines == ["private/three.png"]
    assert sorted(rclip("red circle", ".", "private").lines) == ["./2019/two.png", "./one.png", "./private/three.png"]
    ignore(library / "private", "*.png")
    assert rclip("red circle", "private").lines == []


def test_what_is_excluded_is_not_indexed(rclip: Command, draw: Draw) -> None:
    draw("one.png")
    draw("drafts/two.png")
    ignore(rclip.cwd, "drafts/*", "!drafts/keep.png")
    assert update(rclip) == "1 new photo"
    draw("drafts/keep.png")
    assert update(rclip) == "1 new photo"
    assert hits(rclip, "-n") == ["drafts/keep.png", "one.png"]


def test_vectors_of_excluded_photos_are_kept_until_they_are_pruned(rclip: Command, library: Path) -> None:
    ignore(library, "private/")
    rclip("--index")
    assert "0 forgotten" in rclip("--prune", "0").err
    assert "2 forgotten" in rclip("--prune", "0", "--excluded").err
    (library / ".rclipignore").unlink()
    assert update(rclip) == "2 new photos"


def test_all_excluded_is_said(rclip: Command, library: Path) -> None:
    ignore(library, "*")
    done = rclip("red circle")
    assert (done.code, done.out) == (1, "")
    assert one_line(done.err).startswith("rclip: all photos here are excluded; ")


@pytest.mark.parametrize("where", ["option", "settings"])
def test_patterns_of_the_user(rclip: Command, library: Path, where: str) -> None:
    (rclip.home / ".config/rclip").mkdir(parents=True, exist_ok=True)

    def found(*patterns: str, cwd: Path = library) -> list[str]:
        options = [f"--exclude={pattern}" for pattern in patterns] if where == "option" else []
        listed = ", ".join(f"'{pattern}'" for pattern in patterns) if where == "settings" else ""
        (rclip.home / ".config/rclip/config.toml").write_text(f"exclude = [{listed}]\n", encoding="utf-8")
        return sorted(rclip("-n", *options, "red circle", cwd=cwd).lines)

    assert found("private/") == OTHERS
    assert found("**/2019/private", cwd=library / "2019") == ["two.png"]
    assert found(f"{library}/2019/private/") == ["2019/two.png", "one.png", "private/three.png"]
    assert found(f"{library}/2019/*", f"!{library}/2019/two.png") == ["2019/two.png", "one.png", "private/three.png"]
    ignore(library, "!private/")
    assert found("private") == OTHERS  # a file that lies in a folder does not take back what the user says
    link = library.parent / "by a link"
    link.symlink_to(library)
    assert found(f"{link}/2019/") == ["one.png", "private/three.png"]


def test_patterns_beside_a_portable_index_start_there(rclip: Command, library: Path) -> None:
    assert rclip("--init", "2019").code == 0
    (library / "2019/.rclip/config.toml").write_text("exclude = ['/private/']\n")
    assert rclip("red circle", "2019").lines == ["2019/two.png"]
    assert rclip("red circle", cwd=library / "2019").lines == ["two.png"]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("a/b", "exclude must say where 'a/b' is: with /, ~/ or **/ before it"),
        ("", "exclude must be a line as in .gitignore, like 'private/' or '*.psd', not ''"),
        ("#a", "exclude must be a line as in .gitignore, like 'private/' or '*.psd', not '#a'"),
    ],
)
def test_a_pattern_that_cannot_last_is_refused(rclip: Command, pattern: str, problem: str) -> None:
    (rclip.home / ".config/rclip").mkdir(parents=True, exist_ok=True)
    (rclip.home / ".config/rclip/config.toml").write_text(f"exclude = ['{pattern}']\n", encoding="utf-8")
    done = rclip("-n", "red circle")
    assert done.code == 2
    assert f"config.toml, line 1: {problem};" in one_line(done.err)


# --- files that are up to no good ------------------------------------------------------------------------------------


def make_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_large(path: Path) -> None:
    path.write_bytes(b"two.png\n" * 10_000)


def make_binary(path: Path) -> None:
    path.write_bytes("two.png\n".encode("utf-16"))


def make_unreadable(path: Path) -> None:
    path.write_text("two.png\n")
    path.chmod(0)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_link, "it is a link"),
        (os.mkfifo, "not a regular file"),
        (make_large, "it has more than 65,536 bytes"),
        (make_binary, "it is not text"),
        (make_unreadable, "Permission denied"),
    ],
)
def test_an_ignore_file_that_cannot_be_used_is_said_and_its_last_form_holds(
    rclip: Command, library: Path, make: Callable[[Path], None], reason: str, drop_root: tuple[str, ...]
) -> None:
    path = library / "2019/.rclipignore"
    make(path)
    done = rclip("red circle", prefix=drop_root)
    assert done.err == f"rclip: cannot use {path}: {reason}; what it said when it was last read still holds\n"
    assert sorted(done.lines) == ALL
    path.unlink()
    ignore(library / "2019", "private")
    assert "2019/private/four.png" not in hits(rclip)
    path.unlink()
    make(path)
    assert sorted(rclip("red circle", prefix=drop_root).lines) == [each for each in ALL if each != ALL[0]]


def test_a_folder_of_that_name_is_none(rclip: Command, library: Path) -> None:
    (library / ".rclipignore").mkdir()
    assert rclip("--index", "-v").err == "rclip: nothing has changed; photos here: 4\n"


def test_no_pattern_leads_into_an_index(tmp_path: Path) -> None:
    (tmp_path / ".rclip").mkdir()
    (tmp_path / ".rclip/a.jpg").touch()
    (tmp_path / ".rclipignore").write_text("!.rclip/\n!a.jpg\n")
    assert found_in(tmp_path) == []
    assert found_in(tmp_path, DEFAULT_RULES) == []


def test_more_patterns_than_anybody_writes_are_not_read(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (folder / "a.jpg").touch()
        (folder / ".rclipignore").write_text("".join(f"*{number}{each}\n" for each in range(600)))
    folder_name = os.fsencode(tmp_path) + b"/"
    files = IgnoreFiles(folder_name, DEFAULT_RULES)
    assert len(list(walk(folder_name, PHOTOS, files))) == 4
    assert [failure.reason for failure in files.failures] == [
        "with the files before it, it has more than 2,000 wildcards"
    ]


def test_wildcards_count_however_few_lines_they_are_in(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / ".rclipignore").write_text(f"# {'*' * 3000}\n{'*a' * 2001}\n")
    folder = os.fsencode(tmp_path) + b"/"
    files = IgnoreFiles(folder, DEFAULT_RULES)
    assert len(list(walk(folder, PHOTOS, files))) == 1
    assert [failure.reason for failure in files.failures] == [
        "with the files before it, it has more than 2,000 wildcards"
    ]


def test_lines_that_take_back_one_another_cost_little(rclip: Command) -> None:
    """As many as may be: ten times what it takes is allowed."""
    folder = rclip.cwd
    lines = "".join(f"{number:x}\n!{number:x}\n" for number in range(5_700))
    ignore(folder, "*.jpg", lines)
    for _ in range(14):
        folder /= "x"
        folder.mkdir()
        ignore(folder, lines)
    for number in range(1_000):
        (folder / f"{number}.jpg").touch()
    done = rclip("--index", "-v", prefix=("prlimit", "--cpu=40"))
    assert (done.code, done.err) == (0, "rclip: nothing has changed; photos here: 0\n")


def test_long_lines_are_not_kept_in_parts(tmp_path: Path) -> None:
    """Each letter would take a hundred bytes."""
    (tmp_path / ".rclipignore").write_text("a" * 60_000 + "*")
    kept = globs._tokens.cache_info().currsize
    assert found_in(tmp_path) == []
    assert globs._tokens.cache_info().currsize == kept


# --- what is passed over by default ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "is_passed_over"),
    [
        *((b"Catalog Previews.lrdata/a.jpg", True), (b"Catalog Smart Previews.lrdata/a.jpg", True)),
        *((b"__MACOSX/a.jpg", True), (b"x/.Trash-1000/files/a.jpg", True), (b"#Recycle/a.jpg", True)),
        *((b"My.photoslibrary/originals/0/a.jpg", False), (b"My.photoslibrary/resources/renders/0/a.jpg", False)),
        *((b"My.photoslibrary/resources/derivatives/0/a.jpg", True), (b"x/resources/derivatives/a.jpg", False)),
        *((b"Old.aplibrary/Masters/a.jpg", False), (b"Old.aplibrary/Thumbnails/a.jpg", True)),
        *((b"iPhoto Library.photolibrary/Originals/a.jpg", False), (b"iPhoto Library.photolibrary/Data/a.jpg", True)),
        *((b"iPhoto Library.photolibrary/Modified/a.jpg", False), (b"Thumbnails/a.jpg", False)),
        *((b".picasaoriginals/a.jpg", False), (b"Originals/a.jpg", False), (b".thumbnails/normal/a.jpg", True)),
    ],
)
def test_what_other_programs_derive_is_passed_over(path: bytes, is_passed_over: bool) -> None:
    assert TreeRules(b"/r/", DEFAULT_RULES).ignores_path(path) == is_passed_over
    assert not TreeRules(b"/r/", EVERYTHING).ignores_path(path)


def test_it_is_found_where_it_is_named(tmp_path: Path) -> None:
    for name in ("@Recycle", "a/@Recycle", "b/#snapshot", ".hidden"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.jpg").touch()
    assert found_in(tmp_path, DEFAULT_RULES) == []
    assert found_in(tmp_path / "@Recycle", DEFAULT_RULES) == [b"a.jpg"]
    (tmp_path / ".rclipignore").write_text("!/@Recycle/\n!#snapshot\n!.hidden\n")
    assert found_in(tmp_path, DEFAULT_RULES) == [b".hidden/a.jpg", b"@Recycle/a.jpg", b"b/#snapshot/a.jpg"]
    (tmp_path / ".rclipignore").write_text("*\n!*/\n!*.jpg\n")  # which means the user's own folders
    assert found_in(tmp_path, DEFAULT_RULES) == []


def test_a_folder_that_a_program_marks_as_its_cache_is_passed_over(rclip: Command, library: Path) -> None:
    tag = library / "2019/CACHEDIR.TAG"
    tag.write_bytes(b"some text")
    assert hits(rclip) == ALL
    tag.write_bytes(ignoring.CACHE_SIGNATURE + b"\n# made by a test\n")
    assert hits(rclip) == ["one.png", "private/three.png"]
    assert hits(rclip, "-n") == ["one.png", "private/three.png"]
    assert hits(rclip, "-n", "--include-hidden") == ALL
    assert len(rclip("red circle", "2019").lines) == 2
    tag.unlink()
    assert rclip("--index", "-v").err == "rclip: nothing has changed; photos here: 4\n"
    assert hits(rclip, "-n") == ALL


# --- the guide -------------------------------------------------------------------------------------------------------


def test_the_guides_ignore_file_does_what_the_guide_says(tmp_path: Path) -> None:
    guide = (Path(__file__).parent.parent / "docs/guide.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```gitignore\n(.*?)^```$", guide, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / ".rclipignore").write_text(example, encoding="utf-8")
    kept = ("2018/drafts/a.jpg", "2019/a.jpg", "a.jpg", "screenshots/maps/a.jpg", "x/screenshots/a.jpg")
    excluded = ("private/a.jpg", "x/private/a.jpg", "2019/drafts/a.jpg", "screenshots/a.jpg", "x.psd")
    for name in (*kept, *excluded):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [os.fsdecode(path) for path in found_in(tmp_path)] == sorted(kept)


def told_on_a_terminal(rclip: Command, *arguments: str) -> str:
    """What the command writes to stderr when that is a terminal."""
    master, slave = pty.openpty()
    command = [sys.executable, "-P", "-m", "rclip", "--model", str(rclip.model), *arguments]
    subprocess.run(command, cwd=rclip.cwd, env=rclip.env, stdout=subprocess.PIPE, stderr=slave, check=True)
    os.write(slave, b".")  # or there might be nothing to read
    told = os.read(master, 65536).decode()
    os.close(slave)
    os.close(master)
    return told


def test_a_terminal_is_told_how_to_exclude_for_good(rclip: Command, library: Path) -> None:
    start = "counts for this run only: for every run, put the line"
    told = told_on_a_terminal(rclip, "red circle", "--exclude-dir", "private")
    assert f"--exclude-dir {start} private/ into a file named .rclipignore in the folder" in told
    told = told_on_a_terminal(rclip, "red circle", "--exclude", f"{library}/private/")
    assert f'{start} exclude = ["{library}/private/"] into {rclip.home}/.config/rclip/config.toml' in told
    assert start not in rclip("red circle", "--exclude-dir", "private").err
    ignore(library, "private/")
    assert start not in told_on_a_terminal(rclip, "red circle")
