"""fastapi-cache2 0.2: its ``cache`` decorator on a FastAPI handler.

As in its example for HTML: ``PickleCoder``, and the class of the response on the route. Its
own ``redis`` extra wants redis-py 4.
"""

from __future__ import annotations

from typing import Any

from aiomcache import Client
from fastapi.responses import HTMLResponse
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.backends.memcached import MemcachedBackend
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.coder import PickleCoder
from fastapi_cache.decorator import cache
from redis.asyncio import Redis

from .fastapis import fastapi
from .pages import CALLS, CONNECTIONS, HOUR, SITE, address, by_store


def backend(store: str) -> Any:
    """The backend of fastapi-cache2 on a store."""
    match store:
        case "memcached":
            host, port = address(store)
            return MemcachedBackend(Client(host, port, pool_size=CONNECTIONS))
        case "redis":
            host, port = address(store)
            return RedisBackend(Redis(host=host, port=port))
        case _:
            return InMemoryBackend()


def _build(store: str) -> Any:
    app = fastapi()
    FastAPICache.init(backend(store), prefix=SITE, coder=PickleCoder, expire=HOUR)

    @app.get("/items/{number}", response_class=HTMLResponse)
    @cache()
    async def item(number: int) -> str:
        return CALLS.render()

    return app


__getattr__ = by_store(_build, "memory", "memcached", "redis")
