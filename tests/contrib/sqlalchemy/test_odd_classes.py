"""Classes that are mapped in unusual ways, and statements that name their attributes so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, ForeignKey, Table, delete, event, insert, join, text, update
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    column_property,
    composite,
    mapped_column,
    sessionmaker,
    synonym,
)

from pagegen.contrib.sqlalchemy import UnseenWriteError, watch
from tests.contrib.sqlalchemy.shop import Item, NotedCache, Shop

Make = sessionmaker[Session]


class Base(DeclarativeBase):
    pass


#: How often a default of the application was called.
asked = count()


@dataclass
class Place:
    hall: int
    floor: int


class Seat(Base):
    """A key of two columns, and other words for its columns."""

    __tablename__ = "seats"
    __pagegen__ = ["seat:{block}/{number}", "hall:{hall}"]
    block: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column("no", primary_key=True)
    hall: Mapped[int]
    floor: Mapped[int] = mapped_column(default=0, onupdate=lambda: next(asked))
    which = synonym("number")
    place: Mapped[Place] = composite("hall", "floor")

    @hybrid_property
    def room(self) -> int:
        return self.hall

    @room.inplace.update_expression
    @classmethod
    def _room(cls, value: int) -> list[tuple[Any, Any]]:
        return [(cls.hall, value)]


class Part(Base):
    __tablename__ = "parts"
    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int]


class Other(Base):
    __tablename__ = "others"
    id: Mapped[int] = mapped_column(ForeignKey("parts.id"), primary_key=True)
    weight: Mapped[int]


class Both(Base):
    """Two tables are one row."""

    __table__ = join(Part.__table__, Other.__table__)
    __pagegen__ = ["both:{id}", "size:{size}"]
    id = column_property(Part.__table__.c.id, Other.__table__.c.id)


class Node(Base):
    """A tree."""

    __tablename__ = "nodes"
    __pagegen__ = ("node:{id}",)
    id: Mapped[int] = mapped_column(primary_key=True)
    parent: Mapped[int | None] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"))


class Twin(Base):
    """A second class of a declared table, of which it declares nothing."""

    __table__ = Seat.__table__


@pytest.fixture
def odd(engine: Engine) -> Iterator[Engine]:
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)


@pytest.fixture
def seat(odd: Engine) -> UUID:
    """The block of the only seat, number 1 in hall 1."""
    block = uuid4()
    with Session(odd) as session, session.begin():
        session.add(Seat(block=block, number=1, hall=1))
    return block


MOVES: dict[str, Callable[[UUID], Any]] = {
    "by a composite": lambda _: (update(Seat).values({Seat.place: Place(2, 0)}),),
    "by a hybrid": lambda _: (update(Seat).values({Seat.room: 2}),),
    "by a composite for each key": lambda block: (
        update(Seat),
        [{"block": block, "number": 1, "place": Place(2, 0)}],
    ),
}


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("how", MOVES)
def test_a_row_is_forgotten_where_it_came_to_by_whatever_word(
    make: Make, cache: NotedCache, seat: UUID, how: str
) -> None:
    with make.begin() as session:
        session.execute(*MOVES[how](seat))
    assert cache.told() == ["hall:1", "hall:2", f"seat:{seat}/1"]


@pytest.mark.usefixtures("watched", "seat")
@pytest.mark.parametrize("word", ["number", "no", "which"])
def test_a_key_that_is_set_by_whatever_word_is_refused(make: Make, word: str) -> None:
    with make() as session, pytest.raises(UnseenWriteError, match="other keys"):
        session.execute(update(Seat if word != "no" else Seat.__table__).values({word: 2}))


@pytest.mark.usefixtures("watched")
def test_objects_with_a_key_of_two_columns_follow_the_statement(
    make: Make, cache: NotedCache, seat: UUID
) -> None:
    with make.begin() as session:
        loaded = session.get_one(Seat, (seat, 1))
        assert session.execute(update(Seat).values(hall=2, floor=0)).rowcount == 1
        assert loaded.hall == 2
    assert cache.told() == ["hall:1", "hall:2", f"seat:{seat}/1"]


@pytest.mark.usefixtures("watched")
def test_defaults_of_the_application_are_called_for_its_own_statements_only(
    make: Make, seat: UUID
) -> None:
    before = next(asked)
    with make.begin() as session:
        session.get_one(Seat, (seat, 1)).hall = 2
    assert next(asked) - before == 2


@pytest.mark.usefixtures("watched", "odd")
def test_a_class_of_two_tables_is_covered(make: Make, cache: NotedCache) -> None:
    with make.begin() as session:
        session.add(Both(id=1, size=1, weight=1))
    assert cache.told() == ["both:1", "size:1"]
    with make.begin() as session:
        session.get_one(Both, 1).size = 2
    assert cache.told() == ["both:1", "size:1", "size:2"]
    with make.begin() as session:
        session.delete(session.get_one(Both, 1))
    assert cache.told() == ["both:1", "size:2"]


@pytest.mark.parametrize("change", ["add", "change", "delete"])
def test_a_class_that_declares_nothing_for_a_declared_table_may_be_refused(
    make: Make, cache: NotedCache, seat: UUID, change: str
) -> None:
    watching = watch(make, cache, unseen="raise")
    try:
        with make() as session:
            twin = session.get_one(Twin, (seat, 1))
            if change == "add":
                session.add(Twin(block=seat, no=2, hall=1))
            elif change == "change":
                twin.hall = 2
            else:
                session.delete(twin)
            with pytest.raises(UnseenWriteError, match="Twin declares nothing"):
                session.commit()
            session.rollback()
            assert session.query(Seat).filter_by(hall=1).count() == 1
    finally:
        watching.stop()


@pytest.mark.usefixtures("watched")
def test_a_listener_that_came_before_the_watch_may_write_during_a_flush(
    engine: Engine, cache: NotedCache
) -> None:
    def write(session: Session, *_: object) -> None:
        session.execute(update(Item).where(Item.id == 2).values(title="new"))

    maker = sessionmaker(engine)
    event.listen(maker, "before_flush", write)
    watching = watch(maker, cache)
    with maker.begin() as session:
        session.add(Shop(id=9))
    watching.stop()
    assert cache.told() == ["item:2", "shop:1/items"]


@pytest.mark.usefixtures("watched")
def test_a_flush_that_was_broken_off_leaves_later_statements_their_autoflush(
    make: Make, cache: NotedCache
) -> None:
    def refuse(session: Session, *_: object) -> None:
        raise ValueError("refused")

    with make() as session:
        event.listen(session, "before_flush", refuse)
        session.get_one(Item, 1).shop_id = 2
        with pytest.raises(ValueError, match="refused"):
            session.flush()
        event.remove(session, "before_flush", refuse)
        session.execute(update(Item).where(Item.shop_id == 2).values(shop_id=3))
        session.commit()
    assert cache.told() == ["item:1", "shop:1/items", "shop:2/items", "shop:3/items"]


@pytest.fixture
def family(engine: Engine) -> Iterator[Any]:
    """A class of elders, by whose end the database deletes middles, and by theirs youngs."""

    class Family(DeclarativeBase):
        pass

    class Elder(Family):
        __tablename__ = "elders"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Middle(Family):
        __tablename__ = "middles"
        of = ForeignKey("elders.id", ondelete="CASCADE")
        id: Mapped[int] = mapped_column(of, primary_key=True)

    class Young(Family):
        __tablename__ = "youngs"
        __pagegen__ = ("young:{id}",)
        of = ForeignKey("middles.id", ondelete="CASCADE")
        id: Mapped[int] = mapped_column(of, primary_key=True)

    Family.metadata.create_all(engine)
    yield Elder
    Family.metadata.drop_all(engine)
    Family.registry.dispose()


@pytest.mark.parametrize("how", ["statement", "text"])
def test_a_delete_that_takes_declared_rows_along_is_told_once(
    engine: Engine, cache: NotedCache, caplog: pytest.LogCaptureFixture, family: Any, how: str
) -> None:
    statement = delete(family) if how == "statement" else text("DELETE FROM elders WHERE id = 1")
    maker = sessionmaker(engine)
    watching = watch(maker, cache)
    with maker() as session:
        session.execute(statement)
        session.execute(statement)
    watching.stop()
    assert caplog.text.count("a statement deletes rows of elders") == 1
    watching = watch(maker, cache, unseen="raise")
    with maker() as session:
        with pytest.raises(UnseenWriteError, match="those of middles"):
            session.execute(statement)
        said = {"pagegen_names": ["young:1"]}
        session.execute(statement, execution_options=said)
        session.commit()
    watching.stop()
    assert cache.told() == ["young:1"]


@pytest.mark.usefixtures("odd")
def test_a_tree_of_which_a_statement_deletes_the_root_is_told(
    make: Make, cache: NotedCache, caplog: pytest.LogCaptureFixture
) -> None:
    watching = watch(make, cache)
    with make.begin() as session:
        session.add_all([Node(id=1), Node(id=2, parent=1)])
        session.flush()
        session.execute(delete(Node).where(Node.id == 1))
    watching.stop()
    assert caplog.text.count("a statement deletes rows of nodes") == 1


@pytest.mark.usefixtures("watched")
def test_an_insert_into_another_schema_is_read_there(
    engine: Engine, make: Make, cache: NotedCache
) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda c, _: c.execute("ATTACH ':memory:' AS tenant"))
        engine.dispose()
    there = {"schema_translate_map": {None: "tenant"}}
    with make() as session:
        if engine.dialect.name == "postgresql":
            session.execute(text("CREATE SCHEMA tenant"))
        copied = "CREATE TABLE tenant.items AS SELECT * FROM items WHERE 1 = 0"
        session.execute(text(copied), execution_options={"pagegen_names": []})
        table: Table = Item.__table__  # type: ignore[assignment]
        session.execute(insert(table).values(id=8, shop_id=2, title="x"), execution_options=there)
        names = list(watched_names(session))
        session.rollback()
    assert sorted(names) == ["item:8", "shop:2/items"]


def watched_names(session: Session) -> list[str]:
    """What waits for the commit of a session."""
    books = [book for book in session.info.values() if hasattr(book, "levels")]
    return [name for book in books for level in book.levels.values() for name in level.names]
