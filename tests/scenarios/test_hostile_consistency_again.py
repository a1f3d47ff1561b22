"""What a hostile reader found besides: what leases cost who needs none, and what bounds them."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from pagegen import Rule
from pagegen.messages import StoredResponse
from pagegen.stores.base import Reading
from pagegen.stores.near import NearStore
from pagegen.testing import PATIENCE, Answer, FakeClock, Reply, Scenario, Seen
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate, crowd, until
from tests.scenarios.test_leases import (
    LONG,
    PAGE,
    SWR,
    SharedStore,
    abandoned,
    all_handle,
    pool,
    processes,
    waits,
)
from tests.scenarios.test_leases_given_back import Full

PRIVATE = Reply(b"yours", fields=[("Cache-Control", "private")])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Counting(SharedStore):
    """Counts its verbs, each of which takes a third of what the store may cost in all."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.took = 0.0
        self.verbs: list[str] = []

    def _note(self, verb: str) -> None:
        self.took += 0.02
        self.verbs.append(verb)

    async def read(self, slot: bytes | None, namespaces: Any) -> Reading:
        self._note("read")
        return await super().read(slot, namespaces)

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        self._note("acquire")
        return await super().acquire(slot, owner, term)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        self._note("mark" if page.status == 0 else "write")
        return await super().write_page(slot, page, ttl)


def test_a_mark_is_part_of_what_the_store_may_cost(
    scenario: MakeScenario, clock: FakeClock
) -> None:
    """The head of the answer waits for it."""
    store = Counting(clock)
    store.capabilities = replace(store.capabilities, blocking_writes=True)
    (stage,) = processes(scenario, store, 1)
    state = stage.cache.engine._state
    object.__setattr__(state.sources, "monotonic", lambda: store.took)
    stage.cache.invalidate("page")
    stage.get("/page")
    stage.cache.invalidate("page")
    stage.handler = lambda seen: PRIVATE
    store.verbs.clear()
    assert stage.get("/page").body == b"yours"
    assert store.verbs == ["read", "acquire"]


def test_what_only_near_stores_keep_is_rendered_by_all_processes_at_one_time(
    scenario: MakeScenario, clock: FakeClock
) -> None:
    """It is too large for the shared store: nobody waits for a page that will never be there."""
    behind = Full(clock)
    stages = [
        scenario(PAGE, store=NearStore(behind, 2**20, now=clock), clock=clock, **LONG)
        for _ in range(3)
    ]
    stages[0].get("/page")
    inside = Barrier(2)

    def handler(seen: Seen) -> str:
        inside.wait(10)
        return "page"

    all_handle(stages, handler)
    with pool() as threads:
        answers = [answer for stage in stages[1:] for answer in crowd(stage, threads, 1)]
        assert {answer.result(PATIENCE).text for answer in answers} == {"page"}
    assert [stage.get("/page").trace for stage in stages] == ["hit"] * 3


def test_who_waits_for_other_processes_is_one_of_those_who_may_wait(
    scenario: MakeScenario, clock: FakeClock
) -> None:
    store = SharedStore(clock)
    rule = Rule(path="/{n:int}", share="public", namespaces=["n:{n}"], ttl=60, early=False)
    dead, living = processes(scenario, store, 2, rule, max_waiters=2, **LONG)
    for number in range(6):
        abandoned(dead, f"/{number}")
    with pool() as threads:
        answers: list[Future[Answer]] = []
        for number in range(6):
            answers += crowd(living, threads, 1, f"/{number}")
        until(lambda: waits(living) + living.renders == 6)
        counts = waits(living), living.renders
        clock.advance(60)
        traces = {answer.result(PATIENCE).trace for answer in answers}
    assert (counts, traces) == ((2, 4), {"uri-miss, stored"})
    assert living.cache.statistics()["flights_waiting"] == 0


def test_a_stale_hit_asks_for_the_lease_of_a_refresh_only_once_in_a_while(
    scenario: MakeScenario, clock: FakeClock
) -> None:
    """While another process refreshes a page, hits of it cost no trip more than others."""
    store = Counting(clock)
    first, second = processes(scenario, store, 2, SWR, **LONG)
    object.__setattr__(second.cache.engine._state.sources, "monotonic", lambda: 0.0)
    first.get("/page")
    clock.advance(61)
    gate = first.handler = Gate()
    assert first.get("/page").trace == "stale hit"
    assert gate.entered.wait(PATIENCE)
    try:
        store.verbs.clear()
        for _ in range(10):
            assert second.get("/page").trace == "stale hit"
        assert store.verbs.count("acquire") == 1
    finally:
        gate.open.set()
    until(lambda: first.get("/page").trace == "hit")


def test_the_answer_to_a_safe_method_gets_no_cookie_of_ours(scenario: MakeScenario) -> None:
    """Caches on the way would keep it for everybody, or keep the answer no more."""
    soft = replace(PAGE, swr=60, soft=True)
    stage: Scenario = scenario(soft, site_key="a secret of the site")

    def handler(seen: Seen) -> Reply | str:
        if seen.path == "/seen":
            stage.cache.invalidate("page", soft=True)
            return Reply(b"counted", fields=[("Cache-Control", "public, max-age=60")])
        return f"page {stage.renders}"

    stage.handler = handler
    stage.get("/page")
    assert stage.get("/seen").get("set-cookie") is None
    # So its client is not told from others, and nobody gets the old page.
    assert stage.get("/page").text == "page 3"
