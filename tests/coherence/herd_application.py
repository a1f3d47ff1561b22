"""One page under many clients. What each worker does stands in a file that the test reads.

``GET /page/{n}`` is held until the test makes the file ``go`` in the folder ``HERD_FOLDER``, and
once more by ``HERD_SAYS = private``, whose page is each client's own: the first is held by ``go``,
all others by ``go-on``. Each body is another.
"""

from __future__ import annotations

import asyncio
import mmap
import os
from pathlib import Path
from struct import Struct
from typing import Any, Final, NamedTuple

from pagegen import PageCache, Rule, leasing
from pagegen.asgi import PageCacheMiddleware
from pagegen.asgi.types import ASGIApp, Receive, Scope, Send

PATIENCE: Final = 40.0
#: Seconds between two looks of a worker at what the test says, and that a rendering takes at least.
TICK: Final = 0.01
_RECORD: Final = Struct("<6q")
_SUFFIX: Final = ".worker"

RULE: Final = Rule(path="/page/{n:int}", share="public", namespaces=["page:{n}"], ttl="1h")


class Told(NamedTuple):
    """What a worker tells: requests that came, renderings that began and ended, the most at one
    time, requests that wait now, and how often any has begun to wait.
    """

    arrived: int = 0
    begun: int = 0
    ended: int = 0
    most: int = 0
    waiting: int = 0
    waits: int = 0

    @property
    def inside(self) -> int:
        """Renderings now."""
        return self.begun - self.ended


def told(folder: Path) -> list[Told]:
    """What each worker tells."""
    return [Told(*_RECORD.unpack(file.read_bytes())) for file in folder.glob(f"*{_SUFFIX}")]


class Worker:
    """The page, and what is told of it."""

    def __init__(self) -> None:
        self.folder = Path(os.environ["HERD_FOLDER"])
        self.says = os.environ["HERD_SAYS"]
        self.cache = PageCache(
            [RULE],
            store=os.environ["HERD_STORE"],
            site="herd",
            cache_status=True,
            max_wait="5m",
            max_delay=os.environ["HERD_DELAY"],
        )
        self.now = Told()
        self.go, self.go_on = asyncio.Event(), asyncio.Event()
        file = self.folder / f"{os.getpid()}{_SUFFIX}"
        # Whole from the first moment that anybody sees it.
        blank = file.with_suffix(".new")
        blank.write_bytes(bytes(_RECORD.size))
        blank.rename(file)
        with file.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), _RECORD.size)
        self._watching: asyncio.Task[None] | None = None

    def tell(self, **changes: int) -> None:
        """Change what is told."""
        self.now = self.now._replace(**changes)
        _RECORD.pack_into(self._shared, 0, *self.now)

    async def watch(self) -> None:
        """Tell who waits, and hear what the test says."""
        while True:
            counted = self.cache.statistics()
            self.tell(waiting=counted["flights_waiting"], waits=counted.get("wait", 0))
            for name, event in (("go", self.go), ("go-on", self.go_on)):
                there = (self.folder / name).exists()
                (event.set if there else event.clear)()
            await asyncio.sleep(TICK)

    def arrives(self) -> None:
        """A request has come."""
        if self._watching is None:
            self._watching = asyncio.create_task(self.watch())
        self.tell(arrived=self.now.arrived + 1)

    async def render(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application."""
        begun = self.now.begun + 1
        first = not self.go.is_set()
        self.tell(begun=begun, most=max(self.now.most, self.now.inside + 1))
        await (self.go if first or self.says != "private" else self.go_on).wait()
        await asyncio.sleep(TICK)
        self.tell(ended=self.now.ended + 1)
        fields = [(b"content-type", b"text/plain")]
        if self.says == "private":
            fields.append((b"cache-control", b"private"))
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        body = f"{os.getpid()} {begun}".encode()
        await send({"type": "http.response.body", "body": body})


def asgi() -> ASGIApp:
    """Build the application for uvicorn."""
    # The page is held for as long as it takes all to come, which is longer than a page takes of
    # which nobody knows yet how long it takes.
    setattr(leasing, "FIRST_TERM", 2 * PATIENCE)  # noqa: B010 - a constant but for us
    worker = Worker()
    wrapped = PageCacheMiddleware(worker.render, cache=worker.cache)

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/page/"):
            worker.arrives()
            await wrapped(scope, receive, _signed(send))
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    return counted


def _signed(send: Send) -> Send:
    mine = (b"x-worker", str(os.getpid()).encode())

    async def signed(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], mine]}
        await send(message)

    return signed
