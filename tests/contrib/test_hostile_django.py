"""What a hostile reader found in the Django binding: others' pages, and names that got lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import pytest

# ruff: noqa: A002, F401, F811, I001
# Fixtures of theirs come first: they configure Django.
from tests.contrib.django.conftest import _fresh_cache, database, pagegen_settings, site

from django.apps import apps
from django.db import OperationalError, connection, models, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from pagegen.cache import PageCache
from pagegen.contrib.django import cache, page, plans
from pagegen.contrib.django.guard import written
from pagegen.contrib.django.outside import Doubts
from pagegen.errors import ConfigError
from tests.contrib.django import setting_up
from tests.contrib.django.models.helping import PAGES, Record
from tests.contrib.django.shop.models import Shop
from tests.contrib.django.site import Site, numbers


class Word(models.Model):
    text = models.CharField(max_length=20, primary_key=True, db_collation="nocase")
    count = models.IntegerField(default=0)

    pagegen_namespaces: ClassVar = ["word:{text}"]

    class Meta:
        app_label = "hostile"


class Price(models.Model):
    amount = models.DecimalField(max_digits=8, decimal_places=2, primary_key=True)
    count = models.IntegerField(default=0)

    pagegen_namespaces: ClassVar = ["price:{amount}"]

    class Meta:
        app_label = "hostile"


def session_key(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.session.session_key}")


def session_is_empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.session.is_empty()}")


def shops(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{Shop.objects.count()} shops")


@page(share="public", ttl="1h", namespaces=["thing:{id}"])
def thing(request: HttpRequest, id: Any) -> HttpResponse:
    return HttpResponse(f"thing {id}")


def undeclared(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(f"{name} {next(numbers)}")


urlpatterns = [
    path("key", session_key),
    path("empty", session_is_empty),
    path("shops", shops),
    path("visits", lambda request: HttpResponse(request.session.setdefault("seen", "once"))),
]
declared = (
    path("by-uuid/<uuid:id>", thing),
    path("by-uuid/<str:name>", undeclared),
    path("by-int/<int:id>", thing),
    path("by-int/<str:name>", undeclared),
)


class Undoes:
    """Runs a request in a transaction, and rolls it back."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "x-undo" not in request.headers:
            return self.get_response(request)
        with transaction.atomic():
            Shop.objects.create(name="never was")
            response: HttpResponse = self.get_response(request)
            transaction.set_rollback(True)
        return response


class LeavesOpen(MiddlewareMixin):
    """Has a transaction around a request by two halves of a middleware."""

    block: Any = None

    def process_request(self, request: HttpRequest) -> None:
        if "x-undo" in request.headers:
            self.begin()

    def begin(self) -> None:
        self.block = transaction.atomic()
        self.block.__enter__()
        Shop.objects.create(name="never was")

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if self.block is not None:
            transaction.set_rollback(True)
            self.block = self.block.__exit__(None, None, None)
        return response


class OpensForViews(LeavesOpen):
    """The same, and the first half is called behind our middleware."""

    asked = False

    def process_request(self, request: HttpRequest) -> None:
        self.asked = "x-undo" in request.headers

    def process_view(self, *_: Any) -> None:
        if self.asked:
            self.begin()


@pytest.fixture
def odd_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tables of the models above, which no app has."""
    mine, known = (Word, Price), apps.get_models
    monkeypatch.setattr(apps, "get_models", lambda *a, **k: [*known(*a, **k), *mine])
    plans._forget_plans()
    with connection.schema_editor() as editor:
        for model in mine:
            editor.create_model(model)
    yield
    with connection.schema_editor() as editor:
        for model in mine:
            editor.delete_model(model)
    monkeypatch.undo()
    plans._forget_plans()


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, pagegen_settings: Any) -> Record:
    pagegen_settings(PAGEGEN=PAGES)
    calls, forget = Record(), PageCache.invalidate

    def invalidate(self: PageCache, *names: str, soft: bool = False) -> Any:
        calls.append(names)
        return forget(self, *names, soft=soft)

    monkeypatch.setattr(PageCache, "invalidate", invalidate)
    return calls


@pytest.mark.parametrize("what", ["key", "empty"])
def test_a_page_that_prints_its_session_key_is_its_visitors_alone(
    site: Site, pagegen_settings: Any, what: str
) -> None:
    pagegen_settings(ROOT_URLCONF=__name__)
    first, second = site.visitor(), site.visitor()
    first.get("/visits")
    assert first.cookies["sessionid"]
    assert first.get(f"/{what}").text != second.get(f"/{what}").text


@pytest.mark.parametrize("middleware", ["Undoes", "LeavesOpen", "OpensForViews"])
def test_a_page_made_inside_an_outer_transaction_is_not_stored(
    site: Site,
    pagegen_settings: Any,
    database: None,
    caplog: pytest.LogCaptureFixture,
    middleware: str,
) -> None:
    stack = [f"{__name__}.{middleware}", *setting_up.MIDDLEWARE]
    pagegen_settings(ROOT_URLCONF=__name__, MIDDLEWARE=stack)
    visitor = site.visitor()
    for _ in range(2):
        assert visitor.get("/shops", x_undo="yes").text == "1 shops"
    assert visitor.get("/shops").text == "0 shops"
    assert caplog.text.count("a transaction was begun in front") == 1
    # It was there before the transaction, which does it no harm.
    assert visitor.get("/shops", x_undo="yes").text == "0 shops"


def test_the_transaction_that_a_test_case_is_run_in_does_not_count(database: None) -> None:
    doubts = Doubts(speaks=True)
    with transaction.atomic():
        connection.atomic_blocks[-1]._from_testcase = True
        assert not doubts.begun()
        with transaction.atomic():
            assert doubts.begun()
    assert not doubts.begun()
    connection.set_autocommit(False)
    try:
        assert doubts.begun()
    finally:
        connection.set_autocommit(True)


def test_the_namespaces_of_a_row_are_not_looked_for_among_all_models(
    database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(pk=7)
    names = plans.names_of(shop)
    monkeypatch.setattr(plans, "_watch", None)
    assert names and plans.names_of(shop) == names
    assert plans.names_of(SimpleLazyObject(lambda: shop)) == names


class _Cut:
    """A driver's connection that is lost when the database has done what it was told."""

    def __init__(self, inner: Any) -> None:
        self.__dict__["inner"] = inner

    def commit(self) -> None:
        self.inner.commit()
        raise sqlite3.OperationalError("the server closed the connection unexpectedly")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.inner, name, value)


def test_a_commit_whose_outcome_is_unknown_forgets(record: Record, database: None) -> None:
    connection.ensure_connection()
    driver = connection.connection
    try:
        with pytest.raises(OperationalError), transaction.atomic():
            Shop.objects.create(name="a")
            connection.connection = _Cut(driver)
    finally:
        connection.connection = driver
    assert Shop.objects.count() == 1
    assert "shops" in record.names()


class _Timeout(BaseException):
    """What some servers break a request off with."""


def test_who_breaks_off_the_first_batch_does_not_lose_the_second(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: PageCache, *names: str, soft: bool = False) -> Any:
        record.append(names)
        if len(record) == 1:
            raise _Timeout

    with pytest.raises(_Timeout), transaction.atomic():
        cache.invalidate("a", soft=True, using="default")
        cache.invalidate("b", using="default")
        monkeypatch.setattr(PageCache, "invalidate", broken)
    assert record.names() == {"a", "b"}


def test_a_row_that_is_written_by_another_spelling_of_its_key_is_forgotten(
    record: Record, odd_models: None
) -> None:
    Word.objects.create(text="abc")
    record.clear()
    assert Word.objects.filter(pk="ABC").update(count=1) == 1
    assert "word:abc" in record.names()
    Word(pk="ABC").delete()
    assert not Word.objects.exists()
    assert "word:abc" in record.names()


def test_a_key_is_forgotten_as_its_row_will_show_it(record: Record, odd_models: None) -> None:
    price = Price.objects.create(amount=Decimal("1.5"))
    shown = f"price:{Price.objects.get().amount}"
    assert shown in record.names()
    price.save()
    assert shown in record.names()
    price.delete()
    assert shown in record.names()


def test_a_cache_that_cannot_be_built_is_told_before_anything_is_written(
    pagegen_settings: Any, database: None
) -> None:
    pagegen_settings(PAGEGEN={"rule": [{"path": "no slash"}]})
    with pytest.raises(ConfigError):
        Shop.objects.create(name="a")
    assert not Shop.objects.exists()


@pytest.mark.parametrize(
    "sql",
    [
        'INSERT INTO "an odd-table" (n) VALUES (1)',
        'UPDATE "an odd-table" SET n = 1',
        'DELETE FROM "public"."an odd-table"',
        'TRUNCATE "an odd-table", b',
    ],
)
def test_the_guard_reads_all_names_that_stand_between_quotes(sql: str) -> None:
    assert "an odd-table" in written(sql)


@pytest.mark.parametrize("odd", [f"by-uuid/{str(UUID(int=10)).upper()}", "by-int/%D9%A3"])
def test_a_view_without_page_is_never_cached_by_another_ones_rule(
    site: Site, pagegen_settings: Any, odd: str
) -> None:
    pagegen_settings(ROOT_URLCONF=declared, PAGEGEN={})
    visitor = site.visitor()
    assert visitor.get(f"/{odd}").text != visitor.get(f"/{odd}").text
