"""fast-cache-middleware 0.0.7: ``FastCacheMiddleware``, told by a dependency of each route.

As in its quick start. Its own ``redis`` extra wants redis-py 6.
"""

from __future__ import annotations

from typing import Any

from fast_cache_middleware import CacheConfig, FastCacheMiddleware
from fast_cache_middleware.storages import InMemoryStorage, RedisStorage
from fastapi.responses import HTMLResponse
from redis.asyncio import Redis

from .fastapis import fastapi
from .pages import CALLS, HOUR, SITE, address, by_store

#: Pages that the store in memory keeps: its default of 1000 would be too few for groups.
MAX_SIZE = 1_000_000


def storage(store: str) -> Any:
    """The storage of fast-cache-middleware on a store."""
    if store == "memory":
        return InMemoryStorage(max_size=MAX_SIZE)

    host, port = address(store)
    return RedisStorage(Redis(host=host, port=port), namespace=SITE)


def _build(store: str) -> Any:
    app = fastapi()
    app.add_middleware(FastCacheMiddleware, storage=storage(store))

    @app.get(
        "/items/{number}", response_class=HTMLResponse, dependencies=[CacheConfig(max_age=HOUR)]
    )
    async def item(number: int) -> str:
        return CALLS.render()

    return app


__getattr__ = by_store(_build, "memory", "redis")
