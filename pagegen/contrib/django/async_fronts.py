"""The front inside Django's asynchronous stack; see :mod:`.fronts`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pagegen import asgi
from pagegen.asgi.requests import read_request
from pagegen.asgi.types import Message, Receive, Scope, Send
from pagegen.messages import SAFE_METHODS, Fields, Request, wire_form
from pagegen.status import Manner
from pagegen.verdicts import Ticket

from ...logs import logger
from .caches import DjangoPageCache
from .fronts import BEHIND, DOUBT
from .identity import PASSAGE
from .outside import Doubts, plainly
from .passage import PRIVATE, Afterwards, Forwarded, Passage
from .requests import AsyncPageRequest, scope_of
from .responses import awhole, dress, fields_of, finished, streams_on, watched
from .stack import may_begin_in_front

log = logger("pagegen.contrib.django")

AsyncGetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class _Sink:
    """What the front sends: a head, and all of a body."""

    def __init__(self) -> None:
        self.code = 0
        self.fields: Fields = ()
        self.body = b""

    async def send(self, message: Message) -> None:
        """The ``send`` of the front."""
        if message["type"] == "http.response.start":
            self.code = message["status"]
            lines = message["headers"]
            self.fields = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in lines)
        else:
            self.body += message.get("body", b"")


class AsyncFront(asgi.PageCacheMiddleware):
    """The ASGI front around the rest of an asynchronous stack."""

    def __init__(
        self, get_response: AsyncGetResponse, cache: DjangoPageCache, doubts: Doubts
    ) -> None:
        super().__init__(self._rest, cache=cache)
        self._doubts = doubts
        self._asks_thread = may_begin_in_front()
        self._get_response = get_response
        self._carry = cache.options.carry

    async def answer(self, passage: Passage, *, doubt: bool) -> HttpResponseBase:
        """The response to a request; ``doubt``: it must not be one from the cache."""
        scope = {**scope_of(passage.outer), PASSAGE: passage}
        sink = _Sink()
        if doubt:
            manner = self._manner or self._learn_manner(sink.send)
            told = DOUBT if manner.tell else None
            await self._bypass(scope, _never, sink.send, read_request(scope), told)
        else:
            await self(scope, _never, sink.send)
        if passage.bypassed is not None:
            dress(passage.bypassed, sink.code, "", sink.fields)
            return passage.bypassed
        return finished(passage, sink.code, "", sink.fields, sink.body)

    async def _rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The rest of Django's stack as an ASGI application."""
        way = scope[PASSAGE]
        if isinstance(way, Forwarded):
            await self._page(way, scope, send)
            return
        response: Any = await self._get_response(way.outer)
        way.bypassed = response
        if response.streaming and way.outer.method not in SAFE_METHODS:
            engine = self._engine if response.is_async else self.cache.engine
            response.streaming_content = watched(engine, response)
        await _say(send, response)
        # The content stays where it is.
        await send({"type": "http.response.body", "body": b""})

    async def _page(self, way: Forwarded, seen: Scope, send: Send) -> None:
        scope = {key: value for key, value in seen.items() if key != PASSAGE}
        inner = AsyncPageRequest(scope, way.passage.outer)
        way.prepare(inner)
        rest: Any = None
        body = b""
        with plainly():
            response: Any = await self._get_response(inner)
            if not response.streaming:
                body = response.content
            elif streams_on(response):
                rest = response
            else:
                read = await awhole(response, way.limit)
                body, rest = (read, None) if isinstance(read, bytes) else (b"", read)
        # Connections belong to threads: those of synchronous code are asked.
        begun = self._asks_thread and await sync_to_async(self._doubts.begun)()
        private = way.conclude(inner) or begun or rest is not None
        way.keep(response, inner, rest)
        await _say(send, response, (PRIVATE,) if private else ())
        await send({"type": "http.response.body", "body": body})

    def _seen(self, scope: Scope, request: Request, ticket: Ticket) -> Scope:
        seen = super()._seen(scope, request, ticket)
        seen[PASSAGE] = Forwarded(scope[PASSAGE], ticket.plan, self._carry, BEHIND in scope)
        return seen

    async def _refresh(
        self, scope: Scope, request: Request, ticket: Ticket, manner: Manner
    ) -> None:
        behind = {**scope, BEHIND: True}

        async def refresh() -> None:
            try:
                await self._forward(behind, _never, _Sink().send, request, ticket, manner)
            except Exception:
                log.exception("a page could not be refreshed behind its client's back")

        def work() -> None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                async_to_sync(refresh)()
                return
            task = loop.create_task(refresh())
            self._refreshing.add(task)
            task.add_done_callback(self._refreshing.discard)

        scope[PASSAGE].closers.append(Afterwards(work, self.cache, ticket))


async def _say(send: Send, response: HttpResponseBase, more: Fields = ()) -> None:
    lines = list(wire_form(fields_of(response) + more))
    status = response.status_code
    await send({"type": "http.response.start", "status": status, "headers": lines})


async def _never() -> Message:
    raise AssertionError("the rest of the stack reads the request that it was given")
