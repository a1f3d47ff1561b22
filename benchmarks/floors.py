"""Floors: applications that answer a constant page, requests as servers make them, two fronts.

A *call* runs one request as a server would, with neither socket nor event loop: an ASGI
application's coroutine is stepped with ``send(None)``, a WSGI iterable is read and closed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, NamedTuple

from pagegen import PageCache
from pagegen.asgi import PageCacheMiddleware as AsgiMiddleware
from pagegen.stepping import step
from pagegen.wsgi import PageCacheMiddleware as WsgiMiddleware

from .timing import Action

Pairs = tuple[tuple[str, str], ...]

#: What a browser sends for a page: twelve fields with host and cookies.
BROWSER: Final[Pairs] = (
    ("host", "shop.example"),
    ("connection", "keep-alive"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("referer", "http://shop.example/items"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "de-AT,de;q=0.9,en;q=0.5"),
    ("cookie", "theme=dark; consent=yes; session=5f0c2b7e9d1a4c63"),
)
#: What an application says of its page.
TYPE: Final[Pairs] = (("Content-Type", "text/html; charset=utf-8"),)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request in the words of no front."""

    path: str = "/items/7"
    query: str = ""
    method: str = "GET"
    headers: Pairs = BROWSER

    def with_header(self, name: str, value: str) -> Ask:
        """The same request with one header more."""
        return Ask(self.path, self.query, self.method, (*self.headers, (name, value)))


class Answer(NamedTuple):
    """What a client would see: status and bytes of the body."""

    status: int
    length: int


@dataclass(frozen=True, slots=True)
class Front:
    """One of the two fronts.

    app: a floor application for a body.  wrap: the middleware around an application.
    context: the scope or environ of a request.  renumber: gives a scope or environ another path.
    run: one request.  answer: one request, and what came of it.
    """

    name: str
    app: Callable[[bytes, Pairs], Any]
    wrap: Callable[[Any, PageCache], Any]
    context: Callable[[Ask], dict[str, Any]]
    renumber: Callable[[dict[str, Any], str], None]
    run: Callable[[Any, dict[str, Any]], None]
    answer: Callable[[Any, dict[str, Any]], Answer]

    def call(self, app: Any, ask: Ask) -> Action:
        """Run this request, its scope or environ made once."""
        run, context = self.run, self.context(ask)
        return lambda: run(app, context)

    def fresh_call(self, app: Any, ask: Ask) -> Action:
        """Run this request, its scope or environ made anew each time, as servers do."""
        run, context = self.run, self.context
        return lambda: run(app, context(ask))

    def numbered_call(self, app: Any, ask: Ask, numbers: Iterator[int]) -> Action:
        """Run this request for another path each time: that of ``ask``, and a number."""
        run, context, renumber, stem = self.run, self.context(ask), self.renumber, ask.path

        def action() -> None:
            renumber(context, f"{stem}{next(numbers)}")
            run(app, context)

        return action


# ASGI ---------------------------------------------------------------------------------------


def asgi_app(body: bytes, fields: Pairs = TYPE) -> Any:
    """An ASGI application that does nothing but answer."""
    wire = [(name.lower().encode(), value.encode()) for name, value in fields]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": wire})
        await send({"type": "http.response.body", "body": body})

    return app


def asgi_scope(ask: Ask) -> dict[str, Any]:
    """A scope as uvicorn makes it: all objects new, as those read from a socket are."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50114),
        "scheme": "http",
        "method": ask.method,
        "root_path": "",
        "path": "".join(("/", ask.path[1:])),
        "raw_path": ask.path.encode(),
        "query_string": ask.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in ask.headers],
        "state": {},
    }


def _renumber_scope(scope: dict[str, Any], path: str) -> None:
    scope["path"] = path
    scope["raw_path"] = path.encode()


async def receive() -> dict[str, Any]:
    """A server's ``receive`` for a request without a body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_message: Any) -> None:
    """A server's ``send`` that does nothing."""


def _run_asgi(app: Any, scope: dict[str, Any]) -> None:
    step(app(scope, receive, send))


def _answer_asgi(app: Any, scope: dict[str, Any]) -> Answer:
    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    step(app(scope, receive, keep))
    return Answer(sent[0]["status"], sum(len(message.get("body", b"")) for message in sent))


# WSGI ---------------------------------------------------------------------------------------


def wsgi_app(body: bytes, fields: Pairs = TYPE) -> Any:
    """A WSGI application that does nothing but answer."""
    lines = list(fields)

    def app(_environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", lines)
        return [body]

    return app


def wsgi_environ(ask: Ask) -> dict[str, Any]:
    """An environ as gunicorn makes it: all objects new, as those read from a socket are."""
    environ: dict[str, Any] = {
        "wsgi.errors": None,
        "wsgi.version": (1, 0),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": io.BytesIO,
        "wsgi.input_terminated": True,
        "wsgi.input": io.BytesIO(),
        "wsgi.url_scheme": "http",
        "SERVER_SOFTWARE": "gunicorn/22.0.0",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50114",
        "REQUEST_METHOD": ask.method,
        "QUERY_STRING": ask.query,
        "RAW_URI": f"{ask.path}?{ask.query}" if ask.query else "".join(("/", ask.path[1:])),
        "PATH_INFO": "".join(("/", ask.path[1:])),
        "SCRIPT_NAME": "",
    }
    for name, value in ask.headers:
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ


def _renumber_environ(environ: dict[str, Any], path: str) -> None:
    environ["PATH_INFO"] = environ["RAW_URI"] = path


def _write(_data: bytes) -> None:
    pass


def start_response(_status: str, _fields: Any, _exc_info: Any = None) -> Callable[[bytes], None]:
    """A server's ``start_response`` that does nothing."""
    return _write


def _run_wsgi(app: Any, environ: dict[str, Any]) -> None:
    response = app(environ, start_response)
    for _ in response:
        pass
    close = getattr(response, "close", None)
    if close is not None:
        close()


def _answer_wsgi(app: Any, environ: dict[str, Any]) -> Answer:
    said: list[str] = []

    def keep(line: str, _fields: Any, _exc_info: Any = None) -> Any:
        said.append(line)
        return _write

    response = app(environ, keep)
    length = sum(map(len, response))
    getattr(response, "close", lambda: None)()
    return Answer(int(said[-1][:3]), length)


ASGI: Final = Front(
    "ASGI",
    asgi_app,
    lambda app, cache: AsgiMiddleware(app, cache=cache),
    asgi_scope,
    _renumber_scope,
    _run_asgi,
    _answer_asgi,
)
WSGI: Final = Front(
    "WSGI",
    wsgi_app,
    lambda app, cache: WsgiMiddleware(app, cache=cache),
    wsgi_environ,
    _renumber_environ,
    _run_wsgi,
    _answer_wsgi,
)
FRONTS: Final = (ASGI, WSGI)


def numbers() -> Iterator[int]:
    """Numbers that never come back."""
    return count(1_000_000)
