"""Rows that no worker of ours wrote so: wrong times, odd ids, odd databases. None stops a sweep."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy import create_engine

from pagegen import ConfigError
from pagegen.contrib.outbox import Sweeper, Swept, dbapi, sweeper
from tests.contrib.outbox.conftest import Cache
from tests.contrib.outbox.databases import Place
from tests.databases import Postgresql

#: Ids, as SQLite writes them: texts that are none, blobs, half a character, an end in the middle.
ODD = (
    *("CAST(x'ff01' AS TEXT)", "x'ff01'", "'b'", "'ä'", "7", "'a' || char(0) || 'b'"),
    *("CAST(x'00d8' AS TEXT)", "CAST(x'd800' AS TEXT)", "CAST(x'6100ff' AS TEXT)"),
    *("CAST(randomblob(16) AS TEXT)", "randomblob(16)", "char(65279) || 'a'"),
)
NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch FROM clock_timestamp())",
}
Names = dict[str, tuple[str, ...]]


@pytest.fixture
def sweep(cache: Cache) -> Iterator[Callable[..., Swept]]:
    """One round on what is given, with the options of a Sweeper."""
    made: list[Sweeper] = []

    def once(target: object, **options: Any) -> Swept:
        made.append(Sweeper(cache, target, **options))
        return made[-1].sweep()

    yield once
    for one in made:
        one.stop()


def put(connection: Any, identifier: str, names: str, created: str) -> None:
    """A row; the id and the time are expressions in SQL."""
    connection.execute(
        f"INSERT INTO pagegen_outbox VALUES ({identifier}, 'default', '{names}', {created}, NULL)"
    )
    connection.commit()


def forgotten(cache: Cache) -> list[str]:
    return sorted(name for names, _ in cache.told for name in names)


@pytest.mark.parametrize(
    ("place", "created"),
    [
        *(("sqlite", of) for of in ("{now} + 86400", "{now} * 1000", "CURRENT_TIMESTAMP")),
        *(("sqlite", of) for of in ("x'00'", "9e999")),
        *(("postgresql", of) for of in ("{now} + 86400", "{now} * 1000")),
        *(("postgresql", of) for of in ("'infinity'", "'-infinity'", "'NaN'")),
    ],
    indirect=["place"],
)
def test_a_row_whose_time_is_wrong_is_applied_all_the_same(
    place: Place, created: str, cache: Cache, sweep: Callable[..., Swept]
) -> None:
    now = NOW[place.kind]
    with closing(place.connect()) as connection:
        put(connection, "'a'", '["item:1"]', created.format(now=now))
        put(connection, "'b'", '["item:2"]', now)
        swept = sweep(place.sync_url)
        assert (forgotten(cache), swept.error, swept.waiting) == (["item:1"], None, 1)


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
@pytest.mark.parametrize("through", ["url", "engine"])
def test_ids_of_any_bytes_are_applied_and_deleted_or_set_aside(
    encoding: str, through: str, tmp_path: Any, cache: Cache, sweep: Callable[..., Swept]
) -> None:
    url = f"sqlite:///{tmp_path}/own.db"
    with closing(sqlite3.connect(tmp_path / "own.db")) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        dbapi.create_table(connection)
        for number, identifier in enumerate(ODD):
            put(connection, identifier, f'["item:{number}"]', "0")
        for identifier in ("CAST(x'fe01' AS TEXT)", "x'fe01'", "'z'"):
            put(connection, identifier, "no list", "0")
        engine = create_engine(url)
        # Two at once: who passes over the ids must meet each of them.
        swept = sweep(engine if through == "engine" else url, batch=2)
        engine.dispose()
        assert swept.error is None
        assert set(forgotten(cache)) == {f"item:{number}" for number in range(len(ODD))}
        assert (swept.applied, swept.aside, swept.waiting) == (len(ODD), 3, 0)
        left = connection.execute("SELECT count(*), count(problem) FROM pagegen_outbox")
        assert left.fetchone() == (3, 3)


def test_a_database_without_an_encoding_is_one_like_others(
    postgresql: Postgresql, cache: Cache, sweep: Callable[..., Swept]
) -> None:
    """There psycopg gives bytes for texts."""
    server = postgresql.fresh().dsn
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'"
        )
    place = make_conninfo(server, dbname="plain")
    with closing(psycopg.connect(place)) as connection:
        dbapi.create_table(connection)
        with cache.outbox(connection) as outbox:
            outbox.invalidate("item:1")
        assert cache.told == [(("item:1",), False)]
        outbox.invalidate("item:2")
        connection.commit()
        swept = sweep(lambda: psycopg.connect(place), grace=0)
        assert (swept.applied, swept.waiting, forgotten(cache)) == (1, 0, ["item:1", "item:2"])


def test_a_store_that_breaks_its_contract_starves_no_other_row(
    place: Place, cache: Cache, sweep: Callable[..., Swept], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Cache.invalidate

    def refuse(self: Cache, *names: str, soft: bool = False) -> Any:
        if "item:1" in names:
            raise LookupError("no such server")
        return real(self, *names, soft=soft)

    monkeypatch.setattr(Cache, "invalidate", refuse)
    with closing(place.connect()) as connection:
        for number in range(3):
            put(connection, f"'{number}'", f'["item:{number}"]', "0")
    swept = sweep(place.sync_url)
    assert (swept.applied, swept.left, swept.error) == (2, 1, "LookupError: no such server")


@pytest.mark.parametrize("every", [1.0, 29.0, 300.0])
def test_failures_make_no_sweeper_come_more_often(
    tmp_path: Any, cache: Cache, every: float
) -> None:
    made = Sweeper(cache, f"sqlite:///{tmp_path}/no-such-file.db", every=every)
    assert made.delay() == every
    for _ in range(50):
        assert made.sweep().error
        assert every <= made.delay() <= 1.5 * max(every, sweeper.LONGEST_PAUSE)
    made.stop()


@pytest.mark.parametrize("option", ["every", "grace"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300, -1.0])
def test_seconds_that_nobody_could_wait_are_refused(
    cache: Cache, option: str, value: float
) -> None:
    with pytest.raises(ConfigError, match=option):
        Sweeper(cache, "sqlite:///app.db", **{option: value})  # type: ignore[arg-type]
