"""A stream that breaks off is no page, whoever ends it as if it were whole.

Starlette's ``BaseHTTPMiddleware``, and so ``@app.middleware("http")`` of FastAPI, ends the body of
a handler that fails half way, and raises its exception afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pagegen import PageCache, Rule
from pagegen.asgi import PageCacheMiddleware
from pagegen.testing import call_asgi
from pagegen.testing.calling import scope

ASKING = {"accept-encoding": "gzip"}


async def _through(request: Request, call_next: Any) -> Response:
    answer: Response = await call_next(request)
    return answer


PASSING = Middleware(BaseHTTPMiddleware, dispatch=_through)


async def _broken() -> AsyncIterator[bytes]:
    yield b"<html>first half" * 100
    await asyncio.sleep(0)
    raise RuntimeError("the database has gone")


async def _at_once() -> AsyncIterator[bytes]:
    raise RuntimeError("the database has gone")
    yield b""


def site(handler: Any, between: Sequence[Middleware], **rule: Any) -> PageCacheMiddleware:
    inner = Starlette(routes=[Route("/page", handler)], middleware=list(between))
    cache = PageCache([Rule(path="/**", share="public", ttl="1h", mode="keyed", **rule)])
    return PageCacheMiddleware(inner, cache=cache)


def ask(app: PageCacheMiddleware) -> bytes | None:
    """The body that a client gets; None for an exception."""
    try:
        return asyncio.run(call_asgi(app, scope("GET", "/page", ASKING))).body
    except RuntimeError:
        return None


@pytest.mark.parametrize("rule", [{}, {"compress": ["gzip"]}], ids=["plain", "compressed"])
@pytest.mark.parametrize(
    "between",
    [(PASSING,), (PASSING, PASSING), (Middleware(GZipMiddleware), PASSING)],
    ids=["one", "two", "behind-gzip"],
)
@pytest.mark.parametrize("body", [_broken, _at_once])
def test_a_stream_whose_handler_failed_behind_a_middleware_is_not_stored(
    body: Any, between: Sequence[Middleware], rule: dict[str, Any]
) -> None:
    fails = [True]

    async def handler(request: Request) -> Response:
        return StreamingResponse(body()) if fails else Response("whole")

    app = site(handler, between, **rule)
    ask(app)
    assert app.cache.inspect("/page", host="testserver").state == "absent"
    fails.clear()
    assert ask(app) == b"whole"


def test_a_whole_stream_is_there_for_its_client_before_what_runs_behind_it() -> None:
    """Its last byte does not wait for the application's background tasks; the cache does."""
    states: list[str] = []

    async def behind() -> None:
        states.append(app.cache.inspect("/page", host="testserver").state)

    async def whole() -> AsyncIterator[bytes]:
        yield b"first half"
        yield b", second half"

    async def handler(request: Request) -> Response:
        return StreamingResponse(whole(), background=BackgroundTask(behind))

    app = site(handler, ())
    sent: list[Any] = []

    async def check() -> None:
        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message["more_body"]:
                assert states == []

        await app(scope("GET", "/page"), asyncio.Event().wait, send)

    asyncio.run(check())
    assert states == ["absent"]
    assert app.cache.inspect("/page", host="testserver").state == "fresh"
    assert b"".join(each.get("body", b"") for each in sent) == b"first half, second half"
