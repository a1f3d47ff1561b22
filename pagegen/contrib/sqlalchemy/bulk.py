"""UPDATE and DELETE of many rows by a session: ``session.execute(update(Item)…)`` and the like.

Rules of this file:

1. A SELECT of the same rows comes first and locks them, and the statement is then held to these
   rows by their keys. So what is written is what was seen, whoever writes at the same time, and
   what the caller gets (``rowcount``, the rows of its own RETURNING) is untouched.
2. Where the rows are afterwards is read once more, if they may have moved.
3. What cannot be told is refused before it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from sqlalchemy import ARRAY, ColumnElement, Delete, Table, Update, any_, literal, select
from sqlalchemy.engine import Connection, Result
from sqlalchemy.orm import ORMExecuteState

from .declarations import Kind
from .guard import OPTION, UnseenWriteError
from .ledger import Ledger
from .rows import NO_OPTIONS, ROWS, Identity, among, fetch, seize, shared

#: Rows that a statement is held to by listing their keys one by one: as many values fit everywhere.
LISTED: Final = 10_000

SAY: Final = f"Say what it forgets with execution_options={{{OPTION!r}: ['item:7']}}"


def change(
    ledger: Ledger, state: ORMExecuteState, statement: Update | Delete, kinds: Sequence[Kind]
) -> Result[Any]:
    """Run the statement, and collect the names of its rows. Raises :class:`UnseenWriteError`."""
    session, table = state.session, cast("Table", statement.table)
    sets = {meant for name in _sets(state, statement) for k in kinds for meant in _meant(k, name)}
    options = shared(state.execution_options)
    if sets & {name for kind in kinds for name in kind.key}:
        raise UnseenWriteError(f"an UPDATE gives rows of {table.name} other keys. {SAY}")
    connection = session.connection(bind_arguments=dict(state.bind_arguments))
    seize(connection, table, options)
    key = _key(table, kinds)
    met = _matched(connection, state, statement, key, kinds, options)
    identities = list(dict.fromkeys(met))
    names = names_of(connection, kinds, identities, lock=True, options=options)
    with ledger.covering(session):
        result = state.invoke_statement(_held(connection, state, statement, key, identities))
    # Sets of parameters on SQLite, where nobody else writes, may meet what an earlier one has made.
    counts = not (state.is_executemany and connection.dialect.name == "sqlite")
    if counts and getattr(result, "rowcount", -1) > len(met):
        raise UnseenWriteError(
            f"somebody else wrote rows of {table.name} at the same time. Roll back and try again"
        )
    moved = [kind for kind in kinds if kind.declared.moves(sets | kind.live)]
    if isinstance(statement, Update):
        names += names_of(connection, moved, identities, lock=False, options=options)
    ledger.wrote(session, names)
    return result


def names_of(
    connection: Connection,
    kinds: Sequence[Kind],
    identities: Sequence[Identity],
    *,
    lock: bool,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> list[str]:
    """All names of these rows, as they are now. ``lock``: before they are written."""
    names: list[str] = []
    for kind in kinds:
        if kind.mutable:
            rows = list(fetch(connection, kind, identities, lock=lock, options=options).values())
        else:
            rows = [dict(zip(kind.key, identity, strict=True)) for identity in identities]
        told = kind.old_names if lock else kind.names
        names += [name for row in rows for name in told(row)]
    return names


def _key(table: Table, kinds: Sequence[Kind]) -> list[ColumnElement[Any]]:
    """The columns of this table that tell its rows, in the order of the classes' keys."""
    for kind in kinds:
        own = [column for column in kind.mapper.primary_key if column.table is table]
        if own:
            return list(own)
    return list(table.primary_key)


def _matched(
    connection: Connection,
    state: ORMExecuteState,
    statement: Update | Delete,
    key: Sequence[ColumnElement[Any]],
    kinds: Sequence[Kind],
    options: Mapping[str, Any],
) -> list[Identity]:
    """The rows that the statement is about, locked; once for each set of parameters that meets
    them.
    """
    sets = _parameter_sets(state)
    if _by_key(state, statement):
        return [tuple(given[name] for name in kinds[0].key) for given in sets]
    query = select(*key).order_by(*key).with_for_update(of=statement.table, key_share=True)
    if statement.whereclause is not None:
        query = query.where(statement.whereclause)
    found: list[Identity] = []
    for given in sets or [{}]:
        rows = connection.execute(query, given, execution_options=options)
        found += dict.fromkeys(tuple(row) for row in rows)
    return found


def _by_key(state: ORMExecuteState, statement: Update | Delete) -> bool:
    """Whether it is an ORM UPDATE whose rows are told by the keys in its parameters."""
    by_key = state.is_orm_statement and statement.whereclause is None
    several = state.is_executemany and bool(state.parameters)
    return by_key and isinstance(statement, Update) and several


def _parameter_sets(state: ORMExecuteState) -> list[Any]:
    given = state.parameters
    if not given:
        return []
    return [given] if isinstance(given, dict) else list(given)


def _sets(state: ORMExecuteState, statement: Update | Delete) -> set[str]:
    """The attributes or columns that an UPDATE sets: its values are nowhere public."""
    if isinstance(statement, Delete):
        return set()
    # Two versions keep them in two places.
    ordered = getattr(statement, "_ordered_values", None) or ()
    values = [*(statement._values or ()), *(name for name, _ in ordered)]
    names = {getattr(value, "key", value) for value in values}
    given = {name for some in _parameter_sets(state) for name in some}
    if _by_key(state, statement) and state.bind_mapper is not None:
        mapper = state.bind_mapper
        given -= {mapper.get_property_by_column(column).key for column in mapper.primary_key}
    return names | given


def _meant(kind: Kind, name: str) -> set[str]:
    """The attributes that a statement sets by this name, of an attribute or a column. Another one,
    such as a composite among parameters, may mean any that is no key; values are resolved already.
    """
    found = {
        prop.key
        for prop in kind.mapper.column_attrs
        if name == prop.key or any(name == column.key for column in prop.columns)
    }
    return found or set(kind.declared.attributes) - set(kind.key)


def _held(
    connection: Connection,
    state: ORMExecuteState,
    statement: Update | Delete,
    key: Sequence[ColumnElement[Any]],
    identities: Sequence[Identity],
) -> Update | Delete:
    """The statement, for these rows and no others. SQLite needs none of that: nobody else writes.

    One that runs once for each set of parameters cannot be held; its count is compared.
    """
    if state.is_executemany or connection.dialect.name == "sqlite":
        return statement
    own = _own(state, key)
    # PostgreSQL's stack is no deeper than some thousands of keys of several columns.
    if len(identities) <= (LISTED if len(key) == 1 else ROWS):
        return statement.where(among(own, identities, connection.dialect))
    if len(key) == 1 and connection.dialect.name == "postgresql":
        values = literal([identity[0] for identity in identities], ARRAY(key[0].type))
        return statement.where(own[0] == any_(values))
    return statement


def _own(state: ORMExecuteState, key: Sequence[ColumnElement[Any]]) -> Sequence[ColumnElement[Any]]:
    """The key as the class has it, where there is one: the session evaluates it on objects."""
    mapper = state.bind_mapper if state.is_orm_statement else None
    if mapper is None:
        return key
    names = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    return [getattr(mapper.class_, name) for name in names]
