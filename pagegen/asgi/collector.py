"""Passing on the response of a forward while it is collected for the cache."""

from __future__ import annotations

from .. import status
from ..collecting import Collection
from ..engine import Engine
from ..exchange import Exchange
from ..law.storing import Refusal
from ..messages import Fields, Request, ResponseHead, wire_form
from ..verdicts import Admitted, Refused, Ticket
from .responses import BESIDE, read_head, send_hit, send_page
from .types import Message, Send


class Collector:
    """Passes a response on piece by piece while collecting it, and admits it before its last byte.

    The head is held until the first body message (ASGI asks servers for no less), so a page whose
    body comes in one piece leaves with its validator, or as the 304 that the client asked for.
    ``_collection`` is None once the response cannot be stored: then all passes straight through.
    """

    def __init__(
        self,
        engine: Engine,
        ticket: Ticket,
        exchange: Exchange,
        request: Request,
        send: Send,
    ) -> None:
        self._engine = engine
        self._ticket = ticket
        self._exchange = exchange
        self._request = request
        self._send = send
        self._tell = engine.settings.cache_status
        self._start: Message | None = None
        self._head: ResponseHead | None = None
        self._collection: Collection | None = Collection(ticket.plan.rule.body_limit)
        self._begun = False
        self._replacing = False
        self._complete = False

    async def send(self, message: Message) -> None:
        """The ``send`` of the application."""
        kind = message["type"]
        if self._replacing:
            # Not later: what the application does after its response is not the client's business.
            if kind == "http.response.body" and not message.get("more_body", False):
                await self.rescue()
            return
        if self._collection is None or kind in BESIDE:
            await self._pass(message)
        elif kind == "http.response.start" and self._start is None:
            await self._on_start(message, self._collection)
        elif kind == "http.response.body" and self._head is not None and not self._complete:
            await self._on_body(message, self._head, self._collection)
        else:
            await self._give_up(Refusal.EXTENSION)
            await self._pass(message)

    async def _pass(self, message: Message) -> None:
        if not message.get("more_body", False):
            await self._engine.settle(self._exchange)
        await self._send(message)

    async def _on_start(self, message: Message, collection: Collection) -> None:
        self._start, self._head = message, read_head(message)
        collection.expect(self._head)
        refusal = self._engine.refusal(self._ticket, self._head)
        if message.get("trailers", False):
            refusal = Refusal.EXTENSION
        if refusal is not None and self._head.status >= 500 and self._ticket.fallback:
            self._replacing = True
        elif refusal is not None:
            await self._give_up(refusal)

    async def _on_body(self, message: Message, head: ResponseHead, collection: Collection) -> None:
        refusal = collection.take(bytes(message.get("body", b"")))
        if refusal is not None:
            await self._give_up(refusal)
            await self._pass(message)
        elif not message.get("more_body", False):
            await self._finish(message, head, collection)
        elif not collection.holding:
            await self._begin(self._engine.leaving_fields(self._ticket, head))
            await self._send(message)

    async def _finish(self, message: Message, head: ResponseHead, collection: Collection) -> None:
        outcome = await self._engine.admit(self._ticket, head, collection.body())
        await self._engine.settle(self._exchange)
        self._complete = True
        if isinstance(outcome, Admitted) and not self._begun:
            telling = status.of_forward(self._ticket, None, stored=True)
            more = ((b"cache-status", telling.encode("ascii")),) if self._tell else ()
            await send_page(self._send, self._request, outcome.page, more)
            return
        await self._begin(refused=outcome if isinstance(outcome, Refused) else None)
        held = collection.release()
        await self._send({**message, "body": held} if held else message)

    async def _begin(self, fields: Fields | None = None, refused: Refused | None = None) -> None:
        """Send the head with the application's own or these fields, unless it has left already."""
        if self._begun or self._start is None or self._head is None:
            return
        self._begun = True
        sent = self._head.fields if fields is None else fields
        if self._tell:
            sent += (("Cache-Status", status.of_forward(self._ticket, refused, stored=False)),)
        await self._send({**self._start, "headers": list(wire_form(sent))})

    async def _give_up(self, refusal: Refusal) -> None:
        """Stop collecting: wake those who wait, and let go of what was held."""
        collection, self._collection = self._collection, None
        await self._begin(refused=await self._engine.abandon(self._ticket, refusal))
        held = collection.release() if collection is not None else b""
        if held:
            await self._send({"type": "http.response.body", "body": held, "more_body": True})

    async def close(self) -> None:
        """The application has returned: a body without an end is no page."""
        if self._replacing:
            await self.rescue()
        elif not self._complete and self._collection is not None:
            await self._give_up(Refusal.INCOMPLETE)

    async def rescue(self, error: Exception | None = None) -> bool:
        """Serve the expired page in place of a failure (RFC 5861 §4); False where it cannot be."""
        if self._begun or self._complete or self._collection is None:
            return False
        # A 5xx that was swallowed is replaced, whatever the application raises behind it.
        hit = self._engine.rescue(self._ticket, None if self._replacing else error)
        if hit is None:
            return False
        self._complete = True
        await send_hit(self._send, self._request, hit, tell=self._tell)
        return True

    async def settle(self) -> None:
        """Whatever happened: nobody is left waiting, and nothing stays owed."""
        if not self._ticket.settled:
            await self._engine.abandon(self._ticket, Refusal.FAILED)
        await self._engine.settle(self._exchange)
