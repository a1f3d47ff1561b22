"""The application under test: items with versions in SQLite, pages that tell the versions.

``GET /items/3`` and ``GET /lists/1?start=0&end=9`` say ``3=17`` for each item, dawdle a little at
random between reading and answering, and end with a digest of themselves, so that a page put
together from two is noticed. ``POST /items/3`` gives an item the next version, commits, invalidates
and answers with the version: 503 when the store did not acknowledge.

Everything comes from the environment: ``COHERENCE_STORE``, ``…_NEAR``, ``…_DATABASE`` and
``…_MISTAKE``, which puts one of the mistakes in that the tests must notice.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from contextvars import Context
from hashlib import blake2b
from random import random
from typing import Any
from urllib.parse import parse_qs

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as ASGIMiddleware
from pagegen.asgi.types import ASGIApp, Message, Receive, Scope, Send
from pagegen.errors import InvalidationError
from pagegen.wsgi import PageCacheMiddleware as WSGIMiddleware

ITEMS = 12
LISTS = 3
#: Bytes of an item's page: those of items that follow each other, and of the last, which a
#: memcached with ``-I 512k`` has to take in parts.
SIZES = (200, 2_000, 20_000, 80_000)
HUGE = 600_000
#: Seconds for which a handler dawdles at most, and how many of them do.
DAWDLE = 0.008
DAWDLERS = 0.3
#: Seconds between a mistaken invalidation and the commit that should have come before it.
EARLY = 0.03

# By its URL alone no page may be forgotten here: that would hide what the namespaces miss. Items
# declare theirs; lists name theirs when they are rendered.
RULES = (
    Rule(path="/items/{n:int}", share="public", namespaces=["item:{n}"], ttl="1h", own_url=False),
    Rule(
        path="/lists/{k:int}",
        share="public",
        groups=True,
        own_url=False,
        ttl="1h",
        query={
            "start": {"type": "int", "default": 0, "min": 0},
            "end": {"type": "int", "default": ITEMS, "max": ITEMS},
        },
    ),
)
OK, REFUSED = "200 OK", "503 Not Acknowledged"
Environ = dict[str, Any]
Fields = list[tuple[str, str]]


def create(path: str) -> None:
    """A new database, all items at version 0."""
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE item (n INTEGER PRIMARY KEY, version INTEGER)")
        database.executemany("INSERT INTO item VALUES (?, 0)", [(n,) for n in range(ITEMS)])
    database.close()


def open_cache(store: str, near: str = "") -> PageCache:
    """The cache of the application; the same for whoever looks at its store from outside."""
    settings = {"near": near} if near else {}
    return PageCache(RULES, store=store, site="coherence", cache_status=True, **settings)


class Rows:
    """The database; each thread has a connection of its own."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._own = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if connection is None or self._own.process != os.getpid():
            connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
            connection.execute("PRAGMA synchronous = OFF")  # killed processes lose nothing by it
            self._own.connection, self._own.process = connection, os.getpid()
        return connection

    def versions(self, items: Sequence[int]) -> list[tuple[int, int]]:
        """The present versions, of one moment."""
        marks = ",".join("?" * len(items))
        query = f"SELECT n, version FROM item WHERE n IN ({marks}) ORDER BY n"
        return self._connection().execute(query, items).fetchall()

    def bump(self, item: int) -> int:
        """Give an item its next version; it is committed when this returns."""
        query = "UPDATE item SET version = version + 1 WHERE n = ? RETURNING version"
        ((version,),) = self._connection().execute(query, (item,)).fetchall()
        return int(version)


def page(versions: Iterable[tuple[int, int]], size: int) -> bytes:
    """A page of about ``size`` bytes; its last line is the digest of the others."""
    told = " ".join(f"{item}={version}" for item, version in versions).encode()
    filler = (told + b"; ") * (size // (len(told) + 2))
    text = told + b"\n" + filler + b"\n"
    return text + blake2b(text, digest_size=8).hexdigest().encode()


def told_by(body: bytes) -> list[tuple[int, int]] | None:
    """The versions that a page tells; None for one that is not whole."""
    text, _, digest = body.rpartition(b"\n")
    text += b"\n"
    if blake2b(text, digest_size=8).hexdigest().encode() != digest:
        return None
    pairs = [pair.split(b"=") for pair in text.partition(b"\n")[0].split()]
    return [(int(item), int(version)) for item, version in pairs]


class Site:
    """What both faces of the application have in common."""

    def __init__(self) -> None:
        given = os.environ
        self.rows = Rows(given["COHERENCE_DATABASE"])
        self.cache = open_cache(given["COHERENCE_STORE"], given.get("COHERENCE_NEAR", ""))
        self.mistake = given.get("COHERENCE_MISTAKE", "")

    def render(self, path: str, query: str) -> bytes:
        """The page of a path."""
        kind, number = _parts(path)
        if kind == "items":
            size = HUGE if number == ITEMS - 1 else SIZES[number % len(SIZES)]
            return page(self.rows.versions([number]), size)
        asked = parse_qs(query)
        start, end = int(asked.get("start", ["0"])[0]), int(asked.get("end", [str(ITEMS)])[0])
        items = [n for n in range(ITEMS) if n % LISTS == number][start:end]
        return page(self.rows.versions(items), 3_000)


def names(item: int) -> tuple[str, str]:
    """The namespaces that a write of an item invalidates."""
    return f"item:{item}", f"list:{item % LISTS}"


def dawdle() -> float:
    """Seconds to dawdle for: mostly none."""
    return random() * DAWDLE if random() < DAWDLERS else 0.0


def _parts(path: str) -> tuple[str, int]:
    _, kind, number = path.split("/")
    return kind, int(number)


def _fields(body: bytes, path: str) -> Fields:
    fields = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    kind, number = _parts(path)
    return [*fields, ("Cache-Groups", f'"list:{number}"')] if kind == "lists" else fields


# WSGI ------------------------------------------------------------------------------------------


def wsgi() -> Any:
    """Build the application for gunicorn."""
    site = Site()

    def write(item: int) -> tuple[str, str]:
        if site.mistake == "invalidates before the commit":
            # Outside of the request, or pagegen mends the mistake when the handler has ended.
            Context().run(site.cache.invalidate, *names(item))
            time.sleep(EARLY)
            return OK, str(site.rows.bump(item))
        version = site.rows.bump(item)
        if site.mistake != "forgets to invalidate":
            time.sleep(dawdle())
            try:
                site.cache.invalidate(*names(item))
            except InvalidationError as error:
                return REFUSED, f"{version} {error}"
        return OK, str(version)

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            status, told = write(_parts(environ["PATH_INFO"])[1])
            body = told.encode()
        else:
            status, body = OK, site.render(environ["PATH_INFO"], environ["QUERY_STRING"])
            time.sleep(dawdle())
        start_response(status, _fields(body, environ["PATH_INFO"]))
        return [body]

    wrapped = WSGIMiddleware(application, cache=site.cache)

    def outermost(environ: Environ, start_response: Any) -> Any:
        def signed(status: str, fields: Fields, *rest: Any) -> Any:
            return start_response(status, [*fields, ("X-Worker", str(os.getpid()))], *rest)

        return wrapped(environ, signed)

    return outermost


# ASGI ------------------------------------------------------------------------------------------


def asgi() -> ASGIApp:
    """Build the application for uvicorn."""
    site = Site()

    async def write(item: int) -> tuple[str, str]:
        invalidate = site.cache.ainvalidate
        if site.mistake == "invalidates before the commit":
            await asyncio.create_task(_run(invalidate, names(item)), context=Context())
            await asyncio.sleep(EARLY)
            return OK, str(site.rows.bump(item))
        version = site.rows.bump(item)
        if site.mistake != "forgets to invalidate":
            await asyncio.sleep(dawdle())
            try:
                await invalidate(*names(item))
            except InvalidationError as error:
                return REFUSED, f"{version} {error}"
        return OK, str(version)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            status, told = await write(_parts(scope["path"])[1])
            body = told.encode()
        else:
            status, body = OK, site.render(scope["path"], scope["query_string"].decode())
            await asyncio.sleep(dawdle())
        said = _fields(body, scope["path"])
        fields = [(name.lower().encode(), value.encode()) for name, value in said]
        await send({"type": "http.response.start", "status": int(status[:3]), "headers": fields})
        await send({"type": "http.response.body", "body": body})

    wrapped = ASGIMiddleware(application, cache=site.cache)

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # uvicorn takes it that there is nothing to start or end

        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                worker = (b"x-worker", str(os.getpid()).encode())
                message = {**message, "headers": [*message["headers"], worker]}
            await send(message)

        await wrapped(scope, receive, signed)

    return outermost


async def _run(invalidate: Any, what: tuple[str, ...]) -> None:
    await invalidate(*what)
