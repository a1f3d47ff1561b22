"""The demo as people see it: one Chromium, real pages, and what is cached told at their foot."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from demo_app.board import TILES
from tests.browser.conftest import MakePage

ADAS = {tile.url for tile in TILES if tile.path == "/users/42/favorites"}
LISTS = {tile.url for tile in TILES if tile.path == "/"}


def verdict(page: Page) -> Locator:
    """The pill at the foot of the page: HIT, MISS or not cached."""
    return page.locator(".strip [data-verdict]")


def sign_in(page: Page, name: str) -> None:
    page.goto("/users")
    page.get_by_role("button", name=f"Sign in as {name}", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{name}’s favourites")


def test_the_second_visit_to_a_page_is_a_hit_and_costs_less(page: Page) -> None:
    page.goto("/?category=testing")
    expect(page.get_by_role("heading", level=1)).to_have_text("Testing")
    expect(verdict(page)).to_have_text("MISS")
    cost = page.locator(".strip [data-cost]").inner_text()
    page.reload()
    expect(verdict(page)).to_have_text("HIT")
    expect(page.locator(".strip [data-age]")).to_have_text(re.compile("just now|[0-9]+ s ago"))
    # The same bytes, so the same bill; the request itself is told from its own header.
    expect(page.locator(".strip [data-cost]")).to_have_text(cost)
    expect(page.locator(".strip [data-request]")).to_contain_text("this request cost")
    page.get_by_role("link", name="Stars", exact=True).click()
    expect(page).to_have_url(re.compile(r"/\?category=testing&sort=stars$"))
    expect(page.locator(".list .name").nth(1)).to_have_text("selenium")


def test_a_favourite_is_in_the_list_at_once_and_then_cached_again(
    page: Page, visitor: MakePage
) -> None:
    sign_in(page, "Ada")
    expect(page.locator("[data-who]")).to_contain_text("Ada")
    expect(page.get_by_text("62 packages, the latest first.")).to_be_visible()
    page.reload()
    expect(verdict(page)).to_have_text("HIT")
    page.goto("/packages/flask")
    button = page.locator("[data-favourite] button")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_have_text("Your favourite")
    expect(page.locator(".fans a").first).to_contain_text("Ada")
    page.get_by_role("banner").get_by_role("link", name="Ada").click()
    expect(page.get_by_text("63 packages, the latest first.")).to_be_visible()
    expect(page.locator(".list .name").first).to_have_text("flask")
    expect(verdict(page)).to_have_text("MISS")
    page.reload()
    expect(verdict(page)).to_have_text("HIT")
    expect(page.locator(".list .heart")).to_have_count(20)
    other = visitor()
    other.goto("/users/42/favorites")
    expect(verdict(other)).to_have_text("HIT")
    expect(other.locator(".list .name").first).to_have_text("flask")
    expect(other.locator(".list .heart")).to_have_count(0)


def test_a_heart_in_the_list_takes_the_package_out(page: Page) -> None:
    sign_in(page, "Grace")
    first = page.locator(".list .name").first.inner_text()
    page.get_by_role("button", name=f"Remove {first} from the favourites").click()
    expect(page.get_by_text("57 packages, the latest first.")).to_be_visible()
    expect(page.locator(".list .name").first).not_to_have_text(first)
    expect(page).to_have_url(re.compile(r"/users/43/favorites$"))


def test_who_is_signed_in_is_never_part_of_a_cached_page(page: Page, visitor: MakePage) -> None:
    sign_in(page, "Ada")
    other = visitor()
    for path in ("/", "/packages/django", "/users"):
        page.goto(path)
        expect(page.locator("[data-who]")).to_contain_text("Sign out")
        other.goto(path)
        expect(verdict(other)).to_have_text("HIT")
        expect(other.locator("[data-who]")).to_have_text("Sign in")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("[data-who]")).to_have_text("Sign in")
    expect(verdict(page)).to_have_text("HIT")


def test_whoever_is_not_signed_in_is_asked_to(page: Page) -> None:
    page.goto("/packages/flask")
    page.get_by_role("button", name="Favourite").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Not yours to change")
    expect(verdict(page)).to_have_text("not cached")
    page.get_by_role("main").get_by_role("link", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/users$"))


def test_a_submitted_package_is_in_the_catalogue_at_once(page: Page) -> None:
    page.goto("/?sort=newest")
    page.get_by_role("link", name="Submit").click()
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("[aria-invalid]")).to_have_count(3)
    page.get_by_label("Name").fill("A brand new package")
    page.get_by_label("Address").fill("https://example.org/new")
    page.get_by_label("Category").select_option("Testing")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("A brand new package")
    page.goto("/?sort=newest")
    expect(verdict(page)).to_have_text("MISS")
    expect(page.locator(".list .name").first).to_have_text("A brand new package")


def states(page: Page, state: str) -> Locator:
    """The tiles of the board in this state."""
    return page.locator(f'.tile[data-state="{state}"]')


def expect_forgotten(page: Page, urls: set[str]) -> None:
    """Exactly these tiles are turned over, and all others are fresh."""
    expect(states(page, "forgotten")).to_have_count(len(urls))
    tiles = states(page, "forgotten").all()
    assert {tile.get_attribute("data-url") for tile in tiles} == urls
    expect(states(page, "fresh")).to_have_count(len(TILES) - len(urls))
    expect(page.locator("[data-fresh]")).to_have_text(str(len(TILES) - len(urls)))


def test_one_write_turns_exactly_its_own_tiles_over(page: Page, visitor: MakePage) -> None:
    page.goto("/board")
    page.get_by_role("button", name="Warm all pages").click()
    expect_forgotten(page, set())
    page.get_by_role("button", name="wagtail").click()
    expect_forgotten(page, ADAS | {"/packages/wagtail"})
    expect(page.locator("[data-headline]")).to_have_text("One write forgot 6 pages; 14 stayed.")
    newest = page.locator("[data-log] > li").first
    expect(newest).to_contain_text("POST /users/42/favorites/wagtail")
    expect(newest).to_contain_text("forgot 6 of 20 cached pages")
    expect(newest.locator(".chip")).to_have_text(["user:42/favorites", "package:wagtail"])
    # Somebody else looks at one of the forgotten pages: it is rendered anew, and only that one.
    other = visitor()
    other.goto("/packages/wagtail")
    expect_forgotten(page, ADAS)
    votes = page.locator("form", has_text="Vote for")
    votes.get_by_role("button", name="fastapi").click()
    expect_forgotten(page, ADAS | LISTS | {"/packages/fastapi"})
    expect(newest).to_contain_text("POST /packages/fastapi/vote")
    page.get_by_role("button", name="Warm all pages").click()
    expect_forgotten(page, set())


def test_all_of_it_works_without_scripts(visitor: MakePage) -> None:
    page = visitor(java_script_enabled=False)
    sign_in(page, "Alan")
    page.goto("/packages/tornado")
    page.get_by_role("button", name="Favourite").click()
    page.goto("/users/1/favorites")
    expect(page.locator(".list .name").first).to_have_text("tornado")
    page.goto("/board")
    page.get_by_role("button", name="saleor").click()
    expect(page).to_have_url(re.compile(r"/board$"))
    expect(page.locator("[data-log] > li").first).to_contain_text("favorites/saleor")


def test_no_page_is_wider_than_its_window(visitor: MakePage) -> None:
    page = visitor(color_scheme="dark")
    for width in (360, 820, 1360):
        page.set_viewport_size({"width": width, "height": 800})
        for path in ("/", "/packages/flask", "/users", "/users/42/favorites", "/submit", "/board"):
            page.goto(path)
            over = page.locator("html").evaluate("root => root.scrollWidth - root.clientWidth")
            assert over <= 0, (width, path)
