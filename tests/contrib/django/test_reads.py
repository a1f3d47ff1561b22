"""Pages that would outlive the rows that they were made from are found, with Django's models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pagegen import PageCache, Rule
from pagegen.contrib.django.reads import note_reads
from pagegen.testing import call_wsgi, environ
from pagegen.testing.reads import Missing, ReadRecorder
from pagegen.wsgi import PageCacheMiddleware
from tests.contrib.django.shop.models import Book, Item, Note, Shop, Tag

pytestmark = pytest.mark.usefixtures("database")

Read = Callable[[], object]


class Reader:
    """One page that reads what a test says."""

    def __init__(self, namespaces: list[str]) -> None:
        rule = Rule(path="/shops/{shop}", share="public", ttl=60, namespaces=namespaces)
        cache = PageCache([rule])
        self.recorder = ReadRecorder(cache, warn=False)
        self.app = PageCacheMiddleware(self.recorder.wsgi(self._answer), cache=cache)
        self.read: Read = lambda: None

    def _answer(self, _environ: Any, start_response: Any) -> list[bytes]:
        self.read()
        start_response("200 OK", [])
        return [b"shop"]

    def get(self, target: str = "/shops/7") -> set[Missing]:
        call_wsgi(self.app, environ("GET", target))
        return set(self.recorder.missing)


@pytest.fixture
def reader() -> Iterator[Callable[..., Reader]]:
    shop = Shop.objects.create(id=7, name="lamps")
    for number in (1, 2, 3):
        Item.objects.create(id=number, title=f"lamp {number}", shop=shop)
    Note.objects.create(id=1, text="nothing")
    stop = note_reads()
    yield lambda *namespaces: Reader(list(namespaces))
    stop()


ITEMS = ("shop:{shop_id}/items", "bargains:{shop_id}")


SHOP = ("shop:7/items", "bargains:7")


@pytest.mark.parametrize(
    ("read", "rows", "lacks"),
    [
        (lambda: list(Item.objects.all()), 3, SHOP),
        (lambda: Item.objects.get(pk=2), 1, ("item:2", *SHOP)),
        (lambda: list(Item.objects.filter(shop_id=7)), 3, SHOP),
        (lambda: list(Item.objects.values_list("title")), 0, ITEMS),
        (Item.objects.count, 0, ITEMS),
        (lambda: Item.objects.filter(title="none").first(), 0, ITEMS),
        (lambda: list(Item.objects.only("title")), 0, ITEMS),
        (lambda: list(Item.objects.raw("SELECT * FROM shop_item")), 3, SHOP),
    ],
    ids=["all", "get", "filter", "values", "count", "none found", "deferred", "raw"],
)
def test_what_a_page_without_namespaces_reads_is_missing(
    reader: Callable[..., Reader], read: Read, rows: int, lacks: tuple[str, ...]
) -> None:
    page = reader()
    page.read = read
    assert page.get() == {Missing("/shops/7", "Item", rows, lacks)}


@pytest.mark.parametrize(
    "read",
    [
        lambda: list(Item.objects.all()),
        lambda: Item.objects.get(pk=2),
        Item.objects.count,
        lambda: Item.objects.filter(title="none").first(),
        Note.objects.get,
        lambda: list(Note.objects.values()),
    ],
    ids=["all", "get", "count", "none found", "undeclared", "undeclared values"],
)
def test_a_page_of_the_namespaces_that_it_read_lacks_nothing(
    reader: Callable[..., Reader], read: Read
) -> None:
    page = reader("shop:{shop}/items")
    page.read = read
    assert page.get() == set()


def test_one_row_needs_no_more_than_its_own_namespace(reader: Callable[..., Reader]) -> None:
    page = reader("item:2")
    page.read = lambda: Item.objects.get(pk=2)
    assert page.get() == set()


def test_joined_rows_are_told_as_well(reader: Callable[..., Reader]) -> None:
    page = reader("shop:{shop}/items")
    page.read = lambda: list(Item.objects.select_related("shop"))
    assert page.get() == {Missing("/shops/7", "Shop", 3, ("shop:7", "shops"))}


def test_prefetched_rows_are_told_as_well(reader: Callable[..., Reader]) -> None:
    Item.objects.get(pk=1).tags.add(Tag.objects.create(label="red"))
    page = reader("shop:{shop}/items")
    page.read = lambda: list(Item.objects.prefetch_related("tags"))
    assert page.get() == {Missing("/shops/7", "Tag", 1, ("tag:red",))}


def _tagged() -> Item:
    item = Item.objects.get(pk=1)
    item.tags.add(*[Tag.objects.create(label=label) for label in ("red", "blue")])
    return item


@pytest.mark.parametrize("read", ["count", "exists", "values", "all"])
def test_a_page_of_one_end_of_a_relation_needs_nothing_of_all_rows_of_the_other(
    reader: Callable[..., Reader], read: str
) -> None:
    item = _tagged()
    page = reader("item:1", "tag:red", "tag:blue")
    page.read = lambda: list(item.tags.all()) if read == "all" else getattr(item.tags, read)()
    assert page.get() == set()


def test_a_relation_that_a_page_has_neither_end_of_is_told(reader: Callable[..., Reader]) -> None:
    item = _tagged()
    page = reader()
    page.read = item.tags.count
    lacks = ("item:{pk}", *ITEMS, "tag:{label}")
    assert page.get() == {Missing("/shops/7", "Item_tags", 0, lacks)}


def test_a_row_is_noted_once_whoever_notes_reads(reader: Callable[..., Reader]) -> None:
    stop = note_reads()
    page = reader("item:2")
    page.read = lambda: Item.objects.get(pk=2)
    assert page.get() == set()
    stop()
    stop()
    assert page.get() == set()


def test_a_row_in_two_tables_is_told_of_both(reader: Callable[..., Reader]) -> None:
    book = Book.objects.create(title="On lamps", author="Ada", shop_id=7)
    page = reader("shop:{shop}/items")
    page.read = lambda: Book.objects.get(pk=book.pk)
    assert page.get() == {Missing("/shops/7", "Book", 1, (f"book:{book.pk}", "author:Ada/in:7"))}


def test_nothing_is_noted_after_the_end(reader: Callable[..., Reader]) -> None:
    page = reader()
    note_reads()()
    page.read = lambda: list(Item.objects.all())
    # The fixture's own is still there, and the ended one has not taken it along.
    assert len(page.get()) == 1
