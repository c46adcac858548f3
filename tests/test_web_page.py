"""The page in a real browser: searching, refining, choosing, looking, selecting; with mouse, keys and neither."""

import io
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_core_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import Visit, launched, needs_browser
from tests.support.command import Command
from tests.support.gallery import GALLERY, draw_scene
from tests.support.served import Served, serving

pytestmark = needs_browser

MORE = 60
"""Photos beside the gallery's, so that there are two pages."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, prepared_data: Path, tiny_checkpoint: Path) -> Command:
    """A gallery of some years, indexed, with a file that cannot be read and one with a hostile name."""
    root = tmp_path_factory.mktemp("page")
    photos, rng = root / "photos", random.Random(4)
    for number, (color, shape) in enumerate(GALLERY):
        path = photos / f"{shape}s/{color}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_scene(path, f"{color} {shape}", rng)
        os.utime(path, (0, datetime(2015 + number, 6, 1).timestamp()))
    (photos / "more").mkdir()
    for number in range(MORE):
        draw_scene(photos / f"more/{number:02}.png", "brown ring", rng)
        os.utime(photos / f"more/{number:02}.png", (0, datetime(2012, 1, 1 + number % 28).timestamp()))
    (photos / "broken.jpg").write_bytes(b"no picture")
    draw_scene(photos / HOSTILE, "white moon", rng)
    os.utime(photos / HOSTILE, (0, datetime(2010, 1, 1).timestamp()))
    command = Command(root / "home", shutil.copytree(prepared_data, root / "data"), tiny_checkpoint, photos)
    (root / "home").mkdir()
    assert command("--index").code == 0
    return command


HOSTILE = "<img src=x onerror=document.title='run'>&quot;'.png"


@pytest.fixture(scope="module")
def served(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(command, "-n", "--allow-copy", str(tmp_path_factory.mktemp("copies"))) as served:
        served.ask("/api/facets")
        yield served


Open = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Open]:
    """Opens the page as somebody with the address would."""
    visits: list[Visit] = []

    def open_page(query: str = "", **options: Any) -> Page:
        visits.append(Visit(browser, served.origin, **options))
        page = visits[-1].page
        page.goto(f"{served.origin}/?token={served.token}")
        if query:
            page.goto(f"{served.origin}{query}")
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html.ready")
        return page

    yield open_page
    for each in visits:
        each.close()


def cards(page: Page) -> Locator:
    return page.locator("#grid .card")


def names(page: Page) -> list[str]:
    paths = cards(page).evaluate_all("cards => cards.map(card => card.dataset.path)")
    return [str(Path(path).parent.name + "/" + Path(path).name) for path in paths]


def shows_first(page: Page, name: str) -> None:
    expect(cards(page).first).to_have_attribute("data-path", re.compile(re.escape(name) + "$"))


def color_of(locator: Locator) -> str:
    """The colour of the shape that is drawn on white, as it is on the screen."""
    locator.scroll_into_view_if_needed()
    locator.locator("img").evaluate("image => image.decode()")
    locator.page.mouse.move(0, 0)
    pixels = np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB"), int).reshape(-1, 3)
    shape = pixels[pixels.max(axis=1) - pixels.min(axis=1) > 90].mean(axis=0)
    return {0: "red", 1: "green", 2: "blue"}[int(shape.argmax())]


# --- searching --------------------------------------------------------------------------------------------------------


def test_photos_appear_while_one_types(visit: Open) -> None:
    page = visit()
    page.keyboard.type("a red star", delay=20)  # the search box has the focus
    shows_first(page, "stars/red.jpg")
    page.wait_for_url("**/?q=a+red+star")
    assert color_of(cards(page).first) == "red"
    page.fill("#q", "a blue circle")
    shows_first(page, "circles/blue.jpg")
    assert color_of(cards(page).first) == "blue"
    expect(page.locator("#count")).to_have_text("50 and more photos")


def test_the_newest_come_first_without_a_query(visit: Open) -> None:
    page = visit()
    expected = [f"{shape}s/{color}.jpg" for color, shape in reversed(GALLERY)]
    assert names(page)[: len(expected)] == expected


def test_photos_keep_their_proportions_and_fill_the_rows(visit: Open) -> None:
    page = visit(viewport={"width": 1280, "height": 800})
    boxes = cards(page).evaluate_all(
        "cards => cards.map(card => card.getBoundingClientRect()).map(b => [b.top, b.right, b.width, b.height])"
    )
    for top, _, width, height in boxes:
        assert width / height == pytest.approx(160 / 120, rel=0.02), top
    edge = max(right for _, right, _, _ in boxes)
    last_row = max(top for top, *_ in boxes)
    ends = [max(right for top, right, *_ in boxes if top == row) for row in {top for top, *_ in boxes} - {last_row}]
    assert ends == pytest.approx([edge] * len(ends), abs=1)


def test_more_photos_come_on_scrolling(visit: Open) -> None:
    page = visit("/?q=a+ring")
    expect(cards(page)).to_have_count(50)
    page.mouse.wheel(0, 100_000)
    expect(cards(page)).to_have_count(len(GALLERY) + MORE + 1)
    assert len(set(names(page))) == len(GALLERY) + MORE + 1
    expect(page.locator(".pager a")).to_have_count(0)


def test_address_back_and_reload(visit: Open) -> None:
    page = visit("/?q=a+red+star")
    page.locator("#q").fill("")
    page.locator("#q").press_sequentially("a blue circle", delay=150)  # each letter is searched for
    page.keyboard.press("Enter")
    shows_first(page, "circles/blue.jpg")
    page.reload()
    shows_first(page, "circles/blue.jpg")
    expect(page.locator("#q")).to_have_value("a blue circle")
    page.go_back()
    shows_first(page, "stars/red.jpg")
    expect(page.locator("#q")).to_have_value("a red star")
    page.go_forward()
    shows_first(page, "circles/blue.jpg")
    expect(page.locator("#q")).to_have_value("a blue circle")


def test_what_makes_no_sense_is_told_and_kept(visit: Open) -> None:
    page = visit("/?q=a+star+%2B")
    expect(page.get_by_role("alert")).to_have_text("the query ends with +: a term must follow it")
    expect(page.locator("#q")).to_have_value("a star +")
    page.fill("#q", "a star + red")
    expect(page.get_by_role("alert")).to_have_count(0)
    shows_first(page, "stars/red.jpg")


def test_nothing_found_is_said(visit: Open) -> None:
    page = visit("/?after=2050")
    expect(page.locator(".empty")).to_contain_text("No photo here fits that")


# --- refining ---------------------------------------------------------------------------------------------------------


def test_more_and_less_like_a_photo(visit: Open) -> None:
    page = visit("/?q=a+star")
    first = cards(page).first
    name = first.get_attribute("data-path")
    first.hover()
    first.get_by_role("link", name="More like").click()
    chips = page.locator(".chips").first.locator(".chip")
    expect(chips).to_have_count(2)
    expect(page.locator("#q")).to_have_value("a star")
    assert name not in cards(page).evaluate_all("cards => cards.map(card => card.dataset.path)")
    chips.nth(1).get_by_role("link", name="turn the sign").click()
    expect(chips.nth(1)).to_have_class(re.compile("taken"))
    page.wait_for_url(re.compile(r"q=-\+photo"))
    chips.nth(1).get_by_role("link", name="More weight").click()
    expect(chips.nth(1).locator(".weight")).to_contain_text("×2")
    page.wait_for_url(re.compile(r"q=-\+2%3Aphoto"))
    page.fill("#q", "a red circle")
    expect(chips.nth(0)).to_contain_text("a red circle")
    chips.nth(1).get_by_role("link", name="Remove").click()
    expect(chips).to_have_count(0)
    shows_first(page, "circles/red.jpg")


def test_terms_that_are_typed_are_chips(visit: Open) -> None:
    page = visit()
    page.fill("#q", "a star + 0.5:red - a circle")
    chips = page.locator(".chips .chip")
    expect(chips).to_have_count(3)
    expect(chips.nth(1)).to_contain_text("×0.5")
    chips.nth(2).get_by_role("link", name="Remove").click()
    expect(page.locator("#q")).to_have_value("a star + 0.5:red")


def test_a_year_of_the_histogram(visit: Open) -> None:
    page = visit()
    years = page.get_by_role("navigation", name="Years")
    years.get_by_role("link", name="2015, 1 photos").click()
    expect(cards(page)).to_have_count(1)
    shows_first(page, "circles/red.jpg")
    expect(page.locator("[name=after]")).to_have_value("2015")
    expect(page.locator(".badge")).to_have_text("2")
    years.get_by_role("link", name="2015, 1 photos").click()
    expect(cards(page)).to_have_count(50)


def test_filters(visit: Open, command: Command) -> None:
    page = visit("/?q=a+star")
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Type").fill("jpg")
    page.get_by_label("Type").press("Enter")
    expect(cards(page)).to_have_count(len(GALLERY))
    page.get_by_label("Folder").select_option(label="stars")
    expect(cards(page)).to_have_count(4)
    page.wait_for_url(re.compile("types=jpg&.*folder=|folder=.*&types=jpg"))
    page.get_by_label("From").fill("yesterday")
    page.get_by_label("From").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("the filter after must be a time like 2023")
    page.get_by_role("link", name="Remove the filter from yesterday").click()
    expect(cards(page)).to_have_count(4)
    expect(page.get_by_label("From")).to_have_value("")
    page.keyboard.press("Escape")


def test_the_order_is_chosen(visit: Open) -> None:
    newest = [f"{shape}s/{color}.jpg" for color, shape in reversed(GALLERY)]
    page = visit("/?q=a+star&types=jpg")
    best = names(page)
    assert best != newest
    page.get_by_text("Filters", exact=True).click()
    page.locator("select[name=sort]").select_option(label="newest first")
    shows_first(page, newest[0])
    assert names(page) == newest
    page.wait_for_url(re.compile("sort=date"))
    page.get_by_label("Order", exact=False).and_(page.locator("select")).focus()
    page.keyboard.press("ArrowDown")
    shows_first(page, sorted(newest)[0])
    assert names(page) == sorted(newest)
    page.get_by_role("link", name="Remove the filter order path").click()
    shows_first(page, best[0])
    expect(page.locator("select[name=sort]")).to_have_value("")


def test_a_picture_is_chosen_dropped_or_pasted(visit: Open, tmp_path: Path) -> None:
    draw_scene(tmp_path / "asked.png", "red star", random.Random(9))
    page = visit()
    page.set_input_files("#file", tmp_path / "asked.png")
    shows_first(page, "stars/red.jpg")
    expect(page.locator(".chip")).to_contain_text("your picture")
    content = list((tmp_path / "asked.png").read_bytes())
    for kind in ("drop", "paste"):
        page = visit()
        page.evaluate(
            """([kind, content]) => {
                const data = new DataTransfer();
                data.items.add(new File([new Uint8Array(content)], "a.png", { type: "image/png" }));
                const options = { bubbles: true, cancelable: true };
                const event = kind === "drop" ? new DragEvent("drop", { ...options, dataTransfer: data })
                    : new ClipboardEvent("paste", { ...options, clipboardData: data });
                document.body.dispatchEvent(event);
            }""",
            [kind, content],
        )
        shows_first(page, "stars/red.jpg")
        page.reload()
        shows_first(page, "stars/red.jpg")


def test_a_file_that_is_no_picture_is_told(visit: Open, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    page = visit()
    page.set_input_files("#file", tmp_path / "a.png")
    expect(page.locator("#toast")).to_contain_text("damaged, or not a picture")


# --- looking ----------------------------------------------------------------------------------------------------------


def test_a_large_view(visit: Open, command: Command) -> None:
    page = visit("/?q=a+red+star")
    shows_first(page, "stars/red.jpg")
    cards(page).first.locator(".open").click()
    view = page.get_by_role("dialog")
    expect(view.get_by_role("heading")).to_have_text("red.jpg")
    expect(view).to_contain_text(str(command.cwd / "stars/red.jpg"))
    expect(view).to_contain_text("160 × 120")
    view.locator("figure img").evaluate("image => image.decode()")
    second = Path(names(page)[1]).name
    page.keyboard.press("ArrowRight")
    expect(view.get_by_role("heading")).to_have_text(second)
    page.keyboard.press("ArrowLeft")
    expect(view.get_by_role("heading")).to_have_text("red.jpg")
    page.keyboard.press("Escape")
    expect(view).to_have_count(0)
    expect(cards(page).first.locator(".open")).to_be_focused()
    cards(page).first.locator(".open").click()
    view.get_by_role("link", name="More like this").click()
    expect(page.locator(".chip")).to_have_count(2)
    expect(view).to_have_count(0)


def test_the_view_goes_on_to_the_next_page(visit: Open) -> None:
    page = visit("/?q=a+ring", viewport={"width": 1280, "height": 400})
    cards(page).nth(49).locator(".open").evaluate("link => link.click()")
    view = page.get_by_role("dialog")
    expect(view.get_by_role("heading")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(cards(page)).to_have_count(len(GALLERY) + MORE + 1)
    expect(view.get_by_role("heading")).to_have_text(Path(names(page)[50]).name)


def test_a_hostile_name_is_only_a_name(visit: Open) -> None:
    page = visit("/?after=2010&before=2011")
    expect(cards(page)).to_have_count(1)
    cards(page).first.locator(".open").click()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text(HOSTILE)
    assert page.title() != "run"
    assert page.locator("img[src=x]").count() == 0


def test_a_photo_that_cannot_be_shown_says_so(browser: Browser, rclip: Command, gallery: Path) -> None:
    rclip("--index")
    (gallery / "stars/red.jpg").unlink()
    with serving(rclip, "-n") as served:
        visited = Visit(browser, served.origin)
        visited.page.goto(served.address)
        card = visited.page.locator(".card[data-path$='stars/red.jpg']")
        card.scroll_into_view_if_needed()
        expect(card).to_have_class(re.compile("failed"))
        visited.close()


# --- selecting --------------------------------------------------------------------------------------------------------


def test_five_are_selected_and_their_paths_copied(visit: Open, served: Served) -> None:
    page = visit("/?q=a+star")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=served.origin)
    cards(page).nth(1).hover()
    cards(page).nth(1).locator(".pick").click()
    cards(page).nth(4).locator(".open").click(modifiers=["Shift"])
    expect(page.locator("#selected")).to_have_text("4 photos selected")
    cards(page).nth(0).hover()
    cards(page).nth(0).locator(".pick").click()
    expect(page.locator("#selected")).to_have_text("5 photos selected")
    page.get_by_role("button", name="Copy paths").click()
    expect(page.locator("#toast")).to_have_text("5 paths copied")
    paths = cards(page).evaluate_all("cards => cards.slice(0, 5).map(card => card.dataset.path)")
    assert sorted(page.evaluate("navigator.clipboard.readText()").splitlines()) == sorted(paths)
    page.fill("#q", "a blue circle")
    shows_first(page, "circles/blue.jpg")
    expect(page.locator("#selected")).to_have_text("5 photos selected")
    page.reload()
    expect(page.locator("#selected")).to_have_text("5 photos selected")
    page.get_by_role("button", name="Clear the selection").click()
    expect(page.locator("#selection")).to_be_hidden()


@pytest.mark.parametrize(("form", "start"), [("text", "/"), ("csv", "path,"), ("json", "[")])
def test_the_list_is_saved(visit: Open, form: str, start: str) -> None:
    page = visit("/?q=a+red+star")
    cards(page).first.locator(".pick input").check(force=True)
    page.locator("#format").select_option(form)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save list").click()
    content = Path(download.value.path()).read_text()
    assert content.startswith(start)
    assert "stars/red.jpg" in content
    assert download.value.suggested_filename == {"text": "photos.txt", "csv": "photos.csv", "json": "photos.json"}[form]


def test_selected_photos_are_copied(visit: Open) -> None:
    page = visit("/?q=a+red+star")
    cards(page).first.locator(".pick input").check(force=True)
    copies = page.get_by_role("button", name="Copy to folder")
    target = Path(copies.get_attribute("title") or "")
    copies.click()
    expect(page.locator("#toast")).to_have_text("1 photo copied")
    assert [path.name for path in target.iterdir()] == ["red.jpg"]


# --- by the keyboard alone --------------------------------------------------------------------------------------------


def test_everything_by_keys(visit: Open, served: Served) -> None:
    page = visit()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=served.origin)
    page.keyboard.type("a red star")
    shows_first(page, "stars/red.jpg")
    page.keyboard.press("ArrowDown")
    expect(cards(page).nth(0).locator(".open")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(cards(page).nth(1).locator(".open")).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#selected")).to_have_text("2 photos selected")
    page.keyboard.press("c")
    expect(page.locator("#toast")).to_have_text("2 paths copied")
    below = page.evaluate(
        "() => { const b = document.querySelectorAll('#grid .card')[2].getBoundingClientRect(); return b.bottom }"
    )
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") > below - 5
    page.keyboard.press("ArrowUp")
    expect(cards(page).nth(2).locator(".open")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(cards(page).nth(2).locator(".open")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#selection")).to_be_hidden()
    page.keyboard.press("+")
    expect(page.locator(".chip")).to_have_count(2)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keys")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()


def test_tab_reaches_every_part(visit: Open) -> None:
    page = visit("/?q=a+star+-+a+circle")
    reached = set()
    page.locator("body").press("Tab")
    for _ in range(60):
        reached.add(
            page.evaluate(
                """() => { const at = document.activeElement;
                return at.closest(".chips") ? "chips" : at.closest(".years") ? "years" : at.closest(".card") ? "card"
                    : at.id || at.tagName }"""
            )
        )
        page.keyboard.press("Tab")
    assert {"q", "choose", "SUMMARY", "state", "chips", "years", "card"} <= reached


# --- without JavaScript -----------------------------------------------------------------------------------------------


def test_without_javascript(visit: Open) -> None:
    page = visit(java_script_enabled=False)
    page.fill("#q", "a red star")
    page.get_by_role("button", name="Search").click()
    shows_first(page, "stars/red.jpg")
    first = set(names(page))
    page.get_by_role("link", name="More photos").click()
    assert len(names(page)) == len(GALLERY) + MORE + 1 - 50
    assert not first & set(names(page))
    page.get_by_role("link", name="Earlier photos").click()
    assert set(names(page)) == first
    cards(page).first.locator(".open").click()
    expect(page.get_by_role("heading", name="red.jpg")).to_be_visible()
    page.get_by_role("link", name="More like this").click()
    expect(page.locator(".chip")).to_have_count(2)
    page.fill("#q", "a circle")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".chip")).to_have_count(2)
    page.locator(".chip").nth(1).get_by_role("link", name="Remove").click()
    expect(page.locator(".chip")).to_have_count(0)
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Type").fill("jpg")
    page.locator("select[name=sort]").select_option("path")
    page.get_by_role("button", name="Apply").click()
    expect(cards(page)).to_have_count(len(GALLERY))
    assert names(page) == sorted(names(page))
    expect(page.locator("select[name=sort]")).to_have_value("path")
    expect(page.get_by_role("button", name="Copy path")).to_have_count(0)


# --- the index --------------------------------------------------------------------------------------------------------


def test_new_photos_are_told_while_the_page_is_open(
    browser: Browser, rclip: Command, photos: Path, gallery: Path
) -> None:
    rclip("--index")
    with serving(rclip, "-n") as served:
        visited = Visit(browser, served.origin)
        page = visited.page
        page.goto(served.address)
        expect(cards(page)).to_have_count(len(GALLERY))
        draw_scene(photos / "new.jpg", "white moon", random.Random(1))
        (photos / "broken.jpg").write_bytes(b"no picture")
        served.post("/api/update")
        expect(page.locator("#toast")).to_have_text("Found: 1 new photo, 1 file cannot be read")
        expect(cards(page)).to_have_count(len(GALLERY) + 1)
        expect(page.locator("#state")).to_have_text("13 photos")
        page.locator("#state").click()
        expect(page.get_by_role("heading", name="1 files that cannot be read")).to_be_visible()
        expect(page.get_by_role("table")).to_contain_text("damaged, or not a picture")
        (photos / "broken.jpg").unlink()
        page.get_by_role("button", name="Look for new photos now").click()
        expect(page.get_by_role("heading", name="All files can be read")).to_be_visible()
        visited.close()


def test_a_server_that_has_ended_is_told(browser: Browser, rclip: Command, gallery: Path) -> None:
    rclip("--index")
    with serving(rclip, "-n") as served:
        visited = Visit(browser, served.origin)
        visited.page.goto(served.address)
        visited.page.wait_for_selector("html.ready")
        served.stop()
        visited.page.fill("#q", "a star")
        expect(visited.page.locator("#toast")).to_have_text("rclip does not answer: is it still running?")
        visited.context.close()


# --- for everybody ----------------------------------------------------------------------------------------------------

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LIGHT, DARK = {"color_scheme": "light"}, {"color_scheme": "dark"}


def open_filters(page: Page) -> None:
    page.get_by_text("Filters", exact=True).click()


def open_view(page: Page) -> None:
    cards(page).first.locator(".open").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def select_two(page: Page) -> None:
    for number in range(2):
        cards(page).nth(number).locator(".pick input").check(force=True)


def nothing_more(page: Page) -> None:
    page.wait_for_load_state()


STATES = {
    "photos": ("/", nothing_more),
    "chips": ("/?q=a+star+-+2:a+circle&q=%2B+photo:0-1&after=2010&types=jpg", nothing_more),
    "filters": ("/?q=a+star", open_filters),
    "view": ("/?q=a+star", open_view),
    "selection": ("/?q=a+star", select_two),
    "problem": ("/?q=a+%2B", nothing_more),
    "nothing": ("/?after=2050", nothing_more),
    "status": ("/status", nothing_more),
    "photo": ("/photos/0-1", nothing_more),
}


@pytest.mark.parametrize("look", [LIGHT, DARK, PHONE], ids=["light", "dark", "phone"])
@pytest.mark.parametrize("state", STATES)
def test_nobody_is_kept_out(browser: Browser, served: Served, state: str, look: dict[str, Any]) -> None:
    """By axe-core's rules; and at a phone's width nothing is wider than the screen."""
    address, action = STATES[state]
    visited = Visit(browser, served.origin, reduced_motion="reduce", **look)
    page = visited.page
    page.goto(served.address)
    page.goto(served.origin + address)
    action(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")
    found = Axe().run(page)
    assert [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]] == []
    visited.close()
