"""Alembic makes the outbox's table, and afterwards has nothing left to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, inspect

from pagegen import PageCache
from pagegen.contrib.outbox import sqlalchemy as outbox
from pagegen.contrib.outbox.sqlalchemy import settle, write

ENVIRONMENT = """
from alembic import context
from sqlalchemy import MetaData, create_engine
from pagegen.contrib.outbox import sqlalchemy as outbox

metadata = MetaData()
outbox.table.to_metadata(metadata)
engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shop.sqlite'}"
    made: Any = request.getfixturevalue("postgresql").fresh()
    return str(made.url("psycopg"))


def test_a_generated_migration_makes_the_table_and_nothing_is_missing_then(
    url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    config = Config(str(tmp_path / "alembic.ini"))
    config.set_main_option("script_location", str(folder))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.init(config, str(folder))
    (folder / "env.py").write_text(ENVIRONMENT)
    command.revision(config, "outbox", autogenerate=True)
    command.upgrade(config, "head")

    engine = create_engine(url)
    metadata = MetaData()
    outbox.table.to_metadata(metadata)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    cache = PageCache()
    with engine.begin() as connection:
        ids = write(connection, cache.configuration.settings.site, ["item:7"])
    settle(engine, ids)
    command.downgrade(config, "base")
    assert "pagegen_outbox" not in inspect(engine).get_table_names()
    engine.dispose()
