"""Dispatch of one WSGI request on the engine's verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Final, assert_never

from ..cache import PageCache
from ..glancing import WEIGHED
from ..logs import logger
from ..messages import GivenFields, Request, StoredResponse, Target
from ..status import Manner, Tell
from ..stepping import step
from ..verdicts import Bypass, Forward, Hit, NotCached, Stale, Ticket, Verdict, Wait
from ..workers import Workers
from .collector import Collector
from .requests import key_of, read_request, target, view_environ
from .responses import CONDITION_KEYS, send_hit, send_not_cached, send_plain, server_dates
from .types import Environ, StartResponse, Write, WSGIApp
from .watcher import Watcher

#: Environ keys of what a look-up has to weigh (CGI has a Content-Length always, though an empty
#: one), and of what makes an answer of its own besides.
_WEIGHED: Final = frozenset(key_of(name) for name in WEIGHED)
_SPEAKING: Final = (_WEIGHED | CONDITION_KEYS) - {"CONTENT_LENGTH"}

log = logger("pagegen.wsgi")

#: Threads that refresh expired pages, and pages that may wait for one of them.
REFRESHERS: Final = 4
MAX_REFRESHES: Final = 32


class PageCacheMiddleware:
    """Answers from the cache what it can, and runs the application for the rest."""

    def __init__(self, app: WSGIApp, *, cache: PageCache) -> None:
        if not isinstance(cache, PageCache):
            raise TypeError(f"cache is {cache!r}: build it with PageCache.from_toml(...)")
        self.app = app
        self.cache = cache
        self._engine = cache.engine
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
        self._refresher = Workers("pagegen-refresh", threads=REFRESHERS, places=MAX_REFRESHES)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        try:
            asked = target(environ)
            page = self._glimpse(asked, environ)
            if page is None:
                request = read_request(environ, asked)
        except Exception:
            # No request that anybody could key: the application may know better.
            return self.app(environ, start_response)
        if page is None:
            return self._serve(environ, start_response, request)
        return send_plain(start_response, environ, page, self._now(), self._dated)

    def _glimpse(self, asked: Target, environ: Environ) -> StoredResponse | None:
        """The page for a request that says nothing but what it wants, and gets it as it stands."""
        manner = self._manner
        if manner is None or manner.tell or not environ.keys().isdisjoint(_SPEAKING):
            return None
        if environ.get("CONTENT_LENGTH"):
            return None
        return self._glance.plain(asked)

    def _serve(
        self, environ: Environ, start_response: StartResponse, request: Request
    ) -> Iterable[bytes]:
        """Any other request."""
        manner = self._manner or self._learn_manner(environ)
        if self._debugs:
            manner = Manner(self._engine.tells(request), manner.dated)
        found = self._glance.look(request) if environ.keys().isdisjoint(_WEIGHED) else None
        verdict: Verdict
        if isinstance(found, Hit):
            verdict = found
        else:
            verdict = step(self._engine.look_up(request, plan=found))
        while isinstance(verdict, Wait):
            self._wait(verdict)
            verdict = step(self._engine.look_up(request, verdict))
        if isinstance(verdict, Hit):
            if verdict.ticket is not None:
                if not environ.get("wsgi.multithread", True):
                    # No second thread may run this application; so somebody has to wait.
                    return self._forward(environ, start_response, request, verdict.ticket, manner)
                self._refresh(environ, request, verdict.ticket, manner)
            member = manner.of_hit(verdict)
            return send_hit(start_response, request, verdict, member, dated=manner.dated)
        if isinstance(verdict, Forward):
            return self._forward(environ, start_response, request, verdict.ticket, manner)
        if isinstance(verdict, Stale):
            if verdict.ticket is not None:
                self._refresh(environ, request, verdict.ticket, manner)
            member = manner.of_hit(verdict)
            return send_hit(start_response, request, verdict, member, dated=manner.dated)
        if isinstance(verdict, Bypass):
            told = verdict if manner.tell else None
            return Watcher(self._engine, request, start_response, told).run(self.app, environ)
        if isinstance(verdict, NotCached):
            return send_not_cached(start_response, request)
        assert_never(verdict)

    def _wait(self, wait: Wait) -> None:
        """Until the flight has ended or patience has; the engine looks at what came of it."""
        try:
            wait.flight.future.result(timeout=max(0.0, wait.until - monotonic()))
        except TimeoutError:
            pass
        except BaseException:
            self._engine.leave(wait)
            raise

    def _learn_manner(self, environ: Environ) -> Manner:
        self._dated = not server_dates(environ)
        self._manner = Manner(self._tell, self._dated)
        return self._manner

    def _forward(
        self,
        environ: Environ,
        start_response: StartResponse,
        request: Request,
        ticket: Ticket,
        manner: Manner,
    ) -> Iterable[bytes]:
        collect = partial(Collector, self._engine, ticket, request, start_response, manner)
        collector = collect()
        seen = self._seen(environ, request, ticket, collector)
        return self._run(seen, collector, collect)

    def _run(
        self, seen: Environ, collector: Collector, another: Callable[[], Collector]
    ) -> Iterable[bytes]:
        """Run the application, once more when it answered a condition for another page."""
        response = collector.run(self.app, seen)
        if not collector.again:
            return response
        collector.close()
        collector.ticket.validating = None
        seen = {key: value for key, value in seen.items() if key not in CONDITION_KEYS}
        return another().run(self.app, seen)

    def _seen(
        self, environ: Environ, request: Request, ticket: Ticket, collector: Collector
    ) -> Environ:
        try:
            return view_environ(environ, self._engine.view(ticket, request))
        except BaseException:
            collector.close()
            raise

    def _refresh(self, environ: Environ, request: Request, ticket: Ticket, manner: Manner) -> None:
        """Render a page anew while its old self is served (RFC 5861 §3)."""
        # What the handler sees is taken now: some servers clear the environ when the request has
        # ended, and fill it with the next visitor's.
        still = replace(request, fields=GivenFields(), context={})
        collect = partial(Collector, self._engine, ticket, still, _nowhere, manner)
        collector = collect()
        seen = self._seen(environ, request, ticket, collector)

        def refresh() -> None:
            try:
                response = self._run(seen, collector, collect)
                with _closing(response):
                    for _ in response:
                        pass
            except Exception:
                log.exception("a page could not be refreshed behind its client's back")

        if self._refresher.submit(refresh) is None:
            self._engine.decline(ticket)
            step(self._engine.give_back(ticket))


def _nowhere(*_: object) -> Write:
    """The ``start_response`` of a refresh: nobody listens."""
    return lambda _data: None


@contextmanager
def _closing(response: Iterable[bytes]) -> Iterator[None]:
    """Close a response as a server does, whatever happens to it."""
    try:
        yield
    finally:
        if (close := getattr(response, "close", None)) is not None:
            close()
