"""Declarations on models: what is right, what is wrong, and what is too much at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connections, models, transaction
from django.test.utils import isolate_apps

from pagegen.contrib.django import changes, inserts, plans, rows
from pagegen.contrib.django.guard import UnseenWriteError
from pagegen.errors import ConfigError
from tests.contrib.django.models.helping import Record
from tests.contrib.django.shop.models import Book, Favourite, Item, Note, Review, Shop, Tag


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    plans._registered.clear()
    plans._forget_plans()


def test_a_model_that_cannot_be_edited_is_registered(alias: str, record: Record) -> None:
    rows.register(User, ["user:{pk}", "name:{username}"])
    user = User.objects.using(alias).create(username="eve")
    assert record.names() == {"user:1", "name:eve"}
    user.username = "eva"
    user.save()
    assert record.names() == {"user:1", "name:eve", "name:eva"}
    user.delete()
    assert record.names() == {"user:1", "name:eva"}


def test_a_registration_adds_to_what_the_model_declares(alias: str, record: Record) -> None:
    rows.register(Tag, ["tags"])
    rows.register(Tag, ["tag-by-id:{id}"])
    Tag.objects.using(alias).create(label="x")
    assert record.names() == {"tag:x", "tags", "tag-by-id:1"}


WRONG: dict[str, tuple[type[models.Model], Any, str]] = {
    "text": (User, "user:{id}", "no list"),
    "no column": (User, ["user:{nick}"], "no column"),
    "relation": (User, ["user:{groups}"], "no column"),
    "path": (Item, ["x:{shop__name}"], "no column"),
    "brace": (User, ["user:{id"], "brace"),
    "truth": (User, ["user:{is_staff}"], "BooleanField"),
    "nothing": (User, [], "nothing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_declaration_is_told_with_model_and_remedy(name: str) -> None:
    model, templates, says = WRONG[name]
    with pytest.raises(ConfigError, match=says) as caught:
        rows.register(model, templates)
    assert caught.value.where == model._meta.label
    assert caught.value.remedy
    assert caught.value.field == "pagegen_namespaces"


def test_the_checks_get_every_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows.problems() == []
    monkeypatch.setattr(Shop, "pagegen_namespaces", ["shop:{nick}"])
    monkeypatch.setattr(Tag, "pagegen_namespaces", "tag")
    assert {error.where for error in rows.problems()} == {"shop.Shop", "shop.Tag"}


def test_a_wrong_declaration_stops_writes(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shop, "pagegen_namespaces", ["shop:{nick}"])
    plans._forget_plans()
    with pytest.raises(ConfigError, match="nick"):
        Shop.objects.using(alias).create(name="a")


def test_a_new_row_whose_name_cannot_be_one_is_not_kept(alias: str) -> None:
    rows.register(Note, ["note:{text}"])
    with pytest.raises(ValueError, match="no namespace"):
        Note.objects.using(alias).create(text="x" * 600)
    assert not Note.objects.using(alias).exists()


@isolate_apps("tests.contrib.django.shop")
def test_classes_that_stand_for_a_table_and_are_no_models_of_an_app_declare_nothing() -> None:
    class Stranger(models.Model):
        pagegen_namespaces = ["x:{id}"]

        class Meta:
            app_label = "shop"
            db_table = "shop_shop"

    assert not plans.plan(Stranger)


def test_the_names_of_an_instance(alias: str) -> None:
    shop = Shop.objects.using(alias).create(name="a")
    book = Book.objects.using(alias).create(title="x", author="poe", shop=shop)
    found = {"item:1", "shop:1/items", "bargains:1", "book:1", "author:poe/in:1"}
    assert set(rows.names_of(book)) == found
    deferred = Item.objects.using(alias).only("pk").get()
    assert set(rows.names_of(deferred)) == {"item:1", "shop:1/items", "bargains:1"}
    with pytest.raises(TypeError, match="declares no"):
        rows.names_of(Note())


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (changes, inserts):
        monkeypatch.setattr(module, "MAX_ROWS", 3)


def test_too_many_rows_are_refused_before_anything_is_written(
    alias: str, few: None, record: Record
) -> None:
    tags = [Tag(label=str(n)) for n in range(4)]
    with pytest.raises(UnseenWriteError, match="more than"):
        Tag.objects.using(alias).bulk_create(tags)
    assert not Tag.objects.using(alias).exists()
    Tag.objects.using(alias).bulk_create(tags, batch_size=2)
    record.clear()
    with pytest.raises(UnseenWriteError, match=r"shop\.Tag"):
        Tag.objects.using(alias).filter(label__gt="").update(label="x")
    with pytest.raises(UnseenWriteError, match="Nothing was written"):
        Tag.objects.using(alias).all()._raw_delete(alias)
    assert Tag.objects.using(alias).count() == 4
    assert not record


def test_too_many_rows_forget_the_namespace_of_all(alias: str, few: None, record: Record) -> None:
    Shop.objects.using(alias).bulk_create([Shop(name=str(n)) for n in range(4)])
    assert record.names() == {"shops"}
    Shop.objects.using(alias).filter(name__gt="").update(name="x")
    assert record.names() == {"shops"}


def test_a_crowded_transaction_goes_on_with_the_namespace_of_all(
    alias: str, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_NAMES", 3)
    with transaction.atomic(using=alias):
        for number in range(6):
            Shop.objects.using(alias).create(name=str(number))
        Tag.objects.using(alias).create(label="x")
    assert record == [("shop:1", "shops", "shop:2", "shop:3", "tag:x")]


def test_rows_that_cannot_be_known_are_refused(alias: str) -> None:
    Review.objects.using(alias).create(text="x")
    Tag.objects.using(alias).create(label="x")
    with pytest.raises(UnseenWriteError, match="cannot be known"):
        Tag.objects.using(alias).update(id=models.F("id") + 1)
    assert Tag.objects.using(alias).get().pk == 1


def test_each_table_that_holds_a_row_or_relates_it_has_a_plan() -> None:
    assert set(plans.tables()) == {
        "shop_shop",
        "shop_tag",
        "shop_item",
        "shop_book",
        "shop_item_tags",
        "shop_review",
        "shop_favourite",
    }
    assert not plans.plan(Note)
    assert plans.plan(Favourite)
    assert [watched.model for watched in plans.plan(Item).below] == [Book]
    assert apps.ready


def test_sqlite_waits_for_its_turn_instead_of_failing(record: Record) -> None:
    """A transaction that read first could not write any more once another one has written."""
    from django.db.utils import ConnectionHandler

    Shop.objects.all().delete()
    for name in "ab":
        Shop.objects.create(name=name)
    item = Item.objects.create(title="x", shop=Shop.objects.first())
    handler = ConnectionHandler({"default": {**connections.settings["default"]}})
    other = handler["default"]
    statements: list[str] = []

    def between(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        if sql.startswith("SELECT"):
            other.cursor().execute("PRAGMA busy_timeout = 0")
            with pytest.raises(Exception, match="locked"):
                other.cursor().execute(f"UPDATE shop_item SET price = 5 WHERE id = {item.pk}")
        return execute(sql, *rest)

    try:
        with transaction.atomic(), connections["default"].execute_wrapper(between):
            item.title = "y"
            item.save()
    finally:
        other.close()
    assert [sql.split()[0] for sql in statements][:2] == ["UPDATE", "SELECT"]
    Shop.objects.all().delete()
    Item.objects.all().delete()
