"""``watch(..., outbox=True)``: what a session flushed is in the outbox when it is committed."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from pagegen.contrib.sqlalchemy import watch
from tests.contrib.outbox.conftest import Cache, break_store
from tests.contrib.outbox.databases import Place


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    __pagegen__ = ["item:{id}"]
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


def test_flushed_rows_are_written_applied_and_deleted(
    place: Place, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(place.sync_url, pool_size=1, max_overflow=0, pool_timeout=1)
    maker = sessionmaker(engine, class_=type("Own", (Session,), {}))
    watching = watch(maker, cache, outbox=True)
    with maker() as session:
        session.get_one(Item, 1).text = "new"
        session.commit()
        assert (cache.told, place.rows()) == ([(("item:1",), False)], 0)
        session.get_one(Item, 2).text = "new"
        session.flush()
        session.rollback()
        assert place.rows() == 0
        with monkeypatch.context() as patch:
            break_store(cache, patch)
            session.get_one(Item, 3).text = "new"
            session.commit()
        assert place.rows() == 1
    watching.stop()
    engine.dispose()
