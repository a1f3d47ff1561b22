"""Rows that the database itself deletes or changes, by the actions of its foreign keys.

No statement tells of them, so a declared row that goes this way leaves its pages behind. Only a
relationship that loads such rows before their parent goes makes them visible, and only for parents
that a flush deletes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ForeignKeyConstraint, Table
from sqlalchemy.exc import NoReferenceError
from sqlalchemy.orm import Mapper, RelationshipProperty

_NONE: Final = ("", "NO ACTION", "RESTRICT")


def acting(own: Sequence[Table], links: Iterable[Table]) -> list[ForeignKeyConstraint]:
    """Foreign keys by which the database changes rows of these tables, or rows of the secondary
    tables ``links`` that refer to them: directly, or by rows that it deletes in between.
    """
    found: dict[ForeignKeyConstraint, None] = {}
    for table in own:
        found.update(dict.fromkeys(_upward(table, own, set())))
    for secondary in links:
        keys = secondary.foreign_key_constraints
        here = [key for key in keys if _parent(key) in own]
        others = keys if len(here) > 1 else keys.difference(here)
        for key in others if here else ():
            if deletes(key) and (parent := _parent(key)) is not None:
                found[key] = None
                found.update(dict.fromkeys(_upward(parent, own, set(), deleted=True)))
    return list(found)


def secondaries(mappers: Iterable[Mapper[Any]]) -> list[Table]:
    """The tables between the two ends of many-to-many relationships."""
    return list(
        dict.fromkeys(
            relationship.secondary
            for mapper in mappers
            for relationship in mapper.relationships
            if isinstance(relationship.secondary, Table) and not relationship.viewonly
        )
    )


def unloaded(key: ForeignKeyConstraint, mappers: Iterable[Mapper[Any]]) -> list[str]:
    """Actions of this key that a flush of the parent does not anticipate, as they are written."""
    pairs = {(element.column, element.parent) for element in key.elements}
    over: list[RelationshipProperty[Any]] = [
        relationship
        for mapper in mappers
        if _parent(key) in mapper.tables
        for relationship in mapper.relationships
        if not relationship.viewonly and set(relationship.synchronize_pairs) == pairs
    ]
    said = {
        key.ondelete: deletes(key) and all(found.passive_deletes for found in over),
        key.onupdate: _acts(key.onupdate) and all(found.passive_updates for found in over),
    }
    return [f"{action}" for action, unseen in said.items() if unseen]


def deletes(key: ForeignKeyConstraint) -> bool:
    """Whether the database does something when the row that is referred to is deleted."""
    return _acts(key.ondelete)


def _upward(
    table: Table, own: Sequence[Table], seen: set[Table], *, deleted: bool = False
) -> Iterator[ForeignKeyConstraint]:
    """``deleted``: only those that delete rows of this table, which moves others further down."""
    seen.add(table)
    for key in table.foreign_key_constraints:
        parent = _parent(key)
        removes = (key.ondelete or "").upper() == "CASCADE"
        acts = removes if deleted else deletes(key) or _acts(key.onupdate)
        if parent is None or not acts or _inherits(table, key, own):
            continue
        yield key
        if deletes(key) and parent not in seen:
            yield from _upward(parent, own, seen, deleted=True)


def _parent(key: ForeignKeyConstraint) -> Table | None:
    """The table that it refers to; None where that is nowhere declared."""
    try:
        return key.referred_table
    except NoReferenceError:
        return None


def _inherits(table: Table, key: ForeignKeyConstraint, own: Sequence[Table]) -> bool:
    """Whether it only joins the parts of one row, in the tables of a class and its parent."""
    parent = _parent(key)
    return parent in own and set(key.columns) == set(table.primary_key)


def _acts(action: str | None) -> bool:
    return (action or "").upper() not in _NONE
