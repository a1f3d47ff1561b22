"""The tables, and the one engine that talks to them."""

from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
)

from demo_app.cost import count_statements

metadata = MetaData()

category = Table(
    "category",
    metadata,
    Column("slug", String, primary_key=True),
    Column("label", String, nullable=False),
)

package = Table(
    "package",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("slug", String, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("category", ForeignKey("category.slug"), nullable=False),
    Column("url", String, nullable=False),
    Column("repo", String, nullable=False, default=""),
    Column("pypi", String, nullable=False, default=""),
    Column("licence", String, nullable=False, default=""),
    Column("created_year", Integer),
    Column("latest_version", String, nullable=False, default=""),
    Column("latest_release", String),
    Column("stars", Integer),
    Column("downloads", Integer),
    Column("debian", String, nullable=False, default=""),
    Column("sources", String, nullable=False, default=""),
    Column("heat", Float, nullable=False, default=0.0),
    Column("votes", Integer, nullable=False, default=0),
    Column("submitted_at", String),
    Index("package_by_category", "category"),
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("package_id", ForeignKey("package.id"), primary_key=True),
    Column("day", String, primary_key=True),
    Column("stars", Integer, nullable=False),
    sqlite_with_rowid=False,
)

user = Table(
    "user",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
)

favourite = Table(
    "favourite",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("user.id"), nullable=False),
    # The slug, not the id: so a row knows the names of all pages that it stands on.
    Column("package_slug", ForeignKey("package.slug"), nullable=False),
    Column("added_on", String, nullable=False),
    UniqueConstraint("user_id", "package_slug"),
    Index("favourite_by_package", "package_slug"),
)

write = Table(
    "write",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("what", String, nullable=False),
    Column("namespaces", String, nullable=False),
    Column("forgotten", Integer, nullable=False),
    Column("cached", Integer, nullable=False),
)
"""The board's log: in the database, because every worker shows it."""


def open_engine(path: Path) -> Engine:
    """One thread-safe engine for the database file at `path`."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 5.0})
    event.listen(engine, "connect", _prepare)
    count_statements(engine)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    # WAL: readers go on while somebody writes, so a slow page never blocks a vote.
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
