"""Passing on the response of a forward while it is collected for the cache."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from ..collecting import Collection
from ..engine import Engine
from ..exchange import Exchange
from ..law.storing import Refusal, end_to_end
from ..messages import Fields, Request, ResponseHead, wire_form
from ..status import Tell, appended, key_of, of_admitted, of_forward, of_rescue
from ..verdicts import Admitted, Refused, Ticket
from .responses import BESIDE, read_head, send_hit, send_page
from .types import Message, Send

#: Bytes of a body that is coded on the event loop, at half a millisecond: a hop to a thread and
#: back takes a fifth of that.
AT_ONCE: Final = 16_384


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
        tell: Tell,
        dated: bool,
    ) -> None:
        self._engine = engine
        self.ticket = ticket
        self._exchange = exchange
        self._request = request
        self._send = send
        self._tell = tell
        self._dated = dated
        self._start: Message | None = None
        self._head: ResponseHead | None = None
        self._collection: Collection | None = Collection(ticket.plan.rule.body_limit)
        self._declared: int | None = None
        self._taken = 0
        self._begun = False
        self._replacing = False
        self._validating = False
        self._complete = False
        #: Whether the application is to be asked once more, without condition.
        self.again = False

    async def send(self, message: Message) -> None:
        """The ``send`` of the application."""
        kind = message["type"]
        if kind == "http.response.body":
            self._taken += len(message.get("body", b""))
        if self._replacing:
            # Not later: what the application does after its response is not the client's business.
            if kind == "http.response.body" and not message.get("more_body", False):
                await self.rescue()
            return
        if self._validating:
            if kind == "http.response.body" and not message.get("more_body", False):
                await self._freshen()
        elif self._collection is None or kind in BESIDE:
            await self._pass(message)
        elif kind == "http.response.start" and self._start is None:
            await self._on_start(message, self._collection)
        elif kind == "http.response.body" and self._head is not None and not self._complete:
            await self._on_body(message, self._head, self._collection)
        else:
            await self._give_up(Refusal.EXTENSION)
            await self._pass(message)

    async def _pass(self, message: Message) -> None:
        whole = self._declared is not None and self._taken >= self._declared
        if whole or not message.get("more_body", False):
            await self._engine.settle(self._exchange)
        await self._send(message)

    async def _on_start(self, message: Message, collection: Collection) -> None:
        self._start, self._head = message, read_head(message)
        self._declared = storing.declared_length(self._head)
        if self._request.method == "HEAD":
            self._replacing = self._engine.replaces(self.ticket, self._head)
            if self._replacing:
                return
            self._collection = None
            await self._engine.consult(self.ticket, self._head)
            await self._begin()
            return
        if self._head.status == 304 and self.ticket.validating is not None:
            self._validating = True
            return
        collection.expect(self._head)
        refusal = self._engine.refusal(self.ticket, self._head)
        if message.get("trailers", False):
            refusal = Refusal.EXTENSION
        if refusal is not None and self._engine.replaces(self.ticket, self._head):
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
            await self._begin(self._engine.leaving_fields(self.ticket, self._request, head))
            await self._send(message)

    async def _finish(self, message: Message, head: ResponseHead, collection: Collection) -> None:
        body = collection.body()
        codings: tuple[tuple[str, bytes], ...] = ()
        if self._engine.worth_coding(self.ticket, head, len(body)):
            work = partial(self._engine.coded, self.ticket, body)
            codings = await asyncio.to_thread(work) if len(body) > AT_ONCE else work()
        outcome = await self._engine.admit(self.ticket, head, body, codings)
        await self._engine.settle(self._exchange)
        self._complete = True
        if isinstance(outcome, Admitted) and not self._begun:
            await self._send_admitted(outcome)
            return
        await self._begin(refused=outcome if isinstance(outcome, Refused) else None)
        held = collection.release()
        await self._send({**message, "body": held} if held else message)

    async def _send_admitted(self, outcome: Admitted) -> None:
        more = outcome.withheld
        if self._dated:
            more += (("Date", outcome.page.date),)
        if self._head is not None and self._head.has("age"):
            more += (("Age", str(int(outcome.page.initial_age))),)
        if self._tell and self._head is not None:
            told = self._tell
            more = appended(more, of_admitted(self.ticket, outcome, self._head.status, told))
        await send_page(self._send, self._request, outcome.page, wire_form(more))

    async def _freshen(self) -> None:
        """The application says that the page is still good: the client gets it."""
        self._complete = True
        outcome = None
        if self._head is not None:
            outcome = await self._engine.freshen(self.ticket, self._head)
        if outcome is None:
            self.again = True
            return
        await self._engine.settle(self._exchange)
        await self._send_admitted(outcome)

    async def _begin(self, fields: Fields | None = None, refused: Refused | None = None) -> None:
        """Send the head with the application's own or these fields, unless it has left already."""
        if self._begun or self._start is None or self._head is None:
            return
        self._begun = True
        sent = end_to_end(self._head.fields) if fields is None else fields
        if self._dated:
            sent = self._engine.dated(sent)
        elif fields is not None:
            # As on all hits to come: the server dates them.
            sent = tuple(pair for pair in sent if pair[0].lower() != "date")
        if self._tell:
            key = self.ticket.plan.slot if self._tell is Tell.ALL else None
            member = of_forward(self.ticket, refused, stored=False, key=key)
            sent = appended(sent, member)
        # A head is all that a client gets of some answers, and all it needs of a redirect.
        await self._engine.settle(self._exchange)
        await self._send({**self._start, "headers": list(wire_form(sent))})

    async def _give_up(self, refusal: Refusal) -> None:
        """Stop collecting: wake those who wait, and let go of what was held."""
        collection, self._collection = self._collection, None
        await self._begin(refused=await self._engine.abandon(self.ticket, refusal))
        held = collection.release() if collection is not None else b""
        if held:
            await self._send({"type": "http.response.body", "body": held, "more_body": True})

    async def close(self) -> None:
        """The application has returned: a body without an end is no page."""
        if self._replacing:
            await self.rescue()
        elif self._validating and not self._complete:
            await self._freshen()
        elif not self._complete and self._collection is not None:
            await self._give_up(Refusal.INCOMPLETE)

    async def rescue(self, error: Exception | None = None) -> bool:
        """Serve the expired page in place of a failure (RFC 5861 §4); False where it cannot be."""
        if self._begun or self._complete or self._collection is None:
            return False
        # A 5xx that was swallowed is replaced, whatever the application raises behind it.
        hit = self._engine.rescue(self.ticket, None if self._replacing else error)
        if hit is None:
            return False
        self._complete = True
        failed = self._head.status if self._replacing and self._head is not None else None
        key = key_of(hit.page, self._tell)
        member = of_rescue(hit, status=failed, key=key) if self._tell else None
        await send_hit(self._send, self._request, hit, member, dated=self._dated)
        return True

    async def settle(self) -> None:
        """Whatever happened: nobody is left waiting, and nothing stays owed."""
        if not self.ticket.settled:
            await self._engine.abandon(self.ticket, Refusal.FAILED)
        await self._engine.settle(self._exchange)
