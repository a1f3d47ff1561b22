"""Owed invalidations: raised, retried with new tokens, bypassed until they are acknowledged."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from pagegen import InvalidationError, PageCache, Rule
from pagegen.errors import StoreError
from pagegen.exchange import Exchange, handling
from pagegen.owed import MAX_OWED, Owed
from pagegen.stepping import step
from pagegen.stores import MemoryStore
from pagegen.testing import PATIENCE, Reply, call_asgi, scope
from tests.conftest import MakeScenario

ITEM = Rule(path="/items/{item}", share="public", namespaces=["item:{item}"], ttl="1h")


class DeafStore(MemoryStore):
    """A memory store that can stop taking invalidations. Remembers every token it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.deaf = False
        self.hears = threading.Event()
        self.sent: list[bytes] = []

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self.sent.extend(tokens.values())
        if self.deaf:
            raise StoreError("cut off")
        await super().replace_tokens(tokens, ttl)
        self.hears.set()


class Pauses:
    """A pause that lasts until the test says so; remembers the seconds it was asked for."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._steps = threading.Semaphore(0)
        self._arrived = threading.Semaphore(0)

    def __call__(self, closed: threading.Event, seconds: float) -> None:
        self.asked.append(seconds)
        self._arrived.release()
        self._steps.acquire(timeout=PATIENCE)  # nobody's any more when its test has ended

    def arrive(self) -> None:
        """Wait until the payer pauses."""
        assert self._arrived.acquire(timeout=PATIENCE)

    def end(self) -> None:
        """Let it go on."""
        self._steps.release()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pauses]:
    made = Pauses()
    original = Owed.__init__

    def init(self: Owed, replace: Callable[[Sequence[str]], None]) -> None:
        original(self, replace, made)

    monkeypatch.setattr(Owed, "__init__", init)
    yield made
    for _ in range(100):
        made.end()


def test_what_the_store_did_not_acknowledge_is_raised_and_bypassed_until_it_does(
    scenario: MakeScenario, pauses: Pauses
) -> None:
    store = DeafStore()
    stage = scenario(ITEM, store=store)
    stage.get("/items/1")
    stage.get("/items/2")
    store.deaf = True
    with pytest.raises(
        InvalidationError, match=r"item:\{item\} .*cut off.*tried again in the background"
    ):
        stage.cache.invalidate("item:1")
    pauses.arrive()
    assert stage.cache.statistics()["owed"] == 1
    assert [stage.get("/items/1").trace, stage.get("/items/2").trace] == ["bypass: owed", "hit"]
    pauses.end()
    pauses.arrive()  # the second pause: the first retry failed
    assert stage.get("/items/1").trace == "bypass: owed"
    store.deaf = False
    pauses.end()
    assert store.hears.wait(PATIENCE)
    for thread in threading.enumerate():
        if thread.name == "pagegen-owed":
            thread.join(PATIENCE)
    assert stage.cache.statistics()["owed"] == 0
    assert stage.get("/items/1").trace == "stale, stored"
    assert stage.get("/items/1").trace == "hit"
    assert len(set(store.sent)) == len(store.sent) >= 3  # never a token twice
    assert pauses.asked[1] > pauses.asked[0] / 3


def test_a_late_invalidation_that_fails_is_owed_too(
    scenario: MakeScenario, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    store = DeafStore()
    stage = scenario(ITEM, store=store)
    stage.get("/items/1")

    def write(seen: object) -> str:
        stage.cache.invalidate("item:1")
        store.deaf = True
        return "written"

    stage.handler = write
    with caplog.at_level(logging.ERROR):
        assert stage.post("/items/1").status == 200
    assert caplog.text.count("did not acknowledge") == 1  # and tried once, not at every piece
    assert len(store.sent) == 3  # the handler's, and at the end the page's own URL too
    stage.handler = lambda seen: "page"
    assert stage.get("/items/1").trace == "bypass: owed"


def test_an_acknowledged_invalidation_pays_the_earlier_debt(
    scenario: MakeScenario, pauses: Pauses
) -> None:
    store = DeafStore()
    stage = scenario(ITEM, store=store)
    store.deaf = True
    with pytest.raises(InvalidationError):
        stage.cache.invalidate("item:1", "item:2")
    store.deaf = False
    stage.cache.invalidate("item:1")
    assert stage.cache.statistics()["owed"] == 1
    assert stage.get("/items/1").trace == "uri-miss, stored"
    assert stage.get("/items/2").trace == "bypass: owed"


def test_a_page_rendered_while_its_invalidation_is_owed_is_not_stored(
    scenario: MakeScenario, pauses: Pauses
) -> None:
    store = DeafStore()
    stage = scenario(ITEM, store=store)

    def meanwhile(seen: object) -> Reply:
        store.deaf = True
        with pytest.raises(InvalidationError):
            stage.cache.engine.over(store)  # the face does not matter
            stage.cache.invalidate("item:1")
        return Reply(b"old already")

    stage.handler = meanwhile
    assert stage.get("/items/1").trace == "refused-owed"


@pytest.mark.parametrize("front", ["asgi"])
def test_who_is_cancelled_while_it_invalidates_owes(scenario: MakeScenario, pauses: Pauses) -> None:
    class Endless(MemoryStore):
        def on_loop(self) -> Endless:
            return self

        async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
            await asyncio.Event().wait()

    stage = scenario(ITEM, store=Endless())

    async def cancelled() -> None:
        task = asyncio.create_task(stage.cache.ainvalidate("item:1"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        answer = await call_asgi(stage.asgi, scope("GET", "/items/1"))
        assert answer.trace == "bypass: owed"

    asyncio.run(cancelled())


def owing(
    pause: Callable[[threading.Event, float], object],
) -> tuple[Owed, set[str], list[list[str]]]:
    """Debts whose names in the set cannot be paid, and what was attempted."""
    refused: set[str] = set()
    attempts: list[list[str]] = []

    def replace(names: Sequence[str]) -> None:
        attempts.append(list(names))
        if refused & set(names):
            raise StoreError("still deaf")

    return Owed(replace, pause), refused, attempts


def test_one_deaf_server_does_not_keep_the_debts_of_the_others() -> None:
    pauses = Pauses()
    owed, refused, attempts = owing(pauses)
    refused.add("b")
    owed.owe(["a", "b", "c"])
    pauses.arrive()
    pauses.end()
    pauses.arrive()
    assert attempts == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert set(owed.names) == {"b"}
    refused.clear()
    pauses.end()


def test_a_debt_that_comes_in_during_a_retry_is_not_paid_by_it() -> None:
    pauses = Pauses()
    owed: Owed

    def replace(names: Sequence[str]) -> None:
        if len(owed.names) == 1:
            owed.owe(["a", "b"])  # somebody's invalidation of "a" fails while ours is on its way

    owed = Owed(replace, pauses)
    owed.owe(["a"])
    pauses.arrive()
    pauses.end()
    pauses.arrive()
    assert set(owed.names) == {"a", "b"}
    pauses.end()


def test_pauses_grow() -> None:
    pauses = Pauses()
    owed, refused, _ = owing(pauses)
    refused.add("a")
    owed.owe(["a"])
    for _ in range(5):
        pauses.arrive()
        pauses.end()
    pauses.arrive()
    assert pauses.asked[5] > 5 * pauses.asked[0]  # 32 times as long, but for the jitter
    refused.clear()
    pauses.end()


def test_a_retry_that_began_before_a_late_commit_does_not_pay_for_it(pauses: Pauses) -> None:
    class Held(MemoryStore):
        """Refuses the first invalidation, and holds the second until it is let go."""

        def __init__(self) -> None:
            super().__init__()
            self.calls = 0
            self.began, self.may_end = threading.Event(), threading.Event()

        async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
            self.calls += 1
            if self.calls == 1:
                raise StoreError("cut off")
            self.began.set()
            assert self.may_end.wait(PATIENCE)

    store = Held()
    engine = PageCache([ITEM], store=store).engine
    exchange = Exchange(engine.realm)
    with handling(exchange), pytest.raises(InvalidationError):
        step(engine.invalidate(["item:1"]))
    pauses.arrive()
    pauses.end()
    assert store.began.wait(PATIENCE)  # a retry is on its way; now the handler commits, and ends
    step(engine.settle(exchange))
    store.may_end.set()
    pauses.arrive()
    assert engine.statistics()["owed"] == 1
    pauses.end()


def test_more_debts_than_can_be_remembered_turn_the_cache_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    owed, _, _ = owing(Pauses())
    owed.owe(map(str, range(MAX_OWED + 1)))
    assert len(owed.names) == MAX_OWED
    assert owed.touches(["never heard of"])
    owed.paid(list(owed.names), owed.mark())
    assert owed.touches(["never heard of"])
    assert "until this process is started anew" in caplog.text


def test_closing_tries_a_last_time_and_says_what_is_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    owed, refused, attempts = owing(Pauses())
    refused.add("b")
    owed.owe(["a", "b"])
    owed.close()
    assert attempts[-1] == ["b"]
    assert "1 namespaces whose invalidation the store never acknowledged: b" in caplog.text


def test_a_child_pays_the_debts_of_its_parent() -> None:
    pauses = Pauses()
    owed, refused, _ = owing(pauses)
    refused.add("a")
    owed.owe(["a"])
    pauses.arrive()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            refused.clear()
            owed._pause = lambda closed, seconds: None
            assert owed.touches(["a"])
            thread = owed._thread
            assert thread is not None
            thread.join(PATIENCE)
            os.write(writing, b"paid" if not owed.names else b"owes")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 4) == b"paid"
    os.close(reading)
    os.close(writing)
    assert set(owed.names) == {"a"}
    refused.clear()
    pauses.end()
