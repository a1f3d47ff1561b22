"""Dispatch of one ASGI connection on the engine's verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final, assert_never

from ..cache import PageCache
from ..exchange import Exchange, handling
from ..glancing import WEIGHED
from ..logs import logger
from ..messages import Request, StoredResponse, Target
from ..status import Manner, Tell
from ..verdicts import Bypass, Forward, Hit, NotCached, Stale, Ticket, Verdict, Wait
from .collector import Collector
from .requests import Silence, combined, request_of, target, view_scope
from .responses import (
    CONDITION_NAMES,
    PIECE,
    plain_start,
    send_hit,
    send_not_cached,
    send_pieces,
    server_dates,
)
from .types import ASGIApp, Message, Receive, Scope, Send
from .watcher import Watcher

#: Pages that are refreshed at one time; the others stay expired until somebody asks again.
MAX_REFRESHES: Final = 32

#: Request fields that a look-up has to weigh, and those that make an answer of their own besides.
_WEIGHED: Final = frozenset(name.encode("ascii") for name in WEIGHED)
_SPEAKING: Final = _WEIGHED | CONDITION_NAMES

log = logger("pagegen.asgi")


class PageCacheMiddleware:
    """Answers from the cache what it can, and runs the application for the rest."""

    def __init__(self, app: ASGIApp, *, cache: PageCache) -> None:
        if not isinstance(cache, PageCache):
            raise TypeError(f"cache is {cache!r}: build it with PageCache.from_toml(...)")
        self.app = app
        self.cache = cache
        self._engine = cache.on_loop
        settings = cache.engine.settings
        self._debugs = bool(settings.secret)
        self._tell = Tell.OUTCOME if settings.cache_status else Tell.NOTHING
        #: How requests are answered; None until it was seen whether the server dates answers.
        self._manner: Manner | None = None
        if settings.date != "auto":
            self._manner = Manner(self._tell, settings.date == "send")
        self._dated = settings.date == "send"
        self._glance = self._engine.glance
        self._now = self._engine.now
        self._lifespan_state: MutableMapping[str, Any] = {}
        self._refreshing: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan" and "state" in scope:
                self._lifespan_state = scope["state"]
            await self.app(scope, receive, send)
            return
        try:
            wire = combined(scope["headers"])
            asked = target(scope, wire)
            page = self._glimpse(asked, wire)
            if page is None:
                request = request_of(scope, asked, wire)
        except Exception:
            # No request that anybody could key: the application may know better.
            await self.app(scope, receive, send)
            return
        if page is None:
            await self._serve(scope, receive, send, request, wire)
            return
        await send(plain_start(page, wire, self._now(), self._dated))
        body = b"" if asked[0] == "HEAD" else page.body
        if len(body) <= PIECE:
            await send({"type": "http.response.body", "body": body})
        else:
            await send_pieces(send, body)

    def _glimpse(self, asked: Target, wire: Mapping[bytes, bytes]) -> StoredResponse | None:
        """The page for a request that says nothing but what it wants, and gets it as it stands."""
        manner = self._manner
        if manner is None or manner.tell or not _SPEAKING.isdisjoint(wire):
            return None
        return self._glance.plain(asked)

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request: Request,
        wire: Mapping[bytes, bytes],
    ) -> None:
        """Any other request."""
        manner = self._manner or self._learn_manner(send)
        if self._debugs:
            manner = Manner(self._engine.tells(request), manner.dated)
        found = self._glance.look(request) if _WEIGHED.isdisjoint(wire) else None
        verdict: Verdict
        if isinstance(found, Hit):
            verdict = found
        else:
            verdict = await self._engine.look_up(request, plan=found)
        while isinstance(verdict, Wait):
            await self._wait(verdict)
            verdict = await self._engine.look_up(request, verdict)
        if isinstance(verdict, Hit):
            if verdict.ticket is not None:
                await self._refresh(scope, request, verdict.ticket, manner)
            member = manner.of_hit(verdict)
            await send_hit(send, request, verdict, member, dated=manner.dated)
        elif isinstance(verdict, Forward):
            await self._forward(scope, receive, send, request, verdict.ticket, manner)
        elif isinstance(verdict, Stale):
            if verdict.ticket is not None:
                await self._refresh(scope, request, verdict.ticket, manner)
            member = manner.of_hit(verdict)
            await send_hit(send, request, verdict, member, dated=manner.dated)
        elif isinstance(verdict, Bypass):
            await self._bypass(scope, receive, send, request, verdict if manner.tell else None)
        elif isinstance(verdict, NotCached):
            await send_not_cached(send, request)
        else:
            assert_never(verdict)

    def _learn_manner(self, send: Send) -> Manner:
        self._dated = not server_dates(send)
        self._manner = Manner(self._tell, self._dated)
        return self._manner

    async def _wait(self, wait: Wait) -> None:
        """Until the flight has ended or patience has; the engine looks at what came of it."""
        loop = asyncio.get_running_loop()
        landed: asyncio.Future[None] = loop.create_future()

        def land() -> None:
            if not landed.done():
                landed.set_result(None)

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed on those who wait
                loop.call_soon_threadsafe(land)

        wait.flight.listen(wake)
        try:
            await asyncio.wait((landed,), timeout=max(0.0, wait.until - monotonic()))
        except BaseException:
            self._engine.leave(wait)
            raise
        finally:
            wait.flight.unlisten(wake)

    async def _bypass(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request: Request,
        told: Bypass | None,
    ) -> None:
        exchange = Exchange(self._engine.realm)
        watcher = Watcher(self._engine, exchange, request, send, told)
        try:
            with handling(exchange):
                await self.app(scope, receive, watcher.send)
        finally:
            try:
                await watcher.settle()
            finally:
                exchange.end()

    async def _forward(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request: Request,
        ticket: Ticket,
        manner: Manner,
    ) -> None:
        plan = ticket.plan
        exchange = Exchange(self._engine.realm, plan.slot, plan.namespaces)
        collector = Collector(self._engine, ticket, exchange, request, send, manner)
        try:
            await self._run(scope, receive, request, exchange, collector)
            if collector.again:
                # What it said of a condition was about another page.
                ticket.validating = None
                collector = Collector(self._engine, ticket, exchange, request, send, manner)
                await self._run(scope, receive, request, exchange, collector)
        except Exception as error:
            if not await collector.rescue(error):
                raise
            log.exception("the application failed; an expired page was served in its place")
        finally:
            try:
                await collector.settle()
            finally:
                exchange.end()

    async def _run(
        self,
        scope: Scope,
        receive: Receive,
        request: Request,
        exchange: Exchange,
        collector: Collector,
    ) -> None:
        """Run the application once, with the view of this request."""
        seen = self._seen(scope, request, collector.ticket)
        with handling(exchange):
            await self.app(seen, Silence(receive, collector.left), collector.send)
        await collector.close()

    def _seen(self, scope: Scope, request: Request, ticket: Ticket) -> Scope:
        return view_scope(scope, self._engine.view(ticket, request), self._lifespan_state)

    async def _refresh(
        self, scope: Scope, request: Request, ticket: Ticket, manner: Manner
    ) -> None:
        """Render a page anew while its old self is served (RFC 5861 §3)."""
        if len(self._refreshing) >= MAX_REFRESHES:
            self._engine.decline(ticket)
            await self._engine.give_back(ticket)
            return

        async def nowhere(_message: Message) -> None: ...

        async def refresh() -> None:
            try:
                await self._forward(scope, _never, nowhere, request, ticket, manner)
            except Exception:
                log.exception("a page could not be refreshed behind its client's back")

        task = asyncio.create_task(refresh())
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)


async def _never() -> Message:
    """The client of a refresh: it sends nothing and never leaves."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")
