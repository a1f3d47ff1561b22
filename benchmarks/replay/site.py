"""The demo as it is replayed: the very application, with and without pagegen, and with counters.

``uvicorn benchmarks.replay.site:app``; what it is comes in environment variables (``serving``).
Between pagegen and the demo each page gets a version, which is read from the database *before* its
handler starts and is kept with the page. Triggers of the database count the versions, so what makes
a page old is said here a second time, by tables, and owes nothing to pagegen's rules.

Rules of this file:

1. A page's version is read before the page is rendered: no page can look newer than it is.
2. Paths under ``BARE`` are answered by the demo alone, uncounted: what a page should be.
3. Every statement of the demo is counted, but not those that read versions.
4. Without pagegen all the rest is the same: the versions, the counters, the demo's stopwatch, and
   that handlers tell a cache what they wrote, which nobody reads then.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import event
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo_app.asgi import Handlers
from demo_app.caching import CONFIG
from demo_app.load import ensure_database
from demo_app.schema import open_engine
from demo_app.timing import ASGITiming
from pagegen import PageCache, config
from pagegen.asgi import PageCacheMiddleware

from .counters import Counters
from .serving import BARE, DEAF
from .versions import VERSION, item_of


class Versioned:
    """Around the demo and under pagegen: counts renderings, and tells each page's version."""

    def __init__(self, app: ASGIApp, database: Path, counters: Counters) -> None:
        self._app = app
        self._counters = counters
        self._versions = sqlite3.connect(database, isolation_level=None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        item = item_of(scope["path"]) if scope["type"] == "http" else None
        if item is None or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        self._counters.add(renderings=1)
        told = f"{item}={self._version(item)}".encode()

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (VERSION, told)]}
            await send(message)

        await self._app(scope, receive, tell)

    def _version(self, item: str) -> int:
        # On the event loop: it takes some ten microseconds, a hop to a thread takes longer.
        query = "SELECT version FROM replayed WHERE item = ?"
        row: tuple[int] | None = self._versions.execute(query, (item,)).fetchone()
        return row[0] if row else 0


class Beside:
    """Two applications: what is under ``BARE`` goes to the second one, without that prefix."""

    def __init__(self, app: ASGIApp, bare: ASGIApp) -> None:
        self._app = app
        self._bare = bare

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["path"].startswith(BARE):
            path = scope["path"].removeprefix(BARE)
            scope = {**scope, "path": path, "raw_path": path.encode("ascii")}
            await self._bare(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def open_cache(store: str, mistake: str = "") -> PageCache:
    """The demo's own cache, with another store, and perhaps mistakes (with commas between)."""
    found = config.load(CONFIG)
    rules = tuple(
        replace(rule, namespaces=("nobody",)) if rule.name in mistake.split(",") else rule
        for rule in found.book.rules
    )
    book = replace(found.book, rules=rules)
    settings = replace(found.settings, store=store)
    return PageCache.from_configuration(replace(found, settings=settings, book=book))


def build() -> ASGIApp:
    """The demo as the environment says: ``REPLAY_STORE`` (none: pagegen is off) and the rest."""
    if cpus := os.environ.get("REPLAY_CPUS"):
        os.sched_setaffinity(0, map(int, cpus.split(",")))
    store, mistake = os.environ.get("REPLAY_STORE", ""), os.environ.get("REPLAY_MISTAKE", "")
    counters = Counters(Path(os.environ["REPLAY_COUNTERS"]))
    database = ensure_database()
    cache = open_cache(store or "memory://", mistake)
    told = open_cache("memory://") if mistake == DEAF else cache
    demo = _demo(database, told, counters)
    app: Any = Versioned(demo, database, counters)
    if store:
        app = PageCacheMiddleware(app, cache=cache)
    return Beside(ASGITiming(app), _demo(database, open_cache("memory://")))


def _demo(database: Path, cache: PageCache, counters: Counters | None = None) -> ASGIApp:
    engine = open_engine(database)
    if counters is not None:
        event.listen(engine, "before_cursor_execute", lambda *_: counters.add(queries=1))
    return Handlers(engine, cache).application()


def __getattr__(name: str) -> ASGIApp:
    # `app` is built when a server asks for it: importing this module alone opens nothing.
    if name != "app":
        raise AttributeError(name)
    app = build()
    globals().update(app=app)
    return app
