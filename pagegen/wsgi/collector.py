"""Passing on the response of a forward while it is collected for the cache."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator

from ..collecting import Collection
from ..engine import Engine
from ..exchange import Exchange, handling
from ..law.storing import Refusal, declared_length
from ..law.validation import unchanged, without_content
from ..logs import logger
from ..messages import Fields, Request, ResponseHead
from ..status import Manner
from ..stepping import step
from ..verdicts import Admitted, Course, Refused, Ticket
from .responses import read_head, send_hit, send_page
from .types import Environ, ExcInfo, StartResponse, Write, WSGIApp

log = logger("pagegen.wsgi")


class Collector:
    """Passes a response on chunk by chunk while collecting it, and admits it before its end.

    ``start_response`` is held until there is a first piece (PEP 3333 asks servers for no less), so
    a page whose body comes in one piece leaves with its validator, or as the 304 that the client
    asked for. ``_collection`` is None once the response cannot be stored: then all passes straight
    through.
    """

    def __init__(
        self,
        engine: Engine,
        ticket: Ticket,
        request: Request,
        start_response: StartResponse,
        manner: Manner,
    ) -> None:
        self._engine = engine
        self.ticket = ticket
        self._request = request
        self._start_response = start_response
        self._manner = manner
        self._exchange = Exchange(engine.realm, ticket.plan.slot, ticket.plan.namespaces)
        self._head: ResponseHead | None = None
        self._status_line = ""
        self._collection: Collection | None = engine.collection(ticket)
        self._declared: int | None = None
        self._taken = 0
        self._begun = False
        #: Whether an exception was handled when the head came, and whether one came later.
        self._handling = False
        self._cut_short = False
        #: Whether the head left as a 304 in place of a response that is not stored.
        self._unchanged = False
        #: By the head; None until there is one, or while it may be replaced yet.
        self._course: Course | Refusal | None = None
        self._server_write: Write | None = None
        #: Whether the application is to be asked once more, without condition.
        self.again = False
        self._ended = False
        self._failure: Exception | None = None
        self._ready: list[bytes] = []
        self._iterator: Iterator[bytes] = iter(())
        self._app_close: Callable[[], object] | None = None

    # The application's side -------------------------------------------------------------------

    def run(self, app: WSGIApp, environ: Environ) -> Iterable[bytes]:
        """Run the application up to its first piece, or to its end when that is all there is."""
        try:
            with handling(self._exchange):
                iterable = app(environ, self.start_response)
            self._app_close = getattr(iterable, "close", None)
            self._judge()
            if self._collection is None and self._begun and not self._unchanged:
                self._end()
                return iterable
            if self._collection is not None and isinstance(iterable, (list, tuple)):
                self._collection.hold_all()
            self._iterator = iter(iterable)
            while not self._ready and not self._ended:
                self._pull()
        except Exception as error:
            rescued = self._rescue(error)
            self._close_quietly()
            if rescued is None:
                raise
            log.exception("the application failed; an expired page was served in its place")
            return rescued
        except BaseException:
            self._close_quietly()
            raise
        return self

    def start_response(
        self, status_line: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Write:
        """The ``start_response`` of the application."""
        if self._begun:
            # What a server makes of that, and the application of it, is no whole page.
            self._cut_short = True
            try:
                return self._start_response(
                    status_line, headers, *((exc_info,) if exc_info else ())
                )
            finally:
                exc_info = None
        if self._head is not None and not exc_info:
            self._cut_short = True
            raise AssertionError("start_response() was called again without exc_info")
        if exc_info and exc_info[1] is not None and self._collection and self._collection.begun:
            # A server would have sent the head with the first piece, which is only held here.
            self._cut_short = True
            raise exc_info[1].with_traceback(exc_info[2])
        self._status_line, self._head = status_line, read_head(status_line, headers)
        self._course = None
        error = sys.exception()
        self._handling = isinstance(error, Exception)
        # What ends a thread (``SystemExit``, a timeout of gevent) is answered with no page.
        self._cut_short |= error is not None and not self._handling
        return self.write

    def _judge(self) -> None:
        """Decide by the head, once; not before a first piece, until which it may be replaced."""
        if self._course is not None or self._head is None or self._collection is None:
            return
        self._declared = declared_length(self._head)
        self._course = course = self._engine.course(self.ticket, self._request, self._head)
        if course is Course.COLLECT:
            self._collection.expect(self._head)
        elif course is Course.PASS:
            self._collection = None
            step(self._engine.consult(self.ticket, self._head))
            self._begin()
        elif isinstance(course, Refusal):
            self._give_up(course)

    def write(self, data: bytes) -> None:
        """The ``write`` callable that ``start_response`` returns.

        An application may take a failure in it for the end of its page, and end as if all was well.
        """
        self._cut_short |= sys.exception() is not None and not self._handling
        try:
            piece = self._take(data)
            if piece is not None and self._server_write is not None:
                self._server_write(piece)
        except BaseException:
            self._cut_short = True
            raise

    def _take(self, data: bytes) -> bytes | None:
        """Collect a piece; returns what is to be sent now, None to hold it."""
        self._judge()
        self._taken += len(data)
        if self._course in (Course.REPLACE, Course.VALIDATE):
            return None
        if self._collection is None:
            return self._passing(data)
        # A copy of what is no ``bytes``: applications fill their buffers anew.
        refusal = Refusal.INCOMPLETE if self._cut_short else self._collection.take(bytes(data))
        if refusal is not None:
            held = self._collection.release()
            self._give_up(refusal)
            return self._passing(held + data)
        if self._collection.holding or not data:
            return None
        if self._head is not None:
            self._begin(self._engine.leaving_fields(self.ticket, self._request, self._head))
        return data

    def _passing(self, data: bytes) -> bytes | None:
        """A piece of what is not stored; the last one leaves when all is settled."""
        self._begin()
        if self._unchanged:
            return None
        if self._declared is not None and self._taken >= self._declared:
            self._settle()
        return data

    def _give_up(self, refusal: Refusal) -> None:
        """Stop collecting: wake those who wait, and let the head go."""
        self._collection = None
        self._begin(refused=step(self._engine.abandon(self.ticket, refusal)))

    def _begin(self, fields: Fields | None = None, refused: Refused | None = None) -> None:
        """Send the head with the application's own or these fields, unless it has left already."""
        if self._begun or self._head is None:
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
        self._settle()
        line = self._status_line
        if self._unchanged:
            line, sent = "304 Not Modified", without_content(sent)
        self._server_write = self._start_response(line, list(sent))

    # The server's side ------------------------------------------------------------------------

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not self._ready:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise StopIteration
            self._pull()
        return self._ready.pop(0)

    def _pull(self) -> None:
        """One step of the application: puts what is to be sent into ``_ready``."""
        try:
            with handling(self._exchange):
                chunk = next(self._iterator)
        except StopIteration:
            self._ended = True
            self._finish()
            return
        except Exception as error:
            self._fail(error)
            return
        piece = self._take(chunk)
        if piece is not None:
            self._ready.append(piece)

    def _fail(self, error: Exception) -> None:
        """The body broke off: what was held leaves as it would have, then the error."""
        if self._failure is not None or self._collection is None:
            raise error
        if not (held := self._collection.release()):
            raise error
        self._give_up(Refusal.FAILED)
        self._failure = error
        self._ready.append(held)

    def _finish(self) -> None:
        """The application has said all: admit, settle, and send what was held."""
        self._judge()
        if self._course is Course.REPLACE:
            self._ready.extend(self._rescue() or ())
            return
        if self._course is Course.VALIDATE and self._head is not None:
            self._freshen(self._head)
            return
        if self._cut_short and self._collection is not None:
            self._ready.append(self._collection.release())
            self._give_up(Refusal.INCOMPLETE)
        if self._collection is None or self._head is None:
            self._settle()
            return
        head, body = self._head, self._collection.body()
        worth = self._engine.worth_coding(self.ticket, head, len(body))
        codings = self._engine.coded(self.ticket, body) if worth else ()
        with handling(self._exchange):
            outcome = step(self._engine.admit(self.ticket, head, body, codings))
        self._settle()
        if isinstance(outcome, Admitted) and not self._begun:
            self._send_admitted(outcome, head)
            return
        self._begin(refused=outcome if isinstance(outcome, Refused) else None)
        if (held := self._collection.release()) and not self._unchanged:
            self._ready.append(held)

    def _send_admitted(self, outcome: Admitted, head: ResponseHead) -> None:
        self._begun = True
        more = self._manner.admitted_fields(self.ticket, outcome, head)
        self._ready.extend(send_page(self._start_response, self._request, outcome.page, more))

    def _freshen(self, head: ResponseHead) -> None:
        """The application says that the page is still good: the client gets it."""
        with handling(self._exchange):
            outcome = step(self._engine.freshen(self.ticket, head))
        if outcome is None:
            self.again = True
            return
        self._settle()
        self._send_admitted(outcome, head)

    def _rescue(self, error: Exception | None = None) -> list[bytes] | None:
        """Serve the expired page in place of a failure (RFC 5861 §4); None where it cannot be."""
        if self._begun or self._collection is None:
            return None
        # A 5xx that was swallowed is replaced, whatever the application raises behind it.
        replaced = self._head if self._course is Course.REPLACE else None
        hit = self._engine.rescue(self.ticket, error if replaced is None else None)
        if hit is None:
            return None
        self._settle()
        manner = self._manner
        member = manner.of_rescue(hit, replaced.status if replaced is not None else None)
        return send_hit(self._start_response, self._request, hit, member, dated=manner.dated)

    def close(self) -> None:
        """Called by the server once, early when the client has gone."""
        close, self._app_close = self._app_close, None
        try:
            if close is not None:
                with handling(self._exchange):
                    close()
        except BaseException:
            self.again = False
            raise
        finally:
            if not self.ticket.settled and not self.again:
                refusal = Refusal.INCOMPLETE if self._head is not None else Refusal.FAILED
                step(self._engine.abandon(self.ticket, refusal))
            self._end()

    def _close_quietly(self) -> None:
        """After a failure: the server gets no iterable, so nobody else will close it."""
        try:
            self.close()
        except Exception:
            log.exception("close() of the application's response failed")

    def _end(self) -> None:
        self._settle()
        self._exchange.end()
        if not self.again:
            step(self._engine.give_back(self.ticket))

    def _settle(self) -> None:
        step(self._engine.settle(self._exchange))
