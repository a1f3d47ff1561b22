"""A small site for clients to look at: pages that count their renderings, and writes.

The same site runs under both servers. Outside pagegen stands a recorder, which notes every request
that came in and what it was answered, and answers what tests ask under ``/-/``.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Event, Lock
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as OnASGI
from pagegen.fields import format_http_date
from pagegen.sources import Sources
from pagegen.wsgi import PageCacheMiddleware as OnWSGI

Pairs = list[tuple[str, str]]
Field = Callable[[str], str | None]

#: Seconds for which a rendering may be held, and for which somebody may wait for it.
PATIENCE: Final = 20.0
#: When version 0 of everything was made.
BEGINNING: Final = 1_600_000_000
#: Bytes of a line in the pages of ``/timed``, and their number.
LINE, LINES = 10, 500

RULES: Final = (
    Rule(path="/items/{item}", share="public", namespaces=["item:{item}"], ttl="1h"),
    Rule(
        path="/calm/{item}",
        share="public",
        namespaces=["item:{item}"],
        ttl="1h",
        client_reload="ignore",
    ),
    Rule(path="/old/{item}", share="public", namespaces=["item:{item}"], ttl="1h"),
    Rule(path="/timed/{item}", share="public"),
    Rule(path="/dated/{item}", share="public"),
    Rule(path="/heard/{item}", share="public"),
    Rule(path="/checked/{item}", share="public"),
    # It leaves with the application's own second, and stays here longer.
    Rule(path="/brief/{item}", share="public", ttl="1h"),
    Rule(
        path="/spoken/{item}",
        share="public",
        headers={"accept-language": {"values": ["en", "de"], "default": "en"}},
    ),
    Rule(
        path="/packed/{item}",
        share="public",
        namespaces=["item:{item}"],
        ttl="1h",
        headers={"accept-encoding": {"values": ["gzip"]}},
    ),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a handler sees it; ``field`` reads one of its fields."""

    method: str
    path: str
    field: Field
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers, and the namespaces that its write has changed."""

    status: int
    fields: Pairs
    body: bytes = b""
    forgets: tuple[str, ...] = ()


@dataclass(slots=True)
class Gate:
    """A rendering that stands still: it came, and it may go on."""

    came: Event = field(default_factory=Event)
    opened: Event = field(default_factory=Event)


class Site:
    """Items with versions, and pages over them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._versions: Counter[str] = Counter()
        self._pages = {
            "items": _item, "old": _old, "timed": _timed, "dated": _dated, "heard": _spoken,
            "checked": _checked, "spoken": _spoken, "packed": _packed, "brief": _brief,
            "calm": _item,
        }  # fmt: skip
        self.renderings: Counter[str] = Counter()
        self.gates: dict[str, Gate] = {}

    def answer(self, asked: Asked) -> Answer:
        """Render a page, or change an item."""
        kind, _, item = asked.path.strip("/").partition("/")
        if kind == "echo":
            return Answer(200, [("Content-Type", "text/plain")], str(len(asked.body)).encode())
        if kind not in self._pages or not item:
            return Answer(404, [("Content-Type", "text/plain")], b"no such page")
        if asked.method not in ("GET", "HEAD"):
            return self._write(kind, item, asked.method)
        with self._lock:
            version = self._versions[item]
            gate = self.gates.pop(asked.path, None)
        if gate is not None:
            gate.came.set()
            gate.opened.wait(PATIENCE)
        answer = self._pages[kind](asked, item, version)
        with self._lock:
            # To say that nothing changed costs an application little.
            self.renderings[asked.path] += answer.status == 200
        return answer

    def _write(self, kind: str, item: str, method: str) -> Answer:
        with self._lock:
            self._versions[item] += 1
        place = [("Location", f"/{kind}/{item}")] if method == "POST" else []
        status = 303 if method == "POST" else 204
        return Answer(status, place, forgets=(f"item:{item}",))


def _item(_asked: Asked, item: str, version: int) -> Answer:
    """A namespaced page that says nothing of caching."""
    page = (
        f'<!doctype html><title>{item}</title><link rel="icon" href="data:,">'
        f"<h1>version {version}</h1>"
        f'<form method="post"><button>Change</button></form><a href="/items/{item}-next">Next</a>'
    )
    return Answer(200, [("Content-Type", "text/html; charset=utf-8")], page.encode())


def _old(asked: Asked, item: str, version: int) -> Answer:
    """The same with a date long past, from which some clients guess that it stays as it is."""
    answer = _item(asked, item, version)
    return Answer(
        200, [*answer.fields, ("Last-Modified", format_http_date(BEGINNING))], answer.body
    )


def _timed(_asked: Asked, item: str, version: int) -> Answer:
    """A page that anybody may keep for a minute: numbered lines, with both validators."""
    lines = [f"{version:04} {number:04}\n" for number in range(LINES)]
    own = [("Cache-Control", "public, max-age=60"), ("ETag", f'"{item}-{version}"')]
    return Answer(200, [*own, *_dates(version)], "".join(lines).encode())


def _brief(asked: Asked, item: str, version: int) -> Answer:
    """The same for a second."""
    page = _timed(asked, item, version)
    own = [("Cache-Control", "public, max-age=1"), *page.fields[1:]]
    return Answer(200, own, page.body)


def _dated(_asked: Asked, _item: str, version: int) -> Answer:
    """A page for a minute that the application gave a date only."""
    own = [("Cache-Control", "public, max-age=60")]
    return Answer(200, [*own, *_dates(version)], f"version {version}".encode())


def _checked(asked: Asked, item: str, version: int) -> Answer:
    """A page that is to be validated each time, by an application that can do it itself."""
    etag = f'"{item}-{version}"'
    own = [("Cache-Control", "no-cache"), ("ETag", etag)]
    if asked.field("if-none-match") == etag:
        return Answer(304, own)
    return Answer(200, [*own, ("Content-Type", "text/plain")], f"version {version}".encode())


def _spoken(asked: Asked, _item: str, version: int) -> Answer:
    """A page for a minute in two languages."""
    german = (asked.field("accept-language") or "en").startswith("de")
    own = [("Cache-Control", "public, max-age=60"), ("Vary", "Accept-Language")]
    own += [("Content-Type", "text/plain"), ("Content-Language", "de" if german else "en")]
    return Answer(200, own, f"{'Fassung' if german else 'version'} {version}".encode())


def _packed(asked: Asked, item: str, version: int) -> Answer:
    """A namespaced page that the application compresses for those who can read it."""
    page = _item(asked, item, version)
    own = [*page.fields, ("Vary", "Accept-Encoding")]
    if "gzip" not in (asked.field("accept-encoding") or ""):
        return Answer(200, own, page.body)
    return Answer(200, [*own, ("Content-Encoding", "gzip")], gzip.compress(page.body, mtime=0))


def _dates(version: int) -> Pairs:
    moment = format_http_date(BEGINNING + version)
    return [("Last-Modified", moment), ("Content-Type", "text/plain")]


class Desk:
    """The site behind pagegen, the clock of the cache, and the book of what came in."""

    def __init__(self) -> None:
        self.site = Site()
        self._ahead = 0.0
        self._book: list[tuple[str, str, int]] = []
        self._gates: dict[str, Gate] = {}
        now = Sources(now=lambda: time.time() + self._ahead)
        self.cache = PageCache(RULES, sources=now)

    def note(self, method: str, path: str, status: int) -> None:
        """A request was answered."""
        self._book.append((method, path, status))

    def ask(self, path: str) -> bytes:
        """What a test wants, named by the path behind ``/-/``."""
        verb, _, rest = path.removeprefix("/-/").partition("/")
        target = f"/{rest}"
        if verb == "ahead":
            self._ahead += float(rest)
        elif verb == "hold":
            self._gates[target] = self.site.gates[target] = Gate()
        elif verb == "held":
            self._gates[target].came.wait(PATIENCE)
        elif verb == "release":
            self._gates[target].opened.set()
        return json.dumps(
            {
                "renderings": self.site.renderings[target],
                "answers": [(m, status) for m, seen, status in self._book if seen == target],
            }
        ).encode()


def asgi() -> Any:
    """The site for uvicorn."""
    desk = Desk()

    async def site(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        fields = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        asked = Asked(scope["method"], scope["path"], fields.get, body)
        answer = await asyncio.to_thread(desk.site.answer, asked)
        if answer.forgets:
            await desk.cache.ainvalidate(*answer.forgets)
        await _send(send, answer.status, answer.fields, answer.body)

    behind = OnASGI(site, cache=desk.cache)

    async def recorder(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await site(scope, receive, send)
        elif scope["path"].startswith("/-/"):
            told = await asyncio.to_thread(desk.ask, scope["path"])
            await _send(send, 200, [("Content-Type", "application/json")], told)
        else:

            async def noting(message: Any) -> None:
                if message["type"] == "http.response.start":
                    desk.note(scope["method"], scope["path"], message["status"])
                await send(message)

            await behind(scope, receive, noting)

    return recorder


async def _lifespan(receive: Any, send: Any) -> None:
    for kind in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{kind}.complete"})


async def _send(send: Any, status: int, fields: Pairs, body: bytes) -> None:
    pairs = [(name.lower().encode(), value.encode()) for name, value in fields]
    if status not in (204, 304):
        pairs.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def wsgi() -> Any:
    """The site for gunicorn."""
    desk = Desk()

    def site(environ: Any, start_response: Any) -> Iterable[bytes]:
        def read(name: str) -> str | None:
            found: str | None = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
            return found

        body = environ["wsgi.input"].read()
        answer = desk.site.answer(Asked(environ["REQUEST_METHOD"], _path(environ), read, body))
        if answer.forgets:
            desk.cache.invalidate(*answer.forgets)
        return _start(start_response, answer.status, answer.fields, answer.body)

    behind = OnWSGI(site, cache=desk.cache)

    def recorder(environ: Any, start_response: Any) -> Iterable[bytes]:
        path = _path(environ)
        if path.startswith("/-/"):
            told = desk.ask(path)
            return _start(start_response, 200, [("Content-Type", "application/json")], told)

        def noting(status: str, *more: Any) -> Any:
            desk.note(environ["REQUEST_METHOD"], path, int(status[:3]))
            return start_response(status, *more)

        answer: Iterable[bytes] = behind(environ, noting)
        return answer

    return recorder


def _path(environ: Any) -> str:
    path: str = environ["PATH_INFO"]
    return path


def _start(start_response: Any, status: int, fields: Pairs, body: bytes) -> list[bytes]:
    length = [] if status in (204, 304) else [("Content-Length", str(len(body)))]
    start_response(f"{status} {HTTPStatus(status).phrase}", [*fields, *length])
    return [body]
