"""A site with one long page, for clients that read nothing; ``/memory`` says what it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as AsgiMiddleware
from pagegen.asgi.types import ASGIApp, Receive, Scope, Send
from pagegen.wsgi import PageCacheMiddleware as WsgiMiddleware
from pagegen.wsgi.types import WSGIApp
from tests.security.memory import resident

#: Longer than what Linux buffers for one connection (``tcp_wmem``: 4 MiB).
LENGTH: Final = 2**23
_BODY: Final = b"x" * LENGTH
_PAGE: Final = Rule(path="/page", share="public", ttl="1h", max_body=2**24)


def _body(path: str) -> bytes:
    return _BODY if path == "/page" else b"%d" % resident()


async def _asgi(scope: Scope, _receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    body = _body(scope["path"])
    head = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    body = _body(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def asgi() -> ASGIApp:
    """For uvicorn, with its lifespan off."""
    return AsgiMiddleware(_asgi, cache=PageCache([_PAGE]))


def wsgi() -> WSGIApp:
    """For gunicorn."""
    return WsgiMiddleware(_wsgi, cache=PageCache([_PAGE]))
