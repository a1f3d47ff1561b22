"""A blocking store on an event loop: hops, patience, cancellation, bounds."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from pagegen import ConfigError, PageCache, Rule
from pagegen.errors import StoreError
from pagegen.flights import Flights
from pagegen.status import Counters
from pagegen.stores import Capabilities, MemoryStore, Reading, threads
from pagegen.stores.breaker import Breaker
from pagegen.stores.s3fifo import S3Fifo
from pagegen.stores.threads import Threaded, for_loop
from pagegen.testing import PATIENCE
from pagegen.workers import Workers
from tests.conftest import MakeScenario
from tests.stores.test_memory import page, slot


class Blocking(MemoryStore):
    """A store whose verbs hold their thread until they are let go, and say which thread it was."""

    capabilities = Capabilities(blocking_reads=True, blocking_writes=True, shared=True)

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()
        self.free.set()
        self.began = threading.Semaphore(0)
        self.seen: list[str] = []

    async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
        self.seen.append(threading.current_thread().name)
        self.began.release()
        assert self.free.wait(PATIENCE)
        return await super().read(slot, namespaces)


class QuickReader(Blocking):
    capabilities = Capabilities(blocking_reads=False, blocking_writes=True, shared=True)


def test_a_blocking_verb_runs_in_a_thread_of_ours_and_a_quick_one_stays() -> None:
    async def read(store: Blocking) -> str:
        await for_loop(store).read(slot(0), ())
        return store.seen[-1]

    assert asyncio.run(read(Blocking())).startswith("pagegen-store")
    assert asyncio.run(read(QuickReader())) == threading.current_thread().name
    assert isinstance(for_loop(MemoryStore()), MemoryStore)


def test_all_verbs_reach_the_store() -> None:
    async def use() -> None:
        store = for_loop(Blocking())
        assert isinstance(store, Threaded)
        assert await store.add_tokens({"a": b"1"}, 60) == {"a": b"1"}
        await store.replace_tokens({"a": b"2"}, 60)
        made = page()
        assert await store.write_page(slot(0), made, 60)
        assert await store.read(slot(0), ["a"]) == (made, (b"2",))
        await store.delete_page(slot(0))
        assert (await store.read(slot(0), ["a"])).page is None
        assert await store.acquire(slot(0), b"me", 60)
        await store.release(slot(0), b"me")
        assert await store.acquire(slot(0), b"you", 60)
        assert store.statistics()["pages_count"] == 0
        store.close()

    asyncio.run(use())


def test_the_loop_goes_on_while_a_store_hangs_and_the_request_gives_up() -> None:
    blocking = Blocking()
    blocking.free.clear()

    async def wait() -> int:
        ticks = 0
        reading = asyncio.ensure_future(for_loop(blocking).read(slot(0), ()))
        while not reading.done():
            ticks += 1
            await asyncio.sleep(0.001)
        with pytest.raises(StoreError, match=r"took longer than 0\.06 s"):
            reading.result()
        return ticks

    assert asyncio.run(wait()) > 3
    blocking.free.set()


def test_who_is_cancelled_leaves_no_trace() -> None:
    blocking = Blocking()
    blocking.free.clear()

    async def cancel() -> None:
        reading = asyncio.ensure_future(for_loop(blocking).read(slot(0), ()))
        await asyncio.to_thread(blocking.began.acquire, timeout=PATIENCE)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        blocking.free.set()
        assert (await for_loop(blocking).read(slot(0), ())) == (None, ())

    asyncio.run(cancel())


def test_what_waits_for_a_thread_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_workers", Workers("pagegen-store", threads=1, places=2))
    blocking = Blocking()
    blocking.free.clear()

    async def crowd() -> list[str]:
        store = for_loop(blocking)
        said = await asyncio.gather(
            *(store.read(slot(0), ()) for _ in range(5)), return_exceptions=True
        )
        return sorted(str(error) for error in said)

    said = asyncio.run(crowd())
    blocking.free.set()
    assert [text.startswith("too many verbs") for text in said] == [False, False, True, True, True]


def test_what_nobody_waits_for_any_more_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_workers", Workers("pagegen-store", threads=1, places=9))
    blocking = Blocking()
    blocking.free.clear()

    async def crowd() -> None:
        store = for_loop(blocking)
        await asyncio.gather(*(store.read(slot(0), ()) for _ in range(5)), return_exceptions=True)
        blocking.free.set()
        await store.write_page(slot(0), page(), 60)  # behind all others in the one thread

    asyncio.run(crowd())
    assert len(blocking.seen) == 1


def test_a_child_has_threads_of_its_own() -> None:
    workers = Workers("pagegen-test", threads=1, places=1)
    first = workers.submit(os.getpid)
    assert first is not None and first.result(PATIENCE) == os.getpid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            mine = workers.submit(os.getpid)
            os.write(writing, b"%d" % (mine.result(5) if mine else 0))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 20) == b"%d" % child
    os.close(reading)
    os.close(writing)


def test_a_blocking_store_serves_both_fronts(scenario: MakeScenario) -> None:
    store = Blocking()
    stage = scenario(Rule(path="/a", share="public", namespaces=["a"], ttl="1h"), store=store)
    assert [stage.get("/a").trace for _ in range(2)] == ["uri-miss, stored", "hit"]
    stage.cache.invalidate("a")
    assert stage.get("/a").trace == "stale, stored"
    threaded = [name.startswith("pagegen-store") for name in store.seen[1:]]
    assert threaded == [stage.front == "asgi"] * len(threaded)


def refused(store: object) -> str:
    with pytest.raises(ConfigError) as caught:
        PageCache(store=store)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_store_that_cannot_do_what_it_must_is_refused_at_start() -> None:
    class Suspending(MemoryStore):
        async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
            await asyncio.sleep(0)
            return await super().read(slot, namespaces)

    class Silent:
        pass

    class Careless(MemoryStore):
        capabilities = Capabilities(
            blocking_reads=False, blocking_writes=False, shared=False, leases=True
        )

    assert "waits for an event loop in read" in refused(Suspending())
    assert "does not say what it can do" in refused(Silent())
    assert "declares leases without what they need" in refused(Careless())


def test_a_store_that_does_not_answer_at_start_is_only_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Down(MemoryStore):
        async def read(self, slot: bytes | None, namespaces: Sequence[str]) -> Reading:
            raise StoreError("nobody there")

    PageCache(store=Down())
    assert "the store does not answer (StoreError: nobody there)" in caplog.text


def test_a_child_finds_no_lock_closed_that_its_parent_held() -> None:
    workers = Workers("pagegen-test", threads=1, places=1)
    holders: list[Any] = [Breaker(), Counters(), Flights(1), S3Fifo[str, int](1), workers]
    for holder in holders:
        holder._lock.acquire()
    child = os.fork()
    if child == 0:
        free = [holder._lock.acquire(blocking=False) for holder in holders]
        os._exit(0 if all(free) else 1)
    assert os.waitpid(child, 0)[1] == 0
    for holder in holders:
        holder._lock.release()
