"""Namespaces found while rendering: ``Cache-Groups`` (RFC 9875) and ``cache.tag``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pagegen import Invalidates, Rule
from pagegen.groups import MAX_GROUPS, SEQUENCE
from pagegen.messages import StoredResponse
from pagegen.stores import MemoryStore
from pagegen.stores.base import Reading
from pagegen.testing import PATIENCE, FakeClock, Reply, Scenario, Seen
from tests.scenarios.test_collapse import until, waiting

MakeScenario = Callable[..., Scenario]

LIST = Rule(path="/list", share="public", namespaces=["list"], ttl="1h", groups=True)
CLOSED = Rule(path="/list", share="public", namespaces=["list"], ttl="1h")
HTTP = Rule(path="/**", share="public")
ITEMS = '"item:3", "item:9"'


class Counting(MemoryStore):
    """Counts its verbs, and remembers in which order tokens were replaced."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now=now)
        self.reads = 0
        self.replaced: list[tuple[str, ...]] = []

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.reads += 1
        return await super().read(slot, namespaces)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self.replaced.append(tuple(tokens))
        await super().replace_tokens(tokens, ttl)


def grouped(groups: str = ITEMS) -> Callable[[Seen], Reply]:
    """A handler whose response names these groups."""
    return lambda seen: Reply(
        b"3 and 9", fields=[("Cache-Groups", groups), ("Cache-Control", "max-age=600")]
    )


@pytest.mark.parametrize("rule", [LIST, HTTP], ids=["keyed", "http"])
def test_a_page_is_forgotten_by_a_group_that_its_response_named(
    scenario: MakeScenario, rule: Rule
) -> None:
    stage = scenario(rule)
    stage.handler = grouped()
    assert [stage.get("/list").trace for _ in range(2)] == ["uri-miss, stored", "hit"]
    stage.cache.invalidate("item:4")
    assert stage.get("/list").trace == "hit"
    stage.cache.invalidate("item:9")
    again = stage.get("/list")
    assert again.trace == "stale, stored"
    assert 'detail="changed: item:9"' in (again.get("cache-status") or "")
    assert stage.get("/list").trace == "hit"


def test_a_tag_of_the_handler_is_a_group_too(scenario: MakeScenario) -> None:
    stage = scenario(LIST)

    def handler(seen: Seen) -> str:
        stage.cache.tag("item:3", "list")
        return "3"

    stage.handler = handler
    assert [stage.get("/list").trace for _ in range(2)] == ["uri-miss, stored", "hit"]
    stage.cache.invalidate("item:3")
    assert stage.get("/list").trace == "stale, stored"


def test_a_group_is_forgotten_by_the_answer_to_a_write(scenario: MakeScenario) -> None:
    stage = scenario(LIST)
    stage.handler = grouped()
    stage.get("/list")
    stage.handler = lambda seen: Reply(b"", 204, [("Cache-Group-Invalidation", '"item:3"')])
    stage.post("/elsewhere")
    stage.handler = grouped()
    assert stage.get("/list").trace == "stale, stored"


def test_thirty_two_groups_of_thirty_two_characters_are_kept_apart(scenario: MakeScenario) -> None:
    names = [f"group-{number:026d}" for number in range(32)]
    stage = scenario(HTTP)
    stage.handler = grouped(", ".join(f'"{name}"' for name in names))
    stage.get("/list")
    for name in names:
        stage.cache.invalidate(name)
        assert stage.get("/list").trace == "stale, stored"
        assert stage.get("/list").trace == "hit"


def test_a_hit_costs_one_trip_once_the_groups_are_known(scenario: MakeScenario) -> None:
    clock = FakeClock()
    store = Counting(clock)
    first = scenario(LIST, store=store, clock=clock)
    other = scenario(LIST, store=store, clock=clock)
    first.handler = other.handler = grouped()
    first.get("/list")
    for stage, costs in ((first, 1), (other, 2), (other, 1)):
        before = store.reads
        assert stage.get("/list").trace == "hit"
        assert store.reads - before == costs


def test_a_page_that_changes_its_groups_is_known_by_the_new_ones(scenario: MakeScenario) -> None:
    clock = FakeClock()
    store = Counting(clock)
    stage = scenario(LIST, store=store, clock=clock)
    other = scenario(LIST, store=store, clock=clock)
    stage.handler = grouped('"item:3"')
    stage.get("/list")
    other.get("/list")
    stage.cache.invalidate("list")
    stage.handler = grouped('"item:9"')
    assert stage.get("/list").trace == "stale, stored"
    assert [other.get("/list").trace for _ in range(2)] == ["hit", "hit"]
    other.cache.invalidate("item:3")
    assert stage.get("/list").trace == other.get("/list").trace == "hit"
    other.cache.invalidate("item:9")
    assert stage.get("/list").trace == "stale, stored"


def test_the_sequence_is_replaced_before_the_tokens(scenario: MakeScenario) -> None:
    clock = FakeClock()
    store = Counting(clock)
    stage = scenario(LIST, store=store, clock=clock)
    stage.cache.invalidate("item:3")
    assert store.replaced == [(SEQUENCE,), ("item:3",)]


def test_what_forgets_a_url_alone_leaves_the_sequence(scenario: MakeScenario) -> None:
    clock = FakeClock()
    store = Counting(clock)
    stage = scenario(LIST, store=store, clock=clock)
    stage.post("/list")
    assert store.replaced == [("url:testserver/list",)]


def test_without_a_rule_that_allows_groups_nothing_is_added_to_an_invalidation(
    scenario: MakeScenario,
) -> None:
    clock = FakeClock()
    store = Counting(clock)
    stage = scenario(CLOSED, store=store, clock=clock)
    stage.cache.invalidate("item:3")
    assert store.replaced == [("item:3",)]


def test_a_rule_without_groups_stores_no_page_that_names_others(scenario: MakeScenario) -> None:
    stage = scenario(CLOSED)
    stage.handler = grouped()
    assert stage.get("/list").trace == "refused-groups"
    stage.handler = grouped('"list"')
    stage.clock.advance(11)
    assert stage.get("/list").trace == "uri-miss, stored"


@pytest.mark.parametrize(
    "groups",
    [
        ", ".join(f'"{number}"' for number in range(MAX_GROUPS + 1)),
        '" leading space"',
        '"' + "x" * 513 + '"',
        '"url:testserver/other"',
    ],
    ids=["too-many", "no-name", "too-long", "another-url"],
)
def test_a_page_that_could_not_be_forgotten_is_not_stored(
    scenario: MakeScenario, groups: str
) -> None:
    stage = scenario(LIST)
    stage.handler = grouped(groups)
    assert stage.get("/list").trace == "refused-groups"


def test_a_write_while_the_page_is_rendered_leaves_nothing(scenario: MakeScenario) -> None:
    """The handler read item 9, which is written and forgotten before its page is stored."""
    stage = scenario(LIST)
    stage.get("/list")
    stage.cache.invalidate("list")

    def handler(seen: Seen) -> Reply:
        reply = grouped()(seen)  # what the handler read is old from here on
        # Not this request's own doing: that would be settled once more at its end.
        writer = threading.Thread(target=stage.cache.invalidate, args=("item:9",))
        writer.start()
        writer.join(10)
        return reply

    stage.handler = handler
    assert stage.get("/list").trace == "refused-sequence"
    stage.handler = grouped()
    assert stage.get("/list").trace != "hit"


def test_nobody_who_came_after_a_write_gets_the_page_of_a_flight_from_before_it() -> None:
    """The page is judged, and on its way into the store, when a group of it is forgotten."""
    storing, stored = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
            storing.set()
            assert stored.wait(PATIENCE)
            return await super().write_page(slot, page, ttl)

    clock = FakeClock()
    with Scenario("wsgi", [LIST], store=Slow(now=clock), clock=clock) as stage:
        stage.handler = lambda seen: Reply(
            f"page {stage.renders}".encode(), fields=[("Cache-Groups", '"item:9"')]
        )
        with ThreadPoolExecutor(2) as pool:
            leader = pool.submit(stage.get, "/list")
            assert storing.wait(PATIENCE)
            stage.cache.invalidate("item:9")
            late = pool.submit(stage.get, "/list")
            until(lambda: waiting(stage) == 1)
            stored.set()
            assert leader.result(PATIENCE).text == "page 1"
            assert late.result(PATIENCE).text == "page 2"


def test_writes_elsewhere_do_not_keep_requests_apart(scenario: MakeScenario) -> None:
    stage = scenario(LIST)
    rendering, go_on = threading.Event(), threading.Event()

    def handler(seen: Seen) -> str:
        rendering.set()
        assert go_on.wait(PATIENCE)
        return f"page {stage.renders}"

    stage.handler = handler
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(stage.get, "/list")
        assert rendering.wait(PATIENCE)
        stage.cache.invalidate("elsewhere")
        follower = pool.submit(stage.get, "/list")
        until(lambda: waiting(stage) == 1)
        go_on.set()
        assert leader.result(PATIENCE).text == follower.result(PATIENCE).text == "page 1"


def test_an_owed_group_is_a_bypass(scenario: MakeScenario) -> None:
    class Deaf(MemoryStore):
        deaf = False

        async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
            if self.deaf:
                raise ConnectionError("nobody hears")
            await super().replace_tokens(tokens, ttl)

    clock = FakeClock()
    store = Deaf(now=clock)
    stage = scenario(LIST, store=store, clock=clock)
    stage.handler = grouped()
    stage.get("/list")
    store.deaf = True
    with pytest.raises(Exception, match="item:…"):
        stage.cache.invalidate("item:9")
    assert stage.get("/list").trace == "bypass: owed"


@pytest.mark.parametrize("verb", ["read", "add_tokens"])
def test_a_store_that_fails_over_late_tokens_costs_a_miss(
    scenario: MakeScenario, verb: str
) -> None:
    class Failing(MemoryStore):
        failing = False

    async def fail(self: Failing, *given: Any) -> Any:
        if self.failing:
            raise ConnectionError("gone")
        return await getattr(MemoryStore, verb)(self, *given)

    setattr(Failing, verb, fail)
    clock = FakeClock()
    store = Failing(now=clock)
    stage = scenario(LIST, store=store, clock=clock)

    def handler(seen: Seen) -> Reply:
        store.failing = True
        return grouped()(seen)

    stage.handler = handler
    assert stage.get("/list").trace == "refused-store"
    assert stage.get("/list").text == "3 and 9"


def test_declared_and_found_namespaces_forget_alike(scenario: MakeScenario) -> None:
    written = Invalidates(path="/list", methods=["PUT"], namespaces=["list"])
    stage = scenario(LIST, invalidates=[written])
    stage.handler = grouped()
    stage.get("/list")
    found = stage.cache.inspect("/list", host="testserver")
    assert found.namespaces == ("list", "url:testserver/list", "item:3", "item:9")
    stage.handler = lambda seen: "written"
    stage.request("PUT", "/list")
    assert stage.cache.inspect("/list", host="testserver").changed == (
        "list",
        "url:testserver/list",
    )
