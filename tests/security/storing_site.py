"""A site whose pages are broken in every way that a server lets through, behind pagegen.

The path names the way (``WAYS``). Each answer says in its body how often its handler ran.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from threading import Lock
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as AsgiPageCache
from pagegen.wsgi import PageCacheMiddleware as WsgiPageCache

Lines = list[tuple[str, str]]

#: Fields of each way beside those of a good page; its body may break off or go on, too.
WAYS: Final[dict[str, Lines]] = {
    "good": [],
    "split": [("Location", "/\r\nSet-Cookie: session=evil")],
    "nul": [("X-A", "a\x00b")],
    "blank": [("Set-Cookie ", "session=evil")],
    "cookie": [("sEt-cOOkie", "session=ada")],
    "private": [("cache-control", "x=1, Private")],
    "short": [("Content-Length", "60")],
    "long": [("Content-Length", "10")],
    "several": [("Content-Length", "30"), ("Content-Length", "31")],
    "garbage": [("Content-Length", "3O")],
    "coded": [("Transfer-Encoding", "gzip, chunked")],
    "raises": [],
    "raises-at-once": [],
    "headers": [(f"X-{number}", "x" * 100) for number in range(700)],
}


class Site:
    """The handlers."""

    def __init__(self) -> None:
        self._renders: Counter[str] = Counter()
        self._lock = Lock()

    def answer(self, path: str) -> tuple[str, Lines, list[bytes]]:
        """The way, fields and body (30 bytes in two pieces) of a page."""
        way = path.split("/")[1]
        with self._lock:
            self._renders[path] += 1
            body = f"{path}#{self._renders[path]}".ljust(30).encode()
        fields = [("Content-Type", "text/plain"), ("Cache-Control", "max-age=60"), *WAYS[way]]
        return way, fields, [body[:15], body[15:]]


def _cache() -> PageCache:
    rule = Rule(path="/**", share="public", ttl="1h")
    return PageCache([rule], cache_status=True)


def wsgi() -> WsgiPageCache:
    """The site for gunicorn."""
    site = Site()

    def broken(way: str, body: list[bytes]) -> Iterator[bytes]:
        for number, piece in enumerate(body):
            if way == "raises" and number:
                raise RuntimeError("meant")
            yield piece

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        way, fields, body = site.answer(environ["PATH_INFO"])
        if way == "raises-at-once":
            raise RuntimeError("meant")
        start_response("200 OK", fields)
        return broken(way, body)

    return WsgiPageCache(app, cache=_cache())


def asgi() -> AsgiPageCache:
    """The site for uvicorn."""
    site = Site()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        way, fields, body = site.answer(scope["path"])
        if way == "raises-at-once":
            raise RuntimeError("meant")
        lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        for number, piece in enumerate(body):
            if way == "raises" and number:
                raise RuntimeError("meant")
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return AsgiPageCache(app, cache=_cache())
