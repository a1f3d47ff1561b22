"""The proxy as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, cast
from weakref import WeakKeyDictionary

import httpx

from ...asgi.types import ASGIApp, Message, Receive, Scope, Send
from .heads import Head, framing, raw_path, target
from .origin import OriginError, Proxy, UnsendableError


class _ClientGoneError(Exception):
    """Nobody waits for the response any more."""


class ReverseProxy(Proxy):
    """Passes each request to the origin, and the response back, as they come.

    Connections belong to an event loop: they are opened at first use, and closed when the lifespan
    ends or by :meth:`aclose`. A client that leaves ends the connection to the origin as well.
    """

    def __init__(self, origin: str, **options: Any) -> None:
        super().__init__(origin, **options)
        self._transports: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncHTTPTransport] = (
            WeakKeyDictionary()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection. Raises ``OriginError``; WebSockets are refused."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        elif scope["method"] == "CONNECT":
            await _answer(send, 501, "this is no tunnel")
        else:
            await _Exchange(self, scope, receive, send).run()

    async def _live(self, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    @property
    def transport(self) -> httpx.AsyncHTTPTransport:
        """The connections of the running event loop."""
        loop = asyncio.get_running_loop()
        if (found := self._transports.get(loop)) is None:
            found = httpx.AsyncHTTPTransport(**self.transport_options())
            self._transports[loop] = found
        return found

    async def aclose(self) -> None:
        """Close all connections of the running event loop."""
        found = self._transports.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.aclose()


class _Upload(httpx.AsyncByteStream):
    """The body of a request. The first message is read at once: it tells whether there is more."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._first: Message = {}
        #: Set when nobody reads the body any more, so that others may call ``receive``.
        self.over = asyncio.Event()

    async def begin(self) -> int | None:
        """The length of the body if it has all come already, else None."""
        self._first = await self._next()
        return None if self._first.get("more_body") else len(self._first.get("body", b""))

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        return message

    async def __aiter__(self) -> AsyncIterator[bytes]:
        message, self._first = self._first, {}
        while True:
            if body := message.get("body"):
                yield bytes(body)
            if not message.get("more_body"):
                break
            message = await self._next()
        self.over.set()


class _Exchange:
    """One request and its response."""

    def __init__(self, proxy: ReverseProxy, scope: Scope, receive: Receive, send: Send) -> None:
        self._proxy = proxy
        self._scope = scope
        self._receive = receive
        self._send = send
        self._upload = _Upload(receive)

    async def run(self) -> None:
        """Raises ``OriginError``; returns when the client has left."""
        failure: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._watch())
                try:
                    await self._pass(watcher)
                except Exception as error:  # kept out of the group, which would wrap it
                    failure = error
                watcher.cancel()
        except* _ClientGoneError:
            pass
        if failure is not None and not isinstance(failure, _ClientGoneError):
            raise failure

    async def _watch(self) -> None:
        """Ends this exchange when the client leaves."""
        await self._upload.over.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise _ClientGoneError

    async def _pass(self, watcher: asyncio.Task[None]) -> None:
        try:
            response = await self._ask()
        except UnsendableError as error:
            await _answer(self._send, 400, str(error))
            return
        self._upload.over.set()
        body = cast(httpx.AsyncByteStream, response.stream)
        try:
            last = await self._relay(self._proxy.head(self._scope["method"], response), body)
        finally:
            await body.aclose()
        # All is there: from now on a server may call the client gone although it is content.
        # Nor must anything be left to do after the last byte: a cache would have to take that for
        # a commit, and forget again what this request has written, and the next has rendered.
        watcher.cancel()
        await asyncio.wait((watcher,))
        await self._send({"type": "http.response.body", "body": last})

    async def _ask(self) -> httpx.Response:
        scope = self._scope
        whole = await self._upload.begin()
        lines = [(bytes(name), bytes(value)) for name, value in scope["headers"]]
        path = raw_path(scope["path"].encode("utf-8", "replace"), scope.get("raw_path"))
        request = self._proxy.request(
            scope["method"],
            target(path, scope.get("query_string", b"")),
            lines,
            framing(lines, whole),
            self._upload,
        )
        with self._proxy.failures():
            return await self._proxy.transport.handle_async_request(request)

    async def _relay(self, head: Head, body: httpx.AsyncByteStream) -> bytes:
        """Send all but the last piece, which is returned when the origin has ended the body.

        Who has the last byte of a body of known length has it all: it must not leave before the
        end is known, nor before the connection can serve the client's next request.
        """
        lines = [(name.lower(), value) for name, value in head.fields]
        await self._send({"type": "http.response.start", "status": head.status, "headers": lines})
        left, last = head.length, b""
        pieces = self._pieces(body)
        async for piece in pieces:
            if left is not None and (left := left - len(piece)) <= 0:
                last = piece
                break
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        async for _ in pieces:
            pass
        return last

    async def _pieces(self, body: httpx.AsyncByteStream) -> AsyncIterator[bytes]:
        with self._proxy.failures():
            async for piece in body:
                yield piece


async def _answer(send: Send, status: int, text: str) -> None:
    body = f"{status} {HTTPStatus(status).phrase}: {text}\n".encode()
    fields = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


class GatewayErrors:
    """Answers 502 or 504 (RFC 9110 §15.6) where the application raises ``OriginError`` instead of
    a response. It belongs outside of the cache, for which a failure is no response.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection. Raises ``OriginError`` once the response has started."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except OriginError as error:
            if started:
                raise
            await _answer(send, error.status, str(error))
