"""cashews 7: the cache's decorator on a handler, which stores the handler's response.

As in "FastAPI" of its documentation, under Starlette, which is quicker, and without its three
middlewares: they answer ``If-None-Match`` and ``Cache-Control``, and store nothing. ``redis_near``
is its client-side cache, which holds pages in the process until Redis says that they are old.
"""

from __future__ import annotations

from typing import Any

from cashews import Cache
from starlette.responses import HTMLResponse

from .pages import CALLS, HOUR, SITE, address, by_store
from .starlettes import starlette


def opened(store: str, **settings: Any) -> Any:
    """A cache of cashews on a store."""
    cache = Cache()
    if store == "memory":
        cache.setup("mem://", **settings)
    else:
        near = {"client_side": True, "client_side_prefix": f"{SITE}:"}
        more = {**settings, **(near if store == "redis_near" else {})}
        cache.setup(f"redis://{address('redis').text}/0", **more)
    return cache


def _build(store: str) -> Any:
    cache = opened(store)

    @cache(ttl=HOUR, key=f"{SITE}:items:{{number}}")
    async def page(number: int) -> Any:
        return HTMLResponse(CALLS.render())

    return starlette(page)


__getattr__ = by_store(_build, "memory", "redis", "redis_near")
