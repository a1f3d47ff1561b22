"""The application's database in these tests, on SQLite or PostgreSQL: one table of texts."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import create_engine

from pagegen.contrib.outbox import dbapi
from pagegen.contrib.outbox.sqlalchemy import create_table
from tests.databases import Postgresql


@dataclass(frozen=True, slots=True)
class Place:
    """A database of items. ``file``: SQLite's; else ``dsn`` is PostgreSQL's, in the forms that
    psycopg, SQLAlchemy and Django read.
    """

    file: str = ""
    dsn: str = ""
    url: str = ""
    django: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        return "sqlite" if self.file else "postgresql"

    @property
    def mark(self) -> str:
        return "?" if self.file else "%s"

    @property
    def sync_url(self) -> str:
        return f"sqlite:///{self.file}" if self.file else self.url

    @property
    def async_url(self) -> str:
        return f"sqlite+aiosqlite:///{self.file}" if self.file else self.url

    @property
    def settings(self) -> dict[str, str]:
        """An entry of Django's DATABASES."""
        if self.file:
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": self.file}
        return dict(self.django)

    def connect(self) -> Any:
        """A plain connection."""
        if self.file:
            return sqlite3.connect(self.file, timeout=20)
        return psycopg.connect(self.dsn)

    def read(self, item: int) -> str:
        """The committed text of an item."""
        connection = self.connect()
        try:
            query = f"SELECT text FROM item WHERE id = {self.mark}"
            return str(connection.execute(query, (item,)).fetchone()[0])
        finally:
            connection.close()

    def write(self, connection: Any, item: int, text: str) -> None:
        """Change an item in the connection's transaction."""
        mark = self.mark
        connection.execute(f"UPDATE item SET text = {mark} WHERE id = {mark}", (text, item))

    def rows(self, where: str = "problem IS NULL") -> int:
        """How many rows are in the outbox."""
        connection = self.connect()
        try:
            query = f"SELECT count(*) FROM pagegen_outbox WHERE {where}"
            return int(connection.execute(query).fetchone()[0])
        finally:
            connection.close()


def make(kind: str, folder: Path, server: Postgresql, items: int = 60, via: str = "dbapi") -> Place:
    """A fresh database with items 0, 1, … whose text is ``old``."""
    if kind == "sqlite":
        place = Place(file=str(folder / "app.sqlite"))
    else:
        fresh = server.fresh()
        place = Place("", fresh.dsn, fresh.url("psycopg"), tuple(fresh.django().items()))
    connection = place.connect()
    connection.execute("CREATE TABLE item (id integer PRIMARY KEY, text varchar(20))")
    for item in range(items):
        connection.execute(f"INSERT INTO item VALUES ({place.mark}, 'old')", (item,))
    connection.commit()
    if via == "dbapi":
        dbapi.create_table(connection)
    connection.close()
    if via == "sqlalchemy":
        engine = create_engine(place.sync_url)
        create_table(engine)
        engine.dispose()
    return place
