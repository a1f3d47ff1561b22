"""SQL of one's own on declared tables is seen, and said or refused; nothing else is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from timeit import timeit
from typing import Any

import pytest
from django.db import connections
from django.db.migrations.state import ModelState, ProjectState
from psycopg import sql as composed

from pagegen.contrib.django.guard import UnseenWriteError, _look, _warned, accounted, written
from tests.contrib.django.models.helping import Record, rebuilt
from tests.contrib.django.shop.models import Item, Shop, Tag

STATEMENTS = {
    'UPDATE "shop_item" SET "price" = 1': ("shop_item",),
    "update shop_item set price = 1": ("shop_item",),
    "UPDATE ONLY public.shop_item SET price = 1": ("shop_item",),
    'UPDATE "public"."shop_item" SET price = 1': ("shop_item",),
    "UPDATE OR IGNORE shop_item SET price = 1": ("shop_item",),
    "INSERT INTO shop_item (id) VALUES (1)": ("shop_item",),
    "INSERT OR REPLACE INTO shop_item VALUES (1)": ("shop_item",),
    "INSERT IGNORE INTO `shop_item` VALUES (1)": ("shop_item",),
    "REPLACE INTO shop_item VALUES (1)": ("shop_item",),
    "REPLACE shop_item VALUES (1)": ("shop_item",),
    "DELETE FROM [shop_item]": ("shop_item",),
    "MERGE INTO shop_item USING x ON true": ("shop_item",),
    "TRUNCATE shop_item, ONLY shop_tag CASCADE": ("shop_item", "shop_tag"),
    "TRUNCATE TABLE shop_item": ("shop_item",),
    "COPY shop_item FROM STDIN": ("shop_item",),
    "WITH x AS (SELECT 1) DELETE FROM shop_item": ("shop_item",),
    "WITH x AS (DELETE FROM shop_item RETURNING id) SELECT id FROM x": ("shop_item",),
    "/* hello */ -- there\n UPDATE shop_item SET price = 1": ("shop_item",),
    "SELECT 1; DELETE FROM shop_item": ("shop_item",),
    "SELECT 1; /*!50000 DELETE FROM shop_item */": ("shop_item",),
    "INSERT INTO log SELECT * FROM shop_item": ("log",),
    'DELETE FROM "public"."an odd-table"': ("an odd-table",),
    'INSERT INTO"it\'s ""odd"""(n)VALUES(\'x\')': ('it\'s "odd"',),
    "UPDATE `a``b c`.`d e` SET n = 'it''s'; DELETE FROM x": ("d e", "x"),
    'TRUNCATE "an odd-table", [b c]': ("an odd-table", "b c"),
    "LOAD DATA LOCAL INFILE 'x.csv' REPLACE INTO TABLE shop_item": ("shop_item",),
    "SELECT updated, deleted_from FROM x": (),
    "SELECT 'DELETE FROM shop_item'": (),
    "SELECT * FROM shop_item /* UPDATE shop_item */": (),
    "CREATE TABLE x (id int)": (),
}


@pytest.mark.parametrize("sql", STATEMENTS)
def test_the_tables_that_a_statement_writes_to(sql: str) -> None:
    assert written(sql) == STATEMENTS[sql]
    assert written(sql + " " * 5_000) == STATEMENTS[sql]


def test_locking_rows_is_no_write_to_their_table() -> None:
    assert "shop_item" not in written("SELECT * FROM shop_item FOR UPDATE OF shop_item; SELECT 1")


def _messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "pagegen.contrib.django" and record.levelno == logging.WARNING
    ]


def _raw(alias: str, sql: Any = "UPDATE shop_shop SET name = 'raw'", params: Any = None) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)


def test_one_s_own_sql_is_warned_of_once_for_each_place(
    alias: str, caplog: pytest.LogCaptureFixture
) -> None:
    _warned.clear()
    caplog.clear()
    for _ in range(3):
        connections[alias].cursor().execute("UPDATE shop_shop SET name = 'raw'")
    connections[alias].cursor().executemany("DELETE FROM shop_shop WHERE id = %s", [(1,), (2,)])
    first, second = _messages(caplog)
    assert "shop.Shop (shop_shop)" in first
    assert "accounted()" in first
    assert __file__ in first
    assert first != second


def test_raise_refuses_before_anything_is_written(alias: str) -> None:
    Shop.objects.using(alias).create(name="a")
    with rebuilt(unseen_writes="raise"):
        with pytest.raises(UnseenWriteError, match=r"shop\.Shop"):
            _raw(alias)
        with accounted():
            _raw(alias, "UPDATE shop_shop SET name = %s", ["b"])
        _raw(alias, "UPDATE shop_note SET text = ''")
    assert Shop.objects.using(alias).get().name == "b"


def test_allow_says_nothing(alias: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    with rebuilt(unseen_writes="allow"):
        _raw(alias)
    assert not _messages(caplog)


def test_composed_statements_are_read_too(second: str) -> None:
    statement = composed.SQL("UPDATE {} SET name = 'x'").format(composed.Identifier("shop_shop"))
    with rebuilt(unseen_writes="raise"), pytest.raises(UnseenWriteError):
        _raw(second, statement)


def test_a_second_statement_behind_a_select_is_read_too(second: str) -> None:
    with rebuilt(unseen_writes="raise"), pytest.raises(UnseenWriteError):
        _raw(second, "SELECT 1; DELETE FROM shop_shop")


def test_a_connection_that_is_opened_later_is_watched(alias: str) -> None:
    connections[alias].close()
    with rebuilt(unseen_writes="raise"), pytest.raises(UnseenWriteError):
        _raw(alias)


ORM: dict[str, Callable[[str], Any]] = {
    "create": lambda alias: Item.objects.using(alias).create(title="x"),
    "bulk_create": lambda alias: Tag.objects.using(alias).bulk_create([Tag(label="x")]),
    "update": lambda alias: Item.objects.using(alias).update(title="x"),
    "delete": lambda alias: Shop.objects.using(alias).all().delete(),
    "many-to-many": lambda alias: (
        Item.objects.using(alias)
        .create(title="y")
        .tags.add(Tag.objects.using(alias).create(label="y"))
    ),
}


@pytest.mark.parametrize("name", ORM)
def test_what_the_orm_writes_is_accounted_for(name: str, alias: str) -> None:
    with rebuilt(unseen_writes="raise"):
        ORM[name](alias)


def test_a_migration_s_own_models_are_unseen(alias: str, record: Record) -> None:
    state = ProjectState()
    state.add_model(ModelState("shop", "Shop", [("id", _key()), ("name", _text())]))
    old = state.apps.get_model("shop", "Shop")
    with rebuilt(unseen_writes="raise"), pytest.raises(UnseenWriteError):
        old._base_manager.using(alias).update(name="old")
    assert not record


def test_emptying_all_tables_is_not_refused(alias: str) -> None:
    Shop.objects.using(alias).create(name="a")
    connection = connections[alias]
    with rebuilt(unseen_writes="raise"):
        flush = connection.ops.sql_flush(_Plain(), ["shop_shop"], allow_cascade=True)
        connection.ops.execute_sql_flush(flush)
    assert not Shop.objects.using(alias).exists()


def test_a_select_costs_next_to_nothing() -> None:
    def nothing(*_: Any) -> None:
        return None

    sql = "SELECT " + ", ".join(f'"shop_item"."c{n}"' for n in range(20)) + ' FROM "shop_item"'
    number = 20_000
    with_guard = min(
        timeit(lambda: _look(nothing, sql, (), False, {}), number=number) for _ in range(5)
    )
    assert with_guard / number < 5e-6  # it takes some 0.3 µs


class _Plain:
    """Django's styles for SQL in a terminal, none of them."""

    def __getattr__(self, name: str) -> Callable[[str], str]:
        return lambda text: text


def _key() -> Any:
    from django.db import models

    return models.BigAutoField(primary_key=True)


def _text() -> Any:
    from django.db import models

    return models.CharField(max_length=100)
