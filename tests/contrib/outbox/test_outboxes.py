"""``cache.outbox(...)``: the row is part of the transaction, and goes after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, StaticPool, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from pagegen import NamespaceError
from pagegen.contrib.outbox import ManualOutbox, shelf
from tests.contrib.outbox.conftest import Cache, break_store
from tests.contrib.outbox.databases import Place

HARD = (("item:1",), False)


@pytest.fixture
def connection(place: Place) -> Iterator[Any]:
    opened = place.connect()
    yield opened
    opened.close()


@pytest.fixture
def engine(place: Place) -> Iterator[Engine]:
    # One connection at most: who deletes rows while another one is out waits for ever.
    made = create_engine(place.sync_url, pool_size=1, max_overflow=0, pool_timeout=1)
    yield made
    made.dispose()


def manual(cache: Cache, connection: object) -> ManualOutbox:
    outbox = cache.outbox(connection)
    assert isinstance(outbox, ManualOutbox)
    return outbox


def test_a_block_on_a_plain_connection_is_its_transaction(
    place: Place, cache: Cache, connection: Any
) -> None:
    with cache.outbox(connection) as outbox:
        place.write(connection, 1, "new")
        assert outbox.invalidate("item:1").deferred
        assert (cache.told, place.rows(), place.read(1)) == ([], 0, "old")
    assert (cache.told, place.rows(), place.read(1)) == ([HARD], 0, "new")


def test_a_block_that_raises_rolls_back_and_forgets_nothing(
    place: Place, cache: Cache, connection: Any
) -> None:
    with pytest.raises(ZeroDivisionError), cache.outbox(connection) as outbox:
        place.write(connection, 1, "new")
        outbox.invalidate("item:1")
        _ = 1 / 0
    assert (cache.told, place.rows(), place.read(1)) == ([], 0, "old")
    manual(cache, connection).apply()


def test_a_row_is_left_between_commit_and_apply_and_none_after_a_rollback(
    place: Place, cache: Cache, connection: Any
) -> None:
    outbox = manual(cache, connection)
    outbox.invalidate("item:9")
    connection.rollback()
    outbox.invalidate("item:1", soft=True)
    with pytest.raises(RuntimeError, match="commit it"):
        outbox.apply()
    connection.commit()
    assert (cache.told, place.rows()) == ([], 1)
    assert outbox.apply().namespaces == ("item:1",)
    assert (cache.told, place.rows()) == ([(("item:1",), True)], 0)


def test_a_savepoint_that_was_rolled_back_forgets_nothing(
    place: Place, cache: Cache, connection: Any
) -> None:
    with cache.outbox(connection) as outbox:
        outbox.invalidate("item:1")
        connection.execute("SAVEPOINT inner_one")
        outbox.invalidate("item:2")
        connection.execute("ROLLBACK TO SAVEPOINT inner_one")
    assert cache.told == [HARD]


def test_rows_are_refused_where_each_statement_commits(place: Place, cache: Cache) -> None:
    connection = place.connect()
    if place.file:
        connection.isolation_level = None
    else:
        connection.autocommit = True
    with pytest.raises(RuntimeError, match="Begin a transaction"):
        cache.outbox(connection).invalidate("item:1")
    connection.execute("BEGIN")
    with cache.outbox(connection) as outbox:
        outbox.invalidate("item:1")
    assert (cache.told, place.rows()) == ([HARD], 0)
    connection.close()


def test_names_are_checked_before_anything_is_written(
    place: Place, cache: Cache, connection: Any
) -> None:
    with pytest.raises(NamespaceError):
        cache.outbox(connection).invalidate("item:1", "")
    connection.commit()
    assert place.rows() == 0


def test_a_session_applies_when_its_outermost_transaction_has_committed(
    place: Place, cache: Cache, engine: Engine
) -> None:
    with Session(engine) as session:
        with session.begin_nested():
            cache.outbox(session).invalidate("item:1")
        inner = session.begin_nested()
        cache.outbox(session).invalidate("item:2")
        inner.rollback()
        assert cache.told == []
        session.commit()
        assert (cache.told, place.rows()) == ([HARD], 0)
        # First a change: sqlite3 begins no transaction for a savepoint, and commits its release.
        session.execute(text("UPDATE item SET text = 'new' WHERE id = 3"))
        with session.begin_nested():
            cache.outbox(session).invalidate("item:3")
        session.rollback()
        session.execute(text("SELECT 1"))
        session.commit()
    assert (cache.told, place.rows()) == ([HARD], 0)


def test_names_of_one_session_are_forgotten_in_one_call(cache: Cache, engine: Engine) -> None:
    registry = scoped_session(sessionmaker(engine))
    for item in ("1", "2", "1"):
        cache.outbox(registry).invalidate(f"item:{item}")
    registry.commit()
    registry.remove()
    assert cache.told == [(("item:1", "item:2"), False)]


def test_a_session_inside_a_transaction_of_others_leaves_its_row_to_the_sweeper(
    place: Place, cache: Cache, engine: Engine
) -> None:
    with engine.connect() as connection:
        with connection.begin(), Session(connection) as session:
            cache.outbox(session).invalidate("item:1")
            session.commit()
        assert (cache.told, place.rows()) == ([], 1)


def test_a_core_connection_applies_at_the_end_of_its_block(
    place: Place, cache: Cache, engine: Engine
) -> None:
    with engine.connect() as connection, cache.outbox(connection) as outbox:
        outbox.invalidate("item:1")
        with pytest.raises(RuntimeError, match="commit it"):
            manual(cache, connection).apply()
    assert (cache.told, place.rows()) == ([HARD], 0)


def test_an_asynchronous_session_applies_before_its_commit_returns(
    place: Place, cache: Cache
) -> None:
    async def write() -> None:
        engine = create_async_engine(place.async_url, poolclass=NullPool)
        async with AsyncSession(engine) as session:
            outbox: Any = cache.outbox(session)
            with pytest.raises(TypeError, match="await"):
                outbox.invalidate("item:2")
            await outbox.ainvalidate("item:2")
            await session.rollback()
            async with outbox:
                await outbox.ainvalidate("item:1")
                assert cache.told == []
            assert cache.told == [HARD]
        await engine.dispose()

    asyncio.run(write())
    assert place.rows() == 0


def test_a_store_that_fails_after_the_commit_leaves_row_and_session_whole(
    place: Place,
    cache: Cache,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Session(engine) as session, monkeypatch.context() as patch:
        break_store(cache, patch)
        cache.outbox(session).invalidate("item:1")
        session.commit()
        assert place.rows() == 1
        assert "item:{id}" in caplog.text
        assert session.execute(text("SELECT 1")).scalar() == 1


def test_a_row_that_cannot_be_deleted_stays_and_nothing_is_raised(
    place: Place,
    cache: Cache,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise OperationalError("DELETE", None, Exception("gone"))

    monkeypatch.setattr(shelf, "delete", refuse)
    caplog.set_level(logging.WARNING)
    with Session(engine) as session:
        cache.outbox(session).invalidate("item:1")
        session.commit()
    with cache.outbox(connection := place.connect()) as outbox:
        outbox.invalidate("item:2")
    connection.close()
    assert cache.told == [HARD, (("item:2",), False)]
    assert (place.rows(), caplog.text.count("could not be deleted")) == (2, 2)


@pytest.mark.parametrize("what", [7, "no such alias", object(), create_engine])
def test_what_is_no_connection_is_refused_with_a_remedy(cache: Cache, what: object) -> None:
    with pytest.raises(TypeError, match="Give a"):
        cache.outbox(what)


def test_an_engine_is_refused_with_a_remedy(cache: Cache) -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with pytest.raises(TypeError, match="Session"):
        cache.outbox(engine)
    engine.dispose()
