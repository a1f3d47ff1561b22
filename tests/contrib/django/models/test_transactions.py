"""Forgetting waits for the outermost commit: rollback, savepoints, several databases, pages."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Event, Thread
from typing import Any

import pytest
from django.core.wsgi import get_wsgi_application
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError
from django.http import HttpResponse
from django.test import RequestFactory, TestCase, override_settings
from django.urls import path

from pagegen.contrib.django import cache, get_cache
from pagegen.contrib.django.transactions import SEARCHED, later
from pagegen.errors import NamespaceError
from pagegen.testing import call_wsgi, environ
from pagegen.wsgi import PageCacheMiddleware
from tests.contrib.django.models.helping import Record, empty, rebuilt
from tests.contrib.django.shop.models import Item, Shop, Tag

PATIENCE = 20.0


@pytest.fixture
def other() -> Iterator[str]:
    connections["other"].cursor().execute("PRAGMA synchronous = OFF")
    empty("other")
    yield "other"
    empty("other")


def test_a_commit_forgets_and_a_rollback_does_not(alias: str, record: Record) -> None:
    with transaction.atomic(using=alias):
        answer = cache.invalidate("a", "b", using=alias)
        assert answer.deferred
        assert answer.namespaces == ("a", "b")
        assert not record
    assert record == [("a", "b")]
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias):
        cache.invalidate("c", using=alias)
        raise ZeroDivisionError
    with transaction.atomic(using=alias):
        cache.invalidate("d", using=alias)
        transaction.set_rollback(True, using=alias)
    assert record == [("a", "b")]


def test_without_a_transaction_it_is_forgotten_at_once(alias: str, record: Record) -> None:
    answer = cache.invalidate("a", using=alias)
    assert not answer.deferred
    assert later(get_cache(), ["a"], using=alias) is None


def test_what_a_savepoint_collected_goes_with_it(alias: str, record: Record) -> None:
    with transaction.atomic(using=alias):
        cache.invalidate("outer")
        with transaction.atomic(using=alias):
            cache.invalidate("kept")
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias):
            cache.invalidate("dropped", "outer")
            with transaction.atomic(using=alias):
                cache.invalidate("dropped too")
            raise ZeroDivisionError
        cache.invalidate("last")
    assert len(record) == 1
    assert record.names() == {"outer", "kept", "last"}


def test_what_was_merged_from_released_savepoints_still_goes_with_the_one_around_them(
    alias: str, record: Record
) -> None:
    with transaction.atomic(using=alias):
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias):
            for number in range(3):
                with transaction.atomic(using=alias):
                    cache.invalidate(f"dropped {number}")
            raise ZeroDivisionError
        for number in range(3):
            with transaction.atomic(using=alias):
                cache.invalidate(f"kept {number}")
    assert record.names() == {"kept 0", "kept 1", "kept 2"}


def test_a_thousand_savepoints_are_one_call(alias: str, record: Record) -> None:
    with transaction.atomic(using=alias):
        for number in range(10 * SEARCHED):
            with transaction.atomic(using=alias):
                cache.invalidate(f"n{number}")
        cache.invalidate("last")
        assert len(connections[alias].run_on_commit) <= 2
    assert len(record) == 1
    assert len(record[0]) == 10 * SEARCHED + 1


def test_an_inner_block_without_savepoint_belongs_to_the_outer_one(
    alias: str, record: Record
) -> None:
    with transaction.atomic(using=alias):
        cache.invalidate("a")
        with transaction.atomic(using=alias, savepoint=False):
            cache.invalidate("b")
    with transaction.atomic(using=alias, durable=True):
        cache.invalidate("c")
    assert record == [("a", "b"), ("c",)]


def test_a_callback_that_raises_keeps_nothing_from_being_forgotten(
    alias: str, record: Record
) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias):
        transaction.on_commit(lambda: 1 / 0, using=alias)
        cache.invalidate("a")
    assert record == [("a",)]


def test_soft_and_hard_are_told_apart(alias: str) -> None:
    with transaction.atomic(using=alias):
        assert cache.invalidate("a", soft=True).soft
        assert not cache.invalidate("a").soft
        kinds = [hook[1].soft for hook in connections[alias].run_on_commit]
    assert sorted(kinds) == [False, True]


def test_a_wrong_name_is_told_where_it_is_written(alias: str, record: Record) -> None:
    with transaction.atomic(using=alias), pytest.raises(NamespaceError):
        cache.invalidate("fine", "not fine ")
    assert not record


def test_of_two_databases_each_commit_forgets(alias: str, other: str, record: Record) -> None:
    with transaction.atomic(using=alias):
        with transaction.atomic(using=other):
            cache.invalidate("both")
            cache.invalidate("one", using=alias)
            cache.invalidate("two", using=other)
        assert record.names() == {"both", "two"}
    assert record.names() == {"both", "one"}


def test_of_two_databases_one_may_be_rolled_back(alias: str, other: str, record: Record) -> None:
    with ExitStack() as stack:
        stack.enter_context(transaction.atomic(using=alias))
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=other):
            Shop.objects.using(alias).create(name="a")
            Shop.objects.using(other).create(name="b")
            Shop.objects.using(other).create(name="c")
            cache.invalidate("both")
            raise ZeroDivisionError
        assert not record
    assert record.names() == {"shop:1", "shops", "both"}


def test_a_transaction_by_hand_is_refused(alias: str, record: Record) -> None:
    Shop.objects.using(alias).create(name="a")
    record.clear()
    transaction.set_autocommit(False, using=alias)
    try:
        for write in (
            lambda: Shop.objects.using(alias).create(name="b"),
            lambda: Shop.objects.using(alias).update(name="b"),
            lambda: Shop.objects.using(alias).all().delete(),
            lambda: cache.invalidate("a"),
        ):
            with pytest.raises(TransactionManagementError, match="autocommit off"):
                write()
            refused = pytest.raises(TransactionManagementError, match="autocommit off")
            with refused, transaction.atomic(using=alias):
                write()
        transaction.rollback(using=alias)
    finally:
        transaction.set_autocommit(True, using=alias)
    assert not record
    assert [shop.name for shop in Shop.objects.using(alias).all()] == ["a"]


def test_django_s_own_tests_see_it_with_their_means(record: Record) -> None:
    class Case(TestCase):
        def runTest(self) -> None:
            Tag.objects.create(label="before")
            with self.captureOnCommitCallbacks(execute=True) as callbacks:
                Tag.objects.create(label="x")
                with transaction.atomic():
                    Tag.objects.create(label="y")
            assert len(callbacks) == 2
            assert record.names() == {"tag:x", "tag:y"}
            Tag.objects.create(label="never")

    outcome = unittest.TestResult()
    unittest.TestSuite([Case()]).run(outcome)
    assert outcome.testsRun == 1
    assert not outcome.errors + outcome.failures
    assert not record


def _pages(alias: str) -> Callable[[str], Any]:
    """A site of one page for each item, behind a page cache, that reads from the database."""

    def handle(request: dict[str, Any], start_response: Any) -> list[bytes]:
        number = request["PATH_INFO"].rsplit("/", 1)[1]
        item = Item.objects.using(alias).get(pk=number)
        start_response("200 OK", [("content-type", "text/plain")])
        return [item.title.encode()]

    application = PageCacheMiddleware(handle, cache=get_cache())
    return lambda target: call_wsgi(application, environ("GET", target))


def _elsewhere(what: Callable[[], Any]) -> Any:
    """The result of a call in another thread, with connections of its own."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(what())
        finally:
            connections.close_all()

    thread = Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    return found[0]


def test_a_reader_between_the_write_and_the_commit_never_poisons(alias: str) -> None:
    item = Item.objects.using(alias).create(title="old")
    page = _pages(alias)
    with transaction.atomic(using=alias):
        item.title = "new"
        item.save()
        cache.invalidate("item:1")
        seen = _elsewhere(lambda: (page("/items/1"), page("/items/1")))
        assert [answer.text for answer in seen] == ["old", "old"]
        assert seen[1].trace == "hit"
    answer = page("/items/1")
    assert (answer.text, answer.trace) == ("new", "stale, stored")


def test_of_two_writers_who_overlap_the_second_knows_what_the_first_wrote(
    alias: str, record: Record
) -> None:
    for name in "abc":
        Shop.objects.using(alias).create(name=name)
    Item.objects.using(alias).create(title="lamp", shop_id=1)
    record.clear()
    loaded, written = Event(), Event()

    def second() -> None:
        item = Item.objects.using(alias).get(pk=1)
        loaded.set()
        assert written.wait(PATIENCE)
        item.shop_id = 3
        item.save()  # waits for the first to commit

    thread = Thread(target=_elsewhere, args=(second,))
    thread.start()
    assert loaded.wait(PATIENCE)
    with transaction.atomic(using=alias):
        Item.objects.using(alias).filter(pk=1).update(shop_id=2)
        written.set()
        _until_it_waits(alias)
    thread.join(PATIENCE)
    first, last = record
    assert {"shop:1/items", "shop:2/items"} <= set(first)
    assert {"shop:2/items", "shop:3/items"} <= set(last)
    assert "shop:1/items" not in last


def test_rows_that_come_to_meet_a_condition_meanwhile_are_not_written_unread(
    second: str, record: Record
) -> None:
    """PostgreSQL would update them: its UPDATE looks anew when it has waited."""
    empty(second)
    for name in "ab":
        Shop.objects.using(second).create(name=name)
    Item.objects.using(second).create(title="lamp", shop_id=1)
    added = Event()

    def add() -> None:
        Item.objects.using(second).create(title="rug", shop_id=1)
        added.set()

    def between(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and not added.is_set():
            _elsewhere(add)
        return execute(sql, *rest)

    with connections[second].execute_wrapper(between):
        count = Item.objects.using(second).filter(shop_id=1).update(shop_id=2)
    assert added.is_set()
    written = Item.objects.using(second).filter(shop_id=2)
    assert count == written.count() == 1
    empty(second)


def _until_it_waits(alias: str) -> None:
    """Come back when another session waits for a row, or for the file, of this transaction."""
    connection = connections[alias]
    if connection.vendor == "sqlite":
        return  # nobody else can see that; who came too early or late gives the same
    with connection.cursor() as cursor:
        for _ in range(10_000):
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
    raise AssertionError("nobody waits")


def _buy(request: Any) -> HttpResponse:
    Item.objects.filter(pk=1).update(title="sold")
    cache.invalidate("mine")
    if "fail" in request.GET:
        raise ZeroDivisionError
    return HttpResponse("sold")


urlpatterns = [path("buy", _buy)]


@pytest.mark.parametrize(("query", "expected"), [("?fail", set()), ("", {"item:1", "mine"})])
def test_a_view_in_a_transaction_forgets_when_it_succeeds(
    query: str, expected: set[str], record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty("default")
    Item.objects.create(title="lamp")
    record.clear()
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[], DEBUG_PROPAGATE_EXCEPTIONS=False):
        request = RequestFactory().post("/buy" + query)
        status: list[str] = []
        application = get_wsgi_application()
        b"".join(application(request.environ, lambda line, fields: status.append(line)))
    assert status[0][:3] == ("500" if query else "200")
    assert record.names() == expected
    empty("default")


def _shelved(alias: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pagegen_outbox")
        return int(cursor.fetchone()[0])


def test_with_an_outbox_the_names_are_in_the_transaction_until_they_are_forgotten(
    alias: str, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rebuilt(outbox=True):
        with transaction.atomic(using=alias):
            Shop.objects.using(alias).create(name="a")
            assert _shelved(alias) == 1
        assert (_shelved(alias), record.names()) == (0, {"shop:1", "shops"})
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias):
            Shop.objects.using(alias).create(name="b")
            raise ZeroDivisionError
        Shop.objects.using(alias).update(name="c")  # in autocommit
        assert (_shelved(alias), record.names()) == (0, {"shop:1", "shops"})
        monkeypatch.setattr(get_cache().engine.store, "replace_tokens", _broken)
        Shop.objects.using(alias).filter(pk=1).update(name="d")
        assert _shelved(alias) == 1  # not acknowledged: the sweeper's
        monkeypatch.undo()
    with connections[alias].cursor() as cursor:
        cursor.execute("DELETE FROM pagegen_outbox")


def _broken(*_: Any, **__: Any) -> Any:
    raise OSError("unplugged")
