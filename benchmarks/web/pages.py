"""The page that every subject answers, and applications that do nothing but answer it.

Each server process imports this module, so it imports nothing of pagegen. ``asgi_floor`` and
``wsgi_floor`` are the floor; ``asgi_counted`` and ``wsgi_counted`` are what stands behind a cache:
they count how often they are run, and answer that number at ``/calls``. ``asgi_bare`` and
``wsgi_bare`` are these two without the counting.

``PAGEGEN_BENCH_BODY`` is the size of the body in bytes. ``PAGEGEN_BENCH_CALLS`` is a file in which
all processes of one server count together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Final

BODY: Final = b"x" * int(os.environ.get("PAGEGEN_BENCH_BODY", "10000"))
CALLS_PATH: Final = "/calls"

_Lines = list[tuple[str, str]]

#: What an application says of its page.
OWN: Final[_Lines] = [
    ("content-type", "text/html; charset=utf-8"),
    ("content-length", str(len(BODY))),
]
#: What a client gets with a hit of pagegen, in this order; each run proves that it is so. The floor
#: sends the same, or the server's own work on these lines would be counted as pagegen's.
HIT: Final[_Lines] = [
    OWN[0],
    ("etag", '"b80a26fde37b4577993e3b7ce685834e"'),
    ("cache-control", "no-cache"),
    ("accept-ranges", "bytes"),
    OWN[1],
    ("age", "0"),
    ("vary", "*"),
]
#: What lets a proxy in front keep the page.
PROXY: Final[_Lines] = [*OWN, ("cache-control", "max-age=3600")]


class Calls:
    """How often an application was run, in all processes that count in the same file.

    One byte is appended for each call: that needs no lock.
    """

    def __init__(self, path: str) -> None:
        flags = os.O_CREAT | os.O_APPEND | os.O_RDWR
        self._file = os.open(path, flags, 0o600) if path else os.memfd_create("calls")

    def add(self) -> None:
        """Count one."""
        os.write(self._file, b".")

    @property
    def number(self) -> int:
        """All that were counted."""
        return os.fstat(self._file).st_size


CALLS: Final = Calls(os.environ.get("PAGEGEN_BENCH_CALLS", ""))


def _wire(lines: _Lines) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in lines]


def asgi(lines: _Lines) -> Any:
    """An ASGI application that answers the page with these header lines."""
    headers = _wire(lines)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await lifespan(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})

    return app


async def lifespan(receive: Any, send: Any) -> None:
    """Answer a server that says when it starts and ends."""
    for step in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{step}.complete"})


def wsgi(lines: _Lines) -> Any:
    """A WSGI application that answers the page with these header lines."""

    def app(_environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", lines)
        return (BODY,)

    return app


def asgi_counting(lines: _Lines) -> Any:
    """The same, counting; the number is at ``/calls``."""
    page = asgi(lines)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == CALLS_PATH:
            said = str(CALLS.number).encode()
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(said))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": said})
            return
        if scope["type"] == "http":
            CALLS.add()
        await page(scope, receive, send)

    return app


def wsgi_counting(lines: _Lines) -> Any:
    """The same, counting; the number is at ``/calls``."""
    page = wsgi(lines)

    def app(environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == CALLS_PATH:
            said = str(CALLS.number).encode()
            headers = [("content-type", "text/plain"), ("content-length", str(len(said)))]
            start_response("200 OK", headers)
            return (said,)
        CALLS.add()
        return page(environ, start_response)  # type: ignore[no-any-return]

    return app


asgi_floor, wsgi_floor = asgi(HIT), wsgi(HIT)
asgi_bare, wsgi_bare = asgi(OWN), wsgi(OWN)
asgi_counted, wsgi_counted = asgi_counting(OWN), wsgi_counting(OWN)
asgi_proxied = asgi_counting(PROXY)
