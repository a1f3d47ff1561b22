"""Telling a :class:`pagegen.testing.reads.ReadRecorder` which rows sessions read.

Seen are rows that a statement loads as objects, and classes of which it asks for columns or counts.
Not seen are rows that their session has already, SQL as text and statements over a connection of
one's own; and a query for objects that finds none says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Mapper, ORMExecuteState, QueryContext, Session

from ...testing.reads import Kind, rendering
from .declarations import Kind as Declaration
from .watching import Watch


def note_reads(watch: Watch) -> Callable[[], None]:
    """Note what the sessions of a watch read while a page is rendered; returns what ends that."""

    def loaded(row: Any, context: QueryContext, *_: object) -> None:
        page = rendering()
        if page is None or not watch.watches(context.session):
            return
        declared = watch.catalogue.of(inspect(row).mapper)
        if declared is None:
            return
        values = inspect(row).dict
        if all(name in values for name in declared.declared.attributes):
            page.row(_kind(declared), declared.names(values), context)
        else:  # some of it was not asked for
            page.table(_kind(declared))

    def executes(state: ORMExecuteState) -> None:
        page = rendering()
        if page is None or not state.is_select or not watch.watches(state.session):
            return
        for column in getattr(state.statement, "column_descriptions", ()):
            entity = column["entity"]
            if entity is None or column["expr"] is entity:
                continue  # its rows are told when they are loaded
            declared = watch.catalogue.of(inspect(entity).mapper)
            if declared is not None:
                page.table(_kind(declared))

    listeners = ((Mapper, "load", loaded), (Mapper, "refresh", loaded))
    for target, name, listener in listeners:
        event.listen(target, name, listener)
    event.listen(Session, "do_orm_execute", executes)

    def stop() -> None:
        for target, name, listener in listeners:
            event.remove(target, name, listener)
        event.remove(Session, "do_orm_execute", executes)

    return stop


@lru_cache(1_024)
def _kind(declaration: Declaration) -> Kind:
    """What the recorder knows a class by."""
    key = set(declaration.key)
    declared = declaration.declared
    single = [
        template
        for template in declared.templates
        if (names := declared.references(template)) and key.issuperset(names)
    ]
    return Kind(declaration.mapper.class_.__name__, declared.templates, frozenset(single))
