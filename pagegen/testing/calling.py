"""Driving one application as a server does, without a server or a socket."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from ..asgi.types import ASGIApp, Message, Scope
from ..wsgi.types import Environ, WSGIApp


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
        said = re.split(r"(?:^|, )pagegen(?=;)", self.get("cache-status") or "")[-1]
        if re.search(r"; collapsed(?:;|$)", said):
            return "collapsed"
        if "; detail=stale-if-" in said:
            return "stale hit"
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
