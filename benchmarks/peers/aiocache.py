"""aiocache 0.12: the ``cached`` decorator on a coroutine that renders a page's text.

As in its examples for web frameworks, which know neither Starlette nor FastAPI: here Starlette
answers the text. On servers text is stored with the ``StringSerializer``, the cheapest that fits:
the default would turn it into JSON.
"""

from __future__ import annotations

from typing import Any

from aiocache import cached
from aiocache.serializers import NullSerializer, StringSerializer
from starlette.responses import HTMLResponse

from .aiocaches import options
from .pages import CALLS, HOUR, by_store
from .starlettes import starlette


def _key(_page: Any, number: int) -> str:
    return f"items/{number}"


def _build(store: str) -> Any:
    serializer = NullSerializer() if store == "memory" else StringSerializer()

    @cached(ttl=HOUR, key_builder=_key, serializer=serializer, **options(store))
    async def render(number: int) -> str:
        return CALLS.render()

    async def page(number: int) -> Any:
        return HTMLResponse(await render(number))

    return starlette(page)


__getattr__ = by_store(_build, "memory", "memcached", "redis")
