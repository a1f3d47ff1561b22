"""The test language: pagegen's own scenarios are written in it, and yours can be.

A :class:`Scenario` wraps one handler with a cache, on either front, and sends it requests::

    scenario = Scenario("asgi", rules=[Rule(path="/a", share="public", ttl="1h")])
    scenario.handler = lambda seen: "hello"
    assert scenario.get("/a").trace == "uri-miss, stored"
    assert scenario.get("/a").trace == "hit"

Time stands still until :meth:`FakeClock.advance`. The handler runs in a thread of its own request,
so it may wait on barriers on both fronts. Nothing here opens a socket.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar
from urllib.parse import unquote_to_bytes

from .asgi import PageCacheMiddleware as AsgiMiddleware
from .asgi.types import ASGIApp, Message, Receive, Scope, Send
from .cache import PageCache
from .rules import Rule
from .sources import Sources
from .stores import MemoryStore, Store
from .wsgi import PageCacheMiddleware as WsgiMiddleware
from .wsgi.types import Environ, StartResponse, WSGIApp

Front = Literal["wsgi", "asgi"]
T = TypeVar("T")

#: Seconds after which a request of a scenario is taken to hang.
PATIENCE: Final = 30.0
#: Handlers of one asynchronous scenario that may run at one time.
MAX_HANDLERS: Final = 128


class FakeClock:
    """Wall clock and waiting clock in one, in seconds; it moves when told to."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.time = start

    def __call__(self) -> float:
        """Now."""
        return self.time

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds


@dataclass(frozen=True, slots=True)
class Answer:
    """A response as the client got it. ``chunks`` as they arrived; ``fields`` in order."""

    status: int
    fields: tuple[tuple[str, str], ...]
    chunks: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """All chunks."""
        return b"".join(self.chunks)

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def get(self, name: str) -> str | None:
        """The combined value of a field, None when there is none."""
        found = [value for key, value in self.fields if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    @property
    def trace(self) -> str:
        """What the cache decided, read from ``Cache-Status``: ``hit``, ``uri-miss, stored``,
        ``stale, stored``, ``collapsed``, ``refused-private``, ``bypass: query`` …
        """
        said = self.get("cache-status") or ""
        if "; collapsed" in said:
            return "collapsed"
        if "; hit" in said:
            return "hit" if "ttl=-" not in said else "stale hit"
        detail = re.search(r"; detail=([\w-]+)", said)
        cause = re.search(r"; fwd=([\w-]+)", said)
        if cause is None:
            return "nothing"
        if cause[1] in ("bypass", "method"):
            return f"bypass: {detail[1] if detail else ''}"
        if detail is not None:
            return detail[1]
        return cause[1] + (", stored" if "; stored" in said else "")


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the handler saw it. ``context`` is its environ or scope."""

    method: str
    path: str
    query: str
    fields: Mapping[str, str]
    body: bytes
    context: Mapping[str, Any]


@dataclass(slots=True)
class Reply:
    """What a handler answers. A ``bytes`` body leaves in one piece, an iterable chunk by chunk."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    fields: list[tuple[str, str]] = field(default_factory=list)


Handler = Callable[[Seen], Reply | str | bytes]


def _reply(said: Reply | str | bytes) -> Reply:
    if isinstance(said, Reply):
        return said
    body = said.encode() if isinstance(said, str) else said
    return Reply(body, fields=[("Content-Type", "text/plain; charset=utf-8")])


def environ(
    method: str, target: str, fields: Mapping[str, str] | None = None, body: bytes = b""
) -> Environ:
    """A WSGI environ such as gunicorn makes."""
    raw, _, query = target.partition("?")
    made: Environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw).decode("latin-1"),
        "RAW_URI": target,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.9",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in _request_fields(fields, body).items():
        bare = name in ("content-type", "content-length")
        made[("" if bare else "HTTP_") + name.upper().replace("-", "_")] = value
    return made


def scope(
    method: str, target: str, fields: Mapping[str, str] | None = None, body: bytes = b""
) -> Scope:
    """An ASGI scope such as uvicorn makes."""
    raw, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(raw).decode("utf-8", "replace"),
        "raw_path": raw.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in _request_fields(fields, body).items()
        ],
        "client": ("203.0.113.9", 40_000),
        "server": ("127.0.0.1", 80),
        "extensions": {},
    }


def _request_fields(fields: Mapping[str, str] | None, body: bytes) -> dict[str, str]:
    given = {"host": "testserver", **{k.lower(): v for k, v in (fields or {}).items()}}
    if body:
        given.setdefault("content-length", str(len(body)))
    return given


def call_wsgi(app: WSGIApp, made: Environ) -> Answer:
    """Drive a WSGI application as a server does: iterate, collect, close."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    chunks: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if exc_info and chunks:
            raise exc_info[1].with_traceback(exc_info[2])
        started.append((status, list(headers)))
        return chunks.append

    iterable = app(made, start_response)
    try:
        for chunk in iterable:
            chunks.append(chunk)  # noqa: PERF402 - a failure must not lose what came before it
    finally:
        getattr(iterable, "close", lambda: None)()
    status, headers = started[-1]
    return Answer(int(status[:3]), tuple(headers), tuple(chunk for chunk in chunks if chunk))


async def call_asgi(app: ASGIApp, made: Scope, body: bytes = b"") -> Answer:
    """Drive an ASGI application as a server does, with a client that stays."""
    messages: list[Message] = []
    asked = False

    async def receive() -> Message:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(made, receive, send)
    start = next(m for m in messages if m["type"] == "http.response.start")
    lines = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in start["headers"])
    bodies = (m.get("body", b"") for m in messages if m["type"] == "http.response.body")
    return Answer(start["status"], lines, tuple(chunk for chunk in bodies if chunk))


class Loop:
    """An event loop in a thread, so that synchronous tests can drive asynchronous code."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        # Every handler of a crowd must find a thread, or barriers among them never open.
        self.loop.set_default_executor(ThreadPoolExecutor(MAX_HANDLERS))
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine, run in the loop's thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def close(self) -> None:
        """Stop the loop and its thread."""
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


class Scenario:
    """One handler behind one cache, on one front. Use as a context manager, or call ``close``.

    ``settings`` are those of :class:`~pagegen.PageCache`. ``store`` defaults to a memory store on
    the scenario's clock; ``renders`` counts how often the handler ran.
    """

    def __init__(
        self,
        front: Front,
        rules: Iterable[Rule] = (),
        *,
        store: Store | None = None,
        clock: FakeClock | None = None,
        **settings: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.renders = 0
        self.handler: Handler = lambda seen: f"page {self.renders}"
        self.front = front
        settings.setdefault("cache_status", True)
        self.cache = PageCache(
            rules,
            store=store or MemoryStore(now=self.clock),
            sources=Sources(now=self.clock),
            **settings,
        )
        self._counting = threading.Lock()
        self._loop = Loop() if front == "asgi" else None
        self.wsgi = WsgiMiddleware(self._wsgi_app, cache=self.cache)
        self.asgi = AsgiMiddleware(self._asgi_app, cache=self.cache)

    def __enter__(self) -> Scenario:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the scenario's event loop and close its store."""
        if self._loop is not None:
            self._loop.close()
        self.cache.close()

    def request(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Send one request; may be called from many threads at once."""
        if self._loop is None:
            return call_wsgi(self.wsgi, environ(method, target, fields, body))
        made = scope(method, target, fields, body)
        return self._loop.run(call_asgi(self.asgi, made, body))

    def get(self, target: str, fields: Mapping[str, str] | None = None) -> Answer:
        """A GET."""
        return self.request("GET", target, fields)

    def post(self, target: str, fields: Mapping[str, str] | None = None) -> Answer:
        """A POST with a small body."""
        return self.request("POST", target, fields, b"x=1")

    def _run(self, seen: Seen) -> Reply:
        with self._counting:
            self.renders += 1
        return _reply(self.handler(seen))

    def _wsgi_app(self, made: Environ, start_response: StartResponse) -> Iterable[bytes]:
        fields = {
            key.removeprefix("HTTP_").lower().replace("_", "-"): value
            for key, value in made.items()
            if key.startswith("HTTP_")
        }
        reply = self._run(
            Seen(
                made["REQUEST_METHOD"],
                made["PATH_INFO"],
                made["QUERY_STRING"],
                fields,
                made["wsgi.input"].read(),
                made,
            )
        )
        start_response(f"{reply.status} Whatever", list(reply.fields))
        return [reply.body] if isinstance(reply.body, bytes) else iter(reply.body)

    async def _asgi_app(self, made: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        fields = {n.decode("latin-1"): v.decode("latin-1") for n, v in made["headers"]}
        query = made["query_string"].decode("latin-1")
        seen = Seen(made["method"], made["path"], query, fields, body, made)
        reply = await asyncio.to_thread(self._run, seen)
        lines = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in reply.fields]
        await send({"type": "http.response.start", "status": reply.status, "headers": lines})
        if isinstance(reply.body, bytes):
            await send({"type": "http.response.body", "body": reply.body})
            return
        chunks = iter(reply.body)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
