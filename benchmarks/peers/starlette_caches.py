"""starlette-caches 0.4: ``CacheMiddleware`` around an application, on aiocache's stores.

As in its quickstart, with a rule that names the pages and their hour. It needs Starlette 0.
"""

from __future__ import annotations

import re
from typing import Any

from aiocache import Cache
from starlette.responses import HTMLResponse
from starlette_caches.middleware import CacheMiddleware
from starlette_caches.rules import Rule

from .aiocaches import options
from .pages import CALLS, HOUR, by_store
from .starlettes import starlette


def _build(store: str) -> Any:
    async def page(_number: int) -> Any:
        return HTMLResponse(CALLS.render())

    found = options(store)
    cache = Cache(found.pop("cache"), **found)
    rules = [Rule(match=re.compile("/items/"), ttl=HOUR)]
    return CacheMiddleware(starlette(page), cache=cache, rules=rules)


__getattr__ = by_store(_build, "memory", "memcached", "redis")
