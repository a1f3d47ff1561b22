"""Rows that a flush writes: where they were in the database, and where they are then."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session, sessionmaker

from pagegen.errors import NamespaceError
from tests.contrib.sqlalchemy.shop import Bike, Desk, Item, Note, NotedCache, Shop, Tag, Truck

Make = sessionmaker[Session]
pytestmark = pytest.mark.usefixtures("watched")


def test_new_changed_and_deleted_rows_are_forgotten(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.add(Item(id=7, shop_id=2))
    assert cache.told() == ["item:7", "shop:2/items"]
    with make.begin() as session:
        session.get_one(Item, 7).title = "new"
    assert cache.told() == ["item:7", "shop:2/items"]
    with make.begin() as session:
        session.delete(session.get_one(Item, 7))
    assert cache.told() == ["item:7", "shop:2/items"]


def test_a_row_that_moves_is_forgotten_where_it_was_and_where_it_is(
    make: Make, cache: NotedCache
) -> None:
    with make.begin() as session:
        session.get_one(Item, 1).shop_id = 2
        session.flush()
        session.get_one(Item, 1).shop_id = 3
    assert cache.told() == ["item:1", "shop:1/items", "shop:2/items", "shop:3/items"]
    with make.begin() as session:
        session.get_one(Item, 1).shop_id = None
    assert cache.told() == ["item:1", "shop:3/items"]


def test_an_expired_attribute_that_is_set_has_an_old_value_all_the_same(
    make: Make, cache: NotedCache
) -> None:
    with make.begin() as session:
        item = session.get_one(Item, 1)
        session.expire(item)
        item.shop_id = 2
    assert cache.told() == ["item:1", "shop:1/items", "shop:2/items"]


@pytest.mark.parametrize("change", ["move", "retitle", "delete"])
def test_an_object_that_is_behind_the_database_does_not_decide(
    make: Make, cache: NotedCache, engine: Engine, change: str
) -> None:
    keeping = make(expire_on_commit=False)
    item = keeping.get_one(Item, 1)
    keeping.commit()
    with engine.begin() as other:  # as another process would
        other.execute(text("UPDATE items SET shop_id = 2 WHERE id = 1"))
    cache.told()
    if change == "move":
        item.shop_id = 3
    elif change == "retitle":
        item.title = "new"
    else:
        keeping.delete(item)
    keeping.commit()
    keeping.close()
    assert "shop:2/items" in cache.told()


def test_what_the_flush_does_not_set_stays_as_the_database_has_it(
    make: Make, cache: NotedCache, engine: Engine
) -> None:
    with make(expire_on_commit=False) as session:
        session.add(Desk(code="a"))
        session.commit()
        desk = session.get_one(Desk, "a")
        assert desk.floor == 3
        session.commit()
        with engine.begin() as other:
            other.execute(text("UPDATE desks SET floor = 5"))
        cache.told()
        desk.code = "b"
        session.commit()
    assert cache.told() == ["desk:a/5", "desk:b/5"]


def test_a_key_that_changes_forgets_both(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.get_one(Item, 1).id = 8
    assert cache.told() == ["item:1", "item:8", "shop:1/items"]
    with make.begin() as session:
        session.add(Desk(code="a"))
    cache.told()
    with make.begin() as session:
        session.get_one(Desk, "a").code = "b"
    assert cache.told() == ["desk:a/3", "desk:b/3"]


def test_a_row_that_takes_the_place_of_a_deleted_one(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.delete(session.get_one(Item, 1))
        session.add(Item(id=1, shop_id=2))
    assert cache.told() == ["item:1", "shop:1/items", "shop:2/items"]


def test_values_that_the_database_makes_are_read(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.add(Desk(code="a"))
    assert cache.told() == ["desk:a/3"]
    with make.begin() as session:
        desk = session.get_one(Desk, "a")
        desk.floor = Desk.floor + 4  # type: ignore[assignment]
    assert cache.told() == ["desk:a/3", "desk:a/7"]


def test_a_relationship_moves_the_row_at_its_other_end(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        new, item = session.get_one(Shop, 2), session.get_one(Item, 1)
        new.items.append(item)
    assert cache.told() == ["item:1", "shop:1/items", "shop:2/items"]


def test_orphans_and_cascades_are_forgotten(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        shop = session.get_one(Shop, 1)
        gone = max(shop.items, key=lambda item: item.id)
        shop.items.remove(gone)
    assert cache.told() == ["item:3", "shop:1/items"]
    with make.begin() as session:
        session.delete(session.get_one(Shop, 1))
    assert cache.told() == ["item:1", "item:2", "shop:1/items"]


def test_both_ends_of_a_many_to_many_change_are_forgotten(make: Make, cache: NotedCache) -> None:
    both = ["item:1", "shop:1/items", "tag:1"]
    with make.begin() as session:
        item, tag = session.get_one(Item, 1), session.get_one(Tag, 1)
        item.tags.append(tag)
    assert cache.told() == both
    with make.begin() as session:
        item, tag = session.get_one(Item, 1), session.get_one(Tag, 1)
        tag.items.remove(item)
    assert cache.told() == both
    with make.begin() as session:
        session.get_one(Item, 1).tags = [session.get_one(Tag, 1), Tag(id=5)]
    assert cache.told() == [*both, "tag:5"]
    with make.begin() as session:
        session.delete(session.get_one(Tag, 1))
    assert cache.told() == both
    with make.begin() as session:
        session.delete(session.get_one(Item, 1))
    assert cache.told() == ["item:1", "shop:1/items", "tag:5"]


def test_rows_of_subclasses_belong_to_what_both_declare(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.add_all([Bike(id=1, owner=4), Truck(id=2, depot=8)])
    assert cache.told() == ["bikes/4", "depot:8", "vehicle:1", "vehicle:2"]
    with make.begin() as session:
        session.get_one(Truck, 2).depot = 9
        session.get_one(Bike, 1).owner = 5
    assert cache.told() == ["bikes/4", "bikes/5", "depot:8", "depot:9", "vehicle:1", "vehicle:2"]
    with make.begin() as session:
        session.delete(session.get_one(Truck, 2))
    assert cache.told() == ["depot:9", "vehicle:2"]


def test_merge_is_a_write_like_any_other(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.merge(Item(id=1, shop_id=2))
        session.merge(Item(id=9, shop_id=3))
    assert cache.told() == ["item:1", "item:9", "shop:1/items", "shop:2/items", "shop:3/items"]


def test_reading_and_setting_the_same_value_forget_nothing(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        item = session.get_one(Item, 1)
        item.title = item.title
        session.add(Note(id=1))
    assert cache.calls == []


def test_rows_told_by_their_key_alone_are_not_read_again(make: Make, engine: Engine) -> None:
    with make.begin() as session:
        tag = Tag(id=9)
        session.add(tag)
        session.flush()
        statements: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
            statements.append(statement.split(maxsplit=1)[0])

        event.listen(engine, "before_cursor_execute", note)
        session.delete(tag)
        session.flush()
        event.remove(engine, "before_cursor_execute", note)
    assert statements == ["SELECT", "DELETE"]  # its items


def test_a_thousand_rows_are_one_call(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.add_all(Tag(id=n) for n in range(100, 1_100))
        session.flush()
        for tag in list(session.query(Tag).filter(Tag.id >= 100)):
            session.delete(tag)
    (names,) = cache.calls
    assert len(names) == 1_000


def test_a_value_that_names_nothing_undoes_the_flush(make: Make, cache: NotedCache) -> None:
    with make() as session:
        session.add(Desk(code="x" * 600))
        with pytest.raises(NamespaceError):
            session.commit()
        session.rollback()
        assert session.get(Desk, "x" * 600) is None
    assert cache.calls == []
