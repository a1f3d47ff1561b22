"""FastAPI, and Starlette: the cache around an application, and at hand in its handlers.

::

    app = FastAPI()
    install(app, PageCache.from_toml("pagegen.toml"))

    @app.post("/items/{item}")
    async def change(item: int, cache: Pages):
        ...                                       # commit
        await cache.ainvalidate(f"item:{item}")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import Depends
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from ..asgi import PageCacheMiddleware
from ..cache import PageCache

#: What the cache is called in ``app.state`` and ``request.state``.
KEY: Final = "pagegen"


def install(app: Starlette, cache: PageCache) -> PageCache:
    """Put a cache around an application, and at hand as ``app.state.pagegen``; returns it.

    It is the last middleware to add: those that are added after it are outside, and run for hits
    too. Raises ``RuntimeError`` for a second cache, and once the application has begun to answer.
    """
    if getattr(app.state, KEY, None) is not None:
        raise RuntimeError("this application has a page cache already. Call install once for each")
    app.add_middleware(PageCacheMiddleware, cache=cache)
    setattr(app.state, KEY, cache)
    _reach_states(app, cache)
    return cache


def get_cache(connection: HTTPConnection) -> PageCache:
    """The cache of the application that answers this request; for ``Depends(get_cache)``.

    In a mounted application it finds that of the outer one. Raises ``RuntimeError`` without one.
    """
    cache: PageCache | None = getattr(connection.app.state, KEY, None)
    cache = cache or getattr(connection.state, KEY, None)
    if cache is None:
        raise RuntimeError("this application has no page cache. Call install(app, cache)")
    return cache


#: The type of a handler's parameter that is given the cache.
Pages = Annotated[PageCache, Depends(get_cache)]


def _reach_states(app: Starlette, cache: PageCache) -> None:
    """Have the lifespan put the cache into each request's state: mounted applications, whose own
    ``app.state`` is another, find it there.
    """
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(started: Any) -> AsyncIterator[Mapping[str, Any]]:
        async with inner(started) as state:
            yield {**(state or {}), KEY: cache}

    app.router.lifespan_context = lifespan
