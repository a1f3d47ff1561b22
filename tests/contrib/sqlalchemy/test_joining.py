"""Transactions that belong to a connection, and what can be watched at all."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from pagegen.contrib.sqlalchemy import UnseenWriteError, Watch, forgetting, pending, watch
from tests.contrib.sqlalchemy.shop import Item, Note, NotedCache, Shop

Make = sessionmaker[Session]
pytestmark = pytest.mark.usefixtures("watched")


def test_a_session_that_joins_a_transaction_waits_for_it(
    make: Make, cache: NotedCache, engine: Engine
) -> None:
    for mode in ("conditional_savepoint", "create_savepoint", "rollback_only"):
        with forgetting(engine, cache) as outer:
            with make(bind=outer.connection, join_transaction_mode=mode) as session:
                session.get_one(Item, 1).title = mode
                session.commit()
            assert cache.calls == []
        assert cache.told() == ["item:1", "shop:1/items"]


def test_a_session_that_joins_a_transaction_nobody_sees_is_refused(
    make: Make, cache: NotedCache, engine: Engine
) -> None:
    with engine.connect() as connection:
        transaction = connection.begin()
        with make(bind=connection) as session:
            session.get_one(Item, 1).title = "new"
            with pytest.raises(UnseenWriteError, match="forgetting"):
                session.commit()
        transaction.rollback()
        with connection.begin(), make(bind=connection) as session:
            session.add(Note(id=1))
            session.commit()
    assert cache.calls == []


def test_tests_may_take_the_commit_of_a_joined_session_for_one(
    cache: NotedCache, engine: Engine
) -> None:
    make = sessionmaker(engine)
    watching = watch(make, cache, joined="commit")
    try:
        with engine.connect() as connection, connection.begin() as transaction:
            with make(bind=connection, join_transaction_mode="create_savepoint") as session:
                session.get_one(Item, 1).title = "new"
                session.commit()
            assert cache.told() == ["item:1", "shop:1/items"]
            transaction.rollback()
    finally:
        watching.stop()


def test_a_transaction_of_core_forgets_after_its_commit_only(
    cache: NotedCache, engine: Engine
) -> None:
    with forgetting(engine, cache) as work:
        work.connection.execute(text("UPDATE items SET title = 'new' WHERE id = 1"))
        work.add("item:1")
        pending(work.connection).add("item:2")
        assert cache.calls == []
    assert cache.told() == ["item:1", "item:2"]
    with pytest.raises(KeyError), forgetting(engine, cache) as work:
        work.add("item:1")
        raise KeyError
    with engine.connect() as connection:
        with forgetting(connection, cache) as work:
            work.add("item:3")
        assert cache.told() == ["item:3"]
        with pytest.raises(LookupError):
            pending(connection)


def test_a_watch_that_is_stopped_is_over(make: Make, cache: NotedCache, watched: Watch) -> None:
    watched.stop()
    watched.stop()
    with make.begin() as session:
        session.add(Shop(id=9, items=[Item(id=9)]))
    assert cache.calls == []
    with make() as session, pytest.raises(LookupError):
        pending(session)


@pytest.mark.parametrize("form", ["class", "maker", "scoped", "one"])
def test_what_can_be_watched(form: str, cache: NotedCache, engine: Engine) -> None:
    class Own(Session):
        pass

    maker = sessionmaker(engine, class_=Own)
    scoped = scoped_session(maker)
    one = Own(engine)
    target: Any = {"class": Own, "maker": maker, "scoped": scoped, "one": one}[form]
    watching = watch(target, cache)
    try:
        session: Any = scoped if form == "scoped" else one if form == "one" else maker()
        session.get_one(Item, 1).title = "new"
        session.commit()
        session.close()
        with Session(engine) as stranger, stranger.begin():
            stranger.get_one(Item, 2).title = "new"
    finally:
        watching.stop()
        one.close()
        scoped.remove()
    assert cache.told() == ["item:1", "shop:1/items"]


def test_what_cannot_be_watched_is_told_so(cache: NotedCache) -> None:
    with pytest.raises(TypeError, match="no session"):
        watch(object(), cache)
    with pytest.raises(ValueError, match="unseen"):
        watch(Session, cache, unseen="loud")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no session"):
        pending(object())


@pytest.mark.parametrize("level", ["of the engine", "of the connection", "the block's own commit"])
def test_what_counts_at_once_is_forgotten_though_the_block_fails(
    cache: NotedCache, engine: Engine, level: str
) -> None:
    own = engine
    if level == "of the engine":
        own = create_engine(engine.url, isolation_level="AUTOCOMMIT")
    elif level == "of the connection":
        own = engine.execution_options(isolation_level="AUTOCOMMIT")
    with pytest.raises(KeyError), forgetting(own, cache) as work:
        work.add("item:1")
        work.connection.execute(text("UPDATE items SET title = 'new' WHERE id = 1"))
        if level == "the block's own commit":
            work.connection.commit()
        raise KeyError
    own.dispose()
    with Session(engine) as session:
        assert session.get_one(Item, 1).title == "new"
    assert cache.told() == ["item:1"]


def test_a_session_that_joins_by_its_binds_is_refused_in_time(
    cache: NotedCache, engine: Engine
) -> None:
    with engine.connect() as connection:
        connection.begin()
        make = sessionmaker(binds={Item: connection})
        watching = watch(make, cache)
        session = make()
        session.get_one(Item, 1).title = "new"
        with pytest.raises(UnseenWriteError, match="forgetting"):
            session.commit()
        session.rollback()
        session.close()
        watching.stop()
    assert cache.calls == []
