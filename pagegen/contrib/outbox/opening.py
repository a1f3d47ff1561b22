# ruff: noqa: PLC0415 - each library is imported only where it is used
"""Which outbox, or which shelf, belongs to what the caller gave.

A framework is asked only where it is imported already: what was given cannot come from another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from . import dbapi
from .box import Outbox
from .shelf import Shelf, SqlShelf

if TYPE_CHECKING:
    from ...cache import PageCache


def open_outbox(cache: PageCache, target: object) -> Outbox:
    """The outbox of a connection, session or Django alias; raises ``TypeError``."""
    if "sqlalchemy" in sys.modules and not isinstance(target, str):
        from . import sqlalchemy

        if (of_sqlalchemy := sqlalchemy.open_outbox(cache, target)) is not None:
            return of_sqlalchemy
    if "django.db" in sys.modules:
        from . import django

        if (of_django := django.open_outbox(cache, target)) is not None:
            return of_django
    if dbapi.dialect_of(target) is not None:
        return dbapi.ConnectionOutbox(cache, target)
    raise TypeError(
        f"{target!r} is no connection that the outbox knows. Give a Session, AsyncSession or "
        "Connection of SQLAlchemy, an alias or connection of Django, or a connection of sqlite3, "
        "psycopg or psycopg2"
    )


def open_shelf(target: object, site: str) -> Shelf:
    """The shelf that a sweeper works on; raises ``TypeError``."""
    if "sqlalchemy" in sys.modules:
        from sqlalchemy import Engine

        if isinstance(target, Engine):
            from . import sqlalchemy

            return sqlalchemy.open_shelf(target, site)
    if "django.db" in sys.modules:
        from . import django

        if (alias := django.alias_of(target)) is not None:
            return django.open_shelf(alias, site)
    if isinstance(target, str) and "://" in target:
        return _of_url(target, site)
    if all(hasattr(target, name) for name in ("batch", "waiting", "close")):
        return target  # type: ignore[return-value]
    if callable(target) and not isinstance(target, type):
        return dbapi.open_shelf(target, site)
    raise TypeError(
        f"{target!r} is nothing that a sweeper can work on. Give a synchronous Engine of "
        "SQLAlchemy, a URL such as sqlite:///app.db or postgresql://host/name, an alias of Django, "
        "or a function that opens a connection"
    )


def _of_url(url: str, site: str) -> SqlShelf:
    """Without SQLAlchemy where the URL names no driver; raises ``TypeError``, ``ImportError``."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        path = unquote(rest.partition("?")[0].removeprefix("/"))
        if not path or path == ":memory:":
            raise TypeError(f"{url!r} names no file that others could write to")
        return dbapi.open_shelf(_sqlite(path), site, "sqlite")
    if scheme in ("postgresql", "postgres"):
        return dbapi.open_shelf(_postgresql(url), site, "postgresql")
    from sqlalchemy import NullPool, create_engine

    from . import sqlalchemy

    # No pool: its connections would be shared with a child after fork.
    return sqlalchemy.open_shelf(create_engine(url, poolclass=NullPool), site)


def _sqlite(path: str) -> Callable[[], Any]:
    def connect() -> Any:
        import sqlite3
        from pathlib import Path

        # Never made anew: a file that is not there is a wrong path.
        where = f"{Path(path).absolute().as_uri()}?mode=rw"
        return sqlite3.connect(where, uri=True, check_same_thread=False)

    return connect


def _postgresql(url: str) -> Callable[[], Any]:
    def connect() -> Any:
        import psycopg

        return psycopg.connect(url)

    return connect
