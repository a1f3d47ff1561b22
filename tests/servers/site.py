"""A small site whose pages come in every shape, behind pagegen on a store that takes its time.

The first part of a path says how the body is given (``SHAPES``), the rest names the page. Every
page says how often its handler ran. Methods other than GET and HEAD write. Pages below
``/validated`` are stale when they come, and fresh once the application has found them good.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable
from time import time
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as AsgiPageCache
from pagegen.fields import format_http_date
from pagegen.stores import Capabilities, MemoryStore
from pagegen.stores.lmdb import LmdbStore
from pagegen.testing import Reply
from pagegen.wsgi import PageCacheMiddleware as WsgiPageCache

#: Seconds that the store takes for a verb that writes: much longer than a client for its next
#: request, so that a response which does not wait for the store is found out.
DELAY: Final = 0.02
#: Seconds that pages with a date of their own say they are old: more than a test takes.
PAST: Final = 600

SHAPES: Final = (
    "once",
    "once-sized",
    "pieces",
    "pieces-sized",
    "nothing",
    "no-piece",
    "204",
    "303",
)


class _Slow:
    """Writes as a server over a network does."""

    _never = threading.Event()

    async def write_page(self, *arguments: Any) -> bool:
        """See ``Store``."""
        self._never.wait(DELAY)
        kept: bool = await super().write_page(*arguments)  # type: ignore[misc]
        return kept

    async def delete_page(self, slot: bytes) -> None:
        """See ``Store``."""
        self._never.wait(DELAY)
        await super().delete_page(slot)  # type: ignore[misc]

    async def replace_tokens(self, *arguments: Any) -> None:
        """See ``Store``."""
        self._never.wait(DELAY)
        await super().replace_tokens(*arguments)  # type: ignore[misc]


class SlowMemory(_Slow, MemoryStore):
    """For one process."""

    capabilities = Capabilities(blocking_reads=False, blocking_writes=True, shared=False)


class SlowLmdb(_Slow, LmdbStore):
    """For all workers."""


class Site:
    """The handlers."""

    def __init__(self) -> None:
        self._renders: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reply(self, method: str, path: str, known: str | None) -> Reply:
        """The answer to one request; ``known`` is its ``If-None-Match``."""
        with self._lock:
            self._renders[path] += 1
            body = f"{method} {path} {self._renders[path]}".encode()
        _, shape, *rest = path.split("/")
        status, fields = 200, [("Content-Type", "text/plain"), ("X-Shape", shape)]
        if method in ("GET", "HEAD"):
            fields.append(("Cache-Control", "max-age=3600"))
            status, body = self._validated(shape, fields, known, body)
        elif shape in ("204", "303"):
            status = int(shape)
            fields.append(("Location", path))
        if "dated" in rest:
            fields.append(("Date", format_http_date(time() - PAST)))
        if "private" in rest:
            fields[2:3] = [("Cache-Control", "no-store")]
        return _shaped(shape, status, fields, b"" if method == "HEAD" else body)

    def _validated(
        self, shape: str, fields: list[tuple[str, str]], known: str | None, body: bytes
    ) -> tuple[int, bytes]:
        if shape != "validated":
            return 200, body
        fields.append(("ETag", '"1"'))
        if known is not None:
            return 304, b""
        if body.startswith(b"GET"):
            fields[2] = ("Cache-Control", "max-age=0")
        return 200, body


def _shaped(shape: str, status: int, fields: list[tuple[str, str]], body: bytes) -> Reply:
    if status in (204, 304):
        return Reply([], status, fields)
    if shape in ("nothing", "no-piece", "303"):
        pieces = [] if shape == "no-piece" else [b""]
        return Reply(pieces, status, [*fields, ("Content-Length", "0")])
    if shape.endswith("sized"):
        fields.append(("Content-Length", str(len(body))))
    return Reply([body[:3], body[3:]] if shape.startswith("pieces") else body, status, fields)


def cache() -> PageCache:
    """The cache of the site. ``SITE_STORE`` names a folder that all workers share."""
    folder = os.environ.get("SITE_STORE")
    return PageCache(
        [Rule(path="/bypass/**", cache=False), Rule(path="/**", share="public")],
        store=SlowLmdb(folder, "16MiB") if folder else SlowMemory(),
        max_delay=10,
        cache_status=True,
    )


def wsgi() -> WsgiPageCache:
    """The site for gunicorn."""
    site = Site()

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        known = environ.get("HTTP_IF_NONE_MATCH")
        reply = site.reply(environ["REQUEST_METHOD"], environ["PATH_INFO"], known)
        start_response(f"{reply.status} Whatever", reply.fields)
        return [reply.body] if isinstance(reply.body, bytes) else iter(reply.body)

    return WsgiPageCache(app, cache=cache())


def asgi() -> AsgiPageCache:
    """The site for uvicorn."""
    site = Site()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        known = dict(scope["headers"]).get(b"if-none-match")
        reply = site.reply(scope["method"], scope["path"], known and known.decode("latin-1"))
        lines = [(name.lower().encode(), value.encode()) for name, value in reply.fields]
        await send({"type": "http.response.start", "status": reply.status, "headers": lines})
        if isinstance(reply.body, bytes):
            await send({"type": "http.response.body", "body": reply.body})
            return
        for piece in reply.body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return AsgiPageCache(app, cache=cache())
