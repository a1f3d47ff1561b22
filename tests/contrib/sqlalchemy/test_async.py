"""Async sessions: the same promises, and a loop that is never blocked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, delete, text, update
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session

from pagegen.contrib.sqlalchemy import aforgetting, pending, watch
from tests.contrib.sqlalchemy.shop import ITEM, Deaf, Item, NotedCache

Maker = async_sessionmaker[AsyncSession]
BOTH = ["item:1", "shop:1/items"]


@pytest.fixture
def address(url: str, engine: Engine) -> str:
    """The same database for an async engine; psycopg has both faces in one driver."""
    return url.replace("sqlite:", "sqlite+aiosqlite:")


@asynccontextmanager
async def watched(address: str, cache: NotedCache) -> AsyncIterator[Maker]:
    engine = create_async_engine(address)
    make = async_sessionmaker(engine)
    watching = watch(make, cache)
    try:
        yield make
    finally:
        watching.stop()
        await engine.dispose()


def test_a_commit_forgets_on_the_loop_and_a_rollback_nothing(
    address: str, cache: NotedCache
) -> None:
    async def play() -> None:
        async with watched(address, cache) as make:
            async with make() as session:
                item = await session.get_one(Item, 1)
                item.title = "no"
                await session.flush()
                await session.rollback()
                assert cache.calls == []
                item = await session.get_one(Item, 1)
                item.title = "new"
                async with session.begin_nested():
                    pending(session).add("item:5")
                assert cache.calls == []
                await session.commit()
                assert cache.calls == [["item:1", "item:5", "shop:1/items"]]
                assert cache.awaited == 1
            cache.told()
            async with make.begin() as session:
                await session.execute(update(Item).where(Item.id == 2).values(shop_id=2))
                await session.execute(delete(Item).where(Item.id == 3))
            assert cache.told() == ["item:2", "item:3", "shop:1/items", "shop:2/items"]

    asyncio.run(play())


def test_strangers_of_the_same_engine_are_not_watched(address: str, cache: NotedCache) -> None:
    async def play() -> None:
        async with watched(address, cache) as make:
            engine = make.kw["bind"]
            async with AsyncSession(engine) as session, session.begin():
                (await session.get_one(Item, 1)).title = "new"

    asyncio.run(play())
    assert cache.calls == []


@pytest.mark.parametrize("form", ["class", "one", "scoped"])
def test_other_async_targets(address: str, cache: NotedCache, form: str) -> None:
    class Own(AsyncSession):
        sync_session_class = type("OwnSync", (Session,), {})

    async def play() -> None:
        engine = create_async_engine(address)
        make = async_sessionmaker(engine, class_=Own)
        scoped = async_scoped_session(make, asyncio.current_task)
        one = make()
        target: Any = {"class": Own, "one": one, "scoped": scoped}[form]
        watching = watch(target, cache)
        session: Any = scoped() if form == "scoped" else one
        (await session.get_one(Item, 1)).title = "new"
        await session.commit()
        watching.stop()
        await one.close()
        await scoped.remove()
        await engine.dispose()

    asyncio.run(play())
    assert cache.told() == BOTH


def cancelled_after_the_commit(
    address: str, write: Callable[[NotedCache, Maker], Awaitable[None]]
) -> NotedCache:
    """A task that is cancelled while the store is asked; the cache, before it is closed."""
    store = Deaf()
    cache = NotedCache(ITEM, store=store)

    async def play() -> None:
        store.gate, store.waiting = asyncio.Event(), asyncio.Event()
        async with watched(address, cache) as make:
            task = asyncio.ensure_future(write(cache, make))
            await store.waiting.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            store.deaf = True  # so that nobody pays before we look
            assert set(cache.engine._state.owed.names) == {"item:1", "shop:1/items"}
            store.deaf, store.gate = False, None
            async with make() as session:
                assert (await session.get_one(Item, 1)).title == "new"

    asyncio.run(play())
    return cache


def test_a_task_that_is_cancelled_after_its_commit_leaves_its_names_owed(address: str) -> None:
    async def write(cache: NotedCache, make: Maker) -> None:
        async with make() as session:
            (await session.get_one(Item, 1)).title = "new"
            await session.commit()

    cancelled_after_the_commit(address, write).close()


def test_a_task_that_is_cancelled_after_a_commit_of_core_leaves_its_names_owed(
    address: str,
) -> None:
    async def write(cache: NotedCache, make: Maker) -> None:
        async with aforgetting(make.kw["bind"], cache) as work:
            await work.connection.execute(text("UPDATE items SET title = 'new' WHERE id = 1"))
            work.add(*BOTH)

    cancelled_after_the_commit(address, write).close()


def test_a_core_transaction_of_an_async_engine(address: str, cache: NotedCache) -> None:
    async def play() -> None:
        engine = create_async_engine(address)
        async with aforgetting(engine, cache) as work:
            pending(work.connection).add("item:1")
            assert cache.calls == []
        assert (cache.told(), cache.awaited) == (["item:1"], 1)
        with pytest.raises(KeyError):
            async with aforgetting(engine, cache) as work:
                work.add("item:1")
                raise KeyError
        async with engine.connect() as connection, aforgetting(connection, cache) as work:
            work.add("item:2")
        assert cache.told() == ["item:2"]
        await engine.dispose()

    asyncio.run(play())


def test_a_task_that_is_cancelled_while_it_commits_forgets_what_may_have_happened(
    address: str, cache: NotedCache
) -> None:
    async def play() -> None:
        async with watched(address, cache) as make:
            engine = make.kw["bind"]
            dialect = engine.sync_engine.dialect
            real = dialect.do_commit

            def commit(connection: Any) -> None:
                real(connection)
                raise asyncio.CancelledError

            async with make() as session:
                (await session.get_one(Item, 1)).title = "new"
                await session.flush()
                dialect.do_commit = commit
                with pytest.raises(asyncio.CancelledError):
                    await session.commit()
                dialect.do_commit = real

    asyncio.run(play())
    assert cache.told() == BOTH
