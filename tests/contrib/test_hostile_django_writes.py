"""What a hostile reader found where two write at once, where answers of the database are lost, and
where a savepoint is rolled back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

import pytest

# ruff: noqa: F401, F811, I001
# Fixtures of theirs come first: they configure Django.
from tests.contrib.django.conftest import _fresh_cache, database, pagegen_settings
from tests.contrib.django.models.conftest import (
    _rules,
    alias,
    django_queries,
    record,
    second,
)

from django.contrib.auth.models import Group, User
from django.db import IntegrityError, OperationalError, connections, transaction
from django.db.models import Value

from pagegen.contrib.django import cache, plans, register
from pagegen.contrib.django.models import OutboxRow
from pagegen.errors import ConfigError
from tests.contrib.django.models.helping import PAGES, Record, empty, rebuilt
from tests.contrib.django.shop.models import Item, Shop, Tag

PATIENCE = 20.0
#: Who would wait for a lock gives up: it is held until this test lets go.
NO_WAITING = "SET lock_timeout = '20ms'"


@pytest.fixture
def undeclared_again() -> Iterator[None]:
    yield
    plans._registered.clear()
    plans._forget_plans()


def _begin(work: Callable[[], object]) -> tuple[Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = Thread(target=run)
    thread.start()
    return thread, errors


def _elsewhere(alias: str, work: Callable[[], object]) -> list[BaseException]:
    """Do it on another connection, which waits for nobody; what it raised."""

    def run() -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(NO_WAITING)
        work()

    thread, errors = _begin(run)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    return errors


class _Between:
    """Lets another connection do something once, behind the first statement that fits."""

    def __init__(self, alias: str, work: Callable[[], object], *words: str) -> None:
        self.alias, self.work, self.words = alias, work, words
        self.errors: list[BaseException] | None = None

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        result = execute(sql, *rest)
        if self.errors is None and all(word in sql for word in self.words):
            self.errors = _elsewhere(self.alias, self.work)
        return result


@pytest.mark.parametrize("inside", [False, True])
def test_an_upsert_forgets_what_another_writer_has_just_inserted(
    second: str, record: Record, inside: bool
) -> None:
    empty(second)
    items = Item.objects.using(second)
    one, two = (Shop.objects.using(second).create(name=name) for name in "12")
    record.clear()
    between = _Between(
        second, lambda: items.create(pk=7, title="x", shop=one), "SELECT", " FOR ", "shop_item"
    )
    with connections[second].execute_wrapper(between):
        if inside:
            with transaction.atomic(using=second):
                _put(items, [Item(pk=7, title="y", shop=two), Item(pk=8, title="z", shop=two)])
                record.clear()  # of him who came between
        else:
            _put(items, [Item(pk=7, title="y", shop=two), Item(pk=8, title="z", shop=two)])
            del record[0]
    assert between.errors == []
    assert set(items.values_list("pk", "title", "shop")) == {(7, "y", two.pk), (8, "z", two.pk)}
    assert f"shop:{one.pk}/items" in record.names()


def test_an_upsert_that_was_overtaken_lets_nobody_in_again(second: str, record: Record) -> None:
    empty(second)
    items = Item.objects.using(second)
    two = Shop.objects.using(second).create(name="2")
    words = "SELECT", " FOR ", "shop_item"
    first = _Between(second, lambda: items.create(pk=7, title="x"), *words)
    last = _Between(second, lambda: items.create(pk=8, title="x"), *words)

    def between(execute: Any, sql: str, *rest: Any) -> Any:
        return (last if first.errors is not None else first)(execute, sql, *rest)

    with connections[second].execute_wrapper(between):
        _put(items, [Item(pk=7, title="y", shop=two), Item(pk=8, title="z", shop=two)])
    assert first.errors == []
    assert last.errors
    assert isinstance(last.errors[0], OperationalError)
    assert set(items.values_list("title", flat=True)) == {"y", "z"}


def _put(items: Any, objs: list[Item]) -> None:
    items.bulk_create(
        objs, update_conflicts=True, unique_fields=["id"], update_fields=["title", "shop"]
    )


def test_an_upsert_into_a_table_whose_trigger_locks_new_rows_goes_through(
    second: str, record: Record
) -> None:
    """They look as if they had been there before."""
    empty(second)
    with connections[second].cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION locks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "PERFORM 1 FROM shop_item WHERE id = NEW.id FOR KEY SHARE; RETURN NULL; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER locks AFTER INSERT ON shop_item FOR EACH ROW EXECUTE FUNCTION locks()"
        )
    try:
        _put(Item.objects.using(second), [Item(pk=7, title="y")])
    finally:
        with connections[second].cursor() as cursor:
            cursor.execute("DROP TRIGGER locks ON shop_item")
            cursor.execute("DROP FUNCTION locks()")
    assert Item.objects.using(second).get().title == "y"
    assert "item:7" in record.names()


def test_who_tags_different_items_with_the_same_tags_does_not_clash(
    second: str, record: Record
) -> None:
    empty(second)
    first, other = (Item.objects.using(second).create(title=title) for title in "ab")
    x, y = (Tag.objects.using(second).create(label=label) for label in "xy")
    both = Barrier(2)

    def tagging(item: Item, tags: tuple[Tag, Tag]) -> Callable[[], None]:
        def work() -> None:
            with transaction.atomic(using=second):
                item.tags.add(tags[0])
                with suppress(BrokenBarrierError):
                    both.wait(PATIENCE)
                item.tags.add(tags[1])

        return work

    begun = [_begin(tagging(first, (x, y))), _begin(tagging(other, (y, x)))]
    for thread, _ in begun:
        thread.join(PATIENCE)
    assert [error for _, errors in begun for error in errors] == []


def _tag(second: str, how: str) -> None:
    through = Item.tags.through.objects.using(second)
    if how == "add":
        Item.objects.using(second).get(pk=1).tags.add(2)
    elif how == "move":
        through.update(tag_id=2)
    else:
        through.bulk_create(
            [Item.tags.through(pk=1, item_id=1, tag_id=2)],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["tag"],
        )


@pytest.mark.parametrize("how", ["add", "move", "upsert"])
def test_a_tag_keeps_its_name_until_who_has_used_it_has_committed(
    second: str, record: Record, how: str
) -> None:
    empty(second)
    items, tags = Item.objects.using(second), Tag.objects.using(second)
    item = items.create(title="a")
    for label in "xy":
        tags.create(label=label)
    item.tags.add(1)
    with transaction.atomic(using=second):
        _tag(second, how)
        (error,) = _elsewhere(second, lambda: tags.filter(pk=2).update(label="z"))
        assert isinstance(error, OperationalError)
        (error,) = _elsewhere(second, lambda: items.update(shop=None, title="moved"))
        assert isinstance(error, OperationalError)
        # Its names are made of keys; the rest of it anybody may write.
        assert _elsewhere(second, lambda: items.update(price=2)) == []
    assert _elsewhere(second, lambda: tags.filter(pk=2).update(label="z")) == []


def test_an_end_whose_name_is_no_key_is_kept_and_shared(
    second: str, record: Record, undeclared_again: None
) -> None:
    empty(second)
    register(User, ["called:{first_name}"])
    users = User.objects.using(second)
    eve = users.create(username="eve", first_name="eve")
    groups = [Group.objects.using(second).create(name=name) for name in "ab"]
    with transaction.atomic(using=second):
        eve.groups.add(groups[0])
        (error,) = _elsewhere(second, lambda: users.update(first_name="eva"))
        assert isinstance(error, OperationalError)
        assert _elsewhere(second, lambda: users.get().groups.add(groups[1])) == []
    Group.objects.using(second).all().delete()
    empty(second)


def test_an_end_that_is_named_by_its_key_is_neither_read_nor_locked(
    second: str, undeclared_again: None, django_queries: Callable[[str], list[str]]
) -> None:
    empty(second)
    register(User, ["user:{pk}"])
    eve = User.objects.using(second).create(username="eve")
    group = Group.objects.using(second).create(name="a")
    queries = django_queries(second)
    eve.groups.add(group)
    assert not [sql for sql in queries if 'FROM "auth_user"' in sql]
    group.delete()
    empty(second)


def test_a_row_that_is_inserted_meanwhile_is_not_written_unread(
    second: str, record: Record
) -> None:
    empty(second)
    items = Item.objects.using(second)
    one, two = (Shop.objects.using(second).create(name=name) for name in "12")
    between = _Between(
        second, lambda: items.create(pk=7, title="x", shop=one), "SELECT", " FOR ", "shop_item"
    )
    with connections[second].execute_wrapper(between):
        assert items.filter(pk__in=[7, 8]).update(shop=two) == 0
    assert between.errors == []
    assert items.get().shop_id == one.pk


class _Break(BaseException):
    """What some servers break a request off with."""


LOST: dict[str, tuple[Callable[[str], Any], set[str]]] = {
    "insert": (lambda alias: Shop.objects.using(alias).create(name="b"), {"shops"}),
    "insert with a key": (
        lambda alias: Shop.objects.using(alias).create(pk=9, name="b"),
        {"shop:9", "shops"},
    ),
    "update": (
        lambda alias: Shop.objects.using(alias).filter(pk=1).update(name="b"),
        {"shop:1", "shops"},
    ),
    "delete": (
        lambda alias: Shop.objects.using(alias).filter(pk=1)._raw_delete(alias),
        {"shop:1", "shops"},
    ),
}


@pytest.mark.parametrize("error", [OperationalError, _Break])
@pytest.mark.parametrize("name", LOST)
def test_a_write_in_autocommit_whose_answer_is_lost_is_forgotten(
    name: str, error: type[BaseException], alias: str, record: Record
) -> None:
    Shop.objects.using(alias).create(name="a")
    record.clear()
    write, expected = LOST[name]

    def lose(execute: Any, sql: str, *rest: Any) -> Any:
        execute(sql, *rest)
        raise error("the server closed the connection unexpectedly")

    with connections[alias].execute_wrapper(lose), pytest.raises(error):
        write(alias)
    assert list(Shop.objects.using(alias).values_list("name", flat=True)) != ["a"]
    assert record.names() == expected


def test_a_write_in_autocommit_that_is_refused_forgets_nothing(alias: str, record: Record) -> None:
    Shop.objects.using(alias).create(pk=1, name="a")
    record.clear()
    with pytest.raises(IntegrityError):
        Shop.objects.using(alias).create(pk=1, name="b")

    def refuse(execute: Any, sql: str, *rest: Any) -> Any:
        raise ValueError("a text with a zero in it")  # a driver's, of what it cannot send

    with connections[alias].execute_wrapper(refuse), pytest.raises(ValueError, match="zero"):
        Shop.objects.using(alias).filter(pk=1).update(name="b")
    assert not record


def test_a_row_that_must_be_read_again_and_cannot_be_is_not_kept(
    alias: str, record: Record
) -> None:
    Shop.objects.using(alias).create(pk=1, name="a")

    def lose(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("SELECT"):
            raise OperationalError("the server closed the connection unexpectedly")
        return execute(sql, *rest)

    with connections[alias].execute_wrapper(lose), pytest.raises(OperationalError):
        Item.objects.using(alias).create(title="x", shop_id=Value(1))
    assert not Item.objects.using(alias).exists()


def test_what_no_cache_can_be_built_for_is_not_written(
    database: None, pagegen_settings: Any
) -> None:
    pagegen_settings(PAGEGEN=PAGES)
    Shop.objects.create(pk=1, name="a")
    Item.objects.create(title="y")
    pagegen_settings(PAGEGEN={"rule": [{"path": "no slash"}]})
    for write in (
        lambda: Shop.objects.create(name="b"),
        lambda: Shop.objects.filter(pk=1).update(name="b"),
        lambda: Shop.objects.all().delete(),
        lambda: Item.objects.create(title="x"),
        lambda: Item.objects.all().delete(),
    ):
        with pytest.raises(ConfigError):
            write()
    assert [shop.name for shop in Shop.objects.all()] == ["a"]
    assert [item.title for item in Item.objects.all()] == ["y"]


def test_the_outbox_has_what_was_written_again_after_a_savepoint_by_hand(
    database: None, record: Record
) -> None:
    with rebuilt(outbox=True), transaction.atomic():
        cache.invalidate("before", using="default")
        mark = transaction.savepoint()
        Shop.objects.create(name="undone")
        transaction.savepoint_rollback(mark)
        Shop.objects.create(name="kept")
        shelved = {name for row in OutboxRow.objects.all() for name in json.loads(row.names)}
        assert "shops" in shelved


def test_with_an_outbox_errors_of_hooks_still_arrive(database: None, record: Record) -> None:
    """What settles the outbox is committed, too: other hooks are not its own."""
    ran: list[str] = []
    with rebuilt(outbox=True), pytest.raises(ZeroDivisionError), transaction.atomic():
        transaction.on_commit(lambda: ran.append(f"{OutboxRow.objects.count()} rows"))
        Shop.objects.create(name="a")
        transaction.on_commit(lambda: 1 / 0)
    assert ran == ["0 rows"]
    assert "shops" in record.names()
