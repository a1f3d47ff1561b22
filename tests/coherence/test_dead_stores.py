"""A store that is hung, gone or mad costs a page a little time, and never its life.

Each request is timed against the bare application in the same run, and each loop against one that
serves the bare application alone. The figures are those of the issue, and machines are noisy: what
holds in one of ``ATTEMPTS`` runs holds, for a request that waits, waits in every run.
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import pytest

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as ASGIMiddleware
from pagegen.testing import call_asgi, call_wsgi, environ, scope
from pagegen.testing.check.network import proxied
from pagegen.wsgi import PageCacheMiddleware as WSGIMiddleware
from tests.coherence.backends import Kind
from tests.stores.redis_servers import RedisServer
from tests.stores.servers import Memcached

Illness = Literal["hung", "refused", "rubbish"]

REQUESTS = 10_000
ATTEMPTS = 3
#: Requests of an event loop that are under way together, and seconds between two of its ticks.
TASKS = 4
TICK = 0.001
#: Seconds, from the issue: more at p99.9, more once the breaker is open, and lag of the loop.
MORE = 0.060
MORE_WHEN_OPEN = 0.001
LAG = 0.005
BODY = b"x" * 1_000
RULE = Rule(path="/p/{n:int}", share="public", namespaces=["p:{n}"], ttl="1h")


def bare_wsgi(_environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1000")])
    return [BODY]


async def bare_asgi(_scope: Any, _receive: Any, send: Any) -> None:
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": BODY})


@dataclass(slots=True)
class Times:
    """Seconds of each request with the cache and without it, in order; lags of the loop, and of
    one without a cache.
    """

    cached: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    bare_lags: list[float] = field(default_factory=list)

    def added(self) -> list[float]:
        """What the cache added to each request."""
        return [cached - bare for cached, bare in zip(self.cached, self.bare, strict=True)]

    def __str__(self) -> str:
        added = [f"p{100 * q:g} {1000 * quantile(self.added(), q):.2f}" for q in (0.5, 0.99, 0.999)]
        lags = [("lag", self.lags), ("without cache", self.bare_lags)]
        told = [f"{name} p99.9 {1000 * quantile(part, 0.999):.2f}" for name, part in lags if part]
        return f"ms added: {', '.join(added)}, most {1000 * max(self.added()):.1f}; {told}"

    def broken(self) -> list[str]:
        """Which of the promises these times break."""
        noise = quantile(self.bare, 0.999)
        # The breaker is open nearly always, so the usual request is one that it spared.
        found = {
            "more than 60 ms at p99.9": quantile(self.added(), 0.999) > MORE + noise,
            "more than 1 ms with the breaker open": quantile(self.added(), 0.5) > MORE_WHEN_OPEN,
            "a loop that lags": bool(self.lags)
            and quantile(self.lags, 0.999) > LAG + quantile(self.bare_lags, 0.999),
        }
        return [promise for promise, is_broken in found.items() if is_broken]


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def others() -> float:
    """Seconds for which this thread was ready and other processes had its processor."""
    try:
        told = Path("/proc/thread-self/schedstat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(told.split()[1]) / 1e9


#: A process that has begun to write and does not go on.
STAYS = """
import sys, time
from pagegen.stores.lmdb import LmdbStore
with LmdbStore(sys.argv[1])._environment.writing(time.monotonic() + 10):
    print("inside", flush=True)
    sys.stdin.read()
"""


@contextmanager
def behind_a_writer(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """LMDB has no server: what hangs is another process, in the middle of a write."""
    with ExitStack() as writers:

        def stay() -> None:
            writer = subprocess.Popen(
                [sys.executable, "-c", STAYS, str(folder / "pages")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            writers.enter_context(writer)
            writers.callback(writer.kill)
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"inside\n"

        yield f"lmdb://{folder / 'pages'}", stay


@contextmanager
def ill(kind: Kind, illness: Illness, folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """A URL, and what makes the server behind it fall ill."""
    if kind == "lmdb":
        with behind_a_writer(folder) as made:
            yield made
        return
    database = "/0" if kind == "redis" else ""
    if illness == "rubbish":
        with proxied() as proxy:
            yield f"{kind}://127.0.0.1:{proxy.port}{database}", lambda: proxy.change("rubbish")
        return
    with RedisServer() if kind == "redis" else Memcached() as server:
        yield server.url, server.stop if illness == "hung" else server.kill


def under_wsgi(cache: PageCache, fall_ill: Callable[[], object]) -> Times:
    """Requests one after the other, the cache's and the bare application's in turn."""
    cached = WSGIMiddleware(bare_wsgi, cache=cache)
    times = Times()
    for number in range(REQUESTS):
        if number == 10:
            fall_ill()
        target = f"/p/{number % 500}"
        for app, seconds in ((bare_wsgi, times.bare), (cached, times.cached)):
            made = environ("GET", target)
            began = perf_counter()
            answer = call_wsgi(app, made)
            seconds.append(perf_counter() - began)
            assert (answer.status, answer.body) == (200, BODY)
    return times


async def under_asgi(cache: PageCache, fall_ill: Callable[[], object]) -> Times:
    """A few requests at a time, while a task notices how late its turns are."""
    cached = ASGIMiddleware(bare_asgi, cache=cache)
    times = Times()
    numbers = iter(range(REQUESTS))

    async def visit() -> None:
        for number in numbers:
            target = f"/p/{number % 500}"
            taken = []
            for app in (bare_asgi, cached):
                began = perf_counter()
                answer = await call_asgi(app, scope("GET", target))
                taken.append(perf_counter() - began)
                assert (answer.status, answer.body) == (200, BODY)
            times.bare.append(taken[0])
            times.cached.append(taken[1])
            await asyncio.sleep(0)  # the bare application never waits, and others want their turn

    for number in range(10):
        await call_asgi(cached, scope("GET", f"/p/{number}"))
    fall_ill()
    async with ticking(times.lags):
        await asyncio.gather(*(visit() for _ in range(TASKS)))
    async with ticking(times.bare_lags):
        for number in range(3 * REQUESTS):
            await call_asgi(bare_asgi, scope("GET", f"/p/{number}"))
            await asyncio.sleep(0)
    return times


@asynccontextmanager
async def ticking(lags: list[float]) -> AsyncIterator[None]:
    """Note for how long the loop does not come back to a task that asks for its turn."""

    async def tick() -> None:
        while True:
            began, taken_away = perf_counter(), others()
            await asyncio.sleep(TICK)
            lags.append(perf_counter() - began - TICK - (others() - taken_away))

    task = asyncio.create_task(tick())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def attempt(kind: Kind, illness: Illness, front: str, folder: Path) -> Times:
    with ill(kind, illness, folder) as (where, fall_ill):
        cache = PageCache([RULE], store=where)
        gc.collect()
        gc.freeze()  # what else lives in a test process takes tens of milliseconds to collect
        try:
            if front == "wsgi":
                return under_wsgi(cache, fall_ill)
            return asyncio.run(under_asgi(cache, fall_ill))
        finally:
            gc.unfreeze()
            cache.close()


@pytest.mark.alone
@pytest.mark.parametrize("front", ["wsgi", "asgi"])
@pytest.mark.parametrize(
    ("kind", "illness"),
    [("lmdb", "hung"), *product(("memcached", "redis"), ("hung", "refused", "rubbish"))],
)
def test_ten_thousand_pages_are_served_as_if_there_was_no_store(
    kind: Kind, illness: Illness, front: str, tmp_path: Path
) -> None:
    broken = ["nothing was tried"]
    for _ in range(ATTEMPTS):
        times = attempt(kind, illness, front, tmp_path)
        print(times)
        if not (broken := times.broken()):
            break
    assert not broken
