"""A site that says who and what it was asked for, with pagegen or bare: ``FUZZ_BARE`` set.

Each page is one flat JSON object whose values have neither braces nor line breaks, so that pages
can be told in any stream of bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as AsgiPageCache
from pagegen.identities import Identity, parse_source
from pagegen.wsgi import PageCacheMiddleware as WsgiPageCache

RULES: Final = (
    Rule(path="/bypass/**", cache=False),
    Rule(path="/own/**", share=["user"], ttl="1h", other_query="key"),
    Rule(path="/**", share="public", ttl="1h", other_query="key"),
)
WHO: Final = Identity(name="user", sources=(parse_source("cookie:user"),))


def _cache() -> PageCache:
    return PageCache(RULES, identities=[WHO], allowed_hosts=["shop.example"])


def _user(jar: str) -> str:
    """Who a cookie says is asking, read as frameworks do: the last one counts."""
    found = ""
    for part in jar.split(";"):
        name, _, value = part.partition("=")
        if name.strip() == "user":
            found = value.strip()
    return found


def _page(path: str, query: str, jar: str, got: int) -> bytes:
    who = _user(jar) if path.startswith("/own/") else ""
    said = {"path": quote(path, errors="surrogatepass"), "query": quote(query), "who": quote(who)}
    return json.dumps({**said, "got": got}).encode()


def _fields(page: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", "application/json"), ("Content-Length", str(len(page)))]


def wsgi() -> Any:
    """The site for gunicorn."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        got = len(environ["wsgi.input"].read())
        page = _page(path, environ["QUERY_STRING"], environ.get("HTTP_COOKIE", ""), got)
        start_response("200 OK", _fields(page))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [page]

    return app if os.environ.get("FUZZ_BARE") else WsgiPageCache(app, cache=_cache())


def asgi() -> Any:
    """The site for uvicorn."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        got, more = 0, True
        while more:
            message = await receive()
            got, more = got + len(message.get("body", b"")), message.get("more_body", False)
        jar = "; ".join(v.decode("latin-1") for n, v in scope["headers"] if n == b"cookie")
        page = _page(scope["path"], scope["query_string"].decode("latin-1"), jar, got)
        lines = [(name.lower().encode(), value.encode()) for name, value in _fields(page)]
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else page}
        )

    return app if os.environ.get("FUZZ_BARE") else AsgiPageCache(app, cache=_cache())
