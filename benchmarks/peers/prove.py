"""``python -m benchmarks.peers.prove TARGET KIND``: the second request is not rendered.

Calls the application as a server would, in this process, which has to have what the peer needs;
imports nothing of pagegen. Exits with 1, and says why, where it is otherwise.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from io import BytesIO
from typing import Any, Final, NamedTuple

from .pages import TEXT, TYPE

#: As every browser has it; the rest of a request is a server's, and no cache's.
_HOST: Final = "shop.example"


class Answer(NamedTuple):
    """What a client would see."""

    status: int
    type: str
    body: bytes


class ProofError(AssertionError):
    """An application does not do what its peer promises."""


def loaded(target: str) -> Any:
    """The application of a target, as a server loads it."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


def prove(get: Callable[[str], Answer]) -> None:
    """Raise ``ProofError`` unless a page is rendered once, and others each for themselves."""
    for path, renderings in (("/items/7", 1), ("/items/7", 1), ("/items/8", 2), ("/items/7", 2)):
        answer = get(path)
        if (answer.status, answer.type, answer.body) != (200, TYPE, TEXT.encode()):
            said = f"{answer.status} {answer.type} with {len(answer.body)} bytes"
            raise ProofError(f"{path}: {said} is not the page")
        counted = int(get("/calls").body)
        if counted != renderings:
            raise ProofError(f"{path}: rendered {counted} times, expected {renderings}")


def asgi_get(app: Any, run: Callable[[Any], Any]) -> Callable[[str], Answer]:
    """GET requests to an ASGI application; ``run`` runs a coroutine to its end."""

    async def request(path: str) -> Answer:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(_scope(path), receive, send)
        headers = {name.lower(): value for name, value in sent[0]["headers"]}
        body = b"".join(message.get("body", b"") for message in sent)
        return Answer(sent[0]["status"], headers[b"content-type"].decode(), body)

    return lambda path: run(request(path))


def _scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50114),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", _HOST.encode())],
        "state": {},
    }


def wsgi_get(app: Any) -> Callable[[str], Answer]:
    """GET requests to a WSGI application."""

    def request(path: str) -> Answer:
        said: list[Any] = []

        def start_response(status: str, headers: Any, _exc_info: Any = None) -> None:
            said[:] = [status, {name.lower(): value for name, value in headers}]

        parts = app(wsgi_environ(path), start_response)
        body = b"".join(parts)
        getattr(parts, "close", lambda: None)()
        return Answer(int(said[0][:3]), said[1]["content-type"], body)

    return request


def wsgi_environ(path: str) -> dict[str, Any]:
    """What a server makes of a GET request."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": _HOST,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


async def _lifespan(app: Any, began: asyncio.Event, end: asyncio.Event) -> None:
    async def receive() -> dict[str, Any]:
        if not began.is_set():
            return {"type": "lifespan.startup"}
        await end.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        if message["type"] == "lifespan.startup.complete":
            began.set()

    try:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    finally:
        began.set()


def proven(target: str, kind: str) -> None:
    """Load an application and prove it; raises ``ProofError`` and what loading it raises."""
    app = loaded(target)
    if kind == "wsgi":
        prove(wsgi_get(app))
        return
    with asyncio.Runner() as runner:
        end = runner.run(_started(app))
        prove(asgi_get(app, runner.run))
        runner.run(_ended(*end))


async def _started(app: Any) -> tuple[asyncio.Event, asyncio.Task[None]]:
    began, end = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(_lifespan(app, began, end))
    await began.wait()
    return end, task


async def _ended(end: asyncio.Event, task: asyncio.Task[None]) -> None:
    end.set()
    with suppress(Exception):  # an application need not know of lifespans
        await task


def main(arguments: Sequence[str]) -> int:
    """Prove one application."""
    target, kind = arguments
    try:
        proven(target, kind)
    except ProofError as error:
        print(f"{target}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
