"""Transactions of Core: a connection whose names are said by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ...cache import PageCache
from ...namespaces import check
from .ledger import Ledger, commits_by_itself


class Pending:
    """Names that wait for the commit of a transaction.

    connection: that of a Core transaction, as it was begun; None for a session's. cache: the one
        that forgets them, of a Core transaction.
    """

    def __init__(
        self,
        add: Callable[[tuple[str, ...]], None],
        connection: Any = None,
        cache: PageCache | None = None,
    ) -> None:
        self._add = add
        self.cache = cache
        self.connection = connection

    def add(self, *names: str) -> None:
        """These are forgotten after the outermost commit, and kept when it is rolled back. Raises
        ``NamespaceError`` at once for what is no name.
        """
        self._add(names)


class _Collected:
    """The names of one Core transaction, and the cache that forgets them. Savepoints in it are not
    looked at: what one of them rolled back is forgotten too, which costs a rendering.
    """

    def __init__(self, cache: PageCache) -> None:
        self.cache = cache
        self.names: dict[str, None] = {}
        self.committing = False

    def add(self, names: tuple[str, ...]) -> None:
        self.names.update(dict.fromkeys(check(name) for name in names))


#: Transactions that run inside of `forgetting` now.
_open: Final[WeakKeyDictionary[Connection, _Collected]] = WeakKeyDictionary()


def said_for(connection: Connection) -> Pending | None:
    """Where names for this connection's transaction go, if `forgetting` has begun it."""
    found = _open.get(connection)
    return None if found is None else Pending(found.add, connection, found.cache)


@contextmanager
def forgetting(where: Engine | Connection, cache: PageCache) -> Iterator[Pending]:
    """Begin a transaction of Core, and forget what is added to it when it has been committed.

    The commit comes at the end of the block, the forgetting right after it; an exception in the
    block rolls back and forgets nothing, unless the block has ended the transaction itself or
    its statements count at once (``AUTOCOMMIT``). A ``Session`` that joins the transaction of
    ``pending.connection`` waits for it too. Raises what the database raises, and
    ``InvalidRequestError`` for a connection whose transaction has begun already.
    """
    collected = _Collected(cache)
    try:
        with where.begin() as begun:
            connection = begun if isinstance(begun, Connection) else cast("Connection", where)
            with _opened(connection, collected):
                yield Pending(collected.add, connection)
    finally:
        if collected.committing:
            Ledger(cache).forget(collected.names)


@asynccontextmanager
async def aforgetting(
    where: AsyncEngine | AsyncConnection, cache: PageCache
) -> AsyncIterator[Pending]:
    """:func:`forgetting` for an async engine or connection. Who is cancelled after the commit
    leaves the names owed.
    """
    collected = _Collected(cache)
    try:
        async with where.begin() as begun:
            connection = cast("AsyncConnection", where)
            if isinstance(begun, AsyncConnection):
                connection = begun
            with _opened(cast("Connection", connection.sync_connection), collected):
                yield Pending(collected.add, connection)
    finally:
        if collected.committing:
            await Ledger(cache).aforget(collected.names)


@contextmanager
def _opened(connection: Connection, collected: _Collected) -> Iterator[None]:
    _open[connection] = collected
    transaction = connection.get_transaction()
    at_once = commits_by_itself(connection)
    try:
        yield
        # From here on nobody can be sure that it was not committed.
        collected.committing = True
    finally:
        # Nor of one that the block has ended itself.
        ended = connection.get_transaction() is not transaction
        collected.committing = collected.committing or at_once or ended
        _open.pop(connection, None)
