"""What fails after a commit raises nothing and loses nothing; what is no transaction is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from pagegen.contrib.outbox import ManualOutbox
from tests.contrib.outbox.conftest import Cache
from tests.contrib.outbox.databases import Place

HARD = (("item:1",), False)
SOFT = (("item:2",), True)


class Broken(Cache):
    """Its store breaks its contract for what is forgotten hard."""

    def invalidate(self, *names: str, soft: bool = False) -> Any:
        if not soft:
            raise LookupError("no such server")
        return super().invalidate(*names, soft=soft)

    async def ainvalidate(self, *names: str, soft: bool = False) -> Any:
        if not soft:
            raise LookupError("no such server")
        return await super().ainvalidate(*names, soft=soft)


@pytest.fixture
def engine(place: Place) -> Iterator[Engine]:
    made = create_engine(place.sync_url, pool_size=1, max_overflow=0, pool_timeout=1)
    yield made
    made.dispose()


def manual(cache: Cache, connection: object) -> ManualOutbox:
    outbox = cache.outbox(connection)
    assert isinstance(outbox, ManualOutbox)
    return outbox


def by_session(cache: Cache, place: Place) -> None:
    engine = create_engine(place.sync_url, poolclass=NullPool)
    with Session(engine) as session:
        cache.outbox(session).invalidate("item:1")
        cache.outbox(session).invalidate("item:2", soft=True)
        session.commit()
        assert session.execute(text("SELECT 1")).scalar() == 1


def by_asynchronous_session(cache: Cache, place: Place) -> None:
    async def write() -> None:
        engine = create_async_engine(place.async_url, poolclass=NullPool)
        async with AsyncSession(engine) as session:
            outbox: Any = cache.outbox(session)
            await outbox.ainvalidate("item:1")
            await outbox.ainvalidate("item:2", soft=True)
            await session.commit()
        await engine.dispose()

    asyncio.run(write())


def by_block(cache: Cache, place: Place) -> None:
    with closing(place.connect()) as connection, cache.outbox(connection) as outbox:
        outbox.invalidate("item:1")
        outbox.invalidate("item:2", soft=True)


def by_core(cache: Cache, place: Place) -> None:
    engine = create_engine(place.sync_url, poolclass=NullPool)
    with engine.connect() as connection, cache.outbox(connection) as outbox:
        outbox.invalidate("item:1")
        outbox.invalidate("item:2", soft=True)


@pytest.mark.parametrize("commit", [by_session, by_asynchronous_session, by_block, by_core])
def test_an_error_of_any_kind_makes_no_commit_look_failed_and_loses_no_other_name(
    commit: Callable[[Cache, Place], None], place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Broken()
    commit(cache, place)
    cache.close()
    assert (cache.told, place.rows()) == ([SOFT], 2)
    assert "LookupError" in caplog.text


def test_a_plain_connection_that_is_gone_after_the_commit_forgets_all_the_same(
    place: Place, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    connection = place.connect()
    outbox = manual(cache, connection)
    outbox.invalidate("item:1")
    connection.commit()
    connection.close()
    assert outbox.apply().namespaces == ("item:1",)
    assert (cache.told, place.rows()) == ([HARD], 1)
    assert "could not be asked" in caplog.text
    assert outbox.apply().namespaces == ()


def test_a_table_that_is_gone_after_the_commit_forgets_all_the_same(
    place: Place, cache: Cache, engine: Engine
) -> None:
    for connection in (place.connect(), engine.connect()):
        with closing(connection):
            outbox = manual(cache, connection)
            outbox.invalidate("item:1")
            connection.commit()
            connection.execute(_statement(connection, "ALTER TABLE pagegen_outbox RENAME TO away"))
            connection.commit()
            outbox.apply()
            connection.execute(_statement(connection, "ALTER TABLE away RENAME TO pagegen_outbox"))
            connection.commit()
    assert cache.told == [HARD, HARD]


def _statement(connection: Any, said: str) -> Any:
    return text(said) if hasattr(connection, "dialect") else said


def test_a_session_whose_database_cannot_be_asked_after_a_savepoint_forgets_all(
    place: Place, cache: Cache, engine: Engine
) -> None:
    with Session(engine) as session:
        cache.outbox(session).invalidate("item:1")
        session.begin_nested().rollback()
        session.execute(text("ALTER TABLE pagegen_outbox RENAME TO away"))
        session.commit()
    assert cache.told == [HARD]


def test_a_block_says_its_own_error_though_the_connection_is_gone(
    place: Place, cache: Cache
) -> None:
    connection = place.connect()
    outbox = manual(cache, connection)
    with pytest.raises(ZeroDivisionError), outbox:
        outbox.invalidate("item:1")
        connection.close()
        _ = 1 / 0
    outbox.apply()
    assert (cache.told, place.rows()) == ([], 0)


def test_a_commit_that_fails_is_told_and_forgets_nothing(place: Place, cache: Cache) -> None:
    with closing(place.connect()) as connection:
        if place.file:
            connection.execute("PRAGMA foreign_keys = 1")
        late = "REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED"
        connection.execute(f"CREATE TABLE part (id integer {late})")
        connection.commit()
        outbox = manual(cache, connection)
        with pytest.raises(Exception, match=r"(?i)foreign key"), outbox:
            outbox.invalidate("item:1")
            connection.execute("INSERT INTO part VALUES (-1)")
        assert outbox.apply().namespaces == ()
        assert (cache.told, place.rows()) == ([], 0)


# Connections that commit each statement by themselves.


def of_engine(place: Place) -> Engine:
    return create_engine(place.sync_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)


def of_options(place: Place) -> Engine:
    return create_engine(place.sync_url, poolclass=NullPool).execution_options(
        isolation_level="AUTOCOMMIT"
    )


def of_driver(place: Place) -> Engine:
    how: dict[str, Any] = {"isolation_level": None} if place.file else {"autocommit": True}
    return create_engine(place.sync_url, connect_args=how, poolclass=NullPool)


@pytest.mark.parametrize("make", [of_engine, of_options, of_driver])
def test_an_engine_that_commits_each_statement_is_refused(
    make: Callable[[Place], Engine], place: Place, cache: Cache
) -> None:
    engine = make(place)
    with Session(engine) as session, pytest.raises(RuntimeError, match="by itself"):
        cache.outbox(session).invalidate("item:1")
    with engine.connect() as connection, pytest.raises(RuntimeError, match="by itself"):
        cache.outbox(connection).invalidate("item:1")
    assert (cache.told, place.rows()) == ([], 0)


def test_an_asynchronous_engine_that_commits_each_statement_is_refused(
    place: Place, cache: Cache
) -> None:
    async def write(url: str, **how: Any) -> None:
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        async with AsyncSession(engine) as session:
            outbox: Any = cache.outbox(session)
            with pytest.raises(RuntimeError, match="by itself"):
                await outbox.ainvalidate("item:1")
        await engine.dispose()

    asyncio.run(write(place.async_url))
    if not place.file:
        asyncio.run(write(place.async_url.replace("+psycopg", "+asyncpg")))
    assert (cache.told, place.rows()) == ([], 0)


def test_a_session_that_begins_what_its_engine_does_not_is_welcome(
    place: Place, cache: Cache
) -> None:
    """Its own level is another one than the engine's."""
    engine = of_engine(place).execution_options(isolation_level="SERIALIZABLE")
    with Session(engine) as session:
        cache.outbox(session).invalidate("item:1")
        assert place.rows() == 0
        session.commit()
    assert (cache.told, place.rows()) == ([HARD], 0)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_who_begins_in_sqlite_by_hand_is_welcome(place: Place, cache: Cache) -> None:
    """As SQLAlchemy advises those who want savepoints there."""
    engine = of_driver(place)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    with Session(engine) as session:
        cache.outbox(session).invalidate("item:1")
        assert place.rows() == 0
        session.commit()
    with engine.connect() as connection, cache.outbox(connection) as outbox:
        outbox.invalidate("item:1")
    assert (cache.told, place.rows()) == ([HARD, HARD], 0)


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_an_asynchronous_connection_is_refused(place: Place, cache: Cache) -> None:
    async def give() -> None:
        async with await psycopg.AsyncConnection.connect(place.dsn) as connection:
            with pytest.raises(TypeError, match="Give a"):
                cache.outbox(connection)

    asyncio.run(give())


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_server_that_ends_the_connection_after_the_commit_keeps_nothing_back(
    place: Place, cache: Cache, engine: Engine
) -> None:
    with closing(place.connect()) as connection, closing(place.connect()) as other:
        outbox = manual(cache, connection)
        outbox.invalidate("item:1")
        connection.commit()
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        outbox.apply()
        with suppress(DBAPIError), engine.connect() as core:
            outbox = manual(cache, core)
            outbox.invalidate("item:1")
            core.commit()
            outbox.apply()
    assert cache.told == [HARD, HARD]
