"""A page is renewed before its lifetime ends, by chance: nobody waits, and one renders it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from pagegen import Rule
from pagegen.flights import APART
from pagegen.stores import MemoryStore
from pagegen.testing import PATIENCE, Answer, FakeClock, Reply, Scenario, Seen, call_wsgi, environ
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate, until
from tests.scenarios.test_leases import SharedStore, all_handle, processes, renders

#: A page that takes 2 s and lives for 100: at 99 s the mean draw of beta 2 renews it.
TTL, TOOK, NEAR_END = 100.0, 2.0, 99.0
PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl=TTL)
LONG = {"max_wait": 300}


def always() -> float:
    """The draw that takes the end to be as early as any may."""
    return 1 - 1e-9


def draws(stage: Scenario, chance: Callable[[], float]) -> None:
    object.__setattr__(stage.cache.engine._state.sources, "chance", chance)


def slow(stage: Scenario, body: str = "page") -> Callable[[Seen], Reply]:
    """A handler that takes its time by the fake clock."""

    def handler(seen: Seen) -> Reply:
        stage.clock.advance(TOOK)
        return Reply(f"{body} {stage.renders}".encode())

    return handler


def near_its_end(scenario: MakeScenario, rule: Rule = PAGE, **options: Any) -> Scenario:
    """A page that is fresh for a second yet, in a cache that renews whatever may be renewed."""
    stage = scenario(rule, **options)
    stage.cache.engine._state.flights._now = stage.clock
    stage.handler = slow(stage)
    assert stage.get("/page").trace == "uri-miss, stored"
    stage.clock.advance(NEAR_END)
    draws(stage, always)
    return stage


def early(stage: Scenario) -> int:
    return stage.cache.statistics().get("early", 0)


def landed(stage: Scenario) -> bool:
    return stage.cache.statistics()["flights_flying"] == 0


def test_the_client_gets_the_fresh_page_while_one_refresh_runs(scenario: MakeScenario) -> None:
    stage = near_its_end(scenario)
    gate = stage.handler = Gate(lambda: "new")
    for _ in range(5):
        answer = stage.get("/page")
        assert (answer.text, answer.trace) == ("page 1", "hit")
        assert answer.get("cache-status") == "pagegen; hit; ttl=1"
    assert gate.entered.wait(PATIENCE)
    assert (stage.renders, early(stage)) == (2, 1)
    gate.open.set()
    until(lambda: landed(stage))
    assert stage.get("/page").text == "new"
    assert stage.renders == 2


@pytest.mark.parametrize("draw", [0.0, 0.1])
def test_a_small_draw_renews_nothing(scenario: MakeScenario, draw: float) -> None:
    stage = near_its_end(scenario)
    draws(stage, lambda: draw)
    assert stage.get("/page").trace == "hit"
    assert (stage.renders, early(stage)) == (1, 0)


@pytest.mark.parametrize(
    ("beta", "draw", "renewed"),
    [
        # 1 s to go; drawn: TOOK * beta * -log(1 - draw), which is 0.693 for a half.
        (True, 0.5, True),
        (2.0, 0.5, True),
        (0.5, 0.5, False),
        (0.5, 0.7, True),
        (False, 1 - 1e-9, False),
        (0, 1 - 1e-9, False),
    ],
)
def test_beta_says_how_early(
    scenario: MakeScenario, beta: bool | float, draw: float, *, renewed: bool
) -> None:
    stage = near_its_end(scenario, replace(PAGE, early=beta))
    draws(stage, lambda: draw)
    assert stage.get("/page").text == "page 1"
    assert early(stage) == renewed
    until(lambda: landed(stage) and stage.renders == 1 + renewed)


def test_far_from_its_end_no_page_is_renewed_whatever_is_drawn(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    stage.handler = slow(stage)
    stage.get("/page")
    draws(stage, always)
    stage.clock.advance(TTL - 12 * 2 * TOOK)
    assert stage.get("/page").trace == "hit"
    assert early(stage) == 0
    stage.clock.advance(1)
    assert stage.get("/page").trace == "hit"
    assert early(stage) == 1
    until(lambda: landed(stage))


def test_a_refresh_that_was_refused_is_not_repeated_at_each_request(
    scenario: MakeScenario,
) -> None:
    stage = near_its_end(scenario)
    stage.handler = lambda seen: Reply(b"yours", fields=[("Cache-Control", "private")])
    assert stage.get("/page").text == "page 1"
    until(lambda: landed(stage))
    assert [stage.get("/page").text for _ in range(5)] == ["page 1"] * 5
    assert (stage.renders, early(stage)) == (2, 1)


@pytest.mark.parametrize("failure", ["raises", "503"])
def test_a_refresh_that_fails_is_not_repeated_at_each_request(
    scenario: MakeScenario, failure: str
) -> None:
    stage = near_its_end(scenario, replace(PAGE, sie="1h"))

    def handler(seen: Seen) -> Reply:
        if failure == "raises":
            raise RuntimeError("the database is away")
        return Reply(b"no", status=503)

    stage.handler = handler
    assert stage.get("/page").text == "page 1"
    until(lambda: landed(stage))
    assert [stage.get("/page").text for _ in range(5)] == ["page 1"] * 5
    assert stage.renders == 2
    stage.clock.advance(1 + APART)
    assert stage.get("/page").text == "page 1"  # for sie


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("HEAD", {}),
        ("GET", {"Cache-Control": "only-if-cached"}),
        ("GET", {"Cache-Control": "no-store"}),
    ],
    ids=["HEAD", "only-if-cached", "no-store"],
)
def test_some_requests_renew_nothing(
    scenario: MakeScenario, method: str, fields: dict[str, str]
) -> None:
    stage = near_its_end(scenario)
    assert stage.request(method, "/page", fields).trace == "hit"
    assert (stage.renders, early(stage)) == (1, 0)


def test_who_has_waited_renews_nothing(scenario: MakeScenario) -> None:
    """A page that is near its end when it lands is not rendered again at once by all who waited."""
    stage = scenario(replace(PAGE, ttl=1), **LONG)
    draws(stage, always)
    gate = Gate()

    def handler(seen: Seen) -> Reply | str:
        stage.clock.advance(TOOK)
        return gate(seen)

    stage.handler = handler
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(stage.get("/page"))) for _ in "1234"]
    for thread in threads:
        thread.start()
    until(lambda: stage.cache.statistics()["flights_waiting"] == 3)
    gate.open.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(answer.trace for answer in answers) == ["collapsed"] * 3 + ["uri-miss, stored"]
    assert (stage.renders, early(stage)) == (1, 0)


def test_who_has_waited_for_another_process_renews_nothing(scenario: MakeScenario) -> None:
    clock = FakeClock()
    first, second = stages = processes(
        scenario, SharedStore(clock), 2, replace(PAGE, ttl=1), **LONG
    )
    gate = Gate()

    def handler(seen: Seen) -> Reply | str:
        clock.advance(TOOK)
        return gate(seen)

    all_handle(stages, handler)
    for stage in stages:
        draws(stage, always)
    with ThreadPoolExecutor(2) as threads:
        rendered = threads.submit(first.get, "/page")
        assert gate.entered.wait(PATIENCE)
        waited = threads.submit(second.get, "/page")
        until(lambda: second.cache.statistics().get("wait") == 1)
        gate.open.set()
        assert rendered.result(PATIENCE).trace == "uri-miss, stored"
        assert waited.result(PATIENCE).trace == "collapsed"
    assert (renders(stages), early(second)) == (1, 0)


def test_over_all_processes_there_is_one_refresh(scenario: MakeScenario) -> None:
    clock = FakeClock()
    store = SharedStore(clock)
    stages = processes(scenario, store, 3, PAGE)
    stages[0].handler = slow(stages[0])
    stages[0].get("/page")
    clock.advance(NEAR_END)
    gate = Gate(lambda: "new")
    all_handle(stages, gate)
    for stage in stages:
        draws(stage, always)
        assert [stage.get("/page").text for _ in range(3)] == ["page 1"] * 3
    assert gate.entered.wait(PATIENCE)
    gate.open.set()
    until(lambda: not store.out)
    assert [stage.get("/page").text for stage in stages] == ["new"] * 3
    assert renders(stages) == 2


def test_a_page_that_is_forgotten_while_it_is_renewed_is_forgotten(scenario: MakeScenario) -> None:
    stage = near_its_end(scenario)
    gate = stage.handler = Gate(lambda: "before the write")
    assert stage.get("/page").text == "page 1"
    assert gate.entered.wait(PATIENCE)
    stage.cache.invalidate("page")
    gate.open.set()
    until(lambda: landed(stage))
    stage.handler = lambda seen: "after the write"
    assert stage.get("/page").text == "after the write"


def test_a_refresh_asks_with_the_validator_of_the_page(scenario: MakeScenario) -> None:
    stage = scenario(PAGE)
    asked: list[str | None] = []

    def handler(seen: Seen) -> Reply:
        stage.clock.advance(TOOK)
        asked.append(seen.fields.get("if-none-match"))
        return Reply(b"" if asked[-1] else b"page", 304 if asked[-1] else 200, [("ETag", '"1"')])

    stage.handler = handler
    stage.get("/page")
    stage.clock.advance(NEAR_END)
    draws(stage, always)
    assert stage.get("/page").text == "page"
    until(lambda: landed(stage) and stage.cache.statistics().get("validated") == 1)
    assert asked == [None, '"1"']
    draws(stage, lambda: 0.0)
    stage.clock.advance(TTL - 2)
    assert stage.get("/page").trace == "hit"  # it lives for another ttl


# Where there is one thread --------------------------------------------------------------------


def alone(stage: Scenario, **fields: str) -> Answer:
    """A request to a WSGI server of one thread: no second one may run the application."""
    made = environ("GET", "/page", fields)
    return call_wsgi(stage.wsgi, {**made, "wsgi.multithread": False})


@pytest.mark.parametrize("front", ["wsgi"])
def test_with_one_thread_the_request_renews_the_page_and_gets_it(scenario: MakeScenario) -> None:
    stage = near_its_end(scenario)
    answer = alone(stage)
    assert (answer.text, answer.trace) == ("page 2", "miss, stored")
    assert alone(stage).text == "page 2"


@pytest.mark.parametrize("front", ["wsgi"])
@pytest.mark.parametrize("failure", ["raises", "503", "raises in its body"])
@pytest.mark.parametrize("control", ["", "must-revalidate"])
def test_with_one_thread_a_refresh_that_fails_costs_no_client_its_fresh_page(
    scenario: MakeScenario, failure: str, control: str
) -> None:
    stage = scenario(PAGE)
    fields = [("Cache-Control", control)] if control else []

    def first(seen: Seen) -> Reply:
        stage.clock.advance(TOOK)
        return Reply(b"page 1", fields=list(fields))

    stage.handler = first
    stage.get("/page")
    stage.clock.advance(NEAR_END)
    draws(stage, always)

    def handler(seen: Seen) -> Reply:
        if failure == "503":
            return Reply(b"no", status=503)

        def body() -> Any:
            raise RuntimeError("the database is away")
            yield b""

        if failure == "raises":
            raise RuntimeError("the database is away")
        return Reply(body())

    stage.handler = handler
    answer = alone(stage)
    assert (answer.status, answer.text) == (200, "page 1")


@pytest.mark.parametrize("front", ["wsgi"])
@pytest.mark.parametrize("said", ["only-if-cached", "no-store"])
def test_with_one_thread_some_requests_renew_nothing(scenario: MakeScenario, said: str) -> None:
    stage = near_its_end(scenario)
    assert alone(stage, **{"cache-control": said}).trace == "hit"
    assert stage.renders == 1


def test_conditions_and_parts_are_answered_from_the_fresh_page(scenario: MakeScenario) -> None:
    stage = near_its_end(scenario)
    gate = stage.handler = Gate(lambda: "new")
    etag = str(stage.get("/page").get("etag"))
    assert gate.entered.wait(PATIENCE)
    assert stage.get("/page", {"If-None-Match": etag}).status == 304
    assert stage.get("/page", {"Range": "bytes=0-3"}).text == "page"
    gate.open.set()
    until(lambda: landed(stage))


def test_a_store_that_is_away_costs_no_fresh_page(scenario: MakeScenario) -> None:
    """Lease and flags cannot be asked for: the page that was read is served."""

    class NoLeases(SharedStore):
        async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
            raise OSError("no route to host")

    clock = FakeClock()
    stage = near_its_end(scenario, store=NoLeases(clock), clock=clock)
    assert stage.get("/page").text == "page 1"
    until(lambda: landed(stage))


def test_the_default_draws_are_random(front: Any) -> None:
    with Scenario(front, [PAGE], store=MemoryStore()) as stage:
        chance = stage.cache.engine._state.sources.chance
        assert len({chance() for _ in range(100)}) == 100
        assert all(0 <= chance() < 1 for _ in range(100))
