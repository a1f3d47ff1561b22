"""Soft invalidation: others get the old page for a while, who made the write never does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagegen import ConfigError, PageCache, Rule
from pagegen.testing import Answer, FakeClock, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import until

KEY = "a secret of the site"
SWR = 30
ITEM = Rule(
    path="/items/{id}",
    share="public",
    namespaces=["item:{id}", "items"],
    ttl="1h",
    swr=SWR,
    soft=True,
    early=False,
)


class Site:
    """A scenario whose pages show a version of the database, which POST /write raises."""

    def __init__(self, stage: Scenario, *, soft: bool = True) -> None:
        self.stage = stage
        self.version = 1
        self.soft = soft
        self.said: list[bool] = []
        stage.handler = self.handle

    def handle(self, seen: Seen) -> Reply | str:
        """A page, or a write with the hook."""
        if seen.method == "POST" and seen.path == "/write":
            self.version += 1
            self.said.append(self.stage.cache.invalidate("item:1", soft=self.soft).soft)
            return "written"
        if seen.method == "POST":
            self.version += 1
            return "written"
        return f"version {self.version}"

    def write(self, target: str = "/write") -> dict[str, str]:
        """A write; returns the fields that its client sends from then on."""
        return jar(self.stage.post(target))

    def see(self, fields: dict[str, str] | None = None) -> int:
        """The version that a client of these fields gets, when all refreshes have ended."""
        before = count_pages(self)
        answer = self.stage.get("/items/1", fields)
        if answer.trace == "stale hit" or answer.get("cache-status") == "pagegen; hit; ttl=0":
            until(lambda: count_pages(self) > before)
        return int(answer.text.removeprefix("version "))


def jar(answer: Answer) -> dict[str, str]:
    """The Cookie field of who got this answer."""
    set_cookie = answer.get("set-cookie")
    return {} if set_cookie is None else {"cookie": set_cookie.partition(";")[0]}


@pytest.fixture
def site(scenario: MakeScenario) -> Site:
    """One that has the page in store."""
    made = Site(scenario(ITEM, site_key=KEY))
    warm(made)
    return made


def warm(site: Site) -> None:
    """Have the page of now in store."""
    site.stage.get("/items/1")
    assert site.stage.get("/items/1").trace == "hit"


def count_pages(site: Site) -> int:
    """Pages rendered: each is admitted."""
    return site.stage.cache.statistics().get("admitted", 0)


@contextmanager
def stage_of(clock: FakeClock) -> Iterator[Site]:
    with Scenario("wsgi", [ITEM], site_key=KEY, clock=clock) as stage:
        yield Site(stage)


# Others and the writer --------------------------------------------------------------------------


def test_others_get_the_old_page_once_more_while_one_refreshes_it(site: Site) -> None:
    site.write()
    site.stage.clock.advance(3)
    answer = site.stage.get("/items/1")
    assert (answer.text, answer.trace) == ("version 1", "stale hit")
    assert "ttl=-3" in (answer.get("cache-status") or "")
    until(lambda: count_pages(site) == 2)
    assert site.stage.get("/items/1").text == "version 2"
    assert site.stage.get("/items/1").trace == "hit"


def test_past_its_window_nobody_gets_the_old_page(site: Site) -> None:
    site.write()
    site.stage.clock.advance(SWR)
    answer = site.stage.get("/items/1")
    assert (answer.text, answer.trace) == ("version 2", "stale, stored")


def test_an_expired_page_has_no_second_window(scenario: MakeScenario) -> None:
    site = Site(scenario(ITEM, site_key=KEY))
    warm(site)
    site.stage.clock.advance(3600 + SWR - 1)
    site.write()
    assert site.stage.get("/items/1").text == "version 1"
    until(lambda: count_pages(site) == 2)
    site.stage.clock.advance(3600 + SWR)
    site.write()
    assert site.stage.get("/items/1").text == "version 3"


def test_who_made_the_write_never_gets_the_old_page(site: Site) -> None:
    writer = site.write()
    assert site.see(writer) == 2


def test_nor_when_others_are_served_the_old_page_and_nobody_could_refresh_it(site: Site) -> None:
    writer = site.write()
    handler, site.stage.handler = site.stage.handler, lambda seen: Reply(b"failed", 500)
    assert site.stage.get("/items/1").text == "version 1"
    until(lambda: site.stage.cache.statistics().get("refused:status") == 1)
    site.stage.handler = handler
    assert site.stage.get("/items/1", writer).text == "version 2"


def test_who_wrote_is_known_in_all_processes(scenario: MakeScenario, site: Site) -> None:
    store = site.stage.cache.engine.store
    twin = Site(scenario(ITEM, site_key=KEY, store=store, clock=site.stage.clock))
    twin.version = 2
    writer = site.write()
    assert twin.stage.get("/items/1").text == "version 1"
    until(lambda: count_pages(twin) == 1)
    twin.version = 3
    writer = site.write()
    assert twin.stage.get("/items/1", writer).text == "version 3"


def test_the_window_begins_with_the_first_of_two_writes(site: Site) -> None:
    site.write()
    site.stage.clock.advance(SWR - 1)
    site.write()
    answer = site.stage.get("/items/1")
    assert (answer.text, f"ttl=-{SWR - 1}" in str(answer.get("cache-status"))) == (
        "version 1",
        True,
    )
    until(lambda: count_pages(site) == 2)
    site.write()
    site.stage.clock.advance(SWR)
    site.write()
    assert site.stage.get("/items/1").text == "version 5"


@pytest.mark.parametrize("order", ["hard", "hard soft", "soft hard", "soft hard soft"])
def test_a_hard_one_among_soft_ones_kills_the_page(site: Site, order: str) -> None:
    for kind in order.split():
        site.soft = kind == "soft"
        site.write()
    answer = site.stage.get("/items/1")
    assert (answer.text, answer.trace) == (f"version {site.version}", "stale, stored")


def test_a_page_that_comes_late_is_soft_and_not_fresh(site: Site) -> None:
    """Its handler read the database before the write, and it is stored after it."""
    site.stage.cache.invalidate("item:1")
    inner = site.stage.handler

    def slowly(seen: Seen) -> Reply | str | bytes:
        page = inner(seen)
        site.version += 1
        site.stage.handler = inner
        outside(lambda: site.stage.cache.invalidate("item:1", soft=True))
        return page

    site.stage.handler = slowly
    assert site.stage.get("/items/1").text == "version 1"
    site.stage.clock.advance(1)
    answer = site.stage.get("/items/1")
    assert (answer.text, answer.trace) == ("version 1", "stale hit")
    until(lambda: count_pages(site) == 3)
    assert site.see() == 2


def outside(act: Callable[[], object]) -> None:
    """Do it where no request is handled, as a worker does."""
    thread = Thread(target=act)
    thread.start()
    thread.join()


def test_a_rule_that_is_not_soft_forgets_at_once(scenario: MakeScenario) -> None:
    other = Rule(path="/list", share="public", namespaces=["items"], ttl="1h", swr=SWR, early=False)
    stage = scenario(ITEM, other, site_key=KEY)
    for target in ("/items/1", "/list"):
        stage.get(target)
        assert stage.get(target).trace == "hit"
    stage.cache.invalidate("items", soft=True)
    assert stage.get("/list").trace == "stale, stored"
    assert stage.get("/items/1").text == "page 1"


def test_an_error_is_not_answered_with_a_page_that_was_softly_invalidated(
    scenario: MakeScenario,
) -> None:
    rule = Rule(
        path="/a", share="public", namespaces=["a"], ttl=60, swr=5, sie=600, soft=True, early=False
    )
    stage = scenario(rule, site_key=KEY)
    stage.get("/a")
    stage.cache.invalidate("a", soft=True)
    stage.clock.advance(10)
    stage.handler = lambda seen: Reply(b"failed", 500)
    assert stage.get("/a").status == 500


def test_a_client_that_wants_no_stale_page_gets_none(site: Site) -> None:
    site.write()
    assert site.see({"cache-control": "no-cache"}) == 2
    site.write()
    assert site.see({"cache-control": "max-age=5"}) == 3


# The cookie -------------------------------------------------------------------------------------


def test_the_cookie_stands_beside_those_of_the_application(site: Site) -> None:
    site.stage.handler = lambda seen: (
        site.stage.cache.invalidate("item:1", soft=True),
        Reply(b"", 204, [("Set-Cookie", "session=1")]),
    )[1]
    cookies = [
        value for name, value in site.stage.post("/x").fields if name.lower() == "set-cookie"
    ]
    assert cookies[0] == "session=1"
    assert cookies[1].startswith("pagegen_wrote_")
    assert len(cookies) == 2


def test_a_write_that_is_not_soft_sets_no_cookie(site: Site) -> None:
    site.soft = False
    assert site.write() == {}


def test_a_safe_request_that_passes_by_may_write_too(site: Site) -> None:
    inner = site.stage.handler

    def handler(seen: Seen) -> Reply | str | bytes:
        if seen.path == "/visit":
            site.version += 1
            site.stage.cache.invalidate("item:1", soft=True)
            return "visited"
        return inner(seen)

    site.stage.handler = handler
    writer = jar(site.stage.get("/visit"))
    assert site.see(writer) == 2


@pytest.mark.parametrize("mode", ["keyed", "http"])
def test_handlers_of_cached_pages_do_not_see_the_cookie_and_no_page_is_lost_by_it(
    scenario: MakeScenario, mode: str
) -> None:
    rule = Rule(path="/p", share="public", namespaces=["p"], ttl=60, mode=mode, early=False)  # type: ignore[arg-type]
    site = Site(scenario(ITEM, rule, site_key=KEY))
    writer = site.write()
    seen: list[str | None] = []

    def handler(request: Seen) -> Reply:
        seen.append(request.fields.get("cookie"))
        return Reply(b"x", 200, [("Vary", "Cookie")] if mode == "http" else [])

    site.stage.handler = handler
    assert site.stage.get("/p", writer).trace == "uri-miss, stored"
    assert site.stage.get("/p").trace == "hit"
    assert site.stage.get("/p", writer).trace == "hit"
    assert seen == [None]


def test_a_page_that_is_for_nobody_with_credentials_is_for_writers(scenario: MakeScenario) -> None:
    rule = Rule(path="/p", share="public", namespaces=["p"], ttl=60, mode="http", early=False)
    site = Site(scenario(ITEM, rule, site_key=KEY))
    writer = site.write()
    assert site.stage.get("/p", {"cookie": "session=1"}).trace == "refused-cookie"
    assert site.stage.get("/p", writer).trace == "uri-miss, stored"


# What is told -----------------------------------------------------------------------------------


def test_nobody_is_shown_a_register(site: Site) -> None:
    own = ("item:1", "items", "url:testserver/items/1")
    assert site.stage.cache.inspect("/items/1", host="testserver").namespaces == own
    assert site.stage.cache.inspect("/items/9", host="testserver").namespaces[0] == "item:9"
    site.stage.cache.invalidate("item:1")
    found = site.stage.cache.inspect("/items/1", host="testserver")
    assert (found.namespaces, found.changed) == (own, ("item:1",))
    assert "pagegen:" not in str(site.stage.get("/items/1").get("cache-status"))


def test_no_request_and_no_response_names_a_register(scenario: MakeScenario) -> None:
    rule = Rule(
        path="/{kind}/{id}", share="public", namespaces=["{kind}:{id}"], ttl=60, groups=True
    )
    stage = scenario(rule)
    assert stage.get("/pagegen/hard").trace == "bypass: namespace"
    stage.handler = lambda seen: Reply(b"x", 200, [("Cache-Groups", '"pagegen:hard:a:b"')])
    assert stage.get("/a/b").trace == "refused-groups"
    stage.handler = lambda seen: Reply(b"x")
    stage.get("/a/b")
    stage.handler = lambda seen: Reply(
        b"x", 200, [("Cache-Group-Invalidation", '"pagegen:sequence", "pagegen:hard:a:b"')]
    )
    stage.post("/elsewhere/else")
    assert stage.get("/a/b").trace == "hit"


def test_a_soft_rule_needs_a_site_key() -> None:
    with pytest.raises(
        ConfigError, match=r'rule "/items/\{id\}": soft: .*site_key.*Give \[pagegen\]'
    ):
        PageCache([ITEM])


# A model ----------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(st.sampled_from(["soft", "hard", "see", "writer"]), st.integers(1, 20)), max_size=14
)


@settings(max_examples=150)
@given(STEPS)
def test_a_page_is_left_to_others_only_from_its_first_soft_write_on_and_for_its_window(
    steps: list[str | int],
) -> None:
    """The model: what page is in store, and the first write it lacks, if none was hard."""
    with stage_of(FakeClock()) as site:
        stored, first, hard, writer = 0, None, False, {}
        for act in steps:
            now = site.stage.clock()
            if isinstance(act, int):
                site.stage.clock.advance(act)
            elif act in ("soft", "hard"):
                site.soft = act == "soft"
                said = site.write()
                writer = said or writer
                hard = hard or not site.soft
                first = now if first is None else first
            else:
                left = stored and first is not None and not hard and now < first + SWR
                got = site.see(writer if act == "writer" else None)
                knows = act == "writer" and bool(writer)
                assert got == (stored if left and not knows else site.version)
                stored, first, hard = site.version, None, False
