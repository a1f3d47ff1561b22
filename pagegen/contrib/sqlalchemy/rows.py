"""What the database itself says of rows: loaded objects may be behind it.

An object that was loaded a moment ago may have been moved by another process since. Only a row that
is read *and locked* tells where it is when it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, false, or_, select, text, tuple_, update
from sqlalchemy.engine import Connection, Dialect

from .declarations import Kind

#: Rows of one SELECT. SQLite takes 32,766 values in a statement, PostgreSQL 65,535.
ROWS: Final = 1_000
#: The same where a key has several columns: PostgreSQL's work grows with the square of the list.
COMPOSED: Final = 250

#: The execution option of a statement that ours must share: which tables it is about.
_SCHEMAS: Final = "schema_translate_map"
NO_OPTIONS: Final[Mapping[str, Any]] = {}

Identity = tuple[Any, ...]
Row = dict[str, object]


def shared(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a statement's execution options those with which its rows are read."""
    return {_SCHEMAS: options[_SCHEMAS]} if _SCHEMAS in options else NO_OPTIONS


def fetch(
    connection: Connection,
    kind: Kind,
    identities: Iterable[Identity],
    *,
    lock: bool,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> dict[Identity, Row]:
    """Key and declared attributes of these rows, as the database has them now.

    ``lock``: nobody else changes them until the transaction ends. Rows that are not there are left
    out.
    """
    found: dict[Identity, Row] = {}
    columns = [column.label(name) for name, column in kind.columns.items()]
    key = [kind.columns[name] for name in kind.key]
    for some in _portions(dict.fromkeys(identities)):
        query = select(*columns).select_from(kind.mapper.persist_selectable)
        query = query.where(among(key, some, connection.dialect)).order_by(*key)
        if lock:
            query = query.with_for_update(key_share=True)
        for row in connection.execute(query, execution_options=options).mappings():
            found[tuple(row[name] for name in kind.key)] = dict(row)
    return found


def among(
    key: Sequence[ColumnElement[Any]], identities: Sequence[Identity], dialect: Dialect
) -> ColumnElement[bool]:
    """That a row is one of these."""
    if len(key) == 1:
        return key[0].in_([identity[0] for identity in identities])
    if dialect.name != "mssql":
        return tuple_(*key).in_(identities)
    # The one that has no row values. Elsewhere the work of such a list grows with its square.
    return or_(
        false(),
        *(and_(*(c == v for c, v in zip(key, identity, strict=True))) for identity in identities),
    )


def seize(connection: Connection, table: Table, options: Mapping[str, Any] = NO_OPTIONS) -> None:
    """On SQLite, be the only writer from now on: it has no locks on rows, and its driver begins no
    transaction before the first write. So nothing changes between our SELECT and that write.
    """
    if connection.dialect.name != "sqlite":
        return
    first = next(iter(table.primary_key.columns or table.columns))
    # Columns with an `onupdate` are named, so that no default of the application is called.
    columns = [first, *(column for column in table.columns if column.onupdate is not None)]
    statement = update(table).where(text("0")).values({column: column for column in columns})
    connection.execute(statement, execution_options={**options, "pagegen_names": ()})


def _portions(identities: Iterable[Identity]) -> Iterator[list[Identity]]:
    every = list(identities)
    with suppress(TypeError):  # so that two transactions lock the same rows in the same order
        every.sort()
    size = COMPOSED if any(len(identity) > 1 for identity in every[:1]) else ROWS
    for first in range(0, len(every), size):
        yield every[first : first + size]
