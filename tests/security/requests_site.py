"""A site that tells what it sees of a request, behind pagegen, for real servers.

A request with credentials bypasses: what it is told is what the bare application sees.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as AsgiPageCache
from pagegen.wsgi import PageCacheMiddleware as WsgiPageCache

RULES: Final = (Rule(path="/**", share="public", ttl="1h", other_query="key"),)
HOSTS: Final = ("shop.example", ".blog.example", "api.example:8080", "127.0.0.1", "[::1]")


def _cache() -> PageCache:
    return PageCache(RULES, allowed_hosts=HOSTS, cache_status=True)


def _page(**seen: str) -> bytes:
    return json.dumps(seen).encode()


def wsgi() -> WsgiPageCache:
    """The site for gunicorn."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raw = environ.get("RAW_URI", environ.get("REQUEST_URI", ""))
        page = _page(
            path=environ["PATH_INFO"],
            raw=raw.partition("?")[0],
            query=environ["QUERY_STRING"],
            host=environ.get("HTTP_HOST", "none"),
        )
        start_response("200 OK", [("Content-Length", str(len(page)))])
        return [page]

    return WsgiPageCache(app, cache=_cache())


def asgi() -> AsgiPageCache:
    """The site for uvicorn."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        page = _page(
            path=scope["path"],
            raw=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            host=", ".join(hosts) or "none",
        )
        head = [(b"content-length", str(len(page)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": page})

    return AsgiPageCache(app, cache=_cache())
