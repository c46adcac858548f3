"""The full-screen interface: by Textual's pilot, and on pseudo-terminals by keys."""

import asyncio
import csv
import json
import os
import shutil
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Checkbox, Input, OptionList, Static

from rclip import Library
from rclip.errors import RclipError
from rclip.filters import Filters, parse_near, parse_time, parse_types, texts_of
from rclip.search.query import parse_words
from rclip.terminal.probe import Screen
from rclip.tui.app import Interface
from rclip.tui.detail import Detail, LargePicture
from rclip.tui.filter_panel import FilterPanel
from rclip.tui.grid import Grid, layout_of
from rclip.tui.help import HelpScreen
from rclip.tui.jobs import Job, Jobs
from rclip.tui.setup import Setup
from tests.support import pictures
from tests.support.command import Command, one_line
from tests.support.disks import Mount
from tests.support.gallery import Draw
from tests.support.interactive import interactive
from tests.support.terminals import KITTY, XTERM

BLOCKS = Screen("blocks", 120, 40, (10, 20), 256, True, False)
Play = Callable[[Interface, "Pilot[None]"], Awaitable[None]]


class Desk:
    """An indexed gallery, and interfaces over it."""

    def __init__(self, photos: Path, data_dir: Path, model: Path):
        self.photos = photos
        self._data_dir = data_dir
        self._model = model
        self.shown: list[str] = []

    def library(self, notify: Callable[[str | RclipError], None]) -> Library:
        return Library(self.photos, model=str(self._model), data_dir=self._data_dir, notify=notify)

    def play(self, play: Play, *words: str, size: tuple[int, int] = (120, 40), **setup: object) -> Interface:
        """Runs an interface until `play` is over; what it raises is raised here."""
        options = {"query": parse_words(words) if words else None, "is_updating": False} | setup

        def show(paths: Sequence[str], starts_ms: Mapping[str, int]) -> None:
            self.shown += paths

        app = Interface(Setup(self.library, show_files=show, **options), BLOCKS)  # type: ignore[arg-type]

        async def run() -> None:
            async with app.run_test(size=size) as pilot:
                await until(pilot, lambda: not app.main.is_initial)
                await play(app, pilot)

        try:
            asyncio.run(run())
        finally:
            app.close()
            for thread in threading.enumerate():
                if thread.name == "rclip-tui":  # one that was at work may have opened the photos again
                    thread.join(60)
            app.close()
        return app


async def until(pilot: "Pilot[None]", is_met: Callable[[], bool]) -> None:
    """Lets the interface work until the condition is met."""
    for _ in range(3000):
        if is_met():
            await pilot.pause()
            return
        await pilot.pause(0.01)
    raise AssertionError("it never came")


@pytest.fixture
def desk(gallery: Path, prepared_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> Desk:
    shutil.copytree(prepared_data, tmp_path / "data", dirs_exist_ok=True)
    desk = Desk(gallery, tmp_path / "data", tiny_checkpoint)
    with desk.library(lambda said: None) as library:
        library.update()
    return desk


def names(app: Interface) -> list[str]:
    return ["/".join(hit.path.split("/")[-2:]) for hit in app.main.grid.hits]


def status(app: Interface) -> str:
    return str(app.main.query_one("#status", Static).content)


def drawn(app: Interface) -> list[str]:
    """The lines of the screen."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip if segment.text) for strip in strips]


async def searched(app: Interface, pilot: "Pilot[None]", number: int) -> None:
    """Waits for the answer to the request of that number, or a later one."""
    await until(pilot, lambda: app.main.searches.number >= number and not app.main.searches.is_loading)


# --- searching --------------------------------------------------------------------------------------------------------


def test_without_a_query_the_newest_are_shown_and_typing_searches(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        assert len(names(app)) == 12
        assert app.focused is app.main.query_input
        await pilot.press(*"a red star")
        await until(pilot, lambda: names(app)[0] == "stars/red.jpg")
        await pilot.press("enter")
        assert app.main.grid.has_focus

    desk.play(play)


def test_a_query_of_the_command_line_is_there_already(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        assert app.main.query_input.value == "a blue circle"
        assert names(app)[0] == "circles/blue.jpg"
        assert app.focused is app.main.grid

    desk.play(play, "a blue circle")


def test_a_picture_of_the_command_line_is_asked_with(desk: Desk, tmp_path: Path) -> None:
    shutil.copy(desk.photos / "stars/green.jpg", tmp_path / "mine.jpg")

    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        assert app.main.query_input.value.startswith("picture:")
        assert names(app)[0] == "stars/green.jpg"
        assert "a picture" in str(app.main.query_one("#terms", Static).content)

    desk.play(play, str(tmp_path / "mine.jpg"))


def test_more_like_this_and_terms_that_are_added_and_taken_away(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        focused = app.main.grid.hits[0]
        await pilot.press("m")
        await searched(app, pilot, 2)
        assert app.main.query_input.value == f"photo:{focused.id}"
        assert focused.path not in [hit.path for hit in app.main.grid.hits]
        second = app.main.grid.hits[1]
        await pilot.press("right", "minus")
        await searched(app, pilot, 3)
        assert app.main.query_input.value == f"photo:{focused.id} - photo:{second.id}"
        terms = app.main.query_one("#terms", Static)
        assert terms.display
        assert "+ red.jpg" in str(terms.content)
        assert f"− {os.path.basename(second.path)}" in str(terms.content)
        await app.run_action("screen.drop_term(0)")
        await searched(app, pilot, 4)
        assert app.main.query_input.value == f"- photo:{second.id}"
        await pilot.press("backspace", "backspace", "backspace")
        await until(pilot, lambda: names(app)[0] == "stars/red.jpg")
        assert app.main.query_input.value == "a red star"

    desk.play(play, "a red star")


def test_a_query_that_makes_no_sense_is_said_and_shows_what_was_there(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        await pilot.press("slash", *" +")
        await until(pilot, lambda: "a term must follow" in status(app))
        assert names(app)[0] == "stars/red.jpg"
        await pilot.press(*" square")
        await until(pilot, lambda: "a term must follow" not in status(app))

    desk.play(play, "a red star")


def test_more_are_fetched_on_the_way_down(desk: Desk, draw: Draw) -> None:
    for number in range(90):
        draw(f"more/{number:03}.png")
    with desk.library(lambda said: None) as library:
        library.update()

    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        assert len(app.main.grid.hits) == 50
        await pilot.press("G")
        await until(pilot, lambda: len(app.main.grid.hits) == 100)
        await pilot.press("end")
        await until(pilot, lambda: len(app.main.grid.hits) == 102)
        await pilot.press("end")
        assert app.main.grid.cursor == 101
        assert app.main.grid.tiles[-1].number + app.main.grid.first >= 101
        assert "102 of 102" in status(app)

    desk.play(play, "a red star")


# --- looking ----------------------------------------------------------------------------------------------------------


def test_each_tile_gets_the_picture_of_its_photo(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        tiles = [tile for tile, _ in app.main.grid.filled()]
        await until(pilot, lambda: all(tile.drawing for tile in tiles))
        first = tiles[0]
        assert first.hit
        assert first.hit.path.endswith("stars/red.jpg")
        assert first.drawing
        assert "38;2;" in first.drawing.sequence
        assert {tile.box for tile in tiles} == {first.box}
        assert all(tile.drawing and tile.drawing.size.columns <= tile.box.columns for tile in tiles)
        assert all(tile.drawing and tile.drawing.size.rows <= tile.box.rows for tile in tiles)

    desk.play(play, "a red star")


def test_a_photo_that_cannot_be_shown_has_the_reason_in_its_place(desk: Desk) -> None:
    (desk.photos / "stars/red.jpg").unlink()

    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        tile = app.main.grid.tiles[0]
        await until(pilot, lambda: "cannot open" in str(tile.render()))
        await pilot.press("enter")
        await until(pilot, lambda: "cannot open" in app.main.gallery.detail.query_one(LargePicture).message)

    desk.play(play, "a red star")


def test_the_large_view_has_facts_and_goes_from_photo_to_photo(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        await pilot.press("enter")
        large = app.main.gallery.detail.query_one(LargePicture)
        await until(pilot, lambda: large.drawing is not None)
        facts = str(app.main.gallery.detail.query_one("#facts-text", Static).content)
        assert "1 of 12" in facts
        assert "red.jpg" in facts
        assert str(desk.photos / "stars") in facts
        assert f"{app.main.grid.hits[0].score:.3f}" in facts
        await pilot.press("right", "space")
        facts = str(app.main.gallery.detail.query_one("#facts-text", Static).content)
        assert "✓ selected   2 of 12" in facts
        await pilot.press("escape")
        assert app.focused is app.main.grid
        assert not app.query_one(Detail).display

    desk.play(play, "a red star")


@pytest.mark.parametrize(
    ("width", "height", "cell"), [(80, 18, (10, 20)), (200, 60, (8, 16)), (20, 6, (10, 20)), (5, 2, (9, 18))]
)
def test_the_grid_fits_its_place(width: int, height: int, cell: tuple[int, int]) -> None:
    layout = layout_of(width, height, cell)
    assert layout.columns >= 1
    assert layout.rows >= 1
    if width >= 20:
        assert layout.columns * layout.tile_columns <= width
        assert layout.rows * layout.tile_lines <= max(height, 4)


def test_keys_and_mouse_move_the_focus(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        columns = app.main.grid.arrangement.columns
        await pilot.press("right", "l", "left", "h", "right")
        assert app.main.grid.cursor == 1
        await pilot.press("down")
        assert app.main.grid.cursor == 1 + columns
        await pilot.press("k", "up")
        assert app.main.query_input.has_focus
        await pilot.press("down")
        assert app.main.grid.has_focus
        await pilot.click(app.main.grid.tiles[2])
        assert app.main.grid.cursor == 2
        await pilot.click(app.main.grid.tiles[3], control=True)
        assert list(app.selected) == [app.main.grid.hits[3].id]
        await pilot.click(app.main.grid.tiles[3])
        await until(pilot, lambda: app.main.gallery.detail.display)

    desk.play(play, "a red star")


def test_the_number_of_tiles_follows_the_size_of_the_terminal(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        before = app.main.grid.count
        await pilot.press("end")
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: app.main.grid.count < before)
        focused = [tile for tile, hit in app.main.grid.filled() if hit is app.main.grid.focused_hit]
        assert len(focused) == 1
        await until(pilot, lambda: focused[0].drawing is not None)

    desk.play(play, "a red star")


def test_help_lists_the_keys(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        assert app.focused is app.main.grid

    desk.play(play, "a red star")


# --- filters ----------------------------------------------------------------------------------------------------------


def test_filters_narrow_the_search_and_say_where_they_are_wrong(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        await pilot.press("f")
        panel = app.query_one(FilterPanel)
        panel.query_one("#paths", Input).value = "circles/** | !**/red.jpg"
        await until(pilot, lambda: len(names(app)) == 3)
        assert set(names(app)) == {"circles/blue.jpg", "circles/green.jpg", "circles/yellow.jpg"}
        panel.query_one("#rating", Input).value = "9"
        await until(pilot, lambda: panel.query_one("#rating", Input).has_class("wrong"))
        assert "stars from 1 to 5" in status(app)
        panel.query_one("#rating", Input).value = ""
        await until(pilot, lambda: not panel.query_one("#rating", Input).has_class("wrong"))
        await pilot.press("escape", "x")
        await until(pilot, lambda: len(names(app)) == 12)
        assert app.main.query_input.value == ""

    desk.play(play, "a red star")


def test_the_order_is_a_field_of_the_panel(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        best = names(app)
        assert best != sorted(best)
        await pilot.press("f")
        field = app.query_one(FilterPanel).query_one("#sort", Input)
        field.value = "pat"
        await until(pilot, lambda: field.has_class("wrong"))
        assert "sort must be score, date or path" in status(app)
        field.value = "path"
        await until(pilot, lambda: names(app) == sorted(best))
        field.value = ""
        await until(pilot, lambda: names(app) == best)

    desk.play(play, "a red star")


def test_what_there_is_to_choose_from_is_chosen_with_a_key(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        await pilot.press("f")
        panel = app.query_one(FilterPanel)
        await until(pilot, lambda: bool(panel._choices))
        choices = panel.query_one(OptionList)
        number = next(n for n, (name, text) in enumerate(panel._choices) if text.endswith("/squares"))
        choices.highlighted = number
        choices.action_select()
        await until(pilot, lambda: len(names(app)) == 4)
        assert all(name.startswith("squares/") for name in names(app))
        year = next(n for n, (name, _) in enumerate(panel._choices) if name == "year")
        choices.highlighted = year
        choices.action_select()
        await until(pilot, lambda: "before" in panel.texts())
        choices.highlighted = number
        choices.action_select()
        await until(pilot, lambda: len(names(app)) == 12)

    desk.play(play, "a red star")


def test_filters_of_the_command_line_are_in_the_panel(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        panel = app.query_one(FilterPanel)
        assert panel.display
        assert panel.texts() == {"paths": "stars/**\n!**/red.jpg", "is_relevant": "1"}
        assert panel.query_one(Checkbox).value

    desk.play(play, "a star", filters={"paths": "stars/**\n!**/red.jpg", "is_relevant": "1"})


def test_filters_are_written_as_they_are_read() -> None:
    filters = Filters(
        after=parse_time("2023-06"),
        before=parse_time("2024-01-02T03:04:05"),
        near=parse_near("48.8584,2.2945,0.5"),
        camera="x-t4",
        types=parse_types("jpg,png"),
        rating=3,
        keywords=("beach", "lisbon"),
        paths=("2019/**", "!IMG_*"),
        min_score=0.25,
        is_relevant=True,
    )
    from rclip.explore import SearchRequest

    assert SearchRequest.of("", texts_of(filters)).parsed_filters() == filters
    assert texts_of(None) == {}


# --- selecting --------------------------------------------------------------------------------------------------------


def test_the_selection_outlives_queries_and_is_returned(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        await pilot.press("space", "slash", *" - blue", "enter")
        await searched(app, pilot, 2)
        await pilot.press("right", "space", "right", "space", "space", "q")

    app = desk.play(play, "a red star")
    assert len(app.selected) == 2
    assert next(iter(app.selected.values())).path.endswith("stars/red.jpg")


def test_all_and_none_are_selected_at_once(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        await pilot.press("a")
        assert len(app.selected) == 12
        assert "✓ 12 selected" in status(app)
        await pilot.press("u")
        assert not app.selected

    desk.play(play, "a red star")


def test_photos_are_copied_to_a_folder_that_is_made(desk: Desk, tmp_path: Path) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        await pilot.press("space", "right", "space")
        for folder, expected in (
            (tmp_path / "out/new", "2 photos copied"),
            (desk.photos / "stars/red.jpg", "cannot write"),
        ):
            await pilot.press("c")
            app.query_one("#answer", Input).value = str(folder.parent)
            await pilot.press("end", *f"/{folder.name}", "enter")
            await until(pilot, lambda expected=expected: expected in status(app))  # type: ignore[misc]

    app = desk.play(play, "a red star")
    assert len(app.selected) == 2
    copies = {path.read_bytes() for path in (tmp_path / "out/new").iterdir()}
    assert copies == {Path(hit.path).read_bytes() for hit in app.selected.values()}


def test_answers_that_name_no_place_are_a_line(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        for key, answer, expected in (
            ("c", "a\0b", "cannot write"),
            ("c", str(desk.photos), "that folder is searched itself"),
            ("c", "/proc/x/y", "No such file"),
            ("s", "a\0b", "embedded null byte"),
            ("s", "/proc/x/y", "No such file"),
            ("s", "/dev/full", "exists already"),
        ):
            await pilot.press(key)
            app.query_one("#answer", Input).value = answer
            await pilot.press("enter")
            await until(pilot, lambda expected=expected: expected in status(app))  # type: ignore[misc]

    desk.play(play, "a red star")
    assert len(list(desk.photos.rglob("*.jpg"))) == 12


def test_no_copy_is_forgotten_and_none_is_cut_off_unasked(desk: Desk, tmp_path: Path) -> None:
    """A second one to the same folder, others that wait, and one that is at work when the user leaves."""
    sizes: set[int] = set()
    target = tmp_path / "out"

    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        sizes.update(Path(hit.path).stat().st_size for hit in app.main.grid.hits[:4])
        with app._background.opened.explorer()._copying:  # as long as a large copy takes
            for _ in range(4):
                await pilot.press("c")
                app.query_one("#answer", Input).value = str(target)
                await pilot.press("enter", "right")
            await pilot.press("q")
            assert "still being copied" in status(app)
        await until(pilot, lambda: not app._background.copying.is_busy)
        await pilot.press("q")

    desk.play(play, "a red star")
    assert {path.stat().st_size for path in target.iterdir()} == sizes
    assert len(list(target.iterdir())) == 4


@pytest.mark.parametrize("what", ["a file", "a link", "a dangling link", "a pipe", "a full disk"])
def test_a_list_is_saved_whole_and_over_nothing(desk: Desk, tmp_path: Path, mount: Mount, what: str) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    path, victim = folder / "list.txt", tmp_path / "victim"
    if what == "a file":
        path.write_text("precious")
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a full disk":
        mount(folder, 8192)
        (folder / "ballast").write_bytes(bytes(8192))
    else:
        path.symlink_to(victim)
    if what == "a link":
        victim.write_text("precious")
    before = os.lstat(path) if what != "a full disk" else None

    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        await pilot.press("a", "s")
        app.query_one("#answer", Input).value = str(path)
        await pilot.press("enter")
        await until(pilot, lambda: "exists already" in status(app) or "No space left" in status(app))

    desk.play(play, "a red star")
    assert set(os.listdir(folder)) == ({"ballast"} if what == "a full disk" else {"list.txt"})
    if before:
        assert os.path.samestat(before, os.lstat(path))
        assert before.st_size == os.lstat(path).st_size
    assert (victim.read_text() if victim.exists() else "precious") == "precious"
    assert victim.exists() == (what == "a link")


@pytest.mark.parametrize("name", ["list.txt", "list.csv", "list.json"])
def test_the_list_is_saved_and_nothing_is_overwritten(desk: Desk, tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        app.main.grid.move(1)
        await pilot.press("space", "s")
        app.query_one("#answer", Input).value = str(path)
        await pilot.press("enter")
        await until(pilot, lambda: "1 photo saved" in status(app))
        await pilot.press("s")
        app.query_one("#answer", Input).value = str(path)
        await pilot.press("enter")
        await until(pilot, lambda: "exists already" in status(app))

    app = desk.play(play, "a red star")
    (hit,) = app.selected.values()
    text = path.read_text()
    if name.endswith("txt"):
        assert text == f"{hit.path}\n"
    elif name.endswith("csv"):
        (row,) = csv.DictReader(text.splitlines())
        assert row["path"] == hit.path
        assert float(row["score"]) == pytest.approx(hit.score, abs=1e-5)
    else:
        assert [each["path"] for each in json.loads(text)] == [hit.path]


def test_photos_are_opened_in_the_viewer(desk: Desk) -> None:
    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        await pilot.press("o")
        await until(pilot, lambda: "opened" in status(app))

    desk.play(play, "a red star")
    assert desk.shown == [str(desk.photos / "stars/red.jpg")]


# --- hostile names ----------------------------------------------------------------------------------------------------

EVIL = "[red]x[@click=app.leave]\x1b]0;pwned\x07\x1b[2J\u202e.jpg"


def test_a_name_is_neither_markup_nor_a_sequence(desk: Desk, draw: Draw) -> None:
    draw(f"[b]dir\x1b[31m/{EVIL}")
    with desk.library(lambda said: None) as library:
        library.update()

    async def play(app: Interface, pilot: "Pilot[None]") -> None:
        number = next(n for n, hit in enumerate(app.main.grid.hits) if "pwned" in hit.path)
        app.main.grid.move(number)
        await pilot.press("m")
        await searched(app, pilot, 2)
        await pilot.press("backspace")
        await searched(app, pilot, 3)
        app.main.grid.move(number)
        await pilot.press("f", "escape", "enter", "space", "o")
        await until(pilot, lambda: "opened" in status(app))
        facts = "".join(line[125:].strip() for line in drawn(app))  # a path is broken where the column ends
        assert r"photos/[b]dir\x1b[31m" in facts
        assert "pwned" in facts
        assert not set("".join(drawn(app))) & {"\x1b", "\x07", "\u202e"}

    desk.play(play, "a red star", size=(160, 50))


# --- threads ----------------------------------------------------------------------------------------------------------


def test_of_jobs_only_those_still_wanted_are_begun() -> None:
    import queue
    import threading

    done: queue.Queue[Callable[[], None]] = queue.Queue()
    begun = threading.Event()
    results: list[object] = []
    may_go_on = threading.Event()

    def slow() -> str:
        begun.set()
        may_go_on.wait(30)
        return "slow"

    def broken() -> None:
        raise ValueError("no")

    jobs = Jobs(1, done.put)
    jobs.want([Job("slow", slow, results.append)])
    assert begun.wait(30)
    jobs.want([Job("never", lambda: "never", results.append)])
    jobs.want([Job("slow", lambda: "twice", results.append), Job("broken", broken, results.append)])
    may_go_on.set()
    for _ in range(2):
        done.get(timeout=30)()
    jobs.close()
    assert results[0] == "slow"
    assert isinstance(results[1], ValueError)
    assert len(results) == 2


# --- on a terminal ----------------------------------------------------------------------------------------------------

SIXEL = b"\x1bP0;1;0q"


def test_the_selected_are_printed_for_the_next_command(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    with interactive(rclip, "-n", "-0", "a red star") as session:
        session.wait_for(b"1 of 12")
        session.type(" ")
        session.wait_for("✓ 1 selected".encode())
        session.type("q")
        assert session.end() == (0, b"stars/red.jpg\0", b"")
        assert b"stars/red.jpg\0" not in session.out
        assert b"\x1b[?1049l\x1b[?25h" in session.out


def test_nothing_selected_is_status_1_and_ctrl_c_130(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    for keys, expected in (("q", (1, b"", b"")), (" \x03", (130, b"", b"rclip: stopped\n"))):
        with interactive(rclip, "-n", "a red star") as session:
            session.wait_for(b"1 of 12")
            session.type(keys)
            assert session.end() == expected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_it_was(rclip: Command, gallery: Path, number: signal.Signals) -> None:
    rclip("--index")
    with interactive(rclip, "-n", "a red star") as session:
        session.wait_for(b"1 of 12")
        session.send_signal(number)
        assert session.end() == (128 + number, b"", b"rclip: stopped\n")
        assert b"\x1b[?1049l" in session.out


def test_the_index_is_brought_up_to_date_meanwhile(rclip: Command, gallery: Path) -> None:
    with interactive(rclip) as session:
        session.wait_for(b"12 new")
        session.wait_for(b"1 of 12")
        session.type("\x11")
        assert session.end()[0] == 1


def test_what_keeps_it_from_opening_the_photos_is_said_after_it(rclip: Command, gallery: Path) -> None:
    with interactive(rclip, "--model", "nosuch") as session:
        code, out, err = session.end()
    assert (code, out) == (2, b"")
    assert one_line(err.decode()).startswith("rclip: there is no model and no checkpoint file 'nosuch'; ")
    assert b"\x1b[?1049l" in session.out


def test_a_first_request_that_makes_no_sense_keeps_nothing_from_going_on(rclip: Command, gallery: Path) -> None:
    with interactive(rclip, "--min-score=-1") as session:
        session.wait_for(b"filters by score and relevance need a query")
        session.type("a red star")
        session.wait_for(b"red.jpg")
        session.type("\x11")
        assert session.end()[0] == 1


def test_pictures_are_drawn_once_and_not_again_when_the_focus_moves(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    with interactive(rclip, "-n", "a red star", answers=XTERM, size=(150, 45)) as session:
        session.wait_for(lambda out: out.count(SIXEL) == 12)
        moved = session.type("l")
        session.wait_for(b"2 of 12", moved)
        selected = session.type(" ")
        session.wait_for(b"1 selected", selected)
        assert SIXEL not in session.out[moved:]
        helped = session.type("?")
        session.wait_for(b"more like this photo", helped)
        back = session.type("q")
        session.wait_for(lambda out: out.count(SIXEL) == 12, back)


def test_kitty_takes_pictures_away_when_other_things_are_shown(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    with interactive(rclip, "-n", "a red star", answers=KITTY, size=(150, 45)) as session:
        session.wait_for(lambda out: out.count(b"\x1b_Ga=T") == 12)
        helped = session.type("?")
        session.wait_for(lambda out: out.count(b"\x1b_Ga=d,d=I") == 12, helped)


def test_names_reach_the_terminal_harmless(rclip: Command, photos: Path, draw: Draw) -> None:
    draw(EVIL)
    rclip("--index")
    with interactive(rclip, "-n", "a red star") as session:
        session.wait_for(b"1 of 1")
        session.type("\r")
        session.wait_for(b"Folder")
        assert b"pwned" in session.out
        assert b"\x1b]0;pwned" not in session.out
        assert "\u202e".encode() not in session.out


def test_osc_52_carries_the_bytes_of_the_paths(rclip: Command, photos: Path) -> None:
    from base64 import b64encode

    name = b"caf\xe9.jpg"
    (photos / os.fsdecode(name)).write_bytes(pictures.saved(pictures.drawn(64, 48), "JPEG"))
    rclip("--index")
    with interactive(rclip, "-n", "a red star") as session:
        session.wait_for(b"1 of 1")
        session.type("y")
        copied = b64encode(os.fsencode(photos) + b"/" + name)
        session.wait_for(b"\x1b]52;c;" + copied + b"\x07")


def test_without_a_terminal_or_on_a_dumb_one_it_says_so(rclip: Command, gallery: Path) -> None:
    done = rclip("-i", prefix=("setsid", "--wait"))
    assert done.code == 2
    assert one_line(done.err).startswith("rclip: the interface needs a terminal (/dev/tty: ")
    with interactive(rclip, env={"TERM": "dumb"}) as session:
        assert session.end() == (2, b"", b"rclip: the interface needs a terminal (TERM is dumb)\n")


@pytest.mark.parametrize("option", [("--top", "3"), ("--open",), ("--queries", "-")])
def test_options_that_would_do_nothing_are_refused(rclip: Command, photos: Path, option: tuple[str, ...]) -> None:
    done = rclip("-i", *option)
    assert (done.code, one_line(done.err)) == (
        2,
        f"rclip: --interactive and {option[0]} cannot be used together: leave one of them out",
    )


def test_without_textual_it_says_what_to_install(rclip: Command, photos: Path, tmp_path: Path) -> None:
    """As on a machine without it: an import that a finder refuses."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.partition('.')[0] == 'textual':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name='textual')\n"
        "sys.meta_path.insert(0, Refuse())\n"
    )
    done = rclip("-i", env={"PYTHONPATH": str(hook)})
    assert done.code == 2
    assert one_line(done.err).endswith("-P -m pip install 'textual>=8.2,<9'")


def test_what_it_was_left_with_on_the_command_line_is_obeyed(rclip: Command, gallery: Path) -> None:
    rclip("--index")
    with interactive(rclip, "-n", "--json", "--path", "circles/**", "--sort", "path", "a red star") as session:
        session.wait_for(b"1 of 4")
        session.type("aq")
        code, out, _ = session.end()
    assert code == 0
    paths = [json.loads(line)["path"] for line in out.splitlines()]
    assert {path.split("/")[-2] for path in paths} == {"circles"}
    assert paths == sorted(paths)
    assert Grid.can_focus
