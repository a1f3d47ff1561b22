"""Statements that write many rows: they alone are forgotten, and callers see no difference."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, delete, event, insert, select, text, update
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import Session, sessionmaker

from pagegen.contrib.sqlalchemy import UnseenWriteError, pending, watch
from tests.contrib.sqlalchemy.shop import Bike, Item, NotedCache, Shop, Tag, Truck, Vehicle, labels

Make = sessionmaker[Session]
ITEMS: Any = Item.__table__
pytestmark = pytest.mark.usefixtures("watched")
ALL = ["item:1", "item:2", "item:3", "shop:1/items"]


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        (update(Item).where(Item.id == 2).values(title="new"), ["item:2", "shop:1/items"]),
        (update(Item).where(Item.id > 1).values(shop_id=2), [*ALL[1:], "shop:2/items"]),
        (update(Item).values(shop_id=Item.id), [*ALL, "shop:2/items", "shop:3/items"]),
        (update(Item).where(Item.title == "no").values(title="new"), []),
        (delete(Item).where(Item.id == 3), ["item:3", "shop:1/items"]),
        (update(ITEMS).where(ITEMS.c.id == 2).values(shop_id=3), [ALL[1], ALL[3], "shop:3/items"]),
        (delete(ITEMS), ALL),
        (update(Item).where(Item.shop_id == Shop.id, Shop.id < 2).values(title="j"), ALL),
        (
            update(Item).where(Item.id.in_(select(Item.id).where(Item.id < 3))).values(title="s"),
            [*ALL[:2], ALL[3]],
        ),
    ],
)
def test_rows_of_an_update_or_delete_are_forgotten(
    make: Make, cache: NotedCache, statement: Any, names: list[str]
) -> None:
    with make.begin() as session:
        count = session.execute(statement).rowcount  # type: ignore[attr-defined]
        assert cache.calls == []
    assert count == sum(name.startswith("item:") for name in names)
    assert cache.told() == names


def test_the_rows_that_callers_get_back_are_theirs(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        statement = update(Item).where(Item.id < 3).values(shop_id=2)
        assert sorted(session.scalars(statement.returning(Item.title))) == ["old", "old"]
        gone = session.execute(delete(Item).where(Item.id == 3).returning(Item.id, Item.title))
        assert gone.all() == [(3, "old")]
    assert cache.told() == [*ALL, "shop:2/items"]


def test_objects_in_the_session_follow_the_statement(make: Make) -> None:
    for how in ("auto", "evaluate", "fetch"):
        with make() as session:
            item = session.get_one(Item, 1)
            session.execute(
                update(Item).where(Item.id == 1).values(title=how),
                execution_options={"synchronize_session": how},
            )
            assert item.title == how
            session.rollback()


def test_a_legacy_query_counts_as_before(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        assert session.query(Item).filter(Item.id < 3).update({"shop_id": 2}) == 2
        assert session.query(Item).filter_by(id=3).delete() == 1
    assert cache.told() == [*ALL, "shop:2/items"]


def test_changes_in_the_session_are_written_first(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.add(Item(id=9, shop_id=3))
        session.execute(update(Item).where(Item.shop_id == 3).values(shop_id=2))
    assert cache.told() == ["item:9", "shop:2/items", "shop:3/items"]


def test_rows_told_by_their_keys(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.execute(update(Item), [{"id": 1, "shop_id": 2}, {"id": 2, "title": "new"}])
    assert cache.told() == ["item:1", "item:2", "shop:1/items", "shop:2/items"]
    with make.begin() as session:
        statement = update(ITEMS).where(ITEMS.c.id == bindparam("which"))
        session.execute(statement, [{"which": 1, "shop_id": 3}, {"which": 2, "shop_id": 3}])
    assert cache.told() == [*ALL[:2], "shop:1/items", "shop:2/items", "shop:3/items"]


def test_rows_of_subclasses_are_forgotten_by_what_they_declare(
    make: Make, cache: NotedCache
) -> None:
    with make.begin() as session:
        session.add_all([Bike(id=1, owner=4), Truck(id=2, depot=8, owner=4)])
    cache.told()
    with make.begin() as session:
        session.execute(update(Vehicle).where(Vehicle.owner == 4).values(owner=5))
    assert cache.told() == ["bikes/4", "bikes/5", "depot:8", "vehicle:1", "vehicle:2"]
    with make.begin() as session:
        session.execute(update(Truck).where(Truck.depot == 8).values(depot=9))
    assert cache.told() == ["depot:8", "depot:9", "vehicle:2"]


@pytest.mark.parametrize(
    ("statement", "given", "names"),
    [
        (insert(Item), [{"id": 7, "shop_id": 2}], ["item:7", "shop:2/items"]),
        (insert(Tag), [{}, {}], ["tag:3", "tag:4"]),
        (insert(Tag).returning(Tag), [{}, {}], ["tag:3", "tag:4"]),
        (insert(Tag).returning(Tag.id), [{}], ["tag:3"]),
        (insert(Tag).values(), None, ["tag:3"]),
        (insert(Tag.__table__), [{"id": 8}], ["tag:8"]),
        (insert(ITEMS).from_select(["id", "title"], select(Shop.id + 10, text("'x'"))), None,
         ["item:11", "item:12", "item:13"]),
    ],
)  # fmt: skip
def test_inserted_rows_are_forgotten(
    make: Make, cache: NotedCache, engine: Engine, statement: Any, given: Any, names: list[str]
) -> None:
    if engine.dialect.name == "postgresql":  # its sequence has not seen the first two
        with engine.begin() as connection:
            connection.execute(text("SELECT setval('tags_id_seq', 2)"))
    with make.begin() as session:
        result = session.execute(statement, given)
        if statement.exported_columns:
            assert len(result.all()) == len(given)
        elif given is None and statement.select is None:
            assert result.inserted_primary_key == (3,)
    assert cache.told() == names


def test_an_insert_that_may_update_is_known_by_the_key_or_refused(
    make: Make, cache: NotedCache, engine: Engine
) -> None:
    dialect: Any = sqlite if engine.dialect.name == "sqlite" else pg
    with make.begin() as session:
        upsert = (
            dialect.insert(Tag)
            .values(id=1)
            .on_conflict_do_update(index_elements=["id"], set_={"id": 1})
        )
        session.execute(upsert)
    assert cache.told() == ["tag:1"]
    with make() as session:
        upsert = dialect.insert(Item).values(id=1).on_conflict_do_nothing()
        with pytest.raises(UnseenWriteError, match="may update"):
            session.execute(upsert)
        session.execute(upsert, execution_options={"pagegen_names": ["item:1"]})
        session.commit()
    assert cache.told() == ["item:1"]


def test_what_cannot_be_told_is_refused_before_it_is_written(make: Make, cache: NotedCache) -> None:
    with make() as session:
        with pytest.raises(UnseenWriteError, match="other keys"):
            session.execute(update(Item).where(Item.id == 1).values(id=9))
        with pytest.raises(UnseenWriteError, match="keys of its rows"):
            session.execute(insert(Tag).returning(Tag.id + 1), [{}])
        with pytest.raises(UnseenWriteError, match=r"insert\(Item\), rows"):
            session.bulk_save_objects([Item(id=9)])
        session.rollback()
        with pytest.raises(UnseenWriteError, match=r"insert\(Item\), rows"):
            session.bulk_update_mappings(Item, [{"id": 1, "title": "new"}])  # type: ignore[arg-type]
        session.rollback()
        session.bulk_insert_mappings(Shop, [{"id": 9}])  # type: ignore[arg-type]
        assert list(session.scalars(select(Item.id).order_by(Item.id))) == [1, 2, 3]
    assert cache.calls == []


def test_more_rows_than_fit_in_a_list(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.execute(insert(Tag), [{"id": n} for n in range(100, 10_600)])
    cache.calls.clear()
    with make.begin() as session:
        result: Any = session.execute(delete(Tag).where(Tag.id >= 100))
        assert result.rowcount == 10_500
    assert len(cache.calls) == 2
    assert len(cache.told()) == 10_500


def test_text_that_writes_a_declared_table_warns_once(
    make: Make, cache: NotedCache, caplog: pytest.LogCaptureFixture
) -> None:
    statement = text("UPDATE items SET title = 'new' WHERE id = 1")
    with caplog.at_level(logging.WARNING, "pagegen.contrib.sqlalchemy"):
        with make.begin() as session:
            session.execute(statement)
            session.execute(statement)
            session.connection().exec_driver_sql("DELETE FROM items WHERE id = 9")
            session.execute(text("SELECT 1"))
            session.execute(text("DELETE FROM shops WHERE id = 99"))
        assert len(caplog.records) == 1
        assert cache.calls == []
        with make.begin() as session:
            session.execute(statement, execution_options={"pagegen_names": ["item:1"]})
            pending(session).add("item:2")
    assert len(caplog.records) == 1
    assert cache.told() == ["item:1", "item:2"]


@pytest.mark.parametrize(
    "statement",
    [
        text("UPDATE items SET title = 'x'"),
        text('/* why */ DELETE FROM "items"'),
        text("WITH a AS (SELECT 1) INSERT INTO items (id, title) SELECT 9, 'x'"),
        text("replace into main.items (id, title) values (1, 'x')"),
    ],
)
def test_text_may_be_refused(make: Make, cache: NotedCache, statement: Any) -> None:
    make_strict = sessionmaker(**make.kw)
    watching = watch(make_strict, cache, unseen="raise")
    try:
        with make_strict() as session:
            with pytest.raises(UnseenWriteError, match="items"):
                session.execute(statement)
            with pytest.raises(UnseenWriteError, match="items"):
                session.connection().execute(delete(ITEMS))
            session.execute(delete(Item))
            session.execute(delete(labels))
            session.rollback()
    finally:
        watching.stop()


def test_other_listeners_of_the_session_still_see_the_statement(make: Make) -> None:
    seen: list[bool] = []

    def note(state: Any) -> None:
        seen.append(state.is_update)

    event.listen(make, "do_orm_execute", note)
    with make.begin() as session:
        session.execute(update(Item).values(title="new"))
    assert seen == [True]
