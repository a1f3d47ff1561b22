"""Litestar 2: the response cache of its route handlers, ``cache=`` seconds.

As in "Caching" of its documentation; the store is named in ``stores``. Its own ``redis`` extra
wants redis-py before 5.3.
"""

from __future__ import annotations

from typing import Any

from litestar import Litestar, MediaType, get
from litestar.stores.memory import MemoryStore
from litestar.stores.redis import RedisStore

from .pages import CALLS, HOUR, SITE, address, by_store


def _store(store: str) -> Any:
    if store == "memory":
        return MemoryStore()

    return RedisStore.with_client(f"redis://{address(store).text}/0", namespace=SITE)


def _build(store: str) -> Any:
    @get("/items/{number:int}", cache=HOUR, media_type=MediaType.HTML)
    async def item(number: int) -> str:
        return CALLS.render()

    @get("/calls", media_type=MediaType.TEXT)
    async def calls() -> str:
        return CALLS.text()

    stores = {"response_cache": _store(store)}
    return Litestar([item, calls], stores=stores, openapi_config=None)


__getattr__ = by_store(_build, "memory", "redis")
