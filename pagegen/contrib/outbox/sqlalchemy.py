"""The outbox in SQLAlchemy: sessions, which tell when they commit, and connections, which do not.

A session's names are applied when its outermost transaction has *ended*, not when it has committed:
its connection is back in the pool then, so that the rows can be deleted with a pool of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    MetaData,
    String,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, SessionTransaction, scoped_session
from sqlalchemy.util import await_only

from ...namespaces import check
from ...verdicts import Invalidation
from . import applying, dbapi, shelf, statements
from .applying import Written
from .box import ManualOutbox, Outbox
from .shelf import Begin, SqlShelf
from .statements import Execute

if TYPE_CHECKING:
    from ...cache import PageCache

#: For Alembic's ``target_metadata``, or ``table.to_metadata(yours)``.
metadata: Final = MetaData()
table: Final = Table(
    statements.TABLE,
    metadata,
    Column("id", String(32), primary_key=True),
    Column("site", Text, nullable=False),
    Column("names", Text, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("problem", Text, nullable=True),
)
_KEY: Final = "pagegen.outbox"


def create_table(bind: Engine | Connection) -> None:
    """Make the table unless it is there."""
    metadata.create_all(bind, tables=[table])


def execute_on(connection: Connection) -> Execute:
    """Runs statements in the connection's transaction."""

    def execute(statement: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        result = connection.execute(text(statement), dict(values))
        return result.fetchall() if result.returns_rows else ()

    return execute


def write(connection: Connection, site: str, names: Iterable[str]) -> tuple[str, ...]:
    """Write rows in the connection's transaction; returns their ids.

    Raises ``NamespaceError`` before anything is written, and what the database does.
    """
    dialect = statements.supported(connection.dialect.name)
    return shelf.write(execute_on(connection), dialect, site, names)


@contextmanager
def _begin(bind: Engine | Connection) -> Iterator[Execute]:
    """A transaction on a connection of the pool, or on this one, which is in none."""
    if isinstance(bind, Engine):
        with bind.begin() as connection:
            yield execute_on(connection)
    else:
        with bind.begin():
            yield execute_on(bind)


def settle(bind: Engine | Connection, ids: Sequence[str]) -> None:
    """Delete rows whose names were forgotten, in a transaction of its own. Raises no ``Exception``:
    what stays is applied once more by a sweeper.
    """
    applying.settle(partial(_begin, bind), ids)


def open_outbox(cache: PageCache, target: object) -> Outbox | None:
    """The outbox of a session or a connection of SQLAlchemy; None for anything else."""
    if isinstance(target, scoped_session | async_scoped_session):
        target = target()
    if isinstance(target, AsyncSession):
        return AsyncSessionOutbox(cache, target)
    if isinstance(target, Session):
        return SessionOutbox(cache, target)
    if isinstance(target, Connection):
        return ConnectionOutbox(cache, target)
    if isinstance(target, Engine | AsyncEngine | AsyncConnection):
        raise TypeError(
            f"{type(target).__name__} has no transaction that the outbox could see. Give it a "
            "Session, an AsyncSession, or a Connection (of an AsyncConnection: run_sync)"
        )
    return None


class _Pending:
    """What one session wrote in its present transaction, and what it is told of its end."""

    def __init__(self, session: Session, asynchronous: bool) -> None:
        self._asynchronous = asynchronous
        self._written: list[tuple[PageCache, Engine, Written]] = []
        self._committed = False
        self._partly = False
        event.listen(session, "after_commit", self._commit)
        event.listen(session, "after_soft_rollback", self._rollback)
        event.listen(session, "after_transaction_end", self._end)

    def write(self, outbox: Outbox, session: Session, names: Sequence[str], soft: bool) -> None:
        """Write rows in the session's transaction."""
        connection = session.connection()
        _refuse_autocommit(connection)
        call = Written(tuple(names), soft, write(connection, outbox.site, names))
        self._written.append((outbox.cache, connection.engine, call))

    def _commit(self, session: Session) -> None:
        self._committed = not session.in_nested_transaction()

    def _rollback(self, session: Session, transaction: SessionTransaction) -> None:
        self._partly = True

    def _end(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is not None:
            return
        written, self._written = self._written, []
        committed, self._committed = self._committed, False
        partly, self._partly = self._partly, False
        bind = session.bind
        # A session inside somebody's transaction has committed nothing yet: a sweeper's matter.
        inside = isinstance(bind, Connection) and bind.in_transaction()
        if written and committed and not inside:
            self._apply(written, partly)

    def _apply(self, written: list[tuple[PageCache, Engine, Written]], partly: bool) -> None:
        places = {(id(cache), id(engine)): (cache, engine) for cache, engine, _ in written}
        for cache, engine in places.values():
            calls = [call for c, e, call in written if c is cache and e is engine]
            if partly:
                calls = applying.committed(partial(_begin, engine), calls)
            if self._forget(cache, calls):
                settle(engine, applying.ids_of(calls))

    def _forget(self, cache: PageCache, calls: list[Written]) -> bool:
        if not self._asynchronous:
            return applying.apply(cache, calls)
        return await_only(applying.aapply(cache, calls))


def _pending(session: Session, asynchronous: bool = False) -> _Pending:
    pending = session.info.get(_KEY)
    if not isinstance(pending, _Pending):
        pending = session.info[_KEY] = _Pending(session, asynchronous)
    return pending


class SessionOutbox(Outbox):
    """Of a session: applied when its outermost transaction has committed, before ``commit()``
    returns.
    """

    def __init__(self, cache: PageCache, session: Session) -> None:
        super().__init__(cache)
        self.session = session

    def _write(self, names: Sequence[str], soft: bool) -> None:
        _pending(self.session).write(self, self.session, names, soft)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.session.rollback()
            return
        try:
            self.session.commit()
        except BaseException:
            self.session.rollback()
            raise


class AsyncSessionOutbox(Outbox):
    """Of an asynchronous session: ``await outbox.ainvalidate(...)``, or ``async with``."""

    def __init__(self, cache: PageCache, session: AsyncSession) -> None:
        super().__init__(cache)
        self.session = session

    async def ainvalidate(self, *names: str, soft: bool = False) -> Invalidation:
        """:meth:`Outbox.invalidate` without blocking the event loop."""
        checked = tuple(dict.fromkeys(check(name) for name in names))
        if checked:
            await self.session.run_sync(lambda session: self._put(session, checked, soft))
        return Invalidation(checked, soft=soft, deferred=True)

    def _write(self, names: Sequence[str], soft: bool) -> None:
        raise TypeError("this session is asynchronous: await outbox.ainvalidate(...)")

    def _put(self, session: Session, names: Sequence[str], soft: bool) -> None:
        _pending(session, asynchronous=True).write(self, session, names, soft)

    def __enter__(self) -> Self:
        raise TypeError("this session is asynchronous: async with cache.outbox(session)")

    def __exit__(self, *_: object) -> None:
        """Never reached."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None:
            await self.session.rollback()
            return
        try:
            await self.session.commit()
        except BaseException:
            await self.session.rollback()
            raise


class ConnectionOutbox(ManualOutbox):
    """Of a connection of SQLAlchemy's Core."""

    def __init__(self, cache: PageCache, connection: Connection) -> None:
        super().__init__(cache)
        self.connection = connection

    def _write(self, names: Sequence[str], soft: bool) -> None:
        _refuse_autocommit(self.connection)
        ids = write(self.connection, self.site, names)
        self._written.append(Written(tuple(names), soft, ids))

    def _is_open(self) -> bool:
        return not self.connection.closed and self.connection.in_transaction()

    def _begin(self) -> Begin:
        # Another connection may be more than the pool has, while this one is out.
        return partial(
            _begin, self.connection.engine if self.connection.closed else self.connection
        )

    def _commit(self) -> None:
        self.connection.commit()

    def _roll_back(self) -> None:
        self.connection.rollback()


def _refuse_autocommit(connection: Connection) -> None:
    if _commits_each(connection):
        raise RuntimeError(
            "this connection commits each statement by itself, so the row cannot be part of the "
            "change. Use one with another isolation_level"
        )


def _commits_each(connection: Connection) -> bool:
    """Whether each statement is committed by itself, as the driver has it: an engine's level is in
    none of its connections' options. Begins a transaction.
    """
    level = connection.get_execution_options().get("isolation_level")
    if str(level or "").upper() == "AUTOCOMMIT":
        return True
    if not connection.in_transaction():
        connection.begin()
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name != "sqlite":
        return getattr(driver, "autocommit", False) is True  # MySQL's is a method
    # Who sends BEGIN himself, as SQLAlchemy advises for savepoints, has sent it by now.
    inner = connection.connection.driver_connection
    return dbapi.commits_each(driver) and not dbapi.in_transaction(inner)


def open_shelf(engine: Engine, site: str) -> SqlShelf:
    """A sweeper's shelf on this engine."""

    return SqlShelf(lambda: _begin(engine), engine.dialect.name, site)
