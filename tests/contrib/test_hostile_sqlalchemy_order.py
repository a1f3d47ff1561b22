"""Rows that the database deletes itself, and the order of locks: a hostile reading's findings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any

import pytest
from sqlalchemy import Column, Engine, ForeignKey, Table, create_engine, delete, inspect
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    sessionmaker,
)

from pagegen.contrib.sqlalchemy import UnseenWriteError, watch
from pagegen.contrib.sqlalchemy import flushing as flushing_module
from tests.contrib.sqlalchemy.shop import ITEM, NotedCache
from tests.databases import Postgresql

#: Seconds for which threads of a test wait for each other.
PATIENCE = 0.5


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "things"
    __pagegen__ = ["thing:{id}", "kind:{title}"]
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="old")


class Seat(Base):
    __tablename__ = "seats"
    __pagegen__ = ["seat:{id}", "hall:{hall}"]
    id: Mapped[int] = mapped_column(primary_key=True)
    hall: Mapped[int]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/own.db"
    if request.param == "postgresql":
        server: Postgresql = request.getfixturevalue("postgresql")
        url = server.fresh().url()
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all([Thing(id=1), Seat(id=1, hall=1)])
    yield engine
    engine.dispose()


@pytest.fixture
def cache() -> Iterator[NotedCache]:
    cache = NotedCache(ITEM)
    yield cache
    cache.close()


@pytest.fixture
def make(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine)


#: What there is, and the table that the database empties by itself.
CASCADES: dict[str, str] = {
    "a tree": "nodes",
    "a relationship of another kind": "leaves",
    "the other end of a secondary table": "pairs",
}


@pytest.mark.parametrize("which", CASCADES)
def test_rows_that_the_database_deletes_itself_are_warned_of(
    engine: Engine, cache: NotedCache, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    class Fresh(DeclarativeBase):
        pass

    def action(target: str) -> ForeignKey:
        return ForeignKey(target, ondelete="CASCADE")

    if which == "a tree":

        class Node(Fresh):
            __tablename__ = "nodes"
            __pagegen__ = ("node:{id}",)
            id: Mapped[int] = mapped_column(primary_key=True)
            parent: Mapped[int | None] = mapped_column(action("nodes.id"))

    else:
        own = action("roots.id") if which == "a relationship of another kind" else None
        pairs = Table(
            "pairs",
            Fresh.metadata,
            Column("leaf", action("leaves.id")),
            Column("root", action("roots.id")),
        )

        class Leaf(Fresh):
            __tablename__ = "leaves"
            __pagegen__ = ("leaf:{id}",)
            id: Mapped[int] = mapped_column(primary_key=True)
            if own is not None:
                root: Mapped[int | None] = mapped_column(own)

        class Root(Fresh):
            __tablename__ = "roots"
            id: Mapped[int] = mapped_column(primary_key=True)
            leaves: Mapped[list[Leaf]] = relationship(
                Leaf, secondary=pairs, passive_deletes=own is None
            )

    Fresh.registry.configure()
    watch(sessionmaker(engine), cache).stop()
    assert CASCADES[which] in caplog.text


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_two_sessions_lock_rows_of_two_classes_in_one_order(
    engine: Engine, make: sessionmaker[Session], cache: NotedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = watch(make, cache)
    sessions = [_dirtied(make, first) for first in (Thing, Seat)]
    barrier, real, failed = Barrier(2), flushing_module.fetch, list[Exception]()

    def fetch(*args: Any, **how: Any) -> Any:
        found = real(*args, **how)
        with suppress(BrokenBarrierError):
            barrier.wait(PATIENCE)
        return found

    def commit(session: Session) -> None:
        try:
            session.commit()
        except Exception as error:
            failed.append(error)
        finally:
            session.close()

    monkeypatch.setattr(flushing_module, "fetch", fetch)
    threads = [Thread(target=commit, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    watching.stop()
    assert failed == []


def _dirtied(make: sessionmaker[Session], first: type) -> Session:
    """A session that changed a row of both classes, and meets ``first`` first: a set's order."""
    kept: list[object] = []
    for _ in range(500):
        session = make()
        thing, seat = session.get_one(Thing, 1), session.get_one(Seat, 1)
        thing.title += "!"
        seat.hall += 1
        if type(next(iter(session.dirty))) is first:
            return session
        session.close()
        kept += (inspect(thing), inspect(seat), object())
    raise AssertionError("the order never changes")


def test_a_parents_bulk_delete_is_not_silent_about_rows_that_go_with_it(
    engine: Engine, cache: NotedCache, caplog: pytest.LogCaptureFixture
) -> None:
    class Fresh(DeclarativeBase):
        pass

    class Child(Fresh):
        __tablename__ = "children"
        __pagegen__ = ("child:{id}",)
        id: Mapped[int] = mapped_column(primary_key=True)
        parent: Mapped[int] = mapped_column(ForeignKey("parents.id", ondelete="CASCADE"))

    class Parent(Fresh):
        __tablename__ = "parents"
        id: Mapped[int] = mapped_column(primary_key=True)
        children: Mapped[list[Child]] = relationship(Child, cascade="all, delete-orphan")

    Fresh.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add(Parent(id=1, children=[Child(id=1)]))
    maker = sessionmaker(engine)
    watching = watch(maker, cache)
    refused = False
    try:
        with maker.begin() as session:
            session.execute(delete(Parent))
    except UnseenWriteError:
        refused = True
    watching.stop()
    assert refused or "child:1" in cache.told() or "children" in caplog.text
