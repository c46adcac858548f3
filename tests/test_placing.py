"""`--copy-to` and `--link-to`: photos found are put into a folder, which may hold anybody's files."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rclip import datadir
from rclip.explore import copying
from tests.support import spare_file_system
from tests.support.command import Command, one_line, start, unchanged
from tests.support.disks import Mount
from tests.support.gallery import Draw
from tests.support.tiers import few


@pytest.fixture
def indexed(rclip: Command, gallery: Path) -> Command:
    for path in gallery.rglob("*.jpg"):
        os.utime(path, (1e9, 1e9 + len(path.name)))
    assert rclip("--index").code == 0
    return rclip


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_photos_found_are_printed_and_copied(indexed: Command, gallery: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "best"
    done = indexed("-n", "-t", "3", "--copy-to", target, "a red star")
    assert (done.code, len(done.lines)) == (0, 3)
    assert one_line(done.err) == f"rclip: copied 3 photos to {target}"
    assert sorted(files_in(target).values()) == sorted((gallery / name).read_bytes() for name in done.lines)
    assert (target / "red.jpg").stat().st_mtime_ns == (gallery / "stars/red.jpg").stat().st_mtime_ns
    assert {path.name for path in target.iterdir()} == set(files_in(target))


def test_names_do_not_collide_and_a_second_run_copies_what_is_missing(indexed: Command, tmp_path: Path) -> None:
    target = tmp_path / "best"
    first = indexed("-n", "-t", "12", "--copy-to", target, "a star")
    copied = files_in(target)
    assert (first.code, len(copied)) == (0, 12)
    assert {"red.jpg", "red (2).jpg", "red (3).jpg"} <= set(copied)
    (target / "red (2).jpg").unlink()
    second = indexed("-n", "-t", "12", "--copy-to", target, "a star")
    assert one_line(second.err) == f"rclip: copied 1 photo to {target}; 11 more were there already"
    assert files_in(target) == copied


def test_paths_are_kept(indexed: Command, gallery: Path, tmp_path: Path) -> None:
    for folders in ([], [gallery], [gallery / "stars", gallery / "circles"], ["./stars/.."]):
        target = tmp_path / "kept"
        done = indexed("-n", "-t", "12", "--copy-to", target, "--keep-paths", "a star", *folders)
        assert done.code == 0
        kept = files_in(target)
        if len(folders) < 2:
            assert kept == files_in(gallery)
        else:
            assert {"red.jpg", "red (2).jpg"} <= set(kept)
        shutil.rmtree(target)


@pytest.mark.parametrize("more", [[], ["--keep-paths"]])
def test_links_lead_to_the_photos(indexed: Command, gallery: Path, tmp_path: Path, more: list[str]) -> None:
    target = tmp_path / "links"
    done = indexed("-n", "-t", "12", "--link-to", target, *more, "a star")
    assert one_line(done.err) == f"rclip: linked to 12 photos in {target}"
    links = [path for path in target.rglob("*") if path.is_symlink()]
    assert sorted(map(os.readlink, links)) == sorted(str(path) for path in gallery.rglob("*.jpg"))
    again = indexed("-n", "-t", "12", "--link-to", target, *more, "a star")
    assert one_line(again.err) == f"rclip: linked to 0 photos in {target}; 12 more were there already"


def test_without_a_query_and_with_several(indexed: Command, tmp_path: Path) -> None:
    assert indexed("-n", "--type", "jpg", "--copy-to", tmp_path / "all", "--keep-paths").code == 0
    assert len(files_in(tmp_path / "all")) == 12
    (tmp_path / "asked").write_text("a red star\na red star\na blue star\n")
    done = indexed("-n", "-t", "1", "--queries", tmp_path / "asked", "--copy-to", tmp_path / "few")
    assert one_line(done.err) == f"rclip: copied 2 photos to {tmp_path}/few"


def test_nothing_found_makes_no_folder(indexed: Command, tmp_path: Path) -> None:
    assert indexed("-n", "--min-score", "1", "--copy-to", tmp_path / "none", "a star").code == 1
    assert not (tmp_path / "none").exists()


# --- a folder among the photos ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--copy-to", "--link-to"])
def test_a_new_folder_among_the_photos_is_not_indexed(indexed: Command, gallery: Path, option: str) -> None:
    done = indexed("-t", "5", option, "stars/my [best]", "a star")
    assert done.code == 0
    assert (gallery / "stars/.rclipignore").read_text() == "/my \\[best]/\n"
    assert indexed("--index", "-v").err == unchanged(12)
    assert len(indexed("-n", "-t", "99", "a star").lines) == 12
    again = indexed("-t", "5", option, "stars/my [best]", "a star")
    assert "is indexed" not in again.err
    assert (gallery / "stars/.rclipignore").read_text() == "/my \\[best]/\n"
    named = indexed("-t", "99", "a star", "./stars/my [best]")
    assert len(named.lines) == 5  # it was named


def test_a_folder_with_photos_of_its_own_stays_indexed_and_that_is_said(indexed: Command, gallery: Path) -> None:
    done = indexed("-n", "-t", "1", "--copy-to", "circles", "a red star")
    assert done.err.splitlines() == [
        "rclip: circles lies among the photos and is indexed like them: it had files of its own",
        "rclip: copied 1 photo to circles",
    ]
    assert not (gallery / ".rclipignore").exists()
    assert "1 copy" in indexed("--index", "-v").err


def test_an_ignore_file_that_is_there_is_kept_and_no_link_is_followed(indexed: Command, gallery: Path) -> None:
    (gallery / ".rclipignore").write_text("*.psd")
    assert indexed("-n", "-t", "1", "--copy-to", "best", "a red star").code == 0
    assert (gallery / ".rclipignore").read_text() == "*.psd\n/best/\n"
    precious = gallery.parent / "precious"
    precious.write_text("keep")
    (gallery / "stars/.rclipignore").symlink_to(precious)
    done = indexed("-n", "-t", "1", "--copy-to", "stars/best", "a red star")
    assert done.code == 0
    assert "stars/best lies among the photos and is indexed like them: " in done.err
    assert precious.read_text() == "keep"


def test_an_ignore_file_that_is_another_file_too_is_not_written_to(
    indexed: Command, gallery: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    os.link(precious, gallery / ".rclipignore")
    done = indexed("-n", "-t", "1", "--copy-to", "best", "a red star")
    assert done.code == 0
    assert "best lies among the photos and is indexed like them: the ignore file is a file of another name" in done.err
    assert precious.read_text() == "keep"


def test_the_folder_that_is_searched_is_refused(indexed: Command, gallery: Path) -> None:
    for folder in (".", str(gallery), "stars/.."):
        for option in ("--copy-to", "--link-to"):
            done = indexed("-n", option, folder, "a star")
            assert (done.code, done.out) == (2, "")
            assert "that folder is searched itself; choose another" in one_line(done.err)
    done = indexed("-n", "--copy-to", ".rclip/best", "a star")
    assert (done.code, done.out) == (2, "")
    assert one_line(done.err) == "rclip: cannot write to .rclip/best: it belongs to an index; choose another"
    assert not (gallery / ".rclip").exists()


# --- a folder of somebody else's -------------------------------------------------------------------------------------


def test_nothing_is_overwritten_and_no_link_followed(indexed: Command, gallery: Path, tmp_path: Path) -> None:
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (target / "red.jpg").symlink_to(outside / "made")
    (target / "red (2).jpg").write_bytes(b"x" * (gallery / "stars/red.jpg").stat().st_size)
    os.mkfifo(target / "red (3).jpg")
    (target / "red (4).jpg").mkdir()
    os.link(gallery / "stars/blue.jpg", target / "red (5).jpg")
    before = (target / "red (2).jpg").read_bytes()
    done = indexed("-n", "-t", "1", "--copy-to", target, "a red star")
    assert done.code == 0
    assert (target / "red (6).jpg").read_bytes() == (gallery / "stars/red.jpg").read_bytes()
    assert (target / "red (2).jpg").read_bytes() == before
    assert list(outside.iterdir()) == []


def test_what_a_link_leads_to_by_now_is_not_copied(indexed: Command, gallery: Path, tmp_path: Path) -> None:
    """In place of a photo, and of its folder, after they were indexed; a link that was there then is followed."""
    secrets, target = tmp_path / "secrets", tmp_path / "to"
    secrets.mkdir()
    (secrets / "red.jpg").write_bytes(b"secret")
    shutil.copy2(gallery / "stars/blue.jpg", tmp_path / "far.jpg")
    (gallery / "stars/near.jpg").symlink_to(tmp_path / "far.jpg")
    assert indexed("--index").code == 0
    (gallery / "stars/red.jpg").unlink()
    (gallery / "stars/red.jpg").symlink_to(secrets / "red.jpg")
    done = indexed("-n", "-t", "50", "--all", "--copy-to", target, "a red star")
    assert (done.code, len(done.lines)) == (2, 13)
    assert "red.jpg" in done.err
    assert "a link leads out of the folder that was searched" in done.err
    assert (target / "near.jpg").read_bytes() == (tmp_path / "far.jpg").read_bytes()
    assert b"secret" not in files_in(target).values()
    (gallery / "stars").rename(tmp_path / "moved")
    (gallery / "stars").symlink_to(secrets)
    indexed("-n", "-t", "50", "--all", "--copy-to", tmp_path / "again", "a red star")
    assert b"secret" not in files_in(tmp_path / "again").values()


@pytest.mark.parametrize("option", ["--copy-to", "--link-to"])
def test_a_link_or_file_in_the_place_of_a_subfolder_is_not_followed(
    indexed: Command, tmp_path: Path, option: str
) -> None:
    target, outside = tmp_path / "target", tmp_path / "outside"
    target.mkdir()
    outside.mkdir()
    (target / "stars").symlink_to(outside)
    (target / "circles").write_text("a file")
    done = indexed("-n", "-t", "12", option, target, "--keep-paths", "a star")
    assert done.code == 2
    assert len(done.lines) == 12
    errors = done.err.splitlines()
    assert f"rclip: cannot put {indexed.cwd}/stars/red.jpg into {target}: stars is in the way" in errors
    assert f"rclip: cannot put {indexed.cwd}/circles/red.jpg into {target}: circles is in the way" in "\n".join(
        errors
    ) or ("rclip: … and 3 more photos" in errors)
    assert errors[-1].endswith(f"4 photos {'to' if option == '--copy-to' else 'in'} {target}")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    few([b"-rf.jpg", b"new\nline.jpg", b"\xff\x1b.jpg", b" .jpg", b"a" * 251 + b".jpg", "é".encode() * 125 + b".jpg"]),
)
def test_photos_of_any_name_are_copied(indexed: Command, gallery: Path, tmp_path: Path, name: bytes) -> None:
    os.rename(gallery / "stars/red.jpg", os.fsencode(gallery / "stars") + b"/" + name)
    target = tmp_path / "target"
    target.mkdir()
    with open(os.fsencode(target) + b"/" + name, "wb") as file:
        file.write(b"was here")
    done = indexed("-t", "1", "--copy-to", target, "a red star")
    assert done.code == 0, done.err
    assert len(os.listdir(target)) == 2
    assert "\x1b" not in done.err
    with open(os.fsencode(target) + b"/" + name, "rb") as file:
        assert file.read() == b"was here"


def test_a_photo_that_is_gone_is_reported_and_the_others_copied(
    indexed: Command, gallery: Path, tmp_path: Path
) -> None:
    (gallery / "stars/red.jpg").unlink()
    (gallery / "stars/blue.jpg").unlink()
    os.mkfifo(gallery / "stars/blue.jpg")
    for option in ("--copy-to", "--link-to"):
        done = indexed("-n", "-t", "12", option, tmp_path / option, "a star")
        assert done.code == 2
        assert f"cannot put {gallery}/stars/red.jpg into {tmp_path / option}: No such file or directory" in done.err
        assert len(os.listdir(tmp_path / option)) == (10 if option == "--copy-to" else 11)


def test_a_full_disk_leaves_no_half_copy(indexed: Command, gallery: Path, tmp_path: Path, mount: Mount) -> None:
    (gallery / "stars/red.jpg").write_bytes((gallery / "stars/red.jpg").read_bytes() + bytes(1 << 20))
    indexed("--index")
    target = tmp_path / "full"
    target.mkdir()
    mount(target, 256 << 10)
    done = indexed("-n", "-t", "12", "--copy-to", target, "a red star")
    assert done.code == 2
    assert f"cannot put {gallery}/stars/red.jpg into {target}: No space left on device" in done.err
    assert "stars/red.jpg" in done.out
    whole = {path.read_bytes() for path in gallery.rglob("*.jpg")}
    assert set(files_in(target).values()) <= whole
    assert not [name for name in os.listdir(target) if name.startswith(".")]


def test_a_folder_that_cannot_be_made_is_one_line(indexed: Command, tmp_path: Path, drop_root: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("")
    done = indexed("-n", "--copy-to", tmp_path / "file", "a star")
    assert (done.code, done.out) == (2, "")
    assert "--copy-to: must be a folder, or the name of a new one, not " in one_line(done.err)
    done = indexed("-n", "-t", "1", "--copy-to", tmp_path / "file/below", "a star")
    assert (done.code, len(done.lines)) == (2, 1)
    assert f"cannot write to {tmp_path}/file/below: Not a directory" in one_line(done.err)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    done = indexed("-n", "-t", "1", "--copy-to", closed / "best", "a star", prefix=drop_root)
    assert done.code == 2
    assert f"cannot write to {closed}/best: Permission denied" in one_line(done.err)


@pytest.mark.slow
def test_a_killed_run_leaves_no_half_copy(indexed: Command, gallery: Path, tmp_path: Path) -> None:
    big = bytes(os.urandom(1 << 20)) * 200
    (gallery / "stars/red.jpg").write_bytes((gallery / "stars/red.jpg").read_bytes() + big)
    indexed("--index")
    target = tmp_path / "target"
    run = start(indexed, "-n", "-t", "1", "--copy-to", str(target), "a red star", stderr=subprocess.DEVNULL)
    while not (target.exists() and any(path.stat().st_size for path in target.iterdir())):
        assert run.poll() is None
    run.send_signal(signal.SIGKILL)
    run.communicate()
    named = target / "red.jpg"
    assert not named.exists() or named.stat().st_size == (gallery / "stars/red.jpg").stat().st_size
    again = indexed("-n", "-t", "1", "--copy-to", target, "a red star")
    assert again.code == 0
    assert [path.name for path in target.glob("[!.]*")] == ["red.jpg"]


def test_what_a_killed_run_has_left_is_deleted_when_it_is_old_and_nothing_else_is(tmp_path: Path) -> None:
    left = tmp_path / datadir.temporary_name()
    others = [".rclip-0123456789abcdeg", ".rclip-0123456789abcdef0", ".rclip-", "0123456789abcdef", ".rclipignore"]
    for path in (left, *(tmp_path / name for name in others)):
        path.write_bytes(b"half of it")
    os.utime(left, (0, 0))  # as a copy has its photo's time
    (tmp_path / datadir.temporary_name()).symlink_to(left)
    (tmp_path / datadir.temporary_name()).mkdir()
    before = set(tmp_path.iterdir())
    folder = os.open(tmp_path, os.O_RDONLY)
    datadir.sweep_in(folder)
    assert set(tmp_path.iterdir()) == before
    datadir.sweep_in(folder, stale_after_s=-1)
    os.close(folder)
    assert before - set(tmp_path.iterdir()) == {left}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_leaves_nothing(indexed: Command, gallery: Path, tmp_path: Path, number: int) -> None:
    with open(gallery / "stars/red.jpg", "ab") as file:
        file.write(bytes(300 << 20))
    indexed("--index")
    target = tmp_path / "target"
    run = start(indexed, "-n", "-t", "1", "--copy-to", str(target), "a red star", stderr=subprocess.DEVNULL)
    while not (target.exists() and any(path.stat().st_size for path in target.iterdir())):
        assert run.poll() is None
    run.send_signal(number)
    run.communicate(timeout=60)
    assert (run.returncode, os.listdir(target)) == (128 + number, [])


# --- photos that change, and others at work --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["grows", "shrinks", "rewritten"])
def test_a_photo_that_changes_while_it_is_copied_is_not(tmp_path: Path, how: str) -> None:
    """One that grew as quickly as it is read would be copied for ever."""
    photo, target = tmp_path / "a.jpg", tmp_path / "to"
    photo.write_bytes(bytes(4 << 20))
    target.mkdir()
    asked = 0

    def change() -> bool:
        nonlocal asked
        asked += 1
        assert asked < 20
        with open(photo, "ab" if how == "grows" else "r+b") as file:
            if how == "shrinks":
                file.truncate(100)
            else:
                file.write(b"x" * (1 << 20))
        os.utime(photo, (1e9, 1e9 + asked))
        return False

    copied = copying.copy([str(photo)], str(target), care=copying.Care(is_ended=change))
    assert copied.failed == [(str(photo), "it has just been changed")]
    assert os.listdir(target) == []


def test_what_only_claims_to_be_large_is_not_copied(indexed: Command, gallery: Path, tmp_path: Path) -> None:
    """A file of holes costs whoever puts it there nothing, and would fill the disk."""
    os.truncate(gallery / "stars/red.jpg", 20 << 30)
    done = indexed("-n", "-t", "2", "--copy-to", tmp_path / "to", "a red star")
    assert done.code == 2
    assert "red.jpg into" in done.err
    assert "more than 1 GB of it is missing" in done.err
    assert len(os.listdir(tmp_path / "to")) == 1


def test_several_runs_at_once_copy_each_photo_once(indexed: Command, gallery: Path, tmp_path: Path) -> None:
    for path in gallery.rglob("*.jpg"):
        with open(path, "ab") as file:
            file.write(os.urandom(2 << 20))
    indexed("--index")
    target = tmp_path / "to"
    runs = [
        start(indexed, "-n", "-t", "12", "--copy-to", str(target), "a star", stderr=subprocess.DEVNULL)
        for _ in range(4)
    ]
    for run in runs:
        run.communicate(timeout=60)
        assert run.returncode == 0
    assert sorted(files_in(target).values()) == sorted(files_in(gallery).values())


def test_what_others_put_there_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    photo, target = tmp_path / "a.jpg", tmp_path / "to"
    photo.write_bytes(bytes(4 << 20))
    target.mkdir()

    def write() -> bool:
        (target / "a.jpg").write_bytes(b"precious")
        return False

    copied = copying.copy([str(photo)], str(target), care=copying.Care(is_ended=write))
    assert copied.paths == [str(target / "a (2).jpg")]
    assert files_in(target) == {"a.jpg": b"precious", "a (2).jpg": photo.read_bytes()}


def copied_apart(*prefix: str, paths: Sequence[str], folder: Path, script: str = "") -> copying.Copied:
    """By a process of its own."""
    code = "import json, sys; from rclip.explore import copying\n" + script
    code += "print(json.dumps(copying.copy(json.loads(sys.argv[1]), sys.argv[2])))"
    command = [*prefix, sys.executable, "-P", "-c", code, json.dumps(paths), str(folder)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    if prefix and done.returncode == 77:
        pytest.skip("the kernel takes no filter here")
    assert done.returncode == 0, done.stderr
    return copying.Copied(*json.loads(done.stdout))


def test_on_a_file_system_without_links_nothing_is_overwritten_either(gallery: Path, tmp_path: Path) -> None:
    """As on a memory card."""
    prefix = (sys.executable, "-S", str(Path(spare_file_system.__file__)))
    target = tmp_path / "to"
    target.mkdir()
    (target / "red.jpg").write_bytes(b"precious")
    paths = [str(path) for path in gallery.rglob("*.jpg")]
    for present in (0, 12):
        copied = copied_apart(*prefix, paths=paths, folder=target)
        assert (copied.failed, copied.present) == ([], present)
        assert sorted(files_in(target).values()) == sorted([b"precious", *files_in(gallery).values()])
        assert not list(target.glob(".*"))


def test_a_copy_is_no_more_open_than_the_photo_and_no_program(indexed: Command, gallery: Path, tmp_path: Path) -> None:
    modes = {"red": (0o4600, 0o600), "blue": (0o777, 0o644), "green": (0o2440, 0o640), "yellow": (0o400, 0o600)}
    for name, (mode, _) in modes.items():
        (gallery / f"stars/{name}.jpg").chmod(mode)
    done = indexed("-n", "-t", "9", "--copy-to", tmp_path / "to", "--keep-paths", "a star", "stars")
    assert done.code == 0
    found = {path.stem: path.stat().st_mode & 0o7777 for path in (tmp_path / "to").iterdir()}
    assert found == {name: mode for name, (_, mode) in modes.items()}


def test_a_file_too_large_for_the_target_stops_no_other(indexed: Command, gallery: Path, tmp_path: Path) -> None:
    """As one of 4 GB is for FAT."""
    with open(gallery / "stars/red.jpg", "ab") as file:
        file.write(bytes(3 << 20))
    indexed("--index")
    limited = ("bash", "-c", 'ulimit -f 2000; exec "$@"', "bash")
    done = indexed("-n", "-t", "12", "--copy-to", tmp_path / "to", "a red star", prefix=limited)
    assert done.code == 2
    assert done.err.count("File too large") == 1
    assert len(files_in(tmp_path / "to")) == 11


def test_a_folder_that_cannot_be_read_is_one_line(indexed: Command, tmp_path: Path, drop_root: tuple[str, ...]) -> None:
    (tmp_path / "to").mkdir(mode=0o300)
    for option in ("--copy-to", "--link-to"):
        done = indexed("-n", "-t", "1", option, tmp_path / "to", "a star", prefix=drop_root)
        assert (done.code, one_line(done.err)) == (2, f"rclip: cannot write to {tmp_path}/to: Permission denied")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--copy-to", "a", "--link-to", "b", "a cat"], "--copy-to and --link-to cannot be used together"),
        (["--keep-paths", "a cat"], "--keep-paths works only with --copy-to or --link-to: add that"),
        (["--stats", "--copy-to", "a"], "--stats and --copy-to cannot be used together"),
        (["-i", "--link-to", "a"], "--interactive and --link-to cannot be used together"),
        (["--copy-to=", "a cat"], "--copy-to: must be a folder, or the name of a new one, not ''"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_one_line(rclip: Command, arguments: list[str], expected: str) -> None:
    done = rclip(*arguments)
    assert (done.code, done.out) == (2, "")
    assert expected in one_line(done.err)


# --- the room that does it -------------------------------------------------------------------------------------------


def test_ten_photos_of_one_name_have_ten_names(tmp_path: Path) -> None:
    paths = []
    for number in range(10):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/a.b.jpg").write_text(f"{number}")
        paths.append(str(tmp_path / f"{number}/a.b.jpg"))
    (tmp_path / "to").mkdir()
    copied = copying.copy(paths, str(tmp_path / "to"))
    assert [os.path.basename(path) for path in copied.paths] == ["a.b.jpg", *(f"a.b ({n}).jpg" for n in range(2, 11))]
    assert [Path(path).read_text() for path in copied.paths] == [str(number) for number in range(10)]


def test_no_name_is_looked_at_again_and_again(tmp_path: Path) -> None:
    """Each album may have a `cover.jpg`: of ten thousand, the last was compared with all others."""
    paths = []
    for number in range(300):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/cover.jpg").write_bytes(b"%03d" % (number // 2))
        paths.append(str(tmp_path / f"{number}/cover.jpg"))
    (tmp_path / "to").mkdir()
    count = "import collections\nopened = collections.Counter()\n"
    count += "sys.addaudithook(lambda event, given: opened.update(given[:1]) if event == 'open' else None)\n"
    first = copied_apart(paths=paths, folder=tmp_path / "to")
    assert (len(set(first.paths)), first.present) == (150, 150)
    last = "copied = copying.copy(json.loads(sys.argv[1]), sys.argv[2])\n"
    last += "assert max(count for name, count in opened.items() if 'cover' in str(name)) < 10\n"
    second = copied_apart(paths=paths, folder=tmp_path / "to", script=count + last)
    assert (second.paths, second.present) == (first.paths, 300)
    assert len(os.listdir(tmp_path / "to")) == 150


def test_a_photo_is_its_own_copy(draw: Draw, photos: Path) -> None:
    path = str(draw("a.jpg"))
    assert copying.copy([path], str(photos)) == ([path], [], 1)
    assert copying.link([path], str(photos)) == ([path], [], 1)
    assert os.listdir(photos) == ["a.jpg"]
