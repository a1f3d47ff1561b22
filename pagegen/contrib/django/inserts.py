"""INSERT, with what a conflict may make of it: new rows, or others that are there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db import models, transaction
from django.db.models.constants import OnConflict
from django.db.models.expressions import RawSQL

from .changes import CHUNK, MAX_ROWS, Change, Lock, Row, spelled
from .guard import accounted
from .plans import Plan, is_plain

#: Objects whose unique values stand in one condition, several for each.
_TOGETHER: Final = 50


def insert(compiler: Any, plan: Plan, run: Callable[[], Any], returning_fields: Any = None) -> Any:
    """Watch an INSERT. Raises ``UnseenWriteError`` before it, where its rows could not be known."""
    query = compiler.query
    change = Change(plan, query.model, compiler.using)
    if query.on_conflict is OnConflict.UPDATE:
        return _upsert(change, query, run)
    again = _to_read(change, query, returning_fields)
    if len(query.objs) > MAX_ROWS or again is None:
        change.everything()
        with change.transaction(needed=False):
            result = run()
            change.forget()
        return result
    texts = any(not isinstance(field, models.IntegerField) for field in plan.columns)
    with change.transaction(needed=again or texts or bool(plan.ends)):
        if plan.ends:  # before the insertion locks them for its foreign keys
            change.lock_table()
            change.see_ends(_values(change, query.objs), lock=Lock.KEPT)
        elif not change.connection.in_atomic_block:  # it may stand, and its answer be lost
            change.see_own(_values(change, query.objs))
        result = run()
        rows = _values(change, query.objs, returning_fields, result)
        if again:
            rows = change.read_by(change.pk, [row[change.pk.attname] for row in rows])
            change.see_ends(rows, lock=Lock.KEPT)
        change.see_own(rows)
        change.forget()
    return result


def _upsert(change: Change, query: Any, run: Callable[[], Any]) -> Any:
    """Rows that conflict are updated: what they were and what they are is read by unique values."""
    names = [getattr(field, "name", field) for field in query.unique_fields]
    unique = [change.model._meta.get_field(name) for name in names]
    if not unique or len(query.objs) > MAX_ROWS:
        change.everything()
        with change.transaction(needed=False):
            result = run()
            change.forget()
        return result
    with change.transaction():
        change.lock_table()
        if change.connection.vendor == "postgresql":
            result = _upsert_among_others(change, unique, query, run)
        else:  # nobody else writes now, or there are no unique fields to name
            _see_matching(change, unique, query.objs, Lock.WRITTEN)
            result = run()
            _see_matching(change, unique, query.objs, Lock.KEPT)
        change.forget()
    return result


class _OvertakenError(Exception):
    """An upsert has updated a row that was not there when it was looked for."""


def _upsert_among_others(
    change: Change, unique: Sequence[Any], query: Any, run: Callable[[], Any]
) -> Any:
    """An upsert where others may insert its rows after they were looked for.

    It is undone when they have, and what is missing is inserted first: then all rows are there to
    be locked and read. Not met is who deletes a row and inserts it again in just that moment.
    """
    try:
        with transaction.atomic(using=change.using):
            before = _see_matching(change, unique, query.objs, Lock.WRITTEN)
            result = run()
            after = _see_matching(change, unique, query.objs, Lock.KEPT)
            if _has_updated(change, after - before):
                raise _OvertakenError
    except _OvertakenError:
        change.nothing()
        _insert_missing(change, query)
        _see_matching(change, unique, query.objs, Lock.WRITTEN)
        result = run()
        _see_matching(change, unique, query.objs, Lock.KEPT)
    return result


def _insert_missing(change: Change, query: Any) -> None:
    missing = query.chain()
    missing.on_conflict, missing.update_fields, missing.unique_fields = OnConflict.IGNORE, (), ()
    with accounted(), change.connection.cursor() as cursor:
        for statement in missing.get_compiler(change.using).as_sql():
            cursor.execute(*statement)


def _see_matching(
    change: Change, unique: Sequence[Any], objs: Sequence[Any], lock: Lock
) -> set[object]:
    """See the rows with the unique values of these objects; their keys."""
    keys: set[object] = set()
    for start in range(0, len(objs), _TOGETHER):
        wanted = models.Q()
        for obj in objs[start : start + _TOGETHER]:
            wanted |= models.Q(**{field.attname: getattr(obj, field.attname) for field in unique})
        rows = change.read_where(wanted, lock=lock is Lock.WRITTEN)
        change.see(rows, lock=lock)
        keys |= {row[change.pk.attname] for row in rows}
    return keys


def _has_updated(change: Change, keys: set[object]) -> bool:
    """Whether any of these rows may be no new one of ours.

    PostgreSQL locks a row before it updates it on a conflict, and the row says by whom. One that we
    have just inserted can be locked by our own triggers only.
    """
    table = change.connection.ops.quote_name(change.model._meta.db_table)
    locked = RawSQL(f"{table}.xmax::text", (), output_field=models.TextField())  # noqa: S611 - name
    rows = models.QuerySet(change.model, using=change.using).annotate(_locked=locked)
    found = list(keys)
    return any(
        rows.filter(pk__in=found[start : start + CHUNK]).exclude(_locked="0").exists()
        for start in range(0, len(found), CHUNK)
    )


def _to_read(change: Change, query: Any, returning: Any) -> bool | None:
    """Whether the rows must be read when they are written; None where they cannot be found then."""
    pk = change.pk
    strange = [
        field
        for field in change.plan.columns
        if not is_plain(field)
        or (query.raw and field.model._meta.concrete_model is not change.model)
        or (_has_expressions(field, query.objs) and not (field is pk and pk in (returning or ())))
    ]
    if not strange:
        return False
    if pk in (returning or ()):
        return True
    keys = [getattr(obj, pk.attname) for obj in query.objs]
    return True if all(key is not None and not _is_expression(key) for key in keys) else None


def _values(
    change: Change, objs: Sequence[Any], returning: Any = None, result: Any = ()
) -> list[Row]:
    """The rows as they are written: what the objects hold, and what the database gave back."""
    fields = (change.pk, *(field for field in change.plan.columns if field is not change.pk))
    rows: list[Row] = []
    for number, obj in enumerate(objs):
        given = dict(zip(returning or (), result[number], strict=False)) if result else {}
        row: dict[str, object] = {}
        for field in fields:
            value = given.get(field, getattr(obj, field.attname))
            row[field.attname] = None if _is_expression(value) else spelled(field, value)
        rows.append(row)
    return rows


def _has_expressions(field: Any, objs: Sequence[Any]) -> bool:
    return any(_is_expression(getattr(obj, field.attname)) for obj in objs)


def _is_expression(value: object) -> bool:
    return hasattr(value, "resolve_expression")
