"""How the limits of shared stores and of a near store are hit."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import replace
from threading import Event
from typing import Any, Final

import lmdb

from pagegen import InvalidationError
from pagegen.errors import StoreError
from pagegen.stepping import step
from pagegen.stores import MemoryStore, NearStore
from pagegen.stores.base import Reading
from pagegen.stores.lmdb import LmdbStore
from pagegen.stores.lmdb.environment import Environment
from pagegen.stores.lmdb.generation import MAX_READERS
from pagegen.stores.memcached import MemcachedStore
from pagegen.testing import Scenario, call_asgi, scope
from pagegen.workers import Workers
from tests.security.limits import Stage, Trial, gets, hits, page
from tests.stores.servers import Memcached

_FEW: Final = range(3)
_MANY: Final = range(3, 60)


def _lmdb(stage: Stage) -> LmdbStore:
    """The smallest LMDB store. Its scenario closes it."""
    return LmdbStore(stage.place / "pages", "4MiB", timeout=5.0)


def _take(store: Any, numbers: Iterable[int]) -> None:
    for number in numbers:
        assert step(store.acquire(b"%020d" % number, b"me", 60.0))


@hits("pagegen.stores.lmdb.generation.LIVE_SHARE", "store_pages_evicted")
def _pages(stage: Stage) -> Trial:
    site = stage.scenario(page(), store=_lmdb(stage))
    site.handler = lambda _: bytes(100_000)
    return Trial(site.cache, gets(site, *_FEW), gets(site, *_MANY))


@hits("pagegen.stores.lmdb.generation.TOKEN_SHARE", "store_tokens_evicted")
def _tokens(stage: Stage) -> Trial:
    store = _lmdb(stage)

    def forget(numbers: range) -> None:
        step(store.replace_tokens({f"n:{n}": b"t" * 24 for n in numbers}, 60.0))

    def too_many() -> None:
        for start in range(0, 8_000, 1_000):
            forget(range(start, start + 1_000))

    return Trial(stage.scenario(page(), store=store).cache, lambda: forget(_FEW), too_many)


@hits("pagegen.stores.lmdb.eviction.LARGEST_SHARE", "store_pages_refused")
def _largest(stage: Stage) -> Trial:
    site = stage.scenario(page(), store=_lmdb(stage))
    site.handler = lambda seen: bytes(500_000 if seen.path == "/p1" else 100_000)
    return Trial(site.cache, gets(site, 0), gets(site, 1))


@hits("pagegen.stores.lmdb.eviction.MAX_STEPS", "store_pages_refused")
def _steps(stage: Stage) -> Trial:
    site = stage.scenario(page(own_url=False), store=_lmdb(stage))
    site.handler = lambda seen: bytes(300_000 if seen.path == "/p0" else 20_000)
    small, large = gets(site, *range(1, 200)), gets(site, 0)

    def over() -> None:
        stage.patch.setattr("pagegen.stores.lmdb.eviction.MAX_STEPS", 2)
        large()

    return Trial(site.cache, small, over)


@hits("pagegen.stores.lmdb.leases.MAX_LEASES", "store_leases_lost")
def _leases(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.stores.lmdb.leases.MAX_LEASES", 3)
    cache = stage.scenario(page(), store=(store := _lmdb(stage))).cache
    return Trial(cache, lambda: _take(store, _FEW), lambda: _take(store, _MANY))


@hits("pagegen.stores.lmdb.leases.BYTES_PER_LEASE", "store_leases_lost")
def _small_map(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.stores.lmdb.leases.BYTES_PER_LEASE", 2**20)
    cache = stage.scenario(page(), store=(store := _lmdb(stage))).cache
    return Trial(cache, lambda: _take(store, range(4)), lambda: _take(store, range(4, 5)))


@hits("pagegen.stores.names.REMEMBERED_BYTES", "store_names_evicted")
def _names(stage: Stage) -> Trial:
    for module in ("names", "lmdb.store"):
        stage.patch.setattr(f"pagegen.stores.{module}.REMEMBERED_BYTES", 5_000)
    site = stage.scenario(page(), store=_lmdb(stage))
    return Trial(site.cache, gets(site, *_FEW), gets(site, *_MANY))


@hits("pagegen.stores.near.TOKEN_BYTES", "store_near_tokens_evicted")
def _near(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.stores.near.TOKEN_BYTES", 5_000)
    store = NearStore(_lmdb(stage), 2**20, max_staleness=60.0)
    site = stage.scenario(page(), store=store)

    def twice(numbers: range) -> None:
        for _ in range(2):
            gets(site, *numbers)()

    return Trial(site.cache, lambda: twice(_FEW), lambda: twice(_MANY))


def _silent(stage: Stage) -> Scenario:
    """A site whose memcached listens and never answers."""
    listening = socket.create_server(("127.0.0.1", 0))
    stage.keep(listening)
    port = listening.getsockname()[1]
    return stage.scenario(page(), store=MemcachedStore([f"127.0.0.1:{port}"], timeout=0.02))


def _nothing() -> None:
    """Within a time that no server keeps is nothing."""


@hits("pagegen.stores.lmdb.store.DEFAULT_TIMEOUT", "store-failed", "invalidation-failed")
def _timeout(stage: Stage, counter: str) -> Trial:
    site = _silent(stage)
    if counter == "store-failed":
        return Trial(site.cache, _nothing, gets(site, 1))

    def forget() -> None:
        with suppress(InvalidationError):
            site.cache.invalidate("n:1")

    return Trial(site.cache, _nothing, forget)


@hits("pagegen.stores.breaker.THRESHOLD", "store_breaker_opened")
def _breaker(stage: Stage) -> Trial:
    site = _silent(stage)

    def fail(times: int) -> None:
        for _ in range(times):
            with suppress(StoreError):
                step(site.cache.engine.store.read(None, ["n:1"]))

    # The start has asked it once.
    return Trial(site.cache, lambda: fail(1), lambda: fail(1))


@hits("pagegen.stores.memcached.ring.MAX_REMEMBERED", "store_ring_evicted")
def _ring(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.stores.memcached.ring.MAX_REMEMBERED", 3)
    store = MemcachedStore(["127.0.0.1:1", "127.0.0.1:2"])

    def ask(numbers: range) -> None:
        for number in numbers:
            store._common.ring.server(b"%d" % number)

    cache = stage.scenario(page(), store=store).cache
    # The start has asked one of them for a name.
    return Trial(cache, lambda: ask(range(2)), lambda: ask(_MANY))


class _Deaf(MemoryStore):
    """A store that acknowledges nothing, until it does."""

    deaf = True

    async def replace_tokens(self, tokens: Any, ttl: float) -> None:
        if self.deaf:
            raise StoreError("deaf")
        await super().replace_tokens(tokens, ttl)


@hits("pagegen.owed.MAX_OWED", "bypass:owed")
def _owed(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.owed.MAX_OWED", 3)
    store = _Deaf()
    site = stage.scenario(page(), store=store)

    def forget(*numbers: int) -> None:
        for number in numbers:
            with suppress(InvalidationError):
                site.cache.invalidate(f"n:{number}")
        site.get("/page")

    def over() -> None:
        forget(*range(4))
        store.deaf = False  # what is owed can be paid at the end

    return Trial(site.cache, lambda: forget(*_FEW), over)


class _Slow(MemoryStore):
    """A store that blocks, and answers when it is let."""

    capabilities = replace(MemoryStore.capabilities, blocking_reads=True, blocking_writes=True)

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()
        self.go.set()

    async def replace_tokens(self, tokens: Any, ttl: float) -> None:
        assert self.go.wait(20.0)
        await super().replace_tokens(tokens, ttl)

    # What stands in a class of its own here has no glance: see ``glance_of``.
    async def read(self, slot: bytes | None, namespaces: Any) -> Reading:
        assert self.go.wait(20.0)
        return await super().read(slot, namespaces)


def _on_a_loop(stage: Stage, act: Callable[[Scenario], Coroutine[Any, Any, object]]) -> Trial:
    """What is done on an event loop, by whichever front, with a store that answers and with one
    that does not.
    """
    store = _Slow()
    site = stage.scenario(page(), store=store)

    def over() -> None:
        store.go.clear()
        try:
            asyncio.run(act(site))
        finally:
            store.go.set()

    return Trial(site.cache, lambda: asyncio.run(act(site)), over)


async def _get(site: Scenario) -> None:
    await call_asgi(site.asgi, scope("GET", "/page"))


async def _forget(site: Scenario) -> None:
    with suppress(InvalidationError):
        await site.cache.ainvalidate("n:1")


@hits("pagegen.stores.threads.PATIENCE", "store-failed")
def _patience(stage: Stage) -> Trial:
    return _on_a_loop(stage, _get)


@hits("pagegen.stores.threads.LONG_PATIENCE", "invalidation-failed")
def _long_patience(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.stores.threads.LONG_PATIENCE", 0.02)
    return _on_a_loop(stage, _forget)


@hits("pagegen.stores.threads.MAX_VERBS", "store-failed")
def _verbs(stage: Stage) -> Trial:
    workers = Workers("pagegen-test", threads=1, places=3)
    stage.patch.setattr("pagegen.stores.threads._workers", workers)
    site = stage.scenario(page(), store=_Slow())
    go = Event()

    def over() -> None:
        full = [workers.submit(lambda: go.wait(20.0)) for _ in range(3)]
        assert all(full)
        asyncio.run(_get(site))
        go.set()

    return Trial(site.cache, lambda: asyncio.run(_get(site)), over)


@hits("pagegen.stores.lmdb.store._ATTEMPTS", "invalidation-failed")
def _attempts(stage: Stage) -> Trial:
    store = _lmdb(stage)
    cache = stage.scenario(page(), store=store).cache

    def full(*_: object, **__: object) -> None:
        raise lmdb.MapFullError("full")

    def over() -> None:
        # Each attempt finds the map full, though this one is not.
        stage.patch.setattr(Environment, "free_readers", lambda _: None)
        stage.patch.setattr(store, "_sweep", full)
        with suppress(InvalidationError):
            cache.invalidate("n:1")
        stage.patch.undo()

    return Trial(cache, lambda: cache.invalidate("n:1"), over)


@hits("pagegen.stores.lmdb.generation.MAX_READERS", "store-failed")
def _readers(stage: Stage) -> Trial:
    site = stage.scenario(page(), store=(store := _lmdb(stage)))

    def over() -> None:
        env = store._open().current().env
        readers: list[Any] = []
        with suppress(lmdb.ReadersFullError):
            readers.extend(env.begin() for _ in range(MAX_READERS + 1))
        # A transaction that was given back is taken again before a place is.
        readers.extend(env.begin() for _ in range(MAX_READERS - len(readers)))
        gets(site, 1)()
        for reader in readers:
            reader.abort()

    return Trial(site.cache, gets(site, 0), over)


def _memcached(stage: Stage, host: str, large: Any = "split") -> Scenario:
    """A site on a server of its own, which may be called by a name. Threads ask it."""
    server = Memcached()
    stage.keep(server)
    place = f"{host}:{server.port}"
    store = MemcachedStore([place], timeout=2.0, client="threads", large=large)
    return stage.scenario(page(), store=store)


@hits("pagegen.stores.memcached.pooled.MAX_VALUE", "store_blocking_failures")
def _read_values(stage: Stage) -> Trial:
    site = _memcached(stage, "127.0.0.1")
    site.handler = lambda _: bytes(50_000)
    twice = gets(site, 0, 0)

    def over() -> None:
        stage.patch.setattr("pagegen.stores.memcached.pooled.MAX_VALUE", 10_000)
        twice()

    return Trial(site.cache, twice, over)


@hits("pagegen.stores.memcached.sockets.MAX_LOOKUPS", "store-failed")
def _lookups(stage: Stage) -> Trial:
    names = Workers("pagegen-test", threads=1, places=1)
    stage.patch.setattr("pagegen.stores.memcached.sockets._lookups", names)
    site = _memcached(stage, "localhost")
    go = Event()

    def over() -> None:
        assert names.submit(lambda: go.wait(20.0))
        site.cache.engine.store._blocking.after_fork()  # type: ignore[attr-defined]
        gets(site, 1)()
        go.set()

    return Trial(site.cache, gets(site, 0), over)


@hits(
    "pagegen.stores.memcached.inspection.DEFAULT_ITEM", "store_pages_split", "store_pages_refused"
)
def _items(stage: Stage, counter: str) -> Trial:
    large = "split" if counter == "store_pages_split" else "refuse"
    site = _memcached(stage, "127.0.0.1", large)
    site.handler = lambda seen: bytes(2**20 - 10_000 * (seen.path == "/p0"))
    return Trial(site.cache, gets(site, 0), gets(site, 1))


@hits("pagegen.stores.memcached.parts.MAX_PARTS", "store_pages_refused")
def _parts(stage: Stage) -> Trial:
    stage.patch.setattr("pagegen.stores.memcached.parts.MAX_PARTS", 1)
    site = _memcached(stage, "127.0.0.1")
    site.handler = lambda seen: bytes(2**20 - 10_000 * (seen.path == "/p0"))
    return Trial(site.cache, gets(site, 0), gets(site, 1))
