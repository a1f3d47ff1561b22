"""Passing on the response of a forward while it is collected for the cache."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Final

from ..collecting import Collection
from ..engine import Engine
from ..exchange import Exchange
from ..law.storing import Refusal, declared_length
from ..law.validation import unchanged, without_content
from ..messages import Fields, Request, ResponseHead, wire_form
from ..status import Manner
from ..verdicts import Admitted, Course, Refused, Ticket
from .responses import BESIDE, read_head, send_hit, send_page
from .types import Message, Send

#: Bytes of a body that is coded on the event loop, at half a millisecond: a hop to a thread and
#: back takes a fifth of that.
AT_ONCE: Final = 16_384


class Collector:
    """Passes a response on piece by piece while collecting it, and admits it before its last byte;
    where nobody said how long the body is, when the application has returned.

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
        manner: Manner,
    ) -> None:
        self._engine = engine
        self.ticket = ticket
        self._exchange = exchange
        self._request = request
        self._send = send
        self._manner = manner
        self._start: Message | None = None
        self._head: ResponseHead | None = None
        self._collection: Collection | None = engine.collection(ticket)
        self._declared: int | None = None
        self._taken = 0
        self._begun = False
        #: Whether the head left as a 304 in place of a response that is not stored.
        self._unchanged = False
        self._course: Course | Refusal | None = None
        self._complete = False
        #: The end of a body in pieces that nobody said the length of. It counts when the
        #: application has returned: Starlette's BaseHTTPMiddleware ends the body of a handler that
        #: failed, and raises afterwards.
        self._last: Message | None = None
        #: Whether the application has heard that the client is gone, or was cut short.
        self._alone = False
        self._handling = False
        #: Whether the application is to be asked once more, without condition.
        self.again = False

    def left(self) -> None:
        """The application hears that its client is gone: what it makes of that is no page."""
        self._alone = True

    async def send(self, message: Message) -> None:
        """The ``send`` of the application."""
        kind = message["type"]
        if kind == "http.response.body":
            self._taken += len(message.get("body", b""))
        ends = kind == "http.response.body" and not message.get("more_body", False)
        # Not later: what the application does after its response is not the client's business.
        if self._course is Course.REPLACE:
            if ends:
                await self.rescue()
        elif self._course is Course.VALIDATE and self._head is not None:
            if ends:
                await self._freshen(self._head)
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
        await self._deliver(message)

    async def _deliver(self, message: Message) -> None:
        """Send what follows the head; of a 304 that is nothing but its end."""
        if self._unchanged and message["type"] not in BESIDE:
            if not message.get("more_body", False):
                await self._send({"type": "http.response.body", "body": b""})
            return
        await self._send(message)

    def _cut_short(self) -> bool:
        """Whether what the application sends now is no page: its client has gone, its task is
        cancelled, or an exception that was not there when it began is on its way. Some end their
        body in a ``finally`` then, as if it were whole.
        """
        self._alone = self._alone or _is_cancelled()
        return self._alone or (sys.exception() is not None and not self._handling)

    async def _on_start(self, message: Message, collection: Collection) -> None:
        self._start, self._head = message, read_head(message)
        # Answers to what went wrong are made where that is handled; but not to the end of a task.
        error = sys.exception()
        self._handling = isinstance(error, Exception)
        self._alone |= error is not None and not self._handling
        self._declared = declared_length(self._head)
        own = Refusal.EXTENSION if message.get("trailers", False) else None
        course = self._engine.course(self.ticket, self._request, self._head, own)
        self._course = course
        if course is Course.COLLECT:
            collection.expect(self._head)
        elif course is Course.PASS:
            self._collection = None
            await self._engine.consult(self.ticket, self._head)
            await self._begin()
        elif isinstance(course, Refusal):
            await self._give_up(course)

    async def _on_body(self, message: Message, head: ResponseHead, collection: Collection) -> None:
        piece = bytes(message.get("body", b""))
        refusal = Refusal.INCOMPLETE if self._cut_short() else collection.take(piece)
        if refusal is not None:
            await self._give_up(refusal)
            await self._pass(message)
        elif not message.get("more_body", False):
            unsized = self._declared is None and head.status != 204
            if unsized and (not piece or self._taken > len(piece)):
                await self._end_doubtfully(message, head)
            else:
                await self._finish(message, head, collection)
        elif not collection.holding:
            await self._forward(message, head)

    async def _forward(self, message: Message, head: ResponseHead) -> None:
        """Send a piece, and the head before the first one. A client that has gone is noted."""
        try:
            await self._begin(self._engine.leaving_fields(self.ticket, self._request, head))
            await self._send(message)
        except BaseException:
            self._alone = True
            raise

    async def _end_doubtfully(self, message: Message, head: ResponseHead) -> None:
        """The end of a body that may not be whole: its client gets it now, the cache waits."""
        self._last, self._complete = message, True
        await self._engine.settle(self._exchange)
        await self._forward(message, head)

    async def _finish(self, message: Message, head: ResponseHead, collection: Collection) -> None:
        body = collection.body()
        codings: tuple[tuple[str, bytes], ...] = ()
        if self._engine.worth_coding(self.ticket, head, len(body)):
            work = partial(self._engine.coded, self.ticket, body)
            codings = await asyncio.to_thread(work) if len(body) > AT_ONCE else work()
        outcome = await self._engine.admit(self.ticket, head, body, codings)
        await self._engine.settle(self._exchange)
        self._complete = True
        if self._last is not None:
            return  # its client has had all of it
        if isinstance(outcome, Admitted) and not self._begun:
            await self._send_admitted(outcome, head)
            return
        await self._begin(refused=outcome if isinstance(outcome, Refused) else None)
        held = collection.release()
        await self._deliver({**message, "body": held} if held else message)

    async def _send_admitted(self, outcome: Admitted, head: ResponseHead) -> None:
        more = self._manner.admitted_fields(self.ticket, outcome, head)
        await send_page(self._send, self._request, outcome.page, wire_form(more))

    async def _freshen(self, head: ResponseHead) -> None:
        """The application says that the page is still good: the client gets it."""
        self._complete = True
        outcome = await self._engine.freshen(self.ticket, head)
        if outcome is None:
            self.again = True
            return
        await self._engine.settle(self._exchange)
        await self._send_admitted(outcome, head)

    async def _begin(self, fields: Fields | None = None, refused: Refused | None = None) -> None:
        """Send the head with the application's own or these fields, unless it has left already."""
        if self._begun or self._start is None or self._head is None:
            return
        self._begun = True
        self._unchanged = fields is None and unchanged(self._request.fields, self._head)
        sent = self._manner.leaving_fields(
            self.ticket,
            self._engine.refused_fields(self.ticket, self._head) if fields is None else fields,
            refused,
            self._engine.now(),
            stored=fields is not None,
        )
        # A head is all that a client gets of some answers, and all it needs of a redirect.
        await self._engine.settle(self._exchange)
        start = self._start
        if self._unchanged:
            start, sent = {**start, "status": 304}, without_content(sent)
        await self._send({**start, "headers": list(wire_form(sent))})

    async def _give_up(self, refusal: Refusal) -> None:
        """Stop collecting: wake those who wait, and let go of what was held."""
        collection, self._collection = self._collection, None
        await self._begin(refused=await self._engine.abandon(self.ticket, refusal))
        held = collection.release() if collection is not None else b""
        if held:
            await self._deliver({"type": "http.response.body", "body": held, "more_body": True})

    async def close(self) -> None:
        """The application has returned: a body without an end is no page."""
        if self._course is Course.REPLACE:
            await self.rescue()
        elif self._course is Course.VALIDATE and self._head is not None and not self._complete:
            await self._freshen(self._head)
        elif self._last is not None and self._head is not None and self._collection is not None:
            if self._cut_short():
                await self._give_up(Refusal.INCOMPLETE)
            else:
                await self._finish(self._last, self._head, self._collection)
        elif not self._complete and self._collection is not None:
            await self._give_up(Refusal.INCOMPLETE)

    async def rescue(self, error: Exception | None = None) -> bool:
        """Serve the expired page in place of a failure (RFC 5861 §4); False where it cannot be."""
        if self._begun or self._complete or self._collection is None:
            return False
        # A 5xx that was swallowed is replaced, whatever the application raises behind it.
        replaced = self._head if self._course is Course.REPLACE else None
        hit = self._engine.rescue(self.ticket, error if replaced is None else None)
        if hit is None:
            return False
        self._complete = True
        member = self._manner.of_rescue(hit, replaced.status if replaced is not None else None)
        await send_hit(self._send, self._request, hit, member, dated=self._manner.dated)
        return True

    async def settle(self) -> None:
        """Whatever happened: nobody is left waiting, and nothing stays owed."""
        # In a scope of anyio that was cancelled each of these is cancelled on its way.
        try:
            if not self.ticket.settled:
                await self._engine.abandon(self.ticket, Refusal.FAILED)
        finally:
            try:
                await self._engine.settle(self._exchange)
            finally:
                await self._engine.give_back(self.ticket)


def _is_cancelled() -> bool:
    """Whether this task is to end. Stepped without an event loop there is none."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and task.cancelling() > 0
