"""The worst handler there can be, behind a cache: it writes all that it can see into its page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from pagegen import Identity, PageCache, Rule
from pagegen.asgi import PageCacheMiddleware as AsgiPageCache
from pagegen.sources import Sources
from pagegen.stores import MemoryStore
from pagegen.testing import Answer, FakeClock, Front, call_asgi, call_wsgi
from pagegen.wsgi import PageCacheMiddleware as WsgiPageCache
from tests.security.requests_noisy import Noisy, environ_of, scope_of

#: What the lifespan of the application leaves.
LIFESPAN: Final = {"pool": "database", "dark": False}
#: Streams, whose content is looked at instead.
_STREAMS: Final = ("wsgi.input", "wsgi.errors")

Ask = Callable[[Noisy], Awaitable[Answer]]
#: What a handler writes of what it sees.
Telling = Callable[[dict[str, Any], dict[str, str], bytes], object]


def everything(seen: dict[str, Any], _fields: dict[str, str], body: bytes) -> object:
    """All of the environ or scope, and the body."""
    return sorted((key, repr(value)) for key, value in seen.items() if key not in _STREAMS), body


class Visitors:
    """Ways to ask one cache, which nobody has asked before."""

    def __init__(
        self,
        rules: Iterable[Rule],
        identities: Iterable[Identity] = (),
        telling: Telling = everything,
        vary: str = "",
    ) -> None:
        clock = FakeClock()
        self.cache = PageCache(
            rules,
            identities=identities,
            store=MemoryStore(now=clock),
            sources=Sources(now=clock),
            cache_status=True,
        )
        self._telling = telling
        self._head = [("Content-Type", "text/plain"), ("Cache-Control", "public, max-age=600")]
        self._head += [("Vary", vary)] if vary else []

    async def ask(self, front: Front) -> Ask:
        """A way to ask through this front."""
        if front == "wsgi":
            wsgi = WsgiPageCache(self._wsgi, cache=self.cache)

            async def ask(made: Noisy) -> Answer:
                return call_wsgi(wsgi, environ_of(made))

            return ask
        asgi = AsgiPageCache(self._asgi, cache=self.cache)
        lifespan: dict[str, Any] = {"type": "lifespan", "state": {}}
        await asgi(lifespan, asyncio.Event().wait, asyncio.sleep)  # type: ignore[arg-type]

        async def ask_loop(made: Noisy) -> Answer:
            return await call_asgi(asgi, scope_of(made, LIFESPAN), made.body)

        return ask_loop

    def _told(self, seen: dict[str, Any], fields: dict[str, str], body: bytes) -> bytes:
        return repr(self._telling(seen, fields, body)).encode("utf-8", "surrogatepass")

    def _wsgi(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(self._head))
        fields = {k[5:].lower().replace("_", "-"): environ[k] for k in environ if k[:5] == "HTTP_"}
        return [self._told(environ, fields, environ["wsgi.input"].read())]

    async def _asgi(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"].update(LIFESPAN)
            return
        body = (await receive()).get("body", b"")
        fields = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
        head = [(name.lower().encode(), value.encode()) for name, value in self._head]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": self._told(scope, fields, body)})
