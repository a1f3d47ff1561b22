"""INSERT of many rows by a session: ``session.execute(insert(Item), rows)`` and the like.

Whose rows they are is told, in this order:

1. by the values they are given, where these hold all that templates refer to;
2. by the caller's own RETURNING, where it returns the key or the objects;
3. by the key that the database answers to a single row;
4. by a RETURNING of ours. The caller gets a result without rows then.

One that may update a row instead (the dialects' ``insert().on_conflict_…``) has to be known by its
key alone: where such a row was before, nobody can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ClauseElement, Insert
from sqlalchemy.engine import Result
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import ORMExecuteState

from .bulk import SAY, names_of
from .declarations import Kind
from .guard import UnseenWriteError
from .ledger import Ledger
from .rows import Identity, shared

#: What the INSERT of a dialect can be told: PostgreSQL and SQLite, MySQL and MariaDB.
UPSERTS: Final = ("on_conflict_do_update", "on_duplicate_key_update")


def insert(
    ledger: Ledger, state: ORMExecuteState, statement: Insert, kinds: Sequence[Kind]
) -> Result[Any]:
    """Run the statement, and collect the names of its rows. Raises :class:`UnseenWriteError`."""
    if _may_update(statement) and any(kind.mutable for kind in kinds):
        raise UnseenWriteError(
            f"an INSERT into {statement.table!s} that may update a row instead does not tell "
            f"where that row was. {SAY}"
        )
    known = _by_values(state, statement, kinds)
    if known is not None:
        result = _run(ledger, state, statement)
        ledger.wrote(state.session, known)
        return result
    result, identities = _answered(ledger, state, statement, kinds)
    connection = state.session.connection(bind_arguments=dict(state.bind_arguments))
    options = shared(state.execution_options)
    names = names_of(connection, kinds, identities, lock=False, options=options)
    ledger.wrote(state.session, names)
    return result


def _may_update(statement: Insert) -> bool:
    """Whether it is one of those dialects' own that can update a row that is there, or one that
    replaces it, as SQLite's prefix ``OR REPLACE`` says.
    """
    replaces = any("REPLACE" in str(prefix).upper() for prefix, _ in statement._prefixes)
    return replaces or any(hasattr(statement, name) for name in UPSERTS)


def _run(ledger: Ledger, state: ORMExecuteState, statement: Insert) -> Result[Any]:
    with ledger.covering(state.session):
        return state.invoke_statement(statement)


def _by_values(
    state: ORMExecuteState, statement: Insert, kinds: Sequence[Kind]
) -> list[str] | None:
    """The names, if the parameters say all; they name attributes or columns."""
    given = state.parameters
    if not given or _may_update(statement):
        return None
    names: list[str] = []
    for values in [given] if isinstance(given, Mapping) else given:
        for kind in kinds:
            row = {}
            for name in kind.declared.attributes:
                value = values.get(name, values.get(kind.columns[name].key))
                if value is None or isinstance(value, ClauseElement):
                    return None
                row[name] = value
            names += kind.names(row)
    return names


def _answered(
    ledger: Ledger, state: ORMExecuteState, statement: Insert, kinds: Sequence[Kind]
) -> tuple[Result[Any], list[Identity]]:
    """Run it so that the keys of its rows come back."""
    kind, several = kinds[0], bool(state.parameters) and not isinstance(state.parameters, Mapping)
    returned = {column.key for column in statement.exported_columns}
    if returned:
        if not returned.issuperset(kind.key):
            raise _untold(statement)
        frozen = _run(ledger, state, statement).freeze()
        return frozen(), [_identity(kind, row) for row in frozen().all()]
    if not _may_update(statement) and not several and statement.select is None:
        result = _run(ledger, state, statement)
        if (identity := _inserted(result)) is not None:
            return result, [identity]
    dialect = state.session.get_bind(**state.bind_arguments).dialect
    if not dialect.insert_returning or (several and not dialect.insert_executemany_returning):
        raise _untold(statement)
    result = _run(ledger, state, statement.returning(*_key(state, statement, kind)))
    return result, [tuple(row) for row in result.all()]


def _inserted(result: Result[Any]) -> Identity | None:
    try:
        found = result.inserted_primary_key  # type: ignore[attr-defined]
    except (AttributeError, InvalidRequestError) as error:
        raise UnseenWriteError(
            "an INSERT … VALUES of several rows does not tell their keys. Roll back, and write "
            "session.execute(insert(Item), rows) instead"
        ) from error
    return None if found is None or None in found else tuple(found)


def _key(state: ORMExecuteState, statement: Insert, kind: Kind) -> list[Any]:
    mapper = state.bind_mapper if state.is_orm_statement else None
    if mapper is not None:
        return [getattr(mapper.class_, name) for name in kind.key]
    return list(statement.table.primary_key)


def _identity(kind: Kind, row: Any) -> Identity:
    """The key in a row of the caller's RETURNING: in an object, or in columns."""
    for value in row:
        if isinstance(value, kind.mapper.class_):
            return tuple(kind.mapper.primary_key_from_instance(value))
    return tuple(row._mapping[name] for name in kind.key)


def _untold(statement: Insert) -> UnseenWriteError:
    return UnseenWriteError(
        f"an INSERT into {statement.table!s} does not tell the keys of its rows. Give them their "
        f"keys, or return them. {SAY}"
    )
