"""What a hostile reader of leases, turns and hold-offs found: how a page became a queue or a herd
all the same, how a lease was lost, and how an old page came to stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from anyio import CancelScope

from pagegen import Rule
from pagegen.asgi.types import Message
from pagegen.stepping import step
from pagegen.stores import MemoryStore, Store
from pagegen.stores.lmdb import LmdbStore
from pagegen.testing import PATIENCE, FakeClock, Reply, Seen, scope
from tests.conftest import MakeScenario
from tests.scenarios.test_collapse import crowd, until
from tests.scenarios.test_hold_off import LAG, Recorder
from tests.scenarios.test_leases import LONG, SharedStore
from tests.scenarios.test_turns import Away, Turns, let_all_go, waits

PAGE = Rule(path="/page", share="public", namespaces=["page"], ttl="1h", early=False)
DECIDES = Rule(path="/page", share="public", namespaces=["page"], early=False)
CROWD = 16
#: Whatever is asked of it, it answers so.
TARGETED = [("Cache-Control", "private"), ("Pagegen-Cache-Control", "max-age=60")]


def for_sessions(seen: Seen, text: str) -> Reply:
    """As frameworks with sessions answer who brings one."""
    fields = [("Vary", "Cookie")] if seen.fields.get("cookie") else []
    return Reply(text.encode(), fields=fields)


def for_conditions(seen: Seen, text: str) -> Reply:
    if seen.fields.get("if-none-match"):
        return Reply(status=304, fields=[("ETag", '"1"')])
    return Reply(text.encode(), fields=[("ETag", '"1"')])


def for_languages(seen: Seen, text: str) -> Reply:
    if seen.fields.get("accept-language"):
        return Reply(text.encode(), fields=[("Set-Cookie", "language=de")])
    return Reply(text.encode())


def targeted(seen: Seen, text: str) -> Reply:
    return Reply(text.encode(), fields=TARGETED)


@pytest.mark.parametrize(
    ("rule", "answer", "first"),
    [
        (PAGE, for_sessions, {"cookie": "session=1"}),
        (PAGE, for_conditions, {"if-none-match": '"1"'}),
        (PAGE, for_languages, {"accept-language": "de"}),
        (DECIDES, targeted, {}),
    ],
    ids=["a session", "a condition", "a field that is no key", "what is said to pagegen alone"],
)
def test_what_no_page_depends_on_sends_nobody_to_the_application(
    scenario: MakeScenario,
    rule: Rule,
    answer: Callable[[Seen, str], Reply],
    first: dict[str, str],
) -> None:
    """The store is away. Whether a turn can be shared is not for one visitor's fields to say, which
    the page would never have seen.
    """
    stage = scenario(rule, store=Away(), **LONG)
    turns = Turns()
    stage.handler = lambda seen: answer(seen, turns(seen))
    with ThreadPoolExecutor(CROWD + 1) as threads:
        leader = threads.submit(stage.get, "/page", first)
        turns.enters()
        answers = crowd(stage, threads, CROWD)
        until(lambda: waits(stage) == CROWD)
        let_all_go(turns)
        assert leader.result(PATIENCE).status in (200, 304)
        texts = {answer.result(PATIENCE).text for answer in answers}
    assert texts == {"page 2"}
    assert (turns.count, turns.most) == (2, 1)


def test_a_store_without_room_for_a_lease_says_so_and_nobody_waits_for_nobody(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    """A lease that nobody has is not one that somebody else has."""
    store = LmdbStore(tmp_path / "store", "4MiB", timeout=60)
    for number in range(256):
        assert step(store.acquire(number.to_bytes(20, "big"), b"o" * 16, 60))
    stage = scenario(PAGE, store=store, max_wait=0.2)
    traces: list[str] = []

    def in_time() -> bool:
        """On an event loop a store has 60 ms, which a busy machine may not have."""
        traces.append(stage.get("/page").trace)
        return traces[-1] != "bypass: store"

    until(in_time)
    assert traces[-1] == "uri-miss, stored"
    assert stage.cache.statistics().get("wait", 0) == 0


class Suspends(SharedStore):
    """Its verbs wait for an event loop where there is one, as those of a server do."""

    def on_loop(self) -> Store:
        return _Suspending(self)


class _Suspending:
    def __init__(self, store: SharedStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def acquire(self, slot: bytes, owner: bytes, term: float) -> bool:
        await asyncio.sleep(0)
        return await self._store.acquire(slot, owner, term)

    async def release(self, slot: bytes, owner: bytes) -> None:
        await asyncio.sleep(0)
        await self._store.release(slot, owner)

    async def write_page(self, *given: Any) -> bool:
        await asyncio.sleep(0)
        return await self._store.write_page(*given)


@pytest.mark.parametrize("front", ["asgi"])
@pytest.mark.parametrize("where", ["while it renders", "while it takes the lease"])
def test_a_request_that_is_cancelled_again_and_again_gives_its_lease_back(
    scenario: MakeScenario, where: str
) -> None:
    """As below Starlette's BaseHTTPMiddleware when a client has gone: in a cancelled scope of anyio
    whatever awaits is cancelled.
    """
    store = Suspends(FakeClock())
    stage = scenario(PAGE, store=store, clock=store.clock, **LONG)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(_: Message) -> None: ...

    async def request() -> None:
        cancelling = CancelScope()

        async def app(*_: object) -> None:
            cancelling.cancel()
            await asyncio.sleep(PATIENCE)

        stage.asgi.app = app
        if where == "while it takes the lease":
            store.on_acquire = cancelling.cancel
        with cancelling:
            await stage.asgi(scope("GET", "/page"), receive, send)

    asyncio.run(request())
    assert len(store.terms) == 1
    until(lambda: store.out == set())
    assert stage.cache.statistics()["flights_flying"] == 0


@pytest.mark.parametrize("front", ["asgi"])
def test_a_request_that_is_cancelled_again_and_again_still_invalidates_late(
    scenario: MakeScenario,
) -> None:
    """Two renderings that are cut off leave a mark, which takes a while."""
    store = Suspends(FakeClock())
    stage = scenario(PAGE, store=store, clock=store.clock, **LONG)
    before: list[bytes | None] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(_: Message) -> None: ...

    async def request() -> None:
        cancelling = CancelScope()

        async def app(*_: object) -> None:
            await stage.cache.ainvalidate("page")
            before[:] = (await store.read(None, ["page"])).tokens
            cancelling.cancel()
            await asyncio.sleep(PATIENCE)

        stage.asgi.app = app
        with cancelling:
            await stage.asgi(scope("GET", "/page"), receive, send)

    for _ in range(2):
        asyncio.run(request())
        assert step(store.read(None, ["page"])).tokens != tuple(before)


# Replicas that lag behind ---------------------------------------------------------------------

REPLICA = Rule(
    path="/page",
    share="public",
    namespaces=["page"],
    ttl="1h",
    early=False,
    own_url=False,
    replica_lag=LAG,
)
PRIMARY = Rule(
    path="/primary", share="public", namespaces=["page"], ttl="1h", early=False, own_url=False
)


def test_who_mints_a_token_holds_off_for_rules_that_have_it_too(
    scenario: MakeScenario,
) -> None:
    """The store restarts behind a write: neither the token is there nor its flag. A rule whose
    pages are made from the primary mints it anew, and pages made from a replica share it.
    """
    clock = FakeClock()
    store = Recorder(clock)
    stage = scenario(REPLICA, PRIMARY, store=store, clock=clock)
    row = "old"
    stage.handler = lambda seen: row
    stage.get("/page")
    clock.advance(LAG)
    stage.get("/page")
    stage.cache.invalidate("page")
    store.restart()
    stage.get("/primary")
    assert stage.get("/page").text == "old"  # its replica has not heard of the write
    clock.advance(LAG)
    row = "new"
    assert stage.get("/page").text == "new"


def test_flags_that_are_evicted_let_no_page_from_a_replica_stay(scenario: MakeScenario) -> None:
    """A store of its own is full of tokens; one call forgets more than fit beside its flags."""
    clock = FakeClock()
    store = MemoryStore("1MiB", now=clock)
    stage = scenario(REPLICA, store=store, clock=clock)
    row = "old"
    stage.handler = lambda seen: row
    for _ in range(4):
        stage.get("/page")
        clock.advance(LAG)
    assert stage.get("/page").trace == "hit"
    stage.cache.invalidate("page", *[f"item:{number}" for number in range(200)])
    assert stage.get("/page").text == "old"
    clock.advance(LAG)
    row = "new"
    assert stage.get("/page").text == "new"
