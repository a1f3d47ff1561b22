"""Rows that a flush inserts, updates and deletes: where they were, and where they are then.

Rules of this file:

1. Where a row was is read from the database, and locked, before the flush writes: an attribute's
   history tells what was loaded once. A row whose names come from its key alone needs no reading.
2. Where it is then is where it was, with what the flush has set in it. What only the database
   knows by then (defaults, expressions) is read after the flush.
3. A row of a secondary table belongs to the rows at both of its ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from sqlalchemy import Table, inspect
from sqlalchemy.engine import Connection
from sqlalchemy.orm import InstanceState, Mapper, Session, object_session

from .declarations import Catalogue, Kind
from .ledger import Ledger
from .rows import Identity, Row, fetch, seize


class Flush:
    """One flush. ``context``: SQLAlchemy's own, with the transaction in which it writes; ``done``:
    whether it has written; ``before``: rows as they were; ``changed``: attributes that it sets, by
    object; ``gone``: objects that it deletes.
    """

    def __init__(self, context: Any) -> None:
        self.context = context
        self.done = False
        self.changed: dict[int, set[str]] = {}
        self.before: dict[tuple[Kind, Identity], Row] = {}
        self.gone: dict[int, object] = {}


class Flushes:
    """Listens to the flushes of watched sessions."""

    def __init__(
        self, catalogue: Catalogue, ledger: Ledger, refuse: Callable[[Mapper[Any]], None]
    ) -> None:
        self._catalogue = catalogue
        self._ledger = ledger
        self._refuse = refuse

    def before_flush(self, session: Session, context: Any, *_: object) -> None:
        """Read and lock what is known to be written."""
        flush = self._ledger.book(session).flush = Flush(context)
        wanted: dict[Kind, list[Identity]] = {}
        for target in session.deleted:
            flush.gone[id(target)] = target
        for target in session.new:
            self._written(target)
        for target in (*session.deleted, *filter(session.is_modified, session.dirty)):
            state, kind = self._written(target)
            if kind is not None and state.key is not None:
                wanted.setdefault(kind, []).append(state.key[1])
        # In one order for all sessions: otherwise two of them may wait for each other's rows.
        for kind, identities in sorted(wanted.items(), key=_table_first):
            bound: dict[str, Any] = {"mapper": kind.mapper}
            connection = session.connection(bind_arguments=bound) if kind.mutable else None
            self._read(flush, connection, kind, identities)

    def before_update(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        """A row is about to be updated: by a cascade, if it is not known yet."""
        flush, session = self._flush_of(target), object_session(target)
        if flush is None or session is None:
            return
        if session.is_modified(target, include_collections=False):
            self._meet(flush, connection, target)
            state, kind = self._seen(target)
            if kind is not None:  # an expression leaves no history behind
                flush.changed[id(target)] = _set_in(state, kind)

    def _meet(self, flush: Flush, connection: Connection, target: object) -> None:
        state, kind = self._written(target)
        if kind is not None and state.key is not None:
            self._read(flush, connection, kind, [state.key[1]])

    def before_delete(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        """A row is about to go: an orphan, if it is not known yet."""
        flush = self._flush_of(target)
        if flush is not None:
            flush.gone[id(target)] = target
            self._meet(flush, connection, target)

    def after_flush(self, session: Session, *_: object) -> None:
        """Collect the names. Raises ``NamespaceError`` for a value that names nothing, which undoes
        the flush.
        """
        book = self._ledger.book(session)
        flush = book.flush
        if flush is None:
            return
        flush.done = True
        names = [name for (kind, _), row in flush.before.items() for name in kind.old_names(row)]
        for target in (*session.new, *session.dirty):
            state, kind = self._seen(target)
            if kind is not None and id(target) not in flush.gone:
                names += self._now(session, flush, kind, state)
        names += self._linked(session, flush)
        self._ledger.wrote(session, names)

    def _flush_of(self, target: object) -> Flush | None:
        session = object_session(target)
        if session is None or self._ledger not in session.info:
            return None
        flush: Flush | None = self._ledger.book(session).flush
        return flush

    def _seen(self, target: object) -> tuple[InstanceState[Any], Kind | None]:
        state: InstanceState[Any] = inspect(target)
        return state, self._catalogue.of(state.mapper)

    def _written(self, target: object) -> tuple[InstanceState[Any], Kind | None]:
        state, kind = self._seen(target)
        if kind is None:
            self._refuse(state.mapper)
        return state, kind

    def _read(
        self, flush: Flush, connection: Connection | None, kind: Kind, identities: list[Identity]
    ) -> None:
        missing = [identity for identity in identities if (kind, identity) not in flush.before]
        if not kind.mutable or connection is None:
            for identity in missing:
                flush.before[kind, identity] = dict(zip(kind.key, identity, strict=True))
        elif missing:
            seize(connection, cast("Table", kind.mapper.primary_key[0].table))
            for identity, row in fetch(connection, kind, missing, lock=True).items():
                flush.before[kind, identity] = row

    def _now(
        self, session: Session, flush: Flush, kind: Kind, state: InstanceState[Any]
    ) -> Sequence[str]:
        """The names of a row that was written, and that is still there."""
        before = None if state.key is None else flush.before.get((kind, state.key[1]))
        changed = _set_in(state, kind) | flush.changed.get(id(state.obj()), set())
        if state.key is not None and before is None and not changed:
            return ()
        values = state.dict
        row = {name: values[name] for name in kind.columns if name in values}
        if before is not None:
            row.update({name: before[name] for name in kind.columns if name not in changed})
        if all(name in row and (name not in changed or name in values) for name in kind.columns):
            return kind.names(row)
        return self._names_of(session, kind, [self._identity(kind, state)])

    def _identity(self, kind: Kind, state: InstanceState[Any]) -> Identity:
        """The key of the row as it is now, which the object does not carry yet."""
        old = dict(zip(kind.key, state.key[1], strict=True)) if state.key is not None else {}
        return tuple(state.dict.get(name, old.get(name)) for name in kind.key)

    def _names_of(self, session: Session, kind: Kind, identities: list[Identity]) -> list[str]:
        connection = session.connection(bind_arguments={"mapper": kind.mapper})
        found = fetch(connection, kind, identities, lock=True)
        return [name for row in found.values() for name in kind.names(row)]

    def _linked(self, session: Session, flush: Flush) -> list[str]:
        """Both ends of all rows of secondary tables that came or went."""
        ends: dict[Kind, dict[Identity, None]] = {}
        objects = {id(target): target for target in (*session.new, *session.dirty)}
        for target in (objects | flush.gone).values():
            for end in self._ends(target, id(target) in flush.gone):
                state, kind = self._seen(end)
                if kind is not None and id(end) not in flush.gone:
                    ends.setdefault(kind, {})[self._identity(kind, state)] = None
        names: list[str] = []
        for kind, identities in ends.items():
            if kind.mutable:
                names += self._names_of(session, kind, list(identities))
            else:
                for identity in identities:
                    names += kind.names(dict(zip(kind.key, identity, strict=True)))
        return names

    def _ends(self, target: object, gone: bool) -> Iterator[object]:
        state: InstanceState[Any] = inspect(target)
        for relationship in self._catalogue.links(state.mapper):
            history = state.attrs[relationship.key].history
            others: Iterable[Any] = (*(history.added or ()), *(history.deleted or ()))
            if gone:
                others = (*others, *(history.unchanged or ()))
            others = [other for other in others if other is not None]
            if others:
                yield target
                yield from others


def _table_first(wanted: tuple[Kind, object]) -> tuple[str, str]:
    mapper = wanted[0].mapper
    return str(mapper.primary_key[0].table), mapper.class_.__qualname__


def _set_in(state: InstanceState[Any], kind: Kind) -> set[str]:
    """Attributes whose value in the database is, or will be, another than before the flush."""
    return {
        name
        for name in kind.columns
        if state.key is None or name in kind.live or state.attrs[name].history.has_changes()
    }
