"""What a hostile reading of the SQLAlchemy binding found; each was red when it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Engine,
    ForeignKey,
    bindparam,
    create_engine,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    sessionmaker,
    synonym,
)

from pagegen.contrib.sqlalchemy import UnseenWriteError, Watch, forgetting, watch
from tests.contrib.sqlalchemy.shop import ITEM, NotedCache
from tests.databases import Postgresql


class Base(DeclarativeBase):
    pass


class Place(Base):
    __tablename__ = "places"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")


class Thing(Base):
    """An attribute whose column is called otherwise."""

    __tablename__ = "things"
    __pagegen__ = ["thing:{id}", "place:{place}/things"]
    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[int | None] = mapped_column("place_id", ForeignKey("places.id"))
    title: Mapped[str] = mapped_column(default="old")
    where = synonym("place")


class Twin(Base):
    """The same table, with nothing declared."""

    __table__ = Thing.__table__


class Seat(Base):
    """A key of two columns."""

    __tablename__ = "seats"
    __pagegen__ = ["seat:{row}/{number}", "hall:{hall}"]
    row: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    hall: Mapped[int]


class Mail(Base):
    __tablename__ = "mails"
    __pagegen__ = ["mail:{id}", "{address}"]
    id: Mapped[int] = mapped_column(primary_key=True)
    address: Mapped[str]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/own.db"
    if request.param == "postgresql":
        server: Postgresql = request.getfixturevalue("postgresql")
        url = server.fresh().url()
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all([Place(id=1), Place(id=2)])
        session.flush()
        session.add_all([Thing(id=n, place=1) for n in (1, 2)])
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


@pytest.fixture
def watched(make: sessionmaker[Session], cache: NotedCache) -> Iterator[Watch]:
    watching = watch(make, cache)
    yield watching
    watching.stop()


MOVES: dict[str, Callable[[], Any]] = {
    "by a name": lambda: update(Thing).where(Thing.id == 1).values(place=2),
    "by an attribute": lambda: update(Thing).where(Thing.id == 1).values({Thing.place: 2}),
    "by a synonym": lambda: update(Thing).where(Thing.id == 1).values(where=2),
    "of the table": lambda: update(Thing.__table__).where(Thing.id == 1).values(place_id=2),
}


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("how", MOVES)
def test_an_update_that_moves_a_row_forgets_where_it_came_to_whatever_its_column_is_called(
    make: sessionmaker[Session], cache: NotedCache, how: str
) -> None:
    with make.begin() as session:
        session.execute(MOVES[how]())
    assert cache.told() == ["place:1/things", "place:2/things", "thing:1"]


@pytest.mark.usefixtures("watched")
def test_what_parameters_set_beside_values_is_seen(
    make: sessionmaker[Session], cache: NotedCache
) -> None:
    table = Thing.__table__
    with make.begin() as session:
        session.execute(update(table).where(table.c.id == 1).values(title="new"), {"place_id": 2})
    assert "place:2/things" in cache.told()


@pytest.mark.usefixtures("watched")
def test_an_update_with_one_set_of_values_and_no_condition_is_one_of_all_rows(
    make: sessionmaker[Session], cache: NotedCache
) -> None:
    with make.begin() as session:
        session.execute(update(Thing), {"title": "new"})
    assert {"thing:1", "thing:2"} <= set(cache.told())


@pytest.mark.usefixtures("watched")
def test_a_row_that_several_sets_of_parameters_meet_is_no_other_writer(
    make: sessionmaker[Session], cache: NotedCache
) -> None:
    table = Thing.__table__
    statement = update(table).where(table.c.id == bindparam("which"))
    with make.begin() as session:
        session.execute(statement, [{"which": 1, "title": "a"}, {"which": 1, "title": "b"}])
    assert "thing:1" in cache.told()


@pytest.mark.usefixtures("watched")
def test_rows_of_another_schema_are_written_there(
    engine: Engine, make: sessionmaker[Session], cache: NotedCache
) -> None:
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda c, _: c.execute("ATTACH ':memory:' AS tenant"))
        engine.dispose()
    else:
        with engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA tenant"))
    with make.begin() as session:
        session.execute(text("CREATE TABLE tenant.things AS SELECT * FROM things WHERE 1 = 0"))
        session.execute(text("INSERT INTO tenant.things VALUES (7, 2, 'old')"))
        there = {"schema_translate_map": {None: "tenant"}}
        result = session.execute(update(Thing).values(title="new"), execution_options=there)
        assert result.rowcount == 1
    assert {"place:2/things", "thing:7"} <= set(cache.told())


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("when", ["before_flush", "after_flush"])
def test_a_listener_may_write_by_statement_during_a_flush(
    make: sessionmaker[Session], cache: NotedCache, when: str
) -> None:
    def write(session: Session, *_: object) -> None:
        session.execute(update(Thing).where(Thing.id == 2).values(title="new"))

    with make() as session:
        event.listen(session, when, write)
        session.get_one(Place, 1).name = "new"
        session.commit()
    assert "thing:2" in cache.told()


def test_a_statement_of_a_mappers_listener_is_seen(
    make: sessionmaker[Session], cache: NotedCache
) -> None:
    def write(mapper: object, connection: Any, target: Place) -> None:
        connection.execute(update(Thing.__table__).values(title="new"))

    event.listen(Place, "after_update", write)
    watching = watch(make, cache, unseen="raise")
    try:
        with make() as session:
            session.get_one(Place, 1).name = "new"
            with suppress(UnseenWriteError):
                session.commit()
            session.rollback()
            old = session.scalars(select(Thing.title)).all() == ["old", "old"]
        assert old or "thing:1" in cache.told()
    finally:
        watching.stop()
        event.remove(Place, "after_update", write)


@pytest.mark.usefixtures("watched")
def test_a_class_without_declarations_on_a_declared_table_is_not_silent(
    make: sessionmaker[Session], cache: NotedCache, caplog: pytest.LogCaptureFixture
) -> None:
    refused = False
    with make() as session:
        session.get_one(Twin, 1).title = "new"
        try:
            session.commit()
        except UnseenWriteError:
            refused = True
    assert refused or "things" in caplog.text or "thing:1" in cache.told()


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("rolled_back", [True, False])
def test_a_flush_that_its_listeners_refuse_opens_no_gap_for_bulk_methods(
    make: sessionmaker[Session], rolled_back: bool
) -> None:
    def refuse(session: Session, *_: object) -> None:
        raise ValueError("refused")

    with make() as session:
        event.listen(session, "before_flush", refuse)
        session.get_one(Thing, 1).title = "new"
        with pytest.raises(ValueError, match="refused"):
            session.flush()
        if rolled_back:
            session.rollback()
        with pytest.raises(UnseenWriteError):
            session.bulk_insert_mappings(Thing, [{"id": 9, "place": 1}])  # type: ignore[arg-type]


@pytest.mark.usefixtures("watched")
def test_a_refused_commit_of_a_joined_session_can_be_rolled_back(
    engine: Engine, make: sessionmaker[Session]
) -> None:
    with engine.connect() as connection:
        connection.begin()
        session = make(bind=connection)
        session.get_one(Thing, 1).title = "new"
        with pytest.raises(UnseenWriteError):
            session.commit()
        session.rollback()
        assert session.get_one(Thing, 1).title == "old"
        session.close()


@pytest.mark.usefixtures("watched")
def test_a_session_joined_to_anothers_forgetting_tells_its_own_cache(
    engine: Engine, make: sessionmaker[Session], cache: NotedCache
) -> None:
    other = NotedCache(ITEM)
    with suppress(UnseenWriteError), forgetting(engine, other) as work:
        session = make(bind=work.connection)
        session.get_one(Thing, 1).title = "new"
        session.commit()
        session.close()
    with Session(engine) as session:
        written = session.get_one(Thing, 1).title == "new"
    assert "thing:1" in cache.told() or not written
    other.close()


@pytest.mark.usefixtures("watched")
def test_a_text_is_no_list_of_names(make: sessionmaker[Session]) -> None:
    statement = text("UPDATE things SET title = 'new'")
    with make() as session, pytest.raises(TypeError):
        session.execute(statement, execution_options={"pagegen_names": "thing:1"})


@pytest.mark.usefixtures("watched")
def test_a_row_with_an_impossible_name_can_still_be_deleted(
    engine: Engine, make: sessionmaker[Session], cache: NotedCache
) -> None:
    with engine.begin() as connection:
        connection.execute(insert(Mail), [{"id": 1, "address": ""}])
    with make.begin() as session:
        session.delete(session.get_one(Mail, 1))
    assert cache.told() == ["mail:1"]


@pytest.mark.usefixtures("watched")
def test_a_thousand_rows_with_a_key_of_two_columns_are_one_query(
    engine: Engine, make: sessionmaker[Session], cache: NotedCache
) -> None:
    rows = [{"row": n, "number": n, "hall": 1} for n in range(1_000)]
    with engine.begin() as connection:
        connection.execute(insert(Seat), rows)
    with make.begin() as session:
        session.execute(update(Seat).where(Seat.hall == 1).values(hall=2))
    assert len(cache.told()) == 1_002


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("watched")
def test_an_insert_that_replaces_forgets_where_the_row_was_or_is_refused(
    engine: Engine, make: sessionmaker[Session], cache: NotedCache
) -> None:
    assert engine.dialect.name == "sqlite"  # others have no such statement
    statement = insert(Thing).prefix_with("OR REPLACE")
    with suppress(UnseenWriteError), make.begin() as session:
        session.execute(statement, [{"id": 1, "place": 2, "title": "new"}])
    with Session(engine) as session:
        moved = session.get_one(Thing, 1).place == 2
    assert not moved or "place:1/things" in cache.told()


def test_bulk_statements_are_seen_before_any_mapper_is_configured(
    engine: Engine, cache: NotedCache
) -> None:
    class Fresh(DeclarativeBase):
        pass

    class Late(Fresh):
        __tablename__ = "late"
        __pagegen__ = ("late:{id}",)
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    Fresh.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO late VALUES (1, 'old')"))
    maker = sessionmaker(engine)
    watching = watch(maker, cache)
    with maker.begin() as session:
        session.execute(update(Late).values(title="new"))
    watching.stop()
    assert cache.told() == ["late:1"]
