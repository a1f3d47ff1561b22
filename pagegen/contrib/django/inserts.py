"""INSERT, with what a conflict may make of it: new rows, or others that are there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.db import models
from django.db.models.constants import OnConflict

from .changes import MAX_ROWS, Change, Row, spelled
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
    with change.transaction(needed=texts or bool(plan.ends)):
        if plan.ends:  # before the insertion locks them for its foreign keys
            change.lock_table()
            change.see_ends(_values(change, query.objs), lock=change.connection.in_atomic_block)
        result = run()
        rows = _values(change, query.objs, returning_fields, result)
        if again:
            rows = change.read_by(change.pk, [row[change.pk.attname] for row in rows])
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
        for lock in (True, False):
            for start in range(0, len(query.objs), _TOGETHER):
                some = query.objs[start : start + _TOGETHER]
                change.see(_matching(change, unique, some, lock), lock=lock)
            if lock:
                result = run()
        change.forget()
    return result


def _matching(change: Change, unique: Sequence[Any], objs: Sequence[Any], lock: bool) -> list[Row]:
    wanted = models.Q()
    for obj in objs:
        wanted |= models.Q(**{field.attname: getattr(obj, field.attname) for field in unique})
    return change.read_where(wanted, lock=lock)


def _to_read(change: Change, query: Any, returning: Any) -> bool | None:
    """Whether the rows must be read when they are written; None where they cannot be found then."""
    strange = [
        field
        for field in change.plan.columns
        if not is_plain(field)
        or (query.raw and field.model._meta.concrete_model is not change.model)
        or any(_is_expression(getattr(obj, field.attname)) for obj in query.objs)
    ]
    if not [field for field in strange if field is not change.pk]:
        return False
    if change.pk in (returning or ()):
        return True
    keys = [getattr(obj, change.pk.attname) for obj in query.objs]
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


def _is_expression(value: object) -> bool:
    return hasattr(value, "resolve_expression")
