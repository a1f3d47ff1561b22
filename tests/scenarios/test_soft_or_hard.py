"""Where a soft invalidation is hard all the same, and writes that say soft without code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pagegen import Invalidates, InvalidationError, Rule
from pagegen.errors import StoreError
from pagegen.law.unsafe import softly
from pagegen.messages import GivenFields, Request, ResponseHead
from pagegen.rulebook import RuleBook
from pagegen.stores import MemoryStore
from pagegen.testing import FakeClock, Reply, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import until
from tests.scenarios.test_soft import ITEM, KEY, SWR, Site, jar, stage_of, warm


@pytest.fixture
def site(scenario: MakeScenario) -> Site:
    """One that has the page in store."""
    made = Site(scenario(ITEM, site_key=KEY))
    warm(made)
    return made


# Where it is hard all the same ------------------------------------------------------------------


def test_a_handler_that_renders_a_page_forgets_hard(site: Site) -> None:
    """A page has no cookie to give."""
    inner = site.stage.handler

    def handler(seen: Seen) -> Reply | str | bytes:
        if seen.path == "/items/2":
            site.version += 1
            site.said.append(site.stage.cache.invalidate("item:1", soft=True).soft)
        return inner(seen)

    site.stage.handler = handler
    assert site.stage.get("/items/2").get("set-cookie") is None
    assert site.said == [False]
    assert site.see() == 2


def test_what_is_written_after_the_head_has_left_is_forgotten_hard(site: Site) -> None:
    def body() -> Iterator[bytes]:
        yield b"one"
        site.version += 1
        site.said.append(site.stage.cache.invalidate("item:1", soft=True).soft)
        yield b"two"

    inner = site.stage.handler
    site.stage.handler = lambda seen: Reply(body()) if seen.method == "POST" else inner(seen)
    answer = site.stage.post("/elsewhere")
    assert (answer.body, answer.get("set-cookie"), site.said) == (b"onetwo", None, [False])
    assert site.see() == 2


def test_a_cookie_that_left_covers_what_follows_for_a_minute(site: Site) -> None:
    def body(seconds: float) -> Iterator[bytes]:
        yield b"one"
        site.stage.clock.advance(seconds)
        site.said.append(site.stage.cache.invalidate("item:1", soft=True).soft)
        yield b"two"

    def handler(seen: Seen) -> Reply:
        site.stage.cache.invalidate("item:1", soft=True)
        return Reply(body(float(seen.path[1:])))

    site.stage.handler = handler
    site.stage.post("/60")
    site.stage.post("/61")
    assert site.said == [True, False]


def test_an_exception_in_place_of_an_answer_forgets_hard(site: Site) -> None:
    inner = site.stage.handler

    def handler(seen: Seen) -> Reply | str | bytes:
        if seen.method != "POST":
            return inner(seen)
        site.version += 1
        assert site.stage.cache.invalidate("item:1", soft=True).soft
        raise RuntimeError("after the commit")

    site.stage.handler = handler
    with pytest.raises(RuntimeError, match="after the commit"):
        site.stage.post("/elsewhere")
    assert site.see() == 2


def test_an_answer_to_another_handler_forgets_hard() -> None:
    """It may tell its own client anything, and no cookie."""
    with stage_of(FakeClock()) as site:
        warm(site)
        inner = site.stage.handler

        def handler(seen: Seen) -> Reply | str | bytes:
            if seen.path == "/outer":
                assert jar(site.stage.post("/write")) == {}
                return "done"
            return inner(seen)

        site.stage.handler = handler
        assert site.stage.post("/outer").get("set-cookie") is None
        assert site.said == [False]
        assert site.see() == 2


def test_where_no_rule_is_soft_it_is_hard(scenario: MakeScenario) -> None:
    plain = Rule(path="/items/{id}", share="public", namespaces=["item:{id}"], ttl="1h", swr=SWR)
    site = Site(scenario(plain))
    warm(site)
    assert site.write() == {}
    assert (site.said, site.see()) == ([False], 2)


def test_what_the_store_does_not_acknowledge_is_owed_hard(scenario: MakeScenario) -> None:
    store = Deaf()
    site = Site(scenario(ITEM, site_key=KEY, store=store))
    warm(site)
    store.deaf = True
    with pytest.raises(InvalidationError):
        site.stage.cache.invalidate("item:1", soft=True)
    assert site.stage.get("/items/1").trace == "bypass: owed"
    owed = site.stage.cache.engine._state.owed
    store.deaf = False
    site.stage.cache.invalidate("item:1", soft=True)  # which does not pay for a hard one
    assert "item:1" in owed.names or site.see() == 1
    until(lambda: not owed.names)
    assert site.stage.get("/items/1").trace == "stale, stored"


class Deaf(MemoryStore):
    """A store that can stop taking invalidations."""

    deaf = False

    async def replace_tokens(self, *args: object, **kwargs: object) -> None:
        if self.deaf:
            raise StoreError("cut off")
        await super().replace_tokens(*args, **kwargs)  # type: ignore[arg-type]


# Writes without code in the handler -------------------------------------------------------------


def write_table(*, soft: bool, path: str = "/tables/{id}") -> Invalidates:
    """An entry of ``[[invalidates]]``."""
    return Invalidates(path=path, namespaces=["item:{id}"], soft=soft)


def test_an_entry_may_say_soft(scenario: MakeScenario) -> None:
    site = Site(scenario(ITEM, site_key=KEY, invalidates=[write_table(soft=True)]))
    warm(site)
    writer = site.write("/tables/1")
    assert site.see(writer) == 2
    site.write("/tables/1")
    assert site.see() == 2


def test_an_entry_that_says_nothing_weighs_more(scenario: MakeScenario) -> None:
    tables = [write_table(soft=True), write_table(soft=False, path="/{any}/{id}")]
    site = Site(scenario(ITEM, site_key=KEY, invalidates=tables))
    warm(site)
    assert site.write("/tables/1") == {}
    assert site.see() == 2


def test_groups_of_the_response_and_written_urls_are_forgotten_hard(
    scenario: MakeScenario,
) -> None:
    tables = [write_table(soft=True), write_table(soft=True, path="/items/{id}")]
    site = Site(scenario(ITEM, site_key=KEY, invalidates=tables))
    warm(site)
    site.write("/items/1")  # the page's own URL
    assert site.see() == 2
    site.stage.handler = lambda seen: (
        Reply(b"", 200, [("Cache-Group-Invalidation", '"item:1"')])
        if seen.method == "POST"
        else "version 3"
    )
    assert jar(site.stage.post("/tables/1")) == {}
    assert site.see() == 3


def test_what_was_softly_and_hard_forgotten_in_one_request_is_forgotten_hard(site: Site) -> None:
    def handler(seen: Seen) -> str:
        if seen.method == "POST":
            for soft in (True, False, True):
                site.stage.cache.invalidate("item:1", soft=soft)
            return "x"
        return "version 2"

    site.stage.handler = handler
    assert jar(site.stage.post("/write")) == {}
    assert site.see() == 2


@pytest.mark.parametrize(
    ("method", "status", "expect"),
    [
        ("POST", 200, {"a", "b"}),
        ("POST", 303, {"a", "b"}),
        ("POST", 409, set()),
        ("GET", 200, set()),
    ],
)
def test_only_what_an_answer_invalidates_is_softly_invalidated(
    method: str, status: int, expect: set[str]
) -> None:
    entry = Invalidates(path="/w", namespaces=["a", "b", "url:x"], soft=True)
    request = Request(method, "http", "", "/w", None, "", GivenFields(), {})
    found = softly(RuleBook((), (entry,)), request, ResponseHead(status, ()))
    assert found == expect


def test_a_cache_without_rules_has_no_cookie_to_give(scenario: MakeScenario) -> None:
    """It does not know for how long others may get old pages."""
    site = Site(scenario(site_key=KEY))
    assert site.write() == {}
    assert site.said == [False]
    assert site.stage.cache.invalidate("item:1", soft=True).soft
