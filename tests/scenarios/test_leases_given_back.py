"""A lease is given back at the very end, whatever becomes of its rendering; and those of one
process who wait behind the one who waits for another process are never left behind.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from pagegen import Rule
from pagegen.asgi import middleware as asgi_middleware
from pagegen.errors import InvalidationError
from pagegen.messages import StoredResponse
from pagegen.stepping import step
from pagegen.stores import Reading
from pagegen.testing import (
    PATIENCE,
    FakeClock,
    Reply,
    Scenario,
    Seen,
    call_asgi,
    environ,
    scope,
)
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import Gate, crowd, until, waiting
from tests.scenarios.test_leases import (
    LONG,
    PAGE,
    REFUSED,
    SWR,
    SharedStore,
    abandoned,
    all_handle,
    pool,
    processes,
    renders,
    waits,
)

OPEN = Rule(path="/page", share="public", early=False)
GROUPS = Rule(path="/page", share="public", ttl="1h", groups=True, namespaces=["page"], early=False)
SIE = replace(PAGE, ttl=60, sie="1h")
FRESH = [("Cache-Control", "max-age=60")]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> SharedStore:
    return SharedStore(clock)


def fails(seen: Seen) -> str:
    raise RuntimeError("the database is away")


def breaks_off(seen: Seen) -> Reply:
    def body() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("no more")

    return Reply(body())


def tagged(seen: Seen) -> Reply:
    return Reply(b"page", fields=[("ETag", '"1"')])


def unchanged(seen: Seen) -> Reply:
    return Reply(status=304, fields=[("ETag", '"1"')])


def about_another(seen: Seen) -> Reply:
    if seen.fields.get("if-none-match"):
        return Reply(status=304, fields=[("ETag", '"another"')])
    return Reply(b"new", fields=[("ETag", '"2"')])


Handler = Callable[[Seen], Any]


@pytest.mark.parametrize(
    ("rule", "first", "then"),
    [
        (PAGE, lambda seen: "page", None),
        (PAGE, lambda seen: REFUSED[0], None),
        (PAGE, lambda seen: REFUSED[3], None),
        (PAGE, fails, None),
        (PAGE, breaks_off, None),
        (PAGE, lambda seen: Reply([b"one", b"two"]), None),
        (replace(PAGE, max_body=10), lambda seen: b"x" * 11, None),
        (replace(PAGE, max_body=10), lambda seen: Reply([b"x" * 9, b"x" * 9]), None),
        (PAGE, lambda seen: Reply(b"no", status=404), None),
        (PAGE, lambda seen: Reply(b"no", fields=[("Content-Length", "9")]), None),
        (SIE, lambda seen: "page", fails),
        (SIE, lambda seen: "page", lambda seen: Reply(b"no", status=503)),
        (SWR, lambda seen: "page", fails),
        (SWR, lambda seen: "page", lambda seen: "new"),
        (replace(PAGE, ttl=60), tagged, unchanged),
        (replace(PAGE, ttl=60), tagged, about_another),
        (GROUPS, lambda seen: Reply(b"page", fields=[("Cache-Groups", '"late"')]), None),
        (OPEN, lambda seen: Reply(b"p", fields=[("Vary", "Accept-Language"), *FRESH]), None),
    ],
    ids=[
        "stored", "private", "to be validated", "raises", "breaks off", "in pieces", "too large",
        "too large in pieces", "another status", "too short", "rescued from an exception",
        "rescued from a 503", "refresh that fails", "refresh", "validated", "another validator",
        "late namespaces", "variants",
    ],
)  # fmt: skip
def test_a_lease_is_given_back_whatever_becomes_of_its_page(
    scenario: MakeScenario,
    store: SharedStore,
    clock: FakeClock,
    rule: Rule,
    first: Handler,
    then: Handler | None,
) -> None:
    (stage,) = processes(scenario, store, 1, rule)
    for handler in (first, then) if then is not None else (first,):
        stage.handler = handler
        with suppress(RuntimeError):
            stage.get("/page")
        clock.advance(61)
    expected = 1 if then is None else 2
    until(lambda: len(store.terms) == expected and not store.out)


def test_the_lease_of_a_head_is_none(
    scenario: MakeScenario, store: SharedStore, clock: FakeClock
) -> None:
    (stage,) = processes(scenario, store, 1, replace(PAGE, ttl=60))
    stage.handler = tagged
    stage.get("/page")
    clock.advance(61)
    stage.request("HEAD", "/page")
    assert (len(store.terms), store.out) == (1, set())


@pytest.mark.parametrize("front", ["wsgi"])
def test_a_client_that_leaves_in_the_middle_gives_the_lease_back(
    scenario: MakeScenario, store: SharedStore
) -> None:
    (stage,) = processes(scenario, store, 1, PAGE)
    stage.handler = lambda seen: Reply(iter([b"x" * 100_000] * 3))
    response = stage.wsgi(environ("GET", "/page"), lambda *_: lambda _: None)
    next(iter(response))
    assert len(store.out) == 1
    response.close()  # type: ignore[attr-defined]
    assert store.out == set()


@pytest.mark.parametrize("front", ["asgi"])
def test_a_client_that_leaves_during_the_rendering_gives_the_lease_back(
    scenario: MakeScenario, store: SharedStore
) -> None:
    (stage,) = processes(scenario, store, 1, PAGE)
    gate = stage.handler = Gate()

    async def leave() -> None:
        task = asyncio.create_task(call_asgi(stage.asgi, scope("GET", "/page")))
        await asyncio.to_thread(gate.entered.wait, PATIENCE)
        assert len(store.out) == 1
        task.cancel()
        await asyncio.wait([task])
        gate.open.set()

    asyncio.run(leave())
    assert store.out == set()


class SlowlyLooking(SharedStore):
    """Lets its caller be cancelled where it looks again, with the lease in its hands."""

    async def read(self, slot: bytes | None, namespaces: Any) -> Reading:
        if self.out:
            self.looks.set()
            await asyncio.Event().wait()
        return await super().read(slot, namespaces)

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.looks = threading.Event()


@pytest.mark.parametrize("front", ["asgi"])
def test_a_client_that_leaves_before_the_rendering_gives_the_lease_back(
    scenario: MakeScenario, clock: FakeClock
) -> None:
    store = SlowlyLooking(clock)
    (stage,) = processes(scenario, store, 1, PAGE)

    async def leave() -> None:
        task = asyncio.create_task(call_asgi(stage.asgi, scope("GET", "/page")))
        await asyncio.to_thread(store.looks.wait, PATIENCE)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(leave())
    assert store.terms
    assert store.out == set()


def test_a_refresh_that_there_is_no_room_for_gives_the_lease_back(
    scenario: MakeScenario, store: SharedStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_middleware, "MAX_REFRESHES", 0)
    (stage,) = processes(scenario, store, 1, SWR)
    monkeypatch.setattr(stage.wsgi._refresher, "submit", lambda work: None)
    stage.get("/page")
    clock.advance(61)
    assert stage.get("/page").trace == "stale hit"
    assert stage.cache.statistics()["declined"] == 1
    assert (len(store.terms), store.out) == (2, set())


def test_a_handler_that_asks_for_its_own_page_waits_for_no_lease(
    scenario: MakeScenario, store: SharedStore
) -> None:
    (stage,) = processes(scenario, store, 1, PAGE, **LONG)
    depth = 0

    def handler(seen: Seen) -> str:
        nonlocal depth
        depth += 1
        return f"<{stage.get('/page').text if depth == 1 else ''}>"

    stage.handler = handler
    assert stage.get("/page").text == "<<>>"
    assert store.out == set()


def test_a_page_that_is_validated_for_another_process_is_waited_for(
    scenario: MakeScenario, store: SharedStore, clock: FakeClock
) -> None:
    first, second = stages = processes(scenario, store, 2, replace(PAGE, ttl=60), **LONG)
    first.handler = tagged
    first.get("/page")
    clock.advance(61)
    gate = Gate(lambda: unchanged(None))  # type: ignore[arg-type]
    all_handle(stages, gate)
    with pool() as threads:
        answer = threads.submit(first.get, "/page")
        assert gate.entered.wait(PATIENCE)
        answers = crowd(second, threads, 4)
        until(lambda: waits(second) == 4)
        gate.open.set()
        assert {a.result(PATIENCE).trace for a in answers} == {"collapsed"}
        assert answer.result(PATIENCE).text == "page"
    assert (renders(stages), store.out) == (2, set())


@pytest.mark.parametrize("rule", [OPEN, GROUPS], ids=["variants", "late namespaces"])
def test_pages_of_which_more_is_learned_are_waited_for_too(
    scenario: MakeScenario, store: SharedStore, rule: Rule
) -> None:
    first, second = stages = processes(scenario, store, 2, rule, **LONG)
    fields = [*FRESH, ("Cache-Groups", '"late"'), ("Vary", "Accept-Language")]
    gate = Gate(lambda: Reply(b"page", fields=fields if rule is OPEN else fields[:2]))
    all_handle(stages, gate)
    with pool() as threads:
        answer = threads.submit(first.get, "/page")
        assert gate.entered.wait(PATIENCE)
        answers = crowd(second, threads, 4)
        until(lambda: waits(second) == 4)
        gate.open.set()
        assert {a.result(PATIENCE).text for a in (answer, *answers)} == {"page"}
    assert (renders(stages), store.out, waiting(second)) == (1, set(), 0)
    first.cache.invalidate("late")
    assert second.get("/page").trace == "stale, stored"


def test_another_variant_than_the_one_that_was_waited_for_is_rendered(
    scenario: MakeScenario, store: SharedStore
) -> None:
    first, second = stages = processes(scenario, store, 2, OPEN, **LONG)
    gate = Gate()

    def handler(seen: Seen) -> Reply:
        gate(seen)
        return Reply(
            seen.fields["accept-language"].encode(), fields=[*FRESH, ("Vary", "Accept-Language")]
        )

    all_handle(stages, handler)
    with pool() as threads:
        answer = threads.submit(first.get, "/page", {"Accept-Language": "de"})
        assert gate.entered.wait(PATIENCE)
        others = [threads.submit(second.get, "/page", {"Accept-Language": "fr"}) for _ in range(4)]
        until(lambda: waits(second) == 4)
        gate.open.set()
        assert answer.result(PATIENCE).text == "de"
        assert {other.result(PATIENCE).text for other in others} == {"fr"}
    assert (renders(stages), store.out) == (2, set())


def test_who_waits_behind_one_that_is_served_a_stale_page_is_not_left_behind(
    scenario: MakeScenario, store: SharedStore
) -> None:
    """The page that lands is stale at once. The one who looks has a cookie, so that a refresh in
    its name would be in vain: it is served, and those behind it must look by themselves.
    """
    dead, living = processes(scenario, store, 2, OPEN, **LONG)
    fields = [("Cache-Control", "max-age=0, stale-while-revalidate=60"), ("ETag", '"1"')]
    gate = Gate(lambda: Reply(b"page", fields=fields))
    all_handle([dead, living], gate)
    with pool() as threads:
        first = threads.submit(dead.get, "/page")
        assert gate.entered.wait(PATIENCE)
        looks = threads.submit(living.get, "/page", {"Cookie": "you=1"})
        until(lambda: waits(living) == 1)
        behind = crowd(living, threads, 4)
        until(lambda: waiting(living) == 5)
        gate.open.set()
        for answer in (first, looks, *behind):
            assert answer.result(PATIENCE).text == "page"
    until(lambda: living.cache.statistics()["flights_flying"] == 0)


class Owing(SharedStore):
    """Refuses to forget one namespace."""

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        if "late" in tokens:
            raise OSError("no route to host")
        await super().replace_tokens(tokens, ttl)


def test_a_page_that_lands_between_two_looks_is_not_served_while_it_is_owed(
    scenario: MakeScenario, clock: FakeClock
) -> None:
    store = Owing(clock)
    first, second = processes(scenario, store, 2, GROUPS)
    all_handle([first], lambda seen: Reply(b"old", fields=[("Cache-Groups", '"late"')]))
    second.handler = lambda seen: "new"
    step(store.add_tokens({"late": b"t" * 16}, 3600.0))
    with pytest.raises(InvalidationError):
        second.cache.invalidate("late")
    store.on_acquire = lambda: threading.Thread(target=first.get, args=("/page",)).run()
    assert second.get("/page").text == "new"


class Full(SharedStore):
    """Has no room for pages, only for marks."""

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        return page.status == 0 and await super().write_page(slot, page, ttl)


def test_a_page_that_the_store_has_no_room_for_is_rendered_by_all_processes_at_one_time(
    scenario: MakeScenario, clock: FakeClock
) -> None:
    store = Full(clock)
    stages = processes(scenario, store, 2, PAGE, **LONG)
    stages[0].get("/page")
    inside = threading.Barrier(2)

    def handler(seen: Seen) -> str:
        inside.wait(PATIENCE)
        return "page"

    all_handle(stages, handler)
    with pool() as threads:
        answers = [answer for stage in stages for answer in crowd(stage, threads, 1)]
        assert {answer.result(PATIENCE).text for answer in answers} == {"page"}


class Clockwork(SharedStore):
    """Each verb takes its time, in seconds of the waiting clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.took = 0.0
        self.lease_takes, self.read_takes = 0.05, 0.0
        self.verbs: list[str] = []

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        self.verbs.append("acquire")
        self.took += self.lease_takes
        return await super().acquire(slot, owner, term)

    async def read(self, slot: bytes | None, namespaces: Any) -> Reading:
        self.verbs.append("read")
        self.took += self.read_takes
        return await super().read(slot, namespaces)


def test_a_store_that_failed_to_take_a_page_is_not_asked_for_a_mark(
    scenario: MakeScenario, clock: FakeClock
) -> None:
    """The client waits for it, and may wait for as long again."""
    wrote: list[int] = []

    class Failing(SharedStore):
        async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
            wrote.append(page.status)
            raise OSError("it took too long")

    (stage,) = processes(scenario, Failing(clock), 1, PAGE)
    assert stage.get("/page").text == "page 1"
    assert wrote == [200]


def test_the_time_that_a_lease_takes_is_part_of_what_the_store_may_cost(
    front: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Clockwork(clock)
    store.capabilities = replace(store.capabilities, blocking_writes=True)
    with Scenario(front, [PAGE], store=store, clock=clock) as stage:
        state = stage.cache.engine._state
        object.__setattr__(state.sources, "monotonic", lambda: store.took)
        store.verbs.clear()
        assert stage.get("/page").text == "page 1"
        # Half of the time was over: it is not asked again whether the page is there by now.
        assert store.verbs == ["read", "acquire"]
        assert stage.cache.statistics()["store-failed"] == 2  # that, and the page was not written


def test_who_is_in_time_with_a_lease_stores_the_page(front: Any, clock: FakeClock) -> None:
    store = Clockwork(clock)
    store.capabilities = replace(store.capabilities, blocking_writes=True)
    store.lease_takes = store.read_takes = 0.005
    with Scenario(front, [PAGE], store=store, clock=clock) as stage:
        state = stage.cache.engine._state
        object.__setattr__(state.sources, "monotonic", lambda: 1000.0 + store.took)
        store.verbs.clear()
        assert stage.get("/page").trace == "uri-miss, stored"
        assert store.verbs == ["read", "acquire", "read"]
        assert stage.get("/page").trace == "hit"


def test_abandoned_leases_are_what_these_tests_would_notice(
    scenario: MakeScenario, store: SharedStore
) -> None:
    (dead,) = processes(scenario, store, 1, PAGE)
    abandoned(dead)
    assert len(store.out) == 1
