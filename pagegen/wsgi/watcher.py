"""Passing on the response of a bypass, and of every write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..engine import Engine
from ..exchange import Exchange, handling
from ..law.storing import declared_length, end_to_end
from ..messages import SAFE_METHODS, Request
from ..status import appended, of_bypass
from ..stepping import step
from ..verdicts import Bypass
from .responses import read_head
from .types import Environ, ExcInfo, StartResponse, Write, WSGIApp


class Watcher:
    """Passes a response on untouched, and invalidates what its request owes before it leaves.

    A response to a safe method that owes nothing is the application's own object; so is a list, and
    a file that the server sends by itself.
    """

    def __init__(
        self,
        engine: Engine,
        request: Request,
        start_response: StartResponse,
        told: Bypass | None,
    ) -> None:
        self._engine = engine
        self._request = request
        self._start_response = start_response
        self._told = told
        self._exchange = Exchange(engine.realm)
        self._watching = request.method not in SAFE_METHODS
        self._declared: int | None = None
        self._sent = 0
        self._begun = False
        #: Whether code of the application ran since the last time that all was settled.
        self._ran = True
        self._iterator: Iterator[bytes] = iter(())
        self._close: Callable[[], object] | None = None

    def run(self, app: WSGIApp, environ: Environ) -> Iterable[bytes]:
        """The application's response, watched as far as there is something to watch."""
        try:
            with handling(self._exchange):
                iterable = app(environ, self.start_response)
        except BaseException:
            self._end()
            raise
        wrapper = environ.get("wsgi.file_wrapper")
        ended = isinstance(iterable, (list, tuple)) or (
            isinstance(wrapper, type) and isinstance(iterable, wrapper)
        )
        if ended or not (self._watching or self._exchange.owed):
            self._end()
            return iterable
        self._iterator = iter(iterable)
        self._close = getattr(iterable, "close", None)
        return self

    def start_response(
        self, status_line: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Write:
        """The ``start_response`` of the application."""
        fields = end_to_end(tuple(headers))
        head = read_head(status_line, fields) if self._watching else None
        if head is not None:
            self._declared = declared_length(head)
        fields += self._engine.answered(self._exchange, self._request, head)
        if self._told is not None:
            fields = appended(fields, of_bypass(self._told))
        more = (exc_info,) if exc_info else ()
        write = self._start_response(status_line, list(fields), *more)
        return self._writing(write) if self._watching else write

    def _writing(self, write: Write) -> Write:
        def settle_and_write(data: bytes) -> None:
            self._pass(data)
            self._ran = True
            write(data)

        return settle_and_write

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._ran = True
        try:
            with handling(self._exchange):
                chunk = next(self._iterator)
        except StopIteration:
            # With all bytes gone the answer has ended already, and ``close`` comes next.
            if not self._begun or self._declared is None or self._sent < self._declared:
                self._settle()
            raise
        except BaseException:
            self._settle()
            raise
        self._pass(chunk)
        return chunk

    def _pass(self, chunk: bytes) -> None:
        """Nobody may have the whole answer, nor its head, while a page is served that it made old:
        settle before the head leaves, which some servers send with an empty piece and others with
        the first byte, and before the last byte.
        """
        before, self._sent = self._sent, self._sent + len(chunk)
        first = not self._begun or before == 0 < self._sent
        self._begun = True
        if first or (self._declared is not None and before < self._declared <= self._sent):
            self._settle()

    def close(self) -> None:
        """The server's last word; the application's ``close`` may be where it commits."""
        close, self._close = self._close, None
        try:
            if close is not None:
                self._ran = True
                with handling(self._exchange):
                    close()
        finally:
            self._end()

    def _settle(self) -> None:
        if self._ran or self._exchange.unsettled:
            self._ran = False
            step(self._engine.settle(self._exchange))

    def _end(self) -> None:
        self._settle()
        self._exchange.end()
