"""What Django's own INSERT, UPDATE and DELETE change, seen where all of them come by.

Every write of the ORM ends in ``execute_sql`` of one of three compilers: ``save()`` and
``delete()``, cascades with their SET_NULL, ``update()``, the ``bulk_`` methods, ``_raw_delete()``,
many-to-many managers, ``loaddata``, and the asynchronous twins of them. So these three methods are
wrapped, once. Signals would miss most of that; a queryset class of ours would miss what uses
another.

Rules of this file:

1. The rows before a write are read from the database, locked, in the transaction that writes. What
   an instance was loaded with may be old: another process may have moved the row meanwhile.
2. Only those rows are written that were read. (Where a database locks rows; SQLite locks all.)
3. What the rows are afterwards is computed where the values are plain, and read where they are not.
4. Nothing is read where a namespace depends on nothing but the primary key that the write names,
   and that is a number or a UUID: texts and decimals find rows that are spelled otherwise.
5. A statement outside of transactions may stand though its answer was lost: it is forgotten, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.db.models.sql import compiler as compilers
from django.db.models.sql.constants import CURSOR, NO_RESULTS

from .changes import Change, Lock, Row, keys_named, spelled
from .guard import accounted
from .inserts import insert
from .plans import Plan, is_plain, plan

_MARK: Final = "_pagegen_watches"


def install() -> None:
    """Wrap the three compilers, for all databases of this process. May be called again."""
    for kind, watch in (
        (compilers.SQLInsertCompiler, insert),
        (compilers.SQLUpdateCompiler, _update),
        (compilers.SQLDeleteCompiler, _delete),
    ):
        if not hasattr(kind.execute_sql, _MARK):
            kind.execute_sql = watched(kind.execute_sql, watch)


def watched(execute: Callable[..., Any], watch: Callable[..., Any]) -> Callable[..., Any]:
    """A compiler's ``execute_sql`` that has writes to declared tables watched.

    For a database backend whose compilers bring an ``execute_sql`` of their own, too.
    """

    @wraps(execute)
    def execute_sql(self: Any, *args: Any, **kwargs: Any) -> Any:
        concerned = plan(self.query.model) if self.query.model is not None else None
        if not concerned:
            return execute(self, *args, **kwargs)

        def run() -> Any:
            with accounted():
                return execute(self, *args, **kwargs)

        return watch(self, concerned, run, *args, **kwargs)

    setattr(execute_sql, _MARK, True)
    return execute_sql


def _update(compiler: Any, plan: Plan, run: Callable[[], Any], result_type: Any) -> Any:
    query = compiler.query
    change = Change(plan, query.model, compiler.using)
    written = {field: value for field, _, value in query.values}
    if not written:  # of its parents' tables only, which come by themselves
        return run()
    keys = keys_named(query)
    if keys is not None and change.by_key and change.pk not in written:
        return _by_key(change, keys, run, result_type)
    with change.transaction():
        rows = change.read(query, keys=change.pk in written)
        if rows is None or hasattr(written.get(change.pk), "resolve_expression"):
            change.everything()
            result = run()
        else:
            change.see(rows, lock=Lock.WRITTEN)
            _narrow(change, query, keys, rows)
            result = run()
            _see_after(change, rows, written)
        change.forget()
    return result


def _delete(compiler: Any, plan: Plan, run: Callable[[], Any], result_type: Any) -> Any:
    query = compiler.query
    change = Change(plan, query.model, compiler.using)
    keys = keys_named(query)
    if keys is not None and change.by_key:
        return _by_key(change, keys, run, result_type)
    with change.transaction():
        rows = change.read(query, keys=True)
        if rows is None:
            change.everything()
        elif not rows:
            return None if result_type == CURSOR else 0
        else:
            change.see(rows, lock=Lock.WRITTEN)
            _narrow(change, query, keys, rows)
        result = run()
        change.forget()
    return result


def _by_key(change: Change, keys: list[object], run: Callable[[], Any], result_type: Any) -> Any:
    """A write to rows whose names are known by their keys: nothing is read."""
    change.see_own([{change.pk.attname: spelled(change.pk, key)} for key in keys])
    with change.transaction(needed=False):
        result = run()
        if result == 0 and result_type != NO_RESULTS:
            change.nothing()
        change.forget()
    return result


def _narrow(change: Change, query: Any, keys: list[object] | None, rows: list[Row]) -> None:
    """Write those rows only that were read: others may have come to meet the condition since."""
    all_there = keys is not None and len(rows) == len(keys)
    if not all_there and change.connection.features.has_select_for_update:
        query.add_filter("pk__in", [row[change.pk.attname] for row in rows])


def _see_after(change: Change, rows: list[Row], written: dict[Any, Any]) -> None:
    """The names that rows have when they are written."""
    keys = [row[change.pk.attname] for row in rows]
    if change.pk in written:
        keys = [_plain(change.pk, written[change.pk])]
    columns = change.plan.columns
    touched = [field for field in columns if field in written]
    unknown = [field for field in columns if getattr(field, "generated", False)]
    unknown += [
        field
        for field in touched
        if not is_plain(field) or hasattr(written[field], "resolve_expression")
    ]
    moved = set(written)
    if unknown:
        change.see(change.read_by(change.pk, keys), lock=Lock.WRITTEN)
    elif touched:
        new = {field.attname: _plain(field, written[field]) for field in touched}
        change.see_own([{**row, **new} for row in rows])
        change.see_ends([{**row, **new} for row in rows], lock=Lock.WRITTEN)
        # A full save() writes every column; most are as they were.
        moved -= {f for f in touched if all(row[f.attname] == new[f.attname] for row in rows)}
    below = {field for watched in change.plan.below for field in watched.fields.values()}
    if not below.isdisjoint(moved) or change.pk in written:
        change.see_below(keys)


def _plain(field: Any, value: Any) -> object:
    if hasattr(value, "prepare_database_save"):
        value = value.prepare_database_save(field)
    return spelled(field, value)
