"""Of all processes that share a store and want one page, one renders it; the others wait, but never
for what they cannot have. Each scenario here is a process: they share a store and nothing else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pagegen import Rule
from pagegen.leasing import FIRST_TERM, LONGEST_TERM, MARKED_FOR, SHORTEST_TERM
from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.testing import (
    PATIENCE,
    Answer,
    FakeClock,
    Front,
    Reply,
    Scenario,
    Seen,
    call_asgi,
    environ,
    scope,
)
from pagegen.verdicts import Forward
from pagegen.wsgi.requests import read_request
from tests.coherence.backends import Kind, shared
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate, crowd, until, waiting

PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl="1h", early=False)
SWR = replace(PAGE, ttl=60, swr=60)
#: Longer than any test: who goes on has not lost patience.
LONG = {"max_wait": 300}


class SharedStore(MemoryStore):
    """What several processes share. ``out``: the leases that somebody has; ``terms``: of all that
    were given, in seconds. ``failing`` verbs fail.
    """

    capabilities = replace(MemoryStore.capabilities, shared=True)

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(now=clock)
        self.clock = clock
        self.out: set[tuple[bytes, bytes]] = set()
        self.terms: list[float] = []
        self.failing: set[str] = set()
        self.on_acquire: Callable[[], object] = lambda: None

    def _try(self, verb: str) -> None:
        if verb in self.failing:
            raise OSError("no route to host")

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        self._try("acquire")
        on_acquire, self.on_acquire = self.on_acquire, lambda: None
        on_acquire()
        got = await super().acquire(slot, owner, term)
        if got:
            self.out.add((slot, owner))
            self.terms.append(term)
        return got

    async def release(self, slot: bytes, owner: bytes) -> None:
        self._try("release")
        await super().release(slot, owner)
        self.out.discard((slot, owner))

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        self._try("mark" if page.status == 0 else "write_page")
        return await super().write_page(slot, page, ttl)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> SharedStore:
    return SharedStore(clock)


def processes(
    scenario: MakeScenario, store: SharedStore, count: int, *rules: Rule, **settings: Any
) -> list[Scenario]:
    """So many processes on one store. They take slots for refused on the fake clock, too."""
    given = rules or (PAGE,)
    stages = [scenario(*given, store=store, clock=store.clock, **settings) for _ in range(count)]
    for stage in stages:
        stage.cache.engine._state.flights._now = store.clock
    return stages


def waits(stage: Scenario) -> int:
    """How many requests of a process have begun to wait, for whomever."""
    return stage.cache.statistics().get("wait", 0)


def renders(stages: list[Scenario]) -> int:
    return sum(stage.renders for stage in stages)


def all_handle(stages: list[Scenario], handler: Callable[[Seen], Reply | str]) -> None:
    for stage in stages:
        stage.handler = handler


@contextmanager
def pool(size: int = 64) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(size) as threads:
        yield threads


def abandoned(stage: Scenario, target: str = "/page") -> Forward:
    """A process that has the lease on a page, and dies without a word."""
    verdict = step(stage.cache.engine.look_up(read_request(environ("GET", target))))
    assert isinstance(verdict, Forward)
    assert verdict.ticket.lease is not None
    return verdict


def test_a_crowd_over_three_processes_is_one_rendering(
    scenario: MakeScenario, store: SharedStore
) -> None:
    stages = processes(scenario, store, 3, **LONG)
    gate = Gate()
    all_handle(stages, gate)
    with pool() as threads:
        first = threads.submit(stages[0].get, "/page")
        assert gate.entered.wait(PATIENCE)
        answers = [answer for stage in stages for answer in crowd(stage, threads, 8)]
        until(lambda: [waits(stage) for stage in stages] == [8, 8, 8])
        gate.open.set()
        traces = {answer.result(PATIENCE).trace for answer in answers}
        assert first.result(PATIENCE).trace == "uri-miss, stored"
    assert traces == {"collapsed"}
    assert (renders(stages), store.out, len(store.terms)) == (1, set(), 1)


@pytest.mark.parametrize("front", ["wsgi", "asgi"])
@pytest.mark.parametrize("kind", ["lmdb", "redis", "memcached"])
def test_with_real_stores_too_one_process_renders_for_the_other(
    front: Front, kind: Kind, tmp_path: Path
) -> None:
    with shared(kind, tmp_path) as url, ExitStack() as stack:
        # One clock for both; a server has a clock of its own.
        stages = [
            stack.enter_context(Scenario(front, [PAGE], store=url, max_delay="5s", **LONG))  # type: ignore[arg-type]
            for _ in range(2)
        ]
        gate = Gate()
        all_handle(stages, gate)
        with pool() as threads:
            first = threads.submit(stages[0].get, "/page")
            assert gate.entered.wait(PATIENCE)
            answers = crowd(stages[1], threads, 4)
            until(lambda: waits(stages[1]) == 4)
            gate.open.set()
            assert {answer.result(PATIENCE).trace for answer in answers} == {"collapsed"}
            assert first.result(PATIENCE).trace == "uri-miss, stored"
        assert renders(stages) == 1
        # The lease was given back: the next generation is rendered at once.
        stages[0].cache.invalidate("page")
        assert stages[1].get("/page").trace == "stale, stored"


REFUSED = [
    Reply(b"yours", fields=[("Cache-Control", "private")]),
    Reply(b"yours", fields=[("Set-Cookie", "you=1")]),
    Reply(b"yours", fields=[("Cache-Control", "no-store")]),
    Reply(b"yours", fields=[("Cache-Control", "no-cache"), ("ETag", '"1"')]),
]
NAMES = ["private", "sets a cookie", "no-store", "to be validated each time"]


@pytest.mark.parametrize("reply", REFUSED, ids=NAMES)
def test_what_cannot_be_shared_is_rendered_by_all_at_one_time(
    scenario: MakeScenario, store: SharedStore, reply: Reply
) -> None:
    """All but the first are inside at once, whatever process they are in: nobody queues."""
    stages = processes(scenario, store, 3, **LONG)
    each = 4
    gate, inside = Gate(lambda: reply), threading.Barrier(3 * each)

    def handler(seen: Seen) -> Reply | str:
        if not gate.open.is_set():
            return gate(seen)
        inside.wait(PATIENCE)
        return reply

    all_handle(stages, handler)
    with pool() as threads:
        first = threads.submit(stages[0].get, "/page")
        assert gate.entered.wait(PATIENCE)
        answers = [answer for stage in stages for answer in crowd(stage, threads, each)]
        until(lambda: [waits(stage) for stage in stages] == [each] * 3)
        gate.open.set()
        assert {answer.result(PATIENCE).body for answer in (*answers, first)} == {b"yours"}
    assert (renders(stages), store.out) == (3 * each + 1, set())


def test_when_the_mark_has_lapsed_the_page_is_collapsed_again(
    scenario: MakeScenario, store: SharedStore, clock: FakeClock
) -> None:
    stages = processes(scenario, store, 2, **LONG)
    all_handle(stages, lambda seen: REFUSED[0])
    stages[0].get("/page")
    clock.advance(MARKED_FOR)
    gate = Gate()
    all_handle(stages, gate)
    with pool() as threads:
        first = threads.submit(stages[0].get, "/page")
        assert gate.entered.wait(PATIENCE)
        answers = crowd(stages[1], threads, 4)
        until(lambda: waits(stages[1]) == 4)
        gate.open.set()
        assert {answer.result(PATIENCE).trace for answer in answers} == {"collapsed"}
        assert first.result(PATIENCE).trace == "uri-miss, stored"


def test_when_the_one_who_renders_fails_the_next_process_renders_at_once(
    scenario: MakeScenario, store: SharedStore
) -> None:
    """Time stands still, so no term has to end for it."""
    first, second = stages = processes(scenario, store, 2, **LONG)
    gate = Gate()

    def fail() -> str:
        raise RuntimeError("the first handler fails")

    gate.reply = fail
    first.handler = gate
    second.handler = lambda seen: "page"
    with pool() as threads:
        failing = threads.submit(first.get, "/page")
        assert gate.entered.wait(PATIENCE)
        answer = threads.submit(second.get, "/page")
        until(lambda: waits(second) == 1)
        gate.open.set()
        assert isinstance(failing.exception(PATIENCE), RuntimeError)
        assert answer.result(PATIENCE).trace == "uri-miss, stored"
    assert (renders(stages), store.out) == (2, set())


def test_a_dead_process_keeps_nobody_longer_than_its_term(
    scenario: MakeScenario, store: SharedStore, clock: FakeClock
) -> None:
    dead, living = processes(scenario, store, 2, **LONG)
    abandoned(dead)
    with pool() as threads:
        answers = crowd(living, threads, 4)
        until(lambda: waits(living) == 4)
        clock.advance(FIRST_TERM - 0.001)
        assert not any(answer.done() for answer in answers)
        assert living.renders == 0
        clock.advance(0.001)
        traces = sorted(answer.result(PATIENCE).trace for answer in answers)
    assert traces == ["collapsed"] * 3 + ["uri-miss, stored"]


@pytest.mark.parametrize(
    ("took", "term"),
    [(3.0, 12.0), (0.1, SHORTEST_TERM), (30.0, LONGEST_TERM)],
    ids=["four times", "the shortest", "the longest"],
)
def test_a_term_follows_from_how_long_the_page_took(
    scenario: MakeScenario, store: SharedStore, clock: FakeClock, took: float, term: float
) -> None:
    rule = Rule(path="/{n:int}", share="public", namespaces=["n:{n}"], ttl=60, early=False)
    first, second = processes(scenario, store, 2, rule)

    def handler(seen: Seen) -> str:
        clock.advance(took)
        return "page"

    first.handler = handler
    first.get("/1")
    assert store.terms == [FIRST_TERM]  # nobody knows yet
    first.get("/2")
    assert store.terms == [FIRST_TERM, term]  # of the rule's latest page
    clock.advance(60)
    second.get("/1")
    assert store.terms == [FIRST_TERM, term, term]  # of the page that was there


def test_patience_is_over_before_the_term_and_the_page_is_rendered_without_a_lease(
    scenario: MakeScenario, store: SharedStore
) -> None:
    dead, living = processes(scenario, store, 2, max_wait=0.05)
    abandoned(dead)
    assert living.get("/page").trace == "uri-miss, stored"
    assert (len(store.terms), len(store.out)) == (1, 1)


def test_nobody_waits_for_a_rendering_from_before_an_invalidation(
    scenario: MakeScenario, store: SharedStore
) -> None:
    first, second = processes(scenario, store, 2, **LONG)
    gate = first.handler = Gate(lambda: "old")
    second.handler = lambda seen: "new"
    with pool() as threads:
        old = threads.submit(first.get, "/page")
        assert gate.entered.wait(PATIENCE)
        second.cache.invalidate("page")
        assert second.get("/page").text == "new"  # with the old one still inside
        assert second.get("/page").trace == "hit"
        gate.open.set()
        assert old.result(PATIENCE).text == "old"
    all_handle([first, second], lambda seen: "newer")
    # What began before is stored under tokens that are no more, over the page or not at all.
    assert first.get("/page").text in ("new", "newer")
    assert store.out == set()


def test_an_expired_page_is_refreshed_by_one_process_and_served_by_all(
    scenario: MakeScenario, store: SharedStore, clock: FakeClock
) -> None:
    stages = processes(scenario, store, 3, SWR)
    stages[0].get("/page")
    clock.advance(61)
    gate = Gate(lambda: "new")
    all_handle(stages, gate)
    assert stages[0].get("/page").trace == "stale hit"
    assert gate.entered.wait(PATIENCE)
    for stage in stages:
        assert [stage.get("/page").trace for _ in range(2)] == ["stale hit"] * 2
    gate.open.set()
    until(lambda: not store.out)
    assert [stage.get("/page").text for stage in stages] == ["new"] * 3
    assert renders(stages) == 2


@pytest.mark.parametrize(
    ("method", "fields"),
    [("GET", {"Cache-Control": "no-cache"}), ("GET", {"Cache-Control": "max-age=0"}), ("HEAD", {})],
    ids=["no-cache", "max-age=0", "HEAD"],
)
def test_who_asks_the_application_itself_does_not_wait_for_another_process(
    scenario: MakeScenario, store: SharedStore, method: str, fields: dict[str, str]
) -> None:
    first, second = processes(scenario, store, 2, **LONG)
    gate = first.handler = Gate()
    with pool() as threads:
        answer = threads.submit(first.get, "/page")
        assert gate.entered.wait(PATIENCE)
        assert second.request(method, "/page", fields).status == 200
        assert (second.renders, waits(second)) == (1, 0)
        gate.open.set()
        answer.result(PATIENCE)
    assert store.out == set()


@pytest.mark.parametrize("front", ["asgi"])
def test_when_the_client_of_who_waits_goes_a_follower_waits_in_its_place(
    scenario: MakeScenario, store: SharedStore
) -> None:
    first, second = stages = processes(scenario, store, 2, **LONG)
    gate = Gate()
    all_handle(stages, gate)

    async def cancel_the_one_who_looks() -> Answer:
        tasks = [asyncio.create_task(call_asgi(second.asgi, scope("GET", "/page")))]
        await asyncio.to_thread(until, lambda: waits(second) == 1)
        tasks.append(asyncio.create_task(call_asgi(second.asgi, scope("GET", "/page"))))
        await asyncio.to_thread(until, lambda: waiting(second) == 2)
        tasks[0].cancel()
        await asyncio.to_thread(until, lambda: waiting(second) == 1)
        assert not tasks[1].done()
        gate.open.set()
        return await tasks[1]

    with pool() as threads:
        leader = threads.submit(first.get, "/page")
        assert gate.entered.wait(PATIENCE)
        assert asyncio.run(cancel_the_one_who_looks()).trace == "collapsed"
        leader.result(PATIENCE)
    assert (renders(stages), waiting(second), store.out) == (1, 0, set())


def test_a_page_that_landed_between_two_looks_is_not_rendered_again(
    scenario: MakeScenario, store: SharedStore
) -> None:
    """The first process stores it after the second one looked, and before it has the lease."""
    first, second = stages = processes(scenario, store, 2)
    store.on_acquire = lambda: threading.Thread(target=first.get, args=("/page",)).run()
    assert second.get("/page").trace == "hit"
    assert (renders(stages), store.out) == (1, set())


@pytest.mark.parametrize("verb", ["acquire", "release", "mark"])
def test_a_store_that_fails_in_a_lease_costs_no_page(
    scenario: MakeScenario, store: SharedStore, verb: str
) -> None:
    (stage,) = processes(scenario, store, 1)
    store.failing = {verb}
    assert stage.get("/page").text == "page 1"
    assert stage.get("/page").trace == "hit"
    stage.cache.invalidate("page")
    stage.handler = lambda seen: REFUSED[0]
    assert stage.get("/page").text == "yours"


@pytest.mark.parametrize("leases", ["by setting", "by store"])
def test_without_leases_each_process_renders_once(
    scenario: MakeScenario, store: SharedStore, leases: str
) -> None:
    settings: dict[str, Any] = {"leases": False} if leases == "by setting" else {}
    if leases == "by store":
        store.capabilities = replace(store.capabilities, leases=False)
    stages = processes(scenario, store, 2, **LONG, **settings)
    inside = threading.Barrier(2)

    def handler(seen: Seen) -> str:
        inside.wait(PATIENCE)
        return "page"

    all_handle(stages, handler)
    with pool() as threads:
        answers: list[Future[Answer]] = [
            answer for stage in stages for answer in crowd(stage, threads, 4)
        ]
        assert {answer.result(PATIENCE).text for answer in answers} == {"page"}
    assert (renders(stages), store.terms) == (2, [])
