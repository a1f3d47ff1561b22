"""Chromium: its cache, its buttons, its tabs.

Playwright starts it without its cache of whole living pages (bfcache), which no header reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import PATIENCE, browser
from tests.clients.conftest import NewItem
from tests.clients.programs import Origin

__all__ = ["browser"]


@pytest.fixture
def context(browser: Browser, origin: Origin) -> Iterator[BrowserContext]:
    """Somebody with an empty cache."""
    made = browser.new_context(base_url=origin.url)
    made.set_default_timeout(PATIENCE)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab."""
    return context.new_page()


def shows(page: Page, version: int) -> None:
    expect(page.locator("h1")).to_have_text(f"version {version}", timeout=PATIENCE / 4)


def go_on(page: Page) -> None:
    """Follow the link to the next item."""
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**-next")


def test_a_page_is_asked_for_each_time_and_sent_once(
    page: Page, origin: Origin, new_item: NewItem
) -> None:
    item = new_item("items")
    for _ in range(3):
        page.goto(item)
        shows(page, 0)
    assert origin.answers(item) == ["GET 200", "GET 304", "GET 304"]
    assert origin.renderings(item) == 1


@pytest.mark.parametrize(("kind", "renderings"), [("items", 2), ("calm", 1)])
def test_a_reload_renders_anew_unless_the_rule_ignores_it_and_the_same_page_is_sent_once(
    kind: str, renderings: int, page: Page, origin: Origin, new_item: NewItem
) -> None:
    item = new_item(kind)
    page.goto(item)
    # Chromium asks for a page that is no second old.
    origin.pass_time(1)
    page.reload()
    shows(page, 0)
    assert origin.answers(item) == ["GET 200", "GET 304"]
    assert origin.renderings(item) == renderings


@pytest.mark.parametrize(("kind", "renderings"), [("items", 2), ("calm", 1)])
def test_a_hard_reload_is_answered_in_full(
    kind: str, renderings: int, page: Page, origin: Origin, new_item: NewItem
) -> None:
    item = new_item(kind)
    page.goto(item)
    devtools = page.context.new_cdp_session(page)
    with page.expect_navigation():
        devtools.send("Page.reload", {"ignoreCache": True})
    shows(page, 0)
    assert origin.answers(item) == ["GET 200", "GET 200"]
    assert origin.renderings(item) == renderings


@pytest.mark.parametrize("kind", ["old", "packed"])
def test_a_page_is_new_right_after_an_invalidation(
    kind: str, page: Page, origin: Origin, new_item: NewItem
) -> None:
    item = new_item(kind)
    for version in range(2):
        for _ in range(2):
            page.goto(item)
            shows(page, version)
        origin.change(item)
    page.reload()
    shows(page, 2)
    assert origin.renderings(item) == 3
    # What the tab itself asked for, without the writes.
    gets = [answer for answer in origin.answers(item) if answer.startswith("GET")]
    assert gets == ["GET 200", "GET 304"] * 2 + ["GET 200"]


def test_a_second_tab_shows_the_new_page_and_validates_the_same_copy(
    context: BrowserContext, page: Page, origin: Origin, new_item: NewItem
) -> None:
    item = new_item("items")
    page.goto(item)
    other = context.new_page()
    other.goto(item)
    shows(other, 0)
    assert origin.answers(item) == ["GET 200", "GET 304"]
    origin.change(item)
    other.goto(item)
    shows(other, 1)
    page.goto(item)
    shows(page, 1)
    assert origin.answers(item)[2:] == ["POST 303", "GET 200", "GET 304"]
    assert origin.renderings(item) == 2


def test_whoever_writes_sees_what_was_written_and_the_back_button_too(
    page: Page, origin: Origin, new_item: NewItem
) -> None:
    item = new_item("items")
    page.goto(item)
    go_on(page)
    page.goto(item)
    page.get_by_role("button", name="Change").click()
    shows(page, 1)
    go_on(page)
    page.go_back()
    shows(page, 1)
    assert origin.renderings(item) == 2


def test_the_buttons_show_a_page_that_did_not_change_without_rendering_it(
    page: Page, origin: Origin, new_item: NewItem
) -> None:
    item = new_item("items")
    page.goto(item)
    go_on(page)
    page.go_back()
    shows(page, 0)
    page.go_forward()
    page.wait_for_url("**-next")
    shows(page, 0)
    assert set(origin.answers(item)) <= {"GET 200", "GET 304"}
    assert origin.renderings(item) == origin.renderings(f"{item}-next") == 1


def press(page: Page, button: str) -> None:
    step: Callable[[], object] = page.go_back if button == "back" else page.go_forward
    step()


@pytest.mark.parametrize("button", ["back", "forward"])
def test_the_buttons_show_the_new_page_after_an_invalidation(
    button: str, page: Page, origin: Origin, new_item: NewItem
) -> None:
    item = new_item("items")
    if button == "back":
        page.goto(item)
        go_on(page)
    else:
        page.goto(new_item("items"))
        page.goto(item)
        page.go_back()
    origin.change(item)
    press(page, button)
    shows(page, 1)
    assert origin.renderings(item) == 2


def test_a_page_for_a_minute_is_shown_without_a_question(
    page: Page, origin: Origin, new_item: NewItem
) -> None:
    item = new_item("timed")
    for _ in range(3):
        page.goto(item)
        expect(page.locator("body")).to_contain_text("0000 0499")
    assert origin.answers(item) == ["GET 200"]
    page.reload()
    assert origin.answers(item) == ["GET 200", "GET 304"]
