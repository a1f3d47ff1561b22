"""The test language: pagegen's own scenarios are written in it, and yours can be.

A :class:`Scenario` wraps one handler with a cache, on either front, and sends it requests::

    scenario = Scenario("asgi", rules=[Rule(path="/a", share="public", ttl="1h")])
    scenario.handler = lambda seen: "hello"
    assert scenario.get("/a").trace == "uri-miss, stored"
    assert scenario.get("/a").trace == "hit"

Time stands still until :meth:`FakeClock.advance`. The handler runs in a thread of its own request,
so it may wait on barriers on both fronts. Nothing here opens a socket.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..asgi import PageCacheMiddleware as AsgiMiddleware
from ..asgi.types import Receive, Scope, Send
from ..cache import PageCache
from ..rules import Rule
from ..sources import Sources
from ..stores import MemoryStore, Store
from ..wsgi import PageCacheMiddleware as WsgiMiddleware
from ..wsgi.types import Environ, StartResponse
from .calling import Answer, call_asgi, call_wsgi, environ, scope
from .clock import FakeClock
from .loop import Loop

Front = Literal["wsgi", "asgi"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the handler saw it. ``context`` is its environ or scope."""

    method: str
    path: str
    query: str
    fields: Mapping[str, str]
    body: bytes
    context: Mapping[str, Any]


@dataclass(slots=True)
class Reply:
    """What a handler answers. A ``bytes`` body leaves in one piece, an iterable chunk by chunk."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    fields: list[tuple[str, str]] = field(default_factory=list)


Handler = Callable[[Seen], Reply | str | bytes]


def _reply(said: Reply | str | bytes) -> Reply:
    if isinstance(said, Reply):
        return said
    body = said.encode() if isinstance(said, str) else said
    return Reply(body, fields=[("Content-Type", "text/plain; charset=utf-8")])


class Scenario:
    """One handler behind one cache, on one front. Use as a context manager, or call ``close``.

    ``settings`` are those of :class:`~pagegen.PageCache`. ``store`` defaults to a memory store on
    the scenario's clock; ``renders`` counts how often the handler ran.
    """

    def __init__(
        self,
        front: Front,
        rules: Iterable[Rule] = (),
        *,
        store: Store | None = None,
        clock: FakeClock | None = None,
        **settings: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.renders = 0
        self.handler: Handler = lambda seen: f"page {self.renders}"
        self.front = front
        settings.setdefault("cache_status", True)
        self.cache = PageCache(
            rules,
            store=store or MemoryStore(now=self.clock),
            sources=Sources(now=self.clock),
            **settings,
        )
        self._counting = threading.Lock()
        self._loop = Loop() if front == "asgi" else None
        self.wsgi = WsgiMiddleware(self._wsgi_app, cache=self.cache)
        self.asgi = AsgiMiddleware(self._asgi_app, cache=self.cache)

    def __enter__(self) -> Scenario:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the scenario's event loop and close its store."""
        if self._loop is not None:
            self._loop.close()
        self.cache.close()

    def request(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send one request; may be called from many threads at once."""
        if self._loop is None:
            return call_wsgi(self.wsgi, environ(method, target, fields, body))
        made = scope(method, target, fields, body)
        return self._loop.run(call_asgi(self.asgi, made, body))

    def get(self, target: str, fields: Mapping[str, str] | None = None) -> Answer:
        """A GET."""
        return self.request("GET", target, fields)

    def post(self, target: str, fields: Mapping[str, str] | None = None) -> Answer:
        """A POST with a small body."""
        return self.request("POST", target, fields, b"x=1")

    def _run(self, seen: Seen) -> Reply:
        with self._counting:
            self.renders += 1
        return _reply(self.handler(seen))

    def _wsgi_app(self, made: Environ, start_response: StartResponse) -> Iterable[bytes]:
        fields = {
            key.removeprefix("HTTP_").lower().replace("_", "-"): value
            for key, value in made.items()
            if key.startswith("HTTP_")
        }
        reply = self._run(
            Seen(
                made["REQUEST_METHOD"],
                made["PATH_INFO"],
                made["QUERY_STRING"],
                fields,
                made["wsgi.input"].read(),
                made,
            )
        )
        start_response(f"{reply.status} Whatever", list(reply.fields))
        return [reply.body] if isinstance(reply.body, bytes) else iter(reply.body)

    async def _asgi_app(self, made: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        fields = {n.decode("latin-1"): v.decode("latin-1") for n, v in made["headers"]}
        query = made["query_string"].decode("latin-1")
        seen = Seen(made["method"], made["path"], query, fields, body, made)
        reply = await asyncio.to_thread(self._run, seen)
        lines = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in reply.fields]
        await send({"type": "http.response.start", "status": reply.status, "headers": lines})
        if isinstance(reply.body, bytes):
            await send({"type": "http.response.body", "body": reply.body})
            return
        chunks = iter(reply.body)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
