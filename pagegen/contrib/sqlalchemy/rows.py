"""What the database itself says of rows: loaded objects may be behind it.

An object that was loaded a moment ago may have been moved by another process since. Only a row that
is read *and locked* tells where it is when it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, false, or_, select
from sqlalchemy.engine import Connection

from .declarations import Kind

#: Rows of one SELECT. SQLite takes 32,766 values in a statement, PostgreSQL 65,535.
ROWS: Final = 1_000

Identity = tuple[Any, ...]
Row = dict[str, object]


def fetch(
    connection: Connection, kind: Kind, identities: Iterable[Identity], *, lock: bool
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
        query = query.where(among(key, some)).order_by(*key)
        if lock:
            query = query.with_for_update(key_share=True)
        for row in connection.execute(query).mappings():
            found[tuple(row[name] for name in kind.key)] = dict(row)
    return found


def among(key: Sequence[ColumnElement[Any]], identities: Sequence[Identity]) -> ColumnElement[bool]:
    """That a row is one of these."""
    if len(key) == 1:
        return key[0].in_([identity[0] for identity in identities])
    return or_(
        false(),
        *(and_(*(c == v for c, v in zip(key, identity, strict=True))) for identity in identities),
    )


def seize(connection: Connection, table: Table) -> None:
    """On SQLite, be the only writer from now on: it has no locks on rows, and its driver begins no
    transaction before the first write. So nothing changes between our SELECT and that write.
    """
    if connection.dialect.name != "sqlite":
        return
    prepare = connection.dialect.identifier_preparer
    column = prepare.format_column(next(iter(table.primary_key.columns or table.columns)))
    statement = f"UPDATE {prepare.format_table(table)} SET {column} = {column} WHERE 0"  # noqa: S608
    connection.exec_driver_sql(statement, execution_options={"pagegen_names": ()})


def _portions(identities: Iterable[Identity]) -> Iterator[list[Identity]]:
    every = list(identities)
    for first in range(0, len(every), ROWS):
        yield every[first : first + ROWS]
