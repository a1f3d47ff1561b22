"""What a hostile reading of the shared stores found, each as a test that was red when written."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pagegen import ConfigError, Invalidates, InvalidationError, PageCache, Rule
from pagegen import owed as debts
from pagegen.config import Settings
from pagegen.errors import StoreError
from pagegen.exchange import Exchange
from pagegen.messages import StoredResponse
from pagegen.owed import Owed
from pagegen.sources import Sources
from pagegen.stepping import step
from pagegen.stores import Capabilities, MemoryStore, Reading
from pagegen.stores.codec import Codec
from pagegen.stores.threads import Threaded
from pagegen.testing import PATIENCE, FakeClock, call_wsgi, environ
from pagegen.workers import Workers
from pagegen.wsgi import PageCacheMiddleware
from tests.conftest import MakeScenario
from tests.engine.test_owed import DeafStore, Pauses, owing
from tests.stores.test_memory import page

ITEM = Rule(path="/items/{item}", share="public", namespaces=["item:{item}"], ttl="1h")
WRITE = Invalidates(methods=["POST"], path="/items/{item}", namespaces=["item:{item}"])


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pauses]:
    """The payer of every cache pauses until the test lets it go on."""
    made = Pauses()
    original = Owed.__init__

    def init(self: Owed, paying: Callable[[Sequence[str]], None]) -> None:
        original(self, paying, made)

    monkeypatch.setattr(Owed, "__init__", init)
    yield made
    for _ in range(100):
        made.end()


# Old pages ------------------------------------------------------------------------------------


def test_what_could_not_be_remembered_is_bypassed_even_when_all_the_rest_is_paid(
    scenario: MakeScenario, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debts, "MAX_OWED", 1)
    store = DeafStore()
    stage = scenario(ITEM, store=store)
    stage.get("/items/2")
    store.deaf = True
    for name in ("item:1", "item:2"):
        with pytest.raises(InvalidationError):
            stage.cache.invalidate(name)
    assert stage.get("/items/2").trace == "bypass: owed"
    store.deaf = False
    stage.cache.invalidate("item:1")
    assert stage.cache.statistics()["owed"] == 0
    # Nobody has given item:2 a new token: its page is as old as it was.
    assert stage.get("/items/2").trace == "bypass: owed"


def test_a_debt_that_is_renewed_behind_one_that_has_no_room_is_renewed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(debts, "MAX_OWED", 1)
    pauses = Pauses()
    owed, _, _ = owing(pauses)
    owed.owe(["known"])
    began = owed.mark()
    owed.owe(["no room", "known"])
    owed.paid(["known"], began)
    left = set(owed.names)
    pauses.end()
    assert left == {"known"}


def test_a_late_invalidation_that_waits_for_a_debt_is_said_and_counted(
    scenario: MakeScenario, pauses: Pauses, caplog: pytest.LogCaptureFixture
) -> None:
    store = DeafStore()
    stage = scenario(ITEM, store=store, invalidates=[WRITE])
    store.deaf = True
    with pytest.raises(InvalidationError):
        stage.cache.invalidate("item:1")
    before = stage.cache.statistics()["invalidation-failed"]
    with caplog.at_level(logging.WARNING):
        assert stage.post("/items/1").status == 200
    # Its client was told that it is done; other processes serve the old page.
    assert stage.cache.statistics()["invalidation-failed"] > before
    assert "item:{item}" in caplog.text


def test_debts_are_tried_a_last_time_when_a_process_ends_without_closing_its_cache() -> None:
    script = """
import logging; logging.basicConfig()
from pagegen import InvalidationError, PageCache, Rule
from pagegen.errors import StoreError
from pagegen.stores import MemoryStore
class Deaf(MemoryStore):
    deaf = True
    async def replace_tokens(self, tokens, ttl):
        if self.deaf: raise StoreError("cut off")
        print("paid", *tokens)
store = Deaf()
cache = PageCache([Rule(path="/a", share="public", namespaces=["a"], ttl="1h")], store=store)
try: cache.invalidate("a")
except InvalidationError: pass
store.deaf = False
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert "paid a" in ended.stdout


# Debts that are never paid --------------------------------------------------------------------


def test_a_namespace_that_is_written_all_the_time_is_paid_once_the_store_hears(
    pauses: Pauses,
) -> None:
    class Busy(DeafStore):
        """At each retry another request ends that has written the same item."""

        meanwhile: Callable[[], object] | None = None

        async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
            if threading.current_thread().name == "pagegen-owed" and self.meanwhile:
                self.meanwhile()
            await super().replace_tokens(tokens, ttl)

    store = Busy()
    engine = PageCache([ITEM], store=store).engine

    def another_request() -> None:
        exchange = Exchange(engine.realm)
        exchange.owe(["item:1"])
        writer = threading.Thread(target=lambda: step(engine.settle(exchange)))
        writer.start()
        writer.join(PATIENCE)

    store.deaf = True
    with pytest.raises(InvalidationError):
        step(engine.invalidate(["item:1"]))
    store.deaf, store.meanwhile = False, another_request
    pauses.arrive()
    pauses.end()
    pauses.arrive()  # the store has acknowledged a retry, which a late commit made too early
    store.meanwhile = None
    another_request()  # and so has the next one, if only requests may pay
    assert engine.statistics()["owed"] == 0  # or it is bypassed as long as it is written


def test_names_of_a_silent_server_do_not_starve_those_behind_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(debts, "monotonic", clock)
    pauses = Pauses()
    attempts: list[str] = []

    def paying(names: Sequence[str]) -> None:
        attempts.extend(names if len(names) == 1 else ())
        if any(name.startswith("silent") for name in names):
            clock.advance(0.05)
            raise StoreError("took too long")

    owed = Owed(paying, pauses)
    owed.owe([*(f"silent:{number}" for number in range(100)), "healthy"])
    for _ in range(20):
        pauses.arrive()
        pauses.end()
    pauses.arrive()
    left = set(owed.names)
    owed.names.clear()
    pauses.end()
    assert "healthy" not in left


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_payer_is_replaced_when_something_kills_it() -> None:
    class Killed(BaseException):
        pass

    died, paid = threading.Event(), threading.Event()

    def paying(names: Sequence[str]) -> None:
        if not died.is_set():
            died.set()
            raise Killed
        paid.set()

    owed = Owed(paying, lambda closed, seconds: None)
    before = set(threading.enumerate())
    owed.owe(["a"])
    assert died.wait(PATIENCE)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
    assert owed.touches(["a"])
    assert paid.wait(1)


def test_debts_that_come_after_close_are_paid_too() -> None:
    paid = threading.Event()
    deaf = True

    def paying(names: Sequence[str]) -> None:
        if deaf:
            raise StoreError("cut off")
        paid.set()

    owed = Owed(paying, lambda closed, seconds: None)
    owed.close()  # a lifespan has ended; the next one has the same cache
    deaf = False
    owed.owe(["a"])
    assert paid.wait(1)


# Requests that fail or wait -------------------------------------------------------------------


def test_a_thread_that_still_invalidates_does_not_break_the_end_of_its_request() -> None:
    engine = PageCache([ITEM], store=MemoryStore()).engine
    exchange = Exchange(engine.realm)
    exchange.owe(["item:1", "item:2"])

    class Names(dict[str, int]):
        """The debts; whoever looks into them is interrupted by a thread of the handler."""

        def __contains__(self, name: object) -> bool:
            exchange.owe([f"late:{len(exchange.owed)}"])
            return super().__contains__(name)

    engine._state.owed.names = Names()
    engine._state.owed.heard = False  # so that the debts are looked into
    step(engine.settle(exchange))  # RuntimeError: dictionary changed size during iteration
    assert len(exchange.owed) == 4


class Slow(MemoryStore):
    """Every verb answers, but takes its time."""

    capabilities = Capabilities(blocking_reads=True, blocking_writes=True, shared=True)

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        super().__init__(now=clock)
        self.clock = clock
        self.seconds = seconds
        self.spent = 0.0
        self.verbs: list[str] = []

    def _wait(self, verb: str) -> None:
        self.clock.advance(self.seconds)
        self.spent += self.seconds
        self.verbs.append(verb)

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self._wait("read")
        return await super().read(slot, namespaces)

    async def add_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> Mapping[str, bytes]:
        self._wait("add")
        return await super().add_tokens(tokens, ttl)

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        self._wait("replace")
        await super().replace_tokens(tokens, ttl)

    async def write_page(self, slot: bytes, page: StoredResponse, ttl: float) -> bool:
        self._wait("write")
        return await super().write_page(slot, page, ttl)


def _small_app(made: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]


@pytest.mark.parametrize("seconds", [0.05, 0.045, 0.031, 0.029, 0.021, 0.019])
def test_a_slow_store_costs_a_miss_one_deadline_and_not_one_for_each_verb(seconds: float) -> None:
    clock = FakeClock()
    store = Slow(clock, seconds)
    cache = PageCache([ITEM], store=store, sources=Sources(now=clock, monotonic=clock))
    app = PageCacheMiddleware(_small_app, cache=cache)
    store.spent = 0.0
    assert call_wsgi(app, environ("GET", "/items/1")).status == 200
    # The design, section 6: "store dead, slow, full, lying: no 5xx, at most 60 ms more".
    # One verb may take its whole deadline, so after a slow one no other may begin.
    assert store.spent <= 0.06, store.verbs


def test_a_far_store_is_used_when_its_user_allows_for_it() -> None:
    clock = FakeClock()
    store = Slow(clock, 0.045)
    cache = PageCache(
        [ITEM], store=store, sources=Sources(now=clock, monotonic=clock), max_delay="300ms"
    )
    app = PageCacheMiddleware(_small_app, cache=cache)
    call_wsgi(app, environ("GET", "/items/1"))
    assert store.verbs[1:] == ["read", "add", "write"]


def test_a_written_answer_of_many_pieces_asks_the_store_a_few_times_only() -> None:
    store = DeafStore()
    cache = PageCache([ITEM], store=store, invalidates=[WRITE])

    def many(made: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        for _ in range(50):
            write(b"piece")
        return []

    answer = call_wsgi(PageCacheMiddleware(many, cache=cache), environ("POST", "/items/1"))
    assert answer.body == b"piece" * 50
    assert len(store.sent) <= 4  # each is a trip to a shared store, and may take 50 ms


def test_an_iterated_answer_of_empty_pieces_asks_the_store_a_few_times_only() -> None:
    store = DeafStore()
    cache = PageCache([ITEM], store=store, invalidates=[WRITE])

    def many(made: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b""] * 50)

    call_wsgi(PageCacheMiddleware(many, cache=cache), environ("POST", "/items/1"))
    assert len(store.sent) <= 4


@pytest.mark.parametrize("odd", ["fresh_until", "stored_at", "initial_age"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), float("-inf")])
def test_stored_times_that_are_no_moments_are_a_miss_and_no_error(odd: str, value: float) -> None:
    # Without a site key any tenant of the store can write this, check sum and all; int(inf) raises.
    planted = replace(page(), **{odd: value})
    assert Codec().decode(Codec().encode(planted)) is None


def test_a_store_that_lies_about_times_costs_a_miss(scenario: MakeScenario) -> None:
    class Lying(MemoryStore):
        async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
            found = await super().read(slot, namespaces)
            if found.page is not None:
                found.page.fresh_until = float("inf")
            return found

    stage = scenario(ITEM, store=Lying())
    stage.get("/items/1")
    assert stage.get("/items/1").status == 200


# Leaks ----------------------------------------------------------------------------------------


def test_work_that_was_given_up_keeps_its_place_until_a_thread_has_dropped_it() -> None:
    workers = Workers("pagegen-test", threads=1, places=4)
    free, began = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        assert free.wait(PATIENCE)

    first = workers.submit(hang)
    assert first is not None and began.wait(PATIENCE)
    taken = 0
    for _ in range(100):  # requests come, wait their 60 ms, and give up
        future = workers.submit(lambda: None)
        taken += future is not None
        if future is not None:
            future.cancel()
    free.set()
    assert first.result(PATIENCE) is None
    # Each one is still in the executor's queue, with the page that it was to write.
    assert taken <= 3


def test_an_error_that_arrives_with_the_cancellation_is_nobodys(
    caplog: pytest.LogCaptureFixture,
) -> None:
    read = threading.Event()

    class Broken(MemoryStore):
        capabilities = Capabilities(blocking_reads=True, blocking_writes=True, shared=True)

        async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
            threading.Timer(0.05, read.set).start()
            raise StoreError("cut off")

    async def cancel() -> None:
        reading = asyncio.ensure_future(Threaded(Broken()).read(None, ()))
        await asyncio.sleep(0)
        assert read.wait(PATIENCE)  # the loop stands still; the error is waiting for it
        asyncio.get_running_loop().call_soon(reading.cancel)
        with pytest.raises(asyncio.CancelledError):
            await reading

    with caplog.at_level(logging.ERROR):
        asyncio.run(cancel())
        gc.collect()
    assert "never retrieved" not in caplog.text


# Mistakes that are found at start, and secrets ------------------------------------------------


def test_the_password_of_a_store_is_in_no_repr() -> None:
    assert "secret" not in repr(Settings(store="redis://:secret@127.0.0.1:6379/0"))


@pytest.mark.parametrize(
    "url",
    [
        "redis:/:secret@127.0.0.1",
        "redis:secret@127.0.0.1",
        "rediss//:secret@127.0.0.1",
        "memory://?password=secret",
        "redis://127.0.0.1?password=secret",
        "reddis://127.0.0.1?password=secret",
    ],
)
def test_a_url_with_a_slip_does_not_tell_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PageCache([ITEM], store=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "verb", ["add_tokens", "replace_tokens", "remove_tokens", "write_page", "close"]
)
def test_a_store_without_one_of_its_verbs_is_refused_at_start(verb: str) -> None:
    there = {
        name: getattr(MemoryStore, name)
        for name in (
            "read", "add_tokens", "replace_tokens", "remove_tokens", "write_page",
            "delete_page", "statistics", "close",
        )
        if name != verb
    }  # fmt: skip
    can = Capabilities(blocking_reads=False, blocking_writes=False, shared=True)
    store = type("Half", (), {**there, "capabilities": can})()
    store.__dict__.update(MemoryStore().__dict__)
    with pytest.raises(ConfigError, match=verb):
        PageCache([ITEM], store=store)


def test_a_store_whose_read_is_no_coroutine_is_refused_at_start() -> None:
    class Plain(MemoryStore):
        def read(  # type: ignore[override]
            self, slot: bytes | None, namespaces: Sequence[str]
        ) -> Reading:
            return Reading(None, (None,) * len(namespaces))

    with pytest.raises(ConfigError):
        PageCache([ITEM], store=Plain())


def test_a_store_whose_tokens_are_a_list_is_refused_at_start() -> None:
    class Listed(MemoryStore):
        async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
            found = await super().read(slot, namespaces)
            return Reading(found.page, list(found.tokens))  # type: ignore[arg-type]

    # It would never have a hit, for a list is no tuple, and say nothing.
    with pytest.raises(ConfigError):
        PageCache([ITEM], store=Listed())
