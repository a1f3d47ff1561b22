"""The shop on SQLite and on PostgreSQL, watched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session, sessionmaker

from pagegen.contrib.sqlalchemy import Watch, watch
from tests.contrib.sqlalchemy.shop import ITEM, SHOP, Base, Item, NotedCache, Pages, Shop, Tag
from tests.databases import Database, Postgresql


@pytest.fixture(scope="session")
def shop_database(postgresql: Postgresql) -> Database:
    """One for all tests of this directory, which is emptied for each: quicker than a new one."""
    return postgresql.fresh()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Every test runs on both databases. The driver is written as for a sync engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shop.db"
    database: Database = request.getfixturevalue("shop_database")
    return database.url()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _hurry)
    Base.metadata.create_all(engine)
    if engine.dialect.name == "postgresql":
        every = ", ".join(table.name for table in Base.metadata.sorted_tables)
        with engine.begin() as connection:
            connection.execute(text(f"TRUNCATE {every} RESTART IDENTITY CASCADE"))
    with Session(engine) as session, session.begin():
        session.add_all([Shop(id=1), Shop(id=2), Shop(id=3), Tag(id=1), Tag(id=2)])
        session.flush()
        session.add_all([Item(id=n, shop_id=1, title="old") for n in (1, 2, 3)])
    yield engine
    engine.dispose()


def _hurry(connection: Any, _: object) -> None:
    """No power is lost in a test, so nothing has to reach the disk."""
    connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture
def cache() -> Iterator[NotedCache]:
    cache = NotedCache(SHOP, ITEM)
    yield cache
    cache.close()


@pytest.fixture
def pages(cache: NotedCache, engine: Engine) -> Pages:
    return Pages(cache, engine)


@pytest.fixture
def make(engine: Engine) -> sessionmaker[Session]:
    """A maker of sessions that nobody else uses."""
    return sessionmaker(engine)


@pytest.fixture
def watched(make: sessionmaker[Session], cache: NotedCache) -> Iterator[Watch]:
    watching = watch(make, cache)
    yield watching
    watching.stop()
