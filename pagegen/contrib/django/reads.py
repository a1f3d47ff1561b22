"""Telling a :class:`pagegen.testing.reads.ReadRecorder` which rows of declared models views read.

In the tests' settings, put :class:`ReadsMiddleware` right after the page cache; or call
:func:`note_reads` and wrap the application. Seen are instances that come out of a query, and
queries whose first table is a declared model's and that make no instance: values, counts, none
found. Not seen are tables that are only joined.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from itertools import count
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.apps import apps
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models import Model

from pagegen.testing.reads import Kind, ReadRecorder, Rendering, rendering

from . import rows
from .caches import cache

_FROM: Final = re.compile(r'\bFROM\s+(?:["`]?\w+["`]?\.)?["`]?(\w+)["`]?', re.IGNORECASE)
_RELATION: Final = re.compile(r'\bJOIN\s+(?:["`]?\w+["`]?\.)?["`]?(\w+)["`]?', re.IGNORECASE)
_make: Final = Model.from_db.__func__
#: Who has begun to note reads, and not ended it.
_noting: Final[set[object]] = set()
_numbers: Final = count()
_statement: Final[ContextVar[int]] = ContextVar("pagegen_statement", default=-1)


class ReadsMiddleware:
    """Django middleware for development and tests; it stands right after the page cache.

    ``recorder``: of all of this process.
    """

    sync_capable = True
    async_capable = True
    recorder: ReadRecorder | None = None

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        if type(self).recorder is None:
            type(self).recorder = ReadRecorder(cache)
            note_reads()

    def __call__(self, request: Any) -> Any:
        """One request."""
        if self._is_async:
            return self._answer(request)
        with _recorder().page(request.path) as page:
            response = self._get_response(request)
            if page is not None:
                page.names(response.items())
        return response

    async def _answer(self, request: Any) -> Any:
        with _recorder().page(request.path) as page:
            response = await self._get_response(request)
            if page is not None:
                page.names(response.items())
        return response


def note_reads() -> Callable[[], None]:
    """Note what is read of models that declare namespaces; returns what ends that.

    However often it is called, a row is noted once, until the last one has ended it.
    """
    made = object()
    if not _noting:
        Model.from_db = classmethod(_from_db)
        connection_created.connect(_created, dispatch_uid=__name__)
        for connection in connections.all(initialized_only=True):
            _created(connection=connection)
    _noting.add(made)

    def stop() -> None:
        if made not in _noting:
            return
        _noting.remove(made)
        if _noting:
            return
        Model.from_db = classmethod(_make)
        connection_created.disconnect(dispatch_uid=__name__)
        for connection in connections.all(initialized_only=True):
            if _execute in connection.execute_wrappers:
                connection.execute_wrappers.remove(_execute)

    return stop


def _from_db(cls: Any, db: str, names: Any, values: Any) -> Any:
    made = _make(cls, db, names, values)
    page = rendering()
    if page is not None:
        for table in _tables(cls):
            _note(page, table, made)
    return made


def _recorder() -> ReadRecorder:
    recorder = ReadsMiddleware.recorder
    assert recorder is not None  # noqa: S101 - set before any request
    return recorder


@lru_cache(1_024)
def _tables(model: Any) -> tuple[Any, ...]:
    """The models whose tables hold a row of this one, as far as they declare something."""
    bases = (getattr(base, "_meta", None) for base in model.__mro__)
    tables = dict.fromkeys(meta.concrete_model for meta in bases if meta is not None)
    return tuple(table for table in tables if table is not None and rows.plan(table).own)


def _note(page: Rendering, table: Any, made: Any) -> None:
    own = rows.plan(table).own
    fields = {field.attname for watched in own for field in watched.fields.values()}
    if not fields.isdisjoint(made.get_deferred_fields()):
        page.table(_kind(table))
        return
    values = {name: getattr(made, name) for name in fields}
    names = dict.fromkeys(name for watched in own for name in watched.names(values))
    page.row(_kind(table), tuple(names), _statement.get())


def _created(connection: Any, **_: Any) -> None:
    if _execute not in connection.execute_wrappers:
        connection.execute_wrappers.append(_execute)


def _execute(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    page = rendering()
    if page is not None and sql[:6].upper() == "SELECT":
        number = next(_numbers)
        _statement.set(number)
        found = _FROM.search(sql)
        table = found and _model(found[1])
        if table:
            joined = filter(None, map(_model, _RELATION.findall(sql)))
            own, wider = _kind(table), _wider(table, (table, *joined))
            if own.templates or wider:
                page.asked(own, number, wider)
    return execute(sql, params, many, context)


def _model(table: str) -> Any:
    label = rows.tables().get(table.lower())
    return label and apps.get_model(label)


@lru_cache(1_024)
def _wider(table: Any, joined: tuple[Any, ...]) -> Kind | None:
    """The rows of a table and of those that many-to-many relations in a statement join them with.

    A change of such a relation forgets the rows at both of its ends.
    """
    ends = [field.related_model for model in joined for field, _ in rows.plan(model).ends]
    if not ends:
        return None
    templates = (t for model in (table, *ends) for t in _kind(model).templates)
    return Kind(table.__name__, tuple(dict.fromkeys(templates)), frozenset())


@lru_cache(1_024)
def _kind(table: Any) -> Kind:
    """What the recorder knows the rows of a table by: what its model and proxies declare."""
    own = rows.plan(table).own
    key = table._meta.pk
    single = {
        template
        for watched in own
        for template in watched.declared.templates
        if (names := watched.declared.references(template))
        and all(watched.fields[name] is key for name in names)
    }
    templates = dict.fromkeys(t for watched in own for t in watched.declared.templates)
    return Kind(table.__name__, tuple(templates), frozenset(single))
