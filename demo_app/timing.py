"""The outermost layer: what each request cost, and whether the cache answered, in `Server-Timing`.

A cached page is the same for everybody, so it cannot say how it was served. The response's header
can, and the page's script reads it there.
"""

import re
from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# Of the field only tokens count here; a string may hold commas and semicolons.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def verdict(cache_status: str) -> str:
    """The `Cache-Status` field (RFC 9211) in one word: hit, miss, bypass or none."""
    latest = _STRING.sub("", cache_status).rpartition(",")[2]
    parameters = {part.strip().partition("=")[::2] for part in latest.split(";")[1:]}
    if ("hit", "") in parameters or ("hit", "?1") in parameters:
        return "hit"
    forwards = {value for name, value in parameters if name == "fwd"}
    if not forwards:
        return "none"
    return "bypass" if forwards & {"bypass", "method"} else "miss"


def server_timing(cache_status: str, age: str, seconds: float) -> str:
    """The value of `Server-Timing`: verdict, age in ms when there is one, and time taken in ms."""
    metrics = [f'cache;desc="{verdict(cache_status)}"', f"total;dur={seconds * 1000:.2f}"]
    if age.isdecimal():
        metrics.append(f"age;dur={int(age) * 1000}")
    return ", ".join(metrics)


class WSGITiming:
    """Adds `Server-Timing` to what a WSGI application answers."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """WSGI."""
        began = perf_counter()

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            fields = {name.lower(): value for name, value in headers}
            timing = server_timing(
                fields.get("cache-status", ""), fields.get("age", ""), perf_counter() - began
            )
            return start_response(status, [*headers, ("Server-Timing", timing)], *exc_info)

        return self._app(environ, start)


class ASGITiming:
    """Adds `Server-Timing` to what an ASGI application answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        began = perf_counter()

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                fields = {name.lower(): value.decode("latin-1") for name, value in headers}
                timing = server_timing(
                    fields.get(b"cache-status", ""), fields.get(b"age", ""), perf_counter() - began
                )
                headers.append((b"server-timing", timing.encode("ascii")))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, timed)
