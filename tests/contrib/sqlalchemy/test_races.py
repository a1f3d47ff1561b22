"""Writers and readers at the same time, on real databases and over the real middleware."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, text, update
from sqlalchemy.orm import Session, sessionmaker

from tests.contrib.sqlalchemy.shop import Item, NotedCache, Pages, Shop, Tag

Make = sessionmaker[Session]
pytestmark = pytest.mark.usefixtures("watched")
#: Seconds for which a thread may take, and between two looks at what another one does.
PATIENCE = 20.0
TICK = 0.005
POSTGRESQL = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def eventually(fact: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < until
        time.sleep(TICK)


def is_blocked(engine: Engine) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
    with engine.connect() as connection:
        return bool(connection.scalar(text(query + "current_database()")))


def test_a_row_that_another_writer_moves_meanwhile_is_forgotten_where_that_one_put_it(
    make: Make, pages: Pages, threads: ThreadPoolExecutor
) -> None:
    """Both have loaded it in shop 1; one moves it to shop 2, and then the other to shop 3."""
    loaded, moved = Barrier(2, timeout=PATIENCE), Event()

    def first() -> None:
        with make() as session:
            item = session.get_one(Item, 1)
            session.commit()
            loaded.wait()
            item.shop_id = 2
            session.commit()
            moved.set()

    def second() -> None:
        with make(expire_on_commit=False) as session:
            item = session.get_one(Item, 1)
            session.commit()
            loaded.wait()
            assert moved.wait(PATIENCE)
            assert (pages.get("/shops/2"), item.shop_id) == ("1 items", 1)
            item.shop_id = 3
            session.commit()

    for done in [threads.submit(first), threads.submit(second)]:
        done.result(PATIENCE)
    assert [pages.get(f"/shops/{n}") for n in (1, 2, 3)] == ["2 items", "0 items", "1 items"]


@POSTGRESQL
@pytest.mark.parametrize("bulk", [False, True])
def test_a_writer_that_waits_for_another_ones_lock_sees_where_that_one_put_the_row(
    make: Make, cache: NotedCache, engine: Engine, threads: ThreadPoolExecutor, bulk: bool
) -> None:
    def second() -> None:
        with make() as session:
            if bulk:
                session.execute(update(Item).where(Item.id == 1).values(shop_id=3))
            else:
                session.get_one(Item, 1).shop_id = 3
            session.commit()

    with make() as session:
        session.get_one(Item, 1).shop_id = 2
        session.flush()
        waiting = threads.submit(second)
        eventually(lambda: is_blocked(engine))
        session.commit()
    waiting.result(PATIENCE)
    (second_call,) = [names for names in cache.calls if "shop:3/items" in names]
    assert "shop:2/items" in second_call


@POSTGRESQL
@pytest.mark.parametrize("both_know", [True, False])
def test_a_row_that_is_linked_while_it_is_moved_is_forgotten_where_it_goes(
    make: Make, cache: NotedCache, engine: Engine, threads: ThreadPoolExecutor, both_know: bool
) -> None:
    def second() -> list[str]:
        with make() as session:
            item, tag, shop = (session.get_one(of, 1) for of in (Item, Tag, Shop))
            (item.tags if both_know else shop.featured).append(tag if both_know else item)
            session.commit()
        return cache.calls[-1]

    with make() as session:
        session.get_one(Item, 1).shop_id = 2
        session.flush()
        waiting = threads.submit(second)
        eventually(lambda: is_blocked(engine))
        session.commit()
    assert "shop:2/items" in waiting.result(PATIENCE)


@POSTGRESQL
def test_a_statement_writes_no_row_that_it_has_not_seen(
    make: Make, cache: NotedCache, engine: Engine
) -> None:
    """A row comes up between our SELECT and the UPDATE, which would match it."""
    came: list[bool] = []

    def intrude(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE") and not came:
            came.append(True)
            with Session(engine) as other, other.begin():
                other.execute(insert(Item).values(id=9, shop_id=1, title="late"))

    event.listen(engine, "before_cursor_execute", intrude)
    with make.begin() as session:
        statement = update(Item).where(Item.shop_id == 1).values(shop_id=2)
        result: Any = session.execute(statement)
        assert result.rowcount == 3
    told = cache.told()
    with Session(engine) as session:
        assert session.get_one(Item, 9).shop_id == 1
    assert told == ["item:1", "item:2", "item:3", "shop:1/items", "shop:2/items"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_on_sqlite_nobody_writes_between_our_look_and_our_write(make: Make, engine: Engine) -> None:
    refused: list[str] = []
    came: list[bool] = []

    def intrude(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE items SET shop_id") and not came:
            came.append(True)
            with engine.connect() as other:
                other.exec_driver_sql("PRAGMA busy_timeout=0")
                try:
                    other.execute(text("UPDATE items SET shop_id = 3"))
                except Exception as error:
                    refused.append(str(error))

    event.listen(engine, "before_cursor_execute", intrude)
    with make.begin() as session:
        session.get_one(Item, 1).shop_id = 2
    assert "locked" in refused[0]


def test_a_page_that_is_being_made_while_the_row_is_committed_does_not_stay(
    make: Make, pages: Pages, engine: Engine, threads: ThreadPoolExecutor
) -> None:
    read, committed = Event(), Event()
    slow = pages.slow = lambda: (read.set(), committed.wait(PATIENCE))
    reader = threads.submit(pages.get, "/items/1")
    assert read.wait(PATIENCE)
    assert pages.slow is slow
    pages.slow = None
    with make.begin() as session:
        session.get_one(Item, 1).title = "new"
    committed.set()
    assert reader.result(PATIENCE) == "old"
    assert pages.get("/items/1") == "new"


def test_writers_and_readers_for_a_while(
    make: Make, pages: Pages, threads: ThreadPoolExecutor, engine: Engine
) -> None:
    """After each commit its writer sees its own write, whoever reads in between."""
    stop = Event()

    def read() -> int:
        count = 0
        while not stop.is_set():
            pages.get("/items/1")
            pages.get("/shops/1")
            count += 1
        return count

    reader = threads.submit(read)
    try:
        for turn in range(30):
            with make.begin() as session:
                item = session.get_one(Item, 1)
                item.title, item.shop_id = f"turn {turn}", 1 + turn % 2
            assert pages.get("/items/1") == f"turn {turn}"
            assert pages.get("/shops/1") == f"{3 - turn % 2} items"
    finally:
        stop.set()
    assert reader.result(PATIENCE) > 0
