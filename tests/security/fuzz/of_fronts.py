"""The whole cache, in front of an application that tells all it sees: nobody poisons a page.

The oracle is a cache that has never seen anybody else. What a visitor gets behind another one must
be what the visitor alone gets.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from pagegen import PageCache
from pagegen.asgi import PageCacheMiddleware as AsgiPageCache
from pagegen.config import from_table
from pagegen.fields import tokens
from pagegen.messages import ResponseHead
from pagegen.sources import Sources
from pagegen.stores import MemoryStore
from pagegen.testing import FakeClock
from pagegen.testing.calling import Answer, call_asgi, call_wsgi
from pagegen.testing.loop import Loop
from pagegen.wsgi import PageCacheMiddleware as WsgiPageCache

from .of_laws import head_of
from .of_plans import TABLE, WORDS, Asked, asked, environ_of, scope_of
from .targets import holds, target, text

#: What differs from one answer to the next although it is one page.
_OF_A_MOMENT: Final = frozenset(("age", "date", "cache-status"))
#: Fields that make an answer a part of the page, or a word about it; what a miss does not answer.
_ABOUT: Final = frozenset(("range", "if-range", "if-none-match", "if-match", "if-modified-since",
                           "if-unmodified-since", "cache-control", "pragma", "expect"))  # fmt: skip


@cache
def _loop() -> Loop:
    loop = Loop()
    atexit.register(loop.close)
    return loop


#: What an open rule's pages show and vary by; a page that shows more would have to say so.
_SELECTING: Final = ("x-kind", "accept-language", "cookie", "x-user")
#: What passes unkeyed and must not change the page; see ``passthrough``.
_PASSING: Final = frozenset(("traceparent", "tracestate"))


def _told(seen: dict[str, Any]) -> tuple[bytes, list[tuple[str, str]]]:
    """The page: all that the handler saw and may use."""
    fields = [("Content-Type", "application/json")]
    used = {name: value for name, value in seen["fields"].items() if name not in _PASSING}
    seen = {**seen, "fields": used}
    if seen["path"].startswith("/open"):
        shown = {name: seen["fields"].get(name) for name in ("host", *_SELECTING)}
        seen = {**seen, "fields": shown}
        fields += [("Cache-Control", "public, max-age=60"), ("Vary", ", ".join(_SELECTING))]
    body = json.dumps(seen, sort_keys=True, default=str).encode()
    return body, [*fields, ("Content-Length", str(len(body)))]


def _wsgi_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    fields = {
        k[5:].lower().replace("_", "-"): v for k, v in environ.items() if k.startswith("HTTP_")
    }
    keys = ("PATH_INFO", "QUERY_STRING", "RAW_URI", "REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT")
    seen = {key: environ.get(key) for key in keys}
    body, lines = _told({**seen, "path": environ["PATH_INFO"], "fields": fields})
    start_response("200 OK", lines)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


async def _asgi_app(scope: Any, receive: Any, send: Any) -> None:
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    keys = ("path", "query_string", "raw_path", "client", "server", "scheme", "extensions")
    body, lines = _told({**{key: scope.get(key) for key in keys}, "fields": fields})
    wire = [(name.lower().encode(), value.encode("latin-1")) for name, value in lines]
    await send({"type": "http.response.start", "status": 200, "headers": wire})
    body = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": body})


def _cache() -> PageCache:
    book, clock = from_table(TABLE).book, FakeClock()
    return PageCache(
        book.rules,
        identities=book.identities.values(),
        store=MemoryStore(now=clock),
        sources=Sources(now=clock),
        allowed_hosts=["shop.example", ".blog.example"],
        site=f"fuzz {os.getpid()}",
    )


class _Fronts:
    """One cache behind both fronts, with visitors."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._cache = _cache()
        self._wsgi = WsgiPageCache(_wsgi_app, cache=self._cache)
        self._asgi = AsgiPageCache(_asgi_app, cache=self._cache)

    def ask(self, request: Asked) -> Answer:
        """The answer to a request."""
        if self._kind == "wsgi":
            return call_wsgi(self._wsgi, environ_of(request))
        answer: Answer = _loop().run(call_asgi(self._asgi, scope_of(request)))
        return answer

    def close(self) -> None:
        """End it."""
        self._cache.close()


def _said(answer: Answer) -> tuple[int, bytes, list[tuple[str, str]]]:
    fields = [(name.lower(), value) for name, value in answer.fields]
    kept = sorted(pair for pair in fields if pair[0] not in _OF_A_MOMENT | {"vary"})
    return answer.status, answer.body, kept


def _tried(kind: str, data: bytes) -> None:
    requests = [asked(part) for part in text(data).split("\n\n")[:4]]
    used = _Fronts(kind)
    try:
        for request in requests:
            answer = used.ask(request)
            holds(answer.status < 500 or answer.status == 504, "an error", request, answer.status)
            if request.method == "HEAD" or any(name in _ABOUT for name, _ in request.lines):
                continue  # no part of the page, or less than it, where there is one already
            alone = _Fronts(kind)
            try:
                expect = alone.ask(request)
            finally:
                alone.close()
            holds(_said(answer) == _said(expect), "another's page", kind, requests, answer, expect)
    finally:
        used.close()


_MORE: Final = (
    "range: bytes=0-", "if-none-match: *", "cache-control: no-store", "connection: cookie",
    "vary: x", "POST ", "x_kind: a", "transfer-encoding: chunked", "content-length: 0",
)  # fmt: skip


@target(*WORDS, *_MORE, length=900)
def poison_wsgi(data: bytes) -> None:
    """Up to four visitors one behind the other, under WSGI."""
    _tried("wsgi", data)


@target(*WORDS, *_MORE, length=900)
def poison_asgi(data: bytes) -> None:
    """Up to four visitors one behind the other, under ASGI."""
    _tried("asgi", data)


class _Answering:
    """An application that answers with a given head and body, and a cache in front of it."""

    def __init__(self, head: ResponseHead, pieces: list[bytes]) -> None:
        self._head, self._pieces = head, pieces
        self.cache = _cache()

    def wsgi(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """It, for a WSGI server."""
        start_response(f"{self._head.status} Whatever", list(self._head.fields))
        return list(self._pieces)

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        """It, for an ASGI server."""
        lines = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in self._head.fields]
        status = self._head.status
        await send({"type": "http.response.start", "status": status, "headers": lines})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def answers(self, request: Asked) -> Iterator[tuple[Answer, Answer, Answer]]:
        """For each front: the answer without the cache, and twice with it."""
        behind = WsgiPageCache(self.wsgi, cache=self.cache)
        yield tuple(call_wsgi(app, environ_of(request)) for app in (self.wsgi, behind, behind))
        loop, over = _loop(), AsgiPageCache(self.asgi, cache=self.cache)
        yield tuple(loop.run(call_asgi(app, scope_of(request))) for app in (self.asgi, over, over))


@target(
    "200\n", "404\n", "302\n", "500\n", "Cache-Control: max-age=60", "Set-Cookie: a=b",
    "Vary: cookie", "Content-Length: 3", "ETag: \"a\"", "Connection: x-a", "X-A: b",
    "Transfer-Encoding: chunked", "\n", "Cache-Groups: \"g\"", "Content-Encoding: gzip", "Date: ",
    "Age: 9", "\n\n", "abc", "Location: /a", "Pagegen-Cache-Control: no-store",
    "Accept-Ranges: none", "Last-Modified: ", "Expires: 0", "Cache-Status: x; hit",
    "Sun, 06 Nov 1994 08:49:37 GMT", length=600,
)  # fmt: skip
def answers(data: bytes) -> None:
    """What applications answer: the cache gives the same page, and a second visitor no cookie."""
    told, _, body = text(data).partition("\n\n")
    head = head_of(told)
    if head.status < 200 or any(not name.strip() for name, _ in head.fields):
        return
    pieces = [piece.encode("latin-1") for piece in body.split("\n")]
    for path in ("/open/a", "/own/a", "/key/a"):
        site = _Answering(head, pieces)
        try:
            for bare, first, second in site.answers(asked(f"GET {path}")):
                for answer in (first, second):
                    same = (answer.status, answer.body) == (bare.status, bare.body)
                    holds(same or head.status in (204, 304), "another answer", path, bare, answer)
                kept = {name.lower() for name, _ in second.fields}
                if second.get("age") is not None and not head.has("age"):  # from the cache
                    holds("set-cookie" not in kept, "a cookie of another's", path, head.fields)
                    named = {n for v in head.lines("connection") for n in tokens(v)}
                    hop = {"connection", "transfer-encoding", "keep-alive", "upgrade"}
                    holds(kept.isdisjoint(hop | named), "of a connection", path, head.fields)
        finally:
            site.cache.close()
