"""The last byte waits for a store that takes its time, and nobody else waits with it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pagegen.stores import MemoryStore
from pagegen.testing import PATIENCE, Reply, call_asgi
from pagegen.testing import scope as make_scope
from tests.conftest import MakeScenario
from tests.scenarios.test_order_on_the_wire import (
    FRESH,
    OPEN,
    SIZED,
    Receiving,
    receive,
    receive_asgi,
)


class Slow(MemoryStore):
    """Takes its time to write, as a server over a network does, while other requests are served."""

    def __init__(self) -> None:
        super().__init__()
        self.began = threading.Event()
        self.may_end = threading.Event()

    async def write_page(self, *arguments: Any) -> bool:
        self._wait()
        return await super().write_page(*arguments)

    async def replace_tokens(self, *arguments: Any) -> None:
        self._wait()
        await super().replace_tokens(*arguments)

    def _wait(self) -> None:
        self.began.set()
        assert self.may_end.wait(PATIENCE)


@pytest.mark.parametrize("front", ["wsgi"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_last_byte_waits_for_a_store_that_takes_its_time(
    scenario: MakeScenario, method: str
) -> None:
    store = Slow()
    stage = scenario(OPEN, store=store)
    stage.handler = lambda seen: Reply([b"hel", b"lo"], fields=[SIZED, FRESH])
    received = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(receive, stage, received.set, method)
        assert store.began.wait(PATIENCE)
        assert not received.is_set()
        store.may_end.set()
        asking.result(PATIENCE)
    assert received.is_set()


@pytest.mark.parametrize("front", ["asgi"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_last_byte_waits_for_a_store_that_suspends(scenario: MakeScenario, method: str) -> None:
    """And meanwhile other requests of the loop are served."""

    class Suspending(MemoryStore):
        began: asyncio.Event
        may_end: asyncio.Event

        async def write_page(self, *arguments: Any) -> bool:
            await self._suspend()
            return await super().write_page(*arguments)

        async def replace_tokens(self, *arguments: Any) -> None:
            await self._suspend()
            await super().replace_tokens(*arguments)

        async def _suspend(self) -> None:
            self.began.set()
            await self.may_end.wait()

    store = Suspending()
    stage = scenario(OPEN, store=store)
    stage.handler = lambda seen: Reply([b"hel", b"lo"], fields=[SIZED, FRESH])
    received: list[bool] = []
    client = Receiving(method, lambda: received.append(True))

    async def check() -> None:
        store.began, store.may_end = asyncio.Event(), asyncio.Event()
        asking = asyncio.ensure_future(receive_asgi(stage, client, make_scope(method, "/page")))
        await store.began.wait()
        assert (await call_asgi(stage.asgi, make_scope("GET", "/elsewhere"))).body == b"hello"
        assert received == []
        store.may_end.set()
        await asking

    assert stage._loop is not None
    stage._loop.run(check())
    assert received == [True]
