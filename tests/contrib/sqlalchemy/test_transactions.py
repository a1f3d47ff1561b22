"""Forgotten is what the outermost commit made true: not earlier, not later, nothing else."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from pagegen.contrib.sqlalchemy import pending, watch
from pagegen.errors import NamespaceError
from tests.contrib.sqlalchemy.shop import ITEM, Base, Deaf, Item, Note, NotedCache, Pages, Tag

Make = sessionmaker[Session]
pytestmark = pytest.mark.usefixtures("watched")


def test_a_commit_forgets_the_row_before_it_returns(
    make: Make, cache: NotedCache, pages: Pages
) -> None:
    assert (pages.get("/items/1"), pages.get("/shops/1")) == ("old", "3 items")
    with make.begin() as session:
        item = session.get_one(Item, 1)
        item.title = "new"
    assert pages.get("/items/1") == "new"
    assert cache.calls == [["item:1", "shop:1/items"]]


def test_a_rollback_forgets_nothing(make: Make, cache: NotedCache, pages: Pages) -> None:
    pages.get("/items/1")
    with make() as session:
        session.get_one(Item, 1).title = "new"
        session.flush()
        session.rollback()
    assert cache.calls == []
    assert (pages.get("/items/1"), pages.rendered) == ("old", 1)


def test_a_session_that_is_closed_without_a_commit_forgets_nothing(
    make: Make, cache: NotedCache
) -> None:
    with make() as session:
        session.add(Item(id=9))
        session.flush()
    assert cache.calls == []
    with make.begin() as session:
        session.add(Note(id=1))
    assert cache.calls == []


def test_a_failed_flush_forgets_nothing(make: Make, cache: NotedCache) -> None:
    with pytest.raises(IntegrityError), make.begin() as session:
        session.add(Item(id=8))
        session.flush()
        session.add(Item(id=1))
    assert cache.calls == []


def test_nothing_is_forgotten_before_the_database_has_committed(
    make: Make, cache: NotedCache, engine: Engine
) -> None:
    seen: list[Any] = []

    def look() -> None:
        with Session(engine) as other:
            seen.append(other.get_one(Item, 1).title)

    cache.hook = look
    with make.begin() as session:
        session.get_one(Item, 1).title = "new"
        session.flush()
        assert cache.calls == []
    assert seen == ["new"]


def test_listeners_of_the_application_hear_of_the_commit_after_the_pages_are_forgotten(
    make: Make, cache: NotedCache
) -> None:
    heard: list[list[str]] = []

    def note(session: Session) -> None:
        heard.append(cache.told())

    event.listen(make, "after_commit", note, insert=True)
    again = watch(make, cache)  # whoever came later
    try:
        with make.begin() as session:
            session.get_one(Item, 1).title = "new"
    finally:
        again.stop()
    assert heard == [["item:1", "shop:1/items"]]


def test_a_page_read_between_flush_and_commit_does_not_stay(
    make: Make, pages: Pages, engine: Engine
) -> None:
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    with make.begin() as session:
        session.get_one(Item, 1).title = "new"
        session.flush()
        assert pages.get("/items/1") == "old"
    assert pages.get("/items/1") == "new"


def test_a_savepoint_that_is_released_waits_for_the_outer_commit(
    make: Make, cache: NotedCache
) -> None:
    with make.begin() as session:
        session.get_one(Item, 2).title = "outer"
        session.flush()
        with session.begin_nested():
            session.get_one(Item, 1).title = "new"
            with session.begin_nested():
                session.get_one(Item, 3).title = "inner"
        assert cache.calls == []
    assert cache.told() == ["item:1", "item:2", "item:3", "shop:1/items"]


def test_a_savepoint_that_is_rolled_back_takes_its_names_along(
    make: Make, cache: NotedCache
) -> None:
    with make.begin() as session:
        session.get_one(Item, 2).title = "outer"
        session.flush()
        savepoint = session.begin_nested()
        tag = session.get_one(Tag, 1)
        tag.items.append(session.get_one(Item, 1))
        with session.begin_nested():
            session.add(Item(id=9))
        savepoint.rollback()
    assert cache.told() == ["item:2", "shop:1/items"]


def test_a_flush_that_fails_in_a_savepoint_leaves_the_outer_names(
    make: Make, cache: NotedCache
) -> None:
    with make.begin() as session:
        session.get_one(Item, 2).title = "outer"
        session.flush()
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add(Item(id=8))
            session.flush()
            session.add(Item(id=1))
    assert cache.told() == ["item:2", "shop:1/items"]


def test_names_said_by_hand_wait_like_those_of_rows(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        pending(session).add("item:5")
        with session.begin_nested() as savepoint:
            pending(session.connection()).add("item:6")
            savepoint.rollback()
        with pytest.raises(NamespaceError):
            pending(session).add("item:7", "")
        assert cache.calls == []
    assert cache.told() == ["item:5"]
    early = make()
    pending(early).add("item:4")
    early.commit()
    assert cache.told() == ["item:4"]
    pending(early).add("item:3")
    with early.begin_nested() as savepoint:
        pending(early).add("item:2")
        savepoint.rollback()
    early.commit()
    early.close()
    assert cache.told() == ["item:3"]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_each_session_has_its_own_names(make: Make, cache: NotedCache) -> None:
    with make() as one, make() as two:
        one.get_one(Item, 1).title = "one"
        two.get_one(Item, 2).title = "two"
        one.flush()
        two.flush()
        two.rollback()
        one.commit()
    assert cache.told() == ["item:1", "shop:1/items"]


def test_two_databases_of_one_session(cache: NotedCache, engine: Engine, tmp_path: Any) -> None:
    other = create_engine(f"sqlite:///{tmp_path}/tags.db")
    Base.metadata.create_all(other)
    both = sessionmaker(binds={Item: engine, Tag: other})
    watching = watch(both, cache)
    try:
        with both.begin() as session:
            session.add(Tag(id=9))
            session.get_one(Item, 1).title = "new"
            session.flush()
            assert cache.calls == []
        assert cache.calls == [["item:1", "shop:1/items", "tag:9"]]
    finally:
        watching.stop()
        other.dispose()


def test_two_databases_one_of_which_rolls_back(
    make: Make, cache: NotedCache, tmp_path: Any
) -> None:
    other = create_engine(f"sqlite:///{tmp_path}/tags.db")
    Base.metadata.create_all(other)
    tags = sessionmaker(other)
    watching = watch(tags, cache)
    try:
        with make() as items, tags() as session:
            session.add(Tag(id=9))
            session.flush()
            items.get_one(Item, 1).title = "new"
            items.commit()
            session.rollback()
    finally:
        watching.stop()
        other.dispose()
    assert cache.told() == ["item:1", "shop:1/items"]


def test_a_store_that_fails_after_the_commit_leaves_session_and_commit_whole(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    store = Deaf()
    cache = NotedCache(ITEM, store=store)
    pages = Pages(cache, engine)
    make = sessionmaker(engine)
    watching = watch(make, cache)
    try:
        pages.get("/items/1")
        store.deaf = True
        with caplog.at_level(logging.ERROR, "pagegen.contrib.sqlalchemy"), make() as session:
            session.get_one(Item, 1).title = "new"
            session.commit()
            session.add(Note(id=1))
            session.commit()
            assert session.get_one(Item, 1).title == "new"
        assert "item:{id}" in caplog.text
        assert "the store is away" in caplog.text
        assert pages.get("/items/1") == "new"  # bypassed
        assert cache.statistics()["owed"] == 2
    finally:
        watching.stop()
        store.deaf = False
        cache.close()
    assert cache.statistics()["owed"] == 0


def test_a_commit_whose_outcome_is_unknown_forgets(make: Make, cache: NotedCache) -> None:
    with make() as session:
        session.get_one(Item, 1).title = "new"
        driver = session.connection().engine.dialect
        real = driver.do_commit

        def lose(connection: Any) -> None:
            real(connection)
            raise DBAPIError("COMMIT", None, Exception("the line was cut"))

        driver.do_commit = lose  # type: ignore[method-assign]
        try:
            with pytest.raises(DBAPIError):
                session.commit()
        finally:
            driver.do_commit = real  # type: ignore[method-assign]
        assert cache.calls == []
        session.rollback()
    assert cache.told() == ["item:1", "shop:1/items"]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_two_phase_commit_forgets(cache: NotedCache, engine: Engine) -> None:
    make = sessionmaker(engine, twophase=True)
    watching = watch(make, cache)
    try:
        with make() as session:
            session.get_one(Item, 1).title = "new"
            session.prepare()
            assert cache.calls == []
            session.commit()
        assert cache.told() == ["item:1", "shop:1/items"]
    finally:
        watching.stop()


def test_autocommit_forgets_even_what_is_rolled_back(cache: NotedCache, engine: Engine) -> None:
    make = sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"))
    watching = watch(make, cache)
    try:
        with make() as session:
            session.get_one(Item, 1).title = "new"
            session.flush()
            session.rollback()
        assert cache.told() == ["item:1", "shop:1/items"]
    finally:
        watching.stop()


def test_a_released_savepoint_that_sqlite_has_committed_is_forgotten(
    make: Make, cache: NotedCache, engine: Engine
) -> None:
    with make() as session:
        with session.begin_nested():
            session.get_one(Item, 1).title = "new"
        session.rollback()
    with Session(engine) as session:
        stays = session.get_one(Item, 1).title == "new"
    assert cache.told() == (["item:1", "shop:1/items"] if stays else [])
