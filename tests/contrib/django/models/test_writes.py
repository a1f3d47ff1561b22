"""Which namespaces each way to write through Django's ORM forgets, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import serializers
from django.db import connections, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.db.models.sql import UpdateQuery

from tests.contrib.django.models.helping import Record
from tests.contrib.django.shop.models import Bargain, Book, Favourite, Item, Note, Review, Shop, Tag


class Stock:
    """Two shops; two items of the first and a book; tags, a review, a favourite."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.one, self.two = (Shop.objects.using(alias).create(name=name) for name in "ab")
        self.lamp, self.rug = (
            Item.objects.using(alias).create(title=title, shop=self.one)
            for title in ("lamp", "rug")
        )
        self.book = Book.objects.using(alias).create(title="tale", shop=self.one, author="poe")
        self.red, self.blue = (Tag.objects.using(alias).create(label=x) for x in ("red", "blue"))
        self.lamp.tags.add(self.red)
        self.review = Review.objects.using(alias).create(item=self.rug, text="fine")
        self.user = User.objects.using(alias).create(username="eve")
        Favourite.objects.using(alias).create(user=self.user, item=self.lamp)

    def all(self, model: type[models.Model]) -> Any:
        return model._base_manager.using(self.alias)


@pytest.fixture
def stock(alias: str, record: Record) -> Stock:
    made = Stock(alias)
    record.clear()
    return made


def items(shop: int, *ids: int) -> set[str]:
    """What every change of these items of a shop forgets."""
    return {f"item:{n}" for n in ids} | {f"shop:{shop}/items", f"bargains:{shop}"}


BOOK = {"book:3", "author:poe/in:1"}


def _move(stock: Stock) -> None:
    stock.lamp.shop = stock.two
    stock.lamp.save()


def _move_stale(stock: Stock) -> None:
    """Moved by somebody else after it was loaded: the row leaves a list it does not know of."""
    stale = stock.all(Item).get(pk=1)
    third = stock.all(Shop).create(name="c")
    stock.all(Item).filter(pk=1).update(shop=third)
    stale.shop = stock.two
    stale.save()


def _move_by_expression(stock: Stock) -> None:
    stock.lamp.shop_id = F("shop_id") + 1
    stock.lamp.save()


def _title_only(stock: Stock) -> None:
    stale = Item(pk=1, shop_id=99, title="lamp 2")
    stale.save(using=stock.alias, update_fields=["title"])


def _deferred(stock: Stock) -> None:
    item = stock.all(Item).only("title").get(pk=1)
    item.title = "lamp 3"
    item.save()


def _bulk_update(stock: Stock) -> None:
    stock.lamp.shop = stock.two
    stock.all(Item).bulk_update([stock.lamp, stock.rug], ["shop"])


def _load(stock: Stock) -> None:
    fields = {"title": "x", "shop": 2, "price": 1}
    row = json.dumps([{"model": "shop.item", "pk": 1, "fields": fields}])
    for loaded in serializers.deserialize("json", row, using=stock.alias):
        loaded.save(using=stock.alias)


def _load_book(stock: Stock) -> None:
    """A fixture has the child's row apart from its parent's, and without its values."""
    fields = {"author": "doe"}
    row = json.dumps([{"model": "shop.book", "pk": 3, "fields": fields}])
    for loaded in serializers.deserialize("json", row, using=stock.alias):
        loaded.save(using=stock.alias)


def _upsert(stock: Stock) -> None:
    stock.all(Item).bulk_create(
        [Item(pk=1, title="lamp", shop=stock.two), Item(pk=9, title="new", shop=stock.two)],
        update_conflicts=True,
        unique_fields=["pk"],
        update_fields=["shop"],
    )


def _new_with_expression(stock: Stock) -> None:
    stock.all(Tag).create(label=Concat(Value("gr"), Value("een")))


def _both_ways(stock: Stock) -> None:
    stock.red.items.set([stock.rug])


def _raw_delete(stock: Stock) -> None:
    stock.all(Review).all()._raw_delete(stock.alias)


def _pickled(stock: Stock) -> None:
    query = pickle.loads(pickle.dumps(stock.all(Item).filter(pk=1).query))
    rows = stock.all(Item).all()
    rows.query = query
    rows.update(price=2)


def _through(stock: Stock) -> None:
    stock.all(Item.tags.through).create(item_id=2, tag_id=2)


def _through_by_expression(stock: Stock) -> None:
    stock.all(Item.tags.through).create(item_id=2, tag_id=Value(2))


def _rename(stock: Stock) -> None:
    stock.all(Tag).filter(pk=1).update(label="pink")


def _over_tables(stock: Stock) -> None:
    stock.all(Item).filter(shop__name="a", tags__label="red").update(price=3)


def _either_table(stock: Stock) -> None:
    """An outer join, of which PostgreSQL locks no rows."""
    stock.all(Item).filter(models.Q(tags__label="red") | models.Q(title="no")).update(price=3)


def _load_new_book(stock: Stock) -> None:
    row = json.dumps([{"model": "shop.book", "pk": 1, "fields": {"author": "doe"}}])
    for loaded in serializers.deserialize("json", row, using=stock.alias):
        loaded.save(using=stock.alias)


def _batch(stock: Stock) -> None:
    """What a cascade does, without asking how many rows there were."""
    UpdateQuery(Shop).update_batch([1], {"name": "z"}, stock.alias)


def _key(stock: Stock) -> None:
    stock.all(Tag).filter(pk=2).delete()
    stock.all(Shop).filter(pk=2).update(id=7)


WRITES: dict[str, tuple[Callable[[Stock], Any], set[str]]] = {
    "create": (lambda s: s.all(Item).create(title="x", shop=s.two), items(2, 4)),
    "create without a shop": (lambda s: s.all(Item).create(title="x"), {"item:4"}),
    "move": (_move, items(1, 1) | items(2, 1)),
    "move a stale instance": (
        _move_stale,
        items(1, 1) | items(2, 1) | items(3, 1) | {"shop:3", "shops"},
    ),
    "move by an expression": (_move_by_expression, items(1, 1) | items(2, 1)),
    "update_fields": (_title_only, items(1, 1)),
    "deferred": (_deferred, items(1, 1)),
    "delete": (lambda s: s.lamp.delete(), items(1, 1) | {"tag:red", "user:1/favourites"}),
    "delete with SET_NULL": (lambda s: s.rug.delete(), items(1, 2) | {"item:2/reviews"}),
    "cascade": (
        lambda s: s.one.delete(),
        {"shop:1", "shops", "item:2/reviews", "tag:red", "user:1/favourites"}
        | items(1, 1, 2, 3)
        | BOOK,
    ),
    "update": (
        lambda s: s.all(Item).filter(title="lamp").update(shop=s.two),
        items(1, 1) | items(2, 1),
    ),
    "update of all": (lambda s: s.all(Item).update(price=1), items(1, 1, 2, 3) | BOOK),
    "update of none": (lambda s: s.all(Item).filter(title="no").update(price=1), set()),
    "related manager": (lambda s: s.one.items.filter(pk=2).update(price=1), items(1, 2)),
    "over tables": (_over_tables, items(1, 1)),
    "over an outer join": (_either_table, items(1, 1)),
    "all but one key": (lambda s: s.all(Shop).exclude(pk=1).update(name="z"), {"shop:2", "shops"}),
    "keys and more": (
        lambda s: s.all(Shop).filter(pk__in=[1, 2], name="a").update(name="z"),
        {"shop:1", "shops"},
    ),
    "batch": (_batch, {"shop:1", "shops"}),
    "bulk_create": (
        lambda s: s.all(Item).bulk_create([Item(title=t, shop=s.two) for t in "xy"]),
        items(2, 4, 5),
    ),
    "bulk_create of none": (lambda s: s.all(Item).bulk_create([]), set()),
    "bulk_create with conflicts": (_upsert, items(1, 1) | items(2, 1, 9)),
    "bulk_update": (_bulk_update, items(1, 1, 2) | items(2, 1)),
    "raw delete": (_raw_delete, {"item:2/reviews"}),
    "fast delete": (lambda s: s.all(Review).all().delete(), {"item:2/reviews"}),
    "get_or_create": (lambda s: s.all(Shop).get_or_create(name="c"), {"shop:3", "shops"}),
    "get": (lambda s: s.all(Shop).get_or_create(name="a"), set()),
    "update_or_create": (
        lambda s: s.all(Shop).update_or_create(name="a", defaults={"name": "z"}),
        {"shop:1", "shops"},
    ),
    "proxy": (lambda s: s.all(Bargain).filter(pk=1).update(price=1), items(1, 1)),
    "child": (
        lambda s: s.all(Book).update(author="doe"),
        {"book:3", "author:poe/in:1", "author:doe/in:1"},
    ),
    "child's parent": (
        lambda s: s.all(Item).filter(pk=3).update(shop=s.two),
        items(1, 3) | items(2, 3) | {*BOOK, "author:poe/in:2"},
    ),
    "child and parent": (
        lambda s: s.all(Book).update(author="doe", shop=s.two),
        items(1, 3) | items(2, 3) | {*BOOK, "author:doe/in:1", "author:doe/in:2"},
    ),
    "add": (lambda s: s.rug.tags.add(s.blue), items(1, 2) | {"tag:blue"}),
    "remove": (lambda s: s.lamp.tags.remove(s.red), items(1, 1) | {"tag:red"}),
    "clear": (lambda s: s.lamp.tags.clear(), items(1, 1) | {"tag:red"}),
    "clear from the other side": (lambda s: s.red.items.clear(), items(1, 1) | {"tag:red"}),
    "set from the other side": (_both_ways, items(1, 1, 2) | {"tag:red"}),
    "through": (_through, items(1, 2) | {"tag:blue"}),
    "through by an expression": (_through_by_expression, items(1, 2) | {"tag:blue"}),
    "loaddata": (_load, items(1, 1) | items(2, 1)),
    "loaddata of a child": (_load_book, {"book:3", "author:poe/in:1", "author:doe/in:1"}),
    "loaddata of a new child": (_load_new_book, {"book:1", "author:doe/in:1"}),
    "rename": (_rename, {"tag:red", "tag:pink"}),
    "another key": (_key, {"tag:blue", "shop:2", "shop:7", "shops"}),
    "new row with an expression": (_new_with_expression, {"tag:green"}),
    "pickled query": (_pickled, items(1, 1)),
    "undeclared": (lambda s: s.all(Note).create(text="x"), set()),
    "asynchronous": (
        lambda s: asyncio.run(s.all(Shop).filter(pk=1).aupdate(name="z")),
        {"shop:1", "shops"},
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_forgets_what_its_rows_were_and_what_they_are(
    name: str, stock: Stock, record: Record
) -> None:
    write, expected = WRITES[name]
    write(stock)
    assert record.names() == expected


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_is_rolled_back_forgets_nothing(
    name: str, stock: Stock, record: Record
) -> None:
    if name == "asynchronous":
        return  # it runs in a thread with a connection of its own: committed there
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=stock.alias):
        WRITES[name][0](stock)
        raise ZeroDivisionError
    assert not record


@pytest.mark.parametrize("name", WRITES)
def test_what_a_transaction_writes_is_forgotten_in_one_call_after_its_commit(
    name: str, stock: Stock, record: Record
) -> None:
    if name == "asynchronous":
        return
    with transaction.atomic(using=stock.alias):
        WRITES[name][0](stock)
        assert not record
    assert len(record) == bool(WRITES[name][1])
    assert record.names() == WRITES[name][1]


def test_a_save_whose_names_hang_on_its_key_alone_reads_nothing(
    stock: Stock, django_queries: Callable[[str], list[str]]
) -> None:
    queries = django_queries(stock.alias)
    stock.one.save()
    assert [sql.split()[0] for sql in queries] == ["UPDATE"]


def test_unacknowledged_writes_do_not_make_the_commit_look_failed(
    stock: Stock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from pagegen.contrib.django import get_cache

    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("unplugged")

    monkeypatch.setattr(get_cache().engine.store, "replace_tokens", broken)
    with transaction.atomic(using=stock.alias):
        stock.one.save()
    stock.two.save()  # in autocommit
    assert stock.all(Shop).filter(name="a").exists()
    said = [r.getMessage() for r in caplog.records if r.name == "pagegen.contrib.django"]
    assert "shop:…, shops" in said[0]
    assert "shop:…, shops" in said[1]
    assert get_cache().statistics()["owed"] >= 3
    monkeypatch.undo()


def test_a_name_that_cannot_be_one_stops_the_write(stock: Stock) -> None:
    with pytest.raises(ValueError, match="no namespace"):
        stock.all(Book).update(author="é" * 100)
    with pytest.raises(ValueError, match="no namespace"):
        stock.all(Book).create(title="x", author="é" * 100, shop=stock.one)
    assert [book.author for book in stock.all(Book).all()] == ["poe"]


def test_each_connection_has_the_three_methods_wrapped_once() -> None:
    from django.db.models.sql import compiler

    from pagegen.contrib.django import guard, rows

    before = compiler.SQLUpdateCompiler.execute_sql
    rows.install()
    guard.install()
    assert compiler.SQLUpdateCompiler.execute_sql is before
    assert connections["default"].execute_wrappers.count(guard._look) <= 1
