"""Passing on the response of a bypass, and of every write."""

from __future__ import annotations

import asyncio

from .. import status
from ..engine import Engine
from ..exchange import Exchange
from ..law.storing import declared_length
from ..messages import SAFE_METHODS, Request, wire_form
from ..verdicts import Bypass
from .responses import BESIDE, passing, read_head
from .types import Message, Send


class Watcher:
    """Passes a response on untouched, and invalidates what is owed before its head leaves, and
    before its last byte.

    The head of such a response is held until the next message. ASGI asks no less of servers, but
    uvicorn sends it at once: it is all that a client gets of a 204, and all it needs of a redirect.
    """

    def __init__(
        self,
        engine: Engine,
        exchange: Exchange,
        request: Request,
        send: Send,
        told: Bypass | None,
    ) -> None:
        self._engine = engine
        self._exchange = exchange
        self._request = request
        self._send = send
        self._told = told
        self._writing = request.method not in SAFE_METHODS
        self._declared: int | None = None
        self._sent = 0
        self._goes_on = True
        self._echo: asyncio.Handle | None = None
        self._held: Message | None = None

    async def send(self, message: Message) -> None:
        """The ``send`` of the application."""
        held, self._held = self._held, None
        if message["type"] == "http.response.start":
            message = self._started(message)
            if held is None and self._exchange.owed:
                self._held = message
                return
        last = self._ends(message)
        if held is not None or last:
            await self._engine.settle(self._exchange)
        if held is not None:
            await self._send(held)
        await self._send(message)
        if last:
            self._listen()

    def _started(self, message: Message) -> Message:
        """The head as it leaves. What it owes is owed now."""
        # The headers may be an iterator, which is read more than once here.
        message = {**message, "headers": passing(message.get("headers", ()))}
        head = read_head(message) if self._writing else None
        if head is not None:
            self._declared = declared_length(head)
        more = self._engine.answered(self._exchange, self._request, head)
        message["headers"] += wire_form(more)
        if self._told is not None:
            member = status.of_bypass(self._told)
            message["headers"] = list(status.appended_wire(message["headers"], member))
        return message

    def _ends(self, message: Message) -> bool:
        """Whether the client has the whole body with this message."""
        kind = message["type"]
        return kind != "http.response.start" and kind not in BESIDE and self._is_last(message)

    def _is_last(self, message: Message) -> bool:
        if message["type"] != "http.response.body":
            return True  # an extension that sends a body of its own
        self._sent += len(message.get("body", b""))
        whole = self._declared is not None and self._sent >= self._declared
        return whole or not message.get("more_body", False)

    def _listen(self) -> None:
        """Notice whether the application goes on after its last byte: it may commit that late."""
        if self._echo is not None:
            self._echo.cancel()
        try:
            self._echo = asyncio.get_running_loop().call_soon(self._hear)
        except RuntimeError:  # a server on another kind of loop (trio): taken to go on
            return
        self._goes_on = False

    def _hear(self) -> None:
        self._goes_on = True

    async def settle(self) -> None:
        """The application has ended: invalidate once more what it invalidated while it ran.

        Not if it ended with its last byte, before which that was done: the next visitor may have
        rendered the page already, and would do so for nothing.
        """
        if self._echo is not None:
            self._echo.cancel()
        if self._goes_on or self._exchange.unsettled:
            await self._engine.settle(self._exchange)
        held, self._held = self._held, None
        if held is not None:
            await self._send(held)
