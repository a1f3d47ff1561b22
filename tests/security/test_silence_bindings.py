"""What the bindings to databases log: no value of a statement, of a row, or of a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from pagegen import PageCache
from pagegen.contrib.outbox import Sweeper
from pagegen.contrib.outbox.applying import Written, apply, committed, settle
from pagegen.contrib.sqlalchemy import pending, watch
from pagegen.logs import cause
from pagegen.testing import FakeClock
from tests.contrib.outbox.databases import make
from tests.contrib.sqlalchemy.shop import ITEM, Base, Item, Shop
from tests.security.silence import NAME, WORDS, Moody, leaks, listening

SECRET = WORDS["identity"]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = create_engine(f"sqlite:///{tmp_path}/shop.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def store() -> Moody:
    return Moody(FakeClock())


@pytest.fixture
def cache(store: Moody) -> Iterator[PageCache]:
    made = PageCache([ITEM], store=store)
    yield made
    made.close()


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE items SET title = '{SECRET}' WHERE id = 1",
        f"UPDATE items SET title = 'it''s {SECRET}' WHERE id = 1",
        f"UPDATE items SET title = '{'x' * 300}{SECRET}' WHERE id = 1",
        f"UPDATE items SET title = '{'x' * 150}{SECRET}{'x' * 100}' WHERE id = 1",
        f"DELETE FROM items WHERE title = '{SECRET}' OR id = 4711",
    ],
    ids=["text", "quote", "behind", "cut", "delete"],
)
def test_a_statement_that_is_warned_of_is_told_without_its_values(
    engine: Engine, cache: PageCache, statement: str
) -> None:
    maker = sessionmaker(engine)
    watching = watch(maker, cache)
    with listening() as heard, maker.begin() as session:
        session.execute(text(statement))
    # Other tests' classes may be warned of when a session begins.
    said = [line for line in heard if "items" in line]
    assert len(said) == 1
    assert leaks(said[0]) == set() and "4711" not in said[0]
    assert watching is not None


def test_names_that_a_commit_could_not_forget_are_told_by_their_shapes(
    engine: Engine, cache: PageCache, store: Moody
) -> None:
    maker = sessionmaker(engine)
    watch(maker, cache)
    store.away = frozenset({"replace_tokens"})
    with listening() as said:
        with maker.begin() as session:
            session.add(Shop(id=1))
            session.flush()
            session.add(Item(id=1, shop_id=1, title=SECRET))
            pending(session).add(NAME)
        cache.close()
    assert "committed, but the store has not acknowledged" in "\n".join(said)
    assert leaks("\n".join(said)) == set()
    assert "cart:…/things" in "\n".join(said)


def test_a_database_errors_values_are_not_told(engine: Engine) -> None:
    with Session(engine) as session, pytest.raises(DBAPIError) as caught:
        session.execute(text("INSERT INTO nowhere VALUES (:who)"), {"who": SECRET})
    assert SECRET in str(caught.value)
    assert (
        cause(caught.value) == "OperationalError: (sqlite3.OperationalError) no such table: nowhere"
    )


def test_the_outbox_tells_no_names(cache: PageCache, store: Moody) -> None:
    store.away = frozenset({"replace_tokens"})

    def begin() -> Any:
        raise ConnectionError(f"gone\n[parameters: ('{SECRET}',)]")

    written = [Written((NAME,), False, ("1",))]
    with listening() as said:
        assert not apply(cache, written)
        assert committed(begin, written) == written
        settle(begin, ["1"])
    assert len(said) == 4  # and that the name may be a slip of the pen
    assert leaks("\n".join(said)) == set()


def test_rows_that_are_set_aside_are_told_by_their_kind_of_fault(
    tmp_path: Path, cache: PageCache
) -> None:
    place = make("sqlite", tmp_path, None)  # type: ignore[arg-type]
    connection = place.connect()
    for number, names in enumerate((f'["{SECRET} "]', f'"{SECRET}"', f"{SECRET}")):
        row = (f"{number:032d}", names)
        connection.execute("INSERT INTO pagegen_outbox VALUES (?, 'default', ?, 0, NULL)", row)
    connection.commit()
    connection.close()
    sweeper = Sweeper(cache, place.sync_url)
    with listening() as said:
        swept = sweeper.sweep()
        sweeper.stop()
    assert swept.aside == 3
    assert "set aside" in said[0] and "no namespaces" in said[0]
    assert leaks("\n".join(said)) == set()
