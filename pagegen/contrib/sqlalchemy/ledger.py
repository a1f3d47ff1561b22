"""Namespaces that wait for a commit, one page of them for each transaction and savepoint.

Rules of this file:

1. What is collected goes to the innermost savepoint. A released one gives it to the next outer one,
   a rolled back one takes it along.
2. Only the outermost commit forgets: when the database has acknowledged it, and before others hear
   of it.
3. A COMMIT that was sent and not acknowledged may have happened: it forgets too. That costs a
   rendering, the contrary an old page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast
from weakref import WeakKeyDictionary, ref

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import await_only

from ...cache import PageCache
from ...errors import InvalidationError
from ...logs import cause, logger
from ...namespaces import check

log = logger("pagegen.contrib.sqlalchemy")

#: Namespaces that are given to the store in one call; more of them take several. As many tokens
#: travel in one message of a shared store, which is some megabytes.
BATCH: Final = 10_000


class Level:
    """What one transaction or savepoint collected. ``begun``: whether a COMMIT was sent for it."""

    __slots__ = ("begun", "connections", "durable", "joined", "names", "rows")

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.begun = False
        #: Whether statements count at once, whatever becomes of the transaction.
        self.durable = False
        self.connections: list[Connection] = []
        #: Those of them that were in a transaction already: the session's commit is none there.
        self.joined: list[Connection] = []
        #: Rows of the outbox that say the same, and where they are.
        self.rows: list[tuple[Engine, tuple[str, ...]]] = []


class Book:
    """What is known of one session."""

    __slots__ = ("applied", "covered", "early", "flush", "inside", "levels")

    def __init__(self) -> None:
        self.levels: dict[SessionTransaction, Level] = {}
        #: Rows of the outbox whose names were forgotten, to be deleted.
        self.applied: list[tuple[Engine, tuple[str, ...]]] = []
        #: Collected before the transaction began.
        self.early: dict[str, None] = {}
        #: The flush that runs, and the subtransaction in which it or a legacy bulk call writes.
        self.flush: Any = None
        self.inside: SessionTransaction | None = None
        #: How many statements run whose rows are known.
        self.covered = 0

    @property
    def flushes(self) -> bool:
        """Whether it is a flush that writes now, and no legacy bulk call. One that was broken off
        before it began stays here.
        """
        begun = getattr(self.flush and self.flush.context, "transaction", None)
        return self.inside is not None and begun is self.inside


class Ledger:
    """All books of one watch. A session is used by one thread at a time, and so is its book."""

    def __init__(self, cache: PageCache) -> None:
        self.cache = cache
        self._sessions: WeakKeyDictionary[Connection, ref[Session]] = WeakKeyDictionary()

    def book(self, session: Session) -> Book:
        """The book of a session."""
        found: Book | None = session.info.get(self)
        if found is None:
            found = session.info[self] = Book()
        return found

    def root(self, session: Session) -> Level:
        """What the outermost transaction has collected so far, savepoints left out."""
        return self._level(session, cast("SessionTransaction", session.get_transaction()))

    def add(self, session: Session, names: Iterable[str]) -> None:
        """These wait for the commit. Raises ``NamespaceError``, and adds nothing then."""
        checked = dict.fromkeys(check(name) for name in names)
        transaction = session.get_nested_transaction() or session.get_transaction()
        if transaction is None:
            self.book(session).early.update(checked)
        else:
            self._level(session, transaction).names.update(checked)

    def wrote(self, session: Session, names: Iterable[str]) -> None:
        """:meth:`add` for rows that were just written."""
        self.add(session, names)
        root = self.root(session)
        root.durable = root.durable or any(map(_is_committed, root.connections))

    @contextmanager
    def covering(self, session: Session) -> Iterator[None]:
        """Statements in the block are seen already."""
        book = self.book(session)
        book.covered += 1
        try:
            yield
        finally:
            book.covered -= 1

    def session_of(self, connection: Connection) -> Session | None:
        """The session that uses a connection in its transaction."""
        found = self._sessions.get(connection)
        return None if found is None else found()

    def joins(
        self, session: Session, transaction: SessionTransaction, connection: Connection
    ) -> None:
        """The session's transaction goes on with this connection from now on."""
        level = self.root(session)
        if connection not in level.connections:
            level.connections.append(connection)
            if _is_joined(transaction, connection):
                level.joined.append(connection)
            level.durable = level.durable or commits_by_itself(connection)
            self._sessions[connection] = ref(session)

    def sends_commit(self, connection: Connection) -> None:
        """COMMIT is about to be sent over this connection."""
        session = self.session_of(connection)
        if session is not None and session.get_transaction() is not None:
            self.root(session).begun = True

    def released(self, session: Session, savepoint: SessionTransaction) -> None:
        """A savepoint was released: what it collected belongs to the next outer one."""
        level = self.book(session).levels.pop(savepoint, None)
        if level is not None:
            outer = _boundary(cast("SessionTransaction", savepoint.parent))
            self._level(session, outer).names.update(level.names)
        root = self.root(session)
        root.begun = root.begun or any(map(_is_committed, root.connections))

    def take(self, session: Session, transaction: SessionTransaction) -> Level | None:
        """Take the page out, once; None where nothing is on it."""
        level = self.book(session).levels.pop(transaction, None)
        if level is None:
            return None
        for connection in level.connections:
            self._sessions.pop(connection, None)
        return level

    @property
    def site(self) -> str:
        """The cache's name, which its rows in the outbox bear."""
        return self.cache.configuration.settings.site

    def forget(self, names: Iterable[str], connections: Iterable[Connection] = ()) -> bool:
        """Forget them now. What the store does not acknowledge is logged and owed; never raises
        but for who is cancelled, and then it is owed as well. Whether all was acknowledged.
        """
        every = list(names)
        heard = True
        waits = any(connection.dialect.is_async for connection in connections)
        for first in range(0, len(every), BATCH):
            batch = every[first : first + BATCH]
            try:
                self._invalidate(batch, waits)
            except Exception as error:
                heard = False
                self._say(batch, error)
        return heard

    async def aforget(self, names: Iterable[str]) -> None:
        """:meth:`forget` in a task, without blocking its loop."""
        every = list(names)
        for first in range(0, len(every), BATCH):
            batch = every[first : first + BATCH]
            try:
                await self.cache.ainvalidate(*batch)
            except Exception as error:
                self._say(batch, error)

    def _invalidate(self, names: list[str], waits: bool) -> None:
        if waits:
            try:
                await_only(self.cache.ainvalidate(*names))
            except MissingGreenlet:  # closed by the garbage collector, outside of any task
                pass
            else:
                return
        self.cache.invalidate(*names)

    def _say(self, names: list[str], error: Exception) -> None:
        log.error(
            "committed, but the store has not acknowledged that %d namespaces are forgotten: %s "
            "(%s). It is tried again",
            len(names),
            self.cache.engine.shown(names),
            error if isinstance(error, InvalidationError) else cause(error),
        )

    def _level(self, session: Session, transaction: SessionTransaction) -> Level:
        book = self.book(session)
        level = book.levels.get(transaction)
        if level is None:
            level = book.levels[transaction] = Level()
        if book.early:  # said before any savepoint began, so that none takes them along
            early, book.early = book.early, {}
            self.root(session).names.update(early)
        return level


def _boundary(transaction: SessionTransaction) -> SessionTransaction:
    """The savepoint or outermost transaction that this one is a part of."""
    while not transaction.nested and transaction.parent is not None:
        transaction = transaction.parent
    return transaction


def _is_joined(transaction: SessionTransaction, connection: Connection) -> bool:
    """Whether somebody else began the connection's transaction: nowhere public."""
    _, own, commits, _ = transaction._connections[connection]
    return not commits or own is not connection.get_transaction()


def commits_by_itself(connection: Connection) -> bool:
    """Whether statements of this connection, which has begun, count at once."""
    level = connection.get_execution_options().get("isolation_level", "")
    if str(level).upper() == "AUTOCOMMIT":
        return True
    if connection.dialect.name == "sqlite":
        # Many set it so and send BEGIN themselves, which they have by now.
        driver = connection.connection.driver_connection
        return getattr(driver, "isolation_level", "") is None and _is_committed(connection)
    try:
        driver = connection.connection.dbapi_connection
        return bool(connection.dialect.detect_autocommit_setting(driver))  # type: ignore[arg-type]
    except (AttributeError, NotImplementedError):  # before 2.0.43, or a driver that cannot say
        return False


def _is_committed(connection: Connection) -> bool:
    """Whether what was just done is durable already: SQLite alone can be asked. Its driver begins
    nothing before a savepoint, so that releasing one is a COMMIT.
    """
    if connection.dialect.name != "sqlite" or connection.invalidated:
        return False
    driver = connection.connection.driver_connection
    return not getattr(driver, "in_transaction", True)
