"""The fronts inside Django's stack: an environ or scope goes in, a response comes out.

Both are pagegen's own fronts around an application that runs the rest of the stack. What they
dispatch on, collect, watch and settle is written there once. On a bypass the rest of the stack gets
the request itself, and its own response comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import local
from typing import Any, Final, cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from pagegen import wsgi
from pagegen.messages import Request
from pagegen.status import Manner
from pagegen.verdicts import Bypass, Reason, Ticket
from pagegen.wsgi.collector import Collector
from pagegen.wsgi.requests import read_request
from pagegen.wsgi.types import Environ, StartResponse
from pagegen.wsgi.watcher import Watcher

from .caches import DjangoPageCache
from .identity import PASSAGE
from .outside import Doubts, plainly
from .passage import PRIVATE, Afterwards, Forwarded, Passage
from .requests import PageRequest, environ_of
from .responses import Streamed, dress, fields_of, finished, status_line, streams_on, whole

GetResponse = Callable[[HttpRequest], HttpResponseBase]
#: What doubts about outer middleware are told as.
DOUBT: Final = Bypass(Reason.OUTSIDE)
#: Marks an environ or scope: its client has its answer.
BEHIND: Final = "pagegen.contrib.django.behind"


class _Later(local):
    """Takes the place of the front's threads for refreshes: keeps what it is given."""

    work: Callable[[], object] | None = None

    def submit(self, work: Callable[[], object]) -> bool:
        """Keep a piece of work until there is an answer to hang it on."""
        self.work = work
        return True

    def take(self) -> Callable[[], object] | None:
        """What was kept, once."""
        work, self.work = self.work, None
        return work


class SyncFront(wsgi.PageCacheMiddleware):
    """The WSGI front around the rest of a synchronous stack."""

    def __init__(self, get_response: GetResponse, cache: DjangoPageCache, doubts: Doubts) -> None:
        super().__init__(self._rest, cache=cache)
        self._doubts = doubts
        self._get_response = get_response
        self._carry = cache.options.carry
        self._later = _Later()
        self._refresher = cast(Any, self._later)

    def answer(self, passage: Passage, *, doubt: bool) -> HttpResponseBase:
        """The response to a request; ``doubt``: it must not be one from the cache."""
        environ = {**environ_of(passage.outer), PASSAGE: passage}
        started: list[Any] = []

        def start_response(status: str, headers: list[Any], _exc_info: Any = None) -> Any:
            started[:] = [status, tuple(headers)]
            return _no_write

        result = self._doubtful(environ, start_response) if doubt else self(environ, start_response)
        line, fields = started
        code, _, reason = line.partition(" ")
        if passage.bypassed is not None:
            response = passage.bypassed
            dress(response, int(code), reason, fields)
            if isinstance(result, Watcher):
                response.streaming_content = result
            return response
        body = b"" if isinstance(result, Streamed) else _joined(result)
        return finished(passage, int(code), reason, fields, body)

    def _doubtful(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        manner = self._manner or self._learn_manner(environ)
        told = DOUBT if manner.tell else None
        watcher = Watcher(self._engine, read_request(environ), start_response, told)
        return watcher.run(self.app, environ)

    def _rest(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The rest of Django's stack as a WSGI application."""
        way = environ[PASSAGE]
        if isinstance(way, Forwarded):
            return self._page(way, environ, start_response)
        response = way.bypassed = self._get_response(way.outer)
        start_response(status_line(response), list(fields_of(response)))
        # The content stays where it is: it is looked at only where it may still invalidate.
        return Streamed(response) if response.streaming and not response.is_async else []

    def _page(
        self, way: Forwarded, seen: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        environ = {key: value for key, value in seen.items() if key != PASSAGE}
        inner = PageRequest(environ, way.passage.outer)
        way.prepare(inner)
        rest: Any = None
        with plainly():
            response: Any = self._get_response(inner)
            if not response.streaming:
                body = response.content
            elif streams_on(response):
                rest = response
            elif not isinstance(body := whole(response, way.limit), bytes):
                rest = body
        private = way.conclude(inner) or self._doubts.begun() or rest is not None
        way.keep(response, inner, rest)
        fields = [*fields_of(response), PRIVATE] if private else list(fields_of(response))
        start_response(status_line(response), fields)
        if rest is None:
            return [body]
        return [] if way.behind else Streamed(response)

    def _seen(
        self, environ: Environ, request: Request, ticket: Ticket, collector: Collector
    ) -> Environ:
        seen = super()._seen(environ, request, ticket, collector)
        seen[PASSAGE] = Forwarded(environ[PASSAGE], ticket.plan, self._carry, BEHIND in environ)
        return seen

    def _refresh(self, environ: Environ, request: Request, ticket: Ticket, manner: Manner) -> None:
        super()._refresh({**environ, BEHIND: True}, request, ticket, manner)
        if (work := self._later.take()) is not None:
            environ[PASSAGE].closers.append(Afterwards(work, self.cache, ticket))


def _no_write(_data: bytes) -> None:
    raise AssertionError("Django's responses are iterated")


def _joined(result: Iterable[bytes]) -> bytes:
    try:
        return b"".join(result)
    finally:
        if (close := getattr(result, "close", None)) is not None:
            close()
