"""One table, however it is made."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine, inspect, text

from pagegen.contrib.outbox import dbapi
from pagegen.contrib.outbox.sqlalchemy import create_table, metadata, table
from tests.contrib.outbox.conftest import Cache
from tests.contrib.outbox.databases import make
from tests.databases import Postgresql


def _shape(url: str) -> list[tuple[str, bool, int]]:
    engine = create_engine(url)
    columns = inspect(engine).get_columns("pagegen_outbox")
    engine.dispose()
    return [(c["name"], c["nullable"], c.get("primary_key", 0)) for c in columns]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_sqlalchemy_and_plain_connections_make_the_same_table(
    kind: str, tmp_path: Path, postgresql: Postgresql
) -> None:
    shapes = []
    for via in ("dbapi", "sqlalchemy"):
        (folder := tmp_path / via).mkdir()
        place = make(kind, folder, postgresql, items=0, via=via)
        shapes.append(_shape(place.sync_url))
    assert shapes[0] == shapes[1]
    assert [name for name, *_ in shapes[0]] == ["id", "site", "names", "created", "problem"]


def test_making_the_table_twice_is_no_error(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/app.sqlite")
    create_table(engine)
    create_table(engine)
    engine.dispose()
    connection = sqlite3.connect(tmp_path / "app.sqlite")
    dbapi.create_table(connection)
    connection.close()


def test_the_table_joins_the_metadata_of_an_application(tmp_path: Path, cache: Cache) -> None:
    mine = MetaData()
    copy = table.to_metadata(mine)
    assert copy.name in mine.tables
    assert copy is not table
    assert metadata.tables.keys() == mine.tables.keys()
    engine = create_engine(f"sqlite:///{tmp_path}/app.sqlite")
    mine.create_all(engine)
    with engine.connect() as connection, cache.outbox(connection) as outbox:
        outbox.invalidate("item:1")
        assert connection.execute(text("SELECT names FROM pagegen_outbox")).scalar() == '["item:1"]'
    engine.dispose()
