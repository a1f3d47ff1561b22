"""Worker processes that write, and stand still where they are to be killed.

``python -m tests.contrib.outbox.workers PLACE CONFIG``: reads commands, one JSON object a line, and
forks a child for each. Says the child's id when it stands, and how it ended when it is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from pagegen import PageCache
from pagegen.contrib.outbox import Sweeper, shelf
from tests.contrib.outbox.databases import Place

_UPDATE = text("UPDATE item SET text = :text WHERE id = :id")


def plain(place: Place, cache: PageCache, item: int) -> None:
    with cache.outbox(connection := place.connect()) as outbox:
        place.write(connection, item, "new")
        outbox.invalidate(f"item:{item}")


def by_hand(place: Place, cache: PageCache, item: int) -> None:
    connection = place.connect()
    outbox = cache.outbox(connection)
    outbox.invalidate(f"item:{item}")
    place.write(connection, item, "new")
    connection.commit()
    outbox.apply()  # type: ignore[attr-defined]


def session(place: Place, cache: PageCache, item: int) -> None:
    with Session(create_engine(place.sync_url)) as opened:
        opened.execute(_UPDATE, {"text": "new", "id": item})
        cache.outbox(opened).invalidate(f"item:{item}")
        opened.commit()


def asynchronous(place: Place, cache: PageCache, item: int) -> None:
    async def write() -> None:
        async with AsyncSession(create_async_engine(place.async_url)) as opened:
            await opened.execute(_UPDATE, {"text": "new", "id": item})
            await cache.outbox(opened).ainvalidate(f"item:{item}")  # type: ignore[attr-defined]
            await opened.commit()

    asyncio.run(write())


def core(place: Place, cache: PageCache, item: int) -> None:
    with create_engine(place.sync_url).connect() as opened, cache.outbox(opened) as outbox:
        opened.execute(_UPDATE, {"text": "new", "id": item})
        outbox.invalidate(f"item:{item}")


def django(place: Place, cache: PageCache, item: int) -> None:
    from django.db import connection, transaction

    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("UPDATE item SET text = %s WHERE id = %s", ["new", item])
        cache.outbox("default").invalidate(f"item:{item}")


def sweep(place: Place, cache: PageCache, item: int) -> None:
    Sweeper(cache, place.sync_url, grace=0, batch=item).sweep()


WAYS = {way.__name__: way for way in (plain, by_hand, session, asynchronous, core, django, sweep)}


def _child(place: Place, config: str, wanted: dict[str, Any], told: int) -> None:
    left = wanted.get("after", 0)

    def stand(*_: object, **__: object) -> None:
        nonlocal left
        if left:
            left -= 1
            real(*_, **__)
            return
        os.write(told, b"!")
        while True:
            signal.pause()

    async def astand(*_: object, **__: object) -> None:
        stand()

    cache = PageCache.from_toml(config)
    real: Any = shelf.delete if wanted["stop"] == "applied" else cache.invalidate
    if wanted["stop"] == "applied":
        shelf.delete = stand
    elif wanted["stop"] == "committed":
        cache.invalidate = stand  # type: ignore[method-assign,assignment]
        cache.ainvalidate = astand  # type: ignore[method-assign,assignment]
    WAYS[wanted["way"]](place, cache, wanted["item"])


def _warm(place: Place, config: str) -> None:
    """Import all that children need, and open nothing."""
    import django
    from django.conf import settings

    settings.configure(DATABASES={"default": place.settings})
    django.setup()
    from django.db import connection

    connection.ops  # noqa: B018 - imports the backend
    create_engine(place.sync_url)
    create_async_engine(place.async_url)
    PageCache.from_toml(config).close()


def main(place: Place, config: str) -> None:
    _warm(place, config)
    for line in sys.stdin:
        read, told = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _child(place, config, json.loads(line), told)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        os.close(told)
        print(child if os.read(read, 1) == b"!" else 0, flush=True)
        os.close(read)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(Place(**json.loads(sys.argv[1])), sys.argv[2])
