"""The sample application under an ASGI server."""

from __future__ import annotations

import asyncio
import os
from contextvars import Context

from ....asgi import PageCacheMiddleware
from ....asgi.types import ASGIApp, Message, Receive, Scope, Send
from ....errors import InvalidationError
from .site import EARLY, OK, REFUSED, Site, dawdle, fields, names, parts


def build() -> ASGIApp:
    """The whole application, for uvicorn."""
    site = Site()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] == "POST":
            status, told = await _write(site, parts(path)[1])
            body = told.encode()
        else:
            visitor = dict(scope["headers"]).get(b"x-visitor", b"").decode()
            status, body = OK, site.render(path, scope["query_string"].decode(), visitor)
            await asyncio.sleep(dawdle())
        said = [(name.lower().encode(), value.encode()) for name, value in fields(body, path)]
        await send({"type": "http.response.start", "status": int(status[:3]), "headers": said})
        await send({"type": "http.response.body", "body": body})

    return _signed(PageCacheMiddleware(application, cache=site.cache))


async def _write(site: Site, item: int) -> tuple[str, str]:
    if site.mistake == "early":
        # Outside of the request, or pagegen mends the mistake when the handler has ended.
        await asyncio.create_task(_invalidate(site, item), context=Context())
        await asyncio.sleep(EARLY)
        return OK, str(site.bump(item))
    version = site.bump(item)
    if site.mistake != "forgets":
        await asyncio.sleep(dawdle())
        try:
            await _invalidate(site, item)
        except InvalidationError as error:
            return REFUSED, f"{version} {error}"
    return OK, str(version)


async def _invalidate(site: Site, item: int) -> None:
    await site.cache.ainvalidate(*names(item))


def _signed(application: ASGIApp) -> ASGIApp:
    """Say which process answers."""

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # uvicorn takes it that there is nothing to start or end

        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                worker = (b"x-worker", str(os.getpid()).encode())
                message = {**message, "headers": [*message["headers"], worker]}
            await send(message)

        await application(scope, receive, signed)

    return outermost
