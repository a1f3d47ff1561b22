"""The sample application under an ASGI server."""

from __future__ import annotations

import asyncio
import os
from contextvars import Context, copy_context

from ....asgi import PageCacheMiddleware
from ....asgi.types import ASGIApp, Message, Receive, Scope, Send
from ....errors import InvalidationError
from .site import EARLY, OK, REFUSED, Site, dawdle, fields, names, outside, parts, strips


def build() -> ASGIApp:
    """The whole application, for uvicorn."""
    site = Site()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] == "POST":
            status, told = await _write(site, *parts(path))
            body = told.encode()
            said = fields(body, path)
        else:
            visitor = dict(scope["headers"]).get(b"x-visitor", b"").decode()
            status = OK
            body, said = site.render(path, scope["query_string"].decode(), visitor)
            await asyncio.sleep(dawdle(path))
        head = [(name.lower().encode(), value.encode()) for name, value in said]
        await send({"type": "http.response.start", "status": int(status[:3]), "headers": head})
        await send({"type": "http.response.body", "body": body})

    return _signed(PageCacheMiddleware(application, cache=site.cache), site.mistake)


async def _write(site: Site, kind: str, item: int) -> tuple[str, str]:
    if site.mistake == "early":
        # Outside of the request, or pagegen mends the mistake when the handler has ended.
        await asyncio.create_task(_invalidate(site, kind, item), context=Context())
        await asyncio.sleep(EARLY)
        return OK, str(site.bump(item))
    version = site.bump(item)
    if site.mistake != "forgets":
        await asyncio.sleep(dawdle())
        try:
            context = Context() if outside(kind) else copy_context()
            await asyncio.create_task(_invalidate(site, kind, item), context=context)
        except InvalidationError as error:
            return REFUSED, f"{version} {error}"
    return OK, str(version)


async def _invalidate(site: Site, kind: str, item: int) -> None:
    await site.cache.ainvalidate(*names(item), soft=kind == "soft")


def _signed(application: ASGIApp, mistake: str) -> ASGIApp:
    """Say which process answers."""

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # uvicorn takes it that there is nothing to start or end

        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = [(name.decode(), value.decode()) for name, value in message["headers"]]
                said = [*strips(mistake, said), ("x-worker", str(os.getpid()))]
                head = [(name.encode(), value.encode()) for name, value in said]
                message = {**message, "headers": head}
            await send(message)

        await application(scope, receive, signed)

    return outermost
