# ruff: noqa: PLC0415 - each library is imported only where it is used
"""The outbox in plain connections: ``sqlite3``, psycopg and psycopg2.

Nobody tells when such a connection commits. So its block commits, or the caller says ``apply()``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from . import shelf, statements
from .applying import Written
from .box import ManualOutbox
from .shelf import Begin, SqlShelf
from .statements import Execute

if TYPE_CHECKING:
    from ...cache import PageCache

#: Connections by the first part of the module that their class comes from.
_DIALECTS: Final = {"sqlite3": "sqlite", "psycopg": "postgresql", "psycopg2": "postgresql"}


def dialect_of(connection: object) -> str | None:
    """What a connection speaks, None where it is none that is known here, or asynchronous."""
    kinds = type(connection).__mro__
    if not hasattr(connection, "cursor") or any("Async" in kind.__name__ for kind in kinds):
        return None
    return _DIALECTS.get(_library_of(connection))


def _library_of(connection: object) -> str:
    modules = (kind.__module__.partition(".")[0] for kind in type(connection).__mro__)
    return next((module for module in modules if module in _DIALECTS), "")


def execute_on(connection: Any) -> Execute:
    """Runs statements in whatever transaction the connection is in."""
    dialect = dialect_of(connection)

    def execute(statement: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        cursor = _cursor(connection)
        try:
            text = statement if dialect == "sqlite" else statements.pyformat(statement)
            cursor.execute(text, values)
            rows = cursor.fetchall() if cursor.description else ()
            return rows if dialect == "sqlite" else [_texts(row) for row in rows]
        finally:
            cursor.close()

    return execute


def _texts(row: Sequence[Any]) -> Sequence[Any]:
    """A row of texts, also where the encoding is SQL_ASCII, of which psycopg gives bytes."""
    return [v.decode(errors="surrogateescape") if isinstance(v, bytes) else v for v in row]


def _cursor(connection: Any) -> Any:
    """A cursor whose rows are tuples, whatever the application made of its own."""
    library = _library_of(connection)
    if library == "psycopg":
        from psycopg.rows import tuple_row

        return connection.cursor(row_factory=tuple_row)
    if library == "psycopg2":
        from psycopg2.extensions import cursor  # type: ignore[import-untyped,unused-ignore]

        return connection.cursor(cursor_factory=cursor)
    plain = connection.cursor()
    plain.row_factory = None
    return plain


def in_transaction(connection: Any) -> bool:
    """Whether a transaction is open; none is where it was closed or its server is gone."""
    if hasattr(connection, "info"):  # psycopg's or psycopg2's
        status: int = connection.info.transaction_status
        return not connection.closed and status != 0  # libpq's PQTRANS_IDLE
    try:
        return bool(connection.in_transaction)
    except Exception:  # so says sqlite3 that it is closed
        return False


def commits_each(connection: Any) -> bool:
    """Whether each statement is committed by itself unless a transaction was begun by hand."""
    autocommit = getattr(connection, "autocommit", None)
    if isinstance(autocommit, bool):
        return autocommit
    return getattr(connection, "isolation_level", "") is None


def create_table(connection: Any) -> None:
    """Make the table unless it is there. Commits."""
    execute_on(connection)(statements.CREATE, {})
    connection.commit()


class ConnectionOutbox(ManualOutbox):
    """Of a plain connection."""

    def __init__(self, cache: PageCache, connection: Any) -> None:
        super().__init__(cache)
        self.connection = connection
        self._dialect = statements.supported(dialect_of(connection) or "unknown")

    def _write(self, names: Sequence[str], soft: bool) -> None:
        if commits_each(self.connection) and not in_transaction(self.connection):
            raise RuntimeError(
                "this connection commits each statement by itself, so the row cannot be part of "
                "the change. Begin a transaction first (psycopg: with connection.transaction())"
            )
        ids = shelf.write(execute_on(self.connection), self._dialect, self.site, names)
        self._written.append(Written(tuple(names), soft, ids))

    def _is_open(self) -> bool:
        return in_transaction(self.connection)

    def _begin(self) -> Begin:
        return lambda: _transaction(self.connection)

    def _commit(self) -> None:
        try:
            _end(self.connection, "COMMIT")
        finally:
            self._roll_back()

    def _roll_back(self) -> None:
        if in_transaction(self.connection):
            _end(self.connection, "ROLLBACK")


def _end(connection: Any, how: str) -> None:
    (connection.commit if how == "COMMIT" else connection.rollback)()
    if isinstance(getattr(connection, "autocommit", None), bool) and in_transaction(connection):
        connection.cursor().execute(how)  # begun by hand: commit() does nothing there


@contextmanager
def _transaction(connection: Any) -> Iterator[Execute]:
    try:
        yield execute_on(connection)
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


class Connecting:
    """A connection for a sweeper: opened when it is wanted, opened anew after an error or a fork.

    ``connect`` opens one that belongs to nobody else.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._connection: Any = None
        self._process = 0

    @contextmanager
    def begin(self) -> Iterator[Execute]:
        """A transaction; raises what the database does."""
        if self._process != os.getpid():
            self._connection = None  # the parent's: not even to be closed here
        if self._connection is None:
            self._connection = self._connect()
            self._process = os.getpid()
        try:
            with _transaction(self._connection) as execute:
                yield execute
        except Exception:
            self.close()
            raise

    @property
    def dialect(self) -> str:
        """What it speaks; connects. Raises ``TypeError`` for what is not supported."""
        if self._connection is None:
            self._connection, self._process = self._connect(), os.getpid()
        return statements.supported(dialect_of(self._connection) or type(self._connection).__name__)

    def close(self) -> None:
        """Close the connection, if one is open."""
        connection, self._connection = self._connection, None
        if connection is not None and self._process == os.getpid():
            with suppress(Exception):
                connection.close()


def open_shelf(connect: Callable[[], Any], site: str, dialect: str | None = None) -> SqlShelf:
    """A shelf on connections that ``connect`` opens; connects now unless the dialect is given."""
    connecting = Connecting(connect)
    return SqlShelf(connecting.begin, dialect or connecting.dialect, site, connecting.close)
