"""`rclip --watch`: what appears, changes and goes is in the index soon after, without anybody asking."""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rclip.files import FileStat
from rclip.ignoring import DEFAULT_RULES
from rclip.indexing.parts import matters, parts_around
from rclip.inotify import Inotify
from rclip.mounts import is_remote, near
from rclip.watching import SETTLED_S, Changed, FolderWatch, Settling, Watchfiles
from tests.support.command import Command, start
from tests.support.gallery import Draw

PATIENCE_S = 120
"""Until a test gives up; the machine may be busy."""


class Watching:
    """A running `--watch`, and what it has said so far."""

    def __init__(self, rclip: Command, said: Path, *arguments: str):
        self._said = said
        with said.open("wb") as stderr:
            self.process = start(rclip, "--watch", *arguments, stderr=stderr)

    @property
    def lines(self) -> list[str]:
        return [line.removeprefix("rclip: ") for line in self._said.read_text(encoding="utf-8").splitlines()]

    def wait_for(self, *lines: str) -> None:
        """Until these are the last ones that it has said."""
        until(lambda: self.lines[-len(lines) :] == list(lines) or self.process.poll() is not None)
        assert self.lines[-len(lines) :] == list(lines)

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        self.process.send_signal(signal_number)
        return self.process.wait(PATIENCE_S)


def until(is_so: Callable[[], Any]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, "it did not come to pass"
        time.sleep(0.05)


Watch = Callable[..., Watching]


@pytest.fixture
def watch(rclip: Command, tmp_path: Path) -> Iterator[Watch]:
    """Starts it, and returns when it is at rest for the first time."""
    running: list[Watching] = []

    def started(*arguments: str) -> Watching:
        running.append(Watching(rclip, tmp_path / f"said-{len(running)}", *arguments))
        until(lambda: running[-1].lines)
        return running[-1]

    yield started
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()
        if each.process.stdout:
            each.process.stdout.close()


def updated(changes: str) -> str:
    return f"index updated: found {changes}"


def move_into(folder: Path, made: Path) -> None:
    """All at once, as a file that is complete appears."""
    folder.mkdir(parents=True, exist_ok=True)
    made.rename(folder / made.name)


def test_what_appears_changes_and_goes_is_taken_in(watch: Watch, rclip: Command, draw: Draw, tmp_path: Path) -> None:
    draw("one.png")
    watching = watch()
    watching.wait_for(f"watching {rclip.cwd}; Ctrl-C ends it", updated("1 new photo"))
    assert rclip("-n", "red circle").lines == ["one.png"]
    two = draw(tmp_path / "two.png")
    move_into(rclip.cwd / "new/folder", two)
    watching.wait_for(updated("1 new photo"), updated("1 new photo"))
    draw("new/folder/two.png", "blue star")
    watching.wait_for(updated("1 changed"))
    (rclip.cwd / "new").rename(rclip.cwd / "old")
    watching.wait_for(updated("1 moved file"))
    (rclip.cwd / "old/folder/two.png").unlink()
    watching.wait_for(updated("1 missing"))
    assert rclip("-n", "red circle").lines == ["one.png"]
    assert watching.end() == 0
    assert watching.lines[-1] == "watching has ended; everything indexed is kept"
    assert not [line for line in watching.lines if "Traceback" in line]


def test_it_is_modest(watch: Watch, rclip: Command, draw: Draw) -> None:
    """It runs at the lowest priority, and has not loaded a model for what is known."""
    draw("one.png")
    assert rclip("--index").code == 0
    watching = watch()
    until(lambda: os.getpriority(os.PRIO_PROCESS, watching.process.pid) == 19)
    draw("two.txt.png").rename(rclip.cwd / "two.txt")
    (rclip.cwd / "one.png").unlink()
    watching.wait_for(updated("1 missing"))
    maps = Path(f"/proc/{watching.process.pid}/maps")
    if maps.exists():
        mapped = maps.read_text()
        assert "torch" not in mapped
        assert "weights" not in mapped
    assert watching.end(signal.SIGINT) == 0


def test_an_excluded_folder_causes_no_work(watch: Watch, rclip: Command, draw: Draw, tmp_path: Path) -> None:
    draw("one.png")
    (rclip.cwd / "private").mkdir()
    (rclip.cwd / ".rclipignore").write_text("private/\n*.tiff\n")
    watching = watch()
    watching.wait_for(updated("1 new photo"))
    for number in range(3):
        draw(f"private/{number}.png")
    move_into(rclip.cwd, draw(tmp_path / "two.png"))
    watching.wait_for(updated("1 new photo"), updated("1 new photo"))
    (rclip.cwd / ".rclipignore").unlink()
    watching.wait_for(updated("3 new photos"))


def test_a_file_that_is_being_written_is_taken_when_it_is_done(watch: Watch, rclip: Command, draw: Draw) -> None:
    whole = draw("whole.jpg", quality=95)
    content = whole.read_bytes()
    whole.unlink()
    draw("one.png")
    watching = watch()
    watching.wait_for(updated("1 new photo"))
    half = len(content) * 3 // 4
    with (rclip.cwd / "whole.jpg").open("wb", buffering=0) as file:
        file.write(content[:half])
        rest = content[half:]
        step = -(-len(rest) // 30)
        for at in range(0, len(rest), step):
            file.write(rest[at : at + step])
            assert watching.lines[-1] == updated("1 new photo")
            time.sleep(SETTLED_S / 20)
    watching.wait_for(updated("1 new photo"), updated("1 new photo"))
    assert "is missing" not in rclip("--stats").out


def test_folders_that_vanish_are_waited_for(watch: Watch, rclip: Command, draw: Draw, tmp_path: Path) -> None:
    drive, other = tmp_path / "drive", tmp_path / "other"
    draw(drive / "one.png")
    draw(other / "two.png")
    watching = watch(str(drive), str(other))
    watching.wait_for(updated("2 new photos"))
    drive.rename(tmp_path / "unplugged")
    watching.wait_for(f"{drive} is missing; it will be watched again when it comes back")
    move_into(other, draw(tmp_path / "three.png"))
    watching.wait_for(updated("1 new photo"))
    draw(tmp_path / "unplugged/four.png")
    (tmp_path / "unplugged").rename(drive)
    watching.wait_for(updated("1 new photo"), updated("1 new photo"))
    move_into(drive, draw(tmp_path / "five.png"))
    watching.wait_for(*[updated("1 new photo")] * 3)
    assert len(rclip("-n", "red circle", drive, other).lines) == 5


@pytest.fixture
def no_more_files() -> Iterator[None]:
    """This process cannot open another."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_where_nothing_is_notified_it_looks_again(tmp_path: Path, no_more_files: None) -> None:
    said: list[tuple[str, str]] = []
    watching = FolderWatch([str(tmp_path)], 0.5, lambda *each: said.append(each))
    for _ in range(3):
        assert watching.wait() == Changed([str(tmp_path)], None)
    assert said == [("", "Too many open files")]


def test_without_its_package_it_says_what_to_install(rclip: Command, tmp_path: Path) -> None:
    """As on other systems than Linux, which has all that it takes."""
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking/watchfiles.py").write_text("raise ImportError\n")
    (tmp_path / "lacking/sitecustomize.py").write_text("import sys\nsys.platform = 'darwin'\n")
    done = rclip("--watch", env={"PYTHONPATH": f"{tmp_path}/lacking:{os.environ.get('PYTHONPATH', '')}"})
    assert done.code == 2
    assert "--watch needs the package watchfiles; to install it: " in done.err


def test_other_systems_tell_of_changes_too(tmp_path: Path) -> None:
    """By their package, which also runs here."""
    told = Watchfiles([os.fsencode(tmp_path)])
    (tmp_path / "one.png").touch()
    until(lambda: os.fsencode(tmp_path / "one.png") in told.changes(0, 0, 0))
    told.close()


def test_a_link_leads_nowhere_and_any_name_is_taken(watch: Watch, rclip: Command, draw: Draw, tmp_path: Path) -> None:
    draw("one.png")
    draw(tmp_path / "elsewhere/a.png")
    (rclip.cwd / "link").symlink_to(tmp_path / "elsewhere")
    watching = watch()
    watching.wait_for(updated("1 new photo"))
    draw(tmp_path / "elsewhere/secret.png")
    draw(tmp_path / "x.png").rename(os.fsdecode(os.fsencode(rclip.cwd) + b"/\xe9.png"))
    watching.wait_for(*[updated("1 new photo")] * 2)
    move_into(rclip.cwd, draw(tmp_path / "two.png"))
    watching.wait_for(*[updated("1 new photo")] * 3)
    assert sorted(rclip("-n", "red circle").lines) == ["one.png", "two.png", os.fsdecode(b"\xe9.png")]


def test_a_folder_whose_place_a_link_takes_is_missing(watch: Watch, rclip: Command, draw: Draw, tmp_path: Path) -> None:
    draw("one.png")
    draw("folder/two.png")
    watching = watch()
    watching.wait_for(updated("2 new photos"))
    (rclip.cwd / "folder").rename(tmp_path / "elsewhere")
    (rclip.cwd / "folder").symlink_to(tmp_path / "elsewhere")
    watching.wait_for(updated("1 missing"))
    assert rclip("-n", "red circle").lines == ["one.png"]


def flood(folder: Path) -> None:
    """More than the system keeps, which tells of both names."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    names = folder / "a", folder / "b"
    names[0].touch()
    for number in range(limit // 2 + 1):
        os.rename(names[number % 2], names[1 - number % 2])


def test_what_was_lost_while_it_was_stopped_is_found(watch: Watch, rclip: Command, draw: Draw, tmp_path: Path) -> None:
    draw("one.png")
    (rclip.cwd / "flood").mkdir()
    watching = watch()
    watching.wait_for(updated("1 new photo"))
    watching.process.send_signal(signal.SIGSTOP)
    flood(rclip.cwd / "flood")
    move_into(rclip.cwd / "new", draw(tmp_path / "two.png"))
    watching.process.send_signal(signal.SIGCONT)
    watching.wait_for(*[updated("1 new photo")] * 2)


# --- what the system tells --------------------------------------------------------------------------------------------


class Told:
    """What is notified of a folder."""

    def __init__(self, folder: Path, matters: Callable[[bytes], bool] = lambda name: True):
        self._root = os.fsencode(folder) + b"/"
        self._inotify = Inotify([self._root], matters)

    def __call__(self) -> set[bytes] | None:
        paths = self._inotify.changes(10, 0.05, 1)
        return None if paths is None else {path.removeprefix(self._root) for path in paths}

    def close(self) -> None:
        self._inotify.close()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    started = Told(tmp_path)
    yield started
    started.close()


def test_folders_are_watched_wherever_they_go(told: Told, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    assert told() == {b"a/"}
    (tmp_path / "a/b/1").touch()
    assert told() == {b"a/b/1"}
    (tmp_path / "a").rename(tmp_path / "c")
    assert told() == {b"a/", b"c/"}
    (tmp_path / "c/b/2").touch()
    assert told() == {b"c/b/2"}
    for names in (("c", "x", "d", "c"), ("d", "c", "x", "d")) * 50:  # they change places
        (tmp_path / "d").mkdir(exist_ok=True)
        first, *others = names
        for name in others:
            if (tmp_path / first).exists() and not (tmp_path / name).exists():
                (tmp_path / first).rename(tmp_path / name)
            first = name
    assert {b"c/", b"d/"} <= (told() or set())
    here = next(tmp_path.rglob("b"))
    (here / "3").touch()
    assert told() == {os.fsencode(here.relative_to(tmp_path) / "3")}


def test_what_has_left_the_folder_is_not_watched_any_more(told: Told, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    told()
    other = tmp_path.with_name("other")
    (tmp_path / "a").rename(other)
    assert told() == {b"a/"}
    (other / "1").touch()
    (tmp_path / "2").touch()
    assert told() == {b"2"}


def test_links_are_not_followed_by_notifications(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    told = Told(inside)
    (outside / "1").touch()
    (inside / "later").symlink_to(outside)
    assert told() == {b"later"}
    (outside / "2").touch()
    (inside / "3").touch()
    assert told() == {b"3"}
    told.close()


def test_names_of_any_bytes_are_notified(told: Told, tmp_path: Path) -> None:
    for name in (b"\xe9.jpg", b"line\nbreak.jpg", b"x" * 255):
        os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT))
    assert told() == {b"\xe9.jpg", b"line\nbreak.jpg", b"x" * 255}


def test_files_of_no_concern_do_not_wake_it(tmp_path: Path) -> None:
    told = Told(tmp_path, matters)
    for number in range(100):
        (tmp_path / f"{number}.tmp").touch()
        (tmp_path / f"{number}.tmp").unlink()
    (tmp_path / "one.PNG").touch()
    (tmp_path / "one.xmp").touch()
    (tmp_path / ".rclipignore").touch()
    assert told() == {b"one.PNG", b"one.xmp", b".rclipignore"}
    told.close()


def test_it_says_when_notifications_were_lost(told: Told, tmp_path: Path) -> None:
    flood(tmp_path)
    assert told() is None


def test_only_what_is_mounted_around_or_in_a_folder_concerns_it() -> None:
    kinds = {b"/": b"ext4", b"/home/": b"xfs", b"/home/me/usb/": b"exfat", b"/var/lib/containers/1/": b"overlay"}
    assert near(b"/home/me/", kinds) == {b"/": b"ext4", b"/home/": b"xfs", b"/home/me/usb/": b"exfat"}


# --- what is looked at ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        (["a/1.jpg"], ["a/"]),
        (["a/1.jpg", "a/b/2.jpg", "a/b"], ["a/"]),
        (["a/b/2.jpg", "c/3.jpg"], ["a/b/", "c/"]),
        (["a/b/2.jpg", "c/gone.jpg"], [""]),  # it may have been moved
        (["a/b/2.jpg", "a/gone.jpg"], ["a/"]),
        (["a/gone/gone/4.jpg"], ["a/"]),
        (["a/notes.txt", ".hidden/5.jpg", "@eaDir/6.jpg", "a/.x.jpg"], []),
        (["a/.rclipignore"], ["a/"]),
        (["a/1.xmp"], ["a/"]),
        ([""], [""]),
        (["a/link/x/1.jpg"], ["a/"]),  # which leads elsewhere
        (["a/link/x/"], ["a/"]),
        (["a/link/"], ["a/"]),  # it was a folder
        (["a/link"], []),
        (["node_modules/gone/"], []),
        ([f"a/{number}/" for number in range(2000)], ["a/"]),
    ],
)
def test_only_the_folders_around_a_change_are_looked_at(tmp_path: Path, changed: list[str], parts: list[str]) -> None:
    names = ("a/1.jpg", "a/b/2.jpg", "c/3.jpg", "a/notes.txt", ".hidden/5.jpg", "@eaDir/6.jpg", "a/.x.jpg", "a/1.xmp")
    (tmp_path / "elsewhere/x").mkdir(parents=True)
    (tmp_path / "elsewhere/x/1.jpg").touch()
    for number in range(2000 if len(changed) > 3 else 0):
        (tmp_path / f"a/{number}").mkdir(parents=True)
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/link").symlink_to(tmp_path / "elsewhere")
    root = os.fsencode(tmp_path) + b"/"
    found = parts_around([root + os.fsencode(each) for each in changed], root, DEFAULT_RULES)
    assert found == [root + os.fsencode(part) for part in parts]


def test_a_file_is_settled_by_its_times_or_by_what_was_seen_of_it() -> None:
    settling = Settling()
    ago_ns, ahead_ns = time.time_ns() - 10**10, time.time_ns() + 10**13
    assert settling.is_settled(b"old", FileStat(1, ago_ns, 1, 1, ago_ns))
    assert not settling.is_settled(b"copied with its time", FileStat(1, ago_ns, 1, 1, time.time_ns()))
    on_a_server_ahead = FileStat(1, ahead_ns, 1, 1, ahead_ns)
    assert not settling.is_settled(b"new", on_a_server_ahead)
    until(lambda: settling.is_settled(b"new", on_a_server_ahead))


def test_more_unsettled_files_than_are_remembered_do_not_keep_it_busy_for_ever() -> None:
    """Anybody may date files to the future."""
    settling = Settling()
    ahead_ns = time.time_ns() + 10**15
    files = [(b"%d" % number, FileStat(1, ahead_ns, 1, number, ahead_ns)) for number in range(150_000)]
    left = [file for file in files if not settling.is_settled(*file)]
    assert len(left) == 100_000
    until(lambda: settling.is_settled(*left[-1]))
    assert all(settling.is_settled(*file) for file in left[:-1])


def test_drives_of_other_machines_are_known() -> None:
    kinds = {b"/": b"ext4", b"/mnt/nas/": b"nfs4", b"/mnt/usb/": b"exfat"}
    assert not is_remote(b"/home/me/", kinds)
    assert is_remote(b"/mnt/nas/photos/", kinds)
    assert is_remote(b"/mnt/", kinds)
    assert not is_remote(b"/mnt/usb/", kinds)
    assert is_remote(b"/home/", {})
