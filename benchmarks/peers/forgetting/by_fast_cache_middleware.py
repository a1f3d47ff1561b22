"""fast-cache-middleware: what ``CacheDropConfig(paths=[…])`` does, ``storage.delete(pattern)``."""

from __future__ import annotations

import re
from typing import Any, Final

from fast_cache_middleware.exceptions import FastCacheMiddlewareError
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ..fast_cache_middleware import storage
from ..pages import HOUR, SITE
from . import OURS, USERS, AwaitedGroup, batches

_NOTHING: Final = "number"


class Paths(AwaitedGroup):
    """Every stored page is read, and its path compared with a pattern; on Redis over the wire."""

    _storage: Any

    async def open(self, store: str) -> None:
        """See :meth:`AwaitedGroup.open`."""
        self._storage = storage(store)

    async def fill_soon(self, pages: int) -> None:
        """See :meth:`Group.fill`."""
        write = self._write_pipelined if hasattr(self._storage, "exists") else self._write
        for user in USERS:
            for batch in batches(pages):
                await write(user, batch)

    async def _write(self, user: int, batch: list[int]) -> None:
        for number in batch:
            await self._store(user, number)

    async def _write_pipelined(self, user: int, batch: list[int]) -> None:
        """As its serializer writes them, with other numbers in the path."""
        request, response = _request(user, _NOTHING), self._response()
        text = await self._storage._serializer.dumps(response, request, {"ttl": HOUR})
        async with self._storage._storage.pipeline(transaction=False) as pipe:
            for number in batch:
                value = text.replace(_path(user, _NOTHING), _path(user, number))
                pipe.set(f"{SITE}:{_path(user, number)}", value, ex=HOUR)
            await pipe.execute()

    def _response(self) -> Any:
        return HTMLResponse(self.render())

    async def _store(self, user: int, number: int) -> None:
        request, response = _request(user, number), self._response()
        await self._storage.set(_path(user, number), response, request, {"ttl": HOUR})

    async def visit_soon(self, user: int, number: int) -> None:
        """See :meth:`Group.visit`."""
        try:
            await self._storage.get(_path(user, number))
        except FastCacheMiddlewareError:
            await self._store(user, number)

    async def forget_soon(self) -> None:
        """See :meth:`Group.forget`."""
        await self._storage.delete(re.compile(f"^/users/{OURS}/"))


def _path(user: int, number: int | str) -> str:
    return f"/users/{user}/{number}"


def _request(user: int, number: int | str) -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "server": ("shop.example", 80),
        "path": _path(user, number),
        "query_string": b"",
        "headers": [(b"host", b"shop.example")],
    }
    return Request(scope, receive)
