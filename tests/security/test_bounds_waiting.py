"""Ten thousand who wait for one page, and those who come and go meanwhile."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from time import monotonic
from typing import Any

import pytest

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware
from pagegen.asgi.types import Message, Receive, Scope, Send
from pagegen.sources import Sources
from pagegen.testing.calling import scope
from tests.security.memory import becomes, resident

CROWD = 10_000
PAGE = Rule(path="/page", share="public", ttl="1h")


class Slow:
    """An application that renders when it is let, behind a cache; ``renders`` counts."""

    def __init__(self, **settings: Any) -> None:
        # Time stands still: on a busy machine a flight would be taken to be lost.
        began = monotonic()
        sources = Sources(monotonic=lambda: began)
        self.cache = PageCache([PAGE], max_wait="5m", sources=sources, **settings)
        self.front = PageCacheMiddleware(self._app, cache=self.cache)
        self.renders = 0
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self.answers: list[int] = []

    async def _app(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        self.renders += 1
        self.began.set()
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 50_000})

    async def ask(self, made: Scope) -> None:
        """One client, who stays."""

        async def receive() -> Message:
            raise AssertionError("nobody asks")

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                self.answers.append(len(message["body"]))

        await self.front(made, receive, send)

    def waiting(self) -> int:
        """Requests that wait now."""
        return self.cache.statistics()["flights_waiting"]

    async def crowd(self, number: int) -> list[asyncio.Task[None]]:
        """So many clients, who wait by now, behind one who leads them."""
        made = scope("GET", "/page")
        tasks = [asyncio.create_task(self.ask(made)) for _ in range(number + 1)]
        await self.began.wait()
        await becomes(lambda: self.waiting() == number)
        return tasks


async def _weigh(number: int) -> int:
    """Bytes that so many who wait take of this process."""
    site = Slow()
    before = resident()
    tasks = await site.crowd(number)
    taken = resident() - before
    site.go.set()
    await asyncio.gather(*tasks)
    assert (site.renders, site.answers) == (1, [50_000] * (number + 1))
    assert site.waiting() == 0
    return taken


def test_ten_thousand_wait_for_one_rendering_and_weigh_little() -> None:
    # Coroutines, task and wait of each; a server's own connection weighs more.
    assert asyncio.run(_weigh(CROWD)) < CROWD * 10_000


async def _come_and_go(rounds: int, each: int) -> tuple[int, int]:
    """Bytes that are left of clients who gave up waiting, and how many wait then."""
    site = Slow()
    await site.crowd(1)
    gone: list[int] = []
    tracemalloc.start()
    for _ in range(rounds):
        tasks = [asyncio.create_task(site.ask(scope("GET", "/page"))) for _ in range(each)]
        await becomes(lambda: site.waiting() == each + 1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        del tasks, task
        gc.collect()
        gone.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    left = site.waiting()
    site.go.set()
    await becomes(lambda: len(site.answers) == 2)
    return gone[-1] - gone[1], left


def test_clients_that_come_and_go_leave_nothing_behind() -> None:
    taken, left = asyncio.run(_come_and_go(rounds=6, each=500))
    assert left == 1
    assert taken < 100 * 2000  # so many came and went


@pytest.mark.parametrize("most", [0, 7])
def test_who_finds_the_bench_full_is_counted_and_renders(most: int) -> None:
    async def crowd() -> tuple[int, int]:
        site = Slow(max_waiters=most)
        tasks = [asyncio.create_task(site.ask(scope("GET", "/page"))) for _ in range(20)]
        await becomes(lambda: site.renders == 20 - most)
        waited = site.waiting()
        site.go.set()
        await asyncio.gather(*tasks)
        return waited, site.cache.statistics()["bench-full"]

    assert asyncio.run(crowd()) == (most, 19 - most)
