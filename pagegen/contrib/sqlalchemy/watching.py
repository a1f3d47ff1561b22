"""``watch``: from then on the commits of these sessions forget what they wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any, Final, Literal
from weakref import WeakSet

from sqlalchemy import Delete, Insert, Table, Update, event
from sqlalchemy.engine import Connection, Engine, Result
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import (
    Mapper,
    ORMExecuteState,
    Session,
    SessionTransaction,
    SessionTransactionOrigin,
    configure_mappers,
    scoped_session,
    sessionmaker,
)

from ...cache import PageCache
from ...errors import ConfigError
from ..outbox import sqlalchemy as outbox
from .bulk import change
from .connections import Pending, said_for
from .declarations import Catalogue
from .flushing import Flushes
from .guard import OPTION, Guard, Unseen, UnseenWriteError
from .inserts import insert
from .ledger import Ledger, log

Joined = Literal["raise", "commit"]

_watches: Final[WeakSet[Watch]] = WeakSet()


class Watch:
    """What :func:`watch` began. ``stop`` ends it; what was collected by then is not forgotten."""

    def __init__(
        self,
        target: Any,
        cache: PageCache,
        classes: Mapping[type, Iterable[str]],
        unseen: Unseen,
        joined: Joined,
        outbox: bool,
    ) -> None:
        self.ledger = Ledger(cache)
        self._outbox = outbox
        self.catalogue = Catalogue(classes)
        self.catalogue.gather()
        self._guard = Guard(self.catalogue, self.ledger, unseen)
        self._flushes = Flushes(self.catalogue, self.ledger, self._guard.stranger)
        self._joined = joined
        self._lock = Lock()
        self._heard: list[tuple[Any, str, Callable[..., Any]]] = []
        self._sessions = _listened(target)
        self._listen()

    def stop(self) -> None:
        """Listen no more. May be called twice."""
        _watches.discard(self)
        with self._lock:
            heard, self._heard = self._heard, []
        for target, name, listener in heard:
            event.remove(target, name, listener)

    def watches(self, session: Session) -> bool:
        """Whether this session is one of those."""
        if isinstance(self._sessions, Session):
            return session is self._sessions
        return isinstance(session, self._sessions)

    def _listen(self) -> None:
        for name, listener in (
            ("after_begin", self._after_begin),
            ("after_transaction_create", self._after_transaction_create),
            ("after_transaction_end", self._after_transaction_end),
            ("before_flush", self._flushes.before_flush),
            ("after_flush", self._flushes.after_flush),
            ("do_orm_execute", self._do_orm_execute),
        ):
            self._hear(self._sessions, name, listener)
        self._hear(self._sessions, "before_commit", self._refuse_joined)
        self._hear(self._sessions, "after_commit", self._after_commit, insert=True)
        if self._outbox:
            self._hear(self._sessions, "before_commit", self._before_commit)
        # Of all engines, now: to add listeners to one that others use at this moment is not safe.
        self._hear(Engine, "commit", self.ledger.sends_commit)
        self._hear(Engine, "commit_twophase", self._sends_commit_twophase)
        self._hear(Engine, "before_cursor_execute", self._guard.before_cursor_execute)
        self._hear(Mapper, "before_update", self._flushes.before_update)
        self._hear(Mapper, "before_delete", self._flushes.before_delete)
        self._hear(Mapper, "after_configured", self.catalogue.gather)
        _watches.add(self)

    def _hear(self, target: Any, name: str, listener: Callable[..., Any], **how: Any) -> None:
        event.listen(target, name, listener, **how)
        self._heard.append((target, name, listener))

    def _after_begin(
        self, session: Session, transaction: SessionTransaction, connection: Connection
    ) -> None:
        configure_mappers()  # a process may write by statement before it has loaded any object
        self._guard.engines.add(connection.engine)
        self.ledger.joins(session, transaction, connection)

    def _sends_commit_twophase(self, connection: Connection, *_: object) -> None:
        self.ledger.sends_commit(connection)

    def _after_transaction_create(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.origin is SessionTransactionOrigin.SUBTRANSACTION:
            book = self.ledger.book(session)
            book.inside = book.inside or transaction

    def _before_commit(self, session: Session) -> None:
        """Write what is known after a last flush into each database that is written to: nobody
        knows which of them a name belongs to.
        """
        if session.get_nested_transaction() is not None or session.get_transaction() is None:
            return
        session.flush()
        level = self.ledger.root(session)
        for connection in level.connections if level.names else ():
            ids = outbox.write(connection, self.ledger.site, level.names)
            level.rows.append((connection.engine, ids))

    def _refuse_joined(self, session: Session) -> None:
        """Refuse while it can still be rolled back: after the commit the session could not."""
        if session.get_nested_transaction() is not None or session.get_transaction() is None:
            return
        level = self.ledger.root(session)
        if self._joined == "raise" and (level.joined or isinstance(session.bind, Connection)):
            session.flush()
            self._receivers(level.joined if level.names else ())

    def _after_commit(self, session: Session) -> None:
        savepoint = session.get_nested_transaction()
        if savepoint is not None:
            self.ledger.released(session, savepoint)
            return
        transaction = session.get_transaction()
        level = None if transaction is None else self.ledger.take(session, transaction)
        if level is None or not level.names:
            return
        if level.joined and self._joined == "raise":
            for outer in self._receivers(level.joined):
                outer.add(*level.names)
            if not level.begun:
                return  # the commit was none: the transaction goes on
        if self.ledger.forget(level.names, level.connections):
            self.ledger.book(session).applied = level.rows

    def _receivers(self, joined: Iterable[Connection]) -> list[Pending]:
        """Those who began the transactions of these connections, and forget in this cache."""
        outer = [said_for(connection) for connection in joined]
        found = [each for each in outer if each is not None and each.cache is self.ledger.cache]
        if len(found) == len(outer):
            return found
        raise UnseenWriteError(
            "this session joined a transaction that its connection had begun, and nobody would "
            "forget its pages when that is committed. Begin it with forgetting(engine, cache); in "
            'tests that roll everything back, watch(…, joined="commit")'
        )

    def _after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        book = self.ledger.book(session)
        if book.inside is transaction or transaction.parent is None:
            book.inside = book.flush = None
        if transaction.parent is None:
            # Its connections are back in their pools: the rows can be deleted with a pool of one.
            applied, book.applied = book.applied, []
            for engine, ids in applied:
                outbox.settle(engine, ids)
        level = self.ledger.take(session, transaction)
        if level is not None and transaction.parent is None and (level.begun or level.durable):
            log.warning(
                "a transaction ended without an acknowledged commit, though some of it may count: "
                "its %d namespaces are forgotten all the same",
                len(level.names),
            )
            self.ledger.forget(level.names, level.connections)

    def _do_orm_execute(self, state: ORMExecuteState) -> Result[Any] | None:
        """Run a write of declared rows so that its rows are known; None for everything else."""
        statement = state.statement
        if state.is_select or not isinstance(statement, (Update, Delete, Insert)):
            return None
        if state.execution_options.get(OPTION) is not None or not isinstance(
            statement.table, Table
        ):
            return None  # the guard judges an alias
        configure_mappers()
        kinds = self.catalogue.of_table(statement.table)
        if not kinds:
            return None
        if _flushes_first(state):
            state.session.flush()
        if isinstance(statement, Insert):
            return insert(self.ledger, state, statement, kinds)
        if isinstance(statement, Delete):
            self._guard.deletes(statement.table)
        return change(self.ledger, state, statement, kinds)


def watch(
    target: Any,
    cache: PageCache,
    *,
    classes: Mapping[type, Iterable[str]] | None = None,
    unseen: Unseen = "warn",
    joined: Joined = "raise",
    outbox: bool = False,
) -> Watch:
    """Forget what these sessions write, after their outermost commit and before it returns.

    target: a class of sessions, a ``sessionmaker``, a ``scoped_session``, their async forms, or one
    session. Call it once, before sessions are made. classes: declarations for mapped classes that
    have none of their own. unseen: what to do about a write to a declared table that cannot be
    covered. joined: what the commit of a session is that joined a transaction of its connection:
    none (the names go to :func:`forgetting`, or ``UnseenWriteError`` is raised), or a ``"commit"``.

    Raises ``ConfigError`` for a wrong declaration: here for classes that are configured, and when
    they are configured for others. Raises ``TypeError`` for another target.
    """
    for name, value, allowed in (
        ("unseen", unseen, ("warn", "raise", "allow")),
        ("joined", joined, ("raise", "commit")),
    ):
        if value not in allowed:
            raise ConfigError(
                f"{value!r} is none of {', '.join(allowed)}",
                "Take one of them",
                field=name,
                where="watch()",
            )
    return Watch(target, cache, classes or {}, unseen, joined, outbox)


def pending(target: Any) -> Pending:
    """Where to say what the transaction of a session, or of :func:`forgetting`, forgets.

    Raises ``TypeError`` for what is neither, and ``LookupError`` for one that nobody watches.
    """
    if isinstance(target, (async_scoped_session, scoped_session)):
        target = target()
    if isinstance(target, (AsyncSession, AsyncConnection)):
        target = target.sync_session if isinstance(target, AsyncSession) else target.sync_connection
    if isinstance(target, Connection):
        found = said_for(target)
        if found is not None:
            return found
        sessions = [watch.ledger.session_of(target) for watch in list(_watches)]
        target = next((session for session in sessions if session is not None), target)
    if isinstance(target, Session):
        session = target
        ledgers = [watch.ledger for watch in list(_watches) if watch.watches(session)]
        if ledgers:
            return Pending(lambda names: _add(ledgers, session, names))
    elif not isinstance(target, Connection):
        raise TypeError(f"{target!r} is no session and no connection")
    raise LookupError(f"nobody watches {target!r}: watch(…) its class, or use forgetting(…)")


def _flushes_first(state: ORMExecuteState) -> bool:
    """Whether SQLAlchemy would flush before this statement. That a flush runs is nowhere public:
    a listener of one may send statements.
    """
    asked = state.session.autoflush and state.execution_options.get("autoflush", True)
    return bool(asked) and not state.session._flushing


def _add(ledgers: Iterable[Ledger], session: Session, names: Iterable[str]) -> None:
    for ledger in ledgers:
        ledger.add(session, names)


def _listened(target: Any) -> type[Session] | Session:
    """What SQLAlchemy's events listen on for this target."""
    if isinstance(target, (scoped_session, async_scoped_session)):
        target = target.session_factory
    if isinstance(target, AsyncSession):
        return target.sync_session
    if isinstance(target, async_sessionmaker):
        return _own_class(target)
    if isinstance(target, type) and issubclass(target, AsyncSession):
        return target.sync_session_class
    if isinstance(target, sessionmaker):
        return target.class_
    if isinstance(target, Session):
        return target
    if isinstance(target, type) and issubclass(target, Session):
        return target
    raise TypeError(f"{target!r} is no session, no class of sessions and no maker of them")


def _own_class(maker: async_sessionmaker[Any]) -> type[Session]:
    """Give an async maker a class of sync sessions of its own, for others must not be watched."""
    base = maker.kw.get("sync_session_class") or maker.class_.sync_session_class
    own = type(base.__name__, (base,), {})
    maker.configure(sync_session_class=own)
    return own
