"""Pages that would outlive the rows that they were made from are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session, load_only, sessionmaker

from pagegen import PageCache, Rule
from pagegen.contrib.sqlalchemy import watch
from pagegen.contrib.sqlalchemy.reads import note_reads
from pagegen.testing import call_wsgi, environ
from pagegen.testing.reads import Missing, ReadRecorder
from pagegen.wsgi import PageCacheMiddleware
from tests.contrib.sqlalchemy.shop import Base, Item, Note, Shop

Read = Callable[[Session], object]


class Reader:
    """One page that reads what a test says."""

    def __init__(self, folder: Path, namespaces: list[str]) -> None:
        engine = create_engine(f"sqlite:///{folder / 'shop.sqlite'}")
        Base.metadata.create_all(engine)
        self.sessions = sessionmaker(engine)
        rule = Rule(path="/shops/{shop}", share="public", ttl=60, namespaces=namespaces)
        self.cache = PageCache([rule])
        self.recorder = ReadRecorder(self.cache, warn=False)
        self.watch = watch(self.sessions, self.cache)
        self.stop = note_reads(self.watch)
        self.engine = engine
        self.app = PageCacheMiddleware(self.recorder.wsgi(self._answer), cache=self.cache)
        self.read: Read = lambda _: None
        with self.sessions.begin() as session:
            session.add(Shop(id=7, items=[Item(id=number) for number in (1, 2, 3)]))
            session.add(Note(id=1))

    def _answer(self, _environ: Any, start_response: Any) -> list[bytes]:
        with self.sessions() as session:
            self.read(session)
        start_response("200 OK", [])
        return [b"shop"]

    def get(self, target: str = "/shops/7") -> tuple[Missing, ...]:
        call_wsgi(self.app, environ("GET", target))
        return self.recorder.missing

    def close(self) -> None:
        self.stop()
        self.watch.stop()
        self.engine.dispose()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Callable[..., Reader]]:
    made: list[Reader] = []

    def make(*namespaces: str) -> Reader:
        made.append(Reader(tmp_path, list(namespaces)))
        return made[-1]

    yield make
    for one in made:
        one.close()


GROUP = ("shop:{shop_id}/items",)


@pytest.mark.parametrize(
    ("read", "rows", "lacks"),
    [
        (lambda s: s.scalars(select(Item)).all(), 3, ("shop:7/items",)),
        (lambda s: s.get(Item, 2), 1, ("item:2", "shop:7/items")),
        (lambda s: s.get(Shop, 7).items, 3, ("shop:7/items",)),
        (lambda s: s.query(Item).filter_by(id=1).one(), 1, ("item:1", "shop:7/items")),
        (lambda s: s.execute(select(Item, Shop).join(Shop, Shop.id == Item.shop_id)).all(), 3,
         ("shop:7/items",)),
        (lambda s: s.execute(select(Item.title)).all(), 0, GROUP),
        (lambda s: s.scalar(select(func.count(Item.id))), 0, GROUP),
        (lambda s: s.scalars(select(Item).options(load_only(Item.title))).all(), 0, GROUP),
    ],
    ids=["all", "get", "relationship", "query", "join", "column", "count", "some columns"],
)  # fmt: skip
def test_what_a_page_without_namespaces_reads_is_missing(
    reader: Callable[..., Reader], read: Read, rows: int, lacks: tuple[str, ...]
) -> None:
    page = reader()
    page.read = read
    assert page.get() == (Missing("/shops/7", "Item", rows, lacks),)
    with pytest.raises(AssertionError, match="page /shops/7"):
        page.recorder.check()


@pytest.mark.parametrize(
    "read",
    [
        lambda s: s.scalars(select(Item)).all(),
        lambda s: s.get(Shop, 7).items,
        lambda s: s.scalar(select(func.count(Item.id))),
        lambda s: s.get(Note, 1),
        lambda s: s.execute(select(Note.text)).all(),
    ],
    ids=["all", "relationship", "count", "undeclared", "undeclared column"],
)
def test_a_page_of_the_namespaces_that_it_read_lacks_nothing(
    reader: Callable[..., Reader], read: Read
) -> None:
    page = reader("shop:{shop}/items")
    page.read = read
    assert page.get() == ()


def test_another_shops_namespace_does_not_help(reader: Callable[..., Reader]) -> None:
    page = reader("shop:{shop}/items")
    page.read = lambda s: s.scalars(select(Item)).all()
    assert page.get("/shops/8") == (Missing("/shops/8", "Item", 3, ("shop:7/items",)),)


def test_nothing_is_noted_after_the_end(reader: Callable[..., Reader]) -> None:
    page = reader()
    page.stop()
    page.stop = lambda: None
    page.read = lambda s: s.scalars(select(Item)).all()
    assert page.get() == ()


def test_sessions_of_others_are_not_noted(reader: Callable[..., Reader]) -> None:
    page = reader()
    others = sessionmaker(page.engine)

    def read(_: Session) -> None:
        with others() as session:
            session.scalars(select(Item)).all()
            session.execute(select(Item.title)).all()

    page.read = read
    assert page.get() == ()
